//! Which records belong together.

use std::collections::BTreeMap;

use crate::note::NoteKind;
use crate::record::Marker;
use crate::record::Op;
use crate::record::Record;

/// Follows the transactions of a journal from its markers.
///
/// Records carry no process; the marker behind them does. `@ex@` ends a transaction,
/// `@mx@` says that the same process goes on with it later, and another process may end
/// its own in between. Only `@ex@` commits: what a server that died left behind an `@mx@`
/// or without a marker never happened.
///
/// ```
/// use p4journal::{Record, Step, Transactions};
///
/// let mut transactions = Transactions::new();
/// let mut see = |record: &[u8]| transactions.see(&Record::parse(record).unwrap());
/// assert_eq!(see(b"@pv@ 0 @db.x@ 1 \n"), Step::Inside);
/// assert!(matches!(see(b"@mx@ 7 100\n"), Step::Paused(it) if it.pid == 7));
/// assert_eq!(see(b"@pv@ 0 @db.x@ 2 \n"), Step::Inside);
/// assert!(matches!(see(b"@ex@ 7 101\n"), Step::Ended(it) if it.time == 101));
/// assert!(transactions.is_settled());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transactions {
    /// Records since the last marker.
    current: u64,
    /// Records of processes that wrote an `@mx@` and no `@ex@` since.
    paused: BTreeMap<u64, u64>,
}

/// What a record is to the transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It belongs to a transaction whose marker is still to come. A note, too: servers
    /// write them inside and between transactions.
    Inside,
    /// The records since the marker before belong to this process, which goes on later.
    Paused(Marker),
    /// The records since the marker before, and those of this process before its
    /// `@mx@`s, are committed.
    Ended(Marker),
    /// The server was started anew: what was not ended before never will be.
    Abandoned {
        /// How many records that were.
        records: u64,
    },
}

impl Transactions {
    /// Between transactions.
    pub const fn new() -> Self {
        Self { current: 0, paused: BTreeMap::new() }
    }

    /// Takes the next record.
    pub fn see(&mut self, record: &Record<'_>) -> Step {
        match (record.op(), record.marker()) {
            (Op::Ex, Some(marker)) => {
                self.current = 0;
                self.paused.remove(&marker.pid);
                Step::Ended(marker)
            }
            (Op::Mx, Some(marker)) => {
                *self.paused.entry(marker.pid).or_default() += self.current;
                self.current = 0;
                Step::Paused(marker)
            }
            (Op::Nx, _) => self.see_note(record),
            // A marker without its numbers is nobody's and ends nothing.
            _ => {
                self.current += 1;
                Step::Inside
            }
        }
    }

    /// Takes a record that is known to be no marker and no note: cheaper than to
    /// parse it.
    pub fn see_inside(&mut self) {
        self.current += 1;
    }

    /// Whether every record seen is committed: a place to stop at and go on from.
    pub fn is_settled(&self) -> bool {
        self.current == 0 && self.paused.is_empty()
    }

    /// Records seen that are not committed.
    pub fn open_records(&self) -> u64 {
        self.current + self.paused.values().sum::<u64>()
    }

    fn see_note(&mut self, record: &Record<'_>) -> Step {
        let starts = record.note().is_some_and(|note| note.kind == NoteKind::ServerStart);
        if !starts || self.is_settled() {
            return Step::Inside;
        }
        let records = self.open_records();
        *self = Self::new();
        Step::Abandoned { records }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(records: &[&str]) -> (Vec<Step>, Transactions) {
        let mut transactions = Transactions::new();
        let steps = records
            .iter()
            .map(|record| transactions.see(&Record::parse(record.as_bytes()).unwrap()))
            .collect();
        (steps, transactions)
    }

    const ROW: &str = "@pv@ 0 @db.x@ 1 ";
    const START: &str = "@nx@ 7 1 @58@ 0 0 0 0 0 @1666@ @/p4@ @@ @@ @@ ";

    #[test]
    fn another_process_ends_nothing_but_its_own() {
        let (_, transactions) = steps(&[ROW, "@mx@ 1 1", ROW, "@ex@ 2 1"]);
        assert!(!transactions.is_settled());
        assert_eq!(transactions.open_records(), 1);
        let (_, transactions) =
            steps(&[ROW, "@mx@ 1 1", ROW, "@ex@ 2 1", ROW, "@ex@ 1 1"]);
        assert!(transactions.is_settled());
    }

    #[test]
    fn a_start_of_the_server_abandons_what_was_open() {
        let (found, transactions) = steps(&[ROW, "@mx@ 1 1", ROW, START]);
        assert_eq!(found[3], Step::Abandoned { records: 2 });
        assert!(transactions.is_settled());
        let (found, _) = steps(&[ROW, "@ex@ 1 1", START]);
        assert_eq!(found[2], Step::Inside);
    }

    #[test]
    fn a_note_leaves_a_transaction_as_it_is() {
        let (found, transactions) = steps(&["@nx@ 4 1 @58@ 0 0 0 0 0 @db.x@ "]);
        assert_eq!(found, [Step::Inside]);
        assert!(transactions.is_settled());
    }
}
