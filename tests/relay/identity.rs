//! Who is who: keys, certificates, and strangers, who get sentences.

use super::pair::{LONG, Pair};
use crate::forwarding::certificates::Authority;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
const OTHER: &str = "10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
const PEERS: &str = "peers: {\"web1\": (shared_key: \"web1.key\")}";

#[test]
fn a_shared_key_lets_in_and_another_one_does_not() {
    let pair = Pair::with("shared_key: \"web1.key\"", PEERS);
    pair.share_a_key(KEY, OTHER);
    pair.append_numbered("a.log", 0..1000);
    let receiver = pair.listening();
    let sender = pair.sender();
    pair.wait_until_said("sender", "it does not have the `shared_key` of \"web1\"");
    pair.wait_until_said("receiver", "does not prove it by the shared key");
    for side in ["sender", "receiver"] {
        assert!(!pair.said(side).contains("8899"), "the key is in no message");
    }
    assert!(!pair.path("receiver/in/web1").exists());
    // It is read anew for each connection.
    pair.share_a_key(KEY, KEY);
    pair.wait_until_received(&["a.log"]);
    pair.wait_until_settled();
    sender.stop();
    receiver.stop();
    pair.assert_received(&["a.log"], "with the right key");
}

#[test]
fn a_peer_that_is_not_known_fails_as_one_with_a_wrong_key() {
    let pair = Pair::with(
        "shared_key: \"web1.key\"",
        "peers: {\"web2\": (shared_key: \"web1.key\")}",
    );
    pair.share_a_key(KEY, KEY);
    pair.append_numbered("a.log", 0..10);
    let receiver = pair.listening();
    let sender = pair.sender();
    pair.wait_until_said(
        "sender",
        "it does not have the `shared_key` of \"web1\", or knows",
    );
    pair.wait_until_said("receiver", "who calls itself web1: it is not in `peers`");
    drop(sender);
    receiver.stop();
}

#[test]
fn without_a_proof_a_peer_that_has_one_is_not_let_in() {
    let pair = Pair::with("", PEERS);
    pair.share_a_key(KEY, KEY);
    pair.append_numbered("a.log", 0..10);
    let receiver = pair.listening();
    let sender = pair.sender();
    pair.wait_until_said("sender", "says: web1 must prove who it is");
    drop(sender);
    receiver.stop();
    assert!(!pair.path("receiver/in/web1").exists());
}

#[test]
fn a_key_that_others_may_read_is_not_used() {
    let pair = Pair::with("shared_key: \"web1.key\"", PEERS);
    pair.dir.write("sender/web1.key", KEY);
    pair.dir.write("receiver/web1.key", KEY);
    pair.append_numbered("a.log", 0..10);
    let sender = pair.sender();
    pair.wait_until_said("sender", "chmod 600");
    drop(sender);
    let ran = pair.dir.run(["check", "receiver/receive.ron"]).exits(1);
    assert!(
        ran.stderr().contains("web1 cannot connect")
            && ran.stderr().contains("chmod 600")
    );
}

#[test]
fn certificates_prove_both() {
    let tls = "tls: (certificate: \"server.pem\", key: \"server.key\", ca: \"ca.pem\"), \
               peers: {\"web1\": ()}";
    let pair = Pair::with("", tls);
    let authority = Authority::new(&pair.path("receiver"));
    authority.issue("server", "127.0.0.1");
    for (file, name) in [("web1", "web1"), ("web2", "web2")] {
        authority.issue(file, name);
    }
    let expired = |params: &mut rcgen::CertificateParams| {
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    };
    authority.issue_as("expired", "web1", expired);
    let other = Authority::new(&pair.path("other"));
    other.issue("web1", "web1");
    pair.append_numbered("a.log", 0..1000);
    let receiver = pair.listening();
    let cases = [
        (
            "certificate: \"../receiver/expired.pem\", key: \"../receiver/expired.key\", \
             ca: \"../receiver/ca.pem\"",
            "our certificate",
        ),
        (
            "certificate: \"../other/web1.pem\", key: \"../other/web1.key\", \
          ca: \"../receiver/ca.pem\"",
            "our certificate",
        ),
        (
            "certificate: \"../receiver/web2.pem\", key: \"../receiver/web2.key\", \
          ca: \"../receiver/ca.pem\"",
            "is not for web1",
        ),
        (
            "certificate: \"../receiver/web1.pem\", key: \"../receiver/web1.key\", \
          ca: \"../other/ca.pem\"",
            "its certificate",
        ),
        (
            "certificate: \"../receiver/web1.pem\", key: \"../receiver/web1.key\", \
          ca: \"../receiver/ca.pem\", server_name: \"logs.example\"",
            "logs.example",
        ),
    ];
    let to = format!("to: \"tripline://127.0.0.1:{}\"", pair.port);
    for (arguments, words) in cases {
        pair.configure_sender(&format!("{to}, {arguments}"));
        let before = pair.said("sender").len();
        let sender = pair.sender();
        let says = || pair.said("sender")[before..].contains(words);
        let said = crate::site::wait_until(LONG, says);
        assert!(said, "{arguments}: {}\n{}", pair.said("sender"), pair.said("receiver"));
        drop(sender);
    }
    assert!(!pair.path("receiver/in/web1").exists());
    pair.configure_sender(&format!(
        "{to}, certificate: \"../receiver/web1.pem\", key: \"../receiver/web1.key\", \
         ca: \"../receiver/ca.pem\", compress: Deflate"
    ));
    pair.send().exits(0);
    receiver.stop();
    pair.assert_received(&["a.log"], "with the right certificates");
}

#[test]
fn strangers_are_named_and_do_not_keep_others_waiting() {
    let pair = Pair::with("shared_key: \"web1.key\"", PEERS);
    pair.share_a_key(KEY, KEY);
    pair.append_numbered("a.log", 0..1000);
    let receiver = pair.listening();
    let call = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", pair.port)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    // More than there may be connections, that say hardly anything and never more.
    let slow: Vec<_> = (0..200).map(|_| call(b"TRIP")).collect();
    let rest = |mut stream: TcpStream| {
        let since = Instant::now();
        _ = stream.read_to_end(&mut Vec::new());
        since.elapsed()
    };
    pair.send().exits(0);
    pair.assert_received(&["a.log"], "besides the slow ones");
    for (bytes, words) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "it speaks HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "it speaks TLS"),
        (b"TRIPLINEK\x04web1no TLS at all, but something else", "no TLS"),
        (b"TRIPLINE-\x04web1", "must prove who it is"),
    ] {
        // Who failed is not heard at once again.
        let told = crate::site::wait_until(LONG, || {
            assert!(rest(call(bytes)) < Duration::from_secs(20));
            pair.said("receiver").contains(words)
        });
        assert!(told, "{words}: {}", pair.said("receiver"));
    }
    slow.into_iter().for_each(|stream| assert!(rest(stream) < Duration::from_secs(20)));
    pair.wait_until_said("receiver", "it did not say who it is in 10s");
    receiver.stop();
}

#[test]
fn beyond_this_machine_nobody_comes_in_unproved() {
    let pair = Pair::new();
    for (receive, words) in [
        ("listen: \"0.0.0.0:6515\"", "`peers` names nobody"),
        ("listen: \"0.0.0.0:6515\", peers: {\"web1\": ()}", "without `shared_key`"),
        ("listen: \"here\"", "write an address and a port"),
        ("listen: \"127.0.0.1:1\", peers: {\"../x\": ()}", "cannot be a name"),
        ("listen: \"127.0.0.1:1\", lisen: 1", "lisen"),
        ("listen: \"127.0.0.1:1\", connections_max: 0", "between 1 and"),
    ] {
        pair.dir
            .write("receive.ron", format!("({receive}, to: \"in\", state: \"state\")"));
        let ran = pair.dir.run(["receive", "receive.ron"]).exits(2);
        ran.complains([words, "receive.ron:1:"]);
        pair.dir.run(["check", "receive.ron"]).exits(1).complains([words]);
    }
    let key = pair.dir.write("one.key", "0123456789abcdef".repeat(4));
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    pair.dir.write(
        "receive.ron",
        "(listen: \"127.0.0.1:1\", to: \"in\", state: \"state\", peers: {\"web1\": \
         (shared_key: \"one.key\"), \"web2\": (shared_key: \"one.key\")})",
    );
    pair.dir
        .run(["receive", "receive.ron"])
        .exits(2)
        .complains(["one key for web1 and web2"]);
    pair.configure_sender("to: \"tripline://logs.example:6515\"");
    pair.send().exits(2).complains(["everybody on the way"]);
    assert!(!pair.path("state").exists() && !pair.path("in").exists());
}

#[test]
fn a_state_is_used_by_one() {
    let pair = Pair::new();
    let receiver = pair.listening();
    let ran = pair.dir.run(["receive", "receiver/receive.ron"]).exits(4);
    ran.complains(["is in use by process"]);
    receiver.stop();
    fs::metadata(pair.path("receiver/state/relay.db")).unwrap();
}
