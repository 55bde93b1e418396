//! A store without a disk, for tests.

use crate::change::{apply, nothing_yet};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tripline_api::{Change, Gap, Key, Progress, Store, StoreError};

/// Keeps everything in memory.
///
/// A clone is a second handle to the same content: a test keeps one, gives the
/// other away, and looks inside whenever it likes. What was committed outlives
/// the handle that committed it, as on a disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    content: Arc<Mutex<Content>>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    progress: BTreeMap<Key, Progress>,
    gaps: Vec<(Key, Gap)>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // The content is replaced as a whole, so a thread that panicked while
        // it had the lock left it sound.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn progress(&mut self) -> Result<Vec<Progress>, StoreError> {
        Ok(self.content().progress.values().cloned().collect())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut content = self.content();
        let mut next = content.clone();
        for change in changes {
            next.make(change)?;
        }
        *content = next;
        Ok(())
    }

    fn gaps(&mut self) -> Result<Vec<(Key, Gap)>, StoreError> {
        Ok(self.content().gaps.clone())
    }
}

impl Content {
    fn make(&mut self, change: &Change) -> Result<(), StoreError> {
        let key = change.key();
        if let Change::Forget { .. } = change {
            self.progress.remove(key);
            return Ok(());
        }
        let progress =
            self.progress.entry(key.clone()).or_insert_with(|| nothing_yet(key.clone()));
        apply(progress, change)?;
        if let Change::Gap { gap, .. } = change {
            // Its proof is in the cursor, and of use nowhere else.
            self.gaps.push((key.clone(), Gap { proof: None, ..gap.clone() }));
            self.forget_old_gaps(key);
        }
        Ok(())
    }

    fn forget_old_gaps(&mut self, key: &Key) {
        let is_of = |of: &Key| (&of.source, &of.listener) == (&key.source, &key.listener);
        if self.gaps.iter().filter(|(of, _)| is_of(of)).count() > <dyn Store>::GAPS_MAX
            && let Some(oldest) = self.gaps.iter().position(|(of, _)| is_of(of))
        {
            self.gaps.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[test]
    fn it_conforms() {
        conformance::conforms(|| Box::new(MemoryStore::new()));
    }

    #[test]
    fn it_persists_as_long_as_a_handle_does() {
        let store = MemoryStore::new();
        conformance::persists(|| Box::new(store.clone()));
    }
}
