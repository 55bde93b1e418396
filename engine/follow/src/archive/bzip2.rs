//! bzip2: streams one behind the other.
//!
//! A block, up to 900 000 bytes and more where bytes repeat, comes before its
//! checksum has been compared: what a damaged block comes to is scrambled.

use super::source::{Source, Step};
use super::{ArchiveError, Decoder, End};
use bzip2::{Decompress, Error, Status};
use std::io;

/// How much is decompressed at a time, in bytes. When the decoder loses its way
/// within a block, it forgets what the block gave in the same call.
const STEP_BYTES: usize = 16 * 1024;
/// An empty stream behind its first four bytes: the end mark, and the checksum
/// of nothing.
const EMPTY_STREAM: [u8; 10] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90, 0, 0, 0, 0];

pub(super) struct Bzip2 {
    source: Source,
    /// Takes up to 4 MiB, which the format bounds, and not before the first
    /// block: no limit is needed.
    decoder: Decompress,
    step: Step,
    /// Where the stream begins in the file.
    began: u64,
    /// Behind what the step still holds.
    end: Option<End>,
}

impl Bzip2 {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            decoder: Decompress::new(false),
            step: Step::new(STEP_BYTES),
            began: 0,
            end: None,
        }
    }

    /// Fills a step, unless the file ends within it. Steps of one size make what
    /// comes before a mistake the same, however the file is read.
    fn fill_step(&mut self) {
        let mut filled = 0;
        while filled < STEP_BYTES && self.end.is_none() {
            let (n, end) = self.decompress(filled);
            filled += n;
            self.end = end;
        }
        self.step.filled(filled);
    }

    /// Decompresses behind what the step holds: how much, and how it ended.
    fn decompress(&mut self, filled: usize) -> (usize, Option<End>) {
        let input = match self.source.peek() {
            Ok(input) => input,
            Err(error) => return (0, Some(End::Failed(error))),
        };
        let is_last = input.is_empty();
        let before = (self.decoder.total_in(), self.decoder.total_out());
        let out = &mut self.step.space()[filled..];
        let status = self.decoder.decompress(input, out);
        let used = (self.decoder.total_in() - before.0) as usize;
        let n = (self.decoder.total_out() - before.1) as usize;
        self.source.consume(used);
        let end = match status {
            Ok(Status::StreamEnd) => self.begin_stream_or_end(),
            Ok(Status::MemNeeded) => {
                let error = io::Error::from(io::ErrorKind::OutOfMemory);
                Some(End::Failed(ArchiveError::Io(error)))
            }
            // Neither taking nor giving anything would go on for ever.
            Ok(_) if used > 0 || n > 0 => None,
            Ok(_) if is_last => Some(End::Failed(ArchiveError::Cut)),
            Ok(_) => Some(self.damaged("its decoder stands still")),
            Err(Error::DataMagic) if self.began == 0 => {
                Some(self.damaged("it is no bzip2 file"))
            }
            Err(Error::DataMagic) => {
                Some(self.damaged("something that is no stream behind the end of one"))
            }
            Err(_) => {
                Some(self.damaged("a block is broken or its checksum does not hold"))
            }
        };
        (n, end)
    }

    fn begin_stream_or_end(&mut self) -> Option<End> {
        loop {
            match self.source.peek_some(4 + EMPTY_STREAM.len()) {
                Ok([]) => return Some(End::Proven),
                // A decoder of its own for each of a million would take long.
                Ok([b'B', b'Z', b'h', b'1'..=b'9', rest @ ..])
                    if *rest == EMPTY_STREAM =>
                {
                    self.source.consume(4 + EMPTY_STREAM.len());
                }
                Ok(_) => break,
                Err(error) => return Some(End::Failed(error)),
            }
        }
        self.decoder = Decompress::new(false);
        self.began = self.source.offset();
        None
    }

    fn damaged(&self, what: &str) -> End {
        End::Failed(ArchiveError::damaged(self.source.offset(), what))
    }
}

impl Decoder for Bzip2 {
    fn decode(&mut self, out: &mut [u8]) -> (usize, Option<End>) {
        if self.step.is_empty() && self.end.is_none() {
            self.fill_step();
        }
        match self.step.take(out) {
            0 => (0, self.end.take()),
            n => (n, None),
        }
    }

    fn source(&self) -> &Source {
        &self.source
    }

    fn source_mut(&mut self) -> &mut Source {
        &mut self.source
    }
}
