//! Logs that `logrotate` renames, in the ways it is configured to.

use super::ground::{Disk, Ground, PATIENCE, Watch, on_each, on_these, pause};
use super::lines::Writer;
use super::receiver::Receiver;
use crate::site::wait_until;
use std::fs;
use std::time::{Duration, Instant};

/// A log is rotated while it is followed, and its writer writes on in the file
/// that it has open: for so long, in seconds, after each rotation.
fn writes_on(ground: &Ground, directives: &str, seconds: &[f64]) {
    let receiver = Receiver::new();
    ground.configure(r#"paths: ["logs/app.log"]"#, Some(&receiver));
    let running = ground.start();
    let mut writer = Writer::new(1, &ground.log("app.log"));
    for seconds in seconds {
        writer.write(100);
        ground.logrotate("app.log", &format!("rotate 9\n{directives}"));
        let until = Instant::now() + Duration::from_secs_f64(*seconds);
        while Instant::now() < until {
            writer.write(10);
            pause(Duration::from_millis(20));
        }
        writer.reopen(&ground.log("app.log"));
        writer.write(100);
        ground.wait_for(&[&writer]);
    }
    assert!(wait_until(PATIENCE, || receiver.has(&writer.last())), "{ground}");
    running.stop();
    ground.assert_printed(&[&writer]);
    ground.assert_received(&receiver, &[&writer], 0);
    assert_eq!(ground.gaps().len(), 0, "{ground}: {directives}");
}

/// Whatever comes to the old file comes before whatever comes to the new one,
/// once, without a gap. (Thirty seconds became four: longer than anything that
/// the program waits for.)
#[test]
fn a_writer_writes_on_in_the_renamed_file() {
    on_each(|ground| writes_on(ground, "create", &[0.0, 1.0, 4.0]));
}

/// The same where there is no file until somebody writes one.
#[test]
fn a_writer_writes_on_and_no_file_is_made_for_it() {
    on_each(|ground| writes_on(ground, "nocreate", &[0.0, 0.7]));
}

/// The same where the file before the last is compressed.
#[test]
fn a_writer_writes_on_and_older_files_are_compressed() {
    let directives = "create\ncompress\ndelaycompress";
    on_each(|ground| writes_on(ground, directives, &[0.0, 0.7, 0.0]));
}

/// The same where files get dates.
#[test]
fn a_writer_writes_on_and_files_are_dated() {
    let directives = "create\ndateext\ndateformat -%Y%m%d-%s";
    on_each(|ground| writes_on(ground, directives, &[1.1, 1.1]));
}

/// A file is compressed at once, and its writer has been told before.
#[test]
fn a_file_is_compressed_at_once() {
    on_each(|ground| writes_on(ground, "create\ncompress", &[0.0, 0.0, 0.0]));
}

/// How many lines come shortly before a kill.
const UNSETTLED: u64 = 20;

/// A log is rotated once, three and five times while nobody follows it, which
/// leaves unread ends in several files. They come oldest first, and once.
fn rotated_while_down(ground: &Ground, directives: &str, is_killed: bool) {
    let receiver = Receiver::new();
    ground.configure(r#"paths: ["logs/app.log"]"#, Some(&receiver));
    let mut writer = Writer::new(1, &ground.log("app.log"));
    let is_dated = directives.contains("dateext");
    for rotations in if is_dated { [1, 2, 3] } else { [1, 3, 5] } {
        writer.write(100);
        let running = ground.start();
        ground.wait_for(&[&writer]);
        assert!(wait_until(PATIENCE, || receiver.has(&writer.last())), "{ground}");
        if is_killed {
            ground.wait_until_settled();
            writer.write(UNSETTLED);
            ground.wait_for(&[&writer]);
            running.kill();
        } else {
            running.stop();
        }
        for _ in 0..rotations {
            writer.write(50);
            if is_dated {
                // A second can name only one file.
                pause(Duration::from_millis(1001));
            }
            ground.logrotate("app.log", &format!("rotate 20\n{directives}"));
            writer.reopen(&ground.log("app.log"));
        }
    }
    writer.write(50);
    let running = ground.start();
    ground.wait_for(&[&writer]);
    assert!(wait_until(PATIENCE, || receiver.has(&writer.last())), "{ground}");
    running.stop();
    ground.assert_printed(&[&writer]);
    // What had not been settled when it was killed comes again, three times.
    let again_max = if is_killed { 3 * UNSETTLED } else { 0 };
    ground.assert_received(&receiver, &[&writer], again_max as usize);
    assert_eq!(ground.gaps().len(), 0, "{ground}: {directives}");
}

#[test]
fn renamed_while_nobody_looks() {
    on_each(|ground| rotated_while_down(ground, "create", false));
}

#[test]
fn renamed_after_a_kill() {
    on_each(|ground| rotated_while_down(ground, "create", true));
}

#[test]
fn compressed_while_nobody_looks() {
    on_each(|ground| rotated_while_down(ground, "create\ncompress", false));
}

#[test]
fn compressed_one_later_while_nobody_looks() {
    let directives = "create\ncompress\ndelaycompress";
    on_each(|ground| rotated_while_down(ground, directives, false));
}

#[test]
fn compressed_with_another_program_while_nobody_looks() {
    let directives = "create\ncompress\ncompresscmd /usr/bin/xz\ncompressext .xz";
    on_these(&[(Disk::Memory, Watch::Events), (Disk::Real, Watch::Poll)], |ground| {
        rotated_while_down(ground, directives, false);
    });
}

#[test]
fn dated_while_nobody_looks() {
    let directives = "create\ndateext\ndateformat -%Y%m%d-%s";
    on_each(|ground| rotated_while_down(ground, directives, false));
}

#[test]
fn dated_and_compressed_while_nobody_looks() {
    let directives = "create\ndateext\ndateformat -%Y%m%d-%s\ncompress";
    on_each(|ground| rotated_while_down(ground, directives, false));
}

/// The extension stays last, and files go to another folder, which the
/// configuration names.
#[test]
fn moved_to_another_folder() {
    on_each(|ground| {
        fs::create_dir(ground.root().join("old")).unwrap();
        ground.configure(r#"paths: ["logs/app.log"], rotated: ["old"]"#, None);
        let mut writer = Writer::new(1, &ground.log("app.log"));
        let directives = "rotate 9\ncreate\nextension .log\nolddir ../old\ncompress";
        for is_down in [false, true, false] {
            writer.write(100);
            let running = ground.start();
            ground.wait_for(&[&writer]);
            if !is_down {
                writer.write(20);
                ground.logrotate("app.log", directives);
                writer.reopen(&ground.log("app.log"));
                writer.write(20);
                ground.wait_for(&[&writer]);
            }
            running.stop();
            if is_down {
                for _ in 0..3 {
                    writer.write(20);
                    ground.logrotate("app.log", directives);
                    writer.reopen(&ground.log("app.log"));
                }
            }
        }
        ground.assert_printed(&[&writer]);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

/// As log4j does with `fileIndex` at its default `max`: the higher number is the
/// newer file, and none is renamed twice.
#[test]
fn numbers_that_rise_are_read_as_they_rise() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app.log"]"#, None);
        let mut writer = Writer::new(1, &ground.log("app.log"));
        let mut number = 0;
        let mut rotate = |writer: &mut Writer| {
            writer.write(20);
            number += 1;
            let rotated = ground.log(&format!("app.log.{number}"));
            fs::rename(ground.log("app.log"), rotated).unwrap();
            // Longer than times of files are coarse.
            pause(Duration::from_millis(20));
            writer.reopen(&ground.log("app.log"));
            writer.write(20);
        };
        for rotations in [2, 1, 3] {
            (0..rotations).for_each(|_| rotate(&mut writer));
            let running = ground.start();
            ground.wait_for(&[&writer]);
            for _ in 0..3 {
                rotate(&mut writer);
                ground.wait_for(&[&writer]);
            }
            running.stop();
        }
        ground.assert_printed(&[&writer]);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

/// Two rotated files whose names say the same of their age: neither hides the
/// other, so nothing is missing.
#[test]
fn of_two_files_of_one_age_each_is_read() {
    for names in [["app.log.bak", "app.log.old"], ["app.log.old", "app.log.bak"]] {
        on_each(|ground| {
            ground.configure(r#"paths: ["logs/app.log"]"#, None);
            let mut writer = Writer::new(1, &ground.log("app.log"));
            for name in names {
                writer.write(20);
                ground.catch_up();
                writer.write(20);
                fs::rename(ground.log("app.log"), ground.log(name)).unwrap();
                pause(Duration::from_millis(20));
                writer.reopen(&ground.log("app.log"));
            }
            writer.write(20);
            ground.catch_up();
            ground.assert_printed(&[&writer]);
            assert_eq!(ground.gaps().len(), 0, "{ground}");
        });
    }
}
