//! Posting, over connections of our own making.
//!
//! `ureq` speaks HTTP; the connections below it are made as for every other
//! target, so that TLS is the same everywhere. Connections are kept between
//! requests.

use super::Options;
use super::answer::{Answer, Verdict};
use crate::forward::dial::connect_tcp;
use crate::forward::secret;
use crate::forward::target::Target;
use crate::forward::tls::Tls;
use jiff::Timestamp;
use rustix::net::{RecvFlags, recv};
use rustls::ClientConnection;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::header::{CONTENT_TYPE, HeaderValue};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

/// So much of an answer is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Its head may be this long.
const ANSWER_HEAD_MAX: usize = 64 * 1024;
/// Between two handshakes.
const HANDSHAKE_PAUSE: Duration = Duration::from_secs(1);

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) retry_after: Option<String>,
    pub(super) location: Option<String>,
    /// The start of what it says.
    pub(super) text: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) why: String,
    /// It took too long.
    pub(super) is_late: bool,
}

/// Posts to one address.
pub(super) struct Agent {
    agent: ureq::Agent,
    target: Target,
    options: Options,
}

impl Agent {
    pub(super) fn new(
        to: &Target,
        tls: Option<Tls>,
        options: Options,
        connect_timeout: Duration,
    ) -> Self {
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Not from the environment either.
            .proxy(None)
            .user_agent(concat!("tripline/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(options.request_timeout))
            .max_response_header_size(ANSWER_HEAD_MAX)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .build();
        let last_handshake = Mutex::new(None);
        let connect =
            Connect { target: to.clone(), tls, connect_timeout, last_handshake };
        let agent = ureq::Agent::with_parts(config, connect, Nowhere);
        Self { agent, target: to.clone(), options }
    }

    /// Posts a body and reads the answer. May take its time.
    pub(super) fn post(&self, key: &str, body: &[u8]) -> Verdict {
        let reply = match self.ask(key, body) {
            Ok(reply) => reply,
            Err(trouble) => return Verdict::Again { why: trouble.why, after: None },
        };
        let answer = Answer {
            status: reply.status,
            retry_after: reply.retry_after.as_deref(),
            location: reply.location.as_deref(),
            text: &reply.text,
        };
        answer.verdict(&self.target.to_string(), Timestamp::now())
    }

    /// Posts a body and reads the answer, whatever it is. May take its time.
    pub(super) fn ask(&self, key: &str, body: &[u8]) -> Result<Reply, Trouble> {
        let trouble = |why| Trouble { why, is_late: false };
        let mut request = self
            .agent
            .post(self.target.url())
            .header(CONTENT_TYPE, self.options.content_type)
            .header("Idempotency-Key", key);
        for (name, value) in &self.options.headers {
            // What is not ASCII goes out as it is.
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| trouble(format!("{value:?} cannot be a header's value")))?;
            request = request.header(name, value);
        }
        if let Some(token) = &self.options.token {
            request = request.header("Authorization", bearer(token).map_err(trouble)?);
        }
        let answer = request.send(body).map_err(|error| Trouble {
            why: self.in_words(&error),
            is_late: matches!(error, Error::Timeout(_)),
        })?;
        let (head, body) = answer.into_parts();
        let header = |name: &str| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
        let mut text = Vec::new();
        // What it says does not change what it has answered.
        _ = body.into_reader().take(ANSWER_BYTES_MAX).read_to_end(&mut text);
        Ok(Reply {
            status: head.status.as_u16(),
            retry_after: header("Retry-After"),
            location: header("Location"),
            text,
        })
    }

    fn in_words(&self, error: &Error) -> String {
        let url = &self.target;
        match error {
            // Has it all already.
            Error::Other(why) => why.to_string(),
            Error::Io(why) => format!("cannot post to {url}: {why}"),
            Error::Timeout(_) => {
                let timeout = self.options.request_timeout;
                format!("cannot post to {url}: there was no answer in {timeout:?}")
            }
            Error::Protocol(why) => {
                format!("cannot post to {url}: what it answers is no HTTP: {why}")
            }
            why => format!("cannot post to {url}: {why}"),
        }
    }
}

/// The header for a token in a file, which is read each time.
pub(in crate::forward) fn bearer(path: &Path) -> Result<HeaderValue, String> {
    let token = secret::read_private(path)?;
    let token = token.trim_ascii();
    let is_fine = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
    let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat());
    let mut value = value.ok().filter(|_| is_fine).ok_or_else(|| {
        format!("{} holds no token: one word of ASCII is wanted", path.display())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Names are looked up where connections are made.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(([0, 0, 0, 0], 0).into());
        Ok(addresses)
    }
}

/// Makes connections.
#[derive(Debug)]
struct Connect {
    target: Target,
    tls: Option<Tls>,
    connect_timeout: Duration,
    last_handshake: Mutex<Option<Instant>>,
}

impl Connector for Connect {
    type Out = Link;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Link>, Error> {
        let (stream, session) =
            self.open().map_err(|why| Error::Other(Box::new(Words(why))))?;
        // The head of a request goes out before its body.
        stream.set_nodelay(true)?;
        let config = details.config;
        let buffers =
            LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Link { stream, session, buffers }))
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Words(String);

impl Connect {
    fn open(&self) -> Result<(TcpStream, Option<ClientConnection>), String> {
        let Some(tls) = &self.tls else {
            return Ok((connect_tcp(&self.target, self.connect_timeout)?, None));
        };
        let caller = tls.prepare(&self.target)?;
        self.pause();
        let mut stream = connect_tcp(&self.target, self.connect_timeout)?;
        let session = caller.begin(&self.target, &mut stream, self.connect_timeout)?;
        Ok((stream, Some(session)))
    }

    /// Nobody else waits for the lock: there is one request at a time.
    fn pause(&self) {
        let mut last = self.last_handshake.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = *last {
            std::thread::sleep(HANDSHAKE_PAUSE.saturating_sub(last.elapsed()));
        }
        *last = Some(Instant::now());
    }
}

/// A connection.
struct Link {
    stream: TcpStream,
    session: Option<ClientConnection>,
    buffers: LazyBuffers,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Transport for Link {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(
        &mut self,
        amount: usize,
        timeout: NextTimeout,
    ) -> Result<(), Error> {
        let after = timeout.for_write();
        self.stream.set_write_timeout(after.not_zero().map(|it| *it))?;
        let bytes = &self.buffers.output()[..amount];
        let written = match &mut self.session {
            Some(session) => {
                let mut stream = rustls::Stream::new(session, &mut self.stream);
                stream.write_all(bytes).and_then(|()| stream.flush())
            }
            None => self.stream.write_all(bytes),
        };
        written.map_err(|error| timed_out(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let after = timeout.for_read();
        self.stream.set_read_timeout(after.not_zero().map(|it| *it))?;
        let room = self.buffers.input_append_buf();
        let read = match &mut self.session {
            Some(session) => rustls::Stream::new(session, &mut self.stream).read(room),
            None => self.stream.read(room),
        };
        let count = match read {
            Ok(count) => count,
            // Closed without the words for it: what HTTP says counts.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(timed_out(error, timeout)),
        };
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// Whether it still stands and nobody said anything since the last answer.
    fn is_open(&mut self) -> bool {
        let mut came = [0; 4096];
        let Some(session) = &mut self.session else {
            let looked = recv(&self.stream, &mut came, RecvFlags::DONTWAIT);
            return looked.is_err_and(|error| error == rustix::io::Errno::AGAIN);
        };
        // With TLS there may be words that are not for us.
        loop {
            let count = match recv(&self.stream, &mut came, RecvFlags::DONTWAIT) {
                Ok((count @ 1.., _)) => count,
                Err(rustix::io::Errno::AGAIN) => return true,
                Ok(_) | Err(_) => return false,
            };
            let is_read = session.read_tls(&mut &came[..count]).is_ok();
            let state = session.process_new_packets();
            let is_fine = state.is_ok_and(|state| {
                !state.peer_has_closed() && state.plaintext_bytes_to_read() == 0
            });
            if !is_read || !is_fine {
                return false;
            }
        }
    }

    fn is_tls(&self) -> bool {
        self.session.is_some()
    }
}

fn timed_out(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            Error::Timeout(timeout.reason)
        }
        _ => Error::Io(error),
    }
}
