//! The file of a private key.

use super::failure::{Failure, Kind};
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// No private key is longer.
#[cfg(feature = "ssh2")]
const KEY_BYTES_MAX: u64 = 64 * 1024;

/// Opens a private key's file, if nobody else may read it.
///
/// # Errors
///
/// When it cannot be read, is no plain file, or others have a right to it.
pub(super) fn open(path: &Path) -> Result<File, Failure> {
    let refuse = |why: &str| {
        Err(Failure::new(Kind::Setup, format!("the key file {} {why}", path.display())))
    };
    // One that is no plain file might wait for a writer.
    let opened = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return refuse("does not exist: make one with `ssh-keygen -t ed25519 -f`");
        }
        Err(error) => return refuse(&format!("cannot be opened: {error}")),
    };
    let metadata = match file.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return refuse(&format!("cannot be looked at: {error}")),
    };
    if !metadata.is_file() {
        return refuse("is no plain file");
    }
    if metadata.mode() & 0o077 != 0 {
        return refuse(&format!(
            "has mode {:04o}, so others than its owner may use it: run `chmod 600 {}`",
            metadata.mode() & 0o7777,
            path.display()
        ));
    }
    Ok(file)
}

/// Reads a private key.
///
/// # Errors
///
/// As [`open`], and when it is no text or too long.
#[cfg(feature = "ssh2")]
pub(super) fn read(path: &Path) -> Result<zeroize::Zeroizing<String>, Failure> {
    use std::io::Read as _;
    let mut file = open(path)?.take(KEY_BYTES_MAX + 1);
    // Its full size from the start, so that no part of it stays behind where it
    // was before it grew.
    let mut text = zeroize::Zeroizing::new(String::new());
    text.reserve_exact(KEY_BYTES_MAX as usize + 2);
    let why = match file.read_to_string(&mut text) {
        Ok(length) if length as u64 <= KEY_BYTES_MAX => return Ok(text),
        Ok(_) => "is too long for a private key".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    Err(Failure::new(Kind::Setup, format!("the key file {} {why}", path.display())))
}
