//! What is sound and yet probably not meant. Looked at when nothing is wrong.

use super::Sheet;
use crate::expression::is_template;
use crate::model::{Action, ActionKind, OnKind, Rule, RuleFile, Text, When};
use std::ops::Range;
use tripline_diagnose::Diagnostic;

/// All actions of a rule.
pub(super) fn actions_of(rule: &Rule) -> impl Iterator<Item = &Action> {
    let then = rule.limit.iter().flat_map(|it| &it.then);
    rule.actions.iter().chain(&rule.on_failure).chain(&rule.on_return).chain(then)
}

/// The warnings of a file.
pub(super) fn file(file: &RuleFile, sheets: &[Sheet]) -> Vec<Diagnostic> {
    let mut lint = Lint { file, sheets, found: Vec::new() };
    for rule in &file.rules {
        lint.rule(rule);
    }
    lint.found
}

struct Lint<'a> {
    file: &'a RuleFile,
    sheets: &'a [Sheet],
    found: Vec<Diagnostic>,
}

impl Lint<'_> {
    fn warn(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Diagnostic {
        let mut diagnostic = Diagnostic::warning(&self.file.source, span, message);
        diagnostic.code(code).help(help);
        self.found.push(diagnostic);
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    fn rule(&mut self, rule: &Rule) {
        let Some(name) = &rule.name else { return };
        self.untested(rule, name);
        self.never(rule);
        self.every_transaction(rule);
        self.flood(rule);
        self.own_output(rule, name);
        self.same_twice(rule, name);
        for pattern in rule.matches.iter().chain(&rule.unless_match) {
            self.begins_with_anything(pattern);
        }
        for action in actions_of(rule) {
            self.program(action);
        }
    }

    fn untested(&mut self, rule: &Rule, name: &Text) {
        let kinds: Vec<&str> = actions_of(rule).map(|it| self.word(it)).collect();
        let tests = &self.file.tests;
        let is_tested = tests.iter().any(|test| {
            test.expect.iter().any(|it| match &it.rule {
                Some(rule) => rule.value == name.value,
                None => kinds.contains(&it.kind.as_str()),
            })
        });
        if !is_tested {
            self.warn(
                "W010",
                name.span.clone(),
                format!("rule `{}` has no test", name.value),
                "write one in `tests`: (name: \"..\", given: [Lines(text: \"..\")], expect: [..])",
            );
        }
    }

    fn never(&mut self, rule: &Rule) {
        if let (Some(condition), Some(unless)) = (&rule.condition, &rule.unless)
            && condition.value == unless.value
        {
            self.warn(
                "W011",
                unless.span.clone(),
                "this rule can never fire",
                "leave `if` or `unless` out: they are the same",
            )
            .also(condition.span.clone(), "the same");
        }
        for both in &rule.matches {
            if let Some(none) = rule.unless_match.iter().find(|it| it.value == both.value)
            {
                self.warn(
                    "W011",
                    none.span.clone(),
                    "what this finds is looked for in `match`, and excluded here",
                    "leave one of them out",
                )
                .also(both.span.clone(), "the same");
            }
        }
    }

    fn every_transaction(&mut self, rule: &Rule) {
        for on in &rule.on {
            if let OnKind::Journal { tables, .. } = &on.kind
                && tables.is_empty()
            {
                self.warn(
                    "W015",
                    on.span.clone(),
                    "this looks at every transaction, also at those of a `p4 sync`",
                    "say which tables: table: \"db.change\"",
                );
            }
        }
    }

    fn flood(&mut self, rule: &Rule) {
        let is_each = rule.when.as_ref().is_none_or(|it| matches!(it.value, When::Each));
        let is_lines = rule.on.iter().any(|it| matches!(it.kind, OnKind::Lines { .. }));
        if !is_each || !is_lines || rule.limit.is_some() || rule.settle.is_some() {
            return;
        }
        for action in &rule.actions {
            if matches!(action.kind, Some(ActionKind::Mail { .. })) {
                self.warn(
                    "W014",
                    action.word.clone(),
                    "a flood of lines would be a flood of mails",
                    "add limit: (times: 1, per: \"10m\"), or when: Digest(every: \"15m\")",
                );
            }
        }
    }

    fn begins_with_anything(&mut self, pattern: &Text) {
        if pattern.value.starts_with(".*") || pattern.value.starts_with("^.*") {
            let start = crate::read::place_in(&self.file.source, pattern, 0);
            let end = crate::read::place_in(
                &self.file.source,
                pattern,
                pattern.value.find('*').map_or(0, |at| at + 1),
            );
            self.warn(
                "W013",
                start..end,
                "a pattern is found anywhere, so this only makes it slower",
                "take it away",
            );
        }
    }

    fn program(&mut self, action: &Action) {
        let Some(ActionKind::Exec { run, .. }) = &action.kind else { return };
        if action.timeout.is_none() {
            self.warn(
                "W012",
                action.word.clone(),
                "this program may take 10 minutes",
                "say how long it may take: timeout: \"10m\"",
            );
        }
        for (index, argument) in run.iter().enumerate().skip(1) {
            if run[..index].iter().any(|it| it.value == "--") {
                break;
            }
            // What stands behind an option is its value, whatever it begins with.
            let is_value = run[index - 1].value.starts_with('-');
            let begins = argument.value.trim_start().starts_with("{{");
            if begins && !is_value && is_template(&argument.value) {
                self.warn(
                    "W021",
                    argument.span.clone(),
                    "what begins with `-` in an event would be an option here",
                    format!("put \"--\" in front of it: \"--\", {:?}", argument.value),
                );
            }
        }
    }

    /// A rule that reacts to what it emits, itself or by way of others.
    fn own_output(&mut self, rule: &Rule, name: &Text) {
        let rules: Vec<&Rule> =
            self.sheets.iter().flat_map(|it| &it.model.rules).collect();
        let mut seen: Vec<&str> = Vec::new();
        let mut open: Vec<&Rule> = vec![rule];
        while let Some(next) = open.pop() {
            for kind in emits(next) {
                if seen.contains(&kind) {
                    continue;
                }
                seen.push(kind);
                if listens(rule, kind) {
                    self.warn(
                        "W022",
                        name.span.clone(),
                        format!("rule `{}` reacts to what follows from it", name.value),
                        format!("emit another kind than \"{kind}\", or add a limit and an `if`"),
                    );
                    return;
                }
                open.extend(rules.iter().filter(|it| listens(it, kind)));
            }
        }
    }

    fn same_twice(&mut self, rule: &Rule, name: &Text) {
        // Each rule is compared with each, so nothing is copied for that.
        let place = |it: &Rule| it.name.as_ref().map(|it| it.span.start);
        let is_same = |other: &&Rule| {
            !rule.matches.is_empty()
                && place(other) < place(rule)
                && texts(&other.matches).eq(texts(&rule.matches))
                && texts(&other.unless_match).eq(texts(&rule.unless_match))
                && texts(&other.condition).eq(texts(&rule.condition))
                && texts(&other.unless).eq(texts(&rule.unless))
                && texts(&other.prefix).eq(texts(&rule.prefix))
                && self.written(other).eq(self.written(rule))
        };
        let first = self.file.rules.iter().find(is_same);
        let Some(first) = first.and_then(|it| it.name.clone()) else { return };
        self.warn(
            "W023",
            name.span.clone(),
            format!("rule `{}` looks for the same as `{}`", name.value, first.value),
            "make one rule of them, with the actions of both",
        )
        .also(first.span, "the first one");
    }

    /// `on` and `when`, as they are written.
    fn written<'f>(&'f self, rule: &'f Rule) -> impl Iterator<Item = &'f str> {
        let spans =
            rule.on.iter().map(|it| &it.span).chain(rule.when.iter().map(|it| &it.span));
        let text = &self.file.source.text;
        spans.map(|span| text.get(span.clone()).unwrap_or_default())
    }

    fn word(&self, action: &Action) -> &str {
        self.file.source.text.get(action.word.clone()).unwrap_or_default()
    }
}

fn texts<'r>(texts: impl IntoIterator<Item = &'r Text>) -> impl Iterator<Item = &'r str> {
    texts.into_iter().map(|it| it.value.as_str())
}

fn emits(rule: &Rule) -> impl Iterator<Item = &str> {
    actions_of(rule).filter_map(|it| match &it.kind {
        Some(ActionKind::Emit { kind, .. }) => kind.as_ref().map(|it| it.value.as_str()),
        _ => None,
    })
}

fn listens(rule: &Rule, kind: &str) -> bool {
    rule.on.iter().any(|it| match &it.kind {
        OnKind::Engine { emitted, .. } => emitted.iter().any(|it| it.value == kind),
        _ => false,
    })
}
