//! A receiver that collects what it gets, for the suite over all listeners.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// A thread that takes connections, with TLS or without, or requests, and
/// datagrams on loopback, until it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// With `answers` what comes over connections are requests of HTTP: their
    /// bodies are kept, and all of them are answered well.
    pub(crate) fn start(
        tls: Option<Arc<ServerConfig>>,
        answers: bool,
    ) -> io::Result<Self> {
        let (listener, datagrams) = bind()?;
        listener.set_nonblocking(true)?;
        datagrams.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        // What comes as datagrams is the first.
        let taken = Arc::new(Mutex::new(vec![Vec::new()]));
        let stops = Arc::<AtomicBool>::default();
        let mut collector = Collector {
            listener,
            datagrams,
            tls,
            answers,
            open: Vec::new(),
            taken: Arc::clone(&taken),
            stops: Arc::clone(&stops),
        };
        let thread = thread::Builder::new()
            .name("receiver".into())
            .spawn(move || while collector.turn().is_ok_and(|goes_on| goes_on) {})?;
        Ok(Self { address, taken, stops, thread: Some(thread) })
    }

    /// Where it listens: `127.0.0.1:40001`.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The whole lines of all connections in order, as far as they have
    /// arrived at this machine, and before them what came as datagrams, each as
    /// a line; forgets them.
    pub(crate) fn take_lines(&self) -> io::Result<Vec<u8>> {
        self.visit()?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        for bytes in &mut *taken {
            let torn = bytes.iter().rev().take_while(|byte| **byte != b'\n').count();
            lines.extend(bytes.drain(..bytes.len() - torn));
        }
        Ok(lines)
    }

    /// How many connections there were.
    #[cfg(test)]
    pub(crate) fn calls(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).len() - 1
    }

    /// Waits until the thread has done whole turns.
    fn visit(&self) -> io::Result<()> {
        let mut visit = TcpStream::connect(self.address)?;
        visit.shutdown(Shutdown::Write)?;
        visit.read(&mut [0]).map(|_| ())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        _ = self.visit();
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// Both at the same port.
fn bind() -> io::Result<(TcpListener, UdpSocket)> {
    let mut result = Err(io::ErrorKind::AddrInUse.into());
    for _ in 0..PORTS_TRIED_MAX {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        result = UdpSocket::bind(listener.local_addr()?).map(|it| (listener, it));
        if result.is_ok() {
            break;
        }
    }
    result
}

const PORTS_TRIED_MAX: usize = 100;
/// No datagram is longer.
const DATAGRAM_BYTES: usize = 65_536;

struct Collector {
    listener: TcpListener,
    datagrams: UdpSocket,
    tls: Option<Arc<ServerConfig>>,
    answers: bool,
    open: Vec<Open>,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
    stops: Arc<AtomicBool>,
}

/// A connection.
struct Open {
    stream: TcpStream,
    session: Option<ServerConnection>,
    /// Its index in `taken`.
    index: usize,
    /// What came of a request that is not whole.
    came: Vec<u8>,
    has_ended: bool,
}

impl Collector {
    /// Takes and reads whatever there is. A connection that has ended is closed
    /// one turn later: whoever waited for that knows that everything that was
    /// there when it came has been read.
    fn turn(&mut self) -> io::Result<bool> {
        let ended = self.open.extract_if(.., |open| open.has_ended).collect::<Vec<_>>();
        if ended.is_empty() {
            self.wait()?;
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            let session = self.tls.clone().map(ServerConnection::new).transpose();
            let session = session.map_err(io::Error::other)?;
            let index = taken.len();
            let came = Vec::new();
            self.open.push(Open { stream, session, index, came, has_ended: false });
            taken.push(Vec::new());
        }
        for open in &mut self.open {
            let read = open.read();
            let goes_on =
                read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            open.has_ended = !goes_on;
            let taken = &mut taken[open.index];
            if self.answers {
                open.answer(taken)?;
            } else {
                taken.append(&mut open.came);
            }
        }
        let mut datagram = vec![0; DATAGRAM_BYTES];
        while let Ok(count) = self.datagrams.recv(&mut datagram) {
            let line =
                datagram[..count].strip_suffix(b"\n").unwrap_or(&datagram[..count]);
            taken[0].extend_from_slice(line);
            taken[0].push(b'\n');
        }
        drop(taken);
        drop(ended);
        Ok(!self.stops.load(Ordering::Relaxed))
    }

    fn wait(&self) -> io::Result<()> {
        let mut polled = vec![
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.datagrams, PollFlags::IN),
        ];
        polled.extend(
            self.open.iter().map(|open| PollFd::new(&open.stream, PollFlags::IN)),
        );
        poll(&mut polled, None::<&Timespec>)?;
        Ok(())
    }
}

impl Open {
    /// Reads to the end, or until nothing is there.
    fn read(&mut self) -> io::Result<()> {
        let Some(session) = &mut self.session else {
            return self.stream.read_to_end(&mut self.came).map(|_| ());
        };
        loop {
            let count = session.read_tls(&mut self.stream);
            let processed = session.process_new_packets();
            while session.wants_write() {
                session.write_tls(&mut self.stream)?;
            }
            let state = processed.map_err(io::Error::other)?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            session.reader().read_exact(&mut plain)?;
            self.came.extend(plain);
            if count? == 0 || state.peer_has_closed() {
                return Ok(());
            }
        }
    }

    /// Takes the bodies of whole requests, and answers them.
    fn answer(&mut self, taken: &mut Vec<u8>) -> io::Result<()> {
        while let Some(head) = memchr::memmem::find(&self.came, b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&self.came[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|it| it.strip_prefix("content-length: "));
            let length = length.and_then(|it| it.parse::<usize>().ok()).unwrap_or(0);
            let body = head + 4;
            let Some(bytes) = self.came.get(body..body + length) else { break };
            taken.extend_from_slice(bytes);
            self.came.drain(..body + length);
            const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
            match &mut self.session {
                None => self.stream.write_all(ANSWER)?,
                Some(session) => {
                    session.writer().write_all(ANSWER)?;
                    while session.wants_write() {
                        session.write_tls(&mut self.stream)?;
                    }
                }
            }
        }
        Ok(())
    }
}
