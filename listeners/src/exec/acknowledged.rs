//! A process that answers for each entry.
//!
//! Entries that were taken from the lane wait until the program has said yes to
//! them; a flush marks how far they go, and is done when all before the mark are
//! answered. When something goes wrong, everything that waits is let go and comes
//! again from the lane, but for what was answered, which is remembered. Here is
//! what the lane sees; `acknowledged/desk.rs` is where entries wait, and
//! `acknowledged/answers.rs` reads what the program says.

mod answers;
mod desk;

use crate::process::Program;
use desk::{Desk, Item, Room};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tripline_api::{
    Begin, Cursor, Flushed, Gap, Letter, ListenError, Listener, ListenerId, Secrets,
    View, write_gap,
};

/// How entries are handed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// So many entries wait for an answer at most.
    pub(super) window: usize,
    /// So long an answer may take.
    pub(super) acknowledge_timeout: Duration,
    /// The program says when it is ready.
    pub(super) ready: bool,
    pub(super) grace: Duration,
    pub(super) patience: Duration,
}

/// The listener.
pub(super) struct Acknowledged {
    shared: Arc<Shared>,
}

/// The lane and the thread that hears a program out work at the same desk.
struct Shared {
    desk: Mutex<Desk>,
    /// Something moved on the desk.
    moved: Condvar,
}

/// A program at rest may take so long to end by itself.
const END_WAIT: Duration = Duration::from_millis(500);

impl Listener for Acknowledged {
    fn begin(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        self.shared.lock().begin(begin.set_by_hand);
        Ok(None)
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let mut desk = self.desk_with_room()?;
        entries.entries().for_each(|entry| desk.accept_entry(&entry));
        desk.work(&self.shared)
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        let mut desk = self.shared.lock();
        desk.mark();
        Ok(if desk.is_flushed(&self.shared)? { Flushed::All } else { Flushed::Soon })
    }

    fn is_flushed(&mut self) -> Result<bool, ListenError> {
        self.shared.lock().is_flushed(&self.shared)
    }

    fn letters(&mut self) -> Vec<Letter> {
        self.shared.lock().letters()
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        let mut line = Vec::new();
        write_gap(&mut line, gap);
        let mut desk = self.desk_with_room()?;
        desk.accept(Item::without_name(line, gap.id()));
        desk.work(&self.shared)
    }

    /// One that ended while nothing came is noticed.
    fn no_data(&mut self, _: bool) -> Result<(), ListenError> {
        self.shared.lock().work(&self.shared)
    }
}

impl Acknowledged {
    pub(super) fn new(
        name: ListenerId,
        program: Program,
        secrets: Secrets,
        settings: Settings,
    ) -> Self {
        let desk = Mutex::new(Desk::new(name, program, secrets, settings));
        Self { shared: Arc::new(Shared { desk, moved: Condvar::new() }) }
    }

    /// Waits until there is room for a batch, but not longer than it may.
    fn desk_with_room(&self) -> Result<MutexGuard<'_, Desk>, ListenError> {
        let mut desk = self.shared.lock();
        let until = Instant::now() + desk.settings().patience;
        loop {
            desk.work(&self.shared)?;
            let why = match desk.room() {
                Room::Enough => return Ok(desk),
                Room::None(why) => why,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ListenError::Retry(why));
            }
            let waited = self.shared.moved.wait_timeout(desk, left);
            desk = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Acknowledged {
    /// A program at rest may put its things in order: its standard input ends.
    fn drop(&mut self) {
        let Some((process, is_at_rest)) = self.shared.lock().leave() else { return };
        if is_at_rest {
            process.close_input();
            process.wait(Instant::now() + END_WAIT);
        }
        // Its thread may hold on to it for a moment.
        process.finish();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
