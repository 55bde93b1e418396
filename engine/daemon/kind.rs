//! What a file is, for commands that are handed the wrong one: said in one sentence instead
//! of all that it is not.

use crate::terminal::printable;
use std::path::Path;
use tripline_api::Args;
use tripline_diagnose::{Block, Field, Node, Outline, Shape, SourceFile, shown, words};

/// What a file is, by the names of its outermost fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A configuration: what is followed, and who listens.
    Configuration,
    /// The configuration of a receiver.
    Receiver,
    /// A file with rules.
    Rules,
    /// It cannot be told.
    Unknown,
}

impl Kind {
    /// What this text is.
    pub(crate) fn of(text: &str) -> Self {
        let file = SourceFile::new("", text);
        let outline = Outline::of(&file);
        let Some(block) = block(&outline) else { return Self::Unknown };
        let has = |name: &str| field(block, text, name).is_some();
        if has("sources") || has("listeners") {
            Self::Configuration
        } else if has("listen") {
            Self::Receiver
        } else if field(block, text, "rules").is_some_and(names_files) {
            Self::Configuration
        } else if tripline_rules::looks_like_rules(text) {
            Self::Rules
        } else {
            Self::Unknown
        }
    }
}

/// Why this file is none that a command can take that wants a configuration; `None` if it
/// may be one.
pub(crate) fn no_configuration(path: &Path, text: &str) -> Option<String> {
    let path = shown(path);
    match Kind::of(text) {
        Kind::Receiver => Some(format!(
            "{path} is of a receiver: start it with `tripline receive {path}`; this command \
             wants a configuration that says `sources`, such as tripline.ron"
        )),
        Kind::Rules => Some(format!(
            "{path} is a file with rules, of which `tripline test {path}` runs the tests: \
             this command wants the configuration that names it in `rules`"
        )),
        Kind::Configuration | Kind::Unknown => None,
    }
}

/// The same for one that wants a receiver's.
pub(crate) fn no_receiver(path: &Path, text: &str) -> Option<String> {
    let path = shown(path);
    match Kind::of(text) {
        Kind::Configuration => Some(format!(
            "{path} is of no receiver: start it with `tripline run {path}`; a receiver has \
             a configuration of its own, which says `listen`"
        )),
        Kind::Rules => Some(format!(
            "{path} is a file with rules, and a receiver has none: name the receiver's \
             configuration, which says `listen`"
        )),
        Kind::Receiver | Kind::Unknown => None,
    }
}

/// The same for one that wants files with rules.
pub(crate) fn no_rules(path: &Path, text: &str) -> Option<String> {
    match Kind::of(text) {
        Kind::Configuration => {
            let named = named(text);
            let named: Vec<_> = named.iter().map(String::as_str).collect();
            let help = match named.as_slice() {
                [] => "it names no files with rules".to_owned(),
                named => format!("it names {}", words::list(named.iter().copied())),
            };
            let path = shown(path);
            Some(format!(
                "{path} is a configuration, and a file with rules is wanted: {help}"
            ))
        }
        Kind::Receiver => {
            let path = shown(path);
            Some(format!(
                "{path} is the configuration of a receiver, which has no rules: name a file \
                 with rules"
            ))
        }
        Kind::Rules | Kind::Unknown => None,
    }
}

/// The patterns of files with rules that a configuration names, as they are written.
fn named(text: &str) -> Vec<String> {
    let file = SourceFile::new("", text);
    let outline = Outline::of(&file);
    let rules = block(&outline).and_then(|block| field(block, text, "rules"));
    let texts = rules.map_or(&[][..], |field| nodes(field)).iter();
    let texts = texts.filter(|it| matches!(it.shape, Shape::Text));
    let meant = |it: &Node| Args::new(&text[it.span.clone()]).parse::<String>().ok();
    let meant = texts.filter_map(meant).take(NAMED_MAX);
    meant.map(|name| printable(&name).into_owned()).collect()
}

/// The most patterns that are named in a message.
const NAMED_MAX: usize = 8;

fn names_files(rules: &Field) -> bool {
    let nodes = nodes(rules);
    !nodes.is_empty() && nodes.iter().all(|it| matches!(it.shape, Shape::Text))
}

/// What is in a list, or stands where one may.
fn nodes(field: &Field) -> &[Node] {
    match &field.value.shape {
        Shape::List(items) => items,
        _ => std::slice::from_ref(&field.value),
    }
}

fn block(outline: &Outline) -> Option<&Block> {
    match outline.root.as_ref().map(|root| &root.shape) {
        Some(Shape::Block(block)) => Some(block),
        _ => None,
    }
}

fn field<'b>(block: &'b Block, text: &str, name: &str) -> Option<&'b Field> {
    block.fields.iter().find(|field| text.get(field.name.clone()) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart() {
        for (text, kind) in [
            ("(state: \"s\", sources: {}, listeners: {})", Kind::Configuration),
            ("(sources: {}, listen: {})", Kind::Configuration),
            ("(rules: [\"rules.d/*.ron\"])", Kind::Configuration),
            ("(rules: \"rules.ron\")", Kind::Configuration),
            ("(listen: \"127.0.0.1:1\", to: \"t\", state: \"s\")", Kind::Receiver),
            ("(rules: [(name: \"r\")])", Kind::Rules),
            ("(patterns: {}, rules: [])", Kind::Rules),
            ("(tests: [])", Kind::Rules),
            ("(state: \"s\")", Kind::Unknown),
            ("", Kind::Unknown),
            ("[1, 2]", Kind::Unknown),
            ("(((", Kind::Unknown),
        ] {
            assert_eq!(Kind::of(text), kind, "{text}");
        }
    }

    #[test]
    fn what_a_configuration_names_is_named() {
        let text = "(sources: {}, rules: [\"a.ron\", 3, \"b/*.ron\"])";
        let said = no_rules(Path::new("t.ron"), text).unwrap();
        assert!(said.ends_with("it names `a.ron` and `b/*.ron`"), "{said}");
        let said = no_rules(Path::new("t.ron"), "(sources: {})").unwrap();
        assert!(said.ends_with("it names no files with rules"), "{said}");
    }
}
