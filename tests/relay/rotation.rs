//! What is received is rotated by logrotate.

use super::pair::{Pair, assert_eq_bytes, numbered};
use crate::site::{Daemon, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn logrotate(pair: &Pair, directives: &str) {
    let text = format!(
        "{} {{\n{directives}\nrotate 99\nmissingok\n}}\n",
        pair.received("a.log").display()
    );
    let config = pair.dir.write("logrotate.conf", text);
    let paths = ["/usr/sbin/logrotate", "/usr/bin/logrotate"];
    let program = paths.iter().find(|path| Path::new(path).exists());
    let mut command = Command::new(program.expect("install the package logrotate"));
    command.args(["--force", "--state"]).arg(pair.path("logrotate.state")).arg(config);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// All files that the log is in, the oldest first, put together.
fn all(pair: &Pair) -> Vec<u8> {
    let current = pair.received("a.log");
    let numbered =
        |number: u32| -> PathBuf { format!("{}.{number}", current.display()).into() };
    let mut bytes = Vec::new();
    for number in (1..=20).rev() {
        bytes.extend(fs::read(numbered(number)).unwrap_or_default());
    }
    bytes.extend(fs::read(&current).unwrap_or_default());
    bytes
}

#[test]
fn renamed_and_created_while_it_runs_and_while_not() {
    for directives in ["create 0600", "nocreate"] {
        let pair = Pair::new();
        let mut receiver = pair.listening();
        let sender = pair.sender();
        let mut written = Vec::new();
        for round in 0..8 {
            let more = numbered(round * 500..(round + 1) * 500);
            pair.append("a.log", &more);
            written.extend(more);
            let is_there = || all(&pair).len() >= written.len();
            assert!(wait_until(super::pair::LONG, is_there), "{}", pair.said("sender"));
            if round % 2 == 1 {
                pair.wait_until_settled();
                stop(receiver, round);
                logrotate(&pair, directives);
                receiver = pair.listening();
            } else {
                logrotate(&pair, directives);
            }
        }
        pair.wait_until_settled();
        sender.stop();
        receiver.stop();
        assert_eq_bytes(&all(&pair), &written, directives);
        let last = format!("{}.8", pair.received("a.log").display());
        assert!(fs::metadata(last).is_ok(), "it was rotated");
    }
}

fn stop(receiver: Daemon, round: usize) {
    if round % 4 == 1 { receiver.kill() } else { receiver.stop() }
}

/// Nothing is lost or there twice, also when the receiver is killed whenever and
/// rotated behind its back.
#[test]
fn killed_and_rotated_again_and_again() {
    let pair = Pair::new();
    let sender = pair.sender();
    let mut written = Vec::new();
    for round in 0..5 {
        let receiver = pair.listening();
        let more = numbered(round * 60_000..(round + 1) * 60_000);
        pair.append("a.log", &more);
        written.extend(more);
        let some = written.len() - 700_000;
        wait_until(super::pair::LONG, || all(&pair).len() >= some);
        receiver.kill();
        logrotate(&pair, "create 0600");
    }
    let receiver = pair.listening();
    pair.wait_until_settled();
    sender.stop();
    receiver.stop();
    assert_eq_bytes(&all(&pair), &written, "killed and rotated");
}
