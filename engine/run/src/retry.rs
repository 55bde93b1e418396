//! How long to wait before trying again.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Pauses that grow twofold up to a bound, each drawn at random between half of
/// its length and all of it, so that many instances do not come back at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    most: Duration,
    seed: u64,
}

impl Backoff {
    /// The first pause is at most this long.
    pub const FIRST: Duration = Duration::from_millis(100);
    /// No pause is longer.
    pub const MAX: Duration = Duration::from_secs(60);

    /// A backoff that has not failed yet, whose pauses differ from those of all
    /// others, also on other hosts that were started with the same configuration.
    pub fn random() -> Self {
        Self::new(RandomState::new().hash_one(0))
    }

    /// The same with pauses that the seed decides.
    pub const fn new(seed: u64) -> Self {
        Self { next: Self::FIRST, most: Self::MAX, seed }
    }

    /// With a bound of its own, for what costs little to try.
    pub const fn at_most(self, most: Duration) -> Self {
        Self { most, ..self }
    }

    /// Something failed: how long to wait.
    pub fn pause(&mut self) -> Duration {
        let ceiling = self.next;
        self.next = (self.next * 2).min(self.most);
        // xorshift64*: jitter needs to differ, not to be unpredictable.
        self.seed = self.seed.max(1);
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        let draw = self.seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        let half = ceiling / 2;
        half + half.mul_f64(draw as f64 / f64::from(u32::MAX))
    }

    /// It worked: the next failure starts from the first pause. Returns whether
    /// anything had failed since the last success.
    pub fn succeeded(&mut self) -> bool {
        let had_failed = self.next != Self::FIRST;
        self.next = Self::FIRST;
        had_failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_bounds_and_differ() {
        let mut one = Backoff::new(7);
        let mut other = Backoff::new(8);
        let mut differ = false;
        let mut ceiling = Backoff::FIRST;
        for _ in 0..20 {
            let (a, b) = (one.pause(), other.pause());
            assert!(a >= ceiling / 2 && a <= ceiling, "{a:?} of {ceiling:?}");
            differ |= a != b;
            ceiling = (ceiling * 2).min(Backoff::MAX);
        }
        assert!(differ);
        assert!(one.succeeded());
        assert!(!one.succeeded());
        assert!(one.pause() <= Backoff::FIRST);
    }
}
