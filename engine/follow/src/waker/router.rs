//! From an event of the kernel to those it concerns.
//!
//! This runs on the thread that reads the events, once for each of them, so it
//! does as little as it can.

use super::hints::Mailbox;
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tripline_api::Source;

/// How many lost directories are remembered one by one; when there are more,
/// all are looked after.
const LOST_MAX: usize = 1000;

/// Overflows that follow each other sooner than this are one burst.
const BURST: Duration = Duration::from_secs(10);

/// Knows who wants to hear of which directory.
#[derive(Default)]
pub(super) struct Router {
    routes: Mutex<Routes>,
    /// Directories came or went: the watches need care.
    is_dirty: AtomicBool,
    lost: Mutex<Vec<PathBuf>>,
    overflowed: Mutex<Option<Instant>>,
}

#[derive(Default)]
pub(super) struct Routes {
    pub(super) subscribers: Vec<Subscriber>,
    /// Under the path that events carry: by which path a subscriber knows the
    /// directory, and which subscriber.
    pub(super) targets: HashMap<PathBuf, Vec<(PathBuf, usize)>>,
    /// Directories that are wanted and not there.
    pub(super) missing: HashSet<PathBuf>,
}

pub(super) struct Subscriber {
    pub(super) source: Arc<dyn Source>,
    pub(super) mailbox: Arc<Mailbox>,
}

impl Router {
    /// Passes an event on; returns whether a burst of overflows begins with it.
    pub(super) fn take(&self, event: notify::Result<Event>) -> bool {
        match event {
            Ok(event) if event.need_rescan() => {
                self.wake_all();
                self.is_new_burst()
            }
            Ok(event) if is_reason_to_look(event.kind) => {
                for path in &event.paths {
                    self.route(path, moves_names(event.kind));
                }
                false
            }
            Ok(_) => false,
            Err(_) => {
                self.wake_all();
                false
            }
        }
    }

    fn route(&self, path: &Path, moves_names: bool) {
        let routes = self.routes();
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
            && let Some(targets) = routes.targets.get(parent)
        {
            for (directory, subscriber) in targets {
                if directory.as_path() == parent {
                    routes.subscribers[*subscriber].put(path);
                } else {
                    routes.subscribers[*subscriber].put(&directory.join(name));
                }
            }
        }
        if !moves_names {
            return;
        }
        // A directory itself came or went.
        if let Some(targets) = routes.targets.get(path) {
            for (directory, subscriber) in targets {
                routes.subscribers[*subscriber].put(directory);
            }
        } else if !routes.missing.contains(path) {
            return;
        }
        drop(routes);
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.len() < LOST_MAX {
            lost.push(path.to_owned());
        } else {
            // Every path starts with it.
            *lost = vec![PathBuf::new()];
        }
        self.is_dirty.store(true, Ordering::Release);
    }

    fn wake_all(&self) {
        for subscriber in &self.routes().subscribers {
            subscriber.mailbox.put_anything();
        }
    }

    fn is_new_burst(&self) -> bool {
        let mut overflowed =
            self.overflowed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = overflowed.is_none_or(|before| before.elapsed() > BURST);
        *overflowed = Some(Instant::now());
        is_new
    }

    /// Whether [`Router::lost`] has something to say.
    pub(super) fn is_dirty(&self) -> bool {
        self.is_dirty.load(Ordering::Relaxed)
    }

    /// The directories that came or went since the last call.
    pub(super) fn lost(&self) -> Vec<PathBuf> {
        self.is_dirty.store(false, Ordering::Release);
        std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Never held while the kernel's watcher is asked for something: it may be
    /// waiting for this very lock.
    pub(super) fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    fn put(&self, path: &Path) {
        if self.source.concerns(path) {
            self.mailbox.put(path);
        }
    }
}

/// Our own opening and reading of files must not wake us, and what is told
/// twice is heard once.
const fn is_reason_to_look(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => {
            false
        }
        _ => true,
    }
}

/// Whether a name came or went.
const fn moves_names(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Create(_)
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(_))
    )
}
