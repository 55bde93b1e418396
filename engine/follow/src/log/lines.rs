//! Bytes become lines: one buffer of bounded size, and what is known of it.

use super::feeds::Feeds;
use super::join::{Closed, Join, Joiner};
use std::sync::Arc;
use tripline_api::{Place, Proof, Span};

/// How much is read at a time, in bytes. Small enough that a block is framed
/// and delivered while it is still in the processor's cache.
const BLOCK_BYTES: usize = 256 * 1024;

/// After so many bytes of new lines a piece ends, with the entry at hand.
const PIECE_BYTES_MAX: usize = 1024 * 1024;

/// What is kept from before each place, for its proof.
const TAIL: usize = Proof::TAIL_BYTES_MAX;

/// The buffer's usual size: a block, a torn line, and what is kept before it.
const BUFFER_BYTES: usize = BLOCK_BYTES + TAIL + 4096;

/// How the bytes of a log become entries.
#[derive(Clone, Debug)]
pub struct LineRules {
    /// The longest line, and the longest joined entry, that is handed out
    /// whole, in bytes without its line feed. Lies between 1 and
    /// [`LineRules::LINE_BYTES_MAX`]; what lies outside is taken as the nearer
    /// of the two.
    pub line_bytes_max: usize,
    /// Which lines belong together; `None` when each is an entry of its own.
    pub join: Option<Join>,
}

impl LineRules {
    /// The longest line that can be asked for, in bytes: 64 MiB.
    pub const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
}

/// Each line is an entry, and lines of up to 1 MiB are whole.
impl Default for LineRules {
    fn default() -> Self {
        Self { line_bytes_max: 1024 * 1024, join: None }
    }
}

/// What is known of the bytes that follow, when lines are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// More may come: a torn line and the open group stay.
    Open,
    /// The wait for more lines of a joined entry is over: the whole lines of
    /// the open group go out, a torn line stays.
    GroupOver,
    /// Like [`End::Open`]; when nothing is left but a torn line or an open
    /// group, that is shown once as one incomplete entry, and
    /// [`Lines::place`] stays before it. When more of it was read it is shown
    /// again, and once it is whole it comes as an entry like any other.
    Preview,
    /// Nothing more will come: everything goes out, a last line without line
    /// feed as an incomplete entry.
    Final,
}

/// Entries, borrowed from the buffer they were read into.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The place of the first byte.
    pub start: Place,
    /// The bytes of all entries.
    pub bytes: &'a [u8],
    /// Where each entry ends: at least one.
    pub spans: &'a [Span],
    /// Set when this is one line longer than the bound: `bytes` are its first
    /// bytes, up to the bound and marked incomplete, and this is its whole
    /// length in the file, in bytes with its line feed (in a preview, as far as
    /// it was read).
    pub cut: Option<u64>,
    /// The place behind all of it, where a cursor goes. In a preview, the same
    /// as `start`.
    pub end: Place,
    /// The bytes of the file just before `end`, at most
    /// [`Proof::TAIL_BYTES_MAX`]; fewer where the file has no more.
    pub before_end: &'a [u8],
}

impl Piece<'_> {
    /// Whether this was only shown, and will come again.
    pub fn is_preview(&self) -> bool {
        self.start.offset == self.end.offset
    }
}

/// Collects the bytes of one file and frames them into entries: lines, or
/// lines joined as [`LineRules::join`] says.
///
/// A line is everything up to and with a line feed; any other byte is just a
/// byte. The order of use: [`space`](Self::space) and
/// [`filled`](Self::filled), then [`take`](Self::take) until it has nothing.
///
/// A line longer than the bound is handed out when its end is there; until
/// then its first bytes are kept and the rest is only counted. So the buffer
/// holds [`LineRules::line_bytes_max`] and about a block of 256 KiB at most.
#[derive(Debug)]
pub struct Lines {
    /// From 0 to `end` it holds bytes of the file: those before `start` were
    /// handed out and are there for proofs.
    buffer: Vec<u8>,
    start: usize,
    /// Up to here line feeds were looked for.
    scanned: usize,
    end: usize,
    /// The place of `buffer[start]`.
    place: Place,
    /// Bytes of a line longer than the bound that were thrown away, after its
    /// first `line_bytes_max` ones. When there are some, at least [`TAIL`]
    /// bytes of the line are still there behind them.
    dropped: u64,
    /// A line longer than the bound begins at `start`, and its end was found
    /// after so many bytes in the buffer.
    giant: Option<usize>,
    /// The entries of the piece at hand.
    spans: Vec<Span>,
    joiner: Option<Joiner>,
    line_bytes_max: usize,
    /// What was shown last: from where to where.
    previewed: Option<(u64, u64)>,
}

impl Lines {
    /// A framer at the very start of a file.
    pub fn new(rules: Arc<LineRules>) -> Self {
        let line_bytes_max = rules.line_bytes_max.clamp(1, LineRules::LINE_BYTES_MAX);
        // A pattern of one's own: threads that share one wait for each other.
        let join = rules.join.clone();
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            end: 0,
            place: Place::default(),
            dropped: 0,
            giant: None,
            spans: Vec::new(),
            joiner: join.map(|join| Joiner::new(join, line_bytes_max)),
            line_bytes_max,
            previewed: None,
        }
    }

    /// Forgets everything and begins anew: the next byte read is the one at
    /// `place`, which is taken for the start of a line. `before` are the bytes
    /// just before it, of which [`Proof::TAIL_BYTES_MAX`] are used.
    pub fn restart(&mut self, place: Place, before: &[u8]) {
        let before = last(before, TAIL);
        if self.buffer.len() < before.len() {
            self.buffer.resize(BUFFER_BYTES, 0);
        }
        self.buffer[..before.len()].copy_from_slice(before);
        self.start = before.len();
        self.scanned = before.len();
        self.end = before.len();
        self.place = place;
        self.dropped = 0;
        self.giant = None;
        self.spans.clear();
        if let Some(joiner) = &mut self.joiner {
            joiner.forget();
        }
        self.previewed = None;
    }

    /// The offset in the file at which the next byte is to be read.
    pub const fn read_offset(&self) -> u64 {
        self.place.offset + self.rest_bytes()
    }

    /// The last `count` bytes before [`Lines::read_offset`], at most
    /// [`Proof::TAIL_BYTES_MAX`]; fewer when the file has no more.
    pub fn before_read(&self, count: usize) -> &[u8] {
        last(&self.buffer[..self.end], count.min(TAIL))
    }

    /// Where the next bytes go: at most `max` of them, and a block of 256 KiB
    /// or less.
    ///
    /// It is empty only when `max` is 0, or when the buffer is full of lines
    /// because [`Lines::take`] was not called until it had nothing.
    pub fn space(&mut self, max: usize) -> &mut [u8] {
        let wanted = max.min(BLOCK_BYTES);
        self.make_room(wanted);
        let room = wanted.min(self.buffer.len() - self.end);
        &mut self.buffer[self.end..self.end + room]
    }

    /// `count` bytes were written into [`Lines::space`].
    pub fn filled(&mut self, count: usize) {
        self.end = self.buffer.len().min(self.end + count);
    }

    /// Hands out what is there, about 1 MiB at a time, and moves
    /// [`Lines::place`] behind it. `None` when there is nothing (more).
    pub fn take(&mut self, end: End) -> Option<Piece<'_>> {
        self.spans.clear();
        if self.giant.is_none() {
            match self.joiner.is_some() {
                false => self.frame_lines(),
                true => self.frame_joined(end),
            }
            if end == End::Final && self.giant.is_none() && self.scanned == self.end {
                self.frame_torn();
            }
        }
        if !self.spans.is_empty() {
            return Some(self.hand_out());
        }
        if let Some(len) = self.giant.take() {
            return Some(self.hand_out_cut(len));
        }
        if end == End::Preview { self.preview() } else { None }
    }

    /// The place of the first byte that was not handed out.
    pub const fn place(&self) -> Place {
        self.place
    }

    /// How many bytes were read and not handed out: a torn line, an open
    /// group, what was skipped of a line longer than the bound.
    pub const fn rest_bytes(&self) -> u64 {
        (self.end - self.start) as u64 + self.dropped
    }

    /// Whether some of what was read was not looked at yet: a long line and a full
    /// piece are handed out without what follows.
    pub const fn has_more(&self) -> bool {
        self.scanned < self.end || self.giant.is_some()
    }

    /// Whether what was read ends within a line longer than the bound: then to
    /// read it again would cost a good deal. As [`Lines::take`] saw it last.
    pub fn is_skipping(&self) -> bool {
        self.giant.is_none() && self.scanned - self.line_start() > self.line_bytes_max
    }
}

/// Framing: each finds the line feeds in what was not scanned, and fills
/// `spans`, `giant` or neither.
impl Lines {
    fn frame_lines(&mut self) {
        let max = self.line_bytes_max + 1;
        while self.spans.is_empty() && self.scanned < self.end {
            let to = self.end.min(self.scanned + PIECE_BYTES_MAX);
            let behind = self.scanned - self.start + 1;
            let feeds = Feeds::in_bytes(&self.buffer[self.scanned..to]);
            self.scanned = to;
            if to - self.start <= max {
                // The usual case: no line here can be longer than the bound.
                self.spans.extend(feeds.map(|at| whole_line(at + behind)));
                continue;
            }
            let mut line_start = 0;
            for at in feeds {
                let line_end = at + behind;
                if line_end - line_start > max {
                    self.scanned = self.start + line_end;
                    self.giant = Some(line_end - line_start);
                    return;
                }
                self.spans.push(whole_line(line_end));
                line_start = line_end;
            }
        }
    }

    fn frame_joined(&mut self, end: End) {
        let Some(joiner) = &mut self.joiner else { return };
        let behind = self.scanned;
        let mut line_start = self.start + joiner.bytes();
        let mut framed = 0;
        let mut push = |closed: Closed| {
            framed += closed.bytes;
            self.spans.push(Span {
                end: framed as u32,
                lines: closed.lines,
                incomplete: closed.incomplete,
            });
            framed
        };
        for at in Feeds::in_bytes(&self.buffer[behind..self.end]) {
            let line_end = behind + at + 1;
            let line = &self.buffer[line_start..line_end];
            self.scanned = line_end;
            let framed = joiner.line(line).map_or(0, &mut push);
            if line.len() > self.line_bytes_max + 1 {
                self.giant = Some(line.len());
                return;
            }
            line_start = line_end;
            if framed >= PIECE_BYTES_MAX && line_end < self.end {
                return;
            }
        }
        self.scanned = self.end;
        let torn = &self.buffer[line_start..self.end];
        let closed = match end {
            End::Open | End::Preview => joiner.torn(torn),
            End::GroupOver => joiner.over(),
            End::Final => joiner.last(torn),
        };
        closed.map(push);
    }

    /// Nothing more comes: what is left is a line without line feed, or with
    /// the last of a group.
    fn frame_torn(&mut self) {
        let framed = self.framed();
        let len = self.end - self.start - framed;
        if len > self.line_bytes_max {
            self.giant = Some(len);
        } else if len > 0 {
            let end = (framed + len) as u32;
            let lines = self.joiner.as_mut().map_or(0, Joiner::forget);
            self.spans.push(Span { end, lines, incomplete: true });
        }
    }

    /// How many bytes the entries at hand cover.
    fn framed(&self) -> usize {
        self.spans.last().map_or(0, |span| span.end as usize)
    }

    /// Where the line begins whose end was not found yet.
    fn line_start(&self) -> usize {
        self.start + self.joiner.as_ref().map_or(0, Joiner::bytes)
    }
}

fn whole_line(end: usize) -> Span {
    Span { end: end as u32, lines: 1, incomplete: false }
}

/// Handing out.
impl Lines {
    fn hand_out(&mut self) -> Piece<'_> {
        let len = self.framed();
        let lines = self.spans.iter().map(|span| u64::from(span.lines)).sum();
        let (from, start) = (self.start, self.place);
        self.place = start.advance(len as u64, lines);
        self.start += len;
        Piece {
            start,
            bytes: &self.buffer[from..from + len],
            spans: &self.spans,
            cut: None,
            end: self.place,
            before_end: self.before_place(),
        }
    }

    /// The line at `start` has `len` bytes in the buffer, more than the bound.
    fn hand_out_cut(&mut self, len: usize) -> Piece<'_> {
        let whole = len as u64 + self.dropped;
        let (from, start) = (self.start, self.place);
        let lines = u64::from(self.buffer[from + len - 1] == b'\n');
        self.push_cut_span();
        self.place = start.advance(whole, lines);
        self.start += len;
        self.dropped = 0;
        Piece {
            start,
            bytes: &self.buffer[from..from + self.line_bytes_max],
            spans: &self.spans,
            cut: Some(whole),
            end: self.place,
            before_end: self.before_place(),
        }
    }

    fn preview(&mut self) -> Option<Piece<'_>> {
        let shown = (self.place.offset, self.read_offset());
        if self.previewed == Some(shown) {
            return None;
        }
        let line_start = self.line_start();
        let is_cut = self.end - line_start > self.line_bytes_max;
        let len = if is_cut {
            self.push_cut_span();
            self.line_bytes_max
        } else {
            let torn = &self.buffer[line_start..self.end];
            let group = self.joiner.as_ref().map(|joiner| joiner.preview(torn));
            let (len, lines) = group.unwrap_or((torn.len(), 0));
            self.spans.push(Span { end: len as u32, lines, incomplete: true });
            len
        };
        if len == 0 {
            return None;
        }
        self.previewed = Some(shown);
        Some(Piece {
            start: self.place,
            bytes: &self.buffer[self.start..self.start + len],
            spans: &self.spans,
            cut: is_cut.then(|| self.rest_bytes()),
            end: self.place,
            before_end: self.before_place(),
        })
    }

    fn push_cut_span(&mut self) {
        let end = self.line_bytes_max as u32;
        self.spans.push(Span { end, lines: 0, incomplete: true });
    }

    fn before_place(&self) -> &[u8] {
        last(&self.buffer[..self.start], TAIL)
    }
}

/// Memory.
impl Lines {
    fn make_room(&mut self, wanted: usize) {
        let is_large = self.buffer.len() > BUFFER_BYTES;
        if self.buffer.len() - self.end >= wanted && !is_large {
            return;
        }
        self.move_to_front();
        self.drop_middle();
        let needed = self.end + wanted;
        if needed <= BUFFER_BYTES && is_large {
            // A giant line is over: give its memory back.
            self.buffer.truncate(BUFFER_BYTES);
            self.buffer.shrink_to_fit();
        } else if needed > self.buffer.len() {
            let bound = BLOCK_BYTES + self.line_bytes_max + 2 * TAIL;
            let len = needed.max(2 * self.buffer.len()).min(bound).max(BUFFER_BYTES);
            if len > self.buffer.len() {
                self.buffer.reserve_exact(len - self.buffer.len());
                self.buffer.resize(len, 0);
            }
        }
    }

    /// Only once for what was handed out: what stays is a torn line or a group,
    /// and it is not moved again until it went out.
    fn move_to_front(&mut self) {
        let by = self.start.saturating_sub(TAIL);
        if by > 0 {
            self.buffer.copy_within(by..self.end, 0);
            self.start -= by;
            self.scanned -= by;
            self.end -= by;
        }
    }

    /// Of a line longer than the bound the first bytes are kept, which go out,
    /// and the last, which prove the place behind it.
    fn drop_middle(&mut self) {
        let is_torn = self.scanned == self.end && self.line_start() == self.start;
        let kept = self.line_bytes_max + TAIL;
        if !is_torn || self.giant.is_some() || self.end - self.start <= kept {
            return;
        }
        let by = self.end - self.start - kept;
        let tail = self.end - TAIL..self.end;
        self.buffer.copy_within(tail, self.start + self.line_bytes_max);
        self.end -= by;
        self.scanned = self.end;
        self.dropped += by as u64;
    }
}

/// The last `count` bytes, or all.
fn last(bytes: &[u8], count: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(count)..]
}
