//! How bytes become entries.
//!
//! * [`journal`] follows a Perforce journal through its rotations: the live
//!   file, the renamed, copied and compressed ones before it, in the order of
//!   the numbers written *inside* them.
//! * [`log`] follows log files through everything that rotates them.
//! * [`archive`] decompresses a file of any format that rotated logs are kept
//!   in, to a proven end and within limits.
//! * [`Waker`] turns file-system events into "look there now". An event is a hint
//!   and never a fact: readers look at the files themselves, also without events.
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

pub mod archive;
mod clock;
mod file;
pub mod journal;
pub mod log;
mod waker;

pub use clock::Clock;
pub use waker::{Hints, Looking, PATHS_MAX, Sign, Tell, Waker};

use tripline_api::SourceFactory;

/// Every kind of source: the words that may stand before the parenthesis in
/// `sources`.
pub static ALL: &[&dyn SourceFactory] = &[&journal::FACTORY, &log::FACTORY];
