//! How an explanation reads.

use super::{Show, Shown};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value as Json;
use std::fmt::Write as _;
use std::sync::Arc;
use tripline_api::Source;
use tripline_rules::RuleSet;
use tripline_rules::evaluate::{RuleExplained, Start};

/// All that is to be said. Writing to a text cannot fail.
pub(super) fn page(
    set: &RuleSet,
    source: &Arc<dyn Source>,
    how: &str,
    show: &Show,
    only: Option<usize>,
) -> String {
    let mut page = format!("source   {}{how}\n", source.id());
    let count = show.entries.len();
    for (index, shown) in show.entries.iter().enumerate().take(ENTRIES_MAX) {
        if count > 1 {
            _ = writeln!(page, "\nentry    {} of {count}", index + 1);
        }
        entry(&mut page, set, source, shown, only);
    }
    if count > ENTRIES_MAX {
        _ = writeln!(page, "\nand {} more entries", count - ENTRIES_MAX);
    }
    page
}

fn entry(
    page: &mut String,
    set: &RuleSet,
    source: &Arc<dyn Source>,
    shown: &Shown,
    only: Option<usize>,
) {
    _ = writeln!(page, "time     {}, {}", local(shown.now), shown.clock);
    let mut fields = Vec::new();
    flatten("", &shown.explained.event, &mut fields);
    for (index, (name, value)) in fields.iter().enumerate().take(FIELDS_MAX) {
        let word = if index == 0 { "event" } else { "" };
        _ = writeln!(page, "{word:<8} {name} = {value}");
    }
    if fields.len() > FIELDS_MAX {
        _ = writeln!(page, "{:<8} and {} more fields", "", fields.len() - FIELDS_MAX);
    }
    let all = set.rules.len();
    let looked = all - shown.explained.others;
    _ = writeln!(page, "rules    {looked} of {all} look at {}", source.id());
    let wanted = |rule: usize| only.is_none_or(|only| only == rule);
    let rules = shown.explained.rules.iter().filter(|it| wanted(it.rule));
    let rules: Vec<&RuleExplained> = rules.collect();
    if let Some(only) = only.filter(|_| rules.is_empty()) {
        let rule = &set.rules[only];
        let why = match rule.enabled {
            true => format!("does not look at {}: see its `on`", source.id()),
            false => "is not enabled".to_owned(),
        };
        _ = writeln!(page, "  {} {why}", rule.name);
    }
    let name = |it: &&RuleExplained| {
        let second = if it.as_second { " (until)" } else { "" };
        format!("{}{second}", set.rules[it.rule].name)
    };
    let width = rules.iter().map(|it| name(it).len()).max().unwrap_or_default();
    for explained in &rules {
        let mut name = name(explained);
        let last = explained.steps.len().saturating_sub(1);
        for (index, step) in explained.steps.iter().enumerate() {
            let answer = if step.goes_on { "yes" } else { "no" };
            let stops = match index == last && !step.goes_on {
                true => "   <- stops here",
                false => "",
            };
            let (word, why) = (step.word, &step.why);
            _ = writeln!(page, "  {name:<width$}  {word:<12} {answer:<3}  {why}{stops}");
            name.clear();
        }
    }
    let is_its =
        |start: &&Start| only.is_none_or(|only| *set.rules[only].name == *start.rule);
    for start in shown.would.iter().filter(is_its) {
        would(page, start);
    }
}

/// An action with its texts.
fn would(page: &mut String, start: &Start) {
    let (rule, word, id) = (&start.rule, start.word, &start.action);
    _ = writeln!(page, "would do {word}, the action {id} of {rule}");
    let Json::Object(fields) = start.job.fields() else { return };
    for (name, value) in fields.iter().filter(|(_, value)| !is_nothing(value)) {
        _ = writeln!(page, "{:<9}{name}: {}", "", short(&value.to_string()));
    }
}

fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Array(list) => list.is_empty(),
        Json::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The names that expressions and templates can use, with their values.
fn flatten(name: &str, value: &Json, into: &mut Vec<(String, String)>) {
    match value {
        Json::Null => {}
        Json::Object(map) => {
            for (part, value) in map {
                let name =
                    if name.is_empty() { part.clone() } else { format!("{name}.{part}") };
                flatten(&name, value, into);
            }
        }
        Json::Array(list) if list.iter().any(|it| it.is_object() || it.is_array()) => {
            into.push((name.to_owned(), format!("a list of {}", list.len())));
        }
        value => into.push((name.to_owned(), short(&value.to_string()))),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// On this machine's clock, with its zone.
pub(crate) fn local(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The most entries that are shown.
const ENTRIES_MAX: usize = 100;
/// The most fields of an event that are shown.
const FIELDS_MAX: usize = 60;
/// The longest value that is shown, in characters.
const VALUE_CHARS_MAX: usize = 300;
