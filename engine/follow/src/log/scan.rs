//! When to look at everything, and how far a look has come.

use super::paths::Walk;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// After a look at everything comes a pause as long as it took, but not more
/// than this: also where looking takes longer than it is asked for.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A look at everything, in slices.
pub(super) struct Scan {
    pub(super) walk: Option<Walk>,
    /// Files that were found and not looked at yet.
    pub(super) found: VecDeque<PathBuf>,
    /// Another one is wanted.
    is_wanted: bool,
    /// None has come to its end yet.
    is_first: bool,
    is_under_way: bool,
    began: Option<Instant>,
    not_before: Option<Instant>,
}

impl Scan {
    /// One that is due.
    pub(super) const fn new() -> Self {
        Self {
            walk: None,
            found: VecDeque::new(),
            is_wanted: true,
            is_first: true,
            is_under_way: false,
            began: None,
            not_before: None,
        }
    }

    pub(super) const fn want(&mut self) {
        self.is_wanted = true;
    }

    /// Whether not all that is there is known yet.
    pub(super) const fn is_first(&self) -> bool {
        self.is_first
    }

    /// Whether there is something to do now.
    pub(super) fn has_work(&self, now: Instant) -> bool {
        let is_due = self.is_wanted && self.not_before.is_none_or(|time| time <= now);
        self.is_under_way || is_due || !self.found.is_empty()
    }

    /// When there will be something to do, if there is nothing now.
    pub(super) const fn due_at(&self) -> Option<Instant> {
        if self.is_wanted { self.not_before } else { None }
    }

    /// Begins to walk.
    pub(super) fn begin(&mut self, walk: Walk, now: Instant) {
        self.is_wanted = false;
        self.is_under_way = true;
        self.began = Some(now);
        self.walk = Some(walk);
    }

    /// The walk is over and all that was found was looked at. Returns whether
    /// that was the first time.
    pub(super) fn end(&mut self, now: Instant) -> bool {
        self.is_under_way = false;
        let took = self.began.map(|began| now.saturating_duration_since(began));
        self.not_before = took.map(|took| now + took.min(PAUSE_MAX));
        std::mem::take(&mut self.is_first)
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.is_under_way
    }
}
