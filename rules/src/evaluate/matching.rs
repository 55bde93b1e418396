//! Whether a text is what a rule looks for, and what it captures.

use super::lines::Role;
use crate::Type;
use crate::compiled::{Pattern, Rule, TextMatch, Trigger, When};
use regex::bytes::Captures;
use serde_json::{Map, Value};

/// What the text of an event must be like for the rule.
pub(super) fn text_of(rule: &Rule, role: Role) -> &TextMatch {
    match (&rule.when, role) {
        (When::Pair { until, .. }, Role::Until) => &until.text,
        _ => &rule.text,
    }
}

/// What a rule looks at, the second event of a pair first.
pub(super) fn roles(rule: &Rule) -> impl Iterator<Item = (Role, &[Trigger])> {
    let until = match &rule.when {
        When::Pair { until, .. } => Some((Role::Until, until.on.as_slice())),
        _ => None,
    };
    until.into_iter().chain([(Role::Main, rule.on.as_slice())])
}

/// What looking for a rule's patterns in a text comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It is what is looked for.
    Found,
    /// `prefix` is not there.
    NoPrefix,
    /// None of `match` is found.
    NoMatch,
    /// This one of `unless_match` is found.
    Refused(usize),
}

/// Looks for a rule's patterns in a text.
pub(super) fn find(wanted: &TextMatch, text: &[u8]) -> Finding {
    let Some(rest) = behind_prefix(wanted, text) else { return Finding::NoPrefix };
    if !wanted.any.is_empty() && !wanted.any.iter().any(|it| it.regex.is_match(rest)) {
        return Finding::NoMatch;
    }
    match wanted.none.iter().position(|it| it.regex.is_match(rest)) {
        Some(refused) => Finding::Refused(refused),
        None => Finding::Found,
    }
}

/// Whether the text is what is looked for.
pub(super) fn is_found(wanted: &TextMatch, text: &[u8]) -> bool {
    find(wanted, text) == Finding::Found
}

/// What was captured, if the text is what is looked for.
pub(super) fn captures(wanted: &TextMatch, text: &[u8]) -> Option<Map<String, Value>> {
    if !is_found(wanted, text) {
        return None;
    }
    captured(wanted, text)
}

/// What `prefix` and `match` capture, whatever `unless_match` says.
pub(super) fn captured(wanted: &TextMatch, text: &[u8]) -> Option<Map<String, Value>> {
    let mut found = Map::new();
    for capture in &wanted.captures {
        found.insert(capture.name.to_string(), Value::Null);
    }
    if let Some(prefix) = &wanted.prefix {
        take(wanted, prefix, &prefix.regex.captures(text)?, &mut found);
    }
    let rest = behind_prefix(wanted, text)?;
    if let Some((pattern, captured)) =
        wanted.any.iter().find_map(|it| Some((it, it.regex.captures(rest)?)))
    {
        take(wanted, pattern, &captured, &mut found);
    }
    Some(found)
}

/// The number of the first pattern that is found, from 0.
pub(crate) fn which(wanted: &TextMatch, text: &[u8]) -> Option<usize> {
    let rest = behind_prefix(wanted, text)?;
    wanted.any.iter().position(|it| it.regex.is_match(rest))
}

/// What is left for the patterns; `None` if the prefix is not there.
pub(super) fn behind_prefix<'a>(wanted: &TextMatch, text: &'a [u8]) -> Option<&'a [u8]> {
    let Some(prefix) = &wanted.prefix else { return Some(text) };
    let found = prefix.regex.find(text).filter(|found| found.start() == 0)?;
    if !prefix.written.contains(Pattern::REST) {
        return Some(&text[found.end()..]);
    }
    let captured = prefix.regex.captures(text)?;
    match captured.name(Pattern::REST) {
        Some(rest) => Some(rest.as_bytes()),
        None => Some(&text[found.end()..]),
    }
}

fn take(
    wanted: &TextMatch,
    pattern: &Pattern,
    captured: &Captures<'_>,
    found: &mut Map<String, Value>,
) {
    for (group, index) in &pattern.groups {
        let Some(capture) = wanted.captures.get(*index) else { continue };
        if let Some(text) = captured.get(*group) {
            let text = String::from_utf8_lossy(text.as_bytes());
            found.insert(capture.name.to_string(), typed(&capture.kind, &text));
        }
    }
}

fn typed(kind: &Type, text: &str) -> Value {
    let number = match kind {
        Type::Int => text.trim_start_matches('+').parse::<i64>().ok().map(Value::from),
        Type::Float => text.trim_start_matches('+').parse::<f64>().ok().map(Value::from),
        _ => None,
    };
    number.unwrap_or_else(|| Value::from(text))
}
