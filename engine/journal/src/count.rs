//! What a journal holds, counted.

use std::collections::BTreeMap;
use std::mem;

use crate::journal::Head;
use crate::journal::Trailer;
use crate::split::Splitter;
use crate::tally::Tally;
use crate::tally::Totals;

/// What was counted in a journal or a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// What its first records say it is.
    pub head: Head,
    /// Its number: what it says itself, else one less than its trailer says.
    pub number: Option<u64>,
    /// The number of the next journal, when this one ends with the trailer of a
    /// rotation.
    pub next_number: Option<u64>,
    /// Whole records.
    pub records: u64,
    /// Transactions ended: `@ex@` records.
    pub transactions: u64,
    /// Pieces that are no record: torn ones, blank lines, holes of NUL bytes, and what
    /// does not parse, see [`Piece::record`](crate::Piece::record).
    pub damaged: u64,
    /// All bytes.
    pub bytes: u64,
    /// Bytes of the whole records at the beginning: up to the first damage, or else up
    /// to the end of the last record.
    pub bytes_complete: u64,
    /// Bytes behind the last piece: a record that is torn, or still being written.
    pub bytes_behind: u64,
    /// Line feeds in the complete bytes.
    pub lines: u64,
    /// Whole records by operator, as it is written.
    pub ops: BTreeMap<String, u64>,
    /// Whole records by table.
    pub tables: BTreeMap<String, u64>,
}

/// Counts a stream of bytes in whatever steps it comes.
///
/// Holds the unfinished record up to 1 MiB, and no more of a longer one: nothing that
/// grows with the input.
///
/// ```
/// let mut counter = p4journal::Counter::new();
/// counter.push(b"@vv@ 1 @db.counters@ @journal@ @5@ \n@pv@ 0 @db.desc@ 1 @two\nli");
/// counter.push(b"nes@ \n@ex@ 100 1700000000\n@ex@ 200 17000");
/// let count = counter.finish();
///
/// assert_eq!((count.number, count.records, count.transactions), (Some(5), 3, 1));
/// assert_eq!((count.bytes, count.bytes_complete), (102, 88));
/// assert_eq!(count.tables["db.desc"], 1);
/// assert!(!count.is_complete());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Counter {
    /// The unfinished record when it did not end with the last push.
    unfinished: Vec<u8>,
    /// How many bytes were taken out of its middle.
    forgotten: usize,
    splitter: Splitter,
    tally: Tally,
    trailer: Trailer,
    head: HeadBytes,
    bytes: u64,
    /// Bytes of the pieces.
    bytes_split: u64,
}

/// The first bytes, for as long as the head may need them.
#[derive(Clone, Debug, Default)]
struct HeadBytes(Vec<u8>);

impl Count {
    /// Whether all of it is whole records: nothing damaged, nothing behind the last one.
    pub const fn is_complete(&self) -> bool {
        self.bytes == self.bytes_complete
    }

    /// Whether it ends with the trailer of a rotation, so that journal
    /// [`Count::next_number`] goes on from here.
    pub const fn is_terminated(&self) -> bool {
        self.next_number.is_some() && self.bytes_behind == 0
    }

    pub(crate) fn new(
        head: Head,
        trailer: Trailer,
        tally: &Tally,
        bytes: u64,
        bytes_split: u64,
    ) -> Self {
        let next_number = trailer.next_number();
        let number = head.number().or_else(|| next_number?.checked_sub(1));
        let Totals { records, transactions, ops, tables } = tally.totals();
        Self {
            head,
            number,
            next_number,
            records,
            transactions,
            damaged: tally.damaged(),
            bytes,
            bytes_complete: tally.first_damage().unwrap_or(bytes_split),
            bytes_behind: bytes - bytes_split,
            lines: tally.lines(),
            ops,
            tables,
        }
    }
}

impl Counter {
    /// A counter at the start of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.head.push(bytes);
        let mut rest = bytes;
        while !self.unfinished.is_empty() && !rest.is_empty() {
            // In short steps: once the unfinished record has ended, the others are
            // counted where they are, without being copied.
            let (step, after) = rest.split_at(rest.len().min(STEP_BYTES));
            let mut held = mem::take(&mut self.unfinished);
            held.extend_from_slice(step);
            let used = self.take(&held);
            held.drain(..used);
            self.unfinished = held;
            rest = after;
            if used > 0 && self.unfinished.len() <= step.len() {
                rest = &bytes[bytes.len() - after.len() - self.unfinished.len()..];
                self.unfinished.clear();
                self.splitter.reset();
            }
            self.forgotten += forget_middle(&mut self.unfinished, &mut self.splitter);
        }
        if self.unfinished.is_empty() {
            let used = self.take(rest);
            self.unfinished.extend_from_slice(&rest[used..]);
            self.forgotten += forget_middle(&mut self.unfinished, &mut self.splitter);
        }
    }

    /// The count of all that was pushed.
    pub fn finish(self) -> Count {
        let head = Head::read(&self.head.0);
        Count::new(head, self.trailer, &self.tally, self.bytes, self.bytes_split)
    }

    /// Counts the pieces of `bytes` and returns their length.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut pieces = self.splitter.pieces(bytes);
        for (bytes, piece) in pieces.by_ref() {
            self.tally.see(self.bytes_split, bytes, piece);
            self.trailer.see(bytes);
            self.bytes_split += (piece.len + mem::take(&mut self.forgotten)) as u64;
        }
        pieces.used()
    }
}

/// Takes the examined middle out of a long unfinished record: counting needs its start
/// only. Returns how many bytes that were.
pub(crate) fn forget_middle(unfinished: &mut Vec<u8>, splitter: &mut Splitter) -> usize {
    if unfinished.len() <= UNFINISHED_BYTES_MAX {
        return 0;
    }
    let middle = KEPT_BYTES..splitter.examined().max(KEPT_BYTES);
    let count = middle.len();
    unfinished.drain(middle);
    splitter.forget(count);
    count
}

/// An unfinished record longer than this is held without its middle.
pub(crate) const UNFINISHED_BYTES_MAX: usize = 1 << 20;

/// How much is added to an unfinished record at a time.
const STEP_BYTES: usize = 4096;

/// What is kept of its start: operator, table, and the trailer's counter.
const KEPT_BYTES: usize = 4096;

impl HeadBytes {
    /// Keeps what comes until it is enough to tell. A head is a few hundred bytes; a
    /// first record longer than this is no head.
    const BYTES_MAX: usize = 64 * 1024;

    fn push(&mut self, bytes: &[u8]) {
        let missing = Self::BYTES_MAX - self.0.len();
        self.0.extend_from_slice(&bytes[..bytes.len().min(missing)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(bytes: &[u8]) -> Count {
        let mut counter = Counter::new();
        counter.push(bytes);
        counter.finish()
    }

    const ROTATED: &[u8] = b"@rv@ 3 @db.user@ @a@ \r\n@ex@ 1 2\r\n\
        @rv@ 1 @db.counters@ @journal@ @2@ \r\n@ex@ 3 4\r\n";

    #[test]
    fn the_trailer_numbers_a_journal_that_does_not_number_itself() {
        let count = count(ROTATED);
        assert_eq!((count.number, count.next_number), (Some(1), Some(2)));
        assert!(count.is_terminated() && count.is_complete());
        assert_eq!((count.ops["rv"], count.ops["ex"], count.lines), (2, 2, 4));
    }

    #[test]
    fn bytes_behind_the_trailer_unmake_it() {
        let count = count(&[ROTATED, b"@pv"].concat());
        assert!(!count.is_terminated() && !count.is_complete());
    }

    #[test]
    fn damage_is_counted_apart() {
        let count =
            count(b"@pv@ 1 @db.desc@ 1 @torn\n@nx@ 7 1 @58@ \n\n@zz@ 1 @db.x@ 1 \n");
        assert_eq!((count.records, count.damaged), (2, 2));
        assert_eq!((count.ops["nx"], count.ops["zz"]), (1, 1));
        assert!(!count.tables.contains_key("db.desc"));
        assert_eq!((count.bytes_complete, count.bytes_behind), (0, 0));
        assert!(!count.is_complete());
    }

    #[test]
    fn the_steps_do_not_matter() {
        let all = count(ROTATED);
        for step in 1..9 {
            let mut counter = Counter::new();
            ROTATED.chunks(step).for_each(|chunk| counter.push(chunk));
            assert_eq!(counter.finish(), all, "{step}");
        }
    }

    #[test]
    fn a_long_record_is_not_held() {
        let mut counter = Counter::new();
        counter.push(b"@ex@ 1 2\n@pv@ 0 @db.desc@ 1 @");
        let text = b"a line\n".repeat(10_000);
        for _ in 0..100 {
            counter.push(&text);
            assert!(counter.unfinished.len() <= UNFINISHED_BYTES_MAX + text.len());
        }
        counter.push(b"@ \n@ex@ 3 4\n");
        let count = counter.finish();
        assert_eq!(
            (count.records, count.tables["db.desc"], count.lines),
            (3, 1, 1_000_003)
        );
        assert_eq!((count.bytes, count.bytes_complete), (7_000_041, 7_000_041));
    }

    #[test]
    fn nothing() {
        let count = count(b"");
        assert_eq!((count.records, count.number), (0, None));
        assert_eq!(count.head, Head::NeedMore);
        assert!(count.is_complete() && !count.is_terminated());
    }
}
