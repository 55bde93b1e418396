//! Tests: the names in them.

use super::Compiler;
use super::lint::actions_of;
use crate::compiled;
use crate::language::{ACTIONS, Block};
use crate::model::{Expected, Given, OnKind, RuleFile, Test, Text};
use std::collections::BTreeSet;

impl Compiler<'_> {
    /// The tests of a file that are sound.
    pub(super) fn tests(&mut self, file: &RuleFile) -> Vec<compiled::Test> {
        let mut names: Vec<&Text> = Vec::new();
        let mut tests = Vec::with_capacity(file.tests.len());
        for test in &file.tests {
            if self.is_damaged(&test.span) {
                continue;
            }
            let before = self.found.len();
            if let Some(name) = &test.name {
                if let Some(first) = names.iter().find(|it| it.value == name.value) {
                    let first = first.span.clone();
                    let message = format!("there are two tests named `{}`", name.value);
                    self.error("E041", name.span.clone(), message)
                        .also(first, "the first one")
                        .help("say in each name what this one shows");
                }
                names.push(name);
            }
            self.given(file, test);
            self.pretended(file, test);
            test.expect.iter().for_each(|it| self.expected(file, it));
            if self.found.len() > before {
                continue;
            }
            let Some(name) = &test.name else { continue };
            tests.push(compiled::Test {
                name: name.value.clone(),
                file: self.index,
                line: self.line(test.span.start),
                written: test.clone(),
            });
        }
        tests
    }

    fn given(&mut self, file: &RuleFile, test: &Test) {
        let sources = sources_of(file);
        for given in &test.given {
            let Given::Lines { source, .. } = &given.value else { continue };
            match source {
                None if sources.len() > 1 => {
                    let known: Vec<&str> = sources.iter().copied().collect();
                    let message = "the rules of this file listen to several sources";
                    self.error("E046", given.span.clone(), message).help(format!(
                        "say which one: source: \"{}\"",
                        known.join("\" or \"")
                    ));
                }
                Some(name)
                    if !sources.contains(name.value.as_str()) && !sources.is_empty() =>
                {
                    let known = sources.iter().copied();
                    self.unknown(
                        "E042",
                        "source in the rules of this file",
                        name,
                        known,
                        "",
                    );
                }
                _ => {}
            }
        }
    }

    fn pretended(&mut self, file: &RuleFile, test: &Test) {
        let actions: Vec<_> = file.rules.iter().flat_map(actions_of).collect();
        let ids: BTreeSet<&str> = actions
            .iter()
            .filter_map(|it| it.id.as_ref())
            .map(|it| it.value.as_str())
            .collect();
        for (id, _) in &test.pretend {
            if !ids.contains(id.value.as_str()) {
                let none = "give the action that is meant an id: id: \"..\"";
                self.unknown("E043", "action", id, ids.iter().copied(), none);
            }
        }
    }

    fn expected(&mut self, file: &RuleFile, expected: &Expected) {
        if let Some(name) = &expected.rule {
            let names = file.rules.iter().filter_map(|it| it.name.as_ref());
            let known: Vec<&str> = names.map(|it| it.value.as_str()).collect();
            if !known.contains(&name.value.as_str()) {
                self.unknown("E043", "rule in this file", name, known.into_iter(), "");
            }
        }
        let Some(block) = ACTIONS.iter().find(|it| it.word == expected.kind) else {
            return;
        };
        for (name, _) in &expected.fields {
            let is_open = block.others == crate::language::Others::Kept;
            if block.field(&name.value).is_none() && !is_open {
                self.no_such_field(block, name);
            }
        }
    }

    fn no_such_field(&mut self, block: &Block, name: &Text) {
        let known = || block.all_fields().map(|it| it.name);
        let meant = tripline_diagnose::words::did_you_mean(&name.value, known());
        let message = format!("{} has no field `{}`", block.title, name.value);
        let help = format!("its fields are {}", tripline_diagnose::words::list(known()));
        self.error("E003", name.span.clone(), message)
            .label(meant.map(crate::read::did_you_mean).unwrap_or_default())
            .help(help);
    }
}

/// The names of the sources that the rules of a file listen to.
fn sources_of(file: &RuleFile) -> BTreeSet<&str> {
    let texts =
        file.rules.iter().flat_map(|rule| &rule.on).flat_map(|on| match &on.kind {
            OnKind::Journal { sources, .. } | OnKind::Lines { sources, .. } => {
                sources.as_slice()
            }
            _ => &[],
        });
    texts.map(|it| it.value.as_str()).collect()
}
