//! How far a pattern comes in a text in which it is not found.

use crate::compiled::Pattern;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ast::Ast;
use regex_syntax::ast::parse::ParserBuilder;

/// Says of the pattern that comes furthest how far that is, and what it wants there.
pub(super) fn words<'a>(
    patterns: impl IntoIterator<Item = &'a Pattern>,
    text: &[u8],
) -> String {
    let patterns: Vec<_> = patterns.into_iter().take(PATTERNS_MAX).collect();
    let reaches = patterns.iter().enumerate().map(|(index, it)| (index, reach(it, text)));
    // Of equals the first.
    let best = reaches.max_by_key(|(index, it)| (it.bytes, std::cmp::Reverse(*index)));
    let Some((index, best)) = best else { return "not found".to_owned() };
    let which = match patterns.len() {
        1 => String::new(),
        _ => format!("closest pattern {}: ", index + 1),
    };
    let wanted = match best.wanted {
        Some(wanted) => format!("wanted {wanted}"),
        None => format!("wanted {}", cut(&patterns[index].written)),
    };
    if best.bytes == 0 {
        return format!("not found: {which}{wanted}");
    }
    let found = cut_start(&String::from_utf8_lossy(&text[best.at..best.at + best.bytes]));
    let column = best.at + best.bytes + 1;
    format!("not found: {which}found \"{found}\", then at column {column} {wanted}")
}

/// How far a pattern comes.
#[derive(Default)]
struct Reach {
    /// Where the part of the text that its beginning matches is, and how long it is.
    at: usize,
    bytes: usize,
    /// What would have to come then.
    wanted: Option<String>,
}

/// The longest beginning of the pattern that is found.
fn reach(pattern: &Pattern, text: &[u8]) -> Reach {
    let expanded = pattern.expanded.as_str();
    let parser = ParserBuilder::new().build().parse(expanded);
    let Ok(Ast::Concat(ref concat)) = parser else { return Reach::default() };
    let asts = &concat.asts;
    let found = |index: usize| match index {
        0 => Some((0, 0)),
        _ => beginning(&expanded[..asts[index].span().start.offset])
            .and_then(|regex| regex.find(text).map(|it| (it.start(), it.len()))),
    };
    // What a beginning is not found for, no longer one is.
    let parts = asts.len().min(PARTS_MAX);
    let count = (0..parts).take_while(|index| found(*index).is_some()).count();
    let Some(mut index) = count.checked_sub(1) else { return Reach::default() };
    // Words are not torn.
    let is_in_word = |index: usize| {
        index > 0 && is_letter(&asts[index - 1]) && is_letter(&asts[index])
    };
    while is_in_word(index) {
        index -= 1;
    }
    let (at, bytes) = found(index).unwrap_or_default();
    Reach { at, bytes, wanted: Some(written(pattern, &asts[index..])) }
}

fn is_letter(part: &Ast) -> bool {
    matches!(part, Ast::Literal(literal) if literal.c.is_alphanumeric())
}

fn beginning(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).unicode(false).size_limit(REGEX_BYTES_MAX).build().ok()
}

/// The next part as people wrote it: literals together, groups by their names.
fn written(pattern: &Pattern, parts: &[Ast]) -> String {
    let text = |ast: &Ast| {
        let span = ast.span();
        &pattern.expanded[span.start.offset..span.end.offset]
    };
    let literals = parts.iter().take_while(|it| matches!(it, Ast::Literal(_)));
    let literals: String = literals.map(text).collect();
    if !literals.is_empty() {
        return cut(&format!("\"{}\"", literals.replace('\\', "")));
    }
    let Some(first) = parts.first().map(text) else { return "the end".to_owned() };
    // `%{IP:ip}` was made `(?P<ip>...)`.
    let name =
        first.strip_prefix("(?P<").and_then(|it| it.split_once('>')).map(|it| it.0);
    if let Some(name) = name
        && let Some(end) = pattern.written.find(&format!(":{name}}}"))
        && let Some(start) = pattern.written[..end].rfind("%{")
    {
        return pattern.written[start..end + name.len() + 2].to_owned();
    }
    cut(first)
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Of a long text the end.
fn cut_start(text: &str) -> String {
    let count = text.chars().count();
    if count <= SHOWN_CHARS_MAX {
        return text.to_owned();
    }
    let rest: String = text.chars().skip(count - SHOWN_CHARS_MAX).collect();
    format!("…{rest}")
}

/// The most patterns of a rule that are looked at.
const PATTERNS_MAX: usize = 100;
/// The most parts of a pattern that are looked at.
const PARTS_MAX: usize = 200;
/// The longest text that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 40;
/// The most memory of a beginning, in bytes.
const REGEX_BYTES_MAX: usize = 10 << 20;
