//! Whether a certificate is the one of the receiver that was meant.

use super::provider;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(in crate::forward) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(in crate::forward) fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

/// `SHA256:` and 64 hexadecimal digits, as it is written in a configuration.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SHA256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// With or without `SHA256:` before it and colons in it, as `openssl x509
/// -fingerprint -sha256` shows it.
impl TryFrom<String> for Fingerprint {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        let lower = written.to_ascii_lowercase();
        let digits = lower.strip_prefix("sha256:").unwrap_or(&lower).replace(':', "");
        let mut bytes = [0; 32];
        let is_hex = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let pairs = digits.as_bytes().chunks(2).zip(&mut bytes);
        for (pair, byte) in pairs.filter(|_| is_hex) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
        }
        if is_hex {
            Ok(Self(bytes))
        } else {
            Err(format!(
                "{written:?} is no fingerprint: it is \"SHA256:\" and 64 hexadecimal \
                 digits, as `openssl x509 -in FILE -noout -fingerprint -sha256` shows it"
            ))
        }
    }
}

/// Certificates to believe, at least one.
pub(super) fn roots(
    certificates: Vec<CertificateDer<'static>>,
    none: &str,
) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() { Err(none.to_owned()) } else { Ok(roots) }
}

/// Believes a certificate that was signed for the name and, when there is a
/// fingerprint, is that one; without any roots only the fingerprint counts.
#[derive(Debug)]
pub(super) struct Verifier {
    roots: Option<RootCertStore>,
    fingerprint: Option<Fingerprint>,
    presented: OnceLock<Fingerprint>,
}

impl Verifier {
    pub(super) const fn new(
        roots: Option<RootCertStore>,
        fingerprint: Option<Fingerprint>,
    ) -> Self {
        Self { roots, fingerprint, presented: OnceLock::new() }
    }

    /// The certificate that the receiver showed.
    pub(super) fn presented(&self) -> Option<&Fingerprint> {
        self.presented.get()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented = self.presented.get_or_init(|| Fingerprint::of(end_entity));
        if self.fingerprint.is_some_and(|wanted| wanted != *presented) {
            let error = Arc::new(WrongFingerprint);
            return Err(CertificateError::Other(OtherError(error)).into());
        }
        match &self.roots {
            // It is the very one.
            None if self.fingerprint.is_some() => Ok(ServerCertVerified::assertion()),
            None => Err(CertificateError::UnknownIssuer.into()),
            Some(roots) => {
                let roots = Arc::new(roots.clone());
                WebPkiServerVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|error| Error::General(error.to_string()))?
                    .verify_server_cert(end_entity, intermediates, name, ocsp, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it is not the one of `fingerprint`")]
struct WrongFingerprint;

/// What is wrong with a certificate. What it says is quoted.
pub(super) fn in_words(error: &CertificateError, name: &ServerName<'_>) -> String {
    let name = name.to_str();
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let after = match error {
                CertificateError::ExpiredContext { not_after, .. } => {
                    jiff::Timestamp::from_second(not_after.as_secs().cast_signed()).ok()
                }
                _ => None,
            };
            let since = after.map_or_else(String::new, |after| format!(" on {after}"));
            format!("its certificate expired{since}")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or this machine's clock is slow".to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "its certificate is not for {name:?} but for {presented:?}: if that is whom \
             you mean, name it by `server_name`"
        ),
        CertificateError::NotValidForName => {
            format!("its certificate is not for {name:?}")
        }
        CertificateError::UnknownIssuer => "its certificate is signed by nobody who is \
             believed: name the file with the certificate of the signer by `ca`, or the \
             fingerprint of the receiver's by `fingerprint`"
            .to_owned(),
        CertificateError::Other(OtherError(why)) if why.is::<WrongFingerprint>() => {
            "its certificate is not the one of `fingerprint`".to_owned()
        }
        error => format!("its certificate is not to be believed: {error:?}"),
    }
}
