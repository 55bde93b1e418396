//! Patterns.

use super::{Compiler, Sheet, is_taken};
use crate::Type;
use crate::compiled::{Capture, Pattern, TextMatch};
use crate::model::Text;
use crate::patterns::{self, Expanded, LIBRARY, Wrong, WrongKind};
use crate::read::{did_you_mean, place_in};
use regex::bytes::RegexBuilder;
use regex_syntax::ParserBuilder;
use regex_syntax::ast::ErrorKind;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use tripline_diagnose::{Diagnostic, SourceFile, words};

/// The longest pattern as it is written, in bytes.
const PATTERN_BYTES_MAX: usize = 8192;
/// The most memory of a compiled pattern, in bytes.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// How deep the parentheses of a pattern may nest.
const NEST_MAX: u32 = 50;
/// The most patterns of one rule.
const PATTERNS_MAX: usize = 1000;
/// The most captures of one rule.
const CAPTURES_MAX: usize = 100;

impl Compiler<'_> {
    /// All patterns of a rule; `None` if one is wrong.
    pub(super) fn text_match(
        &mut self,
        prefix: Option<&Text>,
        any: &[Text],
        none: &[Text],
    ) -> Option<TextMatch> {
        let mut captures = BTreeMap::new();
        let mut is_sound = true;
        let mut compile = |compiler: &mut Self, text: &Text, is_prefix: bool| {
            let pattern = compiler.pattern(text, is_prefix, &mut captures);
            is_sound &= pattern.is_some();
            pattern
        };
        let mut matched = TextMatch {
            prefix: prefix.and_then(|text| compile(self, text, true)),
            any: any.iter().filter_map(|text| compile(self, text, false)).collect(),
            none: none.iter().filter_map(|text| compile(self, text, false)).collect(),
            captures: Vec::new(),
        };
        if any.len() + none.len() > PATTERNS_MAX {
            let span = any.first().or_else(|| none.first()).map(|it| it.span.clone());
            let message = format!("a rule has at most {PATTERNS_MAX} patterns");
            self.error("E013", span.unwrap_or_default(), message)
                .help("make several rules of it");
            is_sound = false;
        }
        matched.captures = captures
            .into_iter()
            .map(|(name, kind): (String, Type)| Capture { name: name.into(), kind })
            .collect();
        if matched.captures.len() > CAPTURES_MAX {
            let span = any.first().map(|it| it.span.clone()).unwrap_or_default();
            let message =
                format!("the patterns of a rule capture at most {CAPTURES_MAX} names");
            self.error("E013", span, message).help("leave out names that nothing uses");
            is_sound = false;
        }
        let TextMatch { prefix, any, none, captures } = &mut matched;
        for pattern in prefix.iter_mut().chain(any).chain(none) {
            pattern.groups = groups(&pattern.regex, captures);
        }
        is_sound.then_some(matched)
    }

    fn pattern(
        &mut self,
        text: &Text,
        is_prefix: bool,
        captures: &mut BTreeMap<String, Type>,
    ) -> Option<Pattern> {
        let expanded = match build(self.file, text, &self.shared.patterns) {
            Ok((expanded, regex)) => (expanded, regex),
            Err(diagnostic) => {
                let is_echo = diagnostic.code == "E011" && self.shared.is_partial;
                self.found.extend((!is_echo).then_some(*diagnostic));
                return None;
            }
        };
        let (expanded, regex) = expanded;
        for name in regex.capture_names().flatten() {
            if is_prefix && name == Pattern::REST {
                continue;
            }
            let found = text.value.find(name).unwrap_or_default();
            let start = place_in(self.file, text, found);
            let named = Text { value: name.to_owned(), span: start..start + name.len() };
            if let Some(mut taken) = is_taken(self.file, &named) {
                taken.help(format!("capture it by another name, such as `my_{name}`"));
                self.found.push(taken);
                continue;
            }
            let kind = expanded.kinds.iter().find(|(it, _)| it == name);
            let kind = kind.map_or(Type::Text, |(_, kind)| kind.clone());
            captures
                .entry(name.to_owned())
                .and_modify(|known| {
                    if *known != kind {
                        *known = Type::Any;
                    }
                })
                .or_insert(kind);
        }
        Some(Pattern {
            written: text.value.clone(),
            expanded: expanded.text,
            regex,
            groups: Vec::new(),
        })
    }
}

/// The numbers of a pattern's groups that capture something.
fn groups(regex: &regex::bytes::Regex, captures: &[Capture]) -> Vec<(usize, usize)> {
    let names = regex.capture_names().enumerate();
    names
        .filter_map(|(group, name)| {
            let name = name?;
            let index = captures.iter().position(|it| *it.name == *name)?;
            Some((group, index))
        })
        .collect()
}

/// What is wrong with the patterns that files define, each by itself.
pub(super) fn files(
    sheets: &[Sheet],
    patterns: &BTreeMap<String, String>,
) -> Vec<(usize, Diagnostic)> {
    let mut found = Vec::new();
    for (index, sheet) in sheets.iter().enumerate() {
        let file = &sheet.model.source;
        for (name, pattern) in &sheet.model.patterns {
            if LIBRARY.iter().any(|it| it.name == name.value) {
                let message =
                    format!("the library has a pattern `{}` already", name.value);
                let mut diagnostic = Diagnostic::error(file, name.span.clone(), message);
                diagnostic.code("E041").help("give it another name");
                found.push((index, diagnostic));
            }
            if let Err(diagnostic) = build(file, pattern, patterns) {
                found.push((index, *diagnostic));
            }
        }
    }
    found
}

/// The pattern with all that it uses, built.
fn build(
    file: &Arc<SourceFile>,
    text: &Text,
    known: &BTreeMap<String, String>,
) -> Result<(Expanded, regex::bytes::Regex), Box<Diagnostic>> {
    let wrong = |code, span, message: String| {
        let mut diagnostic = Diagnostic::error(file, span, message);
        diagnostic.code(code);
        Box::new(diagnostic)
    };
    if text.value.len() > PATTERN_BYTES_MAX {
        let message = format!("a pattern has at most {PATTERN_BYTES_MAX} bytes");
        let mut diagnostic = wrong("E010", text.span.clone(), message);
        diagnostic.help("make several patterns of it: `match` takes a list");
        return Err(diagnostic);
    }
    let place = |span: Range<usize>| {
        let start = place_in(file, text, span.start);
        start..place_in(file, text, span.end).max(start)
    };
    let expanded = patterns::expand(&text.value, known).map_err(|error| {
        let mut diagnostic = wrong("E011", place(error.span.clone()), String::new());
        explain_reference(&mut diagnostic, &error, known);
        diagnostic
    })?;
    let mut parser =
        ParserBuilder::new().unicode(false).utf8(false).nest_limit(NEST_MAX).build();
    if let Err(error) = parser.parse(&expanded.text) {
        let (span, message, help) = explain(&error, &expanded);
        let mut diagnostic = wrong("E010", place(expanded.origin(span)), message);
        diagnostic.help(help);
        return Err(diagnostic);
    }
    let built = RegexBuilder::new(&expanded.text)
        .unicode(false)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .nest_limit(NEST_MAX)
        .build();
    match built {
        Ok(regex) => Ok((expanded, regex)),
        Err(_) => {
            let message = "this pattern is too large when it is built".to_owned();
            let mut diagnostic = wrong("E010", text.span.clone(), message);
            diagnostic.help(
                "make the numbers in `{..}` smaller, or write `+` where the number does not \
                 matter",
            );
            Err(diagnostic)
        }
    }
}

fn explain_reference(
    diagnostic: &mut Diagnostic,
    error: &Wrong,
    known: &BTreeMap<String, String>,
) {
    let (message, label, help) = match &error.kind {
        WrongKind::Unknown(name) => {
            let names = || {
                let library = LIBRARY.iter().map(|it| it.name);
                library.chain(known.keys().map(String::as_str))
            };
            let meant = words::did_you_mean(name, names());
            let help = match meant {
                Some(meant) => format!("write %{{{meant}}}"),
                None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
            };
            let label = meant.map(did_you_mean).unwrap_or_default();
            (format!("there is no pattern `{name}`"), label, help)
        }
        WrongKind::Unnamed => (
            "`%{` begins the name of a pattern".to_owned(),
            String::new(),
            "write %{NAME} or %{NAME:field}, or %\\{ for the two characters".to_owned(),
        ),
        WrongKind::TooDeep(name) => (
            format!("`{name}` uses itself, or others too deeply"),
            String::new(),
            "write out what is in it".to_owned(),
        ),
        WrongKind::TooLong => (
            "with all that it uses, this pattern is too long".to_owned(),
            String::new(),
            "make several patterns of it: `match` takes a list".to_owned(),
        ),
    };
    diagnostic.message = message;
    diagnostic.label(label).help(help);
}

/// What other programs' patterns have, and ours have not: the sentence and a repair.
fn foreign(
    pattern: &str,
    span: &Range<usize>,
    kind: Option<&ErrorKind>,
) -> Option<(String, String)> {
    let at = pattern.get(span.start..)?;
    let before = pattern.get(..span.start)?;
    let is_brace = at.starts_with('{') || before.ends_with('{');
    match kind? {
        ErrorKind::FlagUnrecognized if at.starts_with("P=") => Some((
            "`(?P=` cannot refer to a group: patterns run in linear time".to_owned(),
            "capture both and compare: if: \"one == other\"".to_owned(),
        )),
        ErrorKind::FlagUnrecognized if at.starts_with('(') => Some((
            "`(?(` cannot ask for a group: patterns run in linear time".to_owned(),
            "make two patterns of it: `match` takes a list".to_owned(),
        )),
        ErrorKind::FlagUnrecognized if at.starts_with(['>', '|']) => Some((
            format!("`(?{}` is not supported: patterns run in linear time", &at[..1]),
            "write (?: in its place".to_owned(),
        )),
        ErrorKind::RepetitionMissing
        | ErrorKind::RepetitionCountUnclosed
        | ErrorKind::RepetitionCountDecimalEmpty
        | ErrorKind::DecimalEmpty
        | ErrorKind::DecimalInvalid
            if is_brace =>
        {
            Some((
                "this `{` says no number of repetitions".to_owned(),
                "write \\{ for the character, or a number in it".to_owned(),
            ))
        }
        _ => None,
    }
}

/// An error of the parser of patterns in a user's words: where in the expanded pattern,
/// what, and a repair.
fn explain(
    error: &regex_syntax::Error,
    expanded: &Expanded,
) -> (Range<usize>, String, String) {
    let (span, kind) = match error {
        regex_syntax::Error::Parse(error) => (error.span(), Some(error.kind())),
        regex_syntax::Error::Translate(error) => (error.span(), None),
        _ => {
            return (
                0..expanded.text.len(),
                "this is no pattern".into(),
                "write it anew".into(),
            );
        }
    };
    let span = span.start.offset..span.end.offset;
    let stands = expanded.text.get(span.clone()).unwrap_or_default().to_owned();
    if let Some((message, help)) = foreign(&expanded.text, &span, kind) {
        return (span, message, help);
    }
    let (message, help) = match kind {
        Some(ErrorKind::UnsupportedLookAround) => (
            format!(
                "look-around `{stands}` is not supported: patterns run in linear time"
            ),
            "capture it and exclude: unless: \"ip is cidr('10.0.0.0/8')\", or use unless_match",
        ),
        Some(ErrorKind::UnsupportedBackreference) => (
            format!("`{stands}` cannot refer to a group: patterns run in linear time"),
            "capture both and compare: if: \"one == other\"",
        ),
        Some(ErrorKind::GroupUnclosed) => (
            "this group is not closed".to_owned(),
            "write a `)` where it ends, or \\( for the character",
        ),
        Some(ErrorKind::GroupUnopened) => (
            "this `)` closes no group".to_owned(),
            "take it away, or write \\) for the character",
        ),
        Some(ErrorKind::ClassUnclosed) => (
            "this class is not closed".to_owned(),
            "write a `]` where it ends, or \\[ for the character",
        ),
        Some(ErrorKind::RepetitionMissing) => (
            format!("`{stands}` repeats nothing"),
            "write what is to be repeated in front of it, or a backslash for the character",
        ),
        Some(ErrorKind::GroupNameDuplicate { .. }) => (
            format!("the group `{stands}` is there twice"),
            "give them two names, or make two patterns: `match` takes a list",
        ),
        Some(ErrorKind::NestLimitExceeded(_)) => {
            ("parentheses are nested too deeply".to_owned(), "at most 50 may be open")
        }
        Some(kind) => (
            format!("this is no pattern: {kind}"),
            "write a backslash before a character that is meant as such",
        ),
        None => (
            format!(
                "`{stands}` is not supported: patterns are for bytes, with the classes of ASCII"
            ),
            "write a class such as [a-z], or \\S for all that is not blank",
        ),
    };
    (span, message, help.to_owned())
}
