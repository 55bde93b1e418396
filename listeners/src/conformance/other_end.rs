//! What listeners write to that is not a file.

use crate::forward::receiver::Receiver;
use crate::mail::receiver::MailReceiver;
use crate::ssh::testing::{Access, Host, Plan};
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tripline_relay::receive::{Server, Settings};

/// Whom a listener writes to.
pub(super) enum OtherEnd {
    Files,
    /// With the file that says whom to believe.
    Lines(Receiver, PathBuf),
    Mails(MailReceiver),
    Standby(Host),
    /// With the folder that it writes to.
    Relay(Server, PathBuf),
}

/// Stands in a row's arguments for the receiver's address ...
const RECEIVER: &str = "{receiver}";
/// ... for the file with the certificate that signed its own ...
const CA: &str = "{ca}";
/// ... for the mail server's address ...
const MAILBOX: &str = "{mailbox}";
/// ... for that of another Tripline ...
const RELAY: &str = "{relay}";
/// ... and for a user at a host that serves SSH.
const STANDBY: &str = "{standby}";

impl OtherEnd {
    pub(super) fn of(arguments: &str, scratch: &Path) -> std::io::Result<Self> {
        Ok(if arguments.contains(RECEIVER) {
            let (tls, ca) = certified(arguments, scratch);
            let answers = arguments.contains("to: \"http");
            Self::Lines(Receiver::start(tls, answers)?, ca)
        } else if arguments.contains(MAILBOX) {
            Self::Mails(MailReceiver::start()?)
        } else if arguments.contains(STANDBY) {
            let keys = scratch.join("keys");
            std::fs::create_dir(&keys)?;
            Self::Standby(Host::start(&keys, &Plan::new(Access::Commands))?)
        } else if arguments.contains(RELAY) {
            let to = scratch.join("relay");
            let settings = Settings {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                to: to.clone(),
                state: scratch.join("relay-state"),
                peers: BTreeMap::new(),
                certificates: None,
                connections_max: 16,
            };
            let server =
                Server::start(settings, |_| {}).map_err(std::io::Error::other)?;
            Self::Relay(server, to)
        } else {
            Self::Files
        })
    }

    pub(super) fn arguments(&self, written: &str, directory: &Path) -> String {
        match self {
            Self::Files => written.to_owned(),
            Self::Lines(receiver, ca) => written
                .replace(RECEIVER, &receiver.address().to_string())
                .replace(CA, &ca.display().to_string()),
            Self::Mails(receiver) => {
                written.replace(MAILBOX, &receiver.address().to_string())
            }
            Self::Relay(server, to) => {
                // Each directory stands for another machine.
                let path = directory.as_os_str().as_encoded_bytes();
                let hash = path.iter().fold(5381_u64, |hash, byte| {
                    hash.wrapping_mul(33) ^ u64::from(*byte)
                });
                let peer = format!("peer-{hash:016x}");
                let relayed = to.join(&peer).display().to_string();
                // When it fails, the output is not found.
                _ = std::fs::write(directory.join("relayed"), relayed);
                written
                    .replace(RELAY, &server.address().to_string())
                    .replace("{peer}", &peer)
            }
            Self::Standby(host) => written
                .replace(STANDBY, &format!("{}@{}", host.user(), host.address()))
                .replace("{keys}", &host.directory().display().to_string())
                .replace("{directory}", &directory.display().to_string()),
        }
    }

    /// What came, if it does not go to files.
    pub(super) fn received(&self) -> std::io::Result<Option<Vec<u8>>> {
        match self {
            Self::Files | Self::Standby(_) | Self::Relay(..) => Ok(None),
            Self::Lines(receiver, _) => receiver.take_lines().map(Some),
            Self::Mails(receiver) => {
                let mut mails = receiver.take_mails()?;
                // A mail whose acceptance got lost comes again as the same.
                let mut seen = std::collections::BTreeSet::new();
                mails.retain(|mail| seen.insert(mail.header("Message-ID")));
                let text: String = mails.iter().map(|mail| mail.text()).collect();
                Ok(Some(text.into_bytes()))
            }
        }
    }
}

/// What a receiver needs for TLS, if it is asked for, and the file that says
/// whom to believe.
fn certified(arguments: &str, scratch: &Path) -> (Option<Arc<ServerConfig>>, PathBuf) {
    #[cfg(test)]
    if arguments.contains(CA) {
        let authority = crate::forward::certificates::Authority::new(scratch);
        return (Some(authority.server(&["127.0.0.1"])), authority.path());
    }
    assert!(!arguments.contains(CA), "there are no certificates");
    (None, scratch.join("none"))
}
