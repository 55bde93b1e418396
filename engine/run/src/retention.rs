//! Says in time when what a listener still needs is the next to be deleted.
//!
//! Whoever deletes old files does not ask. A listener whose receiver is dead for
//! days falls behind alone, until what it needs is the oldest file that is kept:
//! from then on each rotation may be the one that loses entries. Looking at files
//! may take long, so it is done on a thread of its own.

use crate::events::{Event, Events};
use crossbeam_channel::{Receiver, Sender};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::{
    Change, Key, ListenerId, NextToGo, Progress, Settled, Source, SourceId, State,
};

/// The first look is soon after the start, if the others are not sooner.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// When to look, as the owner of the store has it, who alone knows how far
/// everybody has come.
pub(crate) struct Looks {
    looks: Sender<Vec<Progress>>,
    every: Duration,
    next: Instant,
    /// Who does not have all there is.
    behind: BTreeSet<(SourceId, ListenerId)>,
}

impl Looks {
    pub(crate) fn new(
        looks: Sender<Vec<Progress>>,
        every: Duration,
        behind: BTreeSet<(SourceId, ListenerId)>,
    ) -> Self {
        Self { looks, every, next: Instant::now() + every.min(FIRST_LOOK), behind }
    }

    /// Notes who falls behind, and who is at the end again.
    pub(crate) fn note(&mut self, changes: &[Change]) {
        for change in changes {
            let Change::State { key, state, .. } = change else { continue };
            let who = (key.source.clone(), key.listener.clone());
            match state {
                State::Following => self.behind.remove(&who),
                _ => self.behind.insert(who),
            };
        }
    }

    pub(crate) const fn next(&self) -> Instant {
        self.next
    }

    /// Has a look taken if it is time and somebody is behind.
    pub(crate) fn take(&mut self, progress: impl FnOnce() -> Option<Vec<Progress>>) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + self.every;
        // While a look is under way there is no second one.
        if !self.behind.is_empty() && self.looks.is_empty() {
            progress().map(|progress| self.looks.try_send(progress));
        }
    }
}

/// Looks where listeners that are behind stand.
pub(crate) struct Retention {
    sources: Vec<Arc<dyn Source>>,
    events: Arc<dyn Events>,
    /// What was seen at the last look.
    seen: BTreeSet<Risk>,
    told: BTreeSet<Risk>,
}

/// A listener that needs a file of a journal or a log: with the file's number, as
/// its name changes with each rotation.
type Risk = (Key, Option<u64>);

impl Retention {
    pub(crate) const fn new(
        sources: Vec<Arc<dyn Source>>,
        events: Arc<dyn Events>,
    ) -> Self {
        Self { sources, events, seen: BTreeSet::new(), told: BTreeSet::new() }
    }

    /// Looks whenever it is told how far everybody has come.
    pub(crate) fn run(mut self, progress: &Receiver<Vec<Progress>>) {
        while let Ok(progress) = progress.recv() {
            self.look(&progress);
        }
    }

    fn look(&mut self, progress: &[Progress]) {
        let mut seen = BTreeSet::new();
        for ((source, listener), (state, settled)) in behind(progress) {
            let Some(source) = self.sources.iter().find(|it| it.id() == source) else {
                continue;
            };
            // A source that cannot be looked at is its lane's business.
            let Ok(left) = source.behind(&settled) else { continue };
            for (log, left) in left {
                let Some(NextToGo { path, others_went }) = left.next_to_go else {
                    continue;
                };
                let number = settled.get(&log).map(|cursor| cursor.place.sequence);
                let (source, listener) = (source.id().clone(), listener.clone());
                let risk = (Key { source, listener, log }, number);
                // One that reads on gets through, unless it has been there for long
                // and old files are in fact deleted.
                let is_stuck = state != State::CatchingUp
                    || (others_went && self.seen.contains(&risk));
                if is_stuck && self.told.insert(risk.clone()) {
                    self.events.event(&Event::AboutToBeLost {
                        listener: &risk.0.listener,
                        source: &risk.0.source,
                        path: &path,
                        bytes: left.bytes,
                    });
                }
                seen.insert(risk);
            }
        }
        self.told.retain(|risk| seen.contains(risk));
        self.seen = seen;
    }
}

/// The listeners that do not have all there is: what each is doing, and up to
/// where it has settled the source.
fn behind(progress: &[Progress]) -> BTreeMap<(&SourceId, &ListenerId), (State, Settled)> {
    let mut behind = BTreeMap::new();
    for row in progress {
        if row.key.log.is_none() && row.state != State::Following {
            let key = (&row.key.source, &row.key.listener);
            behind.insert(key, (row.state, Settled::new()));
        }
    }
    for row in progress {
        let key = (&row.key.source, &row.key.listener);
        if let Some((_, settled)) = behind.get_mut(&key)
            && let Some(cursor) = &row.cursor
        {
            settled.insert(row.key.log.clone(), cursor.clone());
        }
    }
    behind
}
