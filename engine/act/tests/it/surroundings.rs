//! What a program finds around it.

use crate::exec::program;
use crate::site::{LONG, act, hands, said};
use std::fs;
use tripline_rules::evaluate::{Job, Start};

fn output(start: &Start) -> String {
    said(act(&hands("/".as_ref()), start)).0
}

fn shown(words: &[&str]) -> String {
    output(&program(words, "", LONG))
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim_start_matches(':').trim().to_owned()
}

#[test]
fn the_environment_is_what_was_said_and_nothing_else() {
    let mut start = program(&["/usr/bin/env", "-0"], "", LONG);
    let Job::Exec { env, .. } = &mut start.job else { panic!() };
    env.push(("REGION".to_owned(), "eu west".to_owned()));
    let text = output(&start);
    let mut names: Vec<&str> =
        text.split('\0').filter_map(|it| it.split_once('=')).map(|it| it.0).collect();
    names.sort_unstable();
    let wanted =
        ["LANG", "PATH", "REGION", "TRIPLINE_EVENT", "TRIPLINE_RULE", "TRIPLINE_RUN"];
    assert_eq!(names, wanted);
    for line in
        ["TRIPLINE_RULE=a rule", "TRIPLINE_EVENT=auth/0/1/a rule", "REGION=eu west"]
    {
        assert!(text.split('\0').any(|it| it == line), "{text:?}");
    }
    let Job::Exec { env, .. } = &mut start.job else { panic!() };
    env.push(("TRIPLINE_RULE".to_owned(), "another".to_owned()));
    let outcome = act(&hands("/".as_ref()), &start);
    assert!(crate::site::why(outcome).1.contains("given by Tripline"));
}

/// A session and a group of its own, no terminal, no descriptor, no signal of ours.
#[test]
fn nothing_of_ours_is_handed_on() {
    // Not to be closed at `exec`, as what our own process was started with.
    let held = rustix::io::dup(fs::File::open("/dev/null").unwrap()).unwrap();
    let stat = shown(&["/bin/cat", "/proc/self/stat"]);
    let pid = stat.split(' ').next().unwrap().to_owned();
    let behind: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // State, parent, group, session, terminal.
    assert_eq!(behind[2..5], [&*pid, &*pid, "0"], "{stat}");
    let fds = shown(&["/bin/ls", "/proc/self/fd"]);
    assert_eq!(fds, "0\n1\n2\n3\n", "the last is the directory that it lists");
    drop(held);
    let status = shown(&["/bin/cat", "/proc/self/status"]);
    assert_eq!(field(&status, "SigBlk"), "0000000000000000");
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let ignored =
        |status: &str| u64::from_str_radix(&field(status, "SigIgn"), 16).unwrap();
    let pipe = 1 << (libc::SIGPIPE - 1);
    assert_eq!(ignored(&status), ignored(&own) & !pipe);
    assert_eq!(ignored(&status) & pipe, 0, "`head` in front of it ends it");
    assert_eq!(field(&status, "Umask"), field(&own, "Umask"));
    let same = |path: &str| {
        assert_eq!(
            shown(&["/bin/cat", path]),
            fs::read_to_string(path).unwrap(),
            "{path}"
        );
    };
    same("/proc/self/oom_score_adj");
    let nice = |stat: &str| {
        let behind = stat.rsplit(')').next().unwrap();
        behind.split_whitespace().nth(16).unwrap().to_owned()
    };
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    assert_eq!(nice(&stat), nice(&own));
}

#[test]
fn it_runs_where_it_was_told_to() {
    assert_eq!(shown(&["/bin/pwd"]), "/\n");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let mut start = program(&["/bin/pwd"], "", LONG);
    let Job::Exec { cwd, .. } = &mut start.job else { panic!() };
    *cwd = Some(path.clone());
    assert_eq!(output(&start), format!("{}\n", path.display()));
}
