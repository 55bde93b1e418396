//! `REFERENCE.md`, made of the tables that read rules.

use crate::evaluate::{
    DEPTH_MAX, EVENTS_MAX, FLAGS_MAX, HELD_MAX, KEYED_BYTES_MAX, KEYS_MAX, ROWS_MAX,
    TRANSACTION_BYTES_MAX,
};
use crate::functions::{FILTERS, FUNCTIONS, Function, TESTS};
use crate::language::{
    ACTIONS, Block, CALENDAR_TIME, COMMON, EXPECTED, FILE, Field, GIVEN, LIMIT,
    NOT_THERE, Need, ON, OVERLAP, PRETEND, QUIET, RETRY, RULE, TEST, UNTIL, WHEN, Wants,
};
use crate::patterns::LIBRARY;
use std::fmt::Write as _;

/// Every block of the language, outer ones first.
pub fn blocks() -> Vec<&'static Block> {
    let mut blocks: Vec<&Block> = vec![&FILE, &RULE];
    blocks.extend(ON.iter());
    blocks.extend(WHEN);
    blocks.extend([&UNTIL, &LIMIT, &QUIET]);
    blocks.extend(OVERLAP);
    blocks.push(&CALENDAR_TIME);
    blocks.extend(ACTIONS);
    blocks.extend([&RETRY, &TEST]);
    blocks.extend(GIVEN);
    blocks.extend(PRETEND);
    blocks.extend(EXPECTED);
    blocks
}

/// The whole text.
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    section(&mut text, "A file", &[&FILE]);
    section(&mut text, "A rule", &[&RULE]);
    section(&mut text, "Which events: `on`", &ON);
    text += BEGINNING;
    section(&mut text, "How many: `when`", WHEN);
    section(&mut text, "The second event of a pair: `until`", &[&UNTIL]);
    section(&mut text, "Holding back: `limit`, `quiet`, `overlap`", &[&LIMIT, &QUIET]);
    blocks_of(&mut text, OVERLAP);
    section(&mut text, "Calendars", &[&CALENDAR_TIME]);
    text +=
        "\n## What to do: `do`\n\nAll actions have these fields besides their own:\n\n";
    fields(&mut text, COMMON.iter());
    blocks_of(&mut text, ACTIONS);
    section(&mut text, "Trying again: `retry`", &[&RETRY]);
    section(&mut text, "Tests", &[&TEST]);
    blocks_of(&mut text, GIVEN);
    blocks_of(&mut text, PRETEND);
    expected(&mut text);
    text += NAMES;
    functions(&mut text, "Filters", "behind `|`", FILTERS);
    functions(&mut text, "Tests of values", "behind `is`", TESTS);
    functions(&mut text, "Functions", "in front of `(`", FUNCTIONS);
    library(&mut text);
    bounds(&mut text);
    not_there(&mut text);
    text
}

const HEAD: &str = "\
# Rules: the reference

Made from the tables that read rules (`rules/src/language.rs`): `TRIPLINE_BLESS=1 cargo test
-p tripline-rules` writes it anew.

Values are RON: texts in quotes, `r\"..\"` where a backslash is itself (write patterns so),
lists in `[]`, names and values in `{}`, comments behind `//`. Where a text or a list of texts
is wanted, one text is a list of one. Durations are texts: `\"250ms\"`, `\"60s\"`, `\"5m\"`,
`\"1h30m\"`, `\"2d\"`, at most 366 days.
";

const BEGINNING: &str = "
### Where rules begin

The first time that rules look at a source, they begin where its `start` says, as listeners
do: with the oldest entry there is, unless the source has `start: Now` or a journal's number.
So a rule acts on what was written before it: the daemon says on how many bytes. `tripline
replay CONFIG --dry-run FILE...` counts beforehand what would be done. From then on they go on
where they were, whatever was stopped or killed for how long.

**Give a log `time: Syslog` or `time: Iso`** where rules look at times: without it a line
happens when it is read, and what was written in a day, and is read after a pause, happens
within a second. `tripline check` warns of rules that count such lines.

Of a journal that is begun with `Now`, what stands before is not known: of a change whose
description was written before and that is submitted afterwards, `submit.description` is the
beginning that Perforce keeps with the change itself (31 characters).
";

const NAMES: &str = "
## Names in expressions and templates

Both are Jinja. `if` and `unless` are expressions, `pct >= 90`; texts of actions are templates,
`{{ pct }}%`. A name that is not known is a mistake that `tripline check` finds, and one that is
not there when it is asked for is an error, never an empty text. Only a capture that took no
part in the match is `none`, which shows as nothing.

| root | is | where |
|---|---|---|
| `event` | `id`, `time`, `source`, `kind`, `host`, `line`, `text`, `program`, `severity` | always |
| a capture | what a named group matched | with `match`, `prefix` |
| `db` | `db.TABLE.COLUMN` of the newest row, `db.TABLE.rows` all rows, each with `op` | `Journal` |
| `journal` | `pid`, `tables` | `Journal` |
| `submit` | `none` if it is none, else `change`, `user`, `client`, `description`, `time`, and `files`, each with `path`, `rev`, `action`, `type` | `Journal` |
| `task` | `rule`, `action`, `status`, `exit`, `reason`, `stderr`, `duration`, `attempts`, `skipped` | `Task`, `on_failure` |
| `engine` | `event`, `source`, `listener`, `rule`, `message` | `Engine` |
| `emitted` | `kind`, and the fields of the `Emit` | `Engine(emitted: ..)` |
| `count`, `first`, `last`, `events`, `dropped` | the events that made it fire, each with all roots above | `Count`, `Digest`, `settle` |
| `start`, `end` | the events of a pair; `end` with `IfSeen` | `Pair` |
| `absent_for` | how long, as text | `Absent` |
| `suppressed` | how many firings `limit` swallowed since the last | `limit` |
| an action's `id` | `stdout`, `stderr`, `exit`; with `_` for each `-` | in actions behind it |
| a name of `define` | its text | always |

With `Absent` and `Pair` the actions know what `by` names, and not the other fields of one
event. Times are seconds since 1970. Enumerations of Perforce are words: a change is `pending`,
`submitted` or `shelved`, a revision `add`, `edit`, `delete`, `branch`, `integrate`, `import`,
`purge`, `move/delete`, `move/add` or `archive`.
";

fn section(text: &mut String, title: &str, blocks: &[&Block]) {
    _ = write!(text, "\n## {title}\n");
    match blocks {
        [only] if only.word.is_empty() => block(text, only),
        several => blocks_of(text, several),
    }
}

fn blocks_of(text: &mut String, blocks: &[&Block]) {
    for one in blocks {
        _ = write!(text, "\n### {}\n", one.title);
        block(text, one);
    }
}

fn block(text: &mut String, block: &Block) {
    _ = write!(text, "\n{}\n\n```ron\n{}\n```\n", block.doc, block.example);
    if let Some(wants) = block.item {
        _ = write!(text, "\nIn the parentheses: {}.\n", described(wants));
    }
    if !block.fields.is_empty() {
        text.push('\n');
        fields(text, block.fields.iter());
    }
}

fn fields<'a>(text: &mut String, fields: impl Iterator<Item = &'a Field>) {
    *text += "| field | is | meaning | for example |\n|---|---|---|---|\n";
    for field in fields {
        let need = match field.need {
            Need::Required => "**needed**, ",
            Need::Optional => "",
        };
        let (what, doc) = (described(field.wants), cell(field.doc));
        let example = cell(field.example);
        _ = writeln!(text, "| `{}` | {need}{what} | {doc} | `{example}` |", field.name);
    }
}

/// What a value must be, with its words.
fn described(wants: Wants) -> String {
    match wants {
        Wants::Duration => "a duration".to_owned(),
        Wants::Number(min, max) => format!("a number, {min} to {max}"),
        Wants::Word(words) => {
            let words = words.iter().map(|it| format!("`{}` ({})", it.name, it.doc));
            words.collect::<Vec<_>>().join(", or ")
        }
        Wants::Words(words) => {
            let words = words.iter().map(|it| format!("`{}` ({})", it.name, it.doc));
            format!("one or a list of {}", words.collect::<Vec<_>>().join(", "))
        }
        wants => wants.words().to_owned(),
    }
}

fn expected(text: &mut String) {
    let words: Vec<String> = EXPECTED.iter().map(|it| it.title.to_owned()).collect();
    _ = write!(text, "\n### What is expected: {}\n", words.join(", "));
    if let Some(first) = EXPECTED.first() {
        block(text, first);
        text.push('\n');
        fields(text, first.shared.iter());
    }
}

fn functions(text: &mut String, title: &str, place: &str, table: &[Function]) {
    _ = write!(text, "\n### {title}, {place}\n\n");
    for function in table.iter().filter(|it| !it.doc.is_empty()) {
        _ = writeln!(text, "* `{}`: {}", function.name, function.doc);
    }
    let jinja = table.iter().filter(|it| it.doc.is_empty());
    let jinja: Vec<String> = jinja.map(|it| format!("`{}`", it.name)).collect();
    _ = writeln!(text, "* of Jinja: {}", jinja.join(", "));
}

fn library(text: &mut String) {
    *text += "\n## The library of patterns\n\n`%{NAME}` matches one, `%{NAME:field}` captures \
        it too. Patterns are for bytes, with the classes\nof ASCII, and search in linear time: \
        there is no look-around and no reference to a group.\n\n\
        | name | matches | pattern |\n|---|---|---|\n";
    for named in LIBRARY {
        let (name, doc, pattern) = (named.name, cell(named.doc), cell(named.pattern));
        _ = writeln!(text, "| `{name}` | {doc} | `{pattern}` |");
    }
}

fn bounds(text: &mut String) {
    let mib = KEYED_BYTES_MAX >> 20;
    *text += "\n## Bounds\n\n";
    for bound in [
        format!(
            "Of values by which a rule counts apart (`by`), {KEYS_MAX} are known, and {mib} MiB \
             of them; of more the one that came longest ago is forgotten."
        ),
        format!(
            "At most {DEPTH_MAX} firings lead to each other, by `Emit` or by ends of tasks; what \
             comes after that is not looked at."
        ),
        format!(
            "One event leads to at most {EVENTS_MAX} others in all, by `Emit` or by ends of \
             tasks that a rule looks at; the rest is not looked at. What a rule does because \
             time passed (`Absent`, `Pair`, `Digest`, `settle`) begins anew, unless what it \
             waited about was led to itself."
        ),
        format!(
            "{HELD_MAX} firings of a rule wait for the end of a quiet time; of more the oldest are \
             dropped."
        ),
        format!("{FLAGS_MAX} flags are set at most."),
        format!(
            "Of each table of a transaction rules see {ROWS_MAX} rows; transactions that are not \
             complete have {} MiB.",
            TRANSACTION_BYTES_MAX >> 20
        ),
    ] {
        _ = writeln!(text, "* {bound}");
    }
    *text += "\nThat one of the first three was reached is an event, `KeysEvicted` or \
        `RuleFailed`, and is said\nonce a minute at most.\n";
}

fn not_there(text: &mut String) {
    *text += "\n## What there is not yet\n\n";
    for (word, instead) in NOT_THERE {
        _ = writeln!(text, "* `{word}`: {instead}.");
    }
}

/// What would end a cell is escaped.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_reference_is_as_the_tables_are() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("REFERENCE.md");
        if std::env::var_os("TRIPLINE_BLESS").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == markdown(), "TRIPLINE_BLESS=1 writes it anew");
    }

    #[test]
    fn every_field_has_words_and_an_example() {
        for block in blocks() {
            assert!(block.doc.ends_with('.'), "{}", block.title);
            for field in block.all_fields() {
                assert!(field.doc.ends_with('.'), "{} {}", block.title, field.name);
                assert!(!field.example.is_empty(), "{} {}", block.title, field.name);
            }
        }
    }
}
