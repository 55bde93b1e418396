//! Rules without an executor: the machine and the runs as the daemon has them, with somebody
//! who stands in for the world.

use super::Event;
use super::event::Note;
use super::explain::Explained;
use super::firing::Firing;
use super::job::Job;
use super::lines::Lines;
use super::machine::{Machine, Output};
use super::run::{Ended, Outcome, Runs, Start};
use super::transaction::Transaction;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Watches what happens, and says how actions end: nothing is done.
pub trait StandIn {
    /// A rule fired.
    fn fires(&mut self, firing: &Firing, now: Timestamp) {
        let _ = (firing, now);
    }

    /// The machine has something to say about itself. Whether rules get to see it.
    fn notes(&mut self, note: &Note, now: Timestamp) -> bool {
        let _ = (note, now);
        true
    }

    /// An action would start: how it ends; well unless said otherwise.
    fn acts(&mut self, start: Start, now: Timestamp) -> Outcome {
        let _ = (start, now);
        Outcome::Done { stdout: String::new(), stderr: String::new() }
    }

    /// An action ended for good.
    fn ends(&mut self, ended: &Ended, now: Timestamp) {
        let _ = (ended, now);
    }

    /// Whether to go on: a bound of one's own.
    fn goes_on(&mut self) -> bool {
        true
    }
}

/// A machine and its runs, on a clock that the caller turns.
pub struct Rehearsal {
    /// The machine.
    pub machine: Machine,
    runs: Runs,
    now: Timestamp,
    notes: u64,
}

impl Rehearsal {
    /// Begins at the time of the machine. Pauses between attempts are exactly as written.
    pub fn new(machine: Machine, now: Timestamp) -> Self {
        let runs = Runs::exact(Arc::clone(machine.rules()));
        Self { machine, runs, now, notes: 0 }
    }

    /// What time it is.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Lines of a log, now.
    pub fn lines(&mut self, lines: &Lines<'_>, stand_in: &mut impl StandIn) {
        let mut out = Vec::new();
        self.machine.lines(lines, self.now, &mut out);
        self.act(out, stand_in);
    }

    /// A transaction of a journal, now.
    pub fn transaction(
        &mut self,
        source: &str,
        transaction: &Transaction,
        stand_in: &mut impl StandIn,
    ) {
        let mut out = Vec::new();
        self.machine.transaction(source, transaction, self.now, &mut out);
        self.act(out, stand_in);
    }

    /// One line, or one entry of several, now; tells what rules make of it.
    pub fn explain_line(
        &mut self,
        lines: &Lines<'_>,
        stand_in: &mut impl StandIn,
    ) -> Explained {
        let mut out = Vec::new();
        let explained = self.machine.explain_line(lines, self.now, &mut out);
        self.act(out, stand_in);
        explained
    }

    /// A transaction, now; tells what rules make of it.
    pub fn explain_transaction(
        &mut self,
        source: &str,
        transaction: &Transaction,
        stand_in: &mut impl StandIn,
    ) -> Explained {
        let mut out = Vec::new();
        let machine = &mut self.machine;
        let explained =
            machine.explain_transaction(source, transaction, self.now, &mut out);
        self.act(out, stand_in);
        explained
    }

    /// Another event, now.
    pub fn event(&mut self, event: &Event, stand_in: &mut impl StandIn) {
        let mut out = Vec::new();
        self.machine.event(event, self.now, &mut out);
        self.act(out, stand_in);
    }

    /// When something happens without an event.
    pub fn due(&self) -> Option<Timestamp> {
        [self.machine.due(), self.runs.due()].into_iter().flatten().min()
    }

    /// When something settles, or is tried again.
    pub(crate) fn settles_at(&self) -> Option<Timestamp> {
        [self.machine.settles_at(), self.runs.due()].into_iter().flatten().min()
    }

    /// Time passes, up to this instant, with all that is due. A clock never goes back.
    pub fn until(&mut self, end: Timestamp, stand_in: &mut impl StandIn) {
        while let Some(due) = self.due()
            && due <= end
            && stand_in.goes_on()
        {
            self.now = self.now.max(due);
            self.tick(stand_in);
        }
        self.now = self.now.max(end);
        self.tick(stand_in);
    }

    /// Time passes as in [`until`](Self::until), but not what happens at the instant
    /// itself: an event comes before that.
    pub fn before(&mut self, end: Timestamp, stand_in: &mut impl StandIn) {
        while let Some(due) = self.due()
            && due < end
            && stand_in.goes_on()
        {
            self.now = self.now.max(due);
            self.tick(stand_in);
        }
        self.now = self.now.max(end);
    }

    fn tick(&mut self, stand_in: &mut impl StandIn) {
        let mut out = Vec::new();
        self.machine.tick(self.now, &mut out);
        self.act(out, stand_in);
    }

    /// Does what follows, until nothing does at this instant.
    fn act(&mut self, mut out: Vec<Output>, stand_in: &mut impl StandIn) {
        // Nearly always nothing follows.
        if out.is_empty() && self.runs.is_empty() {
            return;
        }
        loop {
            for output in std::mem::take(&mut out) {
                self.take(output, &mut out, stand_in);
            }
            let mut ended = Vec::new();
            let starts = self.runs.next(self.now, &mut ended);
            let is_idle = starts.is_empty() && ended.is_empty() && out.is_empty();
            for start in starts {
                self.execute(start, &mut ended, &mut out, stand_in);
            }
            for ended in ended {
                stand_in.ends(&ended, self.now);
                let event = Event::task(&ended.end, &ended.id, self.now, ended.depth);
                self.machine.event(&event, self.now, &mut out);
            }
            if is_idle || !stand_in.goes_on() {
                return;
            }
        }
    }

    fn take(
        &mut self,
        output: Output,
        out: &mut Vec<Output>,
        stand_in: &mut impl StandIn,
    ) {
        match output {
            Output::Fired(firing) => {
                stand_in.fires(&firing, self.now);
                self.runs.start(*firing);
            }
            Output::Note(note) => {
                if !stand_in.notes(&note, self.now) {
                    return;
                }
                let id = format!("engine/0/{}", self.notes);
                self.notes += 1;
                let event = Event::engine(&note, &id, self.now);
                self.machine.event(&event, self.now, out);
            }
        }
    }

    fn execute(
        &mut self,
        start: Start,
        ended: &mut Vec<Ended>,
        out: &mut Vec<Output>,
        stand_in: &mut impl StandIn,
    ) {
        let (task, effect) = (start.task, Effect::of(&start));
        let outcome = stand_in.acts(start, self.now);
        if matches!(outcome, Outcome::Done { .. })
            && let Some(effect) = effect
        {
            self.take_effect(effect, out);
        }
        self.runs.ended(task, outcome, self.now, ended);
    }

    fn take_effect(&mut self, effect: Effect, out: &mut Vec<Output>) {
        match effect {
            Effect::Emit { kind, fields, id, depth } => {
                let event = Event::emitted(&kind, &fields, &id, self.now, depth);
                self.machine.event(&event, self.now, out);
            }
            Effect::Set { flag, millis } => {
                let until = self.now.checked_add(SignedDuration::from_millis(millis));
                self.machine.set_flag(&flag, until.unwrap_or(Timestamp::MAX));
            }
            Effect::Clear { flag } => self.machine.clear_flag(&flag),
        }
    }
}

/// What an action does inside the machine.
enum Effect {
    Emit { kind: String, fields: Vec<(String, String)>, id: String, depth: u32 },
    Set { flag: String, millis: i64 },
    Clear { flag: String },
}

impl Effect {
    fn of(start: &Start) -> Option<Self> {
        Some(match &start.job {
            Job::Emit { kind, fields } => Self::Emit {
                kind: kind.clone(),
                fields: fields.clone(),
                id: format!("{}/{}", start.firing, start.action),
                depth: start.depth,
            },
            Job::Set { flag, millis } => {
                Self::Set { flag: flag.clone(), millis: *millis }
            }
            Job::Clear { flag } => Self::Clear { flag: flag.clone() },
            _ => return None,
        })
    }
}
