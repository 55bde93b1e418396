//! `tripline journal apply`, `verify` and `diff`: what journals make of a
//! checkpoint.

use super::input::{Input, is_damage};
use crate::cli::{ApplyArgs, DiffArgs, VerifyArgs, exit};
use crate::diagnose::{counted, shown};
use anyhow::Context as _;
use p4journal::{
    Applied, ChainBreak, CheckpointError, CheckpointErrorKind, Options, ReadErrorKind,
};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::differences::Differences;

/// Writes a checkpoint with the journals applied.
pub(crate) fn apply(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let paths = Paths {
        checkpoint: &args.checkpoint,
        journals: &args.journals,
        next: &args.checkpoint,
        out: &args.to,
    };
    let output = Output::create(&args.to)?;
    let applied = p4journal::apply(
        Lazy::new(&args.checkpoint),
        args.journals.iter().map(|path| Lazy::new(path)),
        BufWriter::with_capacity(256 * 1024, &output.file),
        &Options::default(),
    );
    let applied = match applied {
        Ok(applied) => applied,
        Err(error) => return paths.failed(&error),
    };
    if paths.complain(&applied)? {
        writeln!(io::stderr(), "tripline: `{}` was not written", shown(&args.to))?;
        return Ok(ExitCode::from(exit::NO));
    }
    output.finish()?;
    let journals = counted(args.journals.len(), "journal");
    let (before, after) = (applied.rows_read, applied.rows_written);
    writeln!(io::stderr(), "tripline: {journals} applied: {before} rows became {after}")?;
    Ok(ExitCode::SUCCESS)
}

/// Applies journals to a checkpoint and compares it with the next one.
pub(crate) fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let [checkpoint, journals @ .., next] = args.files.as_slice() else {
        anyhow::bail!("two checkpoints are needed, and the journals between them");
    };
    let paths = Paths { checkpoint, journals, next, out: next };
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
        Err(error) => return paths.failed(&error),
    };
    let is_damaged = paths.complain(&verification.applied)?;
    differences.finish(&verification.comparison)?;
    Ok(code(verification.holds() && !is_damaged))
}

/// Compares two checkpoints.
pub(crate) fn diff(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let paths = Paths {
        checkpoint: &args.left,
        journals: &[],
        next: &args.right,
        out: &args.right,
    };
    let mut differences = Differences::new(args.explain);
    let compared = p4journal::diff(
        Lazy::new(&args.left),
        Lazy::new(&args.right),
        &Options::default(),
        |difference| differences.see(&difference, None),
    );
    match compared {
        Ok(comparison) => {
            differences.finish(&comparison)?;
            Ok(code(comparison.differ() == 0))
        }
        Err(error) => paths.failed(&error),
    }
}

fn code(is_alike: bool) -> ExitCode {
    if is_alike { ExitCode::SUCCESS } else { ExitCode::from(exit::NO) }
}

/// The files of a command, to name them in messages.
struct Paths<'a> {
    checkpoint: &'a Path,
    journals: &'a [PathBuf],
    next: &'a Path,
    out: &'a Path,
}

impl Paths<'_> {
    /// Says which file could not be worked on. Damage is an answer, not a
    /// failure.
    fn failed(&self, error: &CheckpointError) -> anyhow::Result<ExitCode> {
        let path = shown(match error.input {
            p4journal::Input::Checkpoint => self.checkpoint,
            p4journal::Input::Journal(index) => &self.journals[index],
            p4journal::Input::Next => self.next,
            p4journal::Input::Output => self.out,
        });
        writeln!(io::stderr(), "tripline: `{path}`: {}", error.kind)?;
        let code = match &error.kind {
            CheckpointErrorKind::Read(read) => match &read.kind {
                ReadErrorKind::Input(input) if !is_damage(input) => exit::FAILED,
                _ => exit::NO,
            },
            _ => exit::FAILED,
        };
        Ok(ExitCode::from(code))
    }

    /// Says what is wrong with the files; true when the result cannot be
    /// relied on.
    fn complain(&self, applied: &Applied) -> io::Result<bool> {
        let mut stderr = io::stderr().lock();
        let mut is_wrong = false;
        for chain_break in applied.breaks() {
            let path = shown(match chain_break {
                ChainBreak::Checkpoint { .. } => self.checkpoint,
                ChainBreak::Journals { first, .. } => &self.journals[first],
            });
            writeln!(
                stderr,
                "tripline: `{path}`: {chain_break}: give all journals after the \
                 checkpoint, in order"
            )?;
            is_wrong = true;
        }
        for (journal, path) in applied.journals.journals.iter().zip(self.journals) {
            if journal.damaged > 0 {
                let places = counted(journal.damaged as usize, "place");
                writeln!(stderr, "tripline: `{}` is damaged in {places}", shown(path))?;
                is_wrong = true;
            }
        }
        if applied.damaged > 0 {
            let path = shown(self.checkpoint);
            writeln!(stderr, "tripline: `{path}` is damaged or was cut short")?;
            is_wrong = true;
        }
        if applied.missing_deletes > 0 {
            let rows = counted(applied.missing_deletes as usize, "row");
            writeln!(
                stderr,
                "tripline: note: {rows} to be deleted were not there: \
                 was the checkpoint taken before the first journal?"
            )?;
        }
        for table in &applied.unknown_tables {
            writeln!(
                stderr,
                "tripline: note: the table {table} is not known; its rows are told apart by \
                 all their columns"
            )?;
        }
        if applied.journals.uncommitted > 0 {
            let rows = counted(applied.journals.uncommitted as usize, "change");
            writeln!(
                stderr,
                "tripline: note: {rows} at the end were never committed: left out"
            )?;
        }
        Ok(is_wrong)
    }
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

/// A file that appears under its name only when it is complete.
struct Output {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Output {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let mut name = path.file_name().context("`--to` must name a file")?.to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .with_context(|| format!("cannot write `{}`", shown(&temporary)))?;
        Ok(Self { file, temporary, path: path.to_owned() })
    }

    fn finish(self) -> anyhow::Result<()> {
        let finished = self.file.sync_all().and_then(|()| {
            fs::rename(&self.temporary, &self.path)?;
            // The name is as durable as the directory it is in.
            match self.path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => {
                    File::open(parent)?.sync_all()
                }
                _ => File::open(".")?.sync_all(),
            }
        });
        finished.with_context(|| format!("cannot write `{}`", shown(&self.path)))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Once it has its own name it is not there any more.
        _ = fs::remove_file(&self.temporary);
    }
}
