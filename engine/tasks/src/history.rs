//! What became of tasks: the newest are remembered.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use tripline_api::Kept;
use tripline_rules::evaluate::{Ended, TaskEnd};

/// So many tasks are remembered; of more the oldest are forgotten.
pub const HISTORY_MAX: usize = 10_000;

/// A task that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// The same for the same action of the same firing: `source/sequence/offset/rule/action`.
    pub id: String,
    /// When it ended, in seconds since 1970.
    pub at: i64,
    /// How it ended.
    pub end: TaskEnd,
}

impl Ran {
    /// The task that is kept under such a name; `None` when something else is.
    pub fn read(kept: &Kept) -> Option<Self> {
        kept.name.strip_prefix(PREFIX)?;
        serde_json::from_slice(kept.value.as_ref()?).ok()
    }
}

const PREFIX: &str = "task/";

/// The numbers of the tasks that are remembered, and those that are to be written.
#[derive(Debug, Default)]
pub(crate) struct History {
    kept: VecDeque<u64>,
    next: u64,
    fresh: Vec<Kept>,
}

impl History {
    /// Takes the name of what was kept, if it is a task.
    pub(crate) fn remember(&mut self, kept: &Kept) -> bool {
        let Some(number) = kept.name.strip_prefix(PREFIX) else { return false };
        if let Ok(number) = number.parse() {
            // They come in the order of their names, which is that of numbers.
            self.kept.push_back(number);
            self.next = u64::saturating_add(number, 1);
        }
        true
    }

    pub(crate) fn add(&mut self, ended: &Ended, at: i64) {
        let ran = Ran { id: ended.id.clone(), at, end: ended.end.clone() };
        let number = self.next;
        self.next = self.next.saturating_add(1);
        self.kept.push_back(number);
        self.fresh
            .push(Kept { name: name(number), value: serde_json::to_vec(&ran).ok() });
        if self.kept.len() > HISTORY_MAX
            && let Some(oldest) = self.kept.pop_front()
        {
            self.fresh.push(Kept { name: name(oldest), value: None });
        }
    }

    pub(crate) fn is_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    pub(crate) fn take_fresh(&mut self) -> Vec<Kept> {
        std::mem::take(&mut self.fresh)
    }
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number:020}")
}
