//! What people wrote, with the place of every value.
//!
//! Nothing is resolved here: patterns, expressions and templates are texts, names are not
//! looked up. What was wrong in itself was said by [`read`](crate::read) and is left out,
//! so the rest can be looked at all the same.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tripline_diagnose::SourceFile;

/// A value, and the bytes of the file that it was written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Range<usize>,
}

/// A text; its span is that of the quotes and what is between them.
pub type Text = At<String>;

/// `(define: .., patterns: .., calendars: .., rules: .., tests: ..)`: one file.
#[derive(Clone, Debug)]
pub struct RuleFile {
    /// Where it was read from.
    pub source: Arc<SourceFile>,
    /// Names for texts, known to the templates and expressions of all files.
    pub define: Vec<(Text, Text)>,
    /// Patterns by name, known as `%{NAME}` in all files.
    pub patterns: Vec<(Text, Text)>,
    /// Times by name, for `quiet` in all files.
    pub calendars: Vec<Calendar>,
    /// The rules. Their order means nothing.
    pub rules: Vec<Rule>,
    /// What the rules should do.
    pub tests: Vec<Test>,
    /// Brackets, commas or quotes are wrong: what seems to be missing may only be in the
    /// wrong place.
    pub is_damaged: bool,
}

/// A name for times.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// The name.
    pub name: Text,
    /// The times: any of them.
    pub times: Vec<CalendarTime>,
}

/// `(from: "22:00", to: "07:00", days: [Sat, Sun], zone: "Europe/Zurich")`.
#[derive(Clone, Debug)]
pub struct CalendarTime {
    /// The parentheses.
    pub span: Range<usize>,
    /// A time of the day, `"22:00"`, or an instant, `"2026-12-01T18:00:00+01:00"`.
    pub from: Option<Text>,
    /// The same, exclusive. Before `from` it is that of the next day.
    pub to: Option<Text>,
    /// The days on which it begins.
    pub days: Vec<At<Day>>,
    /// A name of the IANA database; the machine's zone if none.
    pub zone: Option<Text>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the days")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The parentheses.
    pub span: Range<usize>,
    /// Unique in all files: its identity for state, limits and reports.
    pub name: Option<Text>,
    /// Which events it looks at.
    pub on: Vec<On>,
    /// A common head, cut off before `match`.
    pub prefix: Option<Text>,
    /// `match`: patterns, of which one must be found in the text.
    pub matches: Vec<Text>,
    /// Patterns of which none may be found.
    pub unless_match: Vec<Text>,
    /// `if`: must be true.
    pub condition: Option<Text>,
    /// Must be false.
    pub unless: Option<Text>,
    /// How many events make it fire; `Each` if none.
    pub when: Option<At<When>>,
    /// The fields by which `when`, `limit` and `settle` count apart.
    pub by: Vec<Text>,
    /// At most so many firings.
    pub limit: Option<Limit>,
    /// When it does not act.
    pub quiet: Option<Quiet>,
    /// Waits until so long nothing came, then fires once.
    pub settle: Option<At<Duration>>,
    /// A name that rules share of which only one acts at a time.
    pub one_at_a_time: Option<Text>,
    /// What happens when it fires while it still acts.
    pub overlap: Option<At<Overlap>>,
    /// `do`: what it does, in order.
    pub actions: Vec<Action>,
    /// What it does after an action failed for good.
    pub on_failure: Vec<Action>,
    /// What it does when what was absent is there again.
    pub on_return: Vec<Action>,
    /// `false` takes it out of use; it is checked all the same.
    pub enabled: bool,
    /// The fields that are there but could not be read: what depends on them is not
    /// looked at.
    pub unread: Vec<String>,
}

/// Which events.
#[derive(Clone, Debug)]
pub struct On {
    /// Kind and parentheses.
    pub span: Range<usize>,
    /// The kind.
    pub kind: OnKind,
}

/// The kinds of events.
#[derive(Clone, Debug)]
pub enum OnKind {
    /// Transactions of Perforce journals.
    Journal {
        /// Names of sources; all journals if none.
        sources: Vec<Text>,
        /// Only transactions with a row of one of these tables.
        tables: Vec<Text>,
        /// Only rows written so.
        ops: Vec<At<Op>>,
    },
    /// Lines of logs.
    Lines {
        /// Names of sources; all logs if none.
        sources: Vec<Text>,
        /// Only lines of these programs, as the head of the line says.
        programs: Vec<Text>,
        /// Patterns see the line with its head.
        whole: bool,
    },
    /// Runs of actions, when they have ended.
    Task {
        /// Only of these rules.
        rules: Vec<Text>,
        /// Only those that ended so.
        status: Vec<At<Status>>,
    },
    /// What happens to Tripline itself, and what rules emit.
    Engine {
        /// Only these events.
        events: Vec<At<EngineEvent>>,
        /// Only what was emitted with one of these kinds.
        emitted: Vec<Text>,
    },
}

/// How a row was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `@pv@`: a new row.
    Put,
    /// `@rv@`: a row in the place of one with the same key.
    Replace,
    /// `@dv@`: a row is gone.
    Delete,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As it should.
    Succeeded,
    /// With an error that is not tried again.
    Failed,
    /// It took too long.
    TimedOut,
    /// All attempts failed.
    GaveUp,
}

/// What happens to Tripline itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// The daemon started.
    Started,
    /// The daemon stops.
    Stopping,
    /// Another set of rules is in use.
    Reloaded,
    /// A set of rules had errors; the old one stays in use.
    ReloadRefused,
    /// Continuity could not be proved.
    Gap,
    /// A listener stopped and needs a person.
    ListenerStopped,
    /// A listener has not delivered what is in the oldest file that is kept.
    AboutToBeLost,
    /// Entries were set aside: their receiver will never take them.
    SetAside,
    /// A source cannot be read.
    SourceLost,
    /// It can be read again.
    SourceBack,
    /// The time of events is far from the clock's.
    ClockSkew,
    /// A rule counts more things apart than it may, and forgot the oldest.
    KeysEvicted,
    /// An expression or a template failed on an event.
    RuleFailed,
}

/// How many events make a rule fire.
#[derive(Clone, Debug)]
pub enum When {
    /// One.
    Each,
    /// So many in a sliding time.
    Count {
        /// How many.
        of: Option<At<u64>>,
        /// In what time.
        within: Option<At<Duration>>,
        /// Only those count that differ in this field.
        distinct: Option<Text>,
    },
    /// None for so long.
    Absent {
        /// `for`: how long.
        after: Option<At<Duration>>,
        /// Values of `by` that must be there from the start.
        expect: Vec<At<Vec<(Text, Text)>>>,
        /// Fires again while it goes on.
        again: Option<At<Duration>>,
    },
    /// One, and then another.
    Pair {
        /// The other one.
        until: Option<Box<Until>>,
        /// In what time.
        within: Option<At<Duration>>,
        /// Which of both it is about.
        fire: Option<At<Fire>>,
    },
    /// All that came in a time, together.
    Digest {
        /// The time, from the first one.
        every: Option<At<Duration>>,
        /// At most so many of them are kept; the others are counted.
        keep: Option<At<u64>>,
    },
}

/// The second event of a pair.
#[derive(Clone, Debug)]
pub struct Until {
    /// The parentheses.
    pub span: Range<usize>,
    /// Which events; those of the rule if none.
    pub on: Vec<On>,
    /// `match`, as in a rule.
    pub matches: Vec<Text>,
    /// `if`, as in a rule.
    pub condition: Option<Text>,
}

/// When a pair fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fire {
    /// The second did not come in time.
    IfMissing,
    /// The second came.
    IfSeen,
}

/// `(times: 1, per: "10m", by: ["ip"], then: [..])`.
#[derive(Clone, Debug)]
pub struct Limit {
    /// The parentheses.
    pub span: Range<usize>,
    /// So many firings.
    pub times: Option<At<u64>>,
    /// In what time.
    pub per: Option<At<Duration>>,
    /// Counted apart by these fields; `None` is the rule's `by`.
    pub by: Option<Vec<Text>>,
    /// What it does once, with the first firing that is swallowed.
    pub then: Vec<Action>,
}

/// `(in: ["night"], then: Hold)`.
#[derive(Clone, Debug)]
pub struct Quiet {
    /// The parentheses.
    pub span: Range<usize>,
    /// Names of calendars.
    pub calendars: Vec<Text>,
    /// What happens to firings then.
    pub then: Option<At<Quieted>>,
}

/// What happens to firings in quiet times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quieted {
    /// They are counted and forgotten.
    Drop,
    /// They are worded at once, and acted on together at the end of the quiet time.
    Hold,
}

/// What happens when a rule fires while it still acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// At most so many act at the same time, the others wait.
    Parallel(u32),
    /// One acts, and at most so many wait: of more the oldest is skipped.
    Queue(u32),
    /// One acts, others are skipped.
    Skip,
}

/// An action: what to do, and how.
#[derive(Clone, Debug)]
pub struct Action {
    /// Kind and parentheses.
    pub span: Range<usize>,
    /// The word before the parentheses.
    pub word: Range<usize>,
    /// What to do; `None` if it could not be read.
    pub kind: Option<ActionKind>,
    /// A name for it.
    pub id: Option<Text>,
    /// The actions that must have succeeded; `None` is the one before it.
    pub needs: Option<Vec<Text>>,
    /// How long one attempt may take.
    pub timeout: Option<At<Duration>>,
    /// How often it is tried again.
    pub retry: Option<Retry>,
    /// Its failure is none of the rule's.
    pub may_fail: bool,
    /// The fields that are there but could not be read.
    pub unread: Vec<String>,
}

/// `(times: 3, backoff: "30s", max: "10m")`.
#[derive(Clone, Debug)]
pub struct Retry {
    /// The parentheses.
    pub span: Range<usize>,
    /// So many more attempts.
    pub times: Option<At<u64>>,
    /// The pause before the first of them; it doubles.
    pub backoff: Option<At<Duration>>,
    /// The longest pause.
    pub max: Option<At<Duration>>,
}

/// The kinds of actions. What is a template says so.
#[derive(Clone, Debug)]
pub enum ActionKind {
    /// Runs a program.
    Exec {
        /// Path and arguments: templates, but for the path.
        run: Vec<Text>,
        /// Variables: templates.
        env: Vec<(Text, Text)>,
        /// A template; the event as JSON if none.
        stdin: Option<Text>,
        /// The directory it runs in.
        cwd: Option<Text>,
    },
    /// Sends a mail.
    Mail {
        /// Addresses: templates.
        to: Vec<Text>,
        /// A template.
        subject: Option<Text>,
        /// A template; the events' texts if none.
        body: Option<Text>,
        /// An address.
        sender: Option<Text>,
        /// How the listener `Mail` has it, as written.
        via: Option<Text>,
    },
    /// Hands the event to a listener as it is: `Forward`, `Print`.
    Listener {
        /// Its word.
        listener: &'static str,
        /// Its arguments but `from`, as written: `to: "..", format: Lines`.
        arguments: String,
    },
    /// Posts to an address.
    Post {
        /// A template whose host is none.
        url: Option<Text>,
        /// Names and templates.
        headers: Vec<(Text, Text)>,
        /// A tree whose texts are templates.
        json: Option<Json>,
        /// A template, instead of `json`.
        body: Option<Text>,
        /// A file with a token for `Authorization: Bearer`.
        token: Option<Text>,
    },
    /// Makes an event that rules see with `Engine(emitted: [..])`.
    Emit {
        /// What it is called.
        kind: Option<Text>,
        /// Names and templates.
        fields: Vec<(Text, Text)>,
    },
    /// Sets a flag, which `flag("..")` asks for.
    Set {
        /// A template.
        flag: Option<Text>,
        /// `for`: how long it stays.
        lasts: Option<At<Duration>>,
    },
    /// Takes a flag away.
    Clear {
        /// A template.
        flag: Option<Text>,
    },
    /// Makes a file, or its time new.
    Touch {
        /// A directory.
        dir: Option<Text>,
        /// A template of a name in it.
        file: Option<Text>,
    },
}

/// A tree of values.
#[derive(Clone, Debug)]
pub enum Json {
    /// `true`, `false`, a number, or nothing: `None`.
    Plain(serde_json::Value),
    /// A template.
    Text(Text),
    /// `[..]`.
    List(Vec<Self>),
    /// `{..}`.
    Map(Vec<(Text, Self)>),
}

/// What rules should do with what they are given.
#[derive(Clone, Debug)]
pub struct Test {
    /// The parentheses.
    pub span: Range<usize>,
    /// What is shown by it.
    pub name: Option<Text>,
    /// What happens, in order.
    pub given: Vec<At<Given>>,
    /// How actions end, by their id: they succeed unless it says otherwise.
    pub pretend: Vec<(Text, At<Pretend>)>,
    /// The actions of this file's rules, in order, all of them.
    pub expect: Vec<Expected>,
}

/// What happens in a test.
#[derive(Clone, Debug)]
pub enum Given {
    /// Lines of a log, or records of a journal, appear.
    Lines {
        /// One or several; `{{ i }}` is the number of the repetition, from 0.
        text: Option<Text>,
        /// In this source; the only one of the file's rules if none.
        source: Option<Text>,
        /// So many times; once if none.
        times: Option<At<u64>>,
        /// So long apart; at once if none.
        every: Option<At<Duration>>,
    },
    /// Time passes.
    Wait(Duration),
    /// An event with these fields.
    Event(Vec<(Text, Json)>),
}

/// How an action ends in a test.
#[derive(Clone, Debug)]
pub enum Pretend {
    /// With an error, each time.
    Fails {
        /// The code of its end; 1 if none.
        exit: Option<At<u64>>,
        /// What it said.
        stderr: Option<Text>,
    },
    /// It takes too long.
    TimesOut,
    /// Well.
    Succeeds {
        /// What it said.
        stdout: Option<Text>,
    },
}

/// An action that is expected. Only what is written is compared.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Kind and parentheses.
    pub span: Range<usize>,
    /// The kind: `Mail`.
    pub kind: String,
    /// When, from the test's start.
    pub after: Option<At<Duration>>,
    /// Of which rule.
    pub rule: Option<Text>,
    /// The action's fields and what they should be.
    pub fields: Vec<(Text, Wanted)>,
}

/// What a field should be.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Exactly this.
    Is(Text),
    /// `Has("..")`: this is part of it.
    Has(Text),
    /// A list, each of it.
    List(Vec<Self>),
    /// Of a map these.
    Map(Vec<(Text, Self)>),
}
