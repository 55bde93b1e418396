//! What may be written to a terminal.

use anyhow::{Context as _, bail};
use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead as _, IsTerminal as _, StdoutLock, Write};

/// Whether to write colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Text only.
    Plain,
    /// With colours.
    Coloured,
}

/// The style for standard error: colours on a terminal whose user did not set
/// `NO_COLOR` and which can show them.
pub(crate) fn for_stderr() -> Style {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if std::io::stderr().is_terminal() && !set("NO_COLOR") && !dumb {
        Style::Coloured
    } else {
        Style::Plain
    }
}

/// Tells the user something, in a line on standard error. When even that is
/// closed nobody is left to be told, and nothing else changes.
pub(crate) fn say(words: fmt::Arguments<'_>) {
    let line = format!("tripline: {words}\n");
    _ = io::stderr().write_all(printable(&line).as_bytes());
}

/// Asks the user, who has to say yes.
///
/// # Errors
///
/// When there is no terminal to ask on.
pub(crate) fn confirmed(question: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("{question} Say --yes: there is no terminal to ask on");
    }
    eprint!("tripline: {question} [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Standard output of a command whose exit code is its answer. Whoever closes
/// it has had enough, as `head` has: what is written from then on goes
/// nowhere, and the answer is found all the same.
pub(crate) struct Answers {
    stdout: StdoutLock<'static>,
    is_closed: bool,
}

impl Answers {
    /// Standard output, for this command alone.
    pub(crate) fn new() -> Self {
        Self { stdout: io::stdout().lock(), is_closed: false }
    }

    fn unless_closed<T>(&mut self, done: io::Result<T>, closed: T) -> io::Result<T> {
        match done {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(closed)
            }
            done => done,
        }
    }
}

impl Write for Answers {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let written = self.stdout.write(bytes);
        self.unless_closed(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let flushed = self.stdout.flush();
        self.unless_closed(flushed, ())
    }
}

/// The text with every character escaped that could steer a terminal: file
/// names and file content are written by others.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if steers(character) {
            plain.extend(character.escape_unicode());
        } else {
            plain.push(character);
        }
    }
    Cow::Owned(plain)
}

/// Control characters but line feed and tab, and those that change the
/// direction of text.
pub(crate) fn steers(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        _ => character.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_escaped() {
        assert_eq!(printable("plain\ttext\n"), "plain\ttext\n");
        assert_eq!(
            printable("\x1b[2J\u{9b}1m\u{202e}x"),
            "\\u{1b}[2J\\u{9b}1m\\u{202e}x"
        );
    }
}
