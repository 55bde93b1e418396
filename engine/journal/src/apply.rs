//! A checkpoint with journals applied.

use std::io;
use std::io::Read;
use std::io::Write;

use crate::key::Case;
use crate::overlaid::Overlaid;
use crate::overlay::ChainBreak;
use crate::overlay::JournalsSummary;
use crate::reader::ReadError;
use crate::row::CheckpointSummary;
use crate::row::Item;

/// How rows are compared and keyed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether the server folds case. `None` takes the flag in the checkpoint's header;
    /// a checkpoint without one (2009.2 and older) is taken to be of a folding server if
    /// its lines end with CR LF, which only servers on Windows write.
    pub case: Option<Case>,
}

/// What applying journals did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// What was read in the journals.
    pub journals: JournalsSummary,
    /// The counter `journal` of the checkpoint: the number of the journal that goes on
    /// from it.
    pub checkpoint_number: Option<u64>,
    /// What was read in the checkpoint.
    pub checkpoint: CheckpointSummary,
    /// Rows of the result.
    pub rows_written: u64,
    /// Rows of the checkpoint that came behind one with a greater key. The result holds
    /// the right rows all the same, though not all of them in order.
    pub rows_out_of_order: u64,
    /// Rows that were deleted and neither in the checkpoint nor put before. A server
    /// refuses such a journal unless it is told to go on.
    pub missing_deletes: u64,
    /// Tables of the journals that the schema does not know. Their rows are keyed by
    /// all their columns, so that replacing one leaves the old one behind.
    pub unknown_tables: Vec<String>,
}

/// Why a checkpoint could not be worked on.
#[derive(Debug, thiserror::Error)]
#[error("{input}: {kind}")]
pub struct CheckpointError {
    /// Which of the files it is about.
    pub input: Input,
    /// What happened.
    pub kind: CheckpointErrorKind,
}

/// One of the files given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Input {
    /// The checkpoint; the first one of two.
    #[error("the checkpoint")]
    Checkpoint,
    /// A journal, by its place among those given, counted from 0.
    #[error("journal {} of those given", .0 + 1)]
    Journal(usize),
    /// The second checkpoint.
    #[error("the second checkpoint")]
    Next,
    /// The output.
    #[error("the output")]
    Output,
}

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointErrorKind {
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It could not be written.
    #[error("cannot write: {0}")]
    Write(io::Error),
}

/// Writes `checkpoint` with `journals` applied, in the order they are given, as a
/// checkpoint.
///
/// The rows of each table come out in key order, tables in the order of the checkpoint;
/// a table it does not have comes last. Notes and markers of the checkpoint pass as they
/// are, but for the checksum of a table that the journals touch: it becomes 0, as the
/// server alone knows how to compute it.
///
/// Only what an `@ex@` commits is applied. Servers before 2006.2 wrote no markers: rows of
/// journals in which nothing shows that the server writes any, no marker, no note and no
/// `@vv@`, not in the journals before them either, stand for themselves.
///
/// Memory: the journals' rows, each in its last state, and a block of each file. The
/// checkpoint streams.
///
/// ```
/// let checkpoint = b"@pv@ 1 @db.counters@ @change@ @7@ \n@ex@ 1 1\n";
/// let journal = b"@rv@ 1 @db.counters@ @change@ @8@ \n@pv@ 1 @db.counters@ @job@ @1@ \n@ex@ 1 2\n";
/// let mut out = Vec::new();
/// let applied = p4journal::apply(&checkpoint[..], [&journal[..]], &mut out, &Default::default())?;
/// assert_eq!(
///     out,
///     b"@pv@ 1 @db.counters@ @change@ @8@ \n@pv@ 1 @db.counters@ @job@ @1@ \n@ex@ 1 1\n"
/// );
/// assert_eq!((applied.checkpoint.rows, applied.rows_written), (1, 2));
/// # Ok::<(), p4journal::CheckpointError>(())
/// ```
///
/// # Errors
///
/// When a file cannot be read or the output not be written. Damage in a file is no
/// error: it is passed over and counted.
pub fn apply<C: Read, J: Read>(
    checkpoint: C,
    journals: impl IntoIterator<Item = J>,
    mut out: impl Write,
    options: &Options,
) -> Result<Applied, CheckpointError> {
    let mut overlaid = Overlaid::open(checkpoint, journals, options)?;
    let format = overlaid.format();
    let write_error = |error| CheckpointError {
        input: Input::Output,
        kind: CheckpointErrorKind::Write(error),
    };
    while let Some(item) = overlaid.next()? {
        match item {
            Item::Row(placed) => placed.row.write(&placed.table, format, &mut out),
            Item::Other(other) => out.write_all(&other.bytes),
        }
        .map_err(write_error)?;
    }
    out.flush().map_err(write_error)?;
    Ok(overlaid.finish())
}

impl Applied {
    /// Where the files do not belong one after the other: the checkpoint's counter
    /// `journal` names the first journal's number, each journal's trailer the next one's.
    /// They are applied all the same; whether that makes sense is the caller's to say.
    pub fn breaks(&self) -> impl Iterator<Item = ChainBreak> {
        let given = self.journals.journals.first().map(|journal| journal.number);
        let first = self.checkpoint_number.zip(given).and_then(|(wanted, given)| {
            (given != Some(wanted)).then_some(ChainBreak::Checkpoint { wanted, given })
        });
        first.into_iter().chain(self.journals.breaks())
    }
}

/// Names the file that an error is about.
pub(crate) fn of(input: Input) -> impl Fn(ReadError) -> CheckpointError {
    move |error| CheckpointError { input, kind: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(checkpoint: &str, journals: &[&str]) -> (String, Applied) {
        let mut out = Vec::new();
        let journals = journals.iter().map(|journal| journal.as_bytes());
        let options = Options::default();
        let done = apply(checkpoint.as_bytes(), journals, &mut out, &options).unwrap();
        (String::from_utf8(out).unwrap(), done)
    }

    fn counter(name: &str, value: u32) -> String {
        format!("@pv@ 1 @db.counters@ @{name}@ @{value}@ \n")
    }

    #[test]
    fn puts_replaces_and_deletes_in_order() {
        let checkpoint =
            counter("b", 1) + &counter("d", 1) + &counter("f", 1) + "@ex@ 1 1\n";
        let journal = "@pv@ 1 @db.counters@ @a@ @2@ \n@rv@ 1 @db.counters@ @d@ @2@ \n\
            @dv@ 1 @db.counters@ @f@ @0@ \n@pv@ 1 @db.counters@ @c@ @2@ \n\
            @pv@ 1 @db.counters@ @z@ @2@ \n@dv@ 1 @db.counters@ @y@ @0@ \n@ex@ 1 2\n";
        let (out, done) = applied(&checkpoint, &[journal]);
        let rows = [("a", 2), ("b", 1), ("c", 2), ("d", 2), ("z", 2)];
        let expected: String = rows.map(|(name, value)| counter(name, value)).concat();
        assert_eq!(out, expected + "@ex@ 1 1\n");
        assert_eq!(done.checkpoint.rows, 3);
        assert_eq!((done.rows_written, done.missing_deletes), (5, 1));
        assert_eq!(done.rows_out_of_order, 0);
    }

    #[test]
    fn only_committed_changes_are_applied() {
        let journal = "@pv@ 1 @db.counters@ @a@ @1@ \n@mx@ 7 1\n\
            @pv@ 1 @db.counters@ @b@ @1@ \n@ex@ 8 1\n@pv@ 1 @db.counters@ @c@ @1@ \n@ex@ 7 2\n\
            @pv@ 1 @db.counters@ @d@ @1@ \n@mx@ 9 1\n@pv@ 1 @db.counters@ @e@ @1@ \n";
        let (out, done) = applied("@ex@ 1 1\n", &[journal]);
        let rows: String = ["a", "b", "c"].map(|name| counter(name, 1)).concat();
        assert_eq!(out, format!("@ex@ 1 1\n{rows}@ex@ 1 1\n"));
        assert_eq!(done.journals.uncommitted, 2);
    }

    #[test]
    fn journals_of_servers_without_markers_commit_each_record() {
        let (out, done) = applied("", &["@put@ 1 @db.counters@ @a@ @1@ \n"]);
        assert_eq!((out, done.journals.uncommitted), (counter("a", 1), 0));
    }

    #[test]
    fn a_live_journal_without_its_first_marker_commits_nothing() {
        let row = |name| counter(name, 1);
        let header = "@nx@ 2 1 @40@ 2 0 0 0 0 @root@ @journal@ @@ @@ @@ \n";
        let number = "@vv@ 1 @db.counters@ @journal@ @5@ \n";
        for head in [header, number] {
            let (out, done) = applied("", &[&(head.to_owned() + &row("a"))]);
            assert_eq!((out.as_str(), done.journals.uncommitted), ("", 1), "{head}");
        }
        // Nor does it when only the journals before it tell that the server writes
        // markers, and it commits nothing of theirs.
        let before = row("a") + "@ex@ 1 1\n" + &row("b");
        let (out, done) = applied("", &[&before, &row("c")]);
        assert_eq!((out, done.journals.uncommitted), (row("a"), 2));
        // A transaction may go on in the next journal.
        let (out, _) = applied("", &[&before, &(row("c") + "@ex@ 1 2\n")]);
        assert_eq!(out, row("a") + &row("b") + &row("c"));
    }

    #[test]
    fn damage_in_the_checkpoint_is_counted() {
        let checkpoint = counter("a", 1) + "@pv@ garbage\n@pv@ 1 @db.counters@ @b";
        let (_, done) = applied(&checkpoint, &[]);
        let read = done.checkpoint;
        assert_eq!((read.rows, read.damaged, read.tail_bytes), (1, 1, 23));
        assert!(!read.is_sound());
    }

    #[test]
    fn a_checkpoint_out_of_order_has_the_right_rows_all_the_same() {
        let checkpoint = counter("d", 1) + &counter("b", 1) + &counter("e", 1);
        let journal =
            "@rv@ 1 @db.counters@ @b@ @2@ \n@pv@ 1 @db.counters@ @a@ @2@ \n@ex@ 1 1\n";
        let (out, done) = applied(&checkpoint, &[journal]);
        let mut lines: Vec<&str> = out.lines().collect();
        lines.sort_unstable();
        let expected: String = [("a", 2), ("b", 2), ("d", 1), ("e", 1)]
            .map(|(name, value)| counter(name, value))
            .concat();
        assert_eq!(lines, expected.lines().collect::<Vec<_>>());
        assert_eq!(done.rows_out_of_order, 1);
    }

    #[test]
    fn new_tables_come_before_the_trailer() {
        let checkpoint = "@nx@ 0 1 @30@ 1 0 0 0 0 @@ @@ @@ @@ \n\
            @nx@ 4 1 @30@ 1 0 -18 0 0 @db.depot@ @@ @@ @@ \n@ex@ 1 1\n\
            @nx@ 1 1 @30@ 0 0 0 0 0 @@ @@ @@ @@ \n@ex@ 1 1\n";
        let journal =
            "@pv@ 0 @db.nosuch@ 1 \n@pv@ 1 @db.depot@ @d@ 0 @@ @d/...@ \n@ex@ 1 2\n";
        let (out, done) = applied(checkpoint, &[journal]);
        let expected = "@nx@ 0 1 @30@ 1 0 0 0 0 @@ @@ @@ @@ \n\
            @nx@ 4 1 @30@ 1 0 0 0 0 @db.depot@ @@ @@ @@ \n@pv@ 1 @db.depot@ @d@ 0 @@ @d/...@ \n\
            @ex@ 1 1\n@pv@ 0 @db.nosuch@ 1 \n@ex@ 1 1\n\
            @nx@ 1 1 @30@ 0 0 0 0 0 @@ @@ @@ @@ \n@ex@ 1 1\n";
        assert_eq!(out, expected);
        assert_eq!(done.unknown_tables, ["db.nosuch"]);
    }

    #[test]
    fn line_ends_follow_the_checkpoint() {
        let journal = "@pv@ 0 @db.desc@ 2 @two\nlines\n@ \n@ex@ 1 1\n";
        let (out, _) =
            applied("@pv@ 0 @db.desc@ 1 @one\r\n@ \r\n@ex@ 1 1\r\n", &[journal]);
        assert_eq!(
            out,
            "@pv@ 0 @db.desc@ 2 @two\r\nlines\r\n@ \r\n@pv@ 0 @db.desc@ 1 @one\r\n@ \r\n@ex@ 1 1\r\n"
        );
    }

    #[test]
    fn the_first_journal_is_the_one_the_checkpoint_names() {
        let checkpoint = counter("journal", 7);
        let numbered = |number: u32| {
            format!("@vv@ 1 @db.counters@ @journal@ @{number}@ \n@ex@ 1 1\n")
        };
        let breaks = |journal: &str| applied(&checkpoint, &[journal]).1.breaks().next();
        assert_eq!(breaks(&numbered(7)), None);
        let wrong = ChainBreak::Checkpoint { wanted: 7, given: Some(8) };
        assert_eq!(breaks(&numbered(8)), Some(wrong));
        assert_eq!(
            wrong.to_string(),
            "the checkpoint goes on with journal 7, and the first one given is 8"
        );
    }
}
