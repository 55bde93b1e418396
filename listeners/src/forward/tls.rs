//! TLS to a receiver that is the one that was meant.
//!
//! Certificates and keys are read again for each connection, so that new ones
//! are used without a restart. Nothing is sent before the receiver's
//! certificate was verified; `tls/verify.rs` does that, `tls/session.rs` wraps
//! what is sent.

pub(super) mod session;
mod verify;

use super::secret;
use super::target::Target;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error, ProtocolVersion};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
pub(super) use verify::Fingerprint;
use verify::Verifier;

/// What a receiver must be, and who we are.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    /// Whose certificates are believed; without it those that the system
    /// believes.
    pub(super) ca: Option<PathBuf>,
    /// Our certificate and its key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
    /// Whom the certificate must be for.
    pub(super) name: ServerName<'static>,
    /// The certificate must be this one.
    pub(super) fingerprint: Option<Fingerprint>,
}

/// In TLS 1.3 a receiver may refuse our certificate, or that we have none, when
/// for us the handshake is over. It is given this long to say so, unless it
/// says something else before.
const SECOND_THOUGHTS: Duration = Duration::from_secs(1);

impl Tls {
    /// Reads what is needed to speak TLS: nobody is called before.
    ///
    /// # Errors
    ///
    /// What is wrong with a file, in words.
    pub(super) fn prepare(&self, target: &Target) -> Result<Caller, String> {
        let why = |why: String| format!("cannot speak TLS with {target}: {why}");
        let verifier = Arc::new(self.verifier().map_err(why)?);
        let config = self.config(Arc::clone(&verifier)).map_err(why)?;
        let client = ClientConnection::new(Arc::new(config), self.name.clone());
        let client = client.map_err(|error| why(error.to_string()))?;
        Ok(Caller { client, verifier, name: self.name.clone() })
    }

    fn verifier(&self) -> Result<Verifier, String> {
        let only_by_fingerprint = self.fingerprint.is_some() && self.ca.is_none();
        if only_by_fingerprint {
            return Ok(Verifier::new(None, self.fingerprint));
        }
        let roots = match &self.ca {
            Some(path) => {
                let pem = secret::read(path)?;
                let certificates = read_certificates(&pem, path)?;
                let named = format!("{} has no certificate", path.display());
                verify::roots(certificates, &named)?
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                let why = found.errors.first().map(|error| format!(" ({error})"));
                let none = format!(
                    "this machine has no certificates to believe{}: install \
                     ca-certificates, or name a file by `ca`",
                    why.unwrap_or_default()
                );
                verify::roots(found.certs, &none)?
            }
        };
        Ok(Verifier::new(Some(roots), self.fingerprint))
    }

    fn config(&self, verifier: Arc<Verifier>) -> Result<ClientConfig, String> {
        let versions = &[&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let pem = secret::read(certificate)?;
                let chain = read_certificates(&pem, certificate)?;
                let pem = secret::read_private(key)?;
                // The error has no part of the key.
                let private = PrivateKeyDer::from_pem_slice(&pem)
                    .map_err(|_| format!("{} holds no private key", key.display()))?;
                builder.with_client_auth_cert(chain, private).map_err(|error| {
                    format!("{} and its key: {error}", certificate.display())
                })?
            }
        };
        // Each connection proves anew who is there.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

fn read_certificates(
    pem: &[u8],
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot read {} as PEM: {error}", path.display()))
}

/// The one of the whole program.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Knows everything and has not called yet.
pub(super) struct Caller {
    client: ClientConnection,
    verifier: Arc<Verifier>,
    name: ServerName<'static>,
}

impl Caller {
    /// Speaks TLS over a new connection, in this time.
    ///
    /// # Errors
    ///
    /// Why not, in words, with the fingerprint of the receiver's certificate
    /// where it showed one.
    pub(super) fn begin(
        self,
        target: &Target,
        stream: &mut TcpStream,
        timeout: Duration,
    ) -> Result<ClientConnection, String> {
        self.shake(target, stream, timeout, hear_second_thoughts)
    }

    /// The same where the receiver answers what is sent first: it need not be
    /// waited for here.
    ///
    /// # Errors
    ///
    /// As for [`begin`](Self::begin).
    pub(super) fn begin_unheard(
        self,
        target: &Target,
        stream: &mut TcpStream,
        timeout: Duration,
    ) -> Result<ClientConnection, String> {
        self.shake(target, stream, timeout, |_, _| Ok(()))
    }

    fn shake(
        mut self,
        target: &Target,
        stream: &mut TcpStream,
        timeout: Duration,
        then: impl FnOnce(&mut ClientConnection, &mut TcpStream) -> Result<(), Failure>,
    ) -> Result<ClientConnection, String> {
        let until = Instant::now() + timeout;
        let shaken = shake_hands(&mut self.client, stream, until)
            .and_then(|()| then(&mut self.client, stream));
        shaken.map_err(|failure| {
            let why = failure.in_words(&self.name, timeout);
            let presented = self.verifier.presented().map_or_else(String::new, |it| {
                format!("; its certificate has the fingerprint {it}")
            });
            format!("cannot speak TLS with {target}: {why}{presented}")
        })?;
        Ok(self.client)
    }
}

/// Why there is no TLS.
#[derive(Debug)]
enum Failure {
    Io(io::Error),
    Tls(Error),
    Closed,
    /// The receiver said something at the end of the handshake.
    Refused(Error),
}

/// Does nothing but the handshake: there is nothing else to send yet.
fn shake_hands(
    client: &mut ClientConnection,
    stream: &mut TcpStream,
    until: Instant,
) -> Result<(), Failure> {
    while client.is_handshaking() || client.wants_write() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Io(io::ErrorKind::TimedOut.into()));
        }
        if client.wants_write() {
            stream.set_write_timeout(Some(left)).map_err(Failure::Io)?;
            client.write_tls(stream).map_err(Failure::Io)?;
            continue;
        }
        stream.set_read_timeout(Some(left)).map_err(Failure::Io)?;
        if client.read_tls(stream).map_err(Failure::Io)? == 0 {
            return Err(Failure::Closed);
        }
        if let Err(error) = client.process_new_packets() {
            // It should know why. When that fails it learns nothing.
            _ = client.write_tls(stream);
            return Err(Failure::Tls(error));
        }
    }
    Ok(())
}

/// Waits until a receiver that speaks TLS 1.3 has had the time to refuse us.
fn hear_second_thoughts(
    client: &mut ClientConnection,
    stream: &mut TcpStream,
) -> Result<(), Failure> {
    if client.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Ok(());
    }
    stream.set_read_timeout(Some(SECOND_THOUGHTS)).map_err(Failure::Io)?;
    match client.read_tls(stream) {
        Ok(0) => return Err(Failure::Closed),
        Ok(_) => {}
        Err(error) if is_timeout(&error) => return Ok(()),
        Err(error) => return Err(Failure::Io(error)),
    }
    match client.process_new_packets() {
        Ok(state) if state.peer_has_closed() => Err(Failure::Closed),
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Refused(error)),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

impl Failure {
    fn in_words(&self, name: &ServerName<'_>, timeout: Duration) -> String {
        match self {
            Self::Io(error) if is_timeout(error) => {
                format!("the handshake was not over after {timeout:?}")
            }
            Self::Io(error) => error.to_string(),
            Self::Closed => "it closed the connection".to_owned(),
            Self::Tls(Error::InvalidCertificate(error)) => verify::in_words(error, name),
            Self::Tls(Error::AlertReceived(alert))
            | Self::Refused(Error::AlertReceived(alert)) => alert_in_words(*alert),
            Self::Tls(Error::PeerIncompatible(why)) => format!(
                "it speaks no TLS that is safe enough (1.2 or later is asked for): {why:?}"
            ),
            Self::Tls(Error::InvalidMessage(_)) => "what it speaks is no TLS".to_owned(),
            Self::Tls(error) | Self::Refused(error) => error.to_string(),
        }
    }
}

fn alert_in_words(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            format!(
                "it speaks no TLS that is safe enough (1.2 or later is asked for): \
                 {alert:?}"
            )
        }
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            format!("it asks for a certificate of ours ({alert:?}): `certificate`, `key`")
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => {
            format!("it refuses our certificate, or that we have none: {alert:?}")
        }
        alert => format!("it refused: {alert:?}"),
    }
}

#[cfg(test)]
mod tests;
