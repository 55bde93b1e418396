//! Getting a connection to a receiver that is the one that was meant, and to be let
//! in by it.

use crate::forward::dial::connect_tcp;
use crate::forward::target::Target;
use crate::forward::tls::Tls;
use rustls::{AlertDescription, ClientConnection, Connection, Error};
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tripline_relay::greeting::{Greeting, Proof};
use tripline_relay::key::SharedKey;
use tripline_relay::link::{Link, LinkError, shake_hands};
use tripline_relay::wire::{Frame, Tie, VERSION, printable};

/// How we prove who we are, and the receiver who it is.
#[derive(Clone, Debug)]
pub(in crate::forward) enum Identity {
    /// Not at all: on this machine.
    None,
    /// By the key in this file.
    Key(PathBuf),
    /// By certificates.
    Certificate(Tls),
}

/// Who calls.
#[derive(Clone, Debug)]
pub(in crate::forward) struct Caller {
    pub(in crate::forward) peer: String,
    pub(in crate::forward) stream: String,
    pub(in crate::forward) identity: Identity,
    pub(in crate::forward) compress: bool,
}

/// A connection that was let in.
pub(in crate::forward) struct Entered {
    pub(super) link: Link,
    /// The number of the receiver's database.
    pub(super) receiver: u64,
    /// What it has of us.
    pub(super) tie: Option<Tie>,
}

/// A receiver may wait for the end of our last connection before it lets us in.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(20);

impl Caller {
    /// Whether keys or certificates are looked at.
    pub(in crate::forward) const fn is_secret(&self) -> bool {
        !matches!(self.identity, Identity::None)
    }

    /// Gets a connection that frames can be sent over. Takes its time.
    ///
    /// # Errors
    ///
    /// Why there is none, in words.
    pub(super) fn call(
        &self,
        to: &Target,
        timeout: Duration,
        stalled: Duration,
    ) -> Result<Entered, String> {
        let failed = |why: String| format!("cannot forward to {to}: {why}");
        // What is wrong here is found before anybody is called.
        let (proof, tls) = self.prepare(to).map_err(failed)?;
        let mut stream = connect_tcp(to, timeout)?;
        let greeting = Greeting { peer: self.peer.clone(), proof };
        let broke = |error: io::Error| format!("cannot forward to {to}: {error}");
        stream.set_write_timeout(Some(timeout)).map_err(broke)?;
        stream.write_all(&greeting.bytes()).map_err(broke)?;
        let tls = match tls {
            Some(tls) => Some(self.shake(to, tls, &mut stream, timeout)?),
            None => None,
        };
        let mut link = Link::new(stream, tls, stalled).map_err(broke)?;
        let (receiver, tie) = self.enter(&mut link).map_err(failed)?;
        if self.compress {
            link.deflate();
        }
        Ok(Entered { link, receiver, tie })
    }

    fn prepare(&self, to: &Target) -> Result<(Proof, Option<Secure>), String> {
        Ok(match &self.identity {
            Identity::None => (Proof::None, None),
            Identity::Key(path) => {
                let client = SharedKey::read(path)?
                    .client(&self.peer)
                    .map_err(|e| e.to_string())?;
                (Proof::Key, Some(Secure::Key(Box::new(client))))
            }
            Identity::Certificate(tls) => {
                let caller = tls.prepare(to)?;
                (Proof::Certificate, Some(Secure::Certificate(Box::new(caller))))
            }
        })
    }

    fn shake(
        &self,
        to: &Target,
        tls: Secure,
        stream: &mut TcpStream,
        timeout: Duration,
    ) -> Result<Connection, String> {
        match tls {
            Secure::Certificate(caller) => {
                let client = caller.begin_unheard(to, stream, timeout)?;
                Ok(Connection::Client(client))
            }
            Secure::Key(client) => {
                let mut client = Connection::Client(*client);
                let until = Instant::now() + timeout;
                shake_hands(&mut client, stream, until).map_err(|error| {
                    let why = self.why_no_key(&error, timeout);
                    format!("cannot forward to {to}: {why}")
                })?;
                Ok(client)
            }
        }
    }

    /// In TLS the receiver may say that it does not know us when for us everything
    /// is fine.
    fn enter(&self, link: &mut Link) -> Result<(u64, Option<Tie>), String> {
        let hello = Frame::Hello { version: VERSION, stream: &self.stream };
        let until = Instant::now() + WELCOME_TIMEOUT;
        link.send(&hello).map_err(|error| self.why_no_entry(error))?;
        loop {
            match link.take().map_err(|error| self.why_no_entry(error))? {
                Some(Frame::Welcome { version: VERSION, receiver, tie }) => {
                    return Ok((receiver, tie));
                }
                Some(Frame::Welcome { .. }) => return Err(OTHER.to_owned()),
                Some(Frame::Refused(why)) => {
                    return Err(format!("it says: {}", printable(why)));
                }
                Some(_) => return Err(OTHER.to_owned()),
                None if Instant::now() >= until => {
                    return Err(format!("it said nothing for {WELCOME_TIMEOUT:?}"));
                }
                None => {}
            }
            let read = link.read().map_err(|error| self.why_no_entry(error))?;
            if !read {
                link.wait(true, until, None).map_err(|error| error.to_string())?;
            }
        }
    }

    fn why_no_key(&self, error: &io::Error, timeout: Duration) -> String {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match tls {
            Some(Error::InvalidCertificate(_) | Error::AlertReceived(_)) => format!(
                "it does not have the `shared_key` of {:?}, or knows no such peer: compare \
                 the files, and `peer` with its `peers`",
                self.peer
            ),
            Some(Error::InvalidMessage(_)) => "what it speaks is no TLS".to_owned(),
            Some(error) => error.to_string(),
            None if matches!(
                error.kind(),
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
            ) =>
            {
                format!("the handshake was not over after {timeout:?}")
            }
            None if error.kind() == io::ErrorKind::UnexpectedEof => CLOSED.to_owned(),
            None => error.to_string(),
        }
    }

    fn why_no_entry(&self, error: LinkError) -> String {
        let alert = match &error {
            LinkError::Closed => return CLOSED.to_owned(),
            LinkError::Broken(error)
                if error.kind() == io::ErrorKind::ConnectionReset =>
            {
                return CLOSED.to_owned();
            }
            LinkError::Broken(broken) => {
                broken.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
            }
            LinkError::Wire(_) => None,
        };
        match alert {
            Some(Error::AlertReceived(AlertDescription::CertificateRequired)) => {
                "it asks for a certificate of ours: `certificate`, `key`".to_owned()
            }
            Some(Error::AlertReceived(alert)) => match self.identity {
                Identity::Key(_) => self.why_no_key(
                    &io::Error::other(Error::AlertReceived(*alert)),
                    WELCOME_TIMEOUT,
                ),
                _ => format!("it refuses our certificate: {alert:?}"),
            },
            _ => error.to_string(),
        }
    }
}

/// Knows everything and has not called yet.
enum Secure {
    Key(Box<ClientConnection>),
    Certificate(Box<crate::forward::tls::Caller>),
}

const OTHER: &str = "it answered with something else: is it a `tripline receive`, and of this \
                     version?";
const CLOSED: &str = "it closed the connection without a word: is it a `tripline receive`, and \
                      does it let us in? It says more";
