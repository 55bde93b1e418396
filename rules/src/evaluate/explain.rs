//! Why a rule fires on an event, or where it stops.
//!
//! The machine itself tells: at the places where it decides it reports to a [`Watch`], if
//! there is one. What it decides before it makes an event of a line (source, program,
//! `prefix`, `match`) is asked of the same functions, for each rule by itself.

use super::clock::Clock;
use super::closest;
use super::event::Event;
use super::head::Head;
use super::keyed::Key;
use super::limit::Verdict;
use super::lines::{Lines, Looker, Role, lookers, without_end};
use super::machine::{Machine, Output};
use super::matching::{self, Finding};
use super::state::{RuleState, WhenState};
use super::transaction::Transaction;
use super::{how_long, index, instant, length};
use crate::compiled::{Expression, Rule, TextMatch, Trigger, When};
use crate::model::Fire;
use jiff::Timestamp;
use minijinja::{Environment, Value};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

/// What all rules make of an event.
#[derive(Clone, Debug)]
pub struct Explained {
    /// What expressions and templates see of it: `event`, `db`, ...
    pub event: Json,
    /// The rules that look at events like this one, in the order of the set.
    pub rules: Vec<RuleExplained>,
    /// How many rules do not: they are for other sources, or are not enabled.
    pub others: usize,
}

/// What one rule makes of it.
#[derive(Clone, Debug)]
pub struct RuleExplained {
    /// Its index in [`RuleSet::rules`](crate::RuleSet::rules).
    pub rule: usize,
    /// It is looked at as the second event of a pair.
    pub as_second: bool,
    /// What is decided, in order; the last is where it stops, or fires.
    pub steps: Vec<Step>,
}

impl RuleExplained {
    /// Whether it fires, also in a quiet time or as what is done instead.
    pub fn fires(&self) -> bool {
        self.steps.last().is_some_and(|step| step.goes_on)
    }

    /// How far it comes: the higher the further.
    pub const fn depth(&self) -> usize {
        self.steps.len()
    }
}

/// Something that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What decides: `program`, `prefix`, `match`, `unless_match`, `if`, `unless`, `when`,
    /// `limit`, `quiet`, `fires`.
    pub word: &'static str,
    /// Whether the event goes on to the next step.
    pub goes_on: bool,
    /// What was found, or why it stops, for a person.
    pub why: String,
}

/// Takes down what the machine decides.
#[derive(Debug, Default)]
pub(super) struct Watch {
    told: Vec<(usize, Role, Step)>,
    role: Option<Role>,
}

impl Machine {
    /// Takes one line, or one entry of several, as [`lines`](Self::lines) does, and tells
    /// why each rule does what it does.
    pub fn explain_line(
        &mut self,
        lines: &Lines<'_>,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) -> Explained {
        let told = self.watched(|machine| machine.lines(lines, Clock::Now(now), out));
        let bytes = without_end(lines.bytes);
        let head = Head::of(bytes);
        let set = Arc::clone(&self.set);
        let lookers = lookers(&set, lines.source);
        let asked = |looker: &Looker| {
            let text = if looker.is_whole { bytes } else { head.text };
            let wanted = looker.text(&set.rules);
            let mut steps = Vec::new();
            if !looker.programs.is_empty() {
                steps.push(program_step(looker, &head));
            }
            if steps.iter().all(|step| step.goes_on) {
                steps.extend(text_steps(wanted, text));
            }
            (looker.rule, looker.role, steps)
        };
        let time = lines.time.and_then(|(time, near)| time.parse(lines.bytes, near));
        let time = time.map_or(self.clock, |time| time.saturating_mul(1000));
        let id = format!("{}/{}", lines.source, lines.start.id());
        let event = Event::line(lines.source, id, lines.bytes, self.clock, time);
        self.explained(
            Json::Object((*event.roots).clone()),
            told,
            lookers.iter().map(asked),
        )
    }

    /// Takes a transaction, as [`transaction`](Self::transaction) does, and tells why each
    /// rule does what it does.
    pub fn explain_transaction(
        &mut self,
        source: &str,
        transaction: &Transaction,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) -> Explained {
        let told = self.watched(|machine| {
            machine.transaction(source, transaction, Clock::Now(now), out);
        });
        let now = now.as_millisecond();
        let event = self.event_of(source, transaction, (now, now));
        let set = Arc::clone(&self.set);
        let mut asked = Vec::new();
        for (number, rule) in set.rules.iter().enumerate().filter(|(_, it)| it.enabled) {
            for (role, triggers) in matching::roles(rule) {
                let mut of_journals = triggers.iter().filter(|trigger| match trigger {
                    Trigger::Journal { sources, .. } => {
                        sources.is_empty() || sources.iter().any(|it| it == source)
                    }
                    _ => false,
                });
                let Some(first) = of_journals.next() else { continue };
                let mut all = std::iter::once(first).chain(of_journals);
                let fits = all.any(|trigger| index::fits(trigger, &event));
                let mut steps = vec![table_step(first, fits, &event)];
                if fits {
                    steps.extend(text_steps(matching::text_of(rule, role), b""));
                }
                asked.push((number, role, steps));
            }
        }
        self.explained(Json::Object((*event.roots).clone()), told, asked.into_iter())
    }

    fn watched(&mut self, work: impl FnOnce(&mut Self)) -> Vec<(usize, Role, Step)> {
        self.watch = Some(Box::default());
        work(self);
        self.watch.take().map(|watch| watch.told).unwrap_or_default()
    }

    fn explained(
        &self,
        event: Json,
        told: Vec<(usize, Role, Step)>,
        asked: impl Iterator<Item = (usize, Role, Vec<Step>)>,
    ) -> Explained {
        let mut rules: Vec<RuleExplained> = Vec::new();
        for (rule, role, steps) in asked {
            let as_second = role == Role::Until;
            let found = steps.iter().all(|step| step.goes_on);
            // Of several triggers of a rule the one that comes furthest.
            let known =
                rules.iter_mut().find(|it| (it.rule, it.as_second) == (rule, as_second));
            match known {
                Some(known) if steps.len() > known.depth() || found && !known.fires() => {
                    known.steps = steps;
                }
                Some(_) => {}
                None => rules.push(RuleExplained { rule, as_second, steps }),
            }
        }
        for explained in &mut rules {
            let role = if explained.as_second { Role::Until } else { Role::Main };
            let is_its = |(rule, told, _): &&(usize, Role, Step)| {
                (*rule, *told) == (explained.rule, role)
            };
            let more: Vec<Step> =
                told.iter().filter(is_its).map(|(_, _, step)| step.clone()).collect();
            explained.steps.extend(more);
        }
        let mut seen: Vec<usize> = rules.iter().map(|it| it.rule).collect();
        seen.dedup();
        Explained { event, others: self.set.rules.len() - seen.len(), rules }
    }

    /// An event is looked at as the first or the second one.
    pub(super) fn watch_as(&mut self, role: Role) {
        if let Some(watch) = &mut self.watch {
            watch.role = Some(role);
        }
    }

    /// Tells whoever watches what was decided.
    pub(super) fn tell(&mut self, rule: usize, step: impl FnOnce() -> Step) {
        if let Some(watch) = &mut self.watch {
            let role = watch.role.unwrap_or(Role::Main);
            watch.told.push((rule, role, step()));
        }
    }
}

impl Step {
    fn new(word: &'static str, goes_on: bool, why: impl Into<String>) -> Self {
        Self { word, goes_on, why: why.into() }
    }

    /// An expression was asked.
    pub(super) fn asked(
        word: &'static str,
        expression: &Expression,
        answer: bool,
        goes_on: bool,
        templates: &Environment<'_>,
        roots: &Value,
    ) -> Self {
        let values = values(templates, expression, roots);
        let values = if values.is_empty() { values } else { format!("   with {values}") };
        let text = expression.text.trim();
        Self::new(word, goes_on, format!("{text}  ->  {answer}{values}"))
    }

    /// Something failed, and the rule passes the event by.
    pub(super) fn failed(why: &str) -> Self {
        Self::new("fails", false, why)
    }

    /// What `when` or `settle` made of it; `fires`: it fires now.
    pub(super) fn counted(
        rule: &Rule,
        state: &RuleState,
        role: Role,
        key: &Key,
        fires: bool,
    ) -> Option<Self> {
        let by = key_words(rule, key);
        let at = |due: Option<i64>| {
            due.map_or_else(String::new, |due| instant(due).to_string())
        };
        Some(match (&rule.when, &state.when) {
            (When::Each, _) => {
                let settle = rule.settle?;
                let (so_far, due) = state.settle.so_far(key);
                let time = how_long(length(settle));
                let why = format!(
                    "{so_far} so far{by}; fires when nothing came for {time}, at {}",
                    at(due)
                );
                Self::new("settle", false, why)
            }
            (When::Count { of, within, .. }, WhenState::Count(count)) => {
                let so_far = if fires { *of as usize } else { count.so_far(key) };
                let time = how_long(length(*within));
                Self::new("when", fires, format!("{so_far} of {of} within {time}{by}"))
            }
            (When::Absent { after, .. }, _) => {
                let time = how_long(length(*after));
                let word = if fires { "it is back" } else { "it came" };
                let why = format!("{word}{by}; fires if nothing comes for {time} now");
                Self::new("when", fires, why)
            }
            (When::Pair { within, fire, .. }, WhenState::Pair(pair)) => {
                let time = how_long(length(*within));
                let fire = match fire {
                    Fire::IfMissing => "fires if it does not come",
                    Fire::IfSeen => "fires if it comes",
                };
                let why = match role {
                    Role::Main => format!(
                        "waits for the second event{by} until {}; {fire} within {time}",
                        at(pair.due_of(key))
                    ),
                    Role::Until if fires => format!("the second event of a pair{by}"),
                    Role::Until if pair.due_of(key).is_some() => {
                        format!("a second event{by}, but not within {time} of the first")
                    }
                    Role::Until => {
                        format!("a second event{by}: what it ends does not fire")
                    }
                };
                Self::new("when", fires, why)
            }
            (When::Digest { every, .. }, WhenState::Digest(digest)) => {
                let (so_far, due) = digest.so_far(key);
                let time = how_long(length(*every));
                let why = format!(
                    "{so_far} so far{by}; fires {time} after the first, at {}",
                    at(due)
                );
                Self::new("when", false, why)
            }
            _ => return None,
        })
    }

    /// What `limit` made of it.
    pub(super) fn limited(rule: &Rule, key: &Key, verdict: Verdict) -> Option<Self> {
        let limit = rule.limit.as_ref()?;
        let by: Vec<_> = limit.by.iter().map(|it| &*it.text).collect();
        let by = pairs(by.into_iter(), key);
        let most =
            format!("at most {} in {}{by}", limit.times, how_long(length(limit.per)));
        Some(match verdict {
            Verdict::Passes { .. } => Self::new("limit", true, most),
            Verdict::First if !limit.then.is_empty() => {
                Self::new("limit", true, format!("{most}: no more; does `then`"))
            }
            _ => Self::new("limit", false, format!("{most}: no more")),
        })
    }

    /// It is quiet until then.
    pub(super) fn quiet(rule: &Rule, end: Timestamp, is_dropped: bool) -> Self {
        let names = rule.quiet.iter().flat_map(|it| &it.calendars);
        let names: Vec<_> = names.map(|it| it.name.as_str()).collect();
        let what = if is_dropped { "dropped" } else { "held" };
        let names = names.join(", ");
        Self::new("quiet", false, format!("{what}: it is quiet until {end} (in {names})"))
    }

    /// Nothing held it back.
    pub(super) fn fires(id: &str) -> Self {
        Self::new("fires", true, id)
    }
}

fn program_step(looker: &Looker, head: &Head<'_>) -> Step {
    let wanted = looker.programs.join(" or ");
    let found = head.program.map(|it| String::from_utf8_lossy(it).into_owned());
    let is_wanted = found.as_ref().is_some_and(|it| looker.programs.contains(it));
    let why = match (&found, is_wanted) {
        (Some(found), true) => found.clone(),
        (Some(found), false) => format!("{found}, wanted {wanted}"),
        (None, _) => format!("the line names none, wanted {wanted}"),
    };
    Step::new("program", is_wanted, why)
}

fn table_step(trigger: &Trigger, fits: bool, event: &Event) -> Step {
    let super::event::Facts::Journal { rows } = &event.facts else {
        return Step::new("table", fits, "");
    };
    let mut found: Vec<String> = Vec::new();
    for (table, op) in rows.iter().take(SHOWN_MAX) {
        found.push(format!("{table} {}", super::words::of_op(*op)));
    }
    let found = if found.is_empty() { "no rows".to_owned() } else { found.join(", ") };
    let Trigger::Journal { tables, ops, .. } = trigger else {
        return Step::new("table", fits, found);
    };
    let mut wanted = tables.join(" or ");
    if !ops.is_empty() {
        let ops: Vec<_> = ops.iter().map(|op| super::words::of_op(*op)).collect();
        wanted = format!("{wanted} {}", ops.join(" or "));
    }
    let why = if fits { found } else { format!("{found}; wanted {}", wanted.trim()) };
    Step::new("table", fits, why)
}

/// What `prefix`, `match` and `unless_match` make of a text.
fn text_steps(wanted: &TextMatch, text: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    let finding = matching::find(wanted, text);
    if let Some(prefix) = &wanted.prefix {
        let found = !matches!(finding, Finding::NoPrefix);
        let why = if found { "found".to_owned() } else { closest::words([prefix], text) };
        steps.push(Step::new("prefix", found, why));
        if !found {
            return steps;
        }
    }
    let rest = matching::behind_prefix(wanted, text).unwrap_or_default();
    match finding {
        Finding::NoMatch => {
            steps.push(Step::new("match", false, closest::words(&wanted.any, rest)));
        }
        Finding::NoPrefix => {}
        Finding::Refused(_) | Finding::Found => {
            if !wanted.any.is_empty() || wanted.prefix.is_some() {
                let which =
                    matching::which(wanted, text).filter(|_| wanted.any.len() > 1);
                let which = which.map(|it| format!("pattern {} ", it + 1));
                let found = matching::captured(wanted, text).unwrap_or_default();
                let why = format!("{}{}", which.unwrap_or_default(), shown(&found));
                steps.push(Step::new("match", true, why));
            }
            if let Finding::Refused(pattern) = finding {
                let written = wanted.none.get(pattern).map_or("", |it| &it.written);
                steps.push(Step::new(
                    "unless_match",
                    false,
                    format!("{written} is found"),
                ));
            }
        }
    }
    steps
}

/// Captures as `user=bob ip=10.1.2.3`.
fn shown(found: &Map<String, Json>) -> String {
    if found.is_empty() {
        return "found".to_owned();
    }
    let one = |(name, value): (&String, &Json)| format!("{name}={}", short(value));
    found.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn short(value: &Json) -> String {
    let text = match value {
        Json::String(text) if !text.contains([' ', '"']) && !text.is_empty() => {
            text.clone()
        }
        Json::Null => "none".to_owned(),
        value => value.to_string(),
    };
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// The values that an expression looked at.
fn values(templates: &Environment<'_>, expression: &Expression, roots: &Value) -> String {
    let Ok(template) = templates.get_template(&expression.name) else {
        return String::new();
    };
    let mut names: Vec<String> =
        template.undeclared_variables(true).into_iter().collect();
    names.sort();
    let value = |name: &String| {
        let found = name.split('.').try_fold(roots.clone(), |value, part| {
            value.get_attr(part).ok().filter(|it| !it.is_undefined())
        })?;
        let json = serde_json::to_value(&found).ok()?;
        Some(format!("{name}={}", short(&json)))
    };
    names.iter().filter_map(value).take(SHOWN_MAX).collect::<Vec<_>>().join(" ")
}

fn key_words(rule: &Rule, key: &Key) -> String {
    pairs(rule.by.iter().map(|it| &*it.text), key)
}

fn pairs<'a>(names: impl Iterator<Item = &'a str>, key: &Key) -> String {
    let pair = |(name, value): (&str, &String)| format!("{name}={value}");
    let pairs: Vec<_> = names.zip(&key.0).map(pair).collect();
    if pairs.is_empty() { String::new() } else { format!(" for {}", pairs.join(" ")) }
}

/// The most values and tables that are shown.
const SHOWN_MAX: usize = 12;
/// The longest value that is shown, in characters.
const VALUE_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests;
