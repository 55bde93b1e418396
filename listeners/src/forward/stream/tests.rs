//! A real receiver on loopback, driven step by step.

mod setup;

use super::*;
use crate::forward::format::{Format, Framing};
use rustix::event::PollFlags;
use rustix::net::sockopt;
use setup::*;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;
use tripline_api::Place;

#[test]
fn bytes_arrive_as_they_are_and_are_settled() {
    let (listener, mut forward) = begin(settings());
    deliver(&mut forward, b"one\ntwo\r\n");
    let mut receiver = accept(&listener);
    deliver(&mut forward, b"\n\0\xff\x1b[2J\n");
    settle(&mut forward);
    let wanted = b"one\ntwo\r\n\n\0\xff\x1b[2J\n";
    assert_eq!(read(&mut receiver, wanted.len()), wanted);
    assert_eq!(forward.flush().unwrap(), Flushed::All, "nothing came since");
    drop(forward);
    assert_eq!(rest(receiver), b"", "and nothing else was sent");
}

#[test]
fn every_entry_gets_one_line_feed() {
    let (listener, mut forward) = begin(settings());
    let lines = [
        Lines::new(b"unix\nwindows\r\n"),
        Lines::new(b"first\nno end"),
        Lines { cut: Some(1 << 30), ..Lines::new(b"the start of a long") },
        Lines { is_preview: true, ..Lines::new(b"not finished") },
        Lines::new(b"not finished, is it\n"),
        Lines::new(b"no end but a return\r"),
        Lines { is_journal: true, ..Lines::new(b"@pv@ 0 @db.desc@ 1 @a\nb@ \n") },
        Lines::new(b"\n\n"),
    ];
    for lines in &lines {
        lines.deliver(&mut forward).unwrap();
    }
    // Some of them only, which it does not ask for itself.
    let some = Lines::new(b"left out\ntaken\n");
    some.view(|batch| forward.listen(&View::some(batch, &[false, true]))).unwrap();
    settle(&mut forward);
    let receiver = accept(&listener);
    drop(forward);
    let wanted = "unix\nwindows\r\nfirst\nno end\nthe start of a long\nnot finished\n\
                  not finished, is it\nno end but a return\r\n@pv@ 0 @db.desc@ 1 @a\nb@ \n\
                  \n\ntaken\n";
    assert_eq!(String::from_utf8(rest(receiver)).unwrap(), wanted);
}

#[test]
fn a_receiver_that_closes_between_batches_loses_nothing() {
    let (listener, mut forward) = begin(settings());
    let mut received = Vec::new();
    for round in 0..5 {
        let line = format!("line {round}\n");
        again(|| forward.listen_to(line.as_bytes()));
        let mut receiver = accept(&listener);
        if round % 2 == 0 {
            // Also when it was not flushed before.
            settle(&mut forward);
        }
        received.extend(read(&mut receiver, line.len()));
        drop(receiver);
        wait_for(&forward, PollFlags::IN);
    }
    assert_eq!(received, b"line 0\nline 1\nline 2\nline 3\nline 4\n");
    assert_eq!(forward.flush().unwrap(), Flushed::All);
    forward.no_data(true).unwrap();
    assert!(forward.connection.is_none(), "a closed one is not kept");
}

#[test]
fn a_reset_is_a_loss_and_all_comes_again() {
    let (listener, mut forward) = begin(settings());
    deliver(&mut forward, b"settled\n");
    let mut receiver = accept(&listener);
    settle(&mut forward);
    assert_eq!(read(&mut receiver, 8), b"settled\n");
    deliver(&mut forward, b"read\n");
    deliver(&mut forward, b"not read\n");
    assert_eq!(read(&mut receiver, 5), b"read\n");
    reset(receiver);
    wait_for(&forward, PollFlags::HUP);
    let why = lost(forward.flush());
    assert!(why.contains("broke"), "{why}");
    assert!(why.contains("sent again") && why.contains("tcp://127.0.0.1:"), "{why}");

    again(|| forward.listen_to(b"read\nnot read\n"));
    let receiver = accept(&listener);
    settle(&mut forward);
    drop(forward);
    assert_eq!(rest(receiver), b"read\nnot read\n");
}

#[test]
fn a_reset_with_nothing_in_doubt_is_no_loss() {
    let (listener, mut forward) = begin(settings());
    deliver(&mut forward, b"one\n");
    let mut receiver = accept(&listener);
    settle(&mut forward);
    assert_eq!(read(&mut receiver, 4), b"one\n");
    reset(receiver);
    wait_for(&forward, PollFlags::HUP);
    again(|| forward.listen_to(b"two\n"));
    let receiver = accept(&listener);
    settle(&mut forward);
    drop(forward);
    assert_eq!(rest(receiver), b"two\n");
}

/// A receiver that goes without reading: that its system acknowledged the
/// bytes does not settle them once it has reset the connection.
#[test]
fn what_a_receiver_dropped_unread_is_a_loss() {
    let (listener, mut forward) = begin(settings());
    deliver(&mut forward, b"never read\n");
    drop(accept(&listener));
    wait_for(&forward, PollFlags::HUP);
    lost(forward.flush());
    assert!(forward.connection.is_none());
}

#[test]
fn one_that_takes_calls_and_drops_them_is_not_hammered() {
    let first_pause = Duration::from_secs(1000);
    let (listener, mut forward) = begin(Settings { first_pause, ..settings() });
    deliver(&mut forward, b"one\n");
    drop(accept(&listener));
    wait_for(&forward, PollFlags::HUP);
    lost(forward.flush());
    listener.set_nonblocking(true).unwrap();
    for _ in 0..100 {
        let why = retry(forward.listen_to(b"one\n"));
        assert!(why.contains("the connection to tcp://127.0.0.1:"), "{why}");
        listener.accept().unwrap_err();
    }
}

#[test]
fn half_a_line_comes_again_whole() {
    let (listener, mut forward) = begin(narrow(&settings()));
    let lines = numbered(60_000);
    deliver(&mut forward, &lines);
    let mut receiver = accept(&listener);
    assert_eq!(read(&mut receiver, 1003), lines[..1003]);
    assert_ne!(lines[1002], b'\n');
    assert_eq!(forward.flush().unwrap(), Flushed::Soon);
    reset(receiver);
    wait_for(&forward, PollFlags::HUP);
    lost(forward.is_flushed());

    again(|| forward.listen_to(&lines));
    let receiver = accept(&listener);
    let reader = in_background(receiver);
    settle(&mut forward);
    drop(forward);
    assert!(reader.join().unwrap() == lines, "whole lines from the first");
}

/// Wherever the connection is cut, all entries are there after it.
#[test]
fn a_cut_anywhere_costs_nothing() {
    let lines = b"one\r\ntwo\n\nthree\n";
    for framing in [Framing::Lf, Framing::Octets] {
        for format in [Format::Lines, Format::Json, rfc5424()] {
            let length = {
                let (listener, mut forward) = begin((format.clone(), framing));
                deliver(&mut forward, lines);
                let receiver = accept(&listener);
                settle(&mut forward);
                drop(forward);
                rest(receiver).len()
            };
            for cut in 0..=length {
                let (listener, mut forward) = begin((format.clone(), framing));
                deliver(&mut forward, lines);
                let mut receiver = accept(&listener);
                let torn = read(&mut receiver, cut);
                reset(receiver);
                wait_for(&forward, PollFlags::HUP);
                lost(forward.flush());
                again(|| forward.listen_to(lines));
                let receiver = accept(&listener);
                settle(&mut forward);
                drop(forward);
                let whole = rest(receiver);
                assert_eq!(whole.len(), length, "cut at {cut}");
                if format == Format::Lines {
                    assert_eq!(whole, lines, "cut at {cut}");
                    assert_eq!(torn, lines[..cut]);
                }
            }
        }
    }
}

fn rfc5424() -> Format {
    Format::Rfc5424 {
        facility: None,
        severity: None,
        hostname: Some("host".into()),
        app_name: None,
        procid: None,
        msgid: None,
        enterprise: None,
        header: None,
        bom: None,
    }
}

#[test]
fn a_receiver_that_never_reads_is_given_up_in_words() {
    let acknowledge_timeout = Duration::from_millis(200);
    let settings = Settings { acknowledge_timeout, ..settings() };
    let (listener, mut forward) = begin(narrow(&settings));
    let lines = numbered(1_000_000);
    let since = Instant::now();
    deliver(&mut forward, &lines);
    let _receiver = accept(&listener);
    assert_eq!(forward.flush().unwrap(), Flushed::Soon);
    let why = loop {
        match forward.is_flushed() {
            Ok(is_flushed) => assert!(!is_flushed, "it cannot be"),
            Err(ListenError::Lost(why)) => break why,
            Err(error) => panic!("{error}"),
        }
        assert!(since.elapsed() < LONG);
        std::thread::yield_now();
    };
    assert!(why.contains("has not taken anything for 200ms"), "{why}");
    assert!(why.contains("tcp://127.0.0.1:"), "{why}");
}

/// While it is not given up, calls are short, and a batch is taken whole or not
/// at all.
#[test]
fn what_a_slow_receiver_does_not_take_waits() {
    let (listener, mut forward) = begin(narrow(&settings()));
    let lines = numbered(4_000_000);
    deliver(&mut forward, &lines);
    let receiver = accept(&listener);
    let since = Instant::now();
    let why = retry(forward.listen_to(b"one more\n"));
    assert!(why.contains("takes no more for now"), "{why}");
    assert!(since.elapsed() < LONG / 2);
    let reader = in_background(receiver);
    again(|| forward.listen_to(b"one more\n"));
    settle(&mut forward);
    drop(forward);
    assert!(reader.join().unwrap() == [&lines[..], b"one more\n"].concat());
}

#[test]
fn a_flush_settles_what_came_before_it() {
    let (listener, mut forward) = begin(narrow(&settings()));
    let first = numbered(500_000);
    let second = numbered(2_000_000);
    deliver(&mut forward, &first);
    let mut receiver = accept(&listener);
    assert_eq!(forward.flush().unwrap(), Flushed::Soon);
    assert!(!forward.is_flushed().unwrap());
    // Read a little at a time, until the first part must have arrived.
    let mut received = 0;
    while !forward.is_flushed().unwrap() {
        assert!(received < first.len(), "everything was read and it is not settled");
        received += read(&mut receiver, 10_000).len();
    }
    again(|| forward.listen_to(&second));
    assert_eq!(forward.flush().unwrap(), Flushed::Soon, "the second is on its way");
    assert!(!forward.is_flushed().unwrap());
    let reader = in_background(receiver);
    wait_until(|| forward.is_flushed().unwrap());
    drop(forward);
    assert_eq!(received + reader.join().unwrap().len(), first.len() + second.len());
}

/// What comes after a flush does not hold up what came before it.
#[test]
fn a_mark_does_not_wait_for_what_follows() {
    let (listener, mut forward) = begin(narrow(&settings()));
    let first = numbered(100_000);
    deliver(&mut forward, &first);
    let mut receiver = accept(&listener);
    assert_eq!(forward.flush().unwrap(), Flushed::Soon);
    let mut received = 0;
    // The first part must have left the listener before it takes the second.
    again(|| {
        received += read(&mut receiver, 2000).len();
        forward.listen_to(&numbered(4_000_000))
    });
    while !forward.is_flushed().unwrap() {
        received += read(&mut receiver, 10_000).len();
        assert!(received < 2_000_000);
    }
    assert_eq!(forward.flush().unwrap(), Flushed::Soon);
    assert!(!forward.is_flushed().unwrap());
}

#[test]
fn a_big_batch_goes_through_small_buffers() {
    let (listener, mut forward) = begin(narrow(&settings()));
    let lines = numbered(8_000_000);
    deliver(&mut forward, &lines);
    let receiver = accept(&listener);
    let reader = in_background(receiver);
    settle(&mut forward);
    let kept = forward.connection.as_ref().unwrap().memory();
    assert!(kept < 4_000_000, "{kept} bytes are kept");
    drop(forward);
    assert!(reader.join().unwrap() == lines);
}

/// What is built from a batch goes out in parts, and each part once, however
/// often the batch has to come again.
#[test]
fn a_batch_that_comes_again_goes_on_where_it_was() {
    let (settings, bytes) = narrow(&settings());
    let (listener, mut forward) = begin((Format::Json, settings, bytes));
    let lines = numbered(400_000);
    let mut retries = 0;
    retry(forward.listen_to(&lines));
    let mut receiver = accept(&listener);
    let mut received = Vec::new();
    let is_taken = |forward: &mut Stream| match forward.listen_to(&lines) {
        Ok(()) => true,
        Err(ListenError::Retry(_)) => false,
        Err(error) => panic!("{error:?}"),
    };
    while !is_taken(&mut forward) {
        retries += 1;
        received.extend(read(&mut receiver, 100_000));
    }
    assert!(retries > 10, "it came again {retries} times");
    let reader = in_background(receiver);
    settle(&mut forward);
    drop(forward);
    received.extend(reader.join().unwrap());
    let texts: Vec<u8> = received
        .split_inclusive(|byte| *byte == b'\n')
        .flat_map(|line| {
            let object: serde_json::Value = serde_json::from_slice(line).unwrap();
            format!("{}\n", object["text"].as_str().unwrap()).into_bytes()
        })
        .collect();
    assert!(texts == lines, "every line once and in order");
}

#[test]
fn what_came_before_a_lost_connection_comes_again() {
    let (settings, bytes) = narrow(&settings());
    let (listener, mut forward) = begin((Format::Json, settings, bytes));
    let lines = numbered(400_000);
    retry(forward.listen_to(&lines));
    let mut receiver = accept(&listener);
    // Until a part of the batch is behind it.
    wait_until(|| {
        read(&mut receiver, 100_000);
        retry(forward.listen_to(&lines));
        forward.connection.as_ref().unwrap().accepted() > 1_500_000
    });
    reset(receiver);
    wait_for(&forward, PollFlags::HUP);
    lost(forward.listen_to(&lines));
    again(|| forward.listen_to(b"first\n"));
    let receiver = accept(&listener);
    settle(&mut forward);
    drop(forward);
    let object: serde_json::Value = serde_json::from_slice(&rest(receiver)).unwrap();
    assert_eq!(object["text"], "first");
}

#[test]
fn a_gap_is_sent_where_there_is_a_place_for_it() {
    let feed = crate::testing::Feed::new("auth");
    let gap = feed.gap(Some(Path::new("/a")), Place::default(), Place::default());
    let (listener, mut forward) = begin(settings());
    forward.gap(&gap).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener.accept().unwrap_err();
    let (listener, mut forward) = begin((Format::Json, settings(), 1 << 16));
    again(|| forward.gap(&gap));
    settle(&mut forward);
    drop(forward);
    let received = rest(accept(&listener));
    assert!(received.ends_with(b"\"repair\":\"bring it back\"}}\n"));
}

#[test]
fn what_the_receiver_says_is_thrown_away() {
    use std::io::Write as _;
    let (listener, mut forward) = begin(settings());
    deliver(&mut forward, b"one\n");
    let mut receiver = accept(&listener);
    receiver.write_all(&[b'x'; 200_000]).unwrap();
    deliver(&mut forward, b"two\n");
    settle(&mut forward);
    receiver.write_all(b"goodbye").unwrap();
    drop(forward);
    let mut received = Vec::new();
    receiver.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"one\ntwo\n", "and it does not reset the connection");
}

#[test]
fn a_receiver_may_be_down_at_first() {
    let address = listen().local_addr().unwrap();
    let target = Target::try_from(format!("tcp://{address}")).unwrap();
    let mut forward = forward_to(target, settings());
    let why = retry(forward.listen_to(b"one\n"));
    assert!(why.contains(&format!("cannot connect to tcp://{address}")), "{why}");
    assert!(why.contains("refused"), "{why}");
    assert_eq!(forward.flush().unwrap(), Flushed::All, "nothing is under way");
    let listener = TcpListener::bind(address).unwrap();
    again(|| forward.listen_to(b"one\n"));
    settle(&mut forward);
    drop(forward);
    assert_eq!(rest(accept(&listener)), b"one\n");
}

#[test]
fn all_addresses_of_a_name_are_tried() {
    let listener = listen();
    let port = listener.local_addr().unwrap().port();
    let target = Target::try_from(format!("tcp://localhost:{port}")).unwrap();
    let mut forward = forward_to(target, settings());
    deliver(&mut forward, b"one\n");
    settle(&mut forward);
    drop(forward);
    assert_eq!(rest(accept(&listener)), b"one\n");
}

#[test]
fn a_name_that_is_none_is_said_in_words() {
    // Too long a label for any name server to be asked.
    let host = "x".repeat(80);
    let target = Target::try_from(format!("tcp://{host}:1")).unwrap();
    let mut forward = forward_to(target, settings());
    let mut why = String::new();
    wait_until(|| {
        why = retry(forward.listen_to(b"one\n"));
        why.contains("its name is not known")
    });
    assert!(why.contains(&host), "{why}");
}

#[test]
fn the_system_watches_a_connection_too() {
    let (_listener, mut forward) = begin(settings());
    deliver(&mut forward, b"one\n");
    let stream = forward.connection.as_ref().unwrap().stream();
    assert_eq!(sockopt::tcp_user_timeout(stream).unwrap(), 30_000);
    assert!(sockopt::socket_keepalive(stream).unwrap());
    assert!(sockopt::tcp_keepidle(stream).unwrap() <= Duration::from_secs(30));
    assert!(stream.nodelay().unwrap());
}
