//! A scripted receiver, which answers as it is told.

use super::*;
use crate::forward::certificates::Authority;
use crate::forward::format::{Format, Framing, Wanted};
use crate::testing::Feed;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use tripline_api::{Flushed, Secrets, Settled};

const LONG: Duration = Duration::from_secs(60);

/// A request as it came.
#[derive(Clone, Debug)]
struct Request {
    line: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    connection: usize,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(its, _)| its == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Answers each request with what the script says to it.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

type Script = dyn Fn(&Request, usize) -> String + Send + Sync;

impl Server {
    fn start(script: impl Fn(&Request, usize) -> String + Send + Sync + 'static) -> Self {
        Self::start_with(None, script)
    }

    fn start_with(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&Request, usize) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let stops = Arc::<AtomicBool>::default();
        let (taken, stopped) = (Arc::clone(&requests), Arc::clone(&stops));
        let script: Arc<Script> = Arc::new(script);
        let serve = move || {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(SeqCst) {
                    break;
                }
                match &tls {
                    None => serve(stream, connection, &*script, &taken),
                    Some(tls) => {
                        let session = ServerConnection::new(Arc::clone(tls)).unwrap();
                        let stream = StreamOwned::new(session, stream);
                        serve(stream, connection, &*script, &taken);
                    }
                }
                connection += 1;
            }
        };
        let thread = thread::Builder::new().name("server".into()).spawn(serve).unwrap();
        Self { address, requests, stops, thread: Some(thread) }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stops.store(true, SeqCst);
        drop(TcpStream::connect(self.address));
        _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Until the connection ends, or an answer says so.
fn serve(
    stream: impl Read + Write,
    connection: usize,
    script: &Script,
    taken: &Mutex<Vec<Request>>,
) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = Vec::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut request = Request { line, headers, body: Vec::new(), connection };
        let length = request.header("content-length").unwrap().parse().unwrap();
        request.body = vec![0; length];
        reader.read_exact(&mut request.body).unwrap();
        let number = {
            let mut taken = taken.lock().unwrap();
            taken.push(request.clone());
            taken.len() - 1
        };
        let answer = script(&request, number);
        let writer = reader.get_mut();
        let written = writer.write_all(answer.as_bytes()).and_then(|()| writer.flush());
        if written.is_err() || answer.contains("close") {
            return;
        }
    }
}

fn answer(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nwhy")
}

fn forward(server: &Server) -> Http {
    with(&format!("http://{}/in?key=1", server.address), None, |_| {})
}

fn with(to: &str, tls: Option<Tls>, change: impl FnOnce(&mut Options)) -> Http {
    let mut options = Options {
        headers: BTreeMap::new(),
        token: None,
        request_timeout: LONG,
        body_max: 1024 * 1024,
        content_type: "application/x-ndjson",
    };
    change(&mut options);
    let settings = Settings {
        connect_timeout: LONG,
        acknowledge_timeout: LONG,
        patience: Duration::from_secs(2),
        first_pause: Duration::from_millis(1),
    };
    let wanted = Wanted {
        framing: Framing::Lf,
        message_max: 8192,
        is_datagram: false,
        secrets: Secrets::Redact,
    };
    let encoder = Format::Lines.encoder(wanted).unwrap();
    let to = Target::try_from(to.to_owned()).unwrap();
    Http::new(to, tls, encoder, options, settings)
}

fn listen_to(forward: &mut Http, lines: &str) -> Result<(), ListenError> {
    let feed = Feed::new("auth").log("/a", lines.as_bytes());
    let batches = feed.unsettled(&Settled::new(), usize::MAX);
    batches[0].deliver(forward)
}

/// As a lane does, without its pauses.
fn again(forward: &mut Http, lines: &str) -> Vec<String> {
    let since = Instant::now();
    let mut reasons = Vec::new();
    loop {
        match listen_to(forward, lines) {
            Ok(()) => return reasons,
            Err(ListenError::Retry(why)) => reasons.push(why),
            Err(error) => panic!("{error:?}"),
        }
        assert!(since.elapsed() < LONG, "{reasons:?}");
        thread::yield_now();
    }
}

#[test]
fn a_batch_is_a_request_and_its_answer_settles_it() {
    let server = Server::start(|_, _| answer("202 Accepted"));
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "hush\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&token, mode).unwrap();
    let to = format!("http://{}/in?key=1", server.address);
    let mut forward = with(&to, None, |options| {
        options.headers.insert("X-Team".into(), "one".into());
        options.token = Some(token.clone());
    });
    listen_to(&mut forward, "one\ntwo\n").unwrap();
    assert_eq!(forward.flush().unwrap(), Flushed::All);
    std::fs::write(&token, "hush2").unwrap();
    listen_to(&mut forward, "three\n").unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let first = &requests[0];
    assert_eq!(first.line, "POST /in?key=1 HTTP/1.1\r\n");
    assert_eq!(first.body, b"one\ntwo\n");
    assert_eq!(first.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(first.header("x-team"), Some("one"));
    assert_eq!(first.header("authorization"), Some("Bearer hush"));
    assert!(first.header("user-agent").unwrap().starts_with("tripline/"));
    assert_eq!(first.header("idempotency-key").unwrap().len(), 32);
    assert_eq!(first.header("host"), Some(&*server.address.to_string()));
    assert_eq!(requests[1].header("authorization"), Some("Bearer hush2"));
    assert_eq!(requests[1].connection, 0, "the connection is kept");
}

#[test]
fn what_comes_again_has_the_same_key() {
    let server = Server::start(|_, number| match number {
        0 => answer("503 Later"),
        1 => "close".to_owned(),
        2 => answer("429 Slowly\r\nRetry-After: 0"),
        _ => answer("200 OK"),
    });
    let mut forward = forward(&server);
    let reasons = again(&mut forward, "one\ntwo\n");
    assert!(reasons.iter().any(|why| why.contains("answered 503: `why`")), "{reasons:?}");
    assert!(reasons.iter().any(|why| why.contains("cannot post to http")), "{reasons:?}");
    assert!(reasons.iter().all(|why| !why.contains("key=1")), "{reasons:?}");
    listen_to(&mut forward, "one\ntwo\nthree\n").unwrap();
    let keys: Vec<_> = server
        .requests()
        .iter()
        .map(|it| it.header("idempotency-key").unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 5);
    assert!(keys[..4].iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_ne!(keys[4], keys[0]);
}

#[test]
fn it_comes_back_when_it_is_told_to() {
    let server = Server::start(|_, number| match number {
        0 => answer("503 Later\r\nRetry-After: 1"),
        _ => answer("200 OK"),
    });
    let mut forward = forward(&server);
    let since = Instant::now();
    let reasons = again(&mut forward, "one\n");
    assert!(since.elapsed() >= Duration::from_millis(990), "{:?}", since.elapsed());
    assert!(reasons.len() > 1, "it asked often");
    assert_eq!(server.requests().len(), 2, "and the receiver did not hear of it");
}

/// An answer takes longer than a call may: it is waited for in the next.
#[test]
fn a_slow_answer_is_waited_for_and_nothing_is_posted_twice() {
    let server = Server::start(|_, _| {
        thread::park_timeout(Duration::from_millis(300));
        answer("200 OK")
    });
    let mut forward = forward(&server);
    forward.settings.patience = Duration::from_millis(20);
    let reasons = again(&mut forward, "one\n");
    assert!(reasons.len() > 3, "{reasons:?}");
    assert!(reasons.iter().all(|why| why.contains("waiting for the answer")));
    assert_eq!(server.requests().len(), 1);
}

/// Other entries come while the answer to the first ones is not there yet.
#[test]
fn an_answer_to_other_entries_is_not_theirs() {
    let server = Server::start(|request, _| {
        thread::park_timeout(Duration::from_millis(100));
        let is_first = request.body == b"first\n";
        answer(if is_first { "200 OK" } else { "422 No" })
    });
    let mut forward = forward(&server);
    forward.settings.patience = Duration::from_millis(10);
    listen_to(&mut forward, "first\n").unwrap_err();
    let since = Instant::now();
    let why = loop {
        match listen_to(&mut forward, "second\n") {
            Err(ListenError::Rejected(rejected)) => break rejected.why,
            Err(ListenError::Retry(why)) => assert!(since.elapsed() < LONG, "{why}"),
            other => panic!("{other:?}"),
        }
    };
    assert!(why.contains("answered 422"), "{why}");
    let bodies: Vec<_> = server.requests().into_iter().map(|it| it.body).collect();
    assert_eq!(bodies, [&b"first\n"[..], b"second\n"]);
}

#[test]
fn what_is_refused_is_said_to_be() {
    let server = Server::start(|request, _| {
        let is_bad = request.body.windows(3).any(|it| it == b"bad");
        answer(if is_bad { "400 Bad" } else { "200 OK" })
    });
    let mut forward = forward(&server);
    let rejected = |result: Result<(), ListenError>| match result {
        Err(ListenError::Rejected(Rejected { what, why })) => {
            assert!(why.contains("answered 400: `why`"), "{why}");
            what
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(rejected(listen_to(&mut forward, "good\nbad\n")), Culprit::OneOf);
    assert_eq!(rejected(listen_to(&mut forward, "bad\n")), Culprit::Entry(0));
    listen_to(&mut forward, "good\n").unwrap();
    // A gap that is refused holds up nothing.
    let feed = Feed::new("auth");
    let gap = feed.gap(None, Default::default(), Default::default());
    forward.gap(&gap).unwrap();
}

#[test]
fn what_is_too_long_goes_in_parts() {
    let server = Server::start(|request, _| {
        answer(if request.body.len() > 100 { "413 Too long" } else { "200 OK" })
    });
    let mut forward = forward(&server);
    let lines: String = (0..100).map(|n| format!("line {n:03}\n")).collect();
    again(&mut forward, &lines);
    let requests = server.requests();
    let taken = requests.iter().filter(|it| it.body.len() <= 100);
    let taken: Vec<u8> = taken.flat_map(|it| it.body.clone()).collect();
    assert!(taken == lines.as_bytes(), "every line once and in order");
    assert!(requests.len() < 25, "{} requests", requests.len());
    let long = format!("{}\n", "x".repeat(200));
    match listen_to(&mut forward, &format!("good\n{long}")) {
        Err(ListenError::Rejected(rejected)) => {
            assert_eq!(rejected.what, Culprit::Entry(1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_redirection_is_not_followed() {
    for status in ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Moved"] {
        let server = Server::start(move |_, _| {
            answer(&format!("{status}\r\nLocation: http://127.0.0.1:1/elsewhere"))
        });
        let mut forward = forward(&server);
        let error = listen_to(&mut forward, "one\n").unwrap_err();
        let ListenError::Retry(why) = error else { panic!("{error:?}") };
        assert!(why.contains("which is not followed"), "{why}");
        assert!(why.contains("127.0.0.1:1/elsewhere"), "{why}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn answers_are_read_to_a_bound() {
    let endless = "x".repeat(10_000_000);
    let server = Server::start(move |_, number| match number {
        0 => format!("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n{endless}"),
        1 => format!("HTTP/1.1 200 OK\r\nX: {endless}\r\n\r\n"),
        2 => "220 mail.example ESMTP\r\nclose\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 204 No\r\n\r\n".to_owned(),
    });
    let mut forward = forward(&server);
    listen_to(&mut forward, "one\n").unwrap();
    let reasons = again(&mut forward, "two\n");
    assert!(reasons.iter().any(|why| why.contains("header")), "{reasons:?}");
    assert!(reasons.iter().any(|why| why.contains("is no HTTP")), "{reasons:?}");
}

#[test]
fn no_answer_is_not_waited_for_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}/", silent.local_addr().unwrap());
    let timeout = Duration::from_millis(100);
    let mut forward = with(&to, None, |options| options.request_timeout = timeout);
    let error = listen_to(&mut forward, "one\n").unwrap_err().to_string();
    assert!(error.contains("there was no answer in 100ms"), "{error}");
}

#[test]
fn the_token_must_be_a_secret() {
    let server = Server::start(|_, _| answer("200 OK"));
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    let why = || {
        let to = format!("http://{}/", server.address);
        let mut forward = with(&to, None, |options| options.token = Some(token.clone()));
        listen_to(&mut forward, "one\n").unwrap_err().to_string()
    };
    assert!(why().contains("there is no file"));
    std::fs::write(&token, "hush hush").unwrap();
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&token, mode).unwrap();
    };
    mode(0o644);
    assert!(why().contains("chmod 600"));
    mode(0o600);
    let words = why();
    assert!(words.contains("holds no token") && !words.contains("hush"), "{words}");
    assert!(server.requests().is_empty());
}

/// The same TLS as everywhere: one handshake for many requests, and nothing for
/// a wrong receiver.
#[test]
fn https_is_for_the_right_receiver() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path());
    let tls = || Tls {
        ca: Some(authority.path()),
        identity: None,
        name: "127.0.0.1".try_into().unwrap(),
        fingerprint: None,
    };
    let right = authority.server(&["127.0.0.1"]);
    let server = Server::start_with(Some(right), |_, number| match number {
        4 => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
        _ => answer("200 OK"),
    });
    let mut forward = with(&format!("https://{}/", server.address), Some(tls()), |_| {});
    let since = Instant::now();
    for number in 0..6 {
        again(&mut forward, &format!("line {number}\n"));
    }
    let took = since.elapsed();
    let connections: Vec<_> =
        server.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 0, 0, 0, 1]);
    assert!(
        took > Duration::from_millis(990),
        "less than a handshake a second: {took:?}"
    );

    let wrong = authority.server(&["other.example"]);
    let server = Server::start_with(Some(wrong), |_, _| answer("200 OK"));
    let mut forward = with(&format!("https://{}/", server.address), Some(tls()), |_| {});
    let error = listen_to(&mut forward, "one\n").unwrap_err();
    let ListenError::Retry(why) = error else { panic!("{error:?}") };
    assert!(why.contains("is not for \"127.0.0.1\"") && why.contains("SHA256:"), "{why}");
    assert!(server.requests().is_empty());
}
