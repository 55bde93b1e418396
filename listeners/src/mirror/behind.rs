//! Writing behind: the disk takes what was written while more is read.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// So many bytes are written before the disk is asked to take them.
const STEP_BYTES: u64 = 16 * 1024 * 1024;

/// Syncs a file in the background, so that the sync that counts finds little
/// left to do. A mirror that follows at a server's pace never needs it, and
/// then there is no thread.
#[derive(Default)]
pub(super) struct Behind {
    written: u64,
    syncer: Option<Syncer>,
    is_busy: bool,
    failed: Option<io::Error>,
}

struct Syncer {
    /// Dropped to end the thread.
    files: Option<SyncSender<File>>,
    results: Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Behind {
    /// Bytes were written to the file. Whatever fails here shows at
    /// [`Behind::wait`].
    pub(super) fn wrote(&mut self, file: &File, bytes: u64) {
        self.written += bytes;
        if self.written < STEP_BYTES {
            return;
        }
        if self.is_busy {
            match self.syncer.as_ref().and_then(|s| s.results.try_recv().ok()) {
                Some(result) => self.finished(result),
                None => return,
            }
        }
        self.written = 0;
        if let Err(error) = self.ask(file) {
            self.failed.get_or_insert(error);
        }
    }

    /// Waits for a sync that is under way.
    ///
    /// # Errors
    ///
    /// When a sync since the last call failed: the system says so once, to
    /// whoever asked first, so the file's own sync would not hear of it.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        self.written = 0;
        if self.is_busy {
            let result = self.syncer.as_ref().map(|s| s.results.recv());
            match result {
                Some(Ok(result)) => self.finished(result),
                _ => self.finished(Err(io::Error::other("the syncing thread died"))),
            }
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    fn ask(&mut self, file: &File) -> io::Result<()> {
        let syncer = match &mut self.syncer {
            Some(syncer) => syncer,
            none => none.insert(Syncer::start()?),
        };
        let file = file.try_clone()?;
        if let Some(files) = &syncer.files {
            let died = |_| io::Error::other("the syncing thread died");
            files.send(file).map_err(died)?;
            self.is_busy = true;
        }
        Ok(())
    }

    fn finished(&mut self, result: io::Result<()>) {
        self.is_busy = false;
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }
}

impl Syncer {
    fn start() -> io::Result<Self> {
        let (files, to_sync) = sync_channel::<File>(1);
        let (done, results) = sync_channel(1);
        let work = move || {
            for file in to_sync {
                // Nobody waits any more: the mirror is being closed.
                if done.send(file.sync_data()).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("mirror sync".to_owned());
        let thread = Some(thread.spawn(work)?);
        Ok(Self { files: Some(files), results, thread })
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.files = None;
        if let Some(thread) = self.thread.take() {
            // It only syncs: there is nothing to hear from it.
            _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn what_is_written_fast_is_synced_meanwhile() {
        let mut file = tempfile::tempfile().unwrap();
        let mut behind = Behind::default();
        let block = vec![b'x'; 1 << 20];
        for _ in 0..40 {
            file.write_all(&block).unwrap();
            behind.wrote(&file, block.len() as u64);
        }
        assert!(behind.syncer.is_some());
        behind.wait().unwrap();
        assert!(!behind.is_busy);
    }

    #[test]
    fn a_failure_shows_once() {
        let mut behind = Behind::default();
        behind.finished(Err(io::Error::other("no")));
        behind.finished(Ok(()));
        assert!(behind.wait().is_err());
        assert!(behind.wait().is_ok());
    }
}
