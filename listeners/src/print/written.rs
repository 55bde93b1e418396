//! Which entries are in the output.

use super::tail::{Found, Newest};
use std::collections::BTreeMap;
use tripline_api::SourceId;

/// How many logs are remembered. When there are more, those that are certainly
/// in the file are forgotten: it tells of them when it is asked again.
const LOGS_MAX: usize = 100_000;

/// What is written in order: a journal with all its eras, or one log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stretch {
    source: SourceId,
    /// Of a log its era, which tells it apart.
    log: Option<u64>,
}

impl Stretch {
    pub(super) fn new(source: &SourceId, is_log: bool, era: u64) -> Self {
        Self { source: source.clone(), log: is_log.then_some(era) }
    }
}

/// The newest line of each stretch in the output.
#[derive(Debug, Default)]
pub(super) struct Written {
    newest: BTreeMap<Stretch, Newest>,
    /// What was the newest at the last flush, of those that have another since.
    before: BTreeMap<Stretch, Option<Newest>>,
}

impl Written {
    pub(super) fn newest(&self, stretch: &Stretch) -> Option<Newest> {
        self.newest.get(stretch).copied()
    }

    /// A line was written.
    pub(super) fn is_written(&mut self, stretch: &Stretch, newest: Newest) {
        let before = self.newest.insert(stretch.clone(), newest);
        if !self.before.contains_key(stretch) {
            self.before.insert(stretch.clone(), before);
        }
    }

    /// The output itself says what is in it.
    pub(super) fn learn(&mut self, source: &SourceId, found: Found) {
        let mut learn = |log, newest| {
            self.newest.insert(Stretch { source: source.clone(), log }, newest);
        };
        match found {
            Found::Nothing => {}
            Found::Journal(newest) => learn(None, newest),
            Found::Logs(logs) => {
                logs.into_iter().for_each(|(era, newest)| learn(Some(era), newest));
            }
        }
        self.before.clear();
    }

    /// What comes again of a source is wanted again.
    pub(super) fn forget(&mut self, source: &SourceId) {
        self.newest.retain(|stretch, _| stretch.source != *source);
        self.before.clear();
    }

    /// Everything was flushed.
    pub(super) fn is_durable(&mut self) {
        self.before.clear();
        if self.newest.len() > LOGS_MAX {
            self.newest.retain(|stretch, _| stretch.log.is_none());
        }
    }

    /// What was written since the last flush is gone.
    pub(super) fn undo(&mut self) {
        for (stretch, before) in std::mem::take(&mut self.before) {
            match before {
                Some(newest) => _ = self.newest.insert(stretch, newest),
                None => _ = self.newest.remove(&stretch),
            }
        }
    }
}
