//! The listener's database, `review.db` in its directory.
//!
//! A change of the tables, the notices that were decided by it and the place in
//! the journal that it goes up to are one transaction, which is on the disk when
//! it is committed. A mail is sent after that, and taken from the database when
//! it was accepted. So a kill at any moment loses no mail and decides none
//! twice; only one that was accepted and not yet taken out is sent again, with
//! the same id.
//!
//! It could have been done without: with a snapshot of the tables that is
//! written anew from time to time and the journal read again from there, or
//! with the newest checkpoint read at every start. The first needs the journal's
//! past to be there after a crash and one's own code for replacing files; the
//! second reads gigabytes at every restart, needs all journals since, and says
//! nothing of mails that are waiting. SQLite is in the program anyway, the
//! rows that matter are a few MB of any checkpoint, and they load in a moment.

use super::notice::{Notice, Recipient};
use super::open::Open;
use super::rows::Row;
use super::state::State;
use super::tables::Unsaved;
use p4journal::{Case, Record};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::{Cursor, ListenError, Place, Proof};

/// The open database.
pub(super) struct Store {
    connection: Connection,
    file: PathBuf,
}

/// How far a listener came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// Everything before is in the tables; `None` before the first entry.
    pub(super) cursor: Option<Cursor>,
    /// Of changes before this place nobody hears: only the tables are learned.
    pub(super) quiet_until: Option<Place>,
    /// A person moved the cursor here, and nothing was settled since.
    pub(super) by_hand: Option<Place>,
}

/// A mail that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// The keys of its row.
    pub(super) notice_number: i64,
    pub(super) number: i64,
    pub(super) notice: Arc<Notice>,
    pub(super) to: Recipient,
    pub(super) attempts: u32,
    /// Since when the server puts it off while others get theirs, in
    /// milliseconds since 1970.
    pub(super) put_off: Option<u64>,
    /// The server put it off, and that was said.
    pub(super) was_put_off: bool,
    /// It is not tried before.
    pub(super) not_before: Option<Instant>,
    /// Why nobody will ever take it.
    pub(super) refused: Option<String>,
}

impl Waiting {
    /// The same for no other.
    pub(super) const fn key(&self) -> (i64, i64) {
        (self.notice_number, self.number)
    }
}

const FILE: &str = "review.db";
const VERSION: i64 = 1;
/// Nobody else uses the database, but for people who look at it.
const BUSY_MAX: Duration = Duration::from_millis(1500);

impl Store {
    /// Opens the database, and makes it if need be, for its owner only.
    pub(super) fn open(directory: &Path) -> Result<Self, ListenError> {
        let file = directory.join(FILE);
        let failed = |error| {
            ListenError::io(format_args!("cannot make {}", file.display()), &error)
        };
        make(directory, &file).map_err(failed)?;
        let mut store = Self {
            connection: Connection::open(&file).map_err(|error| of(&file, &error))?,
            file,
        };
        store.prepare().map_err(|error| of(&store.file, &error))?;
        let version = store.version().map_err(|error| of(&store.file, &error))?;
        if version != VERSION {
            return Err(ListenError::Stop(format!(
                "{} is of version {version}, and this program knows {VERSION}: use the \
                 program that made it, or move it away to begin anew",
                store.file.display()
            )));
        }
        Ok(store)
    }

    fn prepare(&mut self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(BUSY_MAX)?;
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        if self.version()? == 0 {
            let transaction = self.connection.transaction()?;
            transaction.execute_batch(include_str!("schema.sql"))?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        }
        Ok(())
    }

    fn version(&self) -> rusqlite::Result<i64> {
        self.connection.pragma_query_value(None, "user_version", |row| row.get(0))
    }

    /// The tables, and how far they came.
    pub(super) fn load(&self) -> Result<(State, Reached), ListenError> {
        self.load_rows().map_err(|error| of(&self.file, &error))?.ok_or_else(|| {
            ListenError::Stop(format!(
                "{} cannot be understood: move it away to begin anew",
                self.file.display()
            ))
        })
    }

    /// `None` when what is there is not ours.
    fn load_rows(&self) -> rusqlite::Result<Option<(State, Reached)>> {
        let mut state = State::new();
        let mut reached = Reached::default();
        let only = "SELECT head, open FROM reached";
        let head = self.connection.query_row(only, [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
        });
        if let Some((head, open)) = head.optional()? {
            let Some((case, found)) = Head::read(&head) else { return Ok(None) };
            // First of all: it decides which names are the same.
            case.into_iter().for_each(|case| state.tables.set_case(case));
            (reached, state.open) = (found, Open::from_records(&open));
        }
        let mut rows =
            self.connection.prepare("SELECT record FROM row ORDER BY name, key")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let record = row.get_ref(0)?.as_blob()?;
            let row = Record::parse(record).ok().as_ref().and_then(Row::read);
            let Some(row) = row else { return Ok(None) };
            state.tables.apply(true, &row);
        }
        let mut ranges = self.connection.prepare("SELECT first, last FROM submitted")?;
        let mut ranges = ranges.query([])?;
        while let Some(range) = ranges.next()? {
            state.tables.load_submitted(range.get(0)?, range.get(1)?);
        }
        state.tables.are_saved();
        Ok(Some((state, reached)))
    }

    /// The mails behind a notice that wait, oldest first, and those that were
    /// refused.
    pub(super) fn mails_after(&self, last: i64) -> Result<Vec<Waiting>, ListenError> {
        self.load_mails(last).map_err(|error| of(&self.file, &error))
    }

    fn load_mails(&self, last: i64) -> rusqlite::Result<Vec<Waiting>> {
        let mut rows = self.connection.prepare(
            "SELECT n.number, n.content, r.number, r.content, r.attempts, r.refused,
                    r.put_off
             FROM notice n JOIN recipient r ON r.notice = n.number
             WHERE n.number > ?1
             ORDER BY n.number, r.number",
        )?;
        let mut rows = rows.query([last])?;
        let mut mails: Vec<Waiting> = Vec::new();
        while let Some(row) = rows.next()? {
            let notice_number = row.get(0)?;
            let last = mails.last().filter(|last| last.notice_number == notice_number);
            let notice = match last {
                Some(last) => Arc::clone(&last.notice),
                None => Arc::new(json(1, &row.get::<_, String>(1)?)?),
            };
            mails.push(Waiting {
                notice_number,
                number: row.get(2)?,
                notice,
                to: json(3, &row.get::<_, String>(3)?)?,
                attempts: row.get(4)?,
                refused: row.get(5)?,
                // A clock that was before 1970 is none.
                put_off: row
                    .get::<_, Option<i64>>(6)?
                    .map(|time| u64::try_from(time).unwrap_or_default()),
                was_put_off: false,
                not_before: None,
            });
        }
        Ok(mails)
    }

    /// Writes what changed in the tables, what was decided, and how far that
    /// goes: all or nothing. After an error the tables are to be loaded again.
    pub(super) fn save(
        &mut self,
        state: &mut State,
        notices: &[Notice],
        reached: &Reached,
    ) -> Result<(), ListenError> {
        let mut save = || {
            let transaction = self.connection.transaction()?;
            write_tables(&transaction, state)?;
            write_notices(&transaction, notices)?;
            let head = Head::write(state.tables.case(), reached);
            transaction.execute(
                "INSERT OR REPLACE INTO reached VALUES (1, ?1, ?2)",
                params![head, state.open.to_records()],
            )?;
            transaction.commit()
        };
        save().map_err(|error| of(&self.file, &error))
    }

    /// The mail was accepted, or its refusal is known elsewhere.
    pub(super) fn is_done(&mut self, mail: &Waiting) -> Result<(), ListenError> {
        let mut done = || {
            let transaction = self.connection.transaction()?;
            transaction.execute(
                "DELETE FROM recipient WHERE notice = ?1 AND number = ?2",
                params![mail.notice_number, mail.number],
            )?;
            transaction.execute(
                "DELETE FROM notice WHERE number = ?1
                 AND NOT EXISTS (SELECT 1 FROM recipient WHERE notice = ?1)",
                [mail.notice_number],
            )?;
            transaction.commit()
        };
        done().map_err(|error| of(&self.file, &error))
    }

    /// The mail was tried, and refused for good where there is a reason.
    pub(super) fn was_tried(&self, mail: &Waiting) -> Result<(), ListenError> {
        let put_off = mail.put_off.map(|time| i64::try_from(time).unwrap_or(i64::MAX));
        let tried = self.connection.execute(
            "UPDATE recipient SET attempts = ?3, refused = ?4, put_off = ?5
             WHERE notice = ?1 AND number = ?2",
            params![
                mail.notice_number,
                mail.number,
                mail.attempts,
                mail.refused,
                put_off
            ],
        );
        tried.map(|_| ()).map_err(|error| of(&self.file, &error))
    }
}

fn write_tables(
    transaction: &Transaction<'_>,
    state: &mut State,
) -> rusqlite::Result<()> {
    let tables = &mut state.tables;
    let Unsaved { all, keys, ranges } = tables.take_changes();
    if all {
        transaction.execute_batch("DELETE FROM row; DELETE FROM submitted;")?;
    }
    let mut put =
        transaction.prepare_cached("INSERT OR REPLACE INTO row VALUES (?1, ?2, ?3)")?;
    let mut delete =
        transaction.prepare_cached("DELETE FROM row WHERE name = ?1 AND key = ?2")?;
    for key in keys {
        let (name, columns) = key.columns();
        match tables.row(&key) {
            Some(row) => put.execute(params![name, columns, row.to_record(true)])?,
            None => delete.execute(params![name, columns])?,
        };
    }
    let mut put =
        transaction.prepare_cached("INSERT OR REPLACE INTO submitted VALUES (?1, ?2)")?;
    let mut delete =
        transaction.prepare_cached("DELETE FROM submitted WHERE first = ?1")?;
    for (first, last) in ranges {
        match last {
            Some(last) => put.execute([first, last])?,
            None => delete.execute([first])?,
        };
    }
    Ok(())
}

fn write_notices(
    transaction: &Transaction<'_>,
    notices: &[Notice],
) -> rusqlite::Result<()> {
    for notice in notices {
        let content = Notice { recipients: Vec::new(), ..notice.clone() };
        // What waits already does not wait twice.
        let is_new = transaction.execute(
            "INSERT OR IGNORE INTO notice (entry, change, content) VALUES (?1, ?2, ?3)",
            params![notice.entry, notice.change, to_json(&content)],
        )?;
        if is_new == 0 {
            continue;
        }
        let number = transaction.last_insert_rowid();
        for (index, recipient) in notice.recipients.iter().enumerate() {
            transaction.execute(
                "INSERT INTO recipient (notice, number, content) VALUES (?1, ?2, ?3)",
                params![number, index as i64, to_json(recipient)],
            )?;
        }
    }
    Ok(())
}

/// How far, and what cannot be read from the rows, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    folds_case: Option<bool>,
    place: Option<[u64; 4]>,
    proof: Option<Proof>,
    next: Option<u64>,
    quiet_until: Option<[u64; 4]>,
    by_hand: Option<[u64; 4]>,
}

impl Head {
    fn write(case: Option<Case>, reached: &Reached) -> String {
        let numbers =
            |place: Place| [place.era, place.sequence, place.offset, place.line];
        let cursor = reached.cursor.as_ref();
        to_json(&Self {
            folds_case: case.map(|case| case == Case::Insensitive),
            place: cursor.map(|cursor| numbers(cursor.place)),
            proof: cursor.and_then(|cursor| cursor.proof.clone()),
            next: cursor.and_then(|cursor| cursor.next),
            quiet_until: reached.quiet_until.map(numbers),
            by_hand: reached.by_hand.map(numbers),
        })
    }

    fn read(text: &str) -> Option<(Option<Case>, Reached)> {
        let head: Self = serde_json::from_str(text).ok()?;
        let place = |[era, sequence, offset, line]: [u64; 4]| Place {
            era,
            sequence,
            offset,
            line,
        };
        let case = |folds| if folds { Case::Insensitive } else { Case::Sensitive };
        let (proof, next) = (head.proof, head.next);
        let reached = Reached {
            cursor: head.place.map(|at| Cursor { place: place(at), proof, next }),
            quiet_until: head.quiet_until.map(place),
            by_hand: head.by_hand.map(place),
        };
        Some((head.folds_case.map(case), reached))
    }
}

/// Our own types, which always can be written.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn json<T: for<'a> Deserialize<'a>>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
    })
}

/// Makes the directory and an empty file in it, which to SQLite is a new
/// database: its own files get the mode of that one.
fn make(directory: &Path, file: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match made {
        Ok(_) => File::open(directory)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn of(file: &Path, error: &rusqlite::Error) -> ListenError {
    let file = file.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            ListenError::Stop(format!(
                "{file} is damaged ({error}): move it away to begin anew, with a \
                 checkpoint if one is configured. Mails that waited in it are lost"
            ))
        }
        Some(_) => ListenError::Retry(format!("cannot use {file}: {error}")),
        None => ListenError::Stop(format!(
            "{file} cannot be understood ({error}): move it away to begin anew"
        )),
    }
}
