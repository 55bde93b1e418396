//! A flush that is on its way.

use std::time::Duration;

/// The listener said that what it was given will be durable soon; the lane asks
/// from time to time whether it is.
#[derive(Debug)]
pub(crate) struct Flight {
    pause: Duration,
}

impl Flight {
    /// An answer from the same host takes about as long.
    const FIRST: Duration = Duration::from_millis(1);
    /// No pause is longer.
    const MAX: Duration = Duration::from_millis(20);

    pub(crate) const fn new() -> Self {
        Self { pause: Self::FIRST }
    }

    /// How long to rest before the next question; longer each time.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(Self::MAX);
        pause
    }
}
