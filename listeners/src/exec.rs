//! `Exec`: entries to a program of the user, as JSON lines.
//!
//! What the program said yes to is settled, and nothing else: by ending with code
//! 0 ([`batch`]), or by a line for each entry ([`acknowledged`]). `process.rs` runs
//! it.

mod acknowledged;
mod batch;

use crate::arguments;
use crate::process::Program;
use acknowledged::Acknowledged;
use batch::Batch;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tripline_api::{
    Args, ArgsError, BuildContext, Built, FriendlyDuration, Letter, ListenError,
    Listener, ListenerFactory, ListenerId, OnGap, Secrets,
};

/// Makes listeners that hand entries to a program.
pub(crate) struct Factory;

impl ListenerFactory for Factory {
    fn name(&self) -> &'static str {
        "Exec"
    }

    fn doc(&self) -> &'static str {
        "Hands entries to the program `run`, as JSON lines on its standard input: what \
         `Print` writes, with the same ids. Hashes of passwords and tickets are \
         redacted unless `secrets: Keep`. A gap becomes a line with `gap` in it.\n\
         \n\
         `run` is the path of a program and its arguments, which it gets as they are: \
         no shell has a part in it, and nothing an entry holds is an argument. A \
         relative path starts at the configuration. A script is a program too when its \
         first line names its interpreter; for a line of shell write `run: \
         [\"/bin/sh\", \"-c\", \"...\"]`, which never sees an entry but on its standard \
         input. It runs in the directory `cwd` (/), with the daemon's user and umask, \
         and of the daemon's environment has PATH and LANG; `env` adds to that, and \
         TRIPLINE_LISTENER is the listener's name. Secrets belong into a file that it \
         reads.\n\
         \n\
         With `mode: Batch` (the default) it is started for each batch, at most \
         `entries_max` entries (10000) or `bytes_max` bytes (8388608), reads its \
         standard input to the end, which comes after a whole line, and ends. The code it ends with is its answer: 0, all \
         of it is taken; 75 (EX_TEMPFAIL), again later; 65 (EX_DATAERR), something in \
         it will never be taken: it is started with halves until that entry is found, \
         and only that is set aside. With any other code, when it dies of a fault such \
         as a segmentation fault, or has not ended after `timeout` (60s), `on_failure` \
         decides: `Retry` (the default), `SetAside` as with 65, or `Stop`. `Retry` is \
         the default because most failures are not an entry's fault: a full disk, or a \
         typing error in a script, would set aside whatever comes. Killed by somebody \
         else, or not started because it is gone or may not be executed, it is tried \
         again whatever `on_failure` says; so programs may be replaced at any time, \
         best by `mv`.\n\
         \n\
         With `mode: Acknowledged` it is started once and answers each line, in order, \
         with a line of its own: `OK` when it has it for good; `ERR why` when it never \
         will: that entry is set aside; `DEFER why`, not now: after a pause that entry \
         comes again, and all that were sent behind it. At most `window` entries (100) \
         wait for an answer. When none comes for `acknowledge_timeout` (30s), or it \
         ends, or says something else, it is ended and started again after a pause. \
         What it has acknowledged does not come again; what it has not comes with the \
         same ids. With `ready: true` it says `OK` before the first entry too. It has \
         to flush its standard output after each line.\n\
         \n\
         Everything may come twice, after a kill or a power loss, so a program that \
         counts looks at the ids. What it writes to standard error, and in a batch to \
         standard output, is read and thrown away but for its end, which is in the \
         daemon's messages when it fails. To end it, it and all that it has started get \
         TERM and, after `grace` (5s; 0.3s when the daemon stops), KILL; what it leaves \
         running when it ends is ended too. While it takes longer than 2 seconds for a batch, the listener is \
         shown as retrying.\n\
         \n\
         A program in Python for `mode: Acknowledged`:\n\
         \n    \
         #!/usr/bin/env python3\n    \
         import json, sys\n    \
         for line in sys.stdin:\n        \
         entry = json.loads(line)\n        \
         try:\n            \
         with open(\"/var/tmp/feed.txt\", \"a\") as out:\n                \
         print(entry[\"id\"], entry.get(\"text\"), file=out)\n            \
         print(\"OK\", flush=True)\n        \
         except OSError as error:\n            \
         print(\"DEFER\", error, flush=True)\n\
         \n\
         Arguments: `from`, sources; `run`, a path and arguments; `mode`, `Batch` or \
         `Acknowledged`; `env`, such as {\"REGION\": \"eu\"}; `cwd`, a directory; \
         `secrets`, `Redact` or `Keep`; `grace`, a duration; of a batch `entries_max`, \
         `bytes_max`, `timeout` and `on_failure`; when acknowledged `window`, \
         `acknowledge_timeout` and `ready`; `on_gap`, `Notify` (the default) or `Stop`; \
         `quiet`, a duration (\"5s\")."
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
