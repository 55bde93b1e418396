//! The end of what somebody said, however much that was.

use std::fmt;

/// The last bytes of a stream.
#[derive(Clone, Debug)]
pub struct Tail {
    /// Twice as many as are kept at most, so that not each push moves them all.
    bytes: Vec<u8>,
    max: usize,
    /// How many there were in all.
    count: u64,
}

impl Default for Tail {
    fn default() -> Self {
        Self::of_at_most(Self::BYTES_MAX)
    }
}

impl Tail {
    /// So many bytes are kept, unless more are asked for.
    pub const BYTES_MAX: usize = 4096;
    /// So many of them are shown in a sentence.
    const SHOWN_BYTES_MAX: usize = 500;

    pub(super) const fn of_at_most(max: usize) -> Self {
        Self { bytes: Vec::new(), max, count: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.count += bytes.len() as u64;
        let kept = &bytes[bytes.len().saturating_sub(self.max)..];
        if self.bytes.len() + kept.len() > 2 * self.max {
            let over = (self.bytes.len() + kept.len()).saturating_sub(self.max);
            self.bytes.drain(..over.min(self.bytes.len()));
        }
        self.bytes.extend_from_slice(kept);
    }

    /// The last bytes: as many as were to be kept at most.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.bytes.len().saturating_sub(self.max)..]
    }

    /// Whether there was nothing but white space.
    pub fn is_empty(&self) -> bool {
        self.bytes().iter().all(u8::is_ascii_whitespace)
    }

    /// Whether there was more before it.
    pub fn is_cut(&self) -> bool {
        self.dropped() > 0
    }

    /// How many bytes there were before it.
    pub fn dropped(&self) -> u64 {
        self.count.saturating_sub(self.bytes().len() as u64)
    }
}

impl fmt::Display for Tail {
    /// The end of it on one line, with everything escaped that could steer a
    /// terminal or look like the end of a quotation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.bytes().trim_ascii();
        let from = text.len().saturating_sub(Self::SHOWN_BYTES_MAX);
        if self.is_cut() || from > 0 {
            f.write_str("[truncated] ")?;
        }
        // A character that was cut in two is shown as one that is none.
        let shown = String::from_utf8_lossy(&text[from..]);
        write!(f, "{}", shown.escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let mut tail = Tail::default();
        assert!(tail.is_empty());
        for piece in [1, 3, 4000, 100, 4096, 10_000, 7] {
            tail.push(&vec![b'a'; piece - 1]);
            tail.push(b"z");
            assert!(tail.bytes().len() <= Tail::BYTES_MAX);
            assert!(tail.bytes().ends_with(b"z"));
        }
        assert_eq!(tail.bytes().len(), Tail::BYTES_MAX);
        assert!(tail.is_cut());
        assert!(tail.bytes().ends_with(b"zaaaaaaz"));
        assert_eq!(tail.dropped(), 1 + 3 + 4000 + 100 + 4096 + 10_000 + 7 - 4096);
    }

    #[test]
    fn what_is_shown_is_harmless() {
        let mut tail = Tail::default();
        tail.push(b"  \x1b]0;x\x07 \"quoted\" \xff caf\xc3\xa9\r\n\xe2\x80\xae\0\n\n");
        let shown = tail.to_string();
        assert_eq!(
            shown,
            r#"\u{1b}]0;x\u{7} \"quoted\" "#.to_owned()
                + "\u{fffd} café"
                + r"\r\n\u{202e}\0"
        );
        tail.push(&[b'x'; 600]);
        assert_eq!(tail.to_string(), format!("[truncated] {}", "x".repeat(500)));
        assert!(!tail.is_cut());
    }
}
