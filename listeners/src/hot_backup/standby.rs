//! The directory on the standby, over one connection.
//!
//! | file               | is                                                  |
//! |--------------------|-----------------------------------------------------|
//! | `journal`          | the journal that is being written                   |
//! | `journal.N`        | a finished one                                      |
//! | `….unfinished`     | one whose end did not come, because of a gap        |
//! | `journal.N.sha256` | its checksum, as `sha256sum -c` reads it            |
//! | `applied`          | up to where everything is applied, with `replay`    |
//! | `replay.…`         | of the run of its command, see `replay/run.rs`      |
//! | `….tmp`            | a file that was being written when something broke  |
//!
//! Every change here can be broken off anywhere: the next connection finds out
//! from the files how far it came.

mod paths;

pub(super) use paths::Folders;

use super::resume::Holdings;
use crate::ssh::{
    Attributes, Code, Extension, Failure, FileId, FromAnswer, Kind, Name, Open, Settings,
    Sftp, Taken, Ticket,
};
use p4journal::Head;
use std::ops::Range;
use std::time::{Duration, Instant};
use tripline_api::ListenError;

/// One question and its answer may take so long; a standby that needs longer is
/// called again.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How much of a journal's start is read to tell its number.
const HEAD_BYTES: u64 = 64 * 1024;
/// The name of the journal that grows.
pub(super) const CURRENT: &str = "journal";

/// The standby's directory.
pub(super) struct Standby {
    pub(super) sftp: Sftp,
    directory: String,
    /// For messages.
    pub(super) name: String,
}

/// What was found in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) holdings: Holdings,
    /// The size of `journal`, where it is there.
    pub(super) size: Option<u64>,
    /// `journal` does not say its number: it is a server's first.
    pub(super) is_unnumbered: bool,
    /// The finished journal with the lowest number.
    pub(super) lowest: Option<u64>,
}

impl Standby {
    /// Begins a connection.
    pub(super) fn begin(settings: &Settings) -> Result<Self, Failure> {
        let mut transport = settings.transport()?;
        let sftp = Sftp::begin(&mut *transport, settings)?;
        let directory = settings.address.path.trim_end_matches('/');
        Ok(Self {
            sftp,
            directory: directory.to_owned(),
            name: settings.address.to_string(),
        })
    }

    /// Goes on connecting; whether it stands.
    pub(super) fn connect(&mut self, until: Instant) -> Result<bool, Failure> {
        if !self.sftp.connect(until)? {
            return Ok(false);
        }
        self.sftp.needs(&[Extension::Fsync, Extension::PosixRename])?;
        Ok(true)
    }

    /// Looks at what is there, and makes the directory where it is missing.
    pub(super) fn look(&mut self) -> Result<Found, ListenError> {
        let list = |it: &mut Self| {
            let ticket = it.sftp.list(&it.directory);
            it.ask(&ticket)
        };
        let names = match list(self) {
            Err(failure) if failure.kind() == Kind::Refused(Code::NoSuchFile) => {
                self.make_home()?;
                list(self)?
            }
            names => names?,
        };
        let number = |name: &[u8]| -> Option<u64> {
            let digits = name.strip_prefix(b"journal.")?;
            let is_number = digits.iter().all(u8::is_ascii_digit);
            std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
        };
        // What is found is about to be relied on.
        self.sync_names()?;
        let mut numbers: Vec<_> =
            names.iter().filter_map(|it| number(&it.name)).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let lowest = numbers.last().copied();
        let mut newest = None;
        for number in numbers.into_iter().take(NUMBERS_MAX) {
            if self.is_journal(number)? {
                newest = Some(number);
                break;
            }
        }
        let mut found = Found {
            lowest,
            holdings: Holdings { current: None, newest },
            ..Found::default()
        };
        if let Some(current) = names.iter().find(|it| it.name == CURRENT.as_bytes()) {
            self.look_at_current(&current.attributes, &mut found)?;
        }
        Ok(found)
    }

    /// Whether `journal.N` is the journal with that number, as it says itself.
    fn is_journal(&mut self, number: u64) -> Result<bool, ListenError> {
        let name = format!("{CURRENT}.{number}");
        let file = self.open(&name, Open::READ)?;
        let size = self.size_of(file)?;
        let head = self.read_head(file, size)?;
        self.close(file)?;
        Ok(match Head::read(until_nul(&head)) {
            Head::Numbered { number: inside, .. } => inside == number,
            Head::Unnumbered { .. } => true,
            _ => false,
        })
    }

    /// Which journal the growing file is.
    fn look_at_current(
        &mut self,
        listed: &Attributes,
        found: &mut Found,
    ) -> Result<(), ListenError> {
        if !listed.is_file() {
            return Err(ListenError::Stop(format!(
                "{} on the standby is no plain file: move it away, or back up to another \
                 directory",
                self.path(CURRENT)
            )));
        }
        let file = self.open(CURRENT, Open::READ)?;
        let size = self.size_of(file)?;
        let head = self.read_head(file, size)?;
        self.close(file)?;
        found.size = Some(size);
        match Head::read(until_nul(&head)) {
            Head::Numbered { number, .. } => found.holdings.current = Some(number),
            Head::Unnumbered { .. } => found.is_unnumbered = true,
            // Not told from so little, or from the NULs of a power loss.
            Head::NeedMore if is_blank(&head, size) => {}
            Head::NeedMore | Head::Checkpoint { .. } | Head::NotAJournal => {
                return Err(ListenError::Stop(format!(
                    "{} on the standby is no journal: move it away, or back up to another \
                     directory",
                    self.path(CURRENT)
                )));
            }
        }
        Ok(())
    }

    pub(super) fn read_head(
        &mut self,
        file: FileId,
        size: u64,
    ) -> Result<Vec<u8>, Failure> {
        self.read_range(file, 0..size.min(HEAD_BYTES))
    }

    /// Reads a small part of a file.
    pub(super) fn read_range(
        &mut self,
        file: FileId,
        range: Range<u64>,
    ) -> Result<Vec<u8>, Failure> {
        let mut reading = self.sftp.read(file, range);
        let mut head = Vec::new();
        let until = Instant::now() + ANSWER_MAX;
        loop {
            match self.sftp.take(&mut reading, until)? {
                Taken::Bytes(bytes) => head.extend_from_slice(&bytes),
                Taken::End => break,
                Taken::NotYet => return Err(self.too_slow()),
            }
        }
        Ok(head)
    }

    pub(super) fn open(&mut self, name: &str, open: Open) -> Result<FileId, Failure> {
        let ticket = self.sftp.open(self.path(name), open);
        self.ask(&ticket)
    }

    /// Makes the growing file, and its name durable.
    pub(super) fn create_current(&mut self) -> Result<FileId, Failure> {
        let file = self.open(CURRENT, Open::NEW)?;
        self.sync_names()?;
        Ok(file)
    }

    pub(super) fn close(&mut self, file: FileId) -> Result<(), Failure> {
        let ticket = self.sftp.close(file);
        self.ask(&ticket)
    }

    pub(super) fn size_of(&mut self, file: FileId) -> Result<u64, Failure> {
        let ticket = self.sftp.fstat(file);
        Ok(self.ask(&ticket)?.size.unwrap_or_default())
    }

    pub(super) fn set_size(&mut self, file: FileId, size: u64) -> Result<(), Failure> {
        let ticket = self.sftp.resize(file, size);
        self.ask(&ticket)
    }

    /// Whether there is something of that name.
    pub(super) fn exists(&mut self, name: &str) -> Result<bool, Failure> {
        let ticket = self.sftp.lstat(self.path(name));
        match self.ask(&ticket) {
            Ok(_) => Ok(true),
            Err(failure) if failure.kind() == Kind::Refused(Code::NoSuchFile) => {
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Writes a small file: whole or not at all.
    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let temporary = format!("{name}.tmp");
        if self.exists(&temporary)? {
            let ticket = self.sftp.remove(self.path(&temporary));
            self.ask(&ticket)?;
        }
        self.write_new(&temporary, bytes)?;
        self.rename(&temporary, name)
    }

    /// Makes a small file; its bytes are durable, its name is not.
    pub(super) fn write_new(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let file = self.open(name, Open::NEW)?;
        let until = Instant::now() + ANSWER_MAX;
        if self.sftp.push(file, 0, bytes, until)? < bytes.len() {
            return Err(self.too_slow());
        }
        let ticket = self.sftp.sync(file);
        self.ask(&ticket)?;
        self.close(file)
    }

    /// The bytes of a small file, where it is there; no more than `most`.
    pub(super) fn get(
        &mut self,
        name: &str,
        most: u64,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let file = match self.open(name, Open::READ) {
            Ok(file) => file,
            Err(failure) if failure.kind() == Kind::Refused(Code::NoSuchFile) => {
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        let head = self.read_head(file, most)?;
        self.close(file)?;
        Ok(Some(head))
    }

    /// The last bytes of a file, no more than `most`; none where it is not there.
    pub(super) fn get_end(&mut self, name: &str, most: u64) -> Result<Vec<u8>, Failure> {
        let file = match self.open(name, Open::READ) {
            Ok(file) => file,
            Err(failure) if failure.kind() == Kind::Refused(Code::NoSuchFile) => {
                return Ok(Vec::new());
            }
            Err(failure) => return Err(failure),
        };
        let size = self.size_of(file)?;
        let end = self.read_range(file, size.saturating_sub(most)..size)?;
        self.close(file)?;
        Ok(end)
    }

    /// The names of all that is there, those that are text; none where there is no
    /// directory yet.
    pub(super) fn names(&mut self) -> Result<Vec<String>, Failure> {
        let ticket = self.sftp.list(&self.directory);
        let names = match self.ask(&ticket) {
            Err(failure) if failure.kind() == Kind::Refused(Code::NoSuchFile) => {
                return Ok(Vec::new());
            }
            names => names?,
        };
        let text = |name: Name| String::from_utf8(name.name).ok();
        Ok(names.into_iter().filter_map(text).collect())
    }

    /// Makes the standby's directory where it is missing; another lane may do so too.
    pub(super) fn make_home(&mut self) -> Result<(), Failure> {
        let ticket = self.sftp.lstat(&self.directory);
        match self.ask(&ticket) {
            Err(failure) if failure.kind() == Kind::Refused(Code::NoSuchFile) => {}
            looked => return looked.map(|_| ()),
        }
        let ticket = self.sftp.make_directory(&self.directory, 0o700);
        let made = self.ask(&ticket);
        let ticket = self.sftp.lstat(&self.directory);
        self.ask(&ticket).map(|_| ()).or(made)
    }

    pub(super) fn make_directory(&mut self, name: &str) -> Result<(), Failure> {
        let ticket = self.sftp.make_directory(self.path(name), 0o700);
        self.ask(&ticket)
    }

    /// Removes a directory of ours and these files in it, as far as they are there.
    pub(super) fn remove_parts(
        &mut self,
        directory: &str,
        parts: &[&str],
    ) -> Result<(), Failure> {
        let is_gone = |result: Result<(), Failure>| match result {
            Err(failure) if failure.kind() == Kind::Refused(Code::NoSuchFile) => Ok(()),
            result => result,
        };
        for part in parts {
            let ticket = self.sftp.remove(self.path(&format!("{directory}/{part}")));
            is_gone(self.ask(&ticket))?;
        }
        let ticket = self.sftp.remove_directory(self.path(directory));
        is_gone(self.ask(&ticket))
    }

    /// Whether there is nothing but NULs in a file from here on.
    pub(super) fn is_nul_from(
        &mut self,
        file: FileId,
        at: u64,
        size: u64,
    ) -> Result<bool, Failure> {
        let mut reading = self.sftp.read(file, at..size);
        let until = Instant::now() + ANSWER_MAX;
        loop {
            match self.sftp.take(&mut reading, until)? {
                Taken::Bytes(bytes) if bytes.iter().any(|byte| *byte != 0) => {
                    return Ok(false);
                }
                Taken::Bytes(_) => {}
                Taken::End => return Ok(true),
                Taken::NotYet => return Err(self.too_slow()),
            }
        }
    }

    /// Gives a file a name that no other has, durably.
    pub(super) fn rename_new(&mut self, from: &str, to: &str) -> Result<(), Failure> {
        let ticket = self.sftp.rename_new(self.path(from), self.path(to));
        self.ask(&ticket)?;
        self.sync_names()
    }

    /// Renames durably, over what is there.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), Failure> {
        let ticket = self.sftp.rename(self.path(from), self.path(to));
        self.ask(&ticket)?;
        self.sync_names()
    }

    pub(super) fn sync_names(&mut self) -> Result<(), Failure> {
        let ticket = self.sftp.sync_directory(&self.directory);
        self.ask(&ticket)
    }

    /// Makes the names in a directory of ours durable.
    pub(super) fn sync_names_in(&mut self, name: &str) -> Result<(), Failure> {
        let ticket = self.sftp.sync_directory(self.path(name));
        self.ask(&ticket)
    }

    /// What a refused write may have to do with.
    pub(super) fn room(&mut self) -> Option<u64> {
        let ticket = self.sftp.space(&self.directory);
        self.ask(&ticket).ok().map(|space| space.free)
    }

    pub(super) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    pub(super) fn ask<T: FromAnswer>(
        &mut self,
        ticket: &Ticket<T>,
    ) -> Result<T, Failure> {
        let until = Instant::now() + ANSWER_MAX;
        match self.sftp.wait(ticket, until)? {
            Some(answer) => Ok(answer),
            None => Err(self.too_slow()),
        }
    }

    fn too_slow(&self) -> Failure {
        let why = format!("{} has not answered within {ANSWER_MAX:?}", self.name);
        Failure::new(Kind::Stalled, why)
    }
}

/// Of how many files with the highest numbers it is looked whether they are what
/// they are called.
const NUMBERS_MAX: usize = 100;

fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}

/// Whether there is nothing in a file that could be somebody's: at most the
/// beginning of a first record, and NULs.
fn is_blank(head: &[u8], size: u64) -> bool {
    let rest = &head[until_nul(head).len()..];
    size <= head.len() as u64 && rest.iter().all(|byte| *byte == 0)
}
