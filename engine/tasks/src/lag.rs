//! Whether what is read is happening, or happened long ago.
//!
//! While the daemon was away the files went on. What it reads then happened before, and
//! rules that count in windows, or wait for what does not come, must not take an hour for
//! a second. So until every source was at its end once, or brings what is young, the time
//! of rules is the one that entries carry.

use jiff::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;
use tripline_api::SourceId;

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

    /// Entries come, of which the last carries this time, in seconds since 1970.
    pub(crate) fn see(&mut self, source: &SourceId, time: Option<i64>, now: Timestamp) {
        // What carries no time is never old.
        let oldest = now.as_second().saturating_sub(YOUNG_MAX.as_secs().cast_signed());
        let is_old = time.is_some_and(|time| time < oldest);
        if !is_old {
            self.0.remove(source);
        } else if !self.0.contains(source) {
            self.0.insert(source.clone());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_behind_until_all_are_at_their_end_or_young() {
        let id = |name| SourceId::new(name).unwrap();
        let now = Timestamp::from_second(1_000_000).unwrap();
        let mut lags = Lags::default();
        lags.begin(&id("a"));
        lags.begin(&id("b"));
        lags.see(&id("a"), Some(999_000), now);
        assert!(lags.is_behind());
        lags.see(&id("a"), Some(999_999), now);
        assert!(lags.is_behind(), "of `b` nothing is known");
        lags.at_end(&id("b"));
        assert!(!lags.is_behind());
        lags.see(&id("b"), Some(0), now);
        assert!(lags.is_behind(), "an old file came back");
        lags.see(&id("b"), None, now);
        assert!(!lags.is_behind());
    }
}
