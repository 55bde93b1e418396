//! The end of what somebody said, however much that was.

use std::fmt;

/// The last bytes of a stream.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Tail {
    /// So many bytes are kept.
    pub const BYTES_MAX: usize = 4096;
    /// So many of them are shown in a sentence.
    const SHOWN_BYTES_MAX: usize = 500;

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(Self::BYTES_MAX)..];
        let over = (self.bytes.len() + kept.len()).saturating_sub(Self::BYTES_MAX);
        self.is_cut |= over > 0 || kept.len() < bytes.len();
        self.bytes.drain(..over.min(self.bytes.len()));
        self.bytes.extend_from_slice(kept);
    }

    /// The last bytes, [`Tail::BYTES_MAX`] at most.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there was nothing but white space.
    pub fn is_empty(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }

    /// Whether there was more before it.
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }
}

impl fmt::Display for Tail {
    /// The end of it on one line, with everything escaped that could steer a
    /// terminal or look like the end of a quotation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.bytes.trim_ascii();
        let from = text.len().saturating_sub(Self::SHOWN_BYTES_MAX);
        if self.is_cut || from > 0 {
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
