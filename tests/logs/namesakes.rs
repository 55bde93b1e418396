//! Logs whose names look like those of older files of another log.

use super::ground::on_each;
use super::lines::Writer;
use std::process::Command;

/// Nobody writes to the first one any more; the others have a date, and each day
/// has a new one.
#[test]
fn logs_of_a_day_beside_a_log() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut whole = Writer::new(1, &ground.log("laravel.log"));
        whole.write(50);
        let mut first = Writer::new(2, &ground.log("laravel-2026-01-01.log"));
        first.write(50);
        let running = ground.start();
        ground.wait_for(&[&whole, &first]);
        first.write(50);
        ground.wait_for(&[&whole, &first]);
        let mut second = Writer::new(3, &ground.log("laravel-2026-01-02.log"));
        second.write(50);
        ground.wait_for(&[&whole, &first, &second]);
        running.stop();
        second.write(50);
        let mut third = Writer::new(4, &ground.log("laravel-2026-01-03.log"));
        third.write(50);
        ground.catch_up();
        ground.assert_printed(&[&whole, &first, &second, &third]);
    });
}

/// Each worker has a log, and all write at the same time.
#[test]
fn logs_with_numbers() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let names = ["worker.log", "worker.1.log", "worker.2.log", "worker.3.log"];
        let mut writers: Vec<_> = (0..)
            .zip(names)
            .map(|(number, name)| Writer::new(number, &ground.log(name)))
            .collect();
        writers.iter_mut().for_each(|writer| writer.write(10));
        let running = ground.start();
        ground.wait_for(&writers.iter().collect::<Vec<_>>());
        for _ in 0..5 {
            writers.iter_mut().for_each(|writer| writer.write(10));
            ground.wait_for(&writers.iter().collect::<Vec<_>>());
        }
        running.stop();
        writers.iter_mut().for_each(|writer| writer.write(10));
        ground.catch_up();
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
