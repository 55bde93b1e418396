//! File-system events as hints to look now.
//!
//! An event is never a fact: queues overflow, some file systems send none, and
//! a directory can come and go. So whoever waits for a hint also looks without
//! one from time to time.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tripline_api::Source;

/// Where hints arrive: at most one waits.
pub type Hints = Receiver<()>;

/// Watches directories, with one kernel instance for the whole process.
pub struct Waker {
    watcher: Option<RecommendedWatcher>,
    /// Each directory, with the inode under which it is watched.
    watched: HashMap<PathBuf, Option<u64>>,
    subscribers: Arc<Mutex<Vec<Subscriber>>>,
    /// Why there are no events, in words, when there are none.
    trouble: Option<String>,
}

struct Subscriber {
    source: Arc<dyn Source>,
    directories: Vec<PathBuf>,
    hint: Sender<()>,
}

impl Waker {
    /// A waker; without the kernel's help it wakes nobody and says why in
    /// [`Waker::trouble`].
    pub fn new() -> Self {
        let subscribers: Arc<Mutex<Vec<Subscriber>>> = Arc::default();
        let shared = Arc::clone(&subscribers);
        let on_event = move |event: notify::Result<Event>| {
            let subscribers = shared.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Ok(event) if event.need_rescan() => wake_all(&subscribers),
                Ok(event) if is_reason_to_look(event.kind) => {
                    for path in &event.paths {
                        wake_for(&subscribers, path);
                    }
                }
                Ok(_) => {}
                Err(_) => wake_all(&subscribers),
            }
        };
        match notify::recommended_watcher(on_event) {
            Ok(watcher) => Self {
                watcher: Some(watcher),
                watched: HashMap::new(),
                subscribers,
                trouble: None,
            },
            Err(error) => Self {
                watcher: None,
                watched: HashMap::new(),
                subscribers,
                trouble: Some(in_words(&error)),
            },
        }
    }

    /// Hints for changes in a source's directories. A directory that is not
    /// there gives none: call [`Waker::watch_again`] now and then.
    pub fn subscribe(&mut self, source: &Arc<dyn Source>) -> Hints {
        let (sender, hints) = bounded(1);
        // Events carry the paths as they were given to the watcher.
        let directories = source.directories();
        for directory in &directories {
            self.watched.entry(directory.clone()).or_insert(None);
        }
        let source = Arc::clone(source);
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Subscriber { source, directories, hint: sender });
        self.watch_again();
        hints
    }

    /// Watches the directories that could not be watched before.
    pub fn watch_again(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for (directory, watched) in &mut self.watched {
            let inode = std::fs::metadata(directory).map(|m| m.ino()).ok();
            if inode.is_none() || *watched == inode {
                continue;
            }
            if watched.is_some() {
                // The one that was watched is gone; the system may know.
                _ = watcher.unwatch(directory);
            }
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => *watched = inode,
                Err(error) => {
                    *watched = None;
                    if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) {
                        self.trouble = Some(in_words(&error));
                    }
                }
            }
        }
    }

    /// Why changes are seen by polling only, and what to do about it.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}

impl Default for Waker {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waker").field("watched", &self.watched).finish_non_exhaustive()
    }
}

/// Our own opening and reading of files must not wake us.
fn is_reason_to_look(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

fn wake_all(subscribers: &[Subscriber]) {
    for subscriber in subscribers {
        wake(subscriber);
    }
}

fn wake_for(subscribers: &[Subscriber], path: &Path) {
    for subscriber in subscribers {
        let concerns = |d: &PathBuf| path.parent() == Some(d) || path == d;
        if subscriber.directories.iter().any(concerns) && subscriber.source.concerns(path)
        {
            wake(subscriber);
        }
    }
}

fn wake(subscriber: &Subscriber) {
    match subscriber.hint.try_send(()) {
        // One hint is as good as many, and a subscriber that left needs none.
        Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
    }
}

fn in_words(error: &notify::Error) -> String {
    let limit = |name: &str| {
        let path = format!("/proc/sys/fs/inotify/{name}");
        let value = std::fs::read_to_string(path).unwrap_or_default();
        format!("fs.inotify.{name} is {}", value.trim())
    };
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
mod tests {
    use super::*;
    use std::time::Duration;

    fn source(directory: &Path) -> Arc<dyn Source> {
        let context = tripline_api::BuildContext { name: "p4", directory };
        let args = tripline_api::Args::new(r#"(path: "journal")"#);
        crate::ALL[0].build(&args, &context).unwrap()
    }

    #[test]
    fn a_write_is_a_hint_and_a_read_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("journal");
        std::fs::write(&file, "a").unwrap();
        let mut waker = Waker::new();
        let hints = waker.subscribe(&source(directory.path()));
        std::fs::write(&file, "b").unwrap();
        hints.recv_timeout(Duration::from_secs(10)).expect("a hint for the write");
        // The close of the write may still come; wait until all is quiet.
        while hints.recv_timeout(Duration::from_millis(200)).is_ok() {}
        _ = std::fs::read(&file).unwrap();
        std::fs::write(directory.path().join("db.have"), "not ours").unwrap();
        assert!(hints.recv_timeout(Duration::from_millis(300)).is_err());
    }

    #[test]
    fn a_directory_that_comes_later_or_anew_is_watched_then() {
        let directory = tempfile::tempdir().unwrap();
        let later = directory.path().join("later");
        let mut waker = Waker::new();
        let hints = waker.subscribe(&source(&later));
        for _ in 0..2 {
            std::fs::create_dir(&later).unwrap();
            waker.watch_again();
            std::fs::write(later.join("journal"), "x").unwrap();
            hints.recv_timeout(Duration::from_secs(10)).expect("a hint");
            // Keeps its inode from being given to the next.
            std::fs::rename(&later, tempfile::tempdir().unwrap().keep().join("old"))
                .unwrap();
            while hints.recv_timeout(Duration::from_millis(200)).is_ok() {}
        }
    }
}
