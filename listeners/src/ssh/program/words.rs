//! What `ssh` says, and what it means.
//!
//! `ssh` ends with 255 for everything; only its messages tell more. They are
//! asked for in English, and are those of OpenSSH 7 to 10.

use crate::ssh::Settings;
use crate::ssh::failure::{Failure, Kind};
use crate::ssh::hostkey::{self, Shown, Trouble};
use crate::ssh::text::{Captured, shown};
use crate::ssh::transport::ERRORS_BYTES_MAX;
use std::path::PathBuf;

/// No line is looked at beyond this.
const LINE_BYTES_MAX: usize = 2048;

/// What was said so far.
pub(super) struct Words {
    /// Lines for developers come too, and are left out.
    is_verbose: bool,
    line: Vec<u8>,
    captured: Captured,
    /// The last key that a host showed.
    shown: Option<Shown>,
}

impl Words {
    pub(super) const fn new(is_verbose: bool) -> Self {
        Self {
            is_verbose,
            line: Vec::new(),
            captured: Captured::new(ERRORS_BYTES_MAX),
            shown: None,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.is_verbose {
            self.captured.push(bytes);
            return;
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.take_line();
            }
        }
    }

    /// Nothing more will be said.
    pub(super) fn finish(&mut self) {
        if !self.line.is_empty() {
            self.take_line();
        }
    }

    fn take_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let Some(detail) = line.strip_prefix(b"debug1: ") else {
            if !is_noise(&line) {
                self.captured.push(line.trim_ascii_end());
                self.captured.push(b"\n");
            }
            return;
        };
        if let Some(key) = detail.strip_prefix(b"Server host key: ")
            && let Ok(key) = std::str::from_utf8(key)
            && let Some((kind, fingerprint)) = key.trim().split_once(' ')
        {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-@.:+/=".contains(c);
            if kind.chars().chain(fingerprint.chars()).all(is_plain) {
                self.shown =
                    Some(Shown { kind: kind.into(), fingerprint: fingerprint.into() });
            }
        }
    }

    pub(super) const fn captured(&self) -> &Captured {
        &self.captured
    }

    /// The failure that the words explain, if they do.
    pub(super) fn failure(&self, settings: &Settings) -> Option<Failure> {
        let text = String::from_utf8_lossy(self.captured.bytes());
        let meaning = meaning(&text)?;
        let address = &settings.address;
        let said = shown(self.captured.bytes());
        let message = match meaning {
            Meaning::HostKey(trouble) => {
                let file = settings
                    .known_hosts
                    .clone()
                    .or_else(hostkey::own_known_hosts)
                    .unwrap_or_else(|| PathBuf::from("~/.ssh/known_hosts"));
                let failure =
                    hostkey::failure(trouble, address, self.shown.as_ref(), &file);
                return Some(failure);
            }
            Meaning::Login => {
                let key = settings.key.as_ref().map_or_else(
                    || "an agent's keys and the user's own".to_owned(),
                    |key| format!("the key {}", key.display()),
                );
                return Some(Failure::new(
                    Kind::Login,
                    format!(
                        "{address} does not let us in with {key}: add the public key to \
                         the account's authorized_keys, or name another key or user \
                         (ssh: {said})"
                    ),
                ));
            }
            Meaning::NoSubsystem => {
                return Some(Failure::new(
                    Kind::Lacks,
                    format!(
                        "{address} offers no SFTP: write `Subsystem sftp internal-sftp` \
                         into its sshd_config (ssh: {said})"
                    ),
                ));
            }
            Meaning::Unreachable => format!("cannot connect to {address}: ssh: {said}"),
            Meaning::Broken => {
                format!("the connection to {address} ended: ssh: {said}")
            }
        };
        let kind = match meaning {
            Meaning::Unreachable => Kind::Unreachable,
            _ => Kind::Broken,
        };
        Some(Failure::new(kind, message))
    }

    /// A failure that they do not explain.
    pub(super) fn unexplained(&self, settings: &Settings, how: &str) -> Failure {
        let said = shown(self.captured.bytes());
        let address = &settings.address;
        let said = if said.is_empty() { "nothing".to_owned() } else { said };
        let why =
            format!("the connection to {address} is over: ssh {how} and said: {said}");
        Failure::new(Kind::Broken, why)
    }
}

/// Lines that come with `-v` and are no news.
fn is_noise(line: &[u8]) -> bool {
    const STARTS: &[&[u8]] = &[
        b"OpenSSH_",
        b"Authenticated to ",
        b"Transferred: ",
        b"Bytes per second: ",
        b"debug2: ",
        b"debug3: ",
    ];
    line.trim_ascii().is_empty() || STARTS.iter().any(|start| line.starts_with(start))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    HostKey(Trouble),
    Login,
    NoSubsystem,
    Unreachable,
    Broken,
}

/// What the messages mean: the first that is found decides.
fn meaning(text: &str) -> Option<Meaning> {
    const MEANINGS: &[(&str, Meaning)] = &[
        ("REVOKED HOST KEY DETECTED", Meaning::HostKey(Trouble::Revoked)),
        ("IDENTIFICATION HAS CHANGED", Meaning::HostKey(Trouble::Changed)),
        ("Host key verification failed", Meaning::HostKey(Trouble::Unknown)),
        ("Permission denied (", Meaning::Login),
        ("Too many authentication failures", Meaning::Login),
        ("subsystem request failed", Meaning::NoSubsystem),
        ("ssh: connect to host", Meaning::Unreachable),
        ("ssh: Could not resolve hostname", Meaning::Unreachable),
        ("kex_exchange_identification:", Meaning::Unreachable),
        ("ssh_exchange_identification:", Meaning::Unreachable),
        ("banner exchange:", Meaning::Unreachable),
        ("Unable to negotiate with", Meaning::Unreachable),
        ("Bad configuration option", Meaning::Unreachable),
        ("Connection timed out during", Meaning::Unreachable),
        ("Connection closed by", Meaning::Broken),
        ("Connection reset by", Meaning::Broken),
        ("closed by remote host", Meaning::Broken),
        ("client_loop: send disconnect", Meaning::Broken),
        ("Timeout, server", Meaning::Broken),
        ("Received disconnect from", Meaning::Broken),
        ("Disconnected from", Meaning::Broken),
        ("packet_write_wait:", Meaning::Broken),
        ("ssh_dispatch_run_fatal:", Meaning::Broken),
    ];
    MEANINGS.iter().find(|(words, _)| text.contains(words)).map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::Address;

    fn told(text: &str) -> Failure {
        let address = Address::try_from("ssh://me@h:2222/x".to_owned()).unwrap();
        let mut settings = Settings::new(address);
        settings.known_hosts = Some("/k".into());
        let mut words = Words::new(true);
        words.push(text.as_bytes());
        words.failure(&settings).unwrap_or_else(|| words.unexplained(&settings, "ended"))
    }

    #[test]
    fn its_messages_are_understood() {
        let cases = [
            (
                "debug1: Server host key: ssh-ed25519 SHA256:abc/+\r\n\
                 No ED25519 host key is known for [h]:2222 and you have requested \
                 strict checking.\r\nHost key verification failed.\r\n",
                Kind::HostKey,
                "SHA256:abc/+",
            ),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n\
                 Host key verification failed.\r\n",
                Kind::HostKey,
                "ssh-keygen -R '[h]:2222'",
            ),
            ("@ WARNING: REVOKED HOST KEY DETECTED! @\n", Kind::HostKey, "revoked"),
            ("me@h: Permission denied (publickey).\n", Kind::Login, "authorized_keys"),
            ("subsystem request failed on channel 0\n", Kind::Lacks, "internal-sftp"),
            (
                "ssh: connect to host h port 2222: Connection refused\r\n",
                Kind::Unreachable,
                "Connection refused",
            ),
            ("Timeout, server h not responding.\r\n", Kind::Broken, "not responding"),
            ("what is this\x1b[2J\n", Kind::Broken, "what is this\\u{1b}"),
            ("", Kind::Broken, "said: nothing"),
        ];
        for (text, kind, words) in cases {
            let failure = told(text);
            assert_eq!(failure.kind(), kind, "{failure}");
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }

    #[test]
    fn lines_for_developers_are_left_out_and_long_ones_cut() {
        let mut words = Words::new(true);
        words.push(b"OpenSSH_9.2p1\ndebug1: x\nde");
        words.push(b"bug1: y\nfirst ");
        words.push(b"line\n");
        words.push(&[b'x'; 100_000]);
        words.push(b"\n");
        let bytes = words.captured().bytes();
        assert!(bytes.starts_with(b"first line\nxxx"), "{}", shown(bytes));
        assert_eq!(bytes.len(), b"first line\n".len() + LINE_BYTES_MAX + 1);
    }
}
