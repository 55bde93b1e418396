//! What listeners write to that is not a file.

use crate::forward::receiver::Receiver;
use crate::mail::receiver::MailReceiver;
use crate::ssh::testing::{Access, Host, Plan};
use rustls::ServerConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whom a listener writes to.
pub(super) enum OtherEnd {
    Files,
    /// With the file that says whom to believe.
    Lines(Receiver, PathBuf),
    Mails(MailReceiver),
    Standby(Host),
}

/// Stands in a row's arguments for the receiver's address ...
const RECEIVER: &str = "{receiver}";
/// ... for the file with the certificate that signed its own ...
const CA: &str = "{ca}";
/// ... for the mail server's address ...
const MAILBOX: &str = "{mailbox}";
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
            Self::Standby(host) => written
                .replace(STANDBY, &format!("{}@{}", host.user(), host.address()))
                .replace("{keys}", &host.directory().display().to_string())
                .replace("{directory}", &directory.display().to_string()),
        }
    }

    /// What came, if it does not go to files.
    pub(super) fn received(&self) -> std::io::Result<Option<Vec<u8>>> {
        match self {
            Self::Files | Self::Standby(_) => Ok(None),
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
