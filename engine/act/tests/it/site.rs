//! What all tests need.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_act::{ActContext, Hands, Stop};
use tripline_rules::evaluate::{Job, Outcome, Start};
use tripline_rules::{Known, RuleSet, SourceFile, load};

/// So long anything may take.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// What could be taken for something else than a text.
pub(crate) const HOSTILE: &[&str] = &[
    "$(touch /tmp/pwned)",
    "`touch /tmp/pwned`",
    "; touch /tmp/pwned; reboot",
    "| touch /tmp/pwned",
    "--help",
    "-rf",
    "~! touch /tmp/pwned",
    "a\nb\r\nBcc: mallory@example.net\r\n\r\nbody",
    "\r\n.\r\nMAIL FROM:<x@example.net>\r\n",
    "\x1b]0;title\x07 \x1b[2J \u{202e} caf\u{e9}",
    "%s%n {{ template }} {% raw %} ${HOME} \\n '\"",
    "../../etc/passwd",
    "A=B",
    "",
    " ",
];

pub(crate) fn context(directory: &Path) -> ActContext {
    ActContext {
        listeners: tripline_listeners::ALL,
        directory: directory.to_owned(),
        state: directory.join("state"),
    }
}

/// Hands without rules: what is not planned is made when it is needed.
pub(crate) fn hands(directory: &Path) -> Hands {
    Hands::new(&rules("(rules: [])"), &context(directory)).unwrap()
}

pub(crate) fn try_rules(text: &str) -> Result<RuleSet, String> {
    let known = Known { listeners: tripline_listeners::ALL, ..Known::default() };
    let loaded = load(&[SourceFile::new("rules.ron", text)], &known);
    let said = loaded.diagnostics.iter().map(|it| it.message.clone());
    loaded.set.ok_or_else(|| said.collect::<Vec<_>>().join("\n"))
}

pub(crate) fn rules(text: &str) -> Arc<RuleSet> {
    Arc::new(try_rules(text).unwrap())
}

/// Something to be done, of a firing of its own.
pub(crate) fn start(number: usize, job: Job, timeout: Duration) -> Start {
    Start {
        task: (number as u64, 0),
        rule: "a rule".to_owned(),
        action: "act-1".to_owned(),
        word: match &job {
            Job::Listener { listener, .. } => listener,
            _ => "",
        },
        firing: format!("auth/0/{number}/a rule"),
        depth: 1,
        origin: 0,
        attempt: 1,
        job,
        timeout,
    }
}

/// Does it, and is not stopped.
pub(crate) fn act(hands: &Hands, start: &Start) -> Outcome {
    hands.act(start, &Stop::new()).expect("it was not stopped")
}

/// What a job that is done said.
#[track_caller]
pub(crate) fn said(outcome: Outcome) -> (String, String) {
    match outcome {
        Outcome::Done { stdout, stderr } => (stdout, stderr),
        other => panic!("{other:?}"),
    }
}

/// Why one failed, and its code.
#[track_caller]
pub(crate) fn why(outcome: Outcome) -> (i64, String) {
    match outcome {
        Outcome::Failed { exit, reason, .. } => (exit, reason),
        other => panic!("{other:?}"),
    }
}

/// A thread that lives as long as the process.
pub(crate) fn in_background(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name("server".to_owned()).spawn(work);
    drop(thread.unwrap());
}

/// Looks until a condition holds, for at most so long; returns whether it does.
pub(crate) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    true
}

pub(crate) fn in_words(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Nothing that a text says was run.
#[track_caller]
pub(crate) fn assert_nothing_was_run() {
    assert!(!Path::new("/tmp/pwned").exists());
}
