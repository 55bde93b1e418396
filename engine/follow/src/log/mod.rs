//! The `Log` source: log files through everything that rotates them.
//!
//! One reader walks any number of logs. A *log* is a path that is written to,
//! with the rotated files beside it; its files are read in the order in which
//! they were written, and each is recognised by its content: by its first
//! bytes, and by those just before the place. `decide.rs` says what follows
//! from what is there; `trail.rs` walks one log, `reader.rs` gives each its
//! turn.
//!
//! # Known limits
//!
//! * Where nothing that is kept tells it, a loss cannot be noticed: a file that
//!   came and went within a moment, and one that was cut and has regrown with
//!   the very same bytes in the places that are compared.
//! * Several writers, some of which still write to a rotated file when another
//!   already writes to the new one: what comes to the old file after that is
//!   not read.
//! * Of two files of different logs that were renamed into each other's place
//!   while nobody looked, and compressed, each counts as the other's.
//! * A file that is called as a log is, with a date or a number in it
//!   (`app-20261120.log` or `app.1.log` beside `app.log`), counts as a rotated
//!   file of that log. Should it be a log of its own that is still written to,
//!   what comes to it after it was read is not read: leave the other one out.
//! * A file that is replaced by a copy of itself with more behind, as `rsync` and
//!   editors do, is read again from its start.
//! * What is known of a log is kept when the log is gone for good, and that a
//!   log is gone is only said when a new one comes to its path.

mod decide;
mod doc;
mod examine;
mod family;
mod feeds;
pub mod join;
pub mod lines;
mod links;
mod logs;
mod names;
mod old;
mod open;
mod paths;
mod places;
mod reader;
mod scan;
mod settings;
mod source;
mod trail;

pub use paths::{FoundFiles, find_files};
pub use source::FACTORY;
