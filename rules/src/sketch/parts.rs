//! What in a line varies, and what does not.

use crate::patterns::LIBRARY;
use crate::roots::TAKEN;
use regex::bytes::{Regex, RegexBuilder};
use std::net::IpAddr;

/// A stretch of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Stays as it is.
    Literal(String),
    /// Something that a pattern of the library matches.
    Variable {
        /// The pattern's name.
        pattern: &'static str,
        /// The capture, if the line says what it is.
        name: Option<String>,
        /// What stands there.
        value: String,
    },
    /// Something that is not written in a pattern.
    Any,
}

impl Part {
    /// As part of a pattern.
    pub(super) fn pattern(&self) -> String {
        match self {
            Self::Literal(text) => escaped(text),
            Self::Variable { pattern, name: Some(name), .. } => {
                format!("%{{{pattern}:{name}}}")
            }
            Self::Variable { pattern, name: None, .. } => format!("%{{{pattern}}}"),
            Self::Any => ".+".to_owned(),
        }
    }

    /// The capture, and what it captures here.
    pub(super) fn capture(&self) -> Option<(String, String)> {
        match self {
            Self::Variable { name: Some(name), value, .. } => {
                Some((name.clone(), value.clone()))
            }
            _ => None,
        }
    }
}

fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\.+*?()|[]{}^$".contains(character) {
            written.push('\\');
        }
        written.push(character);
    }
    written
}

/// The parts of the beginning of a text.
pub(super) fn parts_of(text: &str) -> Vec<Part> {
    let kinds = Kinds::new();
    let mut parts = Parts::default();
    let mut at = 0;
    while at < text.len() && parts.list.len() < PARTS_MAX && at < TEXT_BYTES_MAX {
        let rest = &text[at..];
        let is_inside =
            text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let found = if is_inside { None } else { kinds.at(rest, &parts.literal) };
        if let Some((pattern, len)) = found {
            parts.variable(pattern, &rest[..len]);
            at += len;
            continue;
        }
        let Some(character) = rest.chars().next() else { break };
        if character.is_ascii() && !character.is_ascii_control() {
            parts.literal.push(character);
        } else {
            parts.any();
        }
        at += character.len_utf8();
    }
    parts.finish()
}

#[derive(Default)]
struct Parts {
    list: Vec<Part>,
    /// The literal at the end.
    literal: String,
}

impl Parts {
    fn variable(&mut self, pattern: &'static str, value: &str) {
        let name = self.name_of(pattern);
        self.close();
        self.list.push(Part::Variable { pattern, name, value: value.to_owned() });
    }

    fn any(&mut self) {
        self.close();
        if self.list.last() != Some(&Part::Any) {
            self.list.push(Part::Any);
        }
    }

    fn close(&mut self) {
        if !self.literal.is_empty() {
            self.list.push(Part::Literal(std::mem::take(&mut self.literal)));
        }
    }

    fn finish(mut self) -> Vec<Part> {
        self.close();
        // What ends with anything need not say so, and what begins with it finds nothing.
        while self.list.last() == Some(&Part::Any) {
            self.list.pop();
        }
        if let Some(Part::Literal(last)) = self.list.last_mut() {
            last.truncate(last.trim_end().len());
        }
        self.list.retain(|part| *part != Part::Literal(String::new()));
        self.list
    }

    /// The name that the line gives a value, or the one of its kind.
    fn name_of(&self, pattern: &str) -> Option<String> {
        let own = match pattern {
            "IP" => Some("ip"),
            "USER" => Some("user"),
            "EMAIL" => Some("address"),
            "URL" => Some("url"),
            "P4PATH" | "PATH" => Some("path"),
            "PORT" => Some("port"),
            _ => None,
        };
        let said = || {
            let before = self.literal.strip_suffix(['=', ' ', ':', '#', '['])?;
            let word = before.rsplit(|c: char| !c.is_ascii_alphabetic()).next()?;
            let word = word.to_ascii_lowercase();
            (word.len() > 2 && pattern != "QUOTED").then_some(word)
        };
        let name = own.map(str::to_owned).or_else(said)?;
        let is_used = |part: &Part| part.capture().is_some_and(|(it, _)| it == name);
        let may_be = !TAKEN.contains(&name.as_str()) && !WORDS.contains(&name.as_str());
        (may_be && !self.list.iter().any(is_used)).then_some(name)
    }
}

/// Words that stand before a number and do not say what it is.
const WORDS: &[&str] =
    &["and", "for", "from", "the", "was", "with", "has", "had", "are", "after", "before"];

/// What is recognised.
struct Kinds(Vec<(&'static str, Regex)>);

impl Kinds {
    /// In the order in which they are looked for.
    const NAMES: [&'static str; 10] = [
        "URL",
        "EMAIL",
        "UUID",
        "MAC",
        "ISOTIME",
        "SYSLOGTIME",
        "TIME",
        "P4PATH",
        "PATH",
        "QUOTED",
    ];

    fn new() -> Self {
        let of = |name: &&'static str| {
            let named = LIBRARY.iter().find(|it| it.name == *name)?;
            let pattern = match *name {
                // Without the blanks that a depot path may have.
                "P4PATH" => r"//[A-Za-z][^\s/]*/[^\s#@]+",
                "PATH" => r"/[A-Za-z0-9._][^\s:,;)\]}]+",
                _ => named.pattern,
            };
            let built =
                RegexBuilder::new(&format!("^(?:{pattern})")).unicode(false).build();
            Some((named.name, built.ok()?))
        };
        Self(Self::NAMES.iter().filter_map(of).collect())
    }

    /// What a text begins with, and how long that is. `before` is the literal in front.
    fn at(&self, rest: &str, before: &str) -> Option<(&'static str, usize)> {
        if let Some(len) = ip(rest) {
            return Some(("IP", len));
        }
        if let Some(len) = user(rest, before) {
            return Some(("USER", len));
        }
        for (name, regex) in &self.0 {
            let found = regex.find(rest.as_bytes());
            let len = found.map(|it| it.end()).filter(|len| rest.is_char_boundary(*len));
            if let Some(len) = len
                && ends_at(rest, len)
                && rest[..len].is_ascii()
                && !rest[..len].contains(|c: char| c.is_ascii_control())
            {
                return Some((name, len));
            }
        }
        number(rest, before)
    }
}

/// Whether no word goes on there.
fn ends_at(rest: &str, len: usize) -> bool {
    !rest[len..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn ip(rest: &str) -> Option<usize> {
    let run = |is: fn(&u8) -> bool| rest.bytes().take_while(is).count();
    let any = run(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte));
    let four = run(|byte| byte.is_ascii_digit() || *byte == b'.');
    [any, any.saturating_sub(1), four, four.saturating_sub(1)].into_iter().find(|len| {
        let text = &rest[..*len];
        text.len() > 3 && text.parse::<IpAddr>().is_ok() && ends_at(rest, *len)
    })
}

/// The name of a user, where the words around it say that it is one.
fn user(rest: &str, before: &str) -> Option<usize> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._@$+-".contains(byte);
    let len = rest.bytes().take_while(is_name).count();
    let behind = &rest[len..];
    let before = before.to_ascii_lowercase();
    let is_said = ["user ", "user=", "username=", "login=", "user:", "user: "]
        .iter()
        .any(|word| before.ends_with(word));
    let is_between = before.ends_with(" for ")
        && [" from ", " by ", " on "].iter().any(|word| behind.starts_with(word));
    let ends = behind.is_empty() || behind.starts_with([' ', ',', ';', ')', ']', ':']);
    (len > 0 && ends && (is_said || is_between)).then_some(len)
}

/// A number: hexadecimal, with a fraction, or whole.
fn number(rest: &str, before: &str) -> Option<(&'static str, usize)> {
    let hex = |text: &str| text.bytes().take_while(u8::is_ascii_hexdigit).count();
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if let Some(text) = rest.strip_prefix("0x") {
        let len = 2 + hex(text);
        return (len > 2 && ends_at(rest, len)).then_some(("HEX", len));
    }
    let len = hex(rest);
    if len >= 8 && len > digits && digits_in(&rest[..len]) && ends_at(rest, len) {
        return Some(("HEX", len));
    }
    if digits == 0 {
        return None;
    }
    if let Some(fraction) = rest[digits..].strip_prefix('.') {
        let more = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let len = digits + 1 + more;
        let is_one = (1..=15).contains(&more) && digits <= 15;
        if is_one && ends_at(rest, len) && !rest[len..].starts_with('.') {
            return Some(("FLOAT", len));
        }
    }
    if digits > 18 || !ends_at(rest, digits) {
        return None;
    }
    let is_port = before.to_ascii_lowercase().ends_with("port ") && digits <= 5;
    Some((if is_port { "PORT" } else { "INT" }, digits))
}

fn digits_in(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}

/// The most parts; what is behind them may be anything.
const PARTS_MAX: usize = 40;
/// How much of a text is looked at, in bytes.
const TEXT_BYTES_MAX: usize = 400;
