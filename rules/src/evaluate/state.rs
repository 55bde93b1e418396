//! What a machine remembers of one rule.

use super::absent::{self, Absent};
use super::by_key::{ByKey, KeyPart};
use super::count::{self, Count};
use super::digest::Digest;
use super::firing::Firing;
use super::keyed::Key;
use super::length;
use super::limit::Limit;
use super::pair::Pair;
use super::snapshot::SnapshotError;
use crate::compiled::{Rule, When};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The state of a rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RuleState {
    pub(super) when: WhenState,
    pub(super) settle: Digest,
    pub(super) limit: Limit,
    /// Firings that wait for the end of a quiet time.
    pub(super) held: VecDeque<Firing>,
    /// When it ends.
    #[serde(deserialize_with = "super::written::maybe_time")]
    pub(super) held_until: Option<i64>,
    /// When something was last said about it: that it failed, that keys were forgotten.
    #[serde(deserialize_with = "super::written::maybe_time")]
    pub(super) failed_at: Option<i64>,
    #[serde(deserialize_with = "super::written::maybe_time")]
    pub(super) evicted_at: Option<i64>,
    pub(super) counts: Counts,
}

/// The state of `when`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum WhenState {
    Each,
    Count(Count),
    Absent(Absent),
    Pair(Pair),
    Digest(Digest),
}

/// What became of a rule's events, since its state is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events that fulfilled everything but `when`.
    #[serde(deserialize_with = "super::written::count")]
    pub matched: u64,
    /// Firings that were handed out.
    #[serde(deserialize_with = "super::written::count")]
    pub fired: u64,
    /// Firings that `limit` swallowed.
    #[serde(deserialize_with = "super::written::count")]
    pub suppressed: u64,
    /// Firings that waited for the end of a quiet time.
    #[serde(deserialize_with = "super::written::count")]
    pub held: u64,
    /// Firings that were dropped in a quiet time, or for which there was no room.
    #[serde(deserialize_with = "super::written::count")]
    pub dropped: u64,
    /// Events on which an expression failed.
    #[serde(deserialize_with = "super::written::count")]
    pub failed: u64,
    /// Keys that were forgotten.
    #[serde(deserialize_with = "super::written::count")]
    pub evicted: u64,
}

/// The most firings of a rule that wait for the end of a quiet time; of more the oldest
/// are dropped.
pub const HELD_MAX: usize = 1_000;

impl RuleState {
    pub(super) fn new(rule: &Rule) -> Self {
        let when = match &rule.when {
            When::Each => WhenState::Each,
            When::Count { .. } => WhenState::Count(Count::default()),
            When::Absent { .. } => WhenState::Absent(Absent::default()),
            When::Pair { .. } => WhenState::Pair(Pair::default()),
            When::Digest { .. } => WhenState::Digest(Digest::default()),
        };
        Self {
            when,
            settle: Digest::default(),
            limit: Limit::default(),
            held: VecDeque::new(),
            held_until: None,
            failed_at: None,
            evicted_at: None,
            counts: Counts::default(),
        }
    }

    /// What it keeps by key, each with a word for it: they are no part of its own part.
    pub(super) fn by_key(
        &self,
    ) -> impl Iterator<Item = (&'static str, &dyn ByKey)> + use<'_> {
        let when: Option<(_, &dyn ByKey)> = match &self.when {
            WhenState::Each => None,
            WhenState::Count(count) => Some((COUNT, &count.windows)),
            WhenState::Absent(absent) => Some((ABSENT, &absent.clocks)),
            WhenState::Pair(pair) => Some((PAIR, &pair.open)),
            WhenState::Digest(digest) => Some((DIGEST, &digest.open)),
        };
        let all: [Option<(_, &dyn ByKey)>; 3] =
            [when, Some((SETTLE, &self.settle.open)), Some((LIMIT, &self.limit.keys))];
        all.into_iter().flatten()
    }

    /// The same, to be changed.
    pub(super) fn by_key_mut(
        &mut self,
    ) -> impl Iterator<Item = (&'static str, &mut dyn ByKey)> + use<'_> {
        let when: Option<(_, &mut dyn ByKey)> = match &mut self.when {
            WhenState::Each => None,
            WhenState::Count(count) => Some((COUNT, &mut count.windows)),
            WhenState::Absent(absent) => Some((ABSENT, &mut absent.clocks)),
            WhenState::Pair(pair) => Some((PAIR, &mut pair.open)),
            WhenState::Digest(digest) => Some((DIGEST, &mut digest.open)),
        };
        let all: [Option<(_, &mut dyn ByKey)>; 3] = [
            when,
            Some((SETTLE, &mut self.settle.open)),
            Some((LIMIT, &mut self.limit.keys)),
        ];
        all.into_iter().flatten()
    }

    /// Goes on with what was written of its keys.
    pub(super) fn read_keys(
        &mut self,
        mut parts: Vec<KeyPart<'_>>,
    ) -> Result<(), SnapshotError> {
        for (what, keyed) in self.by_key_mut() {
            let (own, others) = parts.into_iter().partition(|part| part.what == what);
            keyed.read(own)?;
            parts = others;
        }
        let Some(other) = parts.first() else { return Ok(()) };
        let why = format!("{}: the rule keeps no `{}` by key", other.name, other.what);
        Err(SnapshotError::new(why))
    }

    /// When something is to happen without an event.
    pub(super) fn due(&self) -> Option<i64> {
        let when = match &self.when {
            WhenState::Each | WhenState::Count(_) => None,
            WhenState::Absent(absent) => absent.due(),
            WhenState::Pair(pair) => pair.due(),
            WhenState::Digest(digest) => digest.due(),
        };
        let all = [when, self.settle.due(), self.held_until];
        all.into_iter().flatten().min()
    }

    /// When something is to happen to a key without an event.
    pub(super) fn due_of(&self, key: &Key) -> Option<i64> {
        let when = match &self.when {
            WhenState::Each | WhenState::Count(_) => None,
            WhenState::Absent(absent) => absent.due_of(key),
            WhenState::Pair(pair) => pair.due_of(key),
            WhenState::Digest(digest) => digest.so_far(key).1,
        };
        when.or_else(|| self.settle.so_far(key).1)
    }

    /// How many keys were forgotten since the last call.
    pub(super) fn take_evicted(&mut self) -> u64 {
        let when = match &mut self.when {
            WhenState::Each => 0,
            WhenState::Count(count) => count.take_evicted(),
            WhenState::Absent(absent) => absent.take_evicted(),
            WhenState::Pair(pair) => pair.take_evicted(),
            WhenState::Digest(digest) => digest.take_evicted(),
        };
        let evicted = when + self.settle.take_evicted() + self.limit.take_evicted();
        self.counts.evicted += evicted;
        evicted
    }

    /// Everything happened so much later, and now it is this time.
    pub(super) fn shift(&mut self, by: i64, now: i64) {
        match &mut self.when {
            WhenState::Each => {}
            WhenState::Count(count) => count.shift(by),
            WhenState::Absent(absent) => absent.shift(by),
            WhenState::Pair(pair) => pair.shift(by),
            WhenState::Digest(digest) => digest.shift(by),
        }
        self.settle.shift(by);
        self.limit.shift(by);
        // Calendars do not shift: whether it is quiet is asked anew.
        self.held_until = self.held_until.map(|_| now);
        self.failed_at = self.failed_at.map(|at| at + by);
        self.evicted_at = self.evicted_at.map(|at| at + by);
    }

    /// Forgets what can have no effect any more.
    pub(super) fn forget(&mut self, now: i64) {
        if let WhenState::Count(count) = &mut self.when {
            count.forget(now);
        }
        self.limit.forget(now);
    }
}

/// What is kept by key, in the names of parts.
const COUNT: &str = "count";
const ABSENT: &str = "absent";
const PAIR: &str = "pair";
const DIGEST: &str = "digest";
const SETTLE: &str = "settle";
const LIMIT: &str = "limit";

/// What `Count` says; nothing for another `when`.
pub(super) fn count_rule(when: &When) -> Option<count::Rule> {
    let When::Count { of, within, .. } = when else { return None };
    Some(count::Rule { of: *of as usize, within: length(*within) })
}

/// What `Absent` says; nothing for another `when`.
pub(super) fn absent_rule(when: &When) -> Option<absent::Rule> {
    let When::Absent { after, again, .. } = when else { return None };
    Some(absent::Rule { after: length(*after), again: again.map(length) })
}
