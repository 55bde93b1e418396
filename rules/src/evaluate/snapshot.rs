//! All that a machine remembers, in parts that are written by themselves.
//!
//! A part is a rule's state, the flags, the descriptions of one journal, what one event led
//! to, or the clock. So
//! what is written after an event is what it touched, and not what a thousand rules count.

use super::led::Led;
use super::machine::Machine;
use super::state::RuleState;
use super::transaction::Descriptions;
use super::{instant, written};
use crate::compiled::Rule;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A part of what a machine remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The same for the same part: a newer one takes its place.
    pub name: String,
    /// What it is, as JSON.
    pub bytes: Vec<u8>,
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
        };
        self.written(&all)
    }

    /// The parts that are others since this was asked last, and the clock.
    ///
    /// # Errors
    ///
    /// As for [`parts`](Self::parts).
    pub fn take_touched(&mut self) -> Result<Vec<Part>, SnapshotError> {
        let touched = std::mem::take(&mut self.touched);
        self.written(&touched)
    }

    /// Whether [`take_touched`](Self::take_touched) has something that matters: a clock
    /// that somebody else turns does not.
    pub fn is_touched(&self) -> bool {
        let touched = &self.touched;
        touched.flags
            || touched.clock
            || touched.led
            || !touched.rules.is_empty()
            || !touched.descriptions.is_empty()
    }

    fn written(&self, touched: &Touched) -> Result<Vec<Part>, SnapshotError> {
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
            let written = WrittenRule { fingerprint: print(rule), state };
            parts.push(part(format!("{RULE}{}", rule.name), &written)?);
        }
        Ok(parts)
    }

    /// Takes over what was remembered by the rules of before that have the same name and
    /// meaning. The others begin anew, but what they hold back for the end of a quiet time
    /// is not forgotten.
    ///
    /// # Errors
    ///
    /// When a part cannot be understood; nothing has changed then.
    pub fn restore(&mut self, parts: &[Part]) -> Result<Restored, SnapshotError> {
        let (mut clock, mut flags) = (None::<WrittenClock>, None::<WrittenFlags>);
        let (mut descriptions, mut rules) = (BTreeMap::new(), Vec::new());
        let mut led = None::<Led>;
        for part in parts {
            if part.name == CLOCK {
                // It goes on where it was: what happened since is still to come.
                clock = Some(read(part)?);
            } else if part.name == FLAGS {
                flags = Some(read(part)?);
            } else if part.name == LED {
                led = Some(read(part)?);
            } else if let Some(source) = part.name.strip_prefix(DESCRIPTIONS) {
                let known: Option<Descriptions> = read(part)?;
                descriptions.insert(source.to_owned(), known.unwrap_or_default());
            } else if let Some(name) = part.name.strip_prefix(RULE) {
                rules.push((name.to_owned(), read::<ReadRule>(part)?));
            } else {
                let name = &part.name;
                return Err(SnapshotError(format!("nobody knows the part `{name}`")));
            }
        }
        let now = instant(self.clock);
        self.is_fresh &= parts.is_empty();
        if let Some(clock) = clock {
            (self.clock, self.is_fresh) = (clock.at, clock.is_fresh);
            (self.noted, self.skewed) = (clock.noted, clock.skewed);
            (self.ring_at, self.carried) = (clock.ring_at, clock.carried);
        }
        self.flags = flags.map_or_else(BTreeMap::new, |it| it.0);
        self.descriptions = descriptions;
        self.led = led.unwrap_or_default();
        let mut restored = Restored::default();
        for (name, it) in rules {
            self.restore_rule(name, it, &mut restored);
        }
        // A time that is not over was never: this machine's clock was ahead.
        self.set_back(now);
        Ok(restored)
    }

    fn restore_rule(&mut self, name: String, it: ReadRule, restored: &mut Restored) {
        let ReadRule { fingerprint, state } = it;
        let found = self.set.rules.iter().position(|rule| *rule.name == *name);
        let Some(number) = found else {
            restored.lost += state.held.len();
            restored.gone.push(name);
            return;
        };
        if fingerprint == print(&self.set.rules[number]) {
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
    Ok(Part { name, bytes })
}

fn read<T: DeserializeOwned>(part: &Part) -> Result<T, SnapshotError> {
    serde_json::from_slice(&part.bytes)
        .map_err(|error| SnapshotError::of(&part.name, &error))
}

fn print(rule: &Rule) -> String {
    rule.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect()
}
