//! Where a host is, and what on it is meant, as the configuration says it.

use serde::Deserialize;
use std::fmt;

/// A place on a host: `ssh://backup@standby.example:22/p4/journals`.
///
/// The path is what stands behind the host, `/p4/journals`. It is taken as it
/// is, without escapes; `/~/journals` is the path `journals` from the account's
/// home.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Address {
    /// Whom to log in as.
    pub(crate) user: Option<String>,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    /// 22 where none is given; but the system's `ssh` may be configured to use
    /// another.
    pub(crate) port: Option<u16>,
    /// Never empty.
    pub(crate) path: String,
    written: String,
}

impl Address {
    /// The port that SSH has.
    pub(crate) const PORT: u16 = 22;

    /// The host as `known_hosts` names it.
    pub(super) fn known_name(&self) -> String {
        match self.port {
            None | Some(Self::PORT) => self.host.to_lowercase(),
            Some(port) => format!("[{}]:{port}", self.host.to_lowercase()),
        }
    }
}

/// Writes it as the configuration does.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        // What may be a password is not repeated: nothing from the first colon on.
        let Some(rest) = written.strip_prefix("ssh://") else {
            return Err(format!("the address does not begin with \"ssh://\": {LIKE}"));
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        if let Some((name, _)) = user.and_then(|user| user.split_once(':')) {
            return Err(format!(
                "the address for {name:?} holds a password, which belongs in no \
                 configuration: take it out, and log in by a key or an agent"
            ));
        }
        let user = user.map(check_user).transpose()?;
        let (host, port) = split(place).ok_or_else(|| {
            let host = place.split(':').next().unwrap_or_default();
            format!("the address has no host that can be used, but {host:?}: {LIKE}")
        })?;
        if host.starts_with('-') {
            return Err(format!("the host {host:?} begins with `-`: no host does"));
        }
        let port = match port {
            None => None,
            Some(port) => {
                let number = port.parse().ok().filter(|number| *number != 0);
                Some(number.ok_or_else(|| {
                    format!("the port of {host:?} is no number from 1 to 65535")
                })?)
            }
        };
        let path = check_path(path, &written)?.to_owned();
        Ok(Self { user, host: host.to_owned(), port, path, written })
    }
}

fn check_user(user: &str) -> Result<String, String> {
    let is_odd = |c: char| !c.is_alphanumeric() && !"_-.+$\\".contains(c);
    if user.is_empty() || user.starts_with('-') || user.contains(is_odd) {
        return Err(format!("no host has a user {user:?}: {LIKE}"));
    }
    Ok(user.to_owned())
}

/// The host and the port of `host`, `host:port`, `[::1]`, `[::1]:port`.
fn split(place: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            let is_address = host.contains(':')
                && host.chars().all(|c| c.is_ascii_alphanumeric() || ":.%".contains(c));
            if !is_address {
                return None;
            }
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let is_odd = |c: char| !c.is_ascii_alphanumeric() && !"_-.:%".contains(c);
    if host.is_empty() || host.contains(is_odd) { None } else { Some((host, port)) }
}

fn check_path<'a>(path: &'a str, written: &str) -> Result<&'a str, String> {
    if path.contains(|c: char| c.is_control()) {
        return Err(format!("the path in {written:?} has a control character"));
    }
    let path = path.strip_prefix("/~/").unwrap_or(path);
    if path.is_empty() || path == "/" || path == "/~" {
        return Err(format!("{written:?} names no directory: {LIKE}"));
    }
    Ok(path)
}

const LIKE: &str = "write it like \"ssh://backup@standby.example/p4/journals\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(written: &str) -> Result<Address, String> {
        Address::try_from(written.to_owned())
    }

    #[test]
    fn addresses_read() {
        let cases = [
            ("ssh://host/x", None, "host", None, "/x"),
            (
                "ssh://p4@host.example:2222/a/b c",
                Some("p4"),
                "host.example",
                Some(2222),
                "/a/b c",
            ),
            ("ssh://a.b-c_d@[::1]:22/~/x", Some("a.b-c_d"), "::1", Some(22), "x"),
            ("ssh://[fe80::1%eth0]/x@y:z", None, "fe80::1%eth0", None, "/x@y:z"),
            ("ssh://127.0.0.1/~x", None, "127.0.0.1", None, "/~x"),
        ];
        for (written, user, host, port, path) in cases {
            let address = parse(written).unwrap();
            assert_eq!(address.user.as_deref(), user, "{written}");
            assert_eq!((address.host.as_str(), address.port), (host, port));
            assert_eq!(address.path, path);
            assert_eq!(address.to_string(), written);
        }
    }

    #[test]
    fn what_is_no_address_is_said_in_words() {
        let cases = [
            ("host:/path", "does not begin with"),
            ("sftp://host/path", "does not begin with"),
            ("ssh://host", "names no directory"),
            ("ssh://host/", "names no directory"),
            ("ssh://host/~/", "names no directory"),
            ("ssh:///path", "no host"),
            ("ssh://@host/path", "a user"),
            ("ssh://-oProxyCommand=x@host/path", "a user"),
            ("ssh://u ser@host/path", "a user"),
            ("ssh://-oProxyCommand/path", "begins with `-`"),
            ("ssh://ho;st/path", "no host"),
            ("ssh://ho\nst/path", "no host"),
            ("ssh://[::1/path", "no host"),
            ("ssh://[host]/path", "no host"),
            ("ssh://[::1]x/path", "no host"),
            ("ssh://::1/path", "no host"),
            ("ssh://host:0/path", "the port of"),
            ("ssh://host:65536/path", "the port of"),
            ("ssh://host:/path", "the port of"),
            ("ssh://host/a\u{1b}b", "control character"),
        ];
        for (written, words) in cases {
            let error = parse(written).unwrap_err();
            assert!(error.contains(words), "{written}: {error}");
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        let cases = [
            "ssh://me:s3cret@host/path",
            "me:s3cret@host/path",
            "ssh://me:s3cret/x@host/path",
            "ssh://m e:s3cret@x/path",
            "ssh://m e:s3cret",
            "ssh://me:@s3cret@host/path",
        ];
        for written in cases {
            let error = parse(written).unwrap_err();
            assert!(!error.contains("s3c"), "{written}: {error}");
        }
        assert!(parse(cases[0]).unwrap_err().contains("password"));
    }

    #[test]
    fn the_name_is_the_one_of_known_hosts() {
        let name = |written| parse(written).unwrap().known_name();
        assert_eq!(name("ssh://Host/x"), "host");
        assert_eq!(name("ssh://host:22/x"), "host");
        assert_eq!(name("ssh://[::1]:2222/x"), "[::1]:2222");
    }
}
