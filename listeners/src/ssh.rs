//! SSH: files on other hosts, and commands run there.
//!
//! Two ways lead to a host: a library (libssh2), and the system's `ssh`, which
//! knows jump hosts, certificates and hardware keys. Both give a [`Pipe`]: bytes
//! there and back that never wait. Over either of them go our own SFTP client,
//! [`Sftp`], which keeps many writes under way at once and knows which of them
//! are on the other side's disk, and [`Exec`], a command with its input, output
//! and end.
//!
//! A host must be known: the key it shows is looked up in `known_hosts`, and
//! what is unknown, changed or revoked is a [`Failure`] that stops, with the
//! lines a person types to put it right. Nothing is ever accepted by itself.
//!
//! Every connection serves one thing. A second thing costs a second login and
//! saves two from waiting for each other.

mod address;
mod exec;
mod failure;
mod hostkey;
mod key;
#[cfg(feature = "ssh2")]
mod library;
mod program;
mod quote;
mod sftp;
pub mod testing;
mod text;
mod transport;

pub(crate) use address::Address;
pub(crate) use exec::{Bounds, Exec};
pub(crate) use failure::{Code, Failure, Kind};
pub(crate) use sftp::{
    Attributes, Create, Extension, FileId, FromAnswer, Name, Open, Reading, Sftp, Space,
    Taken, Ticket,
};
pub(crate) use text::Captured;
pub(crate) use transport::{Exit, Transport};

use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Which way leads to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Way {
    /// The library.
    Library,
    /// The system's `ssh`.
    Program,
}

impl Way {
    /// The library, where it was built in.
    pub(crate) const DEFAULT: Self =
        if cfg!(feature = "ssh2") { Self::Library } else { Self::Program };
}

/// How a host is reached.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) address: Address,
    pub(crate) way: Way,
    /// The file with the keys of hosts. `None` for the user's own,
    /// `~/.ssh/known_hosts`, and the system's, `/etc/ssh/ssh_known_hosts`.
    pub(crate) known_hosts: Option<PathBuf>,
    /// The file with our private key, without a passphrase. `None` for those an
    /// agent has; `ssh` tries the user's own ones too.
    pub(crate) key: Option<PathBuf>,
    /// The socket of the agent. `None` for the one that SSH_AUTH_SOCK names.
    pub(crate) agent: Option<PathBuf>,
    /// Only for `ssh`: a file for its `-F`. `None` for none at all, neither the
    /// user's nor the system's.
    pub(crate) config: Option<PathBuf>,
    /// Only for `ssh`: the program.
    pub(crate) program: PathBuf,
    /// In which the connection must stand and we be let in.
    pub(crate) connect_timeout: Duration,
    /// While something is under way, some of it must move within this.
    pub(crate) answer_timeout: Duration,
    /// An idle connection is tried after this.
    pub(crate) keepalive: Duration,
}

impl Settings {
    /// Unless configured.
    pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
    /// Unless configured.
    pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

    /// With everything left to its default.
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            way: Way::DEFAULT,
            known_hosts: None,
            key: None,
            agent: None,
            config: None,
            program: PathBuf::from("ssh"),
            connect_timeout: Self::CONNECT_TIMEOUT,
            answer_timeout: Self::ANSWER_TIMEOUT,
            keepalive: Duration::from_secs(15),
        }
    }

    /// The way to the host. Looks at files, does not connect.
    ///
    /// # Errors
    ///
    /// When something on this machine is not as it must be.
    pub(crate) fn transport(&self) -> Result<Box<dyn Transport>, Failure> {
        if let Some(path) = &self.key {
            key::open(path)?;
        }
        match self.way {
            Way::Program => Ok(Box::new(program::Program::new(self)?)),
            #[cfg(feature = "ssh2")]
            Way::Library => Ok(Box::new(library::Library::new(self)?)),
            #[cfg(not(feature = "ssh2"))]
            Way::Library => Err(Failure::new(
                Kind::Setup,
                "this program was built without the SSH library: write `way: Program` to \
                 use the system's `ssh`",
            )),
        }
    }
}

#[cfg(test)]
mod tests;
