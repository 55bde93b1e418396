//! `tripline where`: where every listener is, and how to put it elsewhere.

use crate::cli::{WhereArgs, exit, parse_place};
use crate::config::{Config, Registry};
use crate::diagnose::shown;
use anyhow::{Context as _, bail};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use tripline_api::{Change, Cursor, Key, ListenerId, Progress, Source, Store as _};
use tripline_store::{LockError, OpenError, SqliteStore, StateLock};

/// Shows the places of all listeners, or moves one.
///
/// # Errors
///
/// When the state or a source cannot be read, or the place does not exist.
pub(crate) fn run(args: &WhereArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config, registry)?;
    match args.set.as_slice() {
        [listener, source, place] => set(&config, listener, source, place, args.yes),
        _ => show(&config, args.json),
    }
}

/// One listener on one source, as it is shown.
struct Row<'a> {
    listener: &'a ListenerId,
    source: &'a Arc<dyn Source>,
    known: Option<Progress>,
    /// `None` when the source cannot be looked at now.
    bytes_behind: Option<u64>,
}

fn show(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let known = match SqliteStore::open_to_read(&config.state) {
        Ok(mut store) => store.progress()?,
        // Nothing was ever settled: everybody is at the beginning.
        Err(OpenError::Nothing { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let rows = rows(config, &known)?;
    let mut out = io::stdout().lock();
    if json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        writeln!(out, "{}", serde_json::Value::Array(rows))?;
    } else {
        write_table(&mut out, &rows, &shown(&config.path))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn rows<'a>(config: &'a Config, known: &[Progress]) -> anyhow::Result<Vec<Row<'a>>> {
    let mut rows = Vec::new();
    for (listener, built) in &config.listeners {
        for name in &built.from {
            let source = source_of(config, name)?;
            let key = Key { source: source.id().clone(), listener: listener.clone() };
            let known = known.iter().find(|p| p.key == key).cloned();
            let cursor = known.as_ref().and_then(|p| p.cursor.as_ref());
            let bytes_behind = source.behind(cursor).map_err(|error| {
                eprintln!("tripline: {}: {error}", source.id());
            });
            let bytes_behind = bytes_behind.ok();
            rows.push(Row { listener, source, known, bytes_behind });
        }
    }
    Ok(rows)
}

impl Row<'_> {
    fn json(&self) -> serde_json::Value {
        let cursor = self.known.as_ref().and_then(|p| p.cursor.as_ref());
        serde_json::json!({
            "source": self.source.id().as_str(),
            "listener": self.listener.as_str(),
            "sequence": cursor.map(|c| c.place.sequence),
            "line": cursor.map(line),
            "offset": cursor.map(|c| c.place.offset),
            "bytes_behind": self.bytes_behind,
            "entries_settled": self.known.as_ref().map_or(0, |p| p.entries_settled),
            "state": self.state(),
            "why": self.known.as_ref().and_then(|p| p.why.as_deref()),
            "last_entry": self.last_entry(),
        })
    }

    fn state(&self) -> &'static str {
        self.known.as_ref().map_or("catching_up", |p| p.state.name())
    }

    fn last_entry(&self) -> Option<String> {
        let seconds = self.known.as_ref()?.last_entry?;
        Some(jiff::Timestamp::from_second(seconds).ok()?.to_string())
    }

    fn cells(&self) -> [String; 9] {
        let cursor = self.known.as_ref().and_then(|p| p.cursor.as_ref());
        let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        [
            self.listener.to_string(),
            self.source.id().to_string(),
            self.state().to_owned(),
            number(cursor.map(|c| c.place.sequence)),
            number(cursor.map(line)),
            number(cursor.map(|c| c.place.offset)),
            number(self.known.as_ref().map(|p| p.entries_settled)),
            number(self.bytes_behind),
            self.last_entry().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

/// Lines count from 1, as in the entries.
const fn line(cursor: &Cursor) -> u64 {
    cursor.place.line + 1
}

const HEADINGS: [&str; 9] = [
    "LISTENER",
    "SOURCE",
    "STATE",
    "SEQUENCE",
    "LINE",
    "OFFSET",
    "ENTRIES",
    "BYTES BEHIND",
    "LAST ENTRY",
];

fn write_table(
    out: &mut impl io::Write,
    rows: &[Row<'_>],
    config: &str,
) -> io::Result<()> {
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    let mut widths = HEADINGS.map(str::len);
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    write_cells(out, &HEADINGS.map(str::to_owned), &widths)?;
    for row in &cells {
        write_cells(out, row, &widths)?;
    }
    for row in rows {
        if let Some(why) = row.known.as_ref().and_then(|p| p.why.as_ref()) {
            let why = why.replace("CONFIG", config);
            let why = crate::terminal::printable(&why);
            writeln!(out, "{}: {}: {why}", row.listener, row.state())?;
        }
    }
    Ok(())
}

fn write_cells(
    out: &mut impl io::Write,
    cells: &[String; 9],
    widths: &[usize; 9],
) -> io::Result<()> {
    let mut line = String::new();
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
        // Words to the left, numbers to the right.
        if (3..8).contains(&index) {
            line += &format!("{cell:>width$}  ");
        } else {
            line += &format!("{cell:<width$}  ");
        }
    }
    writeln!(out, "{}", line.trim_end())
}

fn set(
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
    let key = Key { source: source.id().clone(), listener: listener.clone() };
    let known = store.progress()?.into_iter().find(|p| p.key == key);
    let before = known.and_then(|p| p.cursor);
    let place = source.find(&wanted, before.as_ref())?;
    let from = before.map_or_else(|| "the beginning".to_owned(), |c| c.place.to_string());
    if !yes
        && !confirmed(&format!(
            "move {listener} on {} from {from} to {place}?",
            key.source
        ))?
    {
        eprintln!("tripline: nothing was moved");
        return Ok(ExitCode::from(exit::FAILED));
    }
    store.commit(&[Change::SetByHand { key, cursor: Cursor::unproved(place) }])?;
    eprintln!("tripline: {listener} was at {from} and is now at {place}");
    Ok(ExitCode::SUCCESS)
}

fn confirmed(question: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("{question} Say --yes: there is no terminal to ask on");
    }
    eprint!("tripline: {question} [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn source_of<'a>(config: &'a Config, name: &str) -> anyhow::Result<&'a Arc<dyn Source>> {
    let source = config.sources.iter().find(|s| s.id().as_str() == name);
    source.with_context(|| format!("there is no source `{name}`"))
}
