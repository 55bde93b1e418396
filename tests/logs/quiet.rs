//! Logs that wait for something, or that cannot be read, do not keep the daemon
//! busy.

use super::ground::{Ground, PATIENCE, Running, on_each, pause};
use super::lines::Writer;
use super::trouble::gives_up_rights;
use crate::site::wait_until;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(2);

/// How much it may read from files for one line, whatever else it looks at.
const BYTES_MAX: u64 = 32 * 1024;

/// A line comes to one log every now and then, and nothing else happens: it is
/// delivered, and the daemon is at rest in between.
fn assert_rests(ground: &Ground, running: &Running<'_>, writer: &mut Writer) {
    let began = Instant::now();
    let (time, bytes) = (running.processor_time(), running.bytes_read());
    let before = writer.written();
    while began.elapsed() < WATCHED {
        writer.write(1);
        ground.wait_for(&[writer]);
        pause(Duration::from_millis(50));
    }
    let used = running.processor_time() - time;
    let read = running.bytes_read() - bytes;
    let (lines, took) = (writer.written() - before, began.elapsed());
    let context = format!("{ground}: {used:?} of {took:?}, {read} bytes, {lines} lines");
    // At work all the time it has at least a third of a crowded processor.
    assert!(used < took / 5, "{context}");
    assert!(read < lines * BYTES_MAX, "{context}");
}

/// Two logs end in the middle of a line. They wait for the rest of it, each by
/// itself, and whole lines do not wait with them.
#[test]
fn logs_at_a_torn_end_do_not_wake_each_other() {
    let waits =
        ["", r#", join: Indent, join_wait: "100ms""#, r#", partial_after: "100ms""#];
    for wait in waits {
        on_each(|ground| {
            ground.configure(&format!(r#"paths: ["logs/*.log"]{wait}"#), None);
            let new = |name, log| Writer::new(name, &ground.log(log));
            let mut torn = [new(1, "a.log"), new(2, "b.log")];
            let mut whole = new(3, "c.log");
            torn.iter_mut().for_each(|writer| writer.write(10));
            whole.write(10);
            let last: Vec<_> = torn.iter().map(Writer::last).collect();
            let ends: Vec<_> = torn.iter_mut().map(|it| it.line(20_000)).collect();
            for (writer, end) in torn.iter_mut().zip(&ends) {
                writer.raw(&end[..10_000]);
            }
            let running = ground.start();
            let is_there = |last: &String| {
                ground.printed_texts().iter().any(|text| text.starts_with(last.as_str()))
            };
            assert!(wait_until(PATIENCE, || last.iter().all(is_there)), "{ground}");
            ground.wait_for(&[&whole]);
            assert_rests(ground, &running, &mut whole);
            for (writer, end) in torn.iter_mut().zip(&ends) {
                writer.raw(&end[10_000..]);
                writer.write(1);
            }
            ground.wait_for(&[&torn[0], &torn[1]]);
            running.stop();
            ground.assert_printed(&[&torn[0], &torn[1], &whole]);
            assert_eq!(ground.gaps().len(), 0, "{ground}");
        });
    }
}

/// A log is renamed to another name that is followed, and may not be read there
/// for a while. It is waited for at rest, and nothing of it is missing then.
#[test]
fn a_renamed_file_that_may_not_be_read_is_waited_for() {
    for is_running in [true, false] {
        on_each(|ground| renamed_and_shut(ground, is_running));
    }
}

fn renamed_and_shut(ground: &Ground, is_running: bool) {
    ground.configure(r#"paths: ["logs/*.log"]"#, None);
    let mut command = ground.command(&["run"]);
    if rustix::process::geteuid().is_root() && !gives_up_rights(ground, &mut command) {
        return;
    }
    let running = ground.start_with(&mut command);
    let mut shut = Writer::new(1, &ground.log("a.log"));
    let mut open = Writer::new(2, &ground.log("z.log"));
    shut.write(50);
    open.write(50);
    ground.wait_for(&[&shut, &open]);
    let may = |log: &str, mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(ground.log(log), mode).unwrap();
    };
    let rename = || {
        fs::rename(ground.log("a.log"), ground.log("a.tmp")).unwrap();
        may("a.tmp", 0o200);
        fs::rename(ground.log("a.tmp"), ground.log("b.log")).unwrap();
    };
    let running = if is_running {
        rename();
        running
    } else {
        running.stop();
        rename();
        let running = ground.start_with(&mut command);
        // Before somebody asks where it is, who may be another user.
        open.write(1);
        ground.wait_for(&[&open]);
        running
    };
    shut.write(20);
    ground.wait_until_it_waits_for("ermission denied");
    assert_rests(ground, &running, &mut open);
    may("b.log", 0o644);
    ground.wait_for(&[&shut]);
    shut.write(10);
    ground.wait_for(&[&shut]);
    running.stop();
    ground.assert_printed(&[&shut, &open]);
    assert_eq!(ground.gaps().len(), 0, "{ground}");
}

/// A link to the newest of several logs, all of which are followed, is made to
/// point to the next one: each is followed once, under its own name.
#[test]
fn a_link_to_the_newest_log_points_to_the_next_one() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let point_to = |log: &str| {
            let new = ground.root().join("link");
            symlink(Path::new(log), &new).unwrap();
            fs::rename(new, ground.log("current.log")).unwrap();
        };
        let mut first = Writer::new(1, &ground.log("server-1.log"));
        first.write(20);
        point_to("server-1.log");
        let running = ground.start();
        ground.wait_for(&[&first]);
        ground.wait_until_said("is the same file as");
        let mut second = Writer::new(2, &ground.log("server-2.log"));
        second.write(20);
        ground.wait_for(&[&second]);
        point_to("server-2.log");
        assert_rests(ground, &running, &mut second);
        first.write(10);
        ground.wait_for(&[&first]);
        assert_rests(ground, &running, &mut first);
        running.stop();
        ground.assert_printed(&[&first, &second]);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}
