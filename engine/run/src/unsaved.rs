//! What the ledger has and the store has not.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use tripline_api::{Change, Cursor, Kept, Key, ListenerId};

/// How many gaps wait for a store that fails. They are rare; when there are
/// more, the oldest are not recorded.
const GAPS_MAX: usize = 20_000;

/// How many logs wait to be forgotten while the store fails. When there are
/// more, the store keeps the rows, and the next start finds out that the logs
/// are gone.
const FORGOTTEN_MAX: usize = 100_000;

/// Changes not committed yet: bounded by the number of listeners, sources and
/// logs, because of each only the newest cursor and state matter, by what listeners
/// have to remember, and by the constants above.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    gaps: VecDeque<Change>,
    rows: BTreeMap<Key, Row>,
    forgotten: usize,
    states: BTreeMap<Key, Change>,
    /// What was set aside. A lane stops before it has too many of them.
    letters: Vec<Change>,
    /// What listeners remember; `None` is to be forgotten.
    kept: BTreeMap<(ListenerId, String), Option<Vec<u8>>>,
}

/// What becomes of a row.
#[derive(Debug)]
enum Row {
    Settled { cursor: Cursor, entries: u64, last_entry: Option<i64> },
    Forgotten,
}

impl Unsaved {
    /// Adds changes, which come behind those that are here.
    pub(crate) fn add(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.add_one(change);
        }
    }

    fn add_one(&mut self, change: Change) {
        match change {
            Change::Settled { key, cursor, entries, last_entry } => {
                self.settled(key, cursor, entries, last_entry);
            }
            Change::State { ref key, .. } => _ = self.states.insert(key.clone(), change),
            Change::Forget { key } => {
                if self.forgotten < FORGOTTEN_MAX {
                    self.take(&key);
                    self.rows.insert(key, Row::Forgotten);
                    self.forgotten += 1;
                }
            }
            Change::Keep { listener, kept } => {
                for Kept { name, value } in kept {
                    self.kept.insert((listener.clone(), name), value);
                }
            }
            Change::SetAside(_) | Change::Unfile { .. } => self.letters.push(change),
            // A gap moves the cursor: what was settled before it goes first.
            Change::Gap { ref key, .. } | Change::SetByHand { ref key, .. } => {
                let settled = self.take(key);
                self.gaps.extend(settled);
                if self.gaps.len() >= GAPS_MAX {
                    self.gaps.pop_front();
                }
                self.gaps.push_back(change);
            }
        }
    }

    fn settled(
        &mut self,
        key: Key,
        cursor: Cursor,
        mut entries: u64,
        mut last_entry: Option<i64>,
    ) {
        match self.rows.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Row::Settled { cursor, entries, last_entry });
            }
            Entry::Occupied(mut entry) => {
                match entry.get() {
                    Row::Settled { entries: more, last_entry: before, .. } => {
                        entries += more;
                        last_entry = last_entry.or(*before);
                    }
                    // A log that came back: the row stays.
                    Row::Forgotten => self.forgotten -= 1,
                }
                entry.insert(Row::Settled { cursor, entries, last_entry });
            }
        }
    }

    fn take(&mut self, key: &Key) -> Option<Change> {
        let (key, row) = self.rows.remove_entry(key)?;
        self.forgotten -= usize::from(matches!(row, Row::Forgotten));
        Some(row.into_change(key))
    }

    pub(crate) fn len(&self) -> usize {
        self.gaps.len()
            + self.rows.len()
            + self.states.len()
            + self.letters.len()
            + self.kept.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it, as the store is to take it.
    pub(crate) fn in_order(self) -> Vec<Change> {
        let mut changes = self.letters;
        changes.reserve_exact(self.gaps.len() + self.rows.len() + self.states.len());
        changes.extend(self.gaps);
        changes.extend(self.rows.into_iter().map(|(key, row)| row.into_change(key)));
        changes.extend(self.states.into_values());
        changes.extend(self.kept.into_iter().map(|((listener, name), value)| {
            Change::Keep { listener, kept: vec![Kept { name, value }] }
        }));
        changes
    }
}

impl Row {
    fn into_change(self, key: Key) -> Change {
        match self {
            Self::Settled { cursor, entries, last_entry } => {
                Change::Settled { key, cursor, entries, last_entry }
            }
            Self::Forgotten => Change::Forget { key },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use tripline_api::{Gap, GapKind, Place, SourceId};

    fn key(listener: &str) -> Key {
        Key {
            source: SourceId::new("p4").unwrap(),
            listener: ListenerId::new(listener).unwrap(),
            log: None,
        }
    }

    fn settled(listener: &str, offset: u64) -> Change {
        let place = Place { offset, ..Place::start_of(0, 1) };
        Change::Settled {
            key: key(listener),
            cursor: Cursor::unproved(place),
            entries: 1,
            last_entry: None,
        }
    }

    fn gap() -> Change {
        let gap = Gap {
            source: key("a").source,
            log: None,
            kind: GapKind::Missing,
            from: Place::start_of(0, 1),
            to: Place::start_of(0, 3),
            proof: None,
            missing: Some((2, 2)),
            bytes: None,
            why: String::new(),
            repair: String::new(),
        };
        Change::Gap { key: key("a"), gap }
    }

    #[test]
    fn only_the_newest_cursor_is_kept_and_entries_add_up() {
        let mut unsaved = Unsaved::default();
        for offset in 1..=100 {
            unsaved.add(vec![settled("a", offset), settled("b", offset)]);
        }
        assert_eq!(unsaved.len(), 2);
        for change in unsaved.in_order() {
            let Change::Settled { cursor, entries, .. } = change else { panic!() };
            assert_eq!((cursor.place.offset, entries), (100, 100));
        }
    }

    #[test]
    fn a_gap_comes_behind_what_was_settled_before_it() {
        let mut unsaved = Unsaved::default();
        unsaved.add(vec![settled("a", 5), gap(), settled("a", 9)]);
        // Also when it was put back after a commit that failed.
        let mut again = Unsaved::default();
        again.add(unsaved.in_order());
        let order: Vec<_> = again
            .in_order()
            .iter()
            .map(|change| match change {
                Change::Settled { cursor, .. } => cursor.place.offset,
                _ => 0,
            })
            .collect();
        assert_eq!(order, [5, 0, 9]);
    }

    #[test]
    fn what_is_forgotten_was_the_last_of_it_unless_it_comes_back() {
        let log = Key { log: Some(Path::new("/var/log/a").into()), ..key("a") };
        let settled = |offset| Change::Settled {
            key: log.clone(),
            cursor: Cursor::unproved(Place { offset, ..Place::default() }),
            entries: 1,
            last_entry: None,
        };
        let forget = Change::Forget { key: log.clone() };
        let mut unsaved = Unsaved::default();
        unsaved.add(vec![settled(1), forget.clone()]);
        assert_eq!(unsaved.in_order(), std::slice::from_ref(&forget));
        let mut unsaved = Unsaved::default();
        unsaved.add(vec![settled(1), forget, settled(2)]);
        assert_eq!(unsaved.in_order(), [settled(2)]);
    }

    #[test]
    fn gaps_are_bounded() {
        let mut unsaved = Unsaved::default();
        unsaved.add((0..=GAPS_MAX).map(|_| gap()).collect());
        assert_eq!(unsaved.len(), GAPS_MAX);
    }
}
