//! The file of a private key.

use super::failure::{Failure, Kind};
use std::fs::File;
use std::path::Path;
use tripline_relay::secret::{self, Refused};

/// No private key is longer.
#[cfg(feature = "ssh2")]
const KEY_BYTES_MAX: u64 = 64 * 1024;

/// Opens a private key's file, if nobody else may read it.
///
/// # Errors
///
/// When it cannot be read, is no plain file, or others have a right to it.
pub(super) fn open(path: &Path) -> Result<File, Failure> {
    secret::open_private(path).map_err(|refused| {
        let repair = match &refused {
            Refused::Missing(path) => {
                format!(": make one by `ssh-keygen -t ed25519 -f {path}`")
            }
            Refused::Other(_) => String::new(),
        };
        Failure::new(Kind::Setup, format!("the key: {refused}{repair}"))
    })
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
