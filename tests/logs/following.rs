//! Lines as programs write them: many at a time, in pieces, and without an end.

use super::ground::{Ground, PATIENCE, on_each, pause, stays};
use super::lines::{Delivered, Writer};
use super::receiver::Receiver;
use crate::site::wait_until;
use std::fs;
use std::time::Duration;

/// Eight writers, four to a file, write 50,000 lines of up to 64 KiB as fast as
/// they can. What is printed of a file is the file, byte for byte; what a slow
/// and then stalled receiver gets is everything, once, and of each writer in
/// order. (A million lines, and more on each file system, take minutes.)
#[test]
fn many_writers_of_long_and_short_lines() {
    on_each(|ground| {
        let receiver = Receiver::new();
        ground.configure(r#"paths: ["logs/*.log"]"#, Some(&receiver));
        let running = ground.start();
        let mut writers: Vec<_> = (0..8)
            .map(|name| Writer::new(name, &ground.log(log_of(name as usize))))
            .collect();
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| write_all_sizes(writer, 6250));
            }
            receiver.stall(true);
            pause(Duration::from_millis(100));
            receiver.stall(false);
        });
        let all: Vec<_> = writers.iter().collect();
        ground.wait_for(&all);
        let is_there = || all.iter().all(|writer| receiver.has(&writer.last()));
        assert!(wait_until(PATIENCE, is_there), "{ground}: {}", receiver.count());
        running.stop();
        ground.assert_printed(&all);
        ground.assert_received(&receiver, &all, 0);
        let printed = ground.printed();
        for log in ["a.log", "b.log"] {
            let written = fs::read(ground.log(log)).unwrap();
            let lines = printed.iter().filter(|line| line.path().ends_with(log));
            let bytes: String = lines.map(|line| line.text() + "\n").collect();
            assert!(bytes.as_bytes() == written, "{ground}: {log} is not what was read");
        }
    });
}

fn log_of(writer: usize) -> &'static str {
    ["a.log", "b.log"][writer % 2]
}

fn write_all_sizes(writer: &mut Writer, count: u64) {
    for _ in 0..count {
        let payload = match writer.random().below(500) {
            0 => writer.random().below(64 * 1024),
            1..5 => writer.random().below(4096),
            _ => writer.random().below(100),
        };
        let line = writer.line(payload as usize);
        writer.raw(&line);
        if writer.random().below(20) == 0 {
            // No room for a number.
            let which = writer.random().below(2) as usize;
            writer.raw([b"\n".as_slice(), b"x\n"][which]);
        }
    }
}

/// Lines are written in pieces, one byte at a time or in two or three parts with
/// pauses between them, over blocks of other lines. Each comes once and whole.
#[test]
fn lines_written_in_pieces_come_whole() {
    on_each(|ground| {
        let receiver = Receiver::new();
        ground.configure(r#"paths: ["logs/app.log"]"#, Some(&receiver));
        let running = ground.start();
        let mut writer = Writer::new(1, &ground.log("app.log"));
        for round in 0..30 {
            let payload = writer.random().below(200) as usize;
            let line = writer.line(payload);
            if round % 3 == 0 {
                line.iter().for_each(|byte| writer.raw(&[*byte]));
            } else {
                let parts = 2 + writer.random().below(2) as usize;
                for part in line.chunks(line.len().div_ceil(parts)) {
                    writer.raw(part);
                    let most = if round == 7 { 500 } else { 100 };
                    pause(Duration::from_millis(writer.random().below(most)));
                }
            }
            writer.write(5);
        }
        ground.wait_for(&[&writer]);
        assert!(wait_until(PATIENCE, || receiver.has(&writer.last())), "{ground}");
        running.stop();
        ground.assert_printed(&[&writer]);
        ground.assert_received(&receiver, &[&writer], 0);
    });
}

/// A last line without its end is waited for, also over a kill, and comes once
/// when it has one.
#[test]
fn a_line_without_its_end_is_waited_for() {
    on_each(|ground| {
        let receiver = Receiver::new();
        ground.configure(r#"paths: ["logs/app.log"]"#, Some(&receiver));
        let running = ground.start();
        let mut writer = Writer::new(1, &ground.log("app.log"));
        writer.write(10);
        ground.wait_for(&[&writer]);
        let line = writer.line(50);
        writer.raw(&line[..30]);
        let silence = Duration::from_millis(1500);
        assert!(stays(silence, || ground.printed().len() == 10), "{ground}");
        assert!(receiver.count() <= 10, "{ground}");
        running.kill();
        let running = ground.start();
        assert!(stays(silence, || ground.printed().len() == 10), "{ground}");
        writer.raw(&line[30..]);
        ground.wait_for(&[&writer]);
        assert!(wait_until(PATIENCE, || receiver.has(&writer.last())), "{ground}");
        running.stop();
        ground.assert_printed(&[&writer]);
        // What had not been settled when it was killed comes again.
        ground.assert_received(&receiver, &[&writer], 10);
    });
}

/// Where a time was set, a line without its end is shown once when it is over,
/// said to be partial, and comes once when it has its end.
#[test]
fn a_line_without_its_end_is_shown_where_that_is_wanted() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app.log"], partial_after: "300ms""#, None);
        let running = ground.start();
        let mut writer = Writer::new(1, &ground.log("app.log"));
        writer.write(10);
        let line = writer.line(50);
        writer.raw(&line[..30]);
        let partial = || -> Vec<_> {
            let printed = ground.printed().into_iter();
            printed.filter(|line| line.is_partial()).collect()
        };
        assert!(wait_until(PATIENCE, || !partial().is_empty()), "{ground}");
        let silence = Duration::from_millis(1500);
        assert!(stays(silence, || partial().len() == 1), "{ground}");
        assert_eq!(partial()[0].text().as_bytes(), &line[..30], "{ground}");
        writer.raw(&line[30..]);
        writer.write(1);
        ground.wait_for(&[&writer]);
        running.stop();
        assert_eq!(partial().len(), 1, "{ground}");
        ground.assert_printed(&[&writer]);
    });
}

fn eight_logs(ground: &Ground) -> Vec<Writer> {
    let log = |number| Writer::new(number, &ground.log(&format!("{number}.log")));
    (0..8).map(log).collect()
}

/// Lines that take several reads, in several logs at the same time.
#[test]
fn long_lines_of_many_logs_come_whole() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut writers = eight_logs(ground);
        for writer in &mut writers {
            for size in [300 << 10, 900 << 10, 10] {
                let line = writer.line(size);
                writer.raw(&line);
            }
        }
        ground.catch_up();
        ground.assert_printed(&writers.iter().collect::<Vec<_>>());
    });
}

/// What stands behind a line longer than the bound does not wait for more.
#[test]
fn lines_behind_one_that_is_cut_come_at_once() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut writers = eight_logs(ground);
        for writer in &mut writers {
            writer.raw(&[b"y".repeat(3 << 20), b"\nx\nx\n".to_vec()].concat());
        }
        ground.catch_up();
        let texts = ground.printed_texts();
        let short = texts.iter().filter(|text| *text == "x").count();
        assert_eq!((texts.len(), short), (3 * 8, 2 * 8), "{ground}");
    });
}

/// What belongs together is longer than what is read at once, and waits for its
/// end beside a log that is written to all the time: it comes in one piece.
#[test]
fn a_long_group_comes_whole_beside_a_busy_log() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"], join: Indent, join_wait: "1s""#, None);
        let mut group = "head\n".to_owned();
        group.push_str(&format!(" {}\n", "x".repeat(99)).repeat(7000));
        fs::write(ground.log("a.log"), &group).unwrap();
        let mut busy = Writer::new(1, &ground.log("b.log"));
        let of_group = || -> Vec<_> {
            let printed = ground.printed().into_iter();
            let printed = printed.filter(|entry| entry.path().ends_with("a.log"));
            printed.map(|entry| entry.text()).collect()
        };
        let running = ground.start();
        let comes = wait_until(PATIENCE, || {
            busy.write(1);
            !of_group().is_empty()
        });
        assert!(comes, "{ground}");
        busy.write(1);
        ground.wait_for(&[&busy]);
        running.stop();
        ground.catch_up();
        let lengths: Vec<_> = of_group().iter().map(String::len).collect();
        assert!(of_group() == [group.trim_end()], "{ground}: {lengths:?}");
        let mut texts = ground.printed_texts();
        texts.retain(|text| !text.starts_with("head"));
        Delivered::new(&texts, ground).assert_complete(&[&busy], 0, ground);
    });
}
