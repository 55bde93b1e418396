//! A journal file that is being read.

use super::catalog::{Content, Found};
use super::framer::Framer;
use crate::archive::{Archive, ArchiveError, Format, Limits};
use crate::file::{self, Stamp};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tripline_api::{Proof, SourceError};

/// How many of the bytes before a read are compared with what was read before:
/// enough to notice that the file has become another in between.
const OVERLAP_BYTES: usize = 64;

/// An open file, with what is needed to notice that it is no longer the same.
pub(super) struct Open {
    path: PathBuf,
    bytes: Bytes,
    pub(super) inode: (u64, u64),
    /// The first bytes, up to what a proof hashes.
    pub(super) head: Vec<u8>,
    pub(super) header_time: Option<i64>,
    pub(super) origin: Option<Vec<u8>>,
    /// How the file looked when it was last read to its end.
    seen: Option<Stamp>,
    /// The last read filled the buffer, so there is likely more.
    has_more: bool,
}

enum Bytes {
    Plain(File),
    /// Decompressed from the start; so many bytes are still to be skipped.
    Gzip {
        stream: Archive,
        skip: u64,
        skipped: Vec<u8>,
    },
}

/// What a read came to.
pub(super) enum Read {
    /// The framer has new bytes.
    More,
    /// Bytes before the wanted offset were decompressed.
    Skipped,
    /// There is nothing more, for now or for ever.
    End,
    /// The file is no longer the one that was read: cut, or written anew.
    Changed,
}

impl Open {
    /// Opens a file to be read from an offset.
    pub(super) fn new(found: &Found, offset: u64) -> Result<Self, SourceError> {
        let failed =
            |e| SourceError::io(format!("cannot open {}", found.path.display()), e);
        let file = file::open(&found.path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let head = match &found.content {
            Content::Journal { head, .. } => head.clone(),
            _ => Vec::new(),
        };
        let bytes = if found.gzip {
            let stream = Archive::new(file, Format::Gzip, Limits::default());
            Bytes::Gzip { stream, skip: offset, skipped: Vec::new() }
        } else {
            Bytes::Plain(file)
        };
        Ok(Self {
            path: found.path.clone(),
            bytes,
            inode: (metadata.dev(), metadata.ino()),
            head,
            header_time: found.header_time(),
            origin: found.origin().map(<[u8]>::to_vec),
            seen: None,
            has_more: false,
        })
    }

    /// Reads a block into the framer.
    pub(super) fn read(&mut self, framer: &mut Framer) -> Result<Read, SourceError> {
        match &mut self.bytes {
            Bytes::Plain(_) => self.read_plain(framer),
            Bytes::Gzip { stream, skip, skipped } => {
                let failed = |e: ArchiveError| {
                    let name = self.path.display();
                    SourceError::io(format!("cannot decompress {name}"), e.into())
                };
                let space = framer.space();
                if *skip > 0 {
                    let length =
                        space.len().min(usize::try_from(*skip).unwrap_or(usize::MAX));
                    let n = stream.fill(&mut space[..length]).map_err(failed)?;
                    if n == 0 {
                        return Ok(Read::Changed);
                    }
                    *skip -= n as u64;
                    skipped.extend_from_slice(&space[..n]);
                    let surplus = skipped.len().saturating_sub(Proof::TAIL_BYTES_MAX);
                    skipped.drain(..surplus);
                    if *skip == 0 {
                        framer.restart(framer.place(), skipped);
                    }
                    return Ok(Read::Skipped);
                }
                let n = stream.fill(space).map_err(failed)?;
                self.has_more = n == space.len();
                framer.filled(n);
                Ok(if n == 0 { Read::End } else { Read::More })
            }
        }
    }

    /// The last bytes before an offset, for the proof of what comes next.
    pub(super) fn before(&self, offset: u64) -> Result<Vec<u8>, SourceError> {
        let Bytes::Plain(file) = &self.bytes else { return Ok(Vec::new()) };
        let length = offset.min(Proof::TAIL_BYTES_MAX as u64);
        let mut before = vec![0; length as usize];
        let n = file::read_at(file, &mut before, offset - length)
            .map_err(|e| self.failed(e))?;
        before.truncate(n);
        Ok(before)
    }

    /// Whether there is likely more to read right now.
    pub(super) const fn has_more(&self) -> bool {
        self.has_more
    }

    pub(super) const fn is_plain(&self) -> bool {
        matches!(self.bytes, Bytes::Plain(_))
    }

    /// Whether a path still names this file.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|m| (m.dev(), m.ino()) == self.inode)
    }

    /// Reads first and asks afterwards whether it was still the same file: a
    /// file that is cut loses its head first, so a head found unchanged after
    /// the read vouches for the bytes.
    fn read_plain(&mut self, framer: &mut Framer) -> Result<Read, SourceError> {
        let offset = framer.read_offset();
        let before = framer.before_read(OVERLAP_BYTES);
        let Bytes::Plain(file) = &self.bytes else { return Ok(Read::Changed) };
        let space = framer.space();
        let room = space.len();
        let n = file::read_at(file, space, offset).map_err(|e| self.failed(e))?;
        self.has_more = n == room;
        if n == 0 {
            return self.look_at_end(offset, &before);
        }
        if !self.is_unchanged(offset, &before)? {
            return Ok(Read::Changed);
        }
        self.seen = None;
        framer.filled(n);
        Ok(Read::More)
    }

    fn look_at_end(&mut self, offset: u64, before: &[u8]) -> Result<Read, SourceError> {
        let Bytes::Plain(file) = &self.bytes else { return Ok(Read::Changed) };
        let stamp = Stamp::of(&file.metadata().map_err(|e| self.failed(e))?);
        if self.seen == Some(stamp) {
            return Ok(Read::End);
        }
        if stamp.size < offset || !self.is_unchanged(offset, before)? {
            return Ok(Read::Changed);
        }
        self.seen = (stamp.size == offset).then_some(stamp);
        Ok(Read::End)
    }

    fn is_unchanged(&mut self, offset: u64, before: &[u8]) -> Result<bool, SourceError> {
        let Bytes::Plain(file) = &self.bytes else { return Ok(false) };
        let mut head = [0; Proof::HEAD_BYTES_MAX];
        let n = file::read_at(file, &mut head, 0).map_err(|e| self.failed(e))?;
        if n < self.head.len() || head[..self.head.len()] != self.head {
            return Ok(false);
        }
        let mut now = [0; OVERLAP_BYTES];
        let now = &mut now[..before.len()];
        let m = file::read_at(file, now, offset - before.len() as u64)
            .map_err(|e| self.failed(e))?;
        if m < before.len() || now != before {
            return Ok(false);
        }
        if n > self.head.len() {
            self.head.extend_from_slice(&head[self.head.len()..n]);
        }
        Ok(true)
    }

    fn failed(&self, error: std::io::Error) -> SourceError {
        SourceError::io(format!("cannot read {}", self.path.display()), error)
    }
}
