//! Files that are there and cannot be read.

use super::ground::{Ground, on_each, pause, stays};
use super::lines::Writer;
use crate::fault::{Fault, Shim};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const EIO: i32 = 5;

/// The disk fails in the middle of one of two logs. Nothing is passed over, the
/// other log is followed on, it is said what is wrong and not over and over, and
/// when the disk works again all of it comes.
#[test]
fn a_file_that_cannot_be_read_is_tried_again() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let well = ground.root().join("the disk is well");
        fs::write(&well, "").unwrap();
        let shim = Shim::build();
        let mut command = ground.command(&["run"]);
        let fault = Fault::fail_reads(&ground.log("a.log"), EIO).unless(&well);
        let mut running = ground.start_with(shim.command(&mut command, &fault));
        let mut ill = Writer::new(1, &ground.log("a.log"));
        let mut other = Writer::new(2, &ground.log("b.log"));
        ill.write(100);
        other.write(100);
        ground.wait_for(&[&ill, &other]);
        ground.wait_until_settled();
        fs::remove_file(&well).unwrap();
        let before = place_of(ground, "a.log");
        ill.write(100);
        ground.wait_until_said("os error 5");
        other.write(100);
        ground.wait_for(&[&other]);
        let is_quiet = || ground.said().matches("os error 5").count() <= 3;
        assert!(stays(Duration::from_secs(2), is_quiet), "{ground}");
        assert_eq!(ground.printed().len(), 300, "{ground}");
        assert_eq!(place_of(ground, "a.log"), before, "{ground}: it moved");
        running.assert_alive();
        fs::write(&well, "").unwrap();
        ground.wait_for(&[&ill]);
        ill.write(10);
        ground.wait_for(&[&ill]);
        running.stop();
        ground.assert_printed(&[&ill, &other]);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

fn place_of(ground: &Ground, log: &str) -> (u64, u64) {
    let path = ground.log(log);
    let places = ground.places();
    let place = places.iter().find(|it| it["path"].as_str() == path.to_str()).unwrap();
    (place["sequence"].as_u64().unwrap(), place["offset"].as_u64().unwrap())
}

/// A log may not be read for a while, as after a rotation that forgot the mode.
/// Of the superuser, who may read everything, another user is made.
#[test]
fn a_file_that_may_not_be_read_is_waited_for() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut command = ground.command(&["run"]);
        if rustix::process::geteuid().is_root() && !gives_up_rights(ground, &mut command)
        {
            return;
        }
        let running = ground.start_with(&mut command);
        let mut shut = Writer::new(1, &ground.log("a.log"));
        let mut open = Writer::new(2, &ground.log("b.log"));
        shut.write(100);
        open.write(100);
        ground.wait_for(&[&shut, &open]);
        fs::rename(ground.log("a.log"), ground.log("a.log.1")).unwrap();
        let may = |mode| fs::Permissions::from_mode(mode);
        fs::write(ground.log("a.log"), "").unwrap();
        fs::set_permissions(ground.log("a.log"), may(0o200)).unwrap();
        shut.reopen(&ground.log("a.log"));
        shut.write(100);
        ground.wait_until_it_waits_for("ermission denied");
        open.write(100);
        ground.wait_for(&[&open]);
        pause(Duration::from_secs(2));
        assert_eq!(ground.printed().len(), 300, "{ground}");
        fs::set_permissions(ground.log("a.log"), may(0o644)).unwrap();
        ground.wait_for(&[&shut]);
        shut.write(10);
        ground.wait_for(&[&shut]);
        running.stop();
        ground.assert_printed(&[&shut, &open]);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
        let count = ground.said().matches("ermission denied").count();
        assert!(count <= 3, "{ground}: said {count} times");
    });
}

/// Lets a command run as a user without rights; says so when that cannot be.
pub(super) fn gives_up_rights(ground: &Ground, command: &mut Command) -> bool {
    const NOBODY: u32 = 65534;
    let program = env!("CARGO_BIN_EXE_tripline");
    let mut other = Command::new(program);
    let other = other.arg("--version").uid(NOBODY).gid(NOBODY).output();
    if !other.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: another user may not run {program}");
        return false;
    }
    let all: [&Path; 2] = [ground.root(), &ground.out("")];
    all.iter().for_each(|path| chown(path, Some(NOBODY), Some(NOBODY)).unwrap());
    command.uid(NOBODY).gid(NOBODY);
    true
}

/// When the daemon was told to stop while a file cannot be read, it stops.
#[test]
fn a_daemon_stops_while_a_file_cannot_be_read() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut writer = Writer::new(1, &ground.log("a.log"));
        writer.write(100);
        let mut command = ground.command(&["run"]);
        let fault = Fault::fail_reads(&ground.log("a.log"), EIO);
        let running = ground.start_with(Shim::build().command(&mut command, &fault));
        ground.wait_until_it_waits_for("os error 5");
        running.stop();
        ground.catch_up();
        ground.assert_printed(&[&writer]);
    });
}
