//! Where hints arrive: a doorbell, and behind it what is known of the change.

use super::Shared;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tripline_api::Changed;

/// How many paths wait for a reader; when there are more it looks at everything.
pub const PATHS_MAX: usize = 4096;

/// How often everything is looked at although events can be believed: a file
/// that is written through memory sends none.
const LOOK_ANYWAY_EVERY: Duration = Duration::from_secs(30);

/// The changes in one source's directories, for one reader.
pub struct Hints {
    pub(super) shared: Arc<Shared>,
    pub(super) subscriber: usize,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) bell: Receiver<()>,
    /// How often to look where events cannot be believed.
    pub(super) poll: Duration,
    /// When everything was looked at last.
    looked: Instant,
}

impl Hints {
    pub(super) fn new(shared: Arc<Shared>, poll: Duration) -> (Self, Arc<Mailbox>) {
        let (sender, bell) = bounded(1);
        let mailbox = Arc::new(Mailbox {
            bell: sender,
            is_set: AtomicBool::new(false),
            is_believed: AtomicBool::new(false),
            held: Mutex::default(),
        });
        let looked = Instant::now();
        let for_sender = Arc::clone(&mailbox);
        (Self { shared, subscriber: 0, mailbox, bell, poll, looked }, for_sender)
    }

    /// What rings when something came: for a select. [`Hints::take`] makes it
    /// silent.
    pub const fn bell(&self) -> &Receiver<()> {
        &self.bell
    }

    /// What came since the last call. Costs next to nothing when there is none.
    pub fn take(&mut self) -> Option<Changed> {
        // In this order: whoever comes in between rings again.
        _ = self.bell.try_recv();
        if self.shared.router.is_dirty() {
            self.shared.watch_lost();
        }
        let changed = self.mailbox.take()?;
        if changed == Changed::Anything {
            self.looked = Instant::now();
        }
        Some(changed)
    }

    /// [`Changed::Anything`] when it is time to look without a hint: rarely
    /// where events can be believed, at each poll where they cannot.
    pub fn due(&mut self, now: Instant) -> Option<Changed> {
        if now < self.due_at() {
            return None;
        }
        self.looked = now;
        if !self.mailbox.is_believed() {
            self.shared.watch_missing(self.subscriber);
        }
        Some(Changed::Anything)
    }

    /// When [`Hints::due`] has something to say.
    pub fn due_at(&self) -> Instant {
        self.looked
            + match self.mailbox.is_believed() {
                true => LOOK_ANYWAY_EVERY.max(self.poll),
                false => self.poll,
            }
    }

    /// Watches these directories instead of those before. When a new one is
    /// watched there is a hint to look at everything, because what happened
    /// before is told by no event. One that is not there, or cannot be watched,
    /// is looked at in each poll.
    pub fn watch(&self, directories: Vec<PathBuf>) {
        if self.shared.watch_these(self.subscriber, directories) {
            self.mailbox.put_anything();
        }
    }
}

impl std::fmt::Debug for Hints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hints")
            .field("believed", &self.mailbox.is_believed())
            .finish_non_exhaustive()
    }
}

/// The side of the hints that events come in by.
pub(super) struct Mailbox {
    /// Rings after something was put in.
    bell: Sender<()>,
    /// There may be something in it.
    is_set: AtomicBool,
    /// All directories are watched, and on file systems that tell everything.
    is_believed: AtomicBool,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    paths: HashSet<PathBuf>,
    anything: bool,
}

impl Mailbox {
    pub(super) fn put(&self, path: &Path) {
        {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if held.anything || held.paths.contains(path) {
                // It is not taken yet, so the bell has rung.
            } else if held.paths.len() < PATHS_MAX {
                held.paths.insert(path.to_owned());
            } else {
                *held = Held { paths: HashSet::new(), anything: true };
            }
        }
        self.ring();
    }

    pub(super) fn put_anything(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) =
            Held { paths: HashSet::new(), anything: true };
        self.ring();
    }

    fn ring(&self) {
        self.is_set.store(true, Ordering::Release);
        match self.bell.try_send(()) {
            // It rings already, or nobody is at home.
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }

    fn take(&self) -> Option<Changed> {
        if !self.is_set.load(Ordering::Relaxed)
            || !self.is_set.swap(false, Ordering::Acquire)
        {
            return None;
        }
        let held = std::mem::take(
            &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner),
        );
        match held {
            Held { anything: true, .. } => Some(Changed::Anything),
            Held { paths, .. } if paths.is_empty() => None,
            Held { paths, .. } => Some(Changed::Paths(paths.into_iter().collect())),
        }
    }

    pub(super) fn believe(&self, is_believed: bool) {
        self.is_believed.store(is_believed, Ordering::Relaxed);
    }

    fn is_believed(&self) -> bool {
        self.is_believed.load(Ordering::Relaxed)
    }
}
