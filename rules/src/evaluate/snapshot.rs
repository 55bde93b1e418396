//! All that a machine remembers, in parts that are written by themselves.
//!
//! A part is a rule's state, what it keeps for one key, the flags, the descriptions of one
//! journal, what events led to, or the clock. So what is written after an event is what it
//! touched, and not what a thousand rules count, or one of a thousand keys.

use super::by_key::{self, KEY, KeyPart, Which};
use super::led::Led;
use super::machine::Machine;
use super::state::RuleState;
use super::transaction::Descriptions;
use super::{instant, written};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// A part of what a machine remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The same for the same part: a newer one takes its place.
    pub name: String,
    /// What it is, as JSON; `None`: it is no more, and is to be forgotten.
    pub bytes: Option<Vec<u8>>,
}

/// What became of the state of another set of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Rules that go on with what they remember.
    pub kept: Vec<String>,
    /// Rules that mean something else now, and begin anew.
    pub anew: Vec<String>,
    /// Rules that are no longer there.
    pub gone: Vec<String>,
    /// Firings of those that waited for the end of a quiet time, and are lost.
    pub lost: usize,
}

/// The bytes are no part of a machine.
#[derive(Debug, thiserror::Error)]
#[error("the state of the rules cannot be read: {0}; without it they begin anew")]
pub struct SnapshotError(String);

impl SnapshotError {
    pub(super) const fn new(what: String) -> Self {
        Self(what)
    }

    /// This part of it is not what it should be.
    pub(super) fn of(what: &str, error: &serde_json::Error) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// What was touched since it was written last.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    pub(super) rules: BTreeSet<usize>,
    pub(super) flags: bool,
    pub(super) descriptions: BTreeSet<String>,
    pub(super) led: bool,
    /// The clock went with what happened before, or what is written with it is another.
    pub(super) clock: bool,
    /// Parts of what is no more: of rules that are gone or mean something else.
    pub(super) forgotten: BTreeSet<String>,
}

/// What it remembers besides what rules do.
#[derive(Serialize, Deserialize)]
struct WrittenClock {
    #[serde(deserialize_with = "written::time")]
    at: i64,
    is_fresh: bool,
    #[serde(deserialize_with = "written::count")]
    noted: u64,
    #[serde(deserialize_with = "written::times")]
    skewed: BTreeMap<String, i64>,
    #[serde(deserialize_with = "written::maybe_time")]
    ring_at: Option<i64>,
    #[serde(deserialize_with = "written::times")]
    carried: BTreeMap<String, i64>,
}

#[derive(Serialize)]
struct WrittenRule<'a> {
    fingerprint: String,
    state: &'a RuleState,
}

#[derive(Deserialize)]
struct WrittenFlags(#[serde(deserialize_with = "written::times")] BTreeMap<String, i64>);

#[derive(Deserialize)]
struct ReadRule {
    fingerprint: String,
    state: RuleState,
}

/// What parts say, before it is taken over.
#[derive(Default)]
struct Read<'p> {
    clock: Option<WrittenClock>,
    flags: Option<WrittenFlags>,
    descriptions: BTreeMap<String, Descriptions>,
    led: Option<Led>,
    rules: Vec<(String, ReadRule)>,
    /// By rule.
    keys: BTreeMap<String, Vec<KeyPart<'p>>>,
}

/// A rule that was remembered.
struct Found {
    name: String,
    /// Which it is now; `None`: it is gone.
    number: Option<usize>,
    /// It means what it meant.
    is_same: bool,
    state: RuleState,
    /// The parts of its keys, if it does not go on with them.
    forgotten: Vec<String>,
}

impl Machine {
    /// All that it remembers.
    ///
    /// # Errors
    ///
    /// When it cannot be written, which does not happen.
    pub fn parts(&self) -> Result<Vec<Part>, SnapshotError> {
        let all = Touched {
            rules: (0..self.states.len()).collect(),
            flags: true,
            descriptions: self.descriptions.keys().cloned().collect(),
            led: !self.led.is_empty(),
            clock: true,
            forgotten: BTreeSet::new(),
        };
        self.written(&all, Which::All)
    }

    /// The parts that are others since this was asked last, those that are no more, and the
    /// clock. No name is there twice.
    ///
    /// # Errors
    ///
    /// As for [`parts`](Self::parts).
    pub fn take_touched(&mut self) -> Result<Vec<Part>, SnapshotError> {
        let touched = std::mem::take(&mut self.touched);
        let parts = self.written(&touched, Which::Touched)?;
        for state in &mut self.states {
            state.by_key_mut().for_each(|(_, keyed)| keyed.is_written());
        }
        Ok(parts)
    }

    /// Whether [`take_touched`](Self::take_touched) has something that matters: a clock
    /// that somebody else turns does not, nor does a key that counts for nothing any more.
    pub fn is_touched(&self) -> bool {
        let touched = &self.touched;
        touched.flags
            || touched.clock
            || touched.led
            || !touched.rules.is_empty()
            || !touched.descriptions.is_empty()
            || !touched.forgotten.is_empty()
    }

    fn written(
        &self,
        touched: &Touched,
        which: Which,
    ) -> Result<Vec<Part>, SnapshotError> {
        let clock = WrittenClock {
            at: self.clock,
            is_fresh: self.is_fresh,
            noted: self.noted,
            skewed: self.skewed.clone(),
            ring_at: self.ring_at,
            carried: self.carried.clone(),
        };
        let mut parts = vec![part(CLOCK.to_owned(), &clock)?];
        if touched.flags {
            parts.push(part(FLAGS.to_owned(), &self.flags)?);
        }
        if touched.led {
            parts.push(part(LED.to_owned(), &self.led)?);
        }
        for source in &touched.descriptions {
            let known = self.descriptions.get(source);
            parts.push(part(format!("{DESCRIPTIONS}{source}"), &known)?);
        }
        for number in &touched.rules {
            let (rule, state) = (&self.set.rules[*number], &self.states[*number]);
            let written = WrittenRule { fingerprint: hex(&rule.fingerprint), state };
            parts.push(part(format!("{RULE}{}", rule.name), &written)?);
        }
        for (rule, state) in self.set.rules.iter().zip(&self.states) {
            for (what, keyed) in state.by_key() {
                keyed.write(&rule.name, what, which, &mut parts)?;
            }
        }
        if !touched.forgotten.is_empty() {
            let there: HashSet<&str> = parts.iter().map(|part| &*part.name).collect();
            let gone = touched.forgotten.iter().filter(|it| !there.contains(it.as_str()));
            let gone: Vec<_> = gone.cloned().collect();
            parts.extend(gone.into_iter().map(|name| Part { name, bytes: None }));
        }
        Ok(parts)
    }

    /// Takes over what was remembered by the rules of before that have the same name and
    /// meaning. The others begin anew, but what they hold back for the end of a quiet time
    /// is not forgotten. What belongs to none any more is to be forgotten: it is among what
    /// was [touched](Self::take_touched).
    ///
    /// # Errors
    ///
    /// When a part cannot be understood; nothing has changed then.
    pub fn restore(&mut self, parts: &[Part]) -> Result<Restored, SnapshotError> {
        let Read { clock, flags, descriptions, led, rules, keys } = Read::of(parts)?;
        let (found, forgotten) = self.find(rules, keys)?;
        let now = instant(self.clock);
        self.is_fresh &= parts.is_empty();
        if let Some(clock) = clock {
            // It goes on where it was: what happened since is still to come.
            (self.clock, self.is_fresh) = (clock.at, clock.is_fresh);
            (self.noted, self.skewed) = (clock.noted, clock.skewed);
            (self.ring_at, self.carried) = (clock.ring_at, clock.carried);
        }
        self.flags = flags.map_or_else(BTreeMap::new, |it| it.0);
        self.descriptions = descriptions;
        // The parts are what there is: what was not written of before is nowhere.
        self.touched.forgotten = forgotten.into_iter().collect();
        self.led = led.unwrap_or_default();
        let mut restored = Restored::default();
        for it in found {
            self.restore_rule(it, &mut restored);
        }
        self.find_waiting();
        // A time that is not over was never: this machine's clock was ahead.
        self.set_back(now);
        Ok(restored)
    }

    /// The rules of these states, which have their keys now, and names of what is of no
    /// rule.
    fn find(
        &self,
        rules: Vec<(String, ReadRule)>,
        mut keys: BTreeMap<String, Vec<KeyPart<'_>>>,
    ) -> Result<(Vec<Found>, Vec<String>), SnapshotError> {
        let all = self.set.rules.iter().enumerate();
        let numbers: HashMap<&str, usize> =
            all.map(|(number, rule)| (&*rule.name, number)).collect();
        let mut found = Vec::new();
        for (name, ReadRule { fingerprint, mut state }) in rules {
            let number = numbers.get(&*name).copied();
            let meant = number.map(|number| hex(&self.set.rules[number].fingerprint));
            let is_same = meant.is_some_and(|it| it == fingerprint);
            let own = keys.remove(&name).unwrap_or_default();
            let mut forgotten = Vec::new();
            match is_same {
                true => state.read_keys(own)?,
                false => forgotten.extend(names(own)),
            }
            found.push(Found { name, number, is_same, state, forgotten });
        }
        if let Some((rule, own)) =
            keys.iter().find(|(rule, _)| numbers.contains_key(rule.as_str()))
        {
            let part = own.first().map_or("", |part| part.name);
            let what = format!("{part}: there is no part of the rule `{rule}` itself");
            return Err(SnapshotError(what));
        }
        Ok((found, keys.into_values().flat_map(names).collect()))
    }

    fn restore_rule(&mut self, found: Found, restored: &mut Restored) {
        let Found { name, number, is_same, state, forgotten } = found;
        self.touched.forgotten.extend(forgotten);
        let Some(number) = number else {
            self.touched.forgotten.insert(format!("{RULE}{name}"));
            restored.lost += state.held.len();
            restored.gone.push(name);
            return;
        };
        if is_same {
            self.states[number] = state;
            self.expect(number);
            restored.kept.push(name);
        } else {
            let begun = &mut self.states[number];
            (begun.held, begun.held_until) = (state.held, state.held_until);
            restored.anew.push(name);
        }
        self.touched.rules.insert(number);
        // Until when is asked anew: the rule, or its calendar, may be another.
        let state = &mut self.states[number];
        if !state.held.is_empty() {
            state.held_until = Some(self.clock);
        }
    }

    /// The latest time that it was given.
    pub fn clock(&self) -> Timestamp {
        instant(self.clock)
    }
}

const CLOCK: &str = "clock";
const FLAGS: &str = "flags";
const LED: &str = "led";
const DESCRIPTIONS: &str = "descriptions/";
const RULE: &str = "rule/";

fn part(name: String, value: &impl Serialize) -> Result<Part, SnapshotError> {
    let written = serde_json::to_vec(value);
    let bytes = written.map_err(|error| SnapshotError::of(&name, &error))?;
    Ok(Part { name, bytes: Some(bytes) })
}

impl<'p> Read<'p> {
    fn of(parts: &'p [Part]) -> Result<Self, SnapshotError> {
        let (mut it, mut names) = (Self::default(), HashSet::new());
        for Part { name, bytes } in parts {
            let Some(bytes) = bytes else { continue };
            if !names.insert(name.as_str()) {
                return Err(SnapshotError(format!("the part `{name}` is there twice")));
            }
            if name == CLOCK {
                it.clock = Some(read(name, bytes)?);
            } else if name == FLAGS {
                it.flags = Some(read(name, bytes)?);
            } else if name == LED {
                it.led = Some(read(name, bytes)?);
            } else if let Some(source) = name.strip_prefix(DESCRIPTIONS) {
                let known: Option<Descriptions> = read(name, bytes)?;
                it.descriptions.insert(source.to_owned(), known.unwrap_or_default());
            } else if let Some(rule) = name.strip_prefix(RULE) {
                it.rules.push((rule.to_owned(), read(name, bytes)?));
            } else if name.starts_with(KEY) {
                let (rule, part) = by_key::of(name, bytes)?;
                it.keys.entry(rule).or_default().push(part);
            } else {
                return Err(SnapshotError(format!("nobody knows the part `{name}`")));
            }
        }
        Ok(it)
    }
}

fn read<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, SnapshotError> {
    serde_json::from_slice(bytes).map_err(|error| SnapshotError::of(name, &error))
}

fn names(parts: Vec<KeyPart<'_>>) -> impl Iterator<Item = String> {
    parts.into_iter().map(|part| part.name.to_owned())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
