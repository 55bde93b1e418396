//! Whether what is read is happening, or happened long ago.
//!
//! While the daemon was away the files went on. What it reads then happened before, and
//! rules that count in windows, or wait for what does not come, must not take an hour for
//! a second. So until every source was at its end once, or brings what is young, the time
//! of rules is the one that entries carry.

use jiff::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;
use tripline_api::{Batch, SourceId};
use tripline_rules::evaluate::SKEW_MILLIS_MAX;

/// What is older than this when it is read happened before.
const YOUNG_MAX: Duration = Duration::from_secs(60);

/// The sources of which old entries may come.
#[derive(Debug, Default)]
pub(crate) struct Lags(BTreeSet<SourceId>);

impl Lags {
    /// A source begins: nobody knows yet how far it is behind.
    pub(crate) fn begin(&mut self, source: &SourceId) {
        self.0.insert(source.clone());
    }

    /// Entries are about to be looked at: if one end of them is old, they happened before.
    pub(crate) fn before(&mut self, batch: &Batch<'_>, now: Timestamp) {
        let first = || match batch.log {
            Some(_) => batch.entries().next()?.time(),
            None => batch.marks.iter().find_map(|mark| mark.by).map(|mark| mark.time),
        };
        let is_old = |time: Option<i64>| time.is_some_and(|time| time < oldest(now));
        if has_no_time(batch) {
            self.0.remove(batch.source);
        } else if !self.0.contains(batch.source)
            && (is_old(batch.last_time()) || is_old(first()))
        {
            self.0.insert(batch.source.clone());
        }
    }

    /// They were looked at: if the last is young, so is what comes behind them. One that
    /// carries no time says nothing of that, nor does one that is still to come.
    pub(crate) fn behind(&mut self, batch: &Batch<'_>, now: Timestamp) {
        let newest = now.as_second().saturating_add(SKEW_MILLIS_MAX / 1000);
        let is_young = |time| (oldest(now)..=newest).contains(&time);
        if batch.last_time().is_some_and(is_young) {
            self.0.remove(batch.source);
        }
    }

    /// All that was there of a source came.
    pub(crate) fn at_end(&mut self, source: &SourceId) {
        self.0.remove(source);
    }

    /// Whether what is read happened before.
    pub(crate) fn is_behind(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Nobody asked for the times of its lines: to the rules they happen when they come.
fn has_no_time(batch: &Batch<'_>) -> bool {
    batch.log.is_some_and(|log| log.time.is_none())
}

/// What is older happened before, in seconds since 1970.
fn oldest(now: Timestamp) -> i64 {
    now.as_second().saturating_sub(YOUNG_MAX.as_secs().cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use tripline_api::{Cursor, LineTime, LogFile, Place, Span, TimeFormat};

    /// A log whose lines have these times, `-` for none.
    fn play(lags: &mut Lags, name: &str, times: &[&str]) -> (bool, bool) {
        let source = SourceId::new(name).unwrap();
        let line = |time: &&str| match *time {
            "-" => "a trace\n".to_owned(),
            second => format!("1970-01-12T13:{second}Z x\n"),
        };
        let lines: Vec<_> = times.iter().map(line).collect();
        let ends = lines.iter().scan(0, |end, line| {
            *end += line.len() as u32;
            Some(Span { end: *end, lines: 1, incomplete: false })
        });
        let spans: Vec<_> = ends.collect();
        let (bytes, path) = (lines.concat(), Path::new("x").into());
        let time = LineTime::new(TimeFormat::Iso, Some("UTC")).unwrap();
        let time = (!name.starts_with("plain")).then_some((&time, 0));
        let log = LogFile { path: &path, cut: None, is_preview: false, time };
        let batch = Batch {
            source: &source,
            log: Some(log),
            start: Place::default(),
            did_rotate: false,
            bytes: bytes.as_bytes(),
            spans: &spans,
            marks: &[],
            end: &Cursor::unproved(Place::default()),
        };
        // 13:46:40
        let now = Timestamp::from_second(1_000_000).unwrap();
        lags.before(&batch, now);
        let with = lags.is_behind();
        lags.behind(&batch, now);
        (with, lags.is_behind())
    }

    #[test]
    fn it_is_behind_until_all_are_at_their_end_or_young() {
        let mut lags = Lags::default();
        let id = |name| SourceId::new(name).unwrap();
        lags.begin(&id("a"));
        lags.begin(&id("b"));
        assert_eq!(play(&mut lags, "a", &["20:00"]), (true, true));
        assert_eq!(
            play(&mut lags, "a", &["46:39"]),
            (true, true),
            "of `b` nothing is known"
        );
        lags.at_end(&id("b"));
        assert!(!lags.is_behind());
        assert_eq!(
            play(&mut lags, "b", &["00:00"]),
            (true, true),
            "an old file came back"
        );
        assert_eq!(
            play(&mut lags, "b", &["00:01", "-"]),
            (true, true),
            "a trace has no time"
        );
        assert_eq!(
            play(&mut lags, "b", &["00:01", "58:00"]),
            (true, true),
            "still to come"
        );
        assert_eq!(
            play(&mut lags, "b", &["00:02", "46:00"]),
            (true, false),
            "the first of them are old"
        );
        assert_eq!(play(&mut lags, "b", &["-", "46:00", "-"]), (false, false));
        lags.begin(&id("plain"));
        assert_eq!(play(&mut lags, "plain", &["20:00"]), (false, false), "nobody asked");
    }
}
