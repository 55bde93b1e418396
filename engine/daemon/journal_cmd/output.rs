//! The checkpoint that `apply` writes.

use anyhow::Context as _;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tripline_diagnose::shown;

/// A file that appears under its name only when it is complete. What is no
/// regular file, such as a pipe or a device, cannot: it is written straight
/// into.
pub(super) struct Output {
    pub(super) file: File,
    pending: Option<Pending>,
}

/// A file that has not got its name yet.
struct Pending {
    temporary: PathBuf,
    path: PathBuf,
}

impl Output {
    /// Begins to write. The file may be read by those who may read
    /// `checkpoint`: it holds the same hashes of passwords.
    pub(super) fn create(path: &Path, checkpoint: &Path) -> anyhow::Result<Self> {
        Self::begin(path, mode_like(checkpoint))
            .with_context(|| format!("cannot write `{}`", shown(path)))
    }

    fn begin(path: &Path, mode: u32) -> io::Result<Self> {
        let path = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                return Err(io::Error::other("it is a directory"));
            }
            Ok(metadata) if !metadata.is_file() => {
                let file = File::options().write(true).open(path)?;
                return Ok(Self { file, pending: None });
            }
            Ok(_) => fs::canonicalize(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => end_of_links(path)?,
            Err(error) => return Err(error),
        };
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        remove_left_behind(&path, name);
        let mut temporary = name.to_owned();
        temporary.push(format!(".{}.part", std::process::id()));
        let temporary = path.with_file_name(temporary);
        let file =
            File::options().write(true).create_new(true).mode(mode).open(&temporary)?;
        // So that others see that it is in use. Where there are no locks nobody
        // takes it for left behind, either.
        _ = file.try_lock();
        Ok(Self { file, pending: Some(Pending { temporary, path }) })
    }

    /// Whether nothing is under the name yet.
    pub(super) const fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let Some(Pending { temporary, path }) = &self.pending else { return Ok(()) };
        let finished = self.file.sync_all().and_then(|()| {
            fs::rename(temporary, path)?;
            // The name is as durable as the directory it is in.
            File::open(directory_of(path))?.sync_all()
        });
        finished.with_context(|| format!("cannot write `{}`", shown(path)))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(pending) = &self.pending {
            // Once it has its own name it is not there any more.
            _ = fs::remove_file(&pending.temporary);
        }
    }
}

/// Who may read and write a file like this one. Of what is no regular file
/// nothing is known: then only its owner.
fn mode_like(path: &Path) -> u32 {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.permissions().mode() & 0o666,
        _ => 0o600,
    }
}

/// Where links lead that end at a file which does not exist yet.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(target) => path = directory_of(&path).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("its links lead in a circle"))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes what runs that were killed have left behind. What is still being
/// written is locked.
fn remove_left_behind(path: &Path, name: &OsStr) {
    let Ok(entries) = fs::read_dir(directory_of(path)) else { return };
    for entry in entries.flatten() {
        let is_part = entry
            .file_name()
            .as_encoded_bytes()
            .strip_prefix(name.as_encoded_bytes())
            .and_then(|rest| rest.strip_prefix(b"."))
            .and_then(|rest| rest.strip_suffix(b".part"))
            .is_some_and(|pid| !pid.is_empty() && pid.iter().all(u8::is_ascii_digit));
        if is_part && File::open(entry.path()).is_ok_and(|it| it.try_lock().is_ok()) {
            // If it cannot be removed it is only in the way of space.
            _ = fs::remove_file(entry.path());
        }
    }
}

/// As many links as the system follows.
const LINKS_MAX: usize = 40;
