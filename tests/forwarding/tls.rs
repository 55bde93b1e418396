//! Over TLS the right receivers get everything, and all others nothing.

use super::certificates::Authority;
use super::field::{Field, LONG};
use super::hostile;
use super::syslogd::{BOTH, Certified, Message, Syslogd, program};
use super::trouble::assert_complete;
use crate::site::{Daemon, wait_until};
use crate::util::Dir;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// Who we are, and whom we believe.
fn options(ca: &Path, certificate: &Path, key: &Path) -> String {
    format!(
        "ca: \"{}\", certificate: \"{}\", key: \"{}\"",
        ca.display(),
        certificate.display(),
        key.display()
    )
}

#[test]
fn every_message_is_read_over_mutual_tls() {
    for kind in BOTH {
        let dir = Dir::new();
        let authority = Authority::new(dir.path());
        let ca = authority.ca();
        let (certificate, key) = authority.issue("server", "127.0.0.1");
        let (ours, our_key) = authority.issue("client", "client.example");
        let certified = Certified { certificate: &certificate, key: &key, ca: &ca };
        let syslogd = Syslogd::start_with(kind, Some(certified));
        let to = format!("to: \"tls://127.0.0.1:{}\"", syslogd.ports.tls);
        let format = "format: Rfc5424(app_name: \"tls\", hostname: \"web\")";
        let options = options(&ca, &ours, &our_key);
        let field = Field::new(&format!("{to}, {options}, {format}"));
        field.append(&hostile::log());
        field.catch_up();
        let messages = syslogd.wait_for("tls", hostile::LINES.len());
        let offsets: Vec<usize> = messages.iter().map(Message::offset).collect();
        assert_eq!(offsets, hostile::offsets(), "{kind:?}");
        for (message, (_, wanted)) in messages.iter().zip(hostile::LINES) {
            assert_eq!(wanted.unwrap_or(&message.text), message.text, "{kind:?}");
        }

        // Without a certificate of ours it takes nothing, and nothing is settled.
        let alone = Field::new(&format!("{to}, ca: \"{}\", {format}", ca.display()));
        alone.append(b"not for you\n");
        let daemon = alone.start();
        alone.wait_until_said("certificate");
        daemon.stop();
        assert_ne!(alone.behind("out"), Some(0));
        assert_eq!(syslogd.messages("tls").len(), hostile::LINES.len());
    }
}

/// All certificates are new, while the daemon runs.
#[test]
fn new_certificates_on_the_disk_are_used() {
    for kind in BOTH {
        let dir = Dir::new();
        let make = || {
            let authority = Authority::new(dir.path());
            (authority.issue("server", "127.0.0.1"), authority.issue("us", "us.example"))
        };
        let ((certificate, key), (ours, our_key)) = make();
        let ca = dir.path().join("ca.pem");
        let certified = Certified { certificate: &certificate, key: &key, ca: &ca };
        let mut syslogd = Syslogd::start_with(kind, Some(certified));
        let field = Field::new(&format!(
            "to: \"tls://127.0.0.1:{}\", {}, format: Rfc5424(app_name: \"tls\")",
            syslogd.ports.tls,
            options(&ca, &ours, &our_key)
        ));
        let daemon = field.start();
        for round in 0..3 {
            if round > 0 {
                field.wait_until_settled();
                syslogd.stop();
                make();
                syslogd.go_on();
            }
            field.append_numbered(round * 10..round * 10 + 10);
            syslogd.wait_for("tls", round * 10 + 10);
        }
        daemon.stop();
        assert_complete(&syslogd.messages("tls"), 30, "rotated certificates");
    }
}

/// A receiver that speaks only what is too old.
#[test]
fn nothing_is_sent_where_only_tls_1_1_is_spoken() {
    let dir = Dir::new();
    let authority = Authority::new(dir.path());
    let (certificate, key) = authority.issue("server", "127.0.0.1");
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let out = fs::File::create(dir.path().join("out")).unwrap();
    let mut command = Command::new(program("openssl", "openssl"));
    command.args(["s_server", "-quiet", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]);
    command.arg("-accept").arg(format!("127.0.0.1:{port}"));
    command.arg("-cert").arg(certificate).arg("-key").arg(key);
    command.stdin(Stdio::piped()).stdout(out).stderr(Stdio::null());
    let server = Daemon::spawn(&mut command);
    let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(wait_until(LONG, listens), "openssl does not listen");
    let field = Field::new(&format!(
        "to: \"tls://127.0.0.1:{port}\", ca: \"{}\", format: Json",
        authority.ca().display()
    ));
    field.append(b"not for you\n");
    let daemon = field.start();
    field.wait_until_said("1.2 or later is asked for");
    daemon.stop();
    server.kill();
    assert_ne!(field.behind("out"), Some(0));
    assert_eq!(fs::read(dir.path().join("out")).unwrap(), b"");
}
