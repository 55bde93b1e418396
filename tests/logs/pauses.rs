//! The daemon sleeps, as on a machine that is suspended or in a debugger, while
//! its log is rotated.

use super::ground::{Ground, on_each, pause};
use super::lines::Writer;
use std::time::Duration;

/// A sleep of a few seconds, not of a minute: longer than the time after which
/// the program takes it that anything may have come and gone.
const SLEEP: Duration = Duration::from_secs(4);

/// Rotates three times during the sleep, with lines before and after each, of
/// which `rotate` rotated files are kept. Returns the writer, and the numbers of
/// the lines that are in no file.
fn rotates_in_its_sleep(ground: &Ground, kept: u64, more: &str) -> (Writer, Vec<u64>) {
    ground.configure(r#"paths: ["logs/app.log"]"#, None);
    let running = ground.start();
    let mut writer = Writer::new(1, &ground.log("app.log"));
    writer.write(100);
    ground.wait_for(&[&writer]);
    running.freeze();
    let mut lost = Vec::new();
    for rotation in 0..3 {
        let from = writer.written();
        writer.write(50);
        // What it has open it can read to its end, whatever became of it.
        if rotation > 0 && rotation + kept < 3 {
            lost.extend(from..writer.written());
        }
        let directives = format!("rotate {kept}\ncreate\n{more}");
        ground.logrotate("app.log", &directives);
        writer.reopen(&ground.log("app.log"));
    }
    writer.write(50);
    pause(SLEEP);
    running.wake();
    ground.wait_for(&[&writer]);
    writer.write(50);
    ground.wait_for(&[&writer]);
    running.stop();
    (writer, lost)
}

/// As long as the files are there, nothing is missing.
fn all_is_there(ground: &Ground, more: &str) {
    let (writer, _) = rotates_in_its_sleep(ground, 3, more);
    ground.assert_printed(&[&writer]);
    assert_eq!(ground.gaps().len(), 0, "{ground}");
}

#[test]
fn what_was_rotated_in_its_sleep_is_read() {
    on_each(|ground| all_is_there(ground, ""));
}

#[test]
fn what_was_compressed_in_its_sleep_is_read() {
    on_each(|ground| all_is_there(ground, "compress"));
}

/// What was deleted is missing, nothing else is, and that is one gap.
fn all_but_one_gap_is_there(ground: &Ground, kept: u64) {
    let (writer, lost) = rotates_in_its_sleep(ground, kept, "");
    let delivered = ground.delivered();
    assert_eq!(delivered.missing(&writer), lost, "{ground}");
    assert_eq!(delivered.duplicates(), 0, "{ground}");
    delivered.assert_in_order(ground);
    assert_eq!(ground.gaps().len(), 1, "{ground}");
    ground.assert_settled();
}

#[test]
fn a_file_that_was_deleted_in_its_sleep_is_a_gap() {
    on_each(|ground| all_but_one_gap_is_there(ground, 1));
}

/// The file at hand was deleted and can still be read; whether there was another
/// one between it and those that are there, nobody knows.
#[test]
fn what_may_have_been_deleted_in_its_sleep_is_a_gap() {
    on_each(|ground| all_but_one_gap_is_there(ground, 2));
}
