//! A listener's own work, as its lane and the ledger see it.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tripline_api::{Bell, Change, Kept};

/// What was kept may be so many bytes ahead of what is on the disk ...
const AHEAD_BYTES_MAX: u64 = 256 << 20;
/// ... and so many flushes.
const AHEAD_MAX: usize = 1000;
/// What a row takes besides its name and value.
const ROW_BYTES: usize = 64;

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
    /// What was kept and is not on the disk: numbers and their bytes.
    ahead: VecDeque<(u64, u64)>,
    ahead_bytes: u64,
}

impl Own {
    pub(crate) fn new(kept: Vec<Kept>) -> Self {
        let (bell, rings) = bounded(1);
        let (kept, saved) = (Some(kept), Arc::default());
        let (number, told, ahead_bytes) = (0, 0, 0);
        Self {
            kept,
            rings,
            bell,
            saved,
            number,
            told,
            ahead: VecDeque::new(),
            ahead_bytes,
        }
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

    /// This is kept with the last number; returns how many bytes it has.
    pub(crate) fn kept(&mut self, kept: &[Kept]) -> u64 {
        let bytes =
            |it: &Kept| ROW_BYTES + it.name.len() + it.value.as_ref().map_or(0, Vec::len);
        let bytes = kept.iter().map(bytes).sum::<usize>() as u64;
        self.ahead_bytes += bytes;
        let is_full = self.ahead.len() >= AHEAD_MAX;
        match self.ahead.back_mut().filter(|_| is_full) {
            // It is on the disk when the newer one is.
            Some(last) => *last = (self.number, last.1 + bytes),
            None => self.ahead.push_back((self.number, bytes)),
        }
        bytes
    }

    /// Whether so much of what was kept is not on the disk that no more should come: what
    /// waits for a store that fails is bounded.
    pub(crate) fn is_far_ahead(&self) -> bool {
        self.ahead.len() >= AHEAD_MAX || self.ahead_bytes >= AHEAD_BYTES_MAX
    }

    /// What is on the disk, if that is more than was told.
    pub(crate) fn news(&mut self) -> Option<u64> {
        let saved = self.saved.load(Ordering::SeqCst);
        while let Some((number, bytes)) = self.ahead.front().copied()
            && number <= saved
        {
            self.ahead.pop_front();
            self.ahead_bytes -= bytes;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(bytes: usize) -> Vec<Kept> {
        vec![Kept { name: "x".to_owned(), value: Some(vec![0; bytes]) }]
    }

    #[test]
    fn what_is_kept_is_not_far_ahead_of_the_disk() {
        let mut own = Own::new(Vec::new());
        let large = AHEAD_BYTES_MAX as usize / 4;
        for (bytes, count) in [(large, 4), (0, AHEAD_MAX), (1, 3 * AHEAD_MAX)] {
            assert!(!own.is_far_ahead());
            let mut keepers = Vec::new();
            for _ in 0..count {
                keepers.push(own.next());
                assert!(own.kept(&rows(bytes)) >= bytes as u64);
            }
            assert!(own.is_far_ahead() && own.ahead.len() <= AHEAD_MAX);
            keepers.last().unwrap().is_saved();
            assert_eq!(own.news(), Some(own.number()));
            assert_eq!((own.ahead.len(), own.ahead_bytes), (0, 0));
        }
        let (first, second) = (own.next(), own.next());
        own.kept(&rows(1));
        first.is_saved();
        assert!(own.news().is_some() && own.ahead.len() == 1, "that is the second one");
        second.is_saved();
        assert!(own.news().is_some() && own.ahead.is_empty());
    }
}
