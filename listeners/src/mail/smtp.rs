//! SMTP: the dialogue with a mail server.
//!
//! One connection for each mail. Each step has its time, each line its length,
//! and each recipient an answer of its own: those that are refused do not keep
//! the others from getting the mail. A library would be better; the known ones
//! for a single thread read lines without a bound, or keep what came in clear
//! for an answer inside TLS, or give a mail up with its first refused recipient.

mod tls;
mod wire;

pub(crate) use wire::Cancel;

use super::address::is_host;
use super::message::Sealed;
use super::secret::Secret;
use super::transport::{ADVICE, Outcome, Report};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::ClientConfig;
use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wire::{Reply, Wire};

/// A server, and how to speak to it.
#[derive(Clone, Debug)]
pub(crate) struct Smtp {
    pub(super) server: Server,
    pub(super) tls: Tls,
    pub(super) login: Option<Login>,
    pub(super) ca_file: Option<PathBuf>,
    /// The name in its certificate.
    pub(super) server_name: String,
    /// What we call ourselves.
    pub(super) hello: String,
    /// For each answer.
    pub(super) timeout: Duration,
}

/// A server's address: `smtp://mail.example.com:587`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Server {
    /// TLS from the start.
    pub(super) is_implicit: bool,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    written: String,
}

/// Whether and when TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// All goes in clear.
    Never,
    /// By STARTTLS, before anything is said.
    Later,
    /// At once.
    Implicit,
}

/// Whom to log in as.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password_file: PathBuf,
}

/// What was read from files for one mail: they may change between two.
#[derive(Debug)]
pub(super) struct Prepared {
    password: Option<Secret>,
    tls: Option<Arc<ClientConfig>>,
}

/// So many of a name's addresses are tried.
const ADDRESSES_MAX: usize = 16;
/// The last answer may take so many times longer: it is given when the server
/// has delivered, and who does not wait for it sends the mail again.
const LAST_ANSWER_FACTOR: u32 = 10;
/// For saying goodbye when all is done.
const GOODBYE: Duration = Duration::from_millis(500);

/// Why a mail came to nothing, for all of its recipients.
enum Failure {
    Later(String),
    Stop(String),
}

type Step<T> = Result<T, Failure>;

impl Smtp {
    /// Reads the password and the certificates.
    pub(super) fn prepare(&self) -> Result<Prepared, String> {
        let read = |login: &Login| Secret::read(&login.password_file);
        let password = self.login.as_ref().map(read).transpose()?;
        let tls = match self.tls {
            Tls::Never => None,
            Tls::Later | Tls::Implicit => Some(tls::config(self.ca_file.as_deref())?),
        };
        Ok(Prepared { password, tls })
    }

    pub(super) fn send(
        &self,
        mail: &Sealed,
        cancel: &Cancel,
    ) -> (Report, Option<Goodbye>) {
        let prepared = match self.prepare() {
            Ok(prepared) => prepared,
            Err(why) => return (Report::Stop(why), None),
        };
        let result = self.connect(cancel).and_then(|tcp| {
            cancel.set(tcp.try_clone().ok());
            let wire = Wire::new(tcp);
            Dialogue { smtp: self, prepared, wire, features: Vec::new() }.send(mail)
        });
        cancel.set(None);
        match result {
            Ok((answers, wire)) => (Report::Answered(answers), Some(Goodbye(wire))),
            Err(Failure::Later(why)) => (Report::Failed(why), None),
            Err(Failure::Stop(why)) => (Report::Stop(why), None),
        }
    }

    /// Tries the addresses in the order of the system.
    fn connect(&self, cancel: &Cancel) -> Step<TcpStream> {
        let Server { host, port, .. } = &self.server;
        let cannot = |why: String| {
            Failure::Later(format!("cannot connect to {}: {why}", self.server))
        };
        let addresses = (host.as_str(), *port)
            .to_socket_addrs()
            .map_err(|error| cannot(format!("its name is not known: {error}")))?;
        let mut failures = Vec::new();
        for address in addresses.take(ADDRESSES_MAX) {
            if cancel.is_cancelled() {
                failures.push("broken off".to_owned());
                break;
            }
            match TcpStream::connect_timeout(&address, self.timeout) {
                // A call to a free port of this machine can meet itself.
                Ok(tcp) if tcp.local_addr().is_ok_and(|own| own == address) => {
                    failures.push(format!("{address}: nobody listens"));
                }
                Ok(tcp) => {
                    _ = tcp.set_nodelay(true);
                    return Ok(tcp);
                }
                Err(error) => failures.push(format!("{address}: {error}")),
            }
        }
        Err(cannot(failures.join("; ")))
    }
}

/// A connection on which all was said. It is ended when this is dropped: what
/// was answered stands, whatever becomes of that.
pub(crate) struct Goodbye(Wire);

impl Drop for Goodbye {
    fn drop(&mut self) {
        if self.0.send(b"QUIT\r\n", GOODBYE).is_ok() {
            _ = self.0.reply(GOODBYE);
        }
    }
}

/// One connection, from the greeting to the last answer.
struct Dialogue<'a> {
    smtp: &'a Smtp,
    prepared: Prepared,
    wire: Wire,
    /// What the server says it can do, a line each, in capitals.
    features: Vec<String>,
}

impl Dialogue<'_> {
    fn send(mut self, mail: &Sealed) -> Step<(Vec<(String, Outcome)>, Wire)> {
        self.begin()?;
        if self.prepared.password.is_some() {
            self.log_in()?;
        }
        Ok((self.transfer(mail)?, self.wire))
    }

    /// The greeting, and TLS where it is wanted.
    fn begin(&mut self) -> Step<()> {
        if self.smtp.tls == Tls::Implicit {
            self.begin_tls()?;
        }
        let greeting = self.reply(self.smtp.timeout)?;
        if greeting.code != 220 {
            return Err(self.later("does not take mail now", &greeting));
        }
        self.hello()?;
        if self.smtp.tls == Tls::Later {
            if !self.offers("STARTTLS") {
                return Err(Failure::Stop(format!(
                    "the mail server {} offers no STARTTLS, so nothing was sent to it. \
                     Either it has none, or somebody in between takes the offer away. Ask \
                     its administrator; if all may go in clear, write `starttls: Never`",
                    self.smtp.server
                )));
            }
            let answer = self.ask("STARTTLS")?;
            match answer.code {
                220 => self.begin_tls()?,
                500.. => return Err(self.stop("refuses to begin TLS", &answer)),
                _ => return Err(self.later("cannot begin TLS now", &answer)),
            }
            // What was said in clear is forgotten.
            self.hello()?;
        }
        Ok(())
    }

    fn hello(&mut self) -> Step<()> {
        self.features.clear();
        let name = match self.smtp.hello.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => format!("[{address}]"),
            Ok(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
            Err(_) => self.smtp.hello.clone(),
        };
        let answer = self.ask(&format!("EHLO {name}"))?;
        if answer.is_positive() {
            let features = answer.lines.iter().skip(1);
            self.features = features.map(|line| line.to_ascii_uppercase()).collect();
            return Ok(());
        }
        if !matches!(answer.code, 500 | 502) {
            return Err(self.later("does not take us", &answer));
        }
        // An old one, which can do nothing but mail.
        let answer = self.ask(&format!("HELO {name}"))?;
        if answer.is_positive() {
            Ok(())
        } else {
            Err(self.later("does not take us", &answer))
        }
    }

    fn begin_tls(&mut self) -> Step<()> {
        let server = &self.smtp.server;
        let name = tls::name(&self.smtp.server_name).map_err(Failure::Stop)?;
        let Some(config) = &self.prepared.tls else {
            return Err(Failure::Stop("TLS was not prepared".to_owned()));
        };
        let begun = self.wire.begin_tls(Arc::clone(config), name, self.smtp.timeout);
        begun.map_err(|error| {
            Failure::Later(format!(
                "no TLS with the mail server {server}, so nothing was sent to it: {}",
                tls::explain(&error, &self.smtp.server_name)
            ))
        })
    }

    fn log_in(&mut self) -> Step<()> {
        let (Some(login), Some(password)) =
            (&self.smtp.login, self.prepared.password.take())
        else {
            return Ok(());
        };
        let encode = |text: &str| BASE64.encode(text);
        let password = password.expose();
        let answer = if self.can_log_in("PLAIN") {
            let both = encode(&format!("\0{}\0{password}", login.user));
            self.ask(&format!("AUTH PLAIN {both}"))?
        } else if self.can_log_in("LOGIN") {
            let mut answer = self.ask("AUTH LOGIN")?;
            for word in [login.user.as_str(), password] {
                if answer.code == 334 {
                    answer = self.ask(&encode(word))?;
                }
            }
            answer
        } else {
            return Err(Failure::Stop(format!(
                "the mail server {} takes no password (it offers neither AUTH PLAIN nor \
                 AUTH LOGIN), so nothing was sent. Leave out `user` and `password_file`, \
                 or ask its administrator",
                self.smtp.server
            )));
        };
        match answer.code {
            235 => Ok(()),
            400..500 => Err(self.later("cannot check the password now", &answer)),
            _ => {
                let what = format!("refuses the user {} or the password", login.user);
                Err(self.stop(&what, &answer))
            }
        }
    }

    fn transfer(&mut self, mail: &Sealed) -> Step<Vec<(String, Outcome)>> {
        let answer = self.ask(&format!("MAIL FROM:<{}>", mail.from))?;
        match answer.code {
            200..400 => {}
            // It is too large: others need not be.
            552 => return Ok(all(&mail.to, &Outcome::Refused(answer.shown()))),
            500.. => {
                return Err(
                    self.stop(&format!("refuses the sender {}", mail.from), &answer)
                );
            }
            _ => return Err(self.later("does not take mail now", &answer)),
        }
        let mut answers = Vec::new();
        for recipient in &mail.to {
            answers.push((recipient.clone(), self.recipient(recipient)?));
        }
        let is_taken = |(_, outcome): &(String, Outcome)| *outcome == Outcome::Delivered;
        if !answers.iter().any(is_taken) {
            return Ok(answers);
        }
        let outcome = self.content(&mail.content)?;
        for answer in answers.iter_mut().filter(|answer| is_taken(answer)) {
            answer.1 = outcome.clone();
        }
        Ok(answers)
    }

    /// `Delivered` here says that the server would take it.
    fn recipient(&mut self, recipient: &str) -> Step<Outcome> {
        let answer = self.ask(&format!("RCPT TO:<{recipient}>"))?;
        Ok(match answer.code {
            200..400 => Outcome::Delivered,
            // It closes the connection.
            421 => return Err(self.later("does not take mail now", &answer)),
            // Without a password, or without TLS, it takes none at all.
            530 => return Err(self.stop("does not take mail like this", &answer)),
            // RFC 5321, 4.5.3.1.10: too many recipients, or no room now.
            400..500 | 552 => Outcome::Later(answer.shown()),
            _ => Outcome::Refused(answer.shown()),
        })
    }

    fn content(&mut self, content: &str) -> Step<Outcome> {
        let answer = self.ask("DATA")?;
        match answer.code {
            354 => {}
            421 => return Err(self.later("does not take mail now", &answer)),
            500.. => return Ok(Outcome::Refused(answer.shown())),
            _ => return Ok(Outcome::Later(answer.shown())),
        }
        let long = self.smtp.timeout * LAST_ANSWER_FACTOR;
        let sent = self.wire.send(&stuffed(content), long);
        sent.and_then(|()| self.wire.reply(long)).map_or_else(
            |error| {
                Err(Failure::Later(format!(
                    "the mail server {} did not say whether it took the mail: {error}. It \
                     is sent again, with the same Message-ID",
                    self.smtp.server
                )))
            },
            |answer| {
                Ok(match answer.code {
                    200..400 => Outcome::Delivered,
                    500.. => Outcome::Refused(answer.shown()),
                    _ => Outcome::Later(answer.shown()),
                })
            },
        )
    }

    fn ask(&mut self, line: &str) -> Step<Reply> {
        let line = format!("{line}\r\n");
        let sent = self.wire.send(line.as_bytes(), self.smtp.timeout);
        sent.map_err(|error| self.broken(&error))?;
        self.reply(self.smtp.timeout)
    }

    fn reply(&mut self, within: Duration) -> Step<Reply> {
        self.wire.reply(within).map_err(|error| self.broken(&error))
    }

    fn offers(&self, feature: &str) -> bool {
        self.features.iter().any(|line| line.split(' ').next() == Some(feature))
    }

    /// `AUTH PLAIN LOGIN`, or `AUTH=PLAIN` of old.
    fn can_log_in(&self, mechanism: &str) -> bool {
        let mut lines = self.features.iter().filter(|line| line.starts_with("AUTH"));
        lines.any(|line| line.split([' ', '=']).skip(1).any(|word| word == mechanism))
    }

    fn broken(&self, error: &std::io::Error) -> Failure {
        let server = &self.smtp.server;
        Failure::Later(format!(
            "the connection to the mail server {server} broke: {error}"
        ))
    }

    fn later(&self, what: &str, answer: &Reply) -> Failure {
        let server = &self.smtp.server;
        Failure::Later(format!("the mail server {server} {what}: {}", answer.shown()))
    }

    fn stop(&self, what: &str, answer: &Reply) -> Failure {
        let server = &self.smtp.server;
        Failure::Stop(format!(
            "the mail server {server} {what}: {}{ADVICE}",
            answer.shown()
        ))
    }
}

fn all(to: &[String], outcome: &Outcome) -> Vec<(String, Outcome)> {
    to.iter().map(|recipient| (recipient.clone(), outcome.clone())).collect()
}

/// The content with the dots at the start of its lines doubled, and its end.
fn stuffed(content: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len() + content.len() / 64 + 3);
    for line in content.split_inclusive("\r\n") {
        if line.starts_with('.') {
            bytes.push(b'.');
        }
        bytes.extend_from_slice(line.as_bytes());
    }
    bytes.extend_from_slice(b".\r\n");
    bytes
}

impl Server {
    /// Whether what goes there does not leave this machine.
    pub(super) fn is_on_this_machine(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// As the configuration has it.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl TryFrom<String> for Server {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        let (is_implicit, address) = match written.split_once("://") {
            Some(("smtp", address)) => (false, address),
            Some(("smtps", address)) => (true, address),
            _ => return Err(format!("{written:?} is no mail server: {LIKE}")),
        };
        let (host, port) =
            split(address).ok_or_else(|| format!("{written:?} names no host: {LIKE}"))?;
        let port = match port {
            None if is_implicit => 465,
            None => 25,
            Some(port) => {
                port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
                    format!("{written:?} has the port {port:?}: ports are 1 to 65535")
                })?
            }
        };
        let host = host.to_owned();
        Ok(Self { is_implicit, host, port, written })
    }
}

/// The host and the port of `host`, `host:25`, `[::1]` or `[::1]:25`.
fn split(address: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let is_fine = is_host(host) || host.parse::<IpAddr>().is_ok();
    is_fine.then_some((host, port))
}

const LIKE: &str =
    "write it like \"smtp://mail.example.com:587\" or \"smtps://mail.example.com\"";

#[cfg(test)]
mod tests;
