//! Takes what is posted, and answers as it is told.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What it got.
#[derive(Clone, Debug, Default)]
pub(crate) struct Got {
    pub(crate) requests: usize,
    /// The keys of those that were taken.
    keys: HashSet<String>,
    /// Their lines, but for what came a second time with the same key.
    pub(crate) lines: Vec<String>,
}

pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    got: Arc<Mutex<Got>>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Says how it answers to the body of a request with this number: a status, or
/// nothing, and the connection is closed.
pub(crate) type Rule = dyn Fn(usize, &str) -> Option<&'static str> + Send + Sync;

impl Web {
    pub(crate) fn start(rule: Box<Rule>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (got, stops) = (Arc::<Mutex<Got>>::default(), Arc::<AtomicBool>::default());
        let (theirs, stopped) = (Arc::clone(&got), Arc::clone(&stops));
        let serve = move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(SeqCst) {
                    break;
                }
                _ = take(stream, &rule, &theirs);
            }
        };
        let thread = std::thread::Builder::new().name("web".into()).spawn(serve);
        Self { address, got, stops, thread: Some(thread.unwrap()) }
    }

    pub(crate) fn got(&self) -> Got {
        self.got.lock().unwrap().clone()
    }
}

/// Requests of one connection, until it ends.
fn take(stream: TcpStream, rule: &Rule, got: &Mutex<Got>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut key) = (0, String::new());
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 {
                return Ok(());
            }
            let header = header.trim_end();
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(": ").unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "idempotency-key" => key = value.to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8(body).unwrap();
        let mut got = got.lock().unwrap();
        let answer = rule(got.requests, &body);
        got.requests += 1;
        let is_taken = answer.is_none_or(|status| status.starts_with('2'));
        if is_taken && got.keys.insert(key) {
            got.lines.extend(body.lines().map(str::to_owned));
        }
        drop(got);
        let Some(status) = answer else { return Ok(()) };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        reader.get_mut().write_all(answer.as_bytes())?;
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stops.store(true, SeqCst);
        drop(TcpStream::connect(self.address));
        _ = self.thread.take().map(JoinHandle::join);
    }
}
