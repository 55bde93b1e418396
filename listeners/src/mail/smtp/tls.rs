//! Whom to trust.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The largest file with certificates, in bytes.
const CA_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Trusts the certificates in a file or, without one, those of the system.
pub(super) fn config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let roots = match ca_file {
        Some(file) => from_file(file)?,
        None => from_system()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The name that the server's certificate must have.
pub(super) fn name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        format!("no certificate can be for {name:?}: set `server_name` to a host's name")
    })
}

/// What is wrong with a certificate, for people.
pub(super) fn explain(error: &io::Error, name: &str) -> String {
    let inner = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(why)) = inner else {
        return error.to_string();
    };
    use rustls::CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer,
    };
    match why {
        Expired | ExpiredContext { .. } => {
            format!("its certificate has expired ({why:?}): it must be renewed")
        }
        NotValidForName | NotValidForNameContext { .. } => format!(
            "its certificate is not for {name}: use the name that is in it as the host, \
             or set `server_name`"
        ),
        UnknownIssuer => {
            "its certificate is signed by nobody we trust: set `ca_file` to \
                          the certificate of its authority"
                .to_owned()
        }
        why => format!("its certificate is not valid: {why:?}"),
    }
}

fn from_file(file: &Path) -> Result<RootCertStore, String> {
    let shown = file.display();
    let cannot = |error: io::Error| format!("cannot read `ca_file` {shown}: {error}");
    let about = std::fs::metadata(file).map_err(cannot)?;
    if !about.is_file() || about.len() > CA_BYTES_MAX {
        return Err(format!("`ca_file` {shown} is no file of certificates"));
    }
    let pem = std::fs::read(file).map_err(cannot)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate
            .map_err(|error| format!("`ca_file` {shown} is no PEM: {error}"))?;
        roots.add(certificate).map_err(|error| {
            format!("`ca_file` {shown} has a certificate that cannot be used: {error}")
        })?;
    }
    if roots.is_empty() {
        return Err(format!("`ca_file` {shown} has no certificate in it"));
    }
    Ok(roots)
}

fn from_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this machine trusts no certificate authority: install its package \
                    ca-certificates, or set `ca_file`"
            .to_owned());
    }
    Ok(roots)
}
