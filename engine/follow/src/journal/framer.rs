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
    /// How many of them the entries cover.
    framed: usize,
    /// What was split: first the entries that are handed out, then those held back.
    spans: Vec<Span>,
    /// How many of the spans are entries.
    ready: usize,
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
    /// Where entries are to end where every transaction is closed: what is known
    /// of those that are open.
    held: Option<Held>,
}

/// What was seen of the spans while open transactions are held back, so that
/// each record is looked at once, however long its transaction gets.
#[derive(Debug, Default)]
struct Held {
    transactions: Transactions,
    trailer: Trailer,
    /// So many spans were looked at.
    seen: usize,
    /// Behind so many of them, no transaction is open.
    closed: usize,
}

impl Framer {
    pub(crate) fn new(record_bytes_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            framed: 0,
            spans: Vec::new(),
            ready: 0,
            marks: Vec::new(),
            splitter: Splitter::new(),
            trailer: Trailer::new(),
            place: Place::default(),
            before: Vec::new(),
            in_cut_record: false,
            record_bytes_max: record_bytes_max.max(BLOCK_BYTES),
            held: None,
        }
    }

    /// From now on, what belongs to a transaction that is still open is held
    /// back, up to [`HELD_RECORDS_MAX`] times the length of the longest record.
    pub(crate) fn hold_open(&mut self) {
        self.held = Some(Held { trailer: self.trailer, ..Held::default() });
    }

    /// Begins anew at a place, which must be where a record starts; `before`
    /// are the bytes before it.
    pub(crate) fn restart(&mut self, place: Place, before: &[u8]) {
        self.start = 0;
        self.end = 0;
        (self.framed, self.ready) = (0, 0);
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
        if self.held.is_some() {
            self.hold_open();
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
            let more = self.buffer.len().clamp(BLOCK_BYTES, GROWTH_BYTES_MAX);
            let length = self.buffer.len() + more;
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
        self.split();
        self.choose(more, true)
    }

    /// Frames what was held back: the file is over, and what is open in it will
    /// never be closed.
    pub(crate) fn release(&mut self) -> bool {
        self.split();
        self.choose(false, false)
    }

    /// Splits what was not split yet.
    fn split(&mut self) {
        if self.in_cut_record {
            return;
        }
        let bytes = &self.buffer[self.start..self.end];
        let mut at = self.spans.last().map_or(0, |span| span.end as usize);
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
    }

    /// Chooses which of the spans are entries now; returns whether there is one.
    fn choose(&mut self, more: bool, may_hold: bool) -> bool {
        if self.in_cut_record {
            self.frame_cut_record();
            return self.ready > 0;
        }
        let length = self.end - self.start;
        if self.spans.is_empty() && length >= self.record_bytes_max {
            self.cut_record();
        } else if self.held.is_some() {
            self.end_on_commit(may_hold);
        } else {
            if more {
                self.end_on_transaction();
            }
            self.ready = self.spans.len();
        }
        self.framed = self.entries().last().map_or(0, |span| span.end as usize);
        self.watch_for_trailer();
        self.ready > 0
    }

    /// Forgets the entries that were handed out.
    pub(crate) fn discard(&mut self) {
        if self.ready == 0 {
            return;
        }
        let (length, count) = (self.framed, self.ready);
        let lines = self.entries().iter().map(|span| u64::from(span.lines)).sum();
        self.place = self.place.advance(length as u64, lines);
        let handed_out = self.start..self.start + length;
        let buffer = std::mem::take(&mut self.buffer);
        self.remember(&buffer[handed_out]);
        self.buffer = buffer;
        self.start += length;
        (self.framed, self.ready) = (0, 0);
        // What is held back comes no second time: it is behind what closed last.
        self.spans.drain(..count);
        for span in &mut self.spans {
            span.end -= length as u32;
        }
        self.marks.retain_mut(|mark| {
            let index = (mark.index as usize).checked_sub(count);
            mark.index = index.unwrap_or_default() as u32;
            index.is_some()
        });
        if let Some(held) = &mut self.held {
            held.seen = held.seen.saturating_sub(count);
            held.closed = held.closed.saturating_sub(count);
        }
    }

    /// The bytes the entries cover.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.framed]
    }

    pub(crate) fn spans(&self) -> &[Span] {
        self.entries()
    }

    fn entries(&self) -> &[Span] {
        &self.spans[..self.ready]
    }

    pub(crate) fn marks(&self) -> &[Mark] {
        let is_of_entry = |mark: &Mark| (mark.index as usize) < self.ready;
        &self.marks[..self.marks.partition_point(is_of_entry)]
    }

    /// The place of the first entry that was not discarded.
    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// The place behind the entries.
    pub(crate) fn end_place(&self) -> Place {
        let lines = self.entries().iter().map(|span| u64::from(span.lines)).sum();
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

    /// Entries end where no transaction is open, unless more is open than may be
    /// held, or what is open will never be closed.
    fn end_on_commit(&mut self, may_hold: bool) {
        let Some(held) = &mut self.held else { return };
        let bytes = &self.buffer[self.start..self.end];
        let before = held.seen.checked_sub(1).and_then(|last| self.spans.get(last));
        let mut at = before.map_or(0, |span| span.end as usize);
        for span in &self.spans[held.seen..] {
            let record = &bytes[at..span.end as usize];
            at = span.end as usize;
            held.seen += 1;
            held.trailer.see(record);
            if is_closing(record, &mut held.transactions) {
                held.closed = held.seen;
            }
        }
        // Behind a trailer nothing will be closed any more.
        let is_over = held.trailer.next_number().is_some() || !may_hold;
        let is_full = bytes.len() >= self.record_bytes_max * HELD_RECORDS_MAX;
        self.ready = match is_over || (is_full && held.closed == 0) {
            true => self.spans.len(),
            false => held.closed,
        };
    }

    fn watch_for_trailer(&mut self) {
        let mut at = self.start;
        for span in &self.spans[..self.ready] {
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
        self.hand_out_part(length, lines);
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
        self.hand_out_part(length, lines);
        self.framed = length;
        if is_over {
            self.in_cut_record = false;
            self.splitter.reset();
        }
        self.trailer = Trailer::new();
    }

    fn hand_out_part(&mut self, length: usize, lines: u32) {
        self.spans.push(Span { end: length as u32, lines, incomplete: true });
        self.ready = 1;
        if let Some(held) = &mut self.held {
            held.transactions.see_inside();
            held.trailer = Trailer::new();
            held.seen = 1;
        }
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

/// So many times as much as the longest record may have is held back of open
/// transactions, in bytes.
const HELD_RECORDS_MAX: usize = 8;
/// The buffer grows by no more at a time.
const GROWTH_BYTES_MAX: usize = 64 * 1024 * 1024;

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
mod tests;
