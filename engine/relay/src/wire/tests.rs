use super::*;
use proptest::prelude::*;

/// Reads all frames; fails where there is none.
fn read_one(bytes: &[u8], then: impl FnOnce(Frame<'_>)) {
    let head = Head::read(bytes).unwrap().unwrap();
    let mut room = Vec::new();
    assert_eq!(bytes.len(), HEAD_BYTES + head.len);
    then(head.body(&bytes[HEAD_BYTES..], &mut room).unwrap());
}

fn comes_back(frame: &Frame<'_>) {
    let mut plain = Vec::new();
    let last = frame.write(&mut plain);
    plain.extend_from_slice(last);
    read_one(&plain, |read| assert_eq!(read, *frame));
    let mut deflated = Vec::new();
    frame.write_deflated(&mut deflated);
    read_one(&deflated, |read| assert_eq!(read, *frame));
    assert!(deflated.len() <= plain.len());
}

#[test]
fn every_kind_comes_back() {
    let at = At { era: 7, sequence: 3, offset: 99 };
    let bytes = [b'x'; RUN_BYTES_MAX];
    for len in [0, 1, 200, RUN_BYTES_MAX] {
        comes_back(&Frame::Run(Run {
            index: 5,
            at,
            line: 4,
            next: 99 + 5_000_000,
            entries: 12,
            did_rotate: true,
            incomplete: len == 1,
            bytes: &bytes[..len],
        }));
    }
    let open =
        Open { index: 1, source: "auth", incarnation: u64::MAX, log: Some(b"/\xff\n") };
    for frame in [
        Frame::Hello { version: 1, stream: "central" },
        Frame::Open(open),
        Frame::Open(Open { log: None, ..open }),
        Frame::Gap(Gap { index: 1, to: at, text: b"{}\n" }),
        Frame::Ping,
        Frame::Tie(Tie { file: 1, number: u64::MAX }),
        Frame::Welcome { version: 9, receiver: u64::MAX, tie: None },
        Frame::Welcome { version: 9, receiver: 0, tie: Some(Tie { file: 7, number: 1 }) },
        Frame::Refused("no \u{e9}"),
        Frame::Settled(u64::MAX),
        Frame::Alive,
    ] {
        comes_back(&frame);
    }
}

#[test]
fn what_is_not_a_frame_is_refused() {
    for other in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16; 64], &[0; 64], &[0xff; 64]] {
        assert_eq!(Head::read(other), Err(WireError::Head));
    }
    let mut bytes = Vec::new();
    Frame::Refused("no").write(&mut bytes);
    bytes.extend_from_slice(b"no");
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let read = Head::read(&changed).map(|head| {
            let mut room = Vec::new();
            head.unwrap().body(&changed[HEAD_BYTES..], &mut room).map(|_| ()).unwrap_err()
        });
        assert!(matches!(read, Err(WireError::Head) | Ok(WireError::Changed)), "{at}");
    }
    assert_eq!(Head::read(&bytes[..15]), Ok(None));
}

#[test]
fn a_bomb_makes_no_more_than_it_says() {
    let mut compress = Compress::new(Compression::best(), false);
    let mut bomb = vec![0; 100_000];
    let big = vec![0; 64 * BODY_BYTES_MAX];
    compress.compress(&big, &mut bomb, FlushCompress::Finish).unwrap();
    bomb.truncate(compress.total_out() as usize);
    for len in [0, 100, BODY_BYTES_MAX as u32, BODY_BYTES_MAX as u32 + 1, u32::MAX] {
        let body = [&len.to_le_bytes()[..], &bomb].concat();
        let bytes = Head::seal(3, DEFLATED, &body);
        let mut room = Vec::new();
        let head = Head::read(&bytes).unwrap().unwrap();
        assert!(matches!(
            head.body(&bytes[HEAD_BYTES..], &mut room),
            Err(WireError::Body(_))
        ));
        assert!(room.capacity() <= 2 * BODY_BYTES_MAX);
    }
}

#[test]
fn hostile_names_and_places_are_refused() {
    let hello =
        |name: &[u8]| Head::seal(1, 0, &[&1_u16.to_le_bytes()[..], name].concat());
    for bad in [&b""[..], b"..", b".x", b"a/b", b"a\0", b"\xff", b"a b", &[b'x'; 101]] {
        let bytes = hello(bad);
        let head = Head::read(&bytes).unwrap().unwrap();
        let mut room = Vec::new();
        assert!(head.body(&bytes[HEAD_BYTES..], &mut room).is_err(), "{bad:?}");
    }
    let at = At { era: 0, sequence: 0, offset: u64::MAX - 1 };
    let run = Run {
        index: 0,
        at,
        line: 0,
        next: 1,
        entries: 1,
        did_rotate: false,
        incomplete: false,
        bytes: b"abc",
    };
    let small = At { offset: 10, ..at };
    for run in [
        run,
        Run { at: small, next: 12, ..run },
        Run { at: small, next: u64::MAX, ..run },
    ] {
        let mut bytes = Vec::new();
        let last = Frame::Run(run).write(&mut bytes);
        bytes.extend_from_slice(last);
        let head = Head::read(&bytes).unwrap().unwrap();
        let mut room = Vec::new();
        assert_eq!(
            head.body(&bytes[HEAD_BYTES..], &mut room),
            Err(WireError::Body("a place"))
        );
    }
}

#[test]
fn half_a_tie_is_none() {
    let numbers = |numbers: &[u64]| -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    };
    let welcome =
        |tie: &[u64]| [&2_u16.to_le_bytes()[..], &[0; 8], &numbers(tie)].concat();
    for (kind, body) in [
        (6, numbers(&[0, 0])),
        (6, numbers(&[0, 1])),
        (6, numbers(&[1, 0])),
        (6, numbers(&[1])),
        (6, numbers(&[1, 2, 3])),
        (33, welcome(&[0, 1])),
        (33, welcome(&[1, 0])),
        (33, welcome(&[1])),
        (33, 1_u16.to_le_bytes().to_vec()),
    ] {
        let bytes = Head::seal(kind, 0, &body);
        let head = Head::read(&bytes).unwrap().unwrap();
        let mut room = Vec::new();
        let read = head.body(&bytes[HEAD_BYTES..], &mut room);
        assert!(matches!(read, Err(WireError::Body(_))), "{kind} {body:?}: {read:?}");
    }
}

#[test]
fn what_others_say_is_a_line() {
    assert_eq!(printable("no\n\x1b[1m"), "no??[1m");
    assert_eq!(printable(&"\u{e9}".repeat(5000)).chars().count(), SHOWN_CHARS_MAX);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(Some(head)) = Head::read(&bytes) {
            assert!(head.len <= BODY_BYTES_MAX);
            let mut room = Vec::new();
            _ = head.body(&bytes[HEAD_BYTES..], &mut room);
        }
    }

    #[test]
    fn no_body_panics(
        kind in 0_u8..40,
        flags in 0_u8..2,
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = Head::seal(kind, flags, &body);
        let head = Head::read(&bytes).unwrap().unwrap();
        let mut room = Vec::new();
        if let Ok(frame) = head.body(&bytes[HEAD_BYTES..], &mut room) {
            comes_back(&frame);
        }
    }

    #[test]
    fn runs_come_back(
        index in 0..OPENED_MAX,
        era in 0..NUMBER_MAX, sequence in 0..NUMBER_MAX, offset in 0..NUMBER_MAX / 2,
        cut in 0_u64..1 << 40,
        bytes in proptest::collection::vec(any::<u8>(), 0..5000),
    ) {
        comes_back(&Frame::Run(Run {
            index,
            at: At { era, sequence, offset },
            line: era,
            next: offset + bytes.len() as u64 + cut,
            entries: index,
            did_rotate: cut % 2 == 0,
            incomplete: cut % 3 == 0,
            bytes: &bytes,
        }));
    }
}
