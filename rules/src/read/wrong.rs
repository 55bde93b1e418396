//! What does not fit the tables, in a user's words, with a repair.

use super::values::Reader;
use crate::duration;
use crate::language::{Block, Field, HAS, NOT_THERE, RULE, Wants, Word};
use crate::model::{At, Text, Wanted};
use std::ops::Range;
use tripline_diagnose::{self as diagnose, Node, Shape, words};

impl Reader<'_> {
    /// One of some words.
    pub(super) fn word(
        &mut self,
        node: &Node,
        known: &'static [Word],
        field: &str,
    ) -> Option<At<&'static str>> {
        let written = self.text(&node.span);
        if let Some(word) = known.iter().find(|word| word.name == written) {
            return Some(At { value: word.name, span: node.span.clone() });
        }
        let names = || known.iter().map(|word| word.name);
        let meant = words::did_you_mean(written, names());
        self.error("E004", node.span.clone(), format!("`{field}` cannot be `{written}`"))
            .label(meant.map(did_you_mean).unwrap_or_default())
            .help(format!("it can be {}", words::alternatives(names())));
        None
    }

    /// A value in a test: a text, a part of one, or several.
    pub(super) fn wanted(&mut self, node: &Node) -> Option<Wanted> {
        match &node.shape {
            Shape::Text => self.string(node).map(Wanted::Is),
            Shape::List(items) => {
                let items = items.iter().map(|item| self.wanted(item));
                items.collect::<Option<_>>().map(Wanted::List)
            }
            Shape::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| {
                    Some((self.key(key, "expect")?, self.wanted(value)?))
                });
                entries.collect::<Option<_>>().map(Wanted::Map)
            }
            Shape::Block(block) if self.text(&block.name) == HAS.word => {
                match block.items.as_slice() {
                    [item] if matches!(item.shape, Shape::Text) => {
                        self.string(item).map(Wanted::Has)
                    }
                    _ => {
                        self.error("E046", node.span.clone(), "`Has` needs one text")
                            .help(format!("for example: {}", HAS.example));
                        None
                    }
                }
            }
            Shape::Word => {
                let value = self.text(&node.span).to_owned();
                Some(Wanted::Is(Text { value, span: node.span.clone() }))
            }
            Shape::Block(block) => {
                let name = self.text(&block.name);
                let message = match name {
                    "" => "a test does not expect a block".to_owned(),
                    name => format!("a test cannot expect `{name}(..)`"),
                };
                self.error("E046", node.span.clone(), message).help(format!(
                    "write the whole text as \"..\", or a part of it as {}",
                    HAS.example
                ));
                None
            }
        }
    }

    pub(super) fn no_block(&mut self, node: &Node, block: &'static Block) {
        let message = format!("{} is a block in parentheses", block.title);
        self.error("E013", node.span.clone(), message)
            .help(format!("for example: {}", one_line(block.example)));
    }

    pub(super) fn twice(&mut self, second: Range<usize>, first: Range<usize>) {
        let name = self.text(&second).trim_matches('"');
        self.error("E014", second, format!("`{name}` is there twice"))
            .also(first, "the first one")
            .help("take one of them away");
    }

    /// Says that there is no such field, and answers the one that was meant.
    pub(super) fn unknown_field(
        &mut self,
        block: &'static Block,
        node: &Node,
        field: &diagnose::Field,
    ) -> Option<&'static str> {
        let name = self.text(&field.name);
        let known = || block.all_fields().map(|field| field.name);
        let meant = words::did_you_mean(name, known());
        let is_of_rule =
            RULE.field(name).is_some() && !std::ptr::eq(block, &raw const RULE);
        if is_of_rule && self.closes_before(node, field) {
            return None;
        }
        if self.is_damaged_at(&node.span) {
            return meant;
        }
        let names = words::list(known());
        let message = format!("{} has no field `{name}`", block.title);
        let help = match (is_of_rule, meant, names.as_str()) {
            (true, None, _) => {
                format!("`{name}` belongs to the rule: write it there, beside `do`")
            }
            (_, Some(meant), _) => format!("write {meant}: .."),
            (.., "") => format!("it has none: write {}", block.example),
            _ => format!("its fields are {names}"),
        };
        self.error("E003", field.name.clone(), message)
            .label(meant.map(did_you_mean).unwrap_or_default())
            .help(help);
        meant
    }

    /// A bracket is open, and here is a field that belongs outside: so that is where it
    /// ends.
    fn closes_before(&mut self, node: &Node, field: &diagnose::Field) -> bool {
        let Shape::Block(block) = &node.shape else { return false };
        let opening = block.parentheses.start + 1;
        let (line, _) = self.file.position(field.name.start);
        let name = self.text(&field.name);
        let before = self.file.text[..field.name.start].trim_end();
        let before = before.trim_end_matches(',').len();
        let Some(problem) =
            self.syntax.iter_mut().find(|it| it.code == "E002" && it.span.end == opening)
        else {
            return false;
        };
        if !problem.message.contains("; ") {
            problem.message += &format!("; the field `{name}` begins on line {line}");
            problem.also.clear();
            problem.also(before..before, "`)` is missing here");
        }
        true
    }

    pub(super) fn nameless(&mut self, block: &'static Block, item: &Node) {
        let written = self.text(&item.span);
        let short: String = written.chars().take(SHOWN_CHARS_MAX).collect();
        let fitting = block.fields.iter().find(|field| {
            matches!(
                (field.wants, &item.shape),
                (Wants::Text(_) | Wants::Texts(_) | Wants::Duration, Shape::Text)
                    | (Wants::Number(..), Shape::Word)
            )
        });
        let help = match fitting {
            Some(field) => format!("write {}: {short}", field.name),
            None if block.fields.is_empty() => format!("write {}", block.example),
            None => format!("write name: {short}"),
        };
        self.error(
            "E013",
            item.span.clone(),
            format!("{} takes values by name", block.title),
        )
        .help(help);
    }

    pub(super) fn wrong_item(&mut self, item: &Node, field: &str, what: &str) {
        let written = self.text(&item.span);
        let help = match item.shape {
            Shape::Word if what.contains("text") => format!("write \"{written}\""),
            Shape::Text if what.contains("word") => {
                format!("write {}", written.trim_matches('"'))
            }
            _ => format!("make it {what}"),
        };
        self.error(
            "E013",
            item.span.clone(),
            format!("everything in `{field}` must be {what}"),
        )
        .help(help);
    }

    pub(super) fn no_unit(&mut self, node: &Node, field: &str) {
        let written = self.text(&node.span);
        let message = format!("`{field}` needs a unit");
        let help = match written.parse::<u64>() {
            Ok(number) => {
                format!("write \"{number}s\" for seconds, or \"5m\", or \"1h30m\"")
            }
            Err(_) => "write it like \"60s\", \"5m\" or \"1h30m\"".to_owned(),
        };
        self.error("E012", node.span.clone(), message).help(help);
    }

    pub(super) fn no_duration(&mut self, text: &Text, is_one: bool) {
        let written = &text.value;
        if is_one {
            let days = crate::language::DURATION_MAX_DAYS;
            self.error(
                "E012",
                text.span.clone(),
                format!("`{written}` is out of bounds"),
            )
            .help(format!("write at least \"1ms\" and at most \"{days}d\""));
            return;
        }
        let meant = duration::meant(written);
        let help = match &meant {
            Some(meant) => format!("write \"{meant}\""),
            None => "write it like \"60s\", \"5m\" or \"1h30m\"".to_owned(),
        };
        self.error("E012", text.span.clone(), format!("`{written}` is not a duration"))
            .label(meant.as_deref().map(did_you_mean).unwrap_or_default())
            .help(help);
    }

    pub(super) fn missing_field(
        &mut self,
        block: &'static Block,
        field: &'static Field,
        values: &super::values::Values,
    ) {
        let name = values.fields.iter().find_map(|(it, value)| match value {
            super::values::Value::Text(text) if *it == "name" => {
                Some(text.value.as_str())
            }
            _ => None,
        });
        let title = match (std::ptr::eq(block, &raw const RULE), name) {
            (true, Some(name)) => format!("rule `{name}`"),
            _ => block.title.to_owned(),
        };
        let message = match (block.title, field.name) {
            ("a rule", "on") => {
                format!("{title} does not say which events it listens to")
            }
            ("a rule", "do") => format!("{title} does not say what it does"),
            (_, name) => format!("{title} needs `{name}`"),
        };
        // The opening of the block: its word, or its parenthesis.
        let word = values.word.clone();
        let span =
            if word.is_empty() { values.span.start..values.span.start + 1 } else { word };
        self.error("E005", span, message).help(format!(
            "add for example {}: {}",
            field.name,
            one_line(field.example)
        ));
    }

    pub(super) fn unknown_kind(
        &mut self,
        node: &Node,
        name: Range<usize>,
        kinds: &'static [&'static Block],
        field: &str,
    ) {
        let written = self.text(&name);
        let known = || kinds.iter().map(|kind| kind.word);
        let noun = noun(field);
        if written.is_empty() {
            let example = kinds.first().map_or("", |kind| kind.example);
            self.error("E004", node.span.clone(), format!("{noun} has a word in front"))
                .help(format!("for example: {example}"));
            return;
        }
        let instead = NOT_THERE.iter().find(|(word, _)| *word == written);
        let meant = words::did_you_mean(written, known()).filter(|_| instead.is_none());
        let message = match instead {
            Some(_) => format!("there is no `{written}` yet"),
            None => format!("there is no {noun} `{written}`"),
        };
        let help = match (instead, meant) {
            (Some((_, instead)), _) => (*instead).to_owned(),
            (None, Some(meant)) => format!("write {meant}"),
            (None, None) => format!("there are {}", words::list(known())),
        };
        self.error("E004", name, message)
            .label(meant.map(did_you_mean).unwrap_or_default())
            .help(help);
    }

    /// A value of another shape than is wanted.
    pub(super) fn wrong(&mut self, wants: Wants, node: &Node, field: &str) {
        let written = self.text(&node.span);
        if let (Wants::TextList(_), Shape::Text, "run") = (wants, &node.shape, field) {
            self.a_line_of_shell(node);
            return;
        }
        let inside = written.trim_matches('"');
        let help = match (wants, &node.shape) {
            (Wants::TextList(_), Shape::Text) => format!("write {field}: [{written}]"),
            (Wants::Text(_) | Wants::Texts(_) | Wants::TextList(_), Shape::Word) => {
                format!("write {field}: \"{written}\"")
            }
            (Wants::Text(_), Shape::List(items)) if items.len() == 1 => {
                format!("write {field}: {}", self.text(&items[0].span))
            }
            (Wants::Number(..), Shape::Text) if inside.parse::<u64>().is_ok() => {
                format!("write {field}: {inside}")
            }
            (Wants::Word(_) | Wants::Words(_) | Wants::Kind(_), Shape::Text)
            | (Wants::Flag, Shape::Text) => format!("write {field}: {inside}"),
            (Wants::Kinds(_) | Wants::Blocks(_), Shape::Block(_)) => {
                format!("put it into brackets: {field}: [..]")
            }
            (Wants::Number(min, _), _) => {
                format!("write for example {field}: {}", min.max(1))
            }
            (wants, _) => match example(field, wants) {
                Some(example) => format!("for example: {field}: {}", one_line(example)),
                None => format!("make it {}", wants.words()),
            },
        };
        self.error(
            "E013",
            node.span.clone(),
            format!("`{field}` must be {}", wants.words()),
        )
        .help(help);
    }

    fn a_line_of_shell(&mut self, node: &Node) {
        let line = self.string(node).map(|text| text.value).unwrap_or_default();
        let words: Vec<String> =
            split_words(&line).iter().map(|word| format!("\"{word}\"")).collect();
        let message = "`run` takes a list, one text for each argument: no shell is used";
        self.error("E021", node.span.clone(), message)
            .help(format!("write run: [{}]", words.join(", ")));
    }
}

pub(crate) fn did_you_mean(meant: &str) -> String {
    format!("did you mean `{meant}`?")
}

/// What stands in a field, in the singular.
fn noun(field: &str) -> &str {
    match field {
        "on" | "Any" => "source",
        "do" | "then" | "on_failure" | "on_return" => "action",
        "when" => "way to count",
        "expect" => "action",
        _ => "kind",
    }
}

/// An example of a field of any block, with this want.
fn example(field: &str, wants: Wants) -> Option<&'static str> {
    let fields = crate::reference::blocks().into_iter().flat_map(Block::all_fields);
    let same = |it: &&Field| {
        it.name == field
            && std::mem::discriminant(&it.wants) == std::mem::discriminant(&wants)
    };
    fields.filter(|it| !it.example.contains("..")).find(same).map(|field| field.example)
}

/// The words of a line, with `{{ .. }}` as part of one.
fn split_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut depth = 0_usize;
    for character in line.chars().take(4096) {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if character == ' ' && depth == 0 {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(character);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// An example as part of a sentence.
fn one_line(example: &str) -> String {
    let words: Vec<_> = example.split_whitespace().collect();
    words.join(" ").replace("( ", "(").replace(", )", ")").replace(" )", ")")
}

const SHOWN_CHARS_MAX: usize = 60;
