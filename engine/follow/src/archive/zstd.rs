//! zstd, RFC 8878: frames one behind the other, skippable ones among them.

use super::source::Source;
use super::{ArchiveError, Decoder, End};
use ruzstd::decoding::errors::{FrameDecoderError, FrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::Read;

const FRAME_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The first byte of these is one of sixteen.
const SKIPPABLE_MAGIC: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
/// An empty last block, and room for a checksum behind it.
const CLOSING_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

pub(super) struct Zstd {
    source: Source,
    decoder: FrameDecoder,
    window_bytes_max: u64,
    next: Next,
}

/// What comes next.
enum Next {
    FirstFrame,
    FrameOrEnd,
    /// A block of the frame that has given so many bytes.
    Block(u64),
    /// What the decoder still holds of the blocks before the one that failed.
    Rest(ArchiveError),
}

impl Zstd {
    pub(super) fn new(source: Source, window_bytes_max: u64) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(window_bytes_max);
        Self { source, decoder, window_bytes_max, next: Next::FirstFrame }
    }

    fn step(&mut self, out: &mut [u8]) -> (usize, Option<End>) {
        match &mut self.next {
            Next::FirstFrame | Next::FrameOrEnd => {
                (0, self.begin_frame().unwrap_or_else(|e| Some(End::Failed(e))))
            }
            Next::Block(length) => {
                let n = self.decoder.read(out).unwrap_or(0);
                *length += n as u64;
                if n == 0 {
                    self.go_on();
                }
                (n, None)
            }
            Next::Rest(error) => match self.decoder.read(out).unwrap_or(0) {
                0 => (0, Some(End::Failed(error.again()))),
                n => (n, None),
            },
        }
    }

    fn begin_frame(&mut self) -> Result<Option<End>, ArchiveError> {
        let is_first = matches!(self.next, Next::FirstFrame);
        let magic = self.source.peek_some(4)?;
        let starts = |whole: [u8; 4], free: u8| {
            magic.iter().zip(whole).enumerate().all(|(index, (byte, wanted))| {
                *byte == wanted || (index == 0 && byte | free == wanted | free)
            })
        };
        let (is_frame, is_skippable) =
            (starts(FRAME_MAGIC, 0), starts(SKIPPABLE_MAGIC, 0xf));
        match magic.len() {
            0 if !is_first => return Ok(Some(End::Proven)),
            _ if !is_frame && !is_skippable => {
                let what = match is_first {
                    true => "it is no zstd file",
                    false => "something that is no frame behind the end of one",
                };
                return Err(ArchiveError::damaged(self.source.offset(), what));
            }
            0..4 => return Err(ArchiveError::Cut),
            _ if is_skippable => {
                self.source.consume(4);
                let length = u32::from_le_bytes(self.source.read_array()?);
                self.source.skip(u64::from(length))?;
                self.next = Next::FrameOrEnd;
            }
            _ => {
                let begun = self.decoder.reset(&mut self.source);
                begun.map_err(|error| self.failed(error))?;
                self.next = Next::Block(0);
            }
        }
        Ok(None)
    }

    /// Everything that the blocks so far came to has been handed out: decodes
    /// another, or ends the frame.
    fn go_on(&mut self) {
        let failed = if self.decoder.is_finished() {
            self.check_frame().err()
        } else {
            let strategy = BlockDecodingStrategy::UptoBlocks(1);
            let decoded = self.decoder.decode_blocks(&mut self.source, strategy);
            decoded.err().map(|error| self.failed(error))
        };
        if let Some(error) = failed {
            // The decoder keeps a whole window of good bytes back until the
            // frame ends: so it ends.
            if !self.decoder.is_finished() {
                let strategy = BlockDecodingStrategy::UptoBlocks(1);
                let _ = self.decoder.decode_blocks(&CLOSING_BLOCK[..], strategy);
            }
            self.next = Next::Rest(error);
        }
    }

    fn check_frame(&mut self) -> Result<(), ArchiveError> {
        let stored = self.decoder.get_checksum_from_data();
        if stored.is_some() && stored != self.decoder.get_calculated_checksum() {
            return Err(self.damaged("the checksum of a frame does not hold"));
        }
        // 0 stands for one that is not given, too.
        let given = self.decoder.content_size();
        if let Next::Block(length) = self.next
            && given != 0
            && given != length
        {
            return Err(self.damaged("a frame has not the length that it gives"));
        }
        self.next = Next::FrameOrEnd;
        Ok(())
    }

    fn failed(&mut self, error: FrameDecoderError) -> ArchiveError {
        use FrameDecoderError as E;
        let max = self.window_bytes_max;
        let too_big = |window| ArchiveError::TooBig {
            why: format!(
                "needs a zstd window of {window} bytes, more than the limit of {max}"
            ),
        };
        match error {
            E::WindowSizeTooBig { requested, .. } => too_big(requested),
            E::FrameHeaderError(FrameHeaderError::WindowTooBig { got }) => too_big(got),
            E::DictNotProvided { dict_id } => ArchiveError::Unsupported {
                why: format!(
                    "was compressed with zstd's dictionary {dict_id}, which this program \
                     does not have"
                ),
            },
            other => self.source.fault(|at| ArchiveError::damaged(at, other)),
        }
    }

    fn damaged(&self, what: &str) -> ArchiveError {
        ArchiveError::damaged(self.source.offset(), what)
    }
}

impl Decoder for Zstd {
    fn decode(&mut self, out: &mut [u8]) -> (usize, Option<End>) {
        loop {
            let (n, end) = self.step(out);
            if n > 0 || end.is_some() {
                return (n, end);
            }
        }
    }

    fn source(&self) -> &Source {
        &self.source
    }

    fn source_mut(&mut self) -> &mut Source {
        &mut self.source
    }
}
