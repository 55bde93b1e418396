//! A database that is no database any more, and one that somebody else has.

use super::place::Place;
use crate::site::{Daemon, Site, in_words, small_journals, wait_until};
use std::fs::{self, File};
use std::time::{Duration, Instant};

/// Whatever became of the database: the program says so, says what to do, and
/// begins nothing. It neither starts at the beginning nor at the end by itself.
#[test]
fn a_damaged_database_is_never_taken_for_a_first_start() {
    let mut place = Place::new(None);
    place.catch_up("at first");
    place.write(5);
    place.catch_up("a second time");
    let database = place.database();
    let sound = fs::read(&database).unwrap();
    let printed = place.printed("before");
    place.write(1);
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    for length in [0, 1, 15, 16, 99, 100, 512, 4095, 4096, sound.len() / 2] {
        cases.push((format!("cut to {length} bytes"), sound[..length].to_vec()));
    }
    for (what, bytes) in [("{}", b"{}".to_vec()), ("text", b"offset: 17\n".repeat(500))] {
        cases.push((what.to_owned(), bytes));
    }
    cases.push(("NULs".to_owned(), vec![0; sound.len()]));
    let mut nuls = sound.clone();
    nuls[..4096].fill(0);
    cases.push(("a first page of NULs".to_owned(), nuls));
    // The magic text, the version, the application, the schema.
    for at in [0, 5, 63, 69, 110] {
        let mut flipped = sound.clone();
        flipped[at] ^= 0x40;
        cases.push((format!("bit in byte {at}"), flipped));
    }
    for (what, bytes) in &cases {
        fs::write(&database, bytes).unwrap();
        let output = place.until_idle();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{what}: {}", in_words(&output));
        assert!(said.contains("tripline.db"), "{what}: {said}");
        let is_said = said.contains("damaged") || said.contains("version");
        assert!(is_said && !said.contains("panicked"), "{what}: {said}");
        assert_eq!(place.printed(what), printed, "{what}");
        assert_eq!(fs::read(&database).unwrap(), *bytes, "{what}: it was left alone");
    }
    fs::write(&database, &sound).unwrap();
    place.catch_up("repaired");
    place.assert_delivered(None, "repaired");
}

/// A file of a gibibyte is no store either, and is not read to find out.
#[test]
fn a_huge_file_is_no_database() {
    let place = Place::new(None);
    place.catch_up("at first");
    File::create(place.database()).unwrap().set_len(1 << 30).unwrap();
    let began = Instant::now();
    let output = place.until_idle();
    assert_eq!(output.status.code(), Some(2), "{}", in_words(&output));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// As the message about a damaged database says: it is moved away, and a
/// listener that can tell from what it wrote how far it came goes on there.
#[test]
fn a_database_that_was_moved_away_costs_nothing() {
    let mut place = Place::new(None);
    place.catch_up("at first");
    fs::write(place.database(), "no database").unwrap();
    assert_eq!(place.until_idle().status.code(), Some(2));
    fs::rename(place.database(), place.out().join("damaged.db")).unwrap();
    for file in ["tripline.db-wal", "tripline.db-shm"] {
        _ = fs::remove_file(place.state().join(file));
    }
    place.rotate();
    place.catch_up("without a database");
    place.assert_delivered(None, "without a database");
}

/// The logs and the state were copied to another machine, where all inode
/// numbers are others: the content says where to go on.
#[test]
fn state_and_logs_were_copied() {
    let mut place = Place::new(None);
    place.catch_up("at first");
    place.write(5);
    let logs = place.root().join("logs");
    let copy = place.root().join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&logs).unwrap() {
        let entry = entry.unwrap();
        let to = copy.join(entry.file_name());
        fs::copy(entry.path(), &to).unwrap();
        let modified = entry.metadata().unwrap().modified().unwrap();
        File::options().append(true).open(&to).unwrap().set_modified(modified).unwrap();
    }
    fs::remove_dir_all(&logs).unwrap();
    fs::rename(&copy, &logs).unwrap();
    place.catch_up("copied");
    place.assert_delivered(None, "copied");
}

/// Two daemons on one state directory: the second one names the first and ends;
/// and a lock does not outlive its process, however that dies.
#[test]
fn a_lock_does_not_outlive_a_kill() {
    let place = Place::new(None);
    let mut daemon = Daemon::spawn(&mut place.command(&["run"]));
    assert!(wait_until(Duration::from_secs(20), || place.is_printed()));
    let second = place.until_idle();
    assert_eq!(second.status.code(), Some(4), "{}", in_words(&second));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&format!("in use by process {}", daemon.pid())), "{said}");
    assert!(daemon.is_running());
    daemon.kill();
    place.catch_up("after the kill");
    place.assert_delivered(None, "after the kill");
}

/// What version 1 of the database had, which knew no logs: a place within the
/// second of three journals.
const VERSION_1: &str = concat!(
    include_str!("../../engine/store/src/schema.sql"),
    "INSERT INTO cursor VALUES ('p4', 'audit', 0, 2, 7, 203, NULL, 65024, 10347147,
         203, x'9275061137A6A83C77A29FF4EEA90ED2',
         203, x'9275061137A6A83C77A29FF4EEA90ED2',
         0, 17, 1700000021, 'following', NULL, 1795235017);
     PRAGMA application_id = 0x54726970;
     PRAGMA user_version = 1;"
);

/// A database of the version before is brought up to date, and the listener goes
/// on at the very place: with the next record, though the file has another name
/// and inode number by now. A database of a later version is left alone.
#[test]
fn a_database_of_another_version() {
    let site = Site::new();
    site.configure(r#""audit": Print(from: ["p4"], to: "out/audit.jsonl"),"#);
    let journals = small_journals(3);
    assert!(journals[1].bytes[203..].starts_with(b"@pv@ 0 @db.desc@ 2 "));
    site.lay_out(&journals);
    let state = site.out().join("state");
    fs::create_dir(&state).unwrap();
    let database = rusqlite::Connection::open(state.join("tripline.db")).unwrap();
    database.execute_batch(VERSION_1).unwrap();
    site.catch_up();
    let printed = fs::read_to_string(site.out().join("audit.jsonl")).unwrap();
    assert!(printed.starts_with(r#"{"id":"p4/2/203","#), "{printed}");
    assert_eq!(printed.lines().count(), 7 + 9, "the rest of both journals: {printed}");
    assert!(!printed.contains("\"gap\""), "{printed}");
    database.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(database);
    let output = site.until_idle();
    assert_eq!(output.status.code(), Some(2), "{}", in_words(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("use the newer Tripline that wrote it"), "{said}");
    assert_eq!(fs::read_to_string(site.out().join("audit.jsonl")).unwrap(), printed);
}
