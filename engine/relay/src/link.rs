//! A connection of frames, plain or over TLS, that never blocks.

use crate::wire::{BODY_BYTES_MAX, Frame, HEAD_BYTES, Head, WireError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg, sockopt,
};
use rustls::Connection;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// An idle connection is probed after this long, so often, at these intervals: a
/// peer that vanished is noticed after half a minute.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// What is read at once, in bytes, at least.
const ROOM_BYTES_MIN: usize = 256 * 1024;
/// So much memory is kept for what waits to be written.
const WAITING_BYTES_KEPT: usize = 2 * 1024 * 1024;
/// What is encrypted at once.
const PART_BYTES: usize = 64 * 1024;

/// An open connection.
pub struct Link {
    stream: TcpStream,
    tls: Option<Box<Connection>>,
    /// Not yet written is `waiting[waiting_from..]`.
    waiting: Vec<u8>,
    waiting_from: usize,
    /// Read and not yet taken is `input[from..to]`.
    input: Vec<u8>,
    from: usize,
    to: usize,
    inflated: Vec<u8>,
    frame: Vec<u8>,
    deflates: bool,
    is_closed: bool,
    heard: Instant,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The other side closed it.
    #[error("the other side closed the connection")]
    Closed,
    /// It broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// What came is no frame.
    #[error("{0}")]
    Wire(#[from] WireError),
}

impl From<Errno> for LinkError {
    fn from(error: Errno) -> Self {
        Self::Broken(error.into())
    }
}

impl Link {
    /// Takes over a connection, with what was read behind the handshake. `timeout`
    /// is how long what is sent may stay without an acknowledgement of the other
    /// side's system.
    ///
    /// # Errors
    ///
    /// When the socket cannot be set up.
    pub fn new(
        stream: TcpStream,
        mut tls: Option<Connection>,
        timeout: Duration,
    ) -> io::Result<Self> {
        set_up(&stream, timeout)?;
        if let Some(tls) = &mut tls {
            tls.set_buffer_limit(None);
        }
        Ok(Self {
            stream,
            tls: tls.map(Box::new),
            waiting: Vec::new(),
            waiting_from: 0,
            input: Vec::new(),
            from: 0,
            to: 0,
            inflated: Vec::new(),
            frame: Vec::new(),
            deflates: false,
            is_closed: false,
            heard: Instant::now(),
        })
    }

    /// From now on frames are compressed where that makes them shorter.
    pub const fn deflate(&mut self) {
        self.deflates = true;
    }

    /// Sends a frame. What cannot be written at once waits here.
    ///
    /// # Errors
    ///
    /// When the connection broke.
    pub fn send(&mut self, frame: &Frame<'_>) -> Result<(), LinkError> {
        let mut head = std::mem::take(&mut self.frame);
        head.clear();
        let sent = if self.deflates {
            frame.write_deflated(&mut head);
            self.send_parts(&head, &[])
        } else {
            let last = frame.write(&mut head);
            self.send_parts(&head, last)
        };
        self.frame = head;
        sent
    }

    fn send_parts(&mut self, head: &[u8], last: &[u8]) -> Result<(), LinkError> {
        if let Some(tls) = &mut self.tls {
            let parts = head.chunks(PART_BYTES).chain(last.chunks(PART_BYTES));
            for part in parts {
                tls.writer().write_all(part)?;
                while tls.wants_write() {
                    tls.write_tls(&mut self.waiting)?;
                }
            }
            return self.flush().map(|_| ());
        }
        let mut done = 0;
        let len = head.len() + last.len();
        if self.flush()? {
            while done < len {
                let head_left = &head[done.min(head.len())..];
                let last_left = &last[done.saturating_sub(head.len())..];
                let parts = [IoSlice::new(head_left), IoSlice::new(last_left)];
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                let mut nothing = SendAncillaryBuffer::default();
                match sendmsg(&self.stream, &parts, &mut nothing, flags) {
                    Ok(written) => done += written,
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.waiting.extend_from_slice(&head[done.min(head.len())..]);
        self.waiting.extend_from_slice(&last[done.saturating_sub(head.len())..]);
        Ok(())
    }

    /// Writes what waits, as far as that goes at once; returns whether nothing waits
    /// any more.
    ///
    /// # Errors
    ///
    /// When the connection broke.
    pub fn flush(&mut self) -> Result<bool, LinkError> {
        while self.waiting_from < self.waiting.len() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match send(&self.stream, &self.waiting[self.waiting_from..], flags) {
                Ok(written) => self.waiting_from += written,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        self.waiting.clear();
        self.waiting.shrink_to(WAITING_BYTES_KEPT);
        self.waiting_from = 0;
        Ok(true)
    }

    /// Whether something waits to be written.
    pub const fn has_waiting(&self) -> bool {
        self.waiting() > 0
    }

    /// How many bytes wait to be written.
    pub const fn waiting(&self) -> usize {
        self.waiting.len() - self.waiting_from
    }

    /// The next frame, if all of it was [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// When what came is none; and when the other side has closed the connection
    /// and no whole frame is left.
    pub fn take(&mut self) -> Result<Option<Frame<'_>>, LinkError> {
        let Some(head) = Head::read(&self.input[self.from..self.to])? else {
            return self.nothing();
        };
        let start = self.from + HEAD_BYTES;
        if self.to - start < head.len {
            return self.nothing();
        }
        self.from = start + head.len;
        Ok(Some(head.body(&self.input[start..start + head.len], &mut self.inflated)?))
    }

    const fn nothing(&self) -> Result<Option<Frame<'_>>, LinkError> {
        if self.is_closed { Err(LinkError::Closed) } else { Ok(None) }
    }

    /// Reads once what has come, without waiting for anything; returns whether there
    /// was something. At most a frame and a little more is kept: take the frames
    /// before the next call.
    ///
    /// # Errors
    ///
    /// When the connection broke. That it was closed is for [`take`](Self::take) to
    /// say.
    pub fn read(&mut self) -> Result<bool, LinkError> {
        if self.is_closed {
            return Ok(false);
        }
        self.make_room()?;
        let count = match &mut self.tls {
            Some(tls) => read_tls(tls, &self.stream, &mut self.input[self.to..])?,
            None => loop {
                match recv(&self.stream, &mut self.input[self.to..], RecvFlags::DONTWAIT)
                {
                    Ok((0, _)) => break None,
                    Ok((count, _)) => break Some(count),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return Ok(false),
                    Err(error) => return Err(error.into()),
                }
            },
        };
        match count {
            None => self.is_closed = true,
            Some(0) => return Ok(false),
            Some(count) => {
                self.to += count;
                self.heard = Instant::now();
            }
        }
        Ok(true)
    }

    /// Makes room for the rest of the frame that has begun, and then some.
    fn make_room(&mut self) -> Result<(), LinkError> {
        if self.from > 0 {
            self.input.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        let head = Head::read(&self.input[..self.to])?;
        let frame = HEAD_BYTES + head.map_or(0, |head| head.len);
        debug_assert!(frame <= HEAD_BYTES + BODY_BYTES_MAX);
        let room = frame.max(self.to) + ROOM_BYTES_MIN;
        if self.input.len() < room {
            self.input.resize(room, 0);
        }
        Ok(())
    }

    /// When something was last heard.
    pub const fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether a frame has begun and is not whole.
    pub const fn is_amid_frame(&self) -> bool {
        self.from < self.to
    }

    /// Waits until there is something to read, or, where something waits, to write,
    /// or until that time, or until the other descriptor can be read.
    ///
    /// # Errors
    ///
    /// When the system cannot wait.
    pub fn wait(
        &self,
        reads: bool,
        until: Instant,
        other: Option<BorrowedFd<'_>>,
    ) -> Result<(), LinkError> {
        let mut flags = PollFlags::empty();
        if reads && !self.is_closed {
            flags |= PollFlags::IN;
        }
        if self.has_waiting() {
            flags |= PollFlags::OUT;
        }
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        let stream = PollFd::new(&self.stream, flags);
        let polled = match other {
            // A connection that is over would end each wait at once.
            Some(other) if flags.is_empty() => {
                let other = PollFd::from_borrowed_fd(other, PollFlags::IN);
                poll(&mut [other], timeout.as_ref())
            }
            Some(other) => {
                let mut polled = [stream, PollFd::from_borrowed_fd(other, PollFlags::IN)];
                poll(&mut polled, timeout.as_ref())
            }
            None => poll(&mut [stream], timeout.as_ref()),
        };
        match polled {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Throws away what has come; returns whether there was something.
    ///
    /// # Errors
    ///
    /// When the connection is over.
    pub fn skip(&mut self) -> Result<bool, LinkError> {
        (self.from, self.to) = (0, 0);
        let was_read = self.read()?;
        if self.is_closed { Err(LinkError::Closed) } else { Ok(was_read) }
    }

    /// Says that nothing more follows; what the other side sends is still read.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            while tls.wants_write() && tls.write_tls(&mut self.waiting).is_ok() {}
            _ = self.flush();
        }
        if !self.has_waiting() {
            _ = self.stream.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Ends it such that nothing more of it reaches the other side.
    pub fn abort(mut self) {
        self.tls = None;
        self.waiting.clear();
        self.waiting_from = 0;
        // When it fails, the other side drops what it gets twice.
        _ = sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }
}

/// Sets up a socket that never blocks, sends at once, and notices when nobody is there
/// any more: `timeout` is how long what is sent may stay without an acknowledgement of
/// the other side's system.
///
/// # Errors
///
/// As the system says.
pub fn set_up(stream: &TcpStream, timeout: Duration) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(stream, milliseconds)?)
}

/// Decrypts what has come; `None` when the other side has closed the connection.
fn read_tls(
    tls: &mut Connection,
    mut stream: &TcpStream,
    room: &mut [u8],
) -> Result<Option<usize>, LinkError> {
    loop {
        match tls.reader().read(room) {
            Ok(0) => return Ok(None),
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Without a farewell: what was confirmed is known all the same.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        match tls.read_tls(&mut stream) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Some(0));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        tls.process_new_packets().map_err(io::Error::other)?;
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for Link {
    /// A socket that is closed with something unread in it resets the connection,
    /// and what was sent last would not arrive.
    fn drop(&mut self) {
        _ = self.flush();
        if !self.has_waiting() {
            self.close();
            _ = self.skip();
        }
    }
}

/// What is left of a time-out; an error when nothing is.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Does a TLS handshake on a stream that blocks, until that time.
///
/// # Errors
///
/// [`rustls::Error`] inside of an [`io::Error`] where TLS fails, after the other side
/// was told.
pub fn shake_hands(
    tls: &mut Connection,
    mut stream: &TcpStream,
    until: Instant,
) -> io::Result<()> {
    while tls.is_handshaking() || tls.wants_write() {
        if tls.wants_write() {
            stream.set_write_timeout(Some(left(until)?))?;
            tls.write_tls(&mut stream)?;
            continue;
        }
        stream.set_read_timeout(Some(left(until)?))?;
        if tls.read_tls(&mut stream)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Err(error) = tls.process_new_packets() {
            // When that fails it learns nothing.
            while tls.wants_write() && tls.write_tls(&mut stream).is_ok() {}
            return Err(io::Error::other(error));
        }
    }
    Ok(())
}

/// Fills some bytes from a stream that blocks, until that time.
///
/// # Errors
///
/// As the system says; [`io::ErrorKind::TimedOut`] when it takes too long.
pub fn read_some(
    mut stream: &TcpStream,
    room: &mut [u8],
    until: Instant,
) -> io::Result<usize> {
    stream.set_read_timeout(Some(left(until)?))?;
    match stream.read(room) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::ErrorKind::TimedOut.into())
        }
        other => other,
    }
}
