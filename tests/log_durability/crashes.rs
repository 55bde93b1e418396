//! Dies, or loses power, at every operation on its files, with several logs
//! rotated before and after.

use super::place::Place;
use crate::fault::{Fault, Model, Shim, When, operations, power_loss};
use crate::logs::receiver::Receiver;
use crate::site::in_words;
use std::os::unix::process::ExitStatusExt as _;

/// Whatever the operation at which it dies: no place is ahead of what was
/// delivered, and after the next start, between which and the death the logs are
/// rotated once more, nothing is missing and nothing is printed twice.
#[test]
fn killed_before_and_after_every_operation() {
    for when in [When::Before, When::After] {
        at_every_operation(when, None, 1);
    }
}

/// The same when the power goes, and with it all names that were not synced.
#[test]
fn power_lost_at_every_operation_and_with_it_what_was_renamed() {
    at_every_operation(When::After, Some(Model::A), 1);
}

/// The same when the power goes, and with it all bytes that were not synced.
#[test]
fn power_lost_at_every_operation_and_with_it_what_was_written() {
    at_every_operation(When::After, Some(Model::B), 1);
}

/// With a receiver in the net: it gets everything, some of it twice at most.
#[test]
fn killed_while_it_forwards() {
    let shim = Shim::build();
    let count = {
        let receiver = Receiver::new();
        count(&shim, &Place::new(Some(&receiver)))
    };
    for at in (1..count + 5).step_by(9) {
        let receiver = Receiver::new();
        let mut place = Place::new(Some(&receiver));
        let context = format!("forwarding, operation {at}");
        let mut command = place.command(&["run", "--until-idle"]);
        let fault = Fault::kill(&place.out(), at, When::Before);
        shim.command(&mut command, &fault).output().unwrap();
        place.rotate();
        place.catch_up(&context);
        place.assert_delivered(Some(&receiver), &context);
    }
}

/// How many operations a sound run has.
fn count(shim: &Shim, place: &Place) -> u64 {
    let mut command = place.command(&["run", "--until-idle"]);
    let sound = shim.command(&mut command, &Fault::count(&place.out())).output().unwrap();
    assert!(sound.status.success(), "{}", in_words(&sound));
    let count = operations(&sound.stderr).expect("the shim counts");
    assert!(count > 30, "only {count} operations: is the shim at work?");
    place.assert_delivered(None, "a sound run");
    count
}

fn at_every_operation(when: When, power: Option<Model>, step: usize) {
    let shim = Shim::build();
    let count = count(&shim, &Place::new(None));
    // Several threads write, so runs differ a little.
    for at in (1..=count + count / 10).step_by(step) {
        let context = format!("{when:?} operation {at}, power {power:?}");
        let mut place = Place::new(None);
        let shadow = tempfile::tempdir_in(place.root()).unwrap();
        let mut fault = Fault::kill(&place.out(), at, when);
        if power.is_some() {
            fault = fault.shadow(shadow.path());
        }
        let mut command = place.command(&["run", "--until-idle"]);
        let killed = shim.command(&mut command, &fault).output().unwrap();
        let died = killed.status.signal() == Some(9);
        assert!(died || killed.status.success(), "{context}: {}", in_words(&killed));
        if let Some(model) = power {
            power_loss(&place.out(), shadow.path(), model);
        }
        assert_not_ahead(&place, power, &context);
        place.rotate();
        place.catch_up(&context);
        place.assert_delivered(None, &context);
    }
}

/// No place has passed more entries than were printed in whole lines.
fn assert_not_ahead(place: &Place, power: Option<Model>, context: &str) {
    if !place.database().exists() {
        return;
    }
    let printed = std::fs::read(place.out().join("printed.jsonl")).unwrap_or_default();
    // What was printed and not synced may have become NULs.
    let lines = printed.split(|byte| *byte == b'\n').filter(|line| line.ends_with(b"}"));
    let printed = lines.count() as u64;
    let output = place.command(&["where", "--json"]).output().unwrap();
    let Ok(rows) = serde_json::from_slice::<Vec<serde_json::Value>>(&output.stdout)
    else {
        // A database that was only just being made.
        return;
    };
    let settled: u64 =
        rows.iter().filter_map(|row| row["entries_settled"].as_u64()).sum();
    assert!(
        settled <= printed,
        "{context}, {power:?}: {settled} settled, {printed} printed"
    );
}
