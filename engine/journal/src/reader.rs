//! The pieces of a file, one after the other.

use std::io;
use std::io::Read;

use crate::record::Record;
use crate::record::RecordError;
use crate::split::Piece;
use crate::split::Splitter;

/// The longest record that is read, in bytes: 256 MiB. Descriptions of some MB are seen;
/// what is longer than this is no journal, or a torn one that nobody wrote on behind.
pub const RECORD_BYTES_MAX: usize = 256 << 20;

/// Reads pieces from anything that reads: a file, a decompressor, a slice.
///
/// Holds at most 256 KiB, or twice the longest record if that is more.
///
/// ```
/// let mut reader = p4journal::Reader::new(&b"@pv@ 0 @db.x@ 1 \n@ex@ 1 2\n@ex@ 3"[..]);
/// let mut tables = Vec::new();
/// while let Some(entry) = reader.next()? {
///     tables.push(entry.record()?.table().map(str::to_owned));
/// }
/// assert_eq!(tables, [Some("db.x".to_owned()), None]);
/// assert_eq!(reader.tail(), b"@ex@ 3"); // Torn, or still being written.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// `buffer[start..end]` is read and not handed out yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    splitter: Splitter,
    offset: u64,
    line: u64,
}

/// A piece and where it was.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its bytes with the line end.
    pub bytes: &'a [u8],
    /// Where its record starts, counted in bytes from 0.
    pub offset: u64,
    /// The line it starts in, counted from 1, lines inside text included.
    pub line: u64,
    /// Its shape.
    pub piece: Piece,
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the journal at its byte {offset}: {kind}")]
pub struct ReadError {
    /// Offset in bytes of the record that was being read.
    pub offset: u64,
    /// What happened.
    pub kind: ReadErrorKind,
}

/// What stopped the reading.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadErrorKind {
    /// The input failed.
    #[error(transparent)]
    Input(#[from] io::Error),
    /// A record is longer than [`RECORD_BYTES_MAX`].
    #[error("a record is longer than {RECORD_BYTES_MAX} bytes")]
    TooLong,
}

impl<R: Read> Reader<R> {
    /// Reads from the start of a record.
    pub fn new(input: R) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            splitter: Splitter::new(),
            offset: 0,
            line: 1,
        }
    }

    /// The next piece, or `None` when the input has no other whole one. Asking again
    /// reads on, for an input that grows.
    ///
    /// # Errors
    ///
    /// When the input fails or a record is too long.
    #[expect(clippy::should_implement_trait, reason = "it lends its buffer")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, ReadError> {
        let piece = loop {
            if let Some(piece) = self.splitter.next(&self.buffer[self.start..self.end]) {
                break piece;
            }
            let filled = self.fill();
            if filled.map_err(|kind| ReadError { offset: self.offset, kind })? == 0 {
                return Ok(None);
            }
        };
        let (offset, line) = (self.offset, self.line);
        let bytes = &self.buffer[self.start..self.start + piece.len];
        self.start += piece.len;
        self.offset += piece.len as u64;
        self.line += u64::from(piece.lines);
        Ok(Some(Entry { bytes, offset, line, piece }))
    }

    /// What was read behind the last piece: the start of a record that is torn or still
    /// being written.
    pub fn tail(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads another block behind what is there.
    fn fill(&mut self) -> Result<usize, ReadErrorKind> {
        let held = self.end - self.start;
        if held > RECORD_BYTES_MAX {
            return Err(ReadErrorKind::TooLong);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, held);
        }
        // Small at first, for the many inputs that are; then room for a block and what
        // is held.
        let wanted = (self.buffer.len() * 2).clamp(FIRST_BYTES, BLOCK_BYTES * 2);
        self.buffer.resize(wanted.max(held * 2).max(self.buffer.len()), 0);
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<'a> Entry<'a> {
    /// The piece as a record.
    ///
    /// # Errors
    ///
    /// When it is none, see [`Record::parse`].
    pub fn record(&self) -> Result<Record<'a>, RecordError> {
        Record::parse(self.bytes)
    }
}

/// How much is read at first.
const FIRST_BYTES: usize = 8 * 1024;

/// How much is read at a time once more is read; what fits the cache near the processor.
const BLOCK_BYTES: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(1);
            self.0.read(&mut buffer[..count])
        }
    }

    #[test]
    fn offsets_and_lines() {
        let bytes = b"@pv@ 0 @db.desc@ 1 @a\nb@ \n@ex@ 1 2\n\n";
        let mut reader = Reader::new(Drip(bytes));
        let mut places = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            places.push((entry.offset, entry.line, entry.piece.whole));
        }
        assert_eq!(places, [(0, 1, true), (26, 3, true), (35, 4, false)]);
        assert_eq!(reader.tail(), b"");
    }

    #[test]
    fn a_record_longer_than_a_block() {
        let text = "line\n".repeat(BLOCK_BYTES);
        let bytes = format!("@pv@ 0 @db.desc@ 1 @{text}@ \n@ex@ 1 2\n");
        let mut reader = Reader::new(bytes.as_bytes());
        let first = reader.next().unwrap().unwrap();
        assert_eq!(first.bytes.len(), bytes.len() - 9);
        assert_eq!(first.piece.lines as usize, BLOCK_BYTES + 1);
        assert_eq!(reader.next().unwrap().unwrap().line as usize, BLOCK_BYTES + 2);
    }

    #[test]
    fn an_error_names_the_place() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let mut reader = Reader::new((&b"@ex@ 1 2\n@ex"[..]).chain(Broken));
        assert!(reader.next().unwrap().is_some());
        let error = reader.next().unwrap_err().to_string();
        assert_eq!(error, "cannot read the journal at its byte 9: gone");
    }
}
