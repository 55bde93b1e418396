//! What an answer means.

use jiff::Timestamp;
use std::time::Duration;

/// What comes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver has it.
    Taken,
    /// It may work later: not before this time has passed, if it said so.
    Again { why: String, after: Option<Duration> },
    /// It will never take this.
    Refused(String),
    /// It will never take this because it is too long.
    TooLong(String),
}

/// An answer, as far as it matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) retry_after: Option<&'a str>,
    pub(super) location: Option<&'a str>,
    /// The start of what it says.
    pub(super) text: &'a [u8],
}

/// However long a receiver asks for, it is asked again after this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// So much of what it says is shown.
const SHOWN_CHARS: usize = 200;

impl Answer<'_> {
    /// What it means. What is wrong with the request itself, and would be with
    /// any other one, is no reason to give entries up: a person can mend it.
    pub(super) fn verdict(&self, target: &str, now: Timestamp) -> Verdict {
        let why = |what: &str| {
            let said = shown(self.text);
            let said = if said.is_empty() { said } else { format!(": {said}") };
            format!("{target} answered {}{what}{said}", self.status)
        };
        let after = self.retry_after.and_then(|written| retry_after(written, now));
        match self.status {
            200..=299 => Verdict::Taken,
            300..=399 => {
                let to = self.location.map(|to| shown(to.as_bytes()));
                let to = to.map_or_else(String::new, |to| format!(" to {to}"));
                let why = why(&format!(
                    ", a redirection{to}, which is not followed: write where it leads \
                     in `to`"
                ));
                Verdict::Again { why, after }
            }
            401 | 403 | 407 => {
                let why = why(", it does not let us in: see to `token` or `headers`");
                Verdict::Again { why, after }
            }
            404 | 405 => {
                let why = why(", nothing is posted there: see to the address in `to`");
                Verdict::Again { why, after }
            }
            408 | 425 | 429 | 500..=599 => Verdict::Again { why: why(""), after },
            413 => Verdict::TooLong(why("")),
            400..=499 => Verdict::Refused(why("")),
            _ => Verdict::Again { why: why(", which is no answer"), after },
        }
    }
}

/// Seconds, or a date.
pub(super) fn retry_after(written: &str, now: Timestamp) -> Option<Duration> {
    let written = written.trim();
    let seconds = match written.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let date = jiff::fmt::rfc2822::DateTimeParser::new();
            let date = date.parse_timestamp(written).ok()?;
            let seconds = date.as_second().saturating_sub(now.as_second());
            u64::try_from(seconds).unwrap_or(0)
        }
    };
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// The first line of it, without what could steer a terminal.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.trim().lines().next().unwrap_or_default();
    let shown: String = line.chars().take(SHOWN_CHARS).collect();
    let shown = shown.escape_debug().to_string().replace("\\\"", "\"");
    if shown.is_empty() { shown } else { format!("`{shown}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, retry_after: Option<&str>, text: &[u8]) -> Verdict {
        let answer = Answer { status, retry_after, location: Some("/x\x1b"), text };
        let now = "2026-11-20T20:00:00Z".parse().unwrap();
        answer.verdict("https://h/", now)
    }

    fn after(retry_after: &str) -> Option<Duration> {
        match verdict(503, Some(retry_after), b"") {
            Verdict::Again { after, .. } => after,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_status_means_something() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(verdict(status, None, b"whatever"), Verdict::Taken);
        }
        let again = [
            100, 199, 301, 302, 307, 308, 401, 403, 404, 405, 407, 408, 425, 429, 500,
            502, 503, 504, 599, 999,
        ];
        for status in again {
            let verdict = verdict(status, None, b"");
            assert!(matches!(verdict, Verdict::Again { after: None, .. }), "{status}");
        }
        for status in [400, 402, 406, 409, 410, 415, 422, 451, 499] {
            assert!(
                matches!(verdict(status, None, b""), Verdict::Refused(_)),
                "{status}"
            );
        }
        assert!(matches!(verdict(413, None, b""), Verdict::TooLong(_)));
    }

    #[test]
    fn what_it_says_is_shown_harmlessly() {
        let text = b"\n {\"error\": \"no \x1b[2J field\"}\nsecond line";
        let Verdict::Refused(why) = verdict(422, None, text) else { panic!() };
        assert_eq!(
            why,
            "https://h/ answered 422: `{\"error\": \"no \\u{1b}[2J field\"}`"
        );
        let Verdict::Refused(why) = verdict(422, None, &[b'x'; 9999]) else { panic!() };
        assert_eq!(why.len(), "https://h/ answered 422: ``".len() + SHOWN_CHARS);
        let Verdict::Again { why, .. } = verdict(302, None, b"") else { panic!() };
        assert!(why.contains("a redirection to `/x\\u{1b}`, which is not"), "{why}");
    }

    #[test]
    fn it_says_when_to_come_again() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(after("0"), seconds(0));
        assert_eq!(after(" 120 "), seconds(120));
        assert_eq!(after("99999999999"), seconds(600));
        assert_eq!(after("Fri, 20 Nov 2026 20:00:30 GMT"), seconds(30));
        assert_eq!(after("Fri, 20 Nov 2026 19:00:00 GMT"), seconds(0));
        assert_eq!(after("Fri, 20 Nov 2099 19:00:00 GMT"), seconds(600));
        for bad in ["", "-1", "soon", "1.5", "999999999999999999999999"] {
            assert_eq!(after(bad), None, "{bad}");
        }
    }
}
