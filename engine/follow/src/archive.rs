//! Compressed files as streams of bytes: one face over gzip, zstd, xz and
//! bzip2.
//!
//! A rotated log is compressed by whatever tool the system has. [`Format::of`]
//! tells the format by the first bytes and never by the name, and [`Archive`]
//! decompresses a block at a time into the caller's buffer:
//!
//! * Every part counts: all gzip members, zstd frames, xz streams, and the
//!   padding that is allowed between and behind them.
//! * The end is proven. [`Archive::fill`] says "that was all" only when the end
//!   mark is there, every checksum holds and nothing else stands behind it. A
//!   file that ends earlier is [`ArchiveError::Cut`]: its compressor may still
//!   be at work.
//! * Hostile files cost little: [`Limits`] bound the memory, the output and
//!   the ratio of both sizes.

#[cfg(feature = "bzip2")]
mod bzip2;
mod gzip;
#[cfg(not(all(feature = "zstd", feature = "xz", feature = "bzip2")))]
mod not_built_in;
mod source;
#[cfg(feature = "xz")]
mod xz;
#[cfg(feature = "zstd")]
mod zstd;

use source::{FromStart, Source};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// RFC 1952: one or more members.
    Gzip,
    /// RFC 8878: frames, skippable ones among them.
    Zstd,
    /// The `.xz` container: one or more streams. The older `.lzma` has no magic
    /// bytes and is not recognised.
    Xz,
    /// One or more bzip2 streams.
    Bzip2,
}

impl Format {
    /// Every format that is recognised.
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Zstd, Self::Xz, Self::Bzip2];
    /// How many first bytes [`Format::of`] needs at most to tell.
    pub const MAGIC_BYTES_MAX: usize = 10;

    /// The format that a file starting with these bytes has, if it is
    /// compressed at all. Fewer than [`Format::MAGIC_BYTES_MAX`] bytes may be
    /// too few to tell; more do no harm.
    pub fn of(first_bytes: &[u8]) -> Option<Self> {
        match first_bytes {
            // 8 is deflate, the only method there is.
            [0x1f, 0x8b, 0x08, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Some(Self::Zstd)
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            // A text may start with BZh9, but not with what follows: the mark
            // of a block, or that of the end when there is none.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => {
                Some(Self::Bzip2)
            }
            _ => None,
        }
    }

    /// Like [`Format::of`], for a file as it is now, from its first byte on.
    ///
    /// # Errors
    ///
    /// Those of reading the file.
    pub fn of_file(file: &File) -> io::Result<Option<Self>> {
        let mut first = [0; Self::MAGIC_BYTES_MAX];
        let n = crate::file::read_at(file, &mut first, 0)?;
        Ok(Self::of(&first[..n]))
    }

    /// The name of the format, which is that of its tool too: `gzip`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }

    /// Whether this program reads the format: gzip always, the others when they
    /// were built in.
    pub const fn is_supported(self) -> bool {
        match self {
            Self::Gzip => true,
            Self::Zstd => cfg!(feature = "zstd"),
            Self::Xz => cfg!(feature = "xz"),
            Self::Bzip2 => cfg!(feature = "bzip2"),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a file may cost before it is given up, whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many times as large as what was read of it a file may come out.
    /// 1000 by default, hundreds of times what logs compress to.
    pub ratio_max: u64,
    /// The output up to which the ratio does not count, in bytes: 1 GiB by
    /// default. A message repeated in a loop compresses 8000 times in zstd,
    /// its times included, so an honest file may break the ratio; nothing but
    /// the amount tells it from one made to do harm.
    pub ratio_free_bytes: u64,
    /// How much may come out of a file, in bytes: 1 TiB by default.
    pub bytes_max: u64,
    /// The largest window or dictionary that a file may ask for, in bytes:
    /// 128 MiB by default, what `zstd --ultra -22` and `xz -9` stay within. It
    /// is checked before memory is taken; an archive takes up to twice as much
    /// while its buffer grows.
    pub window_bytes_max: u64,
}

impl Limits {
    /// [`ratio_max`](Self::ratio_max) by default.
    pub const RATIO_MAX: u64 = 1000;
    /// [`bytes_max`](Self::bytes_max) by default: 1 TiB.
    pub const BYTES_MAX: u64 = 1 << 40;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ratio_max: Self::RATIO_MAX,
            ratio_free_bytes: 1 << 30,
            bytes_max: Self::BYTES_MAX,
            window_bytes_max: 128 << 20,
        }
    }
}

/// Why an archive gives no more bytes. As text it goes on after a file's name:
/// "app.log.2.gz ends before its end mark".
#[derive(Debug)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file cannot be read now, which says nothing about its content. Open
    /// it again to try again.
    Io(io::Error),
    /// The file ends before its end mark: it is still being written, or its
    /// compressor died.
    Cut,
    /// The content is not what a compressor writes, or a checksum does not hold.
    Damaged {
        /// How many bytes of the file were read when it was noticed: the damage
        /// stands before.
        at: u64,
        /// What is wrong there.
        what: String,
    },
    /// The file asks for more than the [`Limits`]; the text names the limit.
    TooBig {
        /// What it asks for, and what it may.
        why: String,
    },
    /// The file may be whole, but this program does not read such ones.
    Unsupported {
        /// What cannot be read.
        why: String,
    },
}

impl ArchiveError {
    fn damaged(at: u64, what: impl fmt::Display) -> Self {
        Self::Damaged { at, what: what.to_string() }
    }

    /// The same error once more: one that has come comes again.
    fn again(&self) -> Self {
        match self {
            Self::Io(e) => Self::Io(e.raw_os_error().map_or_else(
                || io::Error::new(e.kind(), e.to_string()),
                io::Error::from_raw_os_error,
            )),
            Self::Cut => Self::Cut,
            Self::Damaged { at, what } => Self::Damaged { at: *at, what: what.clone() },
            Self::TooBig { why } => Self::TooBig { why: why.clone() },
            Self::Unsupported { why } => Self::Unsupported { why: why.clone() },
        }
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) => write!(f, "cannot be read: {e}"),
            Self::Cut => f.write_str("ends before its end mark"),
            Self::Damaged { at, what } => {
                write!(f, "is damaged at compressed offset {at}: {what}")
            }
            Self::TooBig { why } | Self::Unsupported { why } => f.write_str(why),
        }
    }
}

impl std::error::Error for ArchiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(e) => Some(e),
            _ => None,
        }
    }
}

/// The content's faults are [`io::ErrorKind::UnexpectedEof`] when it is cut and
/// [`io::ErrorKind::InvalidData`] otherwise; the disk's stay what they are.
impl From<ArchiveError> for io::Error {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Io(e) => e,
            ArchiveError::Cut => Self::new(io::ErrorKind::UnexpectedEof, error),
            _ => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}

/// A compressed file that is read from its start, decompressed as it goes.
pub struct Archive {
    decoder: Box<dyn Decoder>,
    limits: Limits,
    /// How many bytes came out.
    length: u64,
    /// Behind the last byte: how it ended.
    end: Option<End>,
}

impl Archive {
    /// Reads the file from its first byte on, wherever its cursor stands, which
    /// is left alone. Nothing is read before the first [`Archive::fill`].
    pub fn new(file: File, format: Format, limits: Limits) -> Self {
        Self::from_reader(FromStart::new(file), format, limits)
    }

    /// Reads whatever gives the bytes of a compressed file.
    pub fn from_reader(
        input: impl Read + Send + 'static,
        format: Format,
        limits: Limits,
    ) -> Self {
        let source = Source::new(Box::new(input));
        let decoder: Box<dyn Decoder> = match format {
            Format::Gzip => Box::new(gzip::Gzip::new(source)),
            #[cfg(feature = "zstd")]
            Format::Zstd => Box::new(zstd::Zstd::new(source, limits.window_bytes_max)),
            #[cfg(feature = "xz")]
            Format::Xz => Box::new(xz::Xz::new(source, limits.window_bytes_max)),
            #[cfg(feature = "bzip2")]
            Format::Bzip2 => Box::new(bzip2::Bzip2::new(source)),
            #[cfg(not(all(feature = "zstd", feature = "xz", feature = "bzip2")))]
            format => Box::new(not_built_in::NotBuiltIn::new(source, format)),
        };
        Self { decoder, limits, length: 0, end: None }
    }

    /// Decompresses until `buffer` is full or the file ends; how many bytes it
    /// came to. `Ok(0)` means that the end is proven, unless `buffer` is empty.
    ///
    /// # Errors
    ///
    /// All of [`ArchiveError`]. What was decompressed before the mistake comes
    /// first and the error at the next call, and from then on at each.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let mut filled = 0;
        while filled < buffer.len() && self.end.is_none() {
            let (n, end) = self.decoder.decode(&mut buffer[filled..]);
            filled += n;
            self.length += n as u64;
            if n > 0 {
                self.decoder.source_mut().made_progress();
            }
            self.end = end.or_else(|| self.beyond_limits().map(End::Failed));
        }
        match &self.end {
            Some(End::Failed(error)) if filled == 0 => Err(error.again()),
            _ => Ok(filled),
        }
    }

    /// How many bytes of the file have been used, for messages and progress.
    pub fn compressed_offset(&self) -> u64 {
        self.decoder.source().offset()
    }

    fn beyond_limits(&self) -> Option<ArchiveError> {
        let Limits { ratio_max, ratio_free_bytes, bytes_max, .. } = self.limits;
        let (length, read) = (self.length, self.compressed_offset());
        if length > bytes_max {
            let why = format!("decompresses to more than {bytes_max} bytes, the limit");
            return Some(ArchiveError::TooBig { why });
        }
        if length > ratio_free_bytes && length / read.max(1) > ratio_max {
            let why = format!(
                "decompresses to {length} bytes from {read}, more than {ratio_max} times \
                 its size: the limit for what is over {ratio_free_bytes} bytes"
            );
            return Some(ArchiveError::TooBig { why });
        }
        None
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("length", &self.length)
            .field("compressed_offset", &self.compressed_offset())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// How an archive ended.
#[derive(Debug)]
enum End {
    /// End mark and checksums hold, and nothing stands behind them.
    Proven,
    Failed(ArchiveError),
}

/// What the formats have in common. After an end it is not called again.
trait Decoder: Send {
    /// Decompresses some bytes into a buffer that is not empty: as many as come
    /// easily, at least one unless it ends. What comes, up to the end, does not
    /// depend on the sizes of the buffers.
    fn decode(&mut self, out: &mut [u8]) -> (usize, Option<End>);

    fn source(&self) -> &Source;

    fn source_mut(&mut self) -> &mut Source;
}
