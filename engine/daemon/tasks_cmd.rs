//! `tripline tasks`: what became of the actions of rules, and what is under way.
//!
//! It only reads, so it works while the daemon runs.

mod show;

use crate::cli::TasksArgs;
use crate::config::{Config, Registry};
use crate::terminal::{Answers, say};
use anyhow::{Context as _, bail};
use jiff::Timestamp;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use tripline_api::{ListenerId, Store as _};
use tripline_diagnose::{counted, shown};
use tripline_rules::evaluate::{Doing, Failure, TaskEnd, UnderWay};
use tripline_rules::model::Status;
use tripline_store::{OpenError, SqliteStore};
use tripline_tasks::{HISTORY_MAX, Ran, Rules, event_of};

/// So many are shown unless another number is given.
const COUNT: usize = 100;

/// Shows the newest tasks, or one as a whole.
///
/// # Errors
///
/// When the configuration or the state cannot be read, or there is no such task.
pub(crate) fn run(args: &TasksArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    // What was done is to be seen also while somebody writes rules.
    let config = Config::load_without_rules(&args.config, registry)?;
    let known = known(&config.state)?;
    let is_there = known.is_some();
    let mut tasks = known.unwrap_or_default();
    if let Some(id) = &args.id {
        tasks.retain(|task| task.is(id));
        if tasks.is_empty() {
            bail!(
                "there is no task {id:?}, nor one of an event with this id: `tripline tasks \
                 {}` shows those there are; the newest {HISTORY_MAX} that ended are remembered",
                shown(&args.config)
            );
        }
        let mut out = Answers::new();
        match args.json {
            true => show::write_json(&mut out, &tasks)?,
            false => show::write_whole(&mut out, &tasks)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    tasks.retain(|task| {
        (!args.failed || task.has_failed())
            && (!args.running || task.is_under_way())
            && args.rule.as_ref().is_none_or(|rule| *rule == task.rule)
    });
    let count = args.count.map_or(COUNT, NonZeroUsize::get);
    let all = tasks.len();
    // The newest of those that ended, and the oldest of the others.
    let ended = tasks.partition_point(|task| !task.is_under_way());
    tasks.truncate(ended.saturating_add(count));
    tasks.drain(..ended.saturating_sub(count));
    let more = all - tasks.len();
    let mut out = Answers::new();
    match args.json {
        true => show::write_json(&mut out, &tasks)?,
        false if tasks.is_empty() => {}
        false => show::write_table(&mut out, &tasks)?,
    }
    out.flush()?;
    if tasks.is_empty() {
        say(format_args!("{}", nothing(args, &config, is_there)));
    } else if more > 0 {
        let tasks = counted(tasks.len(), "task");
        say(format_args!("these are {tasks} of {all}; all of them: -n {all}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Why nothing is shown.
fn nothing(args: &TasksArgs, config: &Config, is_there: bool) -> String {
    let path = shown(&args.config);
    if !config.names_rules {
        return format!(
            "{path} names no files with rules, and only rules have tasks: add for example \
             rules: [\"rules.d/*.ron\"]"
        );
    }
    if !is_there {
        let state = shown(&config.state);
        return format!(
            "nothing was done yet: there is no state in {state} before the first \
                        `tripline run {path}`"
        );
    }
    let of =
        args.rule.as_ref().map(|rule| format!(" of rule {rule:?}")).unwrap_or_default();
    match (args.failed, args.running) {
        (true, _) => format!("no task{of} that is remembered has failed"),
        (_, true) => format!("no task{of} is under way"),
        _ => format!("no task{of} was begun yet"),
    }
}

/// A task that has ended, or has not.
struct Task {
    id: String,
    rule: String,
    action: String,
    what: What,
}

enum What {
    /// When it ended, and how.
    Ended(Timestamp, TaskEnd),
    /// What it does, with when its rule fired and the line that this was about.
    UnderWay {
        doing: Doing,
        attempts: u32,
        since: Option<Timestamp>,
        fired: Timestamp,
        line: Option<String>,
        /// How the last attempt failed.
        failure: Option<Failure>,
    },
}

impl Task {
    fn event(&self) -> &str {
        event_of(&self.id, &self.rule, &self.action)
    }

    const fn has_failed(&self) -> bool {
        match &self.what {
            What::Ended(_, end) => !matches!(end.status, Status::Succeeded),
            What::UnderWay { .. } => false,
        }
    }

    const fn is_under_way(&self) -> bool {
        matches!(self.what, What::UnderWay { .. })
    }

    /// Whether this is its id, or that of its event or its firing.
    fn is(&self, id: &str) -> bool {
        let event = self.event();
        let rule = id.strip_prefix(event).and_then(|rest| rest.strip_prefix('/'));
        id == self.id || id == event || rule == Some(&self.rule)
    }
}

/// All that is known: what ended, oldest first, and behind that what has not. `None` when
/// nothing was ever kept.
fn known(state: &Path) -> anyhow::Result<Option<Vec<Task>>> {
    let mut store = match SqliteStore::open_to_read(state) {
        Ok(store) => store,
        Err(OpenError::Nothing { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let rules = ListenerId::new(Rules::NAME).context("the rules have no name")?;
    let kept =
        store.kept_under(&rules, &[Ran::KEPT_UNDER, Rules::UNDER_WAY_KEPT_UNDER])?;
    let (mut tasks, mut under_way) = (Vec::new(), Vec::new());
    for it in kept {
        if it.name.starts_with(Ran::KEPT_UNDER) {
            tasks.extend(Ran::read(&it).map(ended_task));
            continue;
        }
        match UnderWay::read(it.value.as_deref().unwrap_or_default()) {
            Ok(run) => under_way.extend(tasks_of(run)),
            Err(error) => {
                let (state, run) = (shown(state), it.name);
                say(format_args!("{state}: {run} cannot be read: {error}"));
            }
        }
    }
    // What was begun long ago comes first, what waits for its turn last.
    under_way.sort_by_cached_key(|task| match &task.what {
        What::UnderWay { since, fired, .. } => (since.is_none(), since.unwrap_or(*fired)),
        What::Ended(at, _) => (false, *at),
    });
    tasks.append(&mut under_way);
    Ok(Some(tasks))
}

fn ended_task(ran: Ran) -> Task {
    let at = Timestamp::from_second(ran.at).unwrap_or_default();
    Task {
        id: ran.id,
        rule: ran.end.rule.clone(),
        action: ran.end.action.clone(),
        what: What::Ended(at, ran.end),
    }
}

fn tasks_of(run: UnderWay) -> impl Iterator<Item = Task> {
    let UnderWay { rule, at, line, tasks } = run;
    tasks.into_iter().map(move |task| Task {
        id: task.id,
        rule: rule.clone(),
        action: task.action,
        what: What::UnderWay {
            doing: task.doing,
            attempts: task.attempts,
            since: task.since,
            fired: at,
            line: line.clone(),
            failure: task.failure,
        },
    })
}
