//! One listener's trouble is nobody else's: stuck, failing, panicking and
//! doubtful listeners beside a healthy one, over a real journal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tripline_api::{
    Args, Begin, BuildContext, Built, Change, Content, Culprit, Cursor, Flushed, Gap,
    Key, Letter, ListenError, Listener, ListenerId, OnGap, Place, Rejected, Source,
    State, Store as _, View,
};
use tripline_run::{Engine, Event, Events, LaneSetup, Options, Setup};
use tripline_store::{Effect, Fault, FaultStore, MemoryStore};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_stuck_listener_holds_up_nobody_and_catches_up() {
    let site = Site::new();
    let (release, held) = bounded::<()>(1);
    let (stuck, stuck_seen) = Recorder::new();
    let (healthy, healthy_seen) = Recorder::new();
    let stuck = stuck.with(Behaviour::Block(held));
    let engine = site.start(vec![("stuck", stuck), ("healthy", healthy)]);
    let mut lag_max = Duration::ZERO;
    for change in 0..200 {
        let written = Instant::now();
        site.append(change);
        healthy_seen.wait_for(change + 1);
        lag_max = lag_max.max(written.elapsed());
    }
    // A bound for a hang, not a measurement: see the benchmarks for those.
    assert!(lag_max < Duration::from_secs(5), "{lag_max:?}");
    assert_eq!(stuck_seen.count(), 0);
    release.send(()).unwrap();
    stuck_seen.wait_for(200);
    let (outcome, _) = engine.stop();
    assert_eq!(outcome, Default::default());
    assert_eq!(stuck_seen.all(), healthy_seen.all());
}

#[test]
fn a_failing_listener_gets_the_same_entries_until_it_takes_them() {
    let site = Site::new();
    (0..50).for_each(|change| site.append(change));
    let (failing, failing_seen) = Recorder::new();
    let (healthy, healthy_seen) = Recorder::new();
    let failures = vec![Failure::Listen, Failure::Listen, Failure::Flush];
    let failing = failing.with(Behaviour::Fail(failures.into()));
    let engine = site.start(vec![("failing", failing), ("healthy", healthy)]);
    healthy_seen.wait_for(50);
    // What was listened to before the flush that failed comes again.
    failing_seen.wait_for(100);
    let (_, store) = engine.stop();
    assert_eq!(failing_seen.all()[50..], healthy_seen.all());
    let progress = store.unwrap().progress().unwrap();
    assert!(progress.iter().all(|p| p.entries_settled == 50), "{progress:?}");
    assert!(progress.iter().all(|p| p.state != State::Retrying), "{progress:?}");
}

#[test]
fn a_busy_listener_is_asked_again_soon_and_nobody_is_told() {
    let site = Site::new();
    (0..50).for_each(|change| site.append(change));
    let (busy, seen) = Recorder::new();
    let times = 30;
    let busy = busy.with(Behaviour::Fail(vec![Failure::Busy; times].into()));
    let store = MemoryStore::new();
    site.run_until_idle(busy, &store);
    assert_eq!(seen.count(), 50, "once each");
    assert!(!site.events.has("on purpose"), "it was told");
    let asked = &seen.seen.lock().unwrap().asked;
    assert!(asked.len() > times);
    // Pauses do not grow: the backoff's shortest row of so many takes minutes.
    let took = asked[times] - asked[0];
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_panic_ends_one_lane_and_is_remembered() {
    let site = Site::new();
    site.append(0);
    let (panicking, _) = Recorder::new();
    let (healthy, healthy_seen) = Recorder::new();
    let panicking = panicking.with(Behaviour::Panic);
    let engine = site.start(vec![("panicking", panicking), ("healthy", healthy)]);
    healthy_seen.wait_for(1);
    site.append(1);
    healthy_seen.wait_for(2);
    let mut engine = engine;
    while engine.status().count() > 0 && !site.events.has("it panicked: on purpose") {
        engine.wait(Duration::from_millis(1));
    }
    let (outcome, store) = engine.stop();
    assert_eq!(outcome.stopped.len(), 1);
    assert!(outcome.stopped[0].1.contains("on purpose"));
    let progress = store.unwrap().progress().unwrap();
    let row = progress.iter().find(|p| p.key.listener.as_str() == "panicking").unwrap();
    assert_eq!(row.state, State::Stopped);
    assert!(row.why.as_ref().unwrap().contains("on purpose"));
}

#[test]
fn a_store_that_fails_holds_up_nobody_and_is_written_later() {
    let site = Site::new();
    let memory = MemoryStore::new();
    let (store, faults) = FaultStore::new(memory.clone());
    faults.fail(Fault { at: 1, lasts: true, effect: Effect::None });
    let (healthy, seen) = Recorder::new();
    let setup = site.setup(vec![("healthy", healthy)], Box::new(store), false);
    let engine = Engine::start(setup).unwrap();
    for change in 0..100 {
        site.append(change);
        seen.wait_for(change + 1);
    }
    wait_for(|| site.events.has("not saved"));
    assert!(memory.clone().progress().unwrap().iter().all(|p| p.cursor.is_none()));
    faults.clear();
    wait_for(|| site.events.has("saved again"));
    let (outcome, _) = engine.stop();
    assert_eq!(outcome.unsaved, None);
    let mut memory = memory;
    assert_eq!(memory.progress().unwrap()[0].entries_settled, 100);
}

#[test]
fn quiet_is_told_with_whether_there_was_data() {
    let site = Site::new();
    let (listener, seen) = Recorder::new();
    let engine = site.start(vec![("quiet", listener)]);
    site.append(0);
    seen.wait_for(1);
    wait_for(|| seen.quiet().contains(&true));
    wait_for(|| seen.quiet().last() == Some(&false));
    site.append(1);
    seen.wait_for(2);
    let with_data = || seen.quiet().iter().filter(|had_data| **had_data).count();
    wait_for(|| with_data() == 2);
    engine.stop();
    assert_eq!(with_data(), 2);
}

#[test]
fn what_a_listener_holds_decides_where_it_goes_on() {
    let site = Site::new();
    (0..10).for_each(|change| site.append(change));
    let memory = MemoryStore::new();
    let (first, seen) = Recorder::new();
    site.run_until_idle(first, &memory);
    assert_eq!(seen.count(), 10);
    // It lost everything: it gets everything again, from where it says.
    let (lost, seen) = Recorder::new();
    let start = Cursor::unproved(Place::start_of(0, 0));
    site.run_until_idle(lost.holding(start), &memory);
    assert_eq!(seen.count(), 10);
    // It holds more than was settled: what is between comes to it again.
    let (ahead, seen) = Recorder::new();
    let mut end = memory.clone().progress().unwrap()[0].cursor.clone().unwrap();
    end.place.offset += 1;
    site.run_until_idle(ahead.holding(end), &memory);
    assert_eq!(seen.count(), 0);
    let mut memory = memory;
    assert_eq!(memory.progress().unwrap()[0].entries_settled, 20);
}

#[test]
fn an_entry_that_is_refused_for_good_is_set_aside_alone() {
    let site = Site::new();
    (0..1000).for_each(|change| site.append(change));
    let (picky, seen) = Recorder::new();
    let (healthy, healthy_seen) = Recorder::new();
    let picky = picky.with(Behaviour::Refuse("@db.desc@ 500 "));
    let mut store = MemoryStore::new();
    let setup = site.setup(
        vec![("picky", picky), ("healthy", healthy)],
        Box::new(store.clone()),
        true,
    );
    let mut engine = Engine::start(setup).unwrap();
    assert!(engine.wait(PATIENCE));
    assert_eq!(engine.stop().0, Default::default());
    let mut wanted = healthy_seen.all();
    let refused = wanted.remove(500);
    assert_eq!(seen.all(), wanted);
    assert!(seen.calls() <= 13, "{} requests", seen.calls());
    let letters = store.letters().unwrap();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0].letter;
    assert_eq!(format!("p4/{}", letter.place.id()), refused);
    let bytes = b"@pv@ 0 @db.desc@ 500 @text@ \n".to_vec();
    assert_eq!((&letter.content, letter.entries), (&Content::Entry(bytes), 1));
    assert_eq!((letter.why.as_str(), letter.key.log.is_none()), ("550 no", true));
    assert!(letter.attempts > 1, "{}", letter.attempts);
    let progress = store.progress().unwrap();
    assert!(progress.iter().all(|p| p.entries_settled == 1000), "{progress:?}");
    assert!(
        site.events.has(&format!(
            "SetAside {{ listener: ListenerId(\"picky\"), id: {refused:?}"
        )),
        "no event"
    );
}

#[test]
fn what_is_refused_again_after_a_failure_is_one_letter() {
    let site = Site::new();
    (0..3).for_each(|change| site.append(change));
    let (picky, seen) = Recorder::new();
    let picky = picky.with(Behaviour::RefuseAndFail("@db.desc@ 1 ", 1));
    let mut store = MemoryStore::new();
    site.run_until_idle(picky, &store);
    assert_eq!(seen.count(), 4, "the two others, twice");
    let letters = store.letters().unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].letter.place.line, 1);
}

#[test]
fn a_listener_with_too_many_letters_stops() {
    let site = Site::new();
    let key = Key {
        source: site.source.id().clone(),
        listener: ListenerId::new("one").unwrap(),
        log: None,
    };
    let letter = |offset| {
        let place = Place { offset, ..Place::start_of(9, 9) };
        let content = Content::Entry(Vec::new());
        let why = String::new();
        let key = key.clone();
        Change::SetAside(Letter { key, place, entries: 1, content, why, attempts: 1 })
    };
    let mut store = MemoryStore::new();
    store.commit(&(1..Letter::MAX).map(letter).collect::<Vec<_>>()).unwrap();
    (0..3).for_each(|change| site.append(change));
    let (picky, _) = Recorder::new();
    let picky = picky.with(Behaviour::Refuse("@db.desc@"));
    let setup = site.setup(vec![("one", picky)], Box::new(store.clone()), true);
    let mut engine = Engine::start(setup).unwrap();
    assert!(engine.wait(PATIENCE));
    let (outcome, _) = engine.stop();
    assert_eq!(outcome.stopped.len(), 1);
    let why = &outcome.stopped[0].1;
    assert!(why.contains("set aside 10000 entries") && why.contains("550 no"), "{why}");
    assert_eq!(store.progress().unwrap()[0].entries_settled, 0);
}

struct Site {
    directory: tempfile::TempDir,
    source: Arc<dyn Source>,
    events: Arc<Heard>,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("journal"), "").unwrap();
        let context = BuildContext {
            name: "p4",
            directory: directory.path(),
            state: directory.path(),
        };
        let args = Args::new(r#"(path: "journal")"#);
        let source = tripline_follow::ALL[0].build(&args, &context).unwrap();
        Self { directory, source, events: Arc::default() }
    }

    fn journal(&self) -> PathBuf {
        Path::new(self.directory.path()).join("journal")
    }

    fn append(&self, change: usize) {
        let mut journal = OpenOptions::new().append(true).open(self.journal()).unwrap();
        writeln!(journal, "@pv@ 0 @db.desc@ {change} @text@ ").unwrap();
    }

    fn start(&self, listeners: Vec<(&str, Recorder)>) -> Engine {
        let store = Box::new(MemoryStore::new());
        Engine::start(self.setup(listeners, store, false)).unwrap()
    }

    fn run_until_idle(&self, listener: Recorder, store: &MemoryStore) {
        let store = Box::new(store.clone());
        let setup = self.setup(vec![("one", listener)], store, true);
        let mut engine = Engine::start(setup).unwrap();
        assert!(engine.wait(PATIENCE));
        assert_eq!(engine.stop().0, Default::default());
    }

    fn setup(
        &self,
        listeners: Vec<(&str, Recorder)>,
        store: Box<dyn tripline_api::Store>,
        until_idle: bool,
    ) -> Setup {
        let lane = |(name, recorder): (&str, Recorder)| LaneSetup {
            id: ListenerId::new(name).unwrap(),
            built: Built {
                on_gap: OnGap::Stop,
                ..Built::new(
                    Box::new(recorder),
                    vec!["p4".to_owned()],
                    Duration::from_millis(20),
                )
            },
        };
        Setup {
            sources: vec![Arc::clone(&self.source)],
            listeners: listeners.into_iter().map(lane).collect(),
            store,
            options: Options { until_idle, ..Options::default() },
            events: Arc::clone(&self.events) as Arc<dyn Events>,
        }
    }
}

/// Everything the engine said, as text.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn has(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|event| event.contains(text))
    }
}

impl Events for Heard {
    fn event(&self, event: &Event<'_>) {
        let text = match event {
            Event::NotSaved { why, .. } => format!("not saved: {why}"),
            Event::SavedAgain => "saved again".to_owned(),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(text);
    }
}

enum Behaviour {
    Good,
    /// Blocks in its first call until it is released.
    Block(Receiver<()>),
    Fail(VecDeque<Failure>),
    Panic,
    /// Will never take what has this text in it.
    Refuse(&'static str),
    /// The same, and the first so many flushes fail.
    RefuseAndFail(&'static str, u32),
}

#[derive(Clone, Copy, PartialEq)]
enum Failure {
    Listen,
    Flush,
    Busy,
}

/// Writes down what it is told.
struct Recorder {
    behaviour: Behaviour,
    holds: Option<Cursor>,
    seen: Arc<Mutex<Seen>>,
    changed: Sender<()>,
}

#[derive(Default)]
struct Seen {
    ids: Vec<String>,
    calls: usize,
    asked: Vec<Instant>,
    quiet: Vec<bool>,
}

struct Watcher {
    seen: Arc<Mutex<Seen>>,
    changed: Receiver<()>,
}

impl Recorder {
    fn new() -> (Self, Watcher) {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (changed, receiver) = bounded(1);
        let recorder = Self {
            behaviour: Behaviour::Good,
            holds: None,
            seen: Arc::clone(&seen),
            changed,
        };
        (recorder, Watcher { seen, changed: receiver })
    }

    fn with(self, behaviour: Behaviour) -> Self {
        Self { behaviour, ..self }
    }

    fn holding(self, cursor: Cursor) -> Self {
        Self { holds: Some(cursor), ..self }
    }

    fn fails(&mut self, call: Failure) -> Result<(), ListenError> {
        let Behaviour::Fail(failures) = &mut self.behaviour else { return Ok(()) };
        if failures.front() != Some(&call) {
            return Ok(());
        }
        failures.pop_front();
        let why = "on purpose".to_owned();
        Err(match call {
            Failure::Busy => ListenError::Busy(why),
            Failure::Listen | Failure::Flush => ListenError::Retry(why),
        })
    }
}

impl Listener for Recorder {
    fn begin(&mut self, _: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        Ok(self.holds.clone())
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        match &self.behaviour {
            Behaviour::Block(held) => {
                held.recv().unwrap();
                self.behaviour = Behaviour::Good;
            }
            Behaviour::Panic => panic!("on purpose"),
            Behaviour::Refuse(text) | Behaviour::RefuseAndFail(text, _) => {
                self.seen.lock().unwrap().calls += 1;
                let is_bad = |bytes: &[u8]| {
                    bytes.windows(text.len()).any(|part| part == text.as_bytes())
                };
                if entries.entries().any(|entry| is_bad(entry.bytes)) {
                    let (what, why) = (Culprit::OneOf, "550 no".to_owned());
                    return Err(ListenError::Rejected(Rejected { what, why }));
                }
            }
            Behaviour::Good | Behaviour::Fail(_) => {}
        }
        self.seen.lock().unwrap().asked.push(Instant::now());
        self.fails(Failure::Busy)?;
        self.fails(Failure::Listen)?;
        let mut seen = self.seen.lock().unwrap();
        seen.ids.extend(entries.entries().map(|entry| entry.id()));
        _ = self.changed.try_send(());
        Ok(())
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        self.fails(Failure::Flush)?;
        if let Behaviour::RefuseAndFail(_, left @ 1..) = &mut self.behaviour {
            *left -= 1;
            return Err(ListenError::Lost("on purpose".to_owned()));
        }
        Ok(Flushed::All)
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        panic!("no gap here: {gap:?}")
    }

    fn no_data(&mut self, had_data: bool) -> Result<(), ListenError> {
        self.seen.lock().unwrap().quiet.push(had_data);
        _ = self.changed.try_send(());
        Ok(())
    }
}

impl Watcher {
    fn wait_for(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count() < count {
            self.changed.recv_deadline(deadline).expect("entries in time");
        }
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().ids.len()
    }

    fn all(&self) -> Vec<String> {
        self.seen.lock().unwrap().ids.clone()
    }

    fn calls(&self) -> usize {
        self.seen.lock().unwrap().calls
    }

    fn quiet(&self) -> Vec<bool> {
        self.seen.lock().unwrap().quiet.clone()
    }
}

fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in time");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
