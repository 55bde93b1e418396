//! `Touch`: a file is made, or its time is made new.

use rustix::fd::OwnedFd;
use rustix::fs::{
    FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, fstat, futimens, open,
    openat,
};
use rustix::io::Errno;
use std::path::Path;

/// Makes the file in the directory, which must be there, or makes its time new. Nothing but
/// a plain file with this one name is touched, and nothing outside of the directory.
///
/// # Errors
///
/// A sentence: what is in the way.
pub(crate) fn touch(dir: &Path, file: &str) -> Result<(), String> {
    if file.is_empty() || file == "." || file == ".." || file.contains(['/', '\0']) {
        return Err(format!("{file:?} is no name of a file in a directory"));
    }
    let shown = dir.join(file);
    let shown = shown.to_string_lossy();
    let shown = shown.escape_debug();
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let directory = open(dir, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOENT => format!("there is no directory {}: make it", dir.display()),
        Errno::NOTDIR => format!("{} is no directory", dir.display()),
        error => format!("cannot open the directory {}: {error}", dir.display()),
    })?;
    let opened = make_or_find(&directory, file).map_err(|error| match error {
        Errno::LOOP => format!("{shown} is a symbolic link: take it away"),
        // A pipe that nobody reads.
        Errno::NXIO => format!("{shown} is no plain file: take it away"),
        Errno::NAMETOOLONG => format!("{shown} has a name that is too long for a file"),
        error => format!("cannot touch {shown}: {error}"),
    })?;
    let about =
        fstat(&opened).map_err(|error| format!("cannot touch {shown}: {error}"))?;
    if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
        return Err(format!("{shown} is no plain file: take it away"));
    }
    if about.st_nlink > 1 {
        return Err(format!("{shown} is another file's name too: take it away"));
    }
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    futimens(&opened, &Timestamps { last_access: now, last_modification: now })
        .map_err(|error| format!("cannot touch {shown}: {error}"))
}

/// Others may make it and take it away meanwhile.
fn make_or_find(directory: &OwnedFd, file: &str) -> Result<OwnedFd, Errno> {
    let mut result = Err(Errno::NOENT);
    for _ in 0..TRIED_MAX {
        result = make(directory, file);
        if !matches!(result, Err(Errno::EXIST)) {
            break;
        }
        result = find(directory, file);
        if !matches!(result, Err(Errno::NOENT)) {
            break;
        }
    }
    result
}

const TRIED_MAX: usize = 100;

fn make(directory: &OwnedFd, file: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    openat(directory, file, flags | OFlags::NOFOLLOW, Mode::from_raw_mode(0o644))
}

/// One that is there. It is not made here: the system refuses that for files of others in
/// directories such as `/tmp`.
fn find(directory: &OwnedFd, file: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // What is no plain file must not hold us up.
    openat(directory, file, flags | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())
}
