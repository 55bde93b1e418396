//! The daemon as its supervisor sees it: signals, the state directory, where.

use crate::site::{Site, in_words, small_journals, wait_until};
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_second_daemon_names_the_first() {
    let site = Site::new();
    site.lay_out(&small_journals(2));
    let daemon = site.start_daemon();
    let lock = site.out().join("state/lock");
    let pid = daemon.pid().to_string();
    assert!(wait_until(PATIENCE, || {
        fs::read_to_string(&lock).is_ok_and(|text| text.trim() == pid)
    }));
    let second = site.until_idle();
    assert_eq!(second.status.code(), Some(4), "{}", in_words(&second));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains(&format!("in use by process {pid}")), "{said}");
    let mut set = site.command(&["where"]);
    let set = set.args(["--set", "audit", "p4", "start", "--yes"]).output().unwrap();
    assert_eq!(set.status.code(), Some(4), "{}", in_words(&set));
    daemon.stop();
    site.catch_up();
}

#[test]
fn where_says_where_everybody_is() {
    let journals = small_journals(3);
    let site = Site::new();
    site.lay_out(&journals);
    let before = where_json(&site);
    let all: usize = journals.iter().map(|j| j.bytes.len()).sum();
    assert_eq!(before[0]["bytes_behind"], all);
    assert_eq!(before[0]["sequence"], serde_json::Value::Null);
    site.catch_up();
    for row in where_json(&site).as_array().unwrap() {
        let live = &journals[2].bytes;
        assert_eq!(row["source"], "p4");
        assert_eq!(row["sequence"], 3);
        assert_eq!(row["offset"], live.len());
        // The line the next entry will begin at.
        assert_eq!(row["line"], live.iter().filter(|b| **b == b'\n').count() + 1);
        assert_eq!(row["bytes_behind"], 0);
        assert_eq!(row["state"], "following");
        assert_eq!(row["entries_settled"], 3 * 9 + 2 * 3);
        assert!(row["last_entry"].as_str().unwrap().ends_with('Z'));
    }
    // A hand-set place: a start in the middle of a record is its next one.
    let mut set = site.command(&["where"]);
    let set = set.args(["--set", "audit", "p4", "2:200", "--yes"]).output().unwrap();
    assert!(set.status.success(), "{}", in_words(&set));
    let row = &where_json(&site)[1];
    assert_eq!((&row["listener"], &row["sequence"]), (&"audit".into(), &2.into()));
    assert!(row["offset"].as_u64().unwrap() >= 200);
    assert!(row["bytes_behind"].as_u64().unwrap() > 0);
    site.catch_up();
    let printed = fs::read_to_string(site.out().join("audit.jsonl")).unwrap();
    let twice = printed.lines().filter(|l| l.contains("\"id\":\"p4/3/0\"")).count();
    assert_eq!(twice, 2, "what a person sent back for comes again");
}

#[test]
fn a_hangup_reloads_and_a_bad_configuration_changes_nothing() {
    let journals = small_journals(2);
    let site = Site::new();
    site.lay_out(&journals);
    let mut command = site.command(&["run"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(wait_until(PATIENCE, || site.out().join("backup/journal").exists()));
    let good = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), good.replace("Mirror", "Miror")).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let hang_up = || {
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    };
    hang_up();
    let line = said.find(|line| line.as_ref().unwrap().contains("not reloaded"));
    assert!(line.is_some());
    let more = "\"second\": Print(from: [\"p4\"], to: \"out/second.jsonl\"),";
    let with_second = good.replace("\"audit\"", &format!("{more}\n    \"audit\""));
    fs::write(site.config(), with_second).unwrap();
    hang_up();
    let second = site.out().join("second.jsonl");
    let count = || fs::read_to_string(&second).map_or(0, |text| text.lines().count());
    assert!(wait_until(PATIENCE, || count() == 2 * 9 + 3), "{}", count());
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    site.assert_delivered(&journals, "after a reload");
}

#[test]
fn a_record_is_printed_when_it_is_written() {
    let site = Site::new();
    site.lay_out(&small_journals(1));
    site.configure("\"out\": Print(from: [\"p4\"], to: \"-\"),");
    let mut command = site.command(&["run"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..9 {
        printed.next().unwrap().unwrap();
    }
    let mut live = OpenOptions::new().append(true).open(site.live()).unwrap();
    for change in 0..20 {
        writeln!(live, "@pv@ 0 @db.desc@ {change} @hello@ ").unwrap();
        let line = printed.next().unwrap().unwrap();
        assert!(line.contains(&format!("\"descKey\":\"{change}\"")), "{line}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn where_json(site: &Site) -> serde_json::Value {
    let output = site.command(&["where", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", in_words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}
