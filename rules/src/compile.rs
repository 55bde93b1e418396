//! From all files' models to the one set: every name, pattern, expression and number.

mod action;
mod calendar;
mod expect;
mod fingerprint;
mod lint;
mod needs;
mod program;
mod rule;
mod text;
mod when;

use crate::compiled::{Calendar, Expression, LoadedFile, RuleSet, Template};
use crate::expression::{self, Finding};
use crate::functions;
use crate::model::{ActionKind, RuleFile, Text};
use crate::read::{did_you_mean, place_in, read};
use crate::roots::{Roots, TAKEN};
use minijinja::Environment;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use tripline_api::ListenerFactory;
use tripline_diagnose::{Diagnostic, Severity, SourceFile, sort, words};

/// What is known beside the files.
#[derive(Clone, Default)]
pub struct Known {
    /// The sources of the configuration, and whether they are journals; `None`: any name
    /// may be one.
    pub sources: Option<Vec<(String, bool)>>,
    /// The kinds of listeners, of which `Mail` and `Forward` look at the arguments that
    /// actions hand on. Without them these are not looked at.
    pub listeners: &'static [&'static dyn ListenerFactory],
}

/// What became of the files.
#[derive(Debug)]
pub struct Loaded {
    /// The set; `None` if there is an error.
    pub set: Option<RuleSet>,
    /// Everything that is wrong, by file and place. Warnings only where there is no error.
    pub diagnostics: Vec<Diagnostic>,
    /// How many rules there are, sound or not.
    pub rules: usize,
    /// How many tests there are, sound or not.
    pub tests: usize,
}

/// Reads all files as one set. They are text; a file that is not is the caller's to tell.
pub fn load(files: &[Arc<SourceFile>], known: &Known) -> Loaded {
    // Long chains of `a.b.c` and `elif` are deep trees: bounded, but deeper than the
    // stack of a thread that is not made for them.
    let made = thread::scope(|scope| {
        let builder = thread::Builder::new().name("rules".to_owned());
        let builder = builder.stack_size(STACK_BYTES);
        let thread = builder.spawn_scoped(scope, || load_here(files, known));
        thread.map(thread::ScopedJoinHandle::join)
    });
    match made {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(_) => load_here(files, known),
    }
}

/// Of the thread that reads rules. What is not used is never made.
const STACK_BYTES: usize = 64 << 20;

fn load_here(files: &[Arc<SourceFile>], known: &Known) -> Loaded {
    let mut found = Vec::new();
    let mut sheets = Vec::with_capacity(files.len());
    for file in files {
        let (model, wrong) = read(file);
        let damage = wrong.iter().filter(|it| is_damage(it)).map(|it| it.span.clone());
        sheets.push(Sheet { damage: damage.collect(), model });
        found.push(wrong);
    }
    let (shared, wrong) = Shared::of(&sheets, known);
    for (index, wrong) in wrong {
        found[index].push(wrong);
    }
    let mut templates = functions::environment();
    let (mut rules, mut tests) = (Vec::new(), Vec::new());
    for (index, sheet) in sheets.iter().enumerate() {
        let mut compiler = Compiler {
            shared: &shared,
            file: &sheet.model.source,
            index,
            damage: &sheet.damage,
            templates: &mut templates,
            found: Vec::new(),
        };
        rules.extend(sheet.model.rules.iter().filter_map(|rule| compiler.rule(rule)));
        tests.extend(compiler.tests(&sheet.model));
        found[index].append(&mut compiler.found);
    }
    let is_wrong = found.iter().flatten().any(|it| it.severity == Severity::Error);
    if !is_wrong {
        for (index, sheet) in sheets.iter().enumerate() {
            found[index].append(&mut lint::file(&sheet.model, &sheets));
        }
    }
    found.iter_mut().for_each(sort);
    let files = files.iter().map(|file| LoadedFile {
        path: file.path.clone(),
        sha256: Sha256::digest(&file.text).into(),
        mentions_submit: file.text.contains("submit"),
    });
    let set = RuleSet {
        rules,
        tests,
        files: files.collect(),
        define: shared.define,
        templates,
    };
    Loaded {
        set: (!is_wrong).then_some(set),
        diagnostics: found.into_iter().flatten().collect(),
        rules: sheets.iter().map(|it| it.model.rules.len()).sum(),
        tests: sheets.iter().map(|it| it.model.tests.len()).sum(),
    }
}

/// Brackets, commas or quotes: what is around it may be in the wrong place.
fn is_damage(it: &Diagnostic) -> bool {
    matches!(it.code, "E001" | "E002" | "E007" | "E008")
}

/// A file, and where its brackets, commas and quotes are wrong.
struct Sheet {
    model: RuleFile,
    damage: Vec<Range<usize>>,
}

/// What the files define for each other.
struct Shared {
    define: BTreeMap<String, String>,
    patterns: BTreeMap<String, String>,
    /// `None` for one that is wrong in itself.
    calendars: BTreeMap<String, Option<Arc<Calendar>>>,
    /// The kinds of `Emit`, and the fields of each.
    emitted: BTreeMap<String, Vec<String>>,
    rules: Vec<String>,
    sources: Option<Vec<(String, bool)>>,
    listeners: &'static [&'static dyn ListenerFactory],
    /// A file is damaged: what is not defined may be so there.
    is_partial: bool,
}

impl Shared {
    fn of(sheets: &[Sheet], known: &Known) -> (Self, Vec<(usize, Diagnostic)>) {
        let mut shared = Self {
            define: BTreeMap::new(),
            patterns: BTreeMap::new(),
            calendars: BTreeMap::new(),
            emitted: BTreeMap::new(),
            rules: Vec::new(),
            sources: known.sources.clone(),
            listeners: known.listeners,
            is_partial: sheets.iter().any(|it| !it.damage.is_empty()),
        };
        let mut wrong = Vec::new();
        shared.emits(sheets);
        let define =
            |it: &'_ RuleFile| it.define.iter().map(|(name, _)| name.clone()).collect();
        twice("definition", sheets, define, &mut wrong);
        let patterns =
            |it: &'_ RuleFile| it.patterns.iter().map(|(name, _)| name.clone()).collect();
        twice("pattern", sheets, patterns, &mut wrong);
        let calendars =
            |it: &'_ RuleFile| it.calendars.iter().map(|it| it.name.clone()).collect();
        twice("calendar", sheets, calendars, &mut wrong);
        let rules =
            |it: &'_ RuleFile| it.rules.iter().filter_map(|it| it.name.clone()).collect();
        twice("rule", sheets, rules, &mut wrong);
        for (index, sheet) in sheets.iter().enumerate() {
            let file = &sheet.model.source;
            for (name, value) in &sheet.model.define {
                let taken = is_taken(file, name);
                wrong.extend(taken.map(|it| (index, it)));
                shared.define.insert(name.value.clone(), value.value.clone());
            }
            for (name, pattern) in &sheet.model.patterns {
                shared.patterns.insert(name.value.clone(), pattern.value.clone());
            }
            for calendar in &sheet.model.calendars {
                let (made, found) = calendar::compile(file, calendar);
                wrong.extend(found.into_iter().map(|it| (index, it)));
                shared.calendars.insert(calendar.name.value.clone(), made.map(Arc::new));
            }
            let names = sheet.model.rules.iter().filter_map(|it| it.name.as_ref());
            shared.rules.extend(names.map(|name| name.value.clone()));
        }
        let found = text::files(sheets, &shared.patterns);
        wrong.extend(found);
        (shared, wrong)
    }

    /// What rules emit.
    fn emits(&mut self, sheets: &[Sheet]) {
        let rules = sheets.iter().flat_map(|it| &it.model.rules);
        for action in rules.flat_map(lint::actions_of) {
            if let Some(ActionKind::Emit { kind: Some(kind), fields }) = &action.kind {
                let known = self.emitted.entry(kind.value.clone()).or_default();
                known.extend(fields.iter().map(|(name, _)| name.value.clone()));
            }
        }
    }
}

/// Names that are there twice, in one file or in two.
fn twice(
    noun: &str,
    sheets: &[Sheet],
    names: impl Fn(&RuleFile) -> Vec<Text>,
    wrong: &mut Vec<(usize, Diagnostic)>,
) {
    let mut seen: BTreeMap<String, (Arc<SourceFile>, Range<usize>)> = BTreeMap::new();
    for (index, sheet) in sheets.iter().enumerate() {
        let file = &sheet.model.source;
        for name in names(&sheet.model) {
            if let Some((first_file, first)) = seen.get(&name.value) {
                let message = format!("there are two {noun}s named `{}`", name.value);
                let mut diagnostic = Diagnostic::error(file, name.span.clone(), message);
                diagnostic
                    .code("E041")
                    .also_in(first_file, first.clone(), "the first one")
                    .help("give one of them another name: names are unique in all files");
                wrong.push((index, diagnostic));
                continue;
            }
            seen.insert(name.value, (Arc::clone(file), name.span));
        }
    }
}

/// A name that a template could not use.
fn is_taken(file: &Arc<SourceFile>, name: &Text) -> Option<Diagnostic> {
    let written = name.value.as_str();
    let mut diagnostic = if TAKEN.contains(&written) {
        let message = format!("`{written}` is a name of the language");
        let mut diagnostic = Diagnostic::error(file, name.span.clone(), message);
        diagnostic.help(format!("write another name, such as `my_{written}`"));
        diagnostic
    } else if !is_identifier(written) {
        let message = format!("`{written}` cannot be a name in templates");
        let mut diagnostic = Diagnostic::error(file, name.span.clone(), message);
        diagnostic
            .help("names are made of letters, digits and `_`, and begin with a letter");
        diagnostic
    } else {
        return None;
    };
    diagnostic.code("E031");
    Some(diagnostic)
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Compiles the rules of one file.
struct Compiler<'a> {
    shared: &'a Shared,
    file: &'a Arc<SourceFile>,
    /// Of the file.
    index: usize,
    damage: &'a [Range<usize>],
    templates: &'a mut Environment<'static>,
    found: Vec<Diagnostic>,
}

impl Compiler<'_> {
    fn error(
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

    /// Says that there is nothing of that name.
    fn unknown<'k>(
        &mut self,
        code: &'static str,
        noun: &str,
        name: &Text,
        known: impl Iterator<Item = &'k str> + Clone,
        none: &str,
    ) {
        let meant = words::did_you_mean(&name.value, known.clone());
        let mut list: Vec<&str> = known.take(LISTED_MAX).collect();
        list.sort_unstable();
        let help = match (meant, list.as_slice()) {
            (Some(meant), _) => format!("write \"{meant}\""),
            (None, []) => none.to_owned(),
            (None, list) => format!("there are {}", words::list(list.iter().copied())),
        };
        let message = format!("there is no {noun} named `{}`", name.value);
        self.error(code, name.span.clone(), message)
            .label(meant.map(did_you_mean).unwrap_or_default())
            .help(help);
    }

    fn is_damaged(&self, span: &Range<usize>) -> bool {
        self.damage.iter().any(|it| span.start <= it.start && it.start <= span.end)
    }

    fn line(&self, at: usize) -> usize {
        self.file.position(at).0
    }

    /// An expression that was looked at; `None` if something is wrong with it.
    fn expression(&mut self, text: &Text, roots: &Roots) -> Option<Expression> {
        let findings = expression::check_expression(&text.value, roots);
        let name = self.keep(text, findings, functions::wrapped(&text.value))?;
        Some(Expression { text: text.value.clone(), name })
    }

    /// A template that was looked at; `None` if something is wrong with it.
    fn template(&mut self, text: &Text, roots: &Roots) -> Option<Template> {
        let findings = expression::check_template(&text.value, roots);
        if findings.is_empty() && !expression::is_template(&text.value) {
            return Some(Template { text: text.value.clone(), name: None });
        }
        let name = self.keep(text, findings, text.value.clone())?;
        Some(Template { text: text.value.clone(), name: Some(name) })
    }

    /// Keeps a text under a name, unless something is wrong with it.
    fn keep(
        &mut self,
        text: &Text,
        findings: Vec<Finding>,
        source: String,
    ) -> Option<Arc<str>> {
        if !findings.is_empty() {
            findings.into_iter().for_each(|it| self.finding(text, it));
            return None;
        }
        let name: Arc<str> = format!("{}:{}", self.index, text.span.start).into();
        match self.templates.add_template_owned(name.to_string(), source) {
            Ok(()) => Some(name),
            Err(error) => {
                let message = format!("this cannot be understood: {error}");
                self.error("E033", text.span.clone(), message)
                    .help("make it simpler, or let a program do it");
                None
            }
        }
    }

    fn finding(&mut self, text: &Text, finding: Finding) {
        let start = place_in(self.file, text, finding.at.start);
        let end = place_in(self.file, text, finding.at.end);
        self.error(finding.code, start..end.max(start), finding.message)
            .label(finding.label)
            .help(finding.help);
    }
}

/// The most names that are listed in a message.
const LISTED_MAX: usize = 30;
