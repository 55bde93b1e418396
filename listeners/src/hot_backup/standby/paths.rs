//! Files deeper down on the standby, whose names are bytes that others chose.

use super::Standby;
use crate::ssh::{Attributes, Code, Create, Failure, FileId, Kind, Open};
use std::collections::BTreeSet;

/// Directories that are known to be there; more are asked for again.
const KNOWN_MAX: usize = 100_000;

/// What was made and is not on the disk yet.
#[derive(Debug, Default)]
pub(in crate::hot_backup) struct Folders {
    known: BTreeSet<Vec<u8>>,
    /// In these, names were made or changed.
    dirty: BTreeSet<Vec<u8>>,
}

impl Standby {
    /// A path below the standby's directory.
    pub(in crate::hot_backup) fn below(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.directory.clone().into_bytes();
        if !name.is_empty() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        path
    }

    /// What is there under that name.
    pub(in crate::hot_backup) fn stat(
        &mut self,
        name: &[u8],
    ) -> Result<Option<Attributes>, Failure> {
        let ticket = self.sftp.stat(self.below(name));
        match self.ask(&ticket) {
            Ok(attributes) => Ok(Some(attributes)),
            Err(failure) if failure.kind() == Kind::Refused(Code::NoSuchFile) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    pub(in crate::hot_backup) fn open_below(
        &mut self,
        name: &[u8],
        open: Open,
    ) -> Result<FileId, Failure> {
        let ticket = self.sftp.open(self.below(name), open);
        self.ask(&ticket)
    }

    /// Makes a file anew, and the folders it is in.
    pub(in crate::hot_backup) fn make(
        &mut self,
        name: &[u8],
        folders: &mut Folders,
    ) -> Result<FileId, Failure> {
        self.make_folders(parent(name), folders)?;
        let anew = Open { create: Create::IfMissing, truncate: true, ..Open::WRITE };
        self.open_below(name, anew)
    }

    fn make_folders(
        &mut self,
        name: &[u8],
        folders: &mut Folders,
    ) -> Result<(), Failure> {
        if folders.known.contains(name) {
            return Ok(());
        }
        if self.stat(name)?.is_none() {
            if !name.is_empty() {
                self.make_folders(parent(name), folders)?;
            }
            let ticket = self.sftp.make_directory(self.below(name), 0o700);
            if let Err(failure) = self.ask(&ticket) {
                // Another lane has made it meanwhile, perhaps.
                let is_refused = matches!(failure.kind(), Kind::Refused(_));
                if !is_refused || self.stat(name)?.is_none() {
                    return Err(failure);
                }
            }
            if !name.is_empty() {
                folders.dirty.insert(parent(name).to_vec());
            }
        }
        if folders.known.len() >= KNOWN_MAX {
            folders.known.clear();
        }
        folders.known.insert(name.to_vec());
        Ok(())
    }

    /// Renames in the same folder, over what is there. Durable after
    /// [`Self::sync_folders`].
    pub(in crate::hot_backup) fn put_in_place(
        &mut self,
        from: &[u8],
        to: &[u8],
        folders: &mut Folders,
    ) -> Result<(), Failure> {
        let ticket = self.sftp.rename(self.below(from), self.below(to));
        self.ask(&ticket)?;
        folders.dirty.insert(parent(to).to_vec());
        Ok(())
    }

    /// Makes names durable, until there are at most so many folders left whose names
    /// are not.
    pub(in crate::hot_backup) fn sync_folders(
        &mut self,
        folders: &mut Folders,
        left: usize,
    ) -> Result<(), Failure> {
        while folders.dirty.len() > left
            && let Some(folder) = folders.dirty.first().cloned()
        {
            let ticket = self.sftp.sync_directory(self.below(&folder));
            self.ask(&ticket)?;
            folders.dirty.remove(&folder);
        }
        Ok(())
    }

    pub(in crate::hot_backup) fn remove(&mut self, name: &[u8]) -> Result<(), Failure> {
        let ticket = self.sftp.remove(self.below(name));
        self.ask(&ticket)
    }
}

fn parent(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|byte| *byte == b'/');
    end.map_or(&[], |end| &name[..end])
}
