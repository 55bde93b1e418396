//! A store that fails when it is told to, for tests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tripline_api::{
    Change, Filed, Gap, Kept, Key, LetterCounts, ListenerId, Progress, Store, StoreError,
};

/// Wraps a store and makes commits of one's choice fail.
///
/// Commits are counted from 1. Reading never fails.
#[derive(Debug)]
pub struct FaultStore<S> {
    inner: S,
    faults: Faults,
}

impl<S: Store> FaultStore<S> {
    /// Wraps a store; [`Faults::fail`] says what fails.
    pub fn new(inner: S) -> (Self, Faults) {
        let faults = Faults::default();
        (Self { inner, faults: faults.clone() }, faults)
    }
}

/// A handle on a [`FaultStore`] that was given away.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    commits: u64,
    faults: Vec<Fault>,
}

/// Which commits fail, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of the first commit that fails; 1 is the first of all.
    pub at: u64,
    /// All later commits fail too, until [`Faults::clear`].
    pub lasts: bool,
    /// What a commit that fails has done.
    pub effect: Effect,
}

/// What a commit that fails has done to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing, as the [`Store`] promises.
    None,
    /// Everything: more than a store may do, but a process that dies between
    /// the commit and the answer sees the same.
    Full,
}

impl Faults {
    /// Adds a fault.
    pub fn fail(&self, fault: Fault) {
        self.plan().faults.push(fault);
    }

    /// Takes all faults away.
    pub fn clear(&self) {
        self.plan().faults.clear();
    }

    /// How many commits were tried so far.
    pub fn commits(&self) -> u64 {
        self.plan().commits
    }

    /// Counts a commit and says how it fails, if it does.
    fn next(&self) -> Option<Effect> {
        let mut plan = self.plan();
        plan.commits += 1;
        let number = plan.commits;
        plan.faults
            .iter()
            .find(|fault| fault.at == number || fault.lasts && fault.at < number)
            .map(|fault| fault.effect)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> Store for FaultStore<S> {
    fn progress(&mut self) -> Result<Vec<Progress>, StoreError> {
        self.inner.progress()
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let effect = self.faults.next();
        if effect != Some(Effect::None) {
            self.inner.commit(changes)?;
        }
        match effect {
            None => Ok(()),
            Some(_) => Err(StoreError {
                what: "progress was not saved".into(),
                cause: "a test made this commit fail".into(),
            }),
        }
    }

    fn gaps(&mut self) -> Result<Vec<(Key, Gap)>, StoreError> {
        self.inner.gaps()
    }

    fn letters(&mut self) -> Result<Vec<Filed>, StoreError> {
        self.inner.letters()
    }

    fn letter_counts(&mut self) -> Result<LetterCounts, StoreError> {
        self.inner.letter_counts()
    }

    fn kept(&mut self, listener: &ListenerId) -> Result<Vec<Kept>, StoreError> {
        self.inner.kept(listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use crate::conformance::{self, example};

    #[test]
    fn without_faults_it_conforms() {
        conformance::conforms(|| Box::new(FaultStore::new(MemoryStore::new()).0));
    }

    #[test]
    fn commits_fail_by_number() {
        let changes = example::changes();
        let (mut store, faults) = FaultStore::new(MemoryStore::new());
        faults.fail(Fault { at: 2, lasts: false, effect: Effect::None });
        faults.fail(Fault { at: 4, lasts: true, effect: Effect::None });
        let outcomes: Vec<_> = (1..=6).map(|_| store.commit(&changes).is_ok()).collect();
        assert_eq!(outcomes, [true, false, true, false, false, false]);
        assert_eq!(faults.commits(), 6);
        faults.clear();
        store.commit(&changes).unwrap();
    }

    #[test]
    fn a_commit_may_take_effect_and_fail() {
        let changes = example::changes();
        let mut memory = MemoryStore::new();
        let (mut store, faults) = FaultStore::new(memory.clone());
        faults.fail(Fault { at: 1, lasts: false, effect: Effect::None });
        faults.fail(Fault { at: 2, lasts: false, effect: Effect::Full });
        store.commit(&changes).unwrap_err();
        assert!(memory.progress().unwrap().is_empty());
        store.commit(&changes).unwrap_err();
        assert!(!memory.progress().unwrap().is_empty());
    }
}
