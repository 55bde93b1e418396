//! A receiver that is slow, away, or lets go of the connection, while the logs
//! are rotated and deleted.

use super::ground::{Ground, PATIENCE, on_each, pause};
use super::lines::{Delivered, Writer};
use super::receiver::Receiver;
use crate::site::wait_until;
use std::fs::{self, File};
use std::io::{PipeReader, Read as _, Write as _};
use std::process::Command;
use std::time::Duration;

/// More than fits into a batch and all buffers on the way.
const BYTES: usize = 24_000_000;

/// Writes while the receiver takes nothing, deletes the log, and lets the
/// receiver take again. Returns what arrived, and how many bytes did not.
fn deleted_unread(ground: &Ground, policy: &str) -> (Delivered, u64) {
    let receiver = Receiver::new();
    let to = receiver.address();
    ground.configure_with(
        &format!(r#"paths: ["logs/app.log"]{policy}"#),
        &format!("\"central\": Forward(from: [\"logs\"], to: \"{to}\", format: Lines)"),
    );
    let running = ground.start();
    let path = ground.log("app.log");
    let mut writer = Writer::new(1, &path);
    writer.write(100);
    assert!(wait_until(PATIENCE, || receiver.has(&writer.last())), "{ground}");
    receiver.stall(true);
    let payload = 60_000;
    let mut lengths: Vec<u64> = vec![0; 100];
    while lengths.iter().sum::<u64>() < BYTES as u64 {
        let line = writer.line(payload);
        writer.raw(&line);
        lengths.push(line.len() as u64);
    }
    ground.wait_until_said("takes no more for now");
    fs::remove_file(&path).unwrap();
    writer.reopen(&path);
    writer.write(10);
    receiver.stall(false);
    let is_there = wait_until(PATIENCE, || receiver.has(&writer.last()));
    assert!(is_there, "{ground}: {} lines", receiver.count());
    running.stop();
    let delivered = Delivered::new(&receiver.lines(), ground);
    delivered.assert_in_order(ground);
    assert_eq!(delivered.duplicates(), 0, "{ground}");
    let missing = delivered.missing(&writer);
    let lost = missing.iter().map(|number| lengths[*number as usize]).sum();
    (delivered, lost)
}

/// Nothing else has it any more, and it is read to its end all the same.
#[test]
fn a_deleted_file_is_read_to_its_end() {
    on_each(|ground| {
        let (_, lost) = deleted_unread(ground, "");
        assert_eq!(lost, 0, "{ground}");
    });
}

/// Where its space is wanted at once, it is given up, and said how much of it.
#[test]
fn a_deleted_file_is_given_up_where_that_is_wanted() {
    for policy in [", on_deleted: Release", ", held_bytes_max: 1000000"] {
        on_each(|ground| {
            let (_, lost) = deleted_unread(ground, policy);
            assert!(lost > 0, "{ground}: {policy}");
            let words = format!("{lost} bytes of it were given up");
            assert!(ground.said().contains(&words), "{ground}: no {words:?}");
            assert_eq!(ground.said().matches("gap").count(), 1, "{ground}");
        });
    }
}

/// What is printed goes through a pipe to somebody who takes his time, so that
/// to read a deleted file to its end takes longer than a moment. Meanwhile one
/// file comes and goes, which may have been the next one: that is a gap, and
/// nothing else is missing.
#[test]
fn a_file_that_comes_and_goes_meanwhile_is_a_gap() {
    on_each(|ground| {
        let source = r#"paths: ["logs/app.log"]"#;
        ground.configure_with(source, r#""audit": Print(from: ["logs"], to: "-")"#);
        let (taken, given) = std::io::pipe().unwrap();
        let printed = File::create(ground.out("printed.jsonl")).unwrap();
        let mut writer = Writer::new(1, &ground.log("app.log"));
        std::thread::scope(|scope| {
            let running = ground.start_with(ground.command(&["run"]).stdout(given));
            scope.spawn(|| take_slowly(taken, printed));
            writer.write(1);
            ground.wait_for(&[&writer]);
            for _ in 0..1000 {
                let line = writer.line(10_000);
                writer.raw(&line);
            }
            let is_at_it = || ground.printed().len() > 50;
            assert!(wait_until(PATIENCE, is_at_it), "{ground}");
            let mut lost = 0..0;
            for rotation in 0..3 {
                // The one before is overwritten.
                ground.logrotate("app.log", "rotate 1\ncreate");
                writer.reopen(&ground.log("app.log"));
                let from = writer.written();
                writer.write(20);
                if rotation == 0 {
                    lost = from..writer.written();
                }
            }
            ground.wait_for(&[&writer]);
            running.stop();
            let delivered = ground.delivered();
            assert_eq!(delivered.missing(&writer), lost.collect::<Vec<_>>(), "{ground}");
            assert_eq!(delivered.duplicates(), 0, "{ground}");
            delivered.assert_in_order(ground);
        });
        let gaps = ground.gaps();
        assert!(gaps.len() == 1 && gaps[0].kind() == "missing", "{ground}: {gaps:?}");
        ground.assert_settled();
    });
}

/// A file is to be given up when it is deleted, and is compressed while it is
/// far from read: what is left stands in the compressed one, and all of it comes.
#[test]
fn a_file_that_was_compressed_is_not_given_up() {
    on_each(|ground| {
        let source = r#"paths: ["logs/*.log"], held_bytes_max: 1000"#;
        ground.configure_with(source, r#""audit": Print(from: ["logs"], to: "-")"#);
        let (taken, given) = std::io::pipe().unwrap();
        let printed = File::create(ground.out("printed.jsonl")).unwrap();
        let path = ground.log("app-2026-01-01.log");
        let mut writer = Writer::new(1, &path);
        for _ in 0..600 {
            let line = writer.line(10_000);
            writer.raw(&line);
        }
        std::thread::scope(|scope| {
            let running = ground.start_with(ground.command(&["run"]).stdout(given));
            scope.spawn(|| take_slowly(taken, printed));
            let is_at_it = || ground.printed().len() > 20;
            assert!(wait_until(PATIENCE, is_at_it), "{ground}");
            let gzip = Command::new("gzip").arg("-1").arg(&path).status().unwrap();
            assert!(gzip.success(), "{ground}");
            assert!(ground.printed().len() < 500, "{ground}: was read too soon");
            ground.wait_for(&[&writer]);
            running.stop();
        });
        ground.delivered().assert_complete(&[&writer], 0, ground);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

/// Two megabytes a second at most.
fn take_slowly(mut from: PipeReader, mut to: File) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        to.write_all(&buffer[..count]).unwrap();
        pause(Duration::from_millis(30));
    }
}

/// The receiver resets the connection, and is away for a while, and the log is
/// rotated meanwhile. Nothing is missing, and nothing comes again but what came
/// after the last settled place.
#[test]
fn a_receiver_that_lets_go_gets_everything() {
    on_each(|ground| {
        let receiver = Receiver::new();
        ground.configure(r#"paths: ["logs/app.log"]"#, Some(&receiver));
        let running = ground.start();
        let mut writer = Writer::new(1, &ground.log("app.log"));
        let is_there = |writer: &Writer| receiver.has(&writer.last());
        let faults = 4;
        for fault in 0..faults {
            writer.write(50);
            assert!(wait_until(PATIENCE, || is_there(&writer)), "{ground}");
            ground.wait_until_settled();
            let ended = receiver.ended();
            match fault % 2 {
                0 => receiver.reset(),
                _ => receiver.go_away(true),
            }
            // What the receiver's system has taken, and its program not read, is
            // lost with the connection: so nothing is on its way.
            assert!(wait_until(PATIENCE, || receiver.ended() > ended), "{ground}");
            writer.write(UNSETTLED);
            ground.logrotate("app.log", "rotate 9\ncreate\ncompress");
            writer.reopen(&ground.log("app.log"));
            writer.write(UNSETTLED);
            ground.wait_for(&[&writer]);
            receiver.go_away(false);
        }
        assert!(wait_until(PATIENCE, || is_there(&writer)), "{ground}");
        running.stop();
        ground.assert_printed(&[&writer]);
        let again_max = faults * 2 * UNSETTLED;
        ground.assert_received(&receiver, &[&writer], again_max as usize);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

/// How many lines come at once when something goes wrong.
const UNSETTLED: u64 = 20;
