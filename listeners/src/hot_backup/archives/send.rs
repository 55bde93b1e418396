//! One versioned file on its way to the standby.
//!
//! It is written beside its place and renamed when all of it is on the disk, so
//! that the standby has the one before or this one. One that seems to be there
//! already is compared and not sent again.

use super::content::{Content, Verdict, is_broken};
use super::queue::Job;
use super::root::{Located, Root, Stamp};
use crate::hot_backup::held::{Compared, Held};
use crate::hot_backup::standby::{Folders, Standby};
use crate::ssh::{Failure, FileId, Kind, Open, Ticket};
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

const CHUNK_BYTES: usize = 256 * 1024;
/// A file that changes while it is read is begun with anew so often.
const BEGUN_MAX: u32 = 3;

/// A file that is being sent.
pub(super) struct Sending {
    pub(super) job: Job,
    located: Located,
    /// Below the standby's directory.
    name: Vec<u8>,
    step: Step,
    content: Content,
    /// Read, and not dealt with yet; the first byte is at `at`.
    chunk: Vec<u8>,
    at: u64,
    /// All was read up to here, and is in `content`.
    read: u64,
    begun: u32,
}

enum Step {
    Compare(Held),
    Write(FileId),
    /// Whether it was written, or was there.
    Sync(FileId, Ticket<()>, bool),
}

/// How far it came.
pub(super) enum Sent {
    /// Ask again.
    NotYet,
    /// The standby has it; what is to be said of the revisions, in their order.
    Done(Stamp, Vec<Verdict>),
    /// It was not brought, and why.
    Not(String),
}

impl Sending {
    /// Finds it here, and looks for it there; in words, why it cannot be sent.
    pub(super) fn begin(
        job: Job,
        root: &Root,
        prefix: &str,
        standby: &mut Standby,
        folders: &mut Folders,
    ) -> Result<Result<Self, (Job, String)>, Failure> {
        let located = match root.open(&job.path) {
            Ok(located) => located,
            Err(why) => return Ok(Err((job, why))),
        };
        let name = [prefix.as_bytes(), &located.name].concat();
        let step = match Self::first_step(&located, &name, standby, folders) {
            Ok(step) => step,
            Err(failure) if matches!(failure.kind(), Kind::Refused(_)) => {
                return Ok(Err((job, format!("the standby refuses it: {failure}"))));
            }
            Err(failure) => return Err(failure),
        };
        let content = Content::new(job.form);
        let chunk = Vec::new();
        Ok(Ok(Self {
            job,
            located,
            name,
            step,
            content,
            chunk,
            at: 0,
            read: 0,
            begun: 1,
        }))
    }

    fn first_step(
        located: &Located,
        name: &[u8],
        standby: &mut Standby,
        folders: &mut Folders,
    ) -> Result<Step, Failure> {
        let size = located.stamp.size;
        if standby.stat(name)?.is_some_and(|there| there.size == Some(size)) {
            let file = standby.open_below(name, Open::READ)?;
            return Ok(Step::Compare(Held::new(file, size, 0)));
        }
        Ok(Step::Write(standby.make(&part(name), folders)?))
    }

    /// Goes on with it.
    ///
    /// # Errors
    ///
    /// The connection is over, or there is no room for it.
    pub(super) fn go_on(
        &mut self,
        root: &Root,
        standby: &mut Standby,
        folders: &mut Folders,
        until: Instant,
    ) -> Result<Sent, Failure> {
        loop {
            if let Step::Sync(..) = &self.step {
                return self.finish(standby, folders, until);
            }
            if self.chunk.is_empty() && !self.fill() {
                return self.give_up(standby, "it cannot be read");
            }
            if self.chunk.is_empty() {
                if let Some(sent) = self.end(root, standby, folders)? {
                    return Ok(sent);
                }
                continue;
            }
            let count = match &mut self.step {
                Step::Compare(held) => {
                    match held.compare(&mut standby.sftp, self.at, &self.chunk, until)? {
                        Compared::Same => self.chunk.len(),
                        Compared::NotYet => return Ok(Sent::NotYet),
                        Compared::DiffersAt(_) => {
                            standby.close(held.file)?;
                            let file = standby.make(&part(&self.name), folders)?;
                            self.restart(Step::Write(file));
                            continue;
                        }
                    }
                }
                Step::Write(file) => {
                    standby.sftp.push(*file, self.at, &self.chunk, until)?
                }
                Step::Sync(..) => 0,
            };
            self.at += count as u64;
            self.chunk.drain(..count);
            if Instant::now() >= until {
                return Ok(Sent::NotYet);
            }
        }
    }

    /// Reads on; what it may be at its end is nothing.
    fn fill(&mut self) -> bool {
        self.chunk.resize(CHUNK_BYTES, 0);
        match self.located.file.read_at(&mut self.chunk, self.read) {
            Ok(count) => {
                self.chunk.truncate(count);
                self.read += count as u64;
                self.content.take(&self.chunk);
                true
            }
            Err(_) => false,
        }
    }

    fn restart(&mut self, step: Step) {
        self.step = step;
        self.content = Content::new(self.job.form);
        self.chunk.clear();
        (self.at, self.read) = (0, 0);
    }

    /// All of it was read: is it what was meant?
    fn end(
        &mut self,
        root: &Root,
        standby: &mut Standby,
        folders: &mut Folders,
    ) -> Result<Option<Sent>, Failure> {
        if !self.located.is_unchanged() || self.read != self.located.stamp.size {
            // A server puts another one into its place.
            if self.begun >= BEGUN_MAX {
                return self.give_up(standby, "it changes all the time").map(Some);
            }
            self.begun += 1;
            self.close(standby)?;
            match root.open(&self.job.path) {
                Ok(located) => self.located = located,
                Err(why) => return Ok(Some(Sent::Not(why))),
            }
            let step = Self::first_step(&self.located, &self.name, standby, folders)?;
            self.restart(step);
            return Ok(None);
        }
        let content = std::mem::replace(&mut self.content, Content::new(self.job.form));
        let verdicts = content.judge(&self.job.revisions);
        if let Some(why) = is_broken(self.job.form, &verdicts) {
            let why = why.to_owned();
            return self.give_up(standby, &why).map(Some);
        }
        self.job.verdicts = verdicts;
        match &self.step {
            Step::Compare(held) => {
                let file = held.file;
                // It may have been written by somebody who did not sync it.
                let ticket = standby.sftp.sync(file);
                self.step = Step::Sync(file, ticket, false);
            }
            Step::Write(file) => {
                let (file, ticket) = (*file, standby.sftp.sync(*file));
                self.step = Step::Sync(file, ticket, true);
            }
            Step::Sync(..) => {}
        }
        Ok(None)
    }

    /// Waits for the disk, and gives it its name.
    fn finish(
        &mut self,
        standby: &mut Standby,
        folders: &mut Folders,
        until: Instant,
    ) -> Result<Sent, Failure> {
        let Step::Sync(file, ticket, is_written) = &self.step else {
            return Ok(Sent::NotYet);
        };
        if standby.sftp.wait(ticket, until)?.is_none() {
            return Ok(Sent::NotYet);
        }
        let size = standby.size_of(*file)?;
        standby.close(*file)?;
        let part = part(&self.name);
        if size != self.located.stamp.size {
            return Ok(Sent::Not(format!(
                "it has {size} bytes on the standby and should have {}: somebody else \
                 writes there",
                self.located.stamp.size
            )));
        }
        if *is_written {
            match standby.put_in_place(&part, &self.name, folders) {
                Ok(()) => {}
                Err(failure) if matches!(failure.kind(), Kind::Refused(_)) => {
                    return Ok(Sent::Not(format!("the standby refuses it: {failure}")));
                }
                Err(failure) => return Err(failure),
            }
        }
        let verdicts = std::mem::take(&mut self.job.verdicts);
        Ok(Sent::Done(self.located.stamp, verdicts))
    }

    /// What is half there goes away.
    fn give_up(&self, standby: &mut Standby, why: &str) -> Result<Sent, Failure> {
        let is_write = matches!(self.step, Step::Write(_));
        self.close(standby)?;
        if is_write {
            standby.remove(&part(&self.name))?;
        }
        Ok(Sent::Not(why.to_owned()))
    }

    fn close(&self, standby: &mut Standby) -> Result<(), Failure> {
        match &self.step {
            Step::Compare(held) => standby.close(held.file),
            Step::Write(file) | Step::Sync(file, ..) => standby.close(*file),
        }
    }
}

/// Where it is until it is whole. No versioned file is called so.
fn part(name: &[u8]) -> Vec<u8> {
    [name, b".part"].concat()
}
