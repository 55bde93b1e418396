//! How many events make a rule fire, when it holds back, and what its actions see.

use super::Compiler;
use crate::Type;
use crate::compiled::{self, COUNT_MAX, Key, Trigger};
use crate::model::{At, Fire, Rule, Text, Until, When};
use crate::roots::{Roots, task};
use std::time::Duration;

/// Events of a digest, unless given.
const KEEP: u64 = 100;
/// The most values in `expect`.
const EXPECT_MAX: usize = 1000;

impl Compiler<'_> {
    pub(super) fn when(
        &mut self,
        rule: &Rule,
        on: &[Trigger],
        by: &[Key],
        roots: &Roots,
        is_read: bool,
    ) -> Option<compiled::When> {
        let Some(when) = &rule.when else {
            return is_read.then_some(compiled::When::Each);
        };
        match &when.value {
            When::Each => Some(compiled::When::Each),
            When::Count { of, within, distinct } => {
                let distinct =
                    distinct.as_ref().map(|it| self.key("distinct", it, roots));
                Some(compiled::When::Count {
                    of: small(of.as_ref()?, COUNT_MAX),
                    within: within.as_ref()?.value,
                    distinct,
                })
            }
            When::Absent { after, expect, again } => {
                let expect = self.expected_keys(expect, by);
                Some(compiled::When::Absent {
                    after: after.as_ref()?.value,
                    expect,
                    again: again.as_ref().map(|it| it.value),
                })
            }
            When::Pair { until, within, fire } => {
                let until = self.until(until.as_deref()?, on, by);
                Some(compiled::When::Pair {
                    until: Box::new(until),
                    within: within.as_ref()?.value,
                    fire: fire.as_ref()?.value,
                })
            }
            When::Digest { every, keep } => Some(compiled::When::Digest {
                every: every.as_ref()?.value,
                keep: keep
                    .as_ref()
                    .map_or(KEEP as u32, |it| small(it, compiled::KEEP_MAX)),
            }),
        }
    }

    fn until(&mut self, until: &Until, on: &[Trigger], by: &[Key]) -> compiled::Until {
        let triggers = match until.on.as_slice() {
            [] => on.to_vec(),
            written => self.triggers(written),
        };
        let mut roots = self.roots(&triggers);
        let text = self.second(&until.matches);
        roots.is_partial |= text.is_none();
        let text = text.unwrap_or_default();
        roots.capture(&text.captures);
        let condition =
            until.condition.as_ref().and_then(|it| self.expression(it, &roots));
        if until.on.is_empty() && until.matches.is_empty() && until.condition.is_none() {
            let message = "`until` says nothing of the second event";
            self.error("E045", until.span.clone(), message)
                .help("write (match: r\"..\"), (if: \"..\") or (on: ..)");
        }
        for key in by {
            if roots.path(&key.text).is_err() {
                let message = format!("the second event has no `{}`", key.text);
                self.error("E031", until.span.clone(), message).help(format!(
                    "capture it in `match` there too: (?P<{}>..), so that pairs belong \
                     together",
                    key.path.last().map_or("", |it| &**it)
                ));
            }
        }
        compiled::Until { on: triggers, text, condition }
    }

    /// The values of `expect`, in the order of `by`.
    fn expected_keys(
        &mut self,
        expect: &[At<Vec<(Text, Text)>>],
        by: &[Key],
    ) -> Vec<Vec<String>> {
        if let Some(last) = expect.get(EXPECT_MAX) {
            let message = format!("`expect` has at most {EXPECT_MAX} values");
            self.error("E013", last.span.clone(), message)
                .help("make several rules of it");
        }
        let mut keys = Vec::with_capacity(expect.len());
        for values in expect {
            for (name, _) in &values.value {
                if !by.iter().any(|key| *key.text == *name.value) {
                    let known = by.iter().map(|key| &*key.text);
                    let none = "the rule has no `by`: write expect: [{}]";
                    self.unknown("E031", "field of `by`", name, known, none);
                }
            }
            let value = |key: &Key| {
                let found =
                    values.value.iter().find(|(name, _)| *name.value == *key.text);
                found.map(|(_, value)| value.value.clone())
            };
            let found: Vec<_> = by.iter().map(value).collect();
            for (key, _) in by.iter().zip(&found).filter(|(_, value)| value.is_none()) {
                let message = format!("this does not say which `{}`", key.text);
                self.error("E031", values.span.clone(), message)
                    .help(format!("add \"{}\": \"..\"", key.text));
            }
            keys.push(found.into_iter().flatten().collect());
        }
        keys
    }

    /// What the actions of a rule see.
    pub(super) fn acting(&self, rule: &Rule, roots: &Roots) -> Roots {
        let mut acting = roots.clone();
        let event = roots.as_record("an event of this rule");
        let several = |acting: &mut Roots| {
            acting.add("count", Type::Int);
            acting.add("first", event.clone());
            acting.add("last", event.clone());
            acting.add("events", Type::list(event.clone()));
            acting.add("dropped", Type::Int);
        };
        match rule.when.as_ref().map(|when| &when.value) {
            None | Some(When::Each) if rule.settle.is_some() => several(&mut acting),
            None | Some(When::Each) => {}
            Some(When::Count { .. } | When::Digest { .. }) => several(&mut acting),
            Some(When::Absent { .. }) => {
                acting = self.keys_only(rule, roots);
                acting.add("absent_for", Type::Text);
            }
            Some(When::Pair { until, fire, .. }) => {
                acting = self.keys_only(rule, roots);
                acting.add("start", event.clone());
                if fire.as_ref().is_some_and(|it| it.value == Fire::IfSeen) {
                    let end = self.end(until.as_deref(), roots);
                    acting.add("end", end);
                }
            }
        }
        if rule.limit.is_some() {
            acting.add("suppressed", Type::Int);
        }
        acting
    }

    /// The second event of a pair: what its patterns capture is looked at elsewhere.
    fn end(&self, until: Option<&Until>, roots: &Roots) -> Type {
        let mut end = roots.clone();
        end.is_partial = until.is_none();
        for text in until.iter().flat_map(|it| &it.matches) {
            let known = &self.shared.patterns;
            let expanded =
                crate::patterns::expand(&text.value, known).unwrap_or_default();
            let regex =
                regex::bytes::RegexBuilder::new(&expanded.text).unicode(false).build();
            for name in regex.iter().flat_map(|it| it.capture_names().flatten()) {
                end.add(name, Type::Any);
            }
        }
        end.as_record("`end`")
    }

    /// Where there is no event only definitions and what is counted by are known.
    fn keys_only(&self, rule: &Rule, roots: &Roots) -> Roots {
        let mut known = Roots { is_partial: roots.is_partial, ..Roots::default() };
        for name in self.shared.define.keys() {
            known.add(name, Type::Text);
        }
        for key in &rule.by {
            match key.value.split_once('.') {
                None => {
                    let kind = roots.path(&key.value).unwrap_or(Type::Any);
                    known.add(&key.value, kind);
                    known.captures.push(key.value.clone());
                }
                Some((root, _)) => {
                    let kind = roots.names.get(root).cloned().unwrap_or(Type::Any);
                    known.add(root, kind);
                }
            }
        }
        known
    }

    /// What `on_failure` sees.
    pub(super) fn failing(acting: &Roots) -> Roots {
        let mut failing = acting.clone();
        failing.add("task", task());
        failing
    }

    /// What `on_return` sees.
    pub(super) fn returning(rule: &Rule, roots: &Roots) -> Roots {
        let mut returning = roots.clone();
        returning.add("absent_for", Type::Text);
        returning.is_partial |= rule.when.is_none();
        returning
    }

    pub(super) fn limit(
        &mut self,
        rule: &Rule,
        by: &[Key],
        roots: &Roots,
        acting: &Roots,
    ) -> Option<compiled::Limit> {
        let limit = rule.limit.as_ref()?;
        let by = match &limit.by {
            Some(written) => self.keys("by", written, roots),
            None => by.to_vec(),
        };
        let then = self.actions(&limit.then, acting);
        Some(compiled::Limit {
            times: small(limit.times.as_ref()?, COUNT_MAX),
            per: limit.per.as_ref()?.value,
            by,
            then,
        })
    }

    pub(super) fn quiet(&mut self, rule: &Rule) -> Option<compiled::Quiet> {
        let quiet = rule.quiet.as_ref()?;
        let shared = self.shared;
        let mut calendars = Vec::with_capacity(quiet.calendars.len());
        for name in &quiet.calendars {
            match shared.calendars.get(&name.value) {
                Some(calendar) => calendars.extend(calendar.clone()),
                None if shared.is_partial => {}
                None => {
                    let known = shared.calendars.keys().map(String::as_str);
                    let none = "write one: calendars: {\"night\": [(from: \"22:00\", to: \"07:00\")]}";
                    self.unknown("E043", "calendar", name, known, none);
                }
            }
        }
        let then = quiet.then.as_ref()?.value;
        Some(compiled::Quiet { calendars, then })
    }
}

/// A number that the table has bounded already.
pub(super) fn small(number: &At<u64>, max: u32) -> u32 {
    u32::try_from(number.value).unwrap_or(max).min(max)
}

/// A duration, or this one.
pub(super) fn or(written: Option<&At<Duration>>, default: Duration) -> Duration {
    written.map_or(default, |it| it.value)
}
