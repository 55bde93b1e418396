//! The library libssh2 as the way to a host.
//!
//! Logging in waits for the network, for names and for an agent, and cannot be
//! broken off; so each login has a thread of its own. What comes out of it is
//! used without waiting. `library/login.rs` is what that thread does,
//! `library/known.rs` reads the keys of known hosts.

mod known;
mod login;

use super::failure::{Failure, Kind};
use super::text::{Captured, shown};
use super::transport::{ERRORS_BYTES_MAX, Exit, Heard, Pipe, Service, Transport};
use super::{Address, Settings};
use login::Established;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use ssh2::{BlockDirections, ErrorCode};
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// So many logins may hang at once: an agent may never answer.
const LOGINS_MAX: usize = 4;
/// A login is given so much longer than its steps are, to tell why it failed.
const LOGIN_GRACE: Duration = Duration::from_secs(1);
/// So often at most, in one call, is what is said besides looked for.
const ERRORS_BLOCKS_MAX: usize = 16;
const ERRORS_BLOCK_BYTES: usize = 4096;

/// Makes connections with libssh2.
pub(super) struct Library {
    settings: Arc<Settings>,
    user: Arc<str>,
}

impl Library {
    pub(super) fn new(settings: &Settings) -> Result<Self, Failure> {
        let user = settings.address.user.clone().or_else(|| std::env::var("USER").ok());
        let user = user.filter(|user| !user.is_empty()).ok_or_else(|| {
            let Address { host, path, .. } = &settings.address;
            Failure::new(
                Kind::Setup,
                format!(
                    "{} names no user, and the environment has no USER: write \
                     \"ssh://USER@{host}{path}\"",
                    settings.address
                ),
            )
        })?;
        known::read(settings)?;
        if settings.config.is_some() {
            return Err(Failure::new(
                Kind::Setup,
                "a configuration file of ssh is only of use with the system's `ssh`: \
                 write `way: Program`, or leave `config` out",
            ));
        }
        Ok(Self { settings: Arc::new(settings.clone()), user: user.into() })
    }
}

impl Transport for Library {
    fn begin(&mut self, service: &Service) -> Result<Box<dyn Pipe>, Failure> {
        let address = &self.settings.address;
        // Each login holds a part of it.
        if Arc::strong_count(&self.user) > LOGINS_MAX {
            return Err(Failure::new(
                Kind::Unreachable,
                format!(
                    "cannot connect to {address}: {LOGINS_MAX} earlier attempts have not \
                     come to an end; perhaps the ssh-agent or the system's look-up of \
                     names does not answer"
                ),
            ));
        }
        let (sender, login) = mpsc::sync_channel(1);
        let (settings, user) = (Arc::clone(&self.settings), Arc::clone(&self.user));
        let service = service.clone();
        let until = Instant::now() + settings.connect_timeout;
        let log_in = move || {
            // When nobody waits any more, it is closed.
            let result = login::log_in(&settings, &user, &service, until);
            drop(user);
            _ = sender.send(result);
        };
        let spawned = thread::Builder::new().name("ssh login".into()).spawn(log_in);
        spawned.map_err(|error| {
            let why = format!("cannot connect to {address}: no thread: {error}");
            Failure::new(Kind::Unreachable, why)
        })?;
        Ok(Box::new(LibraryPipe {
            settings: Arc::clone(&self.settings),
            stage: Stage::LoggingIn(login, until + LOGIN_GRACE),
            errors: Captured::new(ERRORS_BYTES_MAX),
            has_more: false,
        }))
    }
}

/// A connection with one service on it.
struct LibraryPipe {
    settings: Arc<Settings>,
    stage: Stage,
    errors: Captured,
    /// The library has taken something from the socket that was not read: it
    /// looks for all of it whenever it looks for one thing. So there is nothing
    /// to wait for.
    has_more: bool,
}

enum Stage {
    LoggingIn(mpsc::Receiver<Result<Established, Failure>>, Instant),
    Open(Established),
    /// It never came so far.
    Failed,
}

impl LibraryPipe {
    fn open(&mut self) -> Result<&mut Established, Failure> {
        match &mut self.stage {
            Stage::Open(established) => Ok(established),
            Stage::LoggingIn(..) | Stage::Failed => Err(Failure::new(
                Kind::Broken,
                format!("there is no connection to {}", self.settings.address),
            )),
        }
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> Failure {
        let mut why =
            format!("the connection to {} broke: {error}", self.settings.address);
        if !self.errors.bytes().is_empty() {
            why += &format!(" (it said: {})", shown(self.errors.bytes()));
        }
        Failure::new(Kind::Broken, why)
    }

    /// Takes what the other side says for people.
    fn hear_errors(&mut self) -> Result<(), Failure> {
        let mut block = [0; ERRORS_BLOCK_BYTES];
        for _ in 0..ERRORS_BLOCKS_MAX {
            let Stage::Open(established) = &mut self.stage else { return Ok(()) };
            match established.channel.stderr().read(&mut block) {
                Ok(0) => return Ok(()),
                Ok(count) => self.errors.push(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(self.broken(&error)),
            }
        }
        Ok(())
    }

    /// Tells an idle server that we are there. Nothing may be half sent, and
    /// nothing may become so: it must go at once or not at all.
    fn keep_alive(&mut self) -> Result<(), Failure> {
        let Ok(Established { session, stream, .. }) = self.open() else { return Ok(()) };
        let mut polled = [PollFd::new(stream, PollFlags::OUT)];
        let is_free = poll(&mut polled, Some(&Timespec::default())) == Ok(1);
        if !is_free {
            return Ok(());
        }
        let sent = session.keepalive_send();
        sent.map(|_| ()).map_err(|error| self.broken(&error))
    }
}

impl Pipe for LibraryPipe {
    fn connect(&mut self, until: Instant) -> Result<bool, Failure> {
        let Stage::LoggingIn(login, patience) = &self.stage else {
            return self.open().map(|_| true);
        };
        let now = Instant::now();
        let wait = until.min(*patience).saturating_duration_since(now);
        let failure = match login.recv_timeout(wait) {
            Ok(Ok(established)) => {
                self.stage = Stage::Open(established);
                return Ok(true);
            }
            Ok(Err(failure)) => failure,
            Err(RecvTimeoutError::Timeout) if Instant::now() < *patience => {
                return Ok(false);
            }
            Err(RecvTimeoutError::Timeout) => Failure::new(
                Kind::Unreachable,
                format!(
                    "cannot connect to {}: not logged in after {:?}; perhaps the \
                     ssh-agent or the system's look-up of names does not answer",
                    self.settings.address, self.settings.connect_timeout
                ),
            ),
            Err(RecvTimeoutError::Disconnected) => Failure::new(
                Kind::Unreachable,
                format!("the attempt to connect to {} died", self.settings.address),
            ),
        };
        self.stage = Stage::Failed;
        Err(failure)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let established = self.open()?;
        if established.channel.eof() {
            // It takes nothing any more: why, reading tells.
            return Ok(0);
        }
        match established.channel.write(bytes) {
            Ok(count) => Ok(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn end_input(&mut self) -> Result<bool, Failure> {
        let sent = self.open()?.channel.send_eof();
        match sent {
            Ok(()) => Ok(true),
            Err(error) if would_block(&error) => Ok(false),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> Result<Heard, Failure> {
        let established = self.open()?;
        match established.channel.read(into) {
            Ok(count) if count > 0 => return Ok(Heard::Bytes(count)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(self.broken(&error)),
        }
        self.hear_errors()?;
        let channel = &mut self.open()?.channel;
        // How it ended comes behind the end of what it said.
        let has_ended = channel.eof()
            && match channel.wait_close() {
                Ok(()) => true,
                Err(error) if would_block(&error) => false,
                Err(error) => return Err(self.broken(&error)),
            };
        let has_more = channel.read_window().available > 0;
        self.has_more = has_more;
        Ok(if has_ended && !has_more { Heard::End } else { Heard::Nothing })
    }

    fn wait(&mut self, to_write: bool, until: Instant) -> Result<(), Failure> {
        if self.has_more {
            return Ok(());
        }
        if !to_write {
            self.keep_alive()?;
        }
        let Established { session, stream, .. } = self.open()?;
        let mut flags = PollFlags::IN;
        let is_blocked = matches!(
            session.block_directions(),
            BlockDirections::Outbound | BlockDirections::Both
        );
        if is_blocked {
            flags |= PollFlags::OUT;
        }
        let timeout = until.saturating_duration_since(Instant::now());
        let mut polled = [PollFd::new(stream, flags)];
        match poll(&mut polled, Timespec::try_from(timeout).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(self.broken(&io::Error::from(error))),
        }
    }

    fn exit(&mut self) -> Result<Exit, Failure> {
        let channel = &mut self.open()?.channel;
        let ended = channel.exit_signal().and_then(|signal| match signal.exit_signal {
            Some(name) => Ok(Exit::Signal(shown(name.as_bytes()))),
            None => Ok(Exit::Status(channel.exit_status()?.unsigned_abs())),
        });
        ended.map_err(|error| self.broken(&error))
    }

    fn errors(&self) -> &Captured {
        &self.errors
    }

    fn ended(&mut self) -> Failure {
        let how = match self.exit() {
            Ok(Exit::Signal(name)) => {
                format!("the service was ended there by the signal {name}")
            }
            Ok(Exit::Status(code)) => format!("the service ended there with {code}"),
            Ok(Exit::Unknown) => "the service ended there".to_owned(),
            Err(failure) => return failure,
        };
        self.broken(&how)
    }
}

/// What the library says when it would have to wait.
const TRY_AGAIN: i32 = -37;

fn would_block(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(TRY_AGAIN)
}
