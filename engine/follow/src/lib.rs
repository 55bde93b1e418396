//! How bytes become entries.
//!
//! * [`journal`] follows a Perforce journal through its rotations: the live
//!   file, the renamed, copied and compressed ones before it, in the order of
//!   the numbers written *inside* them.
//! * [`Waker`] turns file-system events into "look now". An event is a hint and
//!   never a fact: readers look at the files themselves, also without events.
//!
//! # Known limits
//!
//! * A file that was written, rotated away and deleted between two looks is a
//!   gap: it is announced, with its number, but its bytes are gone.
//! * Between the copy and the truncation of a copying rotation a writer may add
//!   bytes that no file keeps. A Perforce server holds its locks meanwhile;
//!   where another writer does not, the journal's trailer is missing and that
//!   is announced.
//! * Over network file systems no events come: changes are seen at the next
//!   poll, a second later at most unless configured otherwise.

mod file;
pub mod journal;
mod waker;

pub use waker::{Hints, Waker};

use tripline_api::SourceFactory;

/// Every kind of source: the words that may stand before the parenthesis in
/// `sources`.
pub static ALL: &[&dyn SourceFactory] = &[&journal::FACTORY];
