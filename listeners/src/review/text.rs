//! Text of the server's users, made fit to be shown: it is hostile until then.
//!
//! Nothing says how it is encoded. What is UTF-8 is taken for that, all else
//! for Latin-1, in which every byte is a character.

/// One line: for a header, a name, a path. Line ends and other controls become
/// spaces, several spaces one; what turns the direction of writing is shown as
/// `\u{fffd}`. At most `chars_max` characters, the last of which is `…` where
/// something was cut.
pub(super) fn line(text: &[u8], chars_max: usize) -> String {
    // A character is one byte at least and four at most.
    let (text, was_cut) = cut(text, chars_max.saturating_mul(8));
    let mut line = String::with_capacity(text.len());
    for char in decoded(text).chars() {
        let char = match char {
            char if char.is_whitespace() || is_control(char) => ' ',
            char if is_disguise(char) => char::REPLACEMENT_CHARACTER,
            char => char,
        };
        if char != ' ' || !(line.is_empty() || line.ends_with(' ')) {
            line.push(char);
        }
    }
    line.truncate(line.trim_end().len());
    shortened(line, chars_max, was_cut)
}

/// Several lines, ended by line feeds alone. Controls other than tabs are shown
/// as `\u{fffd}`. Without empty lines before and behind, and at most
/// `bytes_max` bytes long, with `…` where something was cut.
pub(super) fn block(text: &[u8], bytes_max: usize) -> String {
    let (text, was_cut) = cut(text, bytes_max);
    let mut block = String::with_capacity(text.len());
    let decoded = decoded(text);
    let mut chars = decoded.chars().peekable();
    while let Some(char) = chars.next() {
        block.push(match char {
            '\r' if chars.peek() == Some(&'\n') => continue,
            '\n' | '\r' => '\n',
            '\t' => '\t',
            char if is_control(char) || is_disguise(char) => char::REPLACEMENT_CHARACTER,
            char => char,
        });
    }
    let lines: Vec<&str> = block.lines().map(str::trim_end).collect();
    let lines = lines.join("\n");
    let mut block = lines.trim_matches('\n').to_owned();
    if was_cut {
        block.push('…');
    }
    block
}

fn decoded(text: &[u8]) -> String {
    match std::str::from_utf8(text) {
        Ok(text) => text.to_owned(),
        Err(_) => text.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// The start of a text, not in the middle of a character of UTF-8.
fn cut(text: &[u8], bytes_max: usize) -> (&[u8], bool) {
    if text.len() <= bytes_max {
        return (text, false);
    }
    let is_inside = |byte: u8| byte & 0xc0 == 0x80;
    let mut end = bytes_max;
    while end > bytes_max.saturating_sub(3) && is_inside(text[end]) {
        end -= 1;
    }
    (&text[..end], true)
}

fn shortened(mut line: String, chars_max: usize, was_cut: bool) -> String {
    let over = line.char_indices().nth(chars_max).is_some();
    if (over || was_cut)
        && let Some((at, _)) = line.char_indices().nth(chars_max.saturating_sub(1))
    {
        line.truncate(at);
    }
    if over || was_cut {
        line.push('…');
    }
    line
}

/// Also the ends of lines that are not ASCII's.
fn is_control(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}' | '\u{2029}')
}

/// It turns the direction of writing, or is not seen at all.
const fn is_disguise(char: char) -> bool {
    matches!(
        char,
        '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one() {
        for (text, expected) in [
            (&b"two\r\nlines\n"[..], "two lines"),
            (b"a\tb\x0b\x0c\x1b[2J\0c", "a b [2J c"),
            ("a\u{2028}b\u{85}c\u{a0}d".as_bytes(), "a b c d"),
            ("a\u{202e}b".as_bytes(), "a\u{fffd}b"),
            (b"caf\xe9 \x85 x", "café x"),
            ("café".as_bytes(), "café"),
            (b" \n ", ""),
        ] {
            assert_eq!(line(text, 100), expected);
        }
        assert_eq!(line("ééééé".as_bytes(), 5), "ééééé");
        assert_eq!(line("éééééé".as_bytes(), 5), "éééé…");
        assert_eq!(line(&[b' '; 1000], 5), "…");
        assert_eq!(line(&b"x".repeat(100_000), 3), "xx…");
    }

    #[test]
    fn a_block_keeps_its_lines() {
        assert_eq!(block(b"\r\n\none \r\n\ttwo\rthree\n\n", 100), "one\n\ttwo\nthree");
        assert_eq!(block(b"a\x1bb\0", 100), "a\u{fffd}b\u{fffd}");
        assert_eq!(block("aéb".as_bytes(), 2), "a…");
        assert_eq!(block("aéb".as_bytes(), 3), "aé…");
        assert_eq!(block(b"a\xe9\xe9\xe9\xe9", 3), "aéé…");
        assert_eq!(block(&[0x80; 8], 4).chars().count(), 2);
    }
}
