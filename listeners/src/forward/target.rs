//! Where entries are forwarded to, as it is written in the configuration.

use serde::Deserialize;
use std::fmt;

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
}

impl Scheme {
    /// Every scheme there is, with the word that stands before `://`.
    const ALL: &[(&str, Self)] = &[("tcp", Self::Tcp)];
}

/// Writes it as the configuration does.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
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
        let (host, port) = split(address)
            .ok_or_else(|| format!("{written:?} has no host and port: {LIKE}"))?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            format!("{written:?} has the port {port:?}: ports are 1 to 65535")
        })?;
        let host = host.to_owned();
        Ok(Self { scheme: *scheme, host, port, written })
    }
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

const LIKE: &str = "write it like \"tcp://127.0.0.1:6514\"";

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
    fn what_is_no_address_is_said_in_words() {
        let cases = [
            ("127.0.0.1:6514", "is no address"),
            ("udp://127.0.0.1:6514", "begins with \"udp\", and there is only tcp"),
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
        ];
        for (written, words) in cases {
            let error = parse(written).unwrap_err();
            assert!(error.contains(words), "{written}: {error}");
        }
    }
}
