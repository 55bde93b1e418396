//! Opening and reading files that others rename, cut, compress and delete.

use std::cmp::Ordering;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What tells two states of a file apart without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Device and inode number.
    pub(crate) inode: (u64, u64),
    /// Size in bytes, as stored.
    pub(crate) size: u64,
    /// Time of the last change of content or permissions, in nanoseconds since
    /// 1970.
    pub(crate) changed: i64,
    /// Time of the last change of content, in nanoseconds since 1970. A rename
    /// keeps it, and so does a compressor.
    pub(crate) modified: i64,
}

impl Stamp {
    /// Of a file that cannot be looked at: like no other.
    pub(crate) const fn unknown() -> Self {
        Self { inode: (0, 0), size: 0, changed: 0, modified: 0 }
    }

    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            changed: (metadata.ctime().saturating_mul(1_000_000_000))
                .saturating_add(metadata.ctime_nsec()),
            modified: (metadata.mtime().saturating_mul(1_000_000_000))
                .saturating_add(metadata.mtime_nsec()),
        }
    }
}

/// How a time that was kept compares with one that was known, both in
/// nanoseconds since 1970. Some compressors and file systems keep whole seconds:
/// such a one is as good as any within its second.
pub(crate) fn compare_times(kept: i64, known: i64) -> Ordering {
    const SECOND: i64 = 1_000_000_000;
    if kept.rem_euclid(SECOND) == 0 {
        kept.div_euclid(SECOND).cmp(&known.div_euclid(SECOND))
    } else {
        kept.cmp(&known)
    }
}

/// Opens a regular file. A FIFO or device that somebody put at the path neither
/// blocks nor is read.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_stamped(path).map(|(file, _)| file)
}

/// Opens a regular file, and says how it looks.
pub(crate) fn open_stamped(path: &Path) -> io::Result<(File, Stamp)> {
    let no_block = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(no_block).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, Stamp::of(&metadata)))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// Reads what comes in one go: of a regular file less than asked for only at its
/// end.
pub(crate) fn read_once_at(
    file: &File,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_no_file() {
        let directory = tempfile::tempdir().unwrap();
        assert!(open(directory.path()).is_err());
    }
}
