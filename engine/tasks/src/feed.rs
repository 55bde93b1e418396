//! Batches become lines and transactions for the rules.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use tripline_api::{Batch, Cursor, Kept, Mark, Place, Proof, SourceId};
use tripline_rules::evaluate::{Executor, Gather, Lines, Play, Search, Transaction};

/// How far the journals have come.
#[derive(Default)]
pub(crate) struct Feed {
    journals: BTreeMap<SourceId, Journal>,
    /// Finds the tables that rules look at; `None` for all.
    tables: Option<Search>,
    /// No rule looks at journals.
    wants_none: bool,
}

/// How far a journal has come.
#[derive(Default)]
struct Journal {
    gather: Gather,
    /// Where no transaction was open: from there on it is read again.
    begin: Option<Cursor>,
    /// What was read since then, in bytes.
    since: u64,
    /// The end of the last transaction that rules saw.
    seen: Option<Place>,
    is_touched: bool,
}

/// The same as it is kept.
#[derive(Serialize, Deserialize)]
struct Written {
    /// Era, sequence, offset, line.
    begin: Option<[u64; 4]>,
    proof: Option<Proof>,
    next: Option<u64>,
    seen: Option<[u64; 4]>,
}

const PREFIX: &str = "journal/";
/// A transaction that is not ended after so many bytes of others is given up.
const OPEN_BYTES_MAX: u64 = 256 << 20;

impl Feed {
    pub(crate) fn new(play: &Play) -> Self {
        let tables = play.machine.tables();
        let wants_none = tables.as_ref().is_some_and(Vec::is_empty);
        // Without a search every transaction is looked at.
        let tables = tables.and_then(|tables| Search::new(&ends_of(&tables)));
        Self { journals: BTreeMap::new(), tables, wants_none }
    }

    /// Takes what was kept of a journal; `None` if it is something else.
    pub(crate) fn remember(&mut self, kept: &Kept) -> Option<Result<(), String>> {
        let name = kept.name.strip_prefix(PREFIX)?;
        let value = kept.value.as_deref().unwrap_or_default();
        Some(self.read(name, value).map_err(|error| format!("{}: {error}", kept.name)))
    }

    fn read(&mut self, name: &str, value: &[u8]) -> Result<(), String> {
        let source = SourceId::new(name).ok_or("it is no name of a source")?;
        let written: Written =
            serde_json::from_slice(value).map_err(|error| error.to_string())?;
        let place = |[era, sequence, offset, line]: [u64; 4]| Place {
            era,
            sequence,
            offset,
            line,
        };
        let (proof, next) = (written.proof, written.next);
        let begin = written.begin.map(|at| Cursor { place: place(at), proof, next });
        let seen = written.seen.map(place);
        self.journals.insert(source, Journal { begin, seen, ..Journal::default() });
        Ok(())
    }

    /// Where a journal is to be read from: where no transaction was open.
    pub(crate) fn begin(&mut self, source: &SourceId, is_moved: bool) -> Option<Cursor> {
        let journal = self.journals.get_mut(source)?;
        journal.gather = Gather::default();
        if is_moved {
            *journal = Journal { is_touched: true, ..Journal::default() };
        }
        journal.begin.clone()
    }

    /// Continuity was not proved: what was open never ends.
    pub(crate) fn gap(&mut self, source: &SourceId) {
        if let Some(journal) = self.journals.get_mut(source) {
            journal.gather = Gather::default();
        }
    }

    /// A batch of a log.
    pub(crate) fn lines(
        play: &mut Play,
        batch: &Batch<'_>,
        now: Timestamp,
        with: &mut dyn Executor,
    ) {
        // An unfinished line comes again when it is finished.
        if batch.log.is_some_and(|log| !log.is_preview) {
            play.lines(&Lines::from(batch), now, with);
        }
    }

    /// A batch of a journal.
    pub(crate) fn records(
        &mut self,
        play: &mut Play,
        batch: &Batch<'_>,
        now: Timestamp,
        with: &mut dyn Executor,
    ) {
        if self.wants_none {
            return;
        }
        if !self.journals.contains_key(batch.source) {
            self.journals.insert(batch.source.clone(), Journal::default());
        }
        let Some(journal) = self.journals.get_mut(batch.source) else { return };
        // The first batch may end within a transaction.
        journal.begin.get_or_insert_with(|| Cursor::unproved(batch.start));
        let (mut index, mut offset) = (0, 0);
        for mark in batch.marks {
            let range = index..mark.index as usize + 1;
            let end = batch.spans[mark.index as usize].end as usize;
            let is_wanted = || {
                let transaction = &batch.bytes[offset..end];
                let tables = self.tables.as_ref();
                tables.is_none_or(|tables| tables.find(transaction, 0).is_some())
            };
            let is_all_here = ends_all(batch, mark)
                && mark.by.is_some_and(|by| journal.gather.knows_nothing_of(&by));
            if !is_all_here || is_wanted() {
                journal.take(batch, range, offset, &mut |transaction| {
                    play.transaction(batch.source.as_str(), transaction, now, with);
                });
            }
            (index, offset) = (mark.index as usize + 1, end);
        }
        journal.take(batch, index..batch.len(), offset, &mut |_| {});
        journal.since += batch.bytes.len() as u64;
        if journal.since > OPEN_BYTES_MAX {
            // Whoever began it is not going to end it.
            journal.gather = Gather::default();
        }
        if journal.gather.is_empty() {
            journal.begin = Some(batch.end.clone());
            journal.since = 0;
        }
        journal.is_touched = true;
    }

    pub(crate) fn is_touched(&self) -> bool {
        self.journals.values().any(|journal| journal.is_touched)
    }

    pub(crate) fn take_touched(&mut self) -> Vec<Kept> {
        let touched = self.journals.iter_mut().filter(|(_, it)| it.is_touched);
        let write = |(source, journal): (&SourceId, &mut Journal)| {
            journal.is_touched = false;
            let numbers =
                |place: Place| [place.era, place.sequence, place.offset, place.line];
            let begin = journal.begin.as_ref();
            let written = Written {
                begin: begin.map(|cursor| numbers(cursor.place)),
                proof: begin.and_then(|cursor| cursor.proof.clone()),
                next: begin.and_then(|cursor| cursor.next),
                seen: journal.seen.map(numbers),
            };
            let value = serde_json::to_vec(&written).ok();
            Kept { name: format!("{PREFIX}{source}"), value }
        };
        touched.map(write).collect()
    }
}

impl Journal {
    /// Takes some of a batch's records; the first is at this offset in it.
    fn take(
        &mut self,
        batch: &Batch<'_>,
        range: Range<usize>,
        mut offset: usize,
        then: &mut dyn FnMut(&Transaction),
    ) {
        for span in &batch.spans[range] {
            let start = std::mem::replace(&mut offset, span.end as usize);
            if span.incomplete {
                continue;
            }
            let place = batch.start.advance(start as u64, 0);
            let Some(transaction) = self.gather.push(&batch.bytes[start..offset], place)
            else {
                continue;
            };
            // Those before came when this was read first.
            if self.seen.is_none_or(|seen| seen.key() < place.key()) {
                then(&transaction);
                self.seen = Some(place);
            }
        }
    }
}

/// The ends of the names of tables, as they stand in records: all names begin with the
/// same.
fn ends_of(tables: &[&str]) -> Vec<String> {
    let end = |table: &&str| {
        let own = table.rsplit_once('.').map_or(*table, |(_, own)| own);
        format!("{own}@")
    };
    tables.iter().map(end).collect()
}

/// Whether it ends a transaction, and does not only say that another process goes on.
fn ends_all(batch: &Batch<'_>, mark: &Mark) -> bool {
    let before = (mark.index as usize).checked_sub(1);
    let start = before.map_or(0, |index| batch.spans[index].end as usize);
    batch.bytes[start..].starts_with(b"@ex@")
}
