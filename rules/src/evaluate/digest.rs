//! `Digest`: all that came in a time, together; and `settle`: once when it is over.

use super::event::Seen;
use super::keyed::{Key, Keyed};
use super::several::Several;
use serde::{Deserialize, Serialize};

/// What was collected, for each key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Digest {
    open: Keyed<Several>,
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

    /// An event; the time starts anew with each.
    pub(super) fn settle(&mut self, quiet: i64, key: Key, seen: Seen, now: i64) {
        let several = match self.open.remove(&key) {
            Some(mut several) => {
                several.push(seen, SETTLED_KEPT_MAX);
                several
            }
            None => Several::new(seen),
        };
        let weight = several.weight;
        self.open.put(key, several, weight, Some(now + quiet));
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

    pub(super) fn set_back(&mut self, by: i64) {
        self.open.set_back(by, |it| it.set_back(by));
    }

    pub(super) fn take_evicted(&mut self) -> u64 {
        self.open.take_evicted()
    }
}

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
}
