//! What may take longer than anybody wants to wait.

use crate::{Outcome, Stop, failed};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Builder;
use std::time::Instant;

/// So many threads may be under way, those that nobody waits for any more included.
const THREADS_MAX: usize = 256;

/// Runs things in threads of their own.
#[derive(Default)]
pub(crate) struct Aside {
    under_way: Arc<AtomicUsize>,
}

/// What waiting came to.
pub(crate) enum Waited<T> {
    /// It ended, with this.
    Said(T),
    /// Its time is over.
    Late,
    /// It was stopped.
    Stopped,
    /// It was not begun, or died.
    Failed(String),
}

enum Word<T> {
    Said(T),
    Stopped,
    Died,
}

impl Aside {
    /// Runs `work` and waits for what it says, until this time or until `stop`; then calls
    /// `cancel` and leaves it alone.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        name: &str,
        until: Instant,
        stop: &Stop,
        work: impl FnOnce() -> T + Send + 'static,
        cancel: impl FnOnce(),
    ) -> Waited<T> {
        let Some(place) = self.enter() else {
            return Waited::Failed(format!(
                "not begun: {THREADS_MAX} actions are under way already, most of which \
                 took too long and do not end"
            ));
        };
        // One word of the thread, one of the stop.
        let (sender, words) = sync_channel(2);
        let last = LastWord { sender: sender.clone(), is_said: false };
        let thread = move || {
            let (_place, mut last) = (place, last);
            let said = work();
            last.is_said = true;
            // Perhaps nobody hears it any more.
            _ = last.sender.try_send(Word::Said(said));
        };
        if let Err(error) = Builder::new().name(name.to_owned()).spawn(thread) {
            return Waited::Failed(format!("not begun: no thread: {error}"));
        }
        let on_stop = stop.when_stopped(move || _ = sender.try_send(Word::Stopped));
        let left = until.saturating_duration_since(Instant::now());
        let waited = match words.recv_timeout(left) {
            Ok(Word::Said(said)) => return Waited::Said(said),
            Ok(Word::Stopped) => Waited::Stopped,
            Ok(Word::Died) => Waited::Failed("the thread that did it died".to_owned()),
            Err(_) => Waited::Late,
        };
        drop(on_stop);
        cancel();
        waited
    }

    fn enter(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.under_way));
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        (before < THREADS_MAX).then_some(place)
    }
}

impl<T> Waited<T> {
    /// What it means for the action, when nothing was said.
    pub(crate) fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Stopped => None,
            Self::Failed(why) => Some(failed(why)),
            Self::Late | Self::Said(_) => {
                Some(Outcome::TimedOut { stderr: String::new() })
            }
        }
    }
}

/// One of the threads that may be under way.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// So that nobody waits for a thread that died.
struct LastWord<T> {
    sender: SyncSender<Word<T>>,
    is_said: bool,
}

impl<T> Drop for LastWord<T> {
    fn drop(&mut self) {
        if !self.is_said {
            _ = self.sender.try_send(Word::Died);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    #[test]
    fn whatever_happens_somebody_answers() {
        let (aside, stop) = (Aside::default(), Stop::new());
        let said = aside.run("a", later(), &stop, || 7, || unreachable!());
        assert!(matches!(said, Waited::Said(7)));
        let died = aside.run("a", later(), &stop, || assert!(stopped()), || {});
        assert!(matches!(died, Waited::Failed(_)));
        let (end, ended) = sync_channel::<()>(1);
        let mut is_cancelled = false;
        let late = aside.run(
            "a",
            Instant::now(),
            &stop,
            move || ended.recv().is_ok(),
            || is_cancelled = true,
        );
        assert!(matches!(late, Waited::Late) && is_cancelled);
        drop(end);
    }

    fn stopped() -> bool {
        false
    }

    #[test]
    fn threads_that_do_not_end_have_a_bound() {
        let (aside, stop) = (Aside::default(), Stop::new());
        let mut ends = Vec::new();
        for _ in 0..THREADS_MAX {
            let (end, ended) = sync_channel::<()>(1);
            ends.push(end);
            let late =
                aside.run("a", Instant::now(), &stop, move || ended.recv().ok(), || {});
            assert!(matches!(late, Waited::Late));
        }
        let more = aside.run("a", later(), &stop, || (), || {});
        assert!(matches!(more, Waited::Failed(why) if why.contains("256 actions")));
        drop(ends);
    }

    #[test]
    fn a_stop_is_noticed_by_those_who_wait() {
        let (aside, stop) = (Aside::default(), Stop::new());
        let (begins, begun) = sync_channel(1);
        let (end, ended) = sync_channel::<()>(1);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let work = move || {
                    begins.send(()).unwrap();
                    ended.recv().is_ok()
                };
                aside.run("a", later(), &stop, work, || {})
            });
            begun.recv().unwrap();
            stop.stop();
            assert!(matches!(waits.join().unwrap(), Waited::Stopped));
        });
        drop(end);
    }
}
