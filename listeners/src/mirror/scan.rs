//! How far a journal file is whole: read from its own bytes, in bounded memory.

use crate::files::read_at;
use p4journal::{Head, Piece, Splitter, Trailer, resync, starts_record};
use std::fs::File;
use std::io;
use tripline_api::{Cursor, Place, Proof};

/// What a file holds up to the end of its last whole piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Whole {
    /// Bytes up to there. What is behind is torn.
    pub(super) bytes: u64,
    /// Line feeds up to there.
    pub(super) lines: u64,
    /// The number of the next journal, when the last records are a trailer.
    pub(super) next: Option<u64>,
}

/// Down to where a file may be believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Belief {
    /// Bytes that have certainly reached the disk. After a power loss what was
    /// written behind them may have become NULs, anywhere, and so a NUL behind
    /// them ends what is whole. Those of the journal itself come again.
    pub(super) settled: u64,
    /// Nothing behind this offset counts, whatever it looks like.
    pub(super) limit: u64,
}

impl Belief {
    /// Everything that looks whole is whole.
    pub(super) const FULL: Self = Self { settled: u64::MAX, limit: u64::MAX };
}

/// What the first bytes say about the file, and those bytes: up to the first
/// NUL, behind which a power loss may have left nothing.
pub(super) fn read_head(file: &File) -> io::Result<(Head, Vec<u8>)> {
    let mut bytes = vec![0; HEAD_BYTES];
    let count = read_at(file, &mut bytes, 0)?;
    bytes.truncate(memchr::memchr(0, &bytes[..count]).unwrap_or(count));
    Ok((Head::read(&bytes), bytes))
}

/// Reads the whole file and finds the end of its last whole piece.
///
/// Pieces end where the reader of the source ends its entries, as both are
/// decided by the same bytes, so the end of a piece is a place.
pub(super) fn scan(file: &File, belief: Belief) -> io::Result<Whole> {
    Scan { belief, ..Scan::default() }.run(file)
}

/// The same, but what lies before a settled cursor is not read again when the
/// cursor's proof holds for this file: a journal may have gigabytes.
pub(super) fn scan_behind(
    file: &File,
    belief: Belief,
    settled: &Cursor,
) -> io::Result<Whole> {
    let Some(proof) = &settled.proof else { return scan(file, belief) };
    let place = settled.place;
    let mut head = vec![0; proof.head.len as usize];
    let mut before = vec![0; proof.tail.len as usize];
    let before_start = place.offset.saturating_sub(before.len() as u64);
    let read = read_at(file, &mut head, 0)? + read_at(file, &mut before, before_start)?;
    let is_proved = read == head.len() + before.len()
        && proof.head.matches(&head)
        && proof.tail.matches(&before);
    if !is_proved || place.offset > belief.limit {
        return scan(file, belief);
    }
    let mut scan = Scan { belief, ..Scan::default() };
    scan.whole = Whole { bytes: place.offset, lines: place.line, next: settled.next };
    scan.see_trailer(&before);
    scan.run(file)
}

impl Scan {
    fn run(mut self, file: &File) -> io::Result<Whole> {
        let scan = &mut self;
        let mut splitter = Splitter::new();
        // What is read and not yet part of a piece.
        let mut buffer: Vec<u8> = Vec::new();
        let mut offset = scan.whole.bytes;
        loop {
            let held = buffer.len();
            buffer.resize(held + BLOCK_BYTES, 0);
            let count = read_at(file, &mut buffer[held..], offset)?;
            buffer.truncate(held + count);
            offset += count as u64;
            if count == 0 {
                return Ok(scan.whole);
            }
            let mut start = 0;
            if scan.oversize {
                start = scan.pass_oversize(&buffer);
            }
            if !scan.oversize {
                while let Some(piece) = splitter.next(&buffer[start..]) {
                    if !scan.take(&buffer[start..start + piece.len], piece) {
                        return Ok(scan.whole);
                    }
                    start += piece.len;
                }
                if buffer.len() - start > RECORD_BYTES_MAX {
                    splitter.reset();
                    scan.oversize = true;
                    start += scan.pass_oversize(&buffer[start..]);
                }
            }
            buffer.drain(..start);
        }
    }
}

#[derive(Default)]
struct Scan {
    belief: Belief,
    whole: Whole,
    trailer: Trailer,
    /// Inside a record that is longer than [`RECORD_BYTES_MAX`]: its end is
    /// where the next one starts.
    oversize: bool,
    /// Bytes and line feeds of it so far.
    passed: (u64, u64),
}

impl Default for Belief {
    fn default() -> Self {
        Self::FULL
    }
}

impl Scan {
    /// Counts one piece; false when the file is not to be believed from here.
    fn take(&mut self, bytes: &[u8], piece: Piece) -> bool {
        let end = self.whole.bytes + bytes.len() as u64;
        let is_hole = end > self.belief.settled && memchr::memchr(0, bytes).is_some();
        if is_hole || end > self.belief.limit {
            return false;
        }
        self.trailer.see(bytes);
        self.whole.bytes = end;
        self.whole.lines += u64::from(piece.lines);
        self.whole.next = self.trailer.next_number();
        true
    }

    /// The place to begin at may lie inside a trailer, or behind one.
    fn see_trailer(&mut self, before: &[u8]) {
        let start = if starts_record(before) { 0 } else { resync(before).unwrap_or(0) };
        let mut rest = &before[start..];
        let mut splitter = Splitter::new();
        while let Some(piece) = splitter.next(rest) {
            self.trailer.see(&rest[..piece.len]);
            rest = &rest[piece.len..];
        }
    }

    /// Counts the bytes of an oversize record and says how many they are. The
    /// last few stay, as the start of a record may be cut by the block.
    fn pass_oversize(&mut self, bytes: &[u8]) -> usize {
        let start = resync(bytes);
        let count = start.unwrap_or_else(|| bytes.len().saturating_sub(START_BYTES));
        self.passed.0 += count as u64;
        self.passed.1 += memchr::memchr_iter(b'\n', &bytes[..count]).count() as u64;
        if start.is_some() {
            let (passed_bytes, passed_lines) = std::mem::take(&mut self.passed);
            self.whole.bytes += passed_bytes;
            self.whole.lines += passed_lines;
            self.whole.next = None;
            self.trailer = Trailer::new();
            self.oversize = false;
        }
        count
    }
}

impl Whole {
    /// The cursor of somebody who has everything up to here, in a journal of
    /// this era and sequence.
    pub(super) fn cursor(
        &self,
        file: &File,
        era: u64,
        sequence: u64,
    ) -> io::Result<Cursor> {
        let mut head = vec![0; self.bytes.min(Proof::HEAD_BYTES_MAX as u64) as usize];
        read_at(file, &mut head, 0)?;
        let mut before = vec![0; self.bytes.min(Proof::TAIL_BYTES_MAX as u64) as usize];
        let before_start = self.bytes - before.len() as u64;
        read_at(file, &mut before, before_start)?;
        let place = Place { era, sequence, offset: self.bytes, line: self.lines };
        // The mirror's own inode says nothing about the source's files.
        let proof = Proof::new((0, 0), &head, &before);
        Ok(Cursor { place, proof: Some(proof), next: self.next })
    }
}

/// How much of a file's start is read to tell its number: some 64 notes may
/// stand before it.
const HEAD_BYTES: usize = 64 * 1024;

/// How much is read at a time.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;

/// The longest record that is held in memory, in bytes.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The length of a line feed and the longest start of a record, `@put@ `.
const START_BYTES: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn what_is_settled_is_not_read_again() {
        let mut file = tempfile::tempfile().unwrap();
        for change in 0..100 {
            writeln!(file, "@pv@ 0 @db.desc@ {change} @two\nlines@ ").unwrap();
        }
        let all = scan(&file, Belief::FULL).unwrap();
        let settled = all.cursor(&file, 0, 1).unwrap();
        writeln!(file, "@rv@ 1 @db.counters@ @journal@ @2@ ").unwrap();
        let inside = scan(&file, Belief::FULL).unwrap().cursor(&file, 0, 1).unwrap();
        write!(file, "@ex@ 1 2\n@ex@ torn").unwrap();
        let whole = scan(&file, Belief::FULL).unwrap();
        assert_eq!(whole.next, Some(2));
        for cursor in [&settled, &inside] {
            assert_eq!(scan_behind(&file, Belief::FULL, cursor).unwrap(), whole);
        }
        // A cursor of other bytes is not believed.
        let mut other = settled;
        other.place.line += 7;
        other.place.offset -= 1;
        assert_eq!(scan_behind(&file, Belief::FULL, &other).unwrap(), whole);
    }

    const RECORD: &[u8] = b"@pv@ 0 @db.desc@ 1 @two\nlines@ \n";

    fn file(parts: &[&[u8]]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&parts.concat()).unwrap();
        file
    }

    fn whole(parts: &[&[u8]]) -> (u64, u64) {
        let whole = scan(&file(parts), Belief::FULL).unwrap();
        (whole.bytes, whole.lines)
    }

    #[test]
    fn what_is_torn_does_not_count() {
        let len = RECORD.len() as u64;
        assert_eq!(whole(&[]), (0, 0));
        assert_eq!(whole(&[RECORD, RECORD]), (2 * len, 4));
        for torn in [&b"@ex@ 1 17000"[..], b"@pv@ 0 @db.desc@ 2 @one\n", b"@", &[0; 9000]]
        {
            assert_eq!(whole(&[RECORD, torn]), (len, 2), "{}", torn.escape_ascii());
        }
        assert_eq!(whole(&[&[0; 700_000]]), (0, 0));
        assert_eq!(whole(&[RECORD, b"@pv@ 0 @db.desc@ 2 @", &[0; 700_000]]), (len, 2));
    }

    #[test]
    fn nuls_inside_the_journal_count() {
        let with_nul = b"@pv@ 0 @db.desc@ 1 @a\0b@ \n";
        let hole = b"\0\0\0\0@ex@ 1 2\n";
        let len = (with_nul.len() + hole.len()) as u64;
        assert_eq!(whole(&[with_nul, hole]), (len, 2));
        let settled = Belief { settled: RECORD.len() as u64, ..Belief::FULL };
        let distrusted = scan(&file(&[RECORD, with_nul, RECORD]), settled).unwrap();
        assert_eq!(distrusted.bytes, RECORD.len() as u64);
    }

    #[test]
    fn a_limit_holds() {
        let limit = Belief { limit: RECORD.len() as u64, ..Belief::FULL };
        let limited = scan(&file(&[RECORD, RECORD]), limit).unwrap();
        assert_eq!(limited, Whole { bytes: RECORD.len() as u64, lines: 2, next: None });
    }

    #[test]
    fn a_trailer_names_the_next_journal() {
        let trailer = b"@rv@ 1 @db.counters@ @journal@ @6@ \n@ex@ 101 1700009999\n";
        assert_eq!(scan(&file(&[RECORD, trailer]), Belief::FULL).unwrap().next, Some(6));
        let more = scan(&file(&[RECORD, trailer, RECORD]), Belief::FULL).unwrap();
        assert_eq!(more.next, None);
    }

    #[test]
    fn an_oversize_record_ends_where_the_next_starts() {
        let text = vec![b'x'; RECORD_BYTES_MAX + 3 * BLOCK_BYTES];
        let len = 20 + text.len() as u64 + 4;
        let parts: &[&[u8]] = &[b"@pv@ 0 @db.desc@ 1 @", &text, b"\n@ \n", RECORD];
        assert_eq!(whole(parts), (len + RECORD.len() as u64, 4));
        let parts: &[&[u8]] = &[RECORD, b"@pv@ 0 @db.desc@ 1 @", &text];
        assert_eq!(whole(parts), (RECORD.len() as u64, 2));
    }

    #[test]
    fn a_cursor_is_proved_by_the_edges() {
        let file = file(&[RECORD, RECORD, b"torn"]);
        let cursor = scan(&file, Belief::FULL).unwrap().cursor(&file, 2, 7).unwrap();
        let both = [RECORD, RECORD].concat();
        assert_eq!(cursor.place, Place { era: 2, sequence: 7, offset: 64, line: 4 });
        assert_eq!(cursor.proof, Some(Proof::new((0, 0), &both, &both)));
    }
}
