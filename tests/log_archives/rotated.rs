//! Files that are compressed before, while and after they are read.

use super::tools::{Logs, TOOLS};
use crate::logs::ground::{Disk, Ground, PATIENCE, Watch, on_each, on_these, pause};
use crate::logs::receiver::Receiver;
use crate::site::wait_until;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

/// What the daemon does while files are renamed and compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Runs,
    Sleeps,
    Stopped,
    Killed,
}

/// The end of a file was not read when it was renamed and compressed. It comes
/// from the compressed file: everything, and nothing twice.
fn an_unread_end(ground: &Ground, meanwhile: Meanwhile) {
    let receiver = Receiver::new();
    ground.configure(r#"paths: ["logs/*.log"]"#, Some(&receiver));
    let mut logs = Logs::new(ground);
    let mut running = Some(ground.start());
    for _ in 0..2 {
        logs.write(100);
        ground.wait_for(&logs.all());
        match meanwhile {
            Meanwhile::Runs => {}
            Meanwhile::Sleeps => running.iter().for_each(|it| it.freeze()),
            Meanwhile::Stopped => running.take().unwrap().stop(),
            Meanwhile::Killed => running.take().unwrap().kill(),
        }
        logs.write(100);
        logs.rename();
        logs.compress();
        logs.reopen();
        logs.write(20);
        match meanwhile {
            Meanwhile::Runs => {}
            Meanwhile::Sleeps => running.iter().for_each(|it| it.wake()),
            Meanwhile::Stopped | Meanwhile::Killed => running = Some(ground.start()),
        }
        ground.wait_for(&logs.all());
    }
    let has_all = || logs.writers.iter().all(|writer| receiver.has(&writer.last()));
    assert!(wait_until(PATIENCE, has_all), "{ground}: the receiver waits");
    running.unwrap().stop();
    logs.assert_whole();
    // Killed, it may have settled nothing since it began, either time.
    let is_killed = meanwhile == Meanwhile::Killed;
    let again_max = if is_killed { (100 + 320) * TOOLS.len() } else { 0 };
    ground.assert_received(&receiver, &logs.all(), again_max);
}

#[test]
fn an_unread_end_is_compressed_while_it_runs() {
    on_each(|ground| an_unread_end(ground, Meanwhile::Runs));
}

#[test]
fn an_unread_end_is_compressed_while_it_sleeps() {
    on_each(|ground| an_unread_end(ground, Meanwhile::Sleeps));
}

#[test]
fn an_unread_end_is_compressed_while_it_is_stopped() {
    on_each(|ground| an_unread_end(ground, Meanwhile::Stopped));
}

#[test]
fn an_unread_end_is_compressed_after_a_kill() {
    on_each(|ground| an_unread_end(ground, Meanwhile::Killed));
}

/// A file that was read to its end is compressed: nothing of it comes again,
/// not even after a restart.
fn read_to_the_end(ground: &Ground, runs: bool) {
    ground.configure(r#"paths: ["logs/*.log"]"#, None);
    let mut logs = Logs::new(ground);
    let mut running = Some(ground.start());
    for _ in 0..3 {
        logs.write(100);
        logs.rename();
        logs.reopen();
        // Of a file that follows, or of none that has anything in it yet.
        for lines in [0, 10] {
            logs.write(lines);
            ground.wait_for(&logs.all());
            if !runs {
                running.take().unwrap().stop();
            }
            if lines > 0 {
                logs.compress();
            }
            if !runs {
                running = Some(ground.start());
            }
        }
        logs.write(10);
        ground.wait_for(&logs.all());
    }
    running.unwrap().stop();
    ground.catch_up();
    logs.assert_whole();
}

#[test]
fn what_was_read_is_compressed_while_it_runs() {
    on_each(|ground| read_to_the_end(ground, true));
}

#[test]
fn what_was_read_is_compressed_while_it_is_stopped() {
    on_each(|ground| read_to_the_end(ground, false));
}

/// What was read to its end, and has a successor that is read, is not read
/// again when it is compressed: a look at its start is all it costs.
#[test]
fn a_compressed_file_that_was_read_is_only_glanced_at() {
    on_these(&[(Disk::Memory, Watch::Poll), (Disk::Real, Watch::Events)], |ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut logs = Logs::new(ground);
        let mut state = 1_u64;
        for (writer, tool) in logs.writers.iter_mut().zip(TOOLS) {
            writer.write(1);
            let mut text = String::new();
            // Not to be compressed to less than half.
            for _ in 0..3000 {
                for _ in 0..64 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    text += &format!("{:015x}", state >> 4);
                }
                text.push('\n');
            }
            let mut log = OpenOptions::new()
                .append(true)
                .open(ground.log(&format!("{}.log", tool.name)))
                .unwrap();
            log.write_all(text.as_bytes()).unwrap();
        }
        let running = ground.start();
        logs.rename();
        logs.reopen();
        logs.write(1);
        ground.wait_for(&logs.all());
        let before = running.bytes_read();
        logs.compress();
        let packed: u64 = TOOLS
            .iter()
            .map(|tool| fs::metadata(logs.packed(*tool)).unwrap().len())
            .sum();
        for _ in 0..5 {
            logs.write(1);
            ground.wait_for(&logs.all());
            pause(Duration::from_millis(150));
        }
        let read = running.bytes_read() - before;
        assert!(packed > 4_000_000, "{packed}");
        assert!(read < packed / 4, "{ground}: {read} bytes of {packed} were read again");
        running.stop();
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}
