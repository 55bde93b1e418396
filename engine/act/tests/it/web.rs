//! A server of the web that keeps what it gets and answers as it is told.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    /// `POST /in HTTP/1.1`.
    pub(crate) line: String,
    /// The lines behind it.
    pub(crate) headers: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// What it answers to the request of this number: all of the answer; `None` for nothing,
/// until the caller goes.
pub(crate) type Rule = dyn Fn(usize) -> Option<String> + Send + Sync;

pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// Answers with these statuses in turn, the last one for ever.
    pub(crate) fn answering(statuses: &'static [&'static str]) -> Self {
        Self::start(None, move |number| {
            let status = statuses[number.min(statuses.len() - 1)];
            Some(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
        })
    }

    pub(crate) fn start(
        tls: Option<Arc<ServerConfig>>,
        rule: impl Fn(usize) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (got, stops) =
            (Arc::<Mutex<Vec<Got>>>::default(), Arc::<AtomicBool>::default());
        let (theirs, stopped) = (Arc::clone(&got), Arc::clone(&stops));
        let serve = move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(SeqCst) {
                    break;
                }
                match &tls {
                    None => _ = take(stream, &rule, &theirs),
                    Some(config) => {
                        let session = ServerConnection::new(Arc::clone(config)).unwrap();
                        _ = take(StreamOwned::new(session, stream), &rule, &theirs);
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("web".into()).spawn(serve);
        Self { address, got, stops, thread: Some(thread.unwrap()) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

/// Requests of one connection, until it ends.
fn take(stream: impl Read + Write, rule: &Rule, got: &Mutex<Vec<Got>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let line = String::from_utf8(line).unwrap().trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let line = lines.remove(0);
        let mut request = Got { line, headers: lines, body: Vec::new() };
        let length = request.header("content-length").map(|it| it.parse().unwrap());
        request.body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut request.body)?;
        let mut got = got.lock().unwrap();
        let number = got.len();
        got.push(request);
        drop(got);
        match rule(number) {
            Some(answer) => {
                reader.get_mut().write_all(answer.as_bytes())?;
                reader.get_mut().flush()?;
            }
            // Until the caller goes.
            None => return reader.read_to_end(&mut Vec::new()).map(|_| ()),
        }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stops.store(true, SeqCst);
        drop(TcpStream::connect(self.address));
        _ = self.thread.take().map(JoinHandle::join);
    }
}
