//! What listeners remember as rows of the database, both ways.

use rusqlite::{Connection, params};
use tripline_api::{Kept, ListenerId};

const ALL: &str = "SELECT name, value FROM kept WHERE listener = ?1 ORDER BY name";

const FROM: &str =
    "SELECT name, value FROM kept WHERE listener = ?1 AND name >= ?2 ORDER BY name";

const KEEP: &str =
    "INSERT OR REPLACE INTO kept (listener, name, value) VALUES (?1, ?2, ?3)";

const FORGET: &str = "DELETE FROM kept WHERE listener = ?1 AND name = ?2";

/// All that a listener remembers, by name.
pub(crate) fn all(
    connection: &Connection,
    listener: &ListenerId,
) -> rusqlite::Result<Vec<Kept>> {
    connection
        .prepare_cached(ALL)?
        .query_map([listener.as_str()], |row| {
            Ok(Kept { name: row.get(0)?, value: Some(row.get(1)?) })
        })?
        .collect()
}

/// Those whose names begin with one of these, by name; reads none of the others.
pub(crate) fn under(
    connection: &mut Connection,
    listener: &ListenerId,
    prefixes: &[&str],
) -> rusqlite::Result<Vec<Kept>> {
    // So that all of them are of one moment.
    let transaction = connection.transaction()?;
    let mut statement = transaction.prepare_cached(FROM)?;
    let mut kept = Vec::new();
    for prefix in prefixes {
        let mut rows = statement.query(params![listener.as_str(), prefix])?;
        while let Some(row) = rows.next()? {
            // They come in the order of their bytes: those that begin so come first.
            let name: String = row.get(0)?;
            if !name.starts_with(prefix) {
                break;
            }
            kept.push(Kept { name, value: Some(row.get(1)?) });
        }
    }
    Ok(kept)
}

/// Keeps, replaces and forgets.
pub(crate) fn keep(
    connection: &Connection,
    listener: &ListenerId,
    kept: &[Kept],
) -> rusqlite::Result<()> {
    for Kept { name, value } in kept {
        match value {
            Some(value) => connection.prepare_cached(KEEP)?.execute(params![
                listener.as_str(),
                name,
                value
            ])?,
            None => connection
                .prepare_cached(FORGET)?
                .execute(params![listener.as_str(), name])?,
        };
    }
    Ok(())
}
