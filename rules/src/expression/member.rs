//! Names that are not there.

use super::Finding;
use crate::Type;
use crate::read::did_you_mean;
use crate::roots::Roots;
use std::ops::Range;
use tripline_diagnose::words;

/// Nothing has this name.
pub(super) fn no_name(name: &str, roots: &Roots, at: Range<usize>) -> Finding {
    let known = || roots.names.keys().map(String::as_str);
    let meant = words::did_you_mean(name, known()).or_else(|| longer(name, roots));
    let list = known().collect::<Vec<_>>().join(", ");
    let help = match elsewhere(name) {
        Some(elsewhere) => elsewhere.to_owned(),
        None => format!("known here: {list}"),
    };
    Finding {
        code: "E030",
        at,
        message: format!("no field or capture is named `{name}`"),
        label: meant.map(did_you_mean).unwrap_or_default(),
        help,
    }
}

/// A capture that the name begins with, or that begins with it: `ip` of `ipaddr`.
fn longer<'a>(name: &str, roots: &'a Roots) -> Option<&'a str> {
    let is_alike = |it: &&'a str| {
        it.len() > 1 && name.len() > 1 && (name.starts_with(*it) || it.starts_with(name))
    };
    roots.captures.iter().map(String::as_str).filter(is_alike).max_by_key(|it| it.len())
}

/// What is called `name` in a value of this type.
pub(super) fn of(
    kind: &Type,
    name: &str,
    at: Range<usize>,
) -> Result<Type, Box<Finding>> {
    let wrong = |message: String, label: String, help: String| {
        Box::new(Finding { code: "E032", at, message, label, help })
    };
    let record = match kind {
        Type::Any => return Ok(Type::Any),
        Type::Record(record) => record,
        Type::List(_) => {
            let help = "take one of it, as in [0], or go through it with {% for %}";
            let message = format!("this is a list, and has no `{name}`");
            return Err(wrong(message, String::new(), help.to_owned()));
        }
        kind => {
            let help = format!("leave `.{name}` out, or use a filter, as in `| lower`");
            let message = format!("this is {kind}, and has no `{name}`");
            return Err(wrong(message, String::new(), help));
        }
    };
    if let Some(kind) = record.fields.get(name) {
        return Ok(kind.clone());
    }
    if record.is_open {
        return Ok(Type::Any);
    }
    let known = || record.fields.keys().map(String::as_str);
    let meant = words::did_you_mean(name, known());
    let noun = if record.title == "`db`" { "table" } else { "field" };
    let help = match record.hint.as_str() {
        "" => format!("it has {}", words::list(known().take(LISTED_MAX))),
        hint => hint.to_owned(),
    };
    let message = format!("{} has no {noun} `{name}`", record.title);
    Err(wrong(message, meant.map(did_you_mean).unwrap_or_default(), help))
}

/// Where a name is known that is not known here.
fn elsewhere(name: &str) -> Option<&'static str> {
    Some(match name {
        "count" | "events" | "first" | "last" => {
            "it is there with `when: Count(..)`, with `Digest(..)` and with `settle`"
        }
        "absent_for" => "it is there with `when: Absent(..)`",
        "start" | "end" => "it is there with `when: Pair(..)`",
        "suppressed" => "it is there with `limit`",
        "task" => "it is there in `on_failure`, and with `on: Task(..)`",
        "db" | "submit" | "journal" => "it is there with `on: Journal(..)`",
        "engine" | "emitted" => "it is there with `on: Engine(..)`",
        "text" | "line" | "host" | "program" | "time" | "source" | "severity" => {
            "it is a field of `event`: write `event.` in front"
        }
        _ => return None,
    })
}

/// The most names that are listed in a message.
const LISTED_MAX: usize = 30;
