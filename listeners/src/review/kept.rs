//! What is kept within a bound, and which numbers were seen.

use std::collections::{BTreeMap, BTreeSet};

/// A map of which the entries that were put longest ago go when it becomes too
/// large.
#[derive(Clone, Debug)]
pub(super) struct Kept<K, V> {
    entries: BTreeMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    /// One more at each put.
    clock: u64,
    bytes: usize,
    bytes_max: usize,
    weigh: fn(&K, &V) -> usize,
}

impl<K: Ord + Clone, V> Kept<K, V> {
    /// At most about `bytes_max`, as `weigh` weighs an entry.
    pub(super) const fn new(bytes_max: usize, weigh: fn(&K, &V) -> usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            clock: 0,
            bytes: 0,
            bytes_max,
            weigh,
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Puts an entry, over an old one if need be, and says which others went.
    pub(super) fn put(&mut self, key: K, value: V) -> Vec<K> {
        self.remove(&key);
        self.bytes += (self.weigh)(&key, &value);
        self.clock += 1;
        self.order.insert(self.clock, key.clone());
        self.entries.insert(key, (self.clock, value));
        let mut gone = Vec::new();
        while self.bytes > self.bytes_max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.forget(&oldest);
            gone.push(oldest);
        }
        gone
    }

    pub(super) fn remove(&mut self, key: &K) -> bool {
        let removed = self.forget(key);
        if let Some(put_at) = removed {
            self.order.remove(&put_at);
        }
        removed.is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, value))| (key, value))
    }

    /// The entries from this key on.
    pub(super) fn iter_from(&self, from: K) -> impl Iterator<Item = (&K, &V)> {
        self.entries.range(from..).map(|(key, (_, value))| (key, value))
    }

    /// The entries, the one that was put longest ago first, leaving none.
    pub(super) fn drain(&mut self) -> Vec<V> {
        self.bytes = 0;
        let order = std::mem::take(&mut self.order);
        let mut entries = std::mem::take(&mut self.entries);
        order.values().filter_map(|key| Some(entries.remove(key)?.1)).collect()
    }

    fn forget(&mut self, key: &K) -> Option<u64> {
        let (put_at, value) = self.entries.remove(key)?;
        self.bytes -= (self.weigh)(key, &value);
        Some(put_at)
    }
}

/// A set of numbers that mostly follow each other: changes that were submitted.
///
/// Kept as ranges. When there are too many, the lowest two become one, with the
/// numbers between them: a change of so long ago is not submitted any more, or
/// gets another number when it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    ranges: BTreeMap<i64, i64>,
    /// Where ranges begin or began that are not in the database as they are.
    changed: BTreeSet<i64>,
}

/// How many ranges are kept: about 100 MB at most.
const RANGES_MAX: usize = 1 << 20;

impl Numbers {
    pub(super) fn contains(&self, number: i64) -> bool {
        let before = self.ranges.range(..=number).next_back();
        before.is_some_and(|(_, last)| number <= *last)
    }

    pub(super) fn insert(&mut self, number: i64) {
        if self.contains(number) {
            return;
        }
        let (mut first, mut last) = (number, number);
        let before = self.ranges.range(..number).next_back();
        if let Some((&start, &end)) = before
            && end.checked_add(1) == Some(number)
        {
            first = start;
        }
        if let Some(next) = number.checked_add(1)
            && let Some(end) = self.take(next)
        {
            last = end;
        }
        self.put(first, last);
        if self.ranges.len() > RANGES_MAX {
            self.join_lowest();
        }
    }

    /// A range from the database, where it stays as it is.
    pub(super) fn load(&mut self, first: i64, last: i64) {
        self.ranges.insert(first, last);
    }

    /// What differs from the database since the last call: where a range begins
    /// or began, and its last number if it is still there.
    pub(super) fn take_changes(&mut self) -> Vec<(i64, Option<i64>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|at| (at, self.ranges.get(&at).copied())).collect()
    }

    /// Every range, as if none were in the database.
    pub(super) fn change_all(&mut self) {
        self.changed = self.ranges.keys().copied().collect();
    }

    fn put(&mut self, first: i64, last: i64) {
        self.ranges.insert(first, last);
        self.changed.insert(first);
    }

    fn take(&mut self, first: i64) -> Option<i64> {
        let last = self.ranges.remove(&first)?;
        self.changed.insert(first);
        Some(last)
    }

    fn join_lowest(&mut self) {
        let lowest: Vec<i64> = self.ranges.keys().take(2).copied().collect();
        if let [first, second] = lowest[..]
            && let Some(last) = self.take(second)
        {
            self.put(first, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_longest_ago_goes() {
        let mut kept = Kept::new(10, |_: &u32, text: &String| text.len());
        assert_eq!(kept.put(1, "aaaa".to_owned()), [0_u32; 0]);
        assert_eq!(kept.put(2, "bbbb".to_owned()), [0_u32; 0]);
        assert_eq!(kept.put(1, "cccc".to_owned()), [0_u32; 0]);
        assert_eq!(kept.put(3, "dddd".to_owned()), [2_u32]);
        assert_eq!(kept.get(&1).map(String::as_str), Some("cccc"));
        assert!(kept.remove(&1) && !kept.remove(&1));
        assert_eq!(kept.put(4, "x".repeat(11)), [3_u32, 4]);
        assert_eq!((kept.iter().count(), kept.bytes), (0, 0));
    }

    #[test]
    fn numbers_are_ranges() {
        let mut numbers = Numbers::default();
        for number in [5, 3, 9, 4, i64::MAX, i64::MIN, 8, 4] {
            numbers.insert(number);
        }
        let ranges = [(i64::MIN, i64::MIN), (3, 5), (8, 9), (i64::MAX, i64::MAX)];
        assert_eq!(numbers.ranges, BTreeMap::from(ranges));
        for (number, is_in) in [(2, false), (3, true), (5, true), (6, false), (9, true)] {
            assert_eq!(numbers.contains(number), is_in, "{number}");
        }
        let mut copy = BTreeMap::new();
        let mut write = |changes: Vec<(i64, Option<i64>)>| {
            for (first, last) in changes {
                copy.remove(&first);
                copy.extend(last.map(|last| (first, last)));
            }
            copy.clone()
        };
        assert_eq!(write(numbers.take_changes()), numbers.ranges);
        numbers.insert(6);
        numbers.insert(7);
        numbers.join_lowest();
        assert_eq!(write(numbers.take_changes()), numbers.ranges);
        assert_eq!(numbers.ranges, BTreeMap::from([(i64::MIN, 9), (i64::MAX, i64::MAX)]));
        assert_eq!(numbers.take_changes(), []);
    }
}
