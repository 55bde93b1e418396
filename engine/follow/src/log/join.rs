//! Lines that belong together: where an entry of more than one line begins.

use regex::bytes::{Regex, RegexBuilder};
use std::fmt;

/// The most lines of a joined entry.
pub const LINES_MAX: u32 = 10_000;

/// How much of each line is looked at, in bytes.
const LOOK_BYTES_MAX: usize = 4096;

/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4096;

/// The most memory of a compiled pattern, and of what it remembers while it
/// searches, in bytes each.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// How deep the parentheses of a pattern may nest.
const NEST_MAX: u32 = 50;

/// Which lines make one entry.
///
/// An entry is at most as long as the longest line
/// ([`LineRules::line_bytes_max`](super::lines::LineRules::line_bytes_max)) and
/// has at most [`LINES_MAX`] lines. A line that would continue an entry beyond
/// that begins the next, and the entry before it is marked incomplete. The
/// first line of all begins an entry whatever it looks like, and so does a line
/// behind one that is longer than the bound, or behind a group whose time was
/// over.
#[derive(Clone, Debug)]
pub enum Join {
    /// A line that matches begins an entry, any other continues the one
    /// before. Made by [`Join::start`]. The pattern sees the first 4 KiB of the
    /// line, without its line end.
    Start(Regex),
    /// A line that begins with a space or a tab continues the one before.
    Indent,
}

impl Join {
    /// Lines that match `pattern` begin an entry.
    ///
    /// The pattern is matched against bytes: `.` is any byte, and `\d`, `\w`,
    /// `\s` and the case of letters are those of ASCII.
    pub fn start(pattern: &str) -> Result<Self, PatternError> {
        if pattern.is_empty() {
            return Err(PatternError("the pattern is empty".into()));
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            let problem = format!("the pattern is longer than {PATTERN_BYTES_MAX} bytes");
            return Err(PatternError(problem));
        }
        RegexBuilder::new(pattern)
            .unicode(false)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .nest_limit(NEST_MAX)
            .build()
            .map(Self::Start)
            .map_err(|error| PatternError::of(pattern, &error))
    }

    /// Whether a line begins an entry. `is_whole`: it ends there, with or
    /// without a line feed; otherwise it is longer than what is looked at.
    fn is_start(&self, line: &[u8], is_whole: bool, look: usize) -> bool {
        match self {
            Self::Indent => !matches!(line.first(), Some(b' ' | b'\t')),
            Self::Start(pattern) => pattern.is_match(shown(line, is_whole, look)),
        }
    }

    /// How much of a line must be there to decide before its end is there.
    fn decides_after(&self, look: usize) -> usize {
        match self {
            Self::Indent => 1,
            // One more, as what is shown of a whole line lacks a CR at its end.
            Self::Start(_) => look + 1,
        }
    }
}

/// What a pattern sees of a line.
fn shown(line: &[u8], is_whole: bool, look: usize) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    match line.get(..look) {
        Some(first) if line.len() > look => first,
        _ if is_whole => line.strip_suffix(b"\r").unwrap_or(line),
        _ => line,
    }
}

/// What is wrong with a pattern, in a user's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError(String);

impl PatternError {
    fn of(pattern: &str, error: &regex::Error) -> Self {
        Self(match error {
            regex::Error::CompiledTooBig(limit) => {
                format!("the pattern needs more than {limit} bytes when compiled")
            }
            // A drawing of the place, and the reason on the last line.
            error => {
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                format!("the pattern {pattern:?} cannot be read: {reason}")
            }
        })
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PatternError {}

/// An entry that has all its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) bytes: usize,
    pub(super) lines: u32,
    /// It ended at a bound and not where it ends.
    pub(super) incomplete: bool,
}

/// Puts lines into groups, one after the other. It is told of every line and
/// answers with the group that ended before it.
#[derive(Debug)]
pub(super) struct Joiner {
    join: Join,
    /// The longest group, in bytes without its last line feed.
    bytes_max: usize,
    /// How much of each line is looked at: never more than what is kept of a
    /// line longer than the bound.
    look: usize,
    /// The open group: its whole lines. No lines when none is open.
    bytes: usize,
    lines: u32,
    /// Whether the line behind the group begins the next, once that is known.
    is_start: Option<bool>,
}

impl Joiner {
    pub(super) fn new(join: Join, bytes_max: usize) -> Self {
        let look = LOOK_BYTES_MAX.min(bytes_max);
        Self { join, bytes_max, look, bytes: 0, lines: 0, is_start: None }
    }

    /// The bytes of the open group.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops the open group; returns how many lines it had.
    pub(super) fn forget(&mut self) -> u32 {
        self.is_start = None;
        self.bytes = 0;
        std::mem::take(&mut self.lines)
    }

    /// The next line, with its line feed. One that is longer than the bound
    /// ends the group and begins none.
    pub(super) fn line(&mut self, line: &[u8]) -> Option<Closed> {
        let is_start = self.lines > 0 && self.is_start(line);
        self.is_start = None;
        let closed = self.close_before(line.len() - 1, is_start);
        if line.len() <= self.bytes_max + 1 {
            self.bytes += line.len();
            self.lines += 1;
        }
        closed
    }

    /// The next line as far as it is there, its end is not. The group ends when
    /// that can be said for sure, whatever comes.
    pub(super) fn torn(&mut self, torn: &[u8]) -> Option<Closed> {
        if self.lines == 0 || torn.len() < self.join.decides_after(self.look) {
            return None;
        }
        let is_start = match self.is_start {
            Some(is_start) => is_start,
            None => self.join.is_start(torn, false, self.look),
        };
        self.is_start = Some(is_start);
        self.close_before(torn.len(), is_start)
    }

    /// The last line, when nothing comes behind it. The group stays when the
    /// line belongs to it.
    pub(super) fn last(&mut self, torn: &[u8]) -> Option<Closed> {
        if torn.is_empty() {
            return self.over();
        }
        let is_start = self.lines > 0 && self.is_start(torn);
        self.close_before(torn.len(), is_start)
    }

    /// The group has waited long enough.
    pub(super) fn over(&mut self) -> Option<Closed> {
        self.close(false)
    }

    /// How many bytes, and line feeds, the entry at hand has if the line ends
    /// as it is there: without the line when that begins another.
    pub(super) fn preview(&self, torn: &[u8]) -> (usize, u32) {
        let is_alone = !torn.is_empty()
            && self.lines > 0
            && (self.is_start(torn) || !self.fits(torn.len()));
        let torn = if is_alone { 0 } else { torn.len() };
        (self.bytes + torn, self.lines)
    }

    fn is_start(&self, line: &[u8]) -> bool {
        self.is_start.unwrap_or_else(|| self.join.is_start(line, true, self.look))
    }

    /// Ends the group before a line of `len` bytes, if it does not take it.
    fn close_before(&mut self, len: usize, is_start: bool) -> Option<Closed> {
        let does_continue = !is_start && self.fits(len);
        if does_continue { None } else { self.close(!is_start) }
    }

    fn fits(&self, len: usize) -> bool {
        self.bytes + len <= self.bytes_max && self.lines < LINES_MAX
    }

    fn close(&mut self, incomplete: bool) -> Option<Closed> {
        let bytes = self.bytes;
        match self.forget() {
            0 => None,
            lines => Some(Closed { bytes, lines, incomplete }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_pattern_is_explained() {
        for (pattern, reason) in [
            ("", "the pattern is empty"),
            ("(a", "the pattern \"(a\" cannot be read: unclosed group"),
            (
                "a{2,1}",
                "the pattern \"a{2,1}\" cannot be read: invalid repetition count range, \
                 the start must be <= the end",
            ),
            (
                r"(\w{100}){100}{9}",
                "the pattern needs more than 1048576 bytes when compiled",
            ),
            (&"x".repeat(5000), "the pattern is longer than 4096 bytes"),
            (
                r"^\p{Lu}",
                "the pattern \"^\\\\p{Lu}\" cannot be read: Unicode not allowed here",
            ),
        ] {
            assert_eq!(Join::start(pattern).unwrap_err().to_string(), reason);
        }
        let nested = format!("{}a{}", "(".repeat(60), ")".repeat(60));
        assert!(Join::start(&nested).is_err());
    }

    #[test]
    fn a_pattern_sees_bytes_without_the_line_end() {
        for (pattern, line, expected) in [
            ("^a.b$", &b"a\xffb\r\n"[..], true),
            ("^a.b$", b"a\0b\n", true),
            ("^a.b$", b"a\0b\r\r\n", false),
            ("^é", "é\n".as_bytes(), true),
            (r"^\d", "٣\n".as_bytes(), false),
            ("(?i)^error", b"ERROR\n", true),
            ("^$", b"\r\n", true),
        ] {
            let join = Join::start(pattern).unwrap();
            assert_eq!(join.is_start(line, true, 100), expected, "{pattern}");
        }
    }

    #[test]
    fn only_the_start_of_a_line_is_looked_at() {
        let join = Join::start("x").unwrap();
        let mut line = vec![b' '; LOOK_BYTES_MAX];
        line.extend(b"x\n");
        assert!(!join.is_start(&line, true, LOOK_BYTES_MAX));
        line.remove(0);
        assert!(join.is_start(&line, true, LOOK_BYTES_MAX));
    }

    #[test]
    fn a_long_torn_line_decides_once() {
        let mut joiner = Joiner::new(Join::start("^b").unwrap(), 10);
        let closed = |bytes, lines, incomplete| Some(Closed { bytes, lines, incomplete });
        assert_eq!(joiner.line(b"abc\n"), None);
        assert_eq!(joiner.torn(b"b123456789"), None, "a CR may be its last");
        assert_eq!(joiner.torn(b"b123456789x"), closed(4, 1, false));
        assert_eq!(joiner.torn(b"b123456789xy"), None, "only once");
        assert_eq!(joiner.line(b"b123456789xyz\n"), None);
        assert_eq!(joiner.bytes(), 0, "a line beyond the bound is in no group");
        assert_eq!(joiner.line(b"continues nothing\n"), None);
        assert_eq!(joiner.line(b"c\n"), None);
        assert_eq!(joiner.line(b"12345\n"), None);
        assert_eq!(joiner.line(b"123\n"), closed(8, 2, true));
        assert_eq!(joiner.over(), closed(4, 1, false));
        assert_eq!(joiner.over(), None);
    }
}
