//! The shape of a RON file: which block, list or text lies where.
//!
//! RON itself stops at its first error and forgets where things were. The
//! outline does neither: it pairs brackets, goes on behind a mistake, and so
//! lets every block be read on its own and every message point at its words.
//! What the values mean is left to RON.

mod scan;

use crate::diagnostic::{Diagnostic, SourceFile};
use std::ops::Range;
use std::sync::Arc;

/// The shape of a file.
#[derive(Debug)]
pub struct Outline {
    /// The one value that a file holds; `None` if it holds nothing.
    pub root: Option<Node>,
    /// What is wrong with brackets, commas and quotes.
    pub problems: Vec<Diagnostic>,
}

/// A value.
#[derive(Debug)]
pub struct Node {
    /// Its bytes.
    pub span: Range<usize>,
    /// What it looks like.
    pub shape: Shape,
}

/// What a value looks like.
#[derive(Debug)]
pub enum Shape {
    /// A name, a number, a character.
    Word,
    /// A text in quotes.
    Text,
    /// `(...)` or `Name(...)`.
    Block(Block),
    /// `[...]`.
    List(Vec<Node>),
    /// `{...}`: keys and values.
    Map(Vec<(Node, Node)>),
}

/// `(...)` or `Name(...)`.
#[derive(Debug, Default)]
pub struct Block {
    /// The name in front of it; empty if there is none.
    pub name: Range<usize>,
    /// From the opening to the closing parenthesis.
    pub parentheses: Range<usize>,
    /// The values with a name, in order.
    pub fields: Vec<Field>,
    /// The values without one.
    pub items: Vec<Node>,
}

/// `name: value`.
#[derive(Debug)]
pub struct Field {
    /// The name.
    pub name: Range<usize>,
    /// The value.
    pub value: Node,
}

impl Outline {
    /// Finds the shape of a file.
    pub fn of(file: &Arc<SourceFile>) -> Self {
        let mut parser = Parser {
            file,
            text: &file.text,
            at: 0,
            open: Vec::new(),
            misindented: Vec::new(),
            lost: false,
            problems: Vec::new(),
        };
        let root = parser.file();
        Self { root, problems: parser.problems }
    }
}

impl Node {
    /// Calls `visit` for every field in it, outer ones before inner ones.
    pub fn each_field<'a>(&'a self, visit: &mut impl FnMut(&'a Field)) {
        match &self.shape {
            Shape::Word | Shape::Text => {}
            Shape::Block(block) => block.each_field(visit),
            Shape::List(items) => items.iter().for_each(|item| item.each_field(visit)),
            Shape::Map(entries) => {
                entries.iter().for_each(|(_, value)| value.each_field(visit));
            }
        }
    }

    /// Calls `visit` for every word and every block's name in it.
    pub fn each_word(&self, visit: &mut impl FnMut(Range<usize>)) {
        match &self.shape {
            Shape::Text => {}
            Shape::Word => visit(self.span.clone()),
            Shape::Block(block) => {
                visit(block.name.clone());
                block.fields.iter().for_each(|field| field.value.each_word(visit));
                block.items.iter().for_each(|item| item.each_word(visit));
            }
            Shape::List(items) => items.iter().for_each(|item| item.each_word(visit)),
            Shape::Map(entries) => {
                entries.iter().for_each(|(_, value)| value.each_word(visit));
            }
        }
    }
}

impl Block {
    /// See [`Node::each_field`].
    pub fn each_field<'a>(&'a self, visit: &mut impl FnMut(&'a Field)) {
        for field in &self.fields {
            visit(field);
            field.value.each_field(visit);
        }
        self.items.iter().for_each(|item| item.each_field(visit));
    }
}

/// Reads a file from front to back, with the brackets that are open.
struct Parser<'a> {
    file: &'a Arc<SourceFile>,
    text: &'a str,
    at: usize,
    open: Vec<Bracket>,
    /// Pairs whose closing bracket begins a line that is indented unlike the
    /// opening one's: when brackets do not add up, one of these lies.
    misindented: Vec<(Bracket, usize)>,
    /// A bracket was not closed.
    lost: bool,
    problems: Vec<Diagnostic>,
}

/// An opening bracket, with the name in front of it.
#[derive(Clone, Copy)]
struct Bracket {
    kind: u8,
    from: usize,
    at: usize,
}

impl Parser<'_> {
    fn file(&mut self) -> Option<Node> {
        self.skip_attributes();
        let root = self.value();
        self.skip_blank();
        if root.is_none() && self.peek().is_some() {
            let span = self.character();
            self.problem(span, "nothing can begin like this")
                .code("E008")
                .help("a file is one block: ( name: value, ... )");
        } else if self.peek().is_some() {
            let span = self.character();
            self.problem(
                span,
                "the block that the file consists of has ended before this",
            )
            .code("E008")
            .help("take this away, or the closing bracket before it");
        }
        root
    }

    /// The next value; `None` without a step where there is none.
    fn value(&mut self) -> Option<Node> {
        self.skip_blank();
        let start = self.at;
        let shape = match self.peek()? {
            b'(' => Shape::Block(self.block(start..start)),
            b'[' => Shape::List(self.list()),
            b'{' => Shape::Map(self.map()),
            _ if self.skip_text() => Shape::Text,
            _ if self.skip_word() => {
                let name = start..self.at;
                self.skip_blank();
                if self.peek() == Some(b'(') {
                    Shape::Block(self.block(name))
                } else {
                    self.at = name.end;
                    Shape::Word
                }
            }
            _ => return None,
        };
        Some(Node { span: start..self.at, shape })
    }

    fn block(&mut self, name: Range<usize>) -> Block {
        let opening = self.at;
        let (mut fields, mut items) = (Vec::new(), Vec::new());
        self.elements(name.start, |parser| {
            let Some(node) = parser.value() else { return };
            let end = parser.at;
            parser.skip_blank();
            if matches!(node.shape, Shape::Word) && parser.skip_colon(&node) {
                match parser.value() {
                    Some(value) => fields.push(Field { name: node.span, value }),
                    None => parser.missing_value(),
                }
            } else {
                parser.at = end;
                items.push(node);
            }
        });
        Block { name, parentheses: opening..self.at, fields, items }
    }

    fn list(&mut self) -> Vec<Node> {
        let mut items = Vec::new();
        self.elements(self.at, |parser| items.extend(parser.value()));
        items
    }

    fn map(&mut self) -> Vec<(Node, Node)> {
        let mut entries = Vec::new();
        self.elements(self.at, |parser| {
            let Some(key) = parser.value() else { return };
            parser.skip_blank();
            if parser.peek() == Some(b':') {
                parser.at += 1;
            } else {
                let end = key.span.end;
                parser
                    .problem(end..end, "a `:` and a value are missing behind this")
                    .code("E008")
                    .help("write `: ` and the value");
            }
            match parser.value() {
                Some(value) => entries.push((key, value)),
                None => parser.missing_value(),
            }
        });
        entries
    }

    /// Reads what stands between the bracket here and its partner; `from` is
    /// where the name in front of the bracket begins.
    fn elements(&mut self, from: usize, mut element: impl FnMut(&mut Self)) {
        let bracket = Bracket { kind: self.text.as_bytes()[self.at], from, at: self.at };
        self.at += 1;
        if self.open.len() == DEPTH_MAX {
            self.problem(bracket.at..self.at, "brackets are nested too deeply here")
                .code("E008")
                .help(format!("at most {DEPTH_MAX} may be open"));
            self.at = self.text.len();
            self.lost = true;
            return;
        }
        self.open.push(bracket);
        while !self.ends(bracket) {
            let before = self.at;
            element(self);
            if self.at == before {
                let span = self.character();
                self.at = span.end;
                if self.text[span.clone()] == *"," {
                    self.problem(span, "a value is missing before this comma")
                        .code("E008")
                        .help("take the comma away");
                } else {
                    self.problem(span, "no value can begin like this")
                        .code("E008")
                        .help("take it away, or put it into quotes");
                }
                continue;
            }
            self.comma();
        }
        self.open.pop();
    }

    /// Whether the bracket's elements end here. Steps over the closing one.
    fn ends(&mut self, bracket: Bracket) -> bool {
        let value_end = self.at;
        loop {
            self.skip_blank();
            match self.peek() {
                None => {
                    self.unclosed(bracket, None);
                    return true;
                }
                Some(byte) if byte == closing(bracket.kind) => {
                    self.note_indentation(bracket);
                    self.at += 1;
                    return true;
                }
                Some(byte @ (b')' | b']' | b'}')) => {
                    if self.open.iter().any(|it| closing(it.kind) == byte) {
                        self.unclosed(bracket, Some(self.at));
                        return true;
                    }
                    self.at += 1;
                    let span = self.at - 1..self.at;
                    self.problem(span, "this bracket closes none that is open")
                        .code("E002")
                        .help("take it away, or write the opening one");
                }
                Some(_) if self.belongs_outside(bracket) => {
                    self.unclosed(bracket, Some(self.at));
                    // As if it had been closed in front of the last comma.
                    let is_behind_comma = self.text[..value_end].ends_with(',');
                    self.at = value_end - usize::from(is_behind_comma);
                    return true;
                }
                Some(_) => return false,
            }
        }
    }

    /// Whether what comes next fits the bracket outside better: a key in
    /// quotes does not occur in parentheses but does in the braces around
    /// them, a field not in a list or in braces. A name in front of a kind is
    /// a key whose quotes were forgotten.
    fn belongs_outside(&mut self, bracket: Bracket) -> bool {
        let [.., outer, _] = self.open.as_slice() else { return false };
        let outer = outer.kind;
        let before = self.at;
        let belongs = match (bracket.kind, outer) {
            (b'(', b'{') => self.skip_text() && self.is_colon(),
            (b'[', b'(') => self.skip_word() && self.is_colon(),
            (b'{', b'(') => {
                self.skip_word() && self.is_colon() && !self.is_kind_behind_colon()
            }
            _ => false,
        };
        self.at = before;
        belongs
    }

    /// Steps over the comma that must stand between two elements.
    fn comma(&mut self) {
        let end = self.at;
        self.skip_blank();
        match self.peek() {
            Some(b',') => self.at += 1,
            None | Some(b')' | b']' | b'}') => {}
            Some(_) if self.at == end => {
                let span = self.character();
                self.problem(end..span.end, "a comma is missing here, or this does not belong here")
                    .code("E007")
                    .help("a `\"` inside a text is written `\\\"`, or the whole text r#\"...\"#");
                self.end_text(self.at, None);
                self.skip_blank();
                if self.peek() == Some(b',') {
                    self.at += 1;
                }
            }
            Some(_) => {
                // The caret goes where the comma goes, not to what follows.
                self.problem(end..end, "a comma is missing behind this")
                    .code("E001")
                    .label("`,`")
                    .help("write a `,` here");
            }
        }
    }

    fn missing_value(&mut self) {
        let at = self.text[..self.at].trim_end().len();
        self.problem(at..at, "a value is missing behind this")
            .code("E008")
            .help("write the value, or take the name away");
        if self.peek() == Some(b',') {
            self.at += 1;
        }
    }

    fn unclosed(&mut self, bracket: Bracket, expected: Option<usize>) {
        let inner = self.misindented.iter().find(|(inner, _)| inner.at > bracket.at);
        let (culprit, end) = match inner {
            Some(&(inner, end)) => (inner, Some(end)),
            None => (bracket, expected),
        };
        // One bracket that is not closed leaves others open at the end.
        if std::mem::replace(&mut self.lost, true) && expected.is_none() {
            return;
        }
        self.misindented.clear();
        let name = &self.text[culprit.from..=culprit.at];
        let message = format!("`{name}` is not closed");
        let closing = char::from(closing(culprit.kind));
        let help = format!("write a `{closing}` where it ends");
        let problem = self.problem(culprit.from..culprit.at + 1, message);
        problem.code("E002").help(help);
        if let Some(end) = end {
            problem.also(end..end + 1, format!("`{closing}` is missing before this"));
        }
    }

    /// Remembers a pair of brackets that is probably none.
    fn note_indentation(&mut self, bracket: Bracket) {
        let (open, close) = (self.line_start(bracket.at), self.line_start(self.at));
        let indentation = |from: usize| {
            self.text[from..].chars().take_while(|c| matches!(c, ' ' | '\t')).count()
        };
        let begins_line = close + indentation(close) == self.at;
        if open != close && begins_line && indentation(open) != indentation(close) {
            self.misindented.push((bracket, self.at));
        }
    }

    fn problem(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.problems.push(Diagnostic::error(self.file, span, message));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }
}

const fn closing(opening: u8) -> u8 {
    match opening {
        b'(' => b')',
        b'[' => b']',
        _ => b'}',
    }
}

/// The deepest nesting; what people write has five.
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(text: &str) -> Outline {
        let file = SourceFile { path: "x.ron".into(), text: text.to_owned() };
        Outline::of(&Arc::new(file))
    }

    /// Message and place of every problem.
    fn problems(text: &str) -> Vec<(String, (usize, usize))> {
        outline(text)
            .problems
            .iter()
            .map(|it| (it.message.clone(), it.file.position(it.span.start)))
            .collect()
    }

    fn one(text: &str) -> (String, (usize, usize)) {
        let mut problems = problems(text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.remove(0)
    }

    #[test]
    fn a_sound_file_has_a_shape() {
        let text = r##"#![enable(implicit_some)]
// A comment with ( and ".
(
    a: "te\"xt", /* nested /* comment */ ( */
    b: Kind(x: [1, 2.5, -3,], y: r#"raw " text"#, z: 'c', w: '"'),
    c: { "k": Other, "l": Other(12) },
    d: (),
)
// The end"##;
        let outline = outline(text);
        assert!(outline.problems.is_empty(), "{:?}", outline.problems);
        let Some(Node { shape: Shape::Block(block), .. }) = outline.root else {
            panic!()
        };
        let names: Vec<_> =
            block.fields.iter().map(|it| &text[it.name.clone()]).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        let Shape::Map(entries) = &block.fields[2].value.shape else { panic!() };
        assert_eq!(entries.len(), 2);
        let Shape::Block(inner) = &entries[1].1.shape else { panic!() };
        assert_eq!(&text[inner.name.clone()], "Other");
        assert_eq!(&text[inner.parentheses.clone()], "(12)");
    }

    #[test]
    fn a_missing_comma_is_missing_where_it_belongs() {
        let (message, place) = one("(\n    a: Kind(1)\n    b: 2,\n)");
        assert_eq!(
            (message.as_str(), place),
            ("a comma is missing behind this", (2, 15))
        );
    }

    #[test]
    fn an_open_bracket_is_named() {
        let (message, place) = one("(\n  a: {\n    \"k\": Kind(x: 1,\n  },\n)");
        assert_eq!((message.as_str(), place), ("`Kind(` is not closed", (3, 10)));
        let (message, place) = one("(a: {\"k\": Kind(x: 1, \"l\": Kind(x: 2)})");
        assert_eq!((message.as_str(), place), ("`Kind(` is not closed", (1, 11)));
        let (message, place) = one("(a: [\"k\", b: 1)");
        assert_eq!((message.as_str(), place), ("`[` is not closed", (1, 5)));
        let (message, place) = one("(a: {\"k\": 1, b: 1)");
        assert_eq!((message.as_str(), place), ("`{` is not closed", (1, 5)));
        let (message, place) = one("(a: 1");
        assert_eq!((message.as_str(), place), ("`(` is not closed", (1, 1)));
    }

    #[test]
    fn the_indentation_tells_which_bracket_is_open() {
        let text = "(\n  a: Outer(\n    b: Inner(\n      c: 1,\n  ),\n)";
        let (message, place) = one(text);
        assert_eq!((message.as_str(), place), ("`Inner(` is not closed", (3, 8)));
    }

    #[test]
    fn other_mistakes() {
        for (text, wanted, place) in [
            ("(a: 1, , b: 2)", "a value is missing before this comma", (1, 8)),
            ("(a: , b: 2)", "a value is missing behind this", (1, 4)),
            ("(a 1)", "a `:` is missing behind this", (1, 3)),
            ("(a: {\"k\" 1})", "a `:` and a value are missing behind this", (1, 9)),
            ("(a: 1])", "this bracket closes none that is open", (1, 6)),
            (
                "(a: 1) b",
                "the block that the file consists of has ended before this",
                (1, 8),
            ),
            ("(a: \"x)\n", "the text that begins here has no end", (1, 5)),
            (
                "(\na: \"x),\n\nb: [\"y\"])",
                "the text that begins here has no end",
                (2, 4),
            ),
            (
                "(a: \"x, b: {\"y\": K(c: \"z\")})",
                "the text that begins here has no end",
                (1, 5),
            ),
            ("(a: [\"x], b: \"y\")", "the text that begins here has no end", (1, 6)),
            ("(a: r#\"x\")", "the text that begins here has no end", (1, 5)),
            ("(a: \"\\S\")", "`\\S` means nothing inside \"...\"", (1, 6)),
            ("(a: {k: K(), l: 1})", "`{` is not closed", (1, 5)),
            ("(a: /* x)", "the comment that begins here has no end", (1, 5)),
            ("(a: %)", "a value is missing behind this", (1, 4)),
        ] {
            let found = problems(text);
            assert!(
                found.iter().any(|it| it.0 == wanted && it.1 == place),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn a_quote_in_a_text_is_one_mistake() {
        let (message, place) = one("(\n  a: K(b: \"say \"hi\" x\"),\n)");
        assert!(message.starts_with("a comma is missing here"), "{message}");
        assert_eq!(place, (2, 17));
        one("(a: \"x, b: {\"y\": K(c: \"z\")})");
    }

    #[test]
    fn two_mistakes_are_two_messages() {
        let found = problems("(\n  a: 1\n  b: 2\n  c: 3,\n)");
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn any_prefix_and_any_byte_are_survived() {
        let text = "(a: {\"k\": Kind(x: [r#\"t\"#, 'c'], y: /* c */ -1.5)}, // end\n)";
        for end in 0..text.len() {
            _ = outline(&text[..end]);
            for byte in ["(", ")", "[", "]", "{", "}", ",", ":", "\"", "'", "ä", "#", "/"]
            {
                _ = outline(&format!("{}{byte}{}", &text[..end], &text[end..]));
            }
        }
        let deep = outline(&"(".repeat(100_000));
        assert!(deep.problems[0].message.contains("too deeply"));
    }
}
