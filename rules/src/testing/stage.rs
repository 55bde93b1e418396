//! Where a test is played: a clock, a machine, and an executor that pretends.

use crate::compiled::Trigger;
use crate::evaluate::{
    Ended, Event, Executor, Firing, Gather, Job, Lines, Machine, Note, Outcome, Play,
    Runs, Start,
};
use crate::model::{At, EngineEvent, Given, Json, Pretend, Text};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tripline_api::Place;

/// An action that was done.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) word: &'static str,
    pub(super) rule: String,
    pub(super) after: Duration,
    pub(super) job: Job,
}

pub(super) struct Stage<'t> {
    pub(super) acts: Acts<'t>,
    play: Play,
    /// How far each source has come, in bytes.
    places: BTreeMap<String, u64>,
    gather: BTreeMap<String, Gather>,
    events: u64,
}

/// What was done, by an executor that pretends.
pub(super) struct Acts<'t> {
    pub(super) actions: Vec<Done>,
    pub(super) timeline: Vec<String>,
    /// What is wrong whatever was expected.
    pub(super) troubles: Vec<String>,
    /// The names of rules that fired.
    pub(super) fired: BTreeSet<String>,
    pretend: &'t [(Text, At<Pretend>)],
    begin: Timestamp,
    now: Timestamp,
}

impl<'t> Stage<'t> {
    pub(super) fn new(
        machine: Machine,
        pretend: &'t [(Text, At<Pretend>)],
        now: Timestamp,
    ) -> Self {
        let runs = Runs::exact(Arc::clone(machine.rules()));
        Self {
            acts: Acts {
                actions: Vec::new(),
                timeline: Vec::new(),
                troubles: Vec::new(),
                fired: BTreeSet::new(),
                pretend,
                begin: now,
                now,
            },
            play: Play::new(machine, runs),
            places: BTreeMap::new(),
            gather: BTreeMap::new(),
            events: 0,
        }
    }

    /// What was done, and the machine for the next test.
    pub(super) fn end(self) -> (Acts<'t>, Machine) {
        (self.acts, self.play.machine)
    }

    pub(super) fn play(&mut self, given: &[At<Given>]) {
        for given in given {
            match &given.value {
                Given::Wait(time) => self.pass(*time),
                Given::Event(fields) => {
                    let id = format!("test/0/{}", self.events);
                    self.events += 1;
                    let now = self.acts.now;
                    let event = Event::made(nested(fields), &id, now);
                    self.play.event(&event, now, &mut self.acts);
                }
                Given::Lines { text, source, times, every } => {
                    let Some(text) = text else { continue };
                    let source = source.as_ref().map(|it| it.value.clone());
                    let times = times.as_ref().map_or(1, |times| times.value);
                    for number in 0..times {
                        if number > 0
                            && let Some(every) = every
                        {
                            self.pass(every.value);
                        }
                        let number = number.to_string();
                        let text = text
                            .value
                            .replace("{{ i }}", &number)
                            .replace("{{i}}", &number);
                        self.lines(source.clone(), &text);
                    }
                }
            }
        }
        // What settles settles, and what failed is tried again until it has ended.
        while let Some(due) = [self.play.machine.settles_at(), self.play.runs.due()]
            .into_iter()
            .flatten()
            .min()
            && self.acts.is_in_bounds()
        {
            self.until(due);
        }
    }

    fn lines(&mut self, source: Option<String>, text: &str) {
        let (name, is_journal) = self.source(source, text);
        let text = format!("{}\n", text.strip_suffix('\n').unwrap_or(text));
        let offset = self.places.entry(name.clone()).or_default();
        let start = Place { offset: *offset, ..Place::default() };
        *offset += text.len() as u64;
        let now = self.acts.now;
        if !is_journal {
            let bytes = text.as_bytes();
            let lines = Lines { source: &name, start, bytes, spans: None, time: None };
            return self.play.lines(&lines, now, &mut self.acts);
        }
        let mut reader = p4journal::Reader::new(text.as_bytes());
        while let Ok(Some(entry)) = reader.next() {
            let place = start.advance(entry.offset, 0);
            let gather = self.gather.entry(name.clone()).or_default();
            if let Some(transaction) = gather.push(entry.bytes, place) {
                self.play.transaction(&name, &transaction, now, &mut self.acts);
            }
        }
    }

    /// The source that lines are of, and whether it is a journal: the only one of the
    /// rules unless the test says which.
    fn source(&self, named: Option<String>, text: &str) -> (String, bool) {
        let rules = self.play.machine.rules();
        let mut known: Vec<(Option<&String>, bool)> = Vec::new();
        for trigger in rules.rules.iter().flat_map(|rule| &rule.on) {
            let (sources, is_journal) = match trigger {
                Trigger::Journal { sources, .. } => (sources, true),
                Trigger::Lines { sources, .. } => (sources, false),
                _ => continue,
            };
            known.extend(sources.iter().map(|it| (Some(it), is_journal)));
            known.extend(sources.is_empty().then_some((None, is_journal)));
        }
        let looks_so = text.starts_with('@');
        let fitting = |it: &&(Option<&String>, bool)| match (&named, it.0) {
            (Some(named), Some(source)) => named == source,
            _ => it.1 == looks_so,
        };
        let found = known.iter().find(fitting).or_else(|| known.first());
        let is_journal = found.is_some_and(|(_, is_journal)| *is_journal);
        let name = named.or_else(|| found.and_then(|(name, _)| name.cloned()));
        (name.unwrap_or_else(|| "test".to_owned()), is_journal)
    }

    /// Time passes, with all that is due.
    fn pass(&mut self, time: Duration) {
        let time = SignedDuration::try_from(time).unwrap_or_default();
        let end = self.acts.now.checked_add(time).unwrap_or(Timestamp::MAX);
        self.until(end);
    }

    fn until(&mut self, end: Timestamp) {
        while let Some(due) = self.play.due()
            && due <= end
            && self.acts.is_in_bounds()
        {
            self.acts.now = self.acts.now.max(due);
            self.play.tick(self.acts.now, &mut self.acts);
        }
        self.acts.now = self.acts.now.max(end);
        self.play.tick(self.acts.now, &mut self.acts);
    }
}

impl Acts<'_> {
    /// How much time has passed.
    pub(super) fn passed(&self) -> Duration {
        self.now.duration_since(self.begin).try_into().unwrap_or_default()
    }

    fn say(&mut self, what: &str) {
        if self.timeline.len() < TIMELINE_MAX {
            let seconds = self.passed().as_secs_f64();
            self.timeline.push(format!("+{seconds}s {what}"));
        }
    }

    fn is_in_bounds(&mut self) -> bool {
        if self.actions.len() < ACTIONS_MAX {
            return true;
        }
        let trouble =
            format!("there are more than {ACTIONS_MAX} actions: the test was ended");
        if !self.troubles.contains(&trouble) {
            self.troubles.push(trouble);
        }
        false
    }
}

impl Executor for Acts<'_> {
    fn execute(&mut self, start: Start) -> Option<Outcome> {
        if !self.is_in_bounds() {
            return None;
        }
        let pretended = self.pretend.iter().find(|(id, _)| id.value == start.action);
        let nothing = String::new;
        let or = |text: &Option<Text>| {
            text.as_ref().map_or_else(nothing, |it| it.value.clone())
        };
        let outcome = match pretended.map(|(_, it)| &it.value) {
            None => Outcome::Done { stdout: nothing(), stderr: nothing() },
            Some(Pretend::Succeeds { stdout }) => {
                Outcome::Done { stdout: or(stdout), stderr: nothing() }
            }
            Some(Pretend::TimesOut) => Outcome::TimedOut { stderr: nothing() },
            Some(Pretend::Fails { exit, stderr }) => {
                let exit = exit.as_ref().map_or(1, |exit| exit.value.min(255) as i64);
                let reason = format!("exit status {exit}");
                Outcome::Failed { exit, reason, stderr: or(stderr) }
            }
        };
        let word = match &outcome {
            Outcome::Done { .. } => String::new(),
            Outcome::Failed { exit, .. } => format!(" failed({exit})"),
            Outcome::TimedOut { .. } => " timed out".to_owned(),
        };
        self.say(&format!("{}.{}{word}", start.rule, start.action));
        let after = self.passed();
        let (word, rule, job) = (start.word, start.rule, start.job);
        self.actions.push(Done { word, rule, after, job });
        Some(outcome)
    }

    fn fired(&mut self, firing: &Firing) {
        self.say(&format!("{} fires{}", firing.rule, keys(firing)));
        self.fired.insert(firing.rule.clone());
    }

    fn ended(&mut self, ended: &Ended) {
        if ended.end.exit == -1 && ended.end.reason.contains("cannot be filled in") {
            let (rule, action) = (&ended.end.rule, &ended.end.action);
            self.troubles.push(format!("{rule}.{action}: {}", ended.end.reason));
        }
    }

    fn noted(&mut self, note: &Note) {
        // A test has no clock that could be wrong.
        if note.event != EngineEvent::ClockSkew {
            self.troubles.push(note.message.clone());
        }
    }
}

fn keys(firing: &Firing) -> String {
    if firing.key.0.is_empty() {
        String::new()
    } else {
        format!(" [{}]", firing.key.0.join(", "))
    }
}

/// `{"event.kind": ..}` as `{"event": {"kind": ..}}`.
fn nested(fields: &[(Text, Json)]) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, value) in fields {
        put(&mut all, &name.value, plain(value));
    }
    all
}

fn put(into: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        into.insert(path.to_owned(), value);
        return;
    };
    let inner = into.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}

fn plain(value: &Json) -> Value {
    match value {
        Json::Plain(value) => value.clone(),
        Json::Text(text) => text.value.clone().into(),
        Json::List(list) => list.iter().map(plain).collect(),
        Json::Map(map) => Value::Object(nested(map)),
    }
}

/// The most actions of a test.
const ACTIONS_MAX: usize = 10_000;
/// The most that a timeline tells.
const TIMELINE_MAX: usize = 100;
