//! A rule with its test, made of one line: something to begin with.
//!
//! What varies from line to line (addresses, numbers, paths, users) becomes a pattern of
//! the library, and a capture where the line says what it is; the rest stays as it is. The
//! result is loaded and its test is run before anybody gets to see it.

mod parts;
mod record;

use crate::compile::{Known, load};
use crate::evaluate::Head;
use crate::testing::run_tests;
use parts::{Part, parts_of};
use std::fmt::Write as _;
use tripline_diagnose::{SourceFile, steers};

/// Why no rule can be made of a line, for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SketchError(String);

/// A file with a rule that is for lines like this one, or for rows like that of this record
/// of a journal, and a test that shows it. `source` is what the rule looks at; all logs, or
/// all journals, if none.
///
/// # Errors
///
/// When these are several lines, or there is nothing in the line that a rule could look for.
///
/// ```
/// use tripline_rules::{Known, sketch};
///
/// let line = b"Nov 20 21:00:00 www sshd[99]: Failed password for ann from 192.0.2.1 port 7";
/// let file = sketch(line, Some("auth"), &Known::default())?;
/// assert!(file.contains(r#"on: Lines(source: "auth", program: "sshd"),"#));
/// assert!(file.contains("^Failed password for %{USER:user} from %{IP:ip} port %{PORT:port}"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sketch(
    line: &[u8],
    source: Option<&str>,
    known: &Known,
) -> Result<String, SketchError> {
    let of_record = record::files(line, source).into_iter();
    if let Some(file) = of_record.take(FILES_MAX).find(|file| is_sound(file, known)) {
        return Ok(file);
    }
    let line = line.trim_ascii_end();
    let lines = line.split(|byte| *byte == b'\n').count();
    if lines > 1 {
        return Err(SketchError(format!(
            "these are {lines} lines, and a rule is made of one: give the line that it should \
             look for; others like it belong into its test, \
             `given: [Lines(text: \"..\"), Lines(text: \"..\")]`"
        )));
    }
    // Tests count with `{{ i }}`, which the line of a test can therefore not have.
    let line = String::from_utf8_lossy(line).replace("{{", "{ {");
    let shown = match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((at, _)) => &line[..at],
        None => &line,
    };
    if shown.trim().is_empty() {
        return Err(SketchError(
            "the line is empty: give one with something in it".into(),
        ));
    }
    let head = Head::of(shown.as_bytes());
    let text = String::from_utf8_lossy(head.text).into_owned();
    let program = head.program.and_then(|it| std::str::from_utf8(it).ok());
    let sketch = Sketch { line: shown, program, source };
    let variable = parts_of(&text);
    let literal = vec![Part::Literal(text.clone())];
    let begin: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
    let begin = vec![Part::Literal(begin)];
    for parts in [variable, literal, begin, Vec::new()] {
        let file = sketch.file(&parts);
        if is_sound(&file, known) {
            return Ok(file);
        }
    }
    Err(SketchError("no rule can be made of this line: write one by hand".into()))
}

/// Whether a file has no mistakes and its tests pass.
fn is_sound(file: &str, known: &Known) -> bool {
    let loaded = load(&[SourceFile::new("new.ron", file)], known);
    let set = loaded.set.filter(|_| loaded.diagnostics.is_empty());
    set.is_some_and(|set| run_tests(&set).failed() == 0)
}

struct Sketch<'a> {
    line: &'a str,
    program: Option<&'a str>,
    source: Option<&'a str>,
}

impl Sketch<'_> {
    fn file(&self, parts: &[Part]) -> String {
        let name = self.name(parts);
        let names: Vec<_> = parts.iter().filter_map(Part::capture).collect();
        let subject = match names.as_slice() {
            [] => format!("{name}: {{{{ event.text | truncate(80) }}}}"),
            names => {
                let shown = names.iter().take(SUBJECT_NAMES_MAX);
                let shown = shown.map(|(name, _)| format!("{name} {{{{ {name} }}}}"));
                format!("{name}: {}", shown.collect::<Vec<_>>().join(", "))
            }
        };
        let expected = match names.first() {
            Some((_, value)) => quoted(value),
            None => quoted(&name),
        };
        let mut file = String::from("(\n    rules: [(\n");
        let mut field = |name: &str, value: &str| {
            // Writing to a text cannot fail.
            _ = writeln!(file, "        {name}: {value},");
        };
        field("name", &quoted(&name));
        field("on", &self.on());
        if !parts.is_empty() {
            let pattern: String = parts.iter().map(Part::pattern).collect();
            field("match", &raw(&format!("^{pattern}")));
        }
        if names.iter().any(|(name, _)| name == "ip") {
            field("by", "[\"ip\"]");
        }
        field("limit", "(times: 1, per: \"10m\")");
        let subject = quoted(&subject);
        field("do", &format!("[Mail(to: [\"ops@example.com\"], subject: {subject})]"));
        file += "    )],\n    tests: [(\n";
        let test = format!("{name} is mailed");
        let source = self.source.map(|it| format!(", source: {}", quoted(it)));
        let (line, source) = (raw(self.line), source.unwrap_or_default());
        _ = write!(
            file,
            "        name: {},\n        given: [Lines(text: {line}{source})],\n        \
             expect: [Mail(subject: Has({expected}))],\n    )],\n)\n",
            quoted(&test)
        );
        file
    }

    fn on(&self) -> String {
        let source = self.source.map(|it| format!("source: {}", quoted(it)));
        let program = self.program.map(|it| format!("program: {}", quoted(it)));
        let arguments: Vec<_> = source.into_iter().chain(program).collect();
        format!("Lines({})", arguments.join(", "))
    }

    /// Of the program and the first words: `sshd-failed-password`.
    fn name(&self, parts: &[Part]) -> String {
        let literals = parts.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(text.as_str()),
            _ => None,
        });
        let words =
            literals.flat_map(|text| text.split(|c: char| !c.is_ascii_alphabetic()));
        let words = words.filter(|word| word.len() > 2).take(2);
        let all = self.program.into_iter().chain(words).collect::<Vec<_>>().join("-");
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let all: String = all.to_ascii_lowercase().chars().map(plain).collect();
        let all: Vec<_> = all.split('-').filter(|word| !word.is_empty()).collect();
        let mut name = all.join("-");
        name.truncate(NAME_BYTES_MAX);
        match name.trim_matches('-') {
            "" => "new-rule".to_owned(),
            name => name.to_owned(),
        }
    }
}

/// A text in quotes, with escapes for what needs them.
fn quoted(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    written.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => written.extend(['\\', character]),
            '\t' => written += "\\t",
            it if steers(it) => _ = write!(written, "\\u{{{:x}}}", u32::from(it)),
            it => written.push(it),
        }
    }
    written.push('"');
    written
}

/// A text in which a backslash is itself, where that helps and can be.
fn raw(text: &str) -> String {
    let needs_escapes = text.contains(|c: char| c == '\t' || steers(c));
    if needs_escapes || !text.contains(['\\', '"']) {
        quoted(text)
    } else if !text.contains('"') {
        format!("r\"{text}\"")
    } else if !text.contains("\"#") {
        format!("r#\"{text}\"#")
    } else {
        quoted(text)
    }
}

/// The longest line that is taken as it is, in characters; of a longer one its beginning.
const LINE_CHARS_MAX: usize = 2_000;
/// The most files that are tried.
const FILES_MAX: usize = 8;
/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 40;
/// The most captures that the subject of the mail shows.
const SUBJECT_NAMES_MAX: usize = 3;

#[cfg(test)]
mod tests;
