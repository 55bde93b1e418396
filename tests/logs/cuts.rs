//! Files that are cut to nothing where they are: copied before, as `logrotate`
//! does with `copytruncate`, or not.
//!
//! What is written between the copy and the cut is in no file, and nobody can
//! know whether there was something: each cut is a gap.

use super::ground::{Ground, PATIENCE, Running, on_each, pause};
use super::lines::{Delivered, Writer};
use super::receiver::Receiver;
use crate::site::wait_until;
use std::fs::{self, OpenOptions};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// How many bytes a file has when it is cut.
const BEFORE: usize = 10_000;

/// How the file has grown when somebody looks again, compared with before.
const REGROWN: [usize; 3] = [BEFORE / 2, BEFORE, BEFORE * 2];

const COPYTRUNCATE: &str = "rotate 9\ncopytruncate";

/// Writes to a log and cuts it, as often as there are sizes, while the daemon
/// is away or asleep; `cut` is what happens meanwhile.
fn cut_unseen(ground: &Ground, is_asleep: bool, cut: fn(&Ground, &mut Writer)) -> Writer {
    ground.configure(r#"paths: ["logs/app.log"]"#, None);
    let mut writer = Writer::new(1, &ground.log("app.log"));
    let mut running = Some(ground.start());
    for size in REGROWN {
        let have = fs::metadata(ground.log("app.log")).unwrap().len() as usize;
        // So that the sizes afterwards are those before.
        writer.write_bytes(3 * BEFORE - have);
        ground.wait_for(&[&writer]);
        let asleep = match is_asleep {
            true => running.take().inspect(Running::freeze),
            false => {
                running.take().unwrap().stop();
                None
            }
        };
        cut(ground, &mut writer);
        writer.write_bytes(size * 3);
        running = match asleep {
            Some(running) => {
                running.wake();
                Some(running)
            }
            None => Some(ground.start()),
        };
        ground.wait_for(&[&writer]);
    }
    running.unwrap().stop();
    writer
}

fn copied_first(ground: &Ground, _: &mut Writer) {
    ground.logrotate("app.log", COPYTRUNCATE);
}

fn only_cut(ground: &Ground, _: &mut Writer) {
    OpenOptions::new().write(true).truncate(true).open(ground.log("app.log")).unwrap();
}

/// Nothing was written between copy and cut, so nothing may be missing; but that
/// is not known, so a gap is announced for each cut, and said what was cut.
fn assert_announced(ground: &Ground, writer: &Writer, kinds: &[&str]) {
    ground.assert_printed(&[writer]);
    let gaps = ground.gaps();
    assert_eq!(gaps.len(), REGROWN.len(), "{ground}");
    let are_cuts = gaps.iter().all(|gap| kinds.contains(&gap.kind()));
    assert!(are_cuts, "{ground}: {gaps:?}");
    assert!(ground.said().contains("app.log was cut"), "{ground}");
}

#[test]
fn copied_and_cut_while_the_daemon_sleeps() {
    on_each(|ground| {
        let writer = cut_unseen(ground, true, copied_first);
        assert_announced(ground, &writer, &["truncated"]);
    });
}

#[test]
fn copied_and_cut_while_no_daemon_runs() {
    on_each(|ground| {
        let writer = cut_unseen(ground, false, copied_first);
        assert_announced(ground, &writer, &["truncated"]);
    });
}

#[test]
fn cut_while_the_daemon_sleeps() {
    on_each(|ground| {
        let writer = cut_unseen(ground, true, only_cut);
        assert_announced(ground, &writer, &["truncated", "replaced"]);
    });
}

#[test]
fn cut_while_no_daemon_runs() {
    on_each(|ground| {
        let writer = cut_unseen(ground, false, only_cut);
        assert_announced(ground, &writer, &["truncated", "replaced"]);
    });
}

/// What was written after the last look and copied before the cut comes from the
/// copy, once.
#[test]
fn the_end_that_was_copied_comes_from_the_copy() {
    for is_asleep in [true, false] {
        on_each(|ground| {
            let writer = cut_unseen(ground, is_asleep, |ground, writer| {
                writer.write(20);
                ground.logrotate("app.log", COPYTRUNCATE);
            });
            assert_announced(ground, &writer, &["truncated"]);
        });
    }
}

/// The copy is compressed at once.
#[test]
fn the_end_that_was_copied_comes_from_the_compressed_copy() {
    on_each(|ground| {
        let writer = cut_unseen(ground, false, |ground, writer| {
            writer.write(20);
            ground.logrotate("app.log", "rotate 9\ncopytruncate\ncompress");
        });
        assert_announced(ground, &writer, &["truncated"]);
    });
}

/// What was written after the last look, and neither read nor copied, is
/// missing, and nothing else is.
#[test]
fn an_end_that_was_cut_off_is_missing_and_nothing_else() {
    on_each(|ground| {
        let mut lost = Vec::new();
        let writer = cut_unseen(ground, false, |ground, writer| {
            writer.write(20);
            only_cut(ground, writer);
        });
        // Each time after three times the bytes before.
        let delivered = ground.delivered();
        delivered.assert_in_order(ground);
        assert_eq!(delivered.duplicates(), 0, "{ground}");
        let missing = delivered.missing(&writer);
        for start in missing.chunks(20) {
            lost.push(start[0]);
            let run: Vec<_> = (start[0]..start[0] + 20).collect();
            assert_eq!(start, run, "{ground}");
        }
        assert_eq!(lost.len(), REGROWN.len(), "{ground}: {missing:?}");
        assert_eq!(ground.gaps().len(), REGROWN.len(), "{ground}");
        ground.assert_settled();
    });
}

/// Somebody writes all the time while the log is copied and cut: of what is in a
/// file afterwards nothing is missing, and what is missing is said.
#[test]
fn written_while_it_is_copied_and_cut() {
    on_each(|ground| {
        let receiver = Receiver::new();
        ground.configure(r#"paths: ["logs/app.log"]"#, Some(&receiver));
        let running = ground.start();
        let mut writer = Writer::new(1, &ground.log("app.log"));
        writer.write(100);
        // Before there is a place, no cut can be told from a file's beginning.
        ground.wait_for(&[&writer]);
        let is_over = AtomicBool::new(false);
        let rotations = 5;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    writer.write(5);
                    pause(Duration::from_millis(1));
                }
                writer.write(10);
            });
            for rotation in 1..=rotations {
                ground.logrotate("app.log", COPYTRUNCATE);
                let is_seen = wait_until(PATIENCE, || ground.gaps().len() == rotation);
                assert!(is_seen || is_over.swap(true, SeqCst), "{ground}: not seen");
            }
            is_over.store(true, SeqCst);
        });
        ground.wait_for(&[&writer]);
        assert!(wait_until(PATIENCE, || receiver.has(&writer.last())), "{ground}");
        running.stop();
        Delivered::new(&receiver.lines(), ground).assert_in_order(ground);
        let delivered = ground.delivered();
        delivered.assert_in_order(ground);
        assert_eq!(delivered.duplicates(), 0, "{ground}");
        let missing = delivered.missing(&writer);
        let texts = (0..=rotations).filter_map(|number| {
            let name = match number {
                0 => "app.log".to_owned(),
                _ => format!("app.log.{number}"),
            };
            fs::read_to_string(ground.log(&name)).ok()
        });
        let kept = texts.collect::<String>();
        let is_kept = |number: &u64| kept.contains(&format!("w=1 n={number} "));
        let lost: Vec<_> = missing.into_iter().filter(is_kept).collect();
        assert!(lost.is_empty(), "{ground}: these are in files: {lost:?}");
        assert_eq!(ground.gaps().len(), rotations, "{ground}");
        ground.assert_settled();
    });
}
