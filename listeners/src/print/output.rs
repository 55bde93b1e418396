//! Where lines go: a file that is repaired, or a stream that is not.

use super::tail::{self, Found};
use crate::files;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use tripline_api::{ListenError, SourceId};

/// An open output.
pub(crate) struct Output {
    file: File,
    /// What the file is called in messages.
    name: String,
    kind: Kind,
}

enum Kind {
    /// A plain file: read, cut and synced.
    Plain {
        path: PathBuf,
        inode: (u64, u64),
        /// The directory is to be synced: the file's name is new.
        is_new: bool,
        /// Bytes that have certainly reached the disk.
        durable_bytes: u64,
        /// What is behind these bytes must go before anything is written: it
        /// is torn, or perhaps never reached the disk.
        cut_to: Option<u64>,
    },
    /// A terminal, a pipe, a device: bytes go and do not come back.
    Stream {
        /// Lines that were taken, of which a part is out already.
        rest: Vec<u8>,
    },
}

impl Output {
    /// Opens or makes a file. What a crash left torn at its end is cut off.
    pub(crate) fn file(path: &Path) -> Result<Self, ListenError> {
        let name = path.display().to_string();
        let failed = |error| ListenError::io(format_args!("cannot open {name}"), &error);
        let found = match path.metadata() {
            Ok(found) => Some(found.file_type()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let mut options = OpenOptions::new();
        options.append(true);
        if let Some(found) = found
            && !found.is_file()
        {
            if std::os::unix::fs::FileTypeExt::is_char_device(&found) {
                let file = options.open(path).map_err(failed)?;
                return Ok(Self { file, name, kind: Kind::Stream { rest: Vec::new() } });
            }
            return Err(ListenError::Stop(format!(
                "{name} is no plain file: name another, or write to \"-\" and pipe it on"
            )));
        }
        let file =
            options.read(true).create(true).mode(0o600).open(path).map_err(failed)?;
        lock(&file, &name)?;
        let metadata = file.metadata().map_err(failed)?;
        let kind = Kind::Plain {
            path: path.to_owned(),
            inode: (metadata.dev(), metadata.ino()),
            is_new: found.is_none() || metadata.len() == 0,
            durable_bytes: 0,
            cut_to: None,
        };
        let mut output = Self { file, name, kind };
        output.recover()?;
        Ok(output)
    }

    /// Standard output, without the buffer of the process, which would keep
    /// lines that were said to be out.
    pub(super) fn standard() -> Result<Self, ListenError> {
        let name = "standard output".to_owned();
        let stream = io::stdout().as_fd().try_clone_to_owned().map_err(|error| {
            ListenError::Stop(format!("{name} cannot be used: {error}"))
        })?;
        Ok(Self { file: stream.into(), name, kind: Kind::Stream { rest: Vec::new() } })
    }

    /// Appends whole lines: all of them, or, with an error, none.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), ListenError> {
        self.repair()?;
        let Kind::Plain { cut_to, .. } = &mut self.kind else {
            return self.append_to_stream(lines);
        };
        let failed =
            |error| ListenError::io(format_args!("cannot write {}", self.name), &error);
        let length = self.file.metadata().map_err(failed)?.len();
        self.file.write_all(lines).map_err(|error| {
            // Cut now, so that nobody reads half a line; where that fails too,
            // before the next write.
            *cut_to = Some(length);
            if cut(&self.file, length).is_ok() {
                *cut_to = None;
            }
            failed(error)
        })
    }

    /// Makes everything durable. After an error only what was durable before
    /// is left.
    pub(crate) fn sync(&mut self) -> Result<(), ListenError> {
        self.repair()?;
        let failed =
            |error| ListenError::io(format_args!("cannot sync {}", self.name), &error);
        let Kind::Plain { path, is_new, durable_bytes, cut_to, .. } = &mut self.kind
        else {
            return Ok(());
        };
        let length = self.file.metadata().map_err(failed)?.len();
        if let Err(error) = self.file.sync_data() {
            // The system may have thrown away what it could not write, while
            // a read still shows it.
            *cut_to = Some(*durable_bytes);
            return Err(failed(error));
        }
        *durable_bytes = length;
        if *is_new {
            sync_directory(path).map_err(failed)?;
            *is_new = false;
        }
        Ok(())
    }

    /// Whether it is a file, of which a failed sync costs what was not synced.
    pub(super) const fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Plain { .. })
    }

    /// Does what an earlier failure left to do.
    fn repair(&mut self) -> Result<(), ListenError> {
        match &mut self.kind {
            Kind::Plain { cut_to, .. } => {
                if let Some(length) = *cut_to {
                    cut(&self.file, length).map_err(|error| {
                        ListenError::io(format_args!("cannot cut {}", self.name), &error)
                    })?;
                    *cut_to = None;
                }
                Ok(())
            }
            Kind::Stream { rest } => write_rest(&mut self.file, rest, &self.name),
        }
    }

    /// The newest line of a source, or of each of its logs, where that can be
    /// told.
    pub(super) fn newest(&self, source: &SourceId) -> Result<Found, ListenError> {
        match self.kind {
            Kind::Plain { .. } => tail::newest(&self.file, source).map_err(|error| {
                ListenError::io(format_args!("cannot read {}", self.name), &error)
            }),
            Kind::Stream { .. } => Ok(Found::Nothing),
        }
    }

    /// Whether the path still names this file: it may have been renamed.
    pub(crate) fn is_in_place(&self) -> bool {
        match &self.kind {
            Kind::Plain { path, inode, .. } => {
                path.metadata().is_ok_and(|found| (found.dev(), found.ino()) == *inode)
            }
            Kind::Stream { .. } => true,
        }
    }

    /// Cuts off what a crash or a power loss left behind the last whole line.
    fn recover(&mut self) -> Result<(), ListenError> {
        let name = &self.name;
        let failed = |error| ListenError::io(format_args!("cannot read {name}"), &error);
        if !tail::is_ours(&self.file).map_err(failed)? {
            return Err(ListenError::Stop(format!(
                "{name} holds something else than lines of this listener: move it away, \
                 or name another file"
            )));
        }
        let whole = tail::whole_bytes(&self.file).map_err(failed)?;
        cut(&self.file, whole).and_then(|()| self.file.sync_data()).map_err(|error| {
            ListenError::io(format_args!("cannot cut {name}"), &error)
        })?;
        if let Kind::Plain { durable_bytes, .. } = &mut self.kind {
            *durable_bytes = whole;
        }
        Ok(())
    }

    /// Lines of which a part is out cannot be taken back, so the remainder is
    /// kept, and goes out before anything else.
    fn append_to_stream(&mut self, lines: &[u8]) -> Result<(), ListenError> {
        let Kind::Stream { rest } = &mut self.kind else { return Ok(()) };
        match write_some(&mut self.file, lines) {
            (_, Ok(())) => Ok(()),
            (0, Err(error)) => Err(stream_failed(&self.name, &error)),
            (written, Err(_)) => {
                rest.extend_from_slice(&lines[written..]);
                Ok(())
            }
        }
    }
}

fn lock(file: &File, name: &str) -> Result<(), ListenError> {
    if files::lock(file) {
        return Ok(());
    }
    Err(ListenError::Stop(format!(
        "another listener writes to {name}: give each one a file of its own"
    )))
}

/// Makes the file no longer than `length`. It may be shorter by now: others
/// truncate it as a way to rotate it.
fn cut(file: &File, length: u64) -> io::Result<()> {
    if file.metadata()?.len() > length { file.set_len(length) } else { Ok(()) }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

fn write_rest(
    file: &mut File,
    rest: &mut Vec<u8>,
    name: &str,
) -> Result<(), ListenError> {
    let (written, result) = write_some(file, rest);
    rest.drain(..written);
    result.map_err(|error| stream_failed(name, &error))
}

/// Writes as much as goes, and says how much that was.
fn write_some(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

fn stream_failed(name: &str, error: &io::Error) -> ListenError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return ListenError::Stop(format!(
            "nobody reads {name} any more: start again with a reader, or write to a file"
        ));
    }
    ListenError::io(format_args!("cannot write {name}"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"{\"id\":\"p4/1/0\"}\n";

    #[test]
    fn a_pipe_without_a_reader_stops() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let kind = Kind::Stream { rest: Vec::new() };
        let mut output = Output { file, name: "a pipe".into(), kind };
        let error = output.append(LINE).unwrap_err();
        assert!(matches!(error, ListenError::Stop(_)), "{error}");
        assert!(error.to_string().contains("nobody reads"), "{error}");
        output.sync().unwrap();
    }

    #[test]
    fn a_device_takes_lines_and_is_not_cut() {
        let mut output = Output::file(Path::new("/dev/null")).unwrap();
        output.append(LINE).unwrap();
        output.sync().unwrap();
        assert!(output.is_in_place());
        let full = Output::file(Path::new("/dev/full")).unwrap().append(LINE);
        assert!(matches!(full, Err(ListenError::Retry(_))));
    }

    #[test]
    fn a_failed_write_leaves_whole_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let mut output = Output::file(&path).unwrap();
        output.append(LINE).unwrap();
        output.sync().unwrap();
        output.append(LINE).unwrap();
        // As after a sync that failed.
        let Kind::Plain { cut_to, durable_bytes, .. } = &mut output.kind else {
            panic!()
        };
        assert_eq!(*durable_bytes, LINE.len() as u64);
        *cut_to = Some(*durable_bytes);
        output.append(b"{\"id\":\"p4/1/9\"}\n").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"id\":\"p4/1/0\"}\n{\"id\":\"p4/1/9\"}\n");
    }

    #[test]
    fn a_file_that_others_cut_is_not_made_longer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let mut output = Output::file(&path).unwrap();
        output.append(&LINE.repeat(3)).unwrap();
        output.sync().unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        output.append(LINE).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), LINE);
    }

    #[test]
    fn one_writer_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let _first = Output::file(&path).unwrap();
        let second = Output::file(&path).err().unwrap();
        assert!(second.to_string().contains("another listener"), "{second}");
    }
}
