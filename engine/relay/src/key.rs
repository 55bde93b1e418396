//! Two that share a key recognise each other, over TLS 1.3.
//!
//! From the shared key each side makes the same two pairs of Ed25519 keys, one for
//! the sender and one for the receiver, by hashing it with a word for each and the
//! name of the sender: one with the same key and another name is another. They
//! take the place of certificates, as raw public keys (RFC 7250): each side shows
//! its own and accepts nobody's but the other's. So what proves who is there, and
//! what encrypts, is TLS as it is; nothing of the key is ever sent, and an earlier
//! connection stays secret when the key gets known later. Public keys are compared,
//! and signatures verified: no secret is compared with anything.
//!
//! A receiver that knows no such peer takes a key that nobody has, and fails as it
//! does with a wrong one: who asks cannot find out which peers there are.

use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    DistinguishedName, Error, ServerConfig, ServerConnection, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A key that a sender and a receiver have, and nobody else.
///
/// It is 32 bytes drawn at random, and no password: `openssl rand -hex 32`.
#[derive(Clone)]
pub struct SharedKey(Zeroizing<[u8; 32]>);

/// Says nothing.
impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey")
    }
}

impl SharedKey {
    /// Reads it from a file that nobody but its owner may read: 64 hexadecimal
    /// digits.
    ///
    /// # Errors
    ///
    /// In words, without anything of the key.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = Zeroizing::new(crate::secret::read_private(path)?);
        Self::parse(&text).ok_or_else(|| {
            let path = path.display();
            format!(
                "{path} holds no shared key, which is 64 hexadecimal digits: make one by \
                 `openssl rand -hex 32 > {path}`, and give the other side the same"
            )
        })
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let digits = text.trim_ascii();
        if digits.len() != 64 {
            return None;
        }
        let mut key = Zeroizing::new([0; 32]);
        for (pair, byte) in digits.chunks(2).zip(key.iter_mut()) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = (digit(0)? << 4 | digit(1)?) as u8;
        }
        // What was made by hand to try it out.
        if key.iter().all(|byte| *byte == key[0]) { None } else { Some(Self(key)) }
    }

    /// One that nobody has, unless somebody guesses what the system draws.
    pub fn nobodys() -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        ring::default_provider().secure_random.fill(&mut *key).ok()?;
        Some(Self(key))
    }

    /// What two have only when they are one: nothing secret, and made of the key.
    pub fn mark(&self) -> Option<Vec<u8>> {
        let key = self.side("", "").ok()?;
        key.cert.first().map(|public| public.to_vec())
    }

    /// The keys of one side, for a sender of this name.
    fn side(&self, side: &str, peer: &str) -> Result<CertifiedKey, Error> {
        let mut hash = Sha256::new();
        hash.update(b"tripline relay 1 ");
        hash.update(side.as_bytes());
        hash.update([0]);
        // No name has a zero.
        hash.update(peer.as_bytes());
        hash.update([0]);
        hash.update(*self.0);
        let seed = Zeroizing::new(<[u8; 32]>::from(hash.finalize()));
        // An Ed25519 key in PKCS#8 is this and its 32 bytes (RFC 8410).
        const HEAD: [u8; 16] = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04,
            0x22, 0x04, 0x20,
        ];
        let der = Zeroizing::new([&HEAD[..], &*seed].concat());
        let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&der[..]))?;
        let public = key.public_key().ok_or(Error::General("no public key".into()))?;
        let public = CertificateDer::from(public.as_ref().to_vec());
        Ok(CertifiedKey::new(vec![public], key))
    }

    /// A connection of a sender of this name.
    ///
    /// # Errors
    ///
    /// What TLS has against it.
    pub fn client(&self, peer: &str) -> Result<ClientConnection, Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Only::new(
                &self.side("receiver", peer)?,
            )))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                Arc::new(self.side("sender", peer)?),
            )));
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_sni = false;
        let name = ServerName::try_from("tripline")
            .map_err(|_| Error::General("a name".into()))?;
        ClientConnection::new(Arc::new(config), name)
    }

    /// A connection of a receiver, with a sender of this name.
    ///
    /// # Errors
    ///
    /// What TLS has against it.
    pub fn server(&self, peer: &str) -> Result<ServerConnection, Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(Only::new(&self.side("sender", peer)?)))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
                Arc::new(self.side("receiver", peer)?),
            )));
        config.send_tls13_tickets = 0;
        ServerConnection::new(Arc::new(config))
    }
}

/// The one of the whole program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Accepts this public key and no other.
#[derive(Debug)]
struct Only(CertificateDer<'static>);

impl Only {
    fn new(key: &CertifiedKey) -> Self {
        Self(
            key.cert.first().cloned().unwrap_or_else(|| CertificateDer::from(Vec::new())),
        )
    }

    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        if !self.0.is_empty() && *shown == self.0 {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify(
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, &algorithms)
    }

    fn never() -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken with shared keys".into()))
    }
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::never()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Only {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::never()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SharedKey {
        let text: String = (0..32).map(|at| format!("{:02x}", at ^ byte)).collect();
        SharedKey::parse(text.as_bytes()).unwrap()
    }

    /// Both sides of a handshake in memory; how each ended.
    fn shake(client: &SharedKey, server: &SharedKey) -> [Result<(), Error>; 2] {
        let (mut client, mut server) =
            (client.client("web1").unwrap(), server.server("web1").unwrap());
        let mut ends = [Ok(()), Ok(())];
        for _ in 0..10 {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            let mut bytes = &bytes[..];
            while !bytes.is_empty() && ends[1].is_ok() {
                server.read_tls(&mut bytes).unwrap();
                ends[1] = server.process_new_packets().map(|_| ());
            }
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            let mut bytes = &bytes[..];
            while !bytes.is_empty() && ends[0].is_ok() {
                client.read_tls(&mut bytes).unwrap();
                ends[0] = client.process_new_packets().map(|_| ());
            }
        }
        assert_eq!(ends[0].is_ok(), !client.is_handshaking());
        ends
    }

    #[test]
    fn only_the_same_key_is_accepted() {
        assert_eq!(shake(&key(0), &key(0)), [Ok(()), Ok(())]);
        let [client, server] = shake(&key(0), &key(1));
        assert!(matches!(client, Err(Error::InvalidCertificate(_))), "{client:?}");
        assert!(matches!(server, Err(Error::AlertReceived(_))), "{server:?}");
        let nobodys = SharedKey::nobodys().unwrap();
        assert!(shake(&key(0), &nobodys).iter().all(Result::is_err));
    }

    /// A sender cannot be taken for a receiver, who has the same key.
    #[test]
    fn the_sides_have_keys_of_their_own() {
        let [sender, receiver] =
            ["sender", "receiver"].map(|side| key(0).side(side, "web1").unwrap());
        assert_ne!(sender.cert, receiver.cert);
        let other = key(0).side("sender", "web2").unwrap();
        assert_ne!(sender.cert, other.cert, "nor for another sender");
        assert_eq!(key(0).mark(), key(0).mark());
        assert_ne!(key(0).mark(), key(1).mark());
    }

    #[test]
    fn keys_are_random_bytes() {
        let good = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF\n";
        let key = SharedKey::parse(good.as_bytes()).unwrap();
        assert_eq!(format!("{key:?}"), "SharedKey");
        for bad in ["", "hunter2", &"0".repeat(64), &good[1..], &good.replace('a', "g")] {
            assert!(SharedKey::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
