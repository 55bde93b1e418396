//! One rule.

use super::{Compiler, fingerprint};
use crate::compiled::{self, BY_MAX, Key, TextMatch, Trigger};
use crate::model::{On, OnKind, Overlap, Rule, Text};
use crate::roots::{Roots, TAKEN};
use crate::types::table_names;
use std::sync::Arc;

/// The most actions of one list.
pub(super) const ACTIONS_MAX: usize = 50;
/// The longest name of a rule, in bytes.
const NAME_BYTES_MAX: usize = 100;

impl Compiler<'_> {
    /// Looks at everything in a rule; `None` if something is wrong with it.
    pub(super) fn rule(&mut self, rule: &Rule) -> Option<compiled::Rule> {
        if self.is_damaged(&rule.span) {
            return None;
        }
        let before = self.found.len();
        self.name(rule);
        let is_read = |field: &str| !rule.unread.iter().any(|it| it == field);
        let on = self.triggers(&rule.on);
        let text =
            self.text_match(rule.prefix.as_ref(), &rule.matches, &rule.unless_match);
        let mut roots = self.roots(&on);
        roots.is_partial |=
            text.is_none() || ["on", "prefix", "match"].iter().any(|it| !is_read(it));
        let text = text.unwrap_or_default();
        roots.capture(&text.captures);
        let condition =
            rule.condition.as_ref().and_then(|it| self.expression(it, &roots));
        let unless = rule.unless.as_ref().and_then(|it| self.expression(it, &roots));
        let by = self.keys("by", &rule.by, &roots);
        let mut acting = self.acting(rule, &roots);
        let when = self.when(rule, &on, &by, &roots, is_read("when"));
        acting.is_partial |= !is_read("when") || !is_read("by");
        self.fits_together(rule);
        let limit = self.limit(rule, &by, &roots, &acting);
        let quiet = self.quiet(rule);
        let actions = self.actions(&rule.actions, &acting);
        if rule.actions.is_empty() && is_read("do") && self.found.len() == before {
            self.error(
                "E005",
                rule.span.start..rule.span.start + 1,
                "this rule does nothing",
            )
            .help("write an action: do: [Mail(to: [..], subject: \"..\")]");
        }
        let on_failure = self.actions(&rule.on_failure, &Self::failing(&acting));
        let on_return = self.actions(&rule.on_return, &Self::returning(rule, &roots));
        let is_sound = self.found.len() == before && rule.unread.is_empty();
        let name = rule.name.as_ref().filter(|_| is_sound)?;
        let when = when?;
        Some(compiled::Rule {
            name: name.value.as_str().into(),
            file: self.index,
            line: self.line(rule.span.start),
            fingerprint: fingerprint::of(
                rule,
                &on,
                &text,
                &by,
                &when,
                &self.shared.define,
            ),
            enabled: rule.enabled,
            on,
            text,
            condition,
            unless,
            when,
            by,
            settle: rule.settle.as_ref().map(|it| it.value),
            limit,
            quiet,
            one_at_a_time: rule.one_at_a_time.as_ref().map(|it| it.value.as_str().into()),
            overlap: match (&rule.overlap, &rule.one_at_a_time) {
                (Some(overlap), _) => overlap.value,
                (None, Some(_)) => Overlap::Queue(100),
                (None, None) => Overlap::Parallel(4),
            },
            actions,
            on_failure,
            on_return,
        })
    }

    fn name(&mut self, rule: &Rule) {
        let Some(name) = &rule.name else { return };
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.value.is_empty()
            || name.value.len() > NAME_BYTES_MAX
            || !name.value.chars().all(is_word)
        {
            let repaired: String = name
                .value
                .chars()
                .map(|c| if is_word(c) { c } else { '-' })
                .take(NAME_BYTES_MAX)
                .collect();
            let repaired =
                if repaired.is_empty() { "my-rule".to_owned() } else { repaired };
            self.error("E043", name.span.clone(), "this cannot be the name of a rule")
                .help(format!(
                    "names are made of letters, digits, `-`, `_` and `.`: \"{repaired}\""
                ));
        }
    }

    pub(super) fn roots(&self, on: &[Trigger]) -> Roots {
        let mut roots = Roots::of(on, &self.shared.define, &self.shared.emitted);
        roots.is_partial |= self.shared.is_partial;
        roots
    }

    /// Which events, with all names looked up.
    pub(super) fn triggers(&mut self, on: &[On]) -> Vec<Trigger> {
        let mut triggers = Vec::with_capacity(on.len());
        for on in on {
            triggers.push(match &on.kind {
                OnKind::Journal { sources, tables, ops } => {
                    self.sources(sources, true);
                    self.tables(tables);
                    Trigger::Journal {
                        sources: values(sources),
                        tables: values(tables),
                        ops: ops.iter().map(|it| it.value).collect(),
                    }
                }
                OnKind::Lines { sources, programs, whole } => {
                    self.sources(sources, false);
                    Trigger::Lines {
                        sources: values(sources),
                        programs: values(programs),
                        whole: *whole,
                    }
                }
                OnKind::Task { rules, status } => {
                    for name in rules {
                        self.known_rule(name);
                    }
                    let status = status.iter().map(|it| it.value).collect();
                    Trigger::Task { rules: values(rules), status }
                }
                OnKind::Engine { events, emitted } => {
                    for kind in emitted {
                        self.known_kind(kind);
                    }
                    Trigger::Engine {
                        events: events.iter().map(|it| it.value).collect(),
                        emitted: values(emitted),
                    }
                }
            });
        }
        triggers
    }

    fn sources(&mut self, sources: &[Text], is_journal: bool) {
        let shared = self.shared;
        let Some(known) = &shared.sources else { return };
        for name in sources {
            match known.iter().find(|(it, _)| *it == name.value) {
                Some((_, it)) if *it == is_journal => {}
                Some(_) => {
                    let (is, not) = match is_journal {
                        true => ("lines", "Lines"),
                        false => ("a journal", "Journal"),
                    };
                    let message = format!("the source `{}` has {is}", name.value);
                    self.error("E042", name.span.clone(), message)
                        .help(format!("write on: {not}(source: \"{}\")", name.value));
                }
                None => {
                    let fitting = known.iter().filter(|(_, it)| *it == is_journal);
                    let names = fitting.map(|(name, _)| name.as_str());
                    self.unknown("E042", "source", name, names, "add one to `sources`");
                }
            }
        }
    }

    fn tables(&mut self, tables: &[Text]) {
        for table in tables {
            let known = table_names();
            if known.contains(&table.value.as_str()) {
                continue;
            }
            let prefixed = format!("db.{}", table.value);
            if known.contains(&prefixed.as_str()) {
                let message = format!("there is no table named `{}`", table.value);
                self.error("E032", table.span.clone(), message)
                    .label(format!("did you mean `{prefixed}`?"))
                    .help(format!("write \"{prefixed}\""));
                continue;
            }
            self.unknown("E032", "table", table, known.iter().copied(), "");
        }
    }

    pub(super) fn known_rule(&mut self, name: &Text) {
        let shared = self.shared;
        if !shared.rules.contains(&name.value) && !shared.is_partial {
            let known = shared.rules.iter().map(String::as_str);
            self.unknown("E043", "rule", name, known, "write one with that name");
        }
    }

    fn known_kind(&mut self, kind: &Text) {
        let shared = self.shared;
        if !shared.emitted.contains_key(&kind.value) && !shared.is_partial {
            let known = shared.emitted.keys().map(String::as_str);
            let none = "no rule emits anything: write Emit(kind: \"..\") in one";
            self.unknown("E043", "kind of `Emit`", kind, known, none);
        }
    }

    /// The fields by which is counted apart.
    pub(super) fn keys(&mut self, field: &str, by: &[Text], roots: &Roots) -> Vec<Key> {
        if by.len() > BY_MAX {
            let message = format!("`{field}` has at most {BY_MAX} fields");
            self.error("E013", by[BY_MAX].span.clone(), message)
                .help("leave some of them out");
        }
        by.iter().map(|text| self.key(field, text, roots)).collect()
    }

    pub(super) fn key(&mut self, field: &str, text: &Text, roots: &Roots) -> Key {
        if let Err(part) = roots.path(&text.value) {
            let known: Vec<&str> = roots.captures.iter().map(String::as_str).collect();
            let candidates = known.iter().copied().chain(["event.host", "event.source"]);
            let meant = tripline_diagnose::words::did_you_mean(&text.value, candidates);
            let message = match part == text.value {
                true => format!("{field}: no field or capture is named `{part}`"),
                false => format!("{field}: there is no `{part}` in `{}`", text.value),
            };
            let help = match known.as_slice() {
                [] => {
                    "the rule captures nothing; fields are event.host, event.source, .."
                        .into()
                }
                known => format!(
                    "captures are {}; fields are event.host, event.source, ..",
                    known.join(", ")
                ),
            };
            self.error("E031", text.span.clone(), message)
                .label(meant.map(crate::read::did_you_mean).unwrap_or_default())
                .help(help);
        }
        Key {
            text: text.value.as_str().into(),
            path: text.value.split('.').map(Arc::from).collect(),
        }
    }

    /// Fields that say nothing together, or contradict each other.
    fn fits_together(&mut self, rule: &Rule) {
        use crate::model::When;
        let is_each =
            rule.when.as_ref().is_none_or(|when| matches!(when.value, When::Each));
        let is_absent = rule
            .when
            .as_ref()
            .is_some_and(|when| matches!(when.value, When::Absent { .. }));
        if let (Some(settle), false) = (&rule.settle, is_each) {
            self.error("E045", settle.span.clone(), "`settle` does not go with `when`")
                .help("leave one of them out: `Digest` collects too");
        }
        if let (Some(action), false) = (
            rule.on_return.first(),
            is_absent || rule.unread.iter().any(|it| it == "when"),
        ) {
            self.error(
                "E045",
                action.word.clone(),
                "`on_return` goes with `Absent` only",
            )
            .help("write when: Absent(for: \"5m\"), or take it away");
        }
        if let (Some(overlap), Some(_)) = (&rule.overlap, &rule.one_at_a_time)
            && matches!(overlap.value, Overlap::Parallel(_))
        {
            let message = "`Parallel` and `one_at_a_time` contradict each other";
            self.error("E045", overlap.span.clone(), message)
                .help("write Queue(100) or Skip, or take `one_at_a_time` away");
        }
        let is_lines = |on: &On| matches!(on.kind, OnKind::Lines { .. });
        let pattern =
            rule.prefix.iter().chain(&rule.matches).chain(&rule.unless_match).next();
        if let (Some(pattern), false) =
            (pattern, rule.on.iter().any(is_lines) || rule.on.is_empty())
        {
            self.error("E045", pattern.span.clone(), "patterns are for lines of logs").help(
                "write an expression: if: \"submit and 'hotfix' in submit.description\"",
            );
        }
    }

    /// What `match` of a pair's second event captures.
    pub(super) fn second(&mut self, matches: &[Text]) -> Option<TextMatch> {
        self.text_match(None, matches, &[])
    }

    pub(super) fn is_a_root(name: &str) -> bool {
        TAKEN.contains(&name)
    }
}

fn values(texts: &[Text]) -> Vec<String> {
    texts.iter().map(|text| text.value.clone()).collect()
}
