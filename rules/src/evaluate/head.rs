//! The head of a line: when, on which host, which program.

/// What the head of a line says, and what is behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head<'a> {
    /// The host, as it is written.
    pub host: Option<&'a [u8]>,
    /// The program, without its process.
    pub program: Option<&'a [u8]>,
    /// 0 to 7, as syslog has it.
    pub severity: Option<u8>,
    /// What is behind the head; the whole line if it has none.
    pub text: &'a [u8],
}

/// The words for severities, by number.
pub(crate) const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

impl<'a> Head<'a> {
    /// Reads the head of a line as a syslog daemon writes it: RFC 5424, RFC 3164, or with
    /// a time of ISO 8601, host and program. A line of another kind has none, and is all
    /// text.
    ///
    /// ```
    /// use tripline_rules::evaluate::Head;
    ///
    /// let head = Head::of(b"Nov 20 21:00:00 www sshd[99]: Accepted publickey for ann");
    /// assert_eq!(head.host, Some(&b"www"[..]));
    /// assert_eq!(head.program, Some(&b"sshd"[..]));
    /// assert_eq!(head.text, b"Accepted publickey for ann");
    /// ```
    pub fn of(line: &'a [u8]) -> Self {
        let (priority, rest) = priority(line);
        let severity = priority.map(|it| it & 7);
        let found = match (priority, rest.strip_prefix(b"1 ")) {
            (Some(_), Some(rest)) => rfc5424(rest),
            _ => rfc3164(rest, priority.is_some()),
        };
        match found {
            Some(head) => Self { severity, ..head },
            None => Self { severity, text: rest, ..Self::default() },
        }
    }
}

/// `<13>`, if it is there.
fn priority(line: &[u8]) -> (Option<u8>, &[u8]) {
    let read = || {
        let rest = line.strip_prefix(b"<")?;
        let end = rest.iter().take(4).position(|byte| *byte == b'>')?;
        let number: u8 = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        (number < 192 && rest[0].is_ascii_digit()).then_some((number, &rest[end + 1..]))
    };
    match read() {
        Some((number, rest)) => (Some(number), rest),
        None => (None, line),
    }
}

/// Behind `<13>1 `: time, host, program, process, message id, data, text.
fn rfc5424(rest: &[u8]) -> Option<Head<'_>> {
    let (_, rest) = word(rest)?;
    let (host, rest) = word(rest)?;
    let (program, rest) = word(rest)?;
    let (_, rest) = word(rest)?;
    let (_, rest) = word(rest)?;
    let rest = structured_data(rest)?;
    let text = rest.strip_prefix("\u{feff}".as_bytes()).unwrap_or(rest);
    let given = |value: &'static [u8]| move |it: &&[u8]| *it != value;
    Some(Head {
        host: Some(host).filter(given(b"-")),
        program: Some(program).filter(given(b"-")),
        severity: None,
        text,
    })
}

/// `-` or `[..][..]`, and the blank behind.
fn structured_data(mut rest: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = rest.strip_prefix(b"-") {
        return Some(rest.strip_prefix(b" ").unwrap_or(rest));
    }
    while rest.first() == Some(&b'[') {
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = rest.iter().position(|byte| {
            let ends = *byte == b']' && !is_quoted;
            is_quoted ^= *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            ends
        })?;
        rest = &rest[end + 1..];
    }
    Some(rest.strip_prefix(b" ").unwrap_or(rest))
}

/// Time, host, `program[process]: `, text. Behind an ISO time without a priority there
/// must be a program, as other logs begin with such a time too.
fn rfc3164(rest: &[u8], has_priority: bool) -> Option<Head<'_>> {
    let (behind, is_iso) = match syslog_time(rest) {
        Some(behind) => (behind, false),
        None => (iso_time(rest)?, true),
    };
    let (host, behind) = word(behind)?;
    if host.ends_with(b":") || host.is_empty() {
        // No host, as some devices and local sockets write it.
        let (program, text) = tag(&rest[rest.len() - host.len() - 1 - behind.len()..])?;
        return (!is_iso).then_some(Head {
            host: None,
            program: Some(program),
            severity: None,
            text,
        });
    }
    match tag(behind) {
        Some((program, text)) => {
            Some(Head { host: Some(host), program: Some(program), severity: None, text })
        }
        None if is_iso && !has_priority => None,
        None => {
            Some(Head { host: Some(host), program: None, severity: None, text: behind })
        }
    }
}

/// `Nov 20 21:00:00 `, with or without a fraction of the second.
fn syslog_time(rest: &[u8]) -> Option<&[u8]> {
    let head = rest.get(..15)?;
    let fits = head.iter().zip(b"Aaa d9 99:99:99").all(|(byte, form)| match form {
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'd' => byte.is_ascii_digit() || *byte == b' ',
        b'9' => byte.is_ascii_digit(),
        form => byte == form,
    });
    if !fits {
        return None;
    }
    let behind = &rest[15..];
    let fraction = behind.strip_prefix(b".").map_or(0, |it| 1 + digits(it));
    behind[fraction..].strip_prefix(b" ")
}

/// `2026-11-20T21:00:00.123+01:00 `.
fn iso_time(rest: &[u8]) -> Option<&[u8]> {
    let head = rest.get(..19)?;
    let fits = head.iter().zip(b"9999-99-99T99:99:99").all(|(byte, form)| match form {
        b'9' => byte.is_ascii_digit(),
        form => byte == form,
    });
    if !fits {
        return None;
    }
    let (offset, behind) = word(&rest[19..])?;
    offset.iter().all(|byte| b"0123456789.,:+-Zz".contains(byte)).then_some(behind)
}

/// `sshd[99]: `, `kernel: `: the program and what is behind.
fn tag(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./@-()+".contains(byte);
    let len = rest.iter().take(TAG_BYTES_MAX).take_while(|byte| is_name(byte)).count();
    let (program, mut behind) = rest.split_at(len);
    if let Some(process) = behind.strip_prefix(b"[") {
        let end = process.iter().take(TAG_BYTES_MAX).position(|byte| *byte == b']')?;
        behind = &process[end + 1..];
    }
    let text = behind.strip_prefix(b":")?;
    // `12:30:00` and `C:\` are no programs.
    let is_end = matches!(text.first(), None | Some(b' ' | b'\t'));
    (len > 0 && is_end).then(|| (program, text.strip_prefix(b" ").unwrap_or(text)))
}

/// Up to the next blank, and what is behind it.
fn word(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', rest.get(..rest.len().min(WORD_BYTES_MAX))?)?;
    Some((&rest[..end], &rest[end + 1..]))
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The longest name of a program, in bytes.
const TAG_BYTES_MAX: usize = 64;
/// The longest word of a head, in bytes.
const WORD_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (&'static str, &'static str, &'static str, &'static str);

    #[test]
    fn heads_are_read() {
        let rows: &[Row] = &[
            ("Nov 20 21:00:00 www sshd[99]: Accepted", "www", "sshd", "Accepted"),
            ("Jan  5 01:31:41 www sshd[1643]: x", "www", "sshd", "x"),
            ("Nov 20 21:00:00 h kernel: [1.5] oops", "h", "kernel", "[1.5] oops"),
            ("Nov 20 21:00:00.123 h cron: x", "h", "cron", "x"),
            ("Nov 20 21:00:00 h postfix/smtpd[9]: x", "h", "postfix/smtpd", "x"),
            ("Nov 20 21:00:00 h 0001 sshd[9]: x", "h", "", "0001 sshd[9]: x"),
            ("Nov 20 21:00:00 su: x", "", "su", "x"),
            ("<28>Nov 20 21:00:00 ups1 upsmon[88]: UPS", "ups1", "upsmon", "UPS"),
            ("2026-11-20T21:00:00.1+01:00 h sshd[1]: x", "h", "sshd", "x"),
            (
                "2026-11-20T21:00:00Z ERROR it broke",
                "",
                "",
                "2026-11-20T21:00:00Z ERROR it broke",
            ),
            (
                "2026-11-20 21:00:00,123 INFO x: y",
                "",
                "",
                "2026-11-20 21:00:00,123 INFO x: y",
            ),
            (
                "<165>1 2026-11-20T20:00:00Z h app 7 ID [a b=\"]\\\"\"][c] hi",
                "h",
                "app",
                "hi",
            ),
            ("<165>1 2026-11-20T20:00:00Z - - - - - hi", "", "", "hi"),
            ("<13>plain", "", "", "plain"),
            ("plain: text", "", "", "plain: text"),
            ("", "", "", ""),
            ("Nov 20 21:00:00 ", "", "", "Nov 20 21:00:00 "),
        ];
        for (line, host, program, text) in rows {
            let head = Head::of(line.as_bytes());
            let given = |it: Option<&[u8]>| {
                String::from_utf8_lossy(it.unwrap_or_default()).into_owned()
            };
            assert_eq!(
                (given(head.host), given(head.program), given(Some(head.text))),
                ((*host).to_owned(), (*program).to_owned(), (*text).to_owned()),
                "{line}"
            );
        }
        assert_eq!(Head::of(b"<28>Nov 20 21:00:00 h a: x").severity, Some(4));
        assert_eq!(Head::of(b"<999>x").text, b"<999>x");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_have_a_head(line in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let head = Head::of(&line);
            proptest::prop_assert!(line.ends_with(head.text));
        }
    }
}
