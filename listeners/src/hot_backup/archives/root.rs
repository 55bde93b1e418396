//! Where the server keeps its versioned files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The server's archives.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    root: PathBuf,
    /// Depots that are elsewhere.
    depots: BTreeMap<String, PathBuf>,
    /// Whether the server folds case, once a journal has said so.
    pub(crate) folds: Option<bool>,
}

/// A versioned file that was found.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) file: File,
    pub(crate) stamp: Stamp,
    /// Its name below the root, as it is: a server that folds case writes it in
    /// small letters.
    pub(crate) name: Vec<u8>,
    path: PathBuf,
}

/// What tells two states of a file apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: (u64, u64),
    pub(crate) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Root {
    pub(crate) const fn new(root: PathBuf, depots: BTreeMap<String, PathBuf>) -> Self {
        Self { root, depots, folds: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// Opens a versioned file.
    ///
    /// # Errors
    ///
    /// In words, why it cannot be.
    pub(crate) fn open(&self, name: &[u8]) -> Result<Located, String> {
        let small = name.to_ascii_lowercase();
        let may_fold = self.folds != Some(false) && small != name;
        let mut candidates = vec![name.to_vec()];
        if may_fold {
            candidates.push(small);
        }
        for name in candidates {
            let path = self.path_of(&name);
            match crate::checkpoint::open(&path) {
                Ok(file) => {
                    let stamp = Stamp::of_file(&file)
                        .map_err(|error| cannot("look at", &path, &error))?;
                    return Ok(Located { file, stamp, name, path });
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(cannot("read", &path, &error)),
            }
        }
        Err(format!("there is no {}", self.path_of(name).display()))
    }

    fn path_of(&self, name: &[u8]) -> PathBuf {
        let end = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
        let (depot, rest) = name.split_at(end);
        let elsewhere = std::str::from_utf8(depot).ok().and_then(|depot| {
            let is_it = |it: &&String| it.eq_ignore_ascii_case(depot);
            let folded = || self.depots.keys().find(is_it);
            let key = self.depots.get_key_value(depot).map(|(key, _)| key);
            let key = key.or_else(|| folded().filter(|_| self.folds == Some(true)));
            key.and_then(|key| self.depots.get(key))
        });
        match (elsewhere, rest) {
            (Some(folder), [b'/', rest @ ..]) => folder.join(OsStr::from_bytes(rest)),
            _ => self.root.join(OsStr::from_bytes(name)),
        }
    }
}

impl Located {
    /// Whether it is still the file of that name, and nobody wrote to it.
    pub(crate) fn is_unchanged(&self) -> bool {
        let by_name = self.path.metadata().map(|it| Stamp::of(&it));
        let by_file = Stamp::of_file(&self.file);
        by_name.is_ok_and(|it| it == self.stamp)
            && by_file.is_ok_and(|it| it == self.stamp)
    }
}

impl Stamp {
    fn of_file(file: &File) -> io::Result<Self> {
        file.metadata().map(|it| Self::of(&it))
    }

    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}
