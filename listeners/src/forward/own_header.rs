//! Lines that are syslog lines already, as a syslog daemon writes them to a file.

use tripline_api::{LineTime, TimeFormat, ZoneError};

/// What stands before the text of such a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnHeader<'a> {
    /// Seconds since 1970.
    pub(super) seconds: i64,
    /// The time as it is written, when RFC 5424 takes it like that.
    pub(super) exact: Option<&'a str>,
    pub(super) host: &'a str,
    pub(super) program: Option<&'a str>,
    pub(super) process: Option<&'a str>,
}

/// The longest names that are taken from a line, in bytes.
const HOST_MAX: usize = 255;
const PROGRAM_MAX: usize = 48;
const PROCESS_MAX: usize = 32;
/// `2026-11-20T21:00:00.123456+01:00`
const EXACT_MAX: usize = 32;
/// `Nov 20 21:00:00`
const SHORT_BYTES: usize = 15;

/// Reads the headers of lines.
#[derive(Debug)]
pub(super) struct OwnHeaders {
    short: LineTime,
    iso: LineTime,
}

impl OwnHeaders {
    /// Times without an offset are those of the zone, `UTC` or one of the IANA
    /// database; of this machine's without one.
    pub(super) fn new(zone: Option<&str>) -> Result<Self, ZoneError> {
        Ok(Self {
            short: LineTime::new(TimeFormat::Syslog, zone)?,
            iso: LineTime::new(TimeFormat::Iso, zone)?,
        })
    }

    /// The header of a line and the text behind it, when it begins with a time,
    /// a host and perhaps a program, in one of the two ways in which syslog
    /// daemons write them. `near` is a time near to it, in seconds since 1970,
    /// for the year.
    pub(super) fn read<'a>(
        &self,
        line: &'a [u8],
        near: i64,
    ) -> Option<(OwnHeader<'a>, &'a [u8])> {
        let (seconds, exact, rest) = self.read_time(line, near)?;
        let (host, rest) = word(rest, HOST_MAX, is_of_host)?;
        let rest = rest.strip_prefix(b" ")?;
        let mut header = OwnHeader { seconds, exact, host, program: None, process: None };
        let Some((program, process, text)) = read_tag(rest) else {
            return Some((header, rest));
        };
        header.program = Some(program);
        header.process = process;
        Some((header, text))
    }

    fn read_time<'a>(
        &self,
        line: &'a [u8],
        near: i64,
    ) -> Option<(i64, Option<&'a str>, &'a [u8])> {
        if line.first()?.is_ascii_alphabetic() {
            let (time, rest) = line.split_at_checked(SHORT_BYTES)?;
            let seconds = self.short.parse(time, near)?;
            return Some((seconds, None, rest.strip_prefix(b" ")?));
        }
        let is_of_time = |byte: u8| !byte.is_ascii_whitespace();
        let (time, rest) = word(line, EXACT_MAX, is_of_time)?;
        if !is_exact(time.as_bytes()) {
            return None;
        }
        let seconds = self.iso.parse(time.as_bytes(), near)?;
        Some((seconds, Some(time), rest.strip_prefix(b" ")?))
    }
}

/// Whether it has the form that RFC 5424 wants: `2026-11-20T21:00:00.123Z`.
fn is_exact(time: &[u8]) -> bool {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    const OFFSET: &[u8] = b"sdd:dd";
    let is_like = |bytes: &[u8], form: &[u8]| {
        bytes.len() == form.len()
            && bytes.iter().zip(form).all(|(byte, form)| match form {
                b'd' => byte.is_ascii_digit(),
                b's' => matches!(byte, b'+' | b'-'),
                form => byte == form,
            })
    };
    let Some((start, mut rest)) = time.split_at_checked(FORM.len()) else {
        return false;
    };
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=6).contains(&digits) {
            return false;
        }
        rest = &fraction[digits..];
    }
    // Leap seconds are not allowed there.
    is_like(start, FORM)
        && &start[17..] != b"60"
        && (rest == b"Z" || is_like(rest, OFFSET))
}

type Tag<'a> = (&'a str, Option<&'a str>, &'a [u8]);

/// `sshd[7]: text`, `kernel: text`.
fn read_tag(line: &[u8]) -> Option<Tag<'_>> {
    let (program, rest) = word(line, PROGRAM_MAX, is_of_program)?;
    let (process, rest) = match rest.strip_prefix(b"[") {
        Some(rest) => {
            let (process, rest) = word(rest, PROCESS_MAX, is_of_process)?;
            (Some(process), rest.strip_prefix(b"]")?)
        }
        None => (None, rest),
    };
    let text = rest.strip_prefix(b":")?;
    Some((program, process, text.strip_prefix(b" ").unwrap_or(text)))
}

const fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':')
}

const fn is_of_program(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'[' | b']' | b':' | b'"' | b'<' | b'>')
}

const fn is_of_process(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// The longest start of these bytes, when it is not empty and not too long.
fn word(line: &[u8], max: usize, is_of_it: fn(u8) -> bool) -> Option<(&str, &[u8])> {
    let len = line.iter().take(max + 1).take_while(|byte| is_of_it(**byte)).count();
    if len == 0 || len > max {
        return None;
    }
    let (word, rest) = line.split_at(len);
    Some((std::str::from_utf8(word).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20T20:00:00Z
    const NEAR: i64 = 1_795_204_800;

    fn read(line: &[u8]) -> Option<(OwnHeader<'_>, &[u8])> {
        OwnHeaders::new(Some("UTC")).unwrap().read(line, NEAR)
    }

    #[test]
    fn both_forms_are_read() {
        let (header, text) =
            read(b"Nov 20 20:00:00 web-1 sshd[4711]: Failed password").unwrap();
        let wanted = OwnHeader {
            seconds: NEAR,
            exact: None,
            host: "web-1",
            program: Some("sshd"),
            process: Some("4711"),
        };
        assert_eq!((header, text), (wanted, &b"Failed password"[..]));
        let time = "2026-11-20T21:00:00.123456+01:00";
        let line = format!("{time} db.example (sd-pam): session");
        let (header, text) = read(line.as_bytes()).unwrap();
        let wanted = OwnHeader {
            exact: Some(time),
            host: "db.example",
            program: Some("(sd-pam)"),
            process: None,
            ..wanted
        };
        assert_eq!((header, text), (wanted, &b"session"[..]));
    }

    #[test]
    fn a_program_may_be_missing() {
        for text in ["last message repeated 2 times", "", "a b: c", "x[ y", "x[1] y"] {
            let line = format!("Nov  5 20:00:00 web {text}");
            let (header, found) = read(line.as_bytes()).unwrap();
            assert_eq!(header.program, None, "{line}");
            assert_eq!(found, text.as_bytes());
        }
        let (header, text) = read(b"Nov  5 20:00:00 web postfix/smtpd[1]:x").unwrap();
        assert_eq!(header.program, Some("postfix/smtpd"));
        assert_eq!(text, b"x");
    }

    #[test]
    fn other_lines_have_none() {
        let long = format!("Nov 20 20:00:00 {} x", "h".repeat(256));
        for line in [
            "",
            "text",
            "Nov 20 20:00:00",
            "Nov 20 20:00:00 ",
            "Nov 20 20:00:00 host",
            "Nov 20 25:00:00 host x",
            "Nov 20 20:00 host sshd: x",
            "Nov 20 20:00:00  host x",
            "Nov 20 20:00:00 ho\"st x",
            "Nov 20 20:00:00 h\u{e9} x",
            "<13>Nov 20 20:00:00 host x",
            "2026-11-20 20:00:00 host x",
            "2026-11-20T20:00:00 host x",
            "2026-11-20T20:00:00,5Z host x",
            "2026-11-20T20:00:00.Z host x",
            "2026-11-20T20:00:00.1234567Z host x",
            "2026-11-20T20:00:60Z host x",
            "2026-13-20T20:00:00Z host x",
            "2026-11-20T20:00:00+1:00 host x",
            &long,
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
    }
}
