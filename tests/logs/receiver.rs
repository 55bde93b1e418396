//! The other end of a `Forward`: takes lines, or does not.

use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long nothing may come before it looks whether there is something else to
/// do.
const TICK: Duration = Duration::from_millis(10);

/// Takes connections, one after the other, and records the lines that come.
pub(crate) struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
    /// While nobody listens nobody else gets the port: tests run side by side, and
    /// lines would go to another one's listener.
    _reserved: OwnedFd,
}

struct Shared {
    /// Connections that have ended.
    ended: AtomicUsize,
    /// Whole lines, without their line feeds.
    lines: Mutex<Vec<Vec<u8>>>,
    is_over: AtomicBool,
    /// Nothing is read: the sender is made to wait.
    is_stalled: AtomicBool,
    /// The connection that stands is reset.
    resets: AtomicBool,
    /// Nobody is there.
    is_away: AtomicBool,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        let reserved = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let address = rustix::net::getsockname(&reserved).unwrap();
        let address = SocketAddr::try_from(address).unwrap();
        let shared = Arc::new(Shared {
            ended: AtomicUsize::new(0),
            lines: Mutex::default(),
            is_over: AtomicBool::new(false),
            is_stalled: AtomicBool::new(false),
            resets: AtomicBool::new(false),
            is_away: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("receiver".to_owned());
        let thread = thread.spawn(move || theirs.serve(listening(address))).unwrap();
        Self { shared, address, thread: Some(thread), _reserved: reserved }
    }

    /// As `Forward` wants it.
    pub(crate) fn address(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// Reads nothing from now on, or reads again.
    pub(crate) fn stall(&self, is_stalled: bool) {
        self.shared.is_stalled.store(is_stalled, SeqCst);
    }

    /// Resets the connection.
    pub(crate) fn reset(&self) {
        self.shared.resets.store(true, SeqCst);
    }

    /// Refuses connections from now on, or takes them again. One that stands is
    /// reset.
    pub(crate) fn go_away(&self, is_away: bool) {
        self.shared.is_away.store(is_away, SeqCst);
    }

    /// How many connections have ended.
    pub(crate) fn ended(&self) -> usize {
        self.shared.ended.load(SeqCst)
    }

    /// The lines that have come.
    pub(crate) fn lines(&self) -> Vec<Vec<u8>> {
        self.shared.lines.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.lines.lock().unwrap().len()
    }

    /// Whether a line has come that begins so.
    pub(crate) fn has(&self, start: &str) -> bool {
        let lines = self.shared.lines.lock().unwrap();
        lines.iter().rev().any(|line| line.starts_with(start.as_bytes()))
    }
}

impl Shared {
    fn serve(&self, listener: TcpListener) {
        let address = listener.local_addr().unwrap();
        let mut listener = Some(listener);
        while !self.is_over.load(SeqCst) {
            if self.is_away.load(SeqCst) {
                listener = None;
                std::thread::park_timeout(TICK);
                continue;
            }
            let listening = listener.get_or_insert_with(|| listening(address));
            listening.set_nonblocking(true).unwrap();
            match listening.accept() {
                Ok((stream, _)) => {
                    let rest = self.take(stream);
                    if self.is_away.load(SeqCst) {
                        // First: else one could call again before nobody is there,
                        // and deliver what nobody reads.
                        drop(listener.take());
                    }
                    drop(rest);
                    self.ended.fetch_add(1, SeqCst);
                }
                Err(_) => std::thread::park_timeout(TICK),
            }
        }
    }

    /// Reads until the connection is over or is to be: then it is reset when what
    /// is returned is dropped. What has no line feed at its end is dropped.
    fn take(&self, mut stream: TcpStream) -> Option<TcpStream> {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(TICK)).unwrap();
        let mut torn = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while !self.is_over.load(SeqCst) {
            if self.resets.swap(false, SeqCst) || self.is_away.load(SeqCst) {
                let now = Some(Duration::ZERO);
                rustix::net::sockopt::set_socket_linger(&stream, now).unwrap();
                return Some(stream);
            }
            if self.is_stalled.load(SeqCst) {
                std::thread::park_timeout(TICK);
                continue;
            }
            match stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => {
                    torn.extend_from_slice(&buffer[..count]);
                    self.split(&mut torn);
                }
                Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => {}
                Err(_) => return None,
            }
        }
        None
    }

    fn split(&self, torn: &mut Vec<u8>) {
        let Some(last) = torn.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = torn.split_off(last + 1);
        torn.pop();
        let lines = torn.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
        self.lines.lock().unwrap().extend(lines);
        *torn = rest;
    }
}

pub(crate) fn listening(address: SocketAddr) -> TcpListener {
    let socket = bound(address);
    rustix::net::listen(&socket, 128).unwrap();
    TcpListener::from(socket)
}

/// A socket at an address that others of ours may have too.
pub(crate) fn bound(address: SocketAddr) -> OwnedFd {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
    let flags = SocketFlags::CLOEXEC;
    let socket =
        socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    sockopt::set_socket_reuseport(&socket, true).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    socket
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.is_over.store(true, SeqCst);
        _ = self.thread.take().map(JoinHandle::join);
    }
}
