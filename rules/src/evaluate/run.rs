//! Which action starts when: `needs`, `retry`, `on_failure`, one at a time.
//!
//! A firing becomes a run; of a run each action is a task. [`Runs`] is the state of all of
//! them, and can be written down and read again between any two calls.

use super::event::TaskEnd;
use super::firing::{Firing, What};
use super::job::{Job, render};
use super::{how_long, instant, length, millis};
use crate::compiled::{Action, ActionKind, Rule, RuleSet};
use crate::model::{Overlap, Status};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The runs that are not over.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Runs {
    #[serde(skip)]
    set: Option<Arc<RuleSet>>,
    runs: BTreeMap<u64, Run>,
    groups: BTreeMap<String, Group>,
    next: u64,
    /// Pauses are exactly as written.
    is_exact: bool,
    /// Firings that were skipped because others acted.
    skipped: u64,
}

/// Runs of which not all may act at the same time.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Group {
    acting: Vec<u64>,
    waiting: VecDeque<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Run {
    /// The rules as they were when it began.
    #[serde(skip)]
    set: Option<Arc<RuleSet>>,
    firing: Firing,
    group: Option<String>,
    is_acting: bool,
    tasks: Vec<Task>,
    /// What actions left behind, by their names in templates.
    left: BTreeMap<String, Json>,
    has_failed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Task {
    state: TaskState,
    attempts: u32,
    /// When the first attempt began, in milliseconds since 1970.
    since: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum TaskState {
    /// For what it needs.
    Waits,
    Runs,
    /// Until then, before the next attempt.
    Pauses(i64),
    Succeeded,
    Failed,
    Skipped,
}

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

/// A task has ended for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The same for the same task of the same firing.
    pub id: String,
    /// How many firings led to it.
    pub depth: u32,
    /// How it ended.
    pub end: TaskEnd,
}

impl Runs {
    /// No runs yet.
    pub fn new(set: Arc<RuleSet>) -> Self {
        Self { set: Some(set), ..Self::default() }
    }

    /// With pauses that are exactly as written, for tests.
    pub fn exact(set: Arc<RuleSet>) -> Self {
        Self { is_exact: true, ..Self::new(set) }
    }

    /// Goes on with another set of rules, or with those of before after a restart. What
    /// acts goes on as it was begun; what ran when the daemon died runs again.
    pub fn set_rules(&mut self, set: Arc<RuleSet>) {
        for run in self.runs.values_mut().filter(|run| run.set.is_none()) {
            run.set = Some(Arc::clone(&set));
            for task in run.tasks.iter_mut().filter(|it| it.state == TaskState::Runs) {
                task.state = TaskState::Waits;
                task.attempts = task.attempts.saturating_sub(1);
            }
        }
        self.set = Some(set);
    }

    /// A rule fired.
    pub fn start(&mut self, firing: Firing) {
        let Some(set) = self.set.clone() else { return };
        let Some(rule) = rule_of(&set, &firing) else { return };
        let number = self.next;
        self.next += 1;
        let tasks = firing.actions(rule).iter().map(|_| Task {
            state: TaskState::Waits,
            attempts: 0,
            since: None,
        });
        // What is done about a failure waits for nobody.
        let group = (firing.what != What::Failure)
            .then(|| rule.one_at_a_time.as_ref().unwrap_or(&rule.name).to_string());
        let overlap = rule.overlap;
        let run = Run {
            tasks: tasks.collect(),
            is_acting: group.is_none(),
            group: group.clone(),
            firing,
            left: BTreeMap::new(),
            has_failed: false,
            set: Some(set),
        };
        self.runs.insert(number, run);
        if let Some(name) = group {
            self.enter(&name, number, overlap);
        }
    }

    /// Lets a run act, wait, or not.
    fn enter(&mut self, name: &str, number: u64, overlap: Overlap) {
        let group = self.groups.entry(name.to_owned()).or_default();
        let (together, waiting) = match overlap {
            Overlap::Parallel(most) => (most as usize, WAITING_MAX),
            Overlap::Queue(most) => (1, most as usize),
            Overlap::Skip => (1, 0),
        };
        if group.acting.len() < together.max(1) {
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
            self.runs.remove(&oldest);
            self.skipped += 1;
        }
    }

    /// The actions to start now. Those whose texts cannot be filled in have failed at once:
    /// they are in `ended`.
    pub fn next(&mut self, now: Timestamp, ended: &mut Vec<Ended>) -> Vec<Start> {
        let now = millis(now);
        let mut starts = Vec::new();
        let numbers: Vec<u64> = self
            .runs
            .iter()
            .filter(|(_, run)| run.is_acting)
            .map(|(it, _)| *it)
            .collect();
        for number in numbers {
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
        let run = self.runs.get_mut(&number)?;
        let set = run.set.clone()?;
        let Some(rule) = rule_of(&set, &run.firing) else {
            // It was taken out while this waited.
            run.tasks.iter_mut().for_each(|task| task.state = TaskState::Skipped);
            return None;
        };
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
        let task = &mut run.tasks[index];
        task.state = TaskState::Runs;
        task.attempts += 1;
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
        let Some(run) = self.runs.get_mut(&number) else { return };
        let Some(set) = run.set.clone() else { return };
        let Some(rule) = rule_of(&set, &run.firing) else { return };
        let Some(action) = run.firing.actions(rule).get(index) else { return };
        let Some(task) =
            run.tasks.get_mut(index).filter(|it| it.state == TaskState::Runs)
        else {
            return;
        };
        let is_done = matches!(outcome, Outcome::Done { .. });
        if !is_done && may_retry && task.attempts <= retries(action, &outcome) {
            let seed = format!("{}/{}/{}", run.firing.id, action.id, task.attempts);
            let pause = pause(action, task.attempts, (!self.is_exact).then_some(&seed));
            task.state = TaskState::Pauses(now + pause);
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
        ended.push(Ended { id, depth: run.firing.depth, end });
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
        let Some(run) = self.runs.remove(&number) else { return };
        let Some(name) = run.group else { return };
        let Some(group) = self.groups.get_mut(&name) else { return };
        group.acting.retain(|it| *it != number);
        if let Some(next) = group.waiting.pop_front() {
            group.acting.push(next);
            if let Some(run) = self.runs.get_mut(&next) {
                run.is_acting = true;
            }
        }
        if group.acting.is_empty() {
            self.groups.remove(&name);
        }
    }

    /// When [`next`](Self::next) has something to start again if nothing ends before.
    pub fn due(&self) -> Option<Timestamp> {
        let tasks =
            self.runs.values().filter(|run| run.is_acting).flat_map(|run| &run.tasks);
        let until = tasks.filter_map(|task| match task.state {
            TaskState::Pauses(until) => Some(until),
            _ => None,
        });
        until.min().map(instant)
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
        self.runs.len() >= RUNS_MAX
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
        let (status, exit, reason, stderr) = match outcome {
            Outcome::Done { stderr, .. } => (Status::Succeeded, 0, String::new(), stderr),
            Outcome::Failed { exit, reason, stderr } => {
                let status = if gave_up { Status::GaveUp } else { Status::Failed };
                (status, *exit, reason.clone(), stderr)
            }
            Outcome::TimedOut { stderr } => {
                let status = if gave_up { Status::GaveUp } else { Status::TimedOut };
                let reason =
                    format!("not done after {}", how_long(length(action.timeout)));
                (status, -1, reason, stderr)
            }
        };
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

/// How many more attempts an action has.
fn retries(action: &Action, outcome: &Outcome) -> u32 {
    let times = action.retry.times;
    let Outcome::Failed { exit, .. } = outcome else { return times };
    match (&action.kind, *exit) {
        (ActionKind::Exec { .. }, ASKS_TO_RETRY) => times.max(ASKED_RETRIES),
        // No attempt makes it better.
        (ActionKind::Mail { .. }, REFUSED) => 0,
        (ActionKind::Post { .. }, 408 | 425 | 429) => times,
        (ActionKind::Post { .. }, 300..=499) => 0,
        _ => times,
    }
}

/// The pause before another attempt, in milliseconds: it doubles. With a seed it is up to a
/// fifth shorter or longer, so that not all who failed together try again together.
fn pause(action: &Action, attempts: u32, seed: Option<&String>) -> i64 {
    let doubled = 2_i64.saturating_pow(attempts.saturating_sub(1).min(30));
    let pause = length(action.retry.backoff)
        .saturating_mul(doubled)
        .min(length(action.retry.max));
    let Some(seed) = seed else { return pause };
    let hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let fifth = pause / 5;
    if fifth == 0 { pause } else { pause - fifth + (hash >> 16) as i64 % (2 * fifth) }
}

/// What an action leaves for those behind it.
fn left(outcome: &Outcome) -> Json {
    match outcome {
        Outcome::Done { stdout, stderr } => {
            json!({ "stdout": tail(stdout), "stderr": tail(stderr), "exit": 0 })
        }
        Outcome::Failed { exit, stderr, .. } => {
            json!({ "stdout": "", "stderr": tail(stderr), "exit": exit })
        }
        Outcome::TimedOut { stderr } => {
            json!({ "stdout": "", "stderr": tail(stderr), "exit": -1 })
        }
    }
}

/// The end of a text.
fn tail(text: &str) -> String {
    let from = text.len().saturating_sub(LEFT_BYTES_MAX);
    let start = (from..text.len()).find(|at| text.is_char_boundary(*at));
    text[start.unwrap_or(text.len())..].to_owned()
}

/// The code with which a program asks to be tried again (`EX_TEMPFAIL`).
const ASKS_TO_RETRY: i64 = 75;
/// The code of a mail that nobody will ever take (`EX_DATAERR`).
const REFUSED: i64 = 65;
/// How often it is, without `retry`.
const ASKED_RETRIES: u32 = 5;
/// The most that is kept of what an action said, in bytes: the end.
const LEFT_BYTES_MAX: usize = 64 << 10;
/// The most runs of one group that wait.
const WAITING_MAX: usize = 10_000;
/// With so many runs no more events should be read.
const RUNS_MAX: usize = 20_000;

#[cfg(test)]
mod tests;
