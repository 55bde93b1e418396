//! Rules with nobody who does what they say, on a clock that the caller turns.

use super::explain::Explained;
use super::lines::Lines;
use super::machine::Machine;
use super::play::{Executor, Play};
use super::run::Runs;
use super::transaction::Transaction;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// A [`Play`] and its time, which never goes back.
pub struct Rehearsal {
    play: Play,
    now: Timestamp,
}

impl Rehearsal {
    /// Begins at this time. Pauses between attempts are exactly as written.
    pub fn new(machine: Machine, now: Timestamp) -> Self {
        let runs = Runs::exact(Arc::clone(machine.rules()));
        Self { play: Play::new(machine, runs), now }
    }

    /// The machine.
    pub const fn machine(&self) -> &Machine {
        &self.play.machine
    }

    /// What time it is.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Lines of a log, now.
    pub fn lines(&mut self, lines: &Lines<'_>, with: &mut dyn Executor) {
        self.play.lines(lines, self.now, with);
    }

    /// A transaction of a journal, now.
    pub fn transaction(
        &mut self,
        source: &str,
        transaction: &Transaction,
        with: &mut dyn Executor,
    ) {
        self.play.transaction(source, transaction, self.now, with);
    }

    /// One line, or one entry of several, now; tells what rules make of it.
    pub fn explain_line(
        &mut self,
        lines: &Lines<'_>,
        with: &mut dyn Executor,
    ) -> Explained {
        self.play.explain_line(lines, self.now, with)
    }

    /// A transaction, now; tells what rules make of it.
    pub fn explain_transaction(
        &mut self,
        source: &str,
        transaction: &Transaction,
        with: &mut dyn Executor,
    ) -> Explained {
        self.play.explain_transaction(source, transaction, self.now, with)
    }

    /// Time passes, up to this instant, with all that is due.
    pub fn until(&mut self, end: Timestamp, with: &mut dyn Executor) {
        self.pass(end, with);
        self.now = self.now.max(end);
        self.play.tick(self.now, with);
    }

    /// Time passes up to this instant, but for what happens at it: an event comes before
    /// that.
    pub fn before(&mut self, end: Timestamp, with: &mut dyn Executor) {
        let last = end.checked_sub(SignedDuration::from_millis(1)).unwrap_or(end);
        self.pass(last, with);
        self.now = self.now.max(end);
    }

    /// Goes from one time at which something is due to the next, up to this.
    fn pass(&mut self, end: Timestamp, with: &mut dyn Executor) {
        let mut steps = 0;
        while let Some(due) = self.play.due()
            && due <= end
        {
            // Of years in which nothing came not each minute is played.
            let is_far = steps >= STEPS_MAX;
            self.now = self.now.max(if is_far { end } else { due });
            self.play.tick(self.now, with);
            steps += 1;
        }
    }
}

/// So many times something is due between two events at most, before time jumps.
const STEPS_MAX: usize = 10_000;
