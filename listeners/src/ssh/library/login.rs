//! From a name to a service that is there: what a login does.
//!
//! It waits, and has a thread for it. The library is asked to give up when the
//! time is over; an agent cannot be.

use super::known::{self, Known, Verdict};
use crate::ssh::failure::{Failure, Kind};
use crate::ssh::hostkey::{self, Shown, Trouble};
use crate::ssh::text::shown;
use crate::ssh::transport::Service;
use crate::ssh::{Address, Settings, key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustix::net::sockopt;
use sha2::{Digest as _, Sha256};
use ssh2::{Channel, ErrorCode, MethodType, Session};
use std::io;
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

/// So many of a name's addresses are tried.
const ADDRESSES_MAX: usize = 16;
/// So many of an agent's keys are tried: servers end it after a few.
const IDENTITIES_MAX: usize = 16;
/// A server that ends it after so many does so because they are too many.
const TRIES_MIN: usize = 4;
/// An idle connection is probed at these intervals, so often.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// What we ask hosts for, the best first.
const HOST_KEYS: &[(&str, &str)] = &[
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256"),
];

/// A connection with a service on it, from now on not to be waited for.
pub(super) struct Established {
    pub(super) channel: Channel,
    pub(super) session: Session,
    /// The same socket that the session has.
    pub(super) stream: TcpStream,
}

impl Drop for Established {
    /// Ends it at once: the library, which would say good-bye, must not find
    /// that it has to wait.
    fn drop(&mut self) {
        _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Logs in and starts the service.
pub(super) fn log_in(
    settings: &Settings,
    user: &str,
    service: &Service,
    until: Instant,
) -> Result<Established, Failure> {
    let address = &settings.address;
    let login = Login { settings, user, until };
    let known = known::read(settings)?;
    let stream = login.dial()?;
    let cannot = |error: io::Error| {
        let why = format!("cannot use a connection to {address}: {error}");
        Failure::new(Kind::Unreachable, why)
    };
    set_up(&stream, settings).map_err(cannot)?;
    let mut session = Session::new().map_err(|error| login.failed("begin", &error))?;
    login.patience(&session)?;
    let wanted = host_keys(&known, address);
    session
        .method_pref(MethodType::HostKey, &wanted)
        .map_err(|error| login.failed("choose its key", &error))?;
    session.set_tcp_stream(stream.try_clone().map_err(cannot)?);
    session.handshake().map_err(|error| login.failed("agree on keys", &error))?;
    login.check_host_key(&session, &known)?;
    login.authenticate(&session)?;
    let channel = login.start(&session, service)?;
    session.set_blocking(false);
    session.set_keepalive(false, seconds(settings.keepalive));
    Ok(Established { channel, session, stream })
}

struct Login<'a> {
    settings: &'a Settings,
    user: &'a str,
    until: Instant,
}

impl Login<'_> {
    fn dial(&self) -> Result<TcpStream, Failure> {
        let address = &self.settings.address;
        let unreachable = |why: String| {
            Failure::new(Kind::Unreachable, format!("cannot connect to {address}: {why}"))
        };
        let port = address.port.unwrap_or(Address::PORT);
        let found = (address.host.as_str(), port).to_socket_addrs().map_err(|error| {
            unreachable(format!("its name {:?} is not known: {error}", address.host))
        })?;
        let mut failures = Vec::new();
        for place in found.take(ADDRESSES_MAX) {
            match TcpStream::connect_timeout(&place, self.left()?) {
                // Where nobody listens, a call can meet itself.
                Ok(stream) if stream.local_addr().is_ok_and(|own| own == place) => {
                    failures.push(format!("{place}: nobody listens"));
                }
                Ok(stream) => return Ok(stream),
                Err(error) => failures.push(format!("{place}: {error}")),
            }
        }
        Err(unreachable(failures.join("; ")))
    }

    /// How much time there is, at least a little.
    fn left(&self) -> Result<Duration, Failure> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::new(
                Kind::Unreachable,
                format!(
                    "cannot connect to {}: not done after {:?}",
                    self.settings.address, self.settings.connect_timeout
                ),
            ));
        }
        Ok(left.max(Duration::from_millis(1)))
    }

    /// Lets the next call of the library take what time there is.
    fn patience(&self, session: &Session) -> Result<(), Failure> {
        let milliseconds = u32::try_from(self.left()?.as_millis()).unwrap_or(u32::MAX);
        session.set_timeout(milliseconds.max(1));
        Ok(())
    }

    fn failed(&self, what: &str, error: &ssh2::Error) -> Failure {
        let address = &self.settings.address;
        let words = if error.code() == ErrorCode::Session(code::TIMEOUT) {
            format!("it has not answered within {:?}", self.settings.connect_timeout)
        } else {
            shown(error.message().as_bytes())
        };
        Failure::new(
            Kind::Unreachable,
            format!("cannot connect to {address}: could not {what} with it: {words}"),
        )
    }

    fn check_host_key(&self, session: &Session, known: &Known) -> Result<(), Failure> {
        let Some((key, _)) = session.host_key() else {
            let why = format!("{} shows no key", self.settings.address);
            return Err(Failure::new(Kind::Garbled, why));
        };
        let kind = known::kind(key).unwrap_or("unknown");
        let trouble = match known.check(&self.settings.address, key) {
            Verdict::Known => return Ok(()),
            Verdict::Unknown => Trouble::Unknown,
            Verdict::Changed => Trouble::Changed,
            Verdict::Revoked => Trouble::Revoked,
        };
        let digest = STANDARD_NO_PAD.encode(Sha256::digest(key));
        let shown =
            Shown { kind: kind.to_owned(), fingerprint: format!("SHA256:{digest}") };
        let (address, file) = (&self.settings.address, known.file());
        Err(hostkey::failure(trouble, address, Some(&shown), file))
    }

    fn authenticate(&self, session: &Session) -> Result<(), Failure> {
        let refused = match &self.settings.key {
            Some(path) => {
                let private = key::read(path)?;
                self.patience(session)?;
                let tried =
                    session.userauth_pubkey_memory(self.user, None, &private, None);
                match tried {
                    Ok(()) if session.authenticated() => return Ok(()),
                    Ok(()) => "the server wants more than a key".to_owned(),
                    Err(error) if is_refusal(&error) => {
                        format!("it does not take the key {}", path.display())
                    }
                    Err(error) if is_of_the_file(&error) => {
                        return Err(Failure::new(
                            Kind::Setup,
                            format!(
                                "cannot use the key file {}: {}. It must be a private \
                                 key without a passphrase; one with a passphrase belongs \
                                 into an ssh-agent",
                                path.display(),
                                shown(error.message().as_bytes())
                            ),
                        ));
                    }
                    Err(error) => return Err(self.failed("log in", &error)),
                }
            }
            None => match self.ask_agent(session)? {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
        };
        Err(Failure::new(
            Kind::Login,
            format!(
                "{} does not let {:?} in: {refused}: add the public key to the account's \
                 authorized_keys, or name another key or user",
                self.settings.address, self.user
            ),
        ))
    }

    /// Tries the keys of the agent; the inner error is why none was taken.
    fn ask_agent(&self, session: &Session) -> Result<Result<(), String>, Failure> {
        let setup = |error: &ssh2::Error| {
            let why = format!(
                "cannot use the ssh-agent: {}. Start one and set SSH_AUTH_SOCK, or name \
                 the file of a key",
                shown(error.message().as_bytes())
            );
            Failure::new(Kind::Setup, why)
        };
        self.patience(session)?;
        let mut agent = session.agent().map_err(|error| setup(&error))?;
        if let Some(path) = &self.settings.agent {
            agent.set_identity_path(path).map_err(|error| setup(&error))?;
        }
        agent.connect().map_err(|error| setup(&error))?;
        agent.list_identities().map_err(|error| setup(&error))?;
        let identities = agent.identities().map_err(|error| setup(&error))?;
        for (number, identity) in identities.iter().take(IDENTITIES_MAX).enumerate() {
            self.patience(session)?;
            match agent.userauth(self.user, identity) {
                Ok(()) if session.authenticated() => return Ok(Ok(())),
                Ok(()) => {}
                Err(error) if is_refusal(&error) => {}
                Err(error) if error.code() == ErrorCode::Session(code::AGENT) => {}
                Err(_) if number >= TRIES_MIN => {
                    let why = "it ended the connection after some of the ssh-agent's keys; \
                               name the file of the right one";
                    return Ok(Err(why.to_owned()));
                }
                Err(error) => return Err(self.failed("log in", &error)),
            }
        }
        let count = identities.len();
        Ok(Err(match count {
            0 => "the ssh-agent has no keys: add one with ssh-add".to_owned(),
            count => format!("it takes none of the ssh-agent's keys ({count})"),
        }))
    }

    fn start(&self, session: &Session, service: &Service) -> Result<Channel, Failure> {
        self.patience(session)?;
        let address = &self.settings.address;
        let mut channel = session
            .channel_session()
            .map_err(|error| self.failed("open a channel", &error))?;
        self.patience(session)?;
        let started = match service {
            Service::Sftp => channel.subsystem("sftp"),
            Service::Exec(text) => channel.exec(text),
        };
        let Err(error) = started else { return Ok(channel) };
        if error.code() != ErrorCode::Session(code::REQUEST_DENIED) {
            return Err(self.failed("start the service", &error));
        }
        let why = match service {
            Service::Sftp => format!(
                "{address} offers no SFTP: write `Subsystem sftp internal-sftp` into its \
                 sshd_config"
            ),
            Service::Exec(_) => format!("{address} lets this account run no command"),
        };
        Err(Failure::new(Kind::Lacks, why))
    }
}

/// Sets the socket up such that a peer that vanished is noticed.
fn set_up(stream: &TcpStream, settings: &Settings) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, settings.keepalive.max(Duration::from_secs(1)))?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    let timeout = settings.answer_timeout.as_millis();
    sockopt::set_tcp_user_timeout(stream, u32::try_from(timeout).unwrap_or(u32::MAX))?;
    Ok(())
}

/// What to ask for: first the keys that are known of the host, then all others,
/// so that one that was changed is seen.
fn host_keys(known: &Known, address: &Address) -> String {
    let kinds = known.kinds(address);
    let mut sorted = HOST_KEYS.to_vec();
    sorted.sort_by_key(|(kind, _)| !kinds.iter().any(|known| known == kind));
    let names: Vec<&str> = sorted.into_iter().map(|(_, name)| name).collect();
    names.join(",")
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(2)
}

/// Numbers of the library's errors.
mod code {
    pub(super) const TIMEOUT: i32 = -9;
    pub(super) const FILE: i32 = -16;
    pub(super) const AUTHENTICATION_FAILED: i32 = -18;
    pub(super) const PUBLICKEY_UNVERIFIED: i32 = -19;
    pub(super) const REQUEST_DENIED: i32 = -22;
    /// The agent does not want to use the key.
    pub(super) const AGENT: i32 = -42;
    pub(super) const METHOD_NONE: i32 = -17;
    pub(super) const KEYFILE_AUTH_FAILED: i32 = -48;
    pub(super) const ALGO_UNSUPPORTED: i32 = -51;
}

/// Whether the server said no. What does not look like that may be a connection
/// that was cut, and is tried again; the library gives both one number.
fn is_refusal(error: &ssh2::Error) -> bool {
    match error.code() {
        ErrorCode::Session(code::AUTHENTICATION_FAILED) => true,
        ErrorCode::Session(code::PUBLICKEY_UNVERIFIED) => {
            error.message().contains("bad username/public key combination")
        }
        _ => false,
    }
}

fn is_of_the_file(error: &ssh2::Error) -> bool {
    matches!(
        error.code(),
        ErrorCode::Session(
            code::FILE
                | code::METHOD_NONE
                | code::KEYFILE_AUTH_FAILED
                | code::ALGO_UNSUPPORTED
        )
    )
}
