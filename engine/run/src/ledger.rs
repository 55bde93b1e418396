//! The one owner of the store.

use crate::events::{Event, Events};
use crate::own::{Keeper, Message};
use crate::retention::Looks;
use crate::retry::Backoff;
use crate::unsaved::Unsaved;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::Store;
use tripline_follow::Waker;

/// How often the ledger looks after what nobody else does.
const TICK: Duration = Duration::from_secs(5);
/// How many changes go into one commit, unless more come in one message.
const COMMIT_CHANGES_MAX: usize = 2000;
/// The longest pause while the store fails: a commit on a local disk is cheap to
/// try.
const SAVE_AGAIN_MAX: Duration = Duration::from_secs(4);
/// How long the last commit is tried when the engine stops.
const LAST_COMMIT_MAX: Duration = Duration::from_secs(10);

/// Takes changes from the lanes and commits them, many at a time.
///
/// A commit takes as long as a sync of the disk; whatever arrives meanwhile
/// goes into the next one. When the store fails the lanes are not held up:
/// what they settle is coalesced here, the newest cursor of each, until the
/// store works again.
pub(crate) struct Ledger {
    pub(crate) store: Box<dyn Store>,
    pub(crate) messages: Receiver<Message>,
    pub(crate) events: Arc<dyn Events>,
    pub(crate) waker: Waker,
    pub(crate) looks: Looks,
}

impl Ledger {
    /// Runs until all lanes have gone and everything is committed. Returns the
    /// store, and what could not be saved.
    pub(crate) fn run(mut self) -> (Box<dyn Store>, Option<String>) {
        let mut unsaved = Unsaved::default();
        let mut keepers = Vec::new();
        let mut backoff = Backoff::random().at_most(SAVE_AGAIN_MAX);
        let mut not_before: Option<Instant> = None;
        let mut next_tick = Instant::now() + TICK;
        loop {
            let next = next_tick.min(self.looks.next());
            let until = not_before.map_or(next, |time| time.min(next));
            let gone = match self.messages.recv_deadline(until) {
                Ok(message) => {
                    self.take(message, &mut unsaved, &mut keepers);
                    self.take_waiting(&mut unsaved, &mut keepers);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if gone {
                let why = self.commit_the_rest(unsaved, backoff);
                return (self.store, why);
            }
            if Instant::now() >= next_tick {
                self.waker.watch_again();
                next_tick = Instant::now() + TICK;
            }
            if not_before.is_none_or(|time| Instant::now() >= time) {
                not_before = self.commit(&mut unsaved, &mut backoff);
                if not_before.is_none() {
                    keepers.drain(..).for_each(|it: Keeper| it.is_saved());
                }
            }
            // What is not saved is what would come again.
            let store = &mut self.store;
            self.looks.take(|| store.progress().ok());
        }
    }

    fn take_waiting(&mut self, unsaved: &mut Unsaved, keepers: &mut Vec<Keeper>) {
        while unsaved.len() < COMMIT_CHANGES_MAX
            && let Ok(message) = self.messages.try_recv()
        {
            self.take(message, unsaved, keepers);
        }
    }

    fn take(
        &mut self,
        message: Message,
        unsaved: &mut Unsaved,
        keepers: &mut Vec<Keeper>,
    ) {
        let Message { changes, keeper } = message;
        self.looks.note(&changes);
        unsaved.add(changes);
        // Of each there is one: a larger number stands for the smaller ones.
        if let Some(keeper) = keeper {
            keepers.retain(|it| !it.is_of_same(&keeper));
            keepers.push(keeper);
        }
    }

    /// Commits what there is; on failure returns when to try again.
    fn commit(
        &mut self,
        unsaved: &mut Unsaved,
        backoff: &mut Backoff,
    ) -> Option<Instant> {
        if unsaved.is_empty() {
            return None;
        }
        let changes = std::mem::take(unsaved).in_order();
        match self.store.commit(&changes) {
            Ok(()) => {
                if backoff.succeeded() {
                    self.events.event(&Event::SavedAgain);
                }
                None
            }
            Err(error) => {
                unsaved.add(changes);
                let after = backoff.pause();
                let why = error.to_string();
                self.events.event(&Event::NotSaved { why: &why, after });
                Some(Instant::now() + after)
            }
        }
    }

    fn commit_the_rest(
        &mut self,
        unsaved: Unsaved,
        mut backoff: Backoff,
    ) -> Option<String> {
        let deadline = Instant::now() + LAST_COMMIT_MAX;
        let changes = unsaved.in_order();
        if changes.is_empty() {
            return None;
        }
        loop {
            match self.store.commit(&changes) {
                Ok(()) => return None,
                Err(error) if Instant::now() >= deadline => {
                    return Some(error.to_string());
                }
                Err(_) => {
                    let pause = backoff.pause();
                    let left = deadline.saturating_duration_since(Instant::now());
                    std::thread::sleep(pause.min(left));
                }
            }
        }
    }
}
