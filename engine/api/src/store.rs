//! What is kept between two runs.

use crate::{Cursor, Gap, Letter, ListenerId, SourceId};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Keeps cursors, states, announced gaps and letters.
///
/// One value owns the store at a time. A [`commit`](Self::commit) is all or
/// nothing, and when it returns `Ok` it has reached the disk.
pub trait Store: Send {
    /// Everything known of every listener, ordered by source, then listener.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn progress(&mut self) -> Result<Vec<Progress>, StoreError>;

    /// Applies the changes in order, in one transaction.
    ///
    /// # Errors
    ///
    /// When nothing was changed. Trying again is safe.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// The gaps announced so far to each listener, oldest first; at most the
    /// newest `<dyn Store>::GAPS_MAX` of each (source, listener) are kept.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn gaps(&mut self) -> Result<Vec<(Key, Gap)>, StoreError>;

    /// What was set aside and is still there, oldest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn letters(&mut self) -> Result<Vec<Filed>, StoreError>;

    /// How many letters each listener has of each source; reads none of them.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn letter_counts(&mut self) -> Result<LetterCounts, StoreError>;

    /// What a listener remembers, ordered by name.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn kept(&mut self, listener: &ListenerId) -> Result<Vec<Kept>, StoreError>;

    /// The parts of what a listener remembers whose names begin with one of these, all as
    /// they were at one moment: in the order of the beginnings, then of the names.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn kept_under(
        &mut self,
        listener: &ListenerId,
        prefixes: &[&str],
    ) -> Result<Vec<Kept>, StoreError> {
        let kept = self.kept(listener)?;
        let under = |prefix: &&str| {
            let prefix = (*prefix).to_owned();
            kept.iter().filter(move |it| it.name.starts_with(&prefix)).cloned()
        };
        Ok(prefixes.iter().flat_map(under).collect())
    }
}

/// How many letters there are, by source and listener; no zeros.
pub type LetterCounts = BTreeMap<(SourceId, ListenerId), u64>;

/// Something that a listener remembers besides its cursors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What it is called: of a listener's own there is one of each name.
    pub name: String,
    /// What it is; `None` when it is to be forgotten. A store has none of those.
    pub value: Option<Vec<u8>>,
}

/// A letter in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filed {
    /// Its number, which no other letter ever gets: a larger one is newer.
    pub number: u64,
    /// When it was set aside, or refused last, in seconds since 1970.
    pub time: i64,
    /// The letter.
    pub letter: Letter,
}

impl dyn Store {
    /// How many gaps are kept for each (source, listener).
    pub const GAPS_MAX: usize = 1000;
}

/// One listener's way through one source, or through one log of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The source.
    pub source: SourceId,
    /// The listener.
    pub listener: ListenerId,
    /// The log, in a source that has many; `None` for a journal, and for what
    /// is true of the source as a whole.
    pub log: Option<Arc<Path>>,
}

/// What is known of a listener on a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub key: Key,
    /// Up to where everything is settled; `None` when nothing ever was.
    pub cursor: Option<Cursor>,
    /// The cursor was put there by a person, and nothing was settled since.
    pub set_by_hand: bool,
    /// How many entries were settled, handled or not, since the beginning.
    pub entries_settled: u64,
    /// The time the last settled entry carries, in seconds since 1970.
    pub last_entry: Option<i64>,
    /// What the listener is doing.
    pub state: State,
    /// Why it stopped or is trying again.
    pub why: Option<String>,
}

/// What a listener is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has everything there was when it last looked.
    Following,
    /// There is more to read.
    CatchingUp,
    /// It stopped and needs a person.
    Stopped,
    /// Something failed and is tried again.
    Retrying,
}

impl State {
    /// The word used in JSON and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::CatchingUp => "catching_up",
            Self::Stopped => "stopped",
            Self::Retrying => "retrying",
        }
    }

    /// The state that [`State::name`] names.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Following, Self::CatchingUp, Self::Stopped, Self::Retrying]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// One change to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Everything before the cursor is settled. Clears `set_by_hand`.
    Settled {
        /// Whose.
        key: Key,
        /// Up to where.
        cursor: Cursor,
        /// How many entries more than before.
        entries: u64,
        /// The newest time among them, if any carries one.
        last_entry: Option<i64>,
    },
    /// The listener does something else now.
    State {
        /// Whose.
        key: Key,
        /// What.
        state: State,
        /// Why.
        why: Option<String>,
    },
    /// A gap was announced to the listener, which goes on behind it: its
    /// cursor moves to the gap's end.
    Gap {
        /// Whose.
        key: Key,
        /// Which.
        gap: Gap,
    },
    /// Nothing is known of the log any more: its row goes away.
    Forget {
        /// Whose.
        key: Key,
    },
    /// Something is set aside. One that is there already, of the same place and
    /// the same kind of content, is replaced and their attempts add up: after a
    /// crash it comes again.
    SetAside(Letter),
    /// A letter was delivered after all, or nobody wants it: it goes away.
    Unfile {
        /// Whose.
        key: Key,
        /// Its number.
        number: u64,
    },
    /// A listener remembers something, from the same moment on as what is settled with
    /// it in one commit. Of two of the same name the later one counts.
    Keep {
        /// Who.
        listener: ListenerId,
        /// What.
        kept: Vec<Kept>,
    },
    /// A person moves the cursor. Sets `set_by_hand`, and the state to
    /// [`State::CatchingUp`].
    SetByHand {
        /// Whose.
        key: Key,
        /// To where.
        cursor: Cursor,
    },
}

impl Change {
    /// Whose progress it changes; `None` when it changes that of nobody.
    pub const fn key(&self) -> Option<&Key> {
        Some(match self {
            Self::Keep { .. } => return None,
            Self::Settled { key, .. }
            | Self::State { key, .. }
            | Self::Gap { key, .. }
            | Self::Forget { key }
            | Self::Unfile { key, .. }
            | Self::SetByHand { key, .. } => key,
            Self::SetAside(letter) => &letter.key,
        })
    }
}

/// The store could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct StoreError {
    /// What was tried, in a user's words.
    pub what: String,
    /// What the database or the system said.
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}
