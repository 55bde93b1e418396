//! Files of known hosts, as OpenSSH writes and reads them.
//!
//! A line is an optional mark (`@revoked`, `@cert-authority`), names, the kind
//! of the key, the key. Names are patterns with `*`, `?` and `!`, or one hidden
//! by HMAC-SHA-1. Certificates are left to the system's `ssh`.

use crate::ssh::failure::{Failure, Kind};
use crate::ssh::{Address, Settings, hostkey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// No file of known hosts is longer.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What all users of this system know.
const SYSTEM_FILE: &str = "/etc/ssh/ssh_known_hosts";

/// What is known.
pub(super) struct Known {
    text: Vec<u8>,
    /// Where a person adds to it.
    file: PathBuf,
}

/// What is thought of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    /// Nothing is known of the host.
    Unknown,
    /// Other keys of the host are known.
    Changed,
    Revoked,
}

/// Reads what the settings say is known. A file that is not there knows nobody.
pub(super) fn read(settings: &Settings) -> Result<Known, Failure> {
    let (own, others) = match &settings.known_hosts {
        Some(path) => (Some(path.clone()), None),
        None => (hostkey::own_known_hosts(), Some(Path::new(SYSTEM_FILE))),
    };
    let file = own.ok_or_else(|| {
        let why = "nobody knows where your file of known hosts is, as there is no HOME: \
                   name it with `known_hosts`";
        Failure::new(Kind::Setup, why)
    })?;
    let mut text = Vec::new();
    for path in [Some(file.as_path()), others].into_iter().flatten() {
        append(path, &mut text).map_err(|error| {
            let why =
                format!("cannot read the known hosts in {}: {error}", path.display());
            Failure::new(Kind::Setup, why)
        })?;
    }
    Ok(Known { text, file })
}

fn append(path: &Path, text: &mut Vec<u8>) -> io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if file.take(FILE_BYTES_MAX + 1).read_to_end(text)? as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is too long"));
    }
    text.push(b'\n');
    Ok(())
}

impl Known {
    /// The file that a person would add a host to.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// What is thought of this key of the host. One that is revoked for the
    /// host is that, whatever else is said of it.
    pub(super) fn check(&self, address: &Address, key: &[u8]) -> Verdict {
        let mut verdict = Verdict::Unknown;
        for line in self.lines() {
            let is_same = line.key == key;
            let Some(exactness) = line.names(address) else { continue };
            match line.mark {
                Mark::Revoked if is_same => return Verdict::Revoked,
                Mark::Revoked | Mark::Authority => {}
                Mark::None if is_same => verdict = Verdict::Known,
                // What is known of the host on its usual port says only good.
                Mark::None if exactness == Exactness::WithoutPort => {}
                Mark::None if verdict == Verdict::Unknown => verdict = Verdict::Changed,
                Mark::None => {}
            }
        }
        verdict
    }

    /// The kinds of the keys that are known of the host.
    pub(super) fn kinds(&self, address: &Address) -> Vec<String> {
        let is_of_host =
            |line: &Line<'_>| line.mark == Mark::None && line.names(address).is_some();
        let lines = self.lines().filter(is_of_host);
        lines.filter_map(|line| kind(&line.key).map(str::to_owned)).collect()
    }

    /// The lines that can be read; all others are nobody's.
    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.text.split(|byte| *byte == b'\n').filter_map(Line::parse)
    }
}

/// The kind of a key, which stands at its start: `ssh-ed25519`.
pub(super) fn kind(key: &[u8]) -> Option<&str> {
    let (length, rest) = key.split_first_chunk::<4>()?;
    let kind = rest.get(..u32::from_be_bytes(*length) as usize)?;
    let kind = std::str::from_utf8(kind).ok()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-@.".contains(c);
    Some(kind).filter(|kind| kind.len() <= 64 && kind.chars().all(is_plain))
}

struct Line<'a> {
    mark: Mark,
    names: &'a str,
    key: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    None,
    Revoked,
    Authority,
}

/// How a line names a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exactness {
    Exact,
    /// Only by its name, while it is asked for at a port of its own.
    WithoutPort,
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let mut words = line.split_ascii_whitespace().peekable();
        let mark = match words.peek()? {
            word if word.starts_with('#') => return None,
            &"@revoked" => Mark::Revoked,
            &"@cert-authority" => Mark::Authority,
            word if word.starts_with('@') => return None,
            _ => Mark::None,
        };
        if mark != Mark::None {
            words.next();
        }
        let (names, kind_word, key) = (words.next()?, words.next()?, words.next()?);
        let key = STANDARD.decode(key).ok()?;
        if kind(&key) != Some(kind_word) {
            return None;
        }
        Some(Self { mark, names, key })
    }

    /// Whether it names the host, and how.
    fn names(&self, address: &Address) -> Option<Exactness> {
        let name = address.known_name();
        let bare = address.host.to_lowercase();
        if self.names_it(&name) {
            Some(Exactness::Exact)
        } else if bare != name && self.names_it(&bare) {
            Some(Exactness::WithoutPort)
        } else {
            None
        }
    }

    fn names_it(&self, name: &str) -> bool {
        if let Some(hidden) = self.names.strip_prefix("|1|") {
            return is_hidden(hidden, name);
        }
        let mut is_named = false;
        for pattern in self.names.split(',') {
            let pattern = pattern.to_lowercase();
            match pattern.strip_prefix('!') {
                Some(not) if matches(not.as_bytes(), name.as_bytes()) => return false,
                Some(_) => {}
                None => is_named |= matches(pattern.as_bytes(), name.as_bytes()),
            }
        }
        is_named
    }
}

/// Whether `salt|hash` hides the name.
fn is_hidden(hidden: &str, name: &str) -> bool {
    let Some((salt, hash)) = hidden.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&salt) else { return false };
    mac.update(name.as_bytes());
    mac.verify_slice(&hash).is_ok()
}

/// Whether the pattern, with `*` and `?`, is all of the name. In linear space,
/// and in time no more than the product of both.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, filling: u8) -> Vec<u8> {
        let mut key = (kind.len() as u32).to_be_bytes().to_vec();
        key.extend(kind.as_bytes());
        key.extend([filling; 32]);
        key
    }

    fn line(names: &str, key: &[u8]) -> String {
        format!("{names} {} {} comment\n", kind(key).unwrap(), STANDARD.encode(key))
    }

    fn verdict(text: &str, host: &str, key: &[u8]) -> Verdict {
        let known = Known { text: text.as_bytes().to_vec(), file: PathBuf::new() };
        let address = Address::try_from(format!("ssh://{host}/x")).unwrap();
        known.check(&address, key)
    }

    #[test]
    fn keys_are_told_apart() {
        let (ours, other) = (key("ssh-ed25519", 1), key("ssh-ed25519", 2));
        let rsa = key("ssh-rsa", 3);
        let text = format!(
            "# a comment\n\n@cert-authority * {}{}{}junk\nbad ssh-ed25519 ///\n{}",
            line("", &other).trim_start(),
            line("host.example,10.0.0.1", &ours),
            line("@revoked host.example", &rsa),
            line("[other]:2222", &ours),
        );
        let cases = [
            ("host.example", &ours, Verdict::Known),
            ("HOST.example", &ours, Verdict::Known),
            ("10.0.0.1:22", &ours, Verdict::Known),
            ("host.example:2222", &ours, Verdict::Known),
            ("host.example", &other, Verdict::Changed),
            ("host.example:2222", &other, Verdict::Unknown),
            ("host.example", &rsa, Verdict::Revoked),
            ("host.example:2222", &rsa, Verdict::Revoked),
            ("other:2222", &ours, Verdict::Known),
            ("other:2222", &other, Verdict::Changed),
            ("other", &ours, Verdict::Unknown),
            ("bad", &ours, Verdict::Unknown),
        ];
        for (host, key, expected) in cases {
            assert_eq!(verdict(&text, host, key), expected, "{host}");
        }
    }

    #[test]
    fn patterns_and_hidden_names() {
        let key = key("ssh-ed25519", 1);
        let text = line("*.example,!bad.example,h?st", &key);
        let known = |host| verdict(&text, host, &key) == Verdict::Known;
        assert!(known("a.example") && known("a.b.example") && known("host"));
        assert!(!known("bad.example") && !known("example") && !known("hoost"));
        // Made by `ssh-keygen -H` of `[127.0.0.1]:2222` is tested against it below.
        let mut mac = Hmac::<Sha1>::new_from_slice(b"salt").unwrap();
        mac.update(b"[::1]:7");
        let hash = STANDARD.encode(mac.finalize().into_bytes());
        let text = line(&format!("|1|{}|{hash}", STANDARD.encode("salt")), &key);
        assert_eq!(verdict(&text, "[::1]:7", &key), Verdict::Known);
        assert_eq!(verdict(&text, "[::1]:8", &key), Verdict::Unknown);
    }

    #[test]
    fn stars_cost_no_more_than_the_product() {
        let pattern = b"*a".repeat(2_000);
        assert!(!matches(&pattern, &[b'b'; 60_000]));
    }
}
