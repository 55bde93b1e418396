//! What rules did, counted.

use std::collections::BTreeMap;
use tripline_rules::evaluate::{Ended, Executor, Firing, Note, Outcome, Start};

/// What one set of rules did.
pub(super) struct Tally {
    /// How often each action would have run, by its word.
    pub(super) would: BTreeMap<&'static str, u64>,
    /// What the machine had to say: the first words of each kind, and how often.
    pub(super) notes: BTreeMap<String, (String, u64)>,
    /// Actions whose texts could not be filled in: the first reason, and how often.
    pub(super) failed: BTreeMap<String, (String, u64)>,
    /// The firings since the last comparison; only where there is one.
    pub(super) fired_now: Vec<Fired>,
    is_compared: bool,
}

/// A firing that can be compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fired {
    pub(super) rule: String,
    pub(super) id: String,
    pub(super) at: i64,
    pub(super) key: Vec<String>,
}

impl Tally {
    pub(super) const fn new(is_compared: bool) -> Self {
        Self {
            would: BTreeMap::new(),
            notes: BTreeMap::new(),
            failed: BTreeMap::new(),
            fired_now: Vec::new(),
            is_compared,
        }
    }
}

impl Executor for Tally {
    fn execute(&mut self, start: Start) -> Option<Outcome> {
        *self.would.entry(start.word).or_default() += 1;
        Some(Outcome::Done { stdout: String::new(), stderr: String::new() })
    }

    fn fired(&mut self, firing: &Firing) {
        if self.is_compared {
            self.fired_now.push(Fired {
                rule: firing.rule.clone(),
                id: firing.id.clone(),
                at: firing.at,
                key: firing.key.0.clone(),
            });
        }
    }

    fn ended(&mut self, ended: &Ended) {
        // Everything goes well but what cannot be begun.
        let end = &ended.end;
        if !end.reason.is_empty() {
            count(&mut self.failed, format!("{}.{}", end.rule, end.action), &end.reason);
        }
    }

    fn noted(&mut self, note: &Note) {
        count(&mut self.notes, format!("{:?}", note.event), &note.message);
    }
}

fn count(into: &mut BTreeMap<String, (String, u64)>, name: String, words: &str) {
    if into.len() < NAMES_MAX || into.contains_key(&name) {
        into.entry(name).or_insert_with(|| (words.to_owned(), 0)).1 += 1;
    }
}

/// What only one of two sets did.
pub(super) struct Difference {
    /// By rule: how often only the new one, only the old one.
    pub(super) rules: BTreeMap<String, (u64, u64)>,
    /// The first ones of each rule, or all.
    pub(super) new: Vec<Fired>,
    pub(super) old: Vec<Fired>,
    /// Of a rule, and of all, not more are kept.
    of_rule_max: usize,
    of_all_max: usize,
}

impl Difference {
    /// None yet. `all`: not only a few of them are kept.
    pub(super) const fn new(all: bool) -> Self {
        let (of_rule_max, of_all_max) = match all {
            true => (KEPT_MAX, KEPT_MAX),
            false => (EXAMPLES_MAX, ALL_EXAMPLES_MAX),
        };
        let rules = BTreeMap::new();
        Self { rules, new: Vec::new(), old: Vec::new(), of_rule_max, of_all_max }
    }

    /// How many only the new one did that are not kept, and only the old one.
    pub(super) fn more(&self) -> (u64, u64) {
        let (new, old) = (self.new.len() as u64, self.old.len() as u64);
        let count = |(all_new, all_old): (u64, u64), (new, old): &(u64, u64)| {
            (all_new + new, all_old + old)
        };
        let all = self.rules.values().fold((0, 0), count);
        (all.0.saturating_sub(new), all.1.saturating_sub(old))
    }

    /// Both did this since the last call.
    pub(super) fn add(&mut self, new: &mut Vec<Fired>, old: &mut Vec<Fired>) {
        if new == old {
            new.clear();
            old.clear();
            return;
        }
        let maxima = (self.of_rule_max, self.of_all_max);
        new.sort();
        old.sort();
        let (mut new, mut old) = (new.drain(..).peekable(), old.drain(..).peekable());
        loop {
            let order = match (new.peek(), old.peek()) {
                (Some(one), Some(other)) => one.cmp(other),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => return,
            };
            match order {
                std::cmp::Ordering::Equal => {
                    new.next();
                    old.next();
                }
                std::cmp::Ordering::Less => {
                    let Some(fired) = new.next() else { return };
                    self.rules.entry(fired.rule.clone()).or_default().0 += 1;
                    keep(&mut self.new, fired, maxima);
                }
                std::cmp::Ordering::Greater => {
                    let Some(fired) = old.next() else { return };
                    self.rules.entry(fired.rule.clone()).or_default().1 += 1;
                    keep(&mut self.old, fired, maxima);
                }
            }
        }
    }
}

/// Keeps the first of each rule, so many of one and so many in all.
fn keep(into: &mut Vec<Fired>, fired: Fired, (of_rule_max, of_all_max): (usize, usize)) {
    if into.len() >= of_all_max {
        return;
    }
    // It is counted where few are kept.
    let of_rule = || into.iter().filter(|it| it.rule == fired.rule).count();
    if of_rule_max >= of_all_max || of_rule() < of_rule_max {
        into.push(fired);
    }
}

/// The most firings of a rule that are shown unless all are wanted, and of all rules.
const EXAMPLES_MAX: usize = 3;
const ALL_EXAMPLES_MAX: usize = 60;
/// The most that are shown when all are wanted.
const KEPT_MAX: usize = 100_000;
/// The most different things that are counted by name.
const NAMES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(rule: &str, id: &str) -> Fired {
        Fired { rule: rule.into(), id: id.into(), at: 0, key: Vec::new() }
    }

    #[test]
    fn what_both_do_is_no_difference() {
        let mut difference = Difference::new(false);
        let same = [fired("a", "1"), fired("b", "1")];
        difference.add(&mut same.to_vec(), &mut same.iter().rev().cloned().collect());
        assert!(difference.rules.is_empty());
        let mut new = vec![fired("a", "2"), fired("a", "2"), fired("b", "2")];
        let mut old = vec![fired("a", "2"), fired("c", "2")];
        difference.add(&mut new, &mut old);
        assert!(new.is_empty() && old.is_empty());
        let all: Vec<_> =
            difference.rules.iter().map(|(rule, it)| (rule.as_str(), *it)).collect();
        assert_eq!(all, [("a", (1, 0)), ("b", (1, 0)), ("c", (0, 1))]);
        assert_eq!((difference.new.len(), difference.old.len()), (2, 1));
        assert_eq!(difference.more(), (0, 0));
    }

    #[test]
    fn what_is_not_kept_is_counted() {
        for (all, kept) in [(false, 3), (true, 70)] {
            let mut difference = Difference::new(all);
            let mut new: Vec<_> = (0..70).map(|id| fired("a", &id.to_string())).collect();
            difference.add(&mut new, &mut Vec::new());
            assert_eq!(difference.new.len(), kept);
            assert_eq!(difference.more(), (70 - kept as u64, 0));
        }
    }
}
