//! A connection to a mail server: lines in, bytes out, each within its time.

use super::super::text;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest line of an answer, in bytes: twice what RFC 5321 allows.
const LINE_BYTES_MAX: usize = 1024;
/// How many lines an answer may have.
const LINES_MAX: usize = 100;
/// How much of an answer is repeated in messages, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// A connection.
pub(super) struct Wire {
    /// `None` only while TLS begins.
    stream: Option<Stream>,
    /// Received and not looked at yet.
    buffer: Vec<u8>,
}

enum Stream {
    Clear(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

/// An answer of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) lines: Vec<String>,
}

impl Reply {
    /// 2xx or 3xx.
    pub(super) const fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// As a person reads it: `550 no such user`.
    pub(super) fn shown(&self) -> String {
        let said = self.lines.join(" ");
        text::one_line(&format!("{} {said}", self.code), SHOWN_CHARS_MAX)
    }
}

impl Wire {
    pub(super) const fn new(tcp: TcpStream) -> Self {
        let stream = Stream::Clear(Timed { tcp, until: None });
        Self { stream: Some(stream), buffer: Vec::new() }
    }

    /// Begins TLS. What was received in clear before must all have been looked
    /// at: somebody may have put it there to be taken for the server's.
    pub(super) fn begin_tls(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        within: Duration,
    ) -> io::Result<()> {
        if !self.buffer.is_empty() {
            return Err(io::Error::other(
                "something was sent in clear behind the answer to STARTTLS, as somebody \
                 in between would do",
            ));
        }
        let Some(Stream::Clear(mut timed)) = self.stream.take() else {
            return Err(io::Error::other("TLS was begun already"));
        };
        timed.until = Some(Instant::now() + within);
        let mut connection =
            ClientConnection::new(config, name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut timed)?;
        }
        let stream = StreamOwned::new(connection, timed);
        self.stream = Some(Stream::Tls(Box::new(stream)));
        Ok(())
    }

    /// Sends all of the bytes within this time.
    pub(super) fn send(&mut self, bytes: &[u8], within: Duration) -> io::Result<()> {
        match self.stream_until(within)? {
            Stream::Clear(timed) => timed.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Waits for a whole answer within this time.
    pub(super) fn reply(&mut self, within: Duration) -> io::Result<Reply> {
        self.stream_until(within)?;
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            let (code, is_last, said) = parse_line(&line).ok_or_else(|| {
                let line = text::one_line(&text::of_bytes(&line, 200), SHOWN_CHARS_MAX);
                io::Error::other(format!("\"{line}\" is no answer of a mail server"))
            })?;
            lines.push((code, text::of_bytes(said, LINE_BYTES_MAX)));
            if lines.iter().any(|(other, _)| *other != code) || lines.len() > LINES_MAX {
                return Err(io::Error::other(
                    "an answer of the mail server has several codes, or does not end",
                ));
            }
            if is_last {
                let lines = lines.into_iter().map(|(_, said)| said).collect();
                return Ok(Reply { code, lines });
            }
        }
    }

    /// The next line without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer) {
                let mut line: Vec<u8> = self.buffer.drain(..=at).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(io::Error::other(
                    "the mail server sends a line that does not end",
                ));
            }
            let mut bytes = [0; LINE_BYTES_MAX];
            let count = match &mut self.stream {
                Some(Stream::Clear(timed)) => timed.read(&mut bytes)?,
                Some(Stream::Tls(stream)) => stream.read(&mut bytes)?,
                None => 0,
            };
            if count == 0 {
                return Err(io::Error::other("the mail server closed the connection"));
            }
            self.buffer.extend_from_slice(&bytes[..count]);
        }
    }

    fn stream_until(&mut self, within: Duration) -> io::Result<&mut Stream> {
        let until = Some(Instant::now() + within);
        let stream = self.stream.as_mut().ok_or_else(|| io::Error::other("no TLS"))?;
        match stream {
            Stream::Clear(timed) => timed.until = until,
            Stream::Tls(stream) => stream.sock.until = until,
        }
        Ok(stream)
    }
}

/// The code, whether it is the last line, and what is said.
fn parse_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_at_checked(3)?;
    let is_code = matches!(code, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']);
    let code = std::str::from_utf8(code).ok()?.parse().ok().filter(|_| is_code)?;
    match rest.split_first() {
        None => Some((code, true, rest)),
        Some((b' ', said)) => Some((code, true, said)),
        Some((b'-', said)) => Some((code, false, said)),
        Some(_) => None,
    }
}

/// A connection on which nothing takes longer than until a certain time,
/// however slowly the bytes come.
struct Timed {
    tcp: TcpStream,
    until: Option<Instant>,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(until) = self.until else { return Ok(None) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(late()) } else { Ok(Some(left)) }
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the mail server takes too long")
}

/// The system says of a read or a write that took too long that it would block.
fn in_time<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => late(),
        _ => error,
    })
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.left()?)?;
        in_time(self.tcp.read(buffer))
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.left()?)?;
        in_time(self.tcp.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// Ends what another thread waits for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel(Arc<Cancelled>);

#[derive(Debug, Default)]
struct Cancelled {
    is_cancelled: AtomicBool,
    connection: Mutex<Option<TcpStream>>,
}

impl Cancel {
    /// Nothing is to be waited for any more.
    pub(crate) fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::SeqCst);
        let connection = self.0.connection.lock();
        if let Some(tcp) = connection.unwrap_or_else(PoisonError::into_inner).take() {
            _ = tcp.shutdown(Shutdown::Both);
        }
    }

    /// Whether that was said.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::SeqCst)
    }

    /// What is being waited for now.
    pub(super) fn set(&self, tcp: Option<TcpStream>) {
        let mut connection =
            self.0.connection.lock().unwrap_or_else(PoisonError::into_inner);
        *connection = tcp;
        drop(connection);
        if self.is_cancelled() {
            self.cancel();
        }
    }
}
