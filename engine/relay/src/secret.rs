//! Small files that are read whenever they are needed: certificates, keys, passwords,
//! tokens. All who read secrets open them here, and say the same of those that they refuse.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// No certificate, key or token is longer.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads a file that everybody may know.
///
/// # Errors
///
/// In words.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_open(&open(path)?, path)
}

/// Reads a file that nobody else may read.
///
/// # Errors
///
/// In words, also when its mode lets others read it. What is in it is in no
/// message.
pub fn read_private(path: &Path) -> Result<Vec<u8>, String> {
    let file = open_private(path).map_err(|refused| refused.to_string())?;
    read_open(&file, path)
}

/// A file with a secret that is not used, and why: without anything that is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("there is no file {0}")]
    Missing(String),
    /// In words, with its path.
    #[error("{0}")]
    Other(String),
}

/// Opens a file that nobody else may read.
///
/// # Errors
///
/// When it is not there, is no file, or its mode lets others read it.
pub fn open_private(path: &Path) -> Result<File, Refused> {
    let missing = || Refused::Missing(path.display().to_string());
    let file = match try_open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(Refused::Other(cannot_read(path, &error))),
        Ok(file) => file,
    };
    let metadata = file.metadata();
    let metadata = metadata.map_err(|error| Refused::Other(cannot_read(path, &error)))?;
    let path = path.display();
    if !metadata.is_file() {
        return Err(Refused::Other(format!("{path} is not a file")));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Refused::Other(format!(
            "{path} is not only its owner's (its mode is {mode:04o}) and is not used: \
             chmod 600 {path}"
        )));
    }
    Ok(file)
}

fn open(path: &Path) -> Result<File, String> {
    let file = try_open(path).map_err(|error| cannot_read(path, &error))?;
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if is_file { Ok(file) } else { Err(format!("{} is not a file", path.display())) }
}

fn try_open(path: &Path) -> io::Result<File> {
    // A pipe would be waited for.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn read_open(file: &File, path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = file.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| cannot_read(path, &error))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("{} is longer than {BYTES_MAX} bytes", path.display()));
    }
    Ok(bytes)
}

fn cannot_read(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_others_may_read_is_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "hush").unwrap();
        for (mode, is_fine) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
            (0o777, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let found = read_private(&path);
            assert_eq!(found.is_ok(), is_fine, "{mode:o}");
            if let Err(why) = found {
                assert!(why.contains("chmod 600") && !why.contains("hush"), "{why}");
            }
            assert_eq!(read(&path).unwrap(), b"hush");
        }
    }

    #[test]
    fn only_files_of_a_size_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert!(read(&at("none")).unwrap_err().contains("cannot read"));
        assert!(read_private(&at("none")).unwrap_err().contains("there is no file"));
        assert!(matches!(open_private(&at("none")), Err(Refused::Missing(_))));
        let other = open_private(directory.path());
        assert!(matches!(other, Err(Refused::Other(_))), "{other:?}");
        assert!(read(directory.path()).unwrap_err().contains("is not a file"));
        let pipe = at("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)
            .unwrap();
        assert!(read_private(&pipe).unwrap_err().contains("is not a file"));
        let long = File::create(at("long")).unwrap();
        long.set_len(BYTES_MAX + 1).unwrap();
        assert!(read(&at("long")).unwrap_err().contains("longer than"));
    }
}
