//! The store of the program: one SQLite database.

use crate::error::store_error;
use crate::rows::{self, NotMade};
use crate::{OpenError, kept, letters, open};
use rusqlite::{Connection, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tripline_api::{
    Change, Filed, Gap, Kept, Key, LetterCounts, ListenerId, Progress, Store, StoreError,
};

/// Keeps everything in `tripline.db` in the state directory.
///
/// The database has a write-ahead log, so others read it while the daemon
/// runs, and every commit is one transaction that is on the disk when
/// [`commit`](Store::commit) returns. `schema.sql` beside this file says what
/// is in it.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    file: PathBuf,
}

impl SqliteStore {
    /// Opens the store in a state directory, and makes either when it is not
    /// there, readable for their owner only. Brings an older store up to date.
    ///
    /// Hold the [`StateLock`](crate::StateLock) of the directory.
    ///
    /// # Errors
    ///
    /// When the directory or the database cannot be used, is damaged, or comes
    /// from a newer program.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let (connection, file) = open::to_write(directory)?;
        Ok(Self { connection, file })
    }

    /// Opens the store in a state directory for reading only, also while a
    /// daemon uses it. Commits fail.
    ///
    /// # Errors
    ///
    /// [`OpenError::Nothing`] when there is no store yet; otherwise as for
    /// [`open`](Self::open), and when the store is older than the program.
    pub fn open_to_read(directory: &Path) -> Result<Self, OpenError> {
        let (connection, file) = open::to_read(directory)?;
        Ok(Self { connection, file })
    }
}

impl Store for SqliteStore {
    fn progress(&mut self) -> Result<Vec<Progress>, StoreError> {
        rows::all_progress(&self.connection)
            .map_err(|error| store_error("cannot read progress from", &self.file, error))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        make_all(&mut self.connection, changes).map_err(|error| match error {
            NotMade::Database(error) => {
                store_error("progress was not saved in", &self.file, error)
            }
            NotMade::Refused(error) => error,
        })
    }

    fn gaps(&mut self) -> Result<Vec<(Key, Gap)>, StoreError> {
        rows::all_gaps(&self.connection)
            .map_err(|error| store_error("cannot read gaps from", &self.file, error))
    }

    fn letters(&mut self) -> Result<Vec<Filed>, StoreError> {
        letters::all(&self.connection)
            .map_err(|error| store_error("cannot read letters from", &self.file, error))
    }

    fn letter_counts(&mut self) -> Result<LetterCounts, StoreError> {
        letters::counts(&self.connection)
            .map_err(|error| store_error("cannot read letters from", &self.file, error))
    }

    fn kept(&mut self, listener: &ListenerId) -> Result<Vec<Kept>, StoreError> {
        kept::all(&self.connection, listener).map_err(|error| {
            store_error("cannot read what is remembered from", &self.file, error)
        })
    }

    fn kept_under(
        &mut self,
        listener: &ListenerId,
        prefixes: &[&str],
    ) -> Result<Vec<Kept>, StoreError> {
        kept::under(&mut self.connection, listener, prefixes).map_err(|error| {
            store_error("cannot read what is remembered from", &self.file, error)
        })
    }
}

/// Makes all changes or none: a transaction that is dropped rolls back.
fn make_all(connection: &mut Connection, changes: &[Change]) -> Result<(), NotMade> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs().cast_signed());
    for change in changes {
        rows::make(&transaction, change, now)?;
    }
    rows::forget_old_gaps(&transaction, changes)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, example};
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn it_conforms() {
        let mut scratch = Vec::new();
        conformance::conforms(|| {
            scratch.push(tempfile::tempdir().unwrap());
            Box::new(SqliteStore::open(scratch.last().unwrap().path()).unwrap())
        });
    }

    #[test]
    fn it_persists() {
        let scratch = tempfile::tempdir().unwrap();
        conformance::persists(|| Box::new(SqliteStore::open(scratch.path()).unwrap()));
    }

    #[test]
    fn the_files_are_private_and_durable() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("state");
        let mut store = SqliteStore::open(&directory).unwrap();
        store.commit(&example::changes()).unwrap();
        for name in ["tripline.db", "tripline.db-wal", "tripline.db-shm"] {
            let mode = fs::metadata(directory.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let pragma = |name| {
            store
                .connection
                .pragma_query_value(None, name, |row| {
                    row.get::<_, rusqlite::types::Value>(0)
                })
                .unwrap()
        };
        assert_eq!(pragma("journal_mode"), "wal".to_owned().into());
        assert_eq!(pragma("synchronous"), 2.into(), "2 is FULL");
    }

    #[test]
    fn others_read_while_it_is_open() {
        let scratch = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(scratch.path()).unwrap();
        let mut reader = SqliteStore::open_to_read(scratch.path()).unwrap();
        assert_eq!(reader.progress().unwrap(), []);
        store.commit(&example::changes()).unwrap();
        assert_eq!(reader.progress().unwrap(), store.progress().unwrap());
        assert_eq!(reader.gaps().unwrap(), store.gaps().unwrap());
        let error = reader.commit(&example::changes()).unwrap_err().to_string();
        assert!(error.contains("tripline.db"), "{error}");
        drop(store);
        let mut reader = SqliteStore::open_to_read(scratch.path()).unwrap();
        assert!(!reader.progress().unwrap().is_empty());
    }

    #[test]
    fn what_a_killed_process_committed_is_read() {
        let scratch = tempfile::tempdir().unwrap();
        let (before, after) =
            (scratch.path().join("before"), scratch.path().join("after"));
        let mut store = SqliteStore::open(&before).unwrap();
        store.commit(&example::changes()).unwrap();
        // Without the shared memory, which a restart of the host takes away.
        fs::create_dir(&after).unwrap();
        for name in ["tripline.db", "tripline.db-wal"] {
            fs::copy(before.join(name), after.join(name)).unwrap();
        }
        let mut reader = SqliteStore::open_to_read(&after).unwrap();
        assert_eq!(reader.progress().unwrap(), store.progress().unwrap());
        let mut writer = SqliteStore::open(&after).unwrap();
        assert_eq!(writer.gaps().unwrap(), store.gaps().unwrap());
    }

    #[test]
    fn no_store_yet_is_told_apart() {
        let scratch = tempfile::tempdir().unwrap();
        for directory in [scratch.path().to_owned(), scratch.path().join("none")] {
            let error = SqliteStore::open_to_read(&directory).unwrap_err();
            assert!(matches!(error, OpenError::Nothing { .. }), "{error}");
            assert!(!directory.join("tripline.db").exists());
        }
    }

    #[test]
    fn a_store_of_the_future_is_refused_and_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        drop(SqliteStore::open(scratch.path()).unwrap());
        let file = scratch.path().join("tripline.db");
        let connection = Connection::open(&file).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let before = fs::read(&file).unwrap();
        for open in [SqliteStore::open, SqliteStore::open_to_read] {
            let error = open(scratch.path()).unwrap_err().to_string();
            assert!(error.contains("version 99"), "{error}");
            assert!(error.contains("newer Tripline"), "{error}");
        }
        assert_eq!(fs::read(&file).unwrap(), before);
    }

    #[test]
    fn a_log_without_its_database_is_set_aside() {
        let scratch = tempfile::tempdir().unwrap();
        let old = scratch.path().join("old");
        let mut store = SqliteStore::open(&old).unwrap();
        store.commit(&example::changes()).unwrap();
        let state = scratch.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::copy(old.join("tripline.db-wal"), state.join("tripline.db-wal")).unwrap();
        let mut store = SqliteStore::open(&state).unwrap();
        assert_eq!(store.progress().unwrap(), []);
        assert!(state.join("tripline.db-wal.old").exists());
    }

    #[test]
    fn a_half_made_store_is_made_again() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("tripline.db.new"), "half").unwrap();
        let mut store = SqliteStore::open(scratch.path()).unwrap();
        assert_eq!(store.progress().unwrap(), []);
        assert!(!scratch.path().join("tripline.db.new").exists());
    }

    #[test]
    fn somebody_elses_transaction_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(scratch.path()).unwrap();
        store.connection.busy_timeout(std::time::Duration::ZERO).unwrap();
        let shell = Connection::open(scratch.path().join("tripline.db")).unwrap();
        shell.execute_batch("BEGIN IMMEDIATE").unwrap();
        let error = store.commit(&example::changes()).unwrap_err().to_string();
        assert!(error.contains("another program is writing"), "{error}");
        shell.execute_batch("ROLLBACK").unwrap();
        store.commit(&example::changes()).unwrap();
    }
}
