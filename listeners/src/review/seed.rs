//! The tables from a checkpoint, so that the first mail has everybody.
//!
//! A checkpoint streams by, a stretch at each call: only rows that matter are
//! kept. What it was made of ends where the journal of the same number begins.

use super::rows::Row;
use super::tables::Tables;
use flate2::read::MultiGzDecoder;
use p4journal::{Case, Header, NoteKind, Op, Reader, Record};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tripline_api::ListenError;

/// A checkpoint that is being read.
pub(super) struct Seed {
    path: PathBuf,
    reader: Reader<Box<dyn Read + Send>>,
    tables: Tables,
    number: u64,
    bytes: u64,
    /// The record before, of which the last has to be an end.
    is_ended: bool,
    has_header: bool,
    has_trailer: bool,
}

/// So many records are read between two looks at the clock.
const RECORDS_AT_ONCE: usize = 1000;
/// The number of a checkpoint is looked for in this many records at its start:
/// it is in its second table.
const RECORDS_BEFORE_NUMBER_MAX: usize = 100_000;

impl Seed {
    /// The checkpoint to begin a journal of this number with: the file itself,
    /// or, where a directory is configured, the one of that number in it, if
    /// there is one.
    pub(super) fn find(
        configured: &Path,
        sequence: u64,
    ) -> Result<Option<(PathBuf, u64)>, ListenError> {
        let failed = |error| cannot("read", configured, &error);
        if !configured.metadata().map_err(failed)?.is_dir() {
            let number = number_of(configured)?;
            if number > sequence {
                return Err(ListenError::Stop(format!(
                    "{} goes on with journal {number}, and this listener begins in \
                     journal {sequence}, which is older: name the checkpoint of that \
                     number, or begin later",
                    configured.display()
                )));
            }
            return Ok(Some((configured.to_owned(), number)));
        }
        let mut found: Option<PathBuf> = None;
        for entry in configured.read_dir().map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name =
                path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // The plain one is preferred: it is read faster.
            if number_in(&name) == Some(sequence)
                && found.as_ref().is_none_or(|other| is_gzip(other))
            {
                found = Some(path);
            }
        }
        let Some(path) = found else { return Ok(None) };
        let number = number_of(&path)?;
        if number != sequence {
            return Err(ListenError::Stop(format!(
                "{} says that it goes on with journal {number}, not {sequence} as its \
                 name does: put it right, or name another checkpoint",
                path.display()
            )));
        }
        Ok(Some((path, number)))
    }

    pub(super) fn open(path: &Path, number: u64) -> Result<Self, ListenError> {
        Ok(Self {
            path: path.to_owned(),
            reader: Reader::new(input(path)?),
            tables: Tables::new(),
            number,
            bytes: 0,
            is_ended: false,
            has_header: false,
            has_trailer: false,
        })
    }

    /// Reads on until a time; the tables when all of it was read.
    pub(super) fn read(&mut self, until: Instant) -> Result<Option<Tables>, ListenError> {
        while Instant::now() < until {
            for _ in 0..RECORDS_AT_ONCE {
                let path = &self.path;
                let entry = self.reader.next().map_err(|error| {
                    ListenError::Stop(format!("cannot read {}: {error}", path.display()))
                })?;
                let Some(entry) = entry else { return self.finish().map(Some) };
                let is_first = self.bytes == 0;
                self.bytes += entry.bytes.len() as u64;
                self.is_ended = Op::of(entry.bytes) == Some(Op::Ex);
                let Ok(record) = entry.record() else { continue };
                if is_first {
                    let case =
                        Header::read(&record).map(|header| header.case_insensitive);
                    // Without a header: only servers on Windows write so.
                    let folds = case.unwrap_or_else(|| entry.bytes.ends_with(b"\r\n"));
                    let case = if folds { Case::Insensitive } else { Case::Sensitive };
                    self.tables.set_case(case);
                }
                take(&mut self.tables, &record);
                match record.note().map(|note| note.kind) {
                    Some(NoteKind::CheckpointHeader) => self.has_header = true,
                    Some(NoteKind::CheckpointTrailer) => self.has_trailer = true,
                    _ => {}
                }
            }
            if self.tables.is_too_large() {
                return self.finish().map(Some);
            }
        }
        Ok(None)
    }

    /// What there is to say while it is read.
    pub(super) fn progress(&self) -> String {
        format!("reading {}: {} MB so far", self.path.display(), self.bytes / 1_000_000)
    }

    fn finish(&mut self) -> Result<Tables, ListenError> {
        let is_whole = self.is_ended
            && self.reader.tail().is_empty()
            && self.has_header == self.has_trailer;
        if !is_whole && !self.tables.is_too_large() {
            return Err(ListenError::Stop(format!(
                "{} does not end as a checkpoint does: it was cut, or is still being \
                 written. Name a whole one of number {}",
                self.path.display(),
                self.number
            )));
        }
        self.tables.drop_submitted();
        self.tables.are_new();
        Ok(std::mem::replace(&mut self.tables, Tables::new()))
    }
}

fn take(tables: &mut Tables, record: &Record<'_>) {
    if !record.op().is_put() || record.table() == Some("db.revcx") {
        return;
    }
    match Row::read(record) {
        Some(Row::Change(change)) if change.is_committed() => {
            tables.know_submitted(&change)
        }
        Some(row) => tables.apply(true, &row),
        None => {}
    }
}

/// The number of the journal that goes on from a checkpoint: its counter
/// `journal`. A server's first has none, and 0 is meant.
fn number_of(path: &Path) -> Result<u64, ListenError> {
    let mut reader = Reader::new(input(path)?);
    let mut was_in_counters = false;
    for _ in 0..RECORDS_BEFORE_NUMBER_MAX {
        let entry = reader.next().map_err(|error| {
            ListenError::Stop(format!("cannot read {}: {error}", path.display()))
        })?;
        let Some(entry) = entry else { break };
        let Ok(record) = entry.record() else { continue };
        if record.table() == Some("db.counters") {
            was_in_counters = true;
            let mut fields = record.fields();
            if fields.next().is_some_and(|name| name.raw() == b"journal") {
                let number = fields.next().and_then(|value| value.number());
                return Ok(number.map_or(0, i64::cast_unsigned));
            }
        } else if was_in_counters && record.table().is_some() {
            break;
        }
    }
    if was_in_counters {
        return Ok(0);
    }
    Err(ListenError::Stop(format!(
        "{} is no checkpoint: it has no counters near its start",
        path.display()
    )))
}

/// The number in a name such as `checkpoint.15`, `p4_1.ckp.15.gz`.
fn number_in(name: &str) -> Option<u64> {
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    let (before, number) = plain.rsplit_once('.')?;
    let is_checkpoint = before.ends_with("checkpoint") || before.ends_with("ckp");
    if is_checkpoint { number.parse().ok() } else { None }
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

fn input(path: &Path) -> Result<Box<dyn Read + Send>, ListenError> {
    let failed = |error| cannot("read", path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let mut magic = [0; 2];
    let count = file.read(&mut magic).map_err(failed)?;
    let start = io::Cursor::new(magic[..count].to_vec());
    let whole = BufReader::with_capacity(BUFFER_BYTES, start.chain(file));
    Ok(if magic == GZIP { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) })
}

const GZIP: [u8; 2] = [0x1f, 0x8b];
const BUFFER_BYTES: usize = 128 * 1024;

fn cannot(what: &str, path: &Path, error: &io::Error) -> ListenError {
    let text = format!("cannot {what} the checkpoint {}", path.display());
    if error.kind() == io::ErrorKind::NotFound {
        return ListenError::Stop(format!(
            "{text}: it is not there. Name one that is, or leave `checkpoint` out"
        ));
    }
    ListenError::io(text, error)
}
