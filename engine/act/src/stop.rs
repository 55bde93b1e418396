//! That a daemon stops, told to all who wait for something.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Says once, to everybody who has a copy of it, that what is under way is to end. It can
/// be waited on ([`Stop::wait`]), and it can end what somebody waits for
/// ([`Stop::when_stopped`]).
#[derive(Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_stopped: bool,
    next: u64,
    calls: BTreeMap<u64, Call>,
}

type Call = Box<dyn FnOnce() + Send>;

/// Something that is called at the stop, unless this is dropped before.
#[must_use = "it is not called any more when this is dropped"]
pub struct OnStop {
    stop: Stop,
    number: u64,
}

impl Stop {
    /// Nothing is to end yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All that is under way is to end. Does not wait for that.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        let calls = std::mem::take(&mut state.calls);
        drop(state);
        self.0.changed.notify_all();
        calls.into_values().for_each(|call| call());
    }

    /// Whether that was said.
    pub fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    /// Waits until it is said, or until this time; returns whether it was.
    pub fn wait(&self, until: Instant) -> bool {
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.is_stopped || left.is_zero() {
                return state.is_stopped;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Has this called when it is said; at once if it was. It must not block.
    pub fn when_stopped(&self, call: impl FnOnce() + Send + 'static) -> OnStop {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        if state.is_stopped {
            drop(state);
            call();
        } else {
            state.calls.insert(number, Box::new(call));
        }
        OnStop { stop: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OnStop {
    fn drop(&mut self) {
        let call = self.stop.lock().calls.remove(&self.number);
        // Not while the lock is held: it may own whatever it likes.
        drop(call);
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.is_stopped()).finish()
    }
}

impl fmt::Debug for OnStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnStop").field("stop", &self.stop).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    #[test]
    fn it_is_said_once_to_all() {
        let stop = Stop::new();
        let called = Arc::new(AtomicUsize::new(0));
        let count = |by: usize| {
            let called = Arc::clone(&called);
            move || _ = called.fetch_add(by, SeqCst)
        };
        let kept = stop.when_stopped(count(1));
        drop(stop.when_stopped(count(10)));
        assert!(!stop.wait(Instant::now()) && !stop.is_stopped());
        std::thread::scope(|scope| {
            let waits =
                scope.spawn(|| stop.wait(Instant::now() + Duration::from_secs(600)));
            stop.stop();
            assert!(waits.join().unwrap());
        });
        stop.stop();
        drop(kept);
        let late = stop.when_stopped(count(100));
        assert_eq!(called.load(SeqCst), 101);
        drop(late);
    }
}
