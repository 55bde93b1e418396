//! What may be written to a terminal.

use anyhow::{Context as _, bail};
use std::fmt;
use std::io::{self, BufRead as _, IsTerminal as _, StdoutLock, Write};
pub(crate) use tripline_diagnose::{Style, printable};

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

/// A text in one line, whatever is in it.
pub(crate) fn one_line(text: &str) -> String {
    printable(&text.replace('\n', "\\n").replace('\t', "\\t")).into_owned()
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
