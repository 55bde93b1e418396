//! A damaged database is an error in words, never a panic, and never passes
//! for a first start.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::Path;
use tripline_api::{Progress, Store as _};
use tripline_store::conformance::example;
use tripline_store::{OpenError, SqliteStore};

#[test]
fn a_file_that_was_cut() {
    let sound = Sound::make();
    let length = sound.database.len();
    let edges = [0, 1, 15, 16, 99, 100, 101, 511, 512, 4095, 4096, 4097, length - 1];
    let lengths = edges.into_iter().chain((0..length).step_by(733));
    for length in lengths {
        // What is missing of the last page reads as zeros, and may have been
        // zeros; but no cursor may be missing or go back.
        if let Ok(progress) = sound.try_with(&sound.database[..length]) {
            assert_eq!(progress, sound.progress, "cut to {length} bytes");
            assert!(length > sound.database.len() - 4096, "cut to {length} bytes");
        }
    }
}

#[test]
fn bits_that_flipped() {
    let sound = Sound::make();
    let mut noticed = 0;
    let mut tried = 0;
    // Prime steps, so that all parts of pages and all bits have their turn.
    for at in (0..100).chain((100..sound.database.len()).step_by(157)) {
        let mut bytes = sound.database.clone();
        bytes[at] ^= 1 << (at % 8);
        tried += 1;
        noticed += usize::from(sound.try_with(&bytes).is_err());
    }
    // Not each can be noticed: a bit in an unused part of a page means
    // nothing, and a bit in a number is another number, which the proof beside
    // it then does not fit.
    assert!(noticed > tried / 10, "{noticed} of {tried}");
}

#[test]
fn stretches_of_nothing() {
    let sound = Sound::make();
    for length in [1, 16, 512, 4096, 8192, sound.database.len()] {
        for start in (0..sound.database.len()).step_by(2003) {
            let mut bytes = sound.database.clone();
            let end = bytes.len().min(start + length);
            bytes[start..end].fill(0);
            let _ = sound.try_with(&bytes);
        }
    }
    let nothing = vec![0; sound.database.len()];
    sound.try_with(&nothing).unwrap_err();
}

#[test]
fn things_that_are_no_store() {
    let sound = Sound::make();
    for bytes in ["{}".as_bytes(), b"[version: 1]", &[0xff; 10_000], &[b'x'; 100]] {
        let error = sound.try_with(bytes).unwrap_err();
        assert!(error.contains("damaged"), "{error}");
    }
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir(scratch.path().join("tripline.db")).unwrap();
    let error = SqliteStore::open(scratch.path()).unwrap_err().to_string();
    assert!(error.contains("it is not a file"), "{error}");
}

/// A log that is damaged ends where the damage begins: what was committed
/// before is there, as it was at some commit.
#[test]
fn a_log_that_was_damaged() {
    let scratch = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(scratch.path()).unwrap();
    let mut at_commits = vec![store.progress().unwrap()];
    for changes in example::walk(12) {
        store.commit(&changes).unwrap();
        at_commits.push(store.progress().unwrap());
    }
    let read = |name: &str| fs::read(scratch.path().join(name)).unwrap();
    let (database, log) = (read("tripline.db"), read("tripline.db-wal"));
    let mut cases: Vec<Vec<u8>> =
        (0..log.len()).step_by(1571).map(|length| log[..length].to_vec()).collect();
    cases.extend((0..log.len()).step_by(1571).map(|at| {
        let mut log = log.clone();
        log[at] ^= 1 << (at % 8);
        log
    }));
    for (case, log) in cases.iter().enumerate() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("tripline.db"), &database).unwrap();
        fs::write(scratch.path().join("tripline.db-wal"), log).unwrap();
        let progress = use_store(scratch.path()).unwrap();
        assert!(at_commits.contains(&progress), "case {case}: {progress:?}");
    }
}

/// The bytes of a sound database, and what is in it.
struct Sound {
    database: Vec<u8>,
    progress: Vec<Progress>,
}

impl Sound {
    fn make() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(scratch.path()).unwrap();
        for changes in example::walk(60) {
            store.commit(&changes).unwrap();
        }
        let progress = store.progress().unwrap();
        drop(store);
        let database = fs::read(scratch.path().join("tripline.db")).unwrap();
        assert!(database.len() > 4 * 4096, "{}", database.len());
        Self { database, progress }
    }

    /// Uses a store with these bytes in all the ways there are. An error must
    /// name the file; one of damage must also say what to do.
    fn try_with(&self, bytes: &[u8]) -> Result<Vec<Progress>, String> {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("tripline.db"), bytes).unwrap();
        let outcome = use_store(scratch.path());
        if let Err(error) = &outcome {
            assert!(error.contains("tripline.db"), "{error}");
            if error.contains("damaged") {
                assert!(error.contains("where --set"), "{error}");
            }
        }
        outcome
    }
}

/// Reads everything, as `where` does and as the daemon does, and commits.
fn use_store(directory: &Path) -> Result<Vec<Progress>, String> {
    match SqliteStore::open_to_read(directory) {
        Ok(mut store) => {
            let _ = store.progress();
            let _ = store.gaps();
        }
        Err(OpenError::Nothing { .. }) => panic!("the file is there"),
        Err(_) => {}
    }
    let mut store = SqliteStore::open(directory).map_err(|error| error.to_string())?;
    let progress = store.progress().map_err(|error| error.to_string())?;
    store.gaps().map_err(|error| error.to_string())?;
    store.commit(&example::changes()).map_err(|error| error.to_string())?;
    Ok(progress)
}
