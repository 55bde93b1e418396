//! What decides when a rule fires, as a number.

use crate::compiled::{Key, TextMatch, Trigger};
use crate::model::Rule;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// The fingerprint of a rule; see [`crate::compiled::Rule::fingerprint`].
pub(super) fn of(
    rule: &Rule,
    on: &[Trigger],
    text: &TextMatch,
    by: &[Key],
    when: &crate::compiled::When,
    define: &BTreeMap<String, String>,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |part: &str, value: &str| {
        // The lengths keep one part from running into the next.
        hash.update(format!("{part} {}:", value.len()));
        hash.update(value);
    };
    add("on", &format!("{on:?}"));
    patterns(text, "", &mut add);
    for (part, text) in [("if", &rule.condition), ("unless", &rule.unless)] {
        if let Some(text) = text {
            expression(part, &text.value, define, &mut add);
        }
    }
    for key in by {
        add("by", &key.text);
    }
    if let crate::compiled::When::Pair { until, within, fire } = when {
        add("pair", &format!("{within:?} {fire:?} {:?}", until.on));
        patterns(&until.text, "until ", &mut add);
        if let Some(text) = &until.condition {
            expression("until if", &text.text, define, &mut add);
        }
    } else {
        add("when", &format!("{when:?}"));
    }
    let settle = rule.settle.as_ref().map(|it| it.value);
    add("settle", &format!("{settle:?}"));
    hash.finalize().into()
}

fn patterns(text: &TextMatch, before: &str, add: &mut impl FnMut(&str, &str)) {
    let prefix = text.prefix.iter().map(|it| ("prefix", it));
    let any = text.any.iter().map(|it| ("match", it));
    let none = text.none.iter().map(|it| ("unless_match", it));
    for (part, pattern) in prefix.chain(any).chain(none) {
        add(&format!("{before}{part}"), &pattern.expanded);
    }
}

/// An expression, and the definitions whose names are in it.
fn expression(
    part: &str,
    text: &str,
    define: &BTreeMap<String, String>,
    add: &mut impl FnMut(&str, &str),
) {
    add(part, text);
    for (name, value) in define.iter().filter(|(name, _)| text.contains(name.as_str())) {
        add(name, value);
    }
}
