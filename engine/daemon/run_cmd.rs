//! `tripline run`: the daemon, in the foreground.

mod begin;
mod reload;
mod report;
mod spool;

use crate::cli::{RunArgs, exit};
use crate::config::{Config, ConfigError, Registry};
use crate::run_cmd::report::Progress;
use crate::run_cmd::spool::Told;
use crate::terminal::{self, printable};
use anyhow::Context as _;
use crossbeam_channel::{Receiver, bounded};
use rustix::fs::Mode;
use rustix::process::umask;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::Store;
use tripline_diagnose::{counted, shown};
use tripline_rules::model::EngineEvent;
use tripline_run::{Engine, LaneSetup, Options, Outcome, Setup};
use tripline_store::{LockError, SqliteStore, StateLock};

/// So many warnings are shown at the start and at a reload; `tripline check` shows all.
const WARNINGS_SHOWN_MAX: usize = 10;
/// How often progress is shown and a signal looked for while there is an end to
/// wait for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs until it is told to stop, or until everything is settled.
///
/// # Errors
///
/// When it could not start: exit code 2.
pub(crate) fn run(args: &RunArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let mut config = load(args, registry)?;
    keep_private();
    let _lock = match StateLock::take(&config.state) {
        Ok(lock) => lock,
        Err(error @ LockError::Held { .. }) => {
            eprintln!("tripline: {error}");
            return Ok(ExitCode::from(exit::IN_USE));
        }
        Err(error) => return Err(error.into()),
    };
    let signals = signals()?;
    let mut store: Box<dyn Store> = Box::new(SqliteStore::open(&config.state)?);
    let mut begins = EngineEvent::Started;
    let mut reloaded: Option<String> = None;
    loop {
        let state = config.state.clone();
        let events = Arc::new(Told::new(&config));
        events.note(begins, described(&config));
        let (crew, rules) = (config.crew.clone(), config.rules.clone());
        let (mut engine, progress) = start(config, store, args, Arc::clone(&events))?;
        if let Some(what) = reloaded.take() {
            terminal::say(format_args!("{what}"));
        }
        let next = match args.until_idle {
            true => follow_until_idle(&mut engine, progress, &signals),
            false => follow(args, registry, &state, &signals, &events),
        };
        match (&next, &crew) {
            (Next::Reload(_), Some(crew)) => crew.hand_over(),
            (Next::Reload(_), None) => {}
            _ => events.note(EngineEvent::Stopping, String::new()),
        }
        let (outcome, old_store) = engine.stop();
        match next {
            // Two of a listener at the same time would spoil its output.
            Next::Reload(_) if !outcome.left_behind.is_empty() => {
                let code = ended(&outcome, args.until_idle);
                eprintln!("tripline: not reloaded for that reason; start it again");
                return Ok(code);
            }
            Next::Interrupted => {
                ended(&outcome, args.until_idle);
                eprintln!("tripline: stopped before everything was settled");
                return Ok(ExitCode::from(exit::FAILED));
            }
            Next::Reload(next) => {
                config = *next;
                reloaded = Some(reload::in_words(&config, rules.as_deref()));
                // Without rules what they had under way ends.
                if let (Some(old), Some(new)) = (crew, &config.crew) {
                    new.take_over(&old);
                }
                begins = EngineEvent::Reloaded;
                store = match old_store {
                    Some(store) => store,
                    None => Box::new(SqliteStore::open(&config.state)?),
                };
            }
            Next::End => return Ok(ended(&outcome, args.until_idle)),
        }
    }
}

/// What programs of the user write, and whatever else says nothing of its mode, is
/// for its owner only, unless they say something else.
pub(crate) fn keep_private() {
    let others = Mode::RWXG | Mode::RWXO;
    let before = umask(others);
    umask(before | others);
}

enum Next {
    End,
    /// A run until idle was told to stop before it was idle.
    Interrupted,
    Reload(Box<Config>),
}

fn load(args: &RunArgs, registry: &Registry) -> Result<Config, ConfigError> {
    let config = Config::load(&args.config, registry)?;
    for warning in config.warnings.iter().take(WARNINGS_SHOWN_MAX) {
        eprintln!("{}", warning.render(terminal::for_stderr()));
    }
    let more = config.warnings.len().saturating_sub(WARNINGS_SHOWN_MAX);
    if more > 0 {
        let warnings = counted(more, "more warning");
        let path = shown(&args.config);
        eprintln!("tripline: {warnings}: `tripline check {path}` shows them all");
    }
    Ok(config)
}

/// What runs, for who looks at starts and reloads.
fn described(config: &Config) -> String {
    let rules = config.rules.as_ref().map_or(0, |set| set.rules.len());
    let sha256 = config.rules.as_ref().map(|set| set.sha256()).unwrap_or_default();
    let short: String = sha256[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{rules} rules, {short}")
}

fn start(
    config: Config,
    mut store: Box<dyn Store>,
    args: &RunArgs,
    events: Arc<Told>,
) -> anyhow::Result<(Engine, Progress)> {
    begin::say(&config, &store.progress()?);
    let progress = Progress::new(&config, args.until_idle);
    let listeners = config.listeners.into_iter();
    let mut options = Options { until_idle: args.until_idle, ..Options::default() };
    if let Some(poll) = args.poll {
        (options.events, options.poll) = (false, poll);
    }
    let engine = Engine::start(Setup {
        sources: config.sources,
        listeners: listeners.map(|(id, built)| LaneSetup { id, built }).collect(),
        store,
        options,
        events,
    })?;
    Ok((engine, progress))
}

/// Sleeps until a signal says what to do.
fn follow(
    args: &RunArgs,
    registry: &Registry,
    state: &std::path::Path,
    signals: &Receiver<i32>,
    events: &Told,
) -> Next {
    while let Ok(signal) = signals.recv() {
        if signal != SIGHUP {
            break;
        }
        match load(args, registry) {
            Ok(config) if config.state == state => return Next::Reload(Box::new(config)),
            Ok(_) => {
                let why = "the state directory cannot change while the daemon runs; \
                           restart it";
                eprintln!("tripline: not reloaded: {why}");
                events.note(EngineEvent::ReloadRefused, why.to_owned());
            }
            Err(error) => {
                eprint!("{}", error.render(terminal::for_stderr()));
                events.note(EngineEvent::ReloadRefused, error.to_string());
                eprintln!("tripline: not reloaded: the old configuration stays in force");
            }
        }
    }
    Next::End
}

fn follow_until_idle(
    engine: &mut Engine,
    mut progress: Progress,
    signals: &Receiver<i32>,
) -> Next {
    while !engine.wait(LOOK_EVERY) {
        progress.show(engine);
        // There is nothing to reload for: it ends by itself.
        if signals.try_recv().is_ok_and(|signal| signal != SIGHUP) {
            progress.clear();
            return Next::Interrupted;
        }
    }
    progress.clear();
    Next::End
}

fn ended(outcome: &Outcome, until_idle: bool) -> ExitCode {
    for listener in &outcome.left_behind {
        eprintln!(
            "tripline: {listener} did not come to an end in time and was left; what it \
             had not settled comes again at the next start"
        );
    }
    for (listener, what) in &outcome.missing {
        eprintln!("tripline: {listener} has not everything: {}", printable(what));
    }
    if let Some(why) = &outcome.unsaved {
        eprintln!(
            "tripline: the last progress was not saved ({why}); what came since the \
             last save comes again at the next start"
        );
        return ExitCode::from(exit::FAILED);
    }
    if !outcome.left_behind.is_empty() {
        return ExitCode::from(exit::FAILED);
    }
    if until_idle && !(outcome.stopped.is_empty() && outcome.missing.is_empty()) {
        return ExitCode::from(exit::STOPPED);
    }
    ExitCode::SUCCESS
}

/// Signals arrive here, a few at a time. Who asks to stop a second time, and not
/// in the same breath as some tools do, is not kept waiting: at any moment the
/// next start finds what was committed.
pub(crate) fn signals() -> anyhow::Result<Receiver<i32>> {
    const SAME_BREATH: Duration = Duration::from_secs(1);
    let (sender, receiver) = bounded(8);
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])
        .context("cannot take signals")?;
    let take = move || {
        let mut stopping: Option<Instant> = None;
        for signal in signals.forever() {
            if signal != SIGHUP {
                let since = *stopping.get_or_insert_with(Instant::now);
                if since.elapsed() > SAME_BREATH {
                    _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            }
            // A full queue holds a signal of each kind already.
            _ = sender.try_send(signal);
        }
    };
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread.spawn(take).context("cannot start a thread")?;
    Ok(receiver)
}
