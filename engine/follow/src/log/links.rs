//! Logs that are symbolic links: what is written to them happens elsewhere.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// The folders in which files are that links lead to. Shared by the source, who
/// is asked whether a path concerns it, and its readers, who find the links.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets(Arc<RwLock<HashSet<PathBuf>>>);

impl Targets {
    /// Whether a path is in such a folder.
    pub(super) fn concern(&self, path: &Path) -> bool {
        let folders = self.0.read().unwrap_or_else(PoisonError::into_inner);
        path.parent().is_some_and(|folder| folders.contains(folder))
    }

    fn add(&self, folder: &Path) {
        let mut folders = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !folders.contains(folder) {
            folders.insert(folder.to_owned());
        }
    }
}

/// Which log a file belongs to that a link leads to.
#[derive(Debug, Default)]
pub(super) struct Links {
    targets: Targets,
    logs: HashMap<PathBuf, usize>,
}

impl Links {
    pub(super) fn new(targets: Targets) -> Self {
        Self { targets, logs: HashMap::new() }
    }

    /// The log at this path is a link, if it is one. Returns the folder of what
    /// it leads to.
    pub(super) fn add(&mut self, path: &Path, log: usize) -> Option<PathBuf> {
        let target = fs::canonicalize(path).ok().filter(|target| target != path)?;
        let folder = target.parent()?.to_owned();
        self.targets.add(&folder);
        self.logs.insert(target, log);
        Some(folder)
    }

    /// The log whose file is at this path.
    pub(super) fn log_at(&self, path: &Path) -> Option<usize> {
        self.logs.get(path).copied()
    }
}
