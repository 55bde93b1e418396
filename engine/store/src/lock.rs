//! One process a state directory.

use crate::{LockError, directory};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// The right to use a state directory.
///
/// Given up when it is dropped; the kernel gives it up for a process that is
/// killed. It is a lock on the file `lock`, never the file itself: a file that
/// is left over means nothing.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes a state directory, which is made when it is not there, and leaves
    /// our process id in its file `lock` for whoever comes second.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] when another process has it, or this one has it
    /// already; [`LockError::Network`] when it is on another host.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        directory::make(directory).map_err(|error| {
            LockError::io("make the state directory", directory, error)
        })?;
        directory::check_local(directory)?;
        let path = directory.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| LockError::io("open", &path, error))?;
        let until = Instant::now() + OF_THE_DEAD_MAX;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) => {
                    let pid = holder(&mut file);
                    if pid.is_some_and(is_dead) && Instant::now() < until {
                        std::thread::sleep(PAUSE);
                        continue;
                    }
                    let directory = directory.to_owned();
                    return Err(LockError::Held { directory, pid });
                }
                Err(error) => return Err(LockError::io("lock", &path, error.into())),
            }
        }
        sign(&mut file);
        Ok(Self { _file: file })
    }
}

/// A process that was killed while it started a program leaves its lock to that for a
/// moment: until the program has begun. So long is waited for it.
const OF_THE_DEAD_MAX: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(2);

/// Whether there is no such process.
fn is_dead(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

/// Leaves our process id. The lock holds without it, on a full disk say, so
/// failure is no reason to stop; but the id of whoever was here before goes
/// first, so that no wrong one can stay.
fn sign(file: &mut File) {
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
}

/// The process id in the file, if it has one.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    #[test]
    fn the_second_is_told_who_is_first() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("state");
        let lock = StateLock::take(&directory).unwrap();
        let error = StateLock::take(&directory).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "state directory {} is in use by process {}",
                directory.display(),
                std::process::id()
            )
        );
        drop(lock);
        StateLock::take(&directory).unwrap();
    }

    /// The lock goes with what a process that was killed had begun.
    #[test]
    fn what_a_dead_process_left_is_waited_for() {
        let scratch = tempfile::tempdir().unwrap();
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let lock = StateLock::take(scratch.path()).unwrap();
        fs::write(scratch.path().join("lock"), format!("{}\n", child.id())).unwrap();
        let begun = Instant::now();
        let error = StateLock::take(scratch.path()).unwrap_err();
        assert!(begun.elapsed() >= OF_THE_DEAD_MAX, "not for ever: {error}");
        std::thread::scope(|scope| {
            scope.spawn(move || drop(lock));
            StateLock::take(scratch.path()).unwrap();
        });
    }

    #[test]
    fn a_left_over_file_means_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("lock");
        fs::write(&path, "4000000000, and more than a process id is long\n").unwrap();
        let _lock = StateLock::take(scratch.path()).unwrap();
        let signed = fs::read_to_string(&path).unwrap();
        assert_eq!(signed, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_holder_that_did_not_sign_is_still_a_holder() {
        let scratch = tempfile::tempdir().unwrap();
        let _lock = StateLock::take(scratch.path()).unwrap();
        for text in ["", "\0\0\0\0", "me"] {
            fs::write(scratch.path().join("lock"), text).unwrap();
            let error = StateLock::take(scratch.path()).unwrap_err();
            assert!(error.to_string().ends_with("by another process"), "{error}");
        }
    }
}
