//! What the tests are made of.

use super::super::*;
use crate::forward::format::{Format, Framing, Wanted};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tripline_api::{Batch, Cursor, LogFile, Place, SourceId, Span};

/// Waits of a test end after this long, and it fails.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// As by default, but nothing takes long.
pub(super) const fn settings() -> Settings {
    Settings {
        connect_timeout: Duration::from_secs(10),
        acknowledge_timeout: Duration::from_secs(30),
        patience: Duration::from_secs(2),
        first_pause: Duration::from_millis(1),
    }
}

/// A receiver's buffer is small, and a call does not wait for it.
pub(super) fn narrow(settings: &Settings) -> (Settings, usize) {
    (Settings { patience: Duration::from_millis(20), ..*settings }, 16 * 1024)
}

impl From<Settings> for Setup {
    fn from(settings: Settings) -> Self {
        Self {
            format: Format::Lines,
            framing: Framing::Lf,
            settings,
            receive_bytes: None,
        }
    }
}

impl From<(Settings, usize)> for Setup {
    fn from((settings, bytes): (Settings, usize)) -> Self {
        Self {
            format: Format::Lines,
            framing: Framing::Lf,
            settings,
            receive_bytes: Some(bytes),
        }
    }
}

impl From<(Format, Settings, usize)> for Setup {
    fn from((format, settings, bytes): (Format, Settings, usize)) -> Self {
        Self { format, framing: Framing::Lf, settings, receive_bytes: Some(bytes) }
    }
}

impl From<(Format, Framing)> for Setup {
    fn from((format, framing): (Format, Framing)) -> Self {
        Self { format, framing, settings: settings(), receive_bytes: None }
    }
}

pub(super) struct Setup {
    format: Format,
    framing: Framing,
    settings: Settings,
    receive_bytes: Option<usize>,
}

pub(super) fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

pub(super) fn begin(setup: impl Into<Setup>) -> (TcpListener, Stream) {
    let (setup, listener) = (setup.into(), listen());
    if let Some(bytes) = setup.receive_bytes {
        // Connections have what their listener has.
        sockopt::set_socket_recv_buffer_size(&listener, bytes).unwrap();
    }
    let address = listener.local_addr().unwrap();
    let target = Target::try_from(format!("tcp://{address}")).unwrap();
    (listener, forward_as(setup.format, setup.framing, target, setup.settings))
}

pub(super) fn forward_to(target: Target, settings: Settings) -> Stream {
    forward_as(Format::Lines, Framing::Lf, target, settings)
}

fn forward_as(
    format: Format,
    framing: Framing,
    target: Target,
    settings: Settings,
) -> Stream {
    let wanted = Wanted {
        framing,
        message_max: 8192,
        is_datagram: false,
        secrets: tripline_api::Secrets::Redact,
    };
    Stream::new(target, None, format.encoder(wanted).unwrap(), settings)
}

pub(super) fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

pub(super) fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

pub(super) fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Reads all there is while the test goes on.
pub(super) fn in_background(stream: TcpStream) -> JoinHandle<Vec<u8>> {
    let reader = std::thread::Builder::new().name("reader".into());
    reader.spawn(|| rest(stream)).unwrap()
}

/// Ends the connection as one that dies.
pub(super) fn reset(stream: TcpStream) {
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

pub(super) fn wait_for(forward: &Stream, what: PollFlags) {
    let stream = forward.connection.as_ref().unwrap().stream();
    let timeout = Timespec::try_from(LONG).unwrap();
    let mut polled = [PollFd::new(stream, what)];
    assert_eq!(poll(&mut polled, Some(&timeout)).unwrap(), 1, "it came in time");
}

pub(super) fn wait_until(mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < LONG);
        std::thread::yield_now();
    }
}

pub(super) fn deliver(forward: &mut Stream, bytes: &[u8]) {
    again(|| forward.listen_to(bytes));
}

/// As a lane does, without its pauses.
pub(super) fn again(mut call: impl FnMut() -> Result<(), ListenError>) {
    wait_until(|| match call() {
        Ok(()) => true,
        Err(ListenError::Retry(_)) => false,
        Err(error) => panic!("{error:?}"),
    });
}

pub(super) fn settle(forward: &mut Stream) {
    if forward.flush().unwrap() == Flushed::Soon {
        wait_until(|| forward.is_flushed().unwrap());
    }
}

pub(super) fn lost<T: std::fmt::Debug>(result: Result<T, ListenError>) -> String {
    match result {
        Err(ListenError::Lost(why)) => why,
        other => panic!("not lost: {other:?}"),
    }
}

pub(super) fn retry<T: std::fmt::Debug>(result: Result<T, ListenError>) -> String {
    match result {
        Err(ListenError::Retry(why)) => why,
        other => panic!("not to be tried again: {other:?}"),
    }
}

/// Lines of a log, each with its number.
pub(super) fn numbered(bytes: usize) -> Vec<u8> {
    (0..bytes / 10).flat_map(|number| format!("{number:09}\n").into_bytes()).collect()
}

impl Stream {
    pub(super) fn listen_to(&mut self, bytes: &[u8]) -> Result<(), ListenError> {
        Lines::new(bytes).deliver(self)
    }
}

/// A batch of a log.
pub(super) struct Lines<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) cut: Option<u64>,
    pub(super) is_preview: bool,
    /// The bytes are one record.
    pub(super) is_journal: bool,
}

impl<'a> Lines<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, cut: None, is_preview: false, is_journal: false }
    }

    pub(super) fn deliver(&self, forward: &mut Stream) -> Result<(), ListenError> {
        self.view(|batch| forward.listen(&View::all(batch)))
    }

    pub(super) fn view<T>(&self, take: impl FnOnce(Batch<'_>) -> T) -> T {
        let source = SourceId::new("auth").unwrap();
        let path: Arc<Path> = Path::new("/var/log/auth.log").into();
        let mut offset = 0;
        let span = |line: &[u8]| {
            offset += line.len() as u32;
            let lines = line.iter().filter(|byte| **byte == b'\n').count() as u32;
            Span { end: offset, lines, incomplete: self.cut.is_some() }
        };
        let spans: Vec<Span> = if self.is_journal {
            vec![self.bytes].into_iter().map(span).collect()
        } else {
            self.bytes.split_inclusive(|byte| *byte == b'\n').map(span).collect()
        };
        let (cut, is_preview) = (self.cut, self.is_preview);
        let log = LogFile { path: &path, cut, is_preview, time: None };
        take(Batch {
            source: &source,
            log: (!self.is_journal).then_some(log),
            start: Place::default(),
            did_rotate: false,
            bytes: self.bytes,
            spans: &spans,
            marks: &[],
            end: &Cursor::unproved(Place::default()),
        })
    }
}
