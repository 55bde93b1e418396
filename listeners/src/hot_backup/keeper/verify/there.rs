//! The backup's files, over SSH or on this machine.

use crate::hot_backup::standby::Standby;
use crate::ssh::{Code, Failure, Kind, Open, Taken};
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tripline_api::ListenError;

const CHUNK_BYTES: usize = 256 * 1024;
/// So long is waited for bytes before it is looked again; the connection knows
/// when it is over.
const WAIT: Duration = Duration::from_secs(1);
const CHECKSUM_BYTES_MAX: u64 = 4096;

/// A backup that is looked at.
pub(in crate::hot_backup) enum There {
    Over(Box<Standby>),
    Here(PathBuf),
}

impl There {
    pub(super) fn over(standby: Standby) -> Self {
        Self::Over(Box::new(standby))
    }

    /// The plain files in its directory.
    pub(super) fn names(&mut self) -> Result<Vec<String>, ListenError> {
        let mut names = match self {
            Self::Over(standby) => {
                let ticket = standby.sftp.list(standby.below(b""));
                let names = standby.ask(&ticket)?;
                let files = names.into_iter().filter(|it| it.attributes.is_file());
                files.filter_map(|it| String::from_utf8(it.name).ok()).collect()
            }
            Self::Here(folder) => names_here(folder).map_err(|error| {
                ListenError::Stop(format!("cannot list {}: {error}", folder.display()))
            })?,
        };
        names.sort();
        Ok(names)
    }

    /// Reads a file through; `false` where it is not there.
    pub(super) fn read(
        &mut self,
        name: &[u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, ListenError> {
        match self {
            Self::Over(standby) => Ok(read_over(standby, name, take)?),
            Self::Here(folder) => {
                let path = folder.join(OsStr::from_bytes(name));
                read_here(&path, take).map_err(|error| {
                    ListenError::Stop(format!("cannot read {}: {error}", path.display()))
                })
            }
        }
    }

    /// What the file `NAME.sha256` says.
    pub(super) fn checksum(&mut self, name: &str) -> Result<Option<String>, ListenError> {
        let mut text = Vec::new();
        let name = format!("{name}.sha256");
        self.read(name.as_bytes(), &mut |bytes| {
            let room = CHECKSUM_BYTES_MAX.saturating_sub(text.len() as u64) as usize;
            text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        })?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let sum = text.split_whitespace().next().unwrap_or_default();
        Ok((sum.len() == 64).then(|| sum.to_ascii_lowercase()))
    }
}

fn names_here(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in folder.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    Ok(names)
}

fn read_over(
    standby: &mut Standby,
    name: &[u8],
    take: &mut dyn FnMut(&[u8]),
) -> Result<bool, Failure> {
    let file = match standby.open_below(name, Open::READ) {
        Ok(file) => file,
        Err(failure) if failure.kind() == Kind::Refused(Code::NoSuchFile) => {
            return Ok(false);
        }
        Err(failure) => return Err(failure),
    };
    let mut reading = standby.sftp.read(file, 0..u64::MAX);
    loop {
        match standby.sftp.take(&mut reading, Instant::now() + WAIT)? {
            Taken::Bytes(bytes) => take(&bytes),
            Taken::NotYet => {}
            Taken::End => break,
        }
    }
    standby.close(file)?;
    Ok(true)
}

fn read_here(path: &Path, take: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
    let mut file = match crate::checkpoint::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(count) => take(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
