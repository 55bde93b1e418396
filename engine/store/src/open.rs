//! Making, checking and migrating the database.

use crate::{OpenError, directory};
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The database in the state directory.
pub(crate) const FILE: &str = "tripline.db";

/// Each brings the database from the version before to its own, which is its
/// index and one more. What has been released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
];

/// The version that this program reads and writes.
const VERSION: i64 = MIGRATIONS.len() as i64;

/// Tells our databases from others: `Trip`.
const APPLICATION_ID: i64 = 0x5472_6970;

/// How long somebody else's transaction is waited for.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// What the write-ahead log is cut to once its content is in the database, in
/// bytes.
const LOG_BYTES_KEPT: i64 = 4 << 20;

/// Opens the database for writing; makes it when there is none.
pub(crate) fn to_write(directory: &Path) -> Result<(Connection, PathBuf), OpenError> {
    directory::make(directory)
        .map_err(|error| OpenError::io("make the state directory", directory, error))?;
    let file = directory.join(FILE);
    let is_there = file.try_exists().map_err(|e| OpenError::io("open", &file, e))?;
    if !is_there {
        create(directory, &file)?;
    }
    refuse_empty(&file)?;
    let failed = |error| OpenError::sqlite("open", &file, error);
    let mut connection = connect(&file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let version = version(&connection, &file)?;
    if version > VERSION {
        return Err(OpenError::Version { file, found: version, known: VERSION });
    }
    check(&connection, &file)?;
    set(&connection, "journal_mode", &"WAL").map_err(failed)?;
    set(&connection, "synchronous", &"FULL").map_err(failed)?;
    set(&connection, "journal_size_limit", &LOG_BYTES_KEPT).map_err(failed)?;
    migrate(&mut connection, version).map_err(failed)?;
    Ok((connection, file))
}

/// Opens the database for reading, whether a daemon has it open or not.
pub(crate) fn to_read(directory: &Path) -> Result<(Connection, PathBuf), OpenError> {
    let file = directory.join(FILE);
    if !file.try_exists().map_err(|error| OpenError::io("open", &file, error))? {
        return Err(OpenError::Nothing { directory: directory.to_owned() });
    }
    refuse_empty(&file)?;
    let connection = connect(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let version = version(&connection, &file)?;
    if version != VERSION {
        return Err(OpenError::Version { file, found: version, known: VERSION });
    }
    Ok((connection, file))
}

/// Makes a database under another name and moves it into place when all of it
/// is on the disk. So a database at its final name is never empty or half
/// made, and one that is has been damaged: it must not pass for a first start.
fn create(directory: &Path, file: &Path) -> Result<(), OpenError> {
    let new = directory.join("tripline.db.new");
    let failed = |error| OpenError::io("make", &new, error);
    for left_over in [new.clone(), directory.join("tripline.db.new-journal")] {
        remove_if_there(&left_over).map_err(failed)?;
    }
    set_old_log_aside(directory).map_err(failed)?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed)?;
    let failed = |error| OpenError::sqlite("make", &new, error);
    let mut connection = connect(&new, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    set(&connection, "synchronous", &"FULL").map_err(failed)?;
    migrate(&mut connection, 0).map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    fs::rename(&new, file)
        .and_then(|()| directory::sync(directory))
        .map_err(|error| OpenError::io("make", file, error))
}

/// When a person moves only the database away, its write-ahead log stays. It
/// would be taken for the log of the new database.
fn set_old_log_aside(directory: &Path) -> io::Result<()> {
    remove_if_there(&directory.join("tripline.db-shm"))?;
    let aside = directory.join("tripline.db-wal.old");
    match fs::rename(directory.join("tripline.db-wal"), aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// To SQLite an empty file is a new database.
fn refuse_empty(file: &Path) -> Result<(), OpenError> {
    let metadata = fs::metadata(file).map_err(|e| OpenError::io("open", file, e))?;
    if !metadata.is_file() {
        return Err(OpenError::damaged(file, "it is not a file"));
    }
    if metadata.len() == 0 {
        return Err(OpenError::damaged(file, "it is empty"));
    }
    Ok(())
}

fn connect(file: &Path, access: OpenFlags) -> Result<Connection, OpenError> {
    // One thread at a time uses the connection: the type system sees to it.
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)
        .map_err(|error| OpenError::sqlite("open", file, error))?;
    connection
        .busy_timeout(BUSY_MAX)
        .map_err(|error| OpenError::sqlite("open", file, error))?;
    Ok(connection)
}

/// The version of a database that is one of ours.
fn version(connection: &Connection, file: &Path) -> Result<i64, OpenError> {
    let number = |name| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(|error| OpenError::sqlite("read", file, error))
    };
    let version = number("user_version")?;
    if number("application_id")? != APPLICATION_ID || version < 1 {
        return Err(OpenError::damaged(file, "it is not a store of Tripline"));
    }
    Ok(version)
}

/// Walks through the database once: it is small, and damage is better found
/// now than by the listener whose row it hit.
fn check(connection: &Connection, file: &Path) -> Result<(), OpenError> {
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| OpenError::sqlite("read", file, error))?;
    if verdict == "ok" { Ok(()) } else { Err(OpenError::damaged(file, verdict)) }
}

/// Sets a pragma; some answer with their new value, some do not.
fn set(
    connection: &Connection,
    name: &str,
    value: &dyn rusqlite::ToSql,
) -> rusqlite::Result<()> {
    connection.pragma_update(None, name, value)
}

fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    if from == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for step in MIGRATIONS.iter().skip(from as usize) {
        transaction.execute_batch(step)?;
    }
    set(&transaction, "application_id", &APPLICATION_ID)?;
    set(&transaction, "user_version", &VERSION)?;
    transaction.commit()
}
