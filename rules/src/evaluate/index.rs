//! Which rules look at an event.

use super::event::{Event, Facts};
use super::lines::{LineIndex, Role, lookers};
use super::matching::roles;
use crate::compiled::{RuleSet, Trigger};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rules by what they look at.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By the name of the source, made when its first lines come.
    lines: BTreeMap<String, Arc<LineIndex>>,
    /// The same, by who looks: many sources may be looked at by the same rules.
    by_lookers: BTreeMap<Vec<super::lines::Looker>, Arc<LineIndex>>,
    /// Rules that look at no lines, or at others too: which, and as what.
    others: BTreeSet<(usize, Role)>,
    /// The tables that rules ask for.
    tables: BTreeSet<String>,
    /// A rule looks at all transactions.
    wants_all_tables: bool,
    /// A rule looks at transactions.
    pub(super) has_journal: bool,
    /// A rule looks at submits: descriptions are learned before these come.
    pub(super) learns: bool,
}

impl Index {
    pub(super) fn new(set: &RuleSet) -> Self {
        let learns = set.files.iter().any(|file| file.mentions_submit);
        let mut index = Self { learns, ..Self::default() };
        for (number, rule) in set.rules.iter().enumerate().filter(|(_, it)| it.enabled) {
            for (role, triggers) in roles(rule) {
                for trigger in triggers {
                    index.others.insert((number, role));
                    if let Trigger::Journal { tables, .. } = trigger {
                        index.has_journal = true;
                        index.wants_all_tables |= tables.is_empty();
                        index.tables.extend(tables.iter().cloned());
                    }
                }
            }
        }
        index
    }

    /// The rules that look at the lines of this source.
    pub(super) fn of_lines(&mut self, set: &RuleSet, source: &str) -> Arc<LineIndex> {
        if let Some(known) = self.lines.get(source) {
            return Arc::clone(known);
        }
        if self.lines.len() >= SOURCES_MAX {
            self.lines.clear();
        }
        let lookers = lookers(set, source);
        let made = self
            .by_lookers
            .entry(lookers)
            .or_insert_with_key(|lookers| Arc::new(LineIndex::new(set, lookers.clone())));
        self.lines.insert(source.to_owned(), Arc::clone(made));
        Arc::clone(made)
    }

    /// The tables that matter; `None` for all.
    pub(super) fn tables(&self) -> Option<Vec<&str>> {
        match (self.wants_all_tables, self.has_journal) {
            (true, _) => None,
            (false, false) => Some(Vec::new()),
            (false, true) => {
                let descriptions = self.learns.then_some("db.desc");
                Some(self.tables.iter().map(String::as_str).chain(descriptions).collect())
            }
        }
    }

    /// Whether a rule may want a transaction with rows of this table.
    pub(super) fn wants_table(&self, table: &str) -> bool {
        self.wants_all_tables || self.tables.contains(table)
    }

    /// The rules that look at this event, the second events of pairs first; and whether
    /// they look at the whole line.
    pub(super) fn of_event(
        &self,
        set: &RuleSet,
        event: &Event,
    ) -> Vec<(usize, Role, bool)> {
        let fitting = |&(number, role): &(usize, Role)| {
            let rule = set.rules.get(number)?;
            let (_, triggers) = roles(rule).find(|(it, _)| *it == role)?;
            let trigger = triggers.iter().find(|trigger| fits(trigger, event))?;
            let is_whole = matches!(trigger, Trigger::Lines { whole: true, .. });
            Some((number, role, is_whole))
        };
        let mut found: Vec<_> = self.others.iter().filter_map(fitting).collect();
        found.sort_by_key(|(number, role, _)| (*number, std::cmp::Reverse(*role)));
        found
    }
}

/// Whether a trigger is for an event.
pub(super) fn fits(trigger: &Trigger, event: &Event) -> bool {
    let is_source = |sources: &[String]| {
        sources.is_empty() || sources.contains(&event.source)
            // An event of a test need not say where it comes from.
            || event.source.is_empty() || event.source == "line" || event.source == "journal"
    };
    match (trigger, &event.facts) {
        (Trigger::Journal { sources, tables, ops }, Facts::Journal { rows }) => {
            let is_row = |(table, op): &(String, _)| {
                (tables.is_empty() || tables.contains(table))
                    && (ops.is_empty() || ops.contains(op))
            };
            let takes_any = tables.is_empty() && ops.is_empty();
            is_source(sources) && (takes_any || rows.iter().any(is_row))
        }
        (Trigger::Lines { sources, programs, .. }, Facts::Line { program }) => {
            let is_program = programs.is_empty()
                || program.as_ref().is_some_and(|program| programs.contains(program));
            is_source(sources) && is_program
        }
        (Trigger::Task { rules, status }, Facts::Task { rule, status: ended }) => {
            (rules.is_empty() || rules.contains(rule))
                && (status.is_empty() || ended.is_some_and(|it| status.contains(&it)))
        }
        (Trigger::Engine { events, emitted }, Facts::Engine { event }) => match event {
            Some(event) if !events.is_empty() => events.contains(event),
            Some(_) => emitted.is_empty(),
            None => events.is_empty() && emitted.is_empty(),
        },
        (Trigger::Engine { events, emitted }, Facts::Emitted { kind }) => {
            emitted.contains(kind) || events.is_empty() && emitted.is_empty()
        }
        _ => false,
    }
}

/// The most sources whose rules are kept at hand.
const SOURCES_MAX: usize = 10_000;
