//! Text from anywhere, made fit to be read in a mail.
//!
//! What a line of a log holds may be meant for the reader's terminal, or to
//! look like something else: characters that are not seen are shown by their
//! number.

use std::fmt::Write as _;

/// The text in one line: line feeds and tabs become blanks, what is not seen is
/// shown as `\x1b` or `\u{202e}`, and what is beyond so many characters is cut
/// away, with an ellipsis in its place.
pub(crate) fn one_line(text: &str, chars_max: usize) -> String {
    let mut line = String::new();
    let mut chars = 0;
    let mut is_blank = true;
    // What is cut away is not even looked at.
    for c in text.chars().take(chars_max.saturating_mul(4)) {
        if chars >= chars_max {
            line.truncate(line.trim_end().len());
            line.push('\u{2026}');
            return line;
        }
        if matches!(c, '\r' | '\n' | '\t' | ' ' | '\u{2028}' | '\u{2029}') {
            if !is_blank {
                line.push(' ');
                chars += 1;
            }
            is_blank = true;
            continue;
        }
        is_blank = false;
        let before = line.len();
        push_visible(&mut line, c);
        chars += line[before..].chars().count();
    }
    line.truncate(line.trim_end().len());
    line
}

/// The text with its lines, each ended by CR LF: what else is not seen is shown,
/// and what is beyond so many bytes is cut away, which the last line says.
pub(super) fn lines(text: &str, bytes_max: usize) -> String {
    let mut lines = String::with_capacity(text.len().min(bytes_max) + 80);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if lines.len() >= bytes_max {
            lines.push_str("\r\n[the rest is left out: this mail would be too long]\r\n");
            return lines;
        }
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => lines.push_str("\r\n"),
            '\t' => lines.push('\t'),
            c => push_visible(&mut lines, c),
        }
    }
    if !lines.is_empty() && !lines.ends_with("\r\n") {
        lines.push_str("\r\n");
    }
    lines
}

fn push_visible(out: &mut String, c: char) {
    let number = u32::from(c);
    // Writing into a string cannot fail.
    match c {
        '\0'..='\x1f' | '\x7f' => _ = write!(out, "\\x{number:02x}"),
        _ if is_unseen(c) => _ = write!(out, "\\u{{{number:x}}}"),
        c => out.push(c),
    }
}

/// Controls, what changes the direction of text or hides in it, and line ends
/// that are none.
const fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// The text of bytes; what is no UTF-8 is shown as `\xe9`. At most so many bytes
/// are looked at.
pub(super) fn of_bytes(bytes: &[u8], bytes_max: usize) -> String {
    let cut = bytes.len() > bytes_max;
    let mut text = String::new();
    for chunk in bytes[..bytes.len().min(bytes_max)].utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            _ = write!(text, "\\x{byte:02x}");
        }
    }
    if cut {
        text.push('\u{2026}');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_one_line() {
        for (text, line) in [
            ("plain", "plain"),
            ("  a \t\r\n b\n", "a b"),
            ("x\r\nBcc: y", "x Bcc: y"),
            ("\x1b[2J\0\x7f", "\\x1b[2J\\x00\\x7f"),
            ("abc\u{202e}cba", "abc\\u{202e}cba"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{2028}b", "a b"),
            ("caf\u{e9}", "caf\u{e9}"),
            ("", ""),
            ("0123456789012345678 9abc", "0123456789012345678\u{2026}"),
        ] {
            let chars_max = 20;
            assert_eq!(one_line(text, chars_max), line);
        }
        assert_eq!(one_line(&"\x1b".repeat(1000), 10).chars().count(), 13);
    }

    #[test]
    fn lines_end_with_cr_lf() {
        for (text, wanted) in [
            ("", ""),
            ("a", "a\r\n"),
            ("a\nb\r\nc\n", "a\r\nb\r\nc\r\n"),
            ("a\rb", "a\\x0db\r\n"),
            ("a\r\r\nb", "a\\x0d\r\nb\r\n"),
            ("\x1b]0;t\x07\ttab", "\\x1b]0;t\\x07\ttab\r\n"),
            ("\n.\n", "\r\n.\r\n"),
        ] {
            assert_eq!(lines(text, 1000), wanted, "{text:?}");
        }
        let long = lines(&"line\n".repeat(1000), 100);
        assert!(long.len() < 200 && long.contains("left out"), "{long}");
    }

    #[test]
    fn bytes_become_text() {
        assert_eq!(of_bytes(b"caf\xe9 \xc3\xa9", 100), "caf\\xe9 \u{e9}");
        assert_eq!(of_bytes(b"0123456789", 4), "0123\u{2026}");
        assert_eq!(of_bytes("\u{e9}\u{e9}".as_bytes(), 3), "\u{e9}\\xc3\u{2026}");
    }
}
