//! Many connections, one sync: a thread that makes durable what is handed to it.

use super::store::{Changes, Store};
use rustix::event::{EventfdFlags, eventfd};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// So many jobs wait, and so many are done together.
const JOBS_MAX: usize = 64;

/// Wakes a connection that waits for the network.
#[derive(Clone, Debug)]
pub(super) struct Waker(Arc<OwnedFd>);

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(fd)))
    }

    pub(super) fn wake(&self) {
        // It fails only when it has been woken very often.
        _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// Forgets that it was woken.
    pub(super) fn rest(&self) {
        _ = rustix::io::read(&*self.0, &mut [0_u8; 8]);
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What is made durable together, and who is told.
struct Job {
    files: Vec<Arc<File>>,
    changes: Changes,
    done: SyncSender<Result<(), String>>,
    waker: Waker,
}

/// The thread, and the database that it shares with the connections.
#[derive(Debug)]
pub(super) struct Committer {
    store: Arc<Mutex<Store>>,
    jobs: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    pub(super) fn start(store: Store) -> io::Result<Self> {
        let store = Arc::new(Mutex::new(store));
        let (sender, receiver) = sync_channel(JOBS_MAX);
        let shared = Arc::clone(&store);
        let thread = Builder::new()
            .name("commit".into())
            .spawn(move || work(&shared, &receiver))?;
        Ok(Self {
            store,
            jobs: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The database, for a moment.
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// Hands over what is to be made durable. The answer comes through what is
    /// returned, and the waker is woken.
    pub(super) fn submit(
        &self,
        files: Vec<Arc<File>>,
        changes: Changes,
        waker: &Waker,
    ) -> Receiver<Result<(), String>> {
        let (done, answer) = sync_channel(1);
        let job = Job { files, changes, done, waker: waker.clone() };
        let jobs = lock(&self.jobs).clone();
        // When the thread is gone, so is the other end of the answer.
        if let Some(jobs) = jobs {
            _ = jobs.send(job);
        }
        answer
    }

    /// Ends the thread when everything that was handed over is done.
    pub(super) fn stop(&self) {
        lock(&self.jobs).take();
        let thread = lock(&self.thread).take();
        _ = thread.map(JoinHandle::join);
    }
}

/// A thread that panicked has left nothing half done that matters: transactions
/// roll back.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(store: &Mutex<Store>, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        while group.len() < JOBS_MAX
            && let Ok(next) = jobs.try_recv()
        {
            group.push(next);
        }
        let synced: Vec<_> = group.iter().map(sync).collect();
        let is_synced = |(_, synced): &(&Job, &Result<(), String>)| synced.is_ok();
        let changes =
            group.iter().zip(&synced).filter(is_synced).map(|(job, _)| &job.changes);
        let committed = lock(store).commit(changes);
        for (job, synced) in group.into_iter().zip(synced) {
            // Who is gone need not know.
            _ = job.done.send(synced.and_then(|()| committed.clone()));
            job.waker.wake();
        }
    }
}

/// After a failure the system may have thrown away what was written, and say that
/// all is well the next time. So nothing of it counts: it comes again, and is
/// written again.
fn sync(job: &Job) -> Result<(), String> {
    job.files.iter().try_for_each(|file| file.sync_data()).map_err(|error| {
        format!("what was received cannot be brought to the disk: {error}")
    })
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop();
    }
}
