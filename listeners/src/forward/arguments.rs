//! What a `Forward` is configured with, and what of it fits together.

use super::format::{Encoder, Format, Framing, Wanted};
use super::http::{Options, bearer};
use super::relay::{Caller, Identity};
use super::syslog::MESSAGE_MIN;
use super::target::{Scheme, Target};
use super::tls::{Fingerprint, Tls};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tripline_api::{
    ArgsError, BuildContext, FriendlyDuration, OnGap, SecretFile, Secrets,
};
use tripline_relay::key::SharedKey;
use tripline_relay::secret;
use ureq::http::{HeaderName, HeaderValue};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    pub(super) from: Vec<String>,
    pub(super) to: Target,
    format: Option<Format>,
    framing: Option<Framing>,
    message_max: Option<usize>,
    secrets: Option<Secrets>,
    per_second: Option<u32>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
    fingerprint: Option<Fingerprint>,
    headers: Option<BTreeMap<String, String>>,
    token: Option<PathBuf>,
    request_timeout: Option<FriendlyDuration>,
    body_max: Option<usize>,
    peer: Option<String>,
    shared_key: Option<PathBuf>,
    compress: Option<Compress>,
    connect_timeout: Option<FriendlyDuration>,
    acknowledge_timeout: Option<FriendlyDuration>,
    pub(super) on_gap: Option<OnGap>,
    pub(super) quiet: Option<FriendlyDuration>,
}

/// What is sent to another Tripline is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Compress {
    None,
    Deflate,
}

/// What this machine calls itself.
fn own_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(30);
pub(super) const TIMEOUT_MIN: Duration = Duration::from_millis(10);
pub(super) const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// The longest message unless configured, in bytes: receivers take that as they
/// are installed.
const MESSAGE_BYTES: usize = 8192;
/// As much as may be configured.
pub(super) const MESSAGE_MAX: usize = 1024 * 1024;
/// The same for datagrams: what every receiver should take.
const DATAGRAM_BYTES: usize = 2048;
/// A little less than the network can carry.
const DATAGRAM_MAX: usize = 65_000;
/// Datagrams a second unless configured.
pub(super) const PER_SECOND: u32 = 10_000;
pub(super) const PER_SECOND_MIN: u32 = 100;
pub(super) const PER_SECOND_MAX: u32 = 10_000_000;
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const HEADERS_MAX: usize = 32;
/// Of a request, unless configured.
pub(super) const BODY_BYTES: usize = 1024 * 1024;
pub(super) const BODY_MIN: usize = 1024;
pub(super) const BODY_MAX: usize = 64 * 1024 * 1024;

impl Arguments {
    /// Checks that nothing is configured that the format or the target has not.
    pub(super) fn fit_the_target(&self) -> Result<(), ArgsError> {
        let is_syslog = self.format.as_ref().is_some_and(Format::is_syslog);
        let (is_datagram, is_http) = (self.is_datagram(), self.to.is_http());
        let is_relay = self.to.scheme == Scheme::Tripline;
        let is_encrypted = self.to.scheme.is_encrypted() || is_relay;
        let tls =
            "is for TLS: leave it out, or write `to: \"tls://...\"` or \"https://...\"";
        let relay = "is for another Tripline: leave it out, or write \
                     `to: \"tripline://...\"`";
        let as_kept = "is not for another Tripline, which keeps the bytes as they are: \
                       leave it out";
        let http = "is for http: leave it out";
        let calls = "is not for udp, where nobody is called: leave it out";
        let acknowledges = "is for tcp and tls: leave it out";
        let bounded = "is for udp and the formats of syslog: leave it out";
        let as_it_is = "is not for `Lines`, which are as they are: leave it out";
        let framed = "is for the formats of syslog over tcp and tls: leave it out";
        let rows: [(&str, bool, bool, &str); 19] = [
            ("format", self.format.is_some(), !is_relay, as_kept),
            ("peer", self.peer.is_some(), is_relay, relay),
            ("shared_key", self.shared_key.is_some(), is_relay, relay),
            ("compress", self.compress.is_some(), is_relay, relay),
            ("framing", self.framing.is_some(), is_syslog && !is_datagram, framed),
            (
                "message_max",
                self.message_max.is_some(),
                is_syslog || is_datagram,
                bounded,
            ),
            (
                "secrets",
                self.secrets.is_some(),
                self.format.as_ref().is_some_and(|format| *format != Format::Lines),
                as_it_is,
            ),
            (
                "per_second",
                self.per_second.is_some(),
                is_datagram,
                "is for udp: leave it out",
            ),
            ("connect_timeout", self.connect_timeout.is_some(), !is_datagram, calls),
            (
                "acknowledge_timeout",
                self.acknowledge_timeout.is_some(),
                !is_datagram && !is_http,
                acknowledges,
            ),
            ("ca", self.ca.is_some(), is_encrypted, tls),
            ("certificate", self.certificate.is_some(), is_encrypted, tls),
            ("key", self.key.is_some(), is_encrypted, tls),
            ("server_name", self.server_name.is_some(), is_encrypted, tls),
            ("fingerprint", self.fingerprint.is_some(), is_encrypted, tls),
            ("headers", self.headers.is_some(), is_http, http),
            ("token", self.token.is_some(), is_http, http),
            ("request_timeout", self.request_timeout.is_some(), is_http, http),
            ("body_max", self.body_max.is_some(), is_http, http),
        ];
        for (argument, is_written, fits, why) in rows {
            if is_written && !fits {
                return Err(ArgsError::new(format!("`{argument}` {why}")));
            }
        }
        self.fit_each_other()
    }

    fn fit_each_other(&self) -> Result<(), ArgsError> {
        let is_relay = self.to.scheme == Scheme::Tripline;
        let has_certificate = self.certificate.is_some();
        let has_names =
            self.ca.is_some() || self.server_name.is_some() || self.fingerprint.is_some();
        let why = if self.format.is_none() && !is_relay {
            "it does not say `format`: write for example `format: Lines`"
        } else if is_relay && self.shared_key.is_some() && (has_certificate || has_names)
        {
            "`shared_key` needs no certificates: leave out either it or `certificate`, \
             `key`, `ca`, `server_name` and `fingerprint`"
        } else if is_relay && has_names && !has_certificate {
            "another Tripline asks for a certificate of ours: write `certificate` and `key`"
        } else if is_relay
            && self.shared_key.is_none()
            && !has_certificate
            && !self.to.is_here()
        {
            "everybody on the way could read and change what is sent: write `shared_key`, \
             or `certificate` and `key`"
        } else if self.certificate.is_some() != self.key.is_some() {
            "`certificate` and `key` belong together: write both, or none"
        } else if self.format == Some(Format::Json) && self.is_datagram() {
            "an object may be too long for a datagram: with `format: Json` send it to \
             tcp, or with udp take `Lines`, `Rfc5424()` or `Rfc3164()`"
        } else if self.format.as_ref().is_some_and(Format::is_syslog) && self.to.is_http()
        {
            "syslog is not posted: with http take `Json` or `Lines`"
        } else if self.token.is_some()
            && self.to.scheme == Scheme::Http
            && !self.to.is_here()
        {
            "with \"http://...\" everybody on the way could read the token: write \
             \"https://...\""
        } else {
            return Ok(());
        };
        Err(ArgsError::new(why))
    }

    /// The files with secrets, and who reads each.
    pub(super) fn secret_files(&self, context: &BuildContext<'_>) -> Vec<SecretFile> {
        type Read = fn(&Path) -> Result<(), String>;
        let files: [(_, _, Read); 3] = [
            ("shared_key", &self.shared_key, |path| SharedKey::read(path).map(drop)),
            ("token", &self.token, |path| bearer(path).map(drop)),
            ("key", &self.key, |path| secret::read_private(path).map(drop)),
        ];
        let files = files.into_iter().filter_map(|(argument, path, read)| {
            let path = context.path(path.as_ref()?);
            Some(SecretFile { argument, path, read })
        });
        files.collect()
    }

    pub(super) fn encoder(&self) -> Result<Encoder, ArgsError> {
        let is_datagram = self.is_datagram();
        let (default, max) = if is_datagram {
            (DATAGRAM_BYTES, DATAGRAM_MAX)
        } else {
            (MESSAGE_BYTES, MESSAGE_MAX)
        };
        let message_max = self.message_max.unwrap_or(default);
        if !(MESSAGE_MIN..=max).contains(&message_max) {
            return Err(ArgsError::new(format!(
                "`message_max` must lie between {MESSAGE_MIN} and {max} bytes"
            )));
        }
        let wanted = Wanted {
            framing: self.framing.unwrap_or(match self.to.scheme {
                // As RFC 5425 has it.
                Scheme::Tls => Framing::Octets,
                _ => Framing::Lf,
            }),
            message_max,
            is_datagram,
            secrets: self.secrets.unwrap_or_default(),
        };
        let format = self.format.clone().unwrap_or(Format::Lines);
        format.encoder(wanted).map_err(ArgsError::new)
    }

    /// How TLS is spoken, where it is.
    pub(super) fn tls(
        &self,
        context: &BuildContext<'_>,
    ) -> Result<Option<Tls>, ArgsError> {
        let is_relay = self.to.scheme == Scheme::Tripline && self.certificate.is_some();
        if !self.to.scheme.is_encrypted() && !is_relay {
            return Ok(None);
        }
        let name = self.server_name.as_ref().unwrap_or(&self.to.host);
        let name = ServerName::try_from(name.clone()).map_err(|_| {
            ArgsError::new(format!(
                "{name:?} cannot be in a certificate: name whom it is for by \
                 `server_name`, a host's name or its address"
            ))
        })?;
        let path = |path: &PathBuf| context.path(path);
        let identity = self.certificate.as_ref().zip(self.key.as_ref());
        Ok(Some(Tls {
            ca: self.ca.as_ref().map(path),
            identity: identity.map(|(certificate, key)| (path(certificate), path(key))),
            name,
            fingerprint: self.fingerprint,
        }))
    }

    /// What a request has besides its body.
    pub(super) fn http(&self, context: &BuildContext<'_>) -> Result<Options, ArgsError> {
        let headers = self.headers.clone().unwrap_or_default();
        if headers.len() > HEADERS_MAX {
            return Err(ArgsError::new(format!("`headers` has more than {HEADERS_MAX}")));
        }
        for (name, value) in &headers {
            check_header(name, value).map_err(ArgsError::new)?;
        }
        let body_max = self.body_max.unwrap_or(BODY_BYTES);
        if !(BODY_MIN..=BODY_MAX).contains(&body_max) {
            return Err(ArgsError::new(format!(
                "`body_max` must lie between {BODY_MIN} and {BODY_MAX} bytes"
            )));
        }
        Ok(Options {
            headers,
            token: self.token.as_ref().map(|token| context.path(token)),
            request_timeout: timeout(
                "request_timeout",
                self.request_timeout,
                REQUEST_TIMEOUT,
            )?,
            body_max,
            content_type: match self.format {
                Some(Format::Json) => "application/x-ndjson",
                _ => "text/plain",
            },
        })
    }

    /// Who calls another Tripline, and how that is proved.
    pub(super) fn caller(&self, context: &BuildContext<'_>) -> Result<Caller, ArgsError> {
        let peer = match &self.peer {
            Some(peer) => peer.clone(),
            None => own_name(),
        };
        if !tripline_relay::wire::is_name(&peer) {
            return Err(ArgsError::new(format!(
                "`peer` is {peer:?}, which cannot be a name: names are made of letters, \
                 digits, `_`, `-` and `.`"
            )));
        }
        let key = self.shared_key.as_ref().map(|key| Identity::Key(context.path(key)));
        let tls = || Ok(self.tls(context)?.map(Identity::Certificate));
        let identity = match key {
            Some(key) => key,
            None => tls()?.unwrap_or(Identity::None),
        };
        let compress = self.compress == Some(Compress::Deflate);
        Ok(Caller { peer, stream: context.name.to_owned(), identity, compress })
    }

    /// How many datagrams a second there may be.
    pub(super) fn per_second(&self) -> Result<u32, ArgsError> {
        let per_second = self.per_second.unwrap_or(PER_SECOND);
        if (PER_SECOND_MIN..=PER_SECOND_MAX).contains(&per_second) {
            return Ok(per_second);
        }
        Err(ArgsError::new(format!(
            "`per_second` must lie between {PER_SECOND_MIN} and {PER_SECOND_MAX}"
        )))
    }

    fn is_datagram(&self) -> bool {
        self.to.scheme == Scheme::Udp
    }

    pub(super) fn connect_timeout(&self) -> Result<Duration, ArgsError> {
        timeout("connect_timeout", self.connect_timeout, CONNECT_TIMEOUT)
    }

    pub(super) fn acknowledge_timeout(&self) -> Result<Duration, ArgsError> {
        timeout("acknowledge_timeout", self.acknowledge_timeout, ACKNOWLEDGE_TIMEOUT)
    }
}

/// Headers that are ours to write, or the connection's.
const OURS: [&str; 10] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn check_header(name: &str, value: &str) -> Result<(), String> {
    let lower = name.to_ascii_lowercase();
    if lower == "authorization" {
        return Err("`headers` has Authorization, which everybody could read in the \
                    configuration: write the file of a bearer token as `token`"
            .to_owned());
    }
    if OURS.contains(&&*lower) {
        return Err(format!("`headers` has {name}, which is not yours to write"));
    }
    let is_fine = HeaderName::from_bytes(name.as_bytes()).is_ok()
        && HeaderValue::from_str(value).is_ok();
    if is_fine {
        Ok(())
    } else {
        Err(format!("`headers` has {name:?} with {value:?}, which is no header"))
    }
}

fn timeout(
    name: &str,
    written: Option<FriendlyDuration>,
    default: Duration,
) -> Result<Duration, ArgsError> {
    let timeout = written.map_or(default, |written| written.0);
    if (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
        Ok(timeout)
    } else {
        Err(ArgsError::new(format!("`{name}` must lie between \"10ms\" and \"1 hour\"")))
    }
}
