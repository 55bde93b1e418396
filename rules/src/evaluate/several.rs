//! Events that are kept together: of many the newest or the oldest, and a count of all.

use super::event::Seen;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// The events that made a rule fire, as templates see them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Several {
    pub(super) first: Seen,
    pub(super) last: Seen,
    /// The oldest, in order: as many as are kept.
    pub(super) kept: Vec<Seen>,
    /// All.
    pub(super) count: u64,
    /// About how many bytes of memory they take.
    pub(super) weight: usize,
}

impl Several {
    pub(super) fn new(first: Seen) -> Self {
        let weight = 3 * first.weight();
        Self { last: first.clone(), kept: vec![first.clone()], first, count: 1, weight }
    }

    /// One more; it is kept if there is room.
    pub(super) fn push(&mut self, seen: Seen, keep: usize) {
        self.count += 1;
        if self.kept.len() < keep {
            self.weight += seen.weight();
            self.kept.push(seen.clone());
        }
        self.last = seen;
    }

    /// The clock was wrong by so much.
    pub(super) fn set_back(&mut self, by: i64) {
        for seen in [&mut self.first, &mut self.last].into_iter().chain(&mut self.kept) {
            seen.time -= by;
        }
    }

    /// The roots that it gives a firing.
    pub(super) fn roots(&self) -> Map<String, Json> {
        let dropped = self.count.saturating_sub(self.kept.len() as u64);
        Map::from_iter([
            ("count".to_owned(), self.count.into()),
            ("dropped".to_owned(), dropped.into()),
            ("first".to_owned(), self.first.whole()),
            ("last".to_owned(), self.last.whole()),
            ("events".to_owned(), self.kept.iter().map(Seen::whole).collect()),
        ])
    }
}
