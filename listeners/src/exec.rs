//! `Exec`: entries to a program of the user, as JSON lines.
//!
//! What the program said yes to is settled, and nothing else: by ending with code
//! 0 ([`batch`]), or by a line for each entry ([`acknowledged`]). `process.rs` runs
//! it.

mod acknowledged;
mod batch;
mod doc;

use crate::arguments;
use crate::process::Program;
use acknowledged::Acknowledged;
use batch::Batch;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tripline_api::{
    Args, ArgsError, Argument, BuildContext, Built, FriendlyDuration, Letter,
    ListenError, Listener, ListenerFactory, ListenerId, OnGap, Secrets,
};

/// Makes listeners that hand entries to a program.
pub(crate) struct Factory;

impl ListenerFactory for Factory {
    fn name(&self) -> &'static str {
        "Exec"
    }

    fn doc(&self) -> &'static str {
        doc::DOC
    }

    fn arguments(&self) -> &'static [Argument] {
        doc::ARGUMENTS
    }

    fn limits(&self) -> &'static [&'static str] {
        doc::LIMITS
    }

    fn example(&self) -> &'static str {
        r#"Exec(from: ["auth"], run: ["/usr/local/bin/feed", "--all"], mode: Batch)"#
    }

    fn build(
        &self,
        args: &Args<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Built, ArgsError> {
        let arguments: Arguments = args.parse()?;
        arguments::check_sources(&arguments.from)?;
        let mode = arguments.mode.unwrap_or(Mode::Batch);
        check_mode(mode, &arguments)?;
        let program = arguments.program(context).map_err(ArgsError::new)?;
        let secrets = arguments.secrets.unwrap_or_default();
        let grace = duration("grace", arguments.grace, GRACE)?;
        let listener: Box<dyn Listener> = match mode {
            Mode::Batch => {
                let settings = batch::Settings {
                    entries_max: number("entries_max", arguments.entries_max, ENTRIES)?,
                    bytes_max: number("bytes_max", arguments.bytes_max, BYTES)?,
                    timeout: duration("timeout", arguments.timeout, TIMEOUT)?,
                    grace,
                    on_failure: arguments.on_failure.unwrap_or_default(),
                    patience: PATIENCE,
                };
                Box::new(Batch::new(program, secrets, settings))
            }
            Mode::Acknowledged => {
                let timeout = arguments.acknowledge_timeout;
                let settings = acknowledged::Settings {
                    window: number("window", arguments.window, WINDOW)?,
                    acknowledge_timeout: duration(
                        "acknowledge_timeout",
                        timeout,
                        ACKNOWLEDGE_TIMEOUT,
                    )?,
                    ready: arguments.ready.unwrap_or(false),
                    grace,
                    patience: PATIENCE,
                };
                let name = ListenerId::new(context.name)
                    .ok_or_else(|| ArgsError::new("it has no name that can be one"))?;
                Box::new(Acknowledged::new(name, program, secrets, settings))
            }
        };
        let quiet = arguments::quiet(arguments.quiet)?;
        Ok(Built {
            on_gap: arguments.on_gap.unwrap_or(OnGap::Notify),
            ..Built::new(listener, arguments.from, quiet)
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    from: Vec<String>,
    run: Vec<String>,
    mode: Option<Mode>,
    env: Option<BTreeMap<String, String>>,
    cwd: Option<PathBuf>,
    secrets: Option<Secrets>,
    grace: Option<FriendlyDuration>,
    entries_max: Option<usize>,
    bytes_max: Option<usize>,
    timeout: Option<FriendlyDuration>,
    on_failure: Option<OnFailure>,
    window: Option<usize>,
    acknowledge_timeout: Option<FriendlyDuration>,
    ready: Option<bool>,
    on_gap: Option<OnGap>,
    quiet: Option<FriendlyDuration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Mode {
    Batch,
    Acknowledged,
}

/// What to do when a program failed and nothing says whose fault it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum OnFailure {
    /// Start it again with the same entries.
    #[default]
    Retry,
    /// Look for the entry that it fails on, and set that aside.
    SetAside,
    /// Stop the listener.
    Stop,
}

impl Arguments {
    fn program(&self, context: &BuildContext<'_>) -> Result<Program, String> {
        let mut program = Program::new(&self.run, context.directory)?;
        if let Some(variables) = &self.env {
            program = program.with_environment(variables)?;
        }
        if let Some(directory) = &self.cwd {
            if directory.as_os_str().is_empty() {
                return Err("`cwd` is empty: write a directory's name".to_owned());
            }
            program = program.in_directory(context.path(directory));
        }
        Ok(program.with_own("LISTENER", context.name))
    }
}

/// What only the other mode understands would be silently without effect.
fn check_mode(mode: Mode, arguments: &Arguments) -> Result<(), ArgsError> {
    let of_batch = [
        ("entries_max", arguments.entries_max.is_some()),
        ("bytes_max", arguments.bytes_max.is_some()),
        ("timeout", arguments.timeout.is_some()),
        ("on_failure", arguments.on_failure.is_some()),
    ];
    let of_acknowledged = [
        ("window", arguments.window.is_some()),
        ("acknowledge_timeout", arguments.acknowledge_timeout.is_some()),
        ("ready", arguments.ready.is_some()),
    ];
    let (others, other) = match mode {
        Mode::Batch => (&of_acknowledged[..], "Acknowledged"),
        Mode::Acknowledged => (&of_batch[..], "Batch"),
    };
    match others.iter().find(|(_, is_there)| *is_there) {
        None => Ok(()),
        Some((name, _)) => Err(ArgsError::new(format!(
            "`{name}` is only for `mode: {other}`: take it away, or write that mode"
        ))),
    }
}

fn duration(
    name: &str,
    written: Option<FriendlyDuration>,
    default: Duration,
) -> Result<Duration, ArgsError> {
    let duration = written.map_or(default, |written| written.0);
    if (DURATION_MIN..=DURATION_MAX).contains(&duration) {
        Ok(duration)
    } else {
        let why = format!("`{name}` must lie between \"10ms\" and \"1 hour\"");
        Err(ArgsError::new(why))
    }
}

fn number(
    name: &str,
    written: Option<usize>,
    (default, most): (usize, usize),
) -> Result<usize, ArgsError> {
    let number = written.unwrap_or(default);
    if (1..=most).contains(&number) {
        Ok(number)
    } else {
        Err(ArgsError::new(format!("`{name}` must lie between 1 and {most}")))
    }
}

const GRACE: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(60);
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(30);
const DURATION_MIN: Duration = Duration::from_millis(10);
const DURATION_MAX: Duration = Duration::from_secs(3600);
/// Unless configured, and at most.
const ENTRIES: (usize, usize) = (10_000, 1_000_000);
const BYTES: (usize, usize) = (8 * 1024 * 1024, 256 * 1024 * 1024);
const WINDOW: (usize, usize) = (100, 10_000);
/// No call takes much longer than this: a lane that is to stop notices it
/// between two calls.
const PATIENCE: Duration = Duration::from_secs(2);

/// The system has no thread, descriptor or memory for it.
fn not_started(program: &Program, error: &std::io::Error) -> ListenError {
    ListenError::io(format_args!("cannot start {program}"), error)
}

/// A listener that sets aside more than this stops: the fault is hardly with the
/// entries.
const SET_ASIDE_MAX: u64 = Letter::MAX;

#[cfg(test)]
mod tests;
