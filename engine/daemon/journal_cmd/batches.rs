//! A journal in batches of whole entries that end with a transaction when they
//! can, so that every entry knows the mark that closes it.

use p4journal::Splitter;
use std::io::{self, Read};
use tripline_api::{Batch, Cursor, Mark, Place, SourceId, Span};

/// Cuts a stream into batches.
pub(super) struct Batches<R> {
    input: R,
    /// What was read and not handed out. Its first bytes are already split.
    next: OwnedBatch,
    splitter: Splitter,
    at_end: bool,
    /// Why the input ended early: told once all that came is handed out.
    error: Option<io::Error>,
}

/// A batch that owns its bytes.
#[derive(Debug, Default)]
pub(super) struct OwnedBatch {
    start: Place,
    bytes: Vec<u8>,
    spans: Vec<Span>,
    marks: Vec<Mark>,
    /// Line feeds in all entries.
    lines: u64,
    did_rotate: bool,
}

impl<R: Read> Batches<R> {
    /// Reads from the first byte of a journal. `head` is what was read of it
    /// already.
    pub(super) fn new(input: R, head: Vec<u8>, start: Place, did_rotate: bool) -> Self {
        let next = OwnedBatch { start, bytes: head, did_rotate, ..OwnedBatch::default() };
        Self { input, next, splitter: Splitter::new(), at_end: false, error: None }
    }

    /// The next batch, which has at least one entry; `None` behind the last
    /// whole one. `empty` is a used batch whose memory is used again. An error
    /// comes when everything in front of it was handed out.
    pub(super) fn next(&mut self, empty: OwnedBatch) -> io::Result<Option<OwnedBatch>> {
        loop {
            self.split();
            let split = self.next.split_bytes();
            let last_mark = self.next.marks.last().map(|mark| mark.index as usize + 1);
            let entries = match last_mark {
                _ if self.at_end => Some(self.next.spans.len()),
                Some(entries) if split >= BATCH_BYTES => Some(entries),
                None if split >= BATCH_BYTES_MAX => Some(self.next.spans.len()),
                _ => None,
            };
            match entries {
                Some(0) => return self.error.take().map_or(Ok(None), Err),
                Some(entries) => return Ok(Some(self.cut(entries, empty))),
                None => self.fill(),
            }
        }
    }

    /// Finds the entries in what was read.
    fn split(&mut self) {
        let next = &mut self.next;
        let mut from = next.split_bytes();
        while let Some(piece) = self.splitter.next(&next.bytes[from..]) {
            let bytes = &next.bytes[from..from + piece.len];
            next.marks.extend(Mark::of(next.spans.len(), bytes));
            from += piece.len;
            next.lines += u64::from(piece.lines);
            next.spans.push(Span {
                end: from as u32,
                lines: piece.lines,
                incomplete: !piece.whole,
            });
        }
    }

    fn fill(&mut self) {
        let bytes = &mut self.next.bytes;
        // A long record is read in long steps.
        let wanted = bytes.len().max(READ_BYTES);
        let read = if bytes.len() > p4journal::RECORD_BYTES_MAX {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a record has no end"))
        } else {
            bytes.reserve(wanted);
            Read::by_ref(&mut self.input).take(wanted as u64).read_to_end(bytes)
        };
        self.at_end = !matches!(read, Ok(1..));
        self.error = read.err();
    }

    /// Hands out the first entries and keeps the rest.
    fn cut(&mut self, entries: usize, mut rest: OwnedBatch) -> OwnedBatch {
        let whole = &mut self.next;
        let end = whole.spans[entries - 1].end;
        rest.bytes.clear();
        rest.bytes.extend_from_slice(&whole.bytes[end as usize..]);
        rest.spans.clear();
        rest.spans.extend(
            whole.spans.drain(entries..).map(|span| Span { end: span.end - end, ..span }),
        );
        // Marks lie at the end of what is handed out or before it.
        rest.marks.clear();
        rest.lines = rest.spans.iter().map(|span| u64::from(span.lines)).sum();
        rest.did_rotate = false;
        whole.bytes.truncate(end as usize);
        whole.lines -= rest.lines;
        rest.start = whole.start.advance(u64::from(end), whole.lines);
        std::mem::replace(whole, rest)
    }
}

impl OwnedBatch {
    /// The batch as listeners see it.
    pub(super) fn view<'a>(&'a self, source: &'a SourceId, end: &'a Cursor) -> Batch<'a> {
        Batch {
            log: None,
            source,
            start: self.start,
            did_rotate: self.did_rotate,
            bytes: &self.bytes,
            spans: &self.spans,
            marks: &self.marks,
            end,
        }
    }

    /// How many bytes the entries found so far have.
    fn split_bytes(&self) -> usize {
        self.spans.last().map_or(0, |span| span.end as usize)
    }
}

/// How long a batch should be: small enough for the cache near the processor.
const BATCH_BYTES: usize = 256 * 1024;

/// How long a batch without any mark may become.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How much is read at a time.
const READ_BYTES: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The length and the number of entries of each batch, and the error.
    fn batches(input: impl Read) -> (Vec<(usize, usize)>, Option<io::Error>) {
        let mut batches = Batches::new(input, Vec::new(), Place::default(), true);
        let mut found = Vec::new();
        let mut end = Place::default();
        loop {
            match batches.next(OwnedBatch::default()) {
                Ok(Some(batch)) => {
                    assert_eq!(batch.start, end, "no hole");
                    assert_eq!(batch.did_rotate, found.is_empty());
                    end = end.advance(batch.bytes.len() as u64, batch.lines);
                    found.push((batch.bytes.len(), batch.spans.len()));
                }
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(error)),
            }
        }
    }

    #[test]
    fn batches_end_with_a_mark() {
        let transaction =
            format!("@pv@ 0 @db.desc@ 1 @{}@ \n@ex@ 1 2\n", "x\n".repeat(500));
        let journal = transaction.repeat(1000) + "@pv@ 0 @db.x@ 1 \n@torn";
        let (found, error) = batches(journal.as_bytes());
        assert!(error.is_none() && found.len() > 2, "{found:?}");
        for (bytes, entries) in &found[..found.len() - 1] {
            assert_eq!(bytes % transaction.len(), 0);
            assert_eq!(*entries, 2 * bytes / transaction.len());
        }
        let entries: usize = found.iter().map(|(_, entries)| entries).sum();
        assert_eq!(entries, 2001);
    }

    #[test]
    fn without_a_mark_memory_has_a_bound() {
        let journal = "@pv@ 0 @db.x@ 1 \n".repeat(BATCH_BYTES_MAX / 8);
        let (found, _) = batches(journal.as_bytes());
        assert!(found.len() >= 2 && found[0].0 < BATCH_BYTES_MAX + 2 * BATCH_BYTES_MAX);
    }

    #[test]
    fn what_came_before_an_error_is_handed_out() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let (found, error) = batches(b"@ex@ 1 2\n@ex@ 3".chain(Broken));
        assert_eq!(found, [(9, 1)]);
        assert_eq!(error.unwrap().to_string(), "gone");
    }
}
