//! Bytes in, records out: where one record ends and the next one starts.
//!
//! A record usually is a line, but quoted text may hold line feeds, so a line feed
//! alone ends nothing. A line feed ends a record when
//!
//! 1. the quotes of the record so far are balanced, which is to say that it holds an
//!    even number of `@`; or
//! 2. the bytes after it start with `@op@ `, two or three lower-case letters: inside
//!    quotes every `@` is doubled, so text can never look like that. A record that ends
//!    this way with its quotes open is torn: the server died in the middle of it and the
//!    restarted one wrote on behind it.
//!
//! Both are decided by the bytes alone, never by how they arrived, so that any cut of
//! the input into buffers gives the same pieces.

use memchr::memchr_iter;

use crate::mask::BLOCK_BYTES;
use crate::mask::Masks;
use crate::mask::parity_up_to;
use crate::record::Record;

/// Finds the ends of records in a growing buffer. Holds no bytes itself.
///
/// The caller keeps the bytes and hands over the unfinished record from its first byte,
/// again and again while the buffer grows. What was examined once is not examined again,
/// so the work is linear in the input however small the steps are.
///
/// ```
/// use p4journal::Splitter;
///
/// let journal = b"@pv@ 0 @db.desc@ 7 @two\nlines@ \n@ex@ 4711 1700";
/// let mut splitter = Splitter::new();
///
/// assert!(splitter.next(&journal[..24]).is_none()); // the line feed is inside quotes
/// assert!(splitter.in_quotes());
/// let piece = splitter.next(journal).unwrap();
/// assert_eq!((piece.len, piece.lines, piece.whole), (32, 2, true));
///
/// // A number that was cut parses as well as a whole one: only the line feed ends it.
/// assert!(splitter.next(&journal[piece.len..]).is_none());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Splitter {
    /// How many bytes of the current record were examined.
    seen: usize,
    /// Line feeds among them.
    lines: u32,
    /// An odd number of `@` among them: the next byte is inside quotes.
    odd: bool,
}

/// One record, or one stretch of bytes that is none, with its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Length in bytes, the line feed included.
    pub len: usize,
    /// Line feeds in it, those inside text too. At least 1; stops at `u32::MAX`.
    pub lines: u32,
    /// It starts like a record and its quotes are balanced. When false it is damage: a
    /// torn record, a blank line, a hole of NUL bytes in front of a record. When true it
    /// is damage only if it does not parse, see [`Piece::record`].
    pub whole: bool,
}

/// The pieces of some bytes; see [`Splitter::pieces`].
#[derive(Debug)]
pub struct Pieces<'a> {
    splitter: &'a mut Splitter,
    bytes: &'a [u8],
    used: usize,
    /// Where the block of 64 bytes begins that the masks are about.
    block: usize,
    /// Where it ends.
    examined: usize,
    /// Its line feeds that were not judged yet, one bit a byte.
    feeds: u64,
    /// Where it is inside quotes. Before the first block, whether that begins so.
    inside: u64,
}

impl Splitter {
    /// A splitter at the start of a record.
    pub const fn new() -> Self {
        Self { seen: 0, lines: 0, odd: false }
    }

    /// The next piece of `rest`, or `None` if its end is not in `rest` yet.
    ///
    /// `rest` starts at the first byte of the current record and, until a piece is
    /// returned, each call's `rest` extends that of the call before. After a piece the
    /// next call starts behind it. A `rest` shorter than what was examined already
    /// breaks that agreement; it is read as a new record.
    pub fn next(&mut self, rest: &[u8]) -> Option<Piece> {
        self.pieces(rest).next().map(|(_, piece)| piece)
    }

    /// All pieces of `bytes`, with their bytes: what calling [`Self::next`] until it
    /// says `None` gives, only faster. [`Pieces::used`] says where the rest begins.
    ///
    /// ```
    /// let mut splitter = p4journal::Splitter::new();
    /// let mut pieces = splitter.pieces(b"@ex@ 1 2\n@ex@ 3 4\n@ex@ 5");
    /// assert_eq!(pieces.by_ref().map(|(bytes, _)| bytes.len()).collect::<Vec<_>>(), [9, 9]);
    /// assert_eq!(pieces.used(), 18);
    /// ```
    #[inline]
    pub fn pieces<'a>(&'a mut self, bytes: &'a [u8]) -> Pieces<'a> {
        if bytes.len() < self.seen {
            self.reset();
        }
        let inside = if self.odd { u64::MAX } else { 0 };
        let examined = self.seen;
        Pieces { splitter: self, bytes, used: 0, block: 0, examined, feeds: 0, inside }
    }

    /// Forgets the unfinished record, for a caller that moves elsewhere.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Notes that `count` of the examined bytes were taken out of the caller's buffer,
    /// from behind the record's start. The piece will be that much shorter.
    pub(crate) fn forget(&mut self, count: usize) {
        debug_assert!(count <= self.seen, "{count} bytes were not examined yet");
        self.seen -= count;
    }

    /// Whether the bytes examined so far of the unfinished record end inside quotes.
    pub const fn in_quotes(&self) -> bool {
        self.odd
    }

    /// How many bytes of the unfinished record were examined.
    pub const fn examined(&self) -> usize {
        self.seen
    }
}

impl Piece {
    /// The record that the piece is, from its bytes; `None` for damage. This is what
    /// counting, applying and comparing mean by damage.
    pub fn record<'a>(&self, bytes: &'a [u8]) -> Option<Record<'a>> {
        if self.whole { Record::parse(bytes).ok() } else { None }
    }
}

impl Pieces<'_> {
    /// The length of the pieces so far: where the next record starts in the bytes.
    pub const fn used(&self) -> usize {
        self.used
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = (&'a [u8], Piece);

    // Always: the masks have to stay in registers from one piece to the next.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while self.feeds != 0 {
                let bit = self.feeds.trailing_zeros();
                let end = self.block + bit as usize + 1;
                let torn = self.inside >> bit & 1 == 1;
                if torn {
                    match Start::of(&self.bytes[end..]) {
                        // Behind a torn record the quotes begin anew.
                        Start::Yes => self.inside = !self.inside,
                        Start::No => {
                            self.feeds &= self.feeds - 1;
                            self.splitter.lines = self.splitter.lines.saturating_add(1);
                            continue;
                        }
                        Start::TooShort => {
                            // The line feed itself stays unexamined: it is judged again
                            // when there are more bytes behind it.
                            self.splitter.seen = end - 1 - self.used;
                            self.splitter.odd = true;
                            return None;
                        }
                    }
                }
                self.feeds &= self.feeds - 1;
                return Some(self.end_at(end, torn));
            }
            let odd = self.inside >> (BLOCK_BYTES - 1) == 1;
            if self.examined == self.bytes.len() {
                self.splitter.seen = self.examined - self.used;
                self.splitter.odd = odd;
                return None;
            }
            self.block = self.examined;
            self.examined = self.bytes.len().min(self.block + BLOCK_BYTES);
            let masks = Masks::of(&self.bytes[self.block..]);
            self.feeds = masks.feeds;
            self.inside = parity_up_to(masks.quotes) ^ if odd { u64::MAX } else { 0 };
        }
    }
}

impl<'a> Pieces<'a> {
    #[inline]
    fn end_at(&mut self, end: usize, torn: bool) -> (&'a [u8], Piece) {
        let bytes = &self.bytes[self.used..end];
        let lines = self.splitter.lines.saturating_add(1);
        self.splitter.reset();
        self.used = end;
        (bytes, Piece { len: bytes.len(), lines, whole: !torn && starts_record(bytes) })
    }
}

/// Whether `bytes` start with `@op@ `: two or three lower-case ASCII letters.
#[inline]
pub fn starts_record(bytes: &[u8]) -> bool {
    match bytes {
        [b'@', a, b, b'@', b' ', ..] => is_letter(*a) && is_letter(*b),
        [b'@', a, b, c, b'@', b' ', ..] => {
            is_letter(*a) && is_letter(*b) && is_letter(*c)
        }
        _ => false,
    }
}

/// The offset of the first record start behind a line feed, or `None`.
///
/// The way back in from the middle of a file: text cannot start a line with `@op@ `, so
/// what is found here is the start of a record wherever `bytes` were taken from. The
/// first byte of `bytes` is never taken for a start, as the byte before it is unknown.
///
/// ```
/// let middle = b"ocess @@pv@@ 1 is text\n@@pv@@ too\n@ \n@ex@ 1 2\n";
/// assert_eq!(p4journal::resync(middle), Some(37));
/// ```
pub fn resync(bytes: &[u8]) -> Option<usize> {
    memchr_iter(b'\n', bytes).map(|at| at + 1).find(|&at| starts_record(&bytes[at..]))
}

/// Whether `bytes` start a record, or are too few to tell that they do not.
pub(crate) fn may_start_record(bytes: &[u8]) -> bool {
    !matches!(Start::of(bytes), Start::No)
}

/// The length of the longest operator with its quotes and its space: `@put@ `.
const OPERATOR_BYTES_MAX: usize = 6;

/// Whether bytes start with `@op@ `.
enum Start {
    Yes,
    No,
    /// All there is fits, but more is needed to tell.
    TooShort,
}

impl Start {
    #[inline]
    fn of(bytes: &[u8]) -> Self {
        if starts_record(bytes) {
            return Self::Yes;
        }
        if bytes.len() >= OPERATOR_BYTES_MAX {
            return Self::No;
        }
        Self::of_few(bytes)
    }

    /// The same for bytes that do not start a record and are too few to rule it out.
    #[cold]
    fn of_few(bytes: &[u8]) -> Self {
        let shapes: [&[u8]; 2] = [b"@xx@ ", b"@xxx@ "];
        let fits = shapes.iter().any(|shape| {
            bytes.len() < shape.len()
                && bytes.iter().zip(shape.iter()).all(|(&byte, &wanted)| {
                    byte == wanted || (wanted == b'x' && is_letter(byte))
                })
        });
        if fits { Self::TooShort } else { Self::No }
    }
}

const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of `input` when all of it is there at once.
    fn pieces(input: &[u8]) -> (Vec<Piece>, usize) {
        let mut splitter = Splitter::new();
        let mut at = 0;
        let mut pieces = Vec::new();
        while let Some(piece) = splitter.next(&input[at..]) {
            at += piece.len;
            pieces.push(piece);
        }
        (pieces, at)
    }

    #[test]
    fn a_line_feed_in_text_ends_nothing() {
        let input = b"@pv@ 0 @db.desc@ 1 @a\n@@pv@@ b\n@ \n@ex@ 1 2\n";
        let (found, end) = pieces(input);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Piece { len: 34, lines: 3, whole: true });
        assert_eq!(end, input.len());
    }

    #[test]
    fn torn_tails_wait() {
        for tail in [
            &b"@pv@ 1 @db.desc@ 1 @first line\n"[..],
            b"@pv@ 1 @db.desc@ 1 @mail bob@",
            b"@pv@ 1 @db.desc@ 1 @x@ ",
            b"@ex@ 200 17000",
            b"@",
            b"\0\0\0\0",
            b"",
        ] {
            assert_eq!(pieces(tail), (vec![], 0), "{}", tail.escape_ascii());
        }
    }

    #[test]
    fn a_torn_record_ends_where_the_next_one_starts() {
        let input = b"@pv@ 1 @db.desc@ 1 @torn\n@nx@ 7 1\n@ex@ 1 2\n";
        let (found, end) = pieces(input);
        let whole: Vec<bool> = found.iter().map(|piece| piece.whole).collect();
        assert_eq!(whole, [false, true, true]);
        assert_eq!(end, input.len());
    }

    #[test]
    fn the_start_of_the_next_record_may_arrive_byte_by_byte() {
        let input = b"@pv@ 1 @db.desc@ 1 @torn\n@put@ 7 1\n";
        let mut splitter = Splitter::new();
        for have in 25..31 {
            assert_eq!(splitter.next(&input[..have]), None, "{have} bytes");
        }
        let torn = Piece { len: 25, lines: 1, whole: false };
        assert_eq!(splitter.next(&input[..31]), Some(torn));
    }

    #[test]
    fn what_is_no_record_is_a_piece_that_is_not_whole() {
        let input = b"\n\0\0\0@pv@ 1 @t@ \ngarbage\n@ex@ 1 2\n";
        let (found, end) = pieces(input);
        let whole: Vec<bool> = found.iter().map(|piece| piece.whole).collect();
        assert_eq!(whole, [false, false, false, true]);
        assert_eq!(end, input.len());
    }

    #[test]
    fn examined_bytes_are_not_examined_again() {
        let input = b"@pv@ 0 @db.desc@ 1 @no end in sight";
        let mut splitter = Splitter::new();
        for have in 1..=input.len() {
            assert_eq!(splitter.next(&input[..have]), None);
            assert_eq!(splitter.examined(), have);
        }
        assert!(splitter.in_quotes());
    }

    #[test]
    fn starts() {
        for yes in [&b"@pv@ "[..], b"@put@ 1", b"@zz@ "] {
            assert!(starts_record(yes));
        }
        for no in
            [&b"@pv@"[..], b"@p@ ", b"@pvpv@ ", b"@PV@ ", b"@@pv@@ ", b" @pv@ ", b""]
        {
            assert!(!starts_record(no), "{}", no.escape_ascii());
        }
    }

    #[test]
    fn resync_never_takes_the_first_byte() {
        assert_eq!(resync(b"@pv@ 1\n@rv@ 2\n"), Some(7));
        assert_eq!(resync(b"@pv@ 1\n"), None);
        assert_eq!(resync(b"\n@pv@"), None);
    }
}
