//! A mail server that keeps what it gets and answers as it is told: for the
//! suite over all listeners, and for the tests here.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A server on loopback, until it is dropped.
pub(crate) struct MailReceiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A mail was taken, or the server stops.
    news: Condvar,
}

#[derive(Default)]
struct State {
    script: Script,
    mails: Vec<Received>,
    /// Everything each connection sent, TLS taken off.
    heard: Vec<Vec<u8>>,
    connections: Vec<TcpStream>,
    /// How many connections have not ended.
    open: usize,
    stops: bool,
}

/// So long is waited for anything.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What the server says.
#[derive(Clone, Default)]
pub(crate) struct Script {
    /// What it can do, besides the mail.
    pub(crate) features: Vec<&'static str>,
    /// Answers that are not the usual ones. The first that fits counts.
    pub(crate) rules: Vec<Rule>,
    /// How it does TLS, and whether that is at once.
    pub(crate) tls: Option<(Arc<ServerConfig>, bool)>,
}

/// An answer that is not the usual one.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// The start of the command; `GREETING` for the first word, `.` for the end
    /// of a mail.
    pub(crate) at: &'static str,
    pub(crate) answer: Answer,
    /// So often.
    pub(crate) times: u32,
}

/// What happens instead of the usual answer.
#[derive(Clone, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "what tests make it do"))]
pub(crate) enum Answer {
    Say(&'static str),
    /// Nothing, for ever.
    Stall,
    /// The connection is closed.
    Close,
    /// At the end of a mail: it is taken, and the connection closed.
    TakeAndClose,
}

/// A mail as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// What came behind `DATA`, up to the line with the dot alone.
    pub(crate) wire: Vec<u8>,
}

impl MailReceiver {
    pub(crate) fn start() -> io::Result<Self> {
        Self::with(Script::default())
    }

    pub(crate) fn with(script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = State { script, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), news: Condvar::new() });
        let accepting = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("mail receiver".into())
            .spawn(move || accept(&listener, &accepting))?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it listens: `127.0.0.1:40001`.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until nobody is connected, and hands out everything it took since
    /// the last call, in order, also twice.
    pub(crate) fn take_mails(&self) -> io::Result<Vec<Received>> {
        let state = self.shared.lock();
        let wait =
            self.shared.news.wait_timeout_while(state, WAIT_MAX, |state| state.open > 0);
        let (mut state, late) = wait.unwrap_or_else(PoisonError::into_inner);
        if late.timed_out() {
            return Err(io::Error::other("somebody does not hang up"));
        }
        Ok(std::mem::take(&mut state.mails))
    }
}

#[cfg(test)]
impl MailReceiver {
    /// From now on it answers like this.
    pub(crate) fn set(&self, rules: Vec<Rule>) {
        self.shared.lock().script.rules = rules;
    }

    /// Everything that was said to it, a connection each.
    pub(crate) fn heard(&self) -> Vec<Vec<u8>> {
        self.shared.lock().heard.clone()
    }
}

impl Drop for MailReceiver {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stops = true;
        for connection in &state.connections {
            _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.news.notify_all();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        let mut state = shared.lock();
        if state.stops {
            break;
        }
        let number = state.heard.len();
        state.heard.push(Vec::new());
        state.open += 1;
        state.connections.extend(stream.try_clone());
        drop(state);
        let shared = Arc::clone(shared);
        let serve = move || {
            let closing = stream.try_clone();
            _ = Session::new(&shared, number, stream).serve();
            _ = closing.map(|stream| stream.shutdown(Shutdown::Both));
            shared.lock().open -= 1;
            shared.news.notify_all();
        };
        threads.extend(thread::Builder::new().name("mail session".into()).spawn(serve));
    }
    for thread in threads {
        _ = thread.join();
    }
}

/// One connection.
struct Session<'a> {
    shared: &'a Shared,
    number: usize,
    stream: Option<BufReader<Channel>>,
    from: String,
    to: Vec<String>,
    is_over: bool,
}

enum Channel {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl<'a> Session<'a> {
    fn new(shared: &'a Shared, number: usize, stream: TcpStream) -> Self {
        let stream = Some(BufReader::new(Channel::Clear(stream)));
        Self {
            shared,
            number,
            stream,
            from: String::new(),
            to: Vec::new(),
            is_over: false,
        }
    }

    fn serve(mut self) -> io::Result<()> {
        if let Some((config, true)) = self.shared.lock().script.tls.clone() {
            self.begin_tls(config)?;
        }
        self.answer("GREETING", "220 here")?;
        while !self.is_over {
            let line = self.line()?;
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    let features = self.shared.lock().script.features.clone();
                    let mut lines: Vec<&str> = vec!["receiver"];
                    lines.extend(features);
                    let last = lines.len() - 1;
                    let said: Vec<String> = lines
                        .iter()
                        .enumerate()
                        .map(|(at, line)| {
                            format!("250{}{line}", if at == last { ' ' } else { '-' })
                        })
                        .collect();
                    self.answer(&line, &said.join("\r\n"))?;
                }
                "STARTTLS" => {
                    let tls = self.shared.lock().script.tls.clone();
                    if self.answer(&line, "220 go on")?
                        && let Some((config, _)) = tls
                    {
                        self.begin_tls(config)?;
                    }
                }
                "AUTH" => _ = self.answer(&line, "235 welcome")?,
                "MAIL" => {
                    if self.answer(&line, "250 fine")? {
                        self.from = address_of(&line);
                        self.to.clear();
                    }
                }
                "RCPT" => {
                    if self.answer(&line, "250 fine")? {
                        self.to.push(address_of(&line));
                    }
                }
                "DATA" => {
                    if self.answer(&line, "354 go on")? {
                        self.mail()?;
                    }
                }
                "QUIT" => {
                    self.answer(&line, "221 bye")?;
                    return Ok(());
                }
                _ => _ = self.answer(&line, "250 fine")?,
            }
        }
        Ok(())
    }

    fn mail(&mut self) -> io::Result<()> {
        let mut wire = Vec::new();
        loop {
            let line = self.line()?;
            if line == b".\r\n" {
                break;
            }
            wire.extend(line);
        }
        let mail = Received { from: self.from.clone(), to: self.to.clone(), wire };
        let rule = self.rule(".");
        let is_taken = match &rule {
            None | Some(Answer::TakeAndClose) => true,
            Some(Answer::Say(said)) => said.starts_with('2'),
            Some(_) => false,
        };
        if is_taken {
            self.shared.lock().mails.push(mail);
            self.shared.news.notify_all();
        }
        self.act(rule, "250 taken").map(|_| ())
    }

    /// Answers, as usual or not. Returns whether it was positive.
    fn answer(&mut self, command: &str, usual: &str) -> io::Result<bool> {
        let rule = self.rule(command);
        self.act(rule, usual)
    }

    fn act(&mut self, rule: Option<Answer>, usual: &str) -> io::Result<bool> {
        let said = match rule {
            None => usual,
            Some(Answer::Say(said)) => said,
            Some(Answer::Close | Answer::TakeAndClose) => {
                self.is_over = true;
                return Ok(false);
            }
            Some(Answer::Stall) => {
                let state = self.shared.lock();
                let wait = self.shared.news.wait_while(state, |state| !state.stops);
                drop(wait.unwrap_or_else(PoisonError::into_inner));
                self.is_over = true;
                return Ok(false);
            }
        };
        if let Some(stream) = &mut self.stream {
            let stream = stream.get_mut();
            stream.write_all(format!("{said}\r\n").as_bytes())?;
            stream.flush()?;
        }
        self.is_over = said.starts_with("421");
        Ok(said.starts_with(['2', '3']))
    }

    fn rule(&self, command: &str) -> Option<Answer> {
        let mut state = self.shared.lock();
        let fits = |rule: &&mut Rule| rule.times > 0 && command.starts_with(rule.at);
        let rule = state.script.rules.iter_mut().find(fits)?;
        rule.times -= 1;
        Some(rule.answer.clone())
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        if let Some(stream) = &mut self.stream {
            stream.read_until(b'\n', &mut line)?;
        }
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.shared.lock().heard[self.number].extend(&line);
        Ok(line)
    }

    fn begin_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let Some(Channel::Clear(stream)) = self.stream.take().map(BufReader::into_inner)
        else {
            return Err(io::Error::other("twice"));
        };
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        let stream = Box::new(StreamOwned::new(connection, stream));
        self.stream = Some(BufReader::new(Channel::Tls(stream)));
        Ok(())
    }
}

/// What stands between the angle brackets.
fn address_of(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or("", |(address, _)| address).to_owned()
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl Received {
    /// The value of a header, its lines joined, as it stands there.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let head = self.content();
        let head = head.split_once("\r\n\r\n").map_or("", |(head, _)| head);
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        unfolded.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    }

    /// The mail with its dots as they were.
    pub(crate) fn content(&self) -> String {
        let wire = String::from_utf8_lossy(&self.wire);
        let lines = wire.split_inclusive("\r\n");
        lines.map(|line| line.strip_prefix('.').unwrap_or(line)).collect()
    }

    /// The text of a mail without attachments, in lines that LF ends.
    pub(crate) fn text(&self) -> String {
        use base64::Engine as _;
        let content = self.content();
        let (_, body) = content.split_once("\r\n\r\n").unwrap_or_default();
        let bytes = match self.header("Content-Transfer-Encoding").as_deref() {
            Some("quoted-printable") => unquoted(body),
            Some("base64") => {
                let joined = body.replace("\r\n", "");
                let engine = &base64::engine::general_purpose::STANDARD;
                engine.decode(joined).unwrap_or_default()
            }
            _ => body.as_bytes().to_vec(),
        };
        String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
    }
}

fn unquoted(body: &str) -> Vec<u8> {
    let body = body.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = body.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'=' => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}
