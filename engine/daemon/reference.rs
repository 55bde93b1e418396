//! The reference of sources, listeners and configurations, made of what they say of
//! themselves.

use crate::config;
use crate::receive_cmd::config as receiver;
use std::fmt::Write as _;
use std::time::Duration;
use tripline_api::{Argument, Form, Has, ListenerFactory, UnlessGiven, Wants};

/// The reference as Markdown: of the configuration, of all sources, of these listeners, and
/// of the configuration of a receiver. For those that come with Tripline it is
/// `listeners/REFERENCE.md`; a program with listeners of its own can write its own.
pub fn reference(listeners: &[&dyn ListenerFactory]) -> String {
    let mut text = String::from(HEAD);
    text += CONFIGURATION;
    arguments(&mut text, config::ARGUMENTS);
    text += SOURCES;
    for it in tripline_follow::ALL {
        kind(&mut text, it.name(), it.doc(), it.example(), it.arguments(), it.limits());
    }
    text += LISTENERS;
    for it in listeners {
        kind(&mut text, it.name(), it.doc(), it.example(), it.arguments(), it.limits());
    }
    text += RECEIVER;
    ron(&mut text, receiver::EXAMPLE);
    arguments(&mut text, receiver::ARGUMENTS);
    limits(&mut text, receiver::LIMITS);
    text
}

const HEAD: &str = "\
# Configurations, sources and listeners: the reference

Made of what the sources and listeners say of themselves: `TRIPLINE_BLESS=1 cargo test -p
tripline --lib` writes it anew. Rules have a [reference of their own](../rules/REFERENCE.md).

Values are RON: texts in quotes, `r\"..\"` where a backslash is itself (write patterns so),
lists in `[]`, names and values in `{}`, comments behind `//`. Durations are texts:
`\"250ms\"`, `\"60s\"`, `\"5m\"`, `\"1h 30m\"`. A relative path starts at the directory of the
configuration. `tripline check` finds every mistake, with its place and a repair.
";

const CONFIGURATION: &str = "
## A configuration

One block in parentheses, in a file of at most 4 MiB. `tripline run CONFIG` follows it.

```ron
(
    state: \"state\",
    sources: {\"p4\": Journal(path: \"p4root/journal\", rotated: [\"p4root/checkpoints\"])},
    listeners: {\"copy\": Mirror(from: [\"p4\"], to: \"backup\")},
    rules: [\"rules.d/*.ron\"],
)
```
";

const SOURCES: &str = "
## Sources

What is followed. Files may be on a network file system: where no events of the file system
can be believed, everything is looked at each second.
";

const LISTENERS: &str = "
## Listeners

Who takes entries. What a receiver will never take is set aside, alone: `tripline dead list`
shows it.
";

const RECEIVER: &str = "
## The configuration of a receiver

What `tripline receive CONFIG` does: it takes what other Triplines `Forward` to it and
appends it to files. A line is acknowledged when it is on the disk.
";

fn kind(
    text: &mut String,
    name: &str,
    doc: &str,
    example: &str,
    described: &[Argument],
    not_promised: &[&str],
) {
    _ = writeln!(text, "\n### `{name}`");
    paragraphs(text, doc);
    ron(text, example);
    arguments(text, described);
    limits(text, not_promised);
}

fn ron(text: &mut String, example: &str) {
    _ = write!(text, "\n```ron\n{example}\n```\n");
}

fn limits(text: &mut String, limits: &[&str]) {
    if limits.is_empty() {
        return;
    }
    *text += "\nWhat it does not promise:\n\n";
    for limit in limits {
        wrapped(text, "* ", "  ", limit);
    }
}

/// A table of arguments, and behind it what stands in the blocks among them.
fn arguments(text: &mut String, described: &[Argument]) {
    *text += "\n| argument | is | unless given | meaning | for example |\n|---|---|---|---|---|\n";
    for it in described {
        let (is, unless) = (cell(&is(it.wants)), cell(&unless_given(it)));
        let (doc, example) = (cell(it.doc), cell(it.example));
        let name = it.name;
        _ = writeln!(text, "| `{name}` | {is} | {unless} | {doc} | `{example}` |");
    }
    for it in described {
        match it.wants {
            Wants::Block(inner) => {
                _ = writeln!(text, "\n#### In `{}`", it.name);
                arguments(text, inner);
            }
            Wants::Blocks(inner) => {
                _ = writeln!(text, "\n#### In each of `{}`", it.name);
                arguments(text, inner);
            }
            Wants::OneOf(forms) => {
                for form in forms {
                    if let Has::Arguments(inner) = form.has {
                        _ = writeln!(text, "\n#### `{}: {}(..)`", it.name, form.word);
                        paragraphs(text, form.doc);
                        arguments(text, inner);
                    }
                }
            }
            _ => {}
        }
    }
}

/// What a value must be, in words.
fn is(wants: Wants) -> String {
    match wants {
        Wants::Text => "a text".to_owned(),
        Wants::Texts => "a list of texts".to_owned(),
        Wants::Path => "a path".to_owned(),
        Wants::Paths => "a list of paths".to_owned(),
        Wants::Flag => "`true` or `false`".to_owned(),
        Wants::Number(min, u64::MAX) => format!("a number, at least {min}"),
        Wants::Number(min, max) => format!("a number, {min} to {max}"),
        Wants::Bytes(0, u64::MAX) => "bytes".to_owned(),
        Wants::Bytes(min, max) => format!("bytes, {} to {}", bytes(min), bytes(max)),
        Wants::Duration(Duration::ZERO, Duration::MAX) => "a duration".to_owned(),
        Wants::Duration(Duration::ZERO, max) => {
            format!("a duration, at most {}", duration(max))
        }
        Wants::Duration(min, max) => {
            format!("a duration, {} to {}", duration(min), duration(max))
        }
        Wants::Named => "names and texts in braces".to_owned(),
        Wants::OneOf(forms) => one_of(forms),
        Wants::Block(_) => "a block in parentheses, see below".to_owned(),
        Wants::Blocks(_) => "names and blocks in braces, see below".to_owned(),
        Wants::Other(words) => words.to_owned(),
    }
}

fn one_of(forms: &[Form]) -> String {
    let all = forms.iter().map(|form| {
        let doc = form.doc.trim_end_matches('.');
        let why = if doc.is_empty() { String::new() } else { format!(" ({doc})") };
        match form.has {
            Has::Nothing => format!("`{}`{why}", form.word),
            Has::Value(value) => format!("`{}({value})`{why}", form.word),
            Has::Arguments(_) => format!("`{}(..)`, see below", form.word),
        }
    });
    all.collect::<Vec<_>>().join("; ")
}

fn unless_given(argument: &Argument) -> String {
    match (argument.unless_given, argument.wants) {
        (UnlessGiven::Needed, _) => "**needed**".to_owned(),
        (UnlessGiven::Nothing, _) => String::new(),
        (UnlessGiven::Value(value), _) => format!("`{value}`"),
        (UnlessGiven::Number(number), Wants::Bytes(..)) => bytes(number),
        (UnlessGiven::Number(number), _) => format!("`{number}`"),
        (UnlessGiven::Duration(time), _) => duration(time),
    }
}

/// A number of bytes, and what that is.
fn bytes(number: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit =
        units.iter().find(|(_, shift)| number > 0 && number.is_multiple_of(1 << shift));
    match unit {
        Some((unit, shift)) => format!("{number} ({} {unit})", number >> shift),
        None => number.to_string(),
    }
}

/// A duration as it is written in a configuration.
fn duration(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    match seconds {
        _ if millis > 0 => format!("`\"{}ms\"`", time.as_millis()),
        0 => "`\"0s\"`".to_owned(),
        s if s > 86400 && s.is_multiple_of(86400) => format!("{} days", s / 86400),
        s if s.is_multiple_of(3600) => format!("`\"{}h\"`", s / 3600),
        s if s.is_multiple_of(60) => format!("`\"{}m\"`", s / 60),
        s => format!("`\"{s}s\"`"),
    }
}

/// What would end a cell is escaped.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Paragraphs, in lines that are not too long; what is indented stays as it is.
fn paragraphs(text: &mut String, doc: &str) {
    let mut was_indented = false;
    for line in doc.lines() {
        let is_indented = line.starts_with("    ");
        if line.is_empty() {
            was_indented = false;
        } else if is_indented {
            if !was_indented {
                text.push('\n');
            }
            _ = writeln!(text, "{line}");
            was_indented = true;
        } else {
            text.push('\n');
            wrapped(text, "", "", line);
        }
    }
}

/// One paragraph, its first line behind `first`, the others behind `others`.
fn wrapped(text: &mut String, first: &str, others: &str, paragraph: &str) {
    let mut line = String::from(first);
    let mut is_begun = false;
    for word in paragraph.split(' ') {
        if is_begun && line.len() + 1 + word.len() > COLUMNS {
            _ = writeln!(text, "{line}");
            line = format!("{others}{word}");
            continue;
        }
        if is_begun {
            line.push(' ');
        }
        line += word;
        is_begun = true;
    }
    _ = writeln!(text, "{line}");
}

const COLUMNS: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_reference_is_as_they_say() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("listeners/REFERENCE.md");
        let made = reference(tripline_listeners::ALL);
        if std::env::var_os("TRIPLINE_BLESS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == made, "TRIPLINE_BLESS=1 writes it anew");
    }

    #[test]
    fn numbers_and_times_are_written_as_people_do() {
        assert_eq!(bytes(8 << 20), "8388608 (8 MiB)");
        assert_eq!(bytes(1), "1");
        let written = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(written(366 * 86400), "366 days");
        assert_eq!(written(3600), "`\"1h\"`");
        assert_eq!(written(90), "`\"90s\"`");
        assert_eq!(duration(Duration::from_millis(10)), "`\"10ms\"`");
    }

    #[test]
    fn lines_are_wrapped_and_code_is_not() {
        let mut text = String::new();
        paragraphs(
            &mut text,
            &format!("{}\n\n    a    b", "word ".repeat(25).trim_end()),
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1].len(), 94);
        assert!(lines[2].starts_with("word ") && lines[4] == "    a    b", "{text}");
    }
}
