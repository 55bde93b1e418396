//! Programs that behave, or do not.

use crate::site::{
    HOSTILE, LONG, act, assert_nothing_was_run, hands, said, start, wait_until, why,
};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tripline_act::{LATE_MAX, SAID_BYTES_MAX, Stop};
use tripline_rules::evaluate::{Job, Outcome, Start};

/// Long enough for a program to have begun.
const SHORT: Duration = Duration::from_secs(4);

pub(crate) fn program(words: &[&str], stdin: &str, timeout: Duration) -> Start {
    let job = Job::Exec {
        program: words[0].into(),
        arguments: words[1..].iter().map(|&it| it.to_owned()).collect(),
        env: Vec::new(),
        stdin: stdin.to_owned(),
        cwd: None,
    };
    start(1, job, timeout)
}

/// A script, which has no part in what is tested.
fn script(script: &str, arguments: &[&str]) -> Start {
    program(&[&["/bin/sh", "-c", script, "sh"], arguments].concat(), "", LONG)
}

fn run(start: &Start) -> Outcome {
    act(&hands("/".as_ref()), start)
}

/// Those whose numbers a script wrote into a file, as far as they live.
fn living(pids: &Path) -> Vec<String> {
    let pids = fs::read_to_string(pids).unwrap_or_default();
    let lives = |pid: &&str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().unwrap_or_default().trim();
        !state.is_empty() && !state.starts_with(['Z', 'X'])
    };
    pids.lines().filter(lives).map(str::to_owned).collect()
}

#[test]
fn hostile_values_arrive_as_they_are_and_are_not_run() {
    let mut start =
        program(&[&["/usr/bin/printf", "%s\\0", "--"], HOSTILE].concat(), "", LONG);
    let (stdout, stderr) = said(run(&start));
    let got: Vec<&str> = stdout.split('\0').collect();
    // What ends with a NUL has nothing behind it; `--` is no option here.
    assert_eq!(got[1..=HOSTILE.len()], *HOSTILE, "{stderr}");

    start = program(&["/usr/bin/env", "-0"], "", LONG);
    let Job::Exec { env, .. } = &mut start.job else { panic!() };
    *env =
        HOSTILE.iter().zip(0..).map(|(it, n)| (format!("V{n}"), (*it).into())).collect();
    let (stdout, _) = said(run(&start));
    for (value, number) in HOSTILE.iter().zip(0..) {
        let wanted = format!("V{number}={value}");
        assert!(stdout.split('\0').any(|it| it == wanted), "{wanted:?} in {stdout:?}");
    }

    let stdin = HOSTILE.join("\n");
    let (stdout, _) = said(run(&program(&["/bin/cat"], &stdin, LONG)));
    assert_eq!(stdout, stdin);
    assert_nothing_was_run();
}

#[test]
fn what_it_reads_holds_up_nobody() {
    let much = "0123456789\n".repeat(1_000_000);
    for (words, wanted) in [
        (&["/bin/true"][..], ""),
        (&["/usr/bin/wc", "-c"], "11000000\n"),
        (&["/bin/sh", "-c", "exec <&-; echo closed"], "closed\n"),
        (&["/usr/bin/head", "-n", "1"], "0123456789\n"),
    ] {
        let (stdout, _) = said(run(&program(words, &much, LONG)));
        assert_eq!(stdout, wanted, "{words:?}");
    }
}

/// Both streams at once; the end is kept, and it is said how much was not.
#[test]
fn a_gibibyte_of_output_costs_no_memory() {
    const GIB: u64 = 1 << 30;
    let write = "head -c 1073741824 /dev/zero & head -c 1000000 /dev/zero >&2; wait; \
                 echo the end; echo and that >&2";
    let (stdout, stderr) = said(run(&script(write, &[])));
    assert!(stdout.ends_with("\0the end\n") && stdout.len() == SAID_BYTES_MAX);
    let dropped = GIB + 8 - SAID_BYTES_MAX as u64;
    assert!(stderr.contains("\0and that\n"), "the end of it is kept");
    let note =
        format!("[tripline: the first {dropped} bytes of its output were dropped]");
    assert!(stderr.contains(&note), "{}", &stderr[stderr.len() - 300..]);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(peak < 512 * 1024, "{peak} KiB");
}

#[test]
fn one_that_closes_its_output_is_waited_for() {
    let (exit, reason) =
        why(run(&script("exec >&- 2>&-; head -c 1 /dev/null; exit 3", &[])));
    assert_eq!((exit, reason.as_str()), (3, "/bin/sh ended with code 3"));
    let (stdout, stderr) = said(run(&script("exec >&- 2>&-", &[])));
    assert_eq!((stdout.as_str(), stderr.as_str()), ("", ""));
}

#[test]
fn how_it_ends_is_told() {
    for code in [1, 2, 75, 126, 127, 139, 255] {
        let outcome =
            run(&script("echo no >&2; echo out; exit $1", &[&code.to_string()]));
        let Outcome::Failed { exit, reason, stderr } = outcome else { panic!("{code}") };
        assert_eq!(exit, code);
        assert_eq!(reason, format!("/bin/sh ended with code {code}"));
        assert_eq!(stderr, "no\n");
    }
    for (signal, name) in [
        ("SEGV", "segmentation fault"),
        ("KILL", "KILL"),
        ("TERM", "TERM"),
        ("USR1", "USR1"),
    ] {
        let (exit, reason) = why(run(&script("kill -$1 $$", &[signal])));
        assert!(exit == -1 && reason.contains(name), "{signal}: {reason}");
    }
}

#[test]
fn what_cannot_be_run_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
    fs::write(path("plain"), "#!/bin/sh\n").unwrap();
    for (name, text) in [("nothing", ""), ("lost", "#!/nowhere/sh\n")] {
        // By another name, so that nobody has it open for writing.
        fs::write(path("new"), text).unwrap();
        let copy = std::process::Command::new("/usr/bin/install")
            .args(["-m", "755", &path("new"), &path(name)])
            .status();
        assert!(copy.unwrap().success());
    }
    let long = "x".repeat(200_000);
    for (words, wanted) in [
        (&[&*path("absent")][..], "put it back"),
        (&[&*path("plain")], "chmod +x"),
        (&[root.to_str().unwrap()], "may not be executed"),
        (&[&*path("nothing")], "it is no program"),
        (&[&*path("lost")], "first line"),
        (&["/bin/echo", &long], "128 KiB"),
        (&["/bin/echo", "a\0b"], "NUL"),
    ] {
        let (exit, reason) = why(run(&program(words, "", LONG)));
        assert!(exit == -1 && reason.contains(wanted), "{reason}");
    }
    let mut start = program(&["/bin/true"], "", LONG);
    let Job::Exec { cwd, .. } = &mut start.job else { panic!() };
    *cwd = Some(root.join("nowhere"));
    assert!(why(run(&start)).1.contains("there is no directory"));
}

/// The program, a child in its group, one in a session of its own, and one of those whose
/// parent has ended: all ignore TERM.
#[test]
fn at_its_time_all_of_it_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let stays = "trap '' TERM HUP; echo $$ >> $1; while :; do sleep 1000; done";
    let all = format!(
        "trap '' TERM; echo $$ >> $1; echo before >&2; \
         sh -c \"$2\" sh $1 & setsid sh -c \"$2\" sh $1 & \
         (setsid sh -c \"$2\" sh $1 &); {stays}"
    );
    let words = ["/bin/sh", "-c", &all, "sh", pids.to_str().unwrap(), stays];
    let start = program(&words, "", SHORT);
    let since = Instant::now();
    let outcome = run(&start);
    let took = since.elapsed();
    let Outcome::TimedOut { stderr } = outcome else { panic!("{outcome:?}") };
    assert!(stderr.starts_with("before\n"), "{stderr}");
    assert!(took < SHORT + LATE_MAX, "{took:?}");
    assert_eq!(fs::read_to_string(&pids).unwrap().lines().count(), 5);
    assert!(living(&pids).is_empty(), "{:?}", living(&pids));
}

/// It says so, and nobody waits for the pipe.
#[test]
fn one_whose_child_holds_the_pipes_is_done() {
    for (how, tail) in [("", ""), ("setsid", ""), ("", "> /dev/null 2>&1")] {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let leaves = format!("({how} sleep 1000 {tail} & echo $! >> $1); echo done");
        let since = Instant::now();
        let (stdout, stderr) = said(run(&script(&leaves, &[pids.to_str().unwrap()])));
        assert_eq!(stdout, "done\n", "{leaves}");
        assert!(stderr.contains("of what it had started went on"), "{leaves}: {stderr}");
        assert!(living(&pids).is_empty(), "{leaves}");
        assert!(since.elapsed() < Duration::from_secs(10), "{leaves}");
    }
}

#[test]
fn a_stop_ends_it_early() {
    for trap in ["", "trap '' TERM;"] {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let waits = format!("{trap} echo $$ >> $1; while :; do sleep 1000; done");
        let start = script(&waits, &[pids.to_str().unwrap()]);
        let (hands, stop) = (hands("/".as_ref()), Stop::new());
        std::thread::scope(|scope| {
            let acts = scope.spawn(|| hands.act(&start, &stop));
            let runs = || fs::read_to_string(&pids).is_ok_and(|it| it.ends_with('\n'));
            assert!(wait_until(LONG, runs));
            let since = Instant::now();
            stop.stop();
            assert_eq!(acts.join().unwrap(), None);
            assert!(since.elapsed() < Duration::from_secs(10));
        });
        assert!(living(&pids).is_empty());
        assert_eq!(hands.act(&start, &stop), None, "nothing is begun any more");
        assert_eq!(fs::read_to_string(&pids).unwrap().lines().count(), 1);
    }
}

#[test]
fn many_at_once_do_not_mix_and_leave_no_zombies() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let hands = hands("/".as_ref());
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (hands, pids) = (&hands, &pids);
            scope.spawn(move || {
                for round in 0..10 {
                    let text = format!("{number} {round}");
                    let words = [pids.to_str().unwrap(), &text];
                    let start = script("echo $$ >> $1; echo $2; cat", &words);
                    assert_eq!(said(act(hands, &start)).0, format!("{text}\n"));
                }
            });
        }
    });
    let pids = fs::read_to_string(&pids).unwrap();
    assert_eq!(pids.lines().count(), 80);
    for pid in pids.lines() {
        let status =
            fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let ours = format!("PPid:\t{}\n", std::process::id());
        // The number may be another's by now, also a child of ours that runs.
        assert!(!(status.contains(&ours) && status.contains("zombie")), "{status}");
    }
}
