//! The threads that do actions, and what they have, from one set of rules to the next.

use crate::workers::Workers;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tripline_act::Hands;

/// Holds what is under way while one listener of rules ends and another one begins, so that
/// a reload neither waits for a slow action nor ends it.
///
/// ```text
///  old.hand_over()   the old rules are told to end, and leave their actions here
///  new.take_over(&old)   the new rules find them here
/// ```
#[derive(Default)]
pub struct Crew {
    is_to_stay: AtomicBool,
    held: Mutex<Option<Held>>,
}

/// Those who do actions, and what they do them with.
pub(crate) struct Held {
    pub(crate) hands: Arc<Hands>,
    pub(crate) workers: Workers,
}

impl Crew {
    /// Nothing is under way.
    pub fn new() -> Self {
        Self::default()
    }

    /// When the rules end, what is under way goes on: others take over.
    pub fn hand_over(&self) {
        self.is_to_stay.store(true, Ordering::SeqCst);
    }

    /// Takes what the rules before have left.
    pub fn take_over(&self, from: &Self) {
        if let Some(held) = from.take() {
            self.put(held);
        }
    }

    pub(crate) fn is_to_stay(&self) -> bool {
        self.is_to_stay.load(Ordering::SeqCst)
    }

    pub(crate) fn take(&self) -> Option<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn put(&self, held: Held) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew")
            .field("is_to_stay", &self.is_to_stay())
            .finish_non_exhaustive()
    }
}
