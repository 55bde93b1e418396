//! Progress and gaps as rows of the database, both ways.

use crate::change::{apply, nothing_yet};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use tripline_api::{
    Change, Cursor, Digest, Gap, GapKind, Key, ListenerId, Place, Progress, Proof,
    SourceId, State, Store, StoreError,
};

const PROGRESS: &str = "SELECT * FROM cursor ORDER BY source, listener";

const PROGRESS_OF_ONE: &str =
    "SELECT * FROM cursor WHERE source = :source AND listener = :listener";

const WRITE_PROGRESS: &str = "
    INSERT OR REPLACE INTO cursor (
        source, listener, era, sequence, line, offset, next_sequence,
        device, inode, head_bytes, head_hash, tail_bytes, tail_hash,
        set_by_hand, entries_settled, last_entry, state, why, updated
    ) VALUES (
        :source, :listener, :era, :sequence, :line, :offset, :next_sequence,
        :device, :inode, :head_bytes, :head_hash, :tail_bytes, :tail_hash,
        :set_by_hand, :entries_settled, :last_entry, :state, :why, unixepoch()
    )";

const GAPS: &str = "SELECT * FROM gap ORDER BY id";

const WRITE_GAP: &str = "
    INSERT INTO gap (
        source, listener, kind,
        from_era, from_sequence, from_line, from_offset,
        to_era, to_sequence, to_line, to_offset,
        missing_first, missing_last, bytes_lost, why, repair, announced
    ) VALUES (
        :source, :listener, :kind,
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

/// Everything known of every listener.
pub(crate) fn all_progress(connection: &Connection) -> rusqlite::Result<Vec<Progress>> {
    connection.prepare_cached(PROGRESS)?.query_map([], read_progress)?.collect()
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

/// Makes one change, inside the caller's transaction.
pub(crate) fn make(connection: &Connection, change: &Change) -> Result<(), NotMade> {
    let key = change.key();
    let mut progress =
        progress_of(connection, key)?.unwrap_or_else(|| nothing_yet(key.clone()));
    apply(&mut progress, change).map_err(NotMade::Refused)?;
    write_progress(connection, &progress)?;
    if let Change::Gap { gap, .. } = change {
        write_gap(connection, key, gap)?;
    }
    Ok(())
}

fn progress_of(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Progress>> {
    connection
        .prepare_cached(PROGRESS_OF_ONE)?
        .query_row(
            named_params! {
                ":source": key.source.as_str(),
                ":listener": key.listener.as_str(),
            },
            read_progress,
        )
        .optional()
}

fn write_progress(connection: &Connection, progress: &Progress) -> rusqlite::Result<()> {
    let place = progress.cursor.as_ref().map(|cursor| cursor.place);
    let next = progress.cursor.as_ref().and_then(|cursor| cursor.next);
    let proof = progress.cursor.as_ref().and_then(|cursor| cursor.proof.as_ref());
    connection.prepare_cached(WRITE_PROGRESS)?.execute(named_params! {
        ":source": progress.key.source.as_str(),
        ":listener": progress.key.listener.as_str(),
        ":era": place.map(|place| place.era),
        ":sequence": place.map(|place| place.sequence.cast_signed()),
        ":line": place.map(|place| place.line.cast_signed()),
        ":offset": place.map(|place| place.offset.cast_signed()),
        ":next_sequence": next.map(u64::cast_signed),
        ":device": proof.map(|proof| proof.inode.0.cast_signed()),
        ":inode": proof.map(|proof| proof.inode.1.cast_signed()),
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
        ":kind": gap.kind.name(),
        ":from_era": gap.from.era,
        ":from_sequence": gap.from.sequence.cast_signed(),
        ":from_line": gap.from.line.cast_signed(),
        ":from_offset": gap.from.offset.cast_signed(),
        ":to_era": gap.to.era,
        ":to_sequence": gap.to.sequence.cast_signed(),
        ":to_line": gap.to.line.cast_signed(),
        ":to_offset": gap.to.offset.cast_signed(),
        ":missing_first": gap.missing.map(|missing| missing.0.cast_signed()),
        ":missing_last": gap.missing.map(|missing| missing.1.cast_signed()),
        ":bytes_lost": gap.bytes.map(u64::cast_signed),
        ":why": gap.why,
        ":repair": gap.repair,
    })?;
    connection.prepare_cached(FORGET_OLD_GAPS)?.execute(named_params! {
        ":source": key.source.as_str(),
        ":listener": key.listener.as_str(),
        ":kept": <dyn Store>::GAPS_MAX as i64,
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

fn read_key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        source: word(row, "source", SourceId::new)?,
        listener: word(row, "listener", ListenerId::new)?,
    })
}

/// The columns of a place are all set or all empty, and so are those of a
/// proof; the first of them decides, and the others then have to follow.
fn read_cursor(row: &Row<'_>) -> rusqlite::Result<Option<Cursor>> {
    let Some(era) = row.get("era")? else {
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
        kind: word(row, "kind", gap_kind)?,
        from: Place {
            era: row.get("from_era")?,
            sequence: unsigned(row, "from_sequence")?,
            line: unsigned(row, "from_line")?,
            offset: unsigned(row, "from_offset")?,
        },
        to: Place {
            era: row.get("to_era")?,
            sequence: unsigned(row, "to_sequence")?,
            line: unsigned(row, "to_line")?,
            offset: unsigned(row, "to_offset")?,
        },
        missing,
        bytes: row.get::<_, Option<i64>>("bytes_lost")?.map(i64::cast_unsigned),
        why: row.get("why")?,
        repair: row.get("repair")?,
    };
    Ok((key, gap))
}

/// SQLite has signed numbers only: the bits stay, the sign is ignored.
fn unsigned(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// Reads a column that holds one of certain words.
fn word<T>(
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
    use GapKind::{Missing, Replaced, Restored, Unterminated};
    [Missing, Replaced, Restored, Unterminated]
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
            GapKind::Unterminated => None,
        };
        let mut kind = Some(GapKind::Missing);
        while let Some(this) = kind {
            assert_eq!(gap_kind(this.name()), Some(this));
            kind = next(this);
        }
        assert_eq!(gap_kind("hole"), None);
    }
}
