//! A real receiver on loopback, driven step by step.

mod setup;

use super::*;
use rustix::event::PollFlags;
use rustix::net::sockopt;
use setup::*;
use std::io::Read as _;
use std::net::TcpListener;

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

/// Wherever the connection is cut, all lines are there after it.
#[test]
fn a_cut_anywhere_costs_nothing() {
    let lines = b"one\r\ntwo\n\nthree\n";
    for cut in 0..=lines.len() {
        let (listener, mut forward) = begin(settings());
        deliver(&mut forward, lines);
        let mut receiver = accept(&listener);
        assert_eq!(read(&mut receiver, cut), lines[..cut]);
        reset(receiver);
        wait_for(&forward, PollFlags::HUP);
        lost(forward.flush());
        again(|| forward.listen_to(lines));
        let receiver = accept(&listener);
        settle(&mut forward);
        drop(forward);
        assert_eq!(rest(receiver), lines, "cut at {cut}");
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
    let mut forward = Forward::new(target, settings());
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
    let mut forward = Forward::new(target, settings());
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
    let mut forward = Forward::new(target, settings());
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

#[test]
fn building_connects_to_nobody() {
    let listener = listen();
    let address = listener.local_addr().unwrap();
    drop(build(&format!("to: \"tcp://{address}\", format: Lines")).unwrap());
    listener.set_nonblocking(true).unwrap();
    listener.accept().unwrap_err();
}

#[test]
fn arguments_have_bounds_and_words() {
    let good = "to: \"tcp://[::1]:6514\", format: Lines, connect_timeout: \"200ms\", \
                acknowledge_timeout: \"1m\", on_gap: Stop";
    let built = build(good).unwrap();
    assert_eq!(built.on_gap, OnGap::Stop);
    assert!(built.writes.is_none() && !built.only_journals);
    let to = "to: \"tcp://127.0.0.1:6514\"";
    let cases = [
        (to.to_owned(), "format"),
        ("format: Lines".into(), "`to`"),
        (format!("{to}, format: Syslog"), "Lines"),
        ("to: \"udp://h:1\", format: Lines".into(), "there is only tcp"),
        (format!("{to}, format: Lines, connect_timeout: \"1ms\""), "`connect_timeout`"),
        (
            format!("{to}, format: Lines, acknowledge_timeout: \"2 hours\""),
            "`acknowledge_timeout` must lie between",
        ),
    ];
    for (arguments, words) in cases {
        let error = build(&arguments).err().unwrap().message;
        assert!(error.contains(words), "{arguments}: {error}");
    }
}
