//! A client of SFTP version 3 that never waits longer than it is told to.
//!
//! Any number of requests is under way at once. What is asked once has a
//! [`Ticket`], by which the answer is asked for; what is written to a file is
//! counted, so that it is known how much of it the server has, and how much of
//! that is on its disk.
//!
//! Requests are sent in the order of the calls. A server deals with those of
//! one file in that order, so that an fsync covers the writes before it: the
//! protocol demands it, and OpenSSH deals with one request after the other. An
//! fsync counts here when it and every write before it were answered with yes.
//!
//! `sftp/packet.rs` has the bytes of the protocol, `sftp/link.rs` brings them to
//! the pipe, `sftp/state.rs` knows what is under way, `sftp/ask.rs` asks.

mod answer;
mod ask;
mod file;
mod link;
pub(crate) mod packet;
mod reading;
mod state;

pub(crate) use answer::{FromAnswer, Name, Ticket};
pub(crate) use ask::{Create, Open};
pub(crate) use file::FileId;
pub(crate) use packet::{Attributes, Space};
pub(crate) use reading::{Reading, Taken};

use super::Settings;
use super::failure::{Failure, Kind};
use super::transport::{Heard, Service, Transport};
use link::Link;
use state::State;
use std::time::{Duration, Instant};

/// The other side's words about a failed connection are waited for so long.
const CONNECT_GRACE: Duration = Duration::from_secs(2);

/// What a server may offer besides the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// To know what is on its disk.
    Fsync,
    /// A rename that replaces.
    PosixRename,
    /// To know what sizes it takes.
    Limits,
    /// To know how much room there is.
    Space,
}

impl Extension {
    const ALL: &[Self] = &[Self::Fsync, Self::PosixRename, Self::Limits, Self::Space];

    /// Its name, its version, and what for.
    const fn about(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Fsync => {
                ("fsync@openssh.com", "1", "nobody can know what is on its disk")
            }
            Self::PosixRename => {
                ("posix-rename@openssh.com", "1", "a file cannot be replaced at once")
            }
            Self::Limits => ("limits@openssh.com", "1", "sizes must be small"),
            Self::Space => ("statvfs@openssh.com", "2", "free room is not known"),
        }
    }
}

/// A connection to an SFTP server.
pub(crate) struct Sftp {
    link: Link,
    state: State,
    stage: Stage,
    begun: Instant,
    connect_timeout: Duration,
    answer_timeout: Duration,
    keepalive: Duration,
    /// Why there is nothing to be done with it any more.
    over: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    /// The first packet is on its way.
    Greeting,
    Ready,
}

impl Sftp {
    /// Begins a connection; returns at once.
    ///
    /// # Errors
    ///
    /// When it cannot even begin.
    pub(crate) fn begin(
        transport: &mut dyn Transport,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let pipe = transport.begin(&Service::Sftp)?;
        Ok(Self {
            link: Link::new(pipe),
            // It greets: that is the first to be sent.
            state: State::new(settings.address.to_string()),
            stage: Stage::Connecting,
            begun: Instant::now(),
            connect_timeout: settings.connect_timeout,
            answer_timeout: settings.answer_timeout,
            keepalive: settings.keepalive,
            over: None,
        })
    }

    /// Goes on with connecting, until `until` at most. With `true` the server
    /// can be asked, with `false` this is to be called again.
    ///
    /// # Errors
    ///
    /// Why there is no connection, or why it has ended.
    pub(crate) fn connect(&mut self, until: Instant) -> Result<bool, Failure> {
        self.is_over()?;
        let result = self.try_connect(until);
        self.remember(result)
    }

    fn try_connect(&mut self, until: Instant) -> Result<bool, Failure> {
        if self.stage == Stage::Connecting {
            if !self.link.connect(until)? {
                return Ok(false);
            }
            self.stage = Stage::Greeting;
            // It may have been a while before anybody looked again.
            self.begun = Instant::now();
        }
        let latest = self.begun + self.connect_timeout + CONNECT_GRACE;
        while self.stage == Stage::Greeting {
            self.pump()?;
            if self.state.is_ready() {
                self.stage = Stage::Ready;
                break;
            }
            let now = Instant::now();
            if now >= latest {
                let timeout = self.connect_timeout;
                let why = format!(
                    "cannot connect to {}: its SFTP server has not answered within \
                     {timeout:?}",
                    self.state.host()
                );
                return Err(Failure::new(Kind::Unreachable, why));
            }
            if now >= until {
                return Ok(false);
            }
            self.link.wait(self.state.has_to_write(), until.min(latest))?;
        }
        Ok(true)
    }

    /// Whether the server offers all of these.
    ///
    /// # Errors
    ///
    /// [`Kind::Lacks`], with the name of the first it does not, and why it is
    /// needed.
    pub(crate) fn needs(&self, extensions: &[Extension]) -> Result<(), Failure> {
        let Some(lacking) = extensions.iter().find(|it| !self.state.offers(**it)) else {
            return Ok(());
        };
        let (name, _, why) = lacking.about();
        Err(Failure::new(
            Kind::Lacks,
            format!(
                "the SFTP server at {} does not offer {name}, without which {why}: let \
                 OpenSSH serve this account (Subsystem sftp internal-sftp)",
                self.state.host()
            ),
        ))
    }

    /// Sends and hears what there is; returns when something was heard, when
    /// nothing is under way, or at `until`. Where it is called from time to
    /// time, an idle connection is kept alive, and one that died is noticed.
    ///
    /// # Errors
    ///
    /// The connection is over. Refusals do not come here.
    pub(crate) fn turn(&mut self, until: Instant) -> Result<(), Failure> {
        self.is_over()?;
        let result = self.try_turn(until);
        self.remember(result)
    }

    fn try_turn(&mut self, until: Instant) -> Result<(), Failure> {
        if self.stage != Stage::Ready && !self.try_connect(until)? {
            return Ok(());
        }
        loop {
            if self.pump()?.has_heard || self.is_idle() {
                break;
            }
            if !self.rest(until)? {
                break;
            }
        }
        if self.stage == Stage::Ready
            && self.is_idle()
            && self.link.moved().elapsed() >= self.keepalive
        {
            self.state.ping();
            self.link.begins();
            self.pump()?;
        }
        Ok(())
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.is_idle()
    }

    /// Turns until the answer is here, or until `until`: then it is `None`, and
    /// to be asked for again with the same ticket.
    ///
    /// # Errors
    ///
    /// The server refused the request, or the connection is over.
    pub(crate) fn wait<T: FromAnswer>(
        &mut self,
        ticket: &Ticket<T>,
        until: Instant,
    ) -> Result<Option<T>, Failure> {
        loop {
            if let Some(result) = ticket.take() {
                return result.map(Some);
            }
            self.turn(until)?;
            if !ticket.is_answered() && Instant::now() >= until {
                return Ok(None);
            }
        }
    }

    /// Queues these bytes for their place in the file, and returns how many
    /// were taken: all of them, unless `until` came first.
    ///
    /// # Errors
    ///
    /// The server refused an earlier write to this file or an fsync, and the
    /// file is of no use any more; or the connection is over.
    pub(crate) fn push(
        &mut self,
        file: FileId,
        offset: u64,
        bytes: &[u8],
        until: Instant,
    ) -> Result<usize, Failure> {
        self.is_over()?;
        let result = self.try_push(file, offset, bytes, until);
        self.remember(result)
    }

    fn try_push(
        &mut self,
        file: FileId,
        offset: u64,
        bytes: &[u8],
        until: Instant,
    ) -> Result<usize, Failure> {
        let mut taken = 0;
        if self.stage != Stage::Ready && !self.try_connect(until)? {
            return Ok(0);
        }
        loop {
            self.check(file)?;
            if self.is_idle() {
                self.link.begins();
            }
            let rest = &bytes[taken..];
            taken += self.state.queue_write(file, offset + taken as u64, rest);
            let has_moved = self.pump()?.has_moved;
            let is_done = taken == bytes.len();
            if is_done || (has_moved && Instant::now() >= until) {
                return Ok(taken);
            }
            if !has_moved && !self.rest(until)? {
                return Ok(taken);
            }
        }
    }

    /// Whether the file is of use.
    ///
    /// # Errors
    ///
    /// The refusal of the write or fsync that was refused first. Behind what is
    /// acknowledged anything may be in the file then, because later writes may
    /// have been taken: zeros in a hole, and ends of what was pushed. Close it,
    /// open it, and look, or [`resize`](Self::resize) it.
    pub(crate) fn check(&self, file: FileId) -> Result<(), Failure> {
        self.state.check(file)
    }

    /// Up to where everything that was pushed has been written: the end of the
    /// last push before which, and with it, all are acknowledged. 0 before the
    /// first.
    pub(crate) fn acknowledged(&self, file: FileId) -> u64 {
        self.state.file(file).map_or(0, |file| file.acknowledged)
    }

    /// The same, as far as an fsync said that it is on the disk.
    pub(crate) fn synced(&self, file: FileId) -> u64 {
        self.state.file(file).map_or(0, |file| file.synced)
    }

    /// Sends and hears until neither is possible.
    fn pump(&mut self) -> Result<Progress, Failure> {
        let mut progress = Progress::default();
        loop {
            let has_written = self.link.write(&mut self.state.out)?;
            let heard = self.link.read()?;
            while let Some(packet) =
                self.link.packet().map_err(|why| self.state.garbled(&why))?
            {
                self.state.hear(packet)?;
                progress.has_heard = true;
                self.link.consume();
            }
            let has_read = matches!(heard, Heard::Bytes(_));
            progress.has_moved |= has_written || has_read;
            if heard == Heard::End {
                return Err(self.link.ended());
            }
            if !has_written && !has_read {
                return Ok(progress);
            }
        }
    }

    /// Waits until something can move; `false` when it is too late.
    fn rest(&mut self, until: Instant) -> Result<bool, Failure> {
        let now = Instant::now();
        let latest = self.link.moved() + self.answer_timeout;
        if !self.is_idle() && now >= latest {
            let (host, timeout) = (self.state.host(), self.answer_timeout);
            let why = format!(
                "{host} has not answered for {timeout:?}: the connection is given up"
            );
            return Err(Failure::new(Kind::Stalled, why));
        }
        if now >= until {
            return Ok(false);
        }
        self.link.wait(self.state.has_to_write(), until.min(latest))?;
        Ok(true)
    }

    fn is_over(&self) -> Result<(), Failure> {
        self.over.clone().map_or(Ok(()), Err)
    }

    /// An end of the connection is one for ever.
    fn remember<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &result
            && failure.kind().ends_connection()
        {
            self.over = Some(failure.clone());
        }
        result
    }
}

/// What a round of sending and hearing came to.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Bytes went either way.
    has_moved: bool,
    /// An answer came.
    has_heard: bool,
}

#[cfg(test)]
mod tests;
