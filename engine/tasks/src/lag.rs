//! Whether what is read is happening, or happened long ago.
//!
//! While the daemon was away the files went on. What it reads then happened before, and
//! rules that count in windows, or wait for what does not come, must not take an hour for
//! a second. So while a source brings what is old, and at a start until it was looked at,
//! the time of rules is the one that entries carry, until the source is at its end. Of
//! several files the one that is furthest behind says how far the clock goes: what the
//! others bring does not make anything late that is still to be read.

use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tripline_api::{Batch, SourceId};
use tripline_rules::evaluate::{Behind, SKEW_MILLIS_MAX};

/// What is older than this when it is read happened before.
const YOUNG_MAX: Duration = Duration::from_secs(60);
/// So many entries are looked at for one with a time.
const UNTIMED_MAX: usize = 100;
/// So many files of a source are told apart; of further ones the one that is furthest
/// behind counts.
const FILES_MAX: usize = 1_000;

/// The sources of which old entries may come.
#[derive(Debug, Default)]
pub(crate) struct Lags(BTreeMap<SourceId, Lag>);

/// How far each file of a source came, in seconds since 1970; nothing while the source
/// was not looked at.
type Lag = BTreeMap<Option<Arc<Path>>, i64>;

impl Lags {
    /// A source begins: nobody knows yet how far it is behind.
    pub(crate) fn begin(&mut self, source: &SourceId) {
        self.0.entry(source.clone()).or_default();
    }

    /// A batch comes; returns how it is with its entries if they, or others, happened
    /// before.
    pub(crate) fn see(&mut self, batch: &Batch<'_>, now: Timestamp) -> Option<Behind> {
        let file = batch.log.map(|log| Arc::clone(log.path));
        self.comes(batch.source, file, times(batch, now), now)
    }

    fn comes(
        &mut self,
        source: &SourceId,
        mut file: Option<Arc<Path>>,
        times: Times,
        now: Timestamp,
    ) -> Option<Behind> {
        let oldest = now.as_second().saturating_sub(YOUNG_MAX.as_secs().cast_signed());
        match times {
            // What carries no time is never old.
            Times::NotAsked => _ = self.0.remove(source),
            // A batch may begin long ago and end now, or the other way around.
            Times::Of(first, last) if first.min(last) < oldest => self.begin(source),
            Times::Of(..) | Times::Unknown => {}
        }
        let mut is_shared = false;
        let mut behind = Behind { is_in_order: true, ..Behind::default() };
        if let Some(lag) = self.0.get_mut(source) {
            is_shared = !lag.contains_key(&file) && lag.len() >= FILES_MAX;
            if is_shared {
                file = None;
            }
            let before = lag.get(&file).copied();
            if let Times::Of(_, last) = times {
                let last = last.min(now.as_second());
                let reached = match before {
                    Some(before) if is_shared => last.min(before),
                    Some(before) => last.max(before),
                    None => last,
                };
                lag.insert(file.clone(), reached);
            }
            behind.is_in_order = lag.len() <= 1;
        }
        if self.0.is_empty() {
            return None;
        }
        let own = (!is_shared).then_some((source, &file));
        behind.until = self.reached_by_others(own, source, now);
        Some(behind)
    }

    /// How far all other files came; `None` while that is not known.
    fn reached_by_others(
        &self,
        own: Option<(&SourceId, &Option<Arc<Path>>)>,
        source: &SourceId,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut until = now.as_second();
        for (other, lag) in &self.0 {
            if other != source && lag.is_empty() {
                return None;
            }
            let others = lag.iter().filter(|(file, _)| own != Some((other, *file)));
            until = others.map(|(_, reached)| *reached).fold(until, i64::min);
        }
        // This very instant, not the second in which it is.
        if until == now.as_second() { Some(now) } else { instant(until) }
    }

    /// All that was there of a source came, or nothing can be had of it now.
    pub(crate) fn at_end(&mut self, source: &SourceId) {
        self.0.remove(source);
    }

    /// Whether what is read happened before; the clock stands still then.
    pub(crate) fn behind(&self) -> Option<Behind> {
        if self.0.is_empty() { None } else { Some(Behind::default()) }
    }
}

/// The times that entries say.
#[derive(Clone, Copy, Debug)]
enum Times {
    /// Nobody asked for those of the source: to the rules its entries happen when they come.
    NotAsked,
    /// None.
    Unknown,
    /// Of the first and the last one that says its own, in seconds since 1970.
    Of(i64, i64),
}

/// The times of a batch. One that is still to come says nothing.
fn times(batch: &Batch<'_>, now: Timestamp) -> Times {
    let newest = now.as_second().saturating_add(SKEW_MILLIS_MAX / 1000);
    let is_believed = |time: &i64| *time <= newest;
    let first = match batch.log {
        Some(log) if log.time.is_none() => return Times::NotAsked,
        Some(_) => {
            batch.entries().take(UNTIMED_MAX).filter_map(|it| it.time()).find(is_believed)
        }
        None => batch.marks.iter().find_map(|mark| mark.by).map(|mark| mark.time),
    };
    let last = batch.last_time().filter(is_believed);
    match (first.filter(is_believed), last) {
        (None, None) => Times::Unknown,
        (Some(one), None) | (None, Some(one)) => Times::Of(one, one),
        (Some(first), Some(last)) => Times::Of(first, last),
    }
}

fn instant(second: i64) -> Option<Timestamp> {
    Timestamp::from_second(second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tripline_api::{Cursor, LineTime, LogFile, Place, Span, TimeFormat};

    const NOW: i64 = 1_000_000;

    fn id(name: &str) -> SourceId {
        SourceId::new(name).unwrap()
    }

    /// Entries from then to then; until when the clock may go, if they are behind.
    fn comes(lags: &mut Lags, name: &str, times: Times) -> Option<Behind> {
        let (name, file) = name.split_once('/').unwrap_or((name, ""));
        let file = Some(Arc::from(Path::new(file)));
        lags.comes(&id(name), file, times, instant(NOW).unwrap())
    }

    fn until(lags: &mut Lags, name: &str, from: i64, to: i64) -> Option<i64> {
        comes(lags, name, Times::Of(from, to)).unwrap().until.map(Timestamp::as_second)
    }

    #[test]
    fn it_is_behind_until_all_are_at_their_end() {
        let mut lags = Lags::default();
        lags.begin(&id("a"));
        lags.begin(&id("b"));
        assert_eq!(until(&mut lags, "a", 100, 200), None, "of `b` nothing is known");
        assert_eq!(until(&mut lags, "b", 300, 400), Some(200));
        assert_eq!(until(&mut lags, "a", 200, 500), Some(400));
        assert_eq!(until(&mut lags, "live", NOW, NOW), Some(400), "it drives nobody");
        lags.at_end(&id("b"));
        assert_eq!(until(&mut lags, "a", 500, NOW), Some(NOW), "by itself it drives");
        assert_eq!(until(&mut lags, "a", NOW, NOW), Some(NOW));
        lags.at_end(&id("a"));
        assert!(lags.behind().is_none());
        assert!(comes(&mut lags, "a", Times::Of(NOW - 60, NOW)).is_none());
        assert!(
            comes(&mut lags, "a", Times::Of(NOW - 61, NOW)).is_some(),
            "it began old"
        );
        lags.at_end(&id("a"));
        assert!(comes(&mut lags, "a", Times::Of(NOW, NOW - 61)).is_some(), "it ends old");
    }

    #[test]
    fn what_carries_no_time_is_never_old() {
        let mut lags = Lags::default();
        lags.begin(&id("plain"));
        lags.begin(&id("a"));
        let plain = comes(&mut lags, "plain", Times::NotAsked).unwrap();
        assert_eq!((plain.until, plain.is_in_order), (None, true));
        assert!(!lags.0.contains_key(&id("plain")));
        comes(&mut lags, "a", Times::Of(100, 200));
        assert_eq!(until(&mut lags, "b", 100, 300), Some(200));
        comes(&mut lags, "a", Times::Unknown);
        assert_eq!(until(&mut lags, "b", 100, 300), Some(200), "it says nothing new");
        lags.at_end(&id("a"));
        lags.at_end(&id("b"));
        assert!(comes(&mut lags, "plain", Times::NotAsked).is_none());
        assert!(comes(&mut lags, "a", Times::Unknown).is_none());
    }

    /// A log whose lines have these times, `-` for none; the time is 13:46:40.
    fn of_log(name: &str, times: &[&str]) -> Times {
        let source = id(name);
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
        let time = (name != "plain").then_some((&time, 0));
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
        super::times(&batch, instant(NOW).unwrap())
    }

    #[test]
    fn times_are_those_that_are_believed() {
        for (times, wanted) in [
            (&["20:00", "46:39"][..], "Of(998400, 999999)"),
            (&["-", "20:00", "-"], "Of(998400, 998400)"),
            (&["00:01", "58:00"], "Of(997201, 997201)"),
            (&["58:00", "00:01"], "Of(997201, 997201)"),
            (&["58:00"], "Unknown"),
            (&["-"], "Unknown"),
        ] {
            assert_eq!(format!("{:?}", of_log("a", times)), wanted, "{times:?}");
        }
        assert!(matches!(of_log("plain", &["20:00"]), Times::NotAsked));
    }

    #[test]
    fn files_of_a_source_are_told_apart() {
        let mut lags = Lags::default();
        let first = comes(&mut lags, "a/1", Times::Of(100, 900)).unwrap();
        assert!(first.is_in_order);
        let second = comes(&mut lags, "a/2", Times::Of(100, 200)).unwrap();
        assert!(!second.is_in_order);
        assert_eq!(second.until, instant(900));
        assert_eq!(until(&mut lags, "a/1", 900, 950), Some(200));
        for file in 0..2 * FILES_MAX {
            comes(&mut lags, &format!("a/x{file}"), Times::Of(300, 400));
        }
        assert_eq!(lags.0[&id("a")].len(), FILES_MAX + 1);
    }
}
