//! A rule fired: what its actions need to know.

use super::event::{Roots, jinja, weight_of_roots};
use super::keyed::Key;
use super::{how_long, instant};
use crate::compiled::{Action, FLAGS, Rule, RuleSet};
use jiff::Timestamp;
use minijinja::Value;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A rule fired. It can be kept in a store until its actions have ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Firing {
    /// The rule's name.
    pub rule: String,
    /// What it is to do.
    pub what: What,
    /// The same for the same event of the same rule, also when it comes again:
    /// `source/sequence/offset/rule`.
    pub id: String,
    /// When, in milliseconds since 1970.
    #[serde(deserialize_with = "super::written::time")]
    pub at: i64,
    /// The values of the rule's `by`.
    pub key: Key,
    /// The roots of the event.
    pub(super) roots: Arc<Map<String, Json>>,
    /// Captures, `count`, `events`, ...: they come before the event's.
    pub(super) own: Map<String, Json>,
    /// The flags that were set.
    pub(super) flags: Vec<String>,
    /// How many firings led to it.
    pub depth: u32,
    /// The number of what it all began with: an event, or a time.
    #[serde(default)]
    pub origin: u64,
    /// The lines that are handed on with that of its event, behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<String>,
}

/// Which of a rule's lists of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum What {
    /// `do`.
    Do,
    /// `limit.then`.
    Then,
    /// `on_return`.
    Return,
    /// `on_failure`.
    Failure,
}

impl Firing {
    /// When.
    pub fn time(&self) -> Timestamp {
        instant(self.at)
    }

    /// The actions that it is about, of a rule.
    pub fn actions<'r>(&self, rule: &'r Rule) -> &'r [Action] {
        match self.what {
            What::Do => &rule.actions,
            What::Then => rule.limit.as_ref().map_or(&[], |limit| &limit.then),
            What::Return => &rule.on_return,
            What::Failure => &rule.on_failure,
        }
    }

    /// All that templates see, but for `define` and what actions left behind.
    pub fn event(&self) -> Json {
        let mut all = (*self.roots).clone();
        all.extend(self.own.clone());
        Json::Object(all)
    }

    /// Adds a root, such as `task`.
    pub fn with(mut self, name: &str, root: Json) -> Self {
        self.own.insert(name.to_owned(), root);
        self
    }

    /// About how many bytes of memory it takes.
    pub(super) fn weight(&self) -> usize {
        let more: usize = self.more.iter().map(String::len).sum();
        FIRING_BYTES + weight_of_roots(&self.roots) + weight_of_roots(&self.own) + more
    }

    /// The roots of its templates; `left` is what earlier actions left behind.
    pub(super) fn value(&self, set: &RuleSet, left: &BTreeMap<String, Json>) -> Value {
        let flags = flags_value(self.flags.iter().map(String::as_str));
        Roots::value(vec![
            jinja(left),
            jinja(&self.own),
            jinja(&*self.roots),
            jinja(&set.define),
            flags,
        ])
    }

    /// The texts of its events, one a line: what a mail says unless told.
    pub(super) fn texts(&self) -> String {
        let line = |event: &Json| {
            let line = event.get("event").and_then(|it| it.get("line")?.as_str());
            line.unwrap_or_default().to_owned()
        };
        let events = self.own.get("events").and_then(Json::as_array);
        match events {
            Some(events) => events.iter().map(line).collect::<Vec<_>>().join("\n"),
            None => {
                let all = Json::Object((*self.roots).clone());
                match line(&all) {
                    text if text.is_empty() => self.summary(),
                    text => text,
                }
            }
        }
    }

    fn summary(&self) -> String {
        let absent = self.own.get("absent_for").and_then(Json::as_str);
        let absent = absent.map(|it| format!(": nothing for {it}")).unwrap_or_default();
        format!("rule {}{absent}", self.rule)
    }
}

/// The layer of the flags that are set.
pub(super) fn flags_value<'a>(flags: impl Iterator<Item = &'a str>) -> Value {
    let set: BTreeMap<&str, bool> = flags.map(|flag| (flag, true)).collect();
    jinja(BTreeMap::from([(FLAGS, set)]))
}

/// What `absent_for` is.
pub(super) fn absent_for(millis: i64) -> Json {
    how_long(millis).into()
}

/// What the parts of fixed size take.
const FIRING_BYTES: usize = 512;
