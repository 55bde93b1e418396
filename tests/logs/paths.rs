//! What comes and goes at a path: nothing, another folder, a link that points
//! elsewhere, things that are no files.

use super::ground::on_each;
use super::lines::Writer;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Nothing is there at first, not even the folder; then there is one, then
/// another one in its place, then none for a while.
#[test]
fn a_folder_comes_and_goes() {
    on_each(|ground| {
        let folder = ground.log("app");
        let path = folder.join("app.log");
        ground.configure(r#"paths: ["logs/app/app.log"]"#, None);
        let mut running = ground.start();
        ground.wait_until_it_waits_for("is not there");
        fs::create_dir(&folder).unwrap();
        let mut writer = Writer::new(1, &path);
        for round in 0..3 {
            writer.write(20);
            ground.wait_for(&[&writer]);
            let away = ground.log(&format!("app-{round}"));
            if round == 1 {
                fs::rename(&folder, &away).unwrap();
                let lines = ground.printed_texts().len();
                ground.wait_until_it_waits_for("is not there");
                assert_eq!(ground.printed_texts().len(), lines, "{ground}");
                fs::create_dir(&folder).unwrap();
            } else {
                let new = ground.log("new");
                fs::create_dir(&new).unwrap();
                writer.reopen(&new.join("app.log"));
                writer.write(20);
                fs::rename(&folder, &away).unwrap();
                fs::rename(&new, &folder).unwrap();
                ground.wait_for(&[&writer]);
            }
            writer.reopen(&path);
        }
        writer.write(20);
        ground.wait_for(&[&writer]);
        running.assert_alive();
        running.stop();
        ground.assert_printed(&[&writer]);
    });
}

/// The path is a link, which is made to point to another file, is broken for a
/// while, and points back.
#[test]
fn a_link_points_elsewhere() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app.log"]"#, None);
        let files = ["one", "two", "three"].map(|name| ground.root().join(name));
        let mut writer = Writer::new(1, &files[0]);
        let point_to = |file: &Path| {
            let new = ground.root().join("link");
            symlink(file, &new).unwrap();
            fs::rename(new, ground.log("app.log")).unwrap();
        };
        point_to(&files[0]);
        let mut running = ground.start();
        for file in &files {
            writer.reopen(file);
            writer.write(20);
            point_to(file);
            ground.wait_for(&[&writer]);
            writer.write(20);
            ground.wait_for(&[&writer]);
            point_to(&ground.root().join("nowhere"));
            running.assert_alive();
        }
        point_to(&files[2]);
        writer.write(20);
        ground.wait_for(&[&writer]);
        running.stop();
        ground.assert_printed(&[&writer]);
    });
}

/// Things are put at the path from which reading would wait for ever, or never
/// end. None of them is read or waited for: another log is followed on, it is
/// said what is wrong, and the next file at the path is read.
#[test]
fn what_is_no_file_is_not_read() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/app.log", "logs/other.log"]"#, None);
        let path = ground.log("app.log");
        let mut writer = Writer::new(1, &path);
        let mut other = Writer::new(2, &ground.log("other.log"));
        writer.write(20);
        other.write(20);
        let mut running = ground.start();
        for what in ["a fifo", "a directory", "a device", "a loop"] {
            ground.wait_for(&[&writer, &other]);
            fs::rename(&path, ground.root().join(format!("before {what}"))).unwrap();
            put(what, &path);
            other.write(20);
            ground.wait_for(&[&other]);
            let words = match what {
                "a loop" => "symbolic links",
                _ => "is not a regular file",
            };
            ground.wait_until_it_waits_for(words);
            match what {
                "a directory" => fs::remove_dir(&path).unwrap(),
                _ => fs::remove_file(&path).unwrap(),
            }
            writer.reopen(&path);
            writer.write(20);
        }
        ground.wait_for(&[&writer, &other]);
        running.assert_alive();
        running.stop();
        ground.assert_printed(&[&writer, &other]);
    });
}

fn put(what: &str, path: &Path) {
    match what {
        "a fifo" => {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }
        "a directory" => fs::create_dir(path).unwrap(),
        "a device" => symlink("/dev/zero", path).unwrap(),
        _ => symlink(path.file_name().unwrap(), path).unwrap(),
    }
}

/// The daemon starts with a fifo at the path, and stops when it is told to.
#[test]
fn a_fifo_keeps_nobody_from_starting_and_stopping() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        put("a fifo", &ground.log("fifo.log"));
        let mut writer = Writer::new(1, &ground.log("app.log"));
        writer.write(20);
        let running = ground.start();
        ground.wait_for(&[&writer]);
        ground.wait_until_said("fifo.log is not a regular file");
        running.stop();
        ground.assert_printed(&[&writer]);
    });
}
