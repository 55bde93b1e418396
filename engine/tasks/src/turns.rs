//! What waits to be done, a queue for each rule: they take turns.

use std::collections::{BTreeMap, VecDeque};
use tripline_rules::evaluate::Start;

/// Actions that wait.
#[derive(Default)]
pub(crate) struct Turns {
    /// None of them is empty.
    queues: BTreeMap<String, VecDeque<Start>>,
    /// The rules that have one, in the order of their turns.
    order: VecDeque<String>,
}

impl Turns {
    /// The last of its rule.
    pub(crate) fn push(&mut self, start: Start) {
        if let Some(queue) = self.queues.get_mut(&start.rule) {
            queue.push_back(start);
            return;
        }
        self.order.push_back(start.rule.clone());
        self.queues.insert(start.rule.clone(), VecDeque::from([start]));
    }

    /// The next one, of the rules that may.
    pub(crate) fn next(&mut self, may: impl Fn(&str) -> bool) -> Option<Start> {
        let at = self.order.iter().position(|rule| may(rule))?;
        let rule = self.order.remove(at)?;
        let queue = self.queues.get_mut(&rule)?;
        let start = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&rule);
        } else {
            self.order.push_back(rule);
        }
        start
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
