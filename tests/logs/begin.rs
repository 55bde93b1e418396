//! Where a log is begun: behind what is there (`start: Now`), also when what
//! follows goes wrong, and in files in which nothing was read yet.

use super::ground::{Ground, PATIENCE, on_each, pause};
use super::lines::{Delivered, Writer, in_short};
use super::trouble::gives_up_rights;
use crate::fault::{Fault, Shim};
use crate::site::wait_until;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

const EIO: i32 = 5;

/// Waits until it is remembered that a log is at this sequence, at its start.
fn wait_until_begun(ground: &Ground, log: &str, sequence: u64) {
    let path = ground.log(log);
    let is_begun = || {
        ground.places().iter().any(|place| {
            place["path"].as_str() == path.to_str()
                && place["sequence"].as_u64() == Some(sequence)
                && place["offset"].as_u64() == Some(0)
        })
    };
    assert!(wait_until(PATIENCE, is_begun), "{ground}: {:?}", ground.places());
}

/// Writes to a log that was at rest, rotates it, and writes to the next file,
/// while no daemon runs: both come.
fn written_and_rotated(ground: &Ground, log: &str, writer: &mut Writer) {
    writer.write(20);
    ground.logrotate(log, "rotate 9\ncreate");
    writer.reopen(&ground.log(log));
    writer.write(20);
    ground.catch_up();
}

/// A log was empty when it was begun with. What is written to that file is not
/// forgotten when it is rotated before it was read.
#[test]
fn an_empty_log_is_begun_with() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app.log"], start: Now"#, None);
        let mut writer = Writer::new(1, &ground.log("app.log"));
        let running = ground.start();
        wait_until_begun(ground, "app.log", 0);
        running.kill();
        written_and_rotated(ground, "app.log", &mut writer);
        ground.assert_printed(&[&writer]);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

/// A log changed its name, and nothing was at the old one yet: the same.
#[test]
fn nothing_is_left_at_a_name() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut renamed = Writer::new(1, &ground.log("a.log"));
        renamed.write(20);
        let running = ground.start();
        ground.wait_for(&[&renamed]);
        fs::rename(ground.log("a.log"), ground.log("b.log")).unwrap();
        wait_until_begun(ground, "a.log", 1);
        renamed.write(20);
        ground.wait_for(&[&renamed]);
        ground.wait_until_settled();
        running.kill();
        let mut new = Writer::new(2, &ground.log("a.log"));
        written_and_rotated(ground, "a.log", &mut new);
        ground.assert_printed(&[&renamed, &new]);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

/// A log was cut, and nothing written since, when the daemon died; then it is
/// copied and cut once more. What the copies have comes, and each cut is a gap.
#[test]
fn a_log_is_empty_after_a_cut() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app.log"]"#, None);
        let mut writer = Writer::new(1, &ground.log("app.log"));
        writer.write(20);
        let running = ground.start();
        ground.wait_for(&[&writer]);
        ground.wait_until_settled();
        ground.logrotate("app.log", "rotate 9\ncopytruncate");
        // Long enough to find it cut and empty, of which nothing is told.
        pause(Duration::from_millis(500));
        running.kill();
        writer.write(50);
        ground.logrotate("app.log", "rotate 9\ncopytruncate");
        writer.write(20);
        ground.catch_up();
        ground.assert_printed(&[&writer]);
        let gaps = ground.gaps();
        assert!(gaps.iter().all(|gap| gap.kind() == "truncated"), "{ground}: {gaps:?}");
        assert!((1..=2).contains(&gaps.len()), "{ground}: {gaps:?}");
    });
}

/// The disk fails just when the source was begun with, so that nothing is
/// settled and it is begun with once more. Now stays when it was.
#[test]
fn now_stays_when_it_was() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app.log"], start: Now"#, None);
        let well = ground.root().join("the disk is well");
        let mut writer = Writer::new(1, &ground.log("app.log"));
        writer.write(100);
        let mut command = ground.command(&["run"]);
        // The first time is when the file is opened.
        let fault = Fault::fail(&ground.out("printed.jsonl"), 2, EIO, true);
        let fault = fault.only("sync").unless(&well);
        let running = ground.start_with(Shim::build().command(&mut command, &fault));
        ground.wait_until_said("trying again in");
        assert!(ground.printed().is_empty(), "{ground}");
        writer.write(100);
        fs::write(&well, "").unwrap();
        writer.write(100);
        ground.wait_for(&[&writer]);
        running.stop();
        let delivered = ground.delivered();
        let missing = delivered.missing(&writer);
        assert!(missing.iter().copied().eq(0..100), "{ground}: {}", in_short(&missing));
        assert_eq!(delivered.duplicates(), 0, "{ground}");
        delivered.assert_in_order(ground);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

/// A log appears while the daemon is still busy with passing over a long one: it
/// was not there when the source was begun with, so it comes from its start.
#[test]
fn a_log_appears_beside_one_that_is_passed_over() {
    const BYTES: u64 = 256 << 20;
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"], start: Now"#, None);
        // It takes no room, but time.
        File::create(ground.log("a.log")).unwrap().set_len(BYTES).unwrap();
        let mut old = Writer::new(1, &ground.log("a.log"));
        old.raw(b"\n");
        let running = ground.start();
        let is_at_it = || running.bytes_read() > BYTES / 100;
        assert!(wait_until(PATIENCE, is_at_it), "{ground}");
        let mut new = Writer::new(2, &ground.root().join("new"));
        new.write(20);
        fs::rename(ground.root().join("new"), ground.log("b.log")).unwrap();
        ground.wait_for(&[&new]);
        old.write(20);
        new.write(20);
        ground.wait_for(&[&old, &new]);
        running.stop();
        let delivered = Delivered::new(&ground.printed_texts(), ground);
        delivered.assert_complete(&[&old, &new], 0, ground);
        assert_eq!(delivered.bare, 0, "{ground}: what was there came");
        ground.assert_settled();
    });
}

/// Only when a log is passed over to where it was is the source begun with.
#[test]
fn now_is_not_the_start_of_a_log_that_was_being_passed_over() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app.log"], start: Now"#, None);
        let mut writer = Writer::new(1, &ground.log("app.log"));
        writer.raw("x\n".repeat(100 << 20).as_bytes());
        let running = ground.start();
        // So long that a busy lane would have settled what it knows.
        let is_at_it = || running.bytes_read() > 1 << 20;
        assert!(wait_until(PATIENCE, is_at_it), "{ground}");
        pause(Duration::from_millis(1500));
        running.kill();
        ground.catch_up();
        writer.write(10);
        ground.catch_up();
        ground.assert_printed(&[&writer]);
        assert_eq!(ground.delivered().bare, 0, "{ground}: what was there came");
    });
}

/// A long line is handed out, or passed over, apart from those behind it.
#[test]
fn what_was_there_behind_a_long_line_is_passed_over() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app.log"], start: Now"#, None);
        let mut old = Writer::new(1, &ground.log("app.log"));
        old.raw(&[b"y".repeat(3_000_000), b"\nx\nx\n".to_vec()].concat());
        ground.catch_up();
        old.write(10);
        ground.catch_up();
        ground.assert_printed(&[&old]);
        assert_eq!(ground.delivered().bare, 0, "{ground}: what was there came");
    });
}

/// A place that a person has set is one in the file of that moment.
#[test]
fn a_place_that_was_set_is_found_in_the_rotated_file() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app.log"]"#, None);
        let path = ground.log("app.log");
        let mut writer = Writer::new(1, &path);
        writer.write(20);
        ground.catch_up();
        let end = fs::metadata(&path).unwrap().len();
        writer.write(20);
        ground.catch_up();
        let log = format!("logs:{}", path.display());
        let set = ["where", "--yes", "--set", "audit", &log, &format!("0:{end}")];
        assert!(ground.command(&set).status().unwrap().success(), "{ground}");
        written_and_rotated(ground, "app.log", &mut writer);
        let delivered = ground.delivered();
        assert_eq!(delivered.missing(&writer), [0; 0], "{ground}");
        assert_eq!(delivered.duplicates(), 20, "{ground}: those behind the place");
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

/// One of the logs may not be read when the source is begun with. The others are
/// begun with all the same: one that is made while no daemon runs comes from its
/// start.
#[test]
fn now_does_not_wait_for_a_log_that_may_not_be_read() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"], start: Now"#, None);
        let command = || {
            let mut command = ground.command(&["run"]);
            let is_root = rustix::process::geteuid().is_root();
            (!is_root || gives_up_rights(ground, &mut command)).then_some(command)
        };
        let Some(mut first) = command() else { return };
        let mut old = Writer::new(1, &ground.log("a.log"));
        old.raw(b"x\nx\n");
        let shut = ground.log("shut.log");
        fs::write(&shut, "x\n").unwrap();
        fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
        let running = ground.start_with(&mut first);
        ground.wait_until_it_waits_for("ermission denied");
        let passed = || ground.places().iter().any(|place| place["offset"] == 4);
        assert!(wait_until(PATIENCE, passed), "{ground}: {:?}", ground.places());
        old.write(20);
        ground.wait_for(&[&old]);
        running.stop();
        let mut new = Writer::new(2, &ground.log("new.log"));
        new.write(20);
        old.write(20);
        let running = ground.start_with(&mut command().unwrap());
        ground.wait_for(&[&old, &new]);
        running.stop();
        let delivered = ground.delivered();
        delivered.assert_complete(&[&old, &new], 0, ground);
        assert_eq!(delivered.bare, 0, "{ground}: what was there came");
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}
