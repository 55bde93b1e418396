//! What the journal says, transaction by transaction, and which changes it
//! submits.

use super::open::{Files, Open, Part, SHOWN_MAX};
use super::rows::{Change, Description, File, Job, Row};
use super::tables::Tables;
use p4journal::{Case, NoteKind, Op, Record};

/// The tables, and the transactions that are not ended.
#[derive(Debug)]
pub(super) struct State {
    pub(super) tables: Tables,
    pub(super) open: Open,
}

/// A change that was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submit {
    pub(super) change: Change,
    pub(super) files: Files,
    pub(super) description: Option<Description>,
    pub(super) jobs: Vec<Job>,
}

/// When the rows of a transaction take more, in bytes, they are applied before
/// it ends. No user's command writes so many.
const OPEN_BYTES_MAX: usize = 64 << 20;
/// What is kept of a path to be shown, in bytes.
const PATH_SHOWN_BYTES_MAX: usize = 2048;

impl State {
    pub(super) fn new() -> Self {
        Self { tables: Tables::new(), open: Open::default() }
    }

    /// Whether [`see`](Self::see) has to see a record that starts with these
    /// bytes.
    pub(super) fn matters(record: &[u8]) -> bool {
        match Op::of(record) {
            Some(Op::Ex | Op::Mx | Op::Nx) => true,
            Some(op) if op.is_put() || op.is_delete() => {
                Record::parse(record).is_ok_and(|it| it.table().is_some_and(Row::matters))
            }
            _ => false,
        }
    }

    /// Takes the next record; which changes are submitted by that. Before an
    /// `@ex@` that is none.
    pub(super) fn see(&mut self, record: &Record<'_>, ends_in_crlf: bool) -> Vec<Submit> {
        if ends_in_crlf && self.tables.case().is_none() {
            // Only servers on Windows write so, and they fold case.
            self.tables.set_case(Case::Insensitive);
        }
        match (record.op(), record.marker()) {
            (Op::Ex, Some(marker)) => {
                let part = self.open.end(marker);
                return self.commit(part);
            }
            (Op::Mx, Some(marker)) => self.open.pause(marker),
            (Op::Nx, _) => self.see_note(record),
            (op, _) if op.is_put() || op.is_delete() => self.see_row(record),
            _ => {}
        }
        Vec::new()
    }

    /// Continuity is lost: what is open will not be ended by what comes.
    pub(super) fn abandon(&mut self) {
        self.open = Open::default();
    }

    fn see_note(&mut self, record: &Record<'_>) {
        let Some(note) = record.note() else { return };
        match note.kind {
            // The server was started anew: what was open never happened.
            NoteKind::ServerStart => self.abandon(),
            NoteKind::JournalHeader | NoteKind::CheckpointHeader => {
                let folds = note.is_case_insensitive();
                let case = if folds { Case::Insensitive } else { Case::Sensitive };
                self.tables.set_case(case);
            }
            _ => {}
        }
    }

    fn see_row(&mut self, record: &Record<'_>) {
        let is_put = record.op().is_put();
        let part = &mut self.open.current;
        match Row::read(record) {
            Some(Row::File(file)) if is_put && !self.tables.is_submitted(file.change) => {
                let files = part.files(file.change);
                self.tables.reviewers().add_of(&file.path, &mut files.reviewers);
                add_file(files, file);
            }
            None | Some(Row::File(_)) => {}
            Some(Row::Change(change)) => {
                if !is_put {
                    part.commits.remove(&change.number);
                } else if change.is_committed()
                    && !self.tables.is_submitted(change.number)
                {
                    part.commit(change);
                }
            }
            Some(row) => {
                part.push(is_put, row);
                if part.bytes > OPEN_BYTES_MAX {
                    part.bytes = 0;
                    let rows = std::mem::take(&mut part.rows);
                    rows.iter().for_each(|(is_put, row)| self.tables.apply(*is_put, row));
                }
            }
        }
    }

    fn commit(&mut self, mut part: Part) -> Vec<Submit> {
        part.rows.iter().for_each(|(is_put, row)| self.tables.apply(*is_put, row));
        let mut submits = Vec::new();
        for (number, change) in part.commits {
            // Of two processes that say so, the first did it.
            if self.tables.is_submitted(number) {
                continue;
            }
            let (description, jobs) = self.tables.submit(&change);
            if let Some(files) = part.files.remove(&number) {
                submits.push(Submit { change, files, description, jobs });
            }
        }
        submits
    }
}

fn add_file(files: &mut Files, mut file: File) {
    files.count += 1;
    if files.shown.len() < SHOWN_MAX {
        if file.path.len() > PATH_SHOWN_BYTES_MAX {
            file.path = file.path[..PATH_SHOWN_BYTES_MAX].into();
        }
        files.shown.push(file);
    }
}
