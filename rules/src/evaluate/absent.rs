//! `Absent`: nothing came for so long.

use super::event::Seen;
use super::keyed::{Key, Keyed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The clocks, one for each key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Absent {
    pub(super) clocks: Keyed<Clock>,
    /// The sources that cannot be read: while there is one, clocks stand still.
    away: BTreeSet<String>,
    /// Since when.
    #[serde(deserialize_with = "super::written::maybe_time")]
    stopped: Option<i64>,
}

/// What is waited for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Clock {
    /// The last event, or what it would be like.
    last: Seen,
    /// Since when nothing came.
    #[serde(deserialize_with = "super::written::time")]
    since: i64,
    /// It was said that it is absent.
    has_fired: bool,
}

/// What a rule says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) after: i64,
    pub(super) again: Option<i64>,
}

/// Something is absent, or back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) key: Key,
    /// The last event before; when it is back, the one that came.
    pub(super) seen: Seen,
    /// How long nothing came, in milliseconds.
    pub(super) absent_for: i64,
    /// When it was to be told.
    pub(super) at: i64,
}

impl Absent {
    /// Waits for a key from now on, if it is not waited for yet.
    pub(super) fn expect(&mut self, rule: Rule, key: Key, like: Seen, now: i64) {
        if self.clocks.get(&key).is_none() {
            let weight = like.weight();
            let clock = Clock { last: like, since: now, has_fired: false };
            self.clocks.put(key, clock, weight, Some(now + rule.after));
        }
    }

    /// Forgets what is expected, if nothing of it came or was said to be absent.
    pub(super) fn forget_expected(&mut self, key: &Key, like: &Seen) {
        let is_as_begun = |it: &Clock| !it.has_fired && it.last.id == like.id;
        if self.clocks.get(key).is_some_and(is_as_begun) {
            self.clocks.remove(key);
        }
    }

    /// An event came: says that it is back if it was absent.
    pub(super) fn see(
        &mut self,
        rule: Rule,
        key: Key,
        seen: Seen,
        now: i64,
    ) -> Option<Told> {
        let before = self.clocks.remove(&key);
        let weight = seen.weight();
        let clock = Clock { last: seen.clone(), since: now, has_fired: false };
        // While the source is away what is due is counted from when it went.
        let from = self.stopped.unwrap_or(now);
        self.clocks.put(key.clone(), clock, weight, Some(from + rule.after));
        let before = before.filter(|clock| clock.has_fired)?;
        Some(Told { key, seen, absent_for: now - before.since, at: now })
    }

    /// What is absent by now; of this key, or of any.
    pub(super) fn tick(
        &mut self,
        rule: Rule,
        only: Option<&Key>,
        now: i64,
    ) -> Option<Told> {
        if self.stopped.is_some() {
            return None;
        }
        let (at, key, mut clock) = self.clocks.take_due_of(only, now)?;
        clock.has_fired = true;
        let (seen, absent_for) = (clock.last.clone(), at - clock.since);
        let weight = seen.weight();
        self.clocks.put(key.clone(), clock, weight, rule.again.map(|again| at + again));
        Some(Told { key, seen, absent_for, at })
    }

    /// Time goes on until then at once, and nobody could be told in between: of several
    /// times that are over the last one counts.
    pub(super) fn skip(&mut self, rule: Rule, until: i64) {
        if let (Some(again), None) = (rule.again, self.stopped) {
            self.clocks.skip(again, until);
        }
    }

    /// When this will be absent.
    pub(super) fn due_of(&self, key: &Key) -> Option<i64> {
        if self.stopped.is_some() { None } else { self.clocks.due_of(key) }
    }

    /// When something will be absent.
    pub(super) fn due(&self) -> Option<i64> {
        if self.stopped.is_some() { None } else { self.clocks.due() }
    }

    /// A source cannot be read: clocks stop.
    pub(super) fn stop(&mut self, source: &str, now: i64) {
        self.away.insert(source.to_owned());
        self.stopped.get_or_insert(now);
    }

    /// A source can be read again: if it was the last, clocks go on.
    pub(super) fn go_on(&mut self, source: &str, now: i64) {
        self.away.remove(source);
        if self.away.is_empty()
            && let Some(since) = self.stopped.take()
        {
            self.clocks.postpone(now - since);
        }
    }

    /// No source is away any more; says whether one was.
    pub(super) fn all_are_there(&mut self, now: i64) -> bool {
        self.away.clear();
        let Some(since) = self.stopped.take() else { return false };
        self.clocks.postpone(now - since);
        true
    }

    /// Everything happened so much later.
    pub(super) fn shift(&mut self, by: i64) {
        self.clocks.shift(by, |clock| {
            clock.since += by;
            clock.last.time += by;
        });
        self.stopped = self.stopped.map(|at| at + by);
    }

    pub(super) fn take_evicted(&mut self) -> u64 {
        self.clocks.take_evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::test_support::seen;

    const RULE: Rule = Rule { after: 300, again: None };

    fn told(absent: &mut Absent, rule: Rule, now: i64) -> Vec<(i64, i64)> {
        std::iter::from_fn(|| absent.tick(rule, None, now))
            .map(|told| (told.at, told.absent_for))
            .collect()
    }

    #[test]
    fn it_fires_once_when_the_time_is_over() {
        let mut absent = Absent::default();
        assert!(absent.see(RULE, Key::default(), seen(100), 100).is_none());
        assert!(told(&mut absent, RULE, 399).is_empty());
        assert_eq!(absent.due(), Some(400));
        assert_eq!(told(&mut absent, RULE, 400), [(400, 300)]);
        assert!(told(&mut absent, RULE, 9999).is_empty());
        let back = absent.see(RULE, Key::default(), seen(1000), 1000).unwrap();
        assert_eq!((back.absent_for, back.seen.time), (900, 1000));
        assert!(absent.see(RULE, Key::default(), seen(1001), 1001).is_none());
        assert_eq!(told(&mut absent, RULE, 1301), [(1301, 300)]);
    }

    #[test]
    fn again_goes_on() {
        let rule = Rule { again: Some(100), ..RULE };
        let mut absent = Absent::default();
        absent.expect(rule, Key::default(), seen(0), 0);
        absent.expect(rule, Key::default(), seen(0), 200);
        for now in [300, 400] {
            assert_eq!(told(&mut absent, rule, now), [(now, now)]);
        }
        // Years that are jumped over are told once.
        let years = 1_700_000_000_000;
        absent.skip(rule, years + 50);
        assert_eq!(told(&mut absent, rule, years + 50), [(years, years)]);
        assert_eq!(absent.due(), Some(years + 100));
    }

    #[test]
    fn clocks_stand_still_while_the_source_is_away() {
        let mut absent = Absent::default();
        absent.see(RULE, Key::default(), seen(0), 0);
        absent.stop("a", 200);
        absent.stop("b", 250);
        absent.go_on("a", 900);
        assert_eq!((absent.due(), told(&mut absent, RULE, 5000)), (None, vec![]));
        absent.go_on("b", 1000);
        assert!(told(&mut absent, RULE, 1099).is_empty());
        assert_eq!(told(&mut absent, RULE, 1100), [(1100, 1100)]);
    }

    #[test]
    fn each_key_has_its_clock() {
        let mut absent = Absent::default();
        let key = |text: &str| Key(vec![text.to_owned()]);
        absent.see(RULE, key("b"), seen(0), 0);
        absent.see(RULE, key("a"), seen(0), 0);
        absent.see(RULE, key("b"), seen(100), 100);
        assert_eq!(absent.tick(RULE, None, 300).unwrap().key, key("a"));
        assert!(absent.tick(RULE, None, 300).is_none());
        assert_eq!(absent.tick(RULE, None, 400).unwrap().key, key("b"));
    }
}
