//! `tripline journal apply`, `verify` and `diff`: what journals make of a
//! checkpoint.

use super::differences::Differences;
use super::input::{Input, is_damage};
use super::output::Output;
use crate::cli::{ApplyArgs, DiffArgs, VerifyArgs, exit};
use crate::terminal::say;
use p4journal::{
    Applied, ChainBreak, CheckpointError, CheckpointErrorKind, CheckpointSummary,
    JournalSummary, Options, ReadErrorKind,
};
use std::io::{self, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tripline_diagnose::{counted, shown};

/// Writes a checkpoint with the journals applied.
pub(crate) fn apply(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let ApplyArgs { to, part, checkpoint, journals } = args;
    let files = Files { checkpoint, journals, other: to };
    files.probe_inputs(None)?;
    // The checkpoint may be: it is replaced at once, when all went well.
    for input in journals {
        if is_same_file(to, input) {
            anyhow::bail!(
                "`{}` is one of the inputs: write to another file, and move it there \
                 when it is what you want",
                shown(to)
            );
        }
    }
    let output = Output::create(to, checkpoint)?;
    let applied = p4journal::apply(
        Lazy::new(checkpoint),
        journals.iter().map(|path| Lazy::new(path)),
        BufWriter::with_capacity(256 * 1024, &output.file),
        &Options::default(),
    );
    let applied = match applied {
        Ok(applied) => applied,
        Err(error) => return Ok(files.failed(&error)),
    };
    let is_chain = *part || judge_chain(&files, &applied);
    let is_sound = is_chain
        & files.judge(&applied)
        & judge_checkpoint(checkpoint, applied.checkpoint);
    if !is_sound {
        let to = shown(to);
        match output.is_pending() {
            true => say(format_args!("`{to}` was not written")),
            false => say(format_args!("what was written into `{to}` is of no use")),
        }
        return Ok(ExitCode::from(exit::NO));
    }
    output.finish()?;
    let journals = counted(journals.len(), "journal");
    let (before, after) = (applied.checkpoint.rows, applied.rows_written);
    say(format_args!("{journals} applied: {before} rows became {after}"));
    Ok(ExitCode::SUCCESS)
}

/// Applies journals to a checkpoint and compares it with the next one.
pub(crate) fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let [checkpoint, journals @ .., next] = args.files.as_slice() else {
        anyhow::bail!("two checkpoints are needed, and the journals between them");
    };
    let files = Files { checkpoint, journals, other: next };
    files.probe_inputs(Some(next))?;
    let mut differences = Differences::new(args.explain);
    let verified = p4journal::verify(
        Lazy::new(checkpoint),
        journals.iter().map(|path| Lazy::new(path)),
        Lazy::new(next),
        &Options::default(),
        |difference, why| differences.see(difference, why),
    );
    let verification = match verified {
        Ok(verification) => verification,
        Err(error) => return Ok(files.failed(&error)),
    };
    let comparison = &verification.comparison;
    let is_sound = judge_chain(&files, &verification.applied)
        & files.judge(&verification.applied)
        & judge_checkpoint(checkpoint, comparison.first)
        & judge_checkpoint(next, comparison.second);
    differences.finish_explained(comparison)?;
    Ok(code(verification.holds() && is_sound))
}

/// Compares two checkpoints.
pub(crate) fn diff(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let files = Files { checkpoint: &args.left, journals: &[], other: &args.right };
    files.probe_inputs(Some(&args.right))?;
    let mut differences = Differences::new(args.explain);
    let compared = p4journal::diff(
        Lazy::new(&args.left),
        Lazy::new(&args.right),
        &Options::default(),
        |difference| differences.see(&difference, None),
    );
    let comparison = match compared {
        Ok(comparison) => comparison,
        Err(error) => return Ok(files.failed(&error)),
    };
    let is_sound = judge_checkpoint(&args.left, comparison.first)
        & judge_checkpoint(&args.right, comparison.second);
    differences.finish(&comparison)?;
    Ok(code(comparison.differ() == 0 && is_sound))
}

fn code(is_alike: bool) -> ExitCode {
    if is_alike { ExitCode::SUCCESS } else { ExitCode::from(exit::NO) }
}

/// The files of a command, to name them in messages.
struct Files<'a> {
    checkpoint: &'a Path,
    journals: &'a [PathBuf],
    /// The second checkpoint, or the output: no command has both.
    other: &'a Path,
}

impl Files<'_> {
    /// Fails, before hours of work, when one of the inputs cannot be opened.
    fn probe_inputs(&self, next: Option<&Path>) -> anyhow::Result<()> {
        Input::probe(self.checkpoint)?;
        self.journals.iter().try_for_each(|path| Input::probe(path))?;
        next.map_or(Ok(()), Input::probe)
    }

    /// Says which file could not be worked on. Damage is an answer, not a
    /// failure.
    fn failed(&self, error: &CheckpointError) -> ExitCode {
        let path = shown(match error.input {
            p4journal::Input::Checkpoint => self.checkpoint,
            p4journal::Input::Journal(index) => &self.journals[index],
            p4journal::Input::Next | p4journal::Input::Output => self.other,
        });
        say(format_args!("`{path}`: {}", error.kind));
        ExitCode::from(match &error.kind {
            CheckpointErrorKind::Read(read) => match &read.kind {
                ReadErrorKind::Input(input) if !is_damage(input) => exit::FAILED,
                _ => exit::NO,
            },
            _ => exit::FAILED,
        })
    }

    /// Says what is wrong with the journals; false when the result cannot be
    /// relied on.
    fn judge(&self, applied: &Applied) -> bool {
        let mut is_sound = true;
        let last = self.journals.last();
        for (journal, path) in applied.journals.journals.iter().zip(self.journals) {
            is_sound &= judge_journal(path, journal, Some(path) == last);
        }
        if applied.missing_deletes > 0 {
            let rows = counted(applied.missing_deletes as usize, "row");
            say(format_args!(
                "note: {rows} to be deleted were not there: \
                 was the checkpoint taken before the first journal?"
            ));
        }
        for table in &applied.unknown_tables {
            say(format_args!(
                "note: the table {table} is not known; its rows are told apart by \
                 all their columns"
            ));
        }
        if applied.journals.uncommitted > 0 {
            let changes = counted(applied.journals.uncommitted as usize, "change");
            say(format_args!(
                "note: {changes} without a transaction's end left out: the server was \
                 stopped in the middle, or is still writing"
            ));
        }
        is_sound
    }
}

/// Says where journals are missing; false when they are.
fn judge_chain(files: &Files<'_>, applied: &Applied) -> bool {
    let mut is_whole = true;
    for chain_break in applied.breaks() {
        let path = shown(match chain_break {
            ChainBreak::Checkpoint { .. } => files.checkpoint,
            ChainBreak::Journals { first, .. } => &files.journals[first],
        });
        say(format_args!(
            "`{path}`: {chain_break}: give all journals after the checkpoint, in order"
        ));
        is_whole = false;
    }
    is_whole
}

/// Says what is wrong with a journal; false when it cannot be relied on. The last
/// one may still be written.
fn judge_journal(path: &Path, journal: &JournalSummary, is_last: bool) -> bool {
    let path = shown(path);
    if journal.damaged > 0 {
        let places = counted(journal.damaged as usize, "place");
        say(format_args!("`{path}` is damaged in {places}"));
    }
    let is_cut = journal.tail_bytes > 0 && !is_last;
    if journal.tail_bytes > 0 {
        let bytes = counted(journal.tail_bytes as usize, "byte");
        match is_cut {
            true => say(format_args!(
                "`{path}`: {bytes} behind the last whole record: it was cut short"
            )),
            false => say(format_args!(
                "note: `{path}`: {bytes} behind the last whole record left out: the next \
                 one is still being written, or torn"
            )),
        }
    }
    journal.damaged == 0 && !is_cut
}

/// Says what is wrong with a checkpoint; false when it cannot be relied on.
fn judge_checkpoint(path: &Path, read: CheckpointSummary) -> bool {
    if read.is_sound() {
        return true;
    }
    let path = shown(path);
    if read.damaged > 0 {
        let places = counted(read.damaged as usize, "place");
        say(format_args!("`{path}` is damaged in {places}"));
    }
    if read.tail_bytes > 0 {
        let bytes = counted(read.tail_bytes as usize, "byte");
        say(format_args!(
            "`{path}`: {bytes} behind the last whole record: it was cut short"
        ));
    }
    if read.rows == 0 {
        say(format_args!("`{path}` has no rows: it is no checkpoint"));
    }
    false
}

/// A file that is opened when it is first read, and closed at its end: there
/// may be hundreds of journals.
struct Lazy {
    path: PathBuf,
    reader: Option<Box<dyn Read + Send>>,
    at_end: bool,
}

impl Lazy {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), reader: None, at_end: false }
    }
}

impl Read for Lazy {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at_end {
            return Ok(0);
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => self.reader.insert(Input::open_file(&self.path)?.into_reader()),
        };
        let count = reader.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.at_end = true;
            self.reader = None;
        }
        Ok(count)
    }
}

/// Whether both names lead to one file.
fn is_same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let inode = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    inode(a).is_some_and(|one| inode(b) == Some(one))
}
