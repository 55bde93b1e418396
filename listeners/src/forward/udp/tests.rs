//! A real socket on loopback.

use super::*;
use crate::forward::format::{Format, Framing, Wanted};
use crate::testing::Feed;
use std::net::SocketAddr;
use tripline_api::{Secrets, Settled};

const LONG: Duration = Duration::from_secs(60);

fn receiver() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

fn forward(to: SocketAddr, per_second: u32) -> Udp {
    named(&format!("udp://{to}"), per_second)
}

fn named(to: &str, per_second: u32) -> Udp {
    let settings = Settings {
        connect_timeout: LONG,
        acknowledge_timeout: LONG,
        patience: Duration::from_millis(100),
        first_pause: Duration::from_millis(1),
    };
    let wanted = Wanted {
        framing: Framing::Lf,
        message_max: 1024,
        is_datagram: true,
        secrets: Secrets::Redact,
    };
    let encoder = Format::Lines.encoder(wanted).unwrap();
    let target = Target::try_from(to.to_owned()).unwrap();
    Udp::new(target, encoder, per_second, settings)
}

fn listen_to(forward: &mut Udp, lines: &[u8]) -> Result<(), ListenError> {
    let feed = Feed::new("auth").log("/a", lines);
    let batches = feed.unsettled(&Settled::new(), usize::MAX);
    batches.iter().try_for_each(|batch| batch.deliver(forward))
}

/// As a lane does, without its pauses.
fn again<T>(mut call: impl FnMut() -> Result<T, ListenError>) -> T {
    let since = Instant::now();
    loop {
        match call() {
            Ok(value) => return value,
            Err(ListenError::Retry(why) | ListenError::Busy(why)) => {
                assert!(since.elapsed() < LONG, "{why}");
            }
            Err(error) => panic!("{error:?}"),
        }
        std::thread::yield_now();
    }
}

fn deliver(forward: &mut Udp, lines: &[u8]) {
    again(|| listen_to(forward, lines));
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 70_000];
    let count = socket.recv(&mut bytes).unwrap();
    bytes.truncate(count);
    bytes
}

#[test]
fn each_line_is_a_datagram() {
    let socket = receiver();
    let mut forward = forward(socket.local_addr().unwrap(), 1000);
    deliver(&mut forward, b"one\ntwo\r\n\n\xff\0\n");
    assert_eq!(forward.flush().unwrap(), Flushed::All);
    let received: Vec<_> = (0..4).map(|_| receive(&socket)).collect();
    assert_eq!(received, [&b"one\n"[..], b"two\r\n", b"\n", b"\xff\0\n"]);
    socket.set_nonblocking(true).unwrap();
    socket.recv(&mut [0; 10]).unwrap_err();
}

#[test]
fn what_is_too_long_is_cut_and_says_so() {
    let socket = receiver();
    let mut forward = forward(socket.local_addr().unwrap(), 1000);
    let mut long = vec![b'x'; 100_000];
    long.push(b'\n');
    deliver(&mut forward, &long);
    let received = receive(&socket);
    assert_eq!(received.len(), 1024);
    assert!(received.ends_with(b"xx [cut: 100001 bytes in all]\n"));
    let fits = [&[b'y'; 1023][..], b"\n"].concat();
    deliver(&mut forward, &fits);
    assert!(receive(&socket) == fits, "as long as may be");
}

#[test]
fn a_refusal_is_noticed_and_everything_comes_again() {
    let socket = receiver();
    let address = socket.local_addr().unwrap();
    let mut forward = forward(address, 1000);
    deliver(&mut forward, b"settled\n");
    assert_eq!(forward.flush().unwrap(), Flushed::All);
    assert_eq!(receive(&socket), b"settled\n");
    drop(socket);
    let error = listen_to(&mut forward, b"one\ntwo\nthree\n").unwrap_err();
    let ListenError::Lost(why) = &error else { panic!("{error:?}") };
    assert!(why.contains(&format!("nobody listens at udp://{address}")), "{why}");
    assert!(why.contains("the last 1 datagrams count as not sent"), "{why}");

    let since = Instant::now();
    loop {
        match listen_to(&mut forward, b"one\ntwo\nthree\n") {
            Err(ListenError::Lost(why)) => {
                break assert!(why.contains("last 1 "), "{why}");
            }
            Err(ListenError::Retry(why)) => assert!(since.elapsed() < LONG, "{why}"),
            other => panic!("{other:?}"),
        }
    }
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    deliver(&mut forward, b"one\ntwo\nthree\n");
    assert_eq!(forward.flush().unwrap(), Flushed::All);
    let received: Vec<_> = (0..3).map(|_| receive(&socket)).collect();
    assert_eq!(received, [&b"one\n"[..], b"two\n", b"three\n"]);
}

/// One that goes away behind the last datagram is noticed by the flush.
#[test]
fn the_last_datagram_may_be_refused() {
    let socket = receiver();
    let mut forward = forward(socket.local_addr().unwrap(), 1000);
    deliver(&mut forward, b"proved\n");
    assert_eq!(forward.flush().unwrap(), Flushed::All);
    drop(socket);
    listen_to(&mut forward, b"last\n").unwrap();
    let error = forward.flush().unwrap_err();
    assert!(matches!(error, ListenError::Lost(_)), "{error:?}");
    assert_eq!(forward.flush().unwrap(), Flushed::All, "nothing is under way");
    forward.no_data(true).unwrap();
}

#[test]
fn a_receiver_that_is_away_is_not_hammered() {
    let address = receiver().local_addr().unwrap();
    let mut forward = forward(address, 1000);
    forward.settings.first_pause = LONG;
    forward.dialer = {
        let target = forward.dialer.target().clone();
        Dialer::new(target, |to: &Target| connect(to, 0), Pace::new(LONG))
    };
    let error = listen_to(&mut forward, b"one\n").unwrap_err();
    assert!(matches!(error, ListenError::Lost(_)), "{error:?}");
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    for _ in 0..100 {
        let error = listen_to(&mut forward, b"one\n").unwrap_err();
        assert!(matches!(error, ListenError::Retry(_)), "{error:?}");
    }
    socket.recv(&mut [0; 10]).unwrap_err();
}

#[test]
fn datagrams_keep_their_pace_and_each_goes_once() {
    let socket = receiver();
    let mut forward = forward(socket.local_addr().unwrap(), 200);
    let lines: Vec<u8> =
        (0..100).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    let since = Instant::now();
    let error = listen_to(&mut forward, &lines).unwrap_err();
    assert!(error.to_string().contains("`per_second` of them were sent"), "{error}");
    deliver(&mut forward, &lines);
    assert!(since.elapsed() > Duration::from_millis(450), "{:?}", since.elapsed());
    for n in 0..100 {
        assert_eq!(receive(&socket), format!("line {n}\n").as_bytes());
    }
    socket.set_nonblocking(true).unwrap();
    socket.recv(&mut [0; 10]).unwrap_err();
}

/// `localhost` is first the address at which nobody listens.
#[test]
fn another_address_of_a_name_is_tried_after_a_refusal() {
    let socket = receiver();
    let port = socket.local_addr().unwrap().port();
    let mut forward = named(&format!("udp://localhost:{port}"), 1000);
    let since = Instant::now();
    loop {
        match listen_to(&mut forward, b"one\n").and_then(|()| forward.flush()) {
            Ok(_) => break,
            Err(ListenError::Retry(why) | ListenError::Lost(why)) => {
                assert!(since.elapsed() < LONG, "{why}");
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(receive(&socket), b"one\n");
}
