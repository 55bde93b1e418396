//! What happens to Tripline itself, in a file that rules follow: the source `engine`.
//!
//! The file is the queue: an event is there before anybody is told, and a rule that looks
//! at it keeps its place like on any other log.

use super::report::Report;
use crate::config::{Config, ENGINE_FILE};
use serde_json::json;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tripline_api::Source;
use tripline_rules::evaluate::Note;
use tripline_rules::model::EngineEvent;
use tripline_run::{Event, Events};
use tripline_tasks::Rules;

/// The file is begun anew when it has so many bytes; the one before it is kept.
const BYTES_MAX: u64 = 8 << 20;

/// Says what happens to a person, and writes it down if rules look at it.
pub(super) struct Told {
    report: Report,
    spool: Option<Spool>,
}

impl Told {
    pub(super) fn new(config: &Config) -> Self {
        let is_followed = |it: &Arc<dyn Source>| it.id().as_str() == Rules::ENGINE;
        let is_wanted = config.sources.iter().any(is_followed);
        let spool = is_wanted.then(|| Spool::new(&config.state));
        Self { report: Report::new(&config.path), spool }
    }

    /// Something that the daemon itself does.
    pub(super) fn note(&self, event: EngineEvent, message: String) {
        if let Some(spool) = &self.spool {
            let (source, listener, rule) = Default::default();
            spool.write(&Note { event, source, listener, rule, message });
        }
    }
}

impl Events for Told {
    fn event(&self, event: &Event<'_>) {
        self.report.event(event);
        if let (Some(spool), Some(note)) = (&self.spool, note(event)) {
            spool.write(&note);
        }
    }
}

/// The file.
struct Spool {
    path: PathBuf,
    open: Mutex<Option<Open>>,
}

struct Open {
    file: File,
    bytes: u64,
}

impl Spool {
    /// In a state directory.
    fn new(state: &Path) -> Self {
        Self { path: state.join(ENGINE_FILE), open: Mutex::new(None) }
    }

    /// Appends what happened.
    fn write(&self, note: &Note) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.append(&mut open, note) {
            *open = None;
            let path = self.path.display();
            _ = writeln!(io::stderr(), "tripline: {path} cannot be written: {error}");
        }
    }

    fn append(&self, open: &mut Option<Open>, note: &Note) -> io::Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = json!(note);
        line["time"] = since.as_secs().into();
        let line = format!("{line}\n");
        if open.as_ref().is_some_and(|it| it.bytes + line.len() as u64 > BYTES_MAX) {
            *open = None;
            fs::rename(&self.path, self.path.with_extension("jsonl.1"))?;
        }
        let open = match open {
            Some(open) => open,
            None => open.insert(self.open()?),
        };
        open.file.write_all(line.as_bytes())?;
        open.bytes += line.len() as u64;
        Ok(())
    }

    fn open(&self) -> io::Result<Open> {
        if let Some(directory) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(&self.path)?;
        let bytes = file.metadata()?.len();
        Ok(Open { file, bytes })
    }
}

/// What rules can look at.
fn note(event: &Event<'_>) -> Option<Note> {
    let (kind, source, listener, message) = match event {
        Event::Gap { listener, gap, .. } => {
            let message = format!("{} (to repair it, {})", gap.why, gap.repair);
            (EngineEvent::Gap, gap.source.to_string(), *listener, message)
        }
        Event::ListenerStopped { listener, why } => {
            (EngineEvent::ListenerStopped, String::new(), *listener, (*why).to_owned())
        }
        Event::AboutToBeLost { listener, source, path, bytes } => {
            let message = format!(
                "{} is the oldest file that is kept, and {bytes} bytes from it on are not \
                 delivered",
                path.display()
            );
            (EngineEvent::AboutToBeLost, source.to_string(), *listener, message)
        }
        Event::SetAside { listener, id, entries, why } => {
            let message = format!("{entries} entries from {id} on: {why}");
            (EngineEvent::SetAside, String::new(), *listener, message)
        }
        Event::Waiting { listener, source, waiting_for } => {
            let message = (*waiting_for).to_owned();
            (EngineEvent::SourceLost, source.to_string(), *listener, message)
        }
        Event::Arrived { listener, source } => {
            (EngineEvent::SourceBack, source.to_string(), *listener, String::new())
        }
        _ => return None,
    };
    let (listener, rule) = (listener.to_string(), String::new());
    Some(Note { event: kind, source, listener, rule, message })
}
