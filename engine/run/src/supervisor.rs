//! Starts lanes and ledger, and brings them down in order.

use crate::events::{Event, Events};
use crate::lane::{Ended, Lane, POLL};
use crate::ledger::Ledger;
use crate::own::{Message, Own};
use crate::retention::{Looks, Retention};
use crate::status::LaneStatus;
use crate::track::{Known, Track};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tripline_api::{
    Built, Change, Key, ListenerId, Progress, Settled, Source, State, Store, StoreError,
};
use tripline_follow::{Looking, Sign, Waker};

/// How many messages may wait for the ledger, each with the changes of one
/// flush; a lane that finds the queue full waits for the disk.
const MESSAGES_MAX: usize = 64;

/// What to run.
pub struct Setup {
    /// Every source that a listener follows.
    pub sources: Vec<Arc<dyn Source>>,
    /// The listeners, built.
    pub listeners: Vec<LaneSetup>,
    /// Where progress is kept.
    pub store: Box<dyn Store>,
    /// How to run.
    pub options: Options,
    /// Who is told what happens.
    pub events: Arc<dyn Events>,
}

/// One listener with its name.
pub struct LaneSetup {
    /// Its name in the configuration.
    pub id: ListenerId,
    /// What its factory built.
    pub built: Built,
}

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// End when every source is at its end and everything is settled.
    pub until_idle: bool,
    /// How often to look where file-system events cannot be believed.
    pub poll: Duration,
    /// Use file-system events; otherwise everything is looked at in each poll.
    pub events: bool,
    /// How long a lane may take to finish its batch when the engine stops; one
    /// that takes longer is left behind, and what it had comes again.
    pub stop_within: Duration,
    /// How often it is looked whether a file that a listener still needs is the
    /// next to be deleted.
    pub look_ahead: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            until_idle: false,
            poll: POLL,
            events: true,
            stop_within: Duration::from_secs(10),
            look_ahead: Duration::from_secs(30),
        }
    }
}

/// How the engine ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The listeners that stopped and need a person, and why.
    pub stopped: Vec<(ListenerId, String)>,
    /// Whether one of them stopped at a gap.
    pub at_gap: bool,
    /// What a run until idle could not deliver, because it should be there and
    /// is not: listener and reason.
    pub missing: Vec<(ListenerId, String)>,
    /// The listeners that did not come to an end in time.
    pub left_behind: Vec<ListenerId>,
    /// Why the last progress could not be saved.
    pub unsaved: Option<String>,
}

/// The engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A listener follows a source that was not given.
    #[error("listener {listener} follows {source_name}, and there is no such source")]
    NoSuchSource {
        /// The listener.
        listener: ListenerId,
        /// The name it asked for.
        source_name: String,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system refused a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Everything that runs.
pub struct Engine {
    /// Dropped to tell all lanes to stop: no lane can miss that.
    stop: Option<Sender<()>>,
    lanes: Vec<RunningLane>,
    ended: Receiver<(usize, Ended)>,
    ledger: JoinHandle<(Box<dyn Store>, Option<String>)>,
    retention: JoinHandle<()>,
    options: Options,
    outcome: Outcome,
}

struct RunningLane {
    id: ListenerId,
    status: Arc<LaneStatus>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts a thread for the ledger and one for each listener.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, a name leads nowhere, or the system
    /// refuses a thread. Nothing runs then.
    pub fn start(mut setup: Setup) -> Result<Self, SetupError> {
        let progress = setup.store.progress()?;
        let letters = letters(&mut *setup.store)?;
        let waker = waker(&setup.options, &setup.events);
        let (stop, stop_receiver) = bounded(0);
        let (messages, messages_receiver) = bounded(MESSAGES_MAX);
        let (ended_sender, ended) = bounded(setup.listeners.len().max(1));
        let mut prepared = Vec::new();
        let mut behind = BTreeSet::new();
        for LaneSetup { id, mut built } in setup.listeners {
            let tracks = tracks(&id, &built, &setup.sources, &progress, &waker)?;
            let is_behind = |track: &&Track| track.state() != State::Following;
            let who = |track: &Track| (track.key.source.clone(), id.clone());
            behind.extend(tracks.iter().filter(is_behind).map(who));
            let status: Arc<LaneStatus> = Arc::default();
            let own = match built.listener.agenda() {
                Some(_) => Some(Own::new(setup.store.kept(&id)?)),
                None => None,
            };
            let letters = letters.get(&id).copied().unwrap_or_default();
            prepared.push(Lane {
                id,
                listener: built.listener,
                on_gap: built.on_gap,
                quiet: built.quiet,
                flush_after: built.flush_after,
                poll: setup.options.poll,
                until_idle: setup.options.until_idle,
                // A call that is under way takes two seconds, and a listener may
                // have to end what it started.
                flush_within: setup.options.stop_within.mul_f64(0.7),
                tracks,
                letters,
                stop: stop_receiver.clone(),
                ledger: messages.clone(),
                own,
                events: Arc::clone(&setup.events),
                status,
            });
        }
        drop(messages);
        drop(progress);
        let events = Arc::clone(&setup.events);
        let (looks, looks_receiver) = bounded(1);
        let retention = Retention::new(setup.sources, Arc::clone(&events));
        let retention =
            thread("retention".to_owned(), move || retention.run(&looks_receiver))?;
        let ledger = Ledger {
            store: setup.store,
            messages: messages_receiver,
            events,
            waker,
            looks: Looks::new(looks, setup.options.look_ahead, behind),
        };
        let ledger = thread("ledger".to_owned(), move || ledger.run())?;
        let mut lanes = Vec::new();
        for (index, lane) in prepared.into_iter().enumerate() {
            let (id, status) = (lane.id.clone(), Arc::clone(&lane.status));
            let ended = ended_sender.clone();
            let thread = thread(format!("lane {id}"), move || run(lane, index, &ended))?;
            lanes.push(RunningLane { id, status, thread: Some(thread) });
        }
        let outcome = Outcome::default();
        let options = setup.options;
        Ok(Self { stop: Some(stop), lanes, ended, ledger, retention, options, outcome })
    }

    /// Waits until every lane has ended, or for at most `timeout`. Returns
    /// whether all have.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while self.lanes.iter().any(|lane| lane.thread.is_some()) {
            match self.ended.recv_deadline(deadline) {
                Ok((index, ended)) => self.lane_ended(index, ended),
                Err(_) => return false,
            }
        }
        true
    }

    /// Each listener's name and what it has done so far.
    pub fn status(&self) -> impl Iterator<Item = (&ListenerId, &LaneStatus)> {
        self.lanes.iter().map(|lane| (&lane.id, &*lane.status))
    }

    /// Stops in two steps: the lanes finish their batch, flush and end; then
    /// the ledger commits. Returns the store for another start.
    pub fn stop(mut self) -> (Outcome, Option<Box<dyn Store>>) {
        drop(self.stop.take());
        let all_ended = self.wait(self.options.stop_within);
        if !all_ended {
            let still_there = |lane: &RunningLane| lane.thread.is_some();
            let left = self.lanes.iter().filter(|lane| still_there(lane));
            self.outcome.left_behind = left.map(|lane| lane.id.clone()).collect();
            // A lane that is stuck holds a sender, so the ledger would wait for
            // it for ever. It commits whatever arrives at once; give it one
            // breath to finish and let the process end.
            breathe(|| self.ledger.is_finished());
            return (self.outcome, None);
        }
        let ended = self.ledger.join();
        // It may be looking at a disk that hangs, and nothing depends on it.
        if breathe(|| self.retention.is_finished()) {
            _ = self.retention.join();
        }
        match ended {
            Ok((store, unsaved)) => {
                self.outcome.unsaved = unsaved;
                (self.outcome, Some(store))
            }
            Err(_) => {
                self.outcome.unsaved = Some("the ledger died".to_owned());
                (self.outcome, None)
            }
        }
    }

    fn lane_ended(&mut self, index: usize, ended: Ended) {
        let lane = &mut self.lanes[index];
        if let Some(thread) = lane.thread.take() {
            // It has reported, so it is past everything that could panic.
            _ = thread.join();
        }
        match ended {
            Ended::Stopped { why, at_gap } => {
                self.outcome.at_gap |= at_gap;
                self.outcome.stopped.push((lane.id.clone(), why));
            }
            Ended::Done { missing } => {
                let missing = missing.map(|what| (lane.id.clone(), what));
                self.outcome.missing.extend(missing);
            }
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lanes: Vec<_> = self.lanes.iter().map(|lane| &lane.id).collect();
        f.debug_struct("Engine").field("lanes", &lanes).finish_non_exhaustive()
    }
}

/// Waits a second at most; returns whether it is so by then.
fn breathe(is_so: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(1);
    while !is_so() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    is_so()
}

fn waker(options: &Options, events: &Arc<dyn Events>) -> Waker {
    let events = Arc::clone(events);
    let looking = Looking { events: options.events, poll: options.poll };
    let tell = move |sign: Sign| match &sign {
        Sign::Overflow(why) => events.event(&Event::Overflow { why }),
        Sign::PollingOnly(why) => events.event(&Event::PollingOnly { why }),
    };
    Waker::new(looking, Box::new(tell))
}

fn tracks(
    id: &ListenerId,
    built: &Built,
    sources: &[Arc<dyn Source>],
    progress: &[Progress],
    waker: &Waker,
) -> Result<Vec<Track>, SetupError> {
    let mut tracks = Vec::new();
    for name in &built.from {
        let Some(source) = sources.iter().find(|s| s.id().as_str() == name) else {
            return Err(SetupError::NoSuchSource {
                listener: id.clone(),
                source_name: name.clone(),
            });
        };
        let key = Key { source: source.id().clone(), listener: id.clone(), log: None };
        let known = known(&key, progress);
        let hints = waker.subscribe(source);
        let mut track = Track::new(key, Arc::clone(source), hints, known);
        track.whole_transactions = built.whole_transactions;
        tracks.push(track);
    }
    Ok(tracks)
}

/// How many letters each listener has.
fn letters(store: &mut dyn Store) -> Result<BTreeMap<ListenerId, u64>, StoreError> {
    let mut letters = BTreeMap::new();
    for ((_, listener), count) in store.letter_counts()? {
        *letters.entry(listener).or_default() += count;
    }
    Ok(letters)
}

/// What earlier runs left of a source and all its logs.
fn known(key: &Key, progress: &[Progress]) -> Known {
    let is_mine =
        |p: &&Progress| p.key.source == key.source && p.key.listener == key.listener;
    let mut known = Known {
        settled: Settled::new(),
        set_by_hand: false,
        state: State::CatchingUp,
        why: None,
    };
    for row in progress.iter().filter(is_mine) {
        if let Some(cursor) = &row.cursor {
            known.settled.insert(row.key.log.clone(), cursor.clone());
        }
        known.set_by_hand |= row.set_by_hand;
        if row.key.log.is_none() {
            known.state = row.state;
            known.why.clone_from(&row.why);
        }
    }
    known
}

/// A lane's thread: a listener that panics ends its own lane and no other.
fn run(lane: Lane, index: usize, ended: &Sender<(usize, Ended)>) {
    let (id, events) = (lane.id.clone(), Arc::clone(&lane.events));
    let ledger = lane.ledger.clone();
    let keys: Vec<_> = lane.tracks.iter().map(|track| track.key.clone()).collect();
    let result = catch_unwind(AssertUnwindSafe(move || lane.run()));
    let how = result.unwrap_or_else(|panic| {
        let why = format!("it panicked: {}", message_of(&*panic));
        let change =
            |key| Change::State { key, state: State::Stopped, why: Some(why.clone()) };
        _ = ledger.send(Message::of(keys.into_iter().map(change).collect()));
        events.event(&Event::ListenerStopped { listener: &id, why: &why });
        Ended::Stopped { why, at_gap: false }
    });
    drop(ledger);
    // There is room for one message a lane, so this never waits.
    _ = ended.send((index, how));
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

fn thread<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name).spawn(work)
}
