//! What a lane remembers between two rounds.

use crate::flight::Flight;
use crate::retry::Backoff;
use std::time::{Duration, Instant};

/// A lane that is catching up flushes after this many bytes ...
const FLUSH_BYTES: u64 = 256 * 1024 * 1024;
/// ... or with something of so many logs, so that what waits stays small ...
const FLUSH_LOGS: usize = 1000;
/// ... or after this long.
const FLUSH_BUSY_AFTER: Duration = Duration::from_secs(1);

/// When to flush, to say something, and to try again.
pub(crate) struct Pace {
    /// A lane at rest flushes this long after it listened: what trickles in is
    /// made durable together.
    flush_after: Duration,
    unflushed_bytes: u64,
    unflushed_since: Option<Instant>,
    /// A flush that is on its way; there is no other meanwhile.
    pub(crate) flight: Option<Flight>,
    /// The lane is to stop, and waits no longer than until then for flushes.
    pub(crate) give_up_at: Option<Instant>,
    pub(crate) reading_since: Option<Instant>,
    pub(crate) last_data: Instant,
    pub(crate) had_data: bool,
    pub(crate) backoff: Backoff,
    /// Something was lost behind the last settled place, and nothing was
    /// settled since.
    pub(crate) is_in_doubt: bool,
    pub(crate) handled: Vec<bool>,
    /// Hints in a row that led to no entry.
    pub(crate) fruitless_hints: u32,
}

impl Pace {
    pub(crate) fn new(flush_after: Duration) -> Self {
        Self {
            flush_after,
            unflushed_bytes: 0,
            unflushed_since: None,
            flight: None,
            give_up_at: None,
            reading_since: None,
            last_data: Instant::now(),
            had_data: false,
            backoff: Backoff::random(),
            is_in_doubt: false,
            handled: Vec::new(),
            fruitless_hints: 0,
        }
    }

    /// The listener took something. What comes again needs no flush.
    pub(crate) fn listened(&mut self, bytes: u64, comes_again: bool) {
        self.fruitless_hints = 0;
        self.last_data = Instant::now();
        self.had_data = true;
        if !comes_again {
            self.unflushed_bytes += bytes;
            self.has_unflushed();
        }
    }

    /// There is something to settle.
    pub(crate) fn has_unflushed(&mut self) {
        self.unflushed_since.get_or_insert_with(Instant::now);
    }

    pub(crate) fn flush_is_due(&self, busy: bool, until_idle: bool, logs: usize) -> bool {
        let Some(since) = self.unflushed_since.filter(|_| self.flight.is_none()) else {
            return false;
        };
        let after = if busy { FLUSH_BUSY_AFTER } else { self.flush_after };
        self.unflushed_bytes >= FLUSH_BYTES
            || logs >= FLUSH_LOGS
            || since.elapsed() >= after
            || (until_idle && !busy)
    }

    /// When a lane at rest has to flush.
    pub(crate) fn flush_at(&self) -> Option<Instant> {
        let since = self.unflushed_since.filter(|_| self.flight.is_none())?;
        Some(since + self.flush_after)
    }

    /// Whether everything that was listened to is settled.
    pub(crate) const fn is_flushed(&self) -> bool {
        self.unflushed_since.is_none() && self.flight.is_none()
    }

    pub(crate) const fn forget_unflushed(&mut self) {
        self.unflushed_bytes = 0;
        self.unflushed_since = None;
    }

    /// Everything behind the last settled place comes again.
    pub(crate) fn begin_again(&mut self) {
        self.forget_unflushed();
        self.flight = None;
    }
}
