//! What the receiver remembers: a database of its own, `relay.db` in its state.
//!
//! What a transaction says is true of the files when it is committed: they were
//! synced before. It is on the disk when [`Store::commit`] returns.

use super::places::{LineEnd, Reached};
use crate::wire::{At, Tie};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The open database.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    file: PathBuf,
    number: u64,
}

/// Which log of whom: of a journal the path is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The sender.
    pub(super) peer: String,
    /// The name of its listener.
    pub(super) stream: String,
    /// The name of its source.
    pub(super) source: String,
    /// The path of the log.
    pub(super) log: Vec<u8>,
}

/// A file, as it was when it was last synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    /// Its device and inode number.
    pub(super) inode: (u64, u64),
    /// Everything before is synced, and stands for what was acknowledged.
    pub(super) length: u64,
}

/// What is committed together.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// How far logs came, and under which incarnation.
    pub(super) reached: Vec<(Key, u64, Reached)>,
    /// How long files are, by their path below the receiver's folder.
    pub(super) files: Vec<(String, Length)>,
    /// The tie that these places belong to, if it is another: of whom, and of which
    /// of his listeners.
    pub(super) tie: Option<(String, String, Tie)>,
}

const FILE: &str = "relay.db";
/// From nothing to the newest version, one step each.
const MIGRATIONS: [&str; 2] = [include_str!("schema.sql"), include_str!("ties.sql")];
const VERSION: i64 = MIGRATIONS.len() as i64;
/// Nobody else uses the database, but for people who look at it.
const BUSY_MAX: Duration = Duration::from_secs(5);

impl Store {
    /// Opens the database in a directory that is there, and makes it if need be, for
    /// its owner only.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn open(directory: &Path) -> Result<Self, String> {
        let file = directory.join(FILE);
        let failed = |error: &dyn std::fmt::Display| {
            format!("cannot use {}: {error}", file.display())
        };
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&file)
            .map_err(|error| failed(&error))?;
        let mut connection = Connection::open(&file).map_err(|error| failed(&error))?;
        let version = prepare(&mut connection).map_err(|error| failed(&error))?;
        if version != VERSION {
            return Err(format!(
                "{} is of version {version}, and this program knows {VERSION}: use the \
                 program that made it",
                file.display()
            ));
        }
        let verdict: Result<String, _> =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        match verdict.as_deref() {
            Ok("ok") => {
                let number = connection.query_row(NUMBER, [], |row| number(row, 0));
                let number = number.map_err(|error| failed(&error))?;
                Ok(Self { connection, file, number })
            }
            Ok(what) => Err(failed(&format_args!(
                "it is damaged ({what}). Move it away, and what senders have not settled may \
                 come once more; an older copy from a backup does no better"
            ))),
            Err(error) => Err(failed(error)),
        }
    }

    /// The number of the database, which no other one has.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The last tie of a stream.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn tie(&self, peer: &str, stream: &str) -> Result<Option<Tie>, String> {
        let row = self
            .connection
            .prepare_cached(TIE)
            .and_then(|mut query| query.query_row([peer, stream], read_tie).optional());
        row.map_err(|error| self.cannot("read", &error))
    }

    /// How far a log came, under this incarnation.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn reached(
        &self,
        key: &Key,
        incarnation: u64,
    ) -> Result<Option<Reached>, String> {
        let query = "SELECT era, sequence, place, line_end, gap_noted FROM reached
            WHERE peer = ?1 AND stream = ?2 AND source = ?3 AND log = ?4 AND incarnation = ?5";
        let values =
            params![key.peer, key.stream, key.source, key.log, incarnation.cast_signed()];
        let row = self.connection.prepare_cached(query).and_then(|mut query| {
            query
                .query_row(values, |row| {
                    let [era, sequence, offset] =
                        [number(row, 0)?, number(row, 1)?, number(row, 2)?];
                    let at = At { era, sequence, offset };
                    let line = LineEnd::of_number(row.get(3)?);
                    Ok(Reached { at, line, gap_noted: row.get(4)? })
                })
                .optional()
        });
        row.map_err(|error| self.cannot("read", &error))
    }

    /// A file, as it was when it was last synced; `None` for one that is not known.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn length(&self, path: &str) -> Result<Option<Length>, String> {
        let query = "SELECT device, inode, length FROM file WHERE path = ?1";
        let row = self.connection.prepare_cached(query).and_then(|mut query| {
            query
                .query_row([path], |row| {
                    let inode = (number(row, 0)?, number(row, 1)?);
                    Ok(Length { inode, length: number(row, 2)? })
                })
                .optional()
        });
        row.map_err(|error| self.cannot("read", &error))
    }

    /// The folder, below that of the peer, of a stream's source. The first stream
    /// that brings a source has one with the name of the source, any other one with
    /// its own name behind it.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn folder(
        &mut self,
        peer: &str,
        stream: &str,
        source: &str,
    ) -> Result<String, String> {
        let found = (|| {
            let transaction = self.connection.transaction()?;
            let folder = find_folder(&transaction, peer, stream, source)?;
            transaction.commit()?;
            Ok(folder)
        })();
        match found {
            Ok(Some(folder)) => Ok(folder),
            Ok(None) => Err(format!(
                "the folders of {peer} in {} are not ours",
                self.file.display()
            )),
            Err(error) => Err(self.cannot("write", &error)),
        }
    }

    /// Makes all of the changes, or none.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn commit<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a Changes>,
    ) -> Result<(), String> {
        let done = (|| {
            let transaction = self.connection.transaction()?;
            for changes in changes {
                write(&transaction, changes)?;
            }
            transaction.commit()
        })();
        done.map_err(|error| self.cannot("write", &error))
    }

    fn cannot(&self, what: &str, error: &rusqlite::Error) -> String {
        format!("cannot {what} {}: {error}", self.file.display())
    }
}

const NUMBER: &str = "SELECT number FROM receiver";
const TIE: &str = "SELECT file, number FROM tie WHERE peer = ?1 AND stream = ?2";

fn read_tie(row: &rusqlite::Row<'_>) -> rusqlite::Result<Tie> {
    Ok(Tie { file: number(row, 0)?, number: number(row, 1)? })
}

/// Numbers are kept with a sign.
fn number(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get(at).map(i64::cast_unsigned)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    connection.busy_timeout(BUSY_MAX)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let version = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get(0))
    };
    let found: i64 = version(connection)?;
    if (0..VERSION).contains(&found) {
        let transaction = connection.transaction()?;
        for step in MIGRATIONS.iter().skip(found as usize) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    version(connection)
}

fn find_folder(
    transaction: &Transaction<'_>,
    peer: &str,
    stream: &str,
    source: &str,
) -> rusqlite::Result<Option<String>> {
    let query = "SELECT name FROM folder WHERE peer = ?1 AND stream = ?2 AND source = ?3";
    let known = transaction.query_row(query, [peer, stream, source], |row| row.get(0));
    if let Some(name) = known.optional()? {
        return Ok(Some(name));
    }
    // No name has an `@`.
    for name in [source.to_owned(), format!("{source}@{stream}")] {
        let made = transaction.execute(
            "INSERT OR IGNORE INTO folder (peer, name, stream, source) VALUES (?1, ?2, ?3, ?4)",
            [peer, &name, stream, source],
        )?;
        if made == 1 {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Places of a sender that has another file now mean nothing any more, also when it
/// should come back with the old one.
fn write_tie(
    transaction: &Transaction<'_>,
    (peer, stream, tie): &(String, String, Tie),
) -> rusqlite::Result<()> {
    let before = transaction.query_row(TIE, [peer, stream], read_tie).optional()?;
    if before.is_none_or(|before| before.file != tie.file) {
        let forget = "DELETE FROM reached WHERE peer = ?1 AND stream = ?2";
        transaction.execute(forget, [peer, stream])?;
    }
    transaction.execute(
        "INSERT OR REPLACE INTO tie (peer, stream, file, number) VALUES (?1, ?2, ?3, ?4)",
        params![peer, stream, tie.file.cast_signed(), tie.number.cast_signed()],
    )?;
    Ok(())
}

fn write(transaction: &Transaction<'_>, changes: &Changes) -> rusqlite::Result<()> {
    if let Some(tie) = &changes.tie {
        write_tie(transaction, tie)?;
    }
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO reached
            (peer, stream, source, log, incarnation, era, sequence, place, line_end, gap_noted)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for (key, incarnation, reached) in &changes.reached {
        insert.execute(params![
            key.peer,
            key.stream,
            key.source,
            key.log,
            incarnation.cast_signed(),
            reached.at.era.cast_signed(),
            reached.at.sequence.cast_signed(),
            reached.at.offset.cast_signed(),
            reached.line.number(),
            reached.gap_noted,
        ])?;
    }
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO file (path, device, inode, length) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (path, Length { inode, length }) in &changes.files {
        let inode = (inode.0.cast_signed(), inode.1.cast_signed());
        insert.execute(params![path, inode.0, inode.1, length.cast_signed()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(stream: &str) -> Key {
        let log = b"/\xff".to_vec();
        Key { peer: "web1".into(), stream: stream.into(), source: "auth".into(), log }
    }

    #[test]
    fn what_is_committed_is_there_again() {
        let scratch = tempfile::tempdir().unwrap();
        let mut store = Store::open(scratch.path()).unwrap();
        let at = At { era: 1 << 40, sequence: 3, offset: i64::MAX as u64 };
        let reached = Reached { at, line: LineEnd::Cut, gap_noted: true };
        let length = Length { inode: (u64::MAX, 7), length: 99 };
        let changes = Changes {
            reached: vec![(key("a"), u64::MAX, reached)],
            files: vec![("web1/auth/x".into(), length)],
            tie: None,
        };
        store.commit([&changes].into_iter()).unwrap();
        drop(store);
        let store = Store::open(scratch.path()).unwrap();
        assert_eq!(store.reached(&key("a"), u64::MAX).unwrap(), Some(reached));
        assert_eq!(store.reached(&key("a"), 1).unwrap(), None, "another incarnation");
        assert_eq!(store.reached(&key("b"), u64::MAX).unwrap(), None, "another stream");
        assert_eq!(store.length("web1/auth/x").unwrap(), Some(length));
        assert_eq!(store.length("web1/auth/y").unwrap(), None);
    }

    #[test]
    fn places_go_with_the_file_of_their_tie() {
        let scratch = tempfile::tempdir().unwrap();
        let mut store = Store::open(scratch.path()).unwrap();
        let reached =
            Reached { at: At::default(), line: LineEnd::Whole, gap_noted: true };
        let commit = |store: &mut Store, tie, streams: &[&str]| {
            let reached = streams.iter().map(|it| (key(it), 1, reached)).collect();
            let tie = Some(("web1".to_owned(), "a".to_owned(), tie));
            let changes = Changes { reached, files: Vec::new(), tie };
            store.commit([&changes].into_iter()).unwrap();
        };
        let there = |store: &Store| {
            ["a", "b"].map(|it| store.reached(&key(it), 1).unwrap().is_some())
        };
        assert_eq!(store.tie("web1", "a").unwrap(), None);
        let first = Tie { file: u64::MAX, number: 1 };
        commit(&mut store, first, &["a", "b"]);
        let next = Tie { number: u64::MAX, ..first };
        commit(&mut store, next, &[]);
        assert_eq!(there(&store), [true, true], "the same file");
        let number = store.number();
        drop(store);
        let mut store = Store::open(scratch.path()).unwrap();
        assert_eq!(store.tie("web1", "a").unwrap(), Some(next));
        assert_eq!(store.tie("web1", "b").unwrap(), None);
        assert_eq!(store.number(), number);
        commit(&mut store, Tie { file: 7, number: 1 }, &[]);
        assert_eq!(there(&store), [false, true], "another one");
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Store::open(other.path()).unwrap().number(), number);
    }

    #[test]
    fn an_older_database_goes_on() {
        let scratch = tempfile::tempdir().unwrap();
        let connection = Connection::open(scratch.path().join(FILE)).unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let row =
            "INSERT INTO reached VALUES ('web1', 'a', 'auth', x'2fff', 1, 0, 0, 9, 0, 0)";
        connection.execute_batch(row).unwrap();
        drop(connection);
        let store = Store::open(scratch.path()).unwrap();
        let at = At { era: 0, sequence: 0, offset: 9 };
        assert_eq!(store.reached(&key("a"), 1).unwrap().unwrap().at, at);
        assert_eq!(store.tie("web1", "a").unwrap(), None);
    }

    #[test]
    fn a_newer_database_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::open(scratch.path()).unwrap();
        store.connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        drop(store);
        let why = Store::open(scratch.path()).unwrap_err();
        assert!(why.contains("use the program that made it"), "{why}");
    }

    #[test]
    fn two_streams_have_folders_of_their_own() {
        let scratch = tempfile::tempdir().unwrap();
        let mut store = Store::open(scratch.path()).unwrap();
        for _ in 0..2 {
            assert_eq!(store.folder("web1", "a", "auth").unwrap(), "auth");
            assert_eq!(store.folder("web1", "b", "auth").unwrap(), "auth@b");
            assert_eq!(store.folder("web2", "b", "auth").unwrap(), "auth");
        }
    }

    #[test]
    fn what_is_no_database_of_ours_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join(FILE), [b'x'; 5000]).unwrap();
        let why = Store::open(scratch.path()).unwrap_err();
        assert!(why.contains("relay.db"), "{why}");
    }
}
