//! The file `journal` of a mirror: the one that grows.

use super::behind::Behind;
use super::directory::{Known, cannot};
use super::scan::{self, Belief, Whole};
use p4journal::Head;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use tripline_api::{Cursor, ListenError};

/// The journal being mirrored.
pub(super) struct Current {
    /// Which journal it is; `None` while nothing whole is in it.
    pub(super) sequence: Option<u64>,
    is_numbered: bool,
    path: PathBuf,
    file: File,
    inode: (u64, u64),
    /// As found when the file was opened.
    found: Whole,
    /// Bytes of whole pieces: those found, and those written since.
    whole_bytes: u64,
    /// Bytes in the file. More than `whole_bytes` while a torn tail waits to be
    /// cut off.
    file_bytes: u64,
    /// Bytes that have certainly reached the disk.
    durable_bytes: u64,
    behind: Behind,
}

impl Current {
    /// Makes an empty one.
    pub(super) fn create(path: &Path) -> Result<Self, ListenError> {
        let file = options().create_new(true).open(path);
        Self::of(path, file.map_err(|error| cannot("create", path, &error))?)
    }

    /// Opens the one that is there, if one is, and finds out how far it is
    /// whole.
    pub(super) fn open(
        path: &Path,
        known: &Known<'_>,
    ) -> Result<Option<Self>, ListenError> {
        match path.symlink_metadata() {
            Ok(found) if !found.is_file() => {
                return Err(ListenError::Stop(format!(
                    "{} is no plain file: move it away, or mirror to another directory",
                    path.display()
                )));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot("look at", path, &error)),
        }
        let file = options().open(path).map_err(|error| cannot("open", path, &error))?;
        let mut current = Self::of(path, file)?;
        current.recover(known)?;
        Ok(Some(current))
    }

    /// Appends bytes behind the last whole piece.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), ListenError> {
        self.cut()?;
        self.file
            .write_all(bytes)
            .map_err(|error| cannot("write", &self.path, &error))?;
        self.whole_bytes += bytes.len() as u64;
        self.file_bytes = self.whole_bytes;
        self.behind.wrote(&self.file, bytes.len() as u64);
        Ok(())
    }

    /// Cuts off what is torn, having made sure that nobody else wrote it.
    pub(super) fn cut(&mut self) -> Result<(), ListenError> {
        let found = self
            .file
            .metadata()
            .map_err(|error| cannot("look at", &self.path, &error))?;
        if found.len() != self.file_bytes {
            return Err(ListenError::Stop(format!(
                "{} has {} bytes and should have {}: somebody else writes to it. A mirror \
                 needs a directory of its own, which is not the server's",
                self.path.display(),
                found.len(),
                self.file_bytes
            )));
        }
        if self.file_bytes > self.whole_bytes {
            self.file
                .set_len(self.whole_bytes)
                .and_then(|()| self.file.sync_all())
                .map_err(|error| cannot("cut", &self.path, &error))?;
            self.file_bytes = self.whole_bytes;
        }
        Ok(())
    }

    /// Makes what was appended durable.
    pub(super) fn sync(&mut self) -> Result<(), ListenError> {
        if self.durable_bytes < self.whole_bytes {
            self.behind
                .wait()
                .and_then(|()| self.file.sync_data())
                .map_err(|error| cannot("sync", &self.path, &error))?;
            self.durable_bytes = self.whole_bytes;
        }
        Ok(())
    }

    /// The number that the finished file gets: its own; for a first journal,
    /// which has none, one less than its trailer's.
    pub(super) fn number(&self) -> Result<u64, ListenError> {
        let failed = |error| cannot("read", &self.path, &error);
        let (head, _) = scan::read_head(&self.file).map_err(failed)?;
        if let Some(number) = head.number() {
            return Ok(number);
        }
        let whole = scan::scan(&self.file, Belief::FULL).map_err(failed)?;
        let by_trailer = whole.next.and_then(|next| next.checked_sub(1));
        Ok(by_trailer.or(self.sequence).unwrap_or_default())
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn into_file(self) -> File {
        self.file
    }

    pub(super) const fn inode(&self) -> (u64, u64) {
        self.inode
    }

    /// Whether the journal says its number: all but a server's first do.
    pub(super) const fn is_numbered(&self) -> bool {
        self.is_numbered
    }

    /// What was found whole when the file was opened.
    pub(super) const fn whole(&self) -> Whole {
        self.found
    }

    pub(super) const fn whole_bytes(&self) -> u64 {
        self.whole_bytes
    }

    pub(super) const fn durable_bytes(&self) -> u64 {
        self.durable_bytes
    }

    fn of(path: &Path, file: File) -> Result<Self, ListenError> {
        let found = file.metadata().map_err(|error| cannot("look at", path, &error))?;
        Ok(Self {
            sequence: None,
            is_numbered: false,
            path: path.to_owned(),
            file,
            inode: (found.dev(), found.ino()),
            found: Whole::default(),
            whole_bytes: 0,
            file_bytes: found.len(),
            durable_bytes: 0,
            behind: Behind::default(),
        })
    }

    /// Finds out which journal the file is and how far it is whole.
    fn recover(&mut self, known: &Known<'_>) -> Result<(), ListenError> {
        let failed = |error| cannot("read", &self.path, &error);
        let (head, first_bytes) = scan::read_head(&self.file).map_err(failed)?;
        let sequence = match &head {
            Head::Numbered { number, .. } => Some(*number),
            Head::Unnumbered { .. } => Some(known.sequence_of_unnumbered(&first_bytes)),
            _ => None,
        };
        let belief = known.belief(sequence);
        let settled = known.settled.filter(|c| Some(c.place.sequence) == sequence);
        let found = match settled {
            Some(settled) => scan::scan_behind(&self.file, belief, settled),
            None => scan::scan(&self.file, belief),
        };
        let found = found.map_err(failed)?;
        let is_blank = match head {
            Head::Numbered { .. } | Head::Unnumbered { .. } => found.bytes == 0,
            // The journal cannot be told from so little, or from the NULs of a
            // power loss: it is written again.
            Head::NeedMore => found.bytes <= first_bytes.len() as u64,
            Head::Checkpoint { .. } | Head::NotAJournal => false,
        };
        if is_blank {
            self.sequence = None;
        } else if sequence.is_none() {
            return Err(ListenError::Stop(format!(
                "{} is no journal: move it away, or mirror to another directory",
                self.path.display()
            )));
        } else {
            self.sequence = sequence;
            self.is_numbered = head.number().is_some();
            self.found = found;
            self.whole_bytes = found.bytes;
        }
        // Whoever points a mirror at the server's own directory must not have
        // a record cut in two that the server is writing. Where that can be
        // excluded the torn tail goes at once, else before the first write,
        // when it shows whether the file grew by another hand.
        let followed = known.settled.and_then(source_inode);
        let is_other = followed.is_some_and(|inode| inode != self.inode);
        if is_other || known.doubt.is_some() {
            self.cut()?;
        }
        self.file.sync_all().map_err(|error| cannot("sync", &self.path, &error))?;
        self.durable_bytes = self.whole_bytes;
        Ok(())
    }
}

impl Known<'_> {
    /// The sequence that the engine counts a journal without a number under.
    pub(super) fn sequence_of_unnumbered(&self, first_bytes: &[u8]) -> u64 {
        let settled = self.settled.filter(|cursor| {
            let head = cursor.proof.as_ref().map(|proof| proof.head);
            head.is_some_and(|head| {
                first_bytes.get(..head.len as usize).is_some_and(|b| head.matches(b))
            })
        });
        settled.map(|cursor| cursor.place.sequence).or(self.sequence).unwrap_or_default()
    }

    fn belief(&self, sequence: Option<u64>) -> Belief {
        let settled = match (self.settled, sequence) {
            (None, _) => u64::MAX,
            (Some(_), None) => 0,
            (Some(cursor), Some(sequence)) => {
                match cursor.place.sequence.cmp(&sequence) {
                    std::cmp::Ordering::Less => 0,
                    std::cmp::Ordering::Equal => cursor.place.offset,
                    std::cmp::Ordering::Greater => u64::MAX,
                }
            }
        };
        let limit = match self.doubt {
            Some((doubtful, bytes)) if Some(doubtful) == sequence => bytes,
            _ => u64::MAX,
        };
        Belief { settled, limit }
    }
}

/// The source's file, where the cursor says which one it was.
fn source_inode(cursor: &Cursor) -> Option<(u64, u64)> {
    cursor.proof.as_ref().map(|proof| proof.inode).filter(|inode| *inode != (0, 0))
}

/// Readable by its owner only: journals hold the hashes of passwords.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600);
    options
}
