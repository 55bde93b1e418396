//! `tripline where`: where every listener is, and how to put it elsewhere.

mod set;
mod table;

use crate::cli::WhereArgs;
use crate::config::{self, Config, ConfigError, Registry};
use crate::terminal::say;
use anyhow::{Context as _, bail};
use base64::Engine as _;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tripline_api::{
    Behind, Cursor, LetterCounts, ListenerId, Progress, Settled, Source, Store as _,
};
use tripline_diagnose::{Severity, shown};
use tripline_store::{OpenError, SqliteStore};
use tripline_tasks::Rules;

/// Shows the places of all listeners, or moves one.
///
/// # Errors
///
/// When the state or a source cannot be read, or the place does not exist.
pub(crate) fn run(args: &WhereArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    // Places are to be seen also while somebody writes rules.
    let (mut config, wrong) = match Config::load(&args.config, registry) {
        Ok(config) => (config, None),
        Err(error) => {
            let config = Config::load_without_rules(&args.config, registry)?;
            let wrong = wrong_file(&error, &config);
            (config, Some(wrong))
        }
    };
    let path = shown(&args.config);
    let see = format!("`tripline check {path}` says what is wrong");
    match (args.set.as_slice(), wrong) {
        ([listener, ..], Some(wrong)) if listener == Rules::NAME => {
            bail!("the rules cannot be moved while {wrong} has errors: {see}")
        }
        ([listener, source, place], _) => {
            set::set(&config, listener, source, place, args.yes)
        }
        (_, None) => show(&mut config, None, args.json),
        (_, Some(wrong)) => {
            say(format_args!(
                "{wrong} has errors: what is shown of the rules is what was kept; {see}"
            ));
            show(&mut config, Some(registry), args.json)
        }
    }
}

/// The file because of which there are no rules.
fn wrong_file(error: &ConfigError, config: &Config) -> String {
    let first = match error {
        ConfigError::Wrong(all) => all.iter().find(|it| it.severity == Severity::Error),
        _ => None,
    };
    first.map_or_else(|| shown(&config.path), |it| shown(&it.file.path))
}

/// One listener on one source, or on one log of it, as it is shown.
#[derive(Clone)]
struct Row<'a> {
    listener: &'a ListenerId,
    source: &'a Arc<dyn Source>,
    log: Option<Arc<Path>>,
    known: Option<Progress>,
    /// What the listener is doing; of logs that is the same for all.
    state: &'static str,
    why: Option<String>,
    /// How much of the source the listener has set aside, of all its logs.
    set_aside: u64,
    /// `None` when the source cannot be looked at now.
    bytes_behind: Option<u64>,
}

/// With a registry, the rules are wrong, and of them what was kept is shown.
fn show(
    config: &mut Config,
    without_rules: Option<&Registry>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (known, letters) = match SqliteStore::open_to_read(&config.state) {
        Ok(mut store) => (store.progress()?, store.letter_counts()?),
        // Nothing was ever settled: everybody is at the beginning.
        Err(OpenError::Nothing { .. }) => (Vec::new(), LetterCounts::new()),
        Err(error) => return Err(error.into()),
    };
    let listeners = config.listeners.iter();
    let mut followed: Vec<_> =
        listeners.map(|(id, built)| (id.clone(), built.from.clone())).collect();
    if let Some(registry) = without_rules {
        followed.extend(kept_rules(config, &known, registry));
    }
    let mut rows = rows(config, &followed, &known)?;
    for row in &mut rows {
        let key = (row.source.id().clone(), row.listener.clone());
        row.set_aside = letters.get(&key).copied().unwrap_or_default();
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        writeln!(out, "{}", serde_json::Value::Array(rows))?;
    } else {
        let is_terminal = io::stdout().is_terminal();
        table::write(&mut out, &rows, &shown(&config.path), is_terminal)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A listener, and the names of the sources that it follows.
type Followed = (ListenerId, Vec<String>);

/// What the rules followed when they were sound.
fn kept_rules(
    config: &mut Config,
    known: &[Progress],
    registry: &Registry,
) -> Option<Followed> {
    let rules = ListenerId::new(Rules::NAME)?;
    let own = known.iter().filter(|it| it.key.listener == rules);
    let mut from: Vec<_> = own.map(|it| it.key.source.to_string()).collect();
    from.dedup();
    if from.iter().any(|it| it == Rules::ENGINE) {
        config.sources.extend(config::engine_source(&config.state, registry));
    }
    from.retain(|name| config.sources.iter().any(|it| it.id().as_str() == name));
    (!from.is_empty()).then_some((rules, from))
}

fn rows<'a>(
    config: &'a Config,
    followed: &'a [Followed],
    known: &[Progress],
) -> anyhow::Result<Vec<Row<'a>>> {
    let mut rows = Vec::new();
    for (listener, from) in followed {
        for name in from {
            let source = source_of(config, name)?;
            let is_mine = |p: &&Progress| {
                p.key.listener == *listener && p.key.source == *source.id()
            };
            let known: BTreeMap<_, _> = known
                .iter()
                .filter(is_mine)
                .map(|progress| (progress.key.log.clone(), progress))
                .collect();
            rows.extend(rows_of(listener, source, &known));
        }
    }
    Ok(rows)
}

/// A row for a journal, or for each log there is or was.
fn rows_of<'a>(
    listener: &'a ListenerId,
    source: &'a Arc<dyn Source>,
    known: &BTreeMap<Option<Arc<Path>>, &Progress>,
) -> Vec<Row<'a>> {
    let behind = source.behind(&settled(known.values().copied())).map_err(|error| {
        eprintln!("tripline: {}: {error}", source.id());
    });
    let behind: Option<Behind> = behind.ok();
    let whole = known.get(&None);
    let mut logs: BTreeSet<_> = known.keys().cloned().collect();
    logs.extend(behind.iter().flat_map(BTreeMap::keys).cloned());
    if logs.len() > 1 && !source.is_journal() {
        // What is true of the source as a whole is in the row of each log.
        logs.remove(&None);
    }
    if logs.is_empty() {
        logs.insert(None);
    }
    let row = |log: Option<Arc<Path>>| Row {
        listener,
        source,
        known: known.get(&log).map(|known| (*known).clone()),
        state: whole.map_or("catching_up", |p| p.state.name()),
        why: whole.and_then(|p| p.why.clone()),
        set_aside: 0,
        bytes_behind: behind.as_ref().map(|b| b.get(&log).map_or(0, |left| left.bytes)),
        log,
    };
    logs.into_iter().map(row).collect()
}

/// The cursors among what is known of a listener on a source.
fn settled<'a>(known: impl IntoIterator<Item = &'a Progress>) -> Settled {
    known
        .into_iter()
        .filter_map(|row| Some((row.key.log.clone(), row.cursor.clone()?)))
        .collect()
}

impl Row<'_> {
    /// Where the listener is. A source of logs is in no place itself.
    fn cursor(&self) -> Option<&Cursor> {
        let known = self.known.as_ref()?;
        let is_place = self.source.is_journal() || self.log.is_some();
        known.cursor.as_ref().filter(|_| is_place)
    }

    fn json(&self) -> serde_json::Value {
        let cursor = self.cursor();
        let mut json = serde_json::json!({
            "source": self.source.id().as_str(),
            "listener": self.listener.as_str(),
            "sequence": cursor.map(|c| c.place.sequence),
            "line": cursor.map(line),
            "offset": cursor.map(|c| c.place.offset),
            "bytes_behind": self.bytes_behind,
            "entries_settled": self.known.as_ref().map_or(0, |p| p.entries_settled),
            "state": self.state,
            "why": self.why,
            "set_aside": self.set_aside,
            "last_entry": self.last_entry(),
        });
        if !self.source.is_journal() {
            json["path"] = self.log.as_deref().map_or(serde_json::Value::Null, path_json);
        }
        json
    }

    fn last_entry(&self) -> Option<String> {
        let seconds = self.known.as_ref()?.last_entry?;
        Some(jiff::Timestamp::from_second(seconds).ok()?.to_string())
    }
}

/// A path as in the entries.
fn path_json(path: &Path) -> serde_json::Value {
    match path.to_str() {
        Some(text) => text.into(),
        None => {
            let bytes = path.as_os_str().as_bytes();
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            serde_json::json!({ "base64": text })
        }
    }
}

/// Lines count from 1, as in the entries.
const fn line(cursor: &Cursor) -> u64 {
    cursor.place.line + 1
}

fn source_of<'a>(config: &'a Config, name: &str) -> anyhow::Result<&'a Arc<dyn Source>> {
    let source = config.sources.iter().find(|s| s.id().as_str() == name);
    source.with_context(|| format!("there is no source `{name}`"))
}
