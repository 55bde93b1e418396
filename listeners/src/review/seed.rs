//! The tables from a checkpoint, so that the first mail has everybody.
//!
//! A checkpoint streams by, a stretch at each call: only rows that matter are
//! kept. What it was made of ends where the journal of the same number begins.

use super::rows::Row;
use super::tables::Tables;
use crate::checkpoint::{cannot, input, is_gzip, number_in, number_of};
use p4journal::{Case, Header, NoteKind, Op, Reader, Record};
use std::io::Read;
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
