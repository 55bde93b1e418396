//! The library libssh2 as the way to a host.
//!
//! Logging in waits for the network, for names and for an agent, and cannot be
//! broken off; so each session has a thread of its own, which goes on to encrypt and
//! send. `library/login.rs` is what it does first, for which `library/known.rs` reads
//! the keys of known hosts, and `library/carry.rs` what it does then; what it and the
//! pipe hand each other is in `library/exchange.rs`.

mod carry;
mod exchange;
mod known;
mod login;

use super::failure::{Failure, Kind};
use super::text::{Captured, shown};
use super::transport::{ERRORS_BYTES_MAX, Exit, Heard, Pipe, Service, Transport};
use super::{Address, Settings};
use carry::carry;
use exchange::{Exchange, Over};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// So many logins may hang at once: an agent may never answer.
const LOGINS_MAX: usize = 4;
/// A login is given so much longer than its steps are, to tell why it failed.
const LOGIN_GRACE: Duration = Duration::from_secs(1);

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
        let cannot = |what: &'static str| {
            move |error| {
                let why = format!("cannot connect to {address}: no {what}: {error}");
                Failure::new(Kind::Unreachable, why)
            }
        };
        let exchange = Arc::new(Exchange::new().map_err(cannot("descriptor"))?);
        let (settings, user) = (Arc::clone(&self.settings), Arc::clone(&self.user));
        let service = service.clone();
        let until = Instant::now() + settings.connect_timeout;
        let session =
            Session { settings, user, service, exchange: Arc::clone(&exchange) };
        let spawned =
            thread::Builder::new().name("ssh".into()).spawn(move || session.run(until));
        spawned.map_err(cannot("thread"))?;
        Ok(Box::new(LibraryPipe {
            settings: Arc::clone(&self.settings),
            exchange,
            patience: until + LOGIN_GRACE,
            is_open: false,
            errors: Captured::new(ERRORS_BYTES_MAX),
        }))
    }
}

/// What the thread of a session has.
struct Session {
    settings: Arc<Settings>,
    user: Arc<str>,
    service: Service,
    exchange: Arc<Exchange>,
}

impl Session {
    fn run(self, until: Instant) {
        let Self { settings, user, service, exchange } = self;
        let address = &settings.address;
        let unreachable = |why| Over::Failed(Failure::new(Kind::Unreachable, why));
        let died = unreachable(format!("the attempt to connect to {address} died"));
        let mut end = End { exchange: &exchange, over: died };
        let logged_in = login::log_in(&settings, &user, &service, until);
        drop(user);
        let opened = logged_in.map(|it| (it.stream.try_clone(), it));
        end.over = match opened {
            Ok((Ok(stream), mut established)) => {
                exchange.open(stream);
                end.over = Over::Broken("its thread died".to_owned());
                carry(&mut established, &exchange, settings.keepalive)
            }
            Ok((Err(error), _)) => {
                unreachable(format!("cannot use a connection to {address}: {error}"))
            }
            Err(failure) => Over::Failed(failure),
        };
    }
}

/// The end of a thread: the pipe hears of it, however it comes.
struct End<'a> {
    exchange: &'a Exchange,
    over: Over,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.exchange.end(self.over.clone());
    }
}

/// A connection with one service on it. What is written to it and read from it, its
/// thread sends and hears.
struct LibraryPipe {
    settings: Arc<Settings>,
    exchange: Arc<Exchange>,
    /// When the login should have been over.
    patience: Instant,
    is_open: bool,
    errors: Captured,
}

impl LibraryPipe {
    fn failure(&self, over: Over) -> Failure {
        match over {
            Over::Failed(failure) => failure,
            Over::Broken(why) => self.broken(&why),
            Over::Ended(Exit::Signal(name)) => {
                self.broken(&format!("the service was ended there by the signal {name}"))
            }
            Over::Ended(Exit::Status(code)) => {
                self.broken(&format!("the service ended there with {code}"))
            }
            Over::Ended(Exit::Unknown) => self.broken("the service ended there"),
        }
    }

    fn broken(&self, why: &str) -> Failure {
        let mut why = format!("the connection to {} broke: {why}", self.settings.address);
        if !self.errors.bytes().is_empty() {
            why += &format!(" (it said: {})", shown(self.errors.bytes()));
        }
        Failure::new(Kind::Broken, why)
    }

    /// Whether it is open.
    fn check(&self) -> Result<(), Failure> {
        if self.is_open {
            return Ok(());
        }
        Err(Failure::new(
            Kind::Broken,
            format!("there is no connection to {}", self.settings.address),
        ))
    }
}

impl Drop for LibraryPipe {
    fn drop(&mut self) {
        self.exchange.close();
    }
}

impl Pipe for LibraryPipe {
    fn connect(&mut self, until: Instant) -> Result<bool, Failure> {
        if self.is_open {
            return Ok(true);
        }
        if self.exchange.wait_for_login(until.min(self.patience)) {
            return match self.exchange.over() {
                Some(over @ Over::Failed(_)) => Err(self.failure(over)),
                _ => {
                    self.is_open = true;
                    Ok(true)
                }
            };
        }
        if Instant::now() < self.patience {
            return Ok(false);
        }
        Err(Failure::new(
            Kind::Unreachable,
            format!(
                "cannot connect to {}: not logged in after {:?}; perhaps the ssh-agent \
                 or the system's look-up of names does not answer",
                self.settings.address, self.settings.connect_timeout
            ),
        ))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        self.check()?;
        match self.exchange.over() {
            Some(over @ Over::Broken(_)) => Err(self.failure(over)),
            // Why it takes nothing any more, reading tells.
            Some(_) => Ok(0),
            None => Ok(self.exchange.send(bytes)),
        }
    }

    fn end_input(&mut self) -> Result<bool, Failure> {
        self.check()?;
        self.exchange.end_input();
        Ok(true)
    }

    fn read(&mut self, into: &mut [u8]) -> Result<Heard, Failure> {
        self.check()?;
        self.errors.push(&self.exchange.errors());
        let count = self.exchange.receive(into);
        if count > 0 {
            return Ok(Heard::Bytes(count));
        }
        match self.exchange.over() {
            Some(Over::Ended(_)) => Ok(Heard::End),
            Some(over) => Err(self.failure(over)),
            None => Ok(Heard::Nothing),
        }
    }

    fn wait(&mut self, to_write: bool, until: Instant) -> Result<(), Failure> {
        self.check()?;
        self.exchange.wait(to_write, until);
        Ok(())
    }

    fn exit(&mut self) -> Result<Exit, Failure> {
        match self.exchange.over() {
            Some(Over::Ended(exit)) => Ok(exit),
            Some(over) => Err(self.failure(over)),
            None => Err(self.broken("the service has not ended")),
        }
    }

    fn errors(&self) -> &Captured {
        &self.errors
    }

    fn ended(&mut self) -> Failure {
        match self.exchange.over() {
            Some(over) => self.failure(over),
            None => self.broken("the service ended there"),
        }
    }
}

#[cfg(test)]
mod tests;
