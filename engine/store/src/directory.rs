//! The state directory itself: made so that it survives a power cut, and
//! refused where a store cannot live.

use crate::LockError;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Refuses a directory that lies on another host.
///
/// SQLite's write-ahead log needs memory that all processes share and locks
/// that hold; a network file system promises neither, and the lock on the
/// state directory would not keep a daemon on a second host out. The shared
/// folders of virtual machines (9p) are refused for the same reason. FUSE is
/// let through: it may be anything, and often is a local disk in a container.
///
/// # Errors
///
/// [`LockError::Network`], or [`LockError::Io`] when the system does not say.
pub fn check_local(directory: &Path) -> Result<(), LockError> {
    let status = rustix::fs::statfs(directory)
        .map_err(|error| LockError::io("look at", directory, error.into()))?;
    // The width of the number differs between systems; 32 bits hold all that
    // are known.
    match network_file_system(status.f_type as u32) {
        Some(kind) => Err(LockError::Network { directory: directory.to_owned(), kind }),
        None => Ok(()),
    }
}

/// The name of the network file system with this magic number, which is the
/// one that statfs(2) documents.
const fn network_file_system(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517b => "SMB",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB2",
        0x0102_1997 => "9p",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x00c3_6400 => "Ceph",
        0x0bd0_0bd0 => "Lustre",
        _ => return None,
    })
}

/// Makes the directory, readable for its owner only, unless it is there.
/// Missing parents are made the same way. Each new name is on the disk when
/// this returns.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make(parent)?;
    match DirBuilder::new().mode(0o700).create(directory) {
        // Another process may have made it in between.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync(parent)
}

/// Brings the names in a directory to the disk.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_new_directory_is_private() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("a/b/state");
        make(&directory).unwrap();
        make(&directory).unwrap();
        for made in ["a", "a/b", "a/b/state"] {
            let mode = scratch.path().join(made).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{made}");
        }
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("state");
        std::fs::write(&file, "").unwrap();
        // The name exists, so it is taken for made; whoever uses it sees why
        // it cannot be used.
        assert!(make(&file.join("deeper")).is_err());
    }

    #[test]
    fn network_file_systems_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        check_local(scratch.path()).unwrap();
        assert_eq!(network_file_system(0x6969), Some("NFS"));
        assert_eq!(network_file_system(0xfe53_4d42), Some("SMB2"));
        let ext4 = 0xef53;
        assert_eq!(network_file_system(ext4), None);
        let fuse = 0x6573_5546;
        assert_eq!(network_file_system(fuse), None);
    }

    #[test]
    fn a_missing_directory_is_an_error_in_words() {
        let error = check_local(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
