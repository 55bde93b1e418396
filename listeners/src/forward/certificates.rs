//! Certificates of tests.

use super::tls::provider;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, SupportedProtocolVersion};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Signs certificates.
pub(crate) struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate with its key, in memory and in files.
pub(crate) struct Issued {
    pub(crate) der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pub(crate) certificate: PathBuf,
    pub(crate) key_path: PathBuf,
}

impl Authority {
    /// A new one; files go into the directory.
    pub(crate) fn new(directory: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Two of them are not taken for each other.
        let name = format!("authority of {}", directory.display());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let authority = Self {
            directory: directory.to_owned(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        };
        fs::write(authority.path(), certificate.pem()).unwrap();
        authority
    }

    /// The file with its certificate.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// A certificate for these names or addresses, in files of this name.
    pub(crate) fn issue(
        &self,
        file: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let at = |end: &str| self.directory.join(format!("{file}{end}"));
        fs::write(at(".pem"), certificate.pem()).unwrap();
        fs::write(at(".key"), key.serialize_pem()).unwrap();
        fs::set_permissions(at(".key"), fs::Permissions::from_mode(0o600)).unwrap();
        Issued {
            der: certificate.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            certificate: at(".pem"),
            key_path: at(".key"),
        }
    }

    /// What a receiver with a certificate for these names needs.
    pub(crate) fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.issue("server", names, |_| {}).server(&[])
    }
}

impl Issued {
    /// What a receiver with this certificate needs, in these versions; all
    /// when there are none.
    pub(crate) fn server(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let builder = builder(versions).with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![self.der.clone()], self.key()).unwrap())
    }

    /// The same for one that wants a certificate which this authority signed.
    pub(crate) fn mutual(
        &self,
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).unwrap();
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
        let builder =
            builder(versions).with_client_cert_verifier(verifier.build().unwrap());
        Arc::new(builder.with_single_cert(vec![self.der.clone()], self.key()).unwrap())
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

fn builder(
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let versions = if versions.is_empty() { rustls::ALL_VERSIONS } else { versions };
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
}
