//! Whatever a server sends: it is read or refused, never longer than it is, and
//! nothing is made of bytes that are not there.

#![no_main]

#[path = "../../src/ssh/sftp/packet.rs"]
#[expect(dead_code, reason = "only what reads is looked at")]
mod packet;

use libfuzzer_sys::fuzz_target;
use packet::{PACKET_BYTES_MAX, Reply};

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Ok(Some(found)) = packet::split(rest) {
        assert!(!found.is_empty() && found.len() <= PACKET_BYTES_MAX);
        rest = &rest[4 + found.len()..];
        match packet::parse(found) {
            Ok(Reply::Names { names, .. }) => {
                // Two lengths and flags at least stand for each.
                assert!(names.len() * 12 <= found.len());
            }
            Ok(Reply::Version { extensions, .. }) => {
                assert!(extensions.len() * 8 <= found.len());
            }
            Ok(Reply::Data { data, .. }) => assert!(data.len() < found.len()),
            Ok(Reply::Extended { fields, .. }) => {
                _ = packet::parse_limits(fields);
                _ = packet::parse_space(fields);
            }
            Ok(_) | Err(_) => {}
        }
    }
});
