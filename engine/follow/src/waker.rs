//! File-system events as hints where to look now.
//!
//! An event is never a fact: queues overflow, some file systems send none, and
//! a directory can come and go. So whoever waits for a hint also looks without
//! one from time to time: [`Hints::due`] says when.
//!
//! * [`Waker`] watches directories, with one kernel instance for the process;
//! * [`Hints`] is what a reader's lane holds of it;
//! * `Router` passes events on to those they concern.

mod hints;
mod local;
mod router;

pub use hints::{Hints, PATHS_MAX};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use router::{Router, Subscriber};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tripline_api::Source;

/// How often every directory is looked at for having been replaced by another.
const CHECK_ALL_EVERY: Duration = Duration::from_secs(30);

/// How to learn of changes.
#[derive(Clone, Copy, Debug)]
pub struct Looking {
    /// Ask the kernel to tell; otherwise everything is looked at in each poll.
    pub events: bool,
    /// How often to look where events cannot be believed.
    pub poll: Duration,
}

/// What a person may want to know of the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Some were lost, and everything is looked at; once a burst.
    Overflow(String),
    /// There are none, for all or for some directories; why, and what to do.
    PollingOnly(String),
}

/// Who is told a [`Sign`]. Called from any thread; must not block.
pub type Tell = Box<dyn Fn(Sign) + Send + Sync>;

/// Watches directories.
#[derive(Clone)]
pub struct Waker {
    shared: Arc<Shared>,
    poll: Duration,
}

/// What the waker and all hints share.
struct Shared {
    watching: Mutex<Watching>,
    router: Arc<Router>,
    tell: Arc<Tell>,
}

struct Watching {
    watcher: Option<RecommendedWatcher>,
    directories: HashMap<PathBuf, Directory>,
    /// Of each directory that is watched the path under which it is: that is
    /// the one its events carry, by whatever path it was asked for.
    carriers: HashMap<(u64, u64), PathBuf>,
    /// The directories of each subscriber.
    subscribers: Vec<Vec<PathBuf>>,
    checked: Instant,
    has_told: bool,
}

/// A directory that somebody wants to be watched.
#[derive(Clone, Copy, Default)]
struct Directory {
    /// Device and inode number under which it is watched.
    inode: Option<(u64, u64)>,
    is_believed: bool,
}

impl Waker {
    /// A waker. Without the kernel's help it wakes nobody, and tells why.
    pub fn new(looking: Looking, tell: Tell) -> Self {
        let router = Arc::new(Router::default());
        let tell = Arc::new(tell);
        let (events, told) = (Arc::clone(&router), Arc::clone(&tell));
        let watcher = looking.events.then(|| {
            notify::recommended_watcher(move |event| {
                if events.take(event) {
                    told(Sign::Overflow(overflow_in_words()));
                }
            })
        });
        let watcher = match watcher {
            Some(Ok(watcher)) => Some(watcher),
            Some(Err(error)) => {
                tell(Sign::PollingOnly(in_words(&error)));
                None
            }
            None => None,
        };
        let watching = Watching {
            watcher,
            directories: HashMap::new(),
            carriers: HashMap::new(),
            subscribers: Vec::new(),
            checked: Instant::now(),
            has_told: false,
        };
        let shared = Shared { watching: Mutex::new(watching), router, tell };
        Self { shared: Arc::new(shared), poll: looking.poll }
    }

    /// Hints for changes in a source's directories. A directory that is not
    /// there gives none: call [`Waker::watch_again`] now and then.
    pub fn subscribe(&self, source: &Arc<dyn Source>) -> Hints {
        let (mut hints, mailbox) = Hints::new(Arc::clone(&self.shared), self.poll);
        {
            let mut watching = self.shared.watching();
            hints.subscriber = watching.subscribers.len();
            watching.subscribers.push(Vec::new());
            let source = Arc::clone(source);
            self.shared.router.routes().subscribers.push(Subscriber { source, mailbox });
        }
        self.shared.watch_these(hints.subscriber, source.directories());
        hints
    }

    /// Watches the directories that could not be watched before, and from time
    /// to time looks whether the others are still the same.
    pub fn watch_again(&self) {
        let mut watching = self.shared.watching();
        let all = watching.checked.elapsed() >= CHECK_ALL_EVERY;
        if all {
            watching.checked = Instant::now();
        }
        let directories: Vec<_> = watching
            .directories
            .iter()
            .filter(|(_, known)| all || known.inode.is_none())
            .map(|(path, _)| path.clone())
            .collect();
        self.shared.watch_anew(&mut watching, &directories, false);
    }
}

impl Shared {
    /// Watches these for a subscriber; returns whether some are new to it.
    fn watch_these(&self, subscriber: usize, directories: Vec<PathBuf>) -> bool {
        let mut watching = self.watching();
        let before =
            std::mem::replace(&mut watching.subscribers[subscriber], directories);
        let before: HashSet<_> = before.into_iter().collect();
        let new: Vec<_> = watching.subscribers[subscriber]
            .iter()
            .filter(|directory| !before.contains(*directory))
            .cloned()
            .collect();
        for directory in &new {
            watching.directories.entry(directory.clone()).or_default();
        }
        watching.forget_unwanted();
        for directory in &new {
            self.watch(&mut watching, directory);
        }
        self.rebuild(&watching);
        !new.is_empty()
    }

    /// Looks after what is said to have come or gone.
    fn watch_lost(&self) {
        let mut watching = self.watching();
        let lost = self.router.lost();
        if lost.is_empty() {
            return;
        }
        let is_lost = |path: &Path| lost.iter().any(|lost| path.starts_with(lost));
        let directories: Vec<_> =
            watching.directories.keys().filter(|path| is_lost(path)).cloned().collect();
        for directory in &directories {
            // The kernel has let go of it, whatever is there now.
            watching.let_go(directory);
        }
        self.watch_anew(&mut watching, &directories, true);
    }

    /// Watches those of a subscriber's directories that are not watched.
    fn watch_missing(&self, subscriber: usize) {
        let mut watching = self.watching();
        let missing = |path: &&PathBuf| watching.inode_of(path).is_none();
        let directories: Vec<_> =
            watching.subscribers[subscriber].iter().filter(missing).cloned().collect();
        self.watch_anew(&mut watching, &directories, false);
    }

    /// Watches directories, and tells those who follow them when one is new.
    fn watch_anew(
        &self,
        watching: &mut Watching,
        directories: &[PathBuf],
        some_are_lost: bool,
    ) {
        if watching.watcher.is_none() {
            return;
        }
        let mut changed = HashSet::new();
        for directory in directories {
            let before = watching.inode_of(directory);
            self.watch(watching, directory);
            if watching.inode_of(directory) != before {
                changed.insert(directory);
            }
        }
        if changed.is_empty() && !some_are_lost {
            return;
        }
        self.rebuild(watching);
        let routes = self.router.routes();
        for (paths, subscriber) in watching.subscribers.iter().zip(&routes.subscribers) {
            if paths.iter().any(|path| changed.contains(path)) {
                subscriber.mailbox.put_anything();
            }
        }
    }

    /// Watches one directory, unless it is watched already.
    fn watch(&self, watching: &mut Watching, directory: &Path) {
        if watching.watcher.is_none() {
            return;
        }
        let inode = std::fs::metadata(directory).map(|m| (m.dev(), m.ino())).ok();
        let known = watching.directories.get(directory).copied().unwrap_or_default();
        if inode.is_some() && known.inode == inode {
            return;
        }
        watching.let_go(directory);
        let Some(inode) = inode else { return };
        if !watching.carriers.contains_key(&inode) {
            let Some(watcher) = &mut watching.watcher else { return };
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                if matches!(error.kind, notify::ErrorKind::MaxFilesWatch)
                    && !std::mem::replace(&mut watching.has_told, true)
                {
                    (self.tell)(Sign::PollingOnly(in_words(&error)));
                }
                return;
            }
            watching.carriers.insert(inode, directory.to_owned());
        }
        let is_believed = local::is_believed(directory);
        watching
            .directories
            .insert(directory.to_owned(), Directory { inode: Some(inode), is_believed });
    }

    /// Tells the router and the hints what is watched by now.
    fn rebuild(&self, watching: &Watching) {
        let mut targets: HashMap<PathBuf, Vec<(PathBuf, usize)>> = HashMap::new();
        let mut missing = HashSet::new();
        let mut believed = Vec::with_capacity(watching.subscribers.len());
        for (subscriber, paths) in watching.subscribers.iter().enumerate() {
            let mut all = watching.watcher.is_some();
            for path in paths {
                let known = watching.directories.get(path).copied().unwrap_or_default();
                all &= known.is_believed && known.inode.is_some();
                match known.inode.and_then(|inode| watching.carriers.get(&inode)) {
                    Some(carrier) => {
                        let target = (path.clone(), subscriber);
                        targets.entry(carrier.clone()).or_default().push(target);
                    }
                    None => _ = missing.insert(path.clone()),
                }
            }
            believed.push(all);
        }
        let mut routes = self.router.routes();
        (routes.targets, routes.missing) = (targets, missing);
        for (subscriber, believed) in routes.subscribers.iter().zip(believed) {
            subscriber.mailbox.believe(believed);
        }
    }

    fn watching(&self) -> MutexGuard<'_, Watching> {
        // What a thread that died left half done is done again at the next look.
        self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watching {
    /// Under which inode a directory is watched.
    fn inode_of(&self, directory: &Path) -> Option<(u64, u64)> {
        self.directories.get(directory)?.inode
    }

    /// Lets go of a directory that is gone or is another one now. Where it was
    /// watched for others too, who know it by another path, they are watched
    /// anew.
    fn let_go(&mut self, directory: &Path) {
        let Some(known) = self.directories.get_mut(directory) else { return };
        let Some(inode) = std::mem::take(known).inode else { return };
        if self.carriers.get(&inode).is_none_or(|carrier| carrier != directory) {
            return;
        }
        self.carriers.remove(&inode);
        if let Some(watcher) = &mut self.watcher {
            // The system may know already.
            _ = watcher.unwatch(directory);
        }
        for known in self.directories.values_mut().filter(|d| d.inode == Some(inode)) {
            *known = Directory::default();
        }
    }

    /// Lets go of what nobody wants to be watched any more.
    fn forget_unwanted(&mut self) {
        let wanted: HashSet<_> = self.subscribers.iter().flatten().collect();
        let unwanted: Vec<_> =
            self.directories.keys().filter(|p| !wanted.contains(p)).cloned().collect();
        for directory in unwanted {
            self.let_go(&directory);
            self.directories.remove(&directory);
        }
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let watching = self.shared.watching();
        f.debug_struct("Waker")
            .field("watched", &watching.carriers.len())
            .finish_non_exhaustive()
    }
}

fn limit(name: &str) -> String {
    let path = format!("/proc/sys/fs/inotify/{name}");
    let value = std::fs::read_to_string(path).unwrap_or_default();
    format!("fs.inotify.{name} is {}", value.trim())
}

fn overflow_in_words() -> String {
    format!(
        "the queue of file-system events overflowed: looking at everything ({}; raise \
         it with sysctl if this comes often)",
        limit("max_queued_events")
    )
}

fn in_words(error: &notify::Error) -> String {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => format!(
            "no more directories can be watched: {}; raise it with sysctl; until then \
             changes are seen by polling",
            limit("max_user_watches")
        ),
        notify::ErrorKind::Io(e) => format!(
            "directories cannot be watched ({e}): {}; changes are seen by polling",
            limit("max_user_instances")
        ),
        _ => {
            format!("directories cannot be watched: {error}; changes are seen by polling")
        }
    }
}

#[cfg(test)]
mod tests;
