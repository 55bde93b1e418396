//! Who may send, and how it is proved.

use super::Settings;
use crate::greeting::{self, Greeting, Proof};
use crate::key::{SharedKey, provider};
use crate::link::{read_some, shake_hands};
use crate::secret;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    AlertDescription, Connection, Error, RootCertStore, ServerConfig, ServerConnection,
};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A greeting and a handshake have so long together.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The receiver's certificate, and whose certificates it believes: files in PEM.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The receiver's own.
    pub certificate: PathBuf,
    /// Its key, readable by nobody but its owner.
    pub key: PathBuf,
    /// Those that sign the certificates of senders.
    pub ca: PathBuf,
}

impl Certificates {
    /// Reads all files, as they are now.
    ///
    /// # Errors
    ///
    /// In words.
    pub fn server(&self) -> Result<ServerConnection, String> {
        let chain = read_certificates(&self.certificate)?;
        let pem = zeroize::Zeroizing::new(secret::read_private(&self.key)?);
        // The error has no part of the key.
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|_| format!("{} holds no private key", self.key.display()))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(read_certificates(&self.ca)?);
        if roots.is_empty() {
            return Err(format!("{} has no certificate", self.ca.display()));
        }
        let in_words =
            |error: Error| format!("{} and its key: {error}", self.certificate.display());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|error| format!("{}: {error}", self.ca.display()))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(in_words)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(in_words)?;
        config.send_tls13_tickets = 0;
        ServerConnection::new(Arc::new(config)).map_err(in_words)
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = secret::read(path)?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot read {} as PEM: {error}", path.display()))
}

/// Why somebody is not let in.
pub(super) struct Stranger {
    /// For the receiver's log.
    pub(super) why: String,
    /// For the caller, where it can be told without giving anything away.
    pub(super) told: Option<String>,
}

impl Stranger {
    fn silently(why: impl Into<String>) -> Self {
        Self { why: why.into(), told: None }
    }

    fn told(why: impl Into<String>) -> Self {
        let why = why.into();
        Self { told: Some(why.clone()), why }
    }
}

/// Finds out who calls, and sees it proved.
pub(super) fn recognise(
    stream: &TcpStream,
    settings: &Settings,
) -> Result<(String, Option<Connection>), Stranger> {
    let until = Instant::now() + HANDSHAKE_TIMEOUT;
    let greeting = hear_greeting(stream, until)?;
    let peer = &greeting.peer;
    let tls = match greeting.proof {
        Proof::None => {
            let is_here =
                stream.peer_addr().is_ok_and(|address| address.ip().is_loopback());
            if !is_here || !settings.lets_in_unproved(peer) {
                return Err(Stranger::told(format!(
                    "{peer} must prove who it is: give its `Forward` a `shared_key`, or \
                     `certificate` and `key`"
                )));
            }
            return Ok((greeting.peer, None));
        }
        Proof::Key => by_key(stream, settings, peer, until)?,
        Proof::Certificate => by_certificate(stream, settings, peer, until)?,
    };
    Ok((greeting.peer, Some(Connection::Server(tls))))
}

fn hear_greeting(stream: &TcpStream, until: Instant) -> Result<Greeting, Stranger> {
    let mut bytes = Vec::new();
    loop {
        match Greeting::read(&bytes) {
            Ok(Some((greeting, _))) => return Ok(greeting),
            Ok(None) => {}
            Err(why) => return Err(Stranger::silently(why)),
        }
        // Not a byte more than it has: what follows may be TLS.
        let wanted = match bytes.get(greeting::FIXED_BYTES - 1) {
            Some(name) => greeting::FIXED_BYTES + usize::from(*name),
            None => greeting::FIXED_BYTES,
        };
        let mut room = [0; greeting::BYTES_MAX + 256];
        let count = read_some(stream, &mut room[..wanted - bytes.len()], until);
        match count {
            Ok(0) => return Err(Stranger::silently("it closed the connection")),
            Ok(count) => bytes.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(Stranger::silently(format!(
                    "it did not say who it is in {HANDSHAKE_TIMEOUT:?}"
                )));
            }
            Err(error) => return Err(Stranger::silently(error.to_string())),
        }
    }
}

/// A peer that is not known fails as one with a wrong key does.
fn by_key(
    stream: &TcpStream,
    settings: &Settings,
    peer: &str,
    until: Instant,
) -> Result<ServerConnection, Stranger> {
    let known = settings.peers.get(peer);
    let path = known.and_then(|peer| peer.shared_key.as_ref());
    let (key, why) = match path.map(|path| SharedKey::read(path)) {
        Some(Ok(key)) => (Some(key), None),
        Some(Err(why)) => (SharedKey::nobodys(), Some(why)),
        None if known.is_some() => {
            (SharedKey::nobodys(), Some("it has no `shared_key` in `peers`".to_owned()))
        }
        None => (SharedKey::nobodys(), Some("it is not in `peers`".to_owned())),
    };
    let none =
        || Stranger::silently(format!("{peer}: the system draws no random numbers"));
    let server = key.ok_or_else(none)?.server(peer);
    let server =
        server.map_err(|error| Stranger::silently(format!("{peer}: {error}")))?;
    let shaken = shake(stream, server, until);
    match (shaken, why) {
        (Ok(server), None) => Ok(server),
        (_, Some(why)) => {
            Err(Stranger::silently(format!("who calls itself {peer}: {why}")))
        }
        (Err(why), None) => Err(Stranger::silently(format!(
            "who calls itself {peer} does not prove it by the shared key: {why}"
        ))),
    }
}

fn by_certificate(
    stream: &TcpStream,
    settings: &Settings,
    peer: &str,
    until: Instant,
) -> Result<ServerConnection, Stranger> {
    let Some(certificates) = &settings.certificates else {
        return Err(Stranger::silently(format!(
            "who calls itself {peer} would show a certificate, and `tls` is not configured"
        )));
    };
    let server = certificates.server().map_err(Stranger::silently)?;
    let server = shake(stream, server, until).map_err(|why| {
        Stranger::silently(format!("who calls itself {peer} does not prove it: {why}"))
    })?;
    let shown = server.peer_certificates().and_then(<[_]>::first);
    let is_its = shown.is_some_and(|shown| {
        let name = ServerName::try_from(peer);
        let parsed = ParsedCertificate::try_from(shown);
        name.ok()
            .zip(parsed.ok())
            .is_some_and(|(name, it)| verify_server_name(&it, &name).is_ok())
    });
    // It is one whose certificate we believe: it may know.
    let why = if !is_its {
        format!(
            "the certificate that was shown is not for {peer}: it needs this name among its \
             DNS names, or `peer` another one"
        )
    } else if settings.peers.get(peer).is_none_or(|peer| peer.shared_key.is_some()) {
        format!("{peer} is not in `peers`, or it has a `shared_key` there")
    } else {
        return Ok(server);
    };
    let mut server = Connection::Server(server);
    tell(stream, &mut server, &why);
    Err(Stranger::silently(why))
}

/// In TLS, and in one breath: it is not answered.
fn tell(stream: &TcpStream, tls: &mut Connection, why: &str) {
    use std::io::Write as _;
    let mut frame = Vec::new();
    let last = crate::wire::Frame::Refused(why).write(&mut frame);
    frame.extend_from_slice(last);
    if tls.writer().write_all(&frame).is_ok() {
        tls.send_close_notify();
        let until = Instant::now() + Duration::from_secs(1);
        _ = shake_hands(tls, stream, until);
    }
}

fn shake(
    stream: &TcpStream,
    server: ServerConnection,
    until: Instant,
) -> Result<ServerConnection, String> {
    let mut tls = Connection::Server(server);
    match shake_hands(&mut tls, stream, until) {
        Ok(()) => {}
        Err(error) => return Err(in_words(&error)),
    }
    match tls {
        Connection::Server(server) => Ok(server),
        Connection::Client(_) => Err("it is no server".to_owned()),
    }
}

/// What went wrong in a handshake, for the log of the receiver.
fn in_words(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired,
        )) => "it does not accept what this receiver shows".to_owned(),
        Some(Error::InvalidCertificate(
            rustls::CertificateError::ApplicationVerificationFailure,
        )) => "it has another key".to_owned(),
        Some(Error::NoCertificatesPresented) => "it showed no certificate".to_owned(),
        Some(Error::InvalidMessage(_)) => "what it speaks is no TLS".to_owned(),
        Some(error) => error.to_string(),
        None if error.kind() == io::ErrorKind::TimedOut
            || error.kind() == io::ErrorKind::WouldBlock =>
        {
            format!("the handshake was not over after {HANDSHAKE_TIMEOUT:?}")
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it closed the connection".to_owned()
        }
        None => error.to_string(),
    }
}
