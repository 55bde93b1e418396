//! Paths and files that a configuration names.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The path without symbolic links, `.` and `..`, as far as it is there: two spellings of one
/// place become the same, also of a file that is still to be written.
pub fn resolved(path: &Path) -> PathBuf {
    let (mut at, mut rest) = (path, Vec::new());
    loop {
        if let Ok(known) = at.canonicalize() {
            return known.join(rest.iter().rev().collect::<PathBuf>());
        }
        match (at.parent(), at.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name);
                at = parent;
            }
            // `components` drops what does not matter, such as a `/` at the end.
            _ => return path.components().collect(),
        }
    }
}

/// A file with a secret, which a listener reads whenever it needs it.
#[derive(Clone)]
pub struct SecretFile {
    /// The argument that names it.
    pub argument: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// Reads it, and says in words what keeps it from being used: without anything that is
    /// in it.
    pub read: fn(&Path) -> Result<(), String>,
}

/// What looking at a file with a secret shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It can be used.
    Fine,
    /// It is not for us to know: whoever uses it may read it.
    Unknown,
    /// It is not there, which may be otherwise on another machine.
    Missing,
    /// It cannot be used, in words.
    Wrong(String),
}

impl SecretFile {
    /// Looks whether it can be used.
    pub fn look(&self) -> Looked {
        // What is no file may be waited for.
        let found =
            std::fs::metadata(&self.path).and_then(|about| match about.is_file() {
                true => File::open(&self.path).map(drop),
                false => Ok(()),
            });
        match found.map_err(|error| error.kind()) {
            Err(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Looked::Missing
            }
            Err(io::ErrorKind::PermissionDenied) => Looked::Unknown,
            _ => (self.read)(&self.path).map_or_else(Looked::Wrong, |()| Looked::Fine),
        }
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { argument, path, .. } = self;
        f.debug_struct("SecretFile").field(argument, path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn one_place_has_one_path() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        std::fs::create_dir_all(folder.join("a/b")).unwrap();
        symlink(folder.join("a"), folder.join("link")).unwrap();
        let at = |path: &str| resolved(&folder.join(path));
        let wanted = folder.canonicalize().unwrap().join("a/b/new/file");
        for spelling in [
            "a/b/new/file",
            "./a/./b//new/file",
            "link/b/new/file/",
            "a/b/../b/new/file",
            "link/../a/b/new/file",
        ] {
            // Behind a link `..` leads to where it points.
            assert_eq!(at(spelling), wanted, "{spelling}");
        }
        assert_ne!(at("a/b/new/file"), at("a/b/new/other"));
        assert_eq!(resolved(Path::new("")), PathBuf::new());
        assert_eq!(resolved(Path::new("/no/such/./dir/")), Path::new("/no/such/dir"));
    }
}
