//! Messages, byte for byte.

use super::*;
use crate::forward::format::{Encoder, Format, Framing, Wanted};
use std::path::Path;
use std::sync::Arc;
use tripline_api::{LineTime, LogFile, Place, SourceId, TimeFormat};

const PATH: &str = "/var/log/auth.log";
/// 2026-11-20T20:00:00Z
const NEAR: i64 = 1_795_204_800;

fn syslog(style: Style, written: Written) -> Syslog {
    let written = Written {
        hostname: written.hostname.clone().or_else(|| Some("host".to_owned())),
        ..written
    };
    let syslog = Syslog::new(style, written, 1024, Secrets::Redact).unwrap();
    Syslog { zone: TimeZone::UTC, ..syslog }
}

fn rfc5424(written: Written) -> Syslog {
    syslog(Style::new_rfc5424(None, None, None).unwrap(), written)
}

/// A message of a line, with the times of lines read as UTC.
fn message(
    syslog: &Syslog,
    line: &[u8],
    change: impl Fn(&mut Entry<'_>, &mut LogFile<'_>),
) -> String {
    String::from_utf8(bytes(syslog, line, change)).unwrap()
}

fn bytes(
    syslog: &Syslog,
    line: &[u8],
    change: impl Fn(&mut Entry<'_>, &mut LogFile<'_>),
) -> Vec<u8> {
    let source = SourceId::new("auth").unwrap();
    let path: Arc<Path> = Path::new(PATH).into();
    let time = LineTime::new(TimeFormat::Iso, Some("UTC")).unwrap();
    let mut log =
        LogFile { path: &path, cut: None, is_preview: false, time: Some((&time, NEAR)) };
    let mut entry = Entry {
        source: &source,
        log: None,
        place: Place { era: 0, sequence: 3, offset: 90, line: 6 },
        bytes: line,
        lines: 1,
        did_rotate: false,
        incomplete: false,
        closed_by: None,
    };
    change(&mut entry, &mut log);
    let entry = Entry { log: Some(log), ..entry };
    let mut out = b"before".to_vec();
    syslog.push(&entry, &mut out);
    out.split_off(6)
}

fn plain(syslog: &Syslog, line: &[u8]) -> String {
    message(syslog, line, |_, _| {})
}

const TIMED: &[u8] = b"2026-11-20T20:00:00Z it happened\n";

#[test]
fn a_message_says_which_entry_it_is() {
    let wanted = "<133>1 2026-11-20T20:00:00Z host auth - - [entry@32473 \
                  id=\"auth/3/90\" source=\"auth\" path=\"/var/log/auth.log\" line=\"7\"] \
                  2026-11-20T20:00:00Z it happened";
    assert_eq!(plain(&rfc5424(Written::default()), TIMED), wanted);
    let wanted = "<133>Nov 20 20:00:00 host auth: 2026-11-20T20:00:00Z it happened";
    assert_eq!(plain(&syslog(Style::Rfc3164, Written::default()), TIMED), wanted);
}

#[test]
fn options_are_heard() {
    let written = || Written {
        facility: Some(Facility::Auth),
        severity: Some(Severity::Info),
        hostname: Some("web".into()),
        app_name: Some("sshd".into()),
        procid: Some("7".into()),
        header: None,
    };
    let style = Style::new_rfc5424(Some("m".into()), Some(1), None).unwrap();
    let found = plain(&syslog(style, written()), TIMED);
    let wanted = "<38>1 2026-11-20T20:00:00Z web sshd 7 m [entry@1 id=";
    assert!(found.starts_with(wanted), "{found}");
    let found = plain(&syslog(Style::Rfc3164, written()), TIMED);
    assert!(found.starts_with("<38>Nov 20 20:00:00 web sshd[7]: 2026"), "{found}");
}

#[test]
fn without_a_time_it_is_now() {
    let before = Timestamp::now().as_second();
    for line in [&b"no time\n"[..], b"-999999-01-01T00:00:00Z", b"\n"] {
        let found = plain(&rfc5424(Written::default()), line);
        let time: Timestamp = found.split(' ').nth(1).unwrap().parse().unwrap();
        assert!((before..before + 60).contains(&time.as_second()), "{found}");
        let written = found.split(' ').nth(1).unwrap();
        assert_eq!(written.len(), "2026-11-20T20:00:00.123456Z".len(), "{written}");
    }
}

#[test]
fn what_is_special_is_a_parameter() {
    let syslog = rfc5424(Written::default());
    let found = message(&syslog, b"start of a long", |entry, log| {
        entry.incomplete = true;
        log.cut = Some(5_000_000);
    });
    assert!(found.contains(" incomplete=\"true\" source="), "{found}");
    assert!(found.ends_with(" line=\"7\" cut=\"5000000\"] start of a long"), "{found}");
    let found = message(&syslog, b"not fini", |_, log| log.is_preview = true);
    assert!(found.contains(" id=\"auth/3/90\" partial=\"true\" source"), "{found}");
    let found = message(&syslog, b"\n", |_, _| {});
    assert!(found.ends_with(" line=\"7\"]"), "{found}");
}

#[test]
fn what_is_special_is_a_note_in_the_old_style() {
    let syslog = syslog(Style::Rfc3164, Written::default());
    let found = message(&syslog, b"start", |_, log| log.cut = Some(5_000_000));
    assert!(found.ends_with(": start [cut: 5000000 bytes in all]"), "{found}");
    let found = message(&syslog, b"not fini", |_, log| log.is_preview = true);
    assert!(found.ends_with(": not fini [not finished]"), "{found}");
    let long = [b'x'; 5000];
    let found = plain(&syslog, &long);
    assert!(found.ends_with("xx [cut: 5000 bytes in all]"), "{found}");
    assert!((950..=1024).contains(&found.len()), "{}", found.len());
    let found = message(&syslog, &long, |_, log| log.cut = Some(1 << 40));
    assert!(found.ends_with("xx [cut: 1099511627776 bytes in all]"), "{found}");
}

#[test]
fn no_message_is_longer_than_its_bound() {
    let names = Written {
        hostname: Some("h".repeat(255)),
        app_name: Some("a".repeat(48)),
        procid: Some("p".repeat(128)),
        ..Written::default()
    };
    let style = Style::new_rfc5424(Some("m".repeat(32)), Some(u32::MAX), None).unwrap();
    let source = SourceId::new(&"s".repeat(100)).unwrap();
    let path: Arc<Path> = Path::new(&"\x07".repeat(4096)).into();
    let far = u64::MAX;
    for style in [style, Style::Rfc3164] {
        let syslog = syslog(style, names.clone());
        for text in ["é\x1b".repeat(3000), "é".repeat(300), "x".repeat(90)] {
            let change = |entry: &mut Entry<'_>, log: &mut LogFile<'_>| {
                entry.place = Place { era: far, sequence: far, offset: far, line: 1 };
                entry.incomplete = true;
                log.is_preview = true;
                log.cut = Some(far);
            };
            let found = bytes(&syslog, text.as_bytes(), change);
            assert!((500..=1024).contains(&found.len()), "{}", found.len());
            assert!(
                found.ends_with(b"bytes in all]")
                    || found.ends_with(b"x")
                    || found.windows(5).any(|it| it == b"cut=\"")
            );
            std::str::from_utf8(&found).unwrap();
        }
        let log = LogFile { path: &path, cut: None, is_preview: false, time: None };
        let entry = Entry {
            source: &source,
            log: Some(log),
            place: Place::default(),
            bytes: b"text",
            lines: 0,
            did_rotate: false,
            incomplete: false,
            closed_by: None,
        };
        let mut out = Vec::new();
        syslog.push(&entry, &mut out);
        assert!(out.len() <= 1024 && out.ends_with(b" text"), "{}", out.len());
    }
}

#[test]
fn a_mark_says_what_is_unicode() {
    let syslog = rfc5424(Written::default());
    let end = |line: &[u8]| {
        let found = bytes(&syslog, line, |_, _| {});
        let at = found.windows(2).position(|two| two == b"] ").unwrap();
        found[at + 2..].to_vec()
    };
    assert_eq!(end(b"ascii"), b"ascii");
    assert_eq!(end("café".as_bytes()), "\u{feff}café".as_bytes());
    assert_eq!(end("\u{feff}café".as_bytes()), "\u{feff}café".as_bytes());
    assert_eq!(end(b"caf\xe9 \xff\x80"), b"caf\xe9 \xff\\x80");
    let style = Style::new_rfc5424(None, None, Some(false)).unwrap();
    let unmarked = super::tests::syslog(style, Written::default());
    assert!(plain(&unmarked, "café".as_bytes()).ends_with("] café"));
}

/// No line makes a second message or gets out of its place, in either framing.
#[test]
fn no_line_forges_anything() {
    let hostile: &[&[u8]] = &[
        b"\n<0>1 - - - - - - forged\n",
        b"x\r\n<0>Nov 20 20:00:00 root su: forged\r\n",
        b"] [x@1 y=\"z\"] text",
        b"12 <0>1 - - - -\n",
        b"\0 \x1b]0;title\x07 \x1b[2J \x7f",
        b"$(touch /tmp/pwn) `reboot` ; %s%n {{template}} --flag\n~! cmd\n.\r\n",
        "\u{202e}txt \u{2028} \u{85} \u{9b}2J".as_bytes(),
        b"\xff\xfe\xc2\xe2\x80 \x9b2J",
        b"<0>",
        b"",
    ];
    for framing in [Framing::Lf, Framing::Octets] {
        for format in ["Rfc5424(header: FromLine)", "Rfc3164(header: FromLine)"] {
            let encoder = encoder(format, framing);
            let mut all = Vec::new();
            for line in hostile {
                push(&encoder, line, &mut all);
            }
            let frames = unframed(framing, &all);
            assert_eq!(frames.len(), hostile.len(), "{}", all.escape_ascii());
            for frame in frames {
                assert!(frame.starts_with(b"<133>"), "{}", frame.escape_ascii());
                assert!(!frame.iter().any(|byte| byte.is_ascii_control()));
            }
        }
    }
}

fn encoder(format: &str, framing: Framing) -> Encoder {
    let format: Format = ron_like(format);
    let wanted = Wanted {
        framing,
        message_max: 8192,
        is_datagram: false,
        secrets: Secrets::Redact,
    };
    format.encoder(wanted).unwrap()
}

fn ron_like(format: &str) -> Format {
    #[derive(serde::Deserialize)]
    struct Arguments {
        format: Format,
    }
    let text = format!("(format: {format})");
    tripline_api::Args::new(&text).parse::<Arguments>().unwrap().format
}

fn push(encoder: &Encoder, line: &[u8], out: &mut Vec<u8>) {
    let source = SourceId::new("auth").unwrap();
    let path: Arc<Path> = Path::new(PATH).into();
    let log = LogFile { path: &path, cut: None, is_preview: false, time: None };
    let entry = Entry {
        source: &source,
        log: Some(log),
        place: Place::default(),
        bytes: line,
        lines: 1,
        did_rotate: false,
        incomplete: false,
        closed_by: None,
    };
    encoder.push(&entry, out);
}

/// As a receiver does it.
fn unframed(framing: Framing, mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (frame, rest) = match framing {
            Framing::Lf => {
                let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
                (&bytes[..end], &bytes[end + 1..])
            }
            Framing::Octets => {
                let space = bytes.iter().position(|byte| *byte == b' ').unwrap();
                let length = std::str::from_utf8(&bytes[..space]).unwrap();
                bytes[space + 1..].split_at(length.parse().unwrap())
            }
        };
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

#[test]
fn a_header_may_come_from_the_line() {
    let written =
        || Written { header: Some(SyslogHeader::FromLine), ..Written::default() };
    let syslog_of = |style: Style| {
        let made = syslog(style, written());
        let own = OwnHeaders::new(Some("UTC")).unwrap();
        Syslog { own: Some(own), ..made }
    };
    let style = Style::new_rfc5424(None, None, None).unwrap();
    let (new, old) = (syslog_of(style), syslog_of(Style::Rfc3164));
    let short = b"Nov  5 20:00:00 web sshd[7]: Failed password\n";
    let found = plain(&new, short);
    let head = "<133>1 2026-11-05T20:00:00Z web sshd 7 - [entry@32473 id=";
    assert!(found.starts_with(head), "{found}");
    assert!(found.ends_with("] Failed password"), "{found}");
    let wanted = "<133>Nov  5 20:00:00 web sshd[7]: Failed password";
    assert_eq!(plain(&old, short), wanted);
    let long = b"2026-11-20T21:00:00.5+01:00 web kernel: [ 12.3] up\n";
    let found = plain(&new, long);
    assert!(found.starts_with("<133>1 2026-11-20T21:00:00.5+01:00 web kernel - - ["));
    assert!(found.ends_with("\"] [ 12.3] up"), "{found}");
    let wanted = "<133>Nov 20 20:00:00 web kernel: [ 12.3] up";
    assert_eq!(plain(&old, long), wanted);
    let none = b"it happened at 2026-11-20T20:00:00Z";
    let found = plain(&old, none);
    assert_eq!(
        found,
        "<133>Nov 20 20:00:00 host auth: it happened at 2026-11-20T20:00:00Z"
    );
}

#[test]
fn a_record_of_a_journal_is_its_object() {
    let source = SourceId::new("p4").unwrap();
    let bytes = b"@rv@ 4 @db.user@ @a@ @a@@b@ @@ 1 2 @Ann\nB@ @0123CAFE@ 0 @@ 0 0 0 \n";
    let entry = Entry {
        source: &source,
        log: None,
        place: Place { era: 0, sequence: 1, offset: 0, line: 0 },
        bytes,
        lines: 2,
        did_rotate: false,
        incomplete: false,
        closed_by: Some(p4journal::Marker { pid: 7, time: NEAR }),
    };
    let mut out = Vec::new();
    rfc5424(Written::default()).push(&entry, &mut out);
    let found = String::from_utf8(out).unwrap();
    let head = "<133>1 2026-11-20T20:00:00Z host p4 - - [entry@32473 id=\"p4/1/0\" \
                source=\"p4\" line=\"1\"] {\"id\":\"p4/1/0\",";
    assert!(found.starts_with(head), "{found}");
    assert!(found.ends_with(",\"pid\":7,\"time\":1795204800}"), "{found}");
    assert!(found.contains("[redacted]") && !found.contains("CAFE"), "{found}");
}

#[test]
fn a_gap_is_a_warning() {
    let feed = crate::testing::Feed::new("p4");
    let gap = feed.gap(None, Place::start_of(0, 1), Place::start_of(0, 3));
    let mut out = Vec::new();
    rfc5424(Written::default()).push_gap(&gap, &mut out);
    let found = String::from_utf8(out).unwrap();
    assert!(found.starts_with("<132>1 2"), "{found}");
    let end = " host p4 - - [gap@32473 id=\"p4/3/0#gap\" source=\"p4\" kind=\"missing\"] \
               gap: something is gone. To repair it, bring it back";
    assert!(found.ends_with(end), "{found}");
    let mut out = Vec::new();
    syslog(Style::Rfc3164, Written::default()).push_gap(&gap, &mut out);
    assert!(
        out.ends_with(b" host p4: gap: something is gone. To repair it, bring it back")
    );
}
