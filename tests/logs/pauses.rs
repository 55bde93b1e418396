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
#[test]
fn what_was_rotated_in_its_sleep_is_read() {
    for more in ["", "compress"] {
        on_each(|ground| {
            let (writer, _) = rotates_in_its_sleep(ground, 3, more);
            ground.assert_printed(&[&writer]);
            assert_eq!(ground.gaps().len(), 0, "{ground}");
        });
    }
}

/// What was deleted is missing, nothing else is, and that is one gap.
#[test]
fn what_was_deleted_in_its_sleep_is_one_gap() {
    for kept in [1, 2] {
        on_each(|ground| {
            let (writer, lost) = rotates_in_its_sleep(ground, kept, "");
            let delivered = ground.delivered();
            assert_eq!(delivered.missing(&writer), lost, "{ground}");
            assert_eq!(delivered.duplicates(), 0, "{ground}");
            delivered.assert_in_order(ground);
            let gaps = ground.gaps().len();
            assert_eq!(gaps, 1, "{ground}: {kept} are kept");
            ground.assert_settled();
        });
    }
}
