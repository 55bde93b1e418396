//! One listener, on a thread of its own.

mod agenda;
mod delivery;

use crate::events::{Event, Events};
use crate::flight::Flight;
use crate::own::{Message, Own};
use crate::pace::Pace;
use crate::status::LaneStatus;
use crate::track::Track;
use crossbeam_channel::RecvTimeoutError::{self, Disconnected};
use crossbeam_channel::{Receiver, Select, Sender};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tripline_api::{
    Again, Begin, Change, Flushed, Gap, Idle, ListenError, Listener, ListenerId, OnGap,
    Reader, Rejected, State, Step,
};

/// How often a lane looks without a hint, unless configured.
pub(crate) const POLL: Duration = Duration::from_secs(1);
/// After this long without reaching the end a lane says that it catches up.
const CATCHING_UP_AFTER: Duration = Duration::from_secs(1);
/// When a reader waits for something that gives no sign.
const SOON: Duration = Duration::from_millis(50);
/// A reader that wants to be asked at a time that has passed must not be asked
/// all the time.
const AT_LEAST: Duration = Duration::from_millis(1);
/// A listener that is busy is called again after this.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// How many changes go into one message to the ledger.
const MESSAGE_CHANGES_MAX: usize = 1000;
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
    pub(crate) flush_after: Duration,
    pub(crate) poll: Duration,
    pub(crate) until_idle: bool,
    /// How long a listener may take to make everything durable when the lane is
    /// to stop.
    pub(crate) flush_within: Duration,
    pub(crate) tracks: Vec<Track>,
    /// How many letters the listener has.
    pub(crate) letters: u64,
    pub(crate) stop: Receiver<()>,
    pub(crate) ledger: Sender<Message>,
    /// For a listener with work of its own.
    pub(crate) own: Option<Own>,
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

impl Lane {
    /// Runs until stopped, or until idle where that was asked for.
    pub(crate) fn run(mut self) -> Ended {
        let mut pace = Pace::new(self.flush_after);
        loop {
            let begun = self.remember(&mut pace).and_then(|()| self.begin(&mut pace));
            let ended = match begun {
                Ok(()) => self.follow(&mut pace),
                Err(leave) => leave,
            };
            match ended {
                Leave::BeginAgain => pace.begin_again(),
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
                    cursor: track.settled.get(&None),
                    set_by_hand: track.set_by_hand,
                })
            })?;
            self.tracks[index].open(held);
            if self.tracks[index].has_pending() {
                pace.has_unflushed();
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
            self.wind_down(pace)?;
            self.flush_all(pace)?;
            return Err(Leave::Ended(Ended::Done { missing: None }));
        }
        let takes_more = self.work(pace)?;
        let mut busy = false;
        if takes_more {
            for index in 0..self.tracks.len() {
                busy |= self.step(index, pace)?;
            }
        }
        self.has_landed(pace)?;
        let logs = self.tracks.iter().map(Track::pending_logs).sum();
        if pace.flush_is_due(busy, self.until_idle, logs) {
            self.flush(pace)?;
        }
        if busy {
            self.say_catching_up(pace, None);
            return Ok(());
        }
        pace.reading_since = None;
        let is_at_end = |track: &Track| track.is_at_end(self.until_idle);
        if pace.is_flushed() && takes_more && self.tracks.iter().all(is_at_end) {
            self.recovered(pace, false);
            self.say_following();
            if self.until_idle && self.is_done() {
                return Err(Leave::Ended(Ended::Done { missing: self.missing() }));
            }
        }
        self.keep_quiet(pace)?;
        self.rest(pace)
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
                self.deliver(index, &batch, pace)?;
                let is_preview = batch.log.is_some_and(|log| log.is_preview);
                if !is_preview {
                    self.status.entries.fetch_add(batch.len() as u64, Relaxed);
                    self.status.bytes.fetch_add(batch.bytes.len() as u64, Relaxed);
                    self.tracks[index].listened(&batch);
                }
                pace.listened(batch.bytes.len() as u64, is_preview);
                Ok(true)
            }
            Step::Gap(gap) => {
                self.gap(index, &gap, pace)?;
                Ok(true)
            }
            Step::Begins(log, cursor) => {
                // Remembered before anything comes: another start must not look
                // for another beginning.
                self.tracks[index].begins(log, cursor);
                pace.has_unflushed();
                Ok(true)
            }
            Step::Gone(log) => {
                self.tracks[index].gone(log);
                pace.has_unflushed();
                Ok(true)
            }
            Step::Notice(text) => {
                let source = &self.tracks[index].key.source;
                let listener = &self.id;
                self.events.event(&Event::Notice { listener, source, text: &text });
                Ok(true)
            }
            Step::Idle(idle) => {
                let busy = idle.again == Again::Now;
                if !busy {
                    self.tell_at_end(index);
                }
                self.say_waiting(index, &idle);
                self.tracks[index].rests(idle);
                Ok(busy)
            }
        }
    }

    fn source_failed(&mut self, index: usize, why: &str) {
        let track = &mut self.tracks[index];
        let after = track.failed();
        let change = track.becomes(State::Retrying, Some(why));
        self.send(change.into_iter().collect());
        // Nobody is to wait for what does not come.
        self.tell_at_end(index);
        let listener = &self.id;
        self.events.event(&Event::ListenerRetries { listener, why, after });
    }

    fn gap(&mut self, index: usize, gap: &Gap, pace: &mut Pace) -> Turn {
        let stops = self.on_gap == OnGap::Stop;
        // What came before the gap is settled first, whatever happens at it. Of
        // many logs, many may have a gap at the same time: they are settled
        // together.
        if stops || gap.log.is_none() {
            self.flush_all(pace)?;
        }
        self.events.event(&Event::Gap { listener: &self.id, gap, stops });
        if stops {
            let mut why = format!("{}. To repair it, {}. ", gap.why, gap.repair);
            if let Some(advice) = self.listener.gap_advice(gap) {
                why += &format!("{advice}. ");
            }
            why += &format!("To go on without: {}", to_go_on(gap, &self.id));
            return Err(Leave::Ended(Ended::Stopped { why, at_gap: true }));
        }
        self.attempt(pace, |lane| lane.listener.gap(gap))?;
        self.tracks[index].passed(gap);
        pace.has_unflushed();
        if gap.log.is_none() {
            self.flush_all(pace)?;
        }
        Ok(())
    }

    /// Makes what was listened to durable, or sets about it. Not while a flush
    /// is on its way.
    fn flush(&mut self, pace: &mut Pace) -> Turn {
        if !self.tracks.iter().any(Track::has_pending) && !self.has_to_keep() {
            pace.forget_unflushed();
            return Ok(());
        }
        match self.listener.flush() {
            Ok(flushed) => {
                self.tracks.iter_mut().for_each(Track::take_off);
                pace.forget_unflushed();
                match flushed {
                    Flushed::All => self.land(pace),
                    Flushed::Soon => pace.flight = Some(Flight::new()),
                }
                Ok(())
            }
            Err(error) => self.doubt(error, pace),
        }
    }

    /// Makes everything durable and waits for it; while the lane is to stop, not
    /// for ever.
    fn flush_all(&mut self, pace: &mut Pace) -> Turn {
        self.wait_for_landing(pace)?;
        self.flush(pace)?;
        self.wait_for_landing(pace)
    }

    fn wait_for_landing(&mut self, pace: &mut Pace) -> Turn {
        while !self.has_landed(pace)? {
            let pause = pace.flight.as_mut().map_or(Duration::ZERO, Flight::pause);
            match pace.give_up_at {
                None if self.stop.recv_timeout(pause) == Err(Disconnected) => {
                    pace.give_up_at = Some(Instant::now() + self.flush_within);
                }
                None => {}
                // It has settled what it could, and the rest comes again.
                Some(_) if !self.listener.arrives_soon() => {
                    return Err(Leave::Ended(Ended::Done { missing: None }));
                }
                Some(time) if Instant::now() < time => std::thread::sleep(pause),
                Some(_) => {
                    self.events.event(&Event::NotFlushed { listener: &self.id });
                    // What has not arrived comes again at the next start.
                    return Err(Leave::Ended(Ended::Done { missing: None }));
                }
            }
        }
        Ok(())
    }

    /// Whether no flush is on its way, or not any more.
    fn has_landed(&mut self, pace: &mut Pace) -> Turn<bool> {
        if pace.flight.is_none() {
            return Ok(true);
        }
        match self.listener.is_flushed() {
            Ok(true) => {
                pace.flight = None;
                self.land(pace);
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(error) => self.doubt(error, pace).map(|()| false),
        }
    }

    /// What took off is settled: tells the ledger.
    fn land(&mut self, pace: &mut Pace) {
        let mut changes = self.letters_of_listener();
        for track in &mut self.tracks {
            track.land(&mut changes);
        }
        match self.keep(&mut changes, pace) {
            // All of it or nothing.
            Some(keeper) => {
                let keeper = Some(keeper);
                _ = self.ledger.send(Message { changes, keeper });
            }
            None => self.send(changes),
        }
        self.recovered(pace, true);
    }

    /// What was written since the last settled place is in doubt: pauses, then
    /// begins again there.
    fn doubt(&mut self, error: ListenError, pace: &mut Pace) -> Turn {
        pace.is_in_doubt = true;
        self.failed(error, pace)?;
        Err(Leave::BeginAgain)
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
                    pace.is_not_busy();
                    // After a failed flush only a flush shows that it works.
                    if !pace.is_in_doubt {
                        self.recovered(pace, true);
                    }
                    return Ok(value);
                }
                Err(error @ ListenError::Lost(_)) => {
                    self.doubt(error, pace)?;
                }
                Err(error) => self.failed(error, pace)?,
            }
        }
    }

    /// The listener works; says so if it had failed.
    fn recovered(&mut self, pace: &mut Pace, tell_state: bool) {
        pace.is_in_doubt = false;
        if pace.backoff.succeeded() {
            self.events.event(&Event::ListenerRecovered { listener: &self.id });
            if tell_state {
                self.tell_all(State::CatchingUp, None);
            }
        }
    }

    /// The listener failed: pauses, or ends the lane.
    fn failed(&mut self, error: ListenError, pace: &mut Pace) -> Turn {
        match error {
            // Only `listen` can reject, and it was asked elsewhere.
            ListenError::Stop(why) | ListenError::Rejected(Rejected { why, .. }) => {
                Err(Leave::Ended(Ended::Stopped { why, at_gap: false }))
            }
            ListenError::Busy(why) => {
                let why = pace.is_long_busy().then_some(&*why);
                self.say_catching_up(pace, why);
                self.pause(BUSY_PAUSE)
            }
            ListenError::Retry(why) | ListenError::Lost(why) => {
                let after = pace.backoff.pause();
                self.tell_all(State::Retrying, Some(&why));
                self.events.event(&Event::ListenerRetries {
                    listener: &self.id,
                    why: &why,
                    after,
                });
                self.pause(after)
            }
        }
    }

    /// Waits, unless the lane is to stop: what was not taken comes again after the
    /// next start.
    fn pause(&self, time: Duration) -> Turn {
        match self.stop.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(Leave::Ended(Ended::Done { missing: None })),
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

    /// Waits for a hint, a stop, or the next thing that is due. While a flush
    /// is on its way, asks now and then whether it has arrived.
    fn rest(&mut self, pace: &mut Pace) -> Turn {
        if pace.fruitless_hints >= FRUITLESS_HINTS_MAX {
            // Somebody else is busy in our folders, writing a checkpoint, say.
            _ = self.stop.recv_timeout(HINTS_PAUSE);
        }
        let until = self.rest_until(pace);
        loop {
            let now = Instant::now();
            let look = match &mut pace.flight {
                Some(flight) => until.min(now + flight.pause()),
                None => until,
            };
            if self.is_woken(look) {
                let is_rung = self.own.as_ref().is_some_and(Own::is_rung);
                pace.fruitless_hints += u32::from(!is_rung);
                return Ok(());
            }
            if pace.flight.is_none() || look == until {
                pace.fruitless_hints = 0;
                return Ok(());
            }
            if self.has_landed(pace)? {
                return Ok(());
            }
        }
    }

    fn rest_until(&mut self, pace: &Pace) -> Instant {
        let now = Instant::now();
        let mut until = pace.last_data + self.quiet;
        until = self.works_at().map_or(until, |time| until.min(time));
        until = pace.flush_at().map_or(until, |time| until.min(time));
        for track in &self.tracks {
            until = until.min(track.look_at(now, self.poll));
            if let Some(time) = track.retry_at() {
                until = until.min(time);
            }
            match track.idle.as_ref().map(|idle| idle.again) {
                Some(Again::Soon) => until = until.min(now + SOON),
                Some(Again::At(time)) => until = until.min(time.max(now + AT_LEAST)),
                Some(Again::Now | Again::Later) | None => {}
            }
        }
        until
    }

    /// Whether a hint or a stop came before this time.
    fn is_woken(&self, until: Instant) -> bool {
        let mut select = Select::new();
        select.recv(&self.stop);
        if let Some(own) = &self.own {
            select.recv(own.rings());
        }
        for track in &self.tracks {
            select.recv(track.hints.bell());
        }
        select.ready_deadline(until).is_ok()
    }

    fn is_told_to_stop(&self) -> bool {
        // The engine never sends: it lets go of its end.
        matches!(self.stop.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
    }

    fn say_catching_up(&mut self, pace: &mut Pace, why: Option<&str>) {
        let since = *pace.reading_since.get_or_insert_with(Instant::now);
        if since.elapsed() > CATCHING_UP_AFTER {
            self.tell_all(State::CatchingUp, why);
        }
    }

    fn say_following(&mut self) {
        let mut changes = Vec::new();
        for track in &mut self.tracks {
            let why = track.idle.as_ref().and_then(|idle| idle.waiting_for.clone());
            changes.extend(track.becomes(State::Following, why.as_deref()));
        }
        self.send(changes);
    }

    fn say_waiting(&mut self, index: usize, idle: &Idle) {
        let track = &mut self.tracks[index];
        if track.has_arrived(idle.waiting_for.as_deref()) {
            let (listener, source) = (&self.id, &track.key.source);
            self.events.event(&Event::Arrived { listener, source });
        }
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
        let tracks = self.tracks.iter_mut();
        let changes = tracks.filter_map(|track| track.becomes(state, why)).collect();
        self.send(changes);
    }

    fn send(&self, mut changes: Vec<Change>) {
        while !changes.is_empty() {
            let rest = changes.split_off(changes.len().min(MESSAGE_CHANGES_MAX));
            // The ledger outlives the lanes. If it died all the same, the
            // engine says so when it is stopped, and what was not saved comes
            // again.
            _ = self.ledger.send(Message::of(changes));
            changes = rest;
        }
    }
}

/// How to go on behind a gap as a person, losing no more than what it is about.
fn to_go_on(gap: &Gap, listener: &ListenerId) -> String {
    match &gap.log {
        None => format!(
            "tripline where CONFIG --set {listener} {} {}",
            gap.source, gap.to.sequence
        ),
        Some(_) => format!(
            "give {listener} `on_gap: Notify` and start again: the gap is noted and what \
             comes behind it is read"
        ),
    }
}
