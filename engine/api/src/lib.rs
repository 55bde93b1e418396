//! The nouns of Tripline, and the traits between its parts.
//!
//! * A [`Source`] is a thing followed. It opens [`Reader`]s; each [`Reader`]
//!   walks the source at a [`Place`] of its own and hands out [`Batch`]es of
//!   whole [`Entry`]s, or a [`Gap`] where continuity could not be proved.
//! * A [`Listener`] takes entries. It is built once, at start, by its
//!   [`ListenerFactory`] from the arguments in the configuration.
//! * A [`Cursor`] says up to which [`Place`] a listener has settled everything,
//!   and carries the [`Proof`] with which the place is found again.
//! * A [`Letter`] is what a receiver will never take, and was set aside.
//! * A [`Store`] keeps cursors, states, announced gaps and letters, one transaction
//!   a commit.
//!
//! A listener sees this crate and nothing else of the engine:
//!
//! ```
//! use tripline_api::{ListenError, Listener, View};
//!
//! /// Counts the changes that pass by.
//! #[derive(Default)]
//! struct Changes(u64);
//!
//! impl Listener for Changes {
//!     fn is_handled(&self, entry: &tripline_api::Entry<'_>) -> bool {
//!         entry.record().is_some_and(|r| r.table() == Some("db.change"))
//!     }
//!
//!     fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
//!         self.0 += entries.len() as u64;
//!         Ok(())
//!     }
//! }
//! ```

mod agenda;
mod args;
mod argument;
mod backup;
mod batch;
mod cursor;
mod files;
mod gap;
mod json;
mod letter;
mod line_time;
mod listener;
mod place;
mod secrets;
mod source;
mod store;

pub use agenda::{Agenda, Bell};
pub use args::{Args, ArgsError, FriendlyDuration};
pub use argument::{Argument, Form, Has, UnlessGiven, Wants};
pub use backup::{Backup, Compared, Difference, Seeded, Seeding, Tell, Told, Verifying};
pub use batch::{Batch, Entries, Entry, LogFile, Mark, Span, View};
pub use cursor::{Cursor, Digest, Proof};
pub use files::{Looked, SecretFile, resolved};
pub use gap::{Gap, GapKind};
pub use json::{write_entry, write_gap, write_record};
pub use letter::{Content, Culprit, Letter, Rejected};
pub use line_time::{LineTime, TimeFormat, ZoneError};
pub use listener::{
    Begin, BuildContext, Built, Flushed, ListenError, Listener, ListenerFactory, OnGap,
};
pub use place::{ListenerId, Place, SourceId};
pub use secrets::Secrets;
pub use source::{
    Again, Behind, Changed, Idle, Left, NextToGo, Reader, Settled, Source, SourceError,
    SourceFactory, Start, Step,
};
pub use store::{
    Change, Filed, Kept, Key, LetterCounts, Progress, State, Store, StoreError,
};
