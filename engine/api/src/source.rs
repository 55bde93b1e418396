//! What is followed, and how it is read.

use crate::{Args, ArgsError, Batch, BuildContext, Cursor, Gap, Place, SourceId};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A thing that is followed: shared by all listeners that follow it.
///
/// Each listener reads through a [`Reader`] of its own, so a slow one holds up
/// nobody: the files are the queue.
pub trait Source: Send + Sync {
    /// Its name in the configuration.
    fn id(&self) -> &SourceId;

    /// A reader that goes on at `cursor`, or begins where the configuration
    /// says when there is none.
    ///
    /// Opening touches no file: what is wrong shows in [`Reader::next`].
    fn open(&self, cursor: Option<Cursor>) -> Box<dyn Reader>;

    /// The directories in which a change is a reason to look now.
    fn directories(&self) -> Vec<PathBuf>;

    /// Whether this is a path that the source itself follows.
    fn is_at(&self, path: &Path) -> bool;

    /// Whether a change of this path, in one of the directories, is a reason to
    /// look. Called for each event of the file system, so it must be cheap.
    fn concerns(&self, path: &Path) -> bool;

    /// How many bytes lie between `cursor` and the end of what is there now.
    /// Of compressed files that were never read it is an estimate.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed or a file cannot be read.
    fn behind(&self, cursor: Option<&Cursor>) -> Result<u64, SourceError>;

    /// Turns what a person asked for into a place, checked against the files.
    /// `before` is where the listener was: when the numbering has started over
    /// since, the place is in a new era.
    ///
    /// # Errors
    ///
    /// When the files do not have that place; says what they do have.
    fn find(&self, wanted: &Start, before: Option<&Cursor>)
    -> Result<Place, SourceError>;
}

/// Makes one kind of source. The registry is a slice of these.
pub trait SourceFactory: Sync {
    /// The word in the configuration: `Journal`.
    fn name(&self) -> &'static str;

    /// What it follows, in a few sentences, for people who write
    /// configurations.
    fn doc(&self) -> &'static str;

    /// A whole example, as it stands in a configuration. Tests build it.
    fn example(&self) -> &'static str;

    /// Reads the arguments and builds the source. Touches no file: a source
    /// that is not there yet is no error.
    ///
    /// # Errors
    ///
    /// When an argument is not understood or not possible.
    fn build(
        &self,
        args: &Args<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Arc<dyn Source>, ArgsError>;
}

/// Where to begin, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The first entry of the oldest file there is.
    Oldest,
    /// Behind the last whole entry there is now.
    Now,
    /// The first entry of the file with this sequence number.
    Sequence(u64),
    /// The first whole record at or behind an offset of that file.
    Offset(u64, u64),
    /// A standby's database was recovered from this checkpoint: begin with the
    /// journal of the same number.
    Checkpoint(u64),
}

/// One walk through a source.
pub trait Reader: Send {
    /// The next step. Never waits for data; reads a bounded amount.
    ///
    /// # Errors
    ///
    /// When a file cannot be read now. Nothing is skipped: the next call tries
    /// the same again.
    fn next(&mut self) -> Result<Step<'_>, SourceError>;

    /// Where the walk stands: behind everything handed out. `None` while it is
    /// not known yet where to begin.
    fn cursor(&self) -> Option<&Cursor>;
}

/// What one call of [`Reader::next`] found.
#[derive(Debug)]
pub enum Step<'a> {
    /// Entries.
    Batch(Batch<'a>),
    /// A hole; the reader stands behind it.
    Gap(Gap),
    /// Nothing more for now.
    Idle(Idle),
}

/// Why there is nothing to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    /// What should be there and is not yet, in words: a file still being
    /// written, say. `None` at the plain end of the source.
    pub waiting_for: Option<String>,
    /// Something is wrong: what is waited for is there and cannot be used, or
    /// should be there and is not. Ends a run until idle with an error.
    pub is_trouble: bool,
    /// When to look again.
    pub again: Again,
}

impl Idle {
    /// The plain end of the source.
    pub const fn at_end() -> Self {
        Self { waiting_for: None, is_trouble: false, again: Again::Later }
    }
}

/// When a reader that has nothing now should be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// At once: it is at work, reading through a compressed file, say.
    Now,
    /// In a moment: it waits for something that gives no sign.
    Soon,
    /// At the next hint or poll.
    Later,
}

/// A source could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{what}{}", .cause.as_ref().map(|c| format!(": {c}")).unwrap_or_default())]
pub struct SourceError {
    /// What was tried, on which file, in a user's words.
    pub what: String,
    /// What the system said.
    pub cause: Option<io::Error>,
}

impl SourceError {
    /// An error of the system while doing `what`.
    pub fn io(what: impl Into<String>, cause: io::Error) -> Self {
        Self { what: what.into(), cause: Some(cause) }
    }

    /// Something that is wrong without the system having said so.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), cause: None }
    }
}
