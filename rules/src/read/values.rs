//! Reads values by the tables of the language.

use crate::duration;
use crate::language::{Block, FILE, Field, Need, Others, Wants};
use crate::model::{At, Json, Text};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tripline_diagnose::{self as diagnose, Diagnostic, Node, Shape, SourceFile};

/// Reads a file's values, and keeps what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) file: &'a Arc<SourceFile>,
    /// What the outline says: brackets, commas, quotes.
    pub(super) syntax: Vec<Diagnostic>,
    pub(super) found: Vec<Diagnostic>,
}

/// The values of a block that are sound.
#[derive(Debug)]
pub(super) struct Values {
    /// The word before it.
    pub(super) kind: &'static str,
    pub(super) word: Range<usize>,
    pub(super) span: Range<usize>,
    pub(super) fields: Vec<(&'static str, Value)>,
    pub(super) item: Option<Box<Value>>,
    /// Fields that are not in the table, where the table takes them.
    pub(super) others: Vec<Other>,
    /// Fields that are there and could not be read.
    pub(super) unread: Vec<String>,
}

/// A field that is not in the table.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) name: Text,
    pub(super) value: Range<usize>,
    /// As a test wants it.
    pub(super) wanted: Option<crate::model::Wanted>,
}

/// A sound value.
#[derive(Debug)]
pub(super) enum Value {
    Text(Text),
    Texts(At<Vec<Text>>),
    TextMap(Vec<(Text, Text)>),
    TextMaps(Vec<At<Vec<(Text, Text)>>>),
    Duration(At<Duration>),
    Number(At<u64>),
    Flag(bool),
    Words(Vec<At<&'static str>>),
    Block(Values),
    Blocks(Vec<Values>),
    BlockMap(Vec<(Text, Vec<Values>)>),
    KindMap(Vec<(Text, Values)>),
    Json(Json),
    JsonMap(Vec<(Text, Json)>),
    Raw(Text),
}

impl Values {
    /// What stands for a block that could not be read.
    const fn unsound(span: Range<usize>) -> Self {
        Self {
            kind: "",
            word: span.start..span.start,
            span,
            fields: Vec::new(),
            item: None,
            others: Vec::new(),
            unread: Vec::new(),
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) const fn new(file: &'a Arc<SourceFile>, syntax: Vec<Diagnostic>) -> Self {
        Self { file, syntax, found: Vec::new() }
    }

    pub(super) const fn is_damaged(&self) -> bool {
        !self.syntax.is_empty()
    }

    /// All that is wrong.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        if self.syntax.is_empty() && self.found.is_empty() {
            self.believe_ron();
        }
        self.found.append(&mut self.syntax);
        diagnose::sort(&mut self.found);
        self.found
    }

    /// The file's block.
    pub(super) fn root(&mut self, root: Option<&Node>) -> Option<Values> {
        match root {
            None if self.is_damaged() => None,
            None => {
                self.error("E008", 0..0, "the file is empty")
                    .help("write ( rules: [..] ), or take the file away");
                None
            }
            Some(node) => self.block(node, &FILE),
        }
    }

    /// The fields of a block. `None` if it is none.
    pub(super) fn block(&mut self, node: &Node, block: &'static Block) -> Option<Values> {
        let nothing = diagnose::Block::default();
        let (word, inner) = match &node.shape {
            Shape::Block(inner) => (inner.name.clone(), inner),
            Shape::Word if !block.word.is_empty() => (node.span.clone(), &nothing),
            _ => {
                self.no_block(node, block);
                return None;
            }
        };
        if block.word.is_empty() && !word.is_empty() {
            let name = self.text(&word).to_owned();
            self.error(
                "E004",
                word.clone(),
                format!("{} has no word in front", block.title),
            )
            .help(format!("take `{name}` away and begin with the `(`"));
        }
        let mut values = Values {
            kind: block.word,
            word,
            span: node.span.clone(),
            fields: Vec::new(),
            item: None,
            others: Vec::new(),
            unread: Vec::new(),
        };
        let mut seen: Vec<(&str, Range<usize>)> = Vec::new();
        for field in &inner.fields {
            let name = self.text(&field.name);
            if let Some((_, first)) = seen.iter().find(|(it, _)| *it == name) {
                let first = first.clone();
                self.twice(field.name.clone(), first);
                continue;
            }
            seen.push((name, field.name.clone()));
            match block.field(name) {
                Some(known) => self.field(block, known, &field.value, &mut values),
                None if block.others == Others::Wrong => {
                    let meant = self.unknown_field(block, node, field);
                    values.unread.extend(meant.map(str::to_owned));
                    values.unread.push(name.to_owned());
                }
                None => self.other(block.others, field, &mut values),
            }
        }
        if block.others == Others::Kept {
            self.are_fixed(&values);
        }
        self.items(block, node, &inner.items, &mut values);
        self.missing(block, &mut values, node);
        Some(values)
    }

    fn field(
        &mut self,
        block: &'static Block,
        field: &'static Field,
        node: &Node,
        values: &mut Values,
    ) {
        match self.value(field.wants, node, field.name) {
            Some(value) if self.is_fixed(block, field, &value) => {
                values.fields.push((field.name, value));
            }
            _ => values.unread.push(field.name.to_owned()),
        }
    }

    fn other(&mut self, others: Others, field: &diagnose::Field, values: &mut Values) {
        let name =
            Text { value: self.text(&field.name).to_owned(), span: field.name.clone() };
        let wanted = match others {
            Others::Wanted => self.wanted(&field.value),
            _ => None,
        };
        values.others.push(Other { name, value: field.value.span.clone(), wanted });
    }

    /// What stands in the parentheses without a name.
    fn items(
        &mut self,
        block: &'static Block,
        node: &Node,
        items: &[Node],
        values: &mut Values,
    ) {
        let mut items = items.iter();
        if let Some(wants) = block.item {
            match items.next() {
                Some(item) => {
                    values.item = self.value(wants, item, block.word).map(Box::new);
                    if values.item.is_none() {
                        values.unread.push(block.word.to_owned());
                    }
                }
                None if self.is_damaged_at(&node.span) => {}
                None => {
                    let what = wants.words();
                    let message = format!("{} needs {what} in parentheses", block.title);
                    self.error("E005", values.word.clone(), message)
                        .help(format!("for example: {}", block.example));
                    values.unread.push(block.word.to_owned());
                }
            }
        }
        for item in items {
            if !self.is_damaged_at(&node.span) {
                self.nameless(block, item);
            }
        }
    }

    /// A value of the kind that is wanted; `field` is the name that messages use.
    pub(super) fn value(
        &mut self,
        wants: Wants,
        node: &Node,
        field: &str,
    ) -> Option<Value> {
        let value = match (wants, &node.shape) {
            (Wants::Text(_), Shape::Text) => Value::Text(self.string(node)?),
            (Wants::Texts(_), Shape::Text) => {
                let text = self.string(node)?;
                Value::Texts(At { value: vec![text], span: node.span.clone() })
            }
            (Wants::Texts(_) | Wants::TextList(_), Shape::List(items)) => {
                let mut texts = Vec::with_capacity(items.len());
                let mut is_sound = true;
                for item in items {
                    match &item.shape {
                        Shape::Text => texts.extend(self.string(item)),
                        _ => {
                            self.wrong_item(item, field, "a text in quotes");
                            is_sound = false;
                        }
                    }
                }
                if !is_sound || texts.len() < items.len() {
                    return None;
                }
                Value::Texts(At { value: texts, span: node.span.clone() })
            }
            (Wants::TextMap(_), Shape::Map(_)) => {
                Value::TextMap(self.text_map(node, field)?)
            }
            (Wants::TextMaps, Shape::List(items)) => {
                let maps = items.iter().map(|item| {
                    let value = self.text_map(item, field)?;
                    Some(At { value, span: item.span.clone() })
                });
                Value::TextMaps(maps.collect::<Option<_>>()?)
            }
            (Wants::Duration, Shape::Text) => Value::Duration(self.duration(node)?),
            (Wants::Duration, Shape::Word) => {
                self.no_unit(node, field);
                return None;
            }
            (Wants::Number(min, max), Shape::Word) => {
                Value::Number(self.number(node, field, min, max)?)
            }
            (Wants::Flag, Shape::Word) if self.text(&node.span) == "true" => {
                Value::Flag(true)
            }
            (Wants::Flag, Shape::Word) if self.text(&node.span) == "false" => {
                Value::Flag(false)
            }
            (Wants::Word(words) | Wants::Words(words), Shape::Word) => {
                Value::Words(vec![self.word(node, words, field)?])
            }
            (Wants::Words(words), Shape::List(items)) => {
                let found = items.iter().map(|item| match item.shape {
                    Shape::Word => self.word(item, words, field),
                    _ => {
                        self.wrong_item(item, field, "a word without quotes");
                        None
                    }
                });
                let found: Vec<_> = found.collect();
                Value::Words(found.into_iter().collect::<Option<_>>()?)
            }
            (Wants::Block(block), Shape::Block(_)) => {
                Value::Block(self.block(node, block)?)
            }
            (Wants::Blocks(block), Shape::List(items)) => Value::Blocks(
                items.iter().filter_map(|it| self.block(it, block)).collect(),
            ),
            (Wants::BlockMap(block), Shape::Map(entries)) => {
                Value::BlockMap(self.block_map(entries, block, field))
            }
            (Wants::Kind(kinds), Shape::Block(_) | Shape::Word) => {
                Value::Block(self.kind(node, kinds, field)?)
            }
            (Wants::Kinds(kinds), Shape::List(items)) => {
                Value::Blocks(self.kinds(items, kinds, field))
            }
            (Wants::KindMap(kinds), Shape::Map(entries)) => {
                let mut map = Vec::new();
                for (key, value) in entries {
                    let key = self.key(key, field)?;
                    map.push((key, self.kind(value, kinds, field)?));
                }
                Value::KindMap(map)
            }
            (Wants::Json, _) => Value::Json(self.json(node)?),
            (Wants::JsonMap, Shape::Map(entries)) => {
                let entries = entries
                    .iter()
                    .map(|(key, value)| Some((self.key(key, field)?, self.json(value)?)));
                Value::JsonMap(entries.collect::<Option<_>>()?)
            }
            (Wants::Raw, _) => {
                let value = self.text(&node.span).to_owned();
                Value::Raw(Text { value, span: node.span.clone() })
            }
            _ => {
                self.wrong(wants, node, field);
                return None;
            }
        };
        Some(value)
    }

    /// All of the list; what is not sound has no word, so that the others are looked at.
    fn kinds(
        &mut self,
        items: &[Node],
        kinds: &'static [&'static Block],
        field: &str,
    ) -> Vec<Values> {
        let mut found = Vec::with_capacity(items.len());
        for item in items {
            let values = match &item.shape {
                Shape::Block(_) | Shape::Word => self.kind(item, kinds, field),
                _ => {
                    self.wrong_item(
                        item,
                        field,
                        "a kind with its arguments in parentheses",
                    );
                    None
                }
            };
            found.push(values.unwrap_or_else(|| Values::unsound(item.span.clone())));
        }
        found
    }

    fn kind(
        &mut self,
        node: &Node,
        kinds: &'static [&'static Block],
        field: &str,
    ) -> Option<Values> {
        let name = match &node.shape {
            Shape::Block(block) => block.name.clone(),
            _ => node.span.clone(),
        };
        match kinds.iter().find(|kind| kind.word == self.text(&name)) {
            Some(kind) => self.block(node, kind),
            None => {
                self.unknown_kind(node, name, kinds, field);
                None
            }
        }
    }

    fn block_map(
        &mut self,
        entries: &[(Node, Node)],
        block: &'static Block,
        field: &str,
    ) -> Vec<(Text, Vec<Values>)> {
        let mut map = Vec::new();
        for (key, value) in entries {
            let Some(key) = self.key(key, field) else { continue };
            let Shape::List(items) = &value.shape else {
                self.wrong(Wants::Blocks(block), value, &key.value);
                continue;
            };
            map.push((
                key,
                items.iter().filter_map(|it| self.block(it, block)).collect(),
            ));
        }
        map
    }

    fn text_map(&mut self, node: &Node, field: &str) -> Option<Vec<(Text, Text)>> {
        let Shape::Map(entries) = &node.shape else {
            self.wrong(Wants::TextMap(crate::language::Holds::Plain), node, field);
            return None;
        };
        let mut map: Vec<(Text, Text)> = Vec::new();
        let mut is_sound = true;
        for (key, value) in entries {
            let Some(key) = self.key(key, field) else {
                is_sound = false;
                continue;
            };
            if let Some((first, _)) = map.iter().find(|(it, _)| it.value == key.value) {
                let first = first.span.clone();
                self.twice(key.span, first);
                continue;
            }
            match &value.shape {
                Shape::Text => match self.string(value) {
                    Some(text) => map.push((key, text)),
                    None => is_sound = false,
                },
                _ => {
                    self.wrong_item(value, field, "a text in quotes");
                    is_sound = false;
                }
            }
        }
        is_sound.then_some(map)
    }

    pub(super) fn key(&mut self, node: &Node, field: &str) -> Option<Text> {
        if let Shape::Text = node.shape {
            return self.string(node);
        }
        let written = self.text(&node.span).to_owned();
        self.error("E013", node.span.clone(), format!("names in `{field}` are texts"))
            .help(format!("write \"{written}\": .."));
        None
    }

    fn duration(&mut self, node: &Node) -> Option<At<Duration>> {
        let text = self.string(node)?;
        match duration::parse(&text.value) {
            Some(value) if (duration::MIN..=duration::MAX).contains(&value) => {
                Some(At { value, span: text.span })
            }
            parsed => {
                self.no_duration(&text, parsed.is_some());
                None
            }
        }
    }

    fn number(
        &mut self,
        node: &Node,
        field: &str,
        min: u64,
        max: u64,
    ) -> Option<At<u64>> {
        let written = self.text(&node.span);
        let Ok(value) = written.replace('_', "").parse::<u64>() else {
            self.wrong(Wants::Number(min, max), node, field);
            return None;
        };
        if !(min..=max).contains(&value) {
            let message = format!("`{field}` must lie between {min} and {max}");
            let nearest = value.clamp(min, max);
            self.error("E013", node.span.clone(), message)
                .help(format!("write {field}: {nearest}"));
            return None;
        }
        Some(At { value, span: node.span.clone() })
    }

    /// A text's value. What is wrong with its escapes the outline has said.
    pub(super) fn string(&mut self, node: &Node) -> Option<Text> {
        let written = self.text(&node.span);
        match ron::from_str::<String>(written) {
            Ok(value) => Some(Text { value, span: node.span.clone() }),
            Err(_) if self.is_damaged_at(&node.span) => None,
            Err(error) => {
                let message = format!("this text cannot be read: {}", error.code);
                self.error("E008", node.span.clone(), message)
                    .help("write it as r\"...\", where a backslash is itself");
                None
            }
        }
    }

    fn json(&mut self, node: &Node) -> Option<Json> {
        Some(match &node.shape {
            Shape::Text => Json::Text(self.string(node)?),
            Shape::List(items) => {
                let items = items.iter().map(|item| self.json(item));
                Json::List(items.collect::<Option<_>>()?)
            }
            Shape::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| {
                    Some((self.key(key, "json")?, self.json(value)?))
                });
                Json::Map(entries.collect::<Option<_>>()?)
            }
            Shape::Word | Shape::Block(_) => {
                let written = self.text(&node.span);
                let plain = match written {
                    "None" => Some(serde_json::Value::Null),
                    _ => serde_json::from_str(written).ok(),
                };
                let Some(plain) = plain else {
                    self.wrong(Wants::Json, node, "json");
                    return None;
                };
                Json::Plain(plain)
            }
        })
    }

    /// Whether brackets, commas or quotes are wrong in there.
    pub(super) fn is_damaged_at(&self, span: &Range<usize>) -> bool {
        self.syntax
            .iter()
            .any(|it| span.start <= it.span.start && it.span.start <= span.end)
    }

    pub(super) fn text(&self, span: &Range<usize>) -> &'a str {
        self.file.text.get(span.clone()).unwrap_or_default()
    }

    pub(super) fn error(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let mut diagnostic = Diagnostic::error(self.file, span, message);
        diagnostic.code(code);
        self.found.push(diagnostic);
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    /// The outline overlooks what RON does not: a file is sound when both say so.
    fn believe_ron(&mut self) {
        let whole = tripline_api::Args::new(&self.file.text);
        if let Err(error) = whole.parse::<serde::de::IgnoredAny>() {
            let at = error.at.unwrap_or(0..0);
            self.error("E008", at, format!("this is not RON: {}", error.message))
                .help("write texts in quotes, lists in [], names and values in {}");
        }
    }

    fn missing(&mut self, block: &'static Block, values: &mut Values, node: &Node) {
        if self.is_damaged_at(&node.span) {
            return;
        }
        for field in block.all_fields().filter(|field| field.need == Need::Required) {
            let is_there = values.fields.iter().any(|(name, _)| *name == field.name)
                || values.unread.iter().any(|name| name == field.name);
            if !is_there {
                self.missing_field(block, field, values);
                values.unread.push(field.name.to_owned());
            }
        }
    }
}
