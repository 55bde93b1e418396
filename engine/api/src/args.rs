//! Arguments of sources and listeners, as written in the configuration.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::time::Duration;

/// The arguments of one source or listener: RON text such as
/// `(from: ["p4"], to: "backup")`.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    text: &'a str,
}

impl<'a> Args<'a> {
    /// Takes the text from the opening to the closing parenthesis; an empty
    /// text stands for `()`.
    pub const fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// Reads the arguments into a struct, which should say
    /// `#[serde(deny_unknown_fields)]`.
    ///
    /// # Errors
    ///
    /// With the place of the first word that does not fit.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        let text = if self.text.is_empty() { "()" } else { self.text };
        options().from_str(text).map_err(|error| ArgsError {
            message: error.code.to_string(),
            at: Some(byte_range(text, &error.span)),
        })
    }
}

/// The RON dialect of every Tripline file: `Some` may be left out.
fn options() -> ron::Options {
    ron::Options::default()
        .with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME)
        .with_default_extension(ron::extensions::Extensions::UNWRAP_NEWTYPES)
}

/// RON counts lines and columns (in characters) from 1; everybody else wants
/// bytes.
fn byte_range(text: &str, span: &ron::error::Span) -> Range<usize> {
    let start = byte_at(text, &span.start);
    let end = byte_at(text, &span.end);
    start..end.max(start)
}

fn byte_at(text: &str, position: &ron::error::Position) -> usize {
    let mut line_start = 0;
    for _ in 1..position.line {
        match text[line_start..].find('\n') {
            Some(at) => line_start += at + 1,
            None => return text.len(),
        }
    }
    let line = &text[line_start..];
    let column = position.col.saturating_sub(1);
    line.char_indices().nth(column).map_or(text.len(), |(at, _)| line_start + at)
}

/// Arguments that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ArgsError {
    /// What is wrong and how to put it right.
    pub message: String,
    /// Which bytes of the arguments' text, when it is one stretch of them.
    pub at: Option<Range<usize>>,
}

impl ArgsError {
    /// Something is wrong with the arguments as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), at: None }
    }
}

/// A duration as people write it: `"5s"`, `"2m 30s"`, `"1h"`, `"2d"`, of which each has 24
/// hours. Never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct FriendlyDuration(pub Duration);

impl TryFrom<String> for FriendlyDuration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let with_days = || {
            let span: jiff::Span = text.parse().ok()?;
            span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()
        };
        let parsed = text.parse::<jiff::SignedDuration>().ok().or_else(with_days);
        let parsed = parsed.ok_or_else(|| {
            format!("`{text}` is no duration: write it like \"5s\" or \"2m 30s\"")
        })?;
        let duration = Duration::try_from(parsed)
            .map_err(|_| format!("`{text}` is negative: a duration goes forward"))?;
        Ok(Self(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        to: String,
        quiet: Option<FriendlyDuration>,
    }

    #[test]
    fn arguments_read() {
        let example: Example =
            Args::new(r#"(to: "x", quiet: "2m 30s")"#).parse().unwrap();
        assert_eq!(example.to, "x");
        assert_eq!(example.quiet.unwrap().0, Duration::from_secs(150));
    }

    #[test]
    fn days_have_24_hours() {
        let seconds = |text: &str| {
            FriendlyDuration::try_from(text.to_owned()).map(|it| it.0.as_secs())
        };
        assert_eq!(seconds("366 days"), Ok(366 * 86_400));
        assert_eq!(seconds("1d 2h"), Ok(26 * 3600));
        assert_eq!(seconds("1w"), Ok(7 * 86_400));
        for (wrong, words) in [
            ("1 month", "is no duration"),
            ("5", "is no duration"),
            ("9999999999999999999 days", "is no duration"),
            ("-2 days", "is negative"),
        ] {
            let why = seconds(wrong).unwrap_err();
            assert!(why.contains(words), "{wrong}: {why}");
        }
    }

    #[test]
    fn an_error_has_its_bytes() {
        let text = "(\n    to: \"é\",\n    quit: \"5s\",\n)";
        let error = Args::new(text).parse::<Example>().unwrap_err();
        assert_eq!(&text[error.at.unwrap()], "quit");
        let text = "(to: \"x\", quiet: \"soon\")";
        let error = Args::new(text).parse::<Example>().unwrap_err();
        assert!(error.message.contains("no duration"), "{error}");
        assert!(text[error.at.unwrap()].contains("soon"));
    }
}
