//! `Exec`: a program of the user.
//!
//! It is run and ended as programs of the listener `Exec` are
//! ([`process`](tripline_listeners::process)), in a session of its own.

use crate::{ActContext, SAID_BYTES_MAX, Stop, done, failed};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_listeners::process::{Ended, How, Options, Process, Program, Tail};
use tripline_rules::evaluate::{Job, Outcome, Start};

/// Between TERM and KILL when its time is over.
const GRACE: Duration = Duration::from_secs(5);
/// The same when the daemon stops.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// Behind the grace: what even KILL does not end is not waited for.
const GIVE_UP: Duration = Duration::from_secs(5);

pub(crate) fn run(start: &Start, context: &ActContext, stop: &Stop) -> Option<Outcome> {
    let Job::Exec { stdin, .. } = &start.job else { return None };
    let program = match program(start, context) {
        Ok(program) => program,
        Err(why) => return Some(failed(why)),
    };
    let options = Options {
        timeout: Some(start.timeout),
        grace: GRACE,
        said_max: SAID_BYTES_MAX,
        ..Options::default()
    };
    let process = match Process::start_on(&program, options, stdin.as_bytes()) {
        Ok(process) => Arc::new(process),
        Err(error) => return Some(failed(format!("{program} did not start: {error}"))),
    };
    let its = Arc::clone(&process);
    let on_stop = stop.when_stopped(move || its.end(STOP_GRACE));
    let ended = process.wait(Instant::now() + start.timeout + GRACE + GIVE_UP);
    drop(on_stop);
    match ended {
        Some(ended) => outcome(&program, &ended),
        None if stop.is_stopped() => None,
        None => Some(Outcome::TimedOut {
            stderr: format!("[tripline: {program} cannot be ended, not even by KILL]\n"),
        }),
    }
}

fn program(start: &Start, context: &ActContext) -> Result<Program, String> {
    let Job::Exec { program, arguments, env, cwd, .. } = &start.job else {
        return Err("this is no program".to_owned());
    };
    let path = program.to_str().ok_or_else(|| format!("{program:?} is not UTF-8"))?;
    let mut words = vec![path.to_owned()];
    words.extend_from_slice(arguments);
    let mut program = Program::new(&words, &context.directory)?
        .with_environment(&env.iter().cloned().collect())?
        .with_own("RULE", &start.rule)
        .with_own("EVENT", &start.firing)
        .in_own_session();
    if let Some(cwd) = cwd {
        program = program.in_directory(context.directory.join(cwd));
    }
    Ok(program)
}

/// What its end means; `None` when it was ended because all ends.
fn outcome(program: &Program, ended: &Ended) -> Option<Outcome> {
    let stderr = format!("{}{}", text(&ended.errors), notes(ended));
    Some(match &ended.how {
        How::Exited(0) => done(text(&ended.output), stderr),
        How::Stopped => return None,
        How::TimedOut(_) => Outcome::TimedOut { stderr },
        how => {
            let exit = match how {
                How::Exited(code) => i64::from(*code),
                _ => -1,
            };
            Outcome::Failed { exit, reason: format!("{program} {how}"), stderr }
        }
    })
}

/// What it said, as far as it is text.
fn text(said: &Tail) -> String {
    String::from_utf8_lossy(said.bytes()).into_owned()
}

/// What there is to say besides, a line each.
fn notes(ended: &Ended) -> String {
    let mut notes = Vec::new();
    for (said, name) in [(&ended.output, "output"), (&ended.errors, "standard error")] {
        if said.is_cut() {
            let dropped = said.dropped();
            notes.push(format!("the first {dropped} bytes of its {name} were dropped"));
        }
    }
    if ended.outlived_by > 0 {
        let count = ended.outlived_by;
        notes
            .push(format!("{count} of what it had started went on, and had to be ended"));
    }
    if ended.left > 0 {
        notes.push(format!("{} of what it had started could not be ended", ended.left));
    }
    let break_before = if text(&ended.errors).ends_with('\n') || ended.errors.is_empty() {
        ""
    } else {
        "\n"
    };
    match &notes[..] {
        [] => String::new(),
        notes => {
            let lines = notes.iter().map(|note| format!("[tripline: {note}]\n"));
            format!("{break_before}{}", lines.collect::<String>())
        }
    }
}
