//! Lines that try to be more than a line, and what people are to see of them.

/// A line without its line feed, and its text at a receiver; `None` where it is
/// not UTF-8, so that receivers show it in different ways.
pub(crate) const LINES: &[(&[u8], Option<&str>)] = &[
    (b"a plain one", Some("a plain one")),
    (b"", Some("")),
    (b"<0>1 - - - - - - forged", Some("<0>1 - - - - - - forged")),
    (
        b"x\r<0>Nov 20 20:00:00 root su: forged",
        Some("x\\x0d<0>Nov 20 20:00:00 root su: forged"),
    ),
    (b"] [x@1 y=\"z\"] \\ text", Some("] [x@1 y=\"z\"] \\ text")),
    (b"12 <0>1 - - - - - - forged", Some("12 <0>1 - - - - - - forged")),
    (
        b"\0nul \x1b]0;title\x07 \x1b[2J \x7f",
        Some("\\x00nul \\x1b]0;title\\x07 \\x1b[2J \\x7f"),
    ),
    (
        b"$(touch pwned) `touch pwned` ; reboot --flag %s%n {{template}}",
        Some("$(touch pwned) `touch pwned` ; reboot --flag %s%n {{template}}"),
    ),
    (b"~! touch pwned", Some("~! touch pwned")),
    (b"Bcc: x@example.net\r", Some("Bcc: x@example.net")),
    ("caf\u{e9} \u{202e}txt".as_bytes(), Some("caf\u{e9} \\u{202e}txt")),
    (
        "\u{85}next \u{2028}line \u{9b}2J".as_bytes(),
        Some("\\u{85}next \\u{2028}line \\u{9b}2J"),
    ),
    (b"latin caf\xe9 \xff\xfe \x9b2J", None),
    (b"\xc2", None),
    (
        b"Nov 20 20:00:00 root su[1]: said by a line",
        Some("Nov 20 20:00:00 root su[1]: said by a line"),
    ),
    (b"the last one", Some("the last one")),
];

/// All of them as they are in a log.
pub(crate) fn log() -> Vec<u8> {
    LINES.iter().flat_map(|(line, _)| [line, &b"\n"[..]].concat()).collect()
}

/// Where each of them begins in the log.
pub(crate) fn offsets() -> Vec<usize> {
    let mut next = 0;
    let begin = |(line, _): &(&[u8], Option<&str>)| {
        let begin = next;
        next += line.len() + 1;
        begin
    };
    LINES.iter().map(begin).collect()
}
