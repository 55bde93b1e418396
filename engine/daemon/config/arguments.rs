//! The arguments of one source or listener: building, and what RON says about
//! them in a user's words.

use super::Reading;
use super::entries::{Entry, one_line};
use super::said::{OUT_OF_BOUNDS, Said, Wanted, lowercase, message_and_help};
use std::mem;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use tripline_api::{Args, ArgsError, BuildContext, SourceId};
use tripline_diagnose::{
    Block, Diagnostic, Field, Node, Outline, Shape, SourceFile, words,
};

impl Reading {
    /// Builds one entry.
    ///
    /// RON stops at its first error. To find them all, a field with an error
    /// is blanked out and the rest is tried again.
    pub(super) fn build<T>(
        &mut self,
        entry: &Entry<'_>,
        below: &str,
        example: &str,
        build: impl Fn(&Args<'_>, &BuildContext<'_>) -> Result<T, ArgsError>,
    ) -> Option<T> {
        let nothing = Block::default();
        let block = entry.block.unwrap_or(&nothing);
        if self.is_damaged && self.has_syntax_error(&entry.span) {
            return None;
        }
        let mut text = self.text(&block.parentheses).to_owned();
        let directory = self.directory.clone();
        // A bad name was reported already, in better words than a factory has.
        let name =
            if SourceId::new(&entry.name).is_some() { &entry.name } else { "name" };
        let state = self.state.join(below).join(name);
        let context = BuildContext { name, directory: &directory, state: &state };
        // Fields that are there, but blanked out or misspelt.
        let mut excused: Vec<String> = Vec::new();
        let mut blanked = vec![false; block.fields.len()];
        loop {
            let error = match build(&Args::new(&text), &context) {
                Ok(built) => return (excused.is_empty()).then_some(built),
                Err(error) => error,
            };
            if !block.items.is_empty() {
                self.nameless(entry, block, example);
                return None;
            }
            let finding = self.finding(entry, block, example, &error);
            let is_echo = finding.missing.is_some_and(|name| excused.contains(&name));
            if !is_echo {
                self.diagnostics.push(finding.diagnostic);
            }
            let index = finding.field?;
            if mem::replace(&mut blanked[index], true) {
                return None;
            }
            excused.push(self.text(&block.fields[index].name).to_owned());
            excused.extend(finding.meant);
            blank(&mut text, block, index);
        }
    }

    /// Says of every value without a name which it may belong to.
    fn nameless(&mut self, entry: &Entry<'_>, block: &Block, example: &str) {
        let file = SourceFile { path: PathBuf::new(), text: example.to_owned() };
        let outline = Outline::of(&Arc::new(file));
        let Some(Node { shape: Shape::Block(model), .. }) = &outline.root else { return };
        let mut names: Vec<&str> =
            block.fields.iter().map(|field| self.text(&field.name)).collect();
        let mut found = Vec::new();
        for item in &block.items {
            let fitting = model.fields.iter().find(|field| {
                mem::discriminant(&field.value.shape) == mem::discriminant(&item.shape)
                    && !names.contains(&&example[field.name.clone()])
            });
            let name = fitting.map_or("name", |field| &example[field.name.clone()]);
            names.push(name);
            let kind = self.text(&entry.kind);
            let mut diagnostic = self
                .diagnostic(item.span.clone(), format!("`{kind}` takes values by name"));
            diagnostic.help(format!("write {name}: {}", self.text(&item.span)));
            found.push(diagnostic);
        }
        self.diagnostics.append(&mut found);
    }

    pub(super) fn has_syntax_error(&self, span: &Range<usize>) -> bool {
        self.syntax_errors.iter().any(|at| span.start <= *at && *at <= span.end)
    }

    /// Puts an error into a user's words, with the best place for it.
    fn finding(
        &self,
        entry: &Entry<'_>,
        block: &Block,
        example: &str,
        error: &ArgsError,
    ) -> Finding {
        let at = error.at.as_ref().map(|at| {
            let from = block.parentheses.start;
            from + at.start..from + at.end
        });
        let kind = self.text(&entry.kind);
        let said = Said::read(&error.message);
        match (said, at) {
            (Said::UnknownField { name, known }, Some(at)) => {
                self.unknown_field(kind, block, name, &known, at)
            }
            (Said::UnknownVariant { name, known }, Some(at)) => {
                self.unknown_variant(block, name, &known, at)
            }
            (Said::MissingField { name }, _) => {
                let span =
                    if block.parentheses.is_empty() { &entry.kind } else { &entry.span };
                let mut diagnostic = self.diagnostic(
                    span.start..span.start + kind.len(),
                    format!("`{kind}` needs a field `{name}`"),
                );
                diagnostic.help(format!("for example: {}", one_line(example)));
                Finding { missing: Some(name.to_owned()), ..Finding::new(diagnostic) }
            }
            (Said::DuplicateField { name }, Some(at)) => {
                self.duplicate_field(block, name, at)
            }
            (Said::WrongType { wanted }, Some(at)) => self.wrong_type(block, wanted, at),
            // A factory's own sentence, or a rare one of RON's.
            (_, at) => {
                let at = at.or_else(|| self.field_named_in(block, &error.message));
                let field = at.as_ref().and_then(|at| self.field_at(block, at.start));
                let span = at.unwrap_or_else(|| entry.kind.clone());
                let (message, help) = message_and_help(&error.message);
                let mut diagnostic = self.diagnostic(span, lowercase(message));
                diagnostic.help(match help {
                    Some(help) => help.to_owned(),
                    None => format!("for example: {}", one_line(example)),
                });
                Finding { field, ..Finding::new(diagnostic) }
            }
        }
    }

    fn unknown_field(
        &self,
        kind: &str,
        block: &Block,
        name: &str,
        known: &[&str],
        at: Range<usize>,
    ) -> Finding {
        let span = nearest(&at, |visit| {
            block.each_field(&mut |field| {
                if self.text(&field.name) == name {
                    visit(field.name.clone());
                }
            });
        });
        let is_own = block.fields.iter().any(|field| field.name == span);
        let message = match is_own {
            true => format!("`{kind}` has no field `{name}`"),
            false => format!("there is no field `{name}` here"),
        };
        let field = self.field_at(block, span.start);
        let meant = words::did_you_mean(name, known.iter().copied());
        let mut diagnostic = self.diagnostic(span, message);
        diagnostic
            .label(meant.map(|it| format!("did you mean `{it}`?")).unwrap_or_default());
        diagnostic.help(match known {
            [] => "it has none at all".to_owned(),
            known => format!("its fields are {}", words::list(known.iter().copied())),
        });
        Finding { field, meant: meant.map(str::to_owned), ..Finding::new(diagnostic) }
    }

    fn unknown_variant(
        &self,
        block: &Block,
        name: &str,
        known: &[&str],
        at: Range<usize>,
    ) -> Finding {
        let span = nearest(&at, |visit| {
            block.each_field(&mut |field| {
                field.value.each_word(&mut |word| {
                    if self.text(&word) == name {
                        visit(word);
                    }
                });
            });
        });
        let field = self.innermost(block, span.start).map(|it| self.text(&it.name));
        let message = match field {
            Some(field) => format!("`{field}` cannot be `{name}`"),
            None => format!("`{name}` is not known here"),
        };
        let meant = words::did_you_mean(name, known.iter().copied());
        let mut diagnostic = self.diagnostic(span.clone(), message);
        diagnostic
            .label(meant.map(|it| format!("did you mean `{it}`?")).unwrap_or_default());
        diagnostic
            .help(format!("it can be {}", words::alternatives(known.iter().copied())));
        Finding { field: self.field_at(block, span.start), ..Finding::new(diagnostic) }
    }

    fn duplicate_field(&self, block: &Block, name: &str, at: Range<usize>) -> Finding {
        let mut places = Vec::new();
        block.each_field(&mut |field| {
            if self.text(&field.name) == name {
                places.push(field.name.clone());
            }
        });
        let second = places.get(1).cloned().unwrap_or(at);
        let mut diagnostic =
            self.diagnostic(second.clone(), format!("`{name}` is there twice"));
        diagnostic.help("take one of them away");
        if let Some(first) = places.into_iter().next() {
            diagnostic.also(first, "the first one");
        }
        Finding { field: self.field_at(block, second.start), ..Finding::new(diagnostic) }
    }

    fn wrong_type(&self, block: &Block, wanted: &Wanted, at: Range<usize>) -> Finding {
        let Some(field) = self.innermost(block, at.start) else {
            let mut diagnostic =
                self.diagnostic(at, format!("{} is wanted here", wanted.what));
            diagnostic.help(format!("write for example {}", wanted.example));
            return Finding::new(diagnostic);
        };
        let name = self.text(&field.name);
        let (node, holder) = holder_of(&field.value, at.start);
        let is_negative = self.text(&node.span).starts_with('-');
        let what = match wanted.what {
            OUT_OF_BOUNDS if is_negative => "a whole number, and not negative",
            OUT_OF_BOUNDS => "a number that is not so large",
            what => what,
        };
        let message = match holder {
            Holder::Field => format!("`{name}` must be {what}"),
            Holder::List => format!("everything in `{name}` must be {what}"),
            Holder::Block(block) => {
                format!("what is in `{}(...)` must be {what}", self.text(&block.name))
            }
        };
        let repaired = self.repaired(node, wanted.example);
        let is_number = self.text(&node.span).parse::<u64>().is_ok();
        let mut diagnostic = self.diagnostic(node.span.clone(), message);
        diagnostic.help(match holder {
            Holder::Field if is_number && repaired.starts_with('"') => {
                let unit = repaired.replacen("\"", "", 1).replace('"', "s");
                format!("write {name}: {repaired}, or \"{unit}\" if it is a time")
            }
            Holder::Field => format!("write {name}: {repaired}"),
            Holder::Block(_) if wanted.what == OUT_OF_BOUNDS => {
                format!("write for example {repaired}")
            }
            Holder::List | Holder::Block(_) => format!("write {repaired}"),
        });
        Finding { field: self.field_at(block, at.start), ..Finding::new(diagnostic) }
    }

    /// What was written, as it should look: that says more than an example.
    fn repaired(&self, node: &Node, example: &str) -> String {
        let written = self.text(&node.span);
        let inside = written.trim_matches('"');
        match (&node.shape, example) {
            (Shape::Text, "[...]") => format!("[{written}]"),
            (Shape::Word, "\"...\"") => format!("\"{written}\""),
            (Shape::Text, "1") if inside.parse::<u64>().is_ok() => inside.to_owned(),
            (Shape::Text, "Name") => inside.to_owned(),
            (Shape::List(items), "\"...\"") if items.len() == 1 => {
                self.text(&items[0].span).to_owned()
            }
            (_, example) => example.to_owned(),
        }
    }

    /// The value of the first field that a sentence names in backticks.
    fn field_named_in(&self, block: &Block, sentence: &str) -> Option<Range<usize>> {
        sentence.split('`').skip(1).step_by(2).find_map(|name| {
            let field = block.fields.iter().find(|field| self.text(&field.name) == name);
            field.map(|field| field.value.span.clone())
        })
    }

    fn diagnostic(&self, span: Range<usize>, message: String) -> Diagnostic {
        Diagnostic::error(&self.file, span, message)
    }

    /// The index of the block's own field at, or last before, this place.
    fn field_at(&self, block: &Block, at: usize) -> Option<usize> {
        block.fields.iter().rposition(|field| field.name.start <= at)
    }

    /// The innermost field whose value is at this place.
    fn innermost<'a>(&self, block: &'a Block, at: usize) -> Option<&'a Field> {
        let mut found = None;
        block.each_field(&mut |field| {
            if field.name.start <= at && at <= field.value.span.end {
                found = Some(field);
            }
        });
        found
    }
}

/// What a value stands in.
enum Holder<'a> {
    Field,
    List,
    Block(&'a Block),
}

/// The innermost value without a name of its own at this place.
fn holder_of(value: &Node, at: usize) -> (&Node, Holder<'_>) {
    let (items, holder) = match &value.shape {
        Shape::List(items) => (items, Holder::List),
        Shape::Block(block) => (&block.items, Holder::Block(block)),
        _ => return (value, Holder::Field),
    };
    match items.iter().find(|it| (it.span.start..=it.span.end).contains(&at)) {
        Some(item) => match holder_of(item, at) {
            (_, Holder::Field) => (item, holder),
            deeper => deeper,
        },
        None => (value, Holder::Field),
    }
}

/// An error, and what it says about the block.
struct Finding {
    diagnostic: Diagnostic,
    /// The index of the block's field it is in, which can be blanked out to
    /// look further.
    field: Option<usize>,
    /// The field that a misspelt one was meant to be.
    meant: Option<String>,
    /// The field that is missing.
    missing: Option<String>,
}

impl Finding {
    const fn new(diagnostic: Diagnostic) -> Self {
        Self { diagnostic, field: None, meant: None, missing: None }
    }
}

/// The place nearest to `at` of those that `each` finds; `at` if it finds none.
fn nearest(
    at: &Range<usize>,
    each: impl FnOnce(&mut dyn FnMut(Range<usize>)),
) -> Range<usize> {
    let mut best: Option<Range<usize>> = None;
    each(&mut |place| {
        let distance = |place: &Range<usize>| place.start.abs_diff(at.start);
        if best.as_ref().is_none_or(|best| distance(&place) < distance(best)) {
            best = Some(place);
        }
    });
    best.unwrap_or_else(|| at.clone())
}

/// Overwrites a field, up to the next one, with spaces: what follows keeps its
/// place.
fn blank(text: &mut String, block: &Block, index: usize) {
    let from = block.parentheses.start;
    let start = block.fields[index].name.start - from;
    let end = match block.fields.get(index + 1) {
        Some(next) => next.name.start - from,
        None => block.parentheses.end - from - 1,
    };
    let blank: String = text[start..end]
        .bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect();
    text.replace_range(start..end, &blank);
}
