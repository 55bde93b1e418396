//! What a reload changed, in a line for a person.

use crate::config::Config;
use crate::terminal::one_line;
use tripline_diagnose::counted;
use tripline_rules::RuleSet;
use tripline_tasks::Rules;

/// So many rules are named; of more it is said how many.
const NAMED_MAX: usize = 10;

/// What is in force now; `before` are the rules that were.
pub(super) fn in_words(config: &Config, before: Option<&RuleSet>) -> String {
    // What is there because of rules is none of the person's own.
    let sources = config.sources.iter().filter(|it| it.id().as_str() != Rules::ENGINE);
    let listeners = config.listeners.iter().filter(|(id, _)| id.as_str() != Rules::NAME);
    let now = config.rules.as_deref();
    let mut words = format!(
        "reloaded: {}, {}, {}",
        counted(sources.count(), "source"),
        counted(listeners.count(), "listener"),
        counted(now.map_or(0, |set| set.rules.len()), "rule")
    );
    let (anew, gone) = changed(before, now);
    if !anew.is_empty() {
        words += &format!("; of another meaning, so they begin anew: {}", named(&anew));
    }
    if !gone.is_empty() {
        words += &format!("; gone: {}", named(&gone));
    }
    words
}

/// The rules whose meaning is another, and those that are not there any more.
fn changed<'s>(
    before: Option<&'s RuleSet>,
    now: Option<&RuleSet>,
) -> (Vec<&'s str>, Vec<&'s str>) {
    let (mut anew, mut gone) = (Vec::new(), Vec::new());
    for rule in before.map_or(&[][..], |set| &set.rules) {
        let known = now.and_then(|set| set.rules.iter().find(|it| it.name == rule.name));
        match known {
            Some(known) if known.fingerprint == rule.fingerprint => {}
            Some(_) => anew.push(&*rule.name),
            None => gone.push(&*rule.name),
        }
    }
    (anew, gone)
}

fn named(rules: &[&str]) -> String {
    let shown: Vec<_> = rules.iter().take(NAMED_MAX).map(|it| one_line(it)).collect();
    match rules.len().saturating_sub(NAMED_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_rules_some_are_named() {
        let many: Vec<_> = (0..12).map(|number| format!("r{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(named(&many[..2]), "r0, r1");
        assert!(named(&many).ends_with("r8, r9 and 2 more"), "{}", named(&many));
        assert_eq!(named(&["a\n\u{1b}"]), "a\\n\\u{1b}");
    }
}
