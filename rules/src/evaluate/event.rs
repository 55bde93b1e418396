//! What happened, and what expressions and templates see of it.

use super::head::{Head, SEVERITIES};
use super::led;
use super::lines::without_end;
use super::millis;
use crate::model::{EngineEvent, Op, Status};
use jiff::Timestamp;
use minijinja::Value;
use minijinja::value::{Object, Serde};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use std::sync::{Arc, OnceLock};

/// Something that happened. Lines become one only when a rule's patterns were found.
#[derive(Clone, Debug)]
pub struct Event {
    /// The same for ever: `source/sequence/offset`.
    pub(super) id: String,
    /// The source's name.
    pub(super) source: String,
    /// When it arrived, and when it happened, in milliseconds since 1970.
    pub(super) arrival: i64,
    pub(super) time: i64,
    /// What patterns look at.
    pub(super) text: Option<String>,
    pub(super) line: Option<String>,
    /// What triggers ask for.
    pub(super) facts: Facts,
    /// The roots: `event`, `db`, `task`, ...
    pub(super) roots: Arc<Map<String, Json>>,
    /// The same as the engine of the templates wants them, made when asked for.
    value: OnceLock<Value>,
    /// How many firings led to it.
    pub(super) depth: u32,
    /// The number of what it all began with.
    pub(super) origin: u64,
    /// The rule whose firing led to it; empty for none.
    pub(super) made_by: String,
}

/// What triggers ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Facts {
    Line { program: Option<String> },
    Journal { rows: Vec<(String, Op)> },
    Task { rule: String, status: Option<Status> },
    Engine { event: Option<EngineEvent> },
    Emitted { kind: String },
}

/// Something that happened to Tripline itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What happened.
    #[serde(with = "super::words::engine_event")]
    pub event: EngineEvent,
    /// The source that it is about; empty for none.
    pub source: String,
    /// The listener that it is about; empty for none.
    pub listener: String,
    /// The rule that it is about; empty for none.
    pub rule: String,
    /// What happened, for a person.
    pub message: String,
}

/// The end of a run of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEnd {
    /// The rule.
    pub rule: String,
    /// The action's id.
    pub action: String,
    /// How it ended.
    #[serde(with = "super::words::status")]
    pub status: Status,
    /// The code that a program ended with; -1 if there is none.
    pub exit: i64,
    /// Why it failed; empty if it did not.
    pub reason: String,
    /// The end of what it said.
    pub stderr: String,
    /// How long it took, all attempts together: `1m 5s`.
    pub duration: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The ids of actions that were skipped because of it.
    pub skipped: Vec<String>,
}

impl TaskEnd {
    /// As `task` in expressions and templates.
    pub(super) fn root(&self) -> Json {
        json!({
            "rule": self.rule, "action": self.action,
            "status": super::words::of_status(self.status),
            "exit": self.exit, "reason": self.reason, "stderr": self.stderr,
            "duration": self.duration, "attempts": self.attempts, "skipped": self.skipped,
        })
    }
}

impl Event {
    /// The run of an action ended. `id` is that of the task.
    pub fn task(end: &TaskEnd, id: &str, now: Timestamp, depth: u32) -> Self {
        let facts = Facts::Task { rule: end.rule.clone(), status: Some(end.status) };
        let text = Some(end.reason.clone());
        Self::plain("task", id, now, facts, text, depth).with("task", end.root())
    }

    /// Something happened to Tripline itself. `id` stays the same when it comes again.
    pub fn engine(note: &Note, id: &str, now: Timestamp) -> Self {
        Self::noted(note, id, now, 0)
    }

    /// The rules have a trouble of their own, of what `depth` firings led to.
    pub(super) fn noted(note: &Note, id: &str, now: Timestamp, depth: u32) -> Self {
        let facts = Facts::Engine { event: Some(note.event) };
        let root = json!({
            "event": super::words::of_engine_event(note.event), "source": note.source,
            "listener": note.listener, "rule": note.rule, "message": note.message,
        });
        Self::plain("engine", id, now, facts, Some(note.message.clone()), depth)
            .with("engine", root)
    }

    /// A rule emitted it, with these fields. `depth` is that of the firing.
    pub fn emitted(
        kind: &str,
        fields: &[(String, String)],
        id: &str,
        now: Timestamp,
        depth: u32,
    ) -> Self {
        let facts = Facts::Emitted { kind: kind.to_owned() };
        let mut emitted: Map<String, Json> =
            fields.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
        emitted.insert("kind".to_owned(), json!(kind));
        let engine = json!({
            "event": "emitted", "source": "", "listener": "", "rule": "", "message": kind,
        });
        Self::plain("engine", id, now, facts, Some(kind.to_owned()), depth)
            .with("emitted", Json::Object(emitted))
            .with("engine", engine)
    }

    /// A line of a log. `time` is the one that it carries, in milliseconds since 1970.
    pub(super) fn line(
        source: &str,
        id: String,
        bytes: &[u8],
        arrival: i64,
        time: i64,
    ) -> Self {
        let bytes = without_end(bytes);
        let head = Head::of(bytes);
        let lossy = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        let (line, text) = (lossy(bytes), lossy(head.text));
        let program = head.program.map(lossy);
        let event = json!({
            "id": id, "time": time.div_euclid(1000), "source": source, "kind": "line",
            "host": head.host.map(lossy), "line": line, "text": text, "program": program,
            "severity": head.severity.map(|it| SEVERITIES[usize::from(it & 7)]),
        });
        Self {
            origin: led::origin(&id),
            id,
            source: source.to_owned(),
            arrival,
            time,
            text: Some(text),
            line: Some(line),
            facts: Facts::Line { program },
            roots: Arc::new(Map::from_iter([("event".to_owned(), event)])),
            value: OnceLock::new(),
            depth: 0,
            made_by: String::new(),
        }
    }

    /// A transaction with these further roots.
    pub(super) fn journal(
        source: &str,
        id: String,
        (arrival, time): (i64, i64),
        rows: Vec<(String, Op)>,
        mut roots: Map<String, Json>,
    ) -> Self {
        roots.insert("event".to_owned(), bare("journal", source, &id, time, None));
        Self {
            origin: led::origin(&id),
            id,
            source: source.to_owned(),
            arrival,
            time,
            text: None,
            line: None,
            facts: Facts::Journal { rows },
            roots: Arc::new(roots),
            value: OnceLock::new(),
            depth: 0,
            made_by: String::new(),
        }
    }

    /// An event of a test, with its fields as `event.kind`, `task.status`.
    pub(crate) fn made(fields: Map<String, Json>, id: &str, now: Timestamp) -> Self {
        let word = |path: &str| {
            let mut parts = path.split('.');
            let first = fields.get(parts.next().unwrap_or_default());
            let found = parts.try_fold(first?, |it, part| it.get(part))?;
            found.as_str().map(str::to_owned)
        };
        let text = word("event.text").or_else(|| word("event.line"));
        let kind = word("event.kind").unwrap_or_else(|| {
            let known = ["task", "engine", "db", "submit", "journal"];
            let found = known.iter().find(|it| fields.contains_key(**it));
            match found.copied() {
                Some("db" | "submit" | "journal") => "journal".to_owned(),
                Some(kind) => kind.to_owned(),
                None if fields.contains_key("emitted") => "engine".to_owned(),
                None => "line".to_owned(),
            }
        });
        let facts = match kind.as_str() {
            "task" => Facts::Task {
                rule: word("task.rule").unwrap_or_default(),
                status: word("task.status").and_then(|it| super::words::status_of(&it)),
            },
            "journal" => Facts::Journal { rows: made_rows(&fields) },
            "engine" => match word("emitted.kind") {
                Some(kind) => Facts::Emitted { kind },
                None => Facts::Engine {
                    event: word("engine.event")
                        .and_then(|it| super::words::engine_event_of(&it)),
                },
            },
            _ => Facts::Line { program: word("event.program") },
        };
        let (source, line) = (word("event.source"), word("event.line"));
        let mut event = Self::plain(&kind, id, now, facts, text, 0);
        event.line = line.or_else(|| event.text.clone());
        event.source = source.unwrap_or_default();
        let roots = Arc::make_mut(&mut event.roots);
        for (name, value) in fields {
            match (roots.get_mut(&name), value) {
                (Some(Json::Object(known)), Json::Object(more)) => known.extend(more),
                (_, value) => drop(roots.insert(name, value)),
            }
        }
        event
    }

    fn plain(
        kind: &str,
        id: &str,
        now: Timestamp,
        facts: Facts,
        text: Option<String>,
        depth: u32,
    ) -> Self {
        let now = millis(now);
        let event = bare(kind, kind, id, now, text.as_deref());
        Self {
            id: id.to_owned(),
            source: kind.to_owned(),
            arrival: now,
            time: now,
            line: text.clone(),
            text,
            facts,
            roots: Arc::new(Map::from_iter([("event".to_owned(), event)])),
            value: OnceLock::new(),
            depth,
            origin: led::origin(id),
            made_by: String::new(),
        }
    }

    /// A firing of this rule led to it, of what began with this number.
    pub(super) fn led_to(mut self, origin: u64, rule: &str) -> Self {
        self.origin = origin;
        rule.clone_into(&mut self.made_by);
        self
    }

    fn with(mut self, name: &str, root: Json) -> Self {
        Arc::make_mut(&mut self.roots).insert(name.to_owned(), root);
        self
    }

    /// What this event is to a rule that captured something in it.
    pub(super) fn seen(&self, captures: Map<String, Json>) -> Seen {
        Seen {
            id: self.id.clone(),
            source: self.source.clone(),
            time: self.time,
            roots: Arc::clone(&self.roots),
            captures,
            depth: self.depth,
            origin: self.origin,
        }
    }

    /// The roots, for the engine of the templates.
    pub(super) fn value(&self) -> Value {
        self.value.get_or_init(|| jinja(&*self.roots)).clone()
    }
}

/// `event`, of what is no line.
fn bare(kind: &str, source: &str, id: &str, time: i64, text: Option<&str>) -> Json {
    json!({
        "id": id, "time": time.div_euclid(1000), "source": source, "kind": kind,
        "host": null, "line": text, "text": text, "program": null, "severity": null,
    })
}

/// The tables that a made event has rows of.
fn made_rows(fields: &Map<String, Json>) -> Vec<(String, Op)> {
    let tables = fields.get("db").and_then(Json::as_object);
    let op = |table: &Json| match table.get("op").and_then(Json::as_str) {
        Some("replace") => Op::Replace,
        Some("delete") => Op::Delete,
        _ => Op::Put,
    };
    tables
        .into_iter()
        .flatten()
        .map(|(name, row)| (format!("db.{name}"), op(row)))
        .collect()
}

/// An event as a rule remembers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The event's id.
    pub id: String,
    /// The source's name.
    pub source: String,
    /// When it happened, in milliseconds since 1970.
    #[serde(deserialize_with = "super::written::time")]
    pub time: i64,
    /// What is known of every such event.
    pub roots: Arc<Map<String, Json>>,
    /// What the rule captured.
    pub captures: Map<String, Json>,
    /// How many firings led to it.
    pub depth: u32,
    /// The number of what it all began with.
    #[serde(default)]
    pub origin: u64,
}

impl Seen {
    /// All of it as one value: what `first` or one of `events` is.
    pub(super) fn whole(&self) -> Json {
        let mut all = (*self.roots).clone();
        all.extend(self.captures.clone());
        Json::Object(all)
    }

    /// What is at a path such as `event.host`; `None` if there is nothing.
    pub(super) fn at(&self, path: &[Arc<str>]) -> Option<&Json> {
        let (root, rest) = path.split_first()?;
        let first = self.captures.get(&**root).or_else(|| self.roots.get(&**root))?;
        rest.iter().try_fold(first, |value, part| value.get(&**part))
    }

    /// About how many bytes of memory it takes.
    pub(super) fn weight(&self) -> usize {
        weight_of_roots(&self.roots) + weight_of_roots(&self.captures) + SEEN_BYTES
    }
}

/// About how many bytes of memory the values of these take.
pub(super) fn weight_of_roots(roots: &Map<String, Json>) -> usize {
    roots.values().map(weight_of).sum()
}

fn weight_of(value: &Json) -> usize {
    match value {
        Json::String(text) => 32 + text.len(),
        Json::Array(list) => 32 + list.iter().map(weight_of).sum::<usize>(),
        Json::Object(map) => {
            32 + map
                .iter()
                .map(|(name, it)| 48 + name.len() + weight_of(it))
                .sum::<usize>()
        }
        _ => 32,
    }
}

/// What the parts of fixed size take.
const SEEN_BYTES: usize = 256;

/// The roots of an expression or a template: what is found first counts.
#[derive(Debug)]
pub(super) struct Roots(pub(super) Vec<Value>);

impl Roots {
    pub(super) fn value(layers: Vec<Value>) -> Value {
        Value::from_object(Self(layers))
    }
}

impl Object for Roots {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let found =
            |layer: &Value| layer.get_item(key).ok().filter(|it| !it.is_undefined());
        self.0.iter().find_map(found)
    }
}

/// A value as the engine of the templates wants it.
pub(super) fn jinja(value: impl Serialize) -> Value {
    Value::from(Serde(value))
}
