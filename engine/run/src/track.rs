//! A lane's way through one of its sources.

use crate::retry::Backoff;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::{Batch, Change, Cursor, Idle, Key, Reader, Source, State};
use tripline_follow::Hints;

/// One source as a lane follows it.
pub(crate) struct Track {
    pub(crate) key: Key,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) hints: Hints,
    /// Up to where the listener has settled everything.
    pub(crate) settled: Option<Cursor>,
    pub(crate) set_by_hand: bool,
    state: State,
    why: Option<String>,
    /// What it waits for, since when, and whether that was told.
    waiting: Option<(String, Instant, bool)>,
    /// There was nothing to read at the last look.
    pub(crate) idle: Option<Idle>,
    reader: Option<Box<dyn Reader>>,
    /// Listened to, and not flushed yet.
    pending: Option<Pending>,
    backoff: Backoff,
    retry_at: Option<Instant>,
}

struct Pending {
    cursor: Cursor,
    entries: u64,
    last_entry: Option<i64>,
}

impl Track {
    pub(crate) fn new(
        key: Key,
        source: Arc<dyn Source>,
        hints: Hints,
        settled: Option<Cursor>,
        set_by_hand: bool,
        (state, why): (State, Option<String>),
        seed: u64,
    ) -> Self {
        Self {
            key,
            source,
            hints,
            settled,
            set_by_hand,
            state,
            why,
            waiting: None,
            idle: None,
            reader: None,
            pending: None,
            backoff: Backoff::new(seed),
            retry_at: None,
        }
    }

    /// Begins to read at the settled place, or where the listener says that it
    /// has come to, whichever is less: what a listener holds beyond the settled
    /// place comes to it again, and it knows what to do with that. Forgets what
    /// was not flushed.
    pub(crate) fn open(&mut self, held: Option<Cursor>) {
        self.idle = None;
        self.pending = None;
        let cursor = match (held, &self.settled) {
            (Some(held), Some(settled)) if held.place >= settled.place => {
                Some(settled.clone())
            }
            (Some(held), _) => {
                let cursor = held.clone();
                self.pending = Some(Pending { cursor, entries: 0, last_entry: None });
                Some(held)
            }
            (None, settled) => settled.clone(),
        };
        self.reader = Some(self.source.open(cursor));
    }

    /// The reader, unless the source failed a moment ago.
    pub(crate) fn take_reader(&mut self) -> Option<Box<dyn Reader>> {
        if self.retry_at.is_some_and(|time| Instant::now() < time) {
            return None;
        }
        self.retry_at = None;
        self.idle = None;
        self.reader.take()
    }

    pub(crate) fn put_back(&mut self, reader: Box<dyn Reader>) {
        self.reader = Some(reader);
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

    pub(crate) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The listener took a batch.
    pub(crate) fn listened(&mut self, taken: Taken) {
        let before = self.pending.take();
        self.pending = Some(Pending {
            cursor: taken.end,
            entries: taken.entries + before.as_ref().map_or(0, |p| p.entries),
            last_entry: taken.last_entry.or_else(|| before.and_then(|p| p.last_entry)),
        });
    }

    pub(crate) const fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// The listener flushed: what it listened to is settled.
    pub(crate) fn flushed(&mut self) -> Option<Change> {
        let pending = self.pending.take()?;
        self.settled = Some(pending.cursor.clone());
        self.set_by_hand = false;
        Some(Change::Settled {
            key: self.key.clone(),
            cursor: pending.cursor,
            entries: pending.entries,
            last_entry: pending.last_entry,
        })
    }

    /// The reader has found out where to begin and there is nothing yet: that
    /// place is as good as settled. Returns whether it is news.
    pub(crate) fn begins_at(&mut self, cursor: Option<&Cursor>) -> bool {
        if self.settled.is_some() || self.pending.is_some() {
            return false;
        }
        self.pending = cursor.map(|cursor| Pending {
            cursor: cursor.clone(),
            entries: 0,
            last_entry: None,
        });
        self.pending.is_some()
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
}

/// A wait shorter than this is nobody's business: each rotation has one.
const TELL_WAITING_AFTER: Duration = Duration::from_secs(5);

/// What a batch leaves behind once the listener has it.
pub(crate) struct Taken {
    end: Cursor,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    last_entry: Option<i64>,
}

impl Taken {
    pub(crate) fn of(batch: &Batch<'_>) -> Self {
        Self {
            end: batch.end.clone(),
            entries: batch.len() as u64,
            bytes: batch.bytes.len() as u64,
            last_entry: batch.last_time(),
        }
    }
}
