//! A run as it was written, for who only looks.

use super::super::snapshot::SnapshotError;
use super::{Failure, Run, TaskState};
use crate::evaluate::instant;
use jiff::Timestamp;

/// A firing whose actions have not all ended.
#[derive(Clone, Debug, PartialEq)]
pub struct UnderWay {
    /// The rule.
    pub rule: String,
    /// When it fired.
    pub at: Timestamp,
    /// The line that it is about; `None` if it is about something else, or several.
    pub line: Option<String>,
    /// What has not ended.
    pub tasks: Vec<TaskUnderWay>,
}

/// An action that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskUnderWay {
    /// As it will be when it has [ended](super::Ended).
    pub id: String,
    /// The action's id.
    pub action: String,
    /// What it does.
    pub doing: Doing,
    /// How often it was begun.
    pub attempts: u32,
    /// When it was begun first.
    pub since: Option<Timestamp>,
    /// How its last attempt failed, if one did.
    pub failure: Option<Failure>,
}

/// What an action does that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It runs, or did when this was written.
    Runs,
    /// It failed, and is begun again then.
    Pauses(Timestamp),
    /// It waits for actions of the same rule, or of others.
    Waits,
}

impl UnderWay {
    /// What is [written](super::Runs::take_touched) of a run.
    ///
    /// # Errors
    ///
    /// When it cannot be understood.
    pub fn read(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let run: Run = serde_json::from_slice(bytes)
            .map_err(|error| SnapshotError::of("a run", &error))?;
        let firing = &run.firing;
        let mut tasks = Vec::new();
        for task in &run.tasks {
            let doing = match task.state {
                TaskState::Runs => Doing::Runs,
                TaskState::Pauses(until) => Doing::Pauses(instant(until)),
                TaskState::Waits => Doing::Waits,
                TaskState::Succeeded | TaskState::Failed | TaskState::Skipped => continue,
            };
            tasks.push(TaskUnderWay {
                id: format!("{}/{}", firing.id, task.action),
                action: task.action.clone(),
                doing,
                attempts: task.attempts,
                since: task.since.map(instant),
                failure: task.failure.clone(),
            });
        }
        let line = firing.roots.get("event").and_then(|event| event.get("line"));
        Ok(Self {
            rule: firing.rule.clone(),
            at: firing.time(),
            line: line.and_then(|line| line.as_str()).map(str::to_owned),
            tasks,
        })
    }
}
