//! Progress and gaps as rows of the database, both ways.

use crate::change::{apply, nothing_yet};
use crate::{kept, letters};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use tripline_api::{
    Change, Cursor, Digest, Gap, GapKind, Key, ListenerId, Place, Progress, Proof,
    SourceId, State, Store, StoreError,
};

const PROGRESS: &str = "SELECT * FROM cursor";

const PROGRESS_OF_ONE: &str =
    "SELECT * FROM cursor WHERE source = ?1 AND listener = ?2 AND log = ?3";

const FORGET_PROGRESS: &str =
    "DELETE FROM cursor WHERE source = ?1 AND listener = ?2 AND log = ?3";

/// What `apply` does to a row that is settled further, in one statement: of many
/// logs there are thousands at a time. It leaves alone what it cannot add up.
const SETTLE: &str = "
    INSERT INTO cursor (
        source, listener, log, era, sequence, line, offset, next_sequence,
        device, inode, modified, head_bytes, head_hash, tail_bytes, tail_hash,
        set_by_hand, entries_settled, last_entry, state, why, updated
    ) VALUES (
        ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
        0, ?16, ?17, 'catching_up', NULL, ?18
    ) ON CONFLICT DO UPDATE SET
        era = ?4, sequence = ?5, line = ?6, offset = ?7, next_sequence = ?8,
        device = ?9, inode = ?10, modified = ?11, head_bytes = ?12, head_hash = ?13,
        tail_bytes = ?14, tail_hash = ?15, set_by_hand = 0,
        entries_settled = entries_settled + ?16,
        last_entry = coalesce(?17, last_entry), updated = ?18
    WHERE entries_settled BETWEEN 0 AND 9223372036854775807 - ?16";

const WRITE_PROGRESS: &str = "
    INSERT OR REPLACE INTO cursor (
        source, listener, log, era, sequence, line, offset, next_sequence,
        device, inode, modified, head_bytes, head_hash, tail_bytes, tail_hash,
        set_by_hand, entries_settled, last_entry, state, why, updated
    ) VALUES (
        :source, :listener, :log, :era, :sequence, :line, :offset, :next_sequence,
        :device, :inode, :modified, :head_bytes, :head_hash, :tail_bytes, :tail_hash,
        :set_by_hand, :entries_settled, :last_entry, :state, :why, unixepoch()
    )";

const GAPS: &str = "SELECT * FROM gap ORDER BY id";

const WRITE_GAP: &str = "
    INSERT INTO gap (
        source, listener, log, kind,
        from_era, from_sequence, from_line, from_offset,
        to_era, to_sequence, to_line, to_offset,
        missing_first, missing_last, bytes_lost, why, repair, announced
    ) VALUES (
        :source, :listener, :log, :kind,
        :from_era, :from_sequence, :from_line, :from_offset,
        :to_era, :to_sequence, :to_line, :to_offset,
        :missing_first, :missing_last, :bytes_lost, :why, :repair, unixepoch()
    )";

const FORGET_OLD_GAPS: &str = "
    DELETE FROM gap
    WHERE source = :source AND listener = :listener AND id <= (
        SELECT id FROM gap WHERE source = :source AND listener = :listener
        ORDER BY id DESC LIMIT 1 OFFSET :kept
    )";

/// Everything known of every listener, in the order of the keys.
pub(crate) fn all_progress(connection: &Connection) -> rusqlite::Result<Vec<Progress>> {
    let mut all = connection
        .prepare_cached(PROGRESS)?
        .query_map([], read_progress)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    // Paths have another order than bytes.
    all.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(all)
}

/// The gaps of every listener, oldest first.
pub(crate) fn all_gaps(connection: &Connection) -> rusqlite::Result<Vec<(Key, Gap)>> {
    connection.prepare_cached(GAPS)?.query_map([], read_gap)?.collect()
}

/// Why a change was not made.
pub(crate) enum NotMade {
    /// The database did not play along.
    Database(rusqlite::Error),
    /// The change cannot be made to any store.
    Refused(StoreError),
}

impl From<rusqlite::Error> for NotMade {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// Makes one change, inside the caller's transaction, at a time in seconds
/// since 1970.
pub(crate) fn make(
    connection: &Connection,
    change: &Change,
    now: i64,
) -> Result<(), NotMade> {
    let Some(key) = change.key() else {
        if let Change::Keep { listener, kept } = change {
            kept::keep(connection, listener, kept)?;
        }
        return Ok(());
    };
    match change {
        Change::Settled { cursor, entries, last_entry, .. }
            if settle(connection, key, cursor, *entries, *last_entry, now)? =>
        {
            return Ok(());
        }
        Change::Forget { .. } => return Ok(forget_progress(connection, key)?),
        Change::SetAside(letter) => {
            return Ok(letters::set_aside(connection, letter, now)?);
        }
        Change::Unfile { number, .. } => {
            return Ok(letters::unfile(connection, key, *number)?);
        }
        _ => {}
    }
    let mut progress =
        progress_of(connection, key)?.unwrap_or_else(|| nothing_yet(key.clone()));
    apply(&mut progress, change).map_err(NotMade::Refused)?;
    write_progress(connection, &progress)?;
    if let Change::Gap { gap, .. } = change {
        write_gap(connection, key, gap)?;
    }
    Ok(())
}

/// Keeps the bound of the gaps of each listener that these changes gave some to.
pub(crate) fn forget_old_gaps(
    connection: &Connection,
    changes: &[Change],
) -> rusqlite::Result<()> {
    let of_gap = |change: &Change| match change {
        Change::Gap { key, .. } => Some((key.source.clone(), key.listener.clone())),
        _ => None,
    };
    for (source, listener) in changes.iter().filter_map(of_gap).collect::<BTreeSet<_>>() {
        connection.prepare_cached(FORGET_OLD_GAPS)?.execute(named_params! {
            ":source": source.as_str(),
            ":listener": listener.as_str(),
            ":kept": <dyn Store>::GAPS_MAX as i64,
        })?;
    }
    Ok(())
}

fn progress_of(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Progress>> {
    connection
        .prepare_cached(PROGRESS_OF_ONE)?
        .query_row(
            params![key.source.as_str(), key.listener.as_str(), log_bytes(key)],
            read_progress,
        )
        .optional()
}

fn forget_progress(connection: &Connection, key: &Key) -> rusqlite::Result<()> {
    connection.prepare_cached(FORGET_PROGRESS)?.execute(params![
        key.source.as_str(),
        key.listener.as_str(),
        log_bytes(key)
    ])?;
    Ok(())
}

/// Settles a row further, if that can be done in one statement.
fn settle(
    connection: &Connection,
    key: &Key,
    cursor: &Cursor,
    entries: u64,
    last_entry: Option<i64>,
    now: i64,
) -> rusqlite::Result<bool> {
    let Ok(entries) = i64::try_from(entries) else { return Ok(false) };
    let (place, proof) = (cursor.place, cursor.proof.as_ref());
    let rows = connection.prepare_cached(SETTLE)?.execute(params![
        key.source.as_str(),
        key.listener.as_str(),
        log_bytes(key),
        place.era.cast_signed(),
        place.sequence.cast_signed(),
        place.line.cast_signed(),
        place.offset.cast_signed(),
        cursor.next.map(u64::cast_signed),
        proof.map(|proof| proof.inode.0.cast_signed()),
        proof.map(|proof| proof.inode.1.cast_signed()),
        proof.map(|proof| proof.modified),
        proof.map(|proof| proof.head.len),
        proof.map(|proof| proof.head.hash),
        proof.map(|proof| proof.tail.len),
        proof.map(|proof| proof.tail.hash),
        entries,
        last_entry,
        now,
    ])?;
    Ok(rows > 0)
}

/// How the database names a log; a journal has none.
pub(crate) fn log_bytes(key: &Key) -> &[u8] {
    key.log.as_ref().map_or(&[], |log| log.as_os_str().as_bytes())
}

fn write_progress(connection: &Connection, progress: &Progress) -> rusqlite::Result<()> {
    let place = progress.cursor.as_ref().map(|cursor| cursor.place);
    let next = progress.cursor.as_ref().and_then(|cursor| cursor.next);
    let proof = progress.cursor.as_ref().and_then(|cursor| cursor.proof.as_ref());
    connection.prepare_cached(WRITE_PROGRESS)?.execute(named_params! {
        ":source": progress.key.source.as_str(),
        ":listener": progress.key.listener.as_str(),
        ":log": log_bytes(&progress.key),
        ":era": place.map(|place| place.era.cast_signed()),
        ":sequence": place.map(|place| place.sequence.cast_signed()),
        ":line": place.map(|place| place.line.cast_signed()),
        ":offset": place.map(|place| place.offset.cast_signed()),
        ":next_sequence": next.map(u64::cast_signed),
        ":device": proof.map(|proof| proof.inode.0.cast_signed()),
        ":inode": proof.map(|proof| proof.inode.1.cast_signed()),
        ":modified": proof.map(|proof| proof.modified),
        ":head_bytes": proof.map(|proof| proof.head.len),
        ":head_hash": proof.map(|proof| proof.head.hash),
        ":tail_bytes": proof.map(|proof| proof.tail.len),
        ":tail_hash": proof.map(|proof| proof.tail.hash),
        ":set_by_hand": progress.set_by_hand,
        ":entries_settled": progress.entries_settled.cast_signed(),
        ":last_entry": progress.last_entry,
        ":state": progress.state.name(),
        ":why": progress.why,
    })?;
    Ok(())
}

fn write_gap(connection: &Connection, key: &Key, gap: &Gap) -> rusqlite::Result<()> {
    connection.prepare_cached(WRITE_GAP)?.execute(named_params! {
        ":source": key.source.as_str(),
        ":listener": key.listener.as_str(),
        ":log": log_bytes(key),
        ":kind": gap.kind.name(),
        ":from_era": gap.from.era.cast_signed(),
        ":from_sequence": gap.from.sequence.cast_signed(),
        ":from_line": gap.from.line.cast_signed(),
        ":from_offset": gap.from.offset.cast_signed(),
        ":to_era": gap.to.era.cast_signed(),
        ":to_sequence": gap.to.sequence.cast_signed(),
        ":to_line": gap.to.line.cast_signed(),
        ":to_offset": gap.to.offset.cast_signed(),
        ":missing_first": gap.missing.map(|missing| missing.0.cast_signed()),
        ":missing_last": gap.missing.map(|missing| missing.1.cast_signed()),
        ":bytes_lost": gap.bytes.map(u64::cast_signed),
        ":why": gap.why,
        ":repair": gap.repair,
    })?;
    Ok(())
}

fn read_progress(row: &Row<'_>) -> rusqlite::Result<Progress> {
    Ok(Progress {
        key: read_key(row)?,
        cursor: read_cursor(row)?,
        set_by_hand: row.get("set_by_hand")?,
        entries_settled: unsigned(row, "entries_settled")?,
        last_entry: row.get("last_entry")?,
        state: word(row, "state", State::from_name)?,
        why: row.get("why")?,
    })
}

pub(crate) fn read_key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        source: word(row, "source", SourceId::new)?,
        listener: word(row, "listener", ListenerId::new)?,
        log: read_log(row)?,
    })
}

fn read_log(row: &Row<'_>) -> rusqlite::Result<Option<Arc<Path>>> {
    let log: Vec<u8> = row.get("log")?;
    Ok((!log.is_empty()).then(|| Path::new(OsStr::from_bytes(&log)).into()))
}

/// The columns of a place are all set or all empty, and so are those of a
/// proof; the first of them decides, and the others then have to follow.
fn read_cursor(row: &Row<'_>) -> rusqlite::Result<Option<Cursor>> {
    let Some(era) = row.get::<_, Option<i64>>("era")?.map(i64::cast_unsigned) else {
        return Ok(None);
    };
    let place = Place {
        era,
        sequence: unsigned(row, "sequence")?,
        line: unsigned(row, "line")?,
        offset: unsigned(row, "offset")?,
    };
    let next = row.get::<_, Option<i64>>("next_sequence")?.map(i64::cast_unsigned);
    Ok(Some(Cursor { place, proof: read_proof(row)?, next }))
}

fn read_proof(row: &Row<'_>) -> rusqlite::Result<Option<Proof>> {
    let Some(device) = row.get::<_, Option<i64>>("device")? else {
        return Ok(None);
    };
    Ok(Some(Proof {
        inode: (device.cast_unsigned(), unsigned(row, "inode")?),
        modified: row.get::<_, Option<i64>>("modified")?.unwrap_or_default(),
        head: Digest { len: row.get("head_bytes")?, hash: row.get("head_hash")? },
        tail: Digest { len: row.get("tail_bytes")?, hash: row.get("tail_hash")? },
    }))
}

fn read_gap(row: &Row<'_>) -> rusqlite::Result<(Key, Gap)> {
    let key = read_key(row)?;
    let missing = match row.get::<_, Option<i64>>("missing_first")? {
        Some(first) => Some((first.cast_unsigned(), unsigned(row, "missing_last")?)),
        None => None,
    };
    let gap = Gap {
        source: key.source.clone(),
        log: key.log.clone(),
        kind: word(row, "kind", gap_kind)?,
        from: Place {
            era: unsigned(row, "from_era")?,
            sequence: unsigned(row, "from_sequence")?,
            line: unsigned(row, "from_line")?,
            offset: unsigned(row, "from_offset")?,
        },
        to: Place {
            era: unsigned(row, "to_era")?,
            sequence: unsigned(row, "to_sequence")?,
            line: unsigned(row, "to_line")?,
            offset: unsigned(row, "to_offset")?,
        },
        proof: None,
        missing,
        bytes: row.get::<_, Option<i64>>("bytes_lost")?.map(i64::cast_unsigned),
        why: row.get("why")?,
        repair: row.get("repair")?,
    };
    Ok((key, gap))
}

/// SQLite has signed numbers only: the bits stay, the sign is ignored.
pub(crate) fn unsigned(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// Reads a column that holds one of certain words.
pub(crate) fn word<T>(
    row: &Row<'_>,
    column: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    parse(&text).ok_or_else(|| {
        let index = row.as_ref().column_index(column).unwrap_or_default();
        let what = format!("`{}` is no {column}", text.escape_debug());
        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, what.into())
    })
}

fn gap_kind(name: &str) -> Option<GapKind> {
    use GapKind::{
        Damaged, Deleted, Missing, Replaced, Restored, Truncated, Unterminated,
    };
    [Missing, Replaced, Restored, Unterminated, Truncated, Deleted, Damaged]
        .into_iter()
        .find(|kind| kind.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_gap_reads_back() {
        let next = |kind| match kind {
            // A new kind fails to compile here: add it to `gap_kind` too.
            GapKind::Missing => Some(GapKind::Replaced),
            GapKind::Replaced => Some(GapKind::Restored),
            GapKind::Restored => Some(GapKind::Unterminated),
            GapKind::Unterminated => Some(GapKind::Truncated),
            GapKind::Truncated => Some(GapKind::Deleted),
            GapKind::Deleted => Some(GapKind::Damaged),
            GapKind::Damaged => None,
        };
        let mut kind = Some(GapKind::Missing);
        while let Some(this) = kind {
            assert_eq!(gap_kind(this.name()), Some(this));
            kind = next(this);
        }
        assert_eq!(gap_kind("hole"), None);
    }
}
