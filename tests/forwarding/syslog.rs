//! Both receivers read every message as it is meant, whatever a line holds.

use super::field::Field;
use super::hostile;
use super::syslogd::{BOTH, Kind, Message, Syslogd};

#[test]
fn every_message_is_read_as_it_is_meant() {
    for kind in BOTH {
        let syslogd = Syslogd::start(kind);
        let ports = syslogd.ports;
        let ways = [
            ("lf", format!("to: \"tcp://127.0.0.1:{}\", framing: Lf", ports.lf)),
            (
                "octets",
                format!("to: \"tcp://localhost:{}\", framing: Octets", ports.octets),
            ),
            ("udp", format!("to: \"udp://127.0.0.1:{}\"", ports.udp)),
        ];
        for (app, way) in ways {
            let field = Field::new(&format!(
                "{way}, format: Rfc5424(app_name: \"{app}\", hostname: \"web\", \
                 facility: Auth, severity: Info, procid: \"7\")"
            ));
            field.append(&hostile::log());
            field.catch_up();
            let messages = syslogd.wait_for(app, hostile::LINES.len());
            assert_read(kind, app, &messages);
            let offsets: Vec<usize> = messages.iter().map(Message::offset).collect();
            assert_eq!(offsets, hostile::offsets(), "{kind:?} {app}");
            let path = field.log().canonicalize().unwrap();
            for message in &messages {
                assert_eq!(message.parameter("path"), path.to_str(), "{message:?}");
                assert!(message.time.starts_with("20"), "{message:?}");
            }
        }
    }
}

#[test]
fn the_old_style_is_read_as_it_is_meant() {
    for kind in BOTH {
        let syslogd = Syslogd::start(kind);
        let ports = syslogd.ports;
        let ways = [
            ("old-lf", format!("to: \"tcp://127.0.0.1:{}\"", ports.old)),
            (
                "old-octets",
                format!("to: \"tcp://127.0.0.1:{}\", framing: Octets", ports.octets),
            ),
            ("old-udp", format!("to: \"udp://127.0.0.1:{}\"", ports.old_udp)),
        ];
        for (app, way) in ways {
            let field = Field::new(&format!(
                "{way}, format: Rfc3164(app_name: \"{app}\", hostname: \"web\", \
                 facility: Auth, severity: Info, procid: \"7\")"
            ));
            field.append(&hostile::log());
            field.catch_up();
            let messages = syslogd.wait_for(app, hostile::LINES.len());
            assert_read(kind, app, &messages);
        }
    }
}

#[track_caller]
fn assert_read(kind: Kind, app: &str, messages: &[Message]) {
    assert_eq!(messages.len(), hostile::LINES.len(), "{kind:?} {app}: {messages:#?}");
    for (message, (line, wanted)) in messages.iter().zip(hostile::LINES) {
        assert_eq!(message.pri, 4 * 8 + 6, "{kind:?}: {message:?}");
        assert_eq!((&*message.host, &*message.procid), ("web", "7"), "{message:?}");
        if let Some(wanted) = wanted {
            let line = line.escape_ascii();
            assert_eq!(message.text, *wanted, "{kind:?} {app}: {line}");
        }
    }
}

/// The header of a line that a syslog daemon wrote is not doubled.
#[test]
fn headers_of_lines_become_those_of_messages() {
    let lines = "Nov 20 20:00:00 db-1 sshd[4711]: Failed password for root\n\
                 2026-11-20T21:00:00.25+01:00 db-1 kernel: [ 1.5] up\n\
                 just a line\n";
    for kind in BOTH {
        let syslogd = Syslogd::start(kind);
        let ports = syslogd.ports;
        for (format, port) in [("Rfc5424", ports.lf), ("Rfc3164", ports.old)] {
            let field = Field::new(&format!(
                "to: \"tcp://127.0.0.1:{port}\", format: {format}(header: FromLine, \
                 app_name: \"{format}\")"
            ));
            field.append(lines.as_bytes());
            field.catch_up();
            let last = syslogd.wait_for(format, 1);
            assert_eq!(last[0].text, "just a line");
        }
        for message in syslogd.wait_for("sshd", 2) {
            assert_eq!((&*message.host, &*message.procid), ("db-1", "4711"));
            assert!(message.time.contains("-11-20T20:00:00"), "{message:?}");
            assert_eq!(message.text, "Failed password for root");
        }
        for message in syslogd.wait_for("kernel", 2) {
            assert_eq!((&*message.host, &*message.procid), ("db-1", ""));
            assert!(message.time.contains("-11-20T2"), "{message:?}");
            assert_eq!(message.text, "[ 1.5] up");
        }
    }
}

#[test]
fn long_lines_are_cut_to_what_receivers_take() {
    let long = ["x".repeat(20_000), "end\n".to_owned()].concat();
    for kind in BOTH {
        let syslogd = Syslogd::start(kind);
        let ports = syslogd.ports;
        let ways = [
            ("lf", format!("tcp://127.0.0.1:{}", ports.lf), 8192),
            ("udp", format!("udp://127.0.0.1:{}", ports.udp), 2048),
        ];
        for (app, to, max) in ways {
            let field = Field::new(&format!(
                "to: \"{to}\", format: Rfc5424(app_name: \"{app}\")"
            ));
            field.append(long.as_bytes());
            field.catch_up();
            let messages = syslogd.wait_for(app, 1);
            assert_eq!(messages[0].parameter("cut"), Some("20004"), "{kind:?}");
            let length = messages[0].text.len();
            assert!((max - 500..max).contains(&length), "{kind:?}: {length}");
            assert!(!messages[0].text.contains("end"));
        }
    }
}
