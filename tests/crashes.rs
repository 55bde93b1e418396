//! The program dies, or the power fails, at every operation on its files; after
//! the next start nothing is missing and nothing is there twice.

use crate::fault::{Fault, Model, Shim, When, operations, power_loss};
use crate::site::{Site, in_words, small_journals};
use std::os::unix::process::ExitStatusExt;

#[test]
fn killed_before_and_after_every_operation() {
    for when in [When::Before, When::After] {
        at_every_operation(when, None);
    }
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
    let journals = small_journals(4);
    let site = Site::new();
    site.lay_out(&journals);
    let mut command = site.command(&["run", "--until-idle"]);
    let sound = shim.command(&mut command, &Fault::count(&site.out())).output().unwrap();
    assert!(sound.status.success(), "{}", in_words(&sound));
    site.assert_delivered(&journals, "a sound run");
    let count = operations(&sound.stderr).expect("the shim counts");
    assert!(count > 50, "only {count} operations: is the shim at work?");
    // Two threads write, so runs differ a little in their number of operations.
    for at in 1..=count + count / 10 {
        let context = format!("{when:?} operation {at}, power {power:?}");
        let site = Site::new();
        site.lay_out(&journals);
        let shadow = tempfile::tempdir_in(site.root()).unwrap();
        let mut fault = Fault::kill(&site.out(), at, when);
        if power.is_some() {
            fault = fault.shadow(shadow.path());
        }
        let mut command = site.command(&["run", "--until-idle"]);
        let killed = shim.command(&mut command, &fault).output().unwrap();
        let died = killed.status.signal() == Some(9);
        assert!(died || killed.status.success(), "{context}: {}", in_words(&killed));
        if let Some(model) = power {
            power_loss(&site.out(), shadow.path(), model);
        }
        let after = site.until_idle();
        assert!(after.status.success(), "{context}: {}", in_words(&after));
        site.assert_delivered(&journals, &context);
    }
}
