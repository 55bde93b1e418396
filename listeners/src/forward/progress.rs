//! How far a batch got that has to come again.

use tripline_api::{Place, View};

/// Remembers how many entries of a view were taken before a call had to end:
/// the same view comes again, and goes on behind them.
#[derive(Debug, Default)]
pub(super) struct Progress(Option<(Key, usize)>);

/// What tells one view from another. The engine hands the same view over again
/// as often as it takes; this is for when it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    source: String,
    start: Place,
    bytes: usize,
    entries: usize,
    is_preview: bool,
}

impl Key {
    fn of(view: &View<'_>) -> Self {
        let batch = view.batch();
        Self {
            source: batch.source.to_string(),
            start: batch.start,
            bytes: batch.bytes.len(),
            entries: view.len(),
            is_preview: batch.log.is_some_and(|log| log.is_preview),
        }
    }
}

impl Progress {
    /// How many entries of this view were taken; forgets it.
    pub(super) fn take(&mut self, view: &View<'_>) -> usize {
        let taken = self.0.take().filter(|(key, _)| *key == Key::of(view));
        taken.map_or(0, |(_, done)| done)
    }

    /// So many were taken.
    pub(super) fn keep(&mut self, view: &View<'_>, done: usize) {
        self.0 = (done > 0).then(|| (Key::of(view), done));
    }

    /// What was taken is in doubt.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Feed;

    #[test]
    fn only_the_same_view_goes_on() {
        let feed = Feed::new("p4").log("/a", b"one\ntwo\n").log("/b", b"one\ntwo\n");
        let batches = feed.unsettled(&Default::default(), usize::MAX);
        let [a, b] = &batches[..] else { panic!("{batches:?}") };
        let (a, b) = (View::all(a.view()), View::all(b.view()));
        let mut progress = Progress::default();
        progress.keep(&a, 1);
        assert_eq!(progress.take(&a), 1);
        assert_eq!(progress.take(&a), 0, "it is told once");
        progress.keep(&a, 1);
        assert_eq!(progress.take(&b), 0, "another log");
        progress.keep(&a, 1);
        let some = View::some(*a.batch(), &[false, true]);
        assert_eq!(progress.take(&some), 0, "not all of it");
        progress.keep(&a, 1);
        progress.forget();
        assert_eq!(progress.take(&a), 0);
    }
}
