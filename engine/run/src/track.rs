//! A lane's way through one of its sources.

use crate::pending::{Part, Pending};
use crate::retry::Backoff;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::{
    Again, Batch, Change, Changed, Cursor, Entry, Gap, Idle, Key, Letter, Reader,
    Settled, Source, State,
};
use tripline_follow::Hints;

/// One source as a lane follows it.
pub(crate) struct Track {
    /// The source as a whole; each log has a key of its own.
    pub(crate) key: Key,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) hints: Hints,
    /// Up to where the listener has settled everything.
    pub(crate) settled: Settled,
    pub(crate) set_by_hand: bool,
    /// Records come when their transaction is closed.
    pub(crate) whole_transactions: bool,
    state: State,
    why: Option<String>,
    /// What it waits for, since when, and whether that was told.
    waiting: Option<(String, Instant, bool)>,
    /// There was nothing to read at the last look.
    pub(crate) idle: Option<Idle>,
    /// Since when something is in the reader's way.
    trouble_since: Option<Instant>,
    reader: Option<Box<dyn Reader>>,
    /// Listened to, and not flushed yet.
    pending: Pending,
    /// Flushed, and not yet said to have arrived.
    in_flight: Pending,
    backoff: Backoff,
    retry_at: Option<Instant>,
}

/// What is known of a track from earlier runs.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) settled: Settled,
    pub(crate) set_by_hand: bool,
    pub(crate) state: State,
    pub(crate) why: Option<String>,
}

impl Track {
    pub(crate) fn new(
        key: Key,
        source: Arc<dyn Source>,
        hints: Hints,
        known: Known,
    ) -> Self {
        Self {
            key,
            source,
            hints,
            settled: known.settled,
            set_by_hand: known.set_by_hand,
            whole_transactions: false,
            state: known.state,
            why: known.why,
            waiting: None,
            idle: None,
            trouble_since: None,
            reader: None,
            pending: Pending::default(),
            in_flight: Pending::default(),
            backoff: Backoff::random(),
            retry_at: None,
        }
    }

    /// Begins to read where everything is settled. Of a journal, where the
    /// listener says that it has come to, if that is less: what a listener holds
    /// beyond the settled place comes to it again, and it knows what to do with
    /// that. Forgets what was not flushed.
    pub(crate) fn open(&mut self, held: Option<Cursor>) {
        self.idle = None;
        self.pending.clear();
        self.in_flight.clear();
        let settled = self.settled.get(&None);
        let held = held.filter(|held| {
            self.source.is_journal() && settled.is_none_or(|s| held.place < s.place)
        });
        let mut reader = match held {
            Some(held) => {
                self.pending.of(None).begins(held.clone());
                self.source.open(&Settled::from([(None, held)]))
            }
            None => self.source.open(&self.settled),
        };
        if self.whole_transactions {
            reader.hold_open_transactions();
        }
        self.reader = Some(reader);
    }

    /// The reader, unless the source failed a moment ago; it knows what has
    /// changed.
    pub(crate) fn take_reader(&mut self) -> Option<Box<dyn Reader>> {
        if self.retry_at.is_some_and(|time| Instant::now() < time) {
            return None;
        }
        self.retry_at = None;
        self.idle = None;
        let mut reader = self.reader.take()?;
        let changed = self.hints.take();
        if !self.source.is_journal() {
            let due = match changed {
                Some(Changed::Anything) => None,
                _ => self.hints.due(Instant::now()),
            };
            if let Some(changed) = due.or(changed) {
                reader.hint(changed);
            }
        }
        Some(reader)
    }

    pub(crate) fn put_back(&mut self, mut reader: Box<dyn Reader>) {
        if let Some(directories) = reader.directories() {
            self.hints.watch(directories);
        }
        self.reader = Some(reader);
    }

    /// When to look although nothing happened. A journal is looked at in each
    /// poll.
    pub(crate) fn look_at(&self, now: Instant, poll: Duration) -> Instant {
        match self.source.is_journal() {
            true => now + poll,
            false => self.hints.due_at(),
        }
    }

    /// The source failed: when to try again.
    pub(crate) fn failed(&mut self) -> Duration {
        let pause = self.backoff.pause();
        self.retry_at = Some(Instant::now() + pause);
        pause
    }

    /// The source worked; returns whether it had failed before.
    pub(crate) fn worked(&mut self) -> bool {
        self.backoff.succeeded()
    }

    /// What the lane does on it.
    pub(crate) const fn state(&self) -> State {
        self.state
    }

    pub(crate) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The listener took a batch, which is not one of a line that comes again.
    pub(crate) fn listened(&mut self, batch: &Batch<'_>) {
        let log = batch.log.map(|log| Arc::clone(log.path));
        self.pending.of(log).listened(batch);
    }

    /// The reader has found out where to begin and there is nothing yet: that
    /// place is as good as settled.
    pub(crate) fn begins(&mut self, log: Option<Arc<Path>>, cursor: Cursor) {
        if !self.settled.contains_key(&log) && !self.pending.has(&log) {
            // Nothing comes before it: should everything be in doubt, it is
            // begun there again, and not where "now" is by then.
            self.settled.insert(log.clone(), cursor.clone());
        }
        self.pending.of(log).begins(cursor);
    }

    /// All of a log was handed out, and there will be no more.
    pub(crate) fn gone(&mut self, log: Arc<Path>) {
        self.pending.of(Some(log)).gone();
    }

    /// The listener took a gap.
    pub(crate) fn passed(&mut self, gap: &Gap) {
        let key = self.key_of(gap.log.clone());
        self.pending.of(gap.log.clone()).passed(key, gap.clone());
    }

    /// The receiver will never take this entry.
    pub(crate) fn set_aside(&mut self, entry: &Entry<'_>, why: String, attempts: u32) {
        let log = entry.log.map(|log| Arc::clone(log.path));
        let letter = Letter::of(self.key_of(log.clone()), entry, why, attempts);
        self.pending.of(log).set_aside(letter);
    }

    /// Of how many logs there is something that was not flushed.
    pub(crate) fn pending_logs(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The listener set about flushing what it has by now.
    pub(crate) fn take_off(&mut self) {
        self.in_flight = std::mem::take(&mut self.pending);
    }

    /// What took off has arrived: it is settled.
    pub(crate) fn land(&mut self, changes: &mut Vec<Change>) {
        let landed = std::mem::take(&mut self.in_flight);
        for (log, part) in landed {
            self.settle(log, part, changes);
        }
        // What a person wanted again of logs was wanted of all of them.
        if self.set_by_hand
            && !self.source.is_journal()
            && self.is_at_end(true)
            && self.pending.is_empty()
            && let Some(cursor) = self.settled.get(&None).cloned()
        {
            self.set_by_hand = false;
            let key = self.key.clone();
            changes.push(Change::Settled { key, cursor, entries: 0, last_entry: None });
        }
    }

    fn settle(&mut self, log: Option<Arc<Path>>, part: Part, changes: &mut Vec<Change>) {
        let key = self.key_of(log.clone());
        let is_gone = part.is_gone();
        let before = changes.len();
        part.settle(key.clone(), changes);
        for change in &changes[before..] {
            let cursor = match change {
                Change::Settled { cursor, .. } => {
                    self.set_by_hand &= !self.source.is_journal();
                    cursor.clone()
                }
                Change::Gap { gap, .. } => {
                    Cursor { place: gap.to, proof: gap.proof.clone(), next: None }
                }
                _ => continue,
            };
            self.settled.insert(log.clone(), cursor);
        }
        if is_gone {
            self.settled.remove(&log);
            changes.push(Change::Forget { key });
        }
    }

    /// The reader has nothing now.
    pub(crate) fn rests(&mut self, idle: Idle) {
        if idle.again != Again::Now {
            let since = idle.is_trouble.then(Instant::now);
            self.trouble_since = since.map(|now| self.trouble_since.unwrap_or(now));
        }
        self.idle = Some(idle);
    }

    /// There was nothing to read at the last look. A patient one waits for what
    /// is to come at a certain time, and a while for what is in trouble.
    pub(crate) fn is_at_end(&self, patient: bool) -> bool {
        let is_long = |since: Instant| since.elapsed() >= TROUBLE_WAIT_MAX;
        let is_hopeless = self.trouble_since.is_some_and(is_long);
        self.idle.as_ref().is_some_and(|idle| match idle.again {
            Again::Later => true,
            Again::At(_) => !patient || is_hopeless,
            Again::Now | Again::Soon => false,
        })
    }

    /// The change to another state or another reason; `None` when it is no
    /// other.
    pub(crate) fn becomes(&mut self, state: State, why: Option<&str>) -> Option<Change> {
        if self.state == state && self.why.as_deref() == why {
            return None;
        }
        self.state = state;
        self.why = why.map(str::to_owned);
        Some(Change::State { key: self.key.clone(), state, why: self.why.clone() })
    }

    /// Whether it was said that the source waits, and it does not any more.
    pub(crate) fn has_arrived(&self, waits_for: Option<&str>) -> bool {
        let is_told = self.waiting.as_ref().is_some_and(|(_, _, is_told)| *is_told);
        is_told && waits_for.is_none()
    }

    /// Notes what the source waits for; returns whether it is time to say so.
    pub(crate) fn waits_for(&mut self, what: Option<&str>) -> bool {
        match (&mut self.waiting, what) {
            (waiting, None) => *waiting = None,
            (Some((known, since, is_told)), Some(what)) if known == what => {
                let tell = !*is_told && since.elapsed() >= TELL_WAITING_AFTER;
                *is_told |= tell;
                return tell;
            }
            (waiting, Some(what)) => {
                *waiting = Some((what.to_owned(), Instant::now(), false));
            }
        }
        false
    }

    fn key_of(&self, log: Option<Arc<Path>>) -> Key {
        Key { log, ..self.key.clone() }
    }
}

/// A run until idle waits so long for what is in trouble.
const TROUBLE_WAIT_MAX: Duration = Duration::from_secs(5);

/// A wait shorter than this is nobody's business: each rotation has one.
const TELL_WAITING_AFTER: Duration = Duration::from_secs(5);
