//! A store that dies with its process, and the disk that outlives it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tripline_api::{
    Change, Filed, Gap, Kept, Key, LetterCounts, ListenerId, Progress, Store, StoreError,
};
use tripline_store::{Effect, Fault, FaultStore, MemoryStore, SqliteStore};
use tripline_tasks::Rules;

/// Where stores are between two starts.
pub(crate) struct Shelf {
    place: Place,
    open: Arc<Mutex<Option<Box<dyn Store>>>>,
}

enum Place {
    Disk(PathBuf),
    Memory(MemoryStore),
}

impl Shelf {
    pub(crate) fn on_disk(path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        Self { place: Place::Disk(path.to_owned()), open: Arc::default() }
    }

    pub(crate) fn in_memory() -> Self {
        Self { place: Place::Memory(MemoryStore::new()), open: Arc::default() }
    }

    fn store(&self) -> Box<dyn Store> {
        match &self.place {
            Place::Disk(path) => Box::new(SqliteStore::open(path).unwrap()),
            Place::Memory(store) => Box::new(store.clone()),
        }
    }

    /// Reads what is there, in the store that is open or by itself.
    fn read<T>(&self, read: impl FnOnce(&mut dyn Store) -> T) -> T {
        match &mut *self.open.lock().unwrap() {
            Some(store) => read(&mut **store),
            None => read(&mut *self.store()),
        }
    }

    pub(crate) fn progress(&self) -> Vec<Progress> {
        self.read(|store| store.progress().unwrap())
    }

    /// What the rules remember.
    pub(crate) fn kept(&self) -> BTreeMap<String, Vec<u8>> {
        let id = ListenerId::new(Rules::NAME).unwrap();
        let kept = self.read(|store| store.kept(&id).unwrap());
        kept.into_iter().map(|it| (it.name, it.value.unwrap_or_default())).collect()
    }
}

/// The store of a process that dies at a commit: from there on nothing reaches the disk,
/// and nobody is left to be told so.
#[derive(Clone)]
pub(crate) struct Mortal {
    open: Arc<Mutex<Option<Box<dyn Store>>>>,
    life: Arc<Mutex<Life>>,
}

struct Life {
    commits: u64,
    dies_at: Option<u64>,
    /// The last commit is on the disk, although nobody knows.
    takes_effect: bool,
    is_dead: bool,
}

impl Mortal {
    pub(crate) fn new(shelf: &Shelf, dies_at: Option<u64>, takes_effect: bool) -> Self {
        let (store, faults) = FaultStore::new(Boxed(shelf.store()));
        // The disk is full for a moment, too.
        if let Some(at) = dies_at {
            faults.fail(Fault { at: at.div_ceil(2), lasts: false, effect: Effect::None });
        }
        *shelf.open.lock().unwrap() = Some(Box::new(store));
        let life = Life { commits: 0, dies_at, takes_effect, is_dead: false };
        Self { open: Arc::clone(&shelf.open), life: Arc::new(Mutex::new(life)) }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.life.lock().unwrap().is_dead
    }

    pub(crate) fn die(&self) {
        let mut life = self.life.lock().unwrap();
        life.is_dead = true;
        *self.open.lock().unwrap() = None;
    }

    fn with<T>(
        &self,
        call: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError>
    where
        T: Default,
    {
        match &mut *self.open.lock().unwrap() {
            Some(store) => call(&mut **store),
            None => Ok(T::default()),
        }
    }
}

impl Store for Mortal {
    fn progress(&mut self) -> Result<Vec<Progress>, StoreError> {
        self.with(|store| store.progress())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut life = self.life.lock().unwrap();
        if life.is_dead {
            return Ok(());
        }
        life.commits += 1;
        let dies = life.dies_at == Some(life.commits);
        let mut open = self.open.lock().unwrap();
        let Some(store) = &mut *open else { return Ok(()) };
        if !dies {
            return store.commit(changes);
        }
        if life.takes_effect {
            store.commit(changes)?;
        }
        life.is_dead = true;
        *open = None;
        Ok(())
    }

    fn gaps(&mut self) -> Result<Vec<(Key, Gap)>, StoreError> {
        self.with(|store| store.gaps())
    }

    fn letters(&mut self) -> Result<Vec<Filed>, StoreError> {
        self.with(|store| store.letters())
    }

    fn letter_counts(&mut self) -> Result<LetterCounts, StoreError> {
        self.with(|store| store.letter_counts())
    }

    fn kept(&mut self, listener: &ListenerId) -> Result<Vec<Kept>, StoreError> {
        self.with(|store| store.kept(listener))
    }
}

/// A store of any kind as one kind.
struct Boxed(Box<dyn Store>);

impl Store for Boxed {
    fn progress(&mut self) -> Result<Vec<Progress>, StoreError> {
        self.0.progress()
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.0.commit(changes)
    }

    fn gaps(&mut self) -> Result<Vec<(Key, Gap)>, StoreError> {
        self.0.gaps()
    }

    fn letters(&mut self) -> Result<Vec<Filed>, StoreError> {
        self.0.letters()
    }

    fn letter_counts(&mut self) -> Result<LetterCounts, StoreError> {
        self.0.letter_counts()
    }

    fn kept(&mut self, listener: &ListenerId) -> Result<Vec<Kept>, StoreError> {
        self.0.kept(listener)
    }
}
