//! What the actions of rules say, done.
//!
//! [`Runs::next`](tripline_rules::evaluate::Runs::next) says what is to be done now, a
//! [`Start`] each, with all texts filled in. [`Hands`] do it and tell what came of it, an
//! [`Outcome`] for [`Runs::ended`](tripline_rules::evaluate::Runs::ended). A call blocks, so
//! there is a thread for each action that is under way; all of them share one pair of hands.
//!
//! | action | is done by | comes again as |
//! |---|---|---|
//! | `Exec` | [`process`](tripline_listeners::process) of the listeners | `TRIPLINE_EVENT`, the id of the firing |
//! | `Mail` | the mailer of the listener `Mail` | the same Message-ID |
//! | `Post` | the HTTP of the listener `Forward` | the same `Idempotency-Key` |
//! | `Forward`, `Print` | the listener of that name, one for all actions with the same arguments | an entry with the same id |
//! | `Touch` | `touch.rs` | the same file |
//!
//! `Emit`, `Set` and `Clear` change the machine itself: whoever has it does them.
//!
//! # What is promised
//!
//! * [`Hands::act`] comes back: after [`Start::timeout`], and little more ([`LATE_MAX`]).
//! * Whatever an event holds, it is never a command, a header, an address, a path that
//!   leads out of its directory, or a second line.
//! * What is done is done once as far as nobody dies: an action whose outcome got lost in a
//!   crash is done again, and what it sends says that it is the same.
//! * What a program or a server says costs no more memory than [`SAID_BYTES_MAX`].
//!
//! # Known limits
//!
//! * Looking up a name is the system's and cannot be broken off. The thread that does so is
//!   left alone, and ends with it; with 256 of them actions fail instead of starting more.
//! * That a mail was put off for some of its recipients is remembered until it is over or
//!   the daemon stops; after that all of them get it, those who have it with the same
//!   Message-ID.

mod aside;
mod exec;
mod listener;
mod mail;
mod post;
mod problem;
mod stop;
mod touch;

pub use problem::{Problem, Write};
pub use stop::{OnStop, Stop};

use aside::{Aside, Waited};
use listener::Seats;
use mail::Mailbag;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tripline_api::{BuildContext, ListenerFactory};
use tripline_rules::RuleSet;
use tripline_rules::compiled::{Action, Rule};
use tripline_rules::evaluate::{Job, Outcome, Start};

/// So many bytes of what a program or a server said are kept: of programs the end.
pub const SAID_BYTES_MAX: usize = 64 * 1024;
/// [`Hands::act`] comes back so long after [`Start::timeout`] at the latest: a program and
/// what it started are killed first.
pub const LATE_MAX: Duration = Duration::from_secs(15);

/// What is there to act with.
#[derive(Clone)]
pub struct ActContext {
    /// The kinds of listeners.
    pub listeners: &'static [&'static dyn ListenerFactory],
    /// The directory of the configuration: relative paths start there.
    pub directory: PathBuf,
    /// A directory for what listeners remember. It may not be there yet.
    pub state: PathBuf,
}

impl ActContext {
    fn build(&self) -> BuildContext<'_> {
        BuildContext { name: "rules", directory: &self.directory, state: &self.state }
    }
}

/// Does what actions say. Shared by all threads that wait for one.
pub struct Hands {
    context: ActContext,
    mailbag: Mailbag,
    seats: Seats,
    aside: Aside,
}

impl Hands {
    /// Makes what the actions of these rules need. Nobody is called, no file is touched.
    ///
    /// # Errors
    ///
    /// A sentence for each action that cannot be done as it is written.
    pub fn new(set: &RuleSet, context: &ActContext) -> Result<Self, Vec<String>> {
        let hands = Self {
            context: context.clone(),
            mailbag: Mailbag::default(),
            seats: Seats::default(),
            aside: Aside::default(),
        };
        hands.set_rules(set)?;
        Ok(hands)
    }

    /// Goes on with other rules. Connections that they need too are kept; actions that are
    /// under way, or come from the rules of before, are done as they were written.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new): then all is as it was.
    pub fn set_rules(&self, set: &RuleSet) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        let seats = self.seats.plan(set, &self.context, &mut wrong);
        let mails = mail::plan(set, &self.context, &mut wrong);
        if !wrong.is_empty() {
            return Err(wrong.iter().map(Problem::to_string).collect());
        }
        self.seats.take_over(seats);
        self.mailbag.take_over(mails);
        Ok(())
    }

    /// What is wrong with the actions: those that [`new`](Self::new) refuses, and what can
    /// be found by looking at this machine, such as a program that is not there, which may
    /// be put right before they are done.
    pub fn problems(set: &RuleSet, context: &ActContext) -> Vec<Problem> {
        let mut problems = Vec::new();
        drop(Seats::default().plan(set, context, &mut problems));
        drop(mail::plan(set, context, &mut problems));
        problems.extend(problem::find(set, context));
        problems
    }

    /// The files that actions write to by a listener.
    pub fn writes(&self) -> Vec<PathBuf> {
        self.seats.writes()
    }

    /// The files that the actions of these rules write to as far as they are written out, in
    /// order: no listener may, and no source may follow them.
    pub fn written(set: &RuleSet, context: &ActContext) -> Vec<Write> {
        let all =
            set.rules.iter().flat_map(|rule| actions(rule).map(move |it| (rule, it)));
        let written = all.filter_map(|(rule, action)| {
            let path = listener::written(&action.kind, context)?;
            Some(Write { path, place: Problem::error(set, rule, action, "") })
        });
        written.collect()
    }

    /// Does it, and waits until it is done, or failed, or its time is over. `None` when it
    /// was ended early by `stop`: nobody knows how far it came, so it is to be done again.
    pub fn act(&self, start: &Start, stop: &Stop) -> Option<Outcome> {
        if stop.is_stopped() {
            return None;
        }
        let until = Instant::now() + start.timeout;
        match &start.job {
            Job::Exec { .. } => exec::run(start, &self.context, stop),
            Job::Mail { .. } => self.mail(start, until, stop),
            Job::Post { .. } => self.post(start, until, stop),
            Job::Listener { .. } => self.listen(start, until, stop),
            Job::Touch { dir, file } => {
                let (dir, file) = (dir.clone(), file.clone());
                let work = move || touch::touch(&dir, &file);
                match self.aside.run("touch", until, stop, work, || {}) {
                    Waited::Said(Ok(())) => Some(done(String::new(), String::new())),
                    Waited::Said(Err(why)) => Some(failed(why)),
                    waited => waited.outcome(),
                }
            }
            Job::Emit { .. } | Job::Set { .. } | Job::Clear { .. } => {
                Some(failed(format!("{} is done elsewhere", start.word)))
            }
        }
    }
}

/// All actions of a rule, whatever they are about.
fn actions(rule: &Rule) -> impl Iterator<Item = &Action> {
    let then = rule.limit.iter().flat_map(|limit| &limit.then);
    rule.actions.iter().chain(then).chain(&rule.on_return).chain(&rule.on_failure)
}

/// The same for the same action of the same firing: 32 digits.
fn key(start: &Start) -> String {
    let digest = tripline_api::Digest::of(name(start).as_bytes());
    digest.hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an action of a firing is called.
fn name(start: &Start) -> String {
    format!("{}/{}", start.firing, start.action)
}

fn done(stdout: String, stderr: String) -> Outcome {
    Outcome::Done { stdout, stderr }
}

fn failed(reason: String) -> Outcome {
    Outcome::Failed { exit: -1, reason, stderr: String::new() }
}
