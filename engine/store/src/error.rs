//! What can go wrong with a state directory, in words that say what to do.

use rusqlite::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};
use tripline_api::StoreError;

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nothing to read: the daemon never ran with this directory.
    #[error("there is no store in {} yet", .directory.display())]
    Nothing {
        /// The state directory.
        directory: PathBuf,
    },
    /// The store was written by another version of the program.
    #[error(
        "{} is a store of version {found}, and this program knows version {known}: {}",
        .file.display(),
        if found > known { "use the newer Tripline that wrote it" }
        else { "start this program's daemon once, which brings it up to date" }
    )]
    Version {
        /// The database.
        file: PathBuf,
        /// The version it says it has.
        found: i64,
        /// The version this program reads and writes.
        known: i64,
    },
    /// The file is not a store, or not any more.
    #[error("{} is damaged ({what}); {}", .file.display(), Repair(.file))]
    Damaged {
        /// The database.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system or the database refused.
    #[error("cannot {what} {}: {cause}", .path.display())]
    Failed {
        /// What was tried: `open`, `make the state directory`.
        what: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system or the database said.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    pub(crate) fn io(what: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Failed { what, path: path.to_owned(), cause: cause.into() }
    }

    pub(crate) fn damaged(file: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), what: what.into() }
    }

    pub(crate) fn sqlite(
        what: &'static str,
        file: &Path,
        cause: rusqlite::Error,
    ) -> Self {
        match Trouble::of(cause) {
            Trouble::Damage(what) => Self::damaged(file, what),
            Trouble::Refusal(cause) => {
                Self::Failed { what, path: file.to_owned(), cause: cause.into() }
            }
        }
    }
}

/// A state directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("state directory {} is in use by {}", .directory.display(), holder(*.pid))]
    Held {
        /// The state directory.
        directory: PathBuf,
        /// The process that has it, if it said so.
        pid: Option<u32>,
    },
    /// It is on another host.
    #[error(
        "state directory {} is on a network file system ({kind}), where neither locks \
         nor the database can be trusted: put it on a local disk",
        .directory.display()
    )]
    Network {
        /// The state directory.
        directory: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// The system refused.
    #[error("cannot {what} {}: {cause}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl LockError {
    pub(crate) fn io(what: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), cause }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}

/// An error of a store that is open.
pub(crate) fn store_error(what: &str, file: &Path, error: rusqlite::Error) -> StoreError {
    let cause = match Trouble::of(error) {
        Trouble::Damage(what) => OpenError::damaged(file, what).to_string(),
        Trouble::Refusal(cause) => cause,
    };
    StoreError { what: format!("{what} {}", file.display()), cause: cause.into() }
}

/// What to do about a damaged database: the same words wherever it shows.
struct Repair<'a>(&'a Path);

impl std::fmt::Display for Repair<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = self.0.display();
        write!(
            f,
            "stop Tripline, move {file} away (and {file}-wal, if there is one) and start \
             again: a listener that can tell from what it wrote how far it came goes on \
             there, any other begins where its configuration says, or where \
             `tripline where --set` puts it"
        )
    }
}

/// What an error of SQLite means to a person.
enum Trouble {
    /// The file does not hold what it should.
    Damage(String),
    /// The file may be fine, but this did not work now.
    Refusal(String),
}

impl Trouble {
    fn of(error: rusqlite::Error) -> Self {
        use rusqlite::Error;
        match &error {
            Error::SqliteFailure(failure, message) => {
                // Includes a schema that does not parse any more.
                let text = message.clone().unwrap_or_else(|| failure.to_string());
                match failure.code {
                    ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::TypeMismatch
                    | ErrorCode::ConstraintViolation
                    | ErrorCode::Unknown => Self::Damage(text),
                    ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                        Self::Refusal(format!(
                            "another program is writing to it, perhaps a `sqlite3` \
                             shell with an open transaction ({text})"
                        ))
                    }
                    // The number tells apart a dozen kinds of I/O error.
                    _ => Self::Refusal(format!(
                        "{text} (SQLite code {})",
                        failure.extended_code
                    )),
                }
            }
            Error::SqlInputError { msg, .. } => Self::Damage(msg.clone()),
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::InvalidColumnIndex(_)
            | Error::InvalidColumnName(_)
            | Error::QueryReturnedNoRows
            | Error::Utf8Error(..) => Self::Damage(error.to_string()),
            _ => Self::Refusal(error.to_string()),
        }
    }
}
