//! The outline's eyes: blank space, words, texts.

use super::{Node, Parser};
use std::ops::Range;

impl Parser<'_> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The character here, or nothing at the end.
    pub(super) fn character(&self) -> Range<usize> {
        let len = self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        self.at..self.at + len
    }

    pub(super) fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |at| at + 1)
    }

    /// Steps over white space and comments.
    pub(super) fn skip_blank(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            self.at += rest.len() - rest.trim_start().len();
            let rest = &self.text[self.at..];
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.skip_block_comment();
            } else {
                break;
            }
        }
    }

    /// Steps over `#![enable(...)]` and its like at the start of a file.
    pub(super) fn skip_attributes(&mut self) {
        self.skip_blank();
        while self.text[self.at..].starts_with("#!") {
            let rest = &self.text[self.at..];
            self.at += rest.find(']').map_or(rest.len(), |at| at + 1);
            self.skip_blank();
        }
    }

    /// Steps over the colon behind a field's name. When it was forgotten says
    /// so and takes it as written.
    pub(super) fn skip_colon(&mut self, name: &Node) -> bool {
        if self.is_colon() {
            self.at += 1;
            return true;
        }
        let on_this_line = !self.text[name.span.end..self.at].contains('\n');
        let value_follows = self.peek().is_some_and(|byte| match byte {
            b'"' | b'[' | b'{' => true,
            _ => self.at > name.span.end && is_word(byte),
        });
        let is_name =
            self.text[name.span.clone()].starts_with(|c: char| c.is_ascii_lowercase());
        if on_this_line && value_follows && is_name {
            let end = name.span.end;
            self.problem(end..end, "a `:` is missing behind this")
                .code("E008")
                .label("`:`")
                .help("write a `:` here");
            return true;
        }
        false
    }

    pub(super) fn is_colon(&mut self) -> bool {
        self.skip_blank();
        let rest = &self.text[self.at..];
        rest.starts_with(':') && !rest.starts_with("::")
    }

    /// Whether the colon here is followed by a capital letter, as a kind has.
    pub(super) fn is_kind_behind_colon(&self) -> bool {
        let value = self.text[self.at..].trim_start_matches(':').trim_start();
        value.starts_with(|c: char| c.is_ascii_uppercase())
    }

    /// Steps over a name, a number or a character in quotes.
    pub(super) fn skip_word(&mut self) -> bool {
        let start = self.at;
        if self.peek() == Some(b'\'') {
            self.skip_character();
        } else {
            while self.peek().is_some_and(is_word) {
                self.at += 1;
            }
        }
        self.at > start
    }

    /// Steps over a text, raw or not, of characters or of bytes.
    pub(super) fn skip_text(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let prefix = rest.find(|c| c != 'b' && c != 'r').unwrap_or(rest.len());
        let is_raw = match &rest[..prefix] {
            "" | "b" => false,
            "r" | "br" => true,
            _ => return false,
        };
        let after = &rest[prefix..];
        let hashes = after.len() - after.trim_start_matches('#').len();
        if !after[hashes..].starts_with('"') || (hashes > 0 && !is_raw) {
            return false;
        }
        let start = self.at;
        self.at += prefix + hashes + 1;
        let is_closed = if is_raw {
            self.skip_past(&format!("\"{}", "#".repeat(hashes)))
        } else {
            self.skip_escaped_text()
        };
        let from = start + prefix + hashes + 1;
        // One that swallowed others shows by the word behind its end, and by what
        // it swallowed.
        let swallowed = self.text.get(from..self.at).unwrap_or_default();
        let is_suspect = !is_raw && self.peek().is_some_and(is_word);
        let field = if is_suspect { comma_of_field(swallowed) } else { None };
        if !is_closed || field.is_some() || is_suspect && swallowed.contains('\n') {
            self.problem(start..from, "the text that begins here has no end")
                .code("E007")
                .help("write the closing quote; a `\"` inside a text is written `\\\"`");
            self.end_text(from, field.map(|at| from + at));
        }
        true
    }

    /// Takes a text without end, or what is none, to end before `to` or with its
    /// line, in front of the brackets and commas there.
    pub(super) fn end_text(&mut self, from: usize, to: Option<usize>) {
        let rest = &self.text[from..to.unwrap_or(self.text.len())];
        let line = rest.lines().next().unwrap_or_default();
        let text =
            line.trim_end_matches(|c: char| c.is_whitespace() || ")]},".contains(c));
        self.at = from + text.len();
    }

    /// Steps over the rest of a text with escapes; false if it has no end.
    fn skip_escaped_text(&mut self) -> bool {
        loop {
            let rest = &self.text[self.at..];
            let Some(at) = rest.find(['"', '\\']) else {
                self.at = self.text.len();
                return false;
            };
            self.at += at + 1;
            if rest[at..].starts_with('"') {
                return true;
            }
            let escaped = self.character();
            let start = self.at - 1;
            self.at = escaped.end;
            let escape = &self.text[escaped];
            if !matches!(
                escape,
                "" | "\"" | "'" | "\\" | "n" | "r" | "t" | "0" | "x" | "u"
            ) {
                let message = format!("`\\{escape}` means nothing inside \"...\"");
                self.problem(start..self.at, message).code("E006").help(
                    "write the whole text as r\"...\", where a backslash is itself",
                );
            }
        }
    }

    /// Steps over `'x'`, or over the quote alone if that is all there is.
    fn skip_character(&mut self) {
        let rest = &self.text[self.at + 1..];
        let mut characters = rest.char_indices();
        let mut is_escaped = false;
        let end = characters.find(|(at, c)| {
            let ends = *c == '\'' && !is_escaped && *at > 0 || *c == '\n';
            is_escaped = *c == '\\' && !is_escaped;
            ends
        });
        self.at += match end {
            Some((at, '\'')) => at + 2,
            _ => 1,
        };
    }

    fn skip_block_comment(&mut self) {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.at += 2;
            } else if rest.is_empty() {
                self.problem(start..start + 2, "the comment that begins here has no end")
                    .code("E008")
                    .help("write `*/` where it ends");
                return;
            } else {
                self.at = self.character().end;
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_past(&mut self, end: &str) -> bool {
        let rest = &self.text[self.at..];
        let found = rest.find(end);
        self.at += found.map_or(rest.len(), |at| at + end.len());
        found.is_some()
    }
}

/// The comma of the first `, name:` in the text's first line.
fn comma_of_field(text: &str) -> Option<usize> {
    let line = text.lines().next()?;
    line.match_indices(',').map(|(at, _)| at).find(|at| {
        let behind = line[at + 1..].trim_start();
        let rest =
            behind.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_');
        rest.len() < behind.len() && rest.starts_with(':')
    })
}

/// Names and numbers, and what people take for them: RON itself is exact.
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'.' | b'+' | b'-' | b'#')
        || !byte.is_ascii()
}
