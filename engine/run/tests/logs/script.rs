//! A source of logs in memory, and a listener that a test plays the far end of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tripline_api::{
    Again, Batch, Behind, Built, Changed, Cursor, Flushed, Gap, GapKind, Idle,
    ListenError, Listener, ListenerId, LogFile, Place, Reader, Settled, Source,
    SourceError, SourceId, Span, Start, Step, Store as _, View,
};
use tripline_run::{Engine, Event, Events, LaneSetup, Options, Setup};
use tripline_store::{FaultStore, Faults, MemoryStore};

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn path(log: &str) -> Arc<Path> {
    Path::new("/logs").join(log).into()
}

pub(super) fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in time");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// The logs, an engine's surroundings, and what it did.
pub(super) struct Site {
    directory: tempfile::TempDir,
    logs: Arc<Logs>,
    store: MemoryStore,
    faults: Mutex<Option<Faults>>,
    events: Arc<Heard>,
    pub(super) stop_within: Duration,
    /// Look this often, without events.
    pub(super) poll: Option<Duration>,
}

impl Site {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs {
            id: SourceId::new("logs").unwrap(),
            directory: directory.path().to_owned(),
            content: Arc::default(),
        };
        Self {
            directory,
            logs: Arc::new(logs),
            store: MemoryStore::new(),
            faults: Mutex::default(),
            events: Arc::default(),
            stop_within: Duration::from_secs(10),
            poll: None,
        }
    }

    pub(super) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Appends to a log, and gives a sign.
    pub(super) fn write(&self, log: &str, text: &str) {
        self.fill(log, text);
        self.ring();
    }

    /// Appends to a log without a sign.
    pub(super) fn fill(&self, log: &str, text: &str) {
        let mut content = self.logs.content.lock().unwrap();
        content.logs.entry(path(log)).or_default().1.extend_from_slice(text.as_bytes());
    }

    pub(super) fn truncate(&self, log: &str, text: &str) {
        {
            let mut content = self.logs.content.lock().unwrap();
            let (sequence, bytes) = content.logs.entry(path(log)).or_default();
            *sequence += 1;
            *bytes = text.into();
        }
        self.ring();
    }

    pub(super) fn delete(&self, log: &str) {
        self.logs.content.lock().unwrap().logs.remove(&path(log));
        self.ring();
    }

    pub(super) fn asks_for(&self, directories: Vec<PathBuf>) {
        self.logs.content.lock().unwrap().directories = Some(directories);
        self.ring();
    }

    fn ring(&self) {
        std::fs::write(self.directory.path().join("bell"), "").unwrap();
    }

    pub(super) fn was_told_gone(&self, log: &str) -> bool {
        self.logs.content.lock().unwrap().gone.contains(&path(log))
    }

    pub(super) fn hints(&self) -> Vec<Changed> {
        self.logs.content.lock().unwrap().hints.clone()
    }

    pub(super) fn is_opened(&self) -> bool {
        self.logs.content.lock().unwrap().is_opened
    }

    pub(super) fn start(&self, listener: Soon) -> Engine {
        self.engine(listener, false)
    }

    pub(super) fn run_until_idle(&self, listener: Soon) {
        let mut engine = self.engine(listener, true);
        assert!(engine.wait(PATIENCE));
        assert_eq!(engine.stop().0, Default::default());
    }

    fn engine(&self, listener: Soon, until_idle: bool) -> Engine {
        let from = vec!["logs".to_owned()];
        let built = Built::new(Box::new(listener), from, Duration::from_secs(5));
        let (store, faults) = FaultStore::new(self.store.clone());
        *self.faults.lock().unwrap() = Some(faults);
        let defaults = Options::default();
        let options = Options {
            until_idle,
            stop_within: self.stop_within,
            poll: self.poll.unwrap_or(defaults.poll),
            events: self.poll.is_none(),
            ..defaults
        };
        let setup = Setup {
            sources: vec![Arc::clone(&self.logs) as Arc<dyn Source>],
            listeners: vec![LaneSetup { id: ListenerId::new("one").unwrap(), built }],
            store: Box::new(store),
            options,
            events: Arc::clone(&self.events) as Arc<dyn Events>,
        };
        Engine::start(setup).unwrap()
    }

    pub(super) fn store(&self) -> MemoryStore {
        self.store.clone()
    }

    pub(super) fn commits(&self) -> u64 {
        self.faults.lock().unwrap().as_ref().map_or(0, Faults::commits)
    }

    /// Each log's name, and the offset up to which it is settled.
    pub(super) fn settled(&self) -> Vec<(String, u64)> {
        let rows = self.store().progress().unwrap();
        let name = |path: Arc<Path>| {
            path.strip_prefix("/logs").unwrap().to_str().unwrap().to_owned()
        };
        let settled = |row: tripline_api::Progress| {
            Some((name(row.key.log?), row.cursor?.place.offset))
        };
        rows.into_iter().filter_map(settled).collect()
    }

    pub(super) fn heard(&self, text: &str) -> bool {
        self.events.0.lock().unwrap().iter().any(|event| event.contains(text))
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Events for Heard {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

/// The source.
struct Logs {
    id: SourceId,
    directory: PathBuf,
    content: Arc<Mutex<Content>>,
}

#[derive(Default)]
struct Content {
    /// How often it was cut, and what is in it.
    logs: BTreeMap<Arc<Path>, (u64, Vec<u8>)>,
    hints: Vec<Changed>,
    directories: Option<Vec<PathBuf>>,
    gone: BTreeSet<Arc<Path>>,
    is_opened: bool,
}

impl Source for Logs {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn is_journal(&self) -> bool {
        false
    }

    fn open(&self, settled: &Settled) -> Box<dyn Reader> {
        let places = settled
            .iter()
            .filter_map(|(log, cursor)| Some((Arc::clone(log.as_ref()?), cursor.place)));
        self.content.lock().unwrap().is_opened = true;
        Box::new(LogsReader {
            id: self.id.clone(),
            content: Arc::clone(&self.content),
            places: places.collect(),
            todo: Vec::new(),
            line: Vec::new(),
            span: [Span { end: 0, lines: 1, incomplete: false }],
            end: Cursor::unproved(Place::default()),
            log: path(""),
            previewed: None,
        })
    }

    fn directories(&self) -> Vec<PathBuf> {
        vec![self.directory.clone()]
    }

    fn is_at(&self, _: &Path) -> bool {
        false
    }

    fn concerns(&self, _: &Path) -> bool {
        true
    }

    fn behind(&self, _: &Settled) -> Result<Behind, SourceError> {
        Ok(Behind::new())
    }

    fn find(
        &self,
        _: &Start,
        _: Option<&Path>,
        _: &Settled,
    ) -> Result<Settled, SourceError> {
        Ok(Settled::new())
    }
}

/// Looks at all logs each time, and hands out a line at a time.
struct LogsReader {
    id: SourceId,
    content: Arc<Mutex<Content>>,
    places: BTreeMap<Arc<Path>, Place>,
    /// From the last to the first.
    todo: Vec<Found>,
    /// The line that is handed out, and what goes with it.
    line: Vec<u8>,
    span: [Span; 1],
    end: Cursor,
    log: Arc<Path>,
    /// The unfinished line that was shown last.
    previewed: Option<(Place, usize)>,
}

/// What there is to do next.
enum Found {
    Gone(Arc<Path>),
    Line(Arc<Path>),
}

impl LogsReader {
    /// Looks at all logs.
    fn look(&mut self) {
        let content = self.content.lock().unwrap();
        let gone = self.places.keys().filter(|log| !content.logs.contains_key(*log));
        self.todo.extend(gone.cloned().map(Found::Gone));
        for (log, (sequence, bytes)) in &content.logs {
            let start = Place::start_of(Place::era_of_log(log), *sequence);
            let place = *self.places.entry(Arc::clone(log)).or_insert(start);
            let shown = Some((place, bytes.len()));
            let is_old = place.sequence == *sequence
                && (place.offset as usize == bytes.len() || self.previewed == shown);
            if !is_old {
                self.todo.push(Found::Line(Arc::clone(log)));
            }
        }
        self.todo.reverse();
    }

    /// Takes a line out of a log, whole or not.
    fn take(&mut self, log: &Arc<Path>) -> Option<(Place, bool)> {
        let content = self.content.lock().unwrap();
        let (_, bytes) = content.logs.get(log)?;
        let place = self.places[log];
        let rest = bytes.get(place.offset as usize..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        self.line = rest[..length.unwrap_or(rest.len())].to_vec();
        if length.is_none() {
            self.previewed = Some((place, bytes.len()));
        }
        Some((place, length.is_none()))
    }
}

impl Reader for LogsReader {
    fn next(&mut self) -> Result<Step<'_>, SourceError> {
        if self.todo.is_empty() {
            self.look();
        }
        let log = match self.todo.pop() {
            None => return Ok(Step::Idle(Idle::at_end())),
            Some(Found::Gone(log)) => {
                self.places.remove(&log);
                self.content.lock().unwrap().gone.insert(Arc::clone(&log));
                return Ok(Step::Gone(log));
            }
            Some(Found::Line(log)) => log,
        };
        let sequence = self.content.lock().unwrap().logs.get(&log).map(|log| log.0);
        let from = self.places[&log];
        if let Some(sequence) = sequence.filter(|sequence| *sequence > from.sequence) {
            let to = Place::start_of(from.era, sequence);
            self.places.insert(Arc::clone(&log), to);
            return Ok(Step::Gap(truncated(&self.id, &log, from, to)));
        }
        let Some((place, is_preview)) = self.take(&log) else {
            return Ok(Step::Idle(Idle { again: Again::Now, ..Idle::at_end() }));
        };
        let end = place.advance(self.line.len() as u64, 1);
        if !is_preview {
            self.places.insert(Arc::clone(&log), end);
        }
        self.end = Cursor::unproved(end);
        self.span[0].end = self.line.len() as u32;
        self.log = log;
        Ok(Step::Batch(Batch {
            source: &self.id,
            log: Some(LogFile { path: &self.log, cut: None, is_preview, time: None }),
            start: place,
            did_rotate: false,
            bytes: &self.line,
            spans: &self.span,
            marks: &[],
            end: &self.end,
        }))
    }

    fn hint(&mut self, changed: Changed) {
        self.content.lock().unwrap().hints.push(changed);
    }

    fn directories(&mut self) -> Option<Vec<PathBuf>> {
        self.content.lock().unwrap().directories.take()
    }
}

fn truncated(id: &SourceId, log: &Arc<Path>, from: Place, to: Place) -> Gap {
    Gap {
        source: id.clone(),
        log: Some(Arc::clone(log)),
        kind: GapKind::Truncated,
        from,
        to,
        proof: None,
        missing: None,
        bytes: None,
        why: "it was cut".to_owned(),
        repair: "do not".to_owned(),
    }
}

/// A listener whose flush arrives when somebody far away says so.
pub(super) struct Soon {
    remote: Arc<Mutex<Far>>,
    /// Everything arrives at once.
    at_once: bool,
}

/// The somebody.
pub(super) struct Remote(Arc<Mutex<Far>>);

#[derive(Default)]
struct Far {
    lines: Vec<String>,
    flushes: usize,
    acknowledged: usize,
    questions: usize,
    lost: Option<String>,
    refused: Option<String>,
}

impl Soon {
    pub(super) fn new() -> (Self, Remote) {
        let remote: Arc<Mutex<Far>> = Arc::default();
        (Self { remote: Arc::clone(&remote), at_once: false }, Remote(remote))
    }

    pub(super) fn at_once() -> (Self, Remote) {
        let (listener, remote) = Self::new();
        (Self { at_once: true, ..listener }, remote)
    }
}

impl Remote {
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().lines.clone()
    }

    pub(super) fn flushes(&self) -> usize {
        self.0.lock().unwrap().flushes
    }

    pub(super) fn questions(&self) -> usize {
        self.0.lock().unwrap().questions
    }

    /// What was flushed up to and with this flush has arrived.
    pub(super) fn acknowledge(&self, flush: usize) {
        self.0.lock().unwrap().acknowledged = flush;
    }

    /// The next call of `listen` says that everything is lost.
    pub(super) fn lose(&self, why: &str) {
        self.0.lock().unwrap().lost = Some(why.to_owned());
    }

    /// The next question is answered with an error.
    pub(super) fn refuse(&self, why: &str) {
        self.0.lock().unwrap().refused = Some(why.to_owned());
    }
}

impl Listener for Soon {
    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let mut far = self.remote.lock().unwrap();
        if let Some(why) = far.lost.take() {
            return Err(ListenError::Lost(why));
        }
        for entry in entries.entries() {
            let log = entry.log.unwrap();
            let name = log.path.strip_prefix("/logs").unwrap().display();
            let place = Place { era: 0, ..entry.place };
            let text = String::from_utf8_lossy(entry.text());
            let preview = if log.is_preview { "~" } else { "" };
            far.lines.push(format!("{name} {}{preview} {text}", place.id()));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        self.remote.lock().unwrap().flushes += 1;
        Ok(if self.at_once { Flushed::All } else { Flushed::Soon })
    }

    fn is_flushed(&mut self) -> Result<bool, ListenError> {
        let mut far = self.remote.lock().unwrap();
        far.questions += 1;
        match far.refused.take() {
            Some(why) => Err(ListenError::Retry(why)),
            None => Ok(far.acknowledged >= far.flushes),
        }
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        let name = gap.log.as_ref().unwrap().strip_prefix("/logs").unwrap().display();
        let to = Place { era: 0, ..gap.to };
        self.remote.lock().unwrap().lines.push(format!("{name} gap to {}", to.id()));
        Ok(())
    }
}
