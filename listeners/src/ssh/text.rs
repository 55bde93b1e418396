//! Words of others in messages of ours.

use std::fmt::Write as _;

/// So much of what a peer said goes into a message.
const SHOWN_BYTES_MAX: usize = 400;

/// What a peer said, fit for a message: one line, no control characters, and
/// the end of it where it is long, because that is where the reason stands.
pub(super) fn shown(bytes: &[u8]) -> String {
    let bytes = bytes.trim_ascii();
    let cut = bytes.len().saturating_sub(SHOWN_BYTES_MAX);
    let mut shown = String::from(if cut > 0 { "..." } else { "" });
    for c in String::from_utf8_lossy(&bytes[cut..]).chars() {
        match c {
            '\r' => {}
            '\n' => shown.push_str("; "),
            c if c.is_control() || is_invisible(c) => {
                _ = write!(shown, "{}", c.escape_unicode());
            }
            c => shown.push(c),
        }
    }
    shown
}

/// What changes how the characters around it are shown.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The end of what a peer said, up to a bound.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    bytes: Vec<u8>,
    max: usize,
    dropped: u64,
}

impl Captured {
    /// Keeps the last `max` bytes.
    pub(crate) const fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), max, dropped: 0 }
    }

    /// What is kept: the last bytes that came.
    pub(crate) fn bytes(&self) -> &[u8] {
        let cut = self.bytes.len().saturating_sub(self.max);
        &self.bytes[cut..]
    }

    /// What is kept, fit for a message.
    pub(crate) fn shown(&self) -> String {
        shown(self.bytes())
    }

    /// How many bytes came before those that are kept.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped + self.bytes.len().saturating_sub(self.max) as u64
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let skipped = bytes.len().saturating_sub(self.max);
        self.bytes.extend_from_slice(&bytes[skipped..]);
        self.dropped += skipped as u64;
        // Not at every byte: half of it at a time is moved.
        if self.bytes.len() > self.max * 2 {
            let cut = self.bytes.len() - self.max;
            self.bytes.drain(..cut);
            self.dropped += cut as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_one_harmless_line() {
        assert_eq!(shown(b" no\x1b[2J\r\nroom \n"), "no\\u{1b}[2J; room");
        assert_eq!(shown("\u{202e}x\u{fffd}".as_bytes()), "\\u{202e}x\u{fffd}");
        let long = shown(&[b'x'; 10_000]);
        assert!(long.len() <= SHOWN_BYTES_MAX + 3 && long.starts_with("...x"));
    }

    #[test]
    fn the_end_is_kept() {
        let mut captured = Captured::new(4);
        for bytes in [&b"ab"[..], b"cde", b"", b"fghijklmnop", b"q"] {
            captured.push(bytes);
        }
        assert_eq!(captured.bytes(), b"nopq");
        assert_eq!(captured.dropped() + 4, 17);
        assert!(captured.bytes.len() <= 8);
    }
}
