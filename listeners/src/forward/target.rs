//! Where entries are forwarded to, as it is written in the configuration.

use serde::Deserialize;
use std::fmt;
use std::net::IpAddr;
use ureq::http::Uri;

/// A receiver's address: `tcp://127.0.0.1:6514`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Target {
    pub(super) scheme: Scheme,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    written: String,
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Plain TCP.
    Tcp,
    /// Datagrams.
    Udp,
    /// TLS over TCP.
    Tls,
    /// Requests.
    Http,
    /// Requests over TLS.
    Https,
    /// Another Tripline.
    Tripline,
}

impl Scheme {
    /// Every scheme there is, with the word that stands before `://`.
    const ALL: &[(&str, Self)] = &[
        ("tcp", Self::Tcp),
        ("udp", Self::Udp),
        ("tls", Self::Tls),
        ("http", Self::Http),
        ("https", Self::Https),
        ("tripline", Self::Tripline),
    ];

    pub(super) const fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Https)
    }

    /// The port where none is written.
    const fn port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Tcp | Self::Udp | Self::Tls | Self::Tripline => None,
        }
    }
}

impl Target {
    /// The whole of it, as it is written.
    pub(super) fn url(&self) -> &str {
        &self.written
    }

    /// Whether it is spoken to with requests.
    pub(super) const fn is_http(&self) -> bool {
        self.scheme.port().is_some()
    }

    /// Whether it is this machine itself, whatever the network is like.
    pub(super) fn is_here(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// Writes it as the configuration does, but for what stands behind a question
/// mark: that may be private.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.written.split_once('?') {
            Some((shown, _)) => write!(f, "{shown}?..."),
            None => f.write_str(&self.written),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        let Some((word, address)) = written.split_once("://") else {
            return Err(format!("{written:?} is no address: {LIKE}"));
        };
        let Some((_, scheme)) = Scheme::ALL.iter().find(|(name, _)| *name == word) else {
            let known: Vec<&str> = Scheme::ALL.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "{written:?} begins with {word:?}, and there is only {}: {LIKE}",
                known.join(", ")
            ));
        };
        let address = match scheme.port() {
            Some(_) => check_url(&written, address)?,
            None => address,
        };
        let with_port = |port| format!("{address}:{port}");
        let has_port = !address.ends_with(']') && address.contains(':');
        let default = scheme.port().filter(|_| !has_port).map(with_port);
        let (host, port) = split(default.as_deref().unwrap_or(address))
            .ok_or_else(|| format!("{written:?} has no host and port: {LIKE}"))?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            format!("{written:?} has the port {port:?}: ports are 1 to 65535")
        })?;
        let host = host.to_owned();
        Ok(Self { scheme: *scheme, host, port, written })
    }
}

/// Checks a whole URL; returns what stands before the path.
fn check_url<'a>(written: &str, address: &'a str) -> Result<&'a str, String> {
    let end = address.find(['/', '?', '#']).unwrap_or(address.len());
    let (authority, rest) = address.split_at(end);
    if authority.contains('@') {
        return Err(
            "a name or password in the address would be seen by everybody: write `token` \
             or `headers` instead"
                .to_owned(),
        );
    }
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == '#';
    if rest.contains(is_odd) || written.parse::<Uri>().is_err() {
        return Err(format!("{written:?} is no address: {LIKE}"));
    }
    Ok(authority)
}

/// The parts of `host:port`, `[::1]:port`; nothing may stand besides them.
fn split(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|host| host.contains(':'))?,
        None => Some(host).filter(|host| !host.contains(':'))?,
    };
    let is_odd = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '/' | '@' | '?' | '#' | '[' | ']')
    };
    if host.is_empty() || host.contains(is_odd) { None } else { Some((host, port)) }
}

const LIKE: &str =
    "write it like \"tcp://127.0.0.1:6514\" or \"https://logs.example/in\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(written: &str) -> Result<Target, String> {
        Target::try_from(written.to_owned())
    }

    #[test]
    fn addresses_read() {
        let cases = [
            ("tcp://127.0.0.1:6514", "127.0.0.1", 6514),
            ("tcp://logs.example:1", "logs.example", 1),
            ("tcp://[::1]:65535", "::1", 65535),
        ];
        for (written, host, port) in cases {
            let target = parse(written).unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, port));
            assert_eq!(target.to_string(), written);
        }
    }

    #[test]
    fn urls_read() {
        let cases = [
            ("http://logs.example", "logs.example", 80),
            ("https://logs.example/in?x=y", "logs.example", 443),
            ("https://logs.example?x", "logs.example", 443),
            ("http://127.0.0.1:8080/", "127.0.0.1", 8080),
            ("https://[::1]/in", "::1", 443),
            ("https://[::1]:9/in:1", "::1", 9),
        ];
        for (written, host, port) in cases {
            let target = parse(written).unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, port), "{written}");
            assert_eq!(target.url(), written);
        }
        let shown = parse("https://h/in?secret=1").unwrap().to_string();
        assert_eq!(shown, "https://h/in?...");
        let is_here = |written| parse(written).unwrap().is_here();
        assert!(is_here("http://localhost/") && is_here("http://[::1]:80/"));
        assert!(is_here("http://127.9.9.9/") && !is_here("http://localhost.example/"));
    }

    #[test]
    fn what_is_no_address_is_said_in_words() {
        let cases = [
            ("127.0.0.1:6514", "is no address"),
            (
                "ftp://127.0.0.1:6514",
                "begins with \"ftp\", and there is only tcp, udp, tls, http, https, ",
            ),
            ("TCP://127.0.0.1:6514", "there is only tcp"),
            ("tcp://127.0.0.1", "no host and port"),
            ("tcp://:6514", "no host and port"),
            ("tcp://::1:6514", "no host and port"),
            ("tcp://[::1:6514", "no host and port"),
            ("tcp://[a]:6514", "no host and port"),
            ("tcp://user@host:6514", "no host and port"),
            ("tcp://host/path:6514", "no host and port"),
            ("tcp://ho\nst:6514", "no host and port"),
            ("tcp://host:6514/", "ports are 1 to 65535"),
            ("tcp://host:0", "ports are 1 to 65535"),
            ("tcp://host:65536", "ports are 1 to 65535"),
            ("tcp://host:", "ports are 1 to 65535"),
            ("http://", "is no address"),
            ("http:///in", "is no address"),
            ("https://host:x/", "ports are 1 to 65535"),
            ("https://user:word@host/", "write `token`"),
            ("https://host/a b", "is no address"),
            ("https://host/a#b", "is no address"),
            ("https://host/\n", "is no address"),
            ("https://ho st/", "is no address"),
        ];
        for (written, words) in cases {
            let error = parse(written).unwrap_err();
            assert!(error.contains(words), "{written}: {error}");
        }
    }
}
