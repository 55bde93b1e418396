//! What is followed, and how it is read.

use crate::{
    Args, ArgsError, Argument, Batch, BuildContext, Cursor, Gap, LineTime, SourceId,
};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Up to where a listener has settled a source: of a journal the one cursor
/// under `None`, of logs one each under its path. An entry `None` besides those
/// of logs says that the source was begun with, and nothing else.
pub type Settled = BTreeMap<Option<Arc<Path>>, Cursor>;

/// A thing that is followed: shared by all listeners that follow it.
///
/// Each listener reads through a [`Reader`] of its own, so a slow one holds up
/// nobody: the files are the queue.
pub trait Source: Send + Sync {
    /// Its name in the configuration.
    fn id(&self) -> &SourceId;

    /// Whether its entries are journal records; otherwise they are lines.
    fn is_journal(&self) -> bool;

    /// A reader that goes on where everything is settled, or begins where the
    /// configuration says when there is nothing yet.
    ///
    /// Opening touches no file: what is wrong shows in [`Reader::next`].
    fn open(&self, settled: &Settled) -> Box<dyn Reader>;

    /// The directories in which a change is a reason to look now, as far as
    /// they are known without looking; see [`Reader::directories`].
    fn directories(&self) -> Vec<PathBuf>;

    /// Whether the source itself follows the file at this absolute path, whatever links
    /// lead to it: but those whose names wildcards match are not looked at.
    fn is_at(&self, path: &Path) -> bool;

    /// Whether a change of this path, in one of the directories, is a reason to
    /// look. Called for each event of the file system, so it must be cheap.
    fn concerns(&self, path: &Path) -> bool;

    /// How the time that its lines carry is read; `None` for a journal, and where that was
    /// not asked for.
    fn line_time(&self) -> Option<&LineTime> {
        None
    }

    /// Reads a text that is not followed, such as an old file, from its first byte to its
    /// end, as the lines of a followed log are: `None` for a journal. `path` is what the
    /// batches say they come from; `time` how the time of a line is read, and `near` a
    /// time near to it, in seconds since 1970.
    fn read_text(
        &self,
        path: &Path,
        text: Box<dyn io::Read + Send>,
        time: Option<&LineTime>,
        near: i64,
    ) -> Option<Box<dyn Reader>> {
        let _ = (path, text, time, near);
        None
    }

    /// What lies between what is settled and the end of what is there now: of a
    /// journal under `None`, of logs one each, also of those that were not begun
    /// with.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed or a file cannot be read.
    fn behind(&self, settled: &Settled) -> Result<Behind, SourceError>;

    /// Turns what a person asked for into places, checked against the files:
    /// of a journal one under `None`, of logs one each. `log` names the one log
    /// that is meant, `None` means all. `before` is where the listener was:
    /// when the numbering of a journal has started over since, the place is in
    /// a new era. Of a log the cursors prove which file is meant.
    ///
    /// # Errors
    ///
    /// When the files do not have that place; says what they do have.
    fn find(
        &self,
        wanted: &Start,
        log: Option<&Path>,
        before: &Settled,
    ) -> Result<Settled, SourceError>;
}

/// What is not settled yet; keyed as [`Settled`].
pub type Behind = BTreeMap<Option<Arc<Path>>, Left>;

/// What is left to be settled of a journal, or of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// How many bytes. Of compressed files that were never read it is an estimate.
    pub bytes: u64,
    /// Where it begins, if that is the oldest file that is kept and no longer the
    /// one that is written to: what deletes old files deletes this one next.
    pub next_to_go: Option<NextToGo>,
}

/// The oldest file that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextToGo {
    /// Where it is now.
    pub path: PathBuf,
    /// There were older ones, so something does delete them.
    pub others_went: bool,
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

    /// Its arguments, in the order of the struct that reads them. The reference is made
    /// of them, and [`Argument::differences`] tells when one was forgotten.
    fn arguments(&self) -> &'static [Argument];

    /// What it does not promise, one thing each, in sentences: what people take it for
    /// and should not.
    fn limits(&self) -> &'static [&'static str] {
        &[]
    }

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

    /// Something changed: where to look at the next [`next`](Self::next).
    fn hint(&mut self, changed: Changed) {
        let _ = changed;
    }

    /// From now on, hands out a record only when its transaction is closed, or will
    /// never be: its journal is over, or it is longer than the longest record may
    /// be. Without effect for logs.
    fn hold_open_transactions(&mut self) {}

    /// The directories in which a change is a reason to look now, when they are
    /// others than at the last call. Whoever watches them hints
    /// [`Changed::Anything`] when the watch stands: what happened before is not
    /// told by it.
    fn directories(&mut self) -> Option<Vec<PathBuf>> {
        None
    }
}

/// What a hint knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Something in these paths, each in a directory that is watched.
    Paths(Vec<PathBuf>),
    /// Nobody knows what: look at everything.
    Anything,
}

/// What one call of [`Reader::next`] found.
#[derive(Debug)]
pub enum Step<'a> {
    /// Entries.
    Batch(Batch<'a>),
    /// A hole; the reader stands behind it.
    Gap(Gap),
    /// Nothing to hand out, but where the walk stands is worth remembering: it
    /// has found out where to begin.
    Begins(Option<Arc<Path>>, Cursor),
    /// Something that a person should know, and that is in nobody's way.
    Notice(String),
    /// A log is gone for good and everything in it was handed out: when all of
    /// that is settled, its cursor is not needed any more.
    Gone(Arc<Path>),
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
    /// At this time, or at the next hint.
    At(Instant),
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
