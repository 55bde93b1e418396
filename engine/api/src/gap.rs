//! Continuity that could not be proved.

use crate::{Place, Proof, SourceId};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// A hole in what a source could hand out, announced once to each listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The source it happened in.
    pub source: SourceId,
    /// The log it happened in; `None` for a journal.
    pub log: Option<Arc<Path>>,
    /// What kind of hole.
    pub kind: GapKind,
    /// Everything before this place was handed out.
    pub from: Place,
    /// The next entry is at or behind this place: the cursor moves here.
    pub to: Place,
    /// How to recognise the file that `to` is in, where that is known: it goes
    /// into the cursor.
    pub proof: Option<Proof>,
    /// The first and the last sequence number of which nothing was found.
    pub missing: Option<(u64, u64)>,
    /// How many bytes were lost, where that is known.
    pub bytes: Option<u64>,
    /// What happened, in a sentence that names files and numbers.
    pub why: String,
    /// What a person can do about it.
    pub repair: String,
}

impl Gap {
    /// The id of the gap's entry: the place it leads to, marked as a gap.
    pub fn id(&self) -> String {
        format!("{}/{}#gap", self.source, self.to.id())
    }
}

/// Why continuity could not be proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// One or more files between two others are not to be found.
    Missing,
    /// The file that held the place was replaced or cut: what stands before
    /// the offset is not what was read.
    Replaced,
    /// The source came back with a number it had used before.
    Restored,
    /// A file is followed by its successor but does not end as a finished
    /// file ends.
    Unterminated,
    /// A file was cut to nothing in place, as a copying rotation does: what was
    /// written between the copy and the cut is in no file.
    Truncated,
    /// A file was deleted before it was read to its end.
    Deleted,
    /// A file is there and cannot be read to its end: a damaged archive, or one
    /// beyond the bounds.
    Damaged,
}

impl GapKind {
    /// The word used in JSON and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Replaced => "replaced",
            Self::Restored => "restored",
            Self::Unterminated => "unterminated",
            Self::Truncated => "truncated",
            Self::Deleted => "deleted",
            Self::Damaged => "damaged",
        }
    }
}
