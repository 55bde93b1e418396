//! A file of a log that is being read.

use super::lines::{End, Lines, Piece};
use crate::archive::{Archive, ArchiveError, Format, Limits};
use crate::file::{self, Stamp};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tripline_api::{Digest, Place, Proof, SourceError};

/// How many of the bytes before a read are compared with what was read before:
/// enough to notice that the file has become another in between.
const OVERLAP_BYTES: usize = 64;

/// How much of an archive is decompressed in one turn on the way to a place.
const PASS_BYTES: usize = 4 * 1024 * 1024;

/// An open file, with what is needed to notice that it is no longer the same.
pub(super) struct Open {
    path: PathBuf,
    bytes: Bytes,
    pub(super) inode: (u64, u64),
    /// Its size when it was opened, in bytes.
    pub(super) size: u64,
    /// When it was last written, as of the last look.
    pub(super) modified: i64,
    /// The first bytes, up to what a proof hashes.
    head: Vec<u8>,
    /// Their digest.
    head_digest: Digest,
    /// What a cursor says of the place that is read first; until it was seen to
    /// hold nothing is handed out.
    unproved: Option<Proof>,
    /// How the file looked when it was last read to its end.
    seen: Option<Stamp>,
    /// The last read came up to here and had room for more.
    end: Option<u64>,
}

enum Bytes {
    Plain(File),
    Archive(Box<Stream>),
}

/// A decompressed stream, which cannot go back.
struct Stream {
    archive: Archive,
    /// A framer of its own: what is torn cannot be read again.
    lines: Lines,
    /// So many bytes are to be passed over first.
    skip: u64,
    passed: Vec<u8>,
    is_at_end: bool,
}

/// What a read came to.
pub(super) enum Read {
    /// The framer has new bytes.
    More,
    /// Bytes before the wanted place were passed over.
    Passed,
    /// There is nothing more, for now or for ever.
    End,
    /// The content ends in an error, which says this.
    Broken(String),
    /// The file is not, or no longer, the one that is meant: cut, or written
    /// anew.
    Changed,
}

impl Open {
    /// Opens a file that is not compressed, to be read at a place where `proof`
    /// must hold: the first read sees to that.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is not a regular file.
    pub(super) fn plain(path: &Path, proof: Option<&Proof>) -> Result<Self, SourceError> {
        let (file, stamp) = open(path)?;
        let mut opened = Self::new(path, Bytes::Plain(file), stamp);
        opened.unproved = proof.cloned();
        Ok(opened)
    }

    /// Opens a compressed file that was read through before and begins with
    /// `head`, to be read from an offset in its content.
    ///
    /// # Errors
    ///
    /// As for [`Open::plain`].
    pub(super) fn archive(
        path: &Path,
        format: Format,
        limits: Limits,
        head: &[u8],
        mut lines: Lines,
        place: Place,
    ) -> Result<Self, SourceError> {
        let (file, stamp) = open(path)?;
        lines.restart(place, b"");
        let stream = Stream {
            archive: Archive::new(file, format, limits),
            lines,
            skip: place.offset,
            passed: Vec::new(),
            is_at_end: false,
        };
        let mut opened = Self::new(path, Bytes::Archive(Box::new(stream)), stamp);
        opened.head = head.to_vec();
        opened.head_digest = Digest::of(head);
        Ok(opened)
    }

    fn new(path: &Path, bytes: Bytes, stamp: Stamp) -> Self {
        Self {
            path: path.to_owned(),
            bytes,
            inode: stamp.inode,
            size: stamp.size,
            modified: stamp.modified,
            head: Vec::new(),
            head_digest: Digest::of(b""),
            unproved: None,
            seen: None,
            end: None,
        }
    }

    pub(super) const fn is_plain(&self) -> bool {
        matches!(self.bytes, Bytes::Plain(_))
    }

    /// The framer of a compressed file; a plain one borrows the reader's.
    pub(super) fn own_lines(&mut self) -> Option<&mut Lines> {
        match &mut self.bytes {
            Bytes::Archive(stream) => Some(&mut stream.lines),
            Bytes::Plain(_) => None,
        }
    }

    /// Takes lines that were read, with the proof of the place behind them.
    pub(super) fn take<'a>(
        &'a mut self,
        shared: &'a mut Lines,
        end: End,
    ) -> Option<(Piece<'a>, Proof)> {
        let lines = match &mut self.bytes {
            Bytes::Archive(stream) => &mut stream.lines,
            Bytes::Plain(_) => shared,
        };
        let piece = lines.take(end)?;
        let known = Proof::new(self.inode, b"", piece.before_end);
        let proof = Proof { modified: self.modified, head: self.head_digest, ..known };
        Some((piece, proof))
    }

    /// Whether the content says that it is compressed.
    pub(super) fn is_compressed(&self) -> Result<bool, SourceError> {
        let Bytes::Plain(file) = &self.bytes else { return Ok(true) };
        let mut magic = [0; Format::MAGIC_BYTES_MAX];
        let n = file::read_at(file, &mut magic, 0).map_err(|e| self.failed(e))?;
        Ok(Format::of(&magic[..n]).is_some())
    }

    /// Reads the first bytes, by which the file is recognised.
    pub(super) fn read_head(&mut self) -> Result<(), SourceError> {
        let Bytes::Plain(file) = &self.bytes else { return Ok(()) };
        let mut head = vec![0; Proof::HEAD_BYTES_MAX];
        let n = file::read_at(file, &mut head, 0).map_err(|e| self.failed(e))?;
        head.truncate(n);
        self.head_digest = Digest::of(&head);
        self.head = head;
        Ok(())
    }

    /// The proof of a place in this file, behind these bytes.
    pub(super) fn proof(&self, before: &[u8]) -> Proof {
        Proof {
            inode: self.inode,
            modified: self.modified,
            head: self.head_digest,
            tail: Proof::new(self.inode, b"", before).tail,
        }
    }

    /// Whether nothing links to the file any more, and how long it is.
    pub(super) fn links_and_size(&self) -> Option<(u64, u64)> {
        let Bytes::Plain(file) = &self.bytes else { return None };
        file.metadata().ok().map(|metadata| (metadata.nlink(), metadata.size()))
    }

    /// Up to where the last read came, if it had room for more.
    pub(super) const fn end(&self) -> Option<u64> {
        self.end
    }

    /// Whether nothing was written to the file since it was last known to be the
    /// same, up to where it was read. One of the same size that was written to
    /// may have been cut and have grown again.
    pub(super) fn is_as_read(&self, stamp: Stamp) -> bool {
        self.end == Some(stamp.size)
            && self.modified == stamp.modified
            && self.inode == stamp.inode
    }

    /// The bytes just before an offset of a plain file, as a framer wants them.
    pub(super) fn before(&self, offset: u64) -> Result<Vec<u8>, SourceError> {
        let Bytes::Plain(file) = &self.bytes else { return Ok(Vec::new()) };
        let length = offset.min(Proof::TAIL_BYTES_MAX as u64) as usize;
        let mut before = vec![0; length];
        let n = file::read_at(file, &mut before, offset - length as u64)
            .map_err(|e| self.failed(e))?;
        before.truncate(n);
        Ok(before)
    }

    /// Reads a block of a plain file into the framer.
    ///
    /// Reads first and asks afterwards whether it was still the same file: a
    /// file that is cut loses its head first, so a head found unchanged after
    /// the read vouches for the bytes.
    pub(super) fn read_plain(
        &mut self,
        lines: &mut Lines,
        max: usize,
    ) -> Result<Read, SourceError> {
        let Bytes::Plain(file) = &self.bytes else { return Ok(Read::Changed) };
        let offset = lines.read_offset();
        let mut overlap = [0; OVERLAP_BYTES];
        let before = lines.before_read(OVERLAP_BYTES);
        let overlap = &mut overlap[..before.len()];
        overlap.copy_from_slice(before);
        let space = lines.space(max);
        let room = space.len();
        let n = file::read_once_at(file, space, offset).map_err(|e| self.failed(e))?;
        self.end = (n < room).then_some(offset + n as u64);
        if offset == 0 && n > 0 && self.head.is_empty() {
            // The first read has the head in it.
            self.head = space[..n.min(Proof::HEAD_BYTES_MAX)].to_vec();
            self.head_digest = Digest::of(&self.head);
            self.seen = None;
            lines.filled(n);
            self.note_time(n as u64)?;
            return Ok(Read::More);
        }
        if n == 0 {
            return self.look_at_end(offset, overlap, lines);
        }
        if !self.is_unchanged(offset, overlap, lines)? {
            return Ok(Read::Changed);
        }
        self.seen = None;
        lines.filled(n);
        self.note_time(offset + n as u64)?;
        Ok(Read::More)
    }

    /// Notes when the file was written, if nothing was since it was read up to
    /// here.
    fn note_time(&mut self, read: u64) -> Result<(), SourceError> {
        if let Bytes::Plain(file) = &self.bytes
            && self.end == Some(read)
        {
            let stamp = Stamp::of(&file.metadata().map_err(|e| self.failed(e))?);
            if stamp.size == read {
                self.modified = stamp.modified;
            }
        }
        Ok(())
    }

    fn look_at_end(
        &mut self,
        offset: u64,
        overlap: &[u8],
        lines: &Lines,
    ) -> Result<Read, SourceError> {
        let Bytes::Plain(file) = &self.bytes else { return Ok(Read::Changed) };
        let stamp = Stamp::of(&file.metadata().map_err(|e| self.failed(e))?);
        if self.seen == Some(stamp) {
            return Ok(Read::End);
        }
        if stamp.size < offset || !self.is_unchanged(offset, overlap, lines)? {
            return Ok(Read::Changed);
        }
        self.modified = stamp.modified;
        self.seen = (stamp.size == offset).then_some(stamp);
        Ok(Read::End)
    }

    /// Whether head and overlap are what they were; at the first time, whether
    /// the cursor's proof holds.
    fn is_unchanged(
        &mut self,
        offset: u64,
        overlap: &[u8],
        lines: &Lines,
    ) -> Result<bool, SourceError> {
        let Bytes::Plain(file) = &self.bytes else { return Ok(false) };
        let mut head = [0; Proof::HEAD_BYTES_MAX];
        let n = file::read_at(file, &mut head, 0).map_err(|e| self.failed(e))?;
        let head = &head[..n];
        if !head.starts_with(&self.head) {
            return Ok(false);
        }
        let mut now = [0; OVERLAP_BYTES];
        let now = &mut now[..overlap.len()];
        let m = file::read_at(file, now, offset - overlap.len() as u64)
            .map_err(|e| self.failed(e))?;
        if m < overlap.len() || now != overlap {
            return Ok(false);
        }
        if let Some(proof) = self.unproved.take()
            && !(starts_as(head, &proof)
                && ends_as(lines.before_read(usize::MAX), &proof))
        {
            return Ok(false);
        }
        if head.len() > self.head.len() {
            self.head = head.to_vec();
            self.head_digest = Digest::of(head);
        }
        Ok(true)
    }

    /// Decompresses a block into the file's own framer.
    pub(super) fn read_archive(&mut self) -> Result<Read, SourceError> {
        let Bytes::Archive(stream) = &mut self.bytes else { return Ok(Read::Changed) };
        let read = match stream.is_at_end {
            true => Ok(Read::End),
            false if stream.skip > 0 => stream.pass_over(),
            false => stream.read(),
        };
        match read {
            Ok(read) => Ok(read),
            Err(ArchiveError::Io(error)) => Err(self.failed(error)),
            Err(error) => Ok(Read::Broken(format!("{} {error}", self.path.display()))),
        }
    }

    fn failed(&self, error: io::Error) -> SourceError {
        SourceError::io(format!("cannot read {}", self.path.display()), error)
    }
}

impl Stream {
    fn read(&mut self) -> Result<Read, ArchiveError> {
        let n = self.archive.fill(self.lines.space(usize::MAX))?;
        self.lines.filled(n);
        self.is_at_end = n == 0;
        Ok(if n == 0 { Read::End } else { Read::More })
    }

    /// Decompresses what lies before the place.
    fn pass_over(&mut self) -> Result<Read, ArchiveError> {
        let mut passed = 0;
        while self.skip > 0 && passed < PASS_BYTES {
            let wanted = usize::try_from(self.skip).unwrap_or(usize::MAX);
            let space = self.lines.space(wanted);
            let n = self.archive.fill(space)?;
            if n == 0 {
                return Ok(Read::Changed);
            }
            keep_last(&mut self.passed, &space[..n], Proof::TAIL_BYTES_MAX);
            self.skip -= n as u64;
            passed += n;
        }
        if self.skip == 0 {
            self.lines.restart(self.lines.place(), &self.passed);
        }
        Ok(Read::Passed)
    }
}

fn open(path: &Path) -> Result<(File, Stamp), SourceError> {
    file::open_stamped(path)
        .map_err(|e| SourceError::io(format!("cannot open {}", path.display()), e))
}

/// Appends bytes and keeps the last `count` of all.
pub(super) fn keep_last(kept: &mut Vec<u8>, bytes: &[u8], count: usize) {
    let bytes = &bytes[bytes.len().saturating_sub(count)..];
    kept.extend_from_slice(bytes);
    kept.drain(..kept.len().saturating_sub(count));
}

pub(super) fn starts_as(head: &[u8], proof: &Proof) -> bool {
    let length = proof.head.len as usize;
    head.len() >= length && proof.head.matches(&head[..length])
}

pub(super) fn ends_as(before: &[u8], proof: &Proof) -> bool {
    let length = proof.tail.len as usize;
    before.len() >= length && proof.tail.matches(&before[before.len() - length..])
}
