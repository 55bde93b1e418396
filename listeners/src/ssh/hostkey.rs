//! What a person does about a host's key that cannot be trusted.

use super::address::Address;
use super::failure::{Failure, Kind};
use std::path::{Path, PathBuf};

/// What is wrong with a host's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No key of the host is known.
    Unknown,
    /// Another key of the host is known.
    Changed,
    /// It is marked as revoked.
    Revoked,
}

/// A key that a host showed.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// As in `known_hosts`: `ssh-ed25519`.
    pub(super) kind: String,
    /// `SHA256:...`, as `ssh-keygen -l` writes it.
    pub(super) fingerprint: String,
}

/// The failure, with the lines to type.
pub(super) fn failure(
    trouble: Trouble,
    address: &Address,
    shown: Option<&Shown>,
    known_hosts: &Path,
) -> Failure {
    let name = address.known_name();
    let file = known_hosts.display();
    let key = shown.map_or_else(
        || "a key".to_owned(),
        |shown| format!("the {} key {}", shown.kind, shown.fingerprint),
    );
    let scan = scan_line(address, shown, known_hosts);
    let message = match trouble {
        Trouble::Unknown => format!(
            "the host {name} is not known: it shows {key}, and {file} has no such key of \
             it. Nothing was sent to it. Compare the fingerprint with what \
             `ssh-keygen -lf` says of the key files on the host itself, then type: {scan}"
        ),
        Trouble::Changed => format!(
            "the host {name} is not the one it was: it shows {key}, and {file} has another \
             one. Either it was set up anew, or somebody stands in between. Nothing was \
             sent to it. If its administrator confirms the new key, type: \
             ssh-keygen -R {} -f {} && {scan}",
            quoted(&name),
            quoted(&file.to_string())
        ),
        Trouble::Revoked => format!(
            "the host {name} shows {key}, which {file} says is revoked: its owner does \
             not want it trusted any more. Nothing was sent to it. Ask its administrator \
             for the new key"
        ),
    };
    Failure::new(Kind::HostKey, message)
}

/// The line that takes a host's keys into `known_hosts`.
fn scan_line(address: &Address, shown: Option<&Shown>, known_hosts: &Path) -> String {
    let mut line = String::from("ssh-keyscan");
    if let Some(port) = address.port.filter(|port| *port != Address::PORT) {
        line += &format!(" -p {port}");
    }
    if let Some(kind) = shown.and_then(|shown| scan_kind(&shown.kind)) {
        line += &format!(" -t {kind}");
    }
    line + &format!(
        " {} >> {}",
        quoted(&address.host),
        quoted(&known_hosts.display().to_string())
    )
}

/// What `ssh-keyscan -t` calls a key.
fn scan_kind(kind: &str) -> Option<&'static str> {
    match kind {
        "ssh-ed25519" => Some("ed25519"),
        "ssh-rsa" => Some("rsa"),
        kind if kind.starts_with("ecdsa-sha2-") => Some("ecdsa"),
        _ => None,
    }
}

/// For a line that a person types.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./,@%+:".contains(c);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Where `ssh` keeps the hosts that a user knows.
pub(super) fn own_known_hosts() -> Option<PathBuf> {
    let home = std::env::home_dir().filter(|home| home.is_absolute())?;
    Some(home.join(".ssh/known_hosts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_to_type_are_exact() {
        let address = Address::try_from("ssh://me@h.example:2222/x".to_owned()).unwrap();
        let shown =
            Shown { kind: "ssh-ed25519".into(), fingerprint: "SHA256:abc".into() };
        let say = |trouble, shown| {
            failure(trouble, &address, shown, Path::new("/k h/known")).to_string()
        };
        let unknown = say(Trouble::Unknown, Some(&shown));
        assert!(unknown.contains("the ssh-ed25519 key SHA256:abc"), "{unknown}");
        let scan = "ssh-keyscan -p 2222 -t ed25519 h.example >> '/k h/known'";
        assert!(unknown.ends_with(scan), "{unknown}");
        let changed = say(Trouble::Changed, None);
        let lines = "ssh-keygen -R '[h.example]:2222' -f '/k h/known' && \
                     ssh-keyscan -p 2222 h.example >> '/k h/known'";
        assert!(changed.ends_with(lines), "{changed}");
    }
}
