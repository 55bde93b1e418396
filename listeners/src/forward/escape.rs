//! Text on its way to people: what is no text does not get through as it is.

/// A tab is harmless, and logs are full of them.
const fn is_plain(byte: u8) -> bool {
    (byte >= 0x20 && byte < 0x7f) || byte == b'\t'
}

/// Characters that steer a terminal, end a line for some readers, or turn the
/// direction of what follows.
fn is_risky(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends text, at most `bytes_max` bytes of it; returns whether that is all.
/// It is cut between characters.
///
/// Control characters become `\x1b`, and those of more than one byte, such as
/// what turns the direction of text, `\u{202e}`. Of what is not UTF-8 the bytes
/// that could be control bytes become `\x9b` too; others stay as they are.
pub(super) fn push_text(out: &mut Vec<u8>, text: &[u8], bytes_max: usize) -> bool {
    let until = out.len().saturating_add(bytes_max);
    for chunk in text.utf8_chunks() {
        if !push_str(out, chunk.valid(), until) {
            return false;
        }
        for byte in chunk.invalid() {
            let has_room = if *byte >= 0xa0 {
                push(out, &[*byte], until)
            } else {
                push(out, format!("\\x{byte:02x}").as_bytes(), until)
            };
            if !has_room {
                return false;
            }
        }
    }
    true
}

fn push_str(out: &mut Vec<u8>, text: &str, until: usize) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.bytes().take_while(|byte| is_plain(*byte)).count();
        let fits = plain.min(until.saturating_sub(out.len()));
        out.extend_from_slice(&rest.as_bytes()[..fits]);
        if fits < plain {
            return false;
        }
        rest = &rest[plain..];
        let Some(c) = rest.chars().next() else { break };
        rest = &rest[c.len_utf8()..];
        if !push_char(out, c, until) {
            return false;
        }
    }
    true
}

fn push_char(out: &mut Vec<u8>, c: char, until: usize) -> bool {
    if !is_risky(c) {
        return push(out, c.encode_utf8(&mut [0; 4]).as_bytes(), until);
    }
    let code = u32::from(c);
    let escaped =
        if code < 0x80 { format!("\\x{code:02x}") } else { format!("\\u{{{code:x}}}") };
    push(out, escaped.as_bytes(), until)
}

/// A unit goes as a whole or not at all.
fn push(out: &mut Vec<u8>, unit: &[u8], until: usize) -> bool {
    let has_room = out.len() + unit.len() <= until;
    if has_room {
        out.extend_from_slice(unit);
    }
    has_room
}

/// Appends the value of a parameter of structured data, between its quotes:
/// always UTF-8, with the three characters escaped that RFC 5424 names.
pub(super) fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' | ']' => {
                    out.push(b'\\');
                    out.push(c as u8);
                }
                c if is_risky(c) => {
                    out.extend_from_slice(format!("\\\\u{{{:x}}}", c as u32).as_bytes());
                }
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\\\x{byte:02x}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(push_text(&mut out, bytes, usize::MAX));
        out
    }

    #[test]
    fn what_steers_becomes_visible() {
        let cases: &[(&[u8], &[u8])] = &[
            (b"plain \ttext $(x) `y` %s%n {{z}}", b"plain \ttext $(x) `y` %s%n {{z}}"),
            (b"two\nlines\r\n.\r\n", b"two\\x0alines\\x0d\\x0a.\\x0d\\x0a"),
            (b"nul \0 del \x7f esc \x1b[2J", b"nul \\x00 del \\x7f esc \\x1b[2J"),
            ("é \u{9b} \u{202e}x".as_bytes(), "é \\u{9b} \\u{202e}x".as_bytes()),
            ("line\u{2028}end \u{2066}".as_bytes(), b"line\\u{2028}end \\u{2066}"),
            (b"caf\xe9 \xff\xfe \x9b2J", b"caf\xe9 \xff\xfe \\x9b2J"),
            (b"\xe2\x82", b"\xe2\\x82"),
            (b"", b""),
        ];
        for (written, wanted) in cases {
            assert_eq!(text(written), *wanted, "{}", written.escape_ascii());
        }
    }

    #[test]
    fn no_control_byte_gets_through() {
        let all: Vec<u8> = (0..=255).collect();
        for cut in 0..all.len() {
            for turned in [&all[cut..], &all[..cut]] {
                let found = text(turned);
                assert!(found.iter().all(|b| *b >= 0x20 && *b != 0x7f || *b == b'\t'));
                for chunk in found.utf8_chunks() {
                    assert!(!chunk.valid().contains(is_risky));
                    assert!(chunk.invalid().iter().all(|byte| *byte >= 0xa0));
                }
            }
        }
    }

    #[test]
    fn it_is_cut_between_characters() {
        let written = "aé\x1b€\u{202e}b".as_bytes();
        let whole = text(written);
        for max in 0..=whole.len() + 1 {
            let mut out = b"before".to_vec();
            let is_all = push_text(&mut out, written, max);
            assert_eq!(is_all, max >= whole.len(), "{max}");
            assert!(out.len() - 6 <= max && whole.starts_with(&out[6..]));
            std::str::from_utf8(&out).unwrap();
        }
    }

    #[test]
    fn a_value_stays_between_its_quotes() {
        let mut out = Vec::new();
        push_value(&mut out, b"/a \"b\" \\ ] [x y=\"z\"] \n \xff \xe2\x82\xac");
        let wanted = "/a \\\"b\\\" \\\\ \\] [x y=\\\"z\\\"\\] \\\\u{a} \\\\xff €";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
