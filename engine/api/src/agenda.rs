//! What a listener does by itself, besides listening.

use crate::{Kept, ListenError, SourceId};
use std::sync::Arc;
use std::time::Instant;

/// Calls the lane: there is [work](Agenda::work). From any thread, and never waits.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// A listener's own work: something of what it was given is still to be done, and
/// happens later, when its time has come or somebody answers.
///
/// The lane calls all of this from its own thread, between the calls of
/// [`Listener`](crate::Listener). What the listener [keeps](Self::keep) is in the store
/// from the same moment on as what is settled with it: a crash leaves both or neither,
/// so nothing of it has to be recognised when it comes again.
pub trait Agenda {
    /// What was kept before, to be taken out, and the bell for whoever does some of the work
    /// elsewhere. Called once, before the first [`begin`](crate::Listener::begin); after an
    /// error that passes, again with what was left.
    ///
    /// # Errors
    ///
    /// As for [`listen`](crate::Listener::listen).
    fn remember(&mut self, kept: &mut Vec<Kept>, bell: Bell) -> Result<(), ListenError>;

    /// When [`work`](Self::work) should be called if the bell does not ring before;
    /// `None` when there is nothing to do.
    fn due(&self) -> Option<Instant>;

    /// Does what is to be done now. Does not wait.
    ///
    /// # Errors
    ///
    /// As for [`listen`](crate::Listener::listen).
    fn work(&mut self) -> Result<(), ListenError>;

    /// All of a source that was there has been handed out, or nothing can be had of it
    /// now.
    fn at_end(&mut self, source: &SourceId);

    /// Whether it takes further entries now: while it has too much to do, it may let
    /// the files wait.
    fn takes_more(&self) -> bool;

    /// Whether there is something to keep.
    fn has_to_keep(&self) -> bool;

    /// What changed of all that has to be remembered, to go into the store together with
    /// what is settled now. Numbers count up.
    fn keep(&mut self, number: u64) -> Vec<Kept>;

    /// What was kept with this number, and before, is on the disk: what follows from it
    /// may be done now.
    fn is_kept(&mut self, number: u64);

    /// The lane is to stop: nothing is begun any more. What is under way may come to its
    /// end, for a while.
    fn wind_down(&mut self);

    /// Whether nothing is under way.
    fn is_at_rest(&self) -> bool;

    /// Whether there is nothing more to be done: a run until idle waits for that.
    fn is_done(&self) -> bool;
}
