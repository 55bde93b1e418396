//! Putting a listener elsewhere.

use super::{settled, source_of};
use crate::cli::{exit, parse_place};
use crate::config::Config;
use crate::terminal::{confirmed, printable};
use anyhow::{Context as _, bail};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tripline_api::{
    Change, Cursor, Key, Place, Progress, Source, Start, State, Store as _,
};
use tripline_diagnose::counted;
use tripline_store::{LockError, SqliteStore, StateLock};

/// Moves a listener on a source, or on one log of it: `SOURCE:PATH`.
///
/// # Errors
///
/// When there is no such listener, source, log or place, or nobody confirms.
pub(super) fn set(
    config: &Config,
    listener: &str,
    source: &str,
    place: &str,
    yes: bool,
) -> anyhow::Result<ExitCode> {
    let Some((listener, built)) =
        config.listeners.iter().find(|(id, _)| id.as_str() == listener)
    else {
        let names: Vec<_> = config.listeners.iter().map(|(id, _)| id.as_str()).collect();
        bail!("there is no listener `{listener}`; there is {}", names.join(", "));
    };
    // No source has a colon in its name.
    let (source, log) = match source.split_once(':') {
        Some((source, log)) => (source, Some(Path::new(log))),
        None => (source, None),
    };
    if !built.from.iter().any(|name| name == source) {
        bail!(
            "{listener} does not follow `{source}`; it follows {}",
            built.from.join(", ")
        );
    }
    let source = source_of(config, source)?;
    let wanted = parse_place(place).map_err(anyhow::Error::msg)?;
    let _lock = match StateLock::take(&config.state) {
        Ok(lock) => lock,
        Err(error @ LockError::Held { .. }) => {
            eprintln!("tripline: {error}: stop it before you move a cursor");
            return Ok(ExitCode::from(exit::IN_USE));
        }
        Err(error) => return Err(error.into()),
    };
    let mut store = SqliteStore::open(&config.state)?;
    let key = Key { source: source.id().clone(), listener: listener.clone(), log: None };
    let mut known = store.progress()?;
    known.retain(|p| p.key.source == key.source && p.key.listener == key.listener);
    let moving = moving(source, &key, &known, &wanted, log)?;
    let Moving { what, from, to, changes } = moving;
    let (what, from, to) = (printable(&what), printable(&from), printable(&to));
    if !yes && !confirmed(&format!("move {listener} on {what} from {from} to {to}?"))? {
        eprintln!("tripline: nothing was moved");
        return Ok(ExitCode::from(exit::FAILED));
    }
    store.commit(&changes)?;
    eprintln!("tripline: {listener} was at {from} and is now at {to}");
    Ok(ExitCode::SUCCESS)
}

/// What is moved, in words, and the changes that do it.
struct Moving {
    what: String,
    from: String,
    to: String,
    changes: Vec<Change>,
}

fn moving(
    source: &Arc<dyn Source>,
    key: &Key,
    known: &[Progress],
    wanted: &Start,
    log: Option<&Path>,
) -> anyhow::Result<Moving> {
    let before = settled(known);
    let places = source.find(wanted, log, &before);
    let places = match wanted {
        Start::Checkpoint(number) => places.with_context(|| {
            format!("what comes behind checkpoint {number} begins with journal {number}")
        }),
        _ => places.map_err(anyhow::Error::new),
    }?;
    let was = |log: Option<Arc<Path>>| {
        before.get(&log).map_or_else(|| BEGINNING.to_owned(), |c| c.place.to_string())
    };
    let (what, from) = match (log, source.is_journal()) {
        (None, true) => (key.source.to_string(), was(None)),
        (None, false) => (
            match places.len() {
                1 => format!("the only log of {}", key.source),
                count => format!("all {count} logs of {}", key.source),
            },
            counted(places.len(), "place"),
        ),
        (Some(log), _) => {
            let log: Arc<Path> = log.into();
            (format!("{}:{}", key.source, log.display()), was(Some(log)))
        }
    };
    let to = match (source.is_journal() || log.is_some(), wanted) {
        (true, Start::Oldest) if !source.is_journal() => BEGINNING.to_owned(),
        (true, _) => match places.values().next() {
            Some(cursor) => cursor.place.to_string(),
            None => bail!("{} does not say where that is", key.source),
        },
        (false, Start::Oldest) => BEGINNING.to_owned(),
        (false, _) => "the end".to_owned(),
    };
    let changes = match source.is_journal() || *wanted != Start::Oldest {
        true => {
            let change = |(log, cursor)| Change::SetByHand {
                key: Key { log, ..key.clone() },
                cursor,
            };
            let mut changes: Vec<_> = places.into_iter().map(change).collect();
            if !source.is_journal() {
                // The state is the source's.
                let (key, state) = (key.clone(), State::CatchingUp);
                changes.push(Change::State { key, state, why: None });
            }
            changes
        }
        false => from_the_oldest(key, known, log),
    };
    Ok(Moving { what, from, to, changes })
}

const BEGINNING: &str = "the beginning";

/// Logs of which nothing is known are read from their oldest file, once the
/// source was begun with; and a person wants what comes again to come again.
fn from_the_oldest(key: &Key, known: &[Progress], log: Option<&Path>) -> Vec<Change> {
    let is_meant = |row: &&Progress| match (&row.key.log, log) {
        (Some(path), Some(log)) => **path == *log,
        (Some(_), None) => true,
        (None, _) => false,
    };
    let forget = |row: &Progress| Change::Forget { key: row.key.clone() };
    let mut changes: Vec<_> = known.iter().filter(is_meant).map(forget).collect();
    let cursor = Cursor::unproved(Place::default());
    changes.push(Change::SetByHand { key: key.clone(), cursor });
    changes
}
