//! What a listener has and has not settled yet, of each log of a source.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::path::Path;
use std::sync::Arc;
use tripline_api::{Batch, Change, Cursor, Gap, Key, Letter};

/// By log; of a journal there is one, under `None`. Only logs with something
/// in them are here, so its size is that of what came since the last flush.
#[derive(Debug, Default)]
pub(crate) struct Pending(BTreeMap<Option<Arc<Path>>, Part>);

impl Pending {
    pub(crate) fn of(&mut self, log: Option<Arc<Path>>) -> &mut Part {
        self.0.entry(log).or_default()
    }

    pub(crate) fn has(&self, log: &Option<Arc<Path>>) -> bool {
        self.0.contains_key(log)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl IntoIterator for Pending {
    type Item = (Option<Arc<Path>>, Part);
    type IntoIter = btree_map::IntoIter<Option<Arc<Path>>, Part>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// What is pending of one log.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// What lies before the cursor and must be told by itself: gaps, what was
    /// settled between them, and what was set aside. Mostly empty.
    before: Vec<Change>,
    cursor: Option<Cursor>,
    entries: u64,
    last_entry: Option<i64>,
    is_gone: bool,
}

impl Part {
    pub(crate) fn listened(&mut self, batch: &Batch<'_>) {
        self.cursor = Some(batch.end.clone());
        self.entries += batch.len() as u64;
        self.last_entry = batch.last_time().or(self.last_entry);
        self.is_gone = false;
    }

    pub(crate) fn begins(&mut self, cursor: Cursor) {
        self.cursor = Some(cursor);
        self.is_gone = false;
    }

    pub(crate) const fn gone(&mut self) {
        self.is_gone = true;
    }

    pub(crate) const fn is_gone(&self) -> bool {
        self.is_gone
    }

    pub(crate) fn passed(&mut self, key: Key, gap: Gap) {
        let settled = self.settled(&key);
        self.before.extend(settled);
        self.before.push(Change::Gap { key, gap });
        self.is_gone = false;
    }

    pub(crate) fn set_aside(&mut self, letter: Letter) {
        self.before.push(Change::SetAside(letter));
    }

    /// Says what is settled now, in order.
    pub(crate) fn settle(mut self, key: Key, changes: &mut Vec<Change>) {
        let last = self.settled(&key);
        changes.append(&mut self.before);
        changes.extend(last);
    }

    fn settled(&mut self, key: &Key) -> Option<Change> {
        Some(Change::Settled {
            cursor: self.cursor.take()?,
            key: key.clone(),
            entries: std::mem::take(&mut self.entries),
            last_entry: self.last_entry.take(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tripline_api::{GapKind, ListenerId, Place, SourceId};

    fn key() -> Key {
        Key {
            source: SourceId::new("auth").unwrap(),
            listener: ListenerId::new("a").unwrap(),
            log: Some(Path::new("/var/log/auth.log").into()),
        }
    }

    fn gap(to: Place) -> Gap {
        Gap {
            source: key().source,
            log: key().log,
            kind: GapKind::Truncated,
            from: Place::default(),
            to,
            proof: None,
            missing: None,
            bytes: None,
            why: String::new(),
            repair: String::new(),
        }
    }

    #[test]
    fn a_gap_stands_between_what_is_settled_before_and_behind_it() {
        let at = |sequence| Place::start_of(7, sequence);
        let mut part = Part::default();
        part.begins(Cursor::unproved(at(1)));
        part.passed(key(), gap(at(2)));
        part.passed(key(), gap(at(3)));
        part.begins(Cursor::unproved(at(4)));
        let mut changes = Vec::new();
        part.settle(key(), &mut changes);
        let order: Vec<_> = changes
            .iter()
            .map(|change| match change {
                Change::Settled { cursor, .. } => (true, cursor.place.sequence),
                Change::Gap { gap, .. } => (false, gap.to.sequence),
                _ => panic!("{change:?}"),
            })
            .collect();
        assert_eq!(order, [(true, 1), (false, 2), (false, 3), (true, 4)]);
    }

    #[test]
    fn a_log_that_comes_back_is_not_gone() {
        let mut part = Part::default();
        part.gone();
        assert!(part.is_gone());
        part.begins(Cursor::unproved(Place::default()));
        assert!(!part.is_gone());
    }
}
