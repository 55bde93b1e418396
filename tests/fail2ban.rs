//! Filters of fail2ban as rules: over the same lines both find the same, in each line.
//!
//! The first line of `examples/fail2ban/NAME.ron` names the filter, with its options;
//! `tests/fail2ban/NAME.log` has the lines, of which some are tried with many other times
//! and heads. Which of them match, and which host is in them, is what `fail2ban-regex` says
//! with the filters of its own package. A filter more is two files more.

use crate::util::Dir;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tripline_api::Place;
use tripline_rules::compiled::{RuleSet, Trigger};
use tripline_rules::evaluate::{Clock, Job, Lines, Machine, Output, render};
use tripline_rules::{Known, SourceFile, load};

/// The hosts that were found, by the number of the line from 0.
type Found = BTreeMap<usize, Vec<String>>;

#[test]
fn both_find_the_same_in_each_line() {
    let (mut lines, mut wrong) = (0, String::new());
    for name in names() {
        let rules = example(&name);
        let filter = filter_of(&rules);
        let log = root().join(format!("tests/fail2ban/{name}.log"));
        let text = fs::read_to_string(&log).unwrap();
        let dir = Dir::new();
        let text = varied(&text);
        let log = dir.write("log", text.join("\n") + "\n");
        let theirs = theirs(&log, &filter, &text);
        let ours = ours(&rules, &text);
        let looked_at = text.iter().filter(|line| !line.starts_with('#')).count();
        assert!(looked_at >= 15, "{name}: only {looked_at} lines");
        assert!(theirs.len() >= 5, "{name}: {filter} finds only {}", theirs.len());
        assert!(looked_at >= theirs.len() + 3, "{name}: nearly every line matches");
        lines += looked_at;
        for (number, line) in text.iter().enumerate() {
            let (theirs, ours) = (theirs.get(&number), ours.get(&number));
            if theirs != ours {
                _ = writeln!(wrong, "{name}.log: {line}");
                _ = writeln!(wrong, "    {filter}: {theirs:?}\n    rules: {ours:?}");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(lines > 1000, "only {lines} lines");
    println!("{lines} lines, {} filters", names().len());
}

#[test]
fn every_pattern_is_found_in_a_line() {
    for name in names() {
        let lines = fs::read_to_string(root().join(format!("tests/fail2ban/{name}.log")));
        let given = format!(
            "tests: [(name: \"all lines\", given: [Lines(text: r###\"{}\"###)], expect: []),",
            lines.unwrap()
        );
        let dir = Dir::new();
        let rules = fs::read_to_string(example(&name)).unwrap();
        dir.write(&format!("{name}.ron"), rules.replacen("tests: [", &given, 1));
        let common = fs::read(root().join("examples/fail2ban/common.ron")).unwrap();
        dir.write("common.ron", common);
        let ran = dir.run(["test", "."]);
        let missing = "patterns without a sample";
        assert!(ran.stdout().contains("coverage: "), "{name}: {ran}");
        assert!(!ran.stdout().contains(missing), "{name}: {}", ran.stdout());
    }
}

/// Times as logs have them, and none.
const TIMES: [&str; 22] = [
    "Nov 20 21:00:00",
    "2026-11-20 21:00:00",
    "2026/11/20 21:00:00",
    "20-Nov-2026 21:00:00.123",
    "Fri Nov 20 21:00:00 2026",
    "Fri Nov 20 21:00:00.123456 2026",
    "2026-11-20T21:00:00.123456+01:00",
    "2026-11-20 21:00:00,123",
    "2026-11-20T21:00:00Z",
    "2026-11-20 21:00:00 +0100",
    "2026.11.20 21:00:00",
    "Fri Nov 20 2026 21:00:00.123",
    "Nov 20, 2026 9:00:00 PM",
    "CET Nov 20 21:00:00",
    "20/Nov/2026:21:00:00 +0100",
    "20/11/2026 21:00:00",
    "20/11/26 21:00:00",
    "11/20/2026:21:00:00",
    "1795208400.123",
    "261120 21:00:00",
    "20261120T210000",
    "",
];

/// What may stand in front of the host and behind it.
const AROUND: [(&str, &str); 4] = [
    ("<4.3> ", ""),
    ("<auth.info> ", ""),
    ("", "@vserver_x "),
    ("", "kernel: [  769.570846] "),
];

/// So many lines of each log are there with other times and heads too.
const VARIED: usize = 5;

/// The lines, and some of them with other times and heads.
fn varied(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let timed = text.lines().filter_map(|line| Some((line, behind_time(line)?)));
    for (line, (open, rest)) in timed.take(VARIED) {
        for time in TIMES {
            let is_end = open.is_empty() && time.is_empty();
            let rest = if is_end { rest.trim_start() } else { rest };
            lines.push(format!("{open}{time}{rest}"));
        }
        if !line.starts_with("Nov") {
            continue;
        }
        let (host, said) = rest.trim_start().split_once(' ').unwrap();
        for (before, behind) in AROUND {
            lines.push(format!("{} {before}{host} {behind}{said}", TIMES[0]));
        }
    }
    let mut seen = BTreeSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    // A connection is known by its process.
    for (number, line) in lines.iter_mut().enumerate().skip(text.lines().count()) {
        *line = line.replace("sshd[10", &format!("sshd[2{number}"));
    }
    lines
}

/// `[` if the time is in one, and what is behind the time.
fn behind_time(line: &str) -> Option<(&str, &str)> {
    let open = &line[..usize::from(line.starts_with('['))];
    let line = &line[open.len()..];
    let fits = |time: &&&str| {
        let alike = |(a, b): (u8, u8)| a == b || a.is_ascii_digit() && b.is_ascii_digit();
        line.len() > time.len() && line.bytes().zip(time.bytes()).all(alike)
    };
    let time = TIMES[..6].iter().filter(fits).max_by_key(|time| time.len())?;
    let rest = &line[time.len()..];
    rest.starts_with([' ', ']']).then_some((open, rest))
}

/// What the rules of a file find, as their `Emit` hands it on.
fn ours(path: &Path, lines: &[String]) -> Found {
    let read =
        |path: &Path| SourceFile::new(path.to_owned(), fs::read_to_string(path).unwrap());
    let files = [read(&root().join("examples/fail2ban/common.ron")), read(path)];
    let loaded = load(&files, &Known::default());
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics[0].message);
    let set = Arc::new(loaded.set.unwrap());
    let source = source_of(&set);
    let mut now = Timestamp::from_second(1_795_208_400).unwrap();
    let mut machine = Machine::new(Arc::clone(&set), now);
    let (mut found, mut place) = (Found::new(), Place::default());
    for (number, line) in lines.iter().enumerate().filter(|it| !it.1.starts_with('#')) {
        let bytes = format!("{line}\n").into_bytes();
        let mut out = Vec::new();
        let all = Lines {
            source: &source,
            start: place,
            bytes: &bytes,
            spans: None,
            time: None,
        };
        machine.lines(&all, Clock::Now(now), &mut out);
        place.offset += bytes.len() as u64;
        now += SignedDuration::from_secs(1);
        for output in out {
            found.entry(number).or_default().push(host_of(&set, output));
        }
    }
    found
}

fn host_of(set: &RuleSet, output: Output) -> String {
    let firing = match output {
        Output::Fired(firing) => firing,
        Output::Note(note, _) => panic!("{}", note.message),
    };
    let rule = set.rules.iter().find(|rule| *rule.name == *firing.rule).unwrap();
    let job = render(set, &rule.actions[0], &firing, &BTreeMap::new()).unwrap();
    let Job::Emit { fields, .. } = job else { panic!("{job:?}") };
    let host = fields.into_iter().find(|(name, _)| name == "ip").unwrap().1;
    canonical(&host)
}

/// The source that the rules look at.
fn source_of(set: &RuleSet) -> String {
    let sources = set.rules.iter().flat_map(|rule| &rule.on).find_map(|on| match on {
        Trigger::Lines { sources, .. } => sources.first().cloned(),
        _ => None,
    });
    sources.unwrap()
}

/// What `fail2ban-regex` finds. It writes each match with the lines that led to it, of
/// which the last one is the one that matched.
fn theirs(log: &Path, filter: &str, lines: &[String]) -> Found {
    let (mut command, config) = fail2ban_regex();
    command.args(["--raw", "--encoding", "utf-8", "--config"]).arg(config);
    command.args(["--out", "@@<ip>@@<matches>"]).arg(log).arg(filter);
    let output = command.env("TZ", "UTC").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{filter}: {said}{stderr}");
    let mut found = Found::new();
    let mut from = 0;
    for row in format!("\n{said}").trim_end().split("\n@@").skip(1) {
        let (host, matches) = row.split_once("@@").unwrap();
        let last = matches.lines().last().unwrap();
        let at = lines[from..].iter().position(|line| line.trim_end() == last.trim_end());
        from += at.unwrap_or_else(|| panic!("{filter}: {last:?} is no line of the log"));
        found.entry(from).or_default().push(canonical(host));
        from += 1;
    }
    found
}

/// Installed, or unpacked by tests/tools, as what is installed would ban somebody.
fn fail2ban_regex() -> (Command, PathBuf) {
    let folders = std::env::var("PATH").unwrap_or_default();
    let installed = folders.split(':').map(|it| Path::new(it).join("fail2ban-regex"));
    if let Some(program) = installed.into_iter().find(|it| it.is_file()) {
        return (Command::new(program), PathBuf::from("/etc/fail2ban"));
    }
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("tools");
    let unpacked = tools.join("fail2ban");
    let program = unpacked.join("usr/bin/fail2ban-regex");
    assert!(program.is_file(), "no {}: run tests/tools", program.display());
    let mut command = Command::new("python3");
    command.arg(program);
    command.env("PYTHONPATH", unpacked.join("usr/lib/python3/dist-packages"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    (command, unpacked.join("etc/fail2ban"))
}

/// One spelling for each address; of names the one with small letters.
fn canonical(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => host.to_ascii_lowercase(),
    }
}

/// The filters, by name.
fn names() -> Vec<String> {
    let folder = root().join("examples/fail2ban");
    let files = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<_> = files.map(name).filter(|it| it != "common").collect();
    names.sort();
    assert!(names.len() >= 10, "the filters are gone: {names:?}");
    names
}

fn example(name: &str) -> PathBuf {
    root().join(format!("examples/fail2ban/{name}.ron"))
}

/// What the first line calls it: ``// The filter `postfix[mode=extra]` of fail2ban``.
fn filter_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let first = text.lines().next().unwrap_or_default();
    let named = first.strip_prefix("// The filter `").and_then(|it| it.split_once('`'));
    let (filter, _) = named.unwrap_or_else(|| panic!("{}: {first}", path.display()));
    filter.to_owned()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
