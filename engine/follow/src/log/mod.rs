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

mod decide;
mod examine;
mod family;
mod feeds;
pub mod join;
pub mod lines;
mod links;
mod logs;
mod names;
mod open;
mod paths;
mod places;
mod reader;
mod scan;
mod settings;
mod source;
mod trail;

pub use source::FACTORY;
