//! What `tripline run` tells a person while it works.

use crate::config::Config;
use crate::terminal::printable;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use tripline_api::{Gap, GapKind, Settled};
use tripline_diagnose::shown;
use tripline_run::{Engine, Event, Events};

/// Writes the engine's events to standard error, a line each.
pub(super) struct Report {
    config: String,
}

impl Report {
    pub(super) fn new(config: &Path) -> Self {
        Self { config: shown(config) }
    }
}

impl Events for Report {
    fn event(&self, event: &Event<'_>) {
        let text = match event {
            // The stop that follows says the same and what to do.
            Event::Gap { stops: true, .. } => return,
            Event::Gap { listener, gap, .. } => {
                let back = match going_back(gap, &self.config, listener.as_str()) {
                    Some(back) => format!("; {listener} went on, so {back}"),
                    None => String::new(),
                };
                format!(
                    "{listener}: gap: {} (to repair it, {}{back})",
                    gap.why, gap.repair
                )
            }
            Event::ListenerStopped { listener, why } => {
                let why = why.replace("CONFIG", &self.config);
                format!("{listener} stopped: {why}")
            }
            Event::ListenerRetries { listener, why, after } => {
                format!("{listener}: {why}; trying again in {after:.1?}")
            }
            Event::SetAside { listener, id, entries, why } => {
                let what = match entries {
                    1 => format!("{id} was"),
                    n => format!("{n} entries, the first of them {id}, were"),
                };
                let config = &self.config;
                format!(
                    "{listener}: {what} set aside: {why} (see `tripline dead list {config}`)"
                )
            }
            Event::ListenerRecovered { listener } => format!("{listener}: works again"),
            Event::Waiting { listener, source, waiting_for } => {
                format!("{listener}: {source}: waiting: {waiting_for}")
            }
            Event::Arrived { listener, source } => {
                format!("{listener}: {source}: goes on")
            }
            Event::AboutToBeLost { listener, source, path, bytes } => format!(
                "{listener}: {source}: {} is the oldest file that is kept, and what \
                 {listener} has not delivered begins in it ({bytes} bytes in all): \
                 it is lost when that file is deleted; let {listener} go on or keep \
                 the file",
                path.display()
            ),
            Event::NotSaved { why, after } => {
                format!("progress not saved: {why}; trying again in {after:.1?}")
            }
            Event::SavedAgain => "progress is saved again".to_owned(),
            Event::PollingOnly { why } | Event::Overflow { why } => (*why).to_owned(),
            Event::Notice { listener, source, text } => {
                format!("{listener}: {source}: {text}")
            }
            Event::NotFlushed { listener } => format!(
                "{listener}: not all that it was given is known to have arrived; what is \
                 not comes again at the next start"
            ),
            other => format!("{other:?}"),
        };
        // Standard error may be gone; the work goes on all the same.
        _ = writeln!(std::io::stderr(), "tripline: {}", printable(&text));
    }
}

/// What else is to be done about a gap behind which a listener went on, where what is
/// missing may be found again.
fn going_back(gap: &Gap, config: &str, listener: &str) -> Option<String> {
    if !matches!(gap.kind, GapKind::Missing | GapKind::Unterminated) || gap.log.is_some()
    {
        return None;
    }
    let place = match (gap.kind, gap.missing) {
        (GapKind::Missing, Some((first, _))) => first.to_string(),
        _ => format!("{}:{}", gap.from.sequence, gap.from.offset),
    };
    let source = &gap.source;
    Some(format!(
        "stop the daemon and move {listener} back too, with all that comes behind: tripline \
         where {config} --set {listener} {source} {place}"
    ))
}

/// A line on the terminal that says how far a catch-up has come.
pub(super) struct Progress {
    bytes: u64,
    is_shown: bool,
    is_wanted: bool,
}

impl Progress {
    pub(super) fn new(config: &Config, until_idle: bool) -> Self {
        let is_wanted = until_idle && std::io::stderr().is_terminal();
        let bytes = if is_wanted {
            // Only for the percentage: what cannot be measured counts nothing.
            {
                let behind = config.sources.iter().filter_map(|s| {
                    let behind = s.behind(&Settled::new()).ok()?;
                    Some(behind.into_values().map(|left| left.bytes).sum::<u64>())
                });
                behind.sum()
            }
        } else {
            0
        };
        Self { bytes, is_shown: false, is_wanted }
    }

    pub(super) fn show(&mut self, engine: &Engine) {
        if !self.is_wanted {
            return;
        }
        let mut line = String::new();
        for (listener, status) in engine.status() {
            let (entries, bytes) =
                (status.entries.load(Relaxed), status.bytes.load(Relaxed));
            line += &format!("  {listener}: {entries} entries, {} MiB", bytes >> 20);
        }
        line += &format!("  of {} MiB at most", self.bytes >> 20);
        _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        self.is_shown = true;
    }

    pub(super) fn clear(&self) {
        if self.is_shown {
            _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
