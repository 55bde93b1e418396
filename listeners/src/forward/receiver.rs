//! A receiver that collects what it gets, for the suite over all listeners.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// A thread that takes connections on loopback, until it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let taken = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let stops = Arc::<AtomicBool>::default();
        let mut collector = Collector {
            listener,
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
    /// arrived at this machine; forgets them.
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

struct Collector {
    listener: TcpListener,
    /// Connections, with their index in `taken`, and whether they have ended.
    open: Vec<(TcpStream, usize, bool)>,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
    stops: Arc<AtomicBool>,
}

impl Collector {
    /// Takes and reads whatever there is. A connection that has ended is closed
    /// one turn later: whoever waited for that knows that everything that was
    /// there when it came has been read.
    fn turn(&mut self) -> io::Result<bool> {
        let is_over = |connection: &(TcpStream, usize, bool)| connection.2;
        let ended = self.open.extract_if(.., |open| is_over(open)).collect::<Vec<_>>();
        if ended.is_empty() {
            self.wait()?;
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            self.open.push((stream, taken.len(), false));
            taken.push(Vec::new());
        }
        for (stream, index, has_ended) in &mut self.open {
            let read = stream.read_to_end(&mut taken[*index]);
            let goes_on =
                read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            *has_ended = !goes_on;
        }
        drop(taken);
        drop(ended);
        Ok(!self.stops.load(Ordering::Relaxed))
    }

    fn wait(&self) -> io::Result<()> {
        let mut polled = vec![PollFd::new(&self.listener, PollFlags::IN)];
        polled.extend(self.open.iter().map(|open| PollFd::new(&open.0, PollFlags::IN)));
        poll(&mut polled, None::<&Timespec>)?;
        Ok(())
    }
}
