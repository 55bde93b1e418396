//! A connection that is cut after every byte, in both directions; and receivers that
//! are none.

use super::*;
use crate::forward::target::Target;
use crate::testing::Feed;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use tripline_api::{Place, Settled};
use tripline_relay::receive::{Server, Settings as Receive};

const LONG: Duration = Duration::from_secs(60);

fn receiver(scratch: &Path, name: &str) -> Server {
    receiver_that_says(scratch, name, |_| {})
}

fn receiver_that_says(
    scratch: &Path,
    name: &str,
    say: impl Fn(&str) + Send + Sync + 'static,
) -> Server {
    let settings = Receive {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        to: scratch.join(name),
        state: scratch.join(format!("{name}-state")),
        peers: BTreeMap::new(),
        certificates: None,
        connections_max: 64,
    };
    Server::start(settings, say).unwrap()
}

fn settings() -> Settings {
    Settings {
        connect_timeout: LONG,
        acknowledge_timeout: LONG,
        patience: Duration::from_secs(2),
        first_pause: Duration::from_millis(1),
    }
}

fn relay(to: SocketAddr, peer: &str, state: &Path, compress: bool) -> Relay {
    let to = Target::try_from(format!("tripline://{to}")).unwrap();
    let (peer, stream) = (peer.to_owned(), "tested".to_owned());
    let caller = Caller { peer, stream, identity: Identity::None, compress };
    Relay::new(to, caller, state, settings())
}

/// Passes connections on. The first is reset on both sides when so many bytes were
/// passed on in one direction.
struct Cutter {
    address: SocketAddr,
    has_cut: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    passed: Arc<[AtomicUsize; 2]>,
    thread: Option<JoinHandle<()>>,
}

impl Cutter {
    fn start(to: SocketAddr, direction: usize, cut: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (has_cut, stops) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (open, passed) =
            (Arc::<Mutex<Vec<TcpStream>>>::default(), Arc::<[AtomicUsize; 2]>::default());
        let shared = (
            Arc::clone(&has_cut),
            Arc::clone(&stops),
            Arc::clone(&open),
            Arc::clone(&passed),
        );
        let thread = Builder::new().name("cutter".into()).spawn(move || {
            let (has_cut, stops, open, passed) = shared;
            let mut threads = Vec::new();
            while let Ok((from, _)) = listener.accept() {
                if stops.load(SeqCst) {
                    break;
                }
                let onward = TcpStream::connect(to).unwrap();
                let ends = [&from, &onward].map(|stream| stream.try_clone().unwrap());
                open.lock().unwrap().extend(ends);
                let is_first = threads.is_empty();
                for (index, (reads, writes)) in
                    [(&from, &onward), (&onward, &from)].into_iter().enumerate()
                {
                    let [reads, writes] =
                        [reads, writes].map(|it| it.try_clone().unwrap());
                    let limit =
                        if is_first && index == direction { cut } else { usize::MAX };
                    let (has_cut, passed) = (Arc::clone(&has_cut), Arc::clone(&passed));
                    let pass =
                        move || pass(&reads, &writes, limit, &passed[index], &has_cut);
                    threads.push(Builder::new().name("pass".into()).spawn(pass).unwrap());
                }
            }
            for stream in open.lock().unwrap().drain(..) {
                _ = stream.shutdown(std::net::Shutdown::Both);
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        Self { address, has_cut, stops, open, passed, thread: Some(thread.unwrap()) }
    }
}

fn pass(
    mut reads: &TcpStream,
    mut writes: &TcpStream,
    limit: usize,
    passed: &AtomicUsize,
    has_cut: &AtomicBool,
) {
    let mut left = limit;
    let mut block = [0; 4096];
    loop {
        if left == 0 {
            has_cut.store(true, SeqCst);
            for stream in [reads, writes] {
                _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
                _ = stream.shutdown(std::net::Shutdown::Both);
            }
            return;
        }
        let room = left.min(block.len());
        match reads.read(&mut block[..room]) {
            Ok(count @ 1..) if writes.write_all(&block[..count]).is_ok() => {
                left -= count;
                passed.fetch_add(count, SeqCst);
            }
            _ => {
                _ = writes.shutdown(std::net::Shutdown::Write);
                return;
            }
        }
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.stops.store(true, SeqCst);
        drop(TcpStream::connect(self.address));
        for stream in self.open.lock().unwrap().drain(..) {
            _ = stream.shutdown(std::net::Shutdown::Both);
        }
        _ = self.thread.take().map(JoinHandle::join);
    }
}

fn deliver(relay: &mut Relay, feed: &Feed) {
    deliver_from(relay, feed, None);
}

/// As a lane does, without its pauses: until everything is settled.
fn deliver_from(relay: &mut Relay, feed: &Feed, cursor: Option<&Cursor>) {
    let since = Instant::now();
    let mut settled = Settled::new();
    'again: loop {
        assert!(since.elapsed() < LONG, "never settled");
        relay.begin(&feed.begin(cursor)).unwrap();
        let mut pending = Settled::new();
        for batch in feed.unsettled(&settled, 100) {
            loop {
                match batch.deliver(relay) {
                    Ok(()) => break,
                    Err(ListenError::Retry(_)) => assert!(since.elapsed() < LONG),
                    Err(ListenError::Lost(_)) => continue 'again,
                    Err(error) => panic!("{error}"),
                }
            }
            pending.insert(batch.log().cloned(), batch.end().clone());
        }
        let mut is_flushed = match relay.flush() {
            Ok(flushed) => flushed == Flushed::All,
            Err(_) => continue,
        };
        while !is_flushed {
            assert!(since.elapsed() < LONG, "never flushed");
            match relay.is_flushed() {
                Ok(flushed) => is_flushed = flushed,
                Err(_) => continue 'again,
            }
        }
        settled.append(&mut pending);
        if feed.unsettled(&settled, 100).is_empty() {
            return;
        }
    }
}

fn feed() -> Feed {
    Feed::new("auth")
        .log("/a", b"one\ntwo\nthree is longer than the others are, and so on\n")
        .log("/b", b"b1\r\nb2\xff\0\n")
        .log("/a", b"four\nfive\n")
}

fn assert_there(folder: &Path, context: &str) {
    let read =
        |name: &str| std::fs::read(folder.join("auth").join(name)).unwrap_or_default();
    let a = b"one\ntwo\nthree is longer than the others are, and so on\nfour\nfive\n";
    assert!(read("a") == a, "{context}: {}", String::from_utf8_lossy(&read("a")));
    assert!(read("b") == b"b1\r\nb2\xff\0\n", "{context}");
}

#[test]
fn cut_after_every_byte_in_both_directions() {
    // In memory, where there is such a folder: it syncs often.
    let scratch =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let server = receiver(scratch.path(), "in");
    for compress in [false, true] {
        for direction in 0..2 {
            for cut in (0..).step_by(if compress { 7 } else { 1 }) {
                let cutter = Cutter::start(server.address(), direction, cut);
                let peer = format!("p{}-{direction}-{cut}", u8::from(compress));
                let state = scratch.path().join(format!("state-{peer}"));
                let mut relay = relay(cutter.address, &peer, &state, compress);
                deliver(&mut relay, &feed());
                let context = format!("direction {direction}, cut at {cut}");
                assert_there(&scratch.path().join("in").join(&peer), &context);
                let was_cut = cutter.has_cut.load(SeqCst);
                drop(relay);
                if !was_cut {
                    assert!(cut > 20, "{context}: {:?}", cutter.passed);
                    break;
                }
            }
        }
    }
}

/// The receiver had it on its disk, and nobody heard.
#[test]
fn cut_between_the_disk_and_the_acknowledgement() {
    let scratch = tempfile::tempdir().unwrap();
    let server = receiver(scratch.path(), "in");
    // A welcome passes, and a byte of what settles the first frames.
    let welcome = 16 + 2 + 3 * 8;
    let cutter = Cutter::start(server.address(), 1, welcome + 1);
    let mut relay = relay(cutter.address, "p", &scratch.path().join("state"), false);
    let feed = feed();
    relay.begin(&feed.begin(None)).unwrap();
    deliver(&mut relay, &feed);
    assert!(cutter.has_cut.load(SeqCst));
    assert_there(&scratch.path().join("in/p"), "not acknowledged");
}

#[test]
fn who_is_no_receiver_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    for (answer, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "is not a frame"),
        (b"", "closed the connection without a word"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer.to_vec();
        let thread = Builder::new().name("other".into()).spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            _ = stream.read(&mut [0; 100]);
            _ = stream.write_all(&answer);
        });
        let mut relay = relay(address, "p", scratch.path(), false);
        let feed = feed();
        relay.begin(&feed.begin(None)).unwrap();
        let why =
            feed.unsettled(&Settled::new(), 100)[0].deliver(&mut relay).unwrap_err();
        assert!(
            matches!(why, ListenError::Retry(_)) && why.to_string().contains(words),
            "{why}"
        );
        thread.unwrap().join().unwrap();
    }
}

/// An older connection of the same sender keeps a newer one out, as long as it is
/// there.
#[test]
fn a_stream_has_one_connection() {
    let scratch = tempfile::tempdir().unwrap();
    let server = receiver(scratch.path(), "in");
    let (one, two) = (
        Feed::new("auth").log("/a", b"one\n"),
        Feed::new("auth").log("/a", b"one\ntwo\n"),
    );
    let mut first = relay(server.address(), "p", &scratch.path().join("state"), false);
    deliver(&mut first, &one);
    let mut second = relay(server.address(), "p", &scratch.path().join("state"), false);
    second.begin(&two.begin(None)).unwrap();
    let since = Instant::now();
    let why = loop {
        assert!(since.elapsed() < LONG);
        match two.unsettled(&Settled::new(), 100)[0].deliver(&mut second) {
            Err(error) if error.to_string().contains("not connected") => {}
            Err(error) => break error.to_string(),
            Ok(()) => panic!("it was let in"),
        }
    };
    assert!(why.contains("another connection of p sends tested"), "{why}");
    drop(first);
    deliver(&mut second, &two);
    let found = std::fs::read(scratch.path().join("in/p/auth/a")).unwrap();
    assert_eq!(found, b"one\ntwo\n");
}

/// A copy of a state that was used since: whoever has it is told, and so is the
/// receiver.
#[test]
fn a_state_that_was_brought_back_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let said = Arc::<Mutex<Vec<String>>>::default();
    let heard = Arc::clone(&said);
    let say = move |what: &str| heard.lock().unwrap().push(what.to_owned());
    let server = receiver_that_says(scratch.path(), "in", say);
    let (state, copy) = (scratch.path().join("state"), scratch.path().join("copy"));
    let relay = |state: &Path| relay(server.address(), "p", state, false);
    let feed = |text: &[u8]| Feed::new("auth").log("/a", text);
    let known = Cursor::unproved(Place::start_of(0, 0));
    let known = Some(&known);
    deliver_from(&mut relay(&state), &feed(b"one\n"), known);
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(state.join("relay.json"), copy.join("relay.json")).unwrap();
    deliver_from(&mut relay(&state), &feed(b"one\ntwo\n"), known);

    let other = feed(b"one\nTWO\n");
    let mut brought_back = relay(&copy);
    brought_back.begin(&other.begin(known)).unwrap();
    let batches = other.unsettled(&Settled::new(), 100);
    let why = batches[0].deliver(&mut brought_back).unwrap_err();
    assert!(
        matches!(why, ListenError::Retry(_))
            && why.to_string().contains("copy/relay.json and what"),
        "{why}"
    );
    drop(brought_back);
    let since = Instant::now();
    while !said.lock().unwrap().iter().any(|it| it.contains("it says: cannot forward")) {
        assert!(since.elapsed() < LONG, "{:?}", said.lock().unwrap());
        std::thread::yield_now();
    }
    let received =
        || std::fs::read_to_string(scratch.path().join("in/p/auth/a")).unwrap();
    assert_eq!(received(), "one\ntwo\n");

    std::fs::remove_file(copy.join("relay.json")).unwrap();
    deliver_from(&mut relay(&copy), &other, known);
    assert_eq!(received(), "one\ntwo\none\nTWO\n");
}
