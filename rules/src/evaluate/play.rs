//! A machine and the runs of its firings: all that follows from an event, up to the
//! actions that somebody else has to do.
//!
//! The daemon, a replay and a test play the same: they differ in the [`Executor`], and in
//! who turns the clock.

use super::clock::{Behind, Clock};
use super::event::{Event, Note};
use super::explain::Explained;
use super::firing::Firing;
use super::job::Job;
use super::machine::{Machine, Output};
use super::run::{Ended, Outcome, Runs, Start};
use super::{Lines, Transaction, millis};
use jiff::{SignedDuration, Timestamp};

/// Does what rules ask for.
pub trait Executor {
    /// Does an action, and says how it ended; `None` if that is told later, with
    /// [`Play::ended`]. An [`Emit`](Job::Emit), a [`Set`](Job::Set) and a
    /// [`Clear`](Job::Clear) take effect as soon as this says that they are done.
    fn execute(&mut self, start: Start) -> Option<Outcome>;

    /// A rule fired.
    fn fired(&mut self, firing: &Firing) {
        let _ = firing;
    }

    /// A task ended for good.
    fn ended(&mut self, ended: &Ended) {
        let _ = ended;
    }

    /// The rules have a trouble of their own.
    fn noted(&mut self, note: &Note) {
        let _ = note;
    }
}

/// The rules, what they remember and what they are about to do.
pub struct Play {
    /// The rules, and what they remember.
    pub machine: Machine,
    /// What they are about to do.
    pub runs: Runs,
    /// What is read happened before: the machine's clock goes with it.
    behind: Option<Behind>,
    /// Lines that are handed on as they are wait for others.
    waits_for_more: bool,
    /// Not all that follows was done: there is more at this instant.
    is_unfinished: bool,
}

impl Play {
    /// A machine and the runs of its firings.
    pub const fn new(machine: Machine, runs: Runs) -> Self {
        Self { machine, runs, behind: None, waits_for_more: false, is_unfinished: false }
    }

    /// How it is with what comes from now on if it happened before, so that the rules' time
    /// is that of what they read: see [`Clock::Then`]. Actions know no time but the present.
    pub const fn set_behind(&mut self, behind: Option<Behind>) {
        self.behind = behind;
    }

    /// Lines of a log, in order. What follows from a line comes before the next one.
    pub fn lines(&mut self, lines: &Lines<'_>, now: Timestamp, with: &mut dyn Executor) {
        let clock = self.clock(now);
        let mut out = Vec::new();
        let hits = self.machine.scan(lines, clock, &mut out);
        self.follow(&mut out, now, with);
        for hits in hits.of_lines() {
            self.machine.see_line(lines, hits, clock, &mut out);
            if !self.waits_for_more {
                self.machine.close_bundles(&mut out);
            }
            if !out.is_empty() {
                self.follow(&mut out, now, with);
            }
        }
    }

    /// From now on lines that a rule only [hands on](crate::compiled::Rule::hands_on) wait
    /// for others, until [`hand_on`](Self::hand_on).
    pub const fn wait_for_more(&mut self) {
        self.waits_for_more = true;
    }

    /// Hands on what waited for more.
    pub fn hand_on(&mut self, now: Timestamp, with: &mut dyn Executor) {
        let mut out = Vec::new();
        self.machine.close_bundles(&mut out);
        self.follow(&mut out, now, with);
    }

    /// A transaction of a journal.
    pub fn transaction(
        &mut self,
        source: &str,
        transaction: &Transaction,
        now: Timestamp,
        with: &mut dyn Executor,
    ) {
        let mut out = Vec::new();
        self.machine.transaction(source, transaction, self.clock(now), &mut out);
        self.follow(&mut out, now, with);
    }

    /// One line, or one entry of several; tells what rules make of it.
    pub fn explain_line(
        &mut self,
        lines: &Lines<'_>,
        now: Timestamp,
        with: &mut dyn Executor,
    ) -> Explained {
        let mut out = Vec::new();
        let explained = self.machine.explain_line(lines, now, &mut out);
        self.follow(&mut out, now, with);
        explained
    }

    /// A transaction; tells what rules make of it.
    pub fn explain_transaction(
        &mut self,
        source: &str,
        transaction: &Transaction,
        now: Timestamp,
        with: &mut dyn Executor,
    ) -> Explained {
        let mut out = Vec::new();
        let explained =
            self.machine.explain_transaction(source, transaction, now, &mut out);
        self.follow(&mut out, now, with);
        explained
    }

    /// Another event.
    pub fn event(&mut self, event: &Event, now: Timestamp, with: &mut dyn Executor) {
        let mut out = Vec::new();
        self.machine.event(event, self.time(now), &mut out);
        self.follow(&mut out, now, with);
    }

    /// An action that was started has ended.
    pub fn ended(
        &mut self,
        task: (u64, usize),
        outcome: Outcome,
        now: Timestamp,
        with: &mut dyn Executor,
    ) {
        let (mut ended, mut out) = (Vec::new(), Vec::new());
        self.runs.ended(task, outcome, now, &mut ended);
        self.tell(ended, now, with, &mut out);
        self.follow(&mut out, now, with);
    }

    /// What is due at this instant; of very much the beginning, and the rest is still
    /// due.
    pub fn tick(&mut self, now: Timestamp, with: &mut dyn Executor) {
        let mut out = Vec::new();
        if self.behind.is_none() && !self.runs.is_full() {
            self.machine.tick(now, &mut out);
        }
        self.follow(&mut out, now, with);
    }

    /// When [`tick`](Self::tick) should be called if nothing comes before.
    pub fn due(&self) -> Option<Timestamp> {
        let unfinished = self.is_unfinished.then_some(Timestamp::MIN);
        [self.waits_for(), self.runs.due(), unfinished].into_iter().flatten().min()
    }

    /// When something happens without an event; not while there is too much to do.
    fn waits_for(&self) -> Option<Timestamp> {
        let waits = self.behind.is_none() && !self.runs.is_full();
        if waits { self.machine.due() } else { None }
    }

    /// Whether something should have happened without an event before this.
    pub fn is_late(&self, now: Timestamp) -> bool {
        self.waits_for().is_some_and(|due| due < now)
    }

    const fn clock(&self, now: Timestamp) -> Clock {
        match self.behind {
            Some(behind) => Clock::Then(now, behind),
            None => Clock::Now(now),
        }
    }

    /// The time that it is to the rules.
    fn time(&self, now: Timestamp) -> Timestamp {
        if self.behind.is_some() { self.machine.clock() } else { now }
    }

    /// Does what follows, until nothing does at this instant, or so much that the rest is
    /// for the next [`tick`](Self::tick).
    fn follow(&mut self, out: &mut Vec<Output>, now: Timestamp, with: &mut dyn Executor) {
        self.is_unfinished = false;
        for _ in 0..ROUNDS_MAX {
            self.take(out, now, with);
            let mut ended = Vec::new();
            let starts = self.runs.next(now, &mut ended);
            if starts.is_empty() && ended.is_empty() && out.is_empty() {
                return;
            }
            for start in starts {
                self.start(start, now, with, &mut ended, out);
            }
            self.tell(ended, now, with, out);
        }
        self.is_unfinished = true;
        // What is a run is written down. Troubles are told once in a while, and so not for
        // ever.
        while !out.is_empty() {
            self.take(out, now, with);
        }
    }

    fn take(&mut self, out: &mut Vec<Output>, now: Timestamp, with: &mut dyn Executor) {
        for output in std::mem::take(out) {
            match output {
                Output::Fired(firing) => {
                    with.fired(&firing);
                    self.runs.start(*firing);
                }
                Output::Note(note, depth) => self.note(&note, depth, now, with, out),
            }
        }
    }

    fn start(
        &mut self,
        start: Start,
        now: Timestamp,
        with: &mut dyn Executor,
        ended: &mut Vec<Ended>,
        out: &mut Vec<Output>,
    ) {
        let task = start.task;
        let inner = Inner::of(&start);
        let Some(outcome) = with.execute(start) else { return };
        if let (Some(inner), Outcome::Done { .. }) = (inner, &outcome) {
            self.take_effect(inner, now, out);
        }
        self.runs.ended(task, outcome, now, ended);
    }

    /// What actions do inside the machine.
    fn take_effect(&mut self, inner: Inner, now: Timestamp, out: &mut Vec<Output>) {
        let now = self.time(now);
        match inner.job {
            Job::Emit { kind, fields } => {
                let event = Event::emitted(&kind, &fields, &inner.id, now, inner.depth);
                let event = event.led_to(inner.origin, &inner.rule);
                self.machine.event(&event, now, out);
            }
            Job::Set { flag, millis } => {
                let until = now.checked_add(SignedDuration::from_millis(millis));
                self.machine.set_flag(&flag, until.unwrap_or(Timestamp::MAX));
            }
            Job::Clear { flag } => self.machine.clear_flag(&flag),
            _ => {}
        }
    }

    /// The ends of tasks are events.
    fn tell(
        &mut self,
        ended: Vec<Ended>,
        now: Timestamp,
        with: &mut dyn Executor,
        out: &mut Vec<Output>,
    ) {
        let now = self.time(now);
        for ended in ended {
            with.ended(&ended);
            let event = Event::task(&ended.end, &ended.id, now, ended.depth);
            let event = event.led_to(ended.origin, &ended.end.rule);
            self.machine.event(&event, now, out);
        }
    }

    /// So are the rules' own troubles.
    fn note(
        &mut self,
        note: &Note,
        depth: u32,
        now: Timestamp,
        with: &mut dyn Executor,
        out: &mut Vec<Output>,
    ) {
        with.noted(note);
        let now = self.time(now);
        let id = format!("engine/{}/{}", millis(now), self.machine.next_note());
        self.machine.event(&Event::noted(note, &id, now, depth), now, out);
    }
}

/// An action that takes effect inside the machine.
struct Inner {
    job: Job,
    id: String,
    rule: String,
    depth: u32,
    origin: u64,
}

impl Inner {
    fn of(start: &Start) -> Option<Self> {
        let is_inner =
            matches!(start.job, Job::Emit { .. } | Job::Set { .. } | Job::Clear { .. });
        is_inner.then(|| Self {
            job: start.job.clone(),
            id: format!("{}/{}", start.firing, start.action),
            rule: start.rule.clone(),
            depth: start.depth,
            origin: start.origin,
        })
    }
}

/// So many times is done what follows of what was done, before others have their turn.
const ROUNDS_MAX: usize = 1000;

#[cfg(test)]
mod tests;
