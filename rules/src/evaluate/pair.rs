//! `Pair`: one event, and then another, or not.

use super::event::Seen;
use super::keyed::{Key, Keyed};
use serde::{Deserialize, Serialize};

/// What began and did not end, for each key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Pair {
    pub(super) open: Keyed<Seen>,
}

impl Pair {
    /// The first event; further ones with the same key are ignored.
    pub(super) fn begin(&mut self, within: i64, key: Key, start: Seen, now: i64) {
        if self.open.get(&key).is_none() {
            let weight = start.weight();
            self.open.put(key, start, weight, Some(now + within));
        }
    }

    /// The second event: the first one, if it is in time.
    ///
    /// In time is what happened at most `within` after the first, the end included. What
    /// happened before it, and what is too late, ends nothing.
    pub(super) fn end(&mut self, within: i64, key: &Key, end: &Seen) -> Option<Seen> {
        let start = self.open.get(key)?;
        let took = end.time - start.time;
        if took < 0 || took > within {
            return None;
        }
        self.open.remove(key)
    }

    /// What did not come, with its key and when it should have come at last.
    pub(super) fn tick(
        &mut self,
        only: Option<&Key>,
        now: i64,
    ) -> Option<(i64, Key, Seen)> {
        self.open.take_due_of(only, now)
    }

    /// Until when the second event of a key is waited for.
    pub(super) fn due_of(&self, key: &Key) -> Option<i64> {
        self.open.due_of(key)
    }

    pub(super) fn due(&self) -> Option<i64> {
        self.open.due()
    }

    /// Everything happened so much later.
    pub(super) fn shift(&mut self, by: i64) {
        self.open.shift(by, |start| start.time += by);
    }

    pub(super) fn take_evicted(&mut self) -> u64 {
        self.open.take_evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::test_support::seen;

    #[test]
    fn the_second_ends_the_first() {
        let mut pair = Pair::default();
        let key = Key::default();
        pair.begin(60, key.clone(), seen(0), 0);
        pair.begin(60, key.clone(), seen(10), 10);
        assert_eq!(pair.end(60, &key, &seen(60)).unwrap().time, 0, "the end is in time");
        assert!(pair.end(60, &key, &seen(60)).is_none());
        assert!(pair.tick(None, 1000).is_none());
    }

    #[test]
    fn late_and_early_ends_are_none() {
        let mut pair = Pair::default();
        let key = Key::default();
        pair.begin(60, key.clone(), seen(100), 100);
        assert!(pair.end(60, &key, &seen(99)).is_none());
        assert!(pair.end(60, &key, &seen(161)).is_none());
        assert!(pair.end(60, &Key(vec!["other".into()]), &seen(110)).is_none());
        assert!(pair.tick(None, 159).is_none());
        assert_eq!(pair.tick(None, 160).unwrap().0, 160);
        assert!(pair.tick(None, 160).is_none());
    }
}
