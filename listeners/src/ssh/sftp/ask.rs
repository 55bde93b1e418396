//! What can be asked of a server.

use super::Sftp;
use super::answer::{Name, Slot, Ticket};
use super::file::FileId;
use super::packet::{Attributes, Request, Space, flags};
use super::state::{FILES_MAX, REQUESTS_MAX, UnderWay, packet_code};
use crate::ssh::failure::Failure;
use crate::ssh::text::shown;

/// No path is longer.
const PATH_BYTES_MAX: usize = 4096;

/// How a file is opened. Without more it must be there, and nothing of it is
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) create: Create,
    /// Throws away what is in it.
    pub(crate) truncate: bool,
    /// Permissions of one that is made, less the account's umask.
    pub(crate) mode: u32,
}

/// Whether a file is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Create {
    No,
    IfMissing,
    /// It must not be there.
    New,
}

impl Open {
    /// To read what is there.
    pub(crate) const READ: Self = Self {
        read: true,
        write: false,
        create: Create::No,
        truncate: false,
        mode: 0o600,
    };
    /// To read what is there, and to write to it.
    pub(crate) const WRITE: Self = Self { write: true, ..Self::READ };
    /// To make it, where nothing is; for its owner alone.
    pub(crate) const NEW: Self = Self { create: Create::New, ..Self::WRITE };

    const fn flags(self) -> u32 {
        let mut all = 0;
        if self.read {
            all |= flags::READ;
        }
        if self.write {
            all |= flags::WRITE;
        }
        if self.truncate {
            all |= flags::TRUNCATE;
        }
        match self.create {
            Create::No => all,
            Create::IfMissing => all | flags::CREATE,
            Create::New => all | flags::CREATE | flags::EXCLUSIVE,
        }
    }
}

impl Sftp {
    /// Opens a file. One whose ticket is dropped before the answer is closed.
    pub(crate) fn open(&mut self, path: impl AsRef<[u8]>, open: Open) -> Ticket<FileId> {
        let path = path.as_ref();
        if self.state.file_count() >= FILES_MAX {
            let (ticket, slot) = Ticket::new();
            refuse(&slot, "open a file", &format!("{FILES_MAX} are open already"));
            return ticket;
        }
        let mode = (open.create != Create::No).then_some(open.mode);
        let request = Request::Open { path, flags: open.flags(), mode };
        let name = shown(path);
        self.ask(&[path], &request, |slot| UnderWay::Open { slot, path: name })
    }

    /// Closes a file, behind everything that was asked of it before.
    pub(crate) fn close(&mut self, file: FileId) -> Ticket<()> {
        self.ask_file(file, "close", |handle, slot| {
            (Request::Close { handle }, UnderWay::Close { file, slot })
        })
    }

    /// Syncs a file, behind everything that was pushed to it before. Answered
    /// when all of that is on the server's disk; see [`Sftp::synced`] too.
    pub(crate) fn sync(&mut self, file: FileId) -> Ticket<()> {
        let (ticket, slot) = Ticket::new();
        self.begins();
        match self.state.check(file) {
            Err(refused) => slot.put(Err(refused)),
            Ok(()) if self.state.is_full() => refuse(&slot, "sync a file", TOO_MANY),
            Ok(()) => self.state.queue_sync(file, slot),
        }
        ticket
    }

    /// Makes names durable that were made, changed or removed in a directory.
    /// OpenSSH opens directories like files, and syncs them.
    pub(crate) fn sync_directory(&mut self, path: impl AsRef<[u8]>) -> Ticket<()> {
        let path = path.as_ref();
        let what = format!("sync the directory {}", shown(path));
        let request = Request::Open { path, flags: flags::READ, mode: None };
        self.ask(&[path], &request, |slot| UnderWay::OpenToSync { slot, what })
    }

    /// Looks at what a path names, behind symbolic links.
    pub(crate) fn stat(&mut self, path: impl AsRef<[u8]>) -> Ticket<Attributes> {
        let path = path.as_ref();
        let what = format!("look at {}", shown(path));
        self.ask(&[path], &Request::Stat { path }, |slot| UnderWay::Attributes {
            slot,
            what,
        })
    }

    /// Looks at what a path names, be it a symbolic link.
    pub(crate) fn lstat(&mut self, path: impl AsRef<[u8]>) -> Ticket<Attributes> {
        let path = path.as_ref();
        let what = format!("look at {}", shown(path));
        self.ask(&[path], &Request::LinkStat { path }, |slot| UnderWay::Attributes {
            slot,
            what,
        })
    }

    /// Looks at an open file, behind everything that was asked of it before.
    pub(crate) fn fstat(&mut self, file: FileId) -> Ticket<Attributes> {
        self.ask_file(file, "look at", |handle, slot| {
            let what = "look at an open file".to_owned();
            (Request::FileStat { handle }, UnderWay::Attributes { slot, what })
        })
    }

    /// Cuts a file to this length in bytes, or makes it longer with zeros, behind
    /// everything that was asked of it before. [`Sftp::acknowledged`] and
    /// [`Sftp::synced`] know nothing of it.
    pub(crate) fn resize(&mut self, file: FileId, size: u64) -> Ticket<()> {
        self.ask_file(file, "resize", |handle, slot| {
            let what = format!("cut an open file to {size} bytes");
            (Request::Resize { handle, size }, UnderWay::Done { slot, what })
        })
    }

    /// Lists a directory, all of it.
    pub(crate) fn list(&mut self, path: impl AsRef<[u8]>) -> Ticket<Vec<Name>> {
        let path = path.as_ref();
        let what = format!("list the directory {}", shown(path));
        self.ask(&[path], &Request::OpenDirectory { path }, |slot| {
            UnderWay::OpenDirectory { slot, what }
        })
    }

    /// Makes a directory; its permissions are less by the account's umask.
    pub(crate) fn make_directory(
        &mut self,
        path: impl AsRef<[u8]>,
        mode: u32,
    ) -> Ticket<()> {
        let path = path.as_ref();
        let what = format!("make the directory {}", shown(path));
        let request = Request::MakeDirectory { path, mode };
        self.ask(&[path], &request, |slot| UnderWay::Done { slot, what })
    }

    /// Renames a file; what has the other name is replaced. Needs
    /// [`Extension::PosixRename`](super::Extension::PosixRename).
    pub(crate) fn rename(
        &mut self,
        from: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
    ) -> Ticket<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let what = format!("rename {} to {}", shown(from), shown(to));
        let request = Request::PosixRename { from, to };
        self.ask(&[from, to], &request, |slot| UnderWay::Done { slot, what })
    }

    /// Renames a file; refused where there is something of that name.
    pub(crate) fn rename_new(
        &mut self,
        from: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
    ) -> Ticket<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let what = format!("rename {} to {}", shown(from), shown(to));
        let request = Request::Rename { from, to };
        self.ask(&[from, to], &request, |slot| UnderWay::Done { slot, what })
    }

    /// Removes a file.
    pub(crate) fn remove(&mut self, path: impl AsRef<[u8]>) -> Ticket<()> {
        let path = path.as_ref();
        let what = format!("remove {}", shown(path));
        self.ask(&[path], &Request::Remove { path }, |slot| UnderWay::Done { slot, what })
    }

    /// Removes a directory, which must be empty.
    pub(crate) fn remove_directory(&mut self, path: impl AsRef<[u8]>) -> Ticket<()> {
        let path = path.as_ref();
        let what = format!("remove the directory {}", shown(path));
        let request = Request::RemoveDirectory { path };
        self.ask(&[path], &request, |slot| UnderWay::Done { slot, what })
    }

    /// How much room there is where a path is. Needs
    /// [`Extension::Space`](super::Extension::Space).
    pub(crate) fn space(&mut self, path: impl AsRef<[u8]>) -> Ticket<Space> {
        let path = path.as_ref();
        let what = format!("learn the free room at {}", shown(path));
        self.ask(&[path], &Request::Space { path }, |slot| UnderWay::Space { slot, what })
    }

    pub(super) fn ask_read(&mut self, file: FileId, offset: u64, length: u32) -> Slot {
        let ticket: Ticket<Vec<u8>> = self.ask_file(file, "read", |handle, slot| {
            let what = "read an open file".to_owned();
            (Request::Read { handle, offset, length }, UnderWay::Read { slot, what })
        });
        ticket.into_slot()
    }

    fn ask<T>(
        &mut self,
        paths: &[&[u8]],
        request: &Request<'_>,
        then: impl FnOnce(Slot) -> UnderWay,
    ) -> Ticket<T> {
        let (ticket, slot) = Ticket::new();
        let is_odd = |path: &&&[u8]| {
            path.is_empty() || path.len() > PATH_BYTES_MAX || path.contains(&0)
        };
        if let Some(odd) = paths.iter().find(is_odd) {
            refuse(&slot, &format!("use the path {}", shown(odd)), "it can be none");
        } else if self.state.is_full() {
            refuse(&slot, "ask more", TOO_MANY);
        } else {
            self.begins();
            self.state.send(request, then(slot));
        }
        ticket
    }

    fn ask_file<T>(
        &mut self,
        file: FileId,
        what: &str,
        ask: impl for<'a> FnOnce(&'a [u8], Slot) -> (Request<'a>, UnderWay),
    ) -> Ticket<T> {
        let (ticket, slot) = Ticket::new();
        let Some(open) = self.state.file(file) else {
            refuse(&slot, &format!("{what} a file"), "it is not open");
            return ticket;
        };
        if self.state.is_full() {
            refuse(&slot, &format!("{what} {}", open.path), TOO_MANY);
            return ticket;
        }
        let handle = open.handle.clone();
        let (request, then) = ask(&handle, slot);
        self.begins();
        self.state.send(&request, then);
        ticket
    }

    /// From now on something is under way.
    fn begins(&mut self) {
        if self.is_idle() {
            self.link.begins();
        }
    }
}

/// Answers without asking.
fn refuse(slot: &Slot, what: &str, why: &str) {
    slot.put(Err(Failure::refused(what, packet_code::FAILURE, why.as_bytes())));
}

const TOO_MANY: &str = const {
    assert!(REQUESTS_MAX == 1024, "the words below say so");
    "1024 requests are under way already"
};
