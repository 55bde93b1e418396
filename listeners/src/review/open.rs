//! Transactions that are not ended: nothing in them has happened yet.
//!
//! Who reviews a file is looked up when its row comes, by the tables as they
//! are then, so that a change of a million files needs the memory of some.

use super::rows::{Change, File, Name, Row};
use p4journal::{Compose, Marker, Op, Reader, Record};
use std::collections::{BTreeMap, BTreeSet};

/// What came since the last marker, and what processes left open behind an
/// `@mx@`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) current: Part,
    pub(super) paused: BTreeMap<u64, Part>,
}

/// What one process wrote so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// Rows in order; whether they are put, or deleted.
    pub(super) rows: Vec<(bool, Row)>,
    /// Changes with the bit that says they are submitted, that were not before.
    pub(super) commits: BTreeMap<i64, Change>,
    /// Files by their change.
    pub(super) files: BTreeMap<i64, Files>,
    /// About how much memory the rows take, in bytes.
    pub(super) bytes: usize,
}

/// The files of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) count: u64,
    /// The first of them, at most [`SHOWN_MAX`].
    pub(super) shown: Vec<File>,
    /// Who reviews one of them.
    pub(super) reviewers: BTreeSet<Name>,
}

/// So many files of a change are named in a mail.
pub(super) const SHOWN_MAX: usize = 200;
/// So many changes one transaction submits at most; of more, those with the
/// lowest numbers are passed over.
const CHANGES_MAX: usize = 10_000;
/// So many processes are in the middle of a transaction at most; of more, the
/// one with the lowest number has given up.
const PAUSED_MAX: usize = 10_000;

impl Part {
    pub(super) fn push(&mut self, is_put: bool, row: Row) {
        self.bytes += row.weight();
        self.rows.push((is_put, row));
    }

    pub(super) fn commit(&mut self, change: Change) {
        self.commits.insert(change.number, change);
        if self.commits.len() > CHANGES_MAX {
            // Of a row without files nobody hears anyway.
            let idle =
                self.commits.keys().find(|number| !self.files.contains_key(number));
            let number = idle.or_else(|| self.commits.keys().next()).copied();
            number.and_then(|number| self.commits.remove(&number));
        }
    }

    pub(super) fn files(&mut self, change: i64) -> &mut Files {
        if self.files.len() >= CHANGES_MAX && !self.files.contains_key(&change) {
            self.files.pop_first();
        }
        self.files.entry(change).or_default()
    }

    /// Adds what the same process wrote later.
    fn append(&mut self, later: Self) {
        self.rows.extend(later.rows);
        self.bytes += later.bytes;
        self.commits.extend(later.commits);
        for (change, files) in later.files {
            let before = self.files(change);
            before.count += files.count;
            let room = SHOWN_MAX.saturating_sub(before.shown.len());
            before.shown.extend(files.shown.into_iter().take(room));
            before.reviewers.extend(files.reviewers);
        }
    }
}

impl Open {
    /// An `@mx@`: this process goes on later.
    pub(super) fn pause(&mut self, marker: Marker) {
        let part = std::mem::take(&mut self.current);
        self.paused.entry(marker.pid).or_default().append(part);
        if self.paused.len() > PAUSED_MAX {
            self.paused.pop_first();
        }
    }

    /// An `@ex@`: all that this process wrote.
    pub(super) fn end(&mut self, marker: Marker) -> Part {
        let current = std::mem::take(&mut self.current);
        match self.paused.remove(&marker.pid) {
            Some(mut part) => {
                part.append(current);
                part
            }
            None => current,
        }
    }

    /// As records, to be kept over a restart.
    pub(super) fn to_records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for (pid, part) in &self.paused {
            part.write(&mut records);
            records.extend(Compose::marker(Op::Mx, *pid, 0).line());
        }
        self.current.write(&mut records);
        records
    }

    /// What [`Self::to_records`] wrote.
    pub(super) fn from_records(records: &[u8]) -> Self {
        let mut open = Self::default();
        let mut reader = Reader::new(records);
        while let Ok(Some(entry)) = reader.next() {
            let Ok(record) = entry.record() else { continue };
            match record.marker() {
                Some(marker) => open.pause(marker),
                None => open.current.read(&record),
            }
        }
        open
    }
}

const FILES: &str = "review.files";
const REVIEWER: &str = "review.reviewer";

impl Part {
    fn write(&self, records: &mut Vec<u8>) {
        for (is_put, row) in &self.rows {
            records.extend(row.to_record(*is_put));
        }
        for change in self.commits.values() {
            records.extend(Row::Change(change.clone()).to_record(true));
        }
        for (change, files) in &self.files {
            let row = |table| Compose::row(Op::Pv, 0, table).number(*change);
            records.extend(row(FILES).number(files.count.cast_signed()).line());
            for file in &files.shown {
                records.extend(Row::File(file.clone()).to_record(true));
            }
            for reviewer in &files.reviewers {
                records.extend(row(REVIEWER).text(reviewer).line());
            }
        }
    }

    fn read(&mut self, record: &Record<'_>) {
        match (record.table(), Row::read(record)) {
            (_, Some(Row::Change(change))) => self.commit(change),
            (_, Some(Row::File(file))) => self.files(file.change).shown.push(file),
            (_, Some(row)) => self.push(record.op().is_put(), row),
            (Some(table), None) => {
                let mut fields = record.fields();
                let change = fields.next().and_then(|field| field.number());
                if let Some((change, field)) = change.zip(fields.next()) {
                    let files = self.files(change);
                    match table {
                        FILES => {
                            files.count = field.number().unwrap_or(0).cast_unsigned()
                        }
                        _ => _ = files.reviewers.insert(field.text().into()),
                    }
                }
            }
            _ => {}
        }
    }
}
