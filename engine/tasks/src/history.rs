//! What became of tasks: the newest are remembered.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use tripline_api::Kept;
use tripline_rules::evaluate::{Ended, TaskEnd};

/// So many tasks are remembered; of more the oldest are forgotten.
pub const HISTORY_MAX: usize = 10_000;

/// So much is remembered of what a task said, in bytes: the end.
pub const SAID_BYTES_MAX: usize = 2 << 10;

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
    /// What the names of tasks begin with among what the rules keep.
    pub const KEPT_UNDER: &str = "task/";

    /// The id of the event that it is about: `source/sequence/offset` of an entry, or the id
    /// of the task whose end it was.
    pub fn event(&self) -> &str {
        event_of(&self.id, &self.end.rule, &self.end.action)
    }

    /// The task that is kept under such a name; `None` when something else is.
    pub fn read(kept: &Kept) -> Option<Self> {
        kept.name.strip_prefix(PREFIX)?;
        serde_json::from_slice(kept.value.as_ref()?).ok()
    }
}

/// The id of the event that a task is about, by its own.
///
/// ```
/// let event = tripline_tasks::event_of("app/0/17/brute/then/block", "brute", "block");
/// assert_eq!(event, "app/0/17");
/// ```
pub fn event_of<'i>(id: &'i str, rule: &str, action: &str) -> &'i str {
    let firing = id.strip_suffix(action).and_then(|it| it.strip_suffix('/'));
    let Some(firing) = firing else { return id };
    let rule = format!("/{rule}");
    // Behind the rule may stand when, and which of its lists of actions.
    let ends_there = |at: &usize| {
        let behind = &firing[at + rule.len()..];
        behind.is_empty() || behind.starts_with('/')
    };
    let mut found = firing.rmatch_indices(&rule).map(|(at, _)| at);
    found.find(ends_there).map_or(firing, |at| &firing[..at])
}

const PREFIX: &str = Ran::KEPT_UNDER;

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
        let mut ran = Ran { id: ended.id.clone(), at, end: ended.end.clone() };
        cut(&mut ran.end.stderr);
        cut(&mut ran.end.reason);
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

/// Leaves the end of a text.
fn cut(text: &mut String) {
    let from = text.len().saturating_sub(SAID_BYTES_MAX);
    let start = (from..text.len()).find(|at| text.is_char_boundary(*at));
    text.drain(..start.unwrap_or_default());
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number:020}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tripline_rules::model::Status;

    #[test]
    fn the_event_of_a_task_is_in_its_id() {
        for (id, event) in [
            ("app/0/17/r/a", "app/0/17"),
            ("app/0/17/r/1767614400000/a", "app/0/17"),
            ("app/0/17/r/failed/a", "app/0/17"),
            ("app/0/17/r/a/r/then/a", "app/0/17/r/a"),
            ("r/0/17/r/a", "r/0/17"),
            ("x", "x"),
            ("app/0/a", "app/0"),
            ("/a", ""),
        ] {
            assert_eq!(event_of(id, "r", "a"), event, "{id}");
        }
        assert_eq!(event_of("app/0/17/a/b/x y", "a/b", "x y"), "app/0/17");
    }

    #[test]
    fn of_what_a_task_said_the_end_is_remembered() {
        let text = |length: usize| format!("{}é", "x".repeat(length));
        for (stderr, left) in [
            (text(0), text(0)),
            (text(9000), text(SAID_BYTES_MAX - 2)),
            (String::new(), String::new()),
        ] {
            let mut history = History::default();
            let end = TaskEnd {
                rule: "r".to_owned(),
                action: "a".to_owned(),
                status: Status::Failed,
                exit: 1,
                reason: "é".repeat(SAID_BYTES_MAX),
                stderr,
                duration: "1s".to_owned(),
                attempts: 1,
                skipped: Vec::new(),
            };
            history.add(&Ended { id: "x".to_owned(), depth: 1, origin: 0, end }, 0);
            let ran = Ran::read(&history.take_fresh()[0]).unwrap();
            assert_eq!(ran.end.stderr, left);
            assert_eq!(ran.end.reason, "é".repeat(SAID_BYTES_MAX / 2));
        }
    }
}
