//! What time it is, for what waits: the system's, or a test's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A clock that only goes forward. A test winds one on by hand, so that what
/// waits for a minute is tested in no time.
#[derive(Clone, Debug)]
pub struct Clock {
    began: Instant,
    /// Milliseconds since then; `None` for the system's.
    by_hand: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self { began: Instant::now(), by_hand: None }
    }

    /// A clock that stands still until it is wound on; its copies go with it.
    pub fn by_hand() -> Self {
        Self { began: Instant::now(), by_hand: Some(Arc::default()) }
    }

    /// The time by this clock.
    pub fn now(&self) -> Instant {
        match &self.by_hand {
            None => Instant::now(),
            Some(millis) => self.began + Duration::from_millis(millis.load(Relaxed)),
        }
    }

    /// Winds a clock on that goes by hand; the system's goes by itself.
    pub fn wind_on(&self, by: Duration) {
        if let Some(millis) = &self.by_hand {
            millis.fetch_add(by.as_millis() as u64, Relaxed);
        }
    }
}
