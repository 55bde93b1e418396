//! What a rule keeps for each key, within bounds.

use super::written::checked;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// The values of the fields by which a rule counts apart, in the order of `by`.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Key(pub Vec<String>);

/// Something for each key. Of more than [`KEYS_MAX`], or of what takes more than
/// [`KEYED_BYTES_MAX`], the keys that were used longest ago are forgotten.
#[derive(Clone, Debug)]
pub(super) struct Keyed<T> {
    slots: BTreeMap<Key, Slot<T>>,
    /// By last use.
    order: BTreeMap<u64, Key>,
    /// When something is to happen to a key.
    due: BTreeSet<(i64, Key)>,
    uses: u64,
    bytes: usize,
    /// How many were forgotten since it was asked last.
    evicted: u64,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    value: T,
    used: u64,
    due: Option<i64>,
    bytes: usize,
}

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self {
            slots: BTreeMap::new(),
            order: BTreeMap::new(),
            due: BTreeSet::new(),
            uses: 0,
            bytes: 0,
            evicted: 0,
        }
    }
}

impl<T> Keyed<T> {
    pub(super) fn get(&self, key: &Key) -> Option<&T> {
        self.slots.get(key).map(|slot| &slot.value)
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<T> {
        let slot = self.slots.remove(key)?;
        self.order.remove(&slot.used);
        if let Some(due) = slot.due {
            self.due.remove(&(due, key.clone()));
        }
        self.bytes -= slot.bytes;
        Some(slot.value)
    }

    /// Keeps a value for the key, which is the one that was used last now. It weighs
    /// `bytes`, and something is to happen to it at `due`.
    pub(super) fn put(&mut self, key: Key, value: T, bytes: usize, due: Option<i64>) {
        self.remove(&key);
        let used = self.uses;
        self.uses += 1;
        let bytes = bytes.min(KEYED_BYTES_MAX)
            + key.0.iter().map(String::len).sum::<usize>()
            + SLOT_BYTES;
        self.bytes += bytes;
        self.order.insert(used, key.clone());
        if let Some(due) = due {
            self.due.insert((due, key.clone()));
        }
        self.slots.insert(key, Slot { value, used, due, bytes });
        while self.slots.len() > KEYS_MAX
            || self.bytes > KEYED_BYTES_MAX && self.slots.len() > 1
        {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            let oldest = oldest.clone();
            self.remove(&oldest);
            self.evicted += 1;
        }
    }

    /// The first time that something is to happen.
    pub(super) fn due(&self) -> Option<i64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// When something is to happen to this key.
    pub(super) fn due_of(&self, key: &Key) -> Option<i64> {
        self.slots.get(key)?.due
    }

    /// Takes out the first key to which something was to happen by then.
    pub(super) fn take_due(&mut self, now: i64) -> Option<(i64, Key, T)> {
        let (due, key) = self.due.first().filter(|(due, _)| *due <= now)?.clone();
        let value = self.remove(&key)?;
        Some((due, key, value))
    }

    /// The same of this key, or of any.
    pub(super) fn take_due_of(
        &mut self,
        only: Option<&Key>,
        now: i64,
    ) -> Option<(i64, Key, T)> {
        let Some(key) = only else { return self.take_due(now) };
        let due = self.due_of(key).filter(|due| *due <= now)?;
        Some((due, key.clone(), self.remove(key)?))
    }

    /// What should have happened more than a step before then, and happens again after
    /// each step, happens once, at the last of them.
    pub(super) fn skip(&mut self, step: i64, until: i64) {
        let step = step.max(1);
        while let Some((at, key)) = self.due.first()
            && at.saturating_add(step) <= until
        {
            let (at, key) = (*at, key.clone());
            let last = until - (until - at) % step;
            self.due.remove(&(at, key.clone()));
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.due = Some(last);
                self.due.insert((last, key));
            }
        }
    }

    /// How many keys were forgotten since the last call.
    pub(super) fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// Moves all times by so much.
    pub(super) fn postpone(&mut self, by: i64) {
        let due = std::mem::take(&mut self.due);
        for (at, key) in due {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.due = Some(at.saturating_add(by));
            }
            self.due.insert((at.saturating_add(by), key));
        }
    }

    /// Moves all times by so much, also those of the values.
    pub(super) fn shift(&mut self, by: i64, of: impl FnMut(&mut T)) {
        self.postpone(by);
        self.slots.values_mut().map(|slot| &mut slot.value).for_each(of);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

/// The most keys of one rule.
pub const KEYS_MAX: usize = 100_000;
/// The most memory of what one rule keeps for its keys, in bytes, roughly.
pub const KEYED_BYTES_MAX: usize = 64 << 20;
/// What a key takes besides its texts and its value.
const SLOT_BYTES: usize = 200;

impl<T: Serialize> Serialize for Keyed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.order.values().filter_map(|key| {
            let slot = self.slots.get(key)?;
            Some((key, slot.due, slot.bytes, &slot.value))
        }))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Keyed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = Vec::<(Key, Option<i64>, usize, T)>::deserialize(deserializer)?;
        let mut keyed = Self::default();
        for (key, due, bytes, value) in rows {
            let due = due.map(checked).transpose()?;
            let own = SLOT_BYTES + key.0.iter().map(String::len).sum::<usize>();
            keyed.put(key, value, bytes.saturating_sub(own), due);
        }
        keyed.evicted = 0;
        Ok(keyed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key(vec![text.to_owned()])
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut keyed = Keyed::default();
        for number in 0..KEYS_MAX + 3 {
            keyed.put(key(&number.to_string()), (), 0, None);
        }
        assert_eq!((keyed.len(), keyed.take_evicted()), (KEYS_MAX, 3));
        assert!(keyed.get(&key("2")).is_none() && keyed.get(&key("3")).is_some());
        keyed.put(key("heavy"), (), KEYED_BYTES_MAX, None);
        assert_eq!(keyed.len(), 1, "the newest stays, whatever it weighs");
    }

    #[test]
    fn what_is_due_comes_in_order() {
        let mut keyed = Keyed::default();
        keyed.put(key("b"), 2, 0, Some(20));
        keyed.put(key("a"), 1, 0, Some(20));
        keyed.put(key("c"), 3, 0, Some(10));
        keyed.put(key("c"), 4, 0, Some(30));
        assert_eq!(keyed.due(), Some(20));
        assert_eq!(keyed.take_due(19), None);
        assert_eq!(keyed.take_due(20), Some((20, key("a"), 1)));
        keyed.postpone(5);
        assert_eq!(keyed.take_due(24), None);
        let text = serde_json::to_string(&keyed).unwrap();
        let mut again: Keyed<i32> = serde_json::from_str(&text).unwrap();
        assert_eq!(again.take_due(25), Some((25, key("b"), 2)));
        assert_eq!(again.take_due(99), Some((35, key("c"), 4)));
        assert_eq!(again.take_due(99), None);
    }
}
