//! Entries as JSON lines: what `Print` and `tripline journal cat` write.
//!
//! Lines count from 1 here, as editors and error messages count them.

use crate::secrets::{Veil, may_show_raw};
use crate::{Entry, Gap, LogFile, Secrets};
use base64::Engine as _;
use p4journal::{Marker, Record};
use std::io::Write as _;
use std::path::Path;

/// Appends one entry as a JSON object with a line feed.
pub fn write_entry(out: &mut Vec<u8>, entry: &Entry<'_>, secrets: Secrets) {
    if let Some(log) = &entry.log {
        write_head(out, entry, false);
        write_line(out, entry, log);
        return out.extend_from_slice(b"}\n");
    }
    let record = entry.record();
    write_head(out, entry, record.is_none());
    match record {
        Some(record) => write_record(out, &record, entry.closed_by, secrets),
        None => write_raw(out, entry.bytes, secrets),
    }
    out.extend_from_slice(b"}\n");
}

/// Appends a gap as a JSON object with a line feed.
pub fn write_gap(out: &mut Vec<u8>, gap: &Gap) {
    out.extend_from_slice(b"{\"id\":");
    string(out, &gap.id());
    out.extend_from_slice(b",\"source\":");
    string(out, gap.source.as_str());
    write_path(out, gap.log.as_deref());
    _ = write!(
        out,
        ",\"sequence\":{},\"line\":{},\"offset\":{},\"gap\":{{\"kind\":\"{}\"",
        gap.to.sequence,
        gap.to.line + 1,
        gap.to.offset,
        gap.kind.name()
    );
    _ = write!(out, ",\"from\":\"{}\",\"to\":\"{}\"", gap.from.id(), gap.to.id());
    match gap.missing {
        Some((first, last)) => _ = write!(out, ",\"missing\":[{first},{last}]"),
        None => out.extend_from_slice(b",\"missing\":null"),
    }
    match gap.bytes {
        Some(bytes) => _ = write!(out, ",\"bytes\":{bytes}"),
        None => out.extend_from_slice(b",\"bytes\":null"),
    }
    out.extend_from_slice(b",\"why\":");
    string(out, &gap.why);
    out.extend_from_slice(b",\"repair\":");
    string(out, &gap.repair);
    out.extend_from_slice(b"}}\n");
}

/// Appends `,"op":...` to `,"time":...`: the part of an entry's object that
/// comes from the record itself.
pub fn write_record(
    out: &mut Vec<u8>,
    record: &Record<'_>,
    closed_by: Option<Marker>,
    secrets: Secrets,
) {
    out.extend_from_slice(b",\"op\":\"");
    out.extend_from_slice(record.op_text().as_bytes());
    out.push(b'"');
    if let Some(version) = record.version() {
        out.extend_from_slice(b",\"version\":");
        number(out, u64::from(version));
    }
    if let Some(table) = record.table() {
        out.extend_from_slice(b",\"table\":");
        string(out, table);
    }
    out.extend_from_slice(b",\"fields\":{");
    let mut veil = Veil::over(record, secrets);
    let mut first = true;
    for (column, value) in record.columns() {
        if !first {
            out.push(b',');
        }
        first = false;
        let name = column.text();
        // Names are plain too.
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        let text = value.text();
        if veil.hides(column, &text) {
            out.extend_from_slice(b"\"[redacted]\"");
        } else {
            bytes(out, &text);
        }
    }
    out.push(b'}');
    match closed_by {
        Some(mark) => {
            out.extend_from_slice(b",\"pid\":");
            number(out, mark.pid);
            _ = write!(out, ",\"time\":{}", mark.time);
        }
        None => out.extend_from_slice(b",\"pid\":null,\"time\":null"),
    }
}

fn write_head(out: &mut Vec<u8>, entry: &Entry<'_>, is_damaged: bool) {
    // Names are plain by construction: nothing to escape.
    let source = entry.source.as_str().as_bytes();
    out.extend_from_slice(b"{\"id\":\"");
    out.extend_from_slice(source);
    out.push(b'/');
    number(out, entry.place.sequence);
    out.push(b'/');
    number(out, entry.place.offset);
    if entry.place.era > 0 {
        out.push(b'~');
        number(out, entry.place.era);
    }
    out.extend_from_slice(b"\",\"source\":\"");
    out.extend_from_slice(source);
    out.push(b'"');
    write_path(out, entry.log.map(|log| &**log.path));
    out.extend_from_slice(b",\"sequence\":");
    number(out, entry.place.sequence);
    out.extend_from_slice(b",\"line\":");
    number(out, entry.place.line + 1);
    out.extend_from_slice(b",\"offset\":");
    number(out, entry.place.offset);
    out.extend_from_slice(if entry.did_rotate {
        b",\"did_rotate\":true".as_slice()
    } else {
        b",\"did_rotate\":false"
    });
    out.extend_from_slice(if entry.incomplete || is_damaged {
        b",\"incomplete\":true".as_slice()
    } else {
        b",\"incomplete\":false"
    });
}

fn write_path(out: &mut Vec<u8>, log: Option<&Path>) {
    if let Some(log) = log {
        out.extend_from_slice(b",\"path\":");
        bytes(out, log.as_os_str().as_encoded_bytes());
    }
}

/// What a line has that a record has not. What is not always there comes last,
/// and of that `partial`: a line that ends with it is none that was settled.
fn write_line(out: &mut Vec<u8>, entry: &Entry<'_>, log: &LogFile<'_>) {
    out.extend_from_slice(b",\"text\":");
    bytes(out, entry.text());
    if log.time.is_some() {
        match entry.time() {
            Some(time) => _ = write!(out, ",\"time\":{time}"),
            None => out.extend_from_slice(b",\"time\":null"),
        }
    }
    if let Some(length) = log.cut {
        out.extend_from_slice(b",\"length\":");
        number(out, length);
    }
    if log.is_preview {
        out.extend_from_slice(b",\"partial\":true");
    }
}

fn write_raw(out: &mut Vec<u8>, raw: &[u8], secrets: Secrets) {
    out.extend_from_slice(b",\"op\":null,\"raw\":");
    if may_show_raw(raw, secrets) {
        bytes(out, raw);
    } else {
        out.extend_from_slice(b"\"[redacted]\"");
    }
}

/// A JSON string, or `{"base64":"..."}` for what is not UTF-8.
fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        return quote(out, bytes);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => string(out, text),
        Err(_) => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
            out.extend_from_slice(b"{\"base64\":\"");
            out.extend_from_slice(encoded.as_bytes());
            out.extend_from_slice(b"\"}");
        }
    }
}

/// A JSON string.
fn string(out: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        quote(out, text.as_bytes());
    } else {
        // Writing into a Vec cannot fail, and a str always serialises.
        _ = serde_json::to_writer(out, text);
    }
}

/// Whether the bytes are ASCII that needs no escape. Most values are, and
/// there are millions of them. Without an early end the loop becomes vector
/// instructions.
fn is_plain(bytes: &[u8]) -> bool {
    let special = |b: u8| !(0x20..0x80).contains(&b) | (b == b'"') | (b == b'\\');
    !bytes.iter().fold(false, |found, &b| found | special(b))
}

fn quote(out: &mut Vec<u8>, plain: &[u8]) {
    out.reserve(plain.len() + 2);
    out.push(b'"');
    out.extend_from_slice(plain);
    out.push(b'"');
}

/// Decimal digits, without the detour over the formatter.
fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GapKind, LineTime, Place, SourceId, TimeFormat};

    fn entry<'a>(source: &'a SourceId, bytes: &'a [u8], incomplete: bool) -> Entry<'a> {
        Entry {
            source,
            log: None,
            place: Place { era: 0, sequence: 12, offset: 3456, line: 40 },
            bytes,
            lines: 1,
            did_rotate: false,
            incomplete,
            closed_by: Some(Marker { pid: 4711, time: 1_700_000_000 }),
        }
    }

    fn json(bytes: &[u8], incomplete: bool, secrets: Secrets) -> serde_json::Value {
        let source = SourceId::new("p4").unwrap();
        let mut out = Vec::new();
        write_entry(&mut out, &entry(&source, bytes, incomplete), secrets);
        assert_eq!(out.pop(), Some(b'\n'));
        assert!(!out.contains(&b'\n'), "one line");
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_record_becomes_an_object() {
        let line = b"@rv@ 0 @db.desc@ 9 @say \"hi\"\n to bob@@x \\ @ \n";
        let value = json(line, false, Secrets::Redact);
        assert_eq!(value["id"], "p4/12/3456");
        assert_eq!((&value["sequence"], &value["line"]), (&12.into(), &41.into()));
        assert_eq!(value["op"], "rv");
        assert_eq!(value["version"], 0);
        assert_eq!(value["table"], "db.desc");
        assert_eq!(value["fields"]["descKey"], "9");
        assert_eq!(value["fields"]["description"], "say \"hi\"\n to bob@x \\ ");
        assert_eq!(
            (&value["pid"], &value["time"]),
            (&4711.into(), &1_700_000_000.into())
        );
    }

    /// A line of a log, as it is written.
    fn line(path: &[u8], text: &[u8], change: impl Fn(&mut LogFile<'_>)) -> String {
        use std::os::unix::ffi::OsStrExt as _;
        let source = SourceId::new("auth").unwrap();
        let path = Path::new(std::ffi::OsStr::from_bytes(path)).into();
        let mut log = LogFile { path: &path, cut: None, is_preview: false, time: None };
        change(&mut log);
        let entry = Entry { log: Some(log), ..entry(&source, text, false) };
        let mut out = Vec::new();
        write_entry(&mut out, &entry, Secrets::Redact);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("}\n") && text.matches('\n').count() == 1, "{text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        text
    }

    #[test]
    fn a_line_becomes_an_object() {
        let text = line(b"/var/log/auth.log", b"@pv@ 0 @db.user@ hi\r\n", |_| {});
        let wanted = r#"{"id":"auth/12/3456","source":"auth","path":"/var/log/auth.log","#
            .to_owned()
            + r#""sequence":12,"line":41,"offset":3456,"did_rotate":false,"#
            + r#""incomplete":false,"text":"@pv@ 0 @db.user@ hi"}"#;
        assert_eq!(text.trim_end(), wanted);
    }

    #[test]
    fn what_a_line_has_besides_comes_last() {
        let time = LineTime::new(TimeFormat::Iso, Some("UTC")).unwrap();
        let all = |log: &mut LogFile<'_>| {
            *log = LogFile { cut: Some(5000), is_preview: true, ..*log };
        };
        let text = line(b"/a", b"no time in it", all);
        assert!(
            text.ends_with(
                ",\"text\":\"no time in it\",\"length\":5000,\"partial\":true}\n"
            ),
            "{text}"
        );
        let source = SourceId::new("auth").unwrap();
        let path = Path::new("/a").into();
        let log =
            LogFile { path: &path, cut: None, is_preview: false, time: Some((&time, 9)) };
        let entry = Entry { log: Some(log), ..entry(&source, b"no time in it\n", true) };
        let mut out = Vec::new();
        write_entry(&mut out, &entry, Secrets::Keep);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains(
                "\"incomplete\":true,\"text\":\"no time in it\",\"time\":null}"
            ),
            "{text}"
        );
    }

    #[test]
    fn hostile_lines_stay_in_their_string() {
        let text = b"\x1b]0;x\x07 \0 \"},{\"id\": \\ \x7f \xc2\x9b \r\n";
        let text = line(b"/var/log/\n{\"a\".log", text, |_| {});
        assert!(!text[..text.len() - 1].contains(|c| c < ' '), "{text:?}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["path"], "/var/log/\n{\"a\".log");
        assert_eq!(value["text"], "\u{1b}]0;x\u{7} \0 \"},{\"id\": \\ \u{7f} \u{9b} ");
        let text = line(b"/caf\xe9", b"caf\xe9\n", |_| {});
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["path"]["base64"], "L2NhZuk=");
        assert_eq!(value["text"]["base64"], "Y2Fm6Q==");
    }

    #[test]
    fn bytes_that_are_no_text_become_base64() {
        let value = json(b"@pv@ 0 @db.desc@ 9 @caf\xe9@ \n", false, Secrets::Redact);
        assert_eq!(value["fields"]["description"]["base64"], "Y2Fm6Q==");
    }

    #[test]
    fn secrets_stay_here() {
        let user = b"@rv@ 4 @db.user@ @a@ @a@@b@ @@ 1 2 @Ann@ @0123CAFE@ 0 @@ 0 0 0 \n";
        let value = json(user, false, Secrets::Redact);
        assert_eq!(value["fields"]["user"], "a");
        assert_eq!(value["fields"]["fullName"], "Ann");
        assert_eq!(value["fields"]["password"], "[redacted]");
        assert_eq!(value["fields"]["ticket"], "", "no ticket is no secret");
        let value = json(user, false, Secrets::Keep);
        assert_eq!(value["fields"]["password"], "0123CAFE");
        let torn = json(&user[..40], true, Secrets::Redact);
        assert_eq!(torn["raw"], "[redacted]");
        assert_eq!(torn["incomplete"], true);
    }

    #[test]
    fn secrets_stay_here_whatever_carries_them() {
        for (carrier, incomplete) in [
            // Versions that no schema has, with other columns.
            ("@rv@ 99 @db.user@ @a@ @x@ @CAFE@ @CAFE@ 0 @CAFE@ \n", false),
            ("@put@ 0 @db.user@ @a@ @CAFE@ @CAFE@ @CAFE@ @CAFE@ @CAFE@ @CAFE@ \n", false),
            ("@rv@ 8 @db.user.rp@ @a@ @@ @@ 1 2 @@ @CAFE@ 0 @CAFE@ 0 \n", false),
            ("@pv@ 1 @db.ticket@ @a@ @h@ @CAFE@ 0 @CAFE@ 3 \n", false),
            ("@pv@ 0 @db.ldap@ @l@ @h@ 1 0 0 @@ @@ @@ 0 @dn@ @CAFE@ @@ \n", false),
            // A torn row, and one with a hash right behind it.
            ("@pv@ 3 @db.have@ @c@ @d@ 1@rv@ 8 @db.user@ @a@ @CAFE@ \n", false),
            ("@pv@ 9 @db.rev@ @d@ 1 0 @rv@ 4 @db.user@ @a@ @@ @@ 1 @CAFE@ \n", false),
            ("@zz@ @db.user@ @a@ @CAFE@ \n", false),
            // Pieces.
            ("\0\0\0\0@ 1 2 @Ann@ @CAFE@ 0 \n", true),
            ("@pv@ 3 @db.have@ @c\0\0 @db.user@ @CAFE@ \n", true),
            ("@CAFE@ 0 @@ 0 \n", true),
        ] {
            let value = json(carrier.as_bytes(), incomplete, Secrets::Redact);
            assert!(!value.to_string().contains("CAFE"), "{carrier}: {value}");
        }
        let harmless = json(b"@pv@ 3 @db.have@ @c@ torn", true, Secrets::Redact);
        assert_eq!(harmless["raw"], "@pv@ 3 @db.have@ @c@ torn");
    }

    #[test]
    fn a_gap_becomes_an_object() {
        let gap = Gap {
            source: SourceId::new("p4").unwrap(),
            log: None,
            kind: GapKind::Missing,
            from: Place { era: 0, sequence: 12, offset: 99, line: 3 },
            to: Place::start_of(0, 14),
            proof: None,
            missing: Some((13, 13)),
            bytes: None,
            why: "journal 13 is \"gone\"".into(),
            repair: "restore it".into(),
        };
        let mut out = Vec::new();
        write_gap(&mut out, &gap);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["id"], "p4/14/0#gap");
        assert_eq!(value["gap"]["missing"], serde_json::json!([13, 13]));
        assert_eq!(value["gap"]["kind"], "missing");
    }
}
