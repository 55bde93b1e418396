//! What rows say of versioned files, on the disk: there may be hundreds of
//! millions.

use crate::hot_backup::archives::{Form, Named, Revision, TABLES, Wanted};
use p4journal::{Op, Record};
use rusqlite::{Connection, params};
use tripline_api::ListenError;

/// So many changes are saved together.
const CHANGES_AT_ONCE: u64 = 100_000;
/// So many revisions of one file are judged together.
const REVISIONS_AT_ONCE: usize = 100_000;

/// A database that is gone when it is closed.
pub(super) struct Rows {
    connection: Connection,
    folds: bool,
    changes: u64,
}

/// What a record does to the rows.
#[derive(Clone, Debug)]
pub(super) struct Shift {
    table: i64,
    key: Vec<u8>,
    /// `None` takes the row away.
    wanted: Option<Wanted>,
}

/// Takes a file, and the revisions that should be in it.
pub(super) type Take<'a> =
    dyn FnMut(&[u8], Form, &[Revision]) -> Result<(), ListenError> + 'a;

impl Shift {
    /// What a record does; an error is a path that leads out of the archives.
    pub(super) fn of(record: &Record<'_>, folds: bool) -> Option<Result<Self, String>> {
        let table = record.table()?;
        let table = TABLES.iter().position(|it| *it == table)? as i64;
        let key = key_of(record, folds)?;
        let wanted = match record.op() {
            op if op.is_delete() => None,
            Op::Put | Op::Pv | Op::Rv => match Wanted::of(record) {
                Named::File(wanted) => Some(wanted),
                Named::Nothing => None,
                Named::Odd(odd) => return Some(Err(odd)),
            },
            _ => return None,
        };
        Some(Ok(Self { table, key, wanted }))
    }
}

/// The columns of the key, so that none runs into the next.
fn key_of(record: &Record<'_>, folds: bool) -> Option<Vec<u8>> {
    let layout = record.layout()?;
    let fields: Vec<_> = record.fields().collect();
    let mut key = Vec::new();
    for column in &layout.key {
        let text = fields.get(column.column)?.text();
        key.extend_from_slice(&(text.len() as u64).to_be_bytes());
        match folds {
            true => key.extend(text.iter().map(u8::to_ascii_lowercase)),
            false => key.extend_from_slice(&text),
        }
    }
    Some(key)
}

impl Rows {
    pub(super) fn new(folds: bool) -> Result<Self, ListenError> {
        // SQLite keeps one without a name on the disk (below SQLITE_TMPDIR, TMPDIR or
        // /var/tmp), and removes it.
        let connection = Connection::open("").map_err(failed)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
                 CREATE TABLE named (
                     tab INTEGER NOT NULL, key BLOB NOT NULL, path BLOB NOT NULL,
                     form INTEGER NOT NULL, name BLOB NOT NULL, digest BLOB,
                     size INTEGER, keywords INTEGER NOT NULL,
                     PRIMARY KEY (tab, key)) WITHOUT ROWID;
                 BEGIN",
            )
            .map_err(failed)?;
        Ok(Self { connection, folds, changes: 0 })
    }

    pub(super) const fn folds(&self) -> bool {
        self.folds
    }

    pub(super) fn apply(&mut self, shift: &Shift) -> Result<(), ListenError> {
        let Shift { table, key, wanted } = shift;
        let done = match wanted {
            None => self
                .connection
                .prepare_cached("DELETE FROM named WHERE tab = ?1 AND key = ?2")
                .and_then(|mut it| it.execute(params![table, key])),
            Some(Wanted { path, form, revision }) => self
                .connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO named VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )
                .and_then(|mut it| {
                    it.execute(params![
                        table,
                        key,
                        path,
                        number_of(*form),
                        revision.name,
                        revision.digest.as_ref().map(|it| it.as_slice()),
                        revision.size.map(|it| i64::try_from(it).unwrap_or(i64::MAX)),
                        revision.has_keywords,
                    ])
                }),
        };
        done.map_err(failed)?;
        self.changes += 1;
        if self.changes.is_multiple_of(CHANGES_AT_ONCE) {
            self.save()?;
        }
        Ok(())
    }

    pub(super) fn save(&self) -> Result<(), ListenError> {
        self.connection.execute_batch("COMMIT; BEGIN").map_err(failed)
    }

    /// Hands out each file with all its revisions, by name. Rows that name the same
    /// revision, as those of lazy copies, count once.
    pub(super) fn each_file(&self, take: &mut Take<'_>) -> Result<(), ListenError> {
        let mut found = self
            .connection
            .prepare(
                "SELECT DISTINCT path, form, name, digest, size, keywords FROM named \
                 ORDER BY path, form, name",
            )
            .map_err(failed)?;
        let mut rows = found.query([]).map_err(failed)?;
        let mut file: Option<(Vec<u8>, Form)> = None;
        let mut revisions: Vec<Revision> = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let next =
                (row.get(0).map_err(failed)?, form_of(row.get(1).map_err(failed)?));
            let revision = revision_of(row).map_err(failed)?;
            if file.as_ref() != Some(&next) || revisions.len() >= REVISIONS_AT_ONCE {
                if let Some((path, form)) = &file {
                    take(path, *form, &revisions)?;
                }
                revisions.clear();
                file = Some(next);
            }
            // Where two rows know the digest of one and the other does not, the one
            // that knows it counts.
            match revisions.last_mut().filter(|last| last.name == revision.name) {
                Some(last) if last.digest.is_none() => *last = revision,
                Some(last) if revision.digest.is_none() || *last == revision => {}
                _ => revisions.push(revision),
            }
        }
        match &file {
            Some((path, form)) => take(path, *form, &revisions),
            None => Ok(()),
        }
    }
}

fn revision_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Revision> {
    let digest: Option<Vec<u8>> = row.get(3)?;
    let size: Option<i64> = row.get(4)?;
    Ok(Revision {
        name: row.get(2)?,
        digest: digest.and_then(|it| it.try_into().ok()),
        size: size.map(i64::cast_unsigned),
        has_keywords: row.get(5)?,
    })
}

const fn number_of(form: Form) -> i64 {
    match form {
        Form::Rcs => 0,
        Form::Full => 1,
        Form::Gzip => 3,
    }
}

const fn form_of(number: i64) -> Form {
    match number {
        0 => Form::Rcs,
        1 => Form::Full,
        _ => Form::Gzip,
    }
}

fn failed(error: rusqlite::Error) -> ListenError {
    ListenError::Retry(format!(
        "cannot keep what is to be compared on the disk (below TMPDIR, or /var/tmp): \
         {error}"
    ))
}
