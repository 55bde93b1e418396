//! The bytes of a compressed file, counted.

use super::ArchiveError;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// How much is read from a compressed file at a time, in bytes.
const BLOCK_BYTES: usize = 128 * 1024;
/// How much of a file may decompress to nothing in a row, in bytes. Frames to
/// skip, empty members and padding can go on for as long as a file is large,
/// and whoever waits for the next byte would wait for all of it.
const IDLE_BYTES_MAX: u64 = 16 << 20;
/// The largest read that is remembered, in bytes: the header of an xz block.
const LAST_READ_BYTES_MAX: usize = 1024;

/// What a decoder gave and nobody took yet. A decoder that is asked for steps of
/// one size gives the same bytes before a mistake whatever the caller's buffer.
pub(super) struct Step {
    bytes: Vec<u8>,
    ready: std::ops::Range<usize>,
}

impl Step {
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes], ready: 0..0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Where the next step goes; [`Step::filled`] says how far it went.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub(super) fn filled(&mut self, count: usize) {
        self.ready = 0..count.min(self.bytes.len());
    }

    /// Moves what there is into a buffer, as far as it fits.
    pub(super) fn take(&mut self, out: &mut [u8]) -> usize {
        let n = self.ready.len().min(out.len());
        out[..n].copy_from_slice(&self.bytes[self.ready.start..self.ready.start + n]);
        self.ready.start += n;
        n
    }
}

/// A file from its first byte on, read without its cursor: a duplicate of the
/// descriptor shares that.
pub(super) struct FromStart {
    file: File,
    offset: u64,
}

impl FromStart {
    pub(super) const fn new(file: File) -> Self {
        Self { file, offset: 0 }
    }
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}

/// A buffered reader that knows how much was used, and why there is no more.
pub(super) struct Source {
    input: Box<dyn Read + Send>,
    block: Vec<u8>,
    /// What of the block is still to be used.
    unused: std::ops::Range<usize>,
    offset: u64,
    /// The offset when the decoder last gave a byte.
    progress_offset: u64,
    /// What a decoder of somebody else's ran into while it read.
    failed: Option<ArchiveError>,
    /// The bytes of the last small read.
    last_read: Vec<u8>,
}

impl Source {
    pub(super) fn new(input: Box<dyn Read + Send>) -> Self {
        Self {
            input,
            block: Vec::new(),
            unused: 0..0,
            offset: 0,
            progress_offset: 0,
            failed: None,
            last_read: Vec::new(),
        }
    }

    /// How many bytes were used.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Something came out of what was used.
    pub(super) const fn made_progress(&mut self) {
        self.progress_offset = self.offset;
    }

    /// What comes next, without using it: at least one byte unless the file
    /// ends here.
    pub(super) fn peek(&mut self) -> Result<&[u8], ArchiveError> {
        if self.unused.is_empty() {
            self.refill()?;
        }
        Ok(&self.block[self.unused.clone()])
    }

    /// Like [`Source::peek`], but so many bytes unless the file ends before.
    #[cfg(any(feature = "zstd", feature = "bzip2"))]
    pub(super) fn peek_some(&mut self, count: usize) -> Result<&[u8], ArchiveError> {
        while self.unused.len() < count {
            let unused = self.unused.len();
            self.refill()?;
            if self.unused.len() == unused {
                break;
            }
        }
        let end = self.unused.end.min(self.unused.start + count);
        Ok(&self.block[self.unused.start..end])
    }

    /// Uses so many of the bytes peeked at.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.unused.len());
        self.unused.start += count;
        self.offset += count as u64;
    }

    /// Uses exactly `N` bytes.
    pub(super) fn read_array<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        match self.read_some(&mut bytes)? {
            n if n == N => Ok(bytes),
            _ => Err(ArchiveError::Cut),
        }
    }

    /// Uses exactly `count` bytes, whatever they are.
    #[cfg(feature = "zstd")]
    pub(super) fn skip(&mut self, count: u64) -> Result<(), ArchiveError> {
        let mut left = count;
        while left > 0 {
            let n = self.peek()?.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if n == 0 {
                return Err(ArchiveError::Cut);
            }
            self.consume(n);
            left -= n as u64;
        }
        Ok(())
    }

    /// What stopped a decoder of somebody else's: this, if it ran into the end of the file or
    /// could not read it, else what it says itself.
    #[cfg(any(feature = "zstd", feature = "xz"))]
    pub(super) fn fault(
        &mut self,
        own: impl FnOnce(u64) -> ArchiveError,
    ) -> ArchiveError {
        self.failed.take().unwrap_or_else(|| own(self.offset))
    }

    /// The bytes of the last read by a decoder, if they were few.
    #[cfg(feature = "xz")]
    pub(super) fn last_read(&self) -> &[u8] {
        &self.last_read
    }

    /// Uses bytes until `buffer` is full or the file ends.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let from = self.peek()?;
            let n = from.len().min(buffer.len() - filled);
            if n == 0 {
                break;
            }
            buffer[filled..filled + n].copy_from_slice(&from[..n]);
            self.consume(n);
            filled += n;
        }
        Ok(filled)
    }

    /// Reads behind what is not used yet.
    fn refill(&mut self) -> Result<(), ArchiveError> {
        let idle = self.offset - self.progress_offset;
        if idle > IDLE_BYTES_MAX {
            let why = format!(
                "holds {idle} bytes that decompress to nothing, more than the limit of \
                 {IDLE_BYTES_MAX}"
            );
            return Err(ArchiveError::TooBig { why });
        }
        self.block.resize(BLOCK_BYTES, 0);
        self.block.copy_within(self.unused.clone(), 0);
        self.unused = 0..self.unused.len();
        loop {
            match self.input.read(&mut self.block[self.unused.end..]) {
                Ok(n) => {
                    self.unused.end += n;
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(ArchiveError::Io(e)),
            }
        }
    }
}

/// For decoders that read by themselves. Gives all that was asked for unless
/// the file ends, and remembers why not.
impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.read_some(buffer);
        let n = match read {
            Ok(n) => n,
            Err(error) => {
                self.failed = Some(error.again());
                return Err(error.into());
            }
        };
        if n < buffer.len() {
            self.failed = Some(ArchiveError::Cut);
        }
        self.last_read.clear();
        if n <= LAST_READ_BYTES_MAX {
            self.last_read.extend_from_slice(&buffer[..n]);
        }
        Ok(n)
    }
}
