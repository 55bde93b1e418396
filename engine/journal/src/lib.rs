//! Perforce journals and checkpoints as a format: split, read, apply, verify.
//!
//! A Perforce server writes every change of its database into a journal, a text file of
//! records such as
//!
//! ```text
//! @rv@ 1 @db.change@ 7 7 @ann-ws@ @ann@ 1292544037 1 @Fix the loader
//! @ @//depot/loader/*@
//! @ex@ 7080 1292544037
//! ```
//!
//! and its whole database, from time to time, into a checkpoint of the same form. This
//! crate reads both, from 97.3 to 2024.1, of servers on Unix and on Windows, as bytes: it
//! makes no assumption about their encoding, and nothing in them makes it panic.
//!
//! # The nouns
//!
//! - A [`Piece`] is one record's bytes, or a stretch of bytes that is none. [`Splitter`]
//!   finds where it ends, in a buffer that grows; [`Reader`] does so over anything that
//!   reads; [`resync`] finds the way in from the middle of a file.
//! - A [`Record`] is operator, version, table and [`Field`]s. Its columns have names by
//!   the [`schema`].
//! - A [`Marker`], `@ex@` or `@mx@`, ends or pauses a transaction; [`Transactions`]
//!   follows them. Only `@ex@` commits.
//! - A [`Head`] is what a file's first records say it is, its number above all; a
//!   [`Trailer`] is how a journal ends that was rotated.
//! - A [`Count`] is what is in a file, by operator and table. [`Counter`] counts a stream,
//!   [`Count::of_file`] a plain file on several cores.
//! - The chain law: checkpoint N with journal N applied is checkpoint N+1. [`apply`] does
//!   it, [`verify`] checks it and explains where it does not hold, [`diff`] compares two
//!   checkpoints row by row.
//! - A [`PathPattern`] is a path with Perforce's wildcards; a [`PathView`] is a list of them
//!   in which the last one that matches decides. [`Compose`] writes a record.
//!
//! # Example
//!
//! ```
//! use p4journal::{Reader, Record};
//!
//! let journal = b"@pv@ 0 @db.desc@ 7 @mail ann@@example.net\n@ \n@ex@ 7080 1292544037\n";
//! let mut reader = Reader::new(&journal[..]);
//! while let Some(entry) = reader.next()? {
//!     let record = entry.record()?;
//!     match (record.table(), record.marker()) {
//!         (Some(table), _) => {
//!             println!("line {}: {table}", entry.line);
//!             for (name, value) in record.columns() {
//!                 println!("  {name} = {}", String::from_utf8_lossy(&value.text()));
//!             }
//!         }
//!         (_, Some(marker)) => println!("committed by process {}", marker.pid),
//!         _ => {}
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Known limits
//!
//! - Nothing is decompressed: hand over a decompressor that reads all members of a gzip
//!   file and checks its end, or a cut file looks like a short one.
//! - A checkpoint that is a directory of files (`p4d -jcp`) is several inputs, one a table.
//! - Case is folded for ASCII letters only. On a unicode server that folds case, two
//!   spellings of a name that differ in another letter are two names here.
//! - The rows of a table that the schema does not know are keyed by all their columns, so
//!   that a replaced row stays beside the new one; [`Applied::unknown_tables`] names them.
//!   A later version of a known table is read by its latest layout, and columns beyond
//!   that have positions for names. The schema begins with 2006.2: an older record is read
//!   by the oldest layout of its table, which may misname its columns.
//! - The order of rows is known from checkpoints of 2009.2 to 2015.2. Where another server
//!   sorts otherwise, results are the same and cost more memory.
//! - [`apply`] cannot compute a server's table checksums, and writes 0 for the tables it
//!   touched.
//! - `@dl@`, which deletes an archive and no row, is passed over by [`apply`].

pub use crate::apply::Applied;
pub use crate::apply::CheckpointError;
pub use crate::apply::CheckpointErrorKind;
pub use crate::apply::Input;
pub use crate::apply::Options;
pub use crate::apply::apply;
pub use crate::compare::Comparison;
pub use crate::compare::Difference;
pub use crate::compare::DifferenceKind;
pub use crate::compare::TableComparison;
pub use crate::compare::diff;
pub use crate::compose::Compose;
pub use crate::count::Count;
pub use crate::count::Counter;
pub use crate::field::ColumnName;
pub use crate::field::Columns;
pub use crate::field::Field;
pub use crate::field::Fields;
pub use crate::field::Value;
pub use crate::journal::Head;
pub use crate::journal::Header;
pub use crate::journal::Trailer;
pub use crate::key::Case;
pub use crate::note::Note;
pub use crate::note::NoteKind;
pub use crate::overlay::ChainBreak;
pub use crate::overlay::JournalSummary;
pub use crate::overlay::JournalsSummary;
pub use crate::path::MapFlag;
pub use crate::path::PathPattern;
pub use crate::path::PathView;
pub use crate::reader::Entry;
pub use crate::reader::RECORD_BYTES_MAX;
pub use crate::reader::ReadError;
pub use crate::reader::ReadErrorKind;
pub use crate::reader::Reader;
pub use crate::record::Marker;
pub use crate::record::Op;
pub use crate::record::Record;
pub use crate::record::RecordError;
pub use crate::record::RecordErrorKind;
pub use crate::row::CheckpointSummary;
pub use crate::row::Row;
pub use crate::split::Piece;
pub use crate::split::Pieces;
pub use crate::split::Splitter;
pub use crate::split::resync;
pub use crate::split::starts_record;
pub use crate::transaction::Step;
pub use crate::transaction::Transactions;
pub use crate::verify::Evidence;
pub use crate::verify::Explanation;
pub use crate::verify::Verification;
pub use crate::verify::verify;

pub mod schema;

mod apply;
mod compare;
mod compose;
mod count;
#[cfg(unix)]
mod count_file;
mod field;
mod journal;
mod key;
mod mask;
mod note;
mod order;
mod overlaid;
mod overlay;
mod path;
mod reader;
mod record;
mod row;
mod split;
mod tally;
mod transaction;
mod verify;

/// Runs the examples of the read-me as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
