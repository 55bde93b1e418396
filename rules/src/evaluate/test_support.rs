//! What the tests of this module share.

use super::event::Seen;
use super::{Clock, Lines, Machine, Output};
use crate::compiled::RuleSet;
use crate::{Known, SourceFile, load};
use jiff::Timestamp;
use std::sync::Arc;
use tripline_api::{LineTime, Place};

/// In seconds since 1970.
pub(super) const NOON: i64 = 1_767_614_400;

/// So many seconds after noon.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(NOON + second).unwrap()
}

/// A machine with some rules, and what came out of it.
pub(super) struct Play {
    pub(super) machine: Machine,
    /// Where the next line begins.
    offset: u64,
    pub(super) out: Vec<Output>,
}

impl Play {
    pub(super) fn new(text: &str) -> Self {
        Self::of(Machine::new(rules(&format!("(rules: [{text}])")), at(0)))
    }

    pub(super) const fn of(machine: Machine) -> Self {
        Self { machine, offset: 0, out: Vec::new() }
    }

    /// Hands over a line of a source, which may carry a time.
    pub(super) fn hand(
        &mut self,
        clock: Clock,
        source: &str,
        line: &str,
        time: Option<(&LineTime, i64)>,
    ) {
        let line = format!("{line}\n");
        let start = Place { offset: self.offset, ..Place::default() };
        self.offset += line.len() as u64;
        let lines = Lines { source, start, bytes: line.as_bytes(), spans: None, time };
        self.machine.lines(&lines, clock, &mut self.out);
    }

    pub(super) fn tick(&mut self, second: i64) -> &mut Self {
        self.machine.tick(at(second), &mut self.out);
        self
    }
}

/// An event at this time.
pub(super) fn seen(time: i64) -> Seen {
    Seen {
        id: format!("x/{time}"),
        source: "x".to_owned(),
        time,
        roots: Arc::default(),
        captures: serde_json::Map::new(),
        depth: 0,
        origin: 0,
    }
}

/// The rules of a file.
pub(crate) fn rules(text: &str) -> Arc<RuleSet> {
    let loaded = load(&[SourceFile::new("test.ron", text)], &Known::default());
    let messages: Vec<_> =
        loaded.diagnostics.iter().map(|it| it.message.clone()).collect();
    Arc::new(loaded.set.unwrap_or_else(|| panic!("{messages:#?}")))
}
