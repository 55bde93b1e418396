//! The machine: events and time in, firings out.

use super::clock::{Came, Clock};
use super::event::{Event, Facts, Note, Seen, jinja};
use super::explain::Watch;
use super::firing::{Firing, flags_value};
use super::index::Index;
use super::keyed::Key;
use super::led::{self, EVENTS_MAX, Led};
use super::lines::{Hit, Hits, Lines, without_end};
use super::matching;
use super::snapshot::Touched;
use super::state::{Counts, RuleState, WhenState, absent_rule};
use super::transaction::{self, Descriptions, Transaction};
use super::{Head, TIME_MAX, instant, millis};
use crate::compiled::{Rule, RuleSet, Trigger, When};
use crate::model::EngineEvent;
use jiff::Timestamp;
use minijinja::Value;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a machine gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A rule fired.
    Fired(Box<Firing>),
    /// Something that people should know of, and how many firings led to it: to be made an
    /// event of the source `engine`.
    Note(Note, u32),
}

/// The rules, and all that they remember.
pub struct Machine {
    pub(super) set: Arc<RuleSet>,
    pub(super) index: Index,
    pub(super) states: Vec<RuleState>,
    /// Those to which something can happen without an event.
    waiting: Vec<usize>,
    /// `define`, as templates want it.
    pub(super) define: Value,
    /// The flags that are set, and until when.
    pub(super) flags: BTreeMap<String, i64>,
    /// Which rules do nothing but hand lines on.
    hands_on: Vec<bool>,
    /// Lines that these hand on together, with their bytes.
    pub(super) bundles: BTreeMap<usize, (Firing, usize)>,
    /// By source.
    pub(super) descriptions: BTreeMap<String, Descriptions>,
    /// The latest time that it was given, in milliseconds since 1970.
    pub(super) clock: i64,
    /// It has seen nothing yet.
    pub(super) is_fresh: bool,
    pub(super) touched: Touched,
    /// When the times of a source were last said to be wrong.
    pub(super) skewed: BTreeMap<String, i64>,
    /// Troubles that became events.
    pub(super) noted: u64,
    /// When it was last said that rules fire each other in a ring.
    pub(super) ring_at: Option<i64>,
    /// How many events one led to.
    pub(super) led: Led,
    /// How many firings led to what it looks at.
    pub(super) depth: u32,
    /// The last time that each source carried, as long as they bring what happened before.
    pub(super) carried: BTreeMap<String, i64>,
    /// The clock was so far ahead, in milliseconds, which was not said yet.
    pub(super) was_ahead: Option<i64>,
    /// What the source of late events brings later happened later.
    pub(super) is_in_order: bool,
    /// The patterns that were found, by rule; only where that was asked for.
    pub(super) samples: Option<Vec<BTreeSet<usize>>>,
    /// Who wants to know why, if anybody.
    pub(super) watch: Option<Box<Watch>>,
}

impl Machine {
    /// Knows nothing yet. Clocks of what is expected start now.
    pub fn new(set: Arc<RuleSet>, now: Timestamp) -> Self {
        let mut machine = Self {
            index: Index::new(&set),
            states: Vec::new(),
            waiting: Vec::new(),
            define: jinja(&set.define),
            flags: BTreeMap::new(),
            hands_on: set.rules.iter().map(Rule::hands_on).collect(),
            bundles: BTreeMap::new(),
            descriptions: BTreeMap::new(),
            clock: millis(now),
            is_fresh: true,
            touched: Touched::default(),
            skewed: BTreeMap::new(),
            noted: 0,
            ring_at: None,
            led: Led::default(),
            depth: 0,
            carried: BTreeMap::new(),
            was_ahead: None,
            is_in_order: false,
            samples: None,
            watch: None,
            set,
        };
        machine.begin_anew(now);
        machine
    }

    /// The same rules, knowing nothing: cheaper than a new machine.
    pub(crate) fn begin_anew(&mut self, now: Timestamp) {
        self.states = self.set.rules.iter().map(RuleState::new).collect();
        self.find_waiting();
        self.flags.clear();
        self.descriptions.clear();
        self.skewed.clear();
        self.carried.clear();
        self.ring_at = None;
        self.led = Led::default();
        self.clock = millis(now);
        self.is_fresh = true;
        for rule in 0..self.states.len() {
            self.expect(rule);
        }
    }

    /// Looks for those to which something can happen without an event: of a thousand rules
    /// they may be few, and are asked again and again.
    pub(super) fn find_waiting(&mut self) {
        let waits = |number: &usize| {
            self.set.rules[*number].waits() || self.states[*number].due().is_some()
        };
        self.waiting = (0..self.states.len()).filter(waits).collect();
    }

    /// These, and the state of each.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (usize, &RuleState)> {
        self.waiting.iter().map(|number| (*number, &self.states[*number]))
    }

    /// The rules.
    pub const fn rules(&self) -> &Arc<RuleSet> {
        &self.set
    }

    /// The tables of which rules look at rows, and those that they learn from; `None` if
    /// they look at every transaction.
    pub fn tables(&self) -> Option<Vec<&str>> {
        self.index.tables()
    }

    /// What became of the events of each rule, in the order of [`RuleSet::rules`].
    pub fn counts(&self) -> impl Iterator<Item = Counts> {
        self.states.iter().map(|state| state.counts)
    }

    /// Lines of a log, in order.
    pub fn lines(&mut self, lines: &Lines<'_>, clock: Clock, out: &mut Vec<Output>) {
        let hits = self.scan(lines, clock, out);
        for hits in hits.of_lines() {
            self.see_line(lines, hits, clock, out);
        }
        self.close_bundles(out);
    }

    /// Finds the lines that rules want, without changing what these remember.
    pub(super) fn scan(
        &mut self,
        lines: &Lines<'_>,
        clock: Clock,
        out: &mut Vec<Output>,
    ) -> Hits {
        self.depth = 0;
        if let Clock::Now(now) = clock {
            self.is_fresh = false;
            self.before(now, out);
        }
        let set = Arc::clone(&self.set);
        Hits(self.index.of_lines(&set, lines.source).scan(&set.rules, lines))
    }

    /// One line, with the rules that want it.
    pub(super) fn see_line(
        &mut self,
        lines: &Lines<'_>,
        hits: &[Hit],
        clock: Clock,
        out: &mut Vec<Output>,
    ) {
        // What followed from the line before is done.
        self.depth = 0;
        let set = Arc::clone(&self.set);
        let mut event: Option<Event> = None;
        for hit in hits {
            let bytes = &lines.bytes[hit.line.clone()];
            let text = without_end(bytes);
            if self.hands_on[hit.rule] {
                let made = |it: &mut Self| {
                    it.sample(
                        hit.rule,
                        hit.role,
                        if hit.is_whole { text } else { Head::of(text).text },
                    );
                    it.line_event(lines, hit.line.start, bytes, clock, out)
                };
                let full = self.hand_on(hit.rule, text, made);
                out.extend(full.map(|it| Output::Fired(Box::new(it))));
                continue;
            }
            let text = if hit.is_whole { text } else { Head::of(text).text };
            let wanted = matching::text_of(&set.rules[hit.rule], hit.role);
            let Some(captures) = matching::captures(wanted, text) else { continue };
            self.sample(hit.rule, hit.role, text);
            // The rules of one line share its event.
            let event = event.get_or_insert_with(|| {
                self.line_event(lines, hit.line.start, bytes, clock, out)
            });
            self.offer(hit.rule, hit.role, event, captures, out);
        }
    }

    /// A transaction of a journal.
    pub fn transaction(
        &mut self,
        source: &str,
        transaction: &Transaction,
        clock: Clock,
        out: &mut Vec<Output>,
    ) {
        let time = from_seconds(transaction.marker.time);
        self.depth = 0;
        if let Clock::Now(now) = clock {
            self.is_fresh = false;
            self.before(now, out);
        }
        if !self.index.has_journal {
            return;
        }
        let rows = transaction.rows();
        if self.index.learns && rows.iter().any(|(table, _)| table == "db.desc") {
            let known = self.descriptions.entry(source.to_owned()).or_default();
            known.learn(transaction);
            self.touched.descriptions.insert(source.to_owned());
        }
        if !rows.iter().any(|(table, _)| self.index.wants_table(table)) {
            return;
        }
        // What nobody looks at turns no clock, as it may never come here.
        let times = self.arrives(source, Came::At(time), clock, out);
        let event = self.event_of(source, transaction, times);
        self.see(&event, out);
    }

    /// A transaction as an event that arrived and happened then, in milliseconds since
    /// 1970.
    pub(super) fn event_of(
        &self,
        source: &str,
        transaction: &Transaction,
        times: (i64, i64),
    ) -> Event {
        let nothing = Descriptions::default();
        let known = self.descriptions.get(source).unwrap_or(&nothing);
        let roots = transaction::roots(transaction, known);
        let id = format!("{source}/{}", transaction.place.id());
        Event::journal(source, id, times, transaction.rows(), roots)
    }

    /// Another event.
    pub fn event(&mut self, event: &Event, now: Timestamp, out: &mut Vec<Output>) {
        self.depth = 0;
        // One that comes at the machine's own time says nothing about that.
        self.is_fresh &= millis(now) <= self.clock;
        self.before(now, out);
        if event.depth > DEPTH_MAX {
            self.tell_ring(event, out);
            return;
        }
        if self.is_counted(event) {
            self.touched.led = true;
            if !self.led.is_one_more(event.origin) {
                self.tell_too_many(event, out);
                return;
            }
        }
        self.depth = event.depth;
        self.mind_source(event);
        self.see(event, out);
    }

    /// Rules fire each other in a ring. A rule may look at that, but what it fires leads
    /// nowhere.
    fn tell_ring(&mut self, event: &Event, out: &mut Vec<Output>) {
        // What is fired because there is too much comes here too, and says nothing new.
        let told = self.ring_at.max(self.led.told_at);
        if told.is_some_and(|told| self.clock - told < TELL_AGAIN_MILLIS) {
            return;
        }
        self.ring_at = Some(self.clock);
        self.touched.clock = true;
        let message = format!(
            "the event {} came of {DEPTH_MAX} firings in a row, and is not looked at: \
             rules seem to fire each other in a ring",
            event.id
        );
        self.depth = DEPTH_MAX;
        self.note(EngineEvent::RuleFailed, ["", ""], message, out);
    }

    /// Whether it came of a firing, and a rule looks at it. Troubles are told once in a
    /// while, and are not counted.
    fn is_counted(&self, event: &Event) -> bool {
        let is_made = matches!(event.facts, Facts::Task { .. } | Facts::Emitted { .. });
        let is_looked_at = || !self.index.of_event(&self.set, event).is_empty();
        event.depth > 0 && is_made && is_looked_at()
    }

    /// Rules multiply what happens. What they fire when that is told leads nowhere.
    fn tell_too_many(&mut self, event: &Event, out: &mut Vec<Output>) {
        let told = self.led.told_at;
        if told.is_some_and(|told| self.clock - told < TELL_AGAIN_MILLIS) {
            return;
        }
        self.led.told_at = Some(self.clock);
        let rule = &event.made_by;
        let message = format!(
            "rule `{rule}`: one event led to {EVENTS_MAX} others, and the next of them, {}, is \
             not looked at: rules seem to multiply what happens; let each fire once for many \
             (`settle`, `Digest`, `limit`)",
            event.id
        );
        self.depth = DEPTH_MAX;
        self.note(EngineEvent::RuleFailed, ["", rule], message, out);
    }

    /// People should know of this, about a source and a rule.
    pub(super) fn note(
        &self,
        event: EngineEvent,
        [source, rule]: [&str; 2],
        message: String,
        out: &mut Vec<Output>,
    ) {
        let (source, rule) = (source.to_owned(), rule.to_owned());
        let note = Note { event, source, listener: String::new(), rule, message };
        out.push(Output::Note(note, self.depth));
    }

    /// When [`tick`](Self::tick) should be called if no event comes before; `None`: not
    /// before one comes.
    pub fn due(&self) -> Option<Timestamp> {
        self.waiting().filter_map(|(_, state)| state.due()).min().map(instant)
    }

    /// When something settles.
    pub(crate) fn settles_at(&self) -> Option<Timestamp> {
        self.waiting().filter_map(|(_, state)| state.settle.due()).min().map(instant)
    }

    /// Sets a flag until an instant. Of more than [`FLAGS_MAX`] the one goes that would
    /// go first.
    pub fn set_flag(&mut self, flag: &str, until: Timestamp) {
        self.touched.flags = true;
        self.flags.insert(flag.to_owned(), millis(until));
        if self.flags.len() > FLAGS_MAX {
            let first = self.flags.iter().min_by_key(|(_, until)| **until);
            if let Some(name) = first.map(|(name, _)| name.clone()) {
                self.flags.remove(&name);
            }
        }
    }

    /// Takes a flag away.
    pub fn clear_flag(&mut self, flag: &str) {
        self.touched.flags = true;
        self.flags.remove(flag);
    }

    /// The flags that are set now.
    pub(super) fn set_flags(&self) -> Vec<String> {
        let is_set = |(_, until): &(&String, &i64)| **until > self.clock;
        self.flags.iter().filter(is_set).map(|(flag, _)| flag.clone()).collect()
    }

    pub(super) fn flags_value(&self) -> Value {
        let is_set = |(_, until): &(&String, &i64)| **until > self.clock;
        flags_value(self.flags.iter().filter(is_set).map(|(flag, _)| flag.as_str()))
    }

    /// Remembers which patterns were found, for [`samples`](Self::samples).
    pub(crate) fn collect_samples(&mut self) {
        self.samples = Some(vec![BTreeSet::new(); self.set.rules.len()]);
    }

    /// The patterns of each rule that were found.
    pub(crate) fn samples(&self) -> &[BTreeSet<usize>] {
        self.samples.as_deref().unwrap_or_default()
    }

    fn sample(&mut self, rule: usize, role: super::lines::Role, text: &[u8]) {
        if let Some(samples) = &mut self.samples
            && role == super::lines::Role::Main
            && let Some(pattern) = matching::which(&self.set.rules[rule].text, text)
        {
            samples[rule].insert(pattern);
        }
    }

    /// Shows an event to the rules that look at it.
    fn see(&mut self, event: &Event, out: &mut Vec<Output>) {
        let set = Arc::clone(&self.set);
        for (rule, role, is_whole) in self.index.of_event(&set, event) {
            let wanted = matching::text_of(&set.rules[rule], role);
            let text = if is_whole { &event.line } else { &event.text };
            let text = text.as_deref().unwrap_or_default().as_bytes();
            if let Some(captures) = matching::captures(wanted, text) {
                self.sample(rule, role, text);
                self.offer(rule, role, event, captures, out);
            }
        }
    }

    fn line_event(
        &mut self,
        lines: &Lines<'_>,
        offset: usize,
        bytes: &[u8],
        clock: Clock,
        out: &mut Vec<Output>,
    ) -> Event {
        let place = lines.start.advance(offset as u64, 0);
        let id = format!("{}/{}", lines.source, place.id());
        let own = lines.time.and_then(|(time, near)| time.parse(bytes, near));
        let came = match own {
            Some(own) => Came::At(from_seconds(own)),
            None if lines.time.is_some() => Came::AfterTheLast,
            None => Came::Now,
        };
        let (arrival, time) = self.arrives(lines.source, came, clock, out);
        Event::line(lines.source, id, bytes, arrival, time)
    }

    /// Starts the clocks of what a rule expects, where none runs.
    pub(super) fn expect(&mut self, rule: usize) {
        self.expect_from(rule, false);
    }

    /// The same; `anew`: also where it runs and nothing came yet.
    pub(super) fn expect_from(&mut self, rule: usize, anew: bool) {
        let set = Arc::clone(&self.set);
        let it = &set.rules[rule];
        let (When::Absent { expect, .. }, Some(meant)) =
            (&it.when, absent_rule(&it.when))
        else {
            return;
        };
        let WhenState::Absent(absent) = &mut self.states[rule].when else { return };
        self.touched.rules.insert(rule);
        if it.enabled {
            for values in expect {
                let like = expected(it, values, self.clock);
                let key = Key(values.clone());
                if anew {
                    absent.forget_expected(&key, &like);
                }
                absent.expect(meant, key, like, self.clock);
            }
        }
    }

    /// All sources count as there until it is said anew that one is away: whoever would
    /// say that it is back may not know that it was away.
    pub fn sources_are_there(&mut self) {
        for (number, state) in self.states.iter_mut().enumerate() {
            let WhenState::Absent(absent) = &mut state.when else { continue };
            if absent.all_are_there(self.clock) {
                self.touched.rules.insert(number);
            }
        }
    }

    /// A number for the next of its troubles.
    pub(super) fn next_note(&mut self) -> u64 {
        self.touched.clock = true;
        self.noted += 1;
        self.noted
    }

    /// Stops and starts clocks when a source goes and comes back.
    fn mind_source(&mut self, event: &Event) {
        let Facts::Engine { event: Some(kind) } = event.facts else {
            return;
        };
        let engine = event.roots.get("engine").and_then(|it| it.get("source")?.as_str());
        let Some(source) = engine else { return };
        let set = Arc::clone(&self.set);
        for (number, state) in self.states.iter_mut().enumerate() {
            let rule = &set.rules[number];
            let WhenState::Absent(absent) = &mut state.when else { continue };
            self.touched.rules.insert(number);
            let looks = rule.on.iter().any(|trigger| match trigger {
                Trigger::Lines { sources, .. } | Trigger::Journal { sources, .. } => {
                    sources.is_empty() || sources.iter().any(|it| it == source)
                }
                _ => false,
            });
            match kind {
                EngineEvent::SourceLost if looks => absent.stop(source, self.clock),
                EngineEvent::SourceBack if looks => absent.go_on(source, self.clock),
                _ => {}
            }
        }
    }
}

/// What an event would be like that never came.
fn expected(rule: &Rule, values: &[String], now: i64) -> Seen {
    let mut own = Map::new();
    for (key, value) in rule.by.iter().zip(values) {
        put(&mut own, &key.path, value);
    }
    let id = format!("expected/{}", values.join("/"));
    let event = own.entry("event").or_insert_with(|| json!({}));
    if let Some(event) = event.as_object_mut() {
        event.insert("time".to_owned(), now.div_euclid(1000).into());
        event.insert("id".to_owned(), id.as_str().into());
    }
    let source = String::new();
    let origin = led::origin(&id);
    Seen { id, source, time: now, roots: Arc::default(), captures: own, depth: 0, origin }
}

fn put(into: &mut Map<String, Json>, path: &[Arc<str>], value: &str) {
    match path {
        [] => {}
        [last] => drop(into.insert(last.to_string(), value.into())),
        [first, rest @ ..] => {
            let inner = into.entry(first.to_string()).or_insert_with(|| json!({}));
            if let Some(inner) = inner.as_object_mut() {
                put(inner, rest, value);
            }
        }
    }
}

/// Milliseconds, no further away than [`TIME_MAX`].
fn from_seconds(seconds: i64) -> i64 {
    seconds.saturating_mul(1000).clamp(-TIME_MAX, TIME_MAX)
}

/// The most flags.
pub const FLAGS_MAX: usize = 10_000;
/// The most firings that may lead to each other.
pub const DEPTH_MAX: u32 = 8;
/// How long the same trouble is not said again, in milliseconds.
pub(super) const TELL_AGAIN_MILLIS: i64 = 60_000;
