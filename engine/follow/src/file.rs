//! Opening and reading files that others rename, cut, compress and delete.

use flate2::bufread::MultiGzDecoder;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// How much is read from a compressed file at a time, in bytes.
const COMPRESSED_BLOCK_BYTES: usize = 128 * 1024;

/// What tells two states of a file apart without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Device and inode number.
    pub(crate) inode: (u64, u64),
    /// Size in bytes, as stored.
    pub(crate) size: u64,
    /// Time of the last change of content or permissions, in nanoseconds since
    /// 1970.
    pub(crate) changed: i128,
}

impl Stamp {
    /// Of a file that cannot be looked at: like no other.
    pub(crate) const fn unknown() -> Self {
        Self { inode: (0, 0), size: 0, changed: 0 }
    }

    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            changed: i128::from(metadata.ctime()) * 1_000_000_000
                + i128::from(metadata.ctime_nsec()),
        }
    }
}

/// Opens a regular file. A FIFO or device that somebody put at the path neither
/// blocks nor is read.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let no_block = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(no_block).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// Whether the content says that it is compressed: names may lie.
pub(crate) fn is_gzip(file: &File) -> io::Result<bool> {
    let mut magic = [0; 2];
    Ok(read_at(file, &mut magic, 0)? == 2 && magic == [0x1f, 0x8b])
}

/// Reads until `buffer` is full or the file ends.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// A compressed file as one stream, concatenated members included.
pub(crate) struct Gunzip(Box<MultiGzDecoder<BufReader<File>>>);

impl Gunzip {
    pub(crate) fn new(file: File) -> Self {
        let input = BufReader::with_capacity(COMPRESSED_BLOCK_BYTES, file);
        Self(Box::new(MultiGzDecoder::new(input)))
    }

    /// Reads until `buffer` is full or the stream ends with its end mark and
    /// checksum in place; what was decompressed before an error is lost.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (filled, failed) = self.read(buffer);
        failed.map_or(Ok(filled), Err)
    }

    /// Like [`Gunzip::fill`], but an error after some bytes is only the end of
    /// them: for a look at the start of a file that is still being written.
    pub(crate) fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.read(buffer) {
            (0, Some(error)) => Err(error),
            (filled, _) => Ok(filled),
        }
    }

    /// How many bytes came, and what went wrong behind them.
    fn read(&mut self, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return (filled, Some(e)),
            }
        }
        (filled, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn all_members_are_read_and_a_cut_one_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("two.gz");
        let mut two = gzip(b"first ");
        two.extend(gzip(b"second"));
        std::fs::write(&path, &two).unwrap();
        let file = open(&path).unwrap();
        assert!(is_gzip(&file).unwrap());
        let mut buffer = [0; 64];
        let n = Gunzip::new(file).fill(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"first second");

        std::fs::write(&path, &two[..two.len() - 1]).unwrap();
        assert!(Gunzip::new(open(&path).unwrap()).fill(&mut buffer).is_err());
        let n = Gunzip::new(open(&path).unwrap()).peek(&mut buffer).unwrap();
        assert!(buffer[..n].starts_with(b"first "));
    }

    #[test]
    fn a_directory_is_no_file() {
        let directory = tempfile::tempdir().unwrap();
        assert!(open(directory.path()).is_err());
    }
}
