//! A connection that knows how much of what it took has arrived.
//!
//! All counts are bytes since the connection was made, encrypted ones with TLS:
//! `settled <= acknowledged <= written <= accepted`.

use crate::forward::tls::session::Session;
use crate::forward::unacknowledged::unacknowledged;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tripline_relay::link::set_up;

/// At most so many blocks of what the peer says are thrown away at a look.
const ANSWER_BLOCKS_MAX: usize = 16;
const ANSWER_BLOCK_BYTES: usize = 4096;
/// So much memory is kept for what waits.
const WAITING_BYTES_KEPT: usize = 2 * 1024 * 1024;

/// An open connection.
pub(super) struct Connection {
    stream: TcpStream,
    /// With TLS.
    session: Option<Session>,
    /// Without an acknowledgement for so long the peer counts as stalled.
    timeout: Duration,
    accepted: u64,
    /// Accepted and not yet written is `waiting[waiting_from..]`: at most the
    /// bytes of one batch.
    waiting: Vec<u8>,
    waiting_from: usize,
    written: u64,
    /// As of the last look.
    acknowledged: u64,
    settled: u64,
    /// When the peer last acknowledged something, or something to acknowledge
    /// began to be under way.
    moved: Instant,
}

/// Why a connection is over.
#[derive(Debug)]
pub(super) enum End {
    /// The peer closed it in an orderly way.
    Closed,
    /// It broke.
    Broken(io::Error),
    /// The peer acknowledged nothing for so long.
    Stalled(Duration),
}

impl Connection {
    /// Sets a new stream up, over which nothing was sent, or only what began
    /// the session.
    pub(super) fn new(
        stream: TcpStream,
        session: Option<Session>,
        timeout: Duration,
    ) -> io::Result<Self> {
        set_up(&stream, timeout)?;
        Ok(Self {
            stream,
            session,
            timeout,
            accepted: 0,
            waiting: Vec::new(),
            waiting_from: 0,
            written: 0,
            acknowledged: 0,
            settled: 0,
            moved: Instant::now(),
        })
    }

    /// Takes all of the bytes; with `false` none of them, because those taken
    /// before still wait. Returns soon after `until`, also when the peer takes
    /// nothing: what could not be written waits here.
    pub(super) fn push(&mut self, bytes: &[u8], until: Instant) -> Result<bool, End> {
        if !self.drain(until)? {
            return Ok(false);
        }
        let mut encrypted = Vec::new();
        let bytes = match &mut self.session {
            Some(session) => {
                session.encrypt(bytes, &mut encrypted).map_err(End::Broken)?;
                &encrypted
            }
            None => bytes,
        };
        if self.acknowledged == self.accepted {
            self.moved = Instant::now();
        }
        self.accepted += bytes.len() as u64;
        let written = self.write(bytes, until)?;
        self.waiting.extend_from_slice(&bytes[written..]);
        Ok(true)
    }

    /// Writes what waits, until `until`; returns whether nothing waits any more.
    pub(super) fn drain(&mut self, until: Instant) -> Result<bool, End> {
        if self.waiting.is_empty() {
            return Ok(true);
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        self.waiting_from += self.write(&waiting[self.waiting_from..], until)?;
        let is_drained = self.waiting_from == waiting.len();
        if is_drained {
            waiting.clear();
            waiting.shrink_to(WAITING_BYTES_KEPT);
            self.waiting_from = 0;
        }
        self.waiting = waiting;
        Ok(is_drained)
    }

    /// Whether it is over, before more is written. Cheap.
    pub(super) fn check(&mut self) -> Option<End> {
        match self.hear_out() {
            Ok(true) => None,
            Ok(false) => Some(self.measure().err().unwrap_or(End::Closed)),
            Err(end) => Some(end),
        }
    }

    /// Finds out what has arrived, and whether it is over.
    pub(super) fn look(&mut self) -> Option<End> {
        // In this order: what the peer acknowledged before it closed is
        // counted.
        match self.hear_out() {
            Ok(true) => self.measure().err(),
            Ok(false) => Some(self.measure().err().unwrap_or(End::Closed)),
            Err(end) => Some(end),
        }
    }

    /// Everything that was taken, as a mark to compare with.
    pub(super) const fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Whether everything before the mark had arrived at the last look; if so
    /// it is settled.
    pub(super) fn settles(&mut self, mark: u64) -> bool {
        let has_arrived = self.acknowledged >= mark;
        if has_arrived {
            self.settled = self.settled.max(mark);
        }
        has_arrived
    }

    /// How much of what was taken is in doubt when it ends like this. A peer
    /// that closes in an orderly way has read what it acknowledged; one that
    /// resets the connection says that it has thrown something away, which is
    /// at most what came since the last mark that was settled.
    pub(super) const fn in_doubt(&self, end: &End) -> u64 {
        let certain = match end {
            End::Closed => self.acknowledged,
            End::Broken(_) | End::Stalled(_) => self.settled,
        };
        self.accepted - certain
    }

    /// Ends it such that nothing more of it reaches the peer: what is under way
    /// comes again on another connection.
    pub(super) fn abort(mut self) {
        self.session = None;
        // When it fails, the peer gets more of it twice.
        _ = sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }

    /// Writes until `until`, and returns how much.
    fn write(&mut self, bytes: &[u8], until: Instant) -> Result<usize, End> {
        let mut done = 0;
        while done < bytes.len() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match send(&self.stream, &bytes[done..], flags) {
                Ok(written) => {
                    done += written;
                    self.written += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !self.wait(until)? => break,
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
        Ok(done)
    }

    /// Throws away what the peer says, as nothing was asked; `false` when it
    /// has closed the connection.
    fn hear_out(&mut self) -> Result<bool, End> {
        let mut block = [0; ANSWER_BLOCK_BYTES];
        for _ in 0..ANSWER_BLOCKS_MAX {
            match recv(&self.stream, &mut block, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Ok(false),
                Ok((count, _)) => {
                    if !self.hear(&block[..count])? {
                        return Ok(false);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(self.broken(error)),
            }
        }
        Ok(true)
    }

    /// With TLS what came may have to be answered, or say that it is over.
    fn hear(&mut self, came: &[u8]) -> Result<bool, End> {
        let Some(session) = &mut self.session else { return Ok(true) };
        let before = self.waiting.len();
        let is_open = session.hear(came, &mut self.waiting).map_err(End::Broken)?;
        self.accepted += (self.waiting.len() - before) as u64;
        Ok(is_open)
    }

    /// Waits until something can be written; `false` when it is too late.
    fn wait(&mut self, until: Instant) -> Result<bool, End> {
        self.measure()?;
        let now = Instant::now();
        if now >= until {
            return Ok(false);
        }
        let until = until.min(self.moved + self.timeout);
        let timeout = Timespec::try_from(until.saturating_duration_since(now)).ok();
        let mut polled = [PollFd::new(&self.stream, PollFlags::OUT)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(true),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// Finds out what has arrived; an error when the connection broke.
    fn measure(&mut self) -> Result<(), End> {
        let unacknowledged = unacknowledged(&self.stream).map_err(End::Broken)?;
        // In this order: the number is true if nothing has gone wrong after it.
        match sockopt::socket_error(&self.stream) {
            Ok(Ok(())) => {}
            Ok(Err(error)) | Err(error) => return Err(self.broken(error)),
        }
        let acknowledged = self.written.saturating_sub(unacknowledged);
        if acknowledged > self.acknowledged {
            self.acknowledged = acknowledged;
            self.moved = Instant::now();
        }
        let is_waiting = self.acknowledged < self.accepted;
        if is_waiting && self.moved.elapsed() >= self.timeout {
            return Err(End::Stalled(self.timeout));
        }
        Ok(())
    }

    fn broken(&self, error: Errno) -> End {
        match error {
            // The system counts too.
            Errno::TIMEDOUT => End::Stalled(self.timeout),
            error => End::Broken(error.into()),
        }
    }

    #[cfg(test)]
    pub(super) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    #[cfg(test)]
    pub(super) const fn memory(&self) -> usize {
        self.waiting.capacity()
    }
}

impl Drop for Connection {
    /// A socket that is closed with something unread in it resets the
    /// connection, and some systems then throw away what they acknowledged.
    fn drop(&mut self) {
        _ = self.hear_out();
        let mut bye = Vec::new();
        let session = self.session.as_mut().filter(|_| self.waiting.is_empty());
        if session.is_some_and(|session| session.close(&mut bye).is_ok()) {
            // Whoever does not get it sees the connection close without it.
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            _ = send(&self.stream, &bye, flags);
        }
    }
}
