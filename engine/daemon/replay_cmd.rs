//! `tripline replay`: what rules would have done with old files.

mod stream;
mod tally;
mod words;

use crate::check::files_of;
use crate::cli::ReplayArgs;
use crate::config::{self, Config, ConfigError, Registry};
use crate::explain_cmd::rules_of;
use crate::kind;
use crate::terminal::printable;
use anyhow::{Context as _, bail};
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stream::{Part, Stream};
use tally::{Difference, Tally};
use tripline_diagnose::{Severity, shown};
use tripline_rules::evaluate::{Machine, Rehearsal};
use tripline_rules::{Known, RuleSet};

/// Shows old files to the rules and says what they would have done.
///
/// # Errors
///
/// When the configuration or rules are wrong, or a file cannot be read.
pub(crate) fn run(args: &ReplayArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let config = Config::load_to_rehearse(&args.config, registry)?;
    let set = Arc::clone(rules_of(&config)?);
    let old = match args.diff_with.as_slice() {
        [] => None,
        _ => Some(old_rules(args, &config, registry)?),
    };
    let mut streams = Vec::new();
    for (number, path) in args.files.iter().enumerate() {
        let source = args.source.as_ref().map(|it| it.as_str());
        streams.extend(Stream::open(path, number as u64, &config, source)?);
    }
    let mut replay = Replay::new(args, set, old);
    replay.run(&mut streams)?;
    let page = match args.json {
        true => words::json(&replay, &streams),
        false => printable(&words::page(&replay, &streams)).into_owned(),
    };
    io::stdout().write_all(page.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The set of rules that is compared with.
fn old_rules(
    args: &ReplayArgs,
    config: &Config,
    registry: &Registry,
) -> anyhow::Result<Arc<RuleSet>> {
    let (mut files, mut wrong) = (Vec::new(), Vec::new());
    for path in &args.diff_with {
        for file in files_of(path)? {
            let bytes = config::read_bounded(&file).with_context(|| {
                let file = shown(&file);
                format!("--diff-with wants files with rules, and `{file}` cannot be read")
            })?;
            if let Some(what) = kind::no_rules(&file, &String::from_utf8_lossy(&bytes)) {
                bail!("{what}");
            }
            let (file, problem) = config::decode(&file, bytes);
            wrong.extend(problem);
            files.push(file);
        }
    }
    let of = |it: &Arc<dyn tripline_api::Source>| (it.id().to_string(), it.is_journal());
    let known = Known {
        sources: Some(config.sources.iter().map(of).collect()),
        listeners: registry.listeners,
    };
    let loaded = tripline_rules::load(&files, &known);
    wrong.extend(loaded.diagnostics);
    wrong.retain(|it| it.severity == Severity::Error);
    match loaded.set.filter(|_| wrong.is_empty()) {
        Some(set) => Ok(Arc::new(set)),
        None => Err(ConfigError::Wrong(wrong).into()),
    }
}

/// One set of rules, and what it does.
struct Side {
    set: Arc<RuleSet>,
    stage: Option<Rehearsal>,
    tally: Tally,
}

/// A replay and what came of it.
struct Replay {
    /// The rules of the configuration, and behind them those that they are compared with.
    sides: Vec<Side>,
    since: Option<i64>,
    until: Option<i64>,
    entries: u64,
    bytes: u64,
    /// Entries outside of the time that was asked for.
    passed_over: u64,
    /// The time of the first and the last event, in seconds since 1970.
    times: Option<(i64, i64)>,
    took: Duration,
    difference: Difference,
    /// It was asked for all that is different.
    shows_all: bool,
}

impl Replay {
    fn new(args: &ReplayArgs, set: Arc<RuleSet>, old: Option<Arc<RuleSet>>) -> Self {
        let is_compared = old.is_some();
        let side = |set| Side { set, stage: None, tally: Tally::new(is_compared) };
        Self {
            sides: std::iter::once(set).chain(old).map(side).collect(),
            since: args.since.map(Timestamp::as_second),
            until: args.until.map(Timestamp::as_second),
            entries: 0,
            bytes: 0,
            passed_over: 0,
            times: None,
            took: Duration::ZERO,
            difference: Difference::new(args.all),
            shows_all: args.all,
        }
    }

    /// Shows all there is to the rules, in the order of time.
    fn run(&mut self, streams: &mut [Stream]) -> anyhow::Result<()> {
        let begin = Instant::now();
        let mut progress = Progress::new();
        let mut next = BinaryHeap::new();
        for (index, stream) in streams.iter_mut().enumerate() {
            next.extend(stream.peek()?.map(|time| Reverse((time, index))));
        }
        while let Some(Reverse((time, index))) = next.pop() {
            let stream = &mut streams[index];
            let part = stream.take();
            self.entries += part.entries();
            self.bytes += part.bytes();
            let is_wanted = self.since.is_none_or(|since| time >= since)
                && self.until.is_none_or(|until| time < until);
            if is_wanted {
                self.show(time, &part);
            } else {
                self.passed_over += part.entries();
            }
            progress.show(self.bytes, time);
            next.extend(stream.peek()?.map(|time| Reverse((time, index))));
        }
        self.end();
        progress.clear();
        self.took = begin.elapsed();
        Ok(())
    }

    fn show(&mut self, time: i64, part: &Part<'_>) {
        let now = Timestamp::from_second(time).unwrap_or(Timestamp::MAX);
        let (first, last) = self.times.unwrap_or((time, time));
        self.times = Some((first, last.max(time)));
        for side in &mut self.sides {
            let tally = &mut side.tally;
            let stage = side.stage.get_or_insert_with(|| {
                Rehearsal::new(Machine::new(Arc::clone(&side.set), now), now)
            });
            stage.before(now, tally);
            match part {
                Part::Lines { lines, .. } => stage.lines(lines, tally),
                Part::Transaction { source, transaction, .. } => {
                    stage.transaction(source, transaction, tally);
                }
            }
        }
        self.compare();
    }

    /// Time goes on to the last event, or to where it was asked to.
    fn end(&mut self) {
        let Some((_, last)) = self.times else { return };
        let end = Timestamp::from_second(self.until.unwrap_or(last).max(last));
        let end = end.unwrap_or(Timestamp::MAX);
        for side in &mut self.sides {
            if let Some(stage) = &mut side.stage {
                stage.until(end, &mut side.tally);
            }
        }
        self.compare();
    }

    /// What only one of both did by now.
    fn compare(&mut self) {
        if let [new, old] = self.sides.as_mut_slice() {
            self.difference.add(&mut new.tally.fired_now, &mut old.tally.fired_now);
        }
    }
}

/// A line on the terminal that says how far it is.
struct Progress {
    shown: Instant,
    is_shown: bool,
    is_terminal: bool,
    calls: u32,
}

/// How often it is shown.
const SHOW_EVERY: Duration = Duration::from_millis(200);

impl Progress {
    fn new() -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { shown: Instant::now(), is_shown: false, is_terminal, calls: 0 }
    }

    fn show(&mut self, bytes: u64, time: i64) {
        self.calls = self.calls.wrapping_add(1);
        // A look at the clock costs as much as a line.
        if !self.is_terminal || !self.calls.is_multiple_of(64) {
            return;
        }
        if self.shown.elapsed() >= SHOW_EVERY {
            let at = Timestamp::from_second(time).unwrap_or_default();
            // It is only for whoever looks.
            _ = write!(io::stderr(), "\r\x1b[K{} MB, {at}", bytes / 1_000_000);
            (self.shown, self.is_shown) = (Instant::now(), true);
        }
    }

    fn clear(&self) {
        if self.is_shown {
            _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
