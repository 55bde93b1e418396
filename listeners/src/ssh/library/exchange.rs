//! What a pipe and the thread of its session hand each other.

use crate::ssh::failure::Failure;
use crate::ssh::transport::{ERRORS_BYTES_MAX, Exit};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So much waits to be sent, besides what is being sent; and so much of what came waits
/// to be read.
const BYTES_MAX: usize = 256 * 1024;

/// Between the two.
pub(super) struct Exchange {
    traffic: Mutex<Traffic>,
    /// For the pipe: something came, went, or ended.
    changed: Condvar,
    /// For the thread, while it sleeps.
    wake: OwnedFd,
}

/// What lies between them.
struct Traffic {
    stage: Stage,
    to_send: Vec<u8>,
    /// Nothing comes behind what is to be sent; until the thread knows it.
    input_ends: bool,
    heard: Vec<u8>,
    /// What is said besides.
    errors: Vec<u8>,
    /// The thread looks for nothing but its socket and a call to wake up.
    sleeps: bool,
    /// The pipe is gone.
    is_over: bool,
}

/// How far the session came.
#[derive(Debug)]
enum Stage {
    LoggingIn,
    /// There is a connection; its socket, to break it off.
    Open(TcpStream),
    Over(Over),
}

/// How it ended.
#[derive(Clone, Debug)]
pub(super) enum Over {
    /// It never came to a connection.
    Failed(Failure),
    /// The service ended.
    Ended(Exit),
    /// The connection broke.
    Broken(String),
}

impl Exchange {
    pub(super) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let traffic = Traffic {
            stage: Stage::LoggingIn,
            to_send: Vec::new(),
            input_ends: false,
            heard: Vec::new(),
            errors: Vec::new(),
            sleeps: false,
            is_over: false,
        };
        Ok(Self { traffic: Mutex::new(traffic), changed: Condvar::new(), wake })
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        // Nothing in it depends on anything else in it.
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the pipe does.
impl Exchange {
    /// Waits for the login to be over; whether it is.
    pub(super) fn wait_for_login(&self, until: Instant) -> bool {
        let traffic =
            self.wait_while(until, |traffic| matches!(traffic.stage, Stage::LoggingIn));
        !matches!(traffic.stage, Stage::LoggingIn)
    }

    /// Takes some of the bytes to be sent; how many.
    pub(super) fn send(&self, bytes: &[u8]) -> usize {
        let mut traffic = self.traffic();
        let count = bytes.len().min(BYTES_MAX.saturating_sub(traffic.to_send.len()));
        traffic.to_send.extend_from_slice(&bytes[..count]);
        if count > 0 {
            self.wake_up(traffic);
        }
        count
    }

    pub(super) fn end_input(&self) {
        let mut traffic = self.traffic();
        traffic.input_ends = true;
        self.wake_up(traffic);
    }

    /// Reads some of what came; how much.
    pub(super) fn receive(&self, into: &mut [u8]) -> usize {
        let mut traffic = self.traffic();
        let count = traffic.heard.len().min(into.len());
        into[..count].copy_from_slice(&traffic.heard[..count]);
        let was_full = traffic.room().0 == 0;
        traffic.heard.drain(..count);
        if was_full {
            self.wake_up(traffic);
        }
        count
    }

    /// What was said besides since this was asked last.
    pub(super) fn errors(&self) -> Vec<u8> {
        let mut traffic = self.traffic();
        let was_full = traffic.room().1 == 0;
        let errors = std::mem::take(&mut traffic.errors);
        if was_full {
            self.wake_up(traffic);
        }
        errors
    }

    /// How it ended, as soon as there is nothing more to be read.
    pub(super) fn over(&self) -> Option<Over> {
        let traffic = self.traffic();
        match &traffic.stage {
            Stage::Over(over) if traffic.has_nothing() => Some(over.clone()),
            _ => None,
        }
    }

    /// Waits until there is something to read or, where that is asked for, there is
    /// room for something to be sent.
    pub(super) fn wait(&self, for_room: bool, until: Instant) {
        let waited = self.wait_while(until, |traffic| {
            let has_room = for_room && traffic.to_send.len() < BYTES_MAX;
            !matches!(traffic.stage, Stage::Over(_)) && !has_room && traffic.has_nothing()
        });
        drop(waited);
    }

    /// Ends the connection at once. The thread ends when it notices.
    pub(super) fn close(&self) {
        let mut traffic = self.traffic();
        traffic.is_over = true;
        if let Stage::Open(stream) = &traffic.stage {
            _ = stream.shutdown(Shutdown::Both);
        }
        self.wake_up(traffic);
    }

    fn wait_while(
        &self,
        until: Instant,
        condition: impl Fn(&Traffic) -> bool,
    ) -> MutexGuard<'_, Traffic> {
        let timeout = until.saturating_duration_since(Instant::now());
        let traffic = self.traffic();
        let waited = self
            .changed
            .wait_timeout_while(traffic, timeout, |traffic| condition(traffic));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn wake_up(&self, mut traffic: MutexGuard<'_, Traffic>) {
        if std::mem::take(&mut traffic.sleeps) {
            // While it is locked, so that whoever sees it taken finds the call. It takes
            // 2^64 of them to fill it.
            _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }
}

/// What the thread does.
impl Exchange {
    /// There is a connection, by this socket.
    pub(super) fn open(&self, stream: TcpStream) {
        self.traffic().stage = Stage::Open(stream);
        self.changed.notify_all();
    }

    pub(super) fn end(&self, over: Over) {
        self.traffic().stage = Stage::Over(over);
        self.changed.notify_all();
    }

    /// Exchanges what was sent for what is to be sent next, and returns whether
    /// nothing comes behind that.
    pub(super) fn next(&self, sent: &mut Vec<u8>) -> bool {
        sent.clear();
        let mut traffic = self.traffic();
        std::mem::swap(sent, &mut traffic.to_send);
        if !sent.is_empty() {
            self.changed.notify_all();
        }
        std::mem::take(&mut traffic.input_ends)
    }

    /// Whether nobody is there any more.
    pub(super) fn is_over(&self) -> bool {
        self.traffic().is_over
    }

    /// So much may be heard, and so much of what is said besides.
    pub(super) fn room(&self) -> (usize, usize) {
        self.traffic().room()
    }

    pub(super) fn hear(&self, bytes: &[u8]) {
        self.traffic().heard.extend_from_slice(bytes);
        self.changed.notify_all();
    }

    pub(super) fn hear_errors(&self, bytes: &[u8]) {
        self.traffic().errors.extend_from_slice(bytes);
        self.changed.notify_all();
    }

    /// Waits until the socket is as `flags` say, or the pipe has something. What the pipe
    /// has to send is of no use while something `is_unsent`.
    pub(super) fn sleep(
        &self,
        stream: &TcpStream,
        flags: PollFlags,
        is_unsent: bool,
        room: (usize, usize),
        timeout: Duration,
    ) -> io::Result<()> {
        {
            let mut traffic = self.traffic();
            let has_more = !traffic.to_send.is_empty() || traffic.input_ends;
            let has_room = (room.0 == 0 || room.1 == 0) && traffic.room() != room;
            if traffic.is_over || (has_more && !is_unsent) || has_room {
                return Ok(());
            }
            traffic.sleeps = true;
        }
        let mut polled =
            [PollFd::new(stream, flags), PollFd::new(&self.wake, PollFlags::IN)];
        let result = poll(&mut polled, Timespec::try_from(timeout).ok().as_ref());
        let was_called = !std::mem::take(&mut self.traffic().sleeps);
        if was_called {
            _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
        match result {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Traffic {
    fn has_nothing(&self) -> bool {
        self.heard.is_empty() && self.errors.is_empty()
    }

    fn room(&self) -> (usize, usize) {
        (
            BYTES_MAX.saturating_sub(self.heard.len()),
            ERRORS_BYTES_MAX.saturating_sub(self.errors.len()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn what_nobody_takes_is_bounded_both_ways() {
        let exchange = Exchange::new().unwrap();
        let block = vec![7; BYTES_MAX];
        assert_eq!(exchange.send(&block[1..]), BYTES_MAX - 1);
        assert_eq!(exchange.send(&block), 1);
        assert_eq!(exchange.send(&block), 0);
        let mut sent = Vec::new();
        assert!(!exchange.next(&mut sent));
        assert_eq!((sent.len(), exchange.send(b"more")), (BYTES_MAX, 4));
        exchange.hear(&block);
        assert_eq!(exchange.room(), (0, ERRORS_BYTES_MAX));
        let mut into = [0; 10];
        assert_eq!((exchange.receive(&mut into), exchange.room().0), (10, 10));
    }

    #[test]
    fn the_end_comes_behind_what_was_heard() {
        let exchange = Exchange::new().unwrap();
        exchange.hear(b"last words");
        exchange.end(Over::Ended(Exit::Status(3)));
        exchange.wait(true, later());
        assert!(exchange.over().is_none());
        let mut into = [0; 100];
        assert_eq!(exchange.receive(&mut into), 10);
        assert!(matches!(exchange.over(), Some(Over::Ended(Exit::Status(3)))));
    }

    fn sockets() -> (TcpStream, TcpStream) {
        let (ours, theirs) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        (ours.into(), theirs.into())
    }

    #[test]
    fn each_wakes_the_other() {
        let exchange = Exchange::new().unwrap();
        let (stream, _theirs) = sockets();
        let mut sent = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                // It answers each byte until nobody is there.
                while !exchange.is_over() {
                    exchange.next(&mut sent);
                    exchange.hear(&sent);
                    let (room, timeout) = (exchange.room(), Duration::from_secs(60));
                    exchange.sleep(&stream, PollFlags::IN, false, room, timeout).unwrap();
                }
            });
            let mut into = [0; 8];
            for byte in 0..=255_u8 {
                assert_eq!(exchange.send(&[byte]), 1);
                exchange.wait(false, later());
                assert_eq!((exchange.receive(&mut into), into[0]), (1, byte));
            }
            exchange.close();
        });
    }

    /// Whoever is called while something wakes it anyway sleeps the next time.
    #[test]
    fn no_call_is_left_over() {
        let exchange = Exchange::new().unwrap();
        let (stream, mut theirs) = sockets();
        std::io::Write::write_all(&mut theirs, b"x").unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    exchange.send(b"x");
                    thread::yield_now();
                }
            });
            let mut sent = Vec::new();
            for _ in 0..10_000 {
                exchange.next(&mut sent);
                let (room, timeout) = (exchange.room(), Duration::from_millis(1));
                exchange.sleep(&stream, PollFlags::IN, false, room, timeout).unwrap();
            }
        });
        assert_eq!(
            rustix::io::read(&exchange.wake, &mut [0; 8]).unwrap_err(),
            Errno::AGAIN,
            "it would never sleep again"
        );
    }
}
