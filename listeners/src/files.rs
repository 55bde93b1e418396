//! Reading files at a place, and having them alone.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

/// A program that is being started, by whatever part of our process, has all our
/// descriptors for a moment, and with them the locks that we have just let go.
const LOCK_WAIT_MAX: Duration = Duration::from_millis(500);
const LOCK_WAIT_STEP: Duration = Duration::from_millis(2);

/// Locks a file until it is closed; `false` when somebody else has locked it. Not
/// every file system has locks: that is no reason to do without the file.
pub(crate) fn lock(file: &File) -> bool {
    let until = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(LOCK_WAIT_STEP);
            }
            Err(TryLockError::WouldBlock) => return false,
            Ok(()) | Err(TryLockError::Error(_)) => return true,
        }
    }
}

/// Reads until the buffer is full or the file ends.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
