//! bzip2: streams one behind the other.
//!
//! What a damaged block comes to is scrambled from its first byte on, so a
//! block is handed out when its checksum has been compared, and not before.

use super::source::Source;
use super::{ArchiveError, Decoder, End};
use bzip2::{Decompress, Error, Status};
use std::io;

/// How much is decompressed at a time, in bytes.
const STEP_BYTES: usize = 64 * 1024;
/// How much of a block is kept until its checksum is compared, in bytes. A block
/// is up to 900 000 bytes long, and longer only where the same byte is repeated.
const BLOCK_BYTES_MAX: usize = 4 << 20;
/// An empty stream behind its first four bytes: the end mark, and the checksum
/// of nothing.
const EMPTY_STREAM: [u8; 10] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90, 0, 0, 0, 0];

pub(super) struct Bzip2 {
    source: Source,
    /// Takes up to 4 MiB, which the format bounds, and not before the first
    /// block: no limit is needed.
    decoder: Decompress,
    /// Where the stream begins in the file.
    began: u64,
    /// A block, or part of one that is too long.
    block: Vec<u8>,
    /// What of it is still to be handed out.
    ready: std::ops::Range<usize>,
    /// More of the same block is to come.
    is_within: bool,
}

/// What one call of the decoder came to.
struct Called {
    used: usize,
    given: usize,
    is_end_of_stream: bool,
}

impl Bzip2 {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            decoder: Decompress::new(false),
            began: 0,
            block: Vec::new(),
            ready: 0..0,
            is_within: false,
        }
    }

    /// Decompresses the next block, or more of one that is too long.
    fn next_block(&mut self) -> Result<(), End> {
        let was_within = self.is_within;
        if !was_within {
            self.take_in()?;
        }
        self.ready = 0..self.give_out()?;
        if self.ready.is_empty() && !was_within {
            // What was taken in is no block.
            let is_cut = self.source.peek().map_err(End::Failed)?.is_empty();
            return Err(match is_cut {
                true => End::Failed(ArchiveError::Cut),
                false => self.damaged("its decoder stands still"),
            });
        }
        Ok(())
    }

    /// Feeds the decoder, which has no room for output, until it takes no more:
    /// then it holds a block.
    fn take_in(&mut self) -> Result<(), End> {
        loop {
            let input = self.source.peek().map_err(End::Failed)?;
            if input.is_empty() {
                return Ok(());
            }
            let called = call(&mut self.decoder, input, &mut []);
            let called = called.map_err(|error| self.failed(error))?;
            self.source.consume(called.used);
            if called.is_end_of_stream {
                self.begin_stream_or_end()?;
            } else if called.used == 0 {
                return Ok(());
            }
        }
    }

    /// Lets the decoder, which gets no more input, give what it holds: at the end
    /// of the block it compares the checksum.
    fn give_out(&mut self) -> Result<usize, End> {
        let mut filled = 0;
        self.is_within = true;
        while self.is_within && filled < BLOCK_BYTES_MAX {
            self.block.resize(self.block.len().max(filled + STEP_BYTES), 0);
            let out = &mut self.block[filled..filled + STEP_BYTES];
            let called = call(&mut self.decoder, &[], out);
            let called = called.map_err(|error| self.failed(error))?;
            filled += called.given;
            self.is_within = called.given == STEP_BYTES;
        }
        Ok(filled)
    }

    /// Begins the stream behind the one that ended, or ends.
    fn begin_stream_or_end(&mut self) -> Result<(), End> {
        loop {
            match self.source.peek_some(4 + EMPTY_STREAM.len()).map_err(End::Failed)? {
                [] => return Err(End::Proven),
                // A decoder of its own for each of a million would take long.
                [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] if *rest == EMPTY_STREAM => {
                    self.source.consume(4 + EMPTY_STREAM.len());
                }
                _ => break,
            }
        }
        self.decoder = Decompress::new(false);
        self.began = self.source.offset();
        Ok(())
    }

    fn failed(&self, error: Failure) -> End {
        match error {
            Failure::Memory => {
                let error = io::Error::from(io::ErrorKind::OutOfMemory);
                End::Failed(ArchiveError::Io(error))
            }
            Failure::Content(Error::DataMagic) if self.began == 0 => {
                self.damaged("it is no bzip2 file")
            }
            Failure::Content(Error::DataMagic) => {
                self.damaged("something that is no stream behind the end of one")
            }
            Failure::Content(_) => {
                self.damaged("a block is broken or its checksum does not hold")
            }
        }
    }

    fn damaged(&self, what: &str) -> End {
        End::Failed(ArchiveError::damaged(self.source.offset(), what))
    }
}

enum Failure {
    Memory,
    Content(Error),
}

fn call(
    decoder: &mut Decompress,
    input: &[u8],
    out: &mut [u8],
) -> Result<Called, Failure> {
    let before = (decoder.total_in(), decoder.total_out());
    let status = decoder.decompress(input, out).map_err(Failure::Content)?;
    Ok(Called {
        used: (decoder.total_in() - before.0) as usize,
        given: (decoder.total_out() - before.1) as usize,
        is_end_of_stream: match status {
            Status::StreamEnd => true,
            Status::MemNeeded => return Err(Failure::Memory),
            _ => false,
        },
    })
}

impl Decoder for Bzip2 {
    fn decode(&mut self, out: &mut [u8]) -> (usize, Option<End>) {
        while self.ready.is_empty() {
            if let Err(end) = self.next_block() {
                return (0, Some(end));
            }
        }
        let n = self.ready.len().min(out.len());
        out[..n].copy_from_slice(&self.block[self.ready.start..self.ready.start + n]);
        self.ready.start += n;
        (n, None)
    }

    fn source(&self) -> &Source {
        &self.source
    }

    fn source_mut(&mut self) -> &mut Source {
        &mut self.source
    }
}
