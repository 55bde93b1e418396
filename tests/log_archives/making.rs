//! Compressed files that have their final name and not their end.

use super::tools::{Logs, TOOLS, Tool};
use crate::logs::ground::{Disk, Ground, Watch, on_each, on_these};
use crate::logs::lines::{Delivered, Writer};
use crate::site::wait_until;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

/// Half of each archive is there.
fn begin(logs: &Logs<'_>) -> Vec<Vec<u8>> {
    let mut rests = Vec::new();
    for tool in TOOLS {
        let whole = tool.compressed(&fs::read(logs.plain(tool)).unwrap());
        let (half, rest) = whole.split_at(whole.len() / 2);
        fs::write(logs.packed(tool), half).unwrap();
        rests.push(rest.to_owned());
    }
    rests
}

fn end(logs: &Logs<'_>, rests: &[Vec<u8>]) {
    for (tool, rest) in TOOLS.iter().zip(rests) {
        let mut file = OpenOptions::new().append(true).open(logs.packed(*tool)).unwrap();
        file.write_all(rest).unwrap();
    }
}

/// It says what it waits for: three by name, more by how many.
fn assert_named(logs: &Logs<'_>, ground: &Ground) {
    ground.wait_until_said("and 1 more like these");
    let said = ground.said();
    let line = said.lines().find(|line| line.contains("and 1 more")).unwrap();
    let is_named = |tool: &&Tool| {
        line.contains(&format!("{} has no end mark yet", logs.packed(**tool).display()))
    };
    assert_eq!(TOOLS.iter().filter(is_named).count(), 3, "{ground}: {line}");
}

/// An archive grows beside the file that it is made of, which has an unread
/// end. That is read; when it goes, the archive is known to be the same.
fn beside_the_plain_file(ground: &Ground, runs: bool) {
    ground.configure(r#"paths: ["logs/*.log"]"#, None);
    let mut logs = Logs::new(ground);
    logs.write(100);
    ground.catch_up();
    logs.write(100);
    logs.rename();
    let rests = begin(&logs);
    logs.reopen();
    logs.write(10);
    let mut running = Some(ground.start());
    ground.wait_for(&logs.all());
    if !runs {
        running.take().unwrap().stop();
    }
    end(&logs, &rests);
    for tool in TOOLS {
        fs::remove_file(logs.plain(tool)).unwrap();
    }
    let running = running.unwrap_or_else(|| ground.start());
    logs.write(10);
    ground.wait_for(&logs.all());
    running.stop();
    assert!(!ground.said().contains("end mark"), "{ground}: nothing was in the way");
    logs.assert_whole();
}

#[test]
fn an_archive_grows_beside_its_plain_file() {
    on_each(|ground| beside_the_plain_file(ground, true));
}

#[test]
fn an_archive_grows_beside_its_plain_file_over_a_restart() {
    on_each(|ground| beside_the_plain_file(ground, false));
}

/// Where the plain file is gone before the archive is whole nothing of the
/// archive is believed, and it is waited for, with words; other logs go on.
#[test]
fn an_archive_grows_alone() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut logs = Logs::new(ground);
        let mut other = Writer::new(9, &ground.log("other.log"));
        logs.write(100);
        other.write(10);
        ground.catch_up();
        logs.write(100);
        logs.rename();
        let rests = begin(&logs);
        for tool in TOOLS {
            fs::remove_file(logs.plain(tool)).unwrap();
        }
        logs.reopen();
        logs.write(10);
        let mut running = ground.start();
        assert_named(&logs, ground);
        for _ in 0..3 {
            other.write(10);
            ground.wait_for(&[&other]);
        }
        running.assert_alive();
        for writer in &logs.writers {
            let missing = ground.delivered().missing(writer);
            assert_eq!(missing, (100..210).collect::<Vec<_>>(), "{ground}");
        }
        end(&logs, &rests);
        ground.wait_for(&logs.all());
        running.stop();
        logs.assert_whole();
    });
}

/// A compressor dies. What it left is named and tried again, until somebody
/// compresses the file anew, under the same name.
#[test]
fn a_compressor_is_killed() {
    on_these(&[(Disk::Memory, Watch::Poll), (Disk::Real, Watch::Events)], |ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut logs = Logs::new(ground);
        let mut other = Writer::new(9, &ground.log("other.log"));
        logs.write(100);
        ground.catch_up();
        logs.write(8000);
        logs.rename();
        for tool in TOOLS {
            let plain = fs::read(logs.plain(tool)).unwrap();
            let packed = logs.packed(tool);
            let mut command = tool.command();
            command.stdout(File::create(&packed).unwrap()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let mut input = child.stdin.take().unwrap();
            input.write_all(&plain[..plain.len() * 3 / 4]).unwrap();
            let has_begun = || fs::metadata(&packed).unwrap().len() > 0;
            let has_begun = wait_until(Duration::from_secs(1), has_begun);
            child.kill().unwrap();
            child.wait().unwrap();
            if !has_begun {
                // One with a buffer of a megabyte; most write earlier.
                let whole = tool.compressed(&plain);
                fs::write(&packed, &whole[..whole.len() / 2]).unwrap();
            }
        }
        let rescued = TOOLS.map(|tool| (tool, fs::read(logs.plain(tool)).unwrap()));
        TOOLS.iter().for_each(|tool| fs::remove_file(logs.plain(*tool)).unwrap());
        logs.reopen();
        logs.write(10);
        let mut running = ground.start();
        assert_named(&logs, ground);
        other.write(10);
        ground.wait_for(&[&other]);
        running.assert_alive();
        for (tool, plain) in rescued {
            let unfinished = ground.root().join("packed");
            fs::write(&unfinished, tool.compressed(&plain)).unwrap();
            fs::rename(&unfinished, logs.packed(tool)).unwrap();
        }
        ground.wait_for(&logs.all());
        running.stop();
        logs.assert_whole();
    });
}

/// A rotated file that is empty under a compressed file's name is one in which
/// nothing is yet; what is read is the plain one beside it.
#[test]
fn an_archive_is_not_begun() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut logs = Logs::new(ground);
        logs.write(100);
        ground.catch_up();
        logs.write(100);
        logs.rename();
        TOOLS.iter().for_each(|tool| fs::write(logs.packed(*tool), b"").unwrap());
        logs.reopen();
        logs.write(10);
        let running = ground.start();
        ground.wait_for(&logs.all());
        TOOLS.iter().for_each(|tool| fs::remove_file(logs.packed(*tool)).unwrap());
        logs.compress();
        logs.write(10);
        ground.wait_for(&logs.all());
        running.stop();
        logs.assert_whole();
        let printed = ground.printed_texts();
        let delivered = Delivered::new(&printed, ground);
        assert_eq!(delivered.duplicates(), 0, "{ground}");
    });
}
