//! Entries the slow and plain way, and a check of the framer against them. The
//! fuzzer uses this file too.

use std::sync::Arc;
use tripline_api::{Place, Proof};
use tripline_follow::log::join::{Join, LINES_MAX};
use tripline_follow::log::lines::{End, LineRules, Lines, Piece};

/// How lines are joined, with a twin of the pattern in plain code.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    Alone,
    Indent,
    Digit,
    EndsWithB,
}

impl Rule {
    pub(crate) fn join(self) -> Option<Join> {
        match self {
            Self::Alone => None,
            Self::Indent => Some(Join::Indent),
            Self::Digit => Some(Join::start("^[0-9]").expect("a pattern")),
            Self::EndsWithB => Some(Join::start("b$").expect("a pattern")),
        }
    }

    fn is_start(self, line: &[u8], max: usize) -> bool {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let look = max.min(4096);
        let shown = if line.len() > look {
            &line[..look]
        } else {
            line.strip_suffix(b"\r").unwrap_or(line)
        };
        match self {
            Self::Alone => true,
            Self::Indent => !line.starts_with(b" ") && !line.starts_with(b"\t"),
            Self::Digit => shown.first().is_some_and(u8::is_ascii_digit),
            Self::EndsWithB => shown.ends_with(b"b"),
        }
    }
}

/// An entry: where it begins, how long it is in the file, and what is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) shown: usize,
    pub(crate) lines: u32,
    pub(crate) incomplete: bool,
    pub(crate) cut: Option<u64>,
}

/// The entries of a whole file. Behind each of `breaks` a new one begins.
pub(crate) fn entries(
    bytes: &[u8],
    max: usize,
    rule: Rule,
    breaks: &[usize],
) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    let mut is_open = false;
    let mut start = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let lines = u32::from(line.ends_with(b"\n"));
        let len = line.len() - lines as usize;
        let begins = rule.is_start(line, max);
        let is_break = breaks.contains(&start);
        match all.last_mut() {
            Some(open) if is_open && !begins && !is_break => {
                if open.len + len <= max && open.lines < LINES_MAX {
                    open.len += line.len();
                    open.shown += line.len();
                    open.lines += lines;
                    open.incomplete = lines == 0;
                    start += line.len();
                    continue;
                }
                open.incomplete = true;
            }
            _ => {}
        }
        is_open = len <= max;
        all.push(Entry {
            start,
            len: line.len(),
            shown: if is_open { line.len() } else { max },
            lines: if is_open { lines } else { 0 },
            incomplete: lines == 0 || !is_open,
            cut: (!is_open).then_some(line.len() as u64),
        });
        start += line.len();
    }
    all
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Read so many bytes at most.
    Read(usize),
    Take(End),
    /// Take one piece only.
    TakeOne,
}

/// Reads `bytes` as `acts` say, then to the end, and panics unless the entries,
/// the places and the bytes before them are those of [`entries`].
pub(crate) fn check(before: &[u8], bytes: &[u8], max: usize, rule: Rule, acts: &[Act]) {
    let rules = LineRules { line_bytes_max: max, join: rule.join() };
    let mut lines = Lines::new(Arc::new(rules));
    let start = Place { era: 1, sequence: 3, offset: 5_000_000_000, line: 7 };
    lines.restart(start, before);
    let mut run = Run {
        lines,
        start,
        file: [before, bytes].concat(),
        before: before.len(),
        read: 0,
        torn_start: 0,
        max,
        rule,
        seen: Vec::new(),
        breaks: Vec::new(),
    };
    for act in acts {
        match *act {
            Act::Read(count) => run.read(count),
            Act::TakeOne => {
                run.take(End::Open);
            }
            Act::Take(end) => run.drain(end),
        }
        run.check_state();
    }
    while run.read < bytes.len() {
        run.read(300_000);
        run.drain(End::Open);
        run.check_state();
    }
    run.drain(End::Final);
    assert_eq!(run.lines.rest_bytes(), 0, "every byte is accounted for");
    assert_eq!(run.seen, entries(bytes, max, rule, &run.breaks));
}

struct Run {
    lines: Lines,
    start: Place,
    /// The file, and how much of it was there before the start.
    file: Vec<u8>,
    before: usize,
    read: usize,
    /// Where the line begins that is not whole yet.
    torn_start: usize,
    max: usize,
    rule: Rule,
    seen: Vec<Entry>,
    breaks: Vec<usize>,
}

impl Run {
    fn bytes(&self) -> &[u8] {
        &self.file[self.before..]
    }

    fn place(&self) -> usize {
        (self.lines.place().offset - self.start.offset) as usize
    }

    fn read(&mut self, count: usize) {
        let space = self.lines.space(count);
        assert!(space.len() <= count.min(256 * 1024));
        let from = self.before + self.read;
        let count = space.len().min(self.file.len() - from);
        space[..count].copy_from_slice(&self.file[from..from + count]);
        self.lines.filled(count);
        let new = &self.file[from..from + count];
        if let Some(at) = new.iter().rposition(|b| *b == b'\n') {
            self.torn_start = self.read + at + 1;
        }
        self.read += count;
    }

    fn drain(&mut self, end: End) {
        if end == End::GroupOver && self.place() < self.torn_start {
            self.breaks.push(self.torn_start);
        }
        while self.take(end) {}
        let torn = self.read - self.torn_start;
        let is_skipping = end != End::Final && torn > self.max;
        assert_eq!(self.lines.is_skipping(), is_skipping);
    }

    fn take(&mut self, end: End) -> bool {
        let place = self.lines.place();
        // The borrow of the piece ends with its copy.
        let Some(piece) = self.lines.take(end) else { return false };
        let piece = Copy::of(&piece);
        assert_eq!(piece.start, place);
        let base = (piece.start.offset - self.start.offset) as usize;
        assert_eq!(piece.bytes, self.bytes()[base..base + piece.bytes.len()]);
        assert_eq!(self.lines.place(), piece.end);
        let at = (piece.end.offset - self.start.offset) as usize;
        assert_eq!(piece.before_end, self.last_before(at, Proof::TAIL_BYTES_MAX));
        let feeds = self.bytes()[base..at].iter().filter(|b| **b == b'\n').count();
        assert_eq!(piece.end, place.advance((at - base) as u64, feeds as u64));
        if piece.is_preview {
            assert_eq!(end, End::Preview);
            self.check_preview(&piece, base);
            return true;
        }
        self.seen.extend(piece.entries(base));
        true
    }

    fn check_preview(&self, piece: &Copy, base: usize) {
        let rest = &self.bytes()[base..self.read];
        let expected = entries(rest, self.max, self.rule, &[]).remove(0);
        let expected =
            Entry { start: base + expected.start, incomplete: true, ..expected };
        let mut shown = piece.entries(base);
        assert_eq!(shown.remove(0), expected);
        assert!(shown.is_empty());
    }

    fn check_state(&self) {
        let read_offset = self.start.offset + self.read as u64;
        assert_eq!(self.lines.read_offset(), read_offset);
        assert_eq!(self.lines.rest_bytes(), (self.read - self.place()) as u64);
        for count in [0, 1, 100, Proof::TAIL_BYTES_MAX] {
            assert_eq!(self.lines.before_read(count), self.last_before(self.read, count));
        }
    }

    fn last_before(&self, at: usize, count: usize) -> &[u8] {
        let before = &self.file[..self.before + at];
        &before[before.len().saturating_sub(count)..]
    }
}

/// A piece, not borrowed.
struct Copy {
    start: Place,
    end: Place,
    bytes: Vec<u8>,
    before_end: Vec<u8>,
    is_preview: bool,
    cut: Option<u64>,
    spans: Vec<tripline_api::Span>,
}

impl Copy {
    fn of(piece: &Piece<'_>) -> Self {
        assert_eq!(
            piece.spans.last().map(|span| span.end as usize),
            Some(piece.bytes.len())
        );
        assert!(piece.cut.is_none() || piece.spans.len() == 1);
        Self {
            start: piece.start,
            end: piece.end,
            bytes: piece.bytes.to_vec(),
            before_end: piece.before_end.to_vec(),
            is_preview: piece.is_preview(),
            cut: piece.cut,
            spans: piece.spans.to_vec(),
        }
    }

    fn entries(&self, base: usize) -> Vec<Entry> {
        let mut at = 0;
        let mut all = Vec::new();
        for span in &self.spans {
            let shown = span.end as usize - at;
            let start = base + at;
            let len = self.cut.map_or(shown, |cut| cut as usize);
            let (lines, incomplete) = (span.lines, span.incomplete);
            all.push(Entry { start, len, shown, lines, incomplete, cut: self.cut });
            at = span.end as usize;
        }
        all
    }
}
