//! A file that is whole or not there: a checksum, a line feed, JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use tripline_api::ListenError;

const NAME: &str = "outbox";
const TEMPORARY: &str = "outbox.tmp";
/// More than a mail and all that can be remembered with it, in bytes.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What was written last; `None` when nothing ever was.
pub(super) fn read<T: DeserializeOwned>(
    directory: &Path,
) -> Result<Option<T>, ListenError> {
    let path = directory.join(NAME);
    let cannot = |error: io::Error| {
        ListenError::io(format_args!("cannot read {}", path.display()), &error)
    };
    let mut open = OpenOptions::new();
    open.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = match open.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(cannot)?;
    let damaged = || {
        ListenError::Stop(format!(
            "{} is damaged: it says which mail is being sent and up to where all was \
             mailed. Move it away and start again; what was not settled yet may then be \
             mailed twice",
            path.display()
        ))
    };
    let feed = memchr::memchr(b'\n', &bytes).ok_or_else(damaged)?;
    let (checksum, json) = (&bytes[..feed], &bytes[feed + 1..]);
    if checksum != checksum_of(json).as_bytes() {
        return Err(damaged());
    }
    serde_json::from_slice(json).map(Some).map_err(|error| {
        ListenError::Stop(format!(
            "{} is not what this version writes ({error}). Start the version that wrote it, \
             or move the file away; what was not settled yet may then be mailed twice",
            path.display()
        ))
    })
}

/// Replaces what is there. When it returns, it is on the disk.
pub(super) fn write<T: Serialize>(
    directory: &Path,
    value: &T,
) -> Result<(), ListenError> {
    let path = directory.join(NAME);
    let cannot = |error: io::Error| {
        ListenError::io(format_args!("cannot write {}", path.display()), &error)
    };
    let json =
        serde_json::to_vec(value).map_err(|error| cannot(io::Error::other(error)))?;
    let bytes = [checksum_of(&json).as_bytes(), b"\n", &json].concat();
    replace(directory, &bytes).map_err(cannot)
}

fn replace(directory: &Path, bytes: &[u8]) -> io::Result<()> {
    let handle = match File::open(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(directory)?;
            File::open(directory)?
        }
        opened => opened?,
    };
    let temporary = directory.join(TEMPORARY);
    // What a crash left. A link in its place is not followed.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut open = OpenOptions::new();
    open.write(true).create_new(true).mode(0o600);
    let mut file = open.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, directory.join(NAME))?;
    handle.sync_all()
}

/// Makes the directory, and makes its name last.
fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // Those above may be new too; there are two of ours at most.
    for above in directory.ancestors().skip(1).take(2) {
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

fn checksum_of(json: &[u8]) -> String {
    Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("listeners/mail");
        assert_eq!(read::<Vec<u64>>(&state).unwrap(), None);
        for value in [vec![1_u64, 2], vec![], vec![3]] {
            write(&state, &value).unwrap();
            assert_eq!(read(&state).unwrap(), Some(value));
        }
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join(NAME))), (0o700, 0o600));
        assert!(!state.join(TEMPORARY).exists());
    }

    #[test]
    fn what_a_crash_left_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = directory.path().join("elsewhere");
        std::fs::write(&elsewhere, "precious").unwrap();
        std::os::unix::fs::symlink(&elsewhere, directory.path().join(TEMPORARY)).unwrap();
        write(directory.path(), &7).unwrap();
        assert_eq!(read(directory.path()).unwrap(), Some(7));
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"precious");
    }

    #[test]
    fn damage_is_noticed_at_every_byte() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &vec!["some", "words"]).unwrap();
        let path = directory.path().join(NAME);
        let sound = std::fs::read(&path).unwrap();
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            let error = read::<Vec<String>>(directory.path()).unwrap_err();
            assert!(matches!(error, ListenError::Stop(_)), "{at}: {error}");
            std::fs::write(&path, &sound[..at]).unwrap();
            assert!(read::<Vec<String>>(directory.path()).is_err(), "cut at {at}");
        }
        std::fs::write(&path, &sound).unwrap();
        let error = read::<u64>(directory.path()).unwrap_err();
        assert!(error.to_string().contains("this version"), "{error}");
    }
}
