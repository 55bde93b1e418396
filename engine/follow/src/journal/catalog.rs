//! Which files there are, and what each says of itself.

use super::names::{Hint, hint};
use crate::archive::{Archive, ArchiveError, Format, Limits};
use crate::file::{self, Stamp};
use p4journal::Head;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tripline_api::{Digest, Proof, SourceError};

/// A file that may be one of the journals.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) stamp: Stamp,
    pub(crate) hint: Hint,
    pub(crate) gzip: bool,
    pub(crate) content: Content,
}

/// What the first bytes of a file say, and the last where that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A journal. `number` is the one inside; a first journal has none.
    Journal {
        number: Option<u64>,
        header_time: Option<i64>,
        /// The server's root, as the header has it: it tells two servers apart
        /// that rotate into one folder.
        origin: Option<Vec<u8>>,
        head: Vec<u8>,
    },
    /// Nothing yet, or too little to tell.
    NotYet,
    /// Something else: a checkpoint, a log. It is left alone.
    Other,
    /// It cannot be read, and why.
    Unreadable(String),
}

/// What reading a compressed file to its end, or the end of a plain one, told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    /// End mark and checksum hold; with the number of the next journal when it
    /// ends with a trailer, and its length in bytes, decompressed.
    Yes { next: Option<u64>, length: u64 },
    /// It ends too early, and how.
    No(String),
}

/// The journals in their folders, remembered between two looks.
#[derive(Debug)]
pub(crate) struct Catalog {
    live: PathBuf,
    directories: Vec<PathBuf>,
    known: HashMap<PathBuf, Found>,
    whole: HashMap<PathBuf, (Stamp, Whole)>,
}

impl Catalog {
    /// How many files that may be journals are looked at in each folder.
    const FILES_MAX: usize = 100_000;
    /// How much of a file's start is read, in bytes: enough for any header.
    const HEAD_BYTES: usize = 64 * 1024;

    pub(crate) fn new(live: PathBuf, rotated: &[PathBuf]) -> Self {
        let mut directories = vec![parent_of(&live)];
        for directory in rotated {
            if !directories.contains(directory) {
                directories.push(directory.clone());
            }
        }
        Self { live, directories, known: HashMap::new(), whole: HashMap::new() }
    }

    pub(crate) fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// The configured folders that are not there.
    pub(crate) fn missing_folders(&self) -> Vec<&Path> {
        let folders = self.directories.iter().map(PathBuf::as_path);
        folders.filter(|folder| !folder.is_dir()).collect()
    }

    /// What the folders look like from outside: equal looks mean that no file
    /// came, went or was renamed in between. `None` when they changed so
    /// lately that a further change might not show.
    pub(crate) fn look(&self) -> Option<Vec<Option<SystemTime>>> {
        /// Coarser than the clock that local file systems stamp with.
        const GRAIN: Duration = Duration::from_millis(50);
        let now = SystemTime::now();
        let mut times = Vec::new();
        for directory in &self.directories {
            let time = std::fs::metadata(directory).and_then(|m| m.modified()).ok();
            if let Some(time) = time
                && now.duration_since(time).is_ok_and(|age| age < GRAIN)
            {
                return None;
            }
            times.push(time);
        }
        Some(times)
    }

    /// Looks at all files: the live one first, then by name. One file under
    /// several names counts once.
    pub(crate) fn scan(&mut self) -> Result<Vec<Found>, SourceError> {
        let mut found: Vec<Found> = Vec::new();
        for directory in self.directories.clone() {
            for (path, hint) in self.names_in(&directory)? {
                if let Some(file) = self.inspect(path, hint)
                    && !matches!(file.content, Content::Other)
                {
                    found.push(file);
                }
            }
        }
        found.sort_by(|a, b| {
            (a.hint != Hint::Live, &a.path).cmp(&(b.hint != Hint::Live, &b.path))
        });
        let mut inodes = HashSet::new();
        found.retain(|file| inodes.insert(file.stamp.inode));
        let paths: HashSet<_> = found.iter().map(|file| &file.path).collect();
        self.known.retain(|path, _| paths.contains(path));
        self.whole.retain(|path, _| paths.contains(path));
        Ok(found)
    }

    /// What is remembered of a file's end, if it has not changed since.
    pub(crate) fn whole(&self, found: &Found) -> Option<&Whole> {
        let (stamp, whole) = self.whole.get(&found.path)?;
        (*stamp == found.stamp).then_some(whole)
    }

    pub(crate) fn remember_whole(&mut self, found: &Found, whole: Whole) {
        self.whole.insert(found.path.clone(), (found.stamp, whole));
    }

    fn names_in(&self, directory: &Path) -> Result<Vec<(PathBuf, Hint)>, SourceError> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => {
                let what = format!("cannot list the folder {}", directory.display());
                return Err(SourceError::io(what, e));
            }
        };
        let holds_live = directory == self.directories[0];
        let live = self.live.file_name().and_then(|n| n.to_str()).filter(|_| holds_live);
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| {
                SourceError::io(format!("cannot list {}", directory.display()), e)
            })?;
            // A name that is no text cannot be one that p4d gave.
            let name = entry.file_name();
            if let Some(hint) = name.to_str().and_then(|name| hint(name, live)) {
                names.push((entry.path(), hint));
            }
            if names.len() > Self::FILES_MAX {
                return Err(SourceError::new(format!(
                    "{} has more than {} files that may be journals: keep the rotated \
                     journals in a folder of their own",
                    directory.display(),
                    Self::FILES_MAX
                )));
            }
        }
        Ok(names)
    }

    /// `None` when the file is gone meanwhile or is no regular file.
    fn inspect(&mut self, path: PathBuf, hint: Hint) -> Option<Found> {
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
            Err(e) => {
                let content = Content::Unreadable(e.to_string());
                let stamp = Stamp::unknown();
                return Some(Found { path, stamp, hint, gzip: false, content });
            }
        };
        if !metadata.is_file() {
            return None;
        }
        let stamp = Stamp::of(&metadata);
        if let Some(known) = self.known.get(&path)
            && (known.stamp == stamp || still_the_same(known, &stamp))
        {
            return Some(Found { stamp, ..known.clone() });
        }
        let mut found =
            Found { path, stamp, hint, gzip: false, content: Content::NotYet };
        match read_content(&found.path) {
            Ok((gzip, content)) => {
                found.gzip = gzip;
                found.content = content;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
            Err(e) => {
                // Not remembered: it may be readable at the next look.
                found.content = Content::Unreadable(e.to_string());
                return Some(found);
            }
        }
        self.known.insert(found.path.clone(), found.clone());
        Some(found)
    }
}

impl Found {
    /// The number inside, if it has one.
    pub(crate) const fn number(&self) -> Option<u64> {
        match &self.content {
            Content::Journal { number, .. } => *number,
            _ => None,
        }
    }

    pub(crate) fn header_time(&self) -> Option<i64> {
        match &self.content {
            Content::Journal { header_time, .. } => *header_time,
            _ => None,
        }
    }

    pub(crate) fn origin(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Journal { origin, .. } => origin.as_deref(),
            _ => None,
        }
    }

    /// Whether the file starts as the one a proof was made of.
    pub(crate) fn starts_as(&self, proof: &Digest) -> bool {
        match &self.content {
            Content::Journal { head, .. } => {
                head.get(..proof.len as usize).is_some_and(|head| proof.matches(head))
            }
            _ => false,
        }
    }
}

/// A file that only grew keeps its content: its head was read already. A file
/// cut short and written anew may have grown too, so only the plain files whose
/// head is looked at again by the reader itself are trusted this far.
fn still_the_same(known: &Found, now: &Stamp) -> bool {
    !known.gzip
        && known.stamp.inode == now.inode
        && known.stamp.size < now.size
        && match &known.content {
            Content::Journal { head, .. } => {
                head.len() == Proof::HEAD_BYTES_MAX && head_of(&known.path, head)
            }
            _ => false,
        }
}

fn head_of(path: &Path, head: &[u8]) -> bool {
    let mut now = vec![0; head.len()];
    file::open(path)
        .and_then(|file| file::read_at(&file, &mut now, 0))
        .is_ok_and(|n| n == head.len() && now == head)
}

fn read_content(path: &Path) -> io::Result<(bool, Content)> {
    let file = file::open(path)?;
    let mut bytes = vec![0; 4096];
    // Journals are compressed by p4d, and it has gzip alone.
    let gzip = Format::of_file(&file)? == Some(Format::Gzip);
    let mut n = peek(&file, gzip, &mut bytes)?;
    let mut head = Head::read(&bytes[..n]);
    if matches!(head, Head::NeedMore) && n == bytes.len() {
        bytes.resize(Catalog::HEAD_BYTES, 0);
        n = peek(&file, gzip, &mut bytes)?;
        head = Head::read(&bytes[..n]);
    }
    bytes.truncate(n);
    let (number, header) = match head {
        Head::Numbered { number, header } => (Some(number), header),
        Head::Unnumbered { header } => (None, header),
        // A first record longer than any header: no header, no number.
        Head::NeedMore if n == Catalog::HEAD_BYTES => (None, None),
        Head::NeedMore => return Ok((gzip, Content::NotYet)),
        Head::Checkpoint { .. } | Head::NotAJournal => {
            return Ok((gzip, Content::Other));
        }
    };
    bytes.truncate(Proof::HEAD_BYTES_MAX);
    let header_time = header.as_ref().map(|header| header.time);
    let origin = header.map(|header| origin_of(&header.root));
    Ok((gzip, Content::Journal { number, header_time, origin, head: bytes }))
}

/// A server on Windows spells its root now this way, now that.
fn origin_of(root: &[u8]) -> Vec<u8> {
    let mut root = root.to_ascii_lowercase();
    root.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
    root
}

fn peek(file: &File, gzip: bool, bytes: &mut [u8]) -> io::Result<usize> {
    if !gzip {
        return file::read_at(file, bytes, 0);
    }
    // A mistake behind these bytes is not met here.
    match Archive::new(file.try_clone()?, Format::Gzip, Limits::default()).fill(bytes) {
        // Too little of it is there to decompress anything.
        Err(ArchiveError::Cut) => Ok(0),
        other => Ok(other?),
    }
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
