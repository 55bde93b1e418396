//! Which names an expression or a template may use, and what they are.

use crate::Type;
use crate::compiled::{Capture, Trigger};
use crate::types::{Record, tables};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names and what they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roots {
    pub(crate) names: BTreeMap<String, Type>,
    /// The captures, for messages.
    pub(crate) captures: Vec<String>,
    /// Something could not be read, so there may be more names.
    pub(crate) is_partial: bool,
}

impl Roots {
    /// What an event of these kinds has.
    pub(crate) fn of(
        triggers: &[Trigger],
        define: &BTreeMap<String, String>,
        emitted: &BTreeMap<String, Vec<String>>,
    ) -> Self {
        let mut roots = Self::default();
        for name in define.keys() {
            roots.add(name, Type::Text);
        }
        roots.add("event", event());
        for trigger in triggers {
            match trigger {
                Trigger::Journal { .. } => roots.journal(),
                Trigger::Lines { .. } => {}
                Trigger::Task { .. } => roots.add("task", task()),
                Trigger::Engine { emitted: kinds, .. } => roots.engine(kinds, emitted),
            }
        }
        roots.is_partial = triggers.is_empty();
        roots
    }

    pub(crate) fn add(&mut self, name: &str, kind: Type) {
        self.names.insert(name.to_owned(), kind);
    }

    pub(crate) fn capture(&mut self, captures: &[Capture]) {
        for capture in captures {
            self.add(&capture.name, capture.kind.clone());
            self.captures.push(capture.name.to_string());
        }
    }

    /// All names as one record: what `first`, `start` or one of `events` is.
    pub(crate) fn as_record(&self, title: &str) -> Type {
        Type::Record(Arc::new(Record {
            title: title.to_owned(),
            fields: self.names.clone(),
            hint: String::new(),
            is_open: self.is_partial,
        }))
    }

    /// The type of `a.b.c`; the part that is not there otherwise.
    pub(crate) fn path<'a>(&self, path: &'a str) -> Result<Type, &'a str> {
        let mut parts = path.split('.');
        let root = parts.next().unwrap_or_default();
        let mut kind = match self.names.get(root) {
            Some(kind) => kind.clone(),
            None if self.is_partial => return Ok(Type::Any),
            None => return Err(root),
        };
        for part in parts {
            kind = match &kind {
                Type::Any => Type::Any,
                Type::Record(record) => match record.fields.get(part) {
                    Some(kind) => kind.clone(),
                    None if record.is_open => Type::Any,
                    None => return Err(part),
                },
                _ => return Err(part),
            };
        }
        Ok(kind)
    }

    fn journal(&mut self) {
        self.add("db", tables());
        let journal = [("pid", Type::Int), ("tables", Type::list(Type::Text))];
        self.add("journal", Type::record("`journal`", &journal));
        self.add("submit", submit());
    }

    fn engine(&mut self, kinds: &[String], emitted: &BTreeMap<String, Vec<String>>) {
        self.add("engine", engine());
        if kinds.is_empty() {
            return;
        }
        let mut fields = BTreeMap::from([("kind".to_owned(), Type::Text)]);
        for name in kinds.iter().filter_map(|kind| emitted.get(kind)).flatten() {
            fields.insert(name.clone(), Type::Text);
        }
        let hint = "its fields are those of `Emit` in other rules".to_owned();
        let record =
            Record { title: "`emitted`".to_owned(), fields, hint, is_open: false };
        self.add("emitted", Type::Record(Arc::new(record)));
    }
}

/// The names that no capture, definition or action may have.
pub(crate) const TAKEN: &[&str] = &[
    "absent_for",
    "count",
    "db",
    "dropped",
    "emitted",
    "end",
    "engine",
    "event",
    "events",
    "first",
    "flag",
    "journal",
    "last",
    "loop",
    "range",
    "rest",
    "self",
    "start",
    "submit",
    "suppressed",
    "task",
    "tripline_flags",
    "tripline_result",
    "true",
    "false",
    "none",
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "dict",
    "namespace",
];

fn event() -> Type {
    let fields = [
        ("id", Type::Text),
        ("time", Type::Time),
        ("source", Type::Text),
        ("kind", Type::Word(&["line", "journal", "task", "engine"])),
        ("host", Type::Text),
        ("line", Type::Text),
        ("text", Type::Text),
        ("program", Type::Text),
        ("severity", Type::Word(SEVERITIES)),
    ];
    Type::record("`event`", &fields)
}

/// As syslog has them, by number.
const SEVERITIES: &[&str] =
    &["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

pub(crate) fn task() -> Type {
    let fields = [
        ("rule", Type::Text),
        ("action", Type::Text),
        ("status", Type::Word(&["succeeded", "failed", "timed_out", "gave_up"])),
        ("exit", Type::Int),
        ("reason", Type::Text),
        ("stderr", Type::Text),
        ("duration", Type::Text),
        ("attempts", Type::Int),
        ("skipped", Type::list(Type::Text)),
    ];
    Type::record("`task`", &fields)
}

fn engine() -> Type {
    let fields = [
        ("event", Type::Word(ENGINE_EVENTS)),
        ("source", Type::Text),
        ("listener", Type::Text),
        ("rule", Type::Text),
        ("message", Type::Text),
    ];
    Type::record("`engine`", &fields)
}

const ENGINE_EVENTS: &[&str] = &[
    "started",
    "stopping",
    "reloaded",
    "reload_refused",
    "gap",
    "listener_stopped",
    "about_to_be_lost",
    "set_aside",
    "source_lost",
    "source_back",
    "clock_skew",
    "keys_evicted",
    "rule_failed",
    "emitted",
];

fn submit() -> Type {
    let file = [
        ("path", Type::Text),
        ("rev", Type::Int),
        ("action", crate::types::type_of_column("Action")),
        ("type", Type::Text),
    ];
    let fields = [
        ("change", Type::Int),
        ("user", Type::Text),
        ("client", Type::Text),
        ("description", Type::Text),
        ("time", Type::Time),
        ("files", Type::list(Type::record("a file of `submit.files`", &file))),
    ];
    Type::record("`submit`", &fields)
}

/// What an action leaves behind.
pub(crate) fn output(id: &str) -> Type {
    let fields = [("stdout", Type::Text), ("stderr", Type::Text), ("exit", Type::Int)];
    Type::record(&format!("action `{id}`"), &fields)
}
