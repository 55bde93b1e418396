//! A listener that stops at a gap says what to do about it. That is done here,
//! and must help.

use super::ground::{Ground, on_each};
use super::lines::Writer;
use crate::util::gzip;
use std::fs::{self, File, OpenOptions};

/// Without a name in it.
const GZIP_HEADER_BYTES: usize = 10;

/// One print of one log, which stops at a gap or does not.
fn configure(ground: &Ground, more: &str, on_gap: &str) {
    ground.configure_with(
        &format!(r#"paths: ["logs/app.log"]{more}"#),
        &format!(
            r#""audit": Print(from: ["logs"], to: "out/printed.jsonl", on_gap: {on_gap})"#
        ),
    );
}

/// Runs until the listener has stopped at a gap, which says these words, and has
/// printed nothing behind it.
fn assert_stops(ground: &Ground, words: &str) {
    let before = ground.said().len();
    let status = ground.command(&["run", "--until-idle"]).status().unwrap();
    let said = ground.said().split_off(before);
    assert_eq!(status.code(), Some(3), "{ground}: {said}");
    assert!(said.contains(words), "{ground}: no {words:?} in {said}");
    assert_eq!(ground.gaps().len(), 0, "{ground}");
}

/// It goes on without what is missing, and notes it once.
#[test]
fn the_gap_is_noted_and_what_comes_behind_it_is_read() {
    on_each(|ground| {
        configure(ground, "", "Stop");
        let path = ground.log("app.log");
        let mut writer = Writer::new(1, &path);
        writer.write(20);
        ground.catch_up();
        OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        writer.write(30);
        for _ in 0..2 {
            assert_stops(ground, "give audit `on_gap: Notify` and start again");
            assert_eq!(ground.printed_texts().len(), 20, "{ground}");
        }
        configure(ground, "", "Notify");
        ground.catch_up();
        ground.assert_printed(&[&writer]);
        assert_eq!(ground.gaps().len(), 1, "{ground}");
        configure(ground, "", "Stop");
        writer.write(10);
        ground.catch_up();
        ground.assert_printed(&[&writer]);
        assert_eq!(ground.gaps().len(), 1, "{ground}");
    });
}

/// The file at hand went to another folder, which is named then.
#[test]
fn the_folder_that_a_file_was_moved_to_is_named() {
    on_each(|ground| {
        configure(ground, "", "Stop");
        let old = ground.root().join("old");
        fs::create_dir(&old).unwrap();
        let mut writer = Writer::new(1, &ground.log("app.log"));
        writer.write(20);
        ground.catch_up();
        writer.write(20);
        fs::rename(ground.log("app.log"), old.join("app.log.1")).unwrap();
        writer.reopen(&ground.log("app.log"));
        writer.write(20);
        assert_stops(ground, "name the folder they are moved to in `rotated`");
        configure(ground, r#", rotated: ["old"]"#, "Stop");
        ground.catch_up();
        ground.assert_printed(&[&writer]);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

/// One of several rotated files went to another folder. It is read from there,
/// or put back.
#[test]
fn a_file_that_was_moved_is_read_from_where_it_is() {
    for is_put_back in [false, true] {
        on_each(|ground| {
            configure(ground, "", "Stop");
            let old = ground.root().join("old");
            fs::create_dir(&old).unwrap();
            let mut writer = Writer::new(1, &ground.log("app.log"));
            writer.write(20);
            ground.catch_up();
            for _ in 0..3 {
                writer.write(20);
                ground.logrotate("app.log", "rotate 9\ncreate");
                writer.reopen(&ground.log("app.log"));
            }
            writer.write(20);
            let (here, there) = (ground.log("app.log.2"), old.join("app.log.2"));
            fs::rename(&here, &there).unwrap();
            assert_stops(ground, "if it was moved, read it from where it is");
            match is_put_back {
                true => fs::rename(&there, &here).unwrap(),
                false => configure(ground, r#", rotated: ["old"]"#, "Stop"),
            }
            ground.catch_up();
            ground.assert_printed(&[&writer]);
            assert_eq!(ground.gaps().len(), 0, "{ground}");
        });
    }
}

/// The second half of an archive is damaged, and there is another copy of it.
#[test]
fn the_rest_is_read_from_another_copy() {
    on_each(|ground| {
        configure(ground, "", "Stop");
        let path = ground.log("app.log");
        let mut writer = Writer::new(1, &path);
        let halves = [(), ()].map(|()| {
            writer.write(100);
            let half = gzip(&fs::read(&path).unwrap());
            File::create(&path).unwrap();
            half
        });
        let sound = halves.concat();
        let mut damaged = sound.clone();
        // There is no such kind of block, which is noticed at once: behind other
        // damage some bytes may come that only a checksum tells to be wrong.
        damaged[halves[0].len() + GZIP_HEADER_BYTES] = 0xff;
        fs::remove_file(&path).unwrap();
        fs::write(ground.log("app.log.1.gz"), damaged).unwrap();
        writer.reopen(&path);
        writer.write(20);
        assert_stops(ground, "if there is another copy of it, read the rest from there");
        assert_eq!(ground.printed_texts().len(), 100, "{ground}");
        fs::write(ground.log("app.log.1.gz"), sound).unwrap();
        ground.catch_up();
        ground.assert_printed(&[&writer]);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}
