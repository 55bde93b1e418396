//! What takes entries, and how it is made.

use crate::{
    Agenda, Args, ArgsError, Argument, Backup, Cursor, Entry, Gap, Letter, Rejected,
    SecretFile, SourceId, View,
};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Takes entries, one lane (a thread of its own) each.
///
/// The lane calls [`begin`](Self::begin) once for each source, then, over and
/// over, [`is_handled`](Self::is_handled) for each entry,
/// [`listen`](Self::listen) with those that are, and [`flush`](Self::flush)
/// when it has caught up or has handed over a good deal. What was listened to
/// before a `flush` that returned `Ok` is **settled**: the cursor passes it.
/// After a crash everything behind the cursor comes again, in the same order
/// and with the same ids: also what the listener had made durable, when the crash
/// came before that was noted.
///
/// A listener whose effect is to be there once keeps the place of the last entry
/// in the same atomic write as the effect, for each journal and for each log
/// ([`LogFile::path`](crate::LogFile)), and passes over what lies before it
/// ([`Place::key`](crate::Place::key)). Two things void that place: a person who
/// moves the cursor back ([`Begin::set_by_hand`]) wants it again; and when the
/// engine's own state is lost, logs are numbered anew from the files that are left.
pub trait Listener: Send {
    /// What the listener wants to know or say before the first entry of a
    /// source. A listener that can tell from what it has written how far it
    /// came answers with that cursor. The engine begins there when it lies
    /// before its own, or when it has none; otherwise it begins at its own, and
    /// what the listener holds beyond that comes to it again.
    ///
    /// # Errors
    ///
    /// As for [`listen`](Self::listen).
    fn begin(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        let _ = begin;
        Ok(None)
    }

    /// Whether this entry is for the listener. Cheap, and without effect.
    fn is_handled(&self, entry: &Entry<'_>) -> bool {
        let _ = entry;
        true
    }

    /// Takes entries: never none. They may be kept in memory until
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`ListenError::Lost`]: everything since the last settled place comes
    /// again after a pause. [`ListenError::Retry`]: the same entries come again after a pause, so
    /// what was already done with some of them must be remembered or be
    /// harmless to repeat. [`ListenError::Busy`]: they come again in a moment.
    /// [`ListenError::Rejected`]: some will never be taken;
    /// they are set aside as [`Letter`]s and the others come again.
    /// [`ListenError::Stop`]: the lane ends.
    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError>;

    /// Makes everything listened to so far durable, or sets about it.
    ///
    /// With [`Flushed::Soon`] the lane goes on and asks
    /// [`is_flushed`](Self::is_flushed) from time to time; it does not flush
    /// again before that says yes. What was listened to before this call is
    /// settled then, and not what came after it.
    ///
    /// # Errors
    ///
    /// As for [`listen`](Self::listen), but nothing can be rejected here; after a
    /// `Retry` the lane begins again at the last settled place, with a call of
    /// [`begin`](Self::begin).
    fn flush(&mut self) -> Result<Flushed, ListenError> {
        Ok(Flushed::All)
    }

    /// Whether what was listened to before the last [`flush`](Self::flush),
    /// which answered [`Flushed::Soon`], is durable by now. Does not wait.
    ///
    /// # Errors
    ///
    /// As for [`flush`](Self::flush).
    fn is_flushed(&mut self) -> Result<bool, ListenError> {
        Ok(true)
    }

    /// Whether what a flush that answered [`Flushed::Soon`] is about will arrive in
    /// a moment, so that a lane that is to stop waits for it. What waits for its
    /// time, such as a digest, comes again after the next start instead.
    fn arrives_soon(&self) -> bool {
        true
    }

    /// What was set aside since the last call, and is not one of the entries the
    /// listener [`Rejected`]: a mail that one of its recipients will never get.
    /// Asked before anything is settled, so that the letters are in the store
    /// when the cursor passes.
    fn letters(&mut self) -> Vec<Letter> {
        Vec::new()
    }

    /// Delivers once more what the listener made of entries and set aside
    /// ([`Content::Made`](crate::Content::Made)), when a person asks for it.
    /// Called on a listener that was built for it and follows nothing.
    ///
    /// # Errors
    ///
    /// As for [`listen`](Self::listen).
    fn deliver(&mut self, made: &[u8]) -> Result<(), ListenError> {
        let _ = made;
        Err(ListenError::Stop("this listener does not deliver again what it made".into()))
    }

    /// The listener's own work, if it has some.
    fn agenda(&mut self) -> Option<&mut dyn Agenda> {
        None
    }

    /// Continuity could not be proved, and the listener's `on_gap` says to go
    /// on: the next entry comes from behind the gap.
    ///
    /// # Errors
    ///
    /// As for [`listen`](Self::listen).
    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        let _ = gap;
        Ok(())
    }

    /// What a person can do about a gap at which the listener stops, besides its
    /// repair; `CONFIG` in it stands for the configuration's path.
    fn gap_advice(&self, gap: &Gap) -> Option<String> {
        let _ = gap;
        None
    }

    /// Nothing came for the listener's quiet period. `had_data` is true on the
    /// first call after entries were listened to.
    ///
    /// # Errors
    ///
    /// As for [`listen`](Self::listen).
    fn no_data(&mut self, had_data: bool) -> Result<(), ListenError> {
        let _ = had_data;
        Ok(())
    }
}

/// How far a flush came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Everything listened to is durable.
    All,
    /// It is on its way, and somebody else has to say that it arrived.
    Soon,
}

/// What a listener is told before the first entry of a source.
#[derive(Clone, Copy, Debug)]
pub struct Begin<'a> {
    /// The source.
    pub source: &'a SourceId,
    /// Where the engine would go on in a journal; `None` at the very first start.
    /// Of logs, which have a cursor each, it only says that there was a start.
    pub cursor: Option<&'a Cursor>,
    /// A person moved the cursor there: entries that come again are wanted
    /// again.
    pub set_by_hand: bool,
}

/// Why a listener did not take what it was given.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// It may work later: the lane waits and tries again.
    #[error("{0}")]
    Retry(String),
    /// Nothing is wrong, and no more can be taken for now: the lane calls again
    /// after a short pause that is always the same, and says nothing; only `where`
    /// shows why, when that lasts. For [`begin`](Listener::begin),
    /// [`listen`](Listener::listen) and [`gap`](Listener::gap), by listeners that notice
    /// themselves when they wait in vain.
    #[error("{0}")]
    Busy(String),
    /// It may work later, but what was listened to since the last settled place
    /// is in doubt: the lane waits and begins again there.
    #[error("{0}")]
    Lost(String),
    /// It cannot go on without a person; says what that person can do.
    #[error("{0}")]
    Stop(String),
    /// The receiver will never take some of what it was handed, however often it
    /// is asked. Not for what a person can mend for all entries, such as a
    /// password that is refused: that is a [`ListenError::Stop`].
    #[error("{}", .0.why)]
    Rejected(Rejected),
}

impl ListenError {
    /// An error of the system while doing `what`, worth another try.
    pub fn io(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        Self::Retry(format!("{what}: {error}"))
    }
}

/// What a listener wants when continuity cannot be proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum OnGap {
    /// Stop, naming what is missing: for a backup, which must not have a hole.
    Stop,
    /// Take the gap as an entry and go on: for mail and for display.
    Notify,
}

/// Makes one kind of listener. The registry is a slice of these.
pub trait ListenerFactory: Sync {
    /// The word in the configuration: `Mirror`.
    fn name(&self) -> &'static str;

    /// What it does, in a few paragraphs, for people who write configurations: an empty
    /// line stands between them, and what is indented by four stays as it is.
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

    /// Reads the arguments and builds the listener. Called once, at start;
    /// `tripline check` calls it too, so it must not write or connect.
    ///
    /// # Errors
    ///
    /// When an argument is not understood or not possible.
    fn build(
        &self,
        args: &Args<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Built, ArgsError>;
}

/// What a factory may use besides its arguments.
#[derive(Clone, Copy, Debug)]
pub struct BuildContext<'a> {
    /// The listener's name in the configuration.
    pub name: &'a str,
    /// The directory of the configuration file: relative paths start there.
    pub directory: &'a Path,
    /// The directory below the engine's own that belongs to this listener alone,
    /// for what it has to remember. It may not be there yet: whoever needs it
    /// makes it, for its owner only.
    pub state: &'a Path,
}

impl BuildContext<'_> {
    /// A path as written in the configuration, made independent of the
    /// working directory.
    pub fn path(&self, written: &Path) -> PathBuf {
        self.directory.join(written)
    }
}

/// A listener, and what its lane must know.
pub struct Built {
    /// The listener.
    pub listener: Box<dyn Listener>,
    /// The names of the sources it follows.
    pub from: Vec<String>,
    /// It can do nothing with other sources than journals.
    pub only_journals: bool,
    /// It wants the records of a journal when their transaction is closed, and
    /// not before: see [`Reader::hold_open_transactions`].
    ///
    /// [`Reader::hold_open_transactions`]: crate::Reader::hold_open_transactions
    pub whole_transactions: bool,
    /// What happens at a gap.
    pub on_gap: OnGap,
    /// After how long without entries `no_data` is called.
    pub quiet: Duration,
    /// How long what trickles in may wait to be flushed together.
    pub flush_after: Duration,
    /// The file or directory that the listener alone writes to: no other may,
    /// and it must not be where a source keeps its files. `None` for one that
    /// writes to no file.
    pub writes: Option<PathBuf>,
    /// Files with secrets that it reads whenever it needs them: `tripline check` looks at
    /// them.
    pub secrets: Vec<SecretFile>,
    /// Listeners that belong to this one, each with a word: they run under the
    /// name `NAME.WORD`, on a lane and with a cursor of their own.
    pub beside: Vec<(&'static str, Self)>,
    /// For one that keeps a backup: what a person can have done with it.
    pub backup: Option<Box<dyn Backup>>,
}

impl Built {
    /// How long what trickles in waits to be flushed, unless a listener says so.
    pub const FLUSH_AFTER: Duration = Duration::from_millis(50);

    /// A listener that follows these sources, journals and logs, writes to no file
    /// that others must keep away from, and goes on behind a gap.
    pub fn new(listener: Box<dyn Listener>, from: Vec<String>, quiet: Duration) -> Self {
        Self {
            listener,
            from,
            only_journals: false,
            whole_transactions: false,
            on_gap: OnGap::Notify,
            quiet,
            flush_after: Self::FLUSH_AFTER,
            writes: None,
            secrets: Vec::new(),
            beside: Vec::new(),
            backup: None,
        }
    }
}
