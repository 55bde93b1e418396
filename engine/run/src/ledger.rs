//! The one owner of the store.

use crate::events::{Event, Events};
use crate::retry::Backoff;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::{Change, Key, Store};
use tripline_follow::Waker;

/// How often the ledger looks after what nobody else does.
const TICK: Duration = Duration::from_secs(5);
/// How many changes go into one commit.
const COMMIT_CHANGES_MAX: usize = 1000;
/// How long the last commit is tried when the engine stops.
const LAST_COMMIT_MAX: Duration = Duration::from_secs(10);

/// Takes changes from the lanes and commits them, many at a time.
///
/// A commit takes as long as a sync of the disk; whatever arrives meanwhile
/// goes into the next one. When the store fails the lanes are not held up:
/// what they settle is coalesced here, the newest cursor of each, until the
/// store works again.
pub(crate) struct Ledger {
    pub(crate) store: Box<dyn Store>,
    pub(crate) changes: Receiver<Change>,
    pub(crate) events: Arc<dyn Events>,
    pub(crate) waker: Waker,
}

impl Ledger {
    /// Runs until all lanes have gone and everything is committed. Returns the
    /// store, and what could not be saved.
    pub(crate) fn run(mut self) -> (Box<dyn Store>, Option<String>) {
        let mut pending = Pending::default();
        let mut backoff = Backoff::new(u64::from(std::process::id()));
        let mut not_before: Option<Instant> = None;
        let mut next_tick = Instant::now() + TICK;
        loop {
            let until = not_before.map_or(next_tick, |time| time.min(next_tick));
            let gone = match self.changes.recv_deadline(until) {
                Ok(change) => {
                    pending.add(change);
                    self.take_waiting(&mut pending);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if gone {
                let unsaved = self.commit_the_rest(&mut pending, backoff);
                return (self.store, unsaved);
            }
            if Instant::now() >= next_tick {
                self.waker.watch_again();
                next_tick = Instant::now() + TICK;
            }
            if not_before.is_none_or(|time| Instant::now() >= time) {
                not_before = self.commit(&mut pending, &mut backoff);
            }
        }
    }

    fn take_waiting(&self, pending: &mut Pending) {
        while pending.len() < COMMIT_CHANGES_MAX
            && let Ok(change) = self.changes.try_recv()
        {
            pending.add(change);
        }
    }

    /// Commits what there is; on failure returns when to try again.
    fn commit(
        &mut self,
        pending: &mut Pending,
        backoff: &mut Backoff,
    ) -> Option<Instant> {
        if pending.len() == 0 {
            return None;
        }
        match self.store.commit(&pending.in_order()) {
            Ok(()) => {
                pending.clear();
                if backoff.succeeded() {
                    self.events.event(&Event::SavedAgain);
                }
                None
            }
            Err(error) => {
                let after = backoff.pause();
                let why = error.to_string();
                self.events.event(&Event::NotSaved { why: &why, after });
                Some(Instant::now() + after)
            }
        }
    }

    fn commit_the_rest(
        &mut self,
        pending: &mut Pending,
        mut backoff: Backoff,
    ) -> Option<String> {
        let deadline = Instant::now() + LAST_COMMIT_MAX;
        let mut unsaved = None;
        while pending.len() > 0 {
            match self.store.commit(&pending.in_order()) {
                Ok(()) => {
                    pending.clear();
                    unsaved = None;
                }
                Err(error) if Instant::now() < deadline => {
                    unsaved = Some(error.to_string());
                    let pause = backoff.pause();
                    std::thread::sleep(pause.min(deadline - Instant::now()));
                }
                Err(error) => return Some(error.to_string()),
            }
        }
        unsaved
    }
}

/// Changes not committed yet: bounded by the number of listeners and sources,
/// because of each only the newest cursor and state matter, and by the gaps,
/// which are rare and all kept.
#[derive(Default)]
struct Pending {
    gaps: Vec<Change>,
    settled: BTreeMap<Key, Change>,
    state: BTreeMap<Key, Change>,
}

impl Pending {
    fn add(&mut self, change: Change) {
        let key = change.key().clone();
        match change {
            Change::Settled { cursor, mut entries, mut last_entry, .. } => {
                if let Some(Change::Settled {
                    entries: more, last_entry: before, ..
                }) = self.settled.get(&key)
                {
                    entries += more;
                    last_entry = last_entry.or(*before);
                }
                let change =
                    Change::Settled { key: key.clone(), cursor, entries, last_entry };
                self.settled.insert(key, change);
            }
            Change::State { .. } => _ = self.state.insert(key, change),
            // A gap moves the cursor: what was settled before it goes first.
            Change::Gap { .. } | Change::SetByHand { .. } => {
                self.gaps.extend(self.settled.remove(&key));
                self.gaps.push(change);
            }
        }
    }

    fn len(&self) -> usize {
        self.gaps.len() + self.settled.len() + self.state.len()
    }

    fn in_order(&self) -> Vec<Change> {
        let settled = self.settled.values();
        self.gaps.iter().chain(settled).chain(self.state.values()).cloned().collect()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tripline_api::{Cursor, Gap, GapKind, ListenerId, Place, SourceId};

    fn key(listener: &str) -> Key {
        Key {
            source: SourceId::new("p4").unwrap(),
            listener: ListenerId::new(listener).unwrap(),
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

    #[test]
    fn only_the_newest_cursor_is_kept_and_entries_add_up() {
        let mut pending = Pending::default();
        for offset in 1..=100 {
            pending.add(settled("a", offset));
            pending.add(settled("b", offset));
        }
        assert_eq!(pending.len(), 2);
        for change in pending.in_order() {
            let Change::Settled { cursor, entries, .. } = change else { panic!() };
            assert_eq!((cursor.place.offset, entries), (100, 100));
        }
    }

    #[test]
    fn a_gap_comes_behind_what_was_settled_before_it() {
        let mut pending = Pending::default();
        pending.add(settled("a", 5));
        let gap = Gap {
            source: key("a").source,
            kind: GapKind::Missing,
            from: Place::start_of(0, 1),
            to: Place::start_of(0, 3),
            missing: Some((2, 2)),
            bytes: None,
            why: String::new(),
            repair: String::new(),
        };
        pending.add(Change::Gap { key: key("a"), gap });
        pending.add(settled("a", 9));
        let order: Vec<_> = pending
            .in_order()
            .iter()
            .map(|change| match change {
                Change::Settled { cursor, .. } => cursor.place.offset,
                _ => 0,
            })
            .collect();
        assert_eq!(order, [5, 0, 9]);
    }
}
