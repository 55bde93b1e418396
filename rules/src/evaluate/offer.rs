//! One event and one rule: from a found pattern to a firing.

use super::event::{Event, Roots, Seen, jinja};
use super::explain::Step;
use super::firing::{Firing, What, absent_for};
use super::keyed::Key;
use super::led;
use super::length;
use super::limit::{self, Verdict};
use super::lines::Role;
use super::machine::{Machine, Output, TELL_AGAIN_MILLIS};
use super::quiet;
use super::several::Several;
use super::state::{HELD_MAX, WhenState, absent_rule, count_rule};
use crate::compiled::{self, Expression, Rule, When};
use crate::model::{EngineEvent, Fire, Quieted};
use minijinja::{Environment, Value};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

/// A firing in the making.
struct Fired {
    what: What,
    key: Key,
    /// The event that it is about; of several the last.
    seen: Seen,
    /// What it has beyond that event.
    own: Map<String, Json>,
    at: i64,
    /// It comes of the time and of no event.
    is_timed: bool,
}

impl Machine {
    /// An event in which the patterns of a rule were found.
    pub(super) fn offer(
        &mut self,
        number: usize,
        role: Role,
        event: &Event,
        captures: Map<String, Json>,
        out: &mut Vec<Output>,
    ) {
        self.watch_as(role);
        let set = Arc::clone(&self.set);
        let rule = &set.rules[number];
        match self.is_wanted(number, role, event, &captures) {
            Ok(true) => {}
            Ok(false) => return,
            Err(what) => return self.failed(number, &event.source, &what, out),
        }
        self.touched.rules.insert(number);
        let seen = event.seen(captures);
        match key_of(&rule.by, &seen) {
            Ok(key) => {
                self.before_key(number, &key, event, out);
                self.states[number].counts.matched += u64::from(role == Role::Main);
                self.count(number, role, key, seen, event.arrival, out);
            }
            Err(what) => self.failed(number, &event.source, &what, out),
        }
    }

    /// Whether the expressions of a rule say yes.
    fn is_wanted(
        &mut self,
        number: usize,
        role: Role,
        event: &Event,
        captures: &Map<String, Json>,
    ) -> Result<bool, String> {
        let set = Arc::clone(&self.set);
        let rule = &set.rules[number];
        let (condition, unless) = match (&rule.when, role) {
            (When::Pair { until, .. }, Role::Until) => (&until.condition, &None),
            _ => (&rule.condition, &rule.unless),
        };
        if condition.is_none() && unless.is_none() {
            return Ok(true);
        }
        let roots = Roots::value(vec![
            jinja(captures),
            event.value(),
            self.define.clone(),
            self.flags_value(),
        ]);
        for (expression, word, wanted) in
            [(condition, "if", true), (unless, "unless", false)]
        {
            let Some(expression) = expression else { continue };
            let answer = ask(&set.templates, expression, word, &roots, &event.id);
            let goes_on = answer.as_ref().is_ok_and(|it| *it == wanted);
            // What fails is told with the rest of it.
            if let Ok(answer) = answer {
                self.tell(number, || {
                    Step::asked(word, expression, answer, goes_on, &set.templates, &roots)
                });
            }
            if !goes_on {
                return answer.map(|_| false);
            }
        }
        Ok(true)
    }

    /// Hands the event to `when` and `settle`.
    fn count(
        &mut self,
        number: usize,
        role: Role,
        key: Key,
        seen: Seen,
        now: i64,
        out: &mut Vec<Output>,
    ) {
        let set = Arc::clone(&self.set);
        let rule = &set.rules[number];
        let told = if self.watch.is_some() { key.clone() } else { Key::default() };
        let state = &mut self.states[number];
        let event = |what, key, seen: Seen, own| {
            let at = seen.time;
            Fired { what, key, seen, own, at, is_timed: false }
        };
        let fired = match (&rule.when, &mut state.when) {
            (When::Each, _) => match rule.settle {
                Some(settle) => {
                    state.settle.settle(length(settle), key, seen, now);
                    None
                }
                None => Some(event(What::Do, key, seen, Map::new())),
            },
            (When::Count { distinct, .. }, WhenState::Count(count)) => {
                let differs =
                    match distinct.as_ref().map(|it| text_at(it, &seen)).transpose() {
                        Ok(differs) => differs,
                        Err(what) => {
                            let source = seen.source;
                            return self.failed(number, &source, &what, out);
                        }
                    };
                let Some(meant) = count_rule(&rule.when) else { return };
                let several = count.see(meant, key.clone(), seen, differs);
                several.map(|it| event(What::Do, key, it.last.clone(), it.roots()))
            }
            (When::Absent { .. }, WhenState::Absent(absent)) => {
                let Some(meant) = absent_rule(&rule.when) else { return };
                let back = absent.see(meant, key, seen, now);
                back.filter(|_| !rule.on_return.is_empty()).map(|told| {
                    let own = one("absent_for", absent_for(told.absent_for));
                    event(What::Return, told.key, told.seen, own)
                })
            }
            (When::Pair { within, fire, .. }, WhenState::Pair(pair)) => match role {
                Role::Until => pair.end(length(*within), &key, &seen).and_then(|start| {
                    let mut own = one("start", start.whole());
                    own.insert("end".to_owned(), seen.whole());
                    (*fire == Fire::IfSeen).then(|| event(What::Do, key, seen, own))
                }),
                Role::Main => {
                    pair.begin(length(*within), key, seen, now);
                    None
                }
            },
            (When::Digest { every, keep }, WhenState::Digest(digest)) => {
                digest.see(length(*every), *keep as usize, key, seen, now);
                None
            }
            _ => None,
        };
        if self.watch.is_some()
            && let Some(step) =
                Step::counted(rule, &self.states[number], role, &told, fired.is_some())
        {
            self.tell(number, || step);
        }
        self.tell_evicted(number, out);
        if let Some(fired) = fired {
            self.fire(number, fired, out);
        }
    }

    /// What happens to a rule at this instant without an event: one thing, to one of its
    /// keys, or to this one.
    pub(super) fn happen(
        &mut self,
        number: usize,
        only: Option<&Key>,
        at: i64,
        out: &mut Vec<Output>,
    ) {
        self.touched.rules.insert(number);
        let set = Arc::clone(&self.set);
        let rule = &set.rules[number];
        let state = &mut self.states[number];
        if only.is_none() && state.held_until.is_some_and(|until| until <= at) {
            return self.release(number, at, out);
        }
        let timed = |at, key, seen, own| {
            Some(Fired { what: What::Do, key, seen, own, at, is_timed: true })
        };
        let several = |(at, key, it): (i64, Key, Several)| {
            timed(at, key, it.last.clone(), it.roots())
        };
        let fired = match &mut state.when {
            WhenState::Absent(absent) => absent_rule(&rule.when)
                .and_then(|meant| absent.tick(meant, only, at))
                .and_then(|told| {
                    let own = one("absent_for", absent_for(told.absent_for));
                    timed(told.at, told.key, told.seen, own)
                }),
            WhenState::Pair(pair) => pair.tick(only, at).and_then(|(at, key, start)| {
                let is_wanted =
                    matches!(rule.when, When::Pair { fire: Fire::IfMissing, .. });
                let own = one("start", start.whole());
                if is_wanted { timed(at, key, start, own) } else { None }
            }),
            WhenState::Digest(digest) => digest.tick(only, at).and_then(several),
            WhenState::Each => state.settle.tick(only, at).and_then(several),
            WhenState::Count(_) => None,
        };
        if let Some(fired) = fired {
            self.fire(number, fired, out);
        }
    }

    /// A rule fired: `limit` and `quiet` say what becomes of it.
    fn fire(&mut self, number: usize, mut fired: Fired, out: &mut Vec<Output>) {
        let set = Arc::clone(&self.set);
        let rule = &set.rules[number];
        if let Some(limit) = &rule.limit
            && fired.what == What::Do
        {
            let mut all = fired.seen.clone();
            all.captures.extend(fired.own.clone());
            let key = match key_of(&limit.by, &all) {
                Ok(key) => key,
                Err(what) => return self.failed(number, &all.source, &what, out),
            };
            let meant =
                limit::Rule { times: limit.times as usize, per: length(limit.per) };
            let told = if self.watch.is_some() { key.clone() } else { Key::default() };
            let verdict = self.states[number].limit.ask(meant, key, fired.at);
            if self.watch.is_some()
                && let Some(step) = Step::limited(rule, &told, verdict)
            {
                self.tell(number, || step);
            }
            self.tell_evicted(number, out);
            let suppressed = match verdict {
                Verdict::Passes { suppressed } => suppressed,
                Verdict::First => 1,
                Verdict::Swallowed => 0,
            };
            fired.own.insert("suppressed".to_owned(), suppressed.into());
            if !matches!(verdict, Verdict::Passes { .. }) {
                self.states[number].counts.suppressed += 1;
                if verdict != Verdict::First || limit.then.is_empty() {
                    return;
                }
                fired.what = What::Then;
            }
        }
        let firing = self.firing(rule, fired);
        self.send(number, firing, out);
    }

    fn firing(&self, rule: &Rule, fired: Fired) -> Firing {
        let Fired { what, key, seen, own, at, is_timed } = fired;
        let mut id = format!("{}/{}", seen.id, rule.name);
        if is_timed {
            id += &format!("/{at}");
        }
        match what {
            What::Then => id += "/then",
            What::Return => id += "/return",
            What::Do | What::Failure => {}
        }
        let mut all = seen.captures;
        all.extend(own);
        Firing {
            rule: rule.name.to_string(),
            what,
            // One event may come due again and again.
            // What comes of the time begins anew, unless others led to it: each of many
            // that wait would be a beginning.
            origin: if is_timed && seen.depth == 0 {
                led::origin(&id)
            } else {
                seen.origin
            },
            id,
            at,
            key,
            roots: seen.roots,
            own: all,
            flags: self.set_flags(),
            depth: seen.depth.saturating_add(1),
            more: Vec::new(),
        }
    }

    /// A line for a rule that [hands lines on](Rule::hands_on): it goes with those that came
    /// before it.
    pub(super) fn hand_on(
        &mut self,
        number: usize,
        line: &[u8],
        event: impl FnOnce(&mut Self) -> Event,
    ) -> Option<Firing> {
        let counts = &mut self.states[number].counts;
        counts.matched += 1;
        counts.fired += 1;
        self.touched.rules.insert(number);
        let Some(bundle) = self.bundles.get_mut(&number) else {
            let set = Arc::clone(&self.set);
            let seen = event(self).seen(Map::new());
            let at = seen.time;
            let (key, own) = (Key::default(), Map::new());
            let fired = Fired { what: What::Do, key, seen, own, at, is_timed: false };
            let firing = self.firing(&set.rules[number], fired);
            self.bundles.insert(number, (firing, line.len()));
            return None;
        };
        bundle.0.more.push(String::from_utf8_lossy(line).into_owned());
        bundle.1 += line.len();
        let is_full =
            bundle.0.more.len() >= TOGETHER_MAX || bundle.1 >= TOGETHER_BYTES_MAX;
        let full = if is_full { self.bundles.remove(&number) } else { None };
        full.map(|(firing, _)| firing)
    }

    /// What is to be handed on and waits for more.
    pub fn close_bundles(&mut self, out: &mut Vec<Output>) {
        let bundles = std::mem::take(&mut self.bundles);
        out.extend(bundles.into_values().map(|(it, _)| Output::Fired(Box::new(it))));
    }

    /// Hands a firing out, unless it is quiet.
    fn send(&mut self, number: usize, firing: Firing, out: &mut Vec<Output>) {
        let set = Arc::clone(&self.set);
        let quiet = set.rules[number].quiet.as_ref();
        let now = super::instant(self.clock);
        if let Some(quiet) = quiet
            && let Some(end) = quiet::end(quiet, now)
        {
            let is_dropped = quiet.then == Quieted::Drop;
            self.tell(number, || Step::quiet(&set.rules[number], end, is_dropped));
            let state = &mut self.states[number];
            if is_dropped {
                state.counts.dropped += 1;
                return;
            }
            state.counts.held += 1;
            state.held.push_back(firing);
            state.held_until = Some(super::millis(end));
            if state.held.len() > HELD_MAX {
                state.held.pop_front();
                state.counts.dropped += 1;
            }
            return;
        }
        self.states[number].counts.fired += 1;
        self.tell(number, || Step::fires(&firing.id));
        out.push(Output::Fired(Box::new(firing)));
    }

    /// The quiet time seems to be over.
    fn release(&mut self, number: usize, at: i64, out: &mut Vec<Output>) {
        let set = Arc::clone(&self.set);
        let state = &mut self.states[number];
        let quiet = set.rules[number].quiet.as_ref();
        let end = quiet.and_then(|quiet| quiet::end(quiet, super::instant(at)));
        state.held_until = end.map(super::millis);
        if end.is_none() {
            state.counts.fired += state.held.len() as u64;
            out.extend(
                state.held.drain(..).map(|firing| Output::Fired(Box::new(firing))),
            );
        }
    }

    /// An expression failed; said once in a while.
    fn failed(&mut self, number: usize, source: &str, what: &str, out: &mut Vec<Output>) {
        self.tell(number, || Step::failed(what));
        let rule = Arc::clone(&self.set.rules[number].name);
        self.touched.rules.insert(number);
        let (state, clock) = (&mut self.states[number], self.clock);
        state.counts.failed += 1;
        if state.failed_at.is_none_or(|told| clock - told >= TELL_AGAIN_MILLIS) {
            state.failed_at = Some(clock);
            let message = format!("rule `{rule}`: {what}; it passed the event by");
            self.note(EngineEvent::RuleFailed, [source, &rule], message, out);
        }
    }

    fn tell_evicted(&mut self, number: usize, out: &mut Vec<Output>) {
        let rule = Arc::clone(&self.set.rules[number].name);
        let (state, clock) = (&mut self.states[number], self.clock);
        if state.take_evicted() == 0
            || state.evicted_at.is_some_and(|told| clock - told < TELL_AGAIN_MILLIS)
        {
            return;
        }
        state.evicted_at = Some(clock);
        let message = format!(
            "rule `{rule}` counts more things apart than {} or 64 MiB hold, and forgot {} of \
             them so far, the oldest; count by a field with fewer values",
            super::KEYS_MAX,
            state.counts.evicted
        );
        self.note(EngineEvent::KeysEvicted, ["", &rule], message, out);
    }
}

/// Asks an expression about an event.
fn ask(
    templates: &Environment<'_>,
    expression: &Expression,
    word: &str,
    roots: &Value,
    id: &str,
) -> Result<bool, String> {
    let answer = expression.is_true(templates, roots.clone());
    answer.map_err(|error| {
        format!("`{word}: \"{}\"` failed on {id}: {error:#}", expression.text)
    })
}

fn one(name: &str, value: Json) -> Map<String, Json> {
    Map::from_iter([(name.to_owned(), value)])
}

/// The values of fields by which is counted apart.
fn key_of(by: &[compiled::Key], seen: &Seen) -> Result<Key, String> {
    by.iter().map(|key| text_at(key, seen)).collect::<Result<_, _>>().map(Key)
}

fn text_at(key: &compiled::Key, seen: &Seen) -> Result<String, String> {
    let missing =
        || format!("the event {} has no `{}`, by which it counts", seen.id, key.text);
    let value = seen.at(&key.path).ok_or_else(missing)?;
    let mut text = match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        value => value.to_string(),
    };
    let fits = |at: &usize| text.is_char_boundary(*at);
    let cut = (0..=KEY_BYTES_MAX.min(text.len())).rev().find(fits);
    text.truncate(cut.unwrap_or_default());
    Ok(text)
}

/// So many lines are handed on together at most, and so many bytes, but for the last line.
const TOGETHER_MAX: usize = 10_000;
const TOGETHER_BYTES_MAX: usize = 1 << 20;
/// The longest value that is told from others, in bytes; of a longer one the beginning.
const KEY_BYTES_MAX: usize = 1024;
