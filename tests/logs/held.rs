//! A receiver that is slow, away, or lets go of the connection, while the logs
//! are rotated and deleted.

use super::ground::{Ground, PATIENCE, on_each};
use super::lines::{Delivered, Writer};
use super::receiver::Receiver;
use crate::site::wait_until;
use std::fs;

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
            writer.write(UNSETTLED);
            match fault % 2 {
                0 => receiver.reset(),
                _ => receiver.go_away(true),
            }
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
