//! What was expected, and what was done: field by field.

use super::stage::Done;
use crate::evaluate::Job;
use crate::model::{Expected, Wanted};
use serde_json::{Map, Value, json};

/// What is different, in words; nothing if all is as expected.
pub(super) fn actions(expected: &[Expected], done: &[Done]) -> Vec<String> {
    let mut differences = Vec::new();
    for (index, (wanted, got)) in expected.iter().zip(done).enumerate() {
        let mut fields = one(wanted, got);
        if !fields.is_empty() {
            let (number, all) = (index + 1, expected.len());
            differences.push(format!("action {number} of {all} differs"));
            differences.append(&mut fields);
        }
    }
    for missing in expected.iter().skip(done.len()) {
        differences
            .push(format!("missing: {} was expected, and did not come", missing.kind));
    }
    for more in done.iter().skip(expected.len()).take(MORE_MAX) {
        let seconds = more.after.as_secs_f64();
        let what = short(&fields_of(&more.job).to_string());
        differences.push(format!(
            "not expected: {} of rule {} at +{seconds}s {what}",
            more.word, more.rule
        ));
    }
    let more = done.len().saturating_sub(expected.len() + MORE_MAX);
    if more > 0 {
        differences.push(format!("and {more} more that were not expected"));
    }
    differences
}

fn one(wanted: &Expected, got: &Done) -> Vec<String> {
    if wanted.kind != got.word {
        return vec![told("kind", &wanted.kind, got.word)];
    }
    let mut differences = Vec::new();
    if let Some(rule) = wanted.rule.as_ref().filter(|rule| rule.value != got.rule) {
        differences.push(told(&format!("{}.rule", wanted.kind), &rule.value, &got.rule));
    }
    if let Some(after) = wanted.after.as_ref().filter(|after| after.value != got.after) {
        let seconds = |it: std::time::Duration| format!("{}s", it.as_secs_f64());
        let name = format!("{}.after", wanted.kind);
        differences.push(told(&name, &seconds(after.value), &seconds(got.after)));
    }
    let fields = fields_of(&got.job);
    for (name, value) in &wanted.fields {
        let path = format!("{}.{}", wanted.kind, name.value);
        field(&path, value, fields.get(&name.value), &mut differences);
    }
    differences
}

fn field(
    path: &str,
    wanted: &Wanted,
    got: Option<&Value>,
    differences: &mut Vec<String>,
) {
    let Some(got) = got else {
        differences.push(told(path, &shown(wanted), "nothing"));
        return;
    };
    let is_same = match wanted {
        Wanted::Is(text) => as_text(got) == text.value,
        Wanted::Has(part) => as_text(got).contains(&part.value),
        Wanted::List(list) => match got.as_array() {
            Some(array) if array.len() == list.len() => {
                for (index, (wanted, got)) in list.iter().zip(array).enumerate() {
                    field(&format!("{path}[{index}]"), wanted, Some(got), differences);
                }
                return;
            }
            _ => false,
        },
        Wanted::Map(map) => match got.as_object() {
            Some(object) => {
                for (name, wanted) in map {
                    let path = format!("{path}.{}", name.value);
                    field(&path, wanted, object.get(&name.value), differences);
                }
                return;
            }
            None => false,
        },
    };
    if !is_same {
        differences.push(told(path, &shown(wanted), &short(&as_quoted(got))));
    }
}

fn told(path: &str, expected: &str, got: &str) -> String {
    format!("{path}\n  expected  {expected}\n  got       {got}")
}

fn shown(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Is(text) => format!("{:?}", text.value),
        Wanted::Has(part) => format!("has {:?}", part.value),
        Wanted::List(list) => {
            format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Wanted::Map(map) => {
            let pair = |(name, it): &(crate::model::Text, _)| {
                format!("{:?}: {}", name.value, shown(it))
            };
            format!("{{{}}}", map.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        value => value.to_string(),
    }
}

fn as_quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        value => value.to_string(),
    }
}

/// At most so much of a text.
fn short(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The fields of an action, by the names that they have in rules.
pub(crate) fn fields_of(job: &Job) -> Value {
    match job {
        Job::Exec { program, arguments, env, stdin, cwd } => {
            let mut run = vec![program.to_string_lossy().into_owned()];
            run.extend(arguments.iter().cloned());
            let cwd = cwd.as_ref().map(|it| it.to_string_lossy());
            json!({ "run": run, "env": map(env), "stdin": stdin, "cwd": cwd })
        }
        Job::Mail { to, subject, body, sender, via } => json!({
            "to": to, "subject": subject, "body": body, "sender": sender, "via": via,
        }),
        Job::Listener { arguments, .. } => of_listener(arguments),
        Job::Post { url, headers, body, is_json, token } => {
            let json =
                is_json.then(|| serde_json::from_str::<Value>(body).ok()).flatten();
            let token = token.as_ref().map(|it| it.to_string_lossy());
            json!({
                "url": url, "headers": map(headers), "body": body, "json": json,
                "token": token,
            })
        }
        Job::Emit { kind, fields } => json!({ "kind": kind, "fields": map(fields) }),
        Job::Set { flag, millis } => {
            json!({ "flag": flag, "for": format!("{millis}ms") })
        }
        Job::Clear { flag } => json!({ "flag": flag }),
        Job::Touch { dir, file } => json!({ "dir": dir.to_string_lossy(), "file": file }),
    }
}

fn map(pairs: &[(String, String)]) -> Map<String, Value> {
    pairs.iter().map(|(name, text)| (name.clone(), json!(text))).collect()
}

/// The arguments of a listener, those that are texts without their quotes.
fn of_listener(arguments: &str) -> Value {
    let mut fields = Map::new();
    let (mut depth, mut is_quoted, mut start) = (0_i32, false, 0);
    let mut parts = Vec::new();
    for (at, letter) in arguments.char_indices() {
        match letter {
            '"' => is_quoted = !is_quoted,
            '(' | '[' | '{' if !is_quoted => depth += 1,
            ')' | ']' | '}' if !is_quoted => depth -= 1,
            ',' if !is_quoted && depth == 0 => {
                parts.push(&arguments[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&arguments[start..]);
    for part in parts {
        if let Some((name, value)) = part.split_once(':') {
            let value = value.trim().trim_matches('"');
            fields.insert(name.trim().to_owned(), json!(value));
        }
    }
    Value::Object(fields)
}

/// The most actions that were not expected and are told.
const MORE_MAX: usize = 5;
/// The most letters of a value that are shown.
const SHOWN_MAX: usize = 200;
