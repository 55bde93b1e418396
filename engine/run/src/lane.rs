//! One listener, on a thread of its own.

use crate::events::{Event, Events};
use crate::retry::Backoff;
use crate::status::LaneStatus;
use crate::track::{Taken, Track};
use crossbeam_channel::{Receiver, Select, Sender};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tripline_api::{
    Again, Batch, Begin, Change, Gap, Idle, ListenError, Listener, ListenerId, OnGap,
    Reader, State, Step, View,
};

/// How often a lane looks without a hint, unless configured.
pub(crate) const POLL: Duration = Duration::from_secs(1);
/// When a reader waits for something that gives no sign.
const SOON: Duration = Duration::from_millis(50);
/// A lane at rest flushes this long after it listened: what trickles in is made
/// durable together.
const FLUSH_AFTER: Duration = Duration::from_millis(50);
/// A lane that is catching up flushes after this many bytes ...
const FLUSH_BYTES: u64 = 256 * 1024 * 1024;
/// ... or after this long.
const FLUSH_BUSY_AFTER: Duration = Duration::from_secs(1);
/// After this long without reaching the end a lane says that it catches up.
const CATCHING_UP_AFTER: Duration = Duration::from_secs(1);

/// After so many hints in a row that led to nothing ...
const FRUITLESS_HINTS_MAX: u32 = 8;
/// ... a lane looks at most this often.
const HINTS_PAUSE: Duration = Duration::from_millis(20);

/// Everything a lane's thread owns.
pub(crate) struct Lane {
    pub(crate) id: ListenerId,
    pub(crate) listener: Box<dyn Listener>,
    pub(crate) on_gap: OnGap,
    pub(crate) quiet: Duration,
    pub(crate) poll: Duration,
    pub(crate) until_idle: bool,
    pub(crate) tracks: Vec<Track>,
    pub(crate) stop: Receiver<()>,
    pub(crate) ledger: Sender<Change>,
    pub(crate) events: Arc<dyn Events>,
    pub(crate) status: Arc<LaneStatus>,
}

/// How a lane ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was asked to, or (until idle) had everything; or everything but what
    /// this says, which should be there and is not.
    Done { missing: Option<String> },
    /// It needs a person.
    Stopped { why: String, at_gap: bool },
}

/// Why a lane leaves what it is doing.
enum Leave {
    Ended(Ended),
    /// Begin again at the last settled place.
    BeginAgain,
}

type Turn<T = ()> = Result<T, Leave>;

/// What a lane remembers between two rounds.
struct Pace {
    unflushed_bytes: u64,
    unflushed_since: Option<Instant>,
    reading_since: Option<Instant>,
    last_data: Instant,
    had_data: bool,
    backoff: Backoff,
    handled: Vec<bool>,
    /// Hints in a row that led to no entry.
    fruitless_hints: u32,
}

impl Lane {
    /// Runs until stopped, or until idle where that was asked for.
    pub(crate) fn run(mut self) -> Ended {
        let mut pace = Pace::new(self.id.as_str());
        loop {
            let ended = match self.begin(&mut pace) {
                Ok(()) => self.follow(&mut pace),
                Err(leave) => leave,
            };
            match ended {
                Leave::BeginAgain => pace.forget_unflushed(),
                Leave::Ended(done @ Ended::Done { .. }) => return done,
                Leave::Ended(Ended::Stopped { why, at_gap }) => {
                    self.tell_all(State::Stopped, Some(&why));
                    self.events
                        .event(&Event::ListenerStopped { listener: &self.id, why: &why });
                    return Ended::Stopped { why, at_gap };
                }
            }
        }
    }

    /// Asks the listener where it is, on each source, and opens the readers.
    fn begin(&mut self, pace: &mut Pace) -> Turn {
        for index in 0..self.tracks.len() {
            let held = self.attempt(pace, |lane| {
                let track = &lane.tracks[index];
                lane.listener.begin(&Begin {
                    source: &track.key.source,
                    cursor: track.settled.as_ref(),
                    set_by_hand: track.set_by_hand,
                })
            })?;
            self.tracks[index].open(held);
            if self.tracks[index].has_pending() {
                pace.unflushed_since.get_or_insert_with(Instant::now);
            }
        }
        Ok(())
    }

    fn follow(&mut self, pace: &mut Pace) -> Leave {
        loop {
            if let Err(leave) = self.round(pace) {
                return leave;
            }
        }
    }

    /// One step on each source, then a flush if one is due, then perhaps a rest.
    fn round(&mut self, pace: &mut Pace) -> Turn {
        if self.is_told_to_stop() {
            self.flush(pace)?;
            return Err(Leave::Ended(Ended::Done { missing: None }));
        }
        let mut busy = false;
        for index in 0..self.tracks.len() {
            busy |= self.step(index, pace)?;
        }
        if pace.flush_is_due(busy, self.until_idle) {
            self.flush(pace)?;
        }
        if busy {
            self.say_catching_up(pace);
            return Ok(());
        }
        pace.reading_since = None;
        if pace.unflushed_since.is_none() && self.is_at_end() {
            self.say_following();
            if self.until_idle {
                return Err(Leave::Ended(Ended::Done { missing: self.missing() }));
            }
        }
        self.keep_quiet(pace)?;
        self.rest(pace);
        Ok(())
    }

    /// One step on one source; returns whether there may be more at once.
    fn step(&mut self, index: usize, pace: &mut Pace) -> Turn<bool> {
        // A batch borrows its reader, so the reader leaves the lane while the
        // rest of the lane works on the batch.
        let Some(mut reader) = self.tracks[index].take_reader() else {
            return Ok(false);
        };
        let stepped = self.step_with(index, &mut *reader, pace);
        self.tracks[index].put_back(reader);
        stepped
    }

    fn step_with(
        &mut self,
        index: usize,
        reader: &mut dyn Reader,
        pace: &mut Pace,
    ) -> Turn<bool> {
        let step = match reader.next() {
            Ok(step) => step,
            Err(error) => {
                self.source_failed(index, &error.to_string());
                return Ok(false);
            }
        };
        if self.tracks[index].worked() {
            self.events.event(&Event::ListenerRecovered { listener: &self.id });
        }
        match step {
            Step::Batch(batch) => {
                self.deliver(&batch, pace)?;
                let taken = Taken::of(&batch);
                self.status.entries.fetch_add(taken.entries, Relaxed);
                self.status.bytes.fetch_add(taken.bytes, Relaxed);
                pace.listened(taken.bytes);
                self.tracks[index].listened(taken);
                Ok(true)
            }
            Step::Gap(gap) => {
                self.gap(index, &gap, pace)?;
                Ok(true)
            }
            Step::Idle(idle) => {
                let busy = idle.again == Again::Now;
                self.say_waiting(index, &idle);
                let track = &mut self.tracks[index];
                track.idle = Some(idle);
                if track.begins_at(reader.cursor()) {
                    // Where it begins is remembered before anything comes:
                    // another start must not look for another beginning.
                    pace.unflushed_since.get_or_insert_with(Instant::now);
                }
                Ok(busy)
            }
        }
    }

    fn source_failed(&mut self, index: usize, why: &str) {
        let track = &mut self.tracks[index];
        let after = track.failed();
        let change = track.becomes(State::Retrying, Some(why));
        self.send(change);
        let listener = &self.id;
        self.events.event(&Event::ListenerRetries { listener, why, after });
    }

    /// Hands a batch to the listener, as often as it takes.
    fn deliver(&mut self, batch: &Batch<'_>, pace: &mut Pace) -> Turn {
        let mut handled = std::mem::take(&mut pace.handled);
        handled.clear();
        handled.extend(batch.entries().map(|entry| self.listener.is_handled(&entry)));
        let view = View::some(*batch, &handled);
        let result = if view.is_empty() {
            Ok(())
        } else {
            self.attempt(pace, |lane| lane.listener.listen(&view))
        };
        pace.handled = handled;
        result
    }

    fn gap(&mut self, index: usize, gap: &Gap, pace: &mut Pace) -> Turn {
        // What came before the gap is settled first, whatever happens at it.
        self.flush(pace)?;
        let stops = self.on_gap == OnGap::Stop;
        self.events.event(&Event::Gap { listener: &self.id, gap, stops });
        if stops {
            let why = format!(
                "{}. To repair it, {}. To go on without: tripline where CONFIG --set {} {} {}",
                gap.why, gap.repair, self.id, gap.source, gap.to.sequence
            );
            return Err(Leave::Ended(Ended::Stopped { why, at_gap: true }));
        }
        self.attempt(pace, |lane| lane.listener.gap(gap))?;
        self.flush_listener(pace)?;
        let track = &mut self.tracks[index];
        track.settled = Some(tripline_api::Cursor::unproved(gap.to));
        let key = track.key.clone();
        self.send(Some(Change::Gap { key, gap: gap.clone() }));
        Ok(())
    }

    /// Makes what was listened to durable, and tells the ledger.
    fn flush(&mut self, pace: &mut Pace) -> Turn {
        if !self.tracks.iter().any(Track::has_pending) {
            pace.forget_unflushed();
            return Ok(());
        }
        self.flush_listener(pace)?;
        pace.forget_unflushed();
        for index in 0..self.tracks.len() {
            let change = self.tracks[index].flushed();
            self.send(change);
        }
        Ok(())
    }

    fn flush_listener(&mut self, pace: &mut Pace) -> Turn {
        if let Err(error) = self.listener.flush() {
            // What was written since the last flush is in doubt: read it again.
            self.failed(error, pace)?;
            return Err(Leave::BeginAgain);
        }
        if pace.backoff.succeeded() {
            self.events.event(&Event::ListenerRecovered { listener: &self.id });
        }
        Ok(())
    }

    /// Calls the listener until it succeeds, stops, or the lane is stopped.
    fn attempt<T>(
        &mut self,
        pace: &mut Pace,
        mut call: impl FnMut(&mut Self) -> Result<T, ListenError>,
    ) -> Turn<T> {
        loop {
            match call(self) {
                Ok(value) => {
                    if pace.backoff.succeeded() {
                        self.events
                            .event(&Event::ListenerRecovered { listener: &self.id });
                        self.tell_all(State::CatchingUp, None);
                    }
                    return Ok(value);
                }
                Err(error) => self.failed(error, pace)?,
            }
        }
    }

    /// The listener failed: pauses, or ends the lane.
    fn failed(&mut self, error: ListenError, pace: &mut Pace) -> Turn {
        match error {
            ListenError::Stop(why) => {
                Err(Leave::Ended(Ended::Stopped { why, at_gap: false }))
            }
            ListenError::Retry(why) => {
                let after = pace.backoff.pause();
                self.tell_all(State::Retrying, Some(&why));
                self.events.event(&Event::ListenerRetries {
                    listener: &self.id,
                    why: &why,
                    after,
                });
                match self.stop.recv_timeout(after) {
                    Err(crossbeam_channel::RecvTimeoutError::Timeout) => Ok(()),
                    // What was not taken comes again after the next start.
                    _ => Err(Leave::Ended(Ended::Done { missing: None })),
                }
            }
        }
    }

    fn keep_quiet(&mut self, pace: &mut Pace) -> Turn {
        if pace.last_data.elapsed() < self.quiet {
            return Ok(());
        }
        let had_data = std::mem::take(&mut pace.had_data);
        pace.last_data = Instant::now();
        self.attempt(pace, |lane| lane.listener.no_data(had_data))
    }

    /// Waits for a hint, a stop, or the next thing that is due.
    fn rest(&self, pace: &mut Pace) {
        if pace.fruitless_hints >= FRUITLESS_HINTS_MAX {
            // Somebody else is busy in our folders, writing a checkpoint, say.
            _ = self.stop.recv_timeout(HINTS_PAUSE);
        }
        let now = Instant::now();
        let mut until = now + self.poll;
        if let Some(since) = pace.unflushed_since {
            until = until.min(since + FLUSH_AFTER);
        }
        until = until.min(pace.last_data + self.quiet);
        for track in &self.tracks {
            if let Some(time) = track.retry_at() {
                until = until.min(time);
            }
            if track.idle.as_ref().is_some_and(|i| i.again == Again::Soon) {
                until = until.min(now + SOON);
            }
        }
        let mut select = Select::new();
        select.recv(&self.stop);
        for track in &self.tracks {
            select.recv(&track.hints);
        }
        pace.fruitless_hints = match select.ready_deadline(until) {
            Ok(_) => pace.fruitless_hints + 1,
            Err(_) => 0,
        };
        for track in &self.tracks {
            _ = track.hints.try_recv();
        }
    }

    fn is_told_to_stop(&self) -> bool {
        // The engine never sends: it lets go of its end.
        matches!(self.stop.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
    }

    fn is_at_end(&self) -> bool {
        self.tracks
            .iter()
            .all(|t| t.idle.as_ref().is_some_and(|i| i.again == Again::Later))
    }

    fn say_catching_up(&mut self, pace: &mut Pace) {
        let since = *pace.reading_since.get_or_insert_with(Instant::now);
        if since.elapsed() > CATCHING_UP_AFTER {
            self.tell_all(State::CatchingUp, None);
        }
    }

    fn say_following(&mut self) {
        for index in 0..self.tracks.len() {
            let why =
                self.tracks[index].idle.as_ref().and_then(|i| i.waiting_for.clone());
            let change = self.tracks[index].becomes(State::Following, why.as_deref());
            self.send(change);
        }
    }

    fn say_waiting(&mut self, index: usize, idle: &Idle) {
        let track = &mut self.tracks[index];
        let is_told = track.waits_for(idle.waiting_for.as_deref());
        if let Some(waiting_for) = idle.waiting_for.as_deref().filter(|_| is_told) {
            let (listener, source) = (&self.id, &track.key.source);
            self.events.event(&Event::Waiting { listener, source, waiting_for });
        }
    }

    /// What should be there and is not, on any source.
    fn missing(&self) -> Option<String> {
        let mut troubles = self.tracks.iter().filter_map(|track| {
            let idle = track.idle.as_ref().filter(|idle| idle.is_trouble)?;
            Some(format!("{}: {}", track.key.source, idle.waiting_for.as_ref()?))
        });
        troubles.next()
    }

    fn tell_all(&mut self, state: State, why: Option<&str>) {
        for index in 0..self.tracks.len() {
            let change = self.tracks[index].becomes(state, why);
            self.send(change);
        }
    }

    fn send(&self, change: Option<Change>) {
        if let Some(change) = change {
            // The ledger outlives the lanes. If it died all the same, the
            // engine says so when it is stopped, and what was not saved comes
            // again.
            _ = self.ledger.send(change);
        }
    }
}

impl Pace {
    fn new(name: &str) -> Self {
        let seed = name.bytes().fold(u64::from(std::process::id()), |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        Self {
            unflushed_bytes: 0,
            unflushed_since: None,
            reading_since: None,
            last_data: Instant::now(),
            had_data: false,
            backoff: Backoff::new(seed),
            handled: Vec::new(),
            fruitless_hints: 0,
        }
    }

    fn listened(&mut self, bytes: u64) {
        self.fruitless_hints = 0;
        self.unflushed_bytes += bytes;
        self.unflushed_since.get_or_insert_with(Instant::now);
        self.last_data = Instant::now();
        self.had_data = true;
    }

    fn flush_is_due(&self, busy: bool, until_idle: bool) -> bool {
        let Some(since) = self.unflushed_since else { return false };
        let after = if busy { FLUSH_BUSY_AFTER } else { FLUSH_AFTER };
        self.unflushed_bytes >= FLUSH_BYTES
            || since.elapsed() >= after
            || (until_idle && !busy)
    }

    const fn forget_unflushed(&mut self) {
        self.unflushed_bytes = 0;
        self.unflushed_since = None;
    }
}
