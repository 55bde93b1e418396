//! Dead letters as rows of the database, both ways.

use crate::rows::{log_bytes, read_key, unsigned, word};
use rusqlite::{Connection, Row, params};
use tripline_api::{
    Content, Filed, Key, Letter, LetterCounts, ListenerId, Place, SourceId,
};

const LETTERS: &str = "SELECT * FROM letter ORDER BY number";

const COUNTS: &str =
    "SELECT source, listener, count(*) FROM letter GROUP BY source, listener";

const SET_ASIDE: &str = "
    INSERT INTO letter (
        source, listener, log, era, sequence, line, offset,
        entries, made, content, why, attempts, updated
    ) VALUES (
        ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
    ) ON CONFLICT (listener, source, log, era, sequence, offset, made) DO UPDATE SET
        line = ?6, entries = ?8, content = ?10, why = ?11,
        attempts = min(attempts + ?12, 4294967295), updated = ?13";

const UNFILE: &str = "
    DELETE FROM letter
    WHERE number = ?1 AND source = ?2 AND listener = ?3 AND log = ?4";

/// The letters of all listeners, oldest first.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<Filed>> {
    connection.prepare_cached(LETTERS)?.query_map([], read)?.collect()
}

/// How many letters there are of each source and listener.
pub(crate) fn counts(connection: &Connection) -> rusqlite::Result<LetterCounts> {
    let count = |row: &Row<'_>| {
        let source = word(row, "source", SourceId::new)?;
        Ok((
            (source, word(row, "listener", ListenerId::new)?),
            unsigned(row, "count(*)")?,
        ))
    };
    connection.prepare_cached(COUNTS)?.query_map([], count)?.collect()
}

/// Files a letter, at a time in seconds since 1970; one that is there already is
/// replaced.
pub(crate) fn set_aside(
    connection: &Connection,
    letter: &Letter,
    now: i64,
) -> rusqlite::Result<()> {
    let (key, place) = (&letter.key, letter.place);
    let (is_made, content) = match &letter.content {
        Content::Entry(bytes) => (false, bytes),
        Content::Made(bytes) => (true, bytes),
    };
    connection.prepare_cached(SET_ASIDE)?.execute(params![
        key.source.as_str(),
        key.listener.as_str(),
        log_bytes(key),
        place.era.cast_signed(),
        place.sequence.cast_signed(),
        place.line.cast_signed(),
        place.offset.cast_signed(),
        letter.entries.cast_signed(),
        is_made,
        content,
        letter.why,
        letter.attempts,
        now,
    ])?;
    Ok(())
}

/// Takes a letter away; it may be gone already.
pub(crate) fn unfile(
    connection: &Connection,
    key: &Key,
    number: u64,
) -> rusqlite::Result<()> {
    connection.prepare_cached(UNFILE)?.execute(params![
        number.cast_signed(),
        key.source.as_str(),
        key.listener.as_str(),
        log_bytes(key),
    ])?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Filed> {
    let content = row.get("content")?;
    let letter = Letter {
        key: read_key(row)?,
        place: Place {
            era: unsigned(row, "era")?,
            sequence: unsigned(row, "sequence")?,
            line: unsigned(row, "line")?,
            offset: unsigned(row, "offset")?,
        },
        entries: unsigned(row, "entries")?,
        content: match row.get("made")? {
            true => Content::Made(content),
            false => Content::Entry(content),
        },
        why: row.get("why")?,
        attempts: row.get("attempts")?,
    };
    Ok(Filed { number: unsigned(row, "number")?, time: row.get("updated")?, letter })
}
