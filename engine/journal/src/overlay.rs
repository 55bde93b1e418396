//! The net effect of journals: what each row they touch is in the end.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io::Read;
use std::mem;
use std::sync::Arc;

use crate::journal::Head;
use crate::journal::Header;
use crate::journal::Trailer;
use crate::key::Case;
use crate::key::Key;
use crate::note::NoteKind;
use crate::reader::ReadError;
use crate::reader::Reader;
use crate::record::Op;
use crate::record::Record;
use crate::row::Format;
use crate::row::Row;
use crate::transaction::Step;
use crate::transaction::Transactions;

/// What journals leave behind, by table and key.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    pub(crate) tables: BTreeMap<Arc<str>, BTreeMap<Key, Net>>,
    pub(crate) summary: JournalsSummary,
    case: Option<Case>,
    transactions: Transactions,
    /// Changes since the last marker: whose they are is not known yet.
    current: Vec<Change>,
    /// Changes of processes that wrote an `@mx@` and no `@ex@` yet.
    open: HashMap<u64, Vec<Change>>,
    /// Something that was read shows that the server writes markers: one of them, a note
    /// or an `@vv@`. Servers since 2006.2 do. Their rows wait for an `@ex@`, and in a
    /// live journal the first one may not be written yet.
    has_markers: bool,
}

/// What a row is in the end.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    /// `None` if it was deleted.
    pub(crate) row: Option<Row>,
    /// It was written out, or the row it replaces or deletes was found.
    pub(crate) settled: bool,
    /// The journals put it before they did this to it.
    pub(crate) was_put: bool,
}

/// What was read in journals, apart from the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalsSummary {
    /// One for each journal, in the order they were given.
    pub journals: Vec<JournalSummary>,
    /// Changes of rows that no `@ex@` committed, and that were not applied: those at the
    /// end may still be, those that a start of the server cut off never will.
    pub uncommitted: u64,
}

/// What was read in one journal, apart from the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalSummary {
    /// The number it says itself, else one less than its trailer says.
    pub number: Option<u64>,
    /// The number of the next journal, when it ends with the trailer of a rotation.
    pub next_number: Option<u64>,
    /// Its header.
    pub header: Option<Header>,
    /// Whole records.
    pub records: u64,
    /// Pieces that are no record, and that were passed over.
    pub damaged: u64,
    /// Bytes behind the last record, passed over too: it is torn, or being written.
    pub tail_bytes: u64,
    /// Notes that the server was upgraded, from and to.
    pub server_upgrades: Vec<(i64, i64)>,
    /// Notes that a table was upgraded: what the note names.
    pub table_upgrades: Vec<String>,
    /// Protocol levels that its notes name, in order, each change once.
    pub protocols: Vec<u32>,
    /// The counter `upgrade` was put as 1, which a server does once, when it creates a
    /// database. In the middle of a chain it means that a new database was begun, and
    /// probably a checkpoint restored into it.
    pub creates_database: bool,
}

/// Where files given one after the other do not belong one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainBreak {
    /// The first journal is not the one that goes on from the checkpoint.
    Checkpoint {
        /// The number of the journal that does, by the checkpoint's counter.
        wanted: u64,
        /// The number of the first journal given.
        given: Option<u64>,
    },
    /// A journal does not end with a trailer that names the one given after it.
    Journals {
        /// The journal's place among those given, counted from 0.
        first: usize,
        /// The number its trailer names; `None` without a trailer, as when it was cut.
        ends: Option<u64>,
        /// The number of the journal given after it.
        begins: Option<u64>,
    },
}

/// One row put or deleted.
#[derive(Debug)]
struct Change {
    table: Arc<str>,
    key: Key,
    row: Option<Row>,
}

impl Overlay {
    /// Nothing yet. `case` of `None` takes each journal's own flag.
    pub(crate) fn new(case: Option<Case>) -> Self {
        Self { case, ..Self::default() }
    }

    /// Reads the next journal of the chain. Transactions may go on from one journal to
    /// the next.
    pub(crate) fn read(&mut self, input: impl Read) -> Result<(), ReadError> {
        let mut reader = Reader::new(input);
        let mut summary = JournalSummary::default();
        let (mut trailer, mut head) = (Trailer::new(), Vec::new());
        let mut format = None;
        let mut table: Arc<str> = Arc::from("");
        while let Some(entry) = reader.next()? {
            if matches!(Head::read(&head), Head::NeedMore) {
                head.extend_from_slice(entry.bytes);
            }
            trailer.see(entry.bytes);
            let Some(record) = entry.piece.record(entry.bytes) else {
                summary.damaged += 1;
                continue;
            };
            summary.records += 1;
            let format = *format.get_or_insert_with(|| {
                Format::of(entry.bytes, Header::read(&record).as_ref(), self.case)
            });
            if let Some(name) = record.table().filter(|name| **name != *table) {
                table = name.into();
            }
            match record.op() {
                Op::Nx => summary.see_note(&record),
                op if op.is_put() || op.is_delete() => {
                    summary.see_row(&record);
                    let key = Key::of(&record, record.layout(), format.case);
                    let row = op.is_put().then(|| Row::of(&record, format));
                    self.current.push(Change { table: Arc::clone(&table), key, row });
                }
                _ => {}
            }
            self.has_markers |= matches!(record.op(), Op::Ex | Op::Mx | Op::Nx | Op::Vv);
            match self.transactions.see(&record) {
                Step::Inside => {}
                Step::Paused(marker) => {
                    self.open.entry(marker.pid).or_default().append(&mut self.current);
                }
                Step::Ended(marker) => {
                    let mut changes = self.open.remove(&marker.pid).unwrap_or_default();
                    changes.append(&mut self.current);
                    self.commit(changes);
                }
                Step::Abandoned { .. } => self.abandon(),
            }
        }
        if !self.has_markers {
            // Servers before 2006.2 wrote none: each record stands for itself.
            let changes = mem::take(&mut self.current);
            self.commit(changes);
        }
        summary.tail_bytes = reader.tail().len() as u64;
        summary.finish(&Head::read(&head), trailer);
        self.summary.journals.push(summary);
        Ok(())
    }

    /// Ends the reading: what is not committed by now is left out.
    pub(crate) fn finish(&mut self) {
        self.abandon();
    }

    /// Forgets what is not committed.
    fn abandon(&mut self) {
        let open: usize = self.open.values().map(Vec::len).sum();
        self.summary.uncommitted += (open + self.current.len()) as u64;
        self.open.clear();
        self.current.clear();
    }

    fn commit(&mut self, changes: Vec<Change>) {
        for Change { table, key, row } in changes {
            match self.tables.entry(table).or_default().entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(Net { row, settled: false, was_put: false });
                }
                Entry::Occupied(mut entry) => {
                    let net = entry.get_mut();
                    net.was_put |= net.row.is_some();
                    net.row = row;
                }
            }
        }
    }
}

impl JournalsSummary {
    /// Where the chain is broken between journals that were given one after the other.
    pub fn breaks(&self) -> impl Iterator<Item = ChainBreak> {
        let pairs = self.journals.windows(2).enumerate();
        pairs.filter_map(|(first, pair)| {
            let (ends, begins) = (pair[0].next_number, pair[1].number);
            let follows = ends.is_some() && ends == begins;
            (!follows).then_some(ChainBreak::Journals { first, ends, begins })
        })
    }
}

impl JournalSummary {
    fn see_note(&mut self, record: &Record<'_>) {
        let Some(note) = record.note() else {
            return;
        };
        if self.protocols.last() != Some(&note.protocol) {
            self.protocols.push(note.protocol);
        }
        match note.kind {
            NoteKind::ServerUpgrade => {
                self.server_upgrades.push((note.ints[0], note.ints[1]));
            }
            NoteKind::TableUpgrade => {
                let name = note.strings().next().map(|field| field.text());
                let name =
                    String::from_utf8_lossy(&name.unwrap_or_default()).into_owned();
                self.table_upgrades.push(name);
            }
            _ => {}
        }
    }

    fn see_row(&mut self, record: &Record<'_>) {
        if record.op() == Op::Pv && record.table() == Some("db.counters") {
            let mut fields = record.fields().map(|field| field.raw());
            let first_upgrade =
                fields.next() == Some(b"upgrade") && fields.next() == Some(b"1");
            self.creates_database |= first_upgrade;
        }
    }

    fn finish(&mut self, head: &Head, trailer: Trailer) {
        self.next_number = trailer.next_number().filter(|_| self.tail_bytes == 0);
        self.number = head.number().or_else(|| self.next_number?.checked_sub(1));
        self.header = head.header().cloned();
    }
}

impl fmt::Display for ChainBreak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u64>| {
            number.map_or_else(|| "one without a number".to_owned(), |it| it.to_string())
        };
        match *self {
            Self::Checkpoint { wanted, given } => write!(
                f,
                "the checkpoint goes on with journal {wanted}, and the first one given is {}",
                number(given)
            ),
            Self::Journals { first, ends: Some(ends), begins } => write!(
                f,
                "journal {} of those given ends in favour of journal {ends}, and the next is {}",
                first + 1,
                number(begins)
            ),
            Self::Journals { first, ends: None, begins } => write!(
                f,
                "journal {} of those given does not end with a rotation's trailer, and the next is {}",
                first + 1,
                number(begins)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(journals: &[&str]) -> Overlay {
        let mut overlay = Overlay::new(None);
        for journal in journals {
            overlay.read(journal.as_bytes()).unwrap();
        }
        overlay.finish();
        overlay
    }

    fn journal(number: u64) -> String {
        format!(
            "@nx@ 2 1 @40@ 2 0 0 0 0 @root@ @journal@ @@ @@ @@ \n\
             @vv@ 1 @db.counters@ @journal@ @{number}@ \n@ex@ 1 1\n\
             @rv@ 1 @db.counters@ @journal@ @{}@ \n@ex@ 1 1\n",
            number + 1
        )
    }

    #[test]
    fn the_last_change_of_a_row_is_what_counts() {
        let overlay = overlay(&["@pv@ 1 @db.counters@ @a@ @1@ \n\
            @rv@ 1 @db.counters@ @a@ @2@ \n@dv@ 1 @db.counters@ @a@ @2@ \n@ex@ 1 1\n"]);
        let nets: Vec<&Net> = overlay.tables["db.counters"].values().collect();
        assert!(matches!(nets[..], [Net { row: None, was_put: true, .. }]));
    }

    #[test]
    fn case_folds_by_the_header() {
        let rows =
            "@pv@ 1 @db.depot@ @D@ 0 @@ @@ \n@pv@ 1 @db.depot@ @d@ 0 @@ @@ \n@ex@ 1 1\n";
        assert_eq!(overlay(&[rows]).tables["db.depot"].len(), 2);
        assert_eq!(overlay(&[&(journal(1) + rows)]).tables["db.depot"].len(), 1);
    }

    #[test]
    fn journals_that_do_not_follow_each_other() {
        let breaks = |journals: &[&str]| -> Vec<usize> {
            let at = |it| match it {
                ChainBreak::Journals { first, .. } => first,
                ChainBreak::Checkpoint { .. } => unreachable!(),
            };
            overlay(journals).summary.breaks().map(at).collect()
        };
        let [one, two, three] = [1, 2, 3].map(journal);
        assert_eq!(breaks(&[&one, &two, &three]), [0; 0]);
        assert_eq!(breaks(&[&one, &three]), [0]);
        assert_eq!(breaks(&[&one, "@ex@ 1 1\n", &two]), [0, 1]);
        assert_eq!(breaks(&[&(one + "@ex"), &two]), [0]);
    }

    #[test]
    fn a_start_of_the_server_abandons_what_was_open() {
        let start =
            "@pv@ 0 @db.x@ 1 \n@mx@ 1 1\n@pv@ 0 @db.x@ 2 \n@nx@ 7 1 @58@ 0 \n@ex@ 1 1\n";
        let overlay = overlay(&[start]);
        assert_eq!((overlay.tables.len(), overlay.summary.uncommitted), (0, 2));
    }

    #[test]
    fn what_the_notes_say() {
        let notes = "@nx@ 5 1 @39@ 23 24 0 0 0 @@ @@ @@ @@ \n@nx@ 6 1 @40@ 23 0 0 0 0 @Move@ @@ \n\
            @pv@ 1 @db.counters@ @upgrade@ @1@ \n@ex@ 1 1\n\0";
        let summary = &overlay(&[notes]).summary.journals[0];
        assert_eq!(summary.server_upgrades, [(23, 24)]);
        assert_eq!(summary.table_upgrades, ["Move"]);
        assert_eq!(summary.protocols, [39, 40]);
        assert!(summary.creates_database);
        assert_eq!((summary.records, summary.tail_bytes), (4, 1));
    }
}
