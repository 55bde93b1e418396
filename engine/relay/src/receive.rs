//! The receiver: what comes from senders is appended to files.
//!
//! `names`, `places` decide and are pure; `files` and `store` keep, `commit` makes
//! durable what many connections wrote; `trust` lets in, `desk` is what a connection
//! writes, `session` the connection and `server` all of them.

mod commit;
mod desk;
mod files;
pub mod names;
pub mod places;
mod server;
mod session;
mod store;
mod trust;

pub use server::Server;
pub use trust::Certificates;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a receiver is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The folder with the files: `PEER/SOURCE/...`.
    pub to: PathBuf,
    /// The directory of its state; the lock on it is the caller's.
    pub state: PathBuf,
    /// Who may send. When there is nobody, everybody on this machine may.
    pub peers: BTreeMap<String, Peer>,
    /// For peers that prove themselves by a certificate.
    pub certificates: Option<Certificates>,
    /// So many connections at a time.
    pub connections_max: usize,
}

/// Somebody who may send.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The file with the key that proves it; without it a certificate does.
    pub shared_key: Option<PathBuf>,
}

impl Settings {
    /// The bound of [`connections_max`](Self::connections_max).
    pub const CONNECTIONS_MAX: usize = 1024;

    /// Why this is not safe to run, if it is not.
    pub fn objection(&self) -> Option<String> {
        let is_open = !self.listen.ip().is_loopback();
        let unproved = self.peers.iter().find(|(_, peer)| peer.shared_key.is_none());
        match (is_open, unproved, &self.certificates) {
            (true, _, _) if self.peers.is_empty() => Some(format!(
                "`listen` is {}, which others can reach, and `peers` names nobody: anybody \
                 could send anything. Write `peers`, or listen at 127.0.0.1",
                self.listen
            )),
            (true, Some((name, _)), None) => Some(format!(
                "`peers` has {name:?} without `shared_key`, and there is no `tls`: how is it \
                 to prove who it is? Write one of them, or listen at 127.0.0.1"
            )),
            _ => None,
        }
    }

    /// Whether a peer on this machine may come without any proof.
    fn lets_in_unproved(&self, peer: &str) -> bool {
        let is_here = self.listen.ip().is_loopback() && self.certificates.is_none();
        let has_key = |peer: &Peer| peer.shared_key.is_some();
        is_here
            && (self.peers.is_empty()
                || self.peers.get(peer).is_some_and(|it| !has_key(it)))
    }
}

/// Tells somebody what happens, in a sentence without a line feed.
type Say = dyn Fn(&str) + Send + Sync;
