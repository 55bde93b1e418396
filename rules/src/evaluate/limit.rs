//! `limit`: at most so many firings.

use super::keyed::{Key, Keyed};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The firings of the last time, for each key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Limit {
    pub(super) keys: Keyed<Spent>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Spent {
    /// When it fired, in order: at most as many as it may.
    #[serde(deserialize_with = "super::written::list")]
    fired: VecDeque<i64>,
    /// How many firings were swallowed since.
    #[serde(deserialize_with = "super::written::count")]
    swallowed: u64,
}

/// What a rule says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) times: usize,
    pub(super) per: i64,
}

/// What becomes of a firing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on; so many were swallowed since the last.
    Passes {
        /// How many.
        suppressed: u64,
    },
    /// It is the first that is swallowed since the last that went on.
    First,
    /// It is swallowed like others before.
    Swallowed,
}

impl Limit {
    /// A firing at this time. One that is exactly `per` after another is no longer
    /// limited by it.
    pub(super) fn ask(&mut self, rule: Rule, key: Key, time: i64) -> Verdict {
        let mut spent = self.keys.remove(&key).unwrap_or_default();
        while spent.fired.front().is_some_and(|fired| time - fired >= rule.per) {
            spent.fired.pop_front();
        }
        let verdict = if spent.fired.len() < rule.times {
            let place = spent.fired.partition_point(|fired| *fired <= time);
            spent.fired.insert(place, time);
            Verdict::Passes { suppressed: std::mem::take(&mut spent.swallowed) }
        } else {
            spent.swallowed += 1;
            if spent.swallowed == 1 { Verdict::First } else { Verdict::Swallowed }
        };
        // Kept as long as it limits, or has something to tell.
        let last = spent.fired.back().copied().unwrap_or(time);
        let due = if spent.swallowed == 0 { Some(last + rule.per) } else { None };
        let weight = 8 * spent.fired.len();
        self.keys.put(key, spent, weight, due);
        verdict
    }

    /// Forgets what limits nothing any more.
    pub(super) fn forget(&mut self, now: i64) {
        while self.keys.take_due(now - LATE_MILLIS).is_some() {}
    }

    /// Everything happened so much later.
    pub(super) fn shift(&mut self, by: i64) {
        self.keys
            .shift(by, |spent| spent.fired.iter_mut().for_each(|fired| *fired += by));
    }

    pub(super) fn take_evicted(&mut self) -> u64 {
        self.keys.take_evicted()
    }
}

/// How late an event may come: as far as its time is believed.
const LATE_MILLIS: i64 = 2 * super::SKEW_MILLIS_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{First, Passes, Swallowed};

    #[test]
    fn so_many_pass_and_the_others_are_counted() {
        let mut limit = Limit::default();
        let rule = Rule { times: 2, per: 100 };
        let mut ask = |time| limit.ask(rule, Key::default(), time);
        for (time, verdict) in [
            (0, Passes { suppressed: 0 }),
            (50, Passes { suppressed: 0 }),
            (50, First),
            (99, Swallowed),
            (100, Passes { suppressed: 2 }),
            (149, First),
            (150, Passes { suppressed: 1 }),
            (1000, Passes { suppressed: 0 }),
        ] {
            assert_eq!(ask(time), verdict, "{time}");
        }
    }

    #[test]
    fn keys_are_limited_apart() {
        let mut limit = Limit::default();
        let rule = Rule { times: 1, per: 100 };
        let key = |text: &str| Key(vec![text.to_owned()]);
        assert_eq!(limit.ask(rule, key("a"), 0), Passes { suppressed: 0 });
        assert_eq!(limit.ask(rule, key("b"), 0), Passes { suppressed: 0 });
        assert_eq!(limit.ask(rule, key("a"), 0), First);
        limit.forget(LATE_MILLIS + 100);
        assert_eq!(limit.keys.len(), 1, "what has something to tell stays");
    }
}
