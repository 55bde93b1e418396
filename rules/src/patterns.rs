//! The library of patterns, and how `%{NAME:field}` becomes a pattern.

use crate::Type;
use std::collections::BTreeMap;
use std::ops::Range;

/// A pattern of the library.
#[derive(Debug)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// What it stands for. It may use others.
    pub pattern: &'static str,
    /// What a capture of it is.
    pub kind: Type,
    /// What it matches.
    pub doc: &'static str,
}

const fn named(
    name: &'static str,
    pattern: &'static str,
    kind: Type,
    doc: &'static str,
) -> Named {
    Named { name, pattern, kind, doc }
}

/// The library, sorted by name. Classes are those of ASCII.
pub static LIBRARY: &[Named] = &[
    named("DATE", r"\d{4}[-/.]\d\d?[-/.]\d\d?", Type::Text, "A date: 2026-11-20."),
    named(
        "DURATION",
        r"\d+(?:\.\d+)?\s?(?:ms|us|s|m|h|d)\b",
        Type::Text,
        "250ms, 1.5 s.",
    ),
    named(
        "EMAIL",
        r"[A-Za-z0-9._%+=/-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*",
        Type::Text,
        "An address of mail.",
    ),
    named(
        "FLOAT",
        r"[-+]?\d{1,15}(?:\.\d{1,15})?",
        Type::Float,
        "A number, with a fraction or without.",
    ),
    named("HEX", r"(?:0x)?[0-9A-Fa-f]+", Type::Text, "Hexadecimal digits."),
    named("HOST", r"(?:%{IP}|%{HOSTNAME})", Type::Text, "A host's name or address."),
    named(
        "HOSTNAME",
        r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_-]{1,63}){0,9}\.?",
        Type::Text,
        "A host's name.",
    ),
    named("INT", r"[-+]?\d+", Type::Int, "A whole number; a unit may stand behind it."),
    named("IP", r"(?:%{IPV4}|%{IPV6})", Type::Text, "An address."),
    named("IPV4", r"(?:\d{1,3}\.){3}\d{1,3}", Type::Text, "192.0.2.1."),
    named(
        "IPV6",
        r"(?:[0-9A-Fa-f]{0,4}:){2,7}(?:%{IPV4}|[0-9A-Fa-f]{0,4})(?:%[0-9A-Za-z]+)?",
        Type::Text,
        "2001:db8::1.",
    ),
    named(
        "ISOTIME",
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|UTC|[-+]\d\d:?\d\d))?",
        Type::Text,
        "2026-11-20T21:00:00.5+01:00.",
    ),
    named(
        "MAC",
        r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}",
        Type::Text,
        "00:1b:44:11:3a:b7.",
    ),
    named("NOTSPACE", r"\S+", Type::Text, "Anything without blanks."),
    named("P4PATH", r"//[^\s/]+/[^#@\t\r\n]+", Type::Text, "A depot path."),
    named("PATH", r"/[^\s:]*", Type::Text, "A path without blanks."),
    named("PORT", r"\d{1,5}\b", Type::Int, "The number of a port."),
    named(
        "PROGRAM",
        r"[A-Za-z0-9_./@-]+",
        Type::Text,
        "The program in the head of a line of syslog.",
    ),
    named(
        "QUOTED",
        r#""(?:[^"\\]|\\.)*""#,
        Type::Text,
        "A text in double quotes, with them.",
    ),
    named("REST", r".*", Type::Text, "All that is left of the line."),
    named(
        "SYSLOGHEAD",
        r"(?:<\d{1,3}>(?:\d )?)?(?:%{ISOTIME}|%{SYSLOGTIME}) %{HOST} ",
        Type::Text,
        "Time and host as a syslog daemon writes them, and the blank behind. With `whole: true`, `(?:%{SYSLOGHEAD})?` makes them optional.",
    ),
    named(
        "SYSLOGTIME",
        r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d",
        Type::Text,
        "Nov 20 21:00:00.",
    ),
    named("TIME", r"\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?", Type::Text, "21:00, 21:00:00.5."),
    named(
        "TIMESTAMP",
        concat!(
            // 2026-11-20 21:00:00,123 +0100, 2026/11/20 21:00:00
            r"(?:\d{4}[-/.]\d\d[-/.]\d\d(?:T|  ?)\d?\d:\d\d(?::\d\d(?:[.,]\d+)?)?",
            r"(?: ?(?:Z|UTC|GMT|[-+]\d\d:?\d\d))?",
            // Nov 20 21:00:00, Fri Nov 20 21:00:00.123 2026, CET Fri Nov 20 2026 21:00:00,
            // Nov 20, 2026 9:00:00 PM
            r"|(?:[A-Z]{3,5} )?(?:[A-Z][a-z]{2},? )?[A-Z][a-z]{2} [ \d]?\d,? (?:\d{4} )?",
            r"\d?\d:\d\d:\d\d(?:\.\d+)?(?: [AP]M| (?:19|20)\d\d\b)?",
            // 20/Nov/2026:21:00:00 +0100, 20-Nov-2026 21:00:00.123, 20/11/26 21:00:00
            r"|\d\d?[-/](?:\d\d|[A-Z][a-z]{2})[-/]\d{2,4}[ :]?\d?\d:\d\d:\d\d",
            r"(?:\.\d+)?(?: [-+]\d{4})?",
            // 20261120T210000, 261120 21:00:00, 1795208400.123, @4000000069..., 21:00:00
            r"|\d{8}[T ]\d{6}|\d{6}  ?\d?\d:\d\d:\d\d|\d{10}(?:\.\d{3,6})?",
            r"|@[0-9a-f]{24}|\d\d:\d\d:\d\d(?:[.,]\d+)?)",
        ),
        Type::Text,
        "A time in any form that is usual in logs. `%{TIMESTAMP}?` makes it optional.",
    ),
    named(
        "URL",
        r"[A-Za-z][A-Za-z0-9+.-]*://[^\s<>\x22]+",
        Type::Text,
        "An address of the web.",
    ),
    named("USER", r"[A-Za-z0-9._@$+-]+", Type::Text, "The name of a user."),
    named(
        "UUID",
        r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
        Type::Text,
        "123e4567-e89b-12d3-a456-426614174000.",
    ),
    named("WORD", r"\w+", Type::Text, "Letters, digits and `_`."),
];

/// A pattern with the library's and the files' put in.
#[derive(Debug, Default)]
pub(crate) struct Expanded {
    /// The pattern.
    pub(crate) text: String,
    /// The types of groups that were captured with `%{NAME:field}`.
    pub(crate) kinds: Vec<(String, Type)>,
    /// Stretches of the text, and where they come from in what was written.
    origin: Vec<(Range<usize>, Range<usize>)>,
}

impl Expanded {
    /// Where in what was written these bytes of the pattern come from.
    pub(crate) fn origin(&self, span: Range<usize>) -> Range<usize> {
        let at = |offset: usize, is_end: bool| {
            let found = self.origin.iter().find(|(here, _)| match is_end {
                false => here.contains(&offset),
                true => here.start < offset && offset <= here.end,
            });
            match found {
                Some((here, there)) if here.len() == there.len() => {
                    there.start + (offset - here.start)
                }
                Some((_, there)) if is_end => there.end,
                Some((_, there)) => there.start,
                None => self.origin.last().map_or(0, |(_, there)| there.end),
            }
        };
        let start = at(span.start, false);
        let end = if span.is_empty() { start } else { at(span.end, true) };
        start..end.max(start)
    }
}

/// Why a pattern cannot be put together.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// Where in what was written.
    pub(crate) span: Range<usize>,
    pub(crate) kind: WrongKind,
}

#[derive(Debug)]
pub(crate) enum WrongKind {
    /// There is no such pattern.
    Unknown(String),
    /// `%{` without `}`, or with something in it that is no name.
    Unnamed,
    /// It contains itself, or others too deeply.
    TooDeep(String),
    /// It becomes too long.
    TooLong,
}

/// Puts the library's and the files' patterns in.
pub(crate) fn expand(
    written: &str,
    files: &BTreeMap<String, String>,
) -> Result<Expanded, Wrong> {
    let mut expanded = Expanded::default();
    let mut from = 0;
    while let Some(at) = find(&written[from..]) {
        let start = from + at;
        expanded.copy(written, from..start);
        let reference = Reference::read(written, start)
            .ok_or(Wrong { span: start..start + 2, kind: WrongKind::Unnamed })?;
        let before = expanded.text.len();
        let (inserted, kind) = resolve(reference.name, files, 0, &mut expanded.kinds)
            .map_err(|kind| Wrong { span: reference.name_span.clone(), kind })?;
        match reference.field {
            Some(field) => {
                expanded.text += &format!("(?P<{field}>{inserted})");
                expanded.kinds.push((field.to_owned(), kind));
            }
            None => expanded.text += &format!("(?:{inserted})"),
        }
        expanded.origin.push((before..expanded.text.len(), start..reference.end));
        from = reference.end;
        if expanded.text.len() > EXPANDED_BYTES_MAX {
            return Err(Wrong { span: start..from, kind: WrongKind::TooLong });
        }
    }
    expanded.copy(written, from..written.len());
    Ok(expanded)
}

impl Expanded {
    fn copy(&mut self, written: &str, span: Range<usize>) {
        if !span.is_empty() {
            let before = self.text.len();
            self.text += &written[span.clone()];
            self.origin.push((before..self.text.len(), span));
        }
    }
}

/// Where the next reference begins. `\%{` is none.
fn find(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        if byte == b'%' && !is_escaped && text.as_bytes().get(at + 1) == Some(&b'{') {
            return Some(at);
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    None
}

/// `%{NAME}` or `%{NAME:field}`.
struct Reference<'a> {
    name: &'a str,
    name_span: Range<usize>,
    field: Option<&'a str>,
    end: usize,
}

impl<'a> Reference<'a> {
    fn read(text: &'a str, start: usize) -> Option<Self> {
        let inside = start + 2;
        let end = inside + text[inside..].find('}')?;
        let (name, field) = match text[inside..end].split_once(':') {
            Some((name, field)) => (name, Some(field)),
            None => (&text[inside..end], None),
        };
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let is_sound = is_name(name) && field.is_none_or(is_name);
        let name_span = inside..inside + name.len();
        is_sound.then_some(Self { name, name_span, field, end: end + 1 })
    }
}

/// The pattern of a name, with all others put in, and what a capture of it is. Adds what
/// is captured in it to `kinds`.
fn resolve(
    name: &str,
    files: &BTreeMap<String, String>,
    depth: usize,
    kinds: &mut Vec<(String, Type)>,
) -> Result<(String, Type), WrongKind> {
    if depth == DEPTH_MAX {
        return Err(WrongKind::TooDeep(name.to_owned()));
    }
    let library = LIBRARY.iter().find(|it| it.name == name);
    let (pattern, kind) = match (files.get(name), library) {
        (Some(pattern), _) => (pattern.as_str(), Type::Text),
        (None, Some(library)) => (library.pattern, library.kind.clone()),
        (None, None) => return Err(WrongKind::Unknown(name.to_owned())),
    };
    let mut text = String::new();
    let mut from = 0;
    while let Some(at) = find(&pattern[from..]) {
        let start = from + at;
        text += &pattern[from..start];
        let reference = Reference::read(pattern, start).ok_or(WrongKind::Unnamed)?;
        let (inner, kind) = resolve(reference.name, files, depth + 1, kinds)?;
        match reference.field {
            Some(field) => {
                text += &format!("(?P<{field}>{inner})");
                kinds.push((field.to_owned(), kind));
            }
            None => text += &format!("(?:{inner})"),
        }
        from = reference.end;
        if text.len() > EXPANDED_BYTES_MAX {
            return Err(WrongKind::TooLong);
        }
    }
    Ok((text + &pattern[from..], kind))
}

/// How deep patterns may use others.
const DEPTH_MAX: usize = 8;
/// The longest pattern with all others put in, in bytes.
pub(crate) const EXPANDED_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use regex::bytes::RegexBuilder;

    fn matches(name: &str, text: &str) -> bool {
        let pattern = format!("^%{{{name}}}$");
        let expanded = expand(&pattern, &BTreeMap::new()).unwrap();
        let regex = RegexBuilder::new(&expanded.text).unicode(false).build().unwrap();
        regex.is_match(text.as_bytes())
    }

    #[test]
    fn the_library_is_sorted_and_matches_what_it_says() {
        assert!(LIBRARY.is_sorted_by_key(|it| it.name));
        for (name, good, bad) in [
            ("DATE", "2026-11-20", "20 Nov"),
            ("DURATION", "250ms", "ms"),
            ("EMAIL", "ann@example.com", "ann"),
            ("FLOAT", "-1.5", "x"),
            ("HEX", "0xdeadBEEF", "xyz"),
            ("HOST", "web-1.example.com", "-"),
            ("HOSTNAME", "web", " "),
            ("INT", "42", "4x"),
            ("IP", "2001:db8::1", "x"),
            ("IPV4", "192.0.2.1", "192.0.2"),
            ("IPV6", "::ffff:192.0.2.1", "12:34"),
            ("ISOTIME", "2026-11-20T21:00:00.5+01:00", "21:00"),
            ("MAC", "00:1b:44:11:3a:b7", "00:1b"),
            ("NOTSPACE", "a,b", "a b"),
            ("P4PATH", "//depot/a b.c", "/depot/a"),
            ("PATH", "/srv/x", "srv"),
            ("PORT", "6514", "651400"),
            ("PROGRAM", "postfix/smtpd", ""),
            ("QUOTED", r#""a \" b""#, "a"),
            ("REST", "anything at all", "\n"),
            ("SYSLOGHEAD", "Nov  2 21:00:00 web ", "web "),
            ("SYSLOGTIME", "Nov 20 21:00:00", "21:00:00"),
            ("TIME", "9:05:01.25", "9"),
            ("TIMESTAMP", "Fri Nov 20 21:00:00.123456 2026", "Nov 2026"),
            ("URL", "https://example.com/a?b=c", "example.com"),
            ("USER", "j.doe@corp", "a b"),
            ("UUID", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
            ("WORD", "foo_1", "foo-1"),
        ] {
            assert!(matches(name, good), "{name} {good}");
            assert!(!matches(name, bad), "{name} {bad}");
        }
    }

    #[test]
    fn times_of_many_logs_are_timestamps() {
        for time in [
            "2026-11-20T21:00:00.123+01:00",
            "2026-11-20 21:00:00,123",
            "2026/11/20 21:00:00",
            "2026.11.20  9:00:00 UTC",
            "Nov 20 21:00:00",
            "Nov  2 21:00:00",
            "Fri Nov 20 21:00:00 2026",
            "Fri Nov 20 2026 21:00:00",
            "CET Nov 20 21:00:00",
            "Nov 20, 2026 9:00:00 PM",
            "20/Nov/2026:21:00:00 +0100",
            "20-Nov-2026 21:00:00.123",
            "20/11/2026 21:00:00",
            "20/11/26 21:00:00",
            "11/20/2026:21:00:00",
            "20261120T210000",
            "261120  9:00:00",
            "1795208400",
            "1795208400.123",
            "@4000000069b2c1d23a2f1b0c",
            "21:00:00",
        ] {
            assert!(matches("TIMESTAMP", time), "{time}");
        }
        for other in ["", "2026-11-20", "192.0.2.1", "12:30", "123456"] {
            assert!(!matches("TIMESTAMP", other), "{other}");
        }
    }

    #[test]
    fn references_are_put_in() {
        let files = BTreeMap::from([
            ("EDGE".to_owned(), "edge-%{WORD:site}".to_owned()),
            ("RING".to_owned(), "%{RING}".to_owned()),
        ]);
        let expanded = expand("a %{EDGE:edge} %{INT:n} b", &files).unwrap();
        assert_eq!(expanded.text, r"a (?P<edge>edge-(?P<site>\w+)) (?P<n>[-+]?\d+) b");
        assert!(expanded.kinds.contains(&("n".to_owned(), Type::Int)));
        let at = expanded.text.len();
        assert_eq!(expanded.origin(at - 1..at), 24..25);
        assert_eq!(expanded.origin(4..9), 2..14);
        assert_eq!(expand(r"100\%{3}", &files).unwrap().text, r"100\%{3}");
        for (text, start) in [("x %{NO}", 4), ("%{", 0), ("%{A B}", 0), ("%{RING}", 2)] {
            assert_eq!(expand(text, &files).unwrap_err().span.start, start, "{text}");
        }
    }
}
