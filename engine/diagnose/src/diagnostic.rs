//! Errors in files, with the place, a sentence and a repair.

use crate::terminal::{Style, printable, steers};
use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet};
use memchr::{memchr, memchr_iter, memrchr};
use serde::Serialize;
use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that messages point into.
#[derive(Debug)]
pub struct SourceFile {
    /// The path as the user gave it.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

impl SourceFile {
    /// The line and the column, in characters, of a byte offset; both from 1.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..boundary(&self.text, offset)];
        let line_start = self.line_start(offset);
        let line = 1 + memchr_iter(b'\n', before.as_bytes()).count();
        (line, 1 + before[line_start..].chars().count())
    }

    /// Where the line begins that this byte is in.
    fn line_start(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..boundary(&self.text, offset)];
        memrchr(b'\n', before).map_or(0, |at| at + 1)
    }

    /// Where the line ends that this byte is in, behind its line feed.
    fn line_end(&self, offset: usize) -> usize {
        let start = boundary(&self.text, offset);
        let feed = memchr(b'\n', &self.text.as_bytes()[start..]);
        feed.map_or(self.text.len(), |at| start + at + 1)
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and probably does not mean what it says.
    Warning,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: Arc<SourceFile>,
    /// The bytes of the file that are meant.
    pub span: Range<usize>,
    /// What kind of mistake it is, such as `E003`; empty where kinds have no codes.
    pub code: &'static str,
    /// What is wrong, in a sentence.
    pub message: String,
    /// A few words for the caret; may be empty.
    pub label: String,
    /// Other places that have to do with it.
    pub also: Vec<Also>,
    /// How to repair it.
    pub help: Option<String>,
}

/// Another place that has to do with a mistake.
#[derive(Clone, Debug)]
pub struct Also {
    /// The file, when it is another one.
    pub file: Option<Arc<SourceFile>>,
    /// The bytes that are meant.
    pub span: Range<usize>,
    /// What they have to do with it.
    pub label: String,
}

impl SourceFile {
    /// A file that is not read from a disk.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { path: path.into(), text: text.into() })
    }
}

impl Diagnostic {
    /// An error without label, second place and help.
    pub fn error(
        file: &Arc<SourceFile>,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            file: Arc::clone(file),
            span,
            code: "",
            message: message.into(),
            label: String::new(),
            also: Vec::new(),
            help: None,
        }
    }

    /// A warning without label, second place and help.
    pub fn warning(
        file: &Arc<SourceFile>,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, span, message) }
    }

    /// Says what kind of mistake it is.
    pub fn code(&mut self, code: &'static str) -> &mut Self {
        self.code = code;
        self
    }

    /// Adds words for the caret.
    pub fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = label.into();
        self
    }

    /// Adds another place.
    pub fn also(&mut self, span: Range<usize>, label: impl Into<String>) -> &mut Self {
        self.also.push(Also { file: None, span, label: label.into() });
        self
    }

    /// Adds a place in another file.
    pub fn also_in(
        &mut self,
        file: &Arc<SourceFile>,
        span: Range<usize>,
        label: impl Into<String>,
    ) -> &mut Self {
        let file = (!Arc::ptr_eq(file, &self.file)).then(|| Arc::clone(file));
        self.also.push(Also { file, span, label: label.into() });
        self
    }

    /// Adds a repair.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// The message for people: the lines meant with carets, and the repair.
    /// Ends with a line feed.
    pub fn render(&self, style: Style) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let caret =
            Mark { kind: AnnotationKind::Primary, span: &self.span, label: &self.label };
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            self.also.iter().partition(|also| also.file.is_none());
        let here = here.into_iter().map(Also::mark);
        let snippet = snippet_of(&self.file, std::iter::once(caret).chain(here));
        let others = elsewhere.into_iter().filter_map(|also| {
            Some(snippet_of(also.file.as_ref()?, std::iter::once(also.mark())))
        });
        let help = self.help.as_deref().map(|help| Level::HELP.message(printable(help)));
        let title = level.primary_title(printable(&self.message));
        let title = match self.code {
            "" => title,
            code => title.id(code),
        };
        let report = title.element(snippet).elements(others).elements(help);
        let mut rendered = renderer.render(&[report]);
        rendered.push('\n');
        rendered
    }

    /// The message for programs: one JSON object with a line feed.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Json<'a> {
            file: Cow<'a, str>,
            line: usize,
            column: usize,
            end_line: usize,
            end_column: usize,
            severity: Severity,
            #[serde(skip_serializing_if = "str::is_empty")]
            code: &'a str,
            message: &'a str,
            help: Option<&'a str>,
        }
        let (line, column) = self.file.position(self.span.start);
        let (end_line, end_column) = self.file.position(self.span.end);
        let json = serde_json::to_string(&Json {
            file: self.file.path.to_string_lossy(),
            line,
            column,
            end_line,
            end_column,
            severity: self.severity,
            code: self.code,
            message: &self.message,
            help: self.help.as_deref(),
        });
        // Text and numbers always serialise.
        let mut json = escape_steering(&json.unwrap_or_default());
        json.push('\n');
        json
    }
}

impl Also {
    fn mark(&self) -> Mark<'_> {
        Mark { kind: AnnotationKind::Context, span: &self.span, label: &self.label }
    }
}

/// What carets are put under.
struct Mark<'a> {
    kind: AnnotationKind,
    span: &'a Range<usize>,
    label: &'a str,
}

/// The lines of a file that are meant, with carets. Of a long file the renderer would
/// look at each line, for each message.
fn snippet_of<'a>(
    file: &'a SourceFile,
    marks: impl Iterator<Item = Mark<'a>>,
) -> Snippet<'a, Annotation<'a>> {
    let marks: Vec<_> = marks.map(|mark| (visible(file, mark.span), mark)).collect();
    let first = marks.iter().map(|(span, _)| span.start).min().unwrap_or_default();
    let last = marks.iter().map(|(span, _)| span.end).max().unwrap_or_default();
    let (start, end) = (file.line_start(first), file.line_end(last));
    let annotations = marks.into_iter().map(|(span, mark)| {
        let annotation = mark.kind.span(span.start - start..span.end - start);
        match mark.label {
            "" => annotation,
            label => annotation.label(printable(label)),
        }
    });
    Snippet::source(without_steering(&file.text[start..end]))
        .line_start(file.position(start).0)
        .path(printable(&file.path.to_string_lossy()).into_owned())
        .annotations(annotations)
}

/// The span, on the borders of characters.
fn visible(file: &SourceFile, span: &Range<usize>) -> Range<usize> {
    let start = boundary(&file.text, span.start);
    let end = boundary(&file.text, span.end);
    start..end.max(start)
}

/// The messages in the order of their places, those about the same place once.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by_key(|it| (it.span.start, it.severity, it.span.end));
    diagnostics.dedup_by(|a, b| a.span == b.span && a.message == b.message);
}

/// How many errors and warnings there are, in words: `2 errors, 1 warning`.
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    let count =
        |severity| diagnostics.iter().filter(|it| it.severity == severity).count();
    let words =
        [(count(Severity::Error), "error"), (count(Severity::Warning), "warning")];
    let words: Vec<_> = words
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| counted(number, word))
        .collect();
    if words.is_empty() { "no errors".to_owned() } else { words.join(", ") }
}

/// `1 file`, `2 files`.
pub fn counted(number: usize, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {word}{plural}")
}

/// The path as a person would like to read it.
pub fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

/// The start of the character that this byte is in, or the end of the text.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The text with what steers a terminal replaced by characters of the same
/// length in bytes, so that spans stay true. The renderer shows the ASCII ones
/// itself.
fn without_steering(text: &str) -> Cow<'_, str> {
    let steering = |c: char| !c.is_ascii() && steers(c);
    if !text.contains(steering) {
        return Cow::Borrowed(text);
    }
    let replace = |c: char| match c {
        _ if !steering(c) => c,
        _ if c.len_utf8() == 2 => '¿',
        _ => char::REPLACEMENT_CHARACTER,
    };
    Cow::Owned(text.chars().map(replace).collect())
}

/// JSON as `serde_json` writes it still holds DEL and the controls behind
/// ASCII.
fn escape_steering(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if steers(character) {
            // All of them lie in the basic plane: one escape is enough.
            escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Arc<SourceFile> {
        Arc::new(SourceFile { path: "a\x1b.ron".into(), text: text.to_owned() })
    }

    #[test]
    fn positions_count_characters() {
        let file = file("ab\nä€x\n");
        assert_eq!(file.position(0), (1, 1));
        assert_eq!(file.position(3 + "ä€".len()), (2, 3));
        assert_eq!(file.position(file.text.len()), (3, 1));
    }

    #[test]
    fn hostile_text_stays_text() {
        let file = file("bad \x1b[2J \u{9b}1m \u{202e} word\n");
        let start = file.text.find("word").unwrap();
        let mut message = Diagnostic::error(&file, start..start + 4, "no \x07 word");
        message.help("take \u{9b} it away");
        for text in [message.render(Style::Plain), message.json()] {
            assert!(!text.chars().any(steers), "{text:?}");
        }
        let json: serde_json::Value = serde_json::from_str(&message.json()).unwrap();
        assert_eq!(json["file"], "a\x1b.ron");
        assert_eq!(json["help"], "take \u{9b} it away");
        assert_eq!((&json["line"], &json["column"]), (&1.into(), &16.into()));
    }

    #[test]
    fn colours_only_when_asked() {
        let message = Diagnostic::error(&file("x"), 0..1, "no");
        assert!(!message.render(Style::Plain).contains('\x1b'));
        assert!(message.render(Style::Coloured).contains('\x1b'));
    }

    #[test]
    fn counts_in_words() {
        let file = file("x");
        assert_eq!(summary(&[]), "no errors");
        let error = Diagnostic::error(&file, 0..1, "a");
        let warning = Diagnostic::warning(&file, 0..1, "b");
        assert_eq!(summary(&[error.clone(), error, warning]), "2 errors, 1 warning");
    }
}
