//! All that a machine remembers, as bytes.

use super::machine::Machine;
use super::state::RuleState;
use super::transaction::Descriptions;
use super::{instant, millis};
use crate::compiled::Rule;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// The bytes are no snapshot.
#[derive(Debug, thiserror::Error)]
#[error("the state of the rules cannot be read: {0}; without it they begin anew")]
pub struct SnapshotError(String);

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    clock: i64,
    flags: &'a BTreeMap<String, i64>,
    descriptions: &'a BTreeMap<String, Descriptions>,
    rules: Vec<(&'a str, String, &'a RuleState)>,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    clock: i64,
    flags: BTreeMap<String, i64>,
    descriptions: BTreeMap<String, Descriptions>,
    rules: Vec<(String, String, RuleState)>,
}

const VERSION: u32 = 1;

impl Machine {
    /// All that it remembers.
    ///
    /// # Errors
    ///
    /// When it cannot be written, which does not happen.
    pub fn snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        let rules = self.set.rules.iter().zip(&self.states);
        let written = Written {
            version: VERSION,
            clock: self.clock,
            flags: &self.flags,
            descriptions: &self.descriptions,
            rules: rules.map(|(rule, state)| (&*rule.name, print(rule), state)).collect(),
        };
        serde_json::to_vec(&written).map_err(|error| SnapshotError(error.to_string()))
    }

    /// Takes over what was remembered by the rules of before that have the same name and
    /// meaning. The others begin anew, but what they hold back for the end of a quiet time
    /// is not forgotten.
    ///
    /// # Errors
    ///
    /// When these bytes are no snapshot; nothing has changed then.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<Restored, SnapshotError> {
        let read: Read = serde_json::from_slice(bytes)
            .map_err(|error| SnapshotError(error.to_string()))?;
        if read.version != VERSION {
            return Err(SnapshotError("another version of Tripline wrote it".to_owned()));
        }
        self.clock = self.clock.max(read.clock);
        self.flags = read.flags;
        self.descriptions = read.descriptions;
        let mut restored = Restored::default();
        for (name, fingerprint, state) in read.rules {
            let found = self.set.rules.iter().position(|rule| *rule.name == *name);
            let Some(number) = found else {
                restored.lost += state.held.len();
                restored.gone.push(name);
                continue;
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
            // A rule that is no longer quiet lets go of them at the next tick.
            let state = &mut self.states[number];
            if !state.held.is_empty() && state.held_until.is_none() {
                state.held_until = Some(self.clock);
            }
        }
        Ok(restored)
    }

    /// The latest time that it was given.
    pub fn clock(&self) -> Timestamp {
        instant(self.clock.max(millis(Timestamp::UNIX_EPOCH)))
    }
}

fn print(rule: &Rule) -> String {
    rule.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect()
}
