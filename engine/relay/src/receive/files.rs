//! One file that is appended to.
//!
//! What is written stands at a place of its own, and never "at the end": so bytes
//! that come again, because a kill or a power cut came before they were committed,
//! are written to where they already are. Whoever follows the file sees no change.
//!
//! What stands there is compared first. When it is something else, it may be what was
//! acknowledged, and the database older than the file: it stays, and what comes is
//! written behind it.

use super::store::{Length, Store};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that was renamed is looked for among so many of its folder.
const NEIGHBOURS_MAX: usize = 10_000;
/// More than this was never uncommitted: the database is older than the file.
const TAIL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// So much is compared at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// A file, open or not.
#[derive(Debug)]
pub(super) struct Output {
    folder: PathBuf,
    name: String,
    /// Its path below the receiver's folder: how the database calls it.
    pub(super) key: String,
    /// Its lines are a log's.
    is_log: bool,
    open: Option<Open>,
    /// Something was written since the last commit began.
    pub(super) is_dirty: bool,
    /// Behind what was committed there was something else than what came: so many
    /// bytes, which stay.
    kept: Option<u64>,
}

#[derive(Debug)]
struct Open {
    file: Arc<File>,
    inode: (u64, u64),
    /// What is written next goes here.
    position: u64,
    /// As long as it was when it was opened: what is between was not committed, and
    /// comes again.
    tail: u64,
    /// The last byte that was written is no line feed.
    is_amid_line: bool,
}

/// What became of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    All,
    /// The file has another name by now, and had this many of them; the rest goes to
    /// the next, even of a line: who renamed it may compress or delete it at any
    /// time. Before that is opened, everything has to be committed.
    Until(usize),
}

impl Output {
    pub(super) fn new(to: &Path, folder: &str, name: String, is_log: bool) -> Self {
        let key = format!("{folder}/{name}");
        let folder = to.join(folder);
        Self { folder, name, key, is_log, open: None, is_dirty: false, kept: None }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Lets the file go; everything was committed.
    pub(super) fn close(&mut self) {
        if !self.is_dirty {
            self.open = None;
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// What is to be synced, and what is true then.
    pub(super) fn state(&self) -> Option<(Arc<File>, Length)> {
        let open = self.open.as_ref()?;
        let length = Length { inode: open.inode, length: open.position };
        Some((Arc::clone(&open.file), length))
    }

    /// Opens the file where it was committed last; made, or known for the first
    /// time, it is in the database before anything is written to it. Returns what
    /// somebody should be told.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn open(&mut self, store: &Store) -> Result<Opened, String> {
        if self.open.is_some() {
            return Ok(Opened::Known);
        }
        let known = store.length(&self.key)?;
        let cannot = |error: io::Error| cannot("open", &self.path(), &error);
        let current = open_existing(&self.path()).map_err(cannot)?;
        let is_known = |found: &(File, fs::Metadata)| {
            known.is_some_and(|known| known.inode == inode(&found.1))
        };
        let (found, opened) = match current {
            Some(found) if is_known(&found) => (found, Opened::Known),
            current => {
                match known.map(|known| self.find_renamed(known)).transpose()?.flatten() {
                    // Its end was not committed: that comes first.
                    Some(renamed) => (renamed, Opened::Known),
                    None => match current {
                        Some(found) if found.1.len() == 0 => (found, Opened::New),
                        Some(found) => (found, Opened::Foreign),
                        None => (self.create()?, Opened::New),
                    },
                }
            }
        };
        let (file, metadata) = found;
        let len = metadata.len();
        let length = match (known, opened) {
            // It was cut by somebody.
            (Some(known), Opened::Known) => known.length.min(len),
            _ => len,
        };
        let is_amid_line =
            self.is_log && ends_without_line_feed(&file, length).map_err(cannot)?;
        let open = Open {
            inode: inode(&metadata),
            file: Arc::new(file),
            position: length,
            tail: len,
            is_amid_line,
        };
        self.open = Some(open);
        Ok(opened)
    }

    /// A file of this inode among the neighbours, if it has something that was not
    /// committed.
    fn find_renamed(
        &self,
        known: Length,
    ) -> Result<Option<(File, fs::Metadata)>, String> {
        let cannot = |error: io::Error| cannot("list", &self.folder, &error);
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries.map_err(cannot)?,
        };
        for entry in entries.take(NEIGHBOURS_MAX) {
            let entry = entry.map_err(cannot)?;
            let path = entry.path();
            // It may be gone meanwhile.
            let is_it = fs::symlink_metadata(&path)
                .is_ok_and(|it| it.is_file() && inode(&it) == known.inode);
            if is_it
                && let Some(found) = open_existing(&path).map_err(cannot)?
                && inode(&found.1) == known.inode
                && found.1.len() > known.length
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// A new file, whose name is on the disk.
    fn create(&self) -> Result<(File, fs::Metadata), String> {
        let path = self.path();
        let made = (|| {
            make_folder(&self.folder)?;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o600);
            let file = options.open(&path)?;
            File::open(&self.folder)?.sync_all()?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        })();
        made.map_err(|error| cannot("make", &path, &error))
    }

    /// Writes some bytes behind the last ones; to be opened before. `closes` writes
    /// a line feed first, unless the file begins here.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn write(&mut self, closes: bool, bytes: &[u8]) -> Result<Wrote, String> {
        let path = self.path();
        let Some(open) = &mut self.open else {
            return Err("a file is not open".to_owned());
        };
        let cannot = |error: io::Error| cannot("write to", &path, &error);
        let has_its_name = fs::symlink_metadata(&path)
            .is_ok_and(|it| it.is_file() && inode(&it) == open.inode);
        let metadata = open.file.metadata().map_err(cannot)?;
        if metadata.len() < open.position {
            // Cut in place, as one does that copies and cuts.
            (open.position, open.is_amid_line) = (metadata.len(), false);
        }
        open.tail = open.tail.min(metadata.len());
        let mut closes = closes && open.position > 0;
        if !open.holds(closes, bytes).map_err(cannot)? {
            self.kept = Some(open.tail - open.position);
            open.position = open.tail;
            let ends_open = ends_without_line_feed(&open.file, open.tail);
            open.is_amid_line = self.is_log && ends_open.map_err(cannot)?;
            closes = open.is_amid_line;
            self.is_dirty = true;
        }
        let count = match has_its_name {
            true => bytes.len(),
            // Nobody sees it any more.
            false if metadata.nlink() == 0 => 0,
            false => {
                let had = open.uncommitted().saturating_sub(u64::from(closes));
                usize::try_from(had).unwrap_or(usize::MAX).min(bytes.len())
            }
        };
        if !has_its_name && count == 0 && open.uncommitted() > 0 {
            // A line feed that is there, or what nobody sees.
            (open.position, self.is_dirty) = (open.tail, true);
        }
        if count > 0 {
            self.is_dirty = true;
            if closes {
                open.file.write_all_at(b"\n", open.position).map_err(cannot)?;
                open.position += 1;
            }
            open.file.write_all_at(&bytes[..count], open.position).map_err(cannot)?;
            open.position += count as u64;
            open.is_amid_line = bytes[count - 1] != b'\n';
        }
        Ok(if count == bytes.len() { Wrote::All } else { Wrote::Until(count) })
    }

    /// How many bytes were kept that are not what came in their place, for who tells
    /// of it once.
    pub(super) const fn take_kept(&mut self) -> Option<u64> {
        self.kept.take()
    }

    /// Whether a line feed is missing before the next line, in a file that is not
    /// ours from the start.
    pub(super) fn is_amid_line(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.is_amid_line)
    }

    /// It has another name, and everything that belongs to it was committed: the next
    /// one can be opened.
    pub(super) fn leave(&mut self) {
        self.open = None;
    }
}

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// It was known.
    Known,
    /// It is new and empty.
    New,
    /// It was there before us, with something in it.
    Foreign,
}

impl Open {
    /// How many bytes there are behind what was written last.
    const fn uncommitted(&self) -> u64 {
        self.tail.saturating_sub(self.position)
    }

    /// Whether what is to be written is there already, as far as the file goes. Zeros
    /// are nothing: a power cut leaves them.
    fn holds(&self, closes: bool, bytes: &[u8]) -> io::Result<bool> {
        if self.uncommitted() == 0 || self.uncommitted() > TAIL_BYTES_MAX {
            return Ok(self.uncommitted() == 0);
        }
        let mut position = self.position;
        let mut block = [0; BLOCK_BYTES];
        let line_feed: &[u8] = if closes { b"\n" } else { b"" };
        for part in [line_feed].into_iter().chain(bytes.chunks(BLOCK_BYTES)) {
            let left = usize::try_from(self.tail.saturating_sub(position));
            let count = left.unwrap_or(usize::MAX).min(part.len());
            let there = &mut block[..count];
            self.file.read_exact_at(there, position)?;
            if there.iter().zip(part).any(|(had, came)| had != came && *had != 0) {
                return Ok(false);
            }
            position += count as u64;
        }
        Ok(true)
    }
}

fn open_existing(path: &Path) -> io::Result<Option<(File, fs::Metadata)>> {
    // Neither a link is followed nor a pipe waited for.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags.bits().cast_signed());
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok(Some((file, metadata)))
    } else {
        Err(io::Error::other("it is not a file"))
    }
}

fn inode(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn ends_without_line_feed(file: &File, len: u64) -> io::Result<bool> {
    let mut last = [b'\n'];
    if len > 0 {
        file.read_exact_at(&mut last, len - 1)?;
    }
    Ok(last != *b"\n")
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    let full = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": make room, and it goes on by itself"
        }
        _ => "",
    };
    format!("cannot {what} {}: {error}{full}", path.display())
}

/// Makes a folder for the owner only, with those above it; each new name is on the
/// disk when this returns.
///
/// # Errors
///
/// As the system says.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_folder(parent)?;
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        // Another connection may have made it in between.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests;
