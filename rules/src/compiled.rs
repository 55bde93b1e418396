//! What rules compile to: all that evaluation needs, and nothing that can still be wrong.
//!
//! Names are resolved, patterns are built, durations and numbers lie within their bounds,
//! the graph of `needs` has no ring. [`load`](crate::load) is the only way to make it.

mod calendar;
mod set;

use crate::Type;
use crate::model::{EngineEvent, Fire, Op, Overlap, Quieted, Status};
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use minijinja::{Environment, Error, ErrorKind, Value};
use regex::bytes::Regex;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use crate::functions::FLAGS;
pub use crate::types::{type_of_column, word_of};

/// All rules of all files.
#[derive(Debug)]
pub struct RuleSet {
    /// The rules, in the order of files and in them. Evaluation gives it no meaning.
    pub rules: Vec<Rule>,
    /// The tests.
    pub tests: Vec<Test>,
    /// The files, as they were given.
    pub files: Vec<LoadedFile>,
    /// The texts of `define`, which expressions and templates see by name.
    pub define: BTreeMap<String, String>,
    /// Everything that was parsed, by the names in [`Expression`] and [`Template`].
    pub templates: Environment<'static>,
}

/// A file of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedFile {
    /// The path, as it was given.
    pub path: PathBuf,
    /// The SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Whether a rule in it may look at `submit`, for which descriptions are to be known.
    pub mentions_submit: bool,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique in the set; state is kept under it.
    pub name: Arc<str>,
    /// Index into [`RuleSet::files`].
    pub file: usize,
    /// The line it begins in, from 1.
    pub line: usize,
    /// Of what decides when it fires (`on`, `prefix`, `match`, `if`, `unless`,
    /// `unless_match`, `when`, `by`, `settle`, and what they use): state is kept over a
    /// reload while it is the same. White space, comments and the texts of mails are not
    /// part of it.
    pub fingerprint: [u8; 32],
    /// `false`: it is here to be listed, and fires never.
    pub enabled: bool,
    /// Which events: any of them. Never empty.
    pub on: Vec<Trigger>,
    /// What their text must be like.
    pub text: TextMatch,
    /// `if`: must be true.
    pub condition: Option<Expression>,
    /// Must be false.
    pub unless: Option<Expression>,
    /// How many events make it fire.
    pub when: When,
    /// The fields by which it counts apart: `when`, `settle`, and `limit` unless it has
    /// its own. At most [`BY_MAX`].
    pub by: Vec<Key>,
    /// Fires once when so long nothing came. Only with [`When::Each`].
    pub settle: Option<Duration>,
    /// At most so many firings.
    pub limit: Option<Limit>,
    /// When it does not act.
    pub quiet: Option<Quiet>,
    /// Rules with the same name here act one at a time; the order is that of firing.
    pub one_at_a_time: Option<Arc<str>>,
    /// What happens when it fires while it acts.
    pub overlap: Overlap,
    /// What it does. Never empty.
    pub actions: Vec<Action>,
    /// What it does once when an action failed for good that is not `may_fail`. A failure
    /// in here starts nothing.
    pub on_failure: Vec<Action>,
    /// What it does when what was absent is back. Only with [`When::Absent`].
    pub on_return: Vec<Action>,
}

/// Which events: the structural part, by which an engine indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Transactions of Perforce journals.
    Journal {
        /// Names of sources; empty for all journals.
        sources: Vec<String>,
        /// It has a row of one of these tables that was written in one of the ways of
        /// `ops`; empty for any.
        tables: Vec<String>,
        /// Ways of writing; empty for any.
        ops: Vec<Op>,
    },
    /// Lines of logs.
    Lines {
        /// Names of sources; empty for all logs.
        sources: Vec<String>,
        /// The program in the head of the line; empty for any, also for none.
        programs: Vec<String>,
        /// Patterns see `event.line` and not `event.text`.
        whole: bool,
    },
    /// Runs of actions that have ended.
    Task {
        /// Of these rules; empty for all.
        rules: Vec<String>,
        /// Ended so; empty for any.
        status: Vec<Status>,
    },
    /// What happens to Tripline itself, and what rules emit.
    Engine {
        /// These; empty for all, unless `emitted` names some.
        events: Vec<EngineEvent>,
        /// What was emitted with these kinds.
        emitted: Vec<String>,
    },
}

/// What the text of an event must be like.
#[derive(Clone, Debug, Default)]
pub struct TextMatch {
    /// Must be found first, at the very start. What is behind it, or its group
    /// [`Pattern::REST`], is what the others look at.
    pub prefix: Option<Pattern>,
    /// One of them must be found, unless there are none. The first that is found gives
    /// its captures.
    pub any: Vec<Pattern>,
    /// None of them may be found.
    pub none: Vec<Pattern>,
    /// Every name that `prefix` or one of `any` captures, sorted by name.
    pub captures: Vec<Capture>,
}

/// A pattern. It searches in time that grows with the text, whatever both are.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As it was written.
    pub written: String,
    /// With the library's and the files' patterns put in.
    pub expanded: String,
    /// Built from it: for bytes, with the classes of ASCII.
    pub regex: Regex,
    /// For each named group its number and its index into [`TextMatch::captures`].
    pub groups: Vec<(usize, usize)>,
}

impl Pattern {
    /// The group of `prefix` that says what the other patterns look at.
    pub const REST: &'static str = "rest";
}

/// A name that patterns capture. What took no part in a match is `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The name.
    pub name: Arc<str>,
    /// [`Type::Int`] and [`Type::Float`] of a library pattern are made numbers of, which
    /// succeeds; everything else is text.
    pub kind: Type,
}

/// A field by which is counted apart: `ip`, `event.host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As written: the name under which `expect` has it.
    pub text: Arc<str>,
    /// Its parts: the root and what is in it.
    pub path: Vec<Arc<str>>,
}

/// How many events make a rule fire.
#[derive(Clone, Debug)]
pub enum When {
    /// One.
    Each,
    /// The newest `of` lie within `within`, both ends included. Firing uses them up.
    Count {
        /// 2 to [`COUNT_MAX`].
        of: u32,
        /// The time.
        within: Duration,
        /// Only those count that differ in this field.
        distinct: Option<Key>,
    },
    /// None for `after`, from the last one, or from the start for what is in `expect`.
    Absent {
        /// The time.
        after: Duration,
        /// Values of the rule's `by`, in its order. With an empty `by` one empty list
        /// means that the clock runs from the start.
        expect: Vec<Vec<String>>,
        /// Fires again each time so long passed.
        again: Option<Duration>,
    },
    /// One, and `until` within `within`, or not.
    Pair {
        /// The second one.
        until: Box<Until>,
        /// The time.
        within: Duration,
        /// Which of both.
        fire: Fire,
    },
    /// All that came within `every` of the first.
    Digest {
        /// The time.
        every: Duration,
        /// At most so many are kept, 1 to [`KEEP_MAX`].
        keep: u32,
    },
}

/// The second event of a pair. It belongs to the pair with the same keys.
#[derive(Clone, Debug)]
pub struct Until {
    /// Which events. Never empty.
    pub on: Vec<Trigger>,
    /// What their text must be like.
    pub text: TextMatch,
    /// Must be true.
    pub condition: Option<Expression>,
}

/// At most `times` firings in `per`.
#[derive(Clone, Debug)]
pub struct Limit {
    /// 1 to [`COUNT_MAX`].
    pub times: u32,
    /// The time.
    pub per: Duration,
    /// Counted apart by these.
    pub by: Vec<Key>,
    /// What is done once, with the first firing that is swallowed.
    pub then: Vec<Action>,
}

/// When a rule does not act.
#[derive(Clone, Debug)]
pub struct Quiet {
    /// It is quiet in any of them.
    pub calendars: Vec<Arc<Calendar>>,
    /// What happens to firings then.
    pub then: Quieted,
}

/// Times by name.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// The name.
    pub name: String,
    /// Any of them.
    pub times: Vec<CalendarTime>,
}

/// A time of a calendar. `to` is exclusive.
#[derive(Clone, Debug)]
pub enum CalendarTime {
    /// Each week.
    Weekly {
        /// The days on which it begins; Monday is the first. All or some are true.
        days: [bool; 7],
        /// When it begins.
        from: Time,
        /// When it ends; on the next day unless it is after `from`.
        to: Time,
        /// Where.
        zone: TimeZone,
    },
    /// Once.
    Once {
        /// When it begins.
        from: Timestamp,
        /// When it ends.
        to: Timestamp,
    },
}

/// An action.
#[derive(Clone, Debug)]
pub struct Action {
    /// Its name in the rule: its `id`, or its kind in small letters and its number.
    pub id: Arc<str>,
    /// The word: `Mail`.
    pub word: &'static str,
    /// The line it begins in, from 1.
    pub line: usize,
    /// What to do.
    pub kind: ActionKind,
    /// Indexes into the same list: those that must have succeeded (or be `may_fail` and
    /// have ended). Smaller or larger than its own, never in a ring.
    pub needs: Vec<usize>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How often it is tried again.
    pub retry: Retry,
    /// Its failure is none of the rule's.
    pub may_fail: bool,
}

/// How often an action is tried again. The pauses double from `backoff` up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// So many more attempts; 0 to [`RETRY_MAX`].
    pub times: u32,
    /// The first pause.
    pub backoff: Duration,
    /// The longest pause, at least `backoff`.
    pub max: Duration,
}

/// The kinds of actions.
#[derive(Clone, Debug)]
pub enum ActionKind {
    /// Runs a program; nothing but `env` and what [`Job::Exec`] names is in its environment.
    ///
    /// [`Job::Exec`]: crate::evaluate::Job::Exec
    Exec {
        /// An absolute path.
        program: PathBuf,
        /// Each becomes exactly one argument.
        arguments: Vec<Template>,
        /// Names of `A-Z`, digits and `_`.
        env: Vec<(String, Template)>,
        /// What it reads; the event as JSON if none.
        stdin: Option<Template>,
        /// The directory it runs in; `/` if none.
        cwd: Option<PathBuf>,
    },
    /// A mail.
    Mail {
        /// Each must become one address.
        to: Vec<Template>,
        /// Becomes one line.
        subject: Template,
        /// The events' texts if none.
        body: Option<Template>,
        /// `None`: `tripline@` and this host.
        sender: Option<String>,
        /// The argument `via` of the listener `Mail` as RON; `None`: `Sendmail()`.
        via: Option<String>,
    },
    /// The event as it is, by a listener.
    Listener {
        /// Its word: `Forward`, `Print`.
        listener: &'static str,
        /// Its arguments as RON, without parentheses and `from`.
        arguments: String,
    },
    /// A request.
    Post {
        /// Each value in it becomes percent-encoded; scheme and host are literal.
        url: Template,
        /// Names are literal.
        headers: Vec<(String, Template)>,
        /// What is posted.
        body: Body,
        /// A file with the token of `Authorization: Bearer`.
        token: Option<PathBuf>,
    },
    /// An event for rules with `Engine(emitted: [..])`.
    Emit {
        /// What it is called.
        kind: String,
        /// What it holds.
        fields: Vec<(String, Template)>,
    },
    /// A flag is set.
    Set {
        /// Its name.
        flag: Template,
        /// So long.
        lasts: Duration,
    },
    /// A flag is taken away.
    Clear {
        /// Its name.
        flag: Template,
    },
    /// A file is made, or its time is made new.
    Touch {
        /// An absolute path.
        dir: PathBuf,
        /// Must become one name without `/`, not beginning with `.`.
        file: Template,
    },
}

/// What is posted.
#[derive(Clone, Debug)]
pub enum Body {
    /// The event as JSON.
    Event,
    /// A text.
    Text(Template),
    /// A tree whose texts are filled in before it is written.
    Json(Json),
}

/// A tree of values with templates in it.
#[derive(Clone, Debug)]
pub enum Json {
    /// `true`, `false`, a number, or null.
    Plain(serde_json::Value),
    /// A text.
    Text(Template),
    /// A list.
    List(Vec<Self>),
    /// An object.
    Map(Vec<(String, Self)>),
}

/// An expression, parsed.
#[derive(Clone, Debug)]
pub struct Expression {
    /// As written.
    pub text: String,
    /// Its name in [`RuleSet::templates`].
    pub name: Arc<str>,
}

impl Expression {
    /// The variable that holds the value behind a run.
    pub(crate) const RESULT: &'static str = "tripline_result";

    /// Its value with these roots.
    ///
    /// # Errors
    ///
    /// What is undefined, does not fit, or takes too long. A value that is no answer,
    /// such as a text where yes or no is wanted, is none.
    pub fn evaluate(
        &self,
        templates: &Environment<'_>,
        roots: Value,
    ) -> Result<Value, Error> {
        let template = templates.get_template(&self.name)?;
        let run = template.render_captured_to(roots, io::sink())?;
        let value = run.state().lookup(Self::RESULT);
        value.ok_or_else(|| {
            Error::new(ErrorKind::UndefinedError, "the expression has no value")
        })
    }

    /// Whether it is true with these roots.
    ///
    /// # Errors
    ///
    /// As for [`evaluate`](Self::evaluate).
    pub fn is_true(
        &self,
        templates: &Environment<'_>,
        roots: Value,
    ) -> Result<bool, Error> {
        self.evaluate(templates, roots).map(|value| value.is_true())
    }
}

/// A text with values in it, parsed.
#[derive(Clone, Debug)]
pub struct Template {
    /// As written.
    pub text: String,
    /// Its name in [`RuleSet::templates`]; `None`: there is no value in it, and it is as
    /// written.
    pub name: Option<Arc<str>>,
}

impl Template {
    /// The text that it becomes with these roots, at most [`OUTPUT_BYTES_MAX`].
    ///
    /// # Errors
    ///
    /// What is undefined, does not fit, takes too long or becomes too long.
    pub fn render(
        &self,
        templates: &Environment<'_>,
        roots: Value,
    ) -> Result<String, Error> {
        let Some(name) = &self.name else { return Ok(self.text.clone()) };
        let mut output = Bounded(Vec::new());
        templates.get_template(name)?.render_captured_to(roots, &mut output)?;
        String::from_utf8(output.0).map_err(|_| {
            Error::new(ErrorKind::WriteFailure, "the text that it became is not UTF-8")
        })
    }

    /// Whether a value is in it.
    pub const fn is_literal(&self) -> bool {
        self.name.is_none()
    }
}

/// Takes so much and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(io::Error::other("the text becomes longer than 1 MiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A test, with the names in it resolved.
#[derive(Clone, Debug)]
pub struct Test {
    /// What is shown by it.
    pub name: String,
    /// Index into [`RuleSet::files`]: it is about the rules of this file.
    pub file: usize,
    /// The line it begins in, from 1.
    pub line: usize,
    /// As written, and found sound.
    pub written: crate::model::Test,
}

/// The most `by` fields.
pub const BY_MAX: usize = 8;
/// The most events that are counted.
pub const COUNT_MAX: u32 = 100_000;
/// The most events that a digest keeps.
pub const KEEP_MAX: u32 = 10_000;
/// The most further attempts.
pub const RETRY_MAX: u32 = 1_000;
/// The longest text that a template may become, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
