//! Logs whose names look like those of older files of another log.

use super::ground::on_each;
use super::lines::Writer;
use std::fs;
use std::process::Command;

/// By its name a file is an older one of a log. When somebody writes to it that
/// is said; and where `paths` names it, it is a log of its own.
#[test]
fn logs_with_numbers_are_named() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut first = Writer::new(1, &ground.log("worker.log"));
        let mut second = Writer::new(2, &ground.log("worker.1.log"));
        second.write(20);
        first.write(20);
        let running = ground.start();
        ground.wait_for(&[&first, &second]);
        second.write(20);
        ground.wait_until_said("worker.1.log is written to, but by its name");
        running.stop();
        let named = r#"paths: ["logs/*.log", "logs/worker.1.log", "logs/worker.2.log"]"#;
        ground.configure(named, None);
        let mut third = Writer::new(3, &ground.log("worker.2.log"));
        third.write(20);
        let running = ground.start();
        ground.wait_for(&[&first, &second, &third]);
        for writer in [&mut first, &mut second, &mut third] {
            writer.write(20);
        }
        ground.wait_for(&[&first, &second, &third]);
        running.stop();
        assert_eq!(ground.places().len(), 3, "{ground}: {:?}", ground.places());
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

/// Logs with the date in their names, one for each day.
#[test]
fn logs_of_a_day_are_logs() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut writers: Vec<_> = (1..4)
            .map(|day| Writer::new(day, &ground.log(&format!("app-2026-01-0{day}.log"))))
            .collect();
        writers.iter_mut().for_each(|writer| writer.write(20));
        let running = ground.start();
        ground.wait_for(&writers.iter().collect::<Vec<_>>());
        let mut last = Writer::new(9, &ground.log("app-2026-01-09.log"));
        last.write(20);
        writers.iter_mut().for_each(|writer| writer.write(20));
        writers.push(last);
        ground.wait_for(&writers.iter().collect::<Vec<_>>());
        running.stop();
        ground.assert_printed(&writers.iter().collect::<Vec<_>>());
    });
}

/// What is rotated to such a name is not read again, neither while it runs nor
/// at a start.
#[test]
fn what_was_rotated_is_no_log_of_its_own() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let path = ground.log("app.log");
        let mut writer = Writer::new(1, &path);
        writer.write(50);
        for round in 0..6 {
            let running = (round % 2 == 0).then(|| ground.start());
            writer.write(50);
            ground.logrotate("app.log", "rotate 9\ncreate\nextension .log");
            writer.write(5);
            writer.reopen(&path);
            writer.write(50);
            if let Some(running) = running {
                ground.wait_for(&[&writer]);
                running.stop();
            }
        }
        ground.catch_up();
        ground.assert_printed(&[&writer]);
        assert_eq!(ground.places().len(), 1, "{ground}: one log");
    });
}

/// A log with a date is compressed while no daemon runs, and no other file comes
/// to its path. The rest of it is in the compressed file.
#[test]
fn a_log_of_a_day_that_was_compressed() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app-*.log"]"#, None);
        let path = ground.log("app-2026-01-01.log");
        let mut first = Writer::new(1, &path);
        first.write(50);
        ground.catch_up();
        first.write(50);
        let gzip = Command::new("gzip").arg(&path).status().unwrap();
        assert!(gzip.success());
        let mut second = Writer::new(2, &ground.log("app-2026-01-02.log"));
        second.write(50);
        ground.catch_up();
        ground.assert_printed(&[&first, &second]);
        ground.catch_up();
        ground.assert_printed(&[&first, &second]);
    });
}

/// The log of which others look like older files comes after them, while it runs
/// and while it does not. What was read of the others does not come again.
#[test]
fn a_log_comes_after_those_that_look_like_its_older_files() {
    for is_running in [true, false] {
        on_each(|ground| {
            ground.configure(r#"paths: ["logs/*.log"]"#, None);
            let mut first = Writer::new(1, &ground.log("worker.1.log"));
            let mut second = Writer::new(2, &ground.log("worker.2.log"));
            first.write(50);
            second.write(50);
            let mut running = ground.start();
            ground.wait_for(&[&first, &second]);
            let mut base = Writer::new(3, &ground.root().join("new"));
            base.write(20);
            let comes = || {
                let path = ground.log("worker.log");
                fs::rename(ground.root().join("new"), path).unwrap();
            };
            if is_running {
                comes();
            } else {
                running.stop();
                comes();
                running = ground.start();
            }
            ground.wait_for(&[&base]);
            base.write(20);
            ground.wait_for(&[&base]);
            running.stop();
            ground.catch_up();
            ground.delivered().assert_complete(&[&first, &second, &base], 0, ground);
            assert_eq!(ground.gaps().len(), 0, "{ground}");
        });
    }
}

/// A log is compressed in another way while no daemon runs, and a file of
/// somebody has the name that is looked for first. The rest is in the right one.
#[test]
fn another_compressed_file_does_not_hide_the_right_one() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let path = ground.log("app-2026-01-01.log");
        let other = ground.log("other");
        fs::write(&other, "something else\n").unwrap();
        let mut writer = Writer::new(1, &path);
        writer.write(50);
        ground.catch_up();
        writer.write(50);
        assert!(Command::new("gzip").arg(&other).status().unwrap().success());
        fs::rename(ground.log("other.gz"), ground.log("app-2026-01-01.log.gz")).unwrap();
        assert!(Command::new("xz").arg(&path).status().unwrap().success());
        ground.catch_up();
        ground.assert_printed(&[&writer]);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}
