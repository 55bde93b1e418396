//! Events that are kept together: of many the newest or the oldest, and a count of all.

use super::event::Seen;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// The events that made a rule fire, as templates see them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Several {
    /// When the first one came; only where that matters.
    #[serde(deserialize_with = "super::written::time")]
    pub(super) began: i64,
    pub(super) first: Seen,
    pub(super) last: Seen,
    /// The oldest, in order: as many as are kept.
    pub(super) kept: Vec<Seen>,
    /// All.
    #[serde(deserialize_with = "super::written::count")]
    pub(super) count: u64,
    /// About how many bytes of memory they take.
    #[serde(deserialize_with = "super::written::bytes")]
    pub(super) weight: usize,
}

impl Several {
    pub(super) fn new(first: Seen) -> Self {
        let weight = 3 * first.weight();
        Self {
            began: 0,
            last: first.clone(),
            kept: vec![first.clone()],
            first,
            count: 1,
            weight,
        }
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

    /// Everything happened so much later.
    pub(super) fn shift(&mut self, by: i64) {
        let all = self.kept.iter_mut().chain([&mut self.first, &mut self.last]);
        all.for_each(|seen| seen.time += by);
        self.began += by;
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
