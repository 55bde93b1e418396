//! `Digest`: all that came in a time, together; and `settle`: once when it is over.

use super::event::Seen;
use super::keyed::{Key, Keyed};
use super::several::Several;
use serde::{Deserialize, Serialize};

/// What was collected, for each key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Digest {
    pub(super) open: Keyed<Several>,
}

impl Digest {
    /// An event; the first one starts the time.
    pub(super) fn see(
        &mut self,
        every: i64,
        keep: usize,
        key: Key,
        seen: Seen,
        now: i64,
    ) {
        let (several, due) = match self.take(&key) {
            Some((mut several, due)) => {
                several.push(seen, keep);
                (several, due)
            }
            None => (Several::new(seen), now + every),
        };
        let weight = several.weight;
        self.open.put(key, several, weight, Some(due));
    }

    /// An event; the time starts anew with each, up to [`SETTLE_TIMES_MAX`] times as long.
    pub(super) fn settle(&mut self, quiet: i64, key: Key, seen: Seen, now: i64) {
        let several = match self.open.remove(&key) {
            Some(mut several) => {
                several.push(seen, SETTLED_KEPT_MAX);
                several
            }
            None => Several { began: now, ..Several::new(seen) },
        };
        let weight = several.weight;
        let last = several.began.saturating_add(quiet.saturating_mul(SETTLE_TIMES_MAX));
        self.open.put(key, several, weight, Some(last.min(now + quiet)));
    }

    /// Everything happened so much later.
    pub(super) fn shift(&mut self, by: i64) {
        self.open.shift(by, |several| several.shift(by));
    }

    /// How many events were collected for a key, and until when that goes on.
    pub(super) fn so_far(&self, key: &Key) -> (u64, Option<i64>) {
        (self.open.get(key).map_or(0, |several| several.count), self.open.due_of(key))
    }

    fn take(&mut self, key: &Key) -> Option<(Several, i64)> {
        let due = self.open.due_of(key)?;
        Some((self.open.remove(key)?, due))
    }

    /// What is complete by now, with its key and when it was.
    pub(super) fn tick(
        &mut self,
        only: Option<&Key>,
        now: i64,
    ) -> Option<(i64, Key, Several)> {
        self.open.take_due_of(only, now)
    }

    pub(super) fn due(&self) -> Option<i64> {
        self.open.due()
    }

    pub(super) fn take_evicted(&mut self) -> u64 {
        self.open.take_evicted()
    }
}

/// What never settles fires all the same, after so many times the time of `settle`.
const SETTLE_TIMES_MAX: i64 = 60;
/// The most events that `settle` keeps.
const SETTLED_KEPT_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::test_support::seen;

    #[test]
    fn the_first_event_starts_the_time() {
        let mut digest = Digest::default();
        assert!(digest.tick(None, 1_000_000).is_none(), "never with none");
        for time in [100, 150, 999] {
            digest.see(900, 2, Key::default(), seen(time), time);
        }
        assert_eq!(digest.due(), Some(1000));
        assert!(digest.tick(None, 999).is_none());
        let (at, _, several) = digest.tick(None, 1000).unwrap();
        let roots = several.roots();
        assert_eq!((at, several.count), (1000, 3));
        assert_eq!(
            (&roots["dropped"], roots["events"].as_array().unwrap().len()),
            (&1.into(), 2)
        );
        digest.see(900, 2, Key::default(), seen(1000), 1000);
        assert_eq!(digest.due(), Some(1900));
    }

    #[test]
    fn settle_waits_until_it_is_quiet() {
        let mut digest = Digest::default();
        for time in [0, 1, 2, 3] {
            digest.settle(2, Key::default(), seen(time), time);
            assert!(digest.tick(None, time).is_none());
        }
        assert!(digest.tick(None, 4).is_none());
        let (at, _, several) = digest.tick(None, 5).unwrap();
        assert_eq!((at, several.count, several.last.time), (5, 4, 3));
    }

    #[test]
    fn what_never_settles_fires_at_last() {
        let mut digest = Digest::default();
        for time in 1000..=1119 {
            digest.settle(2, Key::default(), seen(time), time);
            assert!(digest.tick(None, time).is_none(), "{time}");
        }
        assert_eq!(digest.due(), Some(1120));
        digest.settle(2, Key::default(), seen(1120), 1120);
        let (at, _, several) = digest.tick(None, 1120).unwrap();
        assert_eq!(
            (at, several.count),
            (1120, 121),
            "what comes at its end belongs to it"
        );
        assert_eq!(several.kept.len(), SETTLED_KEPT_MAX);
        digest.settle(2, Key::default(), seen(1121), 1121);
        assert_eq!(digest.due(), Some(1123), "it begins anew");
    }
}
