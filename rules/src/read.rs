//! From a file's text to the model: everything that is not of the language is said.
//!
//! `values.rs` reads by the tables of [`language`](crate::language), `wrong.rs` words what
//! does not fit, `build.rs` makes the model of what does.

mod build;
mod fixed;
mod values;
mod wrong;

pub(crate) use wrong::did_you_mean;

use crate::language::FILE;
use crate::model::{RuleFile, Text};
use std::sync::Arc;
use tripline_diagnose::{Diagnostic, Node, Outline, Shape, SourceFile};
use values::Reader;

/// Reads a file. The messages are in no order.
pub fn read(file: &Arc<SourceFile>) -> (RuleFile, Vec<Diagnostic>) {
    if file.text.len() > FILE_BYTES_MAX {
        let mib = FILE_BYTES_MAX >> 20;
        let mut problem = Diagnostic::error(
            file,
            0..0,
            format!("the file is longer than {mib} MiB, and is not looked at"),
        );
        problem.code("E008").help("make several files of it");
        return (build::nothing(file), vec![problem]);
    }
    let outline = Outline::of(file);
    let mut reader = Reader::new(file, outline.problems);
    let model = match reader.root(outline.root.as_ref()) {
        Some(values) => build::file(file, values, reader.is_damaged()),
        None => build::nothing(file),
    };
    (model, reader.finish())
}

/// The longest file, in bytes.
const FILE_BYTES_MAX: usize = 4 << 20;

/// Whether a file is meant to be a rule file, by the names of its outermost fields;
/// otherwise it is a configuration.
pub fn looks_like_rules(text: &str) -> bool {
    let file = SourceFile::new("", text);
    let outline = Outline::of(&file);
    let Some(Node { shape: Shape::Block(block), .. }) = &outline.root else {
        return false;
    };
    let names: Vec<&str> =
        block.fields.iter().map(|field| &text[field.name.clone()]).collect();
    let is_configuration = ["state", "sources", "listeners"];
    if names.iter().any(|name| is_configuration.contains(name)) {
        return false;
    }
    let known = || FILE.fields.iter().map(|field| field.name);
    names.iter().any(|name| {
        known().any(|it| it == *name)
            || tripline_diagnose::words::did_you_mean(name, known()).is_some()
    })
}

/// Where in the file a byte of a text's value stands.
///
/// Of a raw text that is a sum; in another one escapes are shorter than they are written.
pub(crate) fn place_in(file: &SourceFile, text: &Text, offset: usize) -> usize {
    let written = file.text.get(text.span.clone()).unwrap_or_default();
    let Some(quote) = written.find('"') else { return text.span.start };
    let inside = text.span.start + quote + 1;
    if written.starts_with('r') {
        return (inside + offset).min(text.span.end);
    }
    let (mut at, mut decoded) = (inside, 0);
    let mut rest = &written[quote + 1..];
    while decoded < offset && !rest.is_empty() {
        let (len, becomes) = escape(rest);
        at += len;
        decoded += becomes;
        rest = &rest[len..];
    }
    at.min(text.span.end)
}

/// How long the character or escape here is as written, and as it is meant.
fn escape(rest: &str) -> (usize, usize) {
    let mut characters = rest.chars();
    match (characters.next(), characters.next()) {
        (Some('\\'), Some('x')) if rest.len() >= 4 && rest.is_char_boundary(4) => {
            let code = u32::from_str_radix(&rest[2..4], 16).unwrap_or_default();
            (4, char::from_u32(code).map_or(1, char::len_utf8))
        }
        (Some('\\'), Some('u')) => match rest.find('}') {
            Some(end) => {
                let digits = rest.get(3..end).unwrap_or_default();
                let code = u32::from_str_radix(digits, 16).unwrap_or_default();
                (end + 1, char::from_u32(code).map_or(1, char::len_utf8))
            }
            None => (rest.len(), rest.len()),
        },
        (Some('\\'), Some(escaped)) => (1 + escaped.len_utf8(), 1),
        (Some(character), _) => (character.len_utf8(), character.len_utf8()),
        (None, _) => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(written: &str, value: &str, at: &str) -> usize {
        let file = SourceFile::new("a.ron", written);
        let text = Text { value: value.to_owned(), span: 0..written.len() };
        place_in(&file, &text, value.find(at).unwrap())
    }

    #[test]
    fn places_in_texts_are_places_in_files() {
        assert_eq!(place(r##"r#"ab"c"#"##, r#"ab"c"#, "c"), 6);
        assert_eq!(place(r#""a\n\"\u{e4}b""#, "a\n\"\u{e4}b", "b"), 12);
        assert_eq!(place(r#""\x41ü!""#, "Aü!", "!"), 7);
    }

    #[test]
    fn rule_files_are_told_from_configurations() {
        assert!(looks_like_rules("(rules: [])"));
        assert!(looks_like_rules("(ruls: [])"));
        assert!(!looks_like_rules("(state: \"s\", rules: [\"a.ron\"])"));
        assert!(!looks_like_rules(""));
    }
}
