//! Counting by operator and table, fast enough not to be noticed beside the reading.

use std::collections::BTreeMap;
use std::collections::HashMap;

use wide::u8x16;

use crate::record::Op;
use crate::record::Record;
use crate::split::Piece;

/// Counts of the pieces seen.
///
/// Millions of records begin in a few dozen ways, so those are counted, and what they
/// mean is looked at once, at the end.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Those that came lately, each in the slot of its hash.
    recent: Box<[Slot]>,
    /// Those that had to make room there.
    usual: HashMap<Beginning, u64>,
    /// Records that begin in another way, by operator and table.
    unusual: BTreeMap<(String, Option<String>), u64>,
    damaged: u64,
    first_damage: Option<u64>,
    lines: u64,
}

/// What a record is counted by, as it is written: `@pv@` and `3 @db.have@`, or just
/// `@ex@`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Beginning {
    op: [u8; 4],
    /// Version and table with its quotes, the first byte lowest.
    table: u128,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    beginning: Beginning,
    count: u64,
}

/// What was counted, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) records: u64,
    pub(crate) transactions: u64,
    pub(crate) ops: BTreeMap<String, u64>,
    pub(crate) tables: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts one piece, which starts there.
    #[inline]
    pub(crate) fn see(&mut self, offset: u64, bytes: &[u8], piece: Piece) {
        self.lines += u64::from(piece.lines);
        let beginning = if piece.whole { Beginning::of(bytes) } else { None };
        if let Some(beginning) = beginning {
            let slot = &mut self.recent[beginning.slot()];
            if slot.beginning == beginning {
                slot.count += 1;
                return;
            }
        }
        self.see_new(offset, bytes, piece, beginning);
    }

    /// Adds what another has counted.
    #[cfg(unix)]
    pub(crate) fn merge(&mut self, other: Self) {
        for (beginning, count) in other.all_usual() {
            *self.usual.entry(beginning).or_default() += count;
        }
        for (kind, count) in other.unusual {
            *self.unusual.entry(kind).or_default() += count;
        }
        self.damaged += other.damaged;
        self.see_damage(other.first_damage);
        self.lines += other.lines;
    }

    /// Pieces that are no whole records.
    pub(crate) const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Where the first of them starts.
    pub(crate) const fn first_damage(&self) -> Option<u64> {
        self.first_damage
    }

    /// Line feeds.
    pub(crate) const fn lines(&self) -> u64 {
        self.lines
    }

    /// The whole records by operator and by table.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for (beginning, count) in self.all_usual() {
            // Only what parses is counted.
            if let Ok(record) = Record::parse(&beginning.text()) {
                let (op, table) = kind_of(&record);
                totals.add(op, table, count);
            }
        }
        for ((op, table), &count) in &self.unusual {
            totals.add(op.clone(), table.clone(), count);
        }
        totals
    }

    /// The counts by beginning; one may come twice.
    fn all_usual(&self) -> impl Iterator<Item = (Beginning, u64)> {
        let recent = self.recent.iter().filter(|slot| slot.count > 0);
        let usual = self.usual.iter().map(|(beginning, count)| (*beginning, *count));
        recent.map(|slot| (slot.beginning, slot.count)).chain(usual)
    }

    /// Counts a piece that does not begin like one that came lately. Whether it is
    /// damage is looked at only here: records that begin alike are all records or none.
    #[cold]
    fn see_new(
        &mut self,
        offset: u64,
        bytes: &[u8],
        piece: Piece,
        beginning: Option<Beginning>,
    ) {
        match (piece.record(bytes), beginning) {
            (Some(_), Some(beginning)) => self.make_room(beginning),
            (Some(record), None) => {
                *self.unusual.entry(kind_of(&record)).or_default() += 1;
            }
            (None, _) => {
                self.damaged += 1;
                self.see_damage(Some(offset));
            }
        }
    }

    fn make_room(&mut self, beginning: Beginning) {
        let slot = &mut self.recent[beginning.slot()];
        if slot.count > 0 {
            *self.usual.entry(slot.beginning).or_default() += slot.count;
        }
        *slot = Slot { beginning, count: 1 };
    }

    fn see_damage(&mut self, offset: Option<u64>) {
        self.first_damage = self.first_damage.into_iter().chain(offset).min();
    }
}

impl Totals {
    fn add(&mut self, op: String, table: Option<String>, count: u64) {
        self.records += count;
        if op == Op::Ex.name() {
            self.transactions += count;
        }
        *self.ops.entry(op).or_default() += count;
        if let Some(table) = table {
            *self.tables.entry(table).or_default() += count;
        }
    }
}

impl Beginning {
    /// The beginning of a record if it is one of the usual ones.
    #[inline]
    fn of(bytes: &[u8]) -> Option<Self> {
        match *bytes {
            [b'@', a @ (b'e' | b'm' | b'n'), b'x', b'@', ..] => {
                Some(Self { op: [b'@', a, b'x', b'@'], table: 0 })
            }
            [b'@', a @ (b'p' | b'r' | b'd' | b'v'), b'v', b'@', b' ', ref rest @ ..] => {
                let rest = rest.first_chunk::<16>()?;
                let quotes = u8x16::new(*rest).simd_eq(u8x16::splat(b'@')).to_bitmask();
                // Without its lowest bit it begins with the closing quote.
                let closing = (quotes & quotes.wrapping_sub(1)).trailing_zeros();
                let unused_bits = 120_u32.checked_sub(closing * 8)?;
                // A quote behind it would double it.
                if bytes.get(6 + closing as usize) != Some(&b' ') {
                    return None;
                }
                let table = u128::from_le_bytes(*rest) << unused_bits >> unused_bits;
                Some(Self { op: [b'@', a, b'v', b'@'], table })
            }
            _ => None,
        }
    }

    /// Where it is counted. Two that share a slot are counted slowly, and rightly.
    #[inline]
    const fn slot(&self) -> usize {
        let table = self.table as u64 ^ ((self.table >> 64) as u64).rotate_left(32);
        let mixed = (table ^ self.op[1] as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (u64::BITS - SLOTS.ilog2())) as usize
    }

    /// The bytes again, to be parsed.
    fn text(&self) -> Vec<u8> {
        let table = self.table.to_le_bytes();
        let end = table.iter().rposition(|&byte| byte == b'@').map_or(0, |at| at + 1);
        [&self.op, b" ".as_slice(), &table[..end], b" "].concat()
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            recent: vec![Slot::default(); SLOTS].into(),
            usual: HashMap::new(),
            unusual: BTreeMap::new(),
            damaged: 0,
            first_damage: None,
            lines: 0,
        }
    }
}

/// Enough that two of a journal's few dozen beginnings hardly ever share one.
const SLOTS: usize = 1024;

/// Operator and table of a record, as they are written.
fn kind_of(record: &Record<'_>) -> (String, Option<String>) {
    (record.op_text().to_owned(), record.table().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(records: &[&[u8]]) -> Totals {
        let mut tally = Tally::default();
        for record in records {
            tally.see(0, record, Piece { len: record.len(), lines: 1, whole: true });
        }
        tally.totals()
    }

    #[test]
    fn usual_records_are_told_by_their_beginning() {
        let record = b"@pv@ 12 @db.x@ 1 @more text@ \n";
        assert_eq!(Beginning::of(record).unwrap().text(), b"@pv@ 12 @db.x@ ");
        let totals =
            seen(&[record, b"@dv@ 3 @db.x@ 1 @text@ \n", b"@ex@ 1 2\n", b"@ex@ 3 4\n"]);
        assert_eq!((totals.records, totals.transactions), (4, 2));
        assert_eq!(totals.tables["db.x"], 2);
        assert_eq!((totals.ops["pv"], totals.ops["dv"], totals.ops["ex"]), (1, 1, 2));
    }

    #[test]
    fn beginnings_that_share_a_slot() {
        let mut tally = Tally::default();
        for round in 0..3 {
            for table in 0..2 * SLOTS {
                let record = format!("@pv@ {round} @db.{table}@ 1 \n");
                let piece = Piece { len: record.len(), lines: 1, whole: true };
                tally.see(0, record.as_bytes(), piece);
            }
        }
        let totals = tally.totals();
        assert_eq!((totals.records, totals.tables.len()), (6 * SLOTS as u64, 2 * SLOTS));
        assert!(totals.tables.values().all(|count| *count == 3));
    }

    #[test]
    fn the_longest_beginning() {
        let fits = b"@pv@ 9 @db.234567890@ 1 \n";
        assert_eq!(Beginning::of(fits).unwrap().text(), b"@pv@ 9 @db.234567890@ ");
        let long = b"@pv@ 9 @db.2345678901@ 1 \n";
        assert_eq!(Beginning::of(long), None);
        assert_eq!(seen(&[fits, long]).tables.len(), 2);
    }

    #[test]
    fn what_does_not_parse_is_damage() {
        for bytes in [
            &b"@pv@ x\n"[..],
            b"@pv@ garbage\n",
            b"@pv@ 4294967296 @db.x@ 1 \n",
            b"@pv@ x @db.x@ 1234567890\n",
            b"@pv@ 1 @db.x@@y@ 1234567890\n",
            b"@rv@ @in the way of a table@ 1 2 3\n",
        ] {
            let mut tally = Tally::default();
            let piece = Piece { len: bytes.len(), lines: 1, whole: true };
            tally.see(7, bytes, piece);
            assert_eq!(
                (tally.damaged(), tally.first_damage(), tally.totals().records),
                (1, Some(7), 0),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn unusual_records_count_all_the_same() {
        let totals = seen(&[
            b"@put@ 0 @db.user@ @a@ \n",
            b"@pv@ 0 @db.x@ \n",
            b"@zz@ 1 @db.x@ 1 \n",
            b"@dl@ @//depot/a@ @1.144@ 0 @obliterate@ @//depot/a@ \n",
        ]);
        assert_eq!(totals.records, 4);
        assert_eq!((totals.ops["pv"], totals.ops["put"], totals.ops["zz"]), (1, 1, 1));
        assert_eq!((totals.tables["db.x"], totals.tables["db.user"]), (2, 1));
        assert_eq!(totals.tables.len(), 2);
    }
}
