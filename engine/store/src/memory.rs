//! A store without a disk, for tests.

use crate::change::{apply, nothing_yet};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tripline_api::{
    Change, Content, Filed, Gap, Kept, Key, Letter, LetterCounts, ListenerId, Progress,
    Store, StoreError,
};

/// Keeps everything in memory.
///
/// A clone is a second handle to the same content: a test keeps one, gives the
/// other away, and looks inside whenever it likes. What was committed outlives
/// the handle that committed it, as on a disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    content: Arc<Mutex<Contents>>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    progress: BTreeMap<Key, Progress>,
    gaps: Vec<(Key, Gap)>,
    letters: Vec<Filed>,
    last_number: u64,
    kept: BTreeMap<(ListenerId, String), Vec<u8>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn content(&self) -> MutexGuard<'_, Contents> {
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

    fn letters(&mut self) -> Result<Vec<Filed>, StoreError> {
        Ok(self.content().letters.clone())
    }

    fn letter_counts(&mut self) -> Result<LetterCounts, StoreError> {
        let mut counts = LetterCounts::new();
        for Filed { letter, .. } in &self.content().letters {
            let key = (letter.key.source.clone(), letter.key.listener.clone());
            *counts.entry(key).or_default() += 1;
        }
        Ok(counts)
    }

    fn kept(&mut self, listener: &ListenerId) -> Result<Vec<Kept>, StoreError> {
        let content = self.content();
        let own = content.kept.iter().filter(|((of, _), _)| of == listener);
        let kept = |((_, name), value): (&(ListenerId, String), &Vec<u8>)| Kept {
            name: name.clone(),
            value: Some(value.clone()),
        };
        Ok(own.map(kept).collect())
    }
}

impl Contents {
    fn keep(&mut self, listener: &ListenerId, kept: &[Kept]) {
        for Kept { name, value } in kept {
            let key = (listener.clone(), name.clone());
            match value {
                Some(value) => drop(self.kept.insert(key, value.clone())),
                None => drop(self.kept.remove(&key)),
            }
        }
    }

    fn make(&mut self, change: &Change) -> Result<(), StoreError> {
        let Some(key) = change.key() else {
            if let Change::Keep { listener, kept } = change {
                self.keep(listener, kept);
            }
            return Ok(());
        };
        match change {
            Change::Forget { .. } => {
                self.progress.remove(key);
                return Ok(());
            }
            Change::SetAside(letter) => {
                self.set_aside(letter.clone());
                return Ok(());
            }
            Change::Unfile { number, .. } => {
                let is_it = |it: &Filed| it.number == *number && it.letter.key == *key;
                self.letters.retain(|filed| !is_it(filed));
                return Ok(());
            }
            _ => {}
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

    fn set_aside(&mut self, letter: Letter) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let time = since.map_or(0, |since| since.as_secs().cast_signed());
        let is_made = |letter: &Letter| matches!(letter.content, Content::Made(_));
        let is_same = |filed: &&mut Filed| {
            let there = &filed.letter;
            (&there.key, is_made(there)) == (&letter.key, is_made(&letter))
                && there.place.era == letter.place.era
                && there.place.sequence == letter.place.sequence
                && there.place.offset == letter.place.offset
        };
        match self.letters.iter_mut().find(is_same) {
            Some(there) => {
                let attempts = there.letter.attempts.saturating_add(letter.attempts);
                there.letter = Letter { attempts, ..letter };
                there.time = time;
            }
            None => {
                self.last_number += 1;
                self.letters.push(Filed { number: self.last_number, time, letter });
            }
        }
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
