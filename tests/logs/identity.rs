//! What is the same file, and what only looks like it: numbers that the file
//! system gives again, equal beginnings, copies, renames and links.

use super::ground::{Disk, Ground, PATIENCE, on_each, stays};
use super::lines::{Delivered, Writer};
use crate::site::wait_until;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// Makes an empty file at a path until it has this number. File systems in
/// memory do not give a number again: there it is just a new file.
fn create_with_inode(ground: &Ground, path: &Path, wanted: u64) {
    const ATTEMPTS: usize = 1000;
    let mut others = Vec::new();
    for attempt in 0..ATTEMPTS {
        fs::write(path, "").unwrap();
        if inode(path) == wanted {
            break;
        }
        if ground.disk == Disk::Memory || attempt == ATTEMPTS - 1 {
            eprintln!("{ground}: the file system did not give {wanted} again");
            break;
        }
        let other = ground.root().join(format!("other-{attempt}"));
        fs::rename(path, &other).unwrap();
        others.push(other);
    }
    others.into_iter().for_each(|other| fs::remove_file(other).unwrap());
}

/// The log is deleted while no daemon runs, and the new one has its number. It
/// is read from its start.
#[test]
fn a_new_file_may_have_the_number_of_a_deleted_one() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app.log"]"#, None);
        let path = ground.log("app.log");
        let mut writer = Writer::new(1, &path);
        for bytes in [200, 10_000, 30_000] {
            writer.write(100);
            ground.catch_up();
            let old = inode(&path);
            fs::remove_file(&path).unwrap();
            writer.reopen(Path::new("/dev/null"));
            create_with_inode(ground, &path, old);
            writer.reopen(&path);
            writer.write_bytes(bytes);
            ground.catch_up();
        }
        ground.assert_printed(&[&writer]);
    });
}

/// `logrotate` compresses the log, which gives its number back, and the new log
/// has it. The unread end is in the compressed file.
#[test]
fn a_new_file_may_have_the_number_of_a_compressed_one() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app.log"]"#, None);
        let path = ground.log("app.log");
        let mut writer = Writer::new(1, &path);
        for bytes in [200, 10_000, 40_000] {
            writer.write(100);
            ground.catch_up();
            writer.write(20);
            let old = inode(&path);
            writer.reopen(Path::new("/dev/null"));
            ground.logrotate("app.log", "rotate 9\nnocreate\ncompress");
            create_with_inode(ground, &path, old);
            writer.reopen(&path);
            writer.write_bytes(bytes);
            ground.catch_up();
        }
        ground.assert_printed(&[&writer]);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

/// As before, and both files begin with the same four KiB, and the new one is
/// longer than what was read of the old one.
#[test]
fn a_new_file_may_have_the_number_and_the_beginning_of_a_deleted_one() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app.log"]"#, None);
        let path = ground.log("app.log");
        let banner: String = (0..64).map(|line| format!("{line:-<63}\n")).collect();
        assert_eq!(banner.len(), 4096);
        let mut writer = Writer::new(1, &path);
        writer.raw(banner.as_bytes());
        for is_rotated in [false, true] {
            writer.write(100);
            ground.catch_up();
            let old = inode(&path);
            writer.reopen(Path::new("/dev/null"));
            match is_rotated {
                true => ground.logrotate("app.log", "rotate 9\nnocreate\ncompress"),
                false => fs::remove_file(&path).unwrap(),
            }
            create_with_inode(ground, &path, old);
            writer.reopen(&path);
            writer.raw(banner.as_bytes());
            writer.write_bytes(50_000);
            ground.catch_up();
        }
        let texts = ground.printed_texts();
        let (lines, banners): (Vec<_>, Vec<_>) =
            texts.into_iter().partition(|text| text.starts_with("w="));
        assert_eq!(banners.join("\n") + "\n", banner.repeat(3), "{ground}");
        let delivered = Delivered::new(&lines, ground);
        delivered.assert_complete(&[&writer], 0, ground);
        ground.assert_settled();
    });
}

/// A log that was deleted and one with another name, which has its number, begin
/// alike. It is no rename: the new one is read from its start.
#[test]
fn a_log_of_another_name_may_have_the_number_of_a_deleted_one() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let new = ground.root().join("new");
        fs::write(ground.log("job1.log"), "job begins\n").unwrap();
        ground.catch_up();
        let old = inode(&ground.log("job1.log"));
        fs::remove_file(ground.log("job1.log")).unwrap();
        create_with_inode(ground, &new, old);
        fs::write(&new, "job begins\njob works\n").unwrap();
        fs::rename(&new, ground.log("job2.log")).unwrap();
        ground.catch_up();
        let texts = ground.printed_texts();
        assert_eq!(texts, ["job begins", "job begins", "job works"], "{ground}");
    });
}

/// Two logs with the same content are two logs, whatever becomes of one.
#[test]
fn two_files_may_have_the_same_content() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let paths = [ground.log("a.log"), ground.log("b.log")];
        let mut writer = Writer::new(1, &paths[0]);
        writer.write(100);
        fs::copy(&paths[0], &paths[1]).unwrap();
        let running = ground.start();
        for _ in 0..2 {
            let mut copy = OpenOptions::new();
            let mut copy = copy.append(true).create(true).open(&paths[1]).unwrap();
            for _ in 0..20 {
                let line = writer.line(30);
                writer.raw(&line);
                copy.write_all(&line).unwrap();
            }
            let written = 2 * writer.written() as usize;
            let are_there = || ground.printed().len() >= written;
            assert!(wait_until(PATIENCE, are_there), "{ground}");
            for log in ["a.log", "b.log"] {
                ground.logrotate(log, "rotate 9\nnocreate");
            }
            writer.reopen(&paths[0]);
        }
        fs::copy(ground.log("a.log.1"), &paths[0]).unwrap();
        fs::copy(ground.log("a.log.1"), &paths[1]).unwrap();
        let again = fs::read_to_string(&paths[0]).unwrap().lines().count();
        let written = 2 * (writer.written() as usize + again);
        let are_there = || ground.printed().len() >= written;
        assert!(wait_until(PATIENCE, are_there), "{ground}");
        running.stop();
        let of = |path: &Path| -> Vec<_> {
            let printed = ground.printed().into_iter();
            printed.filter(|line| line.path() == path).map(|line| line.text()).collect()
        };
        let (a, b) = (of(&paths[0]), of(&paths[1]));
        assert!(a == b, "{ground}: {} and {} lines", a.len(), b.len());
        assert_eq!(a.len() * 2, written, "{ground}");
        ground.assert_settled();
    });
}

/// Logs are renamed from one name that is followed to another, and change
/// places, while the daemon runs and while it does not.
#[test]
fn logs_change_their_names_with_each_other() {
    for is_running in [true, false] {
        on_each(|ground| change_names(ground, is_running));
    }
}

fn change_names(ground: &Ground, is_running: bool) {
    ground.configure(r#"paths: ["logs/*.log"]"#, None);
    let [a, b, c] = ["a.log", "b.log", "c.log"].map(|name| ground.log(name));
    let mut writers = [Writer::new(1, &a), Writer::new(2, &b)];
    let mut running = None;
    let mut follow = |writers: &mut [Writer; 2]| {
        writers.iter_mut().for_each(|writer| writer.write(50));
        match is_running {
            true => {
                running.get_or_insert_with(|| ground.start());
                ground.wait_for(&[&writers[0], &writers[1]]);
            }
            false => ground.catch_up(),
        }
        writers.iter_mut().for_each(|writer| writer.write(10));
    };
    follow(&mut writers);
    fs::rename(&b, &c).unwrap();
    follow(&mut writers);
    renameat_with(CWD, &a, CWD, &c, RenameFlags::EXCHANGE).unwrap();
    follow(&mut writers);
    // Through a third name, which is followed too.
    fs::rename(&a, &b).unwrap();
    fs::rename(&c, &a).unwrap();
    fs::rename(&b, &c).unwrap();
    follow(&mut writers);
    follow(&mut writers);
    match running {
        Some(running) => {
            ground.wait_for(&[&writers[0], &writers[1]]);
            running.stop();
        }
        None => ground.catch_up(),
    }
    ground.assert_printed(&[&writers[0], &writers[1]]);
}

/// A file that is followed under two names is followed once, and said why.
#[test]
fn two_names_of_a_file_are_one_log() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut writer = Writer::new(1, &ground.log("a.log"));
        writer.write(20);
        fs::hard_link(ground.log("a.log"), ground.log("hard.log")).unwrap();
        let running = ground.start();
        ground.wait_until_said("is the same file as");
        std::os::unix::fs::symlink("a.log", ground.log("soft.log")).unwrap();
        writer.write(20);
        ground.wait_for(&[&writer]);
        let is_told = || ground.said().matches("is the same file as").count() == 2;
        assert!(wait_until(PATIENCE, is_told), "{ground}");
        writer.write(20);
        ground.wait_for(&[&writer]);
        let again = Duration::from_millis(500);
        assert!(stays(again, || ground.printed().len() == 60), "{ground}");
        running.stop();
        ground.assert_printed(&[&writer]);
        ground.catch_up();
        ground.assert_printed(&[&writer]);
    });
}
