//! Dies, or loses power, at every operation on its files, with a real server.

use super::delivery::{Office, smtp};
use super::postfix::Postfix;
use crate::fault::{Fault, Model, Shim, When, operations, power_loss};
use crate::site::in_words;
use std::os::unix::process::ExitStatusExt as _;

const RHYTHM: &str = r#"digest: (after: "0s", every: "0s", show: 1000)"#;

#[test]
fn killed_before_and_after_every_operation() {
    at_every_operation(When::Before, None);
    at_every_operation(When::After, None);
}

#[test]
fn power_lost_at_every_operation_and_with_it_what_was_renamed() {
    at_every_operation(When::After, Some(Model::A));
}

#[test]
fn power_lost_at_every_operation_and_with_it_what_was_written() {
    at_every_operation(When::After, Some(Model::B));
}

fn at_every_operation(when: When, power: Option<Model>) {
    let shim = Shim::build();
    let postfix = Postfix::start();
    let office = |at: u64| {
        let mut office = Office::new(&format!("mail-{at}"), &smtp(&postfix), RHYTHM);
        office.write_lines(10);
        office
    };
    let sound = office(0);
    let mut command = sound.command(&["run", "--until-idle"]);
    let ran = shim.command(&mut command, &Fault::count(&sound.out())).output().unwrap();
    assert!(ran.status.success(), "{}", in_words(&ran));
    sound.assert_all_once(&postfix, 0, "a sound run");
    let count = operations(&ran.stderr).expect("the shim counts");
    assert!(count > 20, "only {count} operations: is the shim at work?");
    let mut deaths = 0;
    for at in 1..=count + count / 10 {
        let context = format!("{when:?} operation {at}, power {power:?}");
        let mut office = office(at);
        let shadow = tempfile::tempdir_in(office.root()).unwrap();
        let mut fault = Fault::kill(&office.out(), at, when);
        if power.is_some() {
            fault = fault.shadow(shadow.path());
        }
        let mut command = office.command(&["run", "--until-idle"]);
        let killed = shim.command(&mut command, &fault).output().unwrap();
        let died = killed.status.signal() == Some(9);
        assert!(died || killed.status.success(), "{context}: {}", in_words(&killed));
        if let Some(model) = power {
            power_loss(&office.out(), shadow.path(), model);
        }
        deaths += u64::from(died);
        office.write_lines(5);
        office.until_idle();
        office.assert_all_once(&postfix, 1, &context);
    }
    assert!(deaths >= count * 9 / 10, "{deaths} deaths at {count} operations");
}
