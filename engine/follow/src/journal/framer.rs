//! Bytes become entries: a buffer of bounded size, and what is known of it.

use p4journal::{Op, Record, Splitter, Trailer, Transactions};
use tripline_api::{Mark, Place, Proof, Span};

/// How much is read at a time, in bytes. Small enough that a block is split and
/// delivered while it is still in the processor's cache.
pub(crate) const BLOCK_BYTES: usize = 256 * 1024;

/// The longest record that is handed out whole, in bytes, unless configured.
pub(crate) const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Collects bytes of one file and frames them into entries.
///
/// The order of use: [`space`](Self::space) and [`filled`](Self::filled) as
/// often as needed, [`frame`](Self::frame), then the entries are looked at, and
/// [`discard`](Self::discard) makes room for the next.
pub(crate) struct Framer {
    /// Bytes from `start` to `end` are read and not handed out yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// How many of them the current `spans` cover.
    framed: usize,
    spans: Vec<Span>,
    marks: Vec<Mark>,
    splitter: Splitter,
    trailer: Trailer,
    /// The place of `buffer[start]`.
    place: Place,
    /// The last bytes before `place`, for its proof.
    before: Vec<u8>,
    /// A record was cut at the bound: until the next record starts, what comes
    /// is more of it.
    in_cut_record: bool,
    record_bytes_max: usize,
    /// Entries end where every transaction is closed.
    holds_open: bool,
}

impl Framer {
    pub(crate) fn new(record_bytes_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            framed: 0,
            spans: Vec::new(),
            marks: Vec::new(),
            splitter: Splitter::new(),
            trailer: Trailer::new(),
            place: Place::default(),
            before: Vec::new(),
            in_cut_record: false,
            record_bytes_max: record_bytes_max.max(BLOCK_BYTES),
            holds_open: false,
        }
    }

    /// From now on, what belongs to a transaction that is still open is held
    /// back, up to the length of the longest record.
    pub(crate) const fn hold_open(&mut self) {
        self.holds_open = true;
    }

    /// Begins anew at a place, which must be where a record starts; `before`
    /// are the bytes before it.
    pub(crate) fn restart(&mut self, place: Place, before: &[u8]) {
        self.start = 0;
        self.end = 0;
        self.framed = 0;
        self.spans.clear();
        self.marks.clear();
        self.splitter.reset();
        self.trailer = Trailer::new();
        self.place = place;
        self.before.clear();
        self.remember(before);
        self.in_cut_record = false;
        // The place may lie inside a trailer.
        for record in records_in(before) {
            self.trailer.see(record);
        }
    }

    /// Where the next bytes go: at least one byte of room.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            // What is left over is less than a record, or less than a block
            // behind the last transaction: cheap to move.
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            let length = (self.buffer.len() * 2).max(BLOCK_BYTES);
            self.buffer.resize(length, 0);
        } else if self.end < BLOCK_BYTES && self.buffer.len() > BLOCK_BYTES {
            // A giant record is over: give its memory back.
            self.buffer.truncate(BLOCK_BYTES);
            self.buffer.shrink_to_fit();
        }
        &mut self.buffer[self.end..]
    }

    /// `count` bytes were written into [`Framer::space`].
    pub(crate) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// Frames what is there; returns whether there is an entry now. With
    /// `more` bytes waiting to be read, the entries end with a transaction
    /// when they can.
    pub(crate) fn frame(&mut self, more: bool) -> bool {
        self.frame_until(more, self.holds_open)
    }

    /// Frames what was held back: the file is over, and what is open in it will
    /// never be closed.
    pub(crate) fn release(&mut self) -> bool {
        self.frame_until(false, false)
    }

    fn frame_until(&mut self, more: bool, holds_open: bool) -> bool {
        let bytes = &self.buffer[self.start..self.end];
        if self.in_cut_record {
            self.frame_cut_record();
            return !self.spans.is_empty();
        }
        let mut at = 0;
        while let Some(piece) = self.splitter.next(&bytes[at..]) {
            let record = &bytes[at..at + piece.len];
            at += piece.len;
            self.marks.extend(Mark::of(self.spans.len(), record));
            self.spans.push(Span {
                end: at as u32,
                lines: piece.lines,
                incomplete: !piece.whole,
            });
        }
        if self.spans.is_empty() && bytes.len() >= self.record_bytes_max {
            self.cut_record();
        } else if holds_open {
            self.end_on_commit();
        } else if more {
            self.end_on_transaction();
        }
        self.framed = self.spans.last().map_or(0, |span| span.end as usize);
        self.watch_for_trailer();
        !self.spans.is_empty()
    }

    /// Forgets the entries that were handed out.
    pub(crate) fn discard(&mut self) {
        let Some(last) = self.spans.last() else { return };
        let length = last.end as usize;
        let lines = self.spans.iter().map(|span| u64::from(span.lines)).sum();
        self.place = self.place.advance(length as u64, lines);
        let handed_out = self.start..self.start + length;
        let buffer = std::mem::take(&mut self.buffer);
        self.remember(&buffer[handed_out]);
        self.buffer = buffer;
        self.start += length;
        self.framed = 0;
        self.spans.clear();
        self.marks.clear();
    }

    /// The bytes the entries cover.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.framed]
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans
    }

    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The place of the first entry that was not discarded.
    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// The place behind the entries.
    pub(crate) fn end_place(&self) -> Place {
        let lines = self.spans.iter().map(|span| u64::from(span.lines)).sum();
        self.place.advance(self.framed as u64, lines)
    }

    /// The offset in the file at which the next byte is to be read.
    pub(crate) const fn read_offset(&self) -> u64 {
        self.place.offset + (self.end - self.start) as u64
    }

    /// Bytes that were read and do not make an entry yet.
    pub(crate) const fn left_over(&self) -> usize {
        self.end - self.start - self.framed
    }

    /// The number of the next journal, when everything read so far ends with a
    /// trailer.
    pub(crate) const fn next_number(&self) -> Option<u64> {
        self.trailer.next_number()
    }

    /// The last bytes before [`Framer::end_place`], at most what a proof
    /// hashes.
    pub(crate) fn before_end(&self) -> Vec<u8> {
        last_of(&self.before, self.bytes(), Proof::TAIL_BYTES_MAX)
    }

    /// The last `count` bytes before [`Framer::read_offset`], or fewer when the
    /// file has no more.
    pub(crate) fn before_read(&self, count: usize) -> Vec<u8> {
        last_of(&self.before, &self.buffer[self.start..self.end], count)
    }

    /// A batch that ends inside a transaction makes a listener that needs whole
    /// ones wait: when there is more to come, hold the open one back.
    fn end_on_transaction(&mut self) {
        let Some(mark) = self.marks.last() else { return };
        let keep = mark.index as usize + 1;
        if keep < self.spans.len() {
            self.spans.truncate(keep);
            self.splitter.reset();
        }
    }

    /// Entries end where no transaction is open, unless one is longer than may be
    /// held.
    fn end_on_commit(&mut self) {
        let bytes = &self.buffer[self.start..self.end];
        let mut transactions = Transactions::new();
        let mut trailer = self.trailer;
        let (mut at, mut keep) = (0, 0);
        for (index, span) in self.spans.iter().enumerate() {
            let record = &bytes[at..span.end as usize];
            at = span.end as usize;
            trailer.see(record);
            if is_closing(record, &mut transactions) {
                keep = index + 1;
            }
        }
        // Behind a trailer nothing will be closed any more.
        let is_over = trailer.next_number().is_some();
        if is_over
            || keep == self.spans.len()
            || keep == 0 && bytes.len() >= self.record_bytes_max
        {
            return;
        }
        self.spans.truncate(keep);
        self.marks.retain(|mark| (mark.index as usize) < keep);
        self.splitter.reset();
    }

    fn watch_for_trailer(&mut self) {
        let mut at = self.start;
        for span in &self.spans {
            let end = self.start + span.end as usize;
            self.trailer.see(&self.buffer[at..end]);
            at = end;
        }
    }

    /// The record is longer than the bound: hand out what there is, marked.
    fn cut_record(&mut self) {
        let bytes = &self.buffer[self.start..self.end];
        // Keep back what may be the start of the next record's line.
        let length = bytes.len() - RECORD_START_BYTES_MAX;
        let lines = count_lines(&bytes[..length]);
        self.spans.push(Span { end: length as u32, lines, incomplete: true });
        self.in_cut_record = true;
    }

    fn frame_cut_record(&mut self) {
        let bytes = &self.buffer[self.start..self.end];
        let (length, is_over) = match p4journal::resync(bytes) {
            Some(at) => (at, true),
            None if bytes.len() >= BLOCK_BYTES => {
                (bytes.len() - RECORD_START_BYTES_MAX, false)
            }
            None => return,
        };
        let lines = count_lines(&bytes[..length]);
        self.spans.push(Span { end: length as u32, lines, incomplete: true });
        self.framed = length;
        if is_over {
            self.in_cut_record = false;
            self.splitter.reset();
        }
        self.trailer = Trailer::new();
    }

    fn remember(&mut self, bytes: &[u8]) {
        let kept = last_of(&self.before, bytes, Proof::TAIL_BYTES_MAX);
        self.before = kept;
    }
}

/// Takes the next record; returns whether no transaction is open behind it.
fn is_closing(bytes: &[u8], transactions: &mut Transactions) -> bool {
    let is_marker = matches!(Op::of(bytes), Some(Op::Ex | Op::Mx | Op::Nx));
    match Record::parse(bytes).ok().filter(|_| is_marker) {
        Some(record) => _ = transactions.see(&record),
        None => transactions.see_inside(),
    }
    transactions.is_settled()
}

/// `\n@xxx@ `: what must not be cut apart to recognise a record's start.
const RECORD_START_BYTES_MAX: usize = 8;

/// The whole records in some bytes that need not begin with one.
pub(super) struct Records<'a> {
    /// What comes behind the records handed out.
    pub(super) rest: &'a [u8],
    splitter: Splitter,
}

pub(super) fn records_in(bytes: &[u8]) -> Records<'_> {
    let rest = match p4journal::resync(bytes) {
        Some(at) if !p4journal::starts_record(bytes) => &bytes[at..],
        _ => bytes,
    };
    Records { rest, splitter: Splitter::new() }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let piece = self.splitter.next(self.rest)?;
        let (record, rest) = self.rest.split_at(piece.len);
        self.rest = rest;
        Some(record)
    }
}

/// The last `count` bytes of `first` and `second` put together.
fn last_of(first: &[u8], second: &[u8], count: usize) -> Vec<u8> {
    let from_second = &second[second.len().saturating_sub(count)..];
    let wanted = count - from_second.len();
    let from_first = &first[first.len().saturating_sub(wanted)..];
    [from_first, from_second].concat()
}

fn count_lines(bytes: &[u8]) -> u32 {
    memchr::memchr_iter(b'\n', bytes).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(framer: &mut Framer, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = framer.space();
            let n = space.len().min(bytes.len());
            space[..n].copy_from_slice(&bytes[..n]);
            framer.filled(n);
            bytes = &bytes[n..];
        }
    }

    fn texts(framer: &Framer) -> Vec<String> {
        let mut at = 0;
        let mut all = Vec::new();
        for span in framer.spans() {
            let text = &framer.bytes()[at..span.end as usize];
            all.push(String::from_utf8_lossy(text).into_owned());
            at = span.end as usize;
        }
        all
    }

    #[test]
    fn places_and_the_bytes_before_them_go_on() {
        let mut framer = Framer::new(RECORD_BYTES_MAX);
        framer.restart(Place { era: 0, sequence: 4, offset: 100, line: 9 }, b"earlier\n");
        feed(&mut framer, b"@pv@ 1 @db.x@ @a\nb@ \n@ex@ 1 2\n@pv@ 1 @d");
        assert!(framer.frame(false));
        assert_eq!(framer.spans().len(), 2);
        assert_eq!(framer.marks()[0].index, 1);
        assert_eq!(framer.before_end(), b"earlier\n@pv@ 1 @db.x@ @a\nb@ \n@ex@ 1 2\n");
        framer.discard();
        assert_eq!((framer.place().offset, framer.place().line), (130, 12));
        assert!(!framer.frame(false));
        assert_eq!(framer.left_over(), 9);
        assert_eq!(framer.read_offset(), 139);
        feed(&mut framer, b"b.x@ 3 \n");
        assert!(framer.frame(false));
        assert_eq!(texts(&framer), ["@pv@ 1 @db.x@ 3 \n"]);
        assert_eq!(framer.before_read(4), b" 3 \n");
    }

    #[test]
    fn with_more_to_come_a_batch_ends_on_a_transaction() {
        let mut framer = Framer::new(RECORD_BYTES_MAX);
        feed(&mut framer, b"@pv@ 1 @db.x@ 1 \n@ex@ 1 2\n@pv@ 1 @db.x@ 2 \n");
        assert!(framer.frame(true));
        assert_eq!(framer.spans().len(), 2);
        framer.discard();
        assert!(framer.frame(false));
        assert_eq!(texts(&framer), ["@pv@ 1 @db.x@ 2 \n"]);
    }

    #[test]
    fn an_open_transaction_is_held_back() {
        let mut framer = Framer::new(RECORD_BYTES_MAX);
        framer.hold_open();
        feed(&mut framer, b"@pv@ 1 @db.x@ 1 \n@ex@ 1 2\n@pv@ 1 @db.x@ 2 \n@mx@ 7 3\n");
        assert!(framer.frame(false));
        assert_eq!(framer.spans().len(), 2);
        assert_eq!(framer.marks().len(), 1);
        framer.discard();
        // Another process ends its own in between.
        feed(&mut framer, b"@pv@ 1 @db.x@ 3 \n@ex@ 8 4\n");
        assert!(!framer.frame(false));
        feed(&mut framer, b"@pv@ 1 @db.x@ 4 \n@ex@ 7 5\n@pv@ 1 @db.x@ 5 \n");
        assert!(framer.frame(true));
        assert_eq!(framer.spans().len(), 6);
        framer.discard();
        assert!(!framer.frame(false));
        assert!(framer.release());
        assert_eq!(texts(&framer), ["@pv@ 1 @db.x@ 5 \n"]);
    }

    #[test]
    fn a_transaction_that_is_too_long_is_not_held() {
        let mut framer = Framer::new(BLOCK_BYTES);
        framer.hold_open();
        let record = b"@pv@ 1 @db.x@ 1 \n";
        for _ in 0..BLOCK_BYTES / record.len() {
            feed(&mut framer, record);
        }
        assert!(!framer.frame(true));
        feed(&mut framer, record);
        assert!(framer.frame(true));
    }

    #[test]
    fn a_trailer_is_seen_across_batches() {
        let mut framer = Framer::new(RECORD_BYTES_MAX);
        feed(&mut framer, b"@rv@ 1 @db.counters@ @journal@ @6@ \n");
        assert!(framer.frame(false));
        framer.discard();
        assert_eq!(framer.next_number(), None, "not before its mark");
        feed(&mut framer, b"@nx@ 3 9 @58@ 0 0 0 0 0 @@ @@ @@ @@ @@ \n@ex@ 1 9\n");
        assert!(framer.frame(false));
        assert_eq!(framer.next_number(), Some(6));
    }

    #[test]
    fn a_trailer_is_seen_from_its_middle() {
        let mut framer = Framer::new(RECORD_BYTES_MAX);
        let before = b"cut @ \n@ex@ 1 2\n@rv@ 1 @db.counters@ @journal@ @6@ \n";
        framer.restart(Place::default(), before);
        feed(&mut framer, b"@ex@ 1 9\n");
        assert!(framer.frame(false));
        assert_eq!(framer.next_number(), Some(6));
    }

    #[test]
    fn a_giant_record_is_cut_and_the_next_is_whole() {
        let mut framer = Framer::new(BLOCK_BYTES);
        let mut giant = b"@pv@ 0 @db.desc@ 1 @".to_vec();
        giant.extend(
            std::iter::repeat_n(b"text of a line\n".as_slice(), 60_000).flatten(),
        );
        giant.extend(b"@ \n");
        let next = b"@ex@ 1 2\n";
        let mut all = giant.clone();
        all.extend(next);
        let (mut seen, mut incomplete, mut lines) = (Vec::<u8>::new(), 0, 0);
        for chunk in all.chunks(50_000) {
            feed(&mut framer, chunk);
            while framer.frame(true) {
                for (span, text) in framer.spans().iter().zip(texts(&framer)) {
                    seen.extend(text.as_bytes());
                    incomplete += usize::from(span.incomplete);
                    lines += span.lines;
                    assert!(span.incomplete || text.as_bytes() == next);
                }
                framer.discard();
            }
        }
        assert_eq!(seen, all);
        assert!(incomplete > 1);
        assert_eq!(lines, count_lines(&all));
    }
}
