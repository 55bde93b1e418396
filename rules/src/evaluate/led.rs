//! How many events one event may lead to.
//!
//! What a rule fires may lead to another event, an `Emit` or the end of a task, and that to
//! another firing. [`DEPTH_MAX`](super::machine::DEPTH_MAX) bounds how deep that goes, and
//! this how much it becomes in all: of rules that make ten of one, the eighth generation
//! would have a hundred million. What begins it is known by a number, which goes with all
//! that follows; what comes of the time, and not of an event, begins anew.
//! They are written in the order of their use, in which they are forgotten.

use super::written;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What is known of those events that led to others lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Led {
    /// How many events each led to, by the number of what it began with; the one that led
    /// to one more last is the last.
    counts: VecDeque<(u64, u32)>,
    /// When it was last said that there were too many.
    #[serde(deserialize_with = "written::maybe_time")]
    pub(super) told_at: Option<i64>,
}

impl Led {
    /// Counts one event more. `false`: it is one too many.
    pub(super) fn is_one_more(&mut self, origin: u64) -> bool {
        let at = self.counts.iter().rposition(|(known, _)| *known == origin);
        let known = at.and_then(|at| self.counts.remove(at));
        let count = known.map_or(0, |(_, count)| count);
        let is_fine = count < EVENTS_MAX;
        self.counts.push_back((origin, count + u32::from(is_fine)));
        while self.counts.len() > ORIGINS_MAX {
            self.counts.pop_front();
        }
        is_fine
    }

    /// Whether there is nothing to be remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// The number of what begins with the event, or the firing, of this id: the same for the
/// same, whoever reckons it and when.
pub(super) fn origin(id: &str) -> u64 {
    // FNV-1a. Ids are made of sources and places: nobody outside chooses them.
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The most events that one event may lead to in all.
pub const EVENTS_MAX: u32 = 1_000;
/// Of so many that led to others it is known to how many.
const ORIGINS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_by_itself_and_the_oldest_is_forgotten() {
        let mut led = Led::default();
        for _ in 0..EVENTS_MAX {
            assert!(led.is_one_more(1) && led.is_one_more(2));
        }
        assert!(!led.is_one_more(1) && !led.is_one_more(2));
        for origin in 3..=ORIGINS_MAX as u64 {
            assert!(led.is_one_more(origin));
        }
        // The one that was used last stays, and is still full.
        assert!(!led.is_one_more(1));
        assert!(led.is_one_more(0) && led.counts.len() == ORIGINS_MAX);
        assert!(!led.is_one_more(1));
        assert!(led.is_one_more(2), "it was forgotten");
    }

    #[test]
    fn what_was_written_is_read() {
        let mut led = Led { told_at: Some(7), ..Led::default() };
        assert!(led.is_one_more(u64::MAX) && led.is_one_more(origin("log/0/7")));
        let written = serde_json::to_vec(&led).unwrap();
        let read: Led = serde_json::from_slice(&written).unwrap();
        assert_eq!((&read.counts, read.told_at), (&led.counts, Some(7)));
        // More than there may be are fewer after the next.
        let counts = (0..3000).map(|it| (it, u32::MAX)).collect();
        let mut led = Led { counts, ..Led::default() };
        assert!(!led.is_one_more(2999) && led.counts.len() == ORIGINS_MAX);
    }
}
