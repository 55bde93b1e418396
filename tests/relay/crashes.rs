//! The receiver is killed, or the power fails, at every operation on its files; when
//! it is there again everything arrives, once.

use super::pair::{LONG, Pair, numbered};
use crate::fault::{Fault, Model, Shim, When, operations, power_loss};
use crate::site::wait_until;
use std::process::Stdio;

#[test]
fn killed_before_and_after_every_operation() {
    for when in [When::Before, When::After] {
        at_every_operation(when, None);
    }
}

#[test]
fn power_lost_at_every_operation() {
    at_every_operation(When::After, Some(Model::A));
    at_every_operation(When::After, Some(Model::B));
}

/// Lines in two logs, and one that was torn by a rotation.
fn prepare() -> Pair {
    let pair = Pair::with("", "");
    pair.append("a.log", &numbered(0..3000));
    pair.append("b.log", b"one\ntorn");
    std::fs::rename(pair.log("b.log"), pair.log("b.log.1")).unwrap();
    pair.append("b.log", b"two\n");
    pair
}

#[track_caller]
fn assert_all_there(pair: &Pair, context: &str) {
    pair.assert_received(&["a.log"], context);
    let b = std::fs::read_to_string(pair.received("b.log")).unwrap_or_default();
    assert_eq!(b, "one\ntorn\ntwo\n", "{context}");
    let notes = std::fs::read_to_string(pair.path("receiver/in/web1/logs/gaps.jsonl"));
    let notes = notes.unwrap_or_default();
    assert_eq!(
        notes.matches("\"line_feed_after\":\"incomplete\"").count(),
        1,
        "{context}"
    );
    assert_eq!(notes.lines().count(), 1, "{context}: {notes}");
}

fn at_every_operation(when: When, power: Option<Model>) {
    let shim = Shim::build();
    let pair = prepare();
    let root = pair.path("receiver").canonicalize().unwrap();
    let mut command = pair.receive_command();
    let counted = shim.command(&mut command, &Fault::count(&root));
    let mut counting = counted.stderr(Stdio::piped()).spawn().unwrap();
    pair.send().exits(0);
    let pid = rustix::process::Pid::from_child(&counting);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut stderr = Vec::new();
    std::io::Read::read_to_end(counting.stderr.as_mut().unwrap(), &mut stderr).unwrap();
    assert!(counting.wait().unwrap().success());
    assert_all_there(&pair, "a sound run");
    let count = operations(&stderr).expect("the shim counts");
    assert!(count > 20, "only {count} operations: is the shim at work?");
    for at in 1..=count {
        let context = format!("{when:?} operation {at}, power {power:?}");
        let pair = prepare();
        let root = pair.path("receiver").canonicalize().unwrap();
        let shadow = tempfile::tempdir_in(pair.dir.path()).unwrap();
        let mut fault = Fault::kill(&root, at, when);
        if power.is_some() {
            fault = fault.shadow(shadow.path());
        }
        let mut command = pair.receive_command();
        let mut receiver = pair.spawn("receiver", shim.command(&mut command, &fault));
        let sender = pair.sender();
        // It may also have come through everything.
        let is_over = wait_until(LONG, || {
            !receiver.is_running()
                || pair.where_is().stdout().matches("\"bytes_behind\":0").count() == 2
        });
        assert!(is_over, "{context}: {}", pair.said("sender"));
        receiver.kill();
        if let Some(model) = power {
            power_loss(&root, shadow.path(), model);
            // What it was told to do is not what is tested.
            pair.configure_receiver("");
        }
        let receiver = pair.listening();
        sender.kill();
        let ran = pair.send();
        assert!(ran.0.status.success(), "{context}: {ran}\n{}", pair.said("receiver"));
        receiver.stop();
        assert_all_there(&pair, &context);
    }
}
