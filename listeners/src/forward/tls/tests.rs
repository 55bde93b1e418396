//! Receivers that are not the one that was meant get not one byte.

use crate::find;
use crate::forward::Settings;
use crate::forward::certificates::{Authority, Issued};
use crate::forward::format::{Format, Framing, Wanted};
use crate::forward::proxy::Proxy;
use crate::forward::receiver::Receiver;
use crate::forward::stream::Stream;
use crate::forward::target::Target;
use crate::forward::tls::{Fingerprint, Tls};
use crate::testing::Feed;
use rcgen::{CertificateParams, date_time_ymd};
use rustls::ServerConfig;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::{
    Args, BuildContext, Flushed, ListenError, Listener, Secrets, Settled,
};

const LONG: Duration = Duration::from_secs(60);

struct Scene {
    directory: tempfile::TempDir,
    authority: Authority,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path());
        Self { directory, authority }
    }

    fn good(&self) -> Issued {
        self.authority.issue("server", &["127.0.0.1", "logs.example"], |_| {})
    }

    fn forward(&self, to: impl std::fmt::Display, options: &str) -> Box<dyn Listener> {
        let text =
            format!("(from: [\"p4\"], to: \"tls://{to}\", format: Json, {options})");
        let directory = self.directory.path();
        let context = BuildContext { name: "x", directory, state: directory };
        let factory = find("Forward").unwrap();
        factory.build(&Args::new(&text), &context).unwrap().listener
    }

    /// One that calls again at once.
    fn impatient(&self, to: SocketAddr) -> Stream {
        let tls = Tls {
            ca: Some(self.authority.path()),
            identity: None,
            name: "127.0.0.1".try_into().unwrap(),
            fingerprint: None,
        };
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
        let to = Target::try_from(format!("tls://{to}")).unwrap();
        Stream::new(to, Some(tls), encoder, settings)
    }

    /// What comes of a batch: nothing, or why not.
    fn deliver(&self, server: Arc<ServerConfig>, options: &str) -> Result<(), String> {
        let receiver = Receiver::start(Some(server), false).unwrap();
        let mut forward = self.forward(receiver.address(), options);
        let result = try_line(&mut *forward, "a line of a log\n");
        let came = String::from_utf8(receiver.take_lines().unwrap()).unwrap();
        assert_eq!(result.is_ok(), came.contains("a line of a log"), "{came}");
        assert_eq!(receiver.calls() - 1, 1, "it was called once");
        result
    }
}

/// Delivers a line, until it is settled or the first reason why not.
fn try_line(forward: &mut dyn Listener, line: &str) -> Result<(), String> {
    listen_to(forward, line)?;
    settle(forward)
}

fn listen_to(forward: &mut dyn Listener, line: &str) -> Result<(), String> {
    let feed = Feed::new("p4").log("/a", line.as_bytes());
    let batches = feed.unsettled(&Settled::new(), usize::MAX);
    let since = Instant::now();
    loop {
        match batches[0].deliver(forward) {
            Ok(()) => return Ok(()),
            Err(ListenError::Retry(why)) if why.contains("not connected to") => {
                assert!(since.elapsed() < LONG, "{why}");
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn settle(forward: &mut dyn Listener) -> Result<(), String> {
    let since = Instant::now();
    let mut is_flushed = match forward.flush() {
        Ok(flushed) => flushed == Flushed::All,
        Err(error) => return Err(error.to_string()),
    };
    while !is_flushed {
        assert!(since.elapsed() < LONG);
        is_flushed = forward.is_flushed().map_err(|error| error.to_string())?;
    }
    Ok(())
}

const CA: &str = "ca: \"ca.pem\"";

#[test]
fn the_right_one_gets_everything_in_both_versions() {
    let scene = Scene::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        scene.deliver(scene.good().server(&[version]), CA).unwrap();
    }
    let named = format!("{CA}, server_name: \"logs.example\"");
    scene.deliver(scene.good().server(&[]), &named).unwrap();
}

#[test]
fn a_wrong_one_gets_nothing_and_is_named() {
    let scene = Scene::new();
    let server = |names: &[&str], change: fn(&mut CertificateParams)| {
        scene.authority.issue("wrong", names, change)
    };
    let other = Scene::new();
    let cases = [
        (
            server(&["127.0.0.1"], |it| it.not_after = date_time_ymd(2020, 2, 1)),
            "its certificate expired on 2020-02-01T00:00:00Z",
        ),
        (
            server(&["127.0.0.1"], |it| it.not_before = date_time_ymd(3000, 1, 1)),
            "is not valid yet, or this machine's clock is slow",
        ),
        (
            server(&["other.example"], |_| {}),
            "is not for \"127.0.0.1\" but for [\"DnsName(\\\"other.example\\\")\"]",
        ),
        (other.good(), "signed by nobody who is believed"),
    ];
    for (wrong, words) in cases {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let why = scene.deliver(wrong.server(&[version]), CA).unwrap_err();
            assert!(why.starts_with("cannot speak TLS with tls://127.0.0.1:"), "{why}");
            assert!(why.contains(words), "{why}");
            let fingerprint = Fingerprint::of(&wrong.der);
            assert!(why.contains(&format!("has the fingerprint {fingerprint}")), "{why}");
        }
    }
    // The system believes nobody whom we made up.
    let why = scene.deliver(scene.good().server(&[]), "").unwrap_err();
    let words = ["signed by nobody who is believed", "this machine has no certificates"];
    assert!(words.iter().any(|words| why.contains(words)), "{why}");
}

#[test]
fn a_fingerprint_is_enough_or_one_thing_more() {
    let scene = Scene::new();
    let other = Scene::new();
    let expired = other.authority.issue("old", &["x.example"], |it| {
        it.not_after = date_time_ymd(2020, 1, 1);
    });
    let option =
        |issued: &Issued| format!("fingerprint: \"{}\"", Fingerprint::of(&issued.der));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let good = scene.good();
        scene.deliver(good.server(&[version]), &option(&good)).unwrap();
        scene.deliver(expired.server(&[version]), &option(&expired)).unwrap();
        let why = scene.deliver(expired.server(&[version]), &option(&good)).unwrap_err();
        assert!(why.contains("is not the one of `fingerprint`"), "{why}");
        // With both, both must be right.
        let both = |issued| format!("{CA}, {}", option(issued));
        scene.deliver(good.server(&[version]), &both(&good)).unwrap();
        let why = scene.deliver(good.server(&[version]), &both(&expired)).unwrap_err();
        assert!(why.contains("is not the one of `fingerprint`"), "{why}");
        let why = scene.deliver(expired.server(&[version]), &both(&expired)).unwrap_err();
        assert!(why.contains("expired"), "{why}");
    }
}

/// In TLS 1.3 a refusal comes when the handshake is over for us.
#[test]
fn a_receiver_may_want_to_know_who_we_are() {
    let scene = Scene::new();
    scene.authority.issue("ours", &["client.example"], |_| {});
    let other = Scene::new();
    let theirs = other.authority.issue("theirs", &["client.example"], |_| {});
    let identity = |certificate: &Path, key: &Path| {
        let (certificate, key) = (certificate.display(), key.display());
        format!("{CA}, certificate: \"{certificate}\", key: \"{key}\"")
    };
    let ours = identity(Path::new("ours.pem"), Path::new("ours.key"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = || scene.good().mutual(&scene.authority, &[version]);
        scene.deliver(server(), &ours).unwrap();
        let why = scene.deliver(server(), CA).unwrap_err();
        assert!(why.contains("certificate"), "{why}");
        let theirs = identity(&theirs.certificate, &theirs.key_path);
        let why = scene.deliver(server(), &theirs).unwrap_err();
        assert!(why.contains("it refuses our certificate"), "{why}");
    }
}

/// Files are read again for each connection, and what is wrong with them said.
#[test]
fn what_is_on_the_disk_counts() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::new();
    let at = |name: &str| scene.directory.path().join(name);
    scene.authority.issue("ours", &["client.example"], |_| {});
    let receiver =
        Receiver::start(Some(scene.good().mutual(&scene.authority, &[])), false).unwrap();
    let options = format!("{CA}, certificate: \"ours.pem\", key: \"ours.key\"");
    let fresh = || scene.forward(receiver.address(), &options);
    let certificate = fs::read(at("ours.pem")).unwrap();
    let key = fs::read(at("ours.key")).unwrap();

    let why = |forward: &mut dyn Listener| try_line(forward, "x\n").unwrap_err();
    fs::remove_file(at("ours.pem")).unwrap();
    let words = why(&mut *fresh());
    assert!(words.contains("cannot read") && words.contains("ours.pem"), "{words}");
    fs::write(at("ours.pem"), "not a certificate").unwrap();
    let words = why(&mut *fresh());
    assert!(words.contains("ours.pem"), "{words}");
    fs::write(at("ours.pem"), &certificate).unwrap();
    fs::set_permissions(at("ours.key"), fs::Permissions::from_mode(0o640)).unwrap();
    let words = why(&mut *fresh());
    assert!(words.contains("chmod 600") && words.contains("ours.key"), "{words}");
    fs::set_permissions(at("ours.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(at("ours.key"), "-----BEGIN SECRET-----").unwrap();
    let words = why(&mut *fresh());
    assert!(words.contains("no private key") && !words.contains("SECRET"), "{words}");
    scene.authority.issue("another", &[], |_| {});
    fs::copy(at("another.key"), at("ours.key")).unwrap();
    let words = why(&mut *fresh());
    assert!(words.contains("ours.pem and its key"), "{words}");
    fs::write(at("ours.key"), &key).unwrap();
    let ca = fs::read(at("ca.pem")).unwrap();
    fs::write(at("ca.pem"), "").unwrap();
    let words = why(&mut *fresh());
    assert!(words.contains("ca.pem has no certificate"), "{words}");
    assert_eq!(receiver.calls(), 0, "nothing was said to anybody");

    // One that failed before uses what is right now.
    let mut forward = fresh();
    why(&mut *forward);
    fs::write(at("ca.pem"), ca).unwrap();
    let since = Instant::now();
    while try_line(&mut *forward, "right now\n").is_err() {
        assert!(since.elapsed() < LONG);
        std::thread::yield_now();
    }
    assert!(since.elapsed() > Duration::from_millis(900), "less than one a second");
    let came = String::from_utf8(receiver.take_lines().unwrap()).unwrap();
    assert!(came.contains("right now"), "{came}");
}

/// It accepts, and says nothing, or something else than TLS.
#[test]
fn one_that_speaks_no_tls_is_told_from_one_that_is_slow() {
    use std::io::{Read as _, Write as _};
    let scene = Scene::new();
    let options = format!("{CA}, connect_timeout: \"100ms\"");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let why = try_line(&mut *scene.forward(to, &options), "x\n").unwrap_err();
    assert!(why.contains("the handshake was not over after 100ms"), "{why}");
    drop(listener.accept());

    let replies: [(&[u8], &str); 4] = [
        (b"220 mail.example ESMTP\r\n", "is no TLS"),
        // An alert: protocol_version. And a hello of TLS 1.1.
        (b"\x15\x03\x01\x00\x02\x02\x46", "1.2 or later is asked for"),
        (TLS_1_1, "1.2 or later is asked for"),
        (b"", "it closed the connection"),
    ];
    for (reply, words) in replies {
        let mut forward = scene.forward(to, CA);
        let server = std::thread::scope(|scope| {
            let server = std::thread::Builder::new().spawn_scoped(scope, || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut said = vec![0; 5];
                stream.read_exact(&mut said).unwrap();
                let length = usize::from(said[3]) << 8 | usize::from(said[4]);
                said.resize(5 + length, 0);
                stream.read_exact(&mut said[5..]).unwrap();
                stream.write_all(reply).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                stream.read_to_end(&mut said).unwrap();
                said
            });
            let why = try_line(&mut *forward, "a line of a log\n").unwrap_err();
            assert!(why.contains(words), "{why}");
            server.unwrap().join().unwrap()
        });
        let text = b"a line of a log";
        assert!(!server.windows(text.len()).any(|it| it == text), "nothing was sent");
    }
}

/// A hello of a server that chose TLS 1.1.
const TLS_1_1: &[u8] = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02\
    0123456789abcdef0123456789abcdef\x00\x00\x2f\x00";

/// Wherever the connection is cut, in the handshake or in what follows it,
/// everything is there after it, and nothing is in the clear.
#[test]
fn a_cut_anywhere_costs_nothing() {
    let scene = Scene::new();
    let line = "a line of a log\n";
    let receiver = Receiver::start(Some(scene.good().server(&[])), false).unwrap();
    let deliver_through = |proxy: &Proxy| {
        let mut forward = scene.impatient(proxy.address);
        let mut came = String::new();
        let since = Instant::now();
        loop {
            assert!(since.elapsed() < LONG);
            if listen_to(&mut forward, line).is_err() {
                continue;
            }
            // What the network acknowledges and then drops is lost: the cut
            // comes before it is asked for, or it has arrived.
            let mut has_come = || {
                came += &String::from_utf8(receiver.take_lines().unwrap()).unwrap();
                came.contains("a line of a log")
            };
            while !has_come() && !proxy.has_cut() {
                assert!(since.elapsed() < LONG);
            }
            if settle(&mut forward).is_ok() {
                has_come();
                return came;
            }
        }
    };
    let whole = {
        let proxy = Proxy::start(receiver.address(), usize::MAX);
        deliver_through(&proxy);
        // It counts when the connection is over.
        let since = Instant::now();
        while proxy.passed() == 0 {
            assert!(since.elapsed() < LONG);
            std::thread::yield_now();
        }
        proxy.passed()
    };
    let data = whole - 250;
    let cuts = (0..data).step_by(41).chain(data..=whole);
    for cut in cuts {
        let proxy = Proxy::start(receiver.address(), cut);
        let came = deliver_through(&proxy);
        let count = came.matches("a line of a log").count();
        assert!((1..=2).contains(&count), "cut at {cut}: {came}");
    }
}

#[test]
fn fingerprints_are_read_as_they_are_shown() {
    let fingerprint = Fingerprint::of(b"x");
    let shown = fingerprint.to_string();
    assert_eq!(shown.len(), 7 + 64);
    let digits = &shown[7..];
    let pairs: Vec<&str> = (0..32).map(|at| &digits[2 * at..2 * at + 2]).collect();
    let colons = pairs.join(":").to_ascii_uppercase();
    for written in [&*shown, digits, &colons, &format!("sha256:{digits}")] {
        let read = Fingerprint::try_from(written.to_owned());
        assert_eq!(read, Ok(fingerprint), "{written}");
    }
    for bad in ["", "SHA256:", "SHA1:00", &digits[1..], &format!("g{}", &digits[1..])] {
        let why = Fingerprint::try_from(bad.to_owned()).unwrap_err();
        assert!(why.contains("is no fingerprint"), "{why}");
    }
}
