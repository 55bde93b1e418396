//! What a rule keeps for each key, within bounds.

use super::written;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// The values of the fields by which a rule counts apart, in the order of `by`.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Key(pub Vec<String>);

/// Something for each key. Of more than [`KEYS_MAX`], or of what takes more than
/// [`KEYED_BYTES_MAX`], the keys that were used longest ago are forgotten.
///
/// Each key is written by itself (see `by_key.rs`), and what is written as this is only how
/// often keys were used.
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
    /// Keys that are others than they were written last, or are no more: whether they were
    /// written. One that is here and not among these is as it was written. Of those that
    /// are gone only such are here that were written: there are no more of them than fit.
    touched: BTreeMap<Key, bool>,
}

/// What is kept for a key.
#[derive(Clone, Debug)]
pub(super) struct Slot<T> {
    pub(super) value: T,
    /// Counts up with each use of any key: the smallest is forgotten first.
    pub(super) used: u64,
    /// When something is to happen to it.
    pub(super) due: Option<i64>,
    /// About how many bytes of memory it takes.
    pub(super) bytes: usize,
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
            touched: BTreeMap::new(),
        }
    }
}

impl<T> Keyed<T> {
    pub(super) fn get(&self, key: &Key) -> Option<&T> {
        self.slots.get(key).map(|slot| &slot.value)
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<T> {
        let (own, slot) = self.slots.remove_entry(key)?;
        if let (Some(due), Some(own)) = (slot.due, self.order.remove(&slot.used)) {
            self.due.remove(&(due, own));
        }
        self.bytes -= slot.bytes;
        match self.touched.get(key) {
            None => _ = self.touched.insert(own, true),
            // Nobody has to be told of what was never written.
            Some(false) => _ = self.touched.remove(key),
            Some(true) => {}
        }
        Some(slot.value)
    }

    /// Keeps a value for the key, which is the one that was used last now. It weighs
    /// `bytes`, and something is to happen to it at `due`.
    pub(super) fn put(&mut self, key: Key, value: T, bytes: usize, due: Option<i64>) {
        self.remove(&key);
        let used = self.uses;
        self.uses += 1;
        if !self.touched.contains_key(&key) {
            self.touched.insert(key.clone(), false);
        }
        let bytes = bytes.min(KEYED_BYTES_MAX) + own_bytes(&key);
        self.insert(key, Slot { value, used, due, bytes });
        self.evict();
    }

    fn insert(&mut self, key: Key, slot: Slot<T>) -> Option<Slot<T>> {
        self.bytes += slot.bytes;
        self.order.insert(slot.used, key.clone());
        if let Some(due) = slot.due {
            self.due.insert((due, key.clone()));
        }
        self.slots.insert(key, slot)
    }

    /// Forgets what does not fit.
    fn evict(&mut self) {
        while self.slots.len() > keys_max()
            || self.bytes > KEYED_BYTES_MAX && self.slots.len() > 1
        {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            let oldest = oldest.clone();
            self.remove(&oldest);
            self.evicted += 1;
        }
    }

    /// Goes on with what was written of each key. Of what does not fit the oldest is
    /// forgotten.
    ///
    /// # Errors
    ///
    /// When that was never written so.
    pub(super) fn load(&mut self, mut rows: Vec<(Key, Slot<T>)>) -> Result<(), String> {
        rows.sort_unstable_by_key(|(_, slot)| slot.used);
        for (key, mut slot) in rows {
            let (own, used) = (own_bytes(&key), slot.used);
            slot.bytes = slot.bytes.saturating_sub(own).min(KEYED_BYTES_MAX) + own;
            if self.order.contains_key(&used) || self.insert(key, slot).is_some() {
                return Err(
                    "a key was used twice at a time, or is there twice".to_owned()
                );
            }
            self.uses = self.uses.max(used + 1);
        }
        self.evict();
        self.evicted = 0;
        Ok(())
    }

    /// What is kept for a key, with all that goes with it.
    pub(super) fn slot(&self, key: &Key) -> Option<&Slot<T>> {
        self.slots.get(key)
    }

    /// All keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.slots.keys()
    }

    /// Those that are others than they were written, and those that are to be forgotten.
    pub(super) fn touched(&self) -> impl Iterator<Item = &Key> {
        self.touched.keys()
    }

    /// All is written as it is.
    pub(super) fn is_written(&mut self) {
        self.touched.clear();
    }

    /// A key that is here is another than it was.
    fn touch(touched: &mut BTreeMap<Key, bool>, key: &Key) {
        if !touched.contains_key(key) {
            touched.insert(key.clone(), true);
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
                Self::touch(&mut self.touched, &key);
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
                Self::touch(&mut self.touched, &key);
                slot.due = Some(at.saturating_add(by));
            }
            self.due.insert((at.saturating_add(by), key));
        }
    }

    /// Moves all times by so much, also those of the values.
    pub(super) fn shift(&mut self, by: i64, mut of: impl FnMut(&mut T)) {
        self.postpone(by);
        for (key, slot) in &mut self.slots {
            Self::touch(&mut self.touched, key);
            of(&mut slot.value);
        }
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

/// What a key takes besides its value.
fn own_bytes(key: &Key) -> usize {
    SLOT_BYTES + key.0.iter().map(String::len).sum::<usize>()
}

#[cfg(not(test))]
const fn keys_max() -> usize {
    KEYS_MAX
}

/// Tests may have room for fewer.
#[cfg(test)]
fn keys_max() -> usize {
    tests::ROOM.get()
}

impl<T> Serialize for Keyed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.uses)
    }
}

impl<'de, T> Deserialize<'de> for Keyed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { uses: written::count(deserializer)?, ..Self::default() })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        pub(super) static ROOM: Cell<usize> = const { Cell::new(KEYS_MAX) };
    }

    /// As long as this is kept, no more keys than these fit.
    pub(crate) struct Room;

    impl Room {
        pub(crate) fn of(keys: usize) -> Self {
            ROOM.set(keys);
            Self
        }
    }

    impl Drop for Room {
        fn drop(&mut self) {
            ROOM.set(KEYS_MAX);
        }
    }

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
        let mut again = read_again(&keyed).unwrap();
        assert_eq!(again.take_due(25), Some((25, key("b"), 2)));
        assert_eq!(again.take_due(99), Some((35, key("c"), 4)));
        assert_eq!(again.take_due(99), None);
    }

    /// What is written of it, read in another order.
    fn read_again<T: Clone>(keyed: &Keyed<T>) -> Result<Keyed<T>, String> {
        let text = serde_json::to_string(keyed).unwrap();
        let mut again: Keyed<T> = serde_json::from_str(&text).unwrap();
        let rows = keyed.slots.iter().map(|(key, slot)| (key.clone(), slot.clone()));
        again.load(rows.rev().collect())?;
        Ok(again)
    }

    /// What is to be written: keys that are there, and such that are not.
    fn take_touched<T>(keyed: &mut Keyed<T>) -> [Vec<Key>; 2] {
        let touched: Vec<Key> = keyed.touched().cloned().collect();
        keyed.is_written();
        touched.into_iter().partition(|key| keyed.get(key).is_some()).into()
    }

    fn keys(names: &str) -> Vec<Key> {
        names.chars().map(|name| key(&name.to_string())).collect()
    }

    #[test]
    fn what_was_touched_is_known() {
        let mut keyed = Keyed::default();
        for (name, due) in [("a", Some(10)), ("b", Some(20)), ("c", None)] {
            keyed.put(key(name), 1, 0, due);
        }
        keyed.remove(&key("c"));
        assert_eq!(take_touched(&mut keyed), [keys("ab"), keys("")], "`c` came and went");
        assert_eq!(take_touched(&mut keyed), [keys(""), keys("")]);
        keyed.put(key("c"), 1, 0, None);
        keyed.remove(&key("b"));
        keyed.take_due(10);
        keyed.put(key("a"), 1, 0, Some(10));
        assert_eq!(take_touched(&mut keyed), [keys("ac"), keys("b")]);
        keyed.skip(5, 26);
        assert_eq!(
            (keyed.due(), take_touched(&mut keyed)),
            (Some(25), [keys("a"), keys("")])
        );
        keyed.postpone(5);
        assert_eq!(take_touched(&mut keyed), [keys("a"), keys("")]);
        keyed.shift(5, |it| *it += 1);
        assert_eq!(take_touched(&mut keyed), [keys("ac"), keys("")]);
        keyed.put(key("a"), 1, 0, None);
        keyed.remove(&key("a"));
        keyed.remove(&key("a"));
        keyed.put(key("a"), 1, 0, None);
        keyed.remove(&key("a"));
        assert_eq!(take_touched(&mut keyed), [keys(""), keys("a")]);
    }

    #[test]
    fn what_is_remembered_of_what_was_touched_is_bounded() {
        let _room = Room::of(3);
        let mut keyed = Keyed::default();
        for number in 0..100 {
            keyed.put(key(&number.to_string()), (), 0, None);
            assert!(keyed.touched.len() <= 3);
        }
        keyed.is_written();
        for number in 100..200 {
            keyed.put(key(&number.to_string()), (), 0, None);
            assert!(keyed.touched.len() <= 6);
        }
        let [there, gone] = take_touched(&mut keyed);
        assert_eq!((there.len(), gone), (3, ["97", "98", "99"].map(key).to_vec()));
    }

    #[test]
    fn the_order_of_use_is_read_again() {
        let mut keyed = Keyed::default();
        "abcde".chars().for_each(|it| keyed.put(key(&it.to_string()), it, 7, None));
        for name in ["b", "e"] {
            let value = keyed.remove(&key(name)).unwrap();
            keyed.put(key(name), value, 7, None);
        }
        keyed.remove(&key("e"));
        let _room = Room::of(3);
        let mut again = read_again(&keyed).unwrap();
        assert_eq!((again.uses, again.take_evicted()), (7, 0));
        assert_eq!(take_touched(&mut again), [keys(""), keys("a")], "it does not fit");
        assert_eq!(again.bytes, 3 * (SLOT_BYTES + 1 + 7));
        again.put(key("f"), 'f', 0, None);
        assert!(again.get(&key("c")).is_none() && again.get(&key("b")).is_some());
    }

    #[test]
    fn what_was_never_written_is_refused() {
        let mut keyed = Keyed::default();
        keyed.put(key("a"), 1, 0, None);
        let slot = keyed.slot(&key("a")).unwrap().clone();
        let mut other = Keyed::default();
        let rows = ["a", "b"].map(|name| (key(name), slot.clone()));
        assert!(other.load(rows.to_vec()).is_err(), "two at a time");
        let rows = [0, 1].map(|used| (key("a"), Slot { used, ..slot.clone() }));
        assert!(Keyed::default().load(rows.to_vec()).is_err(), "twice the same");
        let heavy = Slot { bytes: usize::MAX, ..slot };
        let mut keyed = Keyed::default();
        keyed.load(vec![(key("a"), heavy)]).unwrap();
        assert_eq!(keyed.bytes, KEYED_BYTES_MAX + SLOT_BYTES + 1);
    }
}
