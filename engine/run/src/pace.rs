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
/// What is kept at each flush, whatever it is about, may take so many bytes a second of the
/// disk ...
const KEPT_BYTES_A_SECOND: u64 = 20_000_000;
/// ... and makes the next flush wait no longer than this.
const KEPT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// One that is busy no longer than this is as fast as it should be.
const TELL_BUSY_AFTER: Duration = Duration::from_secs(2);

/// When to flush, to say something, and to try again.
pub(crate) struct Pace {
    /// A lane at rest flushes this long after it listened: what trickles in is
    /// made durable together.
    flush_after: Duration,
    unflushed_bytes: u64,
    unflushed_since: Option<Instant>,
    /// So much was kept with the last flush that there is none before.
    not_before: Option<Instant>,
    /// A flush that is on its way; there is no other meanwhile.
    pub(crate) flight: Option<Flight>,
    /// The lane is to stop, and waits no longer than until then for flushes.
    pub(crate) give_up_at: Option<Instant>,
    pub(crate) reading_since: Option<Instant>,
    /// The listener has been busy since then with what it was given.
    busy_since: Option<Instant>,
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
            not_before: None,
            flight: None,
            give_up_at: None,
            reading_since: None,
            busy_since: None,
            last_data: Instant::now(),
            had_data: false,
            backoff: Backoff::random(),
            is_in_doubt: false,
            handled: Vec::new(),
            fruitless_hints: 0,
        }
    }

    /// The listener is busy; returns whether it has been for so long that people want to
    /// know.
    pub(crate) fn is_long_busy(&mut self) -> bool {
        self.busy_since.get_or_insert_with(Instant::now).elapsed() > TELL_BUSY_AFTER
    }

    /// The listener did what it was asked.
    pub(crate) const fn is_not_busy(&mut self) {
        self.busy_since = None;
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

    /// So many bytes were kept with a flush.
    pub(crate) fn kept(&mut self, bytes: u64) {
        let pause =
            Duration::from_millis(bytes.saturating_mul(1000) / KEPT_BYTES_A_SECOND);
        self.not_before = Some(Instant::now() + pause.min(KEPT_PAUSE_MAX));
    }

    pub(crate) fn flush_is_due(&self, busy: bool, until_idle: bool, logs: usize) -> bool {
        let Some(since) = self.unflushed_since.filter(|_| self.flight.is_none()) else {
            return false;
        };
        let after = if busy { FLUSH_BUSY_AFTER } else { self.flush_after };
        self.unflushed_bytes >= FLUSH_BYTES
            || logs >= FLUSH_LOGS
            || (self.not_before.is_none_or(|time| time <= Instant::now())
                && (since.elapsed() >= after || (until_idle && !busy)))
    }

    /// When a lane at rest has to flush.
    pub(crate) fn flush_at(&self) -> Option<Instant> {
        let since = self.unflushed_since.filter(|_| self.flight.is_none())?;
        let time = since + self.flush_after;
        Some(self.not_before.map_or(time, |not_before| time.max(not_before)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_much_is_flushed_less_often() {
        let mut pace = Pace::new(Duration::ZERO);
        pace.has_unflushed();
        assert!(pace.flush_is_due(false, false, 0));
        for (bytes, seconds) in [(1000, 0), (20_000_000, 1), (u64::MAX, 2)] {
            let begin = Instant::now();
            pace.kept(bytes);
            let wait = pace.flush_at().unwrap() - begin;
            assert_eq!(wait.as_secs(), seconds, "{bytes}");
        }
        assert!(!pace.flush_is_due(false, true, 0));
        assert!(pace.flush_is_due(false, false, FLUSH_LOGS), "memory comes first");
    }
}
