//! A listener's own work, as its lane and the ledger see it.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tripline_api::{Bell, Change, Kept};

/// What one flush tells the ledger: committed together or not at all.
pub(crate) struct Message {
    pub(crate) changes: Vec<Change>,
    /// Who wants to know when it is on the disk.
    pub(crate) keeper: Option<Keeper>,
}

impl Message {
    /// Changes of which nobody wants to know that.
    pub(crate) const fn of(changes: Vec<Change>) -> Self {
        Self { changes, keeper: None }
    }
}

/// Somebody who wants to know when what is kept with a number is on the disk.
#[derive(Clone)]
pub(crate) struct Keeper {
    number: u64,
    saved: Arc<AtomicU64>,
    bell: Sender<()>,
}

impl Keeper {
    /// It is on the disk, with all of smaller numbers.
    pub(crate) fn is_saved(&self) {
        self.saved.fetch_max(self.number, Ordering::SeqCst);
        ring(&self.bell);
    }

    /// Whether the other one is of the same listener.
    pub(crate) fn is_of_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.saved, &other.saved)
    }
}

/// What a lane knows of its listener's own work.
pub(crate) struct Own {
    /// What was kept before this start, until the listener took it.
    pub(crate) kept: Option<Vec<Kept>>,
    rings: Receiver<()>,
    bell: Sender<()>,
    saved: Arc<AtomicU64>,
    number: u64,
    told: u64,
}

impl Own {
    pub(crate) fn new(kept: Vec<Kept>) -> Self {
        let (bell, rings) = bounded(1);
        let (kept, saved) = (Some(kept), Arc::default());
        Self { kept, rings, bell, saved, number: 0, told: 0 }
    }

    /// For whoever does some of the work elsewhere.
    pub(crate) fn bell(&self) -> Bell {
        let bell = self.bell.clone();
        Arc::new(move || ring(&bell))
    }

    /// Rings again: whoever waited for the bell leaves it as it was.
    pub(crate) fn ring(&self) {
        ring(&self.bell);
    }

    pub(crate) const fn rings(&self) -> &Receiver<()> {
        &self.rings
    }

    /// Whether somebody rang.
    pub(crate) fn is_rung(&self) -> bool {
        !self.rings.is_empty()
    }

    /// Whether somebody rang since this was asked last.
    pub(crate) fn was_rung(&self) -> bool {
        self.rings.try_recv().is_ok()
    }

    /// The number of what is kept next, and who is to be told of it.
    pub(crate) fn next(&mut self) -> Keeper {
        self.number += 1;
        let (number, saved) = (self.number, Arc::clone(&self.saved));
        Keeper { number, saved, bell: self.bell.clone() }
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// What is on the disk, if that is more than was told.
    pub(crate) fn news(&mut self) -> Option<u64> {
        let saved = self.saved.load(Ordering::SeqCst);
        (saved > std::mem::replace(&mut self.told, saved)).then_some(saved)
    }

    /// Whether all that was kept is on the disk, and the listener knows.
    pub(crate) const fn is_settled(&self) -> bool {
        self.told == self.number
    }
}

/// A bell that rings already need not be rung.
fn ring(bell: &Sender<()>) {
    _ = bell.try_send(());
}
