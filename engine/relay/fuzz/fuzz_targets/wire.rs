//! Whatever comes from the network: it is a frame or refused, and what is a frame
//! comes back as it is when it is written.

#![no_main]

#[path = "../../src/greeting.rs"]
#[expect(dead_code, reason = "only what reads is looked at")]
mod greeting;
#[path = "../../src/wire.rs"]
#[expect(dead_code, reason = "some of it is for who sends")]
mod wire;

use greeting::{BYTES_MAX, Greeting};
use libfuzzer_sys::fuzz_target;
use wire::{BODY_BYTES_MAX, Frame, HEAD_BYTES, Head};

fuzz_target!(|data: &[u8]| {
    if let Ok(Some((greeting, len))) = Greeting::read(data) {
        assert!(len <= BYTES_MAX && data.starts_with(&greeting.bytes()));
    }
    // As it came, and with a checksum that holds: the first bytes say which kind.
    read(data);
    if let [kind, flags, body @ ..] = data {
        read(&Head::seal(*kind, *flags, body));
    }
});

fn read(bytes: &[u8]) {
    let Ok(Some(head)) = Head::read(bytes) else { return };
    assert!(head.len <= BODY_BYTES_MAX);
    let Some(body) = bytes.get(HEAD_BYTES..HEAD_BYTES + head.len) else { return };
    let mut room = Vec::new();
    let Ok(frame) = head.body(body, &mut room) else { return };
    for deflates in [false, true] {
        let mut written = Vec::new();
        write(&frame, deflates, &mut written);
        let again = Head::read(&written).unwrap().unwrap();
        let mut room = Vec::new();
        assert_eq!(again.body(&written[HEAD_BYTES..], &mut room).unwrap(), frame);
    }
}

fn write(frame: &Frame<'_>, deflates: bool, out: &mut Vec<u8>) {
    if deflates {
        frame.write_deflated(out);
    } else {
        let last = frame.write(out);
        out.extend_from_slice(last);
    }
}
