//! Which action starts when: `needs`, `retry`, `on_failure`, one at a time.
//!
//! A firing becomes a run; of a run each action is a task. [`Runs`] is the state of all of
//! them, and can be written down and read again between any two calls.

mod task;
mod under_way;

use super::event::TaskEnd;
use super::firing::{Firing, What};
use super::job::{Job, render};
use super::snapshot::SnapshotError;
use super::{how_long, instant, millis};
use crate::compiled::{Action, Rule, RuleSet};
use crate::model::{Overlap, Status};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
pub use task::{Ended, Failure};
use task::{Task, TaskState, left, pause, retries, tail, together, why};
pub use under_way::{Doing, TaskUnderWay, UnderWay};

/// The runs that are not over.
#[derive(Debug)]
pub struct Runs {
    set: Arc<RuleSet>,
    runs: BTreeMap<u64, Run>,
    /// How many bytes all of them have.
    bytes: usize,
    groups: BTreeMap<String, Group>,
    next: u64,
    /// Of these something may start now.
    to_look_at: BTreeSet<u64>,
    /// When the pause of a task ends.
    pauses: BTreeSet<(i64, u64)>,
    /// Others than they were written.
    touched: BTreeSet<u64>,
    /// Pauses are exactly as written.
    is_exact: bool,
    /// Firings that were skipped because others acted.
    skipped: u64,
}

/// Runs of which not all may act at the same time.
#[derive(Debug, Default)]
struct Group {
    acting: Vec<u64>,
    waiting: VecDeque<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Run {
    firing: Firing,
    group: Option<String>,
    is_acting: bool,
    tasks: Vec<Task>,
    /// What actions left behind, by their names in templates.
    left: BTreeMap<String, Json>,
    has_failed: bool,
    /// As it was written last; before that about what it takes.
    #[serde(skip)]
    bytes: usize,
    #[serde(skip)]
    was_written: bool,
}

/// The number of a run, and what it is; `None` when it is over.
pub type WrittenRun = (u64, Option<Vec<u8>>);

/// An action to start now.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// For [`Runs::ended`].
    pub task: (u64, usize),
    /// The rule.
    pub rule: String,
    /// The action's id.
    pub action: String,
    /// Its word: `Mail`.
    pub word: &'static str,
    /// The id of the firing: a receiver that knows it has done this already.
    pub firing: String,
    /// How many firings led to it.
    pub depth: u32,
    /// The number of what it all began with.
    pub origin: u64,
    /// Counts from 1.
    pub attempt: u32,
    /// What is to be done.
    pub job: Job,
    /// How long it may take.
    pub timeout: Duration,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Done {
        /// What it said.
        stdout: String,
        /// What it complained of.
        stderr: String,
    },
    /// With an error.
    Failed {
        /// The code that a program ended with, or the status of the answer to a `Post`; 65
        /// of a `Mail` that was refused for all of its recipients and for good; otherwise
        /// -1.
        exit: i64,
        /// What went wrong, in words.
        reason: String,
        /// The end of what it said.
        stderr: String,
    },
    /// It took too long.
    TimedOut {
        /// The end of what it said.
        stderr: String,
    },
}

impl Runs {
    /// No runs yet.
    pub fn new(set: Arc<RuleSet>) -> Self {
        Self {
            set,
            runs: BTreeMap::new(),
            bytes: 0,
            groups: BTreeMap::new(),
            next: 0,
            to_look_at: BTreeSet::new(),
            pauses: BTreeSet::new(),
            touched: BTreeSet::new(),
            is_exact: false,
            skipped: 0,
        }
    }

    /// With pauses that are exactly as written, for tests.
    pub fn exact(set: Arc<RuleSet>) -> Self {
        Self { is_exact: true, ..Self::new(set) }
    }

    /// Goes on with what was written of other runs, each with its number. What ran then
    /// runs again; actions that the rule got since run too. Those of rules that are gone
    /// are dropped: returns how many.
    ///
    /// # Errors
    ///
    /// When one cannot be understood; nothing has changed then.
    pub fn restore<'a>(
        &mut self,
        written: impl IntoIterator<Item = (u64, &'a [u8])>,
    ) -> Result<usize, SnapshotError> {
        let mut runs = BTreeMap::new();
        for (number, bytes) in written {
            if number >= NUMBER_MAX {
                return Err(SnapshotError::new(format!("there is no run {number}")));
            }
            let run: Run = serde_json::from_slice(bytes)
                .map_err(|error| SnapshotError::of("a run", &error))?;
            runs.insert(number, Run { bytes: bytes.len(), was_written: true, ..run });
        }
        let mut dropped = 0;
        for (number, mut run) in runs {
            self.next = self.next.max(number + 1);
            self.touched.insert(number);
            let rule = rule_of(&self.set, &run.firing);
            let actions = rule.map_or(&[][..], |rule| run.firing.actions(rule));
            if actions.is_empty() {
                dropped += 1;
                continue;
            }
            let mut before = std::mem::take(&mut run.tasks);
            let of = |action: &Action| {
                let known = before.iter().position(|task| *task.action == *action.id);
                known.map_or_else(|| Task::new(action), |at| before.swap_remove(at))
            };
            run.tasks = actions.iter().map(of).collect();
            for task in run.tasks.iter_mut() {
                match task.state {
                    TaskState::Runs => {
                        task.state = TaskState::Waits;
                        task.attempts = task.attempts.saturating_sub(1);
                    }
                    TaskState::Pauses(until) => _ = self.pauses.insert((until, number)),
                    _ => {}
                }
            }
            if let Some(name) = &run.group {
                let group = self.groups.entry(name.clone()).or_default();
                match run.is_acting {
                    true => group.acting.push(number),
                    false => group.waiting.push_back(number),
                }
            }
            self.bytes += run.bytes;
            self.runs.insert(number, run);
            self.to_look_at.insert(number);
        }
        let groups: Vec<String> = self.groups.keys().cloned().collect();
        groups.iter().for_each(|name| self.let_next_act(name));
        Ok(dropped)
    }

    /// The runs that are others since this was asked last; `None` for one that is over. One
    /// that began and ended between the two is not among them.
    ///
    /// # Errors
    ///
    /// When one cannot be written, which does not happen.
    pub fn take_touched(&mut self) -> Result<Vec<WrittenRun>, SnapshotError> {
        let touched = std::mem::take(&mut self.touched);
        let write = |number: u64| {
            let Some(run) = self.runs.get_mut(&number) else { return Ok((number, None)) };
            let bytes = serde_json::to_vec(run)
                .map_err(|error| SnapshotError::of("a run", &error))?;
            self.bytes = self.bytes - run.bytes + bytes.len();
            (run.bytes, run.was_written) = (bytes.len(), true);
            Ok((number, Some(bytes)))
        };
        touched.into_iter().map(write).collect()
    }

    /// A run is over.
    fn forget(&mut self, number: u64) -> Option<Run> {
        let run = self.runs.remove(&number)?;
        self.bytes -= run.bytes;
        if run.was_written {
            self.touched.insert(number);
        } else {
            self.touched.remove(&number);
        }
        Some(run)
    }

    /// Whether [`take_touched`](Self::take_touched) has something.
    pub fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// A rule fired.
    pub fn start(&mut self, firing: Firing) {
        let set = Arc::clone(&self.set);
        let Some(rule) = rule_of(&set, &firing) else { return };
        let number = self.next;
        self.next += 1;
        let tasks = firing.actions(rule).iter().map(Task::new);
        // What is done about a failure waits for nobody.
        let group = (firing.what != What::Failure)
            .then(|| rule.one_at_a_time.as_ref().unwrap_or(&rule.name).to_string());
        let overlap = rule.overlap;
        let run = Run {
            bytes: firing.weight(),
            was_written: false,
            tasks: tasks.collect(),
            is_acting: group.is_none(),
            group: group.clone(),
            firing,
            left: BTreeMap::new(),
            has_failed: false,
        };
        self.bytes += run.bytes;
        self.runs.insert(number, run);
        self.touched.insert(number);
        self.to_look_at.insert(number);
        if let Some(name) = group {
            self.enter(&name, number, overlap);
        }
    }

    /// Lets a run act, wait, or not.
    fn enter(&mut self, name: &str, number: u64, overlap: Overlap) {
        let group = self.groups.entry(name.to_owned()).or_default();
        let waiting = match overlap {
            // While too many wait nothing more is read.
            Overlap::Parallel(_) => usize::MAX,
            Overlap::Queue(most) => most as usize,
            Overlap::Skip => 0,
        };
        if group.acting.len() < together(overlap) {
            group.acting.push(number);
            if let Some(run) = self.runs.get_mut(&number) {
                run.is_acting = true;
            }
            return;
        }
        group.waiting.push_back(number);
        if group.waiting.len() > waiting
            && let Some(oldest) = group.waiting.pop_front()
        {
            self.forget(oldest);
            self.skipped += 1;
        }
    }

    /// The actions to start now. Those whose texts cannot be filled in have failed at once:
    /// they are in `ended`.
    pub fn next(&mut self, now: Timestamp, ended: &mut Vec<Ended>) -> Vec<Start> {
        let now = millis(now);
        let mut starts = Vec::new();
        while let Some((until, number)) = self.pauses.first().copied()
            && until <= now
        {
            self.pauses.pop_first();
            self.to_look_at.insert(number);
        }
        while let Some(number) = self.to_look_at.pop_first() {
            while let Some((index, start)) = self.next_of(number, now) {
                match start {
                    Ok(start) => starts.push(start),
                    Err(reason) => {
                        let stderr = String::new();
                        let failed = Outcome::Failed { exit: -1, reason, stderr };
                        self.end((number, index), failed, now, false, ended);
                    }
                }
            }
            self.close(number);
        }
        starts
    }

    /// The first action of a run that can start.
    fn next_of(
        &mut self,
        number: u64,
        now: i64,
    ) -> Option<(usize, Result<Start, String>)> {
        let set = Arc::clone(&self.set);
        let run = self.runs.get_mut(&number).filter(|run| run.is_acting)?;
        let rule = rule_of(&set, &run.firing)?;
        let actions = run.firing.actions(rule);
        run.skip(actions);
        let can_start = |&(index, action): &(usize, &Action)| match run.tasks.get(index) {
            Some(Task { state: TaskState::Pauses(until), .. }) => *until <= now,
            Some(Task { state: TaskState::Waits, .. }) => {
                action.needs.iter().all(|need| run.is_met(actions, *need))
            }
            _ => false,
        };
        let (index, action) = actions.iter().enumerate().find(can_start)?;
        self.touched.insert(number);
        let task = &mut run.tasks[index];
        task.state = TaskState::Runs;
        task.attempts = task.attempts.saturating_add(1);
        task.since.get_or_insert(now);
        let attempt = task.attempts;
        let job = render(&set, action, &run.firing, &run.left);
        let start = job.map(|job| Start {
            task: (number, index),
            rule: run.firing.rule.clone(),
            action: action.id.to_string(),
            word: action.word,
            firing: run.firing.id.clone(),
            depth: run.firing.depth,
            origin: run.firing.origin,
            attempt,
            job,
            timeout: action.timeout,
        });
        Some((index, start))
    }

    /// An attempt that was started has ended; tells what ended for good with it.
    pub fn ended(
        &mut self,
        task: (u64, usize),
        outcome: Outcome,
        now: Timestamp,
        ended: &mut Vec<Ended>,
    ) {
        self.end(task, outcome, millis(now), true, ended);
        self.close(task.0);
    }

    fn end(
        &mut self,
        (number, index): (u64, usize),
        outcome: Outcome,
        now: i64,
        may_retry: bool,
        ended: &mut Vec<Ended>,
    ) {
        let set = Arc::clone(&self.set);
        let Some(run) = self.runs.get_mut(&number) else { return };
        let Some(rule) = rule_of(&set, &run.firing) else { return };
        let Some(action) = run.firing.actions(rule).get(index) else { return };
        let Some(task) =
            run.tasks.get_mut(index).filter(|it| it.state == TaskState::Runs)
        else {
            return;
        };
        self.touched.insert(number);
        self.to_look_at.insert(number);
        let is_done = matches!(outcome, Outcome::Done { .. });
        if !is_done && may_retry && task.attempts <= retries(action, &outcome) {
            let seed = format!("{}/{}/{}", run.firing.id, action.id, task.attempts);
            let pause = pause(action, task.attempts, (!self.is_exact).then_some(&seed));
            task.pause(now + pause, action, &outcome);
            self.pauses.insert((now + pause, number));
            return;
        }
        task.state = if is_done { TaskState::Succeeded } else { TaskState::Failed };
        let end = run.tell(action, index, &outcome, now);
        run.left.insert(action.id.replace('-', "_"), left(&outcome));
        run.skip(run.firing.actions(rule));
        let skipped = run.skipped(rule);
        let end = TaskEnd { skipped: if is_done { Vec::new() } else { skipped }, ..end };
        let is_first = !is_done && !action.may_fail && !run.has_failed;
        run.has_failed |= is_first;
        let failure = (is_first
            && !rule.on_failure.is_empty()
            && may_fail_on(&run.firing))
        .then(|| {
            let mut failure = run.firing.clone().with("task", end.root());
            failure.what = What::Failure;
            failure.id += "/failed";
            failure
        });
        let id = format!("{}/{}", run.firing.id, action.id);
        let (depth, origin) = (run.firing.depth, run.firing.origin);
        ended.push(Ended { id, depth, origin, end });
        if let Some(failure) = failure {
            self.start(failure);
        }
    }

    /// A run that is over goes, and the next one of its group acts.
    fn close(&mut self, number: u64) {
        let is_over = |task: &Task| {
            matches!(
                task.state,
                TaskState::Succeeded | TaskState::Failed | TaskState::Skipped
            )
        };
        let Some(run) = self.runs.get(&number) else { return };
        if !run.is_acting || !run.tasks.iter().all(is_over) {
            return;
        }
        let Some(run) = self.forget(number) else { return };
        let Some(name) = run.group else { return };
        if let Some(group) = self.groups.get_mut(&name) {
            group.acting.retain(|it| *it != number);
        }
        self.let_next_act(&name);
    }

    /// Lets those of a group act that waited, as many as may together.
    fn let_next_act(&mut self, name: &str) {
        let Some(group) = self.groups.get_mut(name) else { return };
        while let Some(next) = group.waiting.front().copied() {
            let run = self.runs.get_mut(&next);
            let rule = run.as_ref().and_then(|run| rule_of(&self.set, &run.firing));
            if group.acting.len() >= rule.map_or(1, |rule| together(rule.overlap)) {
                break;
            }
            group.waiting.pop_front();
            if let Some(run) = run {
                group.acting.push(next);
                run.is_acting = true;
                self.touched.insert(next);
                self.to_look_at.insert(next);
            }
        }
        if group.acting.is_empty() {
            self.groups.remove(name);
        }
    }

    /// When [`next`](Self::next) has something to start again if nothing ends before.
    pub fn due(&self) -> Option<Timestamp> {
        self.pauses.first().map(|(until, _)| instant(*until))
    }

    /// Runs that act or wait.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether nothing acts or waits.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether so much waits that no more events should be read.
    pub fn is_full(&self) -> bool {
        self.runs.len() >= RUNS_MAX || self.bytes >= RUNS_BYTES_MAX
    }

    /// Firings that were skipped because others acted, since the beginning.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }
}

impl Run {
    /// Whether what needs this action may start.
    fn is_met(&self, actions: &[Action], need: usize) -> bool {
        let may_fail = actions.get(need).is_some_and(|action| action.may_fail);
        match self.tasks.get(need).map(|task| task.state) {
            Some(TaskState::Succeeded) => true,
            Some(TaskState::Failed) => may_fail,
            _ => false,
        }
    }

    /// Skips what needs something that failed or was skipped.
    fn skip(&mut self, actions: &[Action]) {
        let is_lost =
            |run: &Self, need: usize| match run.tasks.get(need).map(|it| it.state) {
                Some(TaskState::Failed) => !run.is_met(actions, need),
                Some(TaskState::Skipped) | None => true,
                _ => false,
            };
        // As often as there are actions, as the order of needs may be the other way.
        for _ in 0..actions.len() {
            for (index, action) in actions.iter().enumerate() {
                let waits =
                    self.tasks.get(index).is_some_and(|it| it.state == TaskState::Waits);
                if waits && action.needs.iter().any(|need| is_lost(self, *need)) {
                    self.tasks[index].state = TaskState::Skipped;
                }
            }
        }
    }

    fn skipped(&self, rule: &Rule) -> Vec<String> {
        let pairs = self.firing.actions(rule).iter().zip(&self.tasks);
        let skipped = pairs.filter(|(_, task)| task.state == TaskState::Skipped);
        skipped.map(|(action, _)| action.id.to_string()).collect()
    }

    fn tell(
        &self,
        action: &Action,
        index: usize,
        outcome: &Outcome,
        now: i64,
    ) -> TaskEnd {
        let task = &self.tasks[index];
        let gave_up = task.attempts > 1;
        let status = match outcome {
            Outcome::Done { .. } => Status::Succeeded,
            _ if gave_up => Status::GaveUp,
            Outcome::Failed { .. } => Status::Failed,
            Outcome::TimedOut { .. } => Status::TimedOut,
        };
        let (exit, reason, stderr) = why(action, outcome);
        TaskEnd {
            rule: self.firing.rule.clone(),
            action: action.id.to_string(),
            status,
            exit,
            reason,
            stderr: tail(stderr),
            duration: how_long(now - task.since.unwrap_or(now)),
            attempts: task.attempts,
            skipped: Vec::new(),
        }
    }
}

fn rule_of<'s>(set: &'s RuleSet, firing: &Firing) -> Option<&'s Rule> {
    set.rules.iter().find(|rule| *rule.name == *firing.rule)
}

/// A failure of what is done about a failure starts nothing.
fn may_fail_on(firing: &Firing) -> bool {
    firing.what != What::Failure
}

/// There are fewer runs before the end of days.
const NUMBER_MAX: u64 = 1 << 53;
/// With so many runs no more events should be read.
const RUNS_MAX: usize = 20_000;
/// Nor with so many bytes of them.
const RUNS_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests;
