//! What the configuration says of a log source.

use super::lines::LineRules;
use crate::archive::Limits;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tripline_api::{LineTime, SourceId, Start};

/// What all logs of a source have in common.
pub(super) struct Settings {
    pub(super) id: SourceId,
    /// Where to begin with what is there at the very first start.
    pub(super) start: Start,
    pub(super) lines: Arc<LineRules>,
    /// How long an entry of several lines waits for more of them.
    pub(super) join_wait: Duration,
    /// After how long a torn line is shown.
    pub(super) partial_after: Option<Duration>,
    /// How to read the time in a line.
    pub(super) time: Option<LineTime>,
    pub(super) on_deleted: OnDeleted,
    /// How much of a deleted file is read to its end.
    pub(super) held_bytes_max: u64,
    /// What an archive may cost.
    pub(super) limits: Limits,
}

impl Settings {
    /// How long an entry waits for more lines; `None` when each line is one.
    pub(super) fn join_wait(&self) -> Option<Duration> {
        self.lines.join.as_ref().map(|_| self.join_wait)
    }
}

/// What to do with a file that is deleted before it was read to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum OnDeleted {
    /// Hold it and read it to the end.
    #[default]
    Drain,
    /// Let go of it, so that its space is free at once.
    Release,
}
