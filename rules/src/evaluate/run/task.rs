//! A task: what became of one action of a run, and what is made of its end.

use super::Outcome;
use crate::compiled::{Action, ActionKind};
use crate::evaluate::{TaskEnd, how_long, length};
use crate::model::Overlap;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// A task has ended for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The same for the same task of the same firing.
    pub id: String,
    /// How many firings led to it.
    pub depth: u32,
    /// The number of what it all began with.
    pub origin: u64,
    /// How it ended.
    pub end: TaskEnd,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task {
    /// The action's id.
    pub(super) action: String,
    pub(super) state: TaskState,
    pub(super) attempts: u32,
    /// When the first attempt began, in milliseconds since 1970.
    #[serde(deserialize_with = "crate::evaluate::written::maybe_time")]
    pub(super) since: Option<i64>,
    /// How the last attempt failed that was not the last that there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Failure>,
}

/// How an attempt failed behind which there is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The code that it ended with, or -1, as in [`Outcome::Failed`].
    pub exit: i64,
    /// What went wrong, in words: the end of them, at most 1 KiB.
    pub reason: String,
    /// The last line of what it said that is not empty: the end of it, at most 1 KiB.
    pub stderr: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TaskState {
    /// For what it needs.
    Waits,
    Runs,
    /// Until then, before the next attempt.
    Pauses(#[serde(deserialize_with = "crate::evaluate::written::time")] i64),
    Succeeded,
    Failed,
    Skipped,
}

impl Task {
    pub(super) fn new(action: &Action) -> Self {
        let action = action.id.to_string();
        Self { action, state: TaskState::Waits, attempts: 0, since: None, failure: None }
    }

    /// An attempt failed, and there is another one then.
    pub(super) fn pause(&mut self, until: i64, action: &Action, outcome: &Outcome) {
        let (exit, reason, stderr) = why(action, outcome);
        let line = stderr.lines().map(str::trim_end).rfind(|line| !line.is_empty());
        self.failure = Some(Failure {
            exit,
            reason: end_of(&reason, FAILURE_BYTES_MAX).to_owned(),
            stderr: end_of(line.unwrap_or_default(), FAILURE_BYTES_MAX).to_owned(),
        });
        self.state = TaskState::Pauses(until);
    }
}

/// The code of an attempt's end, what went wrong in words, and what it said.
pub(super) fn why<'o>(action: &Action, outcome: &'o Outcome) -> (i64, String, &'o str) {
    match outcome {
        Outcome::Done { stderr, .. } => (0, String::new(), stderr),
        Outcome::Failed { exit, reason, stderr } => (*exit, reason.clone(), stderr),
        Outcome::TimedOut { stderr } => {
            let took = how_long(length(action.timeout));
            (-1, format!("not done after {took}"), stderr)
        }
    }
}

/// How many more attempts an action has.
pub(super) fn retries(action: &Action, outcome: &Outcome) -> u32 {
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
pub(super) fn pause(action: &Action, attempts: u32, seed: Option<&String>) -> i64 {
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
pub(super) fn left(outcome: &Outcome) -> Json {
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

/// How many of a group may act together.
pub(super) const fn together(overlap: Overlap) -> usize {
    match overlap {
        Overlap::Parallel(most) if most > 1 => most as usize,
        _ => 1,
    }
}

/// The end of a text.
pub(super) fn tail(text: &str) -> String {
    end_of(text, LEFT_BYTES_MAX).to_owned()
}

/// At most so many bytes of its end.
fn end_of(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    let start = (from..text.len()).find(|at| text.is_char_boundary(*at));
    &text[start.unwrap_or(text.len())..]
}

/// The code with which a program asks to be tried again (`EX_TEMPFAIL`).
const ASKS_TO_RETRY: i64 = 75;
/// The code of a mail that nobody will ever take (`EX_DATAERR`).
const REFUSED: i64 = 65;
/// How often it is, without `retry`.
const ASKED_RETRIES: u32 = 5;
/// The most that is kept of what an action said, in bytes: the end.
const LEFT_BYTES_MAX: usize = 64 << 10;
/// The most that is kept of why an attempt failed, in bytes: it is written with each run.
const FAILURE_BYTES_MAX: usize = 1 << 10;
