//! An action with all its texts filled in: what an executor does, and nothing is left to
//! decide.

use super::firing::Firing;
use super::length;
use crate::compiled::{self, Action, ActionKind, Body, RuleSet, Template};
use minijinja::{Environment, Value};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// Run a program.
    Exec {
        /// An absolute path.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
        /// Its environment, besides PATH, LANG, TRIPLINE_RULE, TRIPLINE_EVENT (the id of
        /// the firing) and TRIPLINE_RUN.
        env: Vec<(String, String)>,
        /// What it reads.
        stdin: String,
        /// The directory it runs in; `/` if none.
        cwd: Option<PathBuf>,
    },
    /// Send a mail.
    Mail {
        /// Addresses.
        to: Vec<String>,
        /// One line.
        subject: String,
        /// The text.
        body: String,
        /// An address.
        sender: Option<String>,
        /// How it is sent: the argument `via` of the listener `Mail`.
        via: Option<String>,
    },
    /// Hand the event to a listener.
    Listener {
        /// Its word: `Forward`, `Print`.
        listener: &'static str,
        /// Its arguments, without `from`.
        arguments: String,
        /// The line, or the event as JSON where it is none; and those that go with it.
        lines: Vec<String>,
    },
    /// Post something.
    Post {
        /// The address.
        url: String,
        /// Further headers.
        headers: Vec<(String, String)>,
        /// What is posted.
        body: String,
        /// It is JSON.
        is_json: bool,
        /// The file with the token.
        token: Option<PathBuf>,
    },
    /// Make an event: [`Event::emitted`](super::Event::emitted).
    Emit {
        /// What it is called.
        kind: String,
        /// What it holds.
        fields: Vec<(String, String)>,
    },
    /// Set a flag: [`Machine::set_flag`](super::Machine::set_flag).
    Set {
        /// Its name.
        flag: String,
        /// For so many milliseconds.
        millis: i64,
    },
    /// Take a flag away: [`Machine::clear_flag`](super::Machine::clear_flag).
    Clear {
        /// Its name.
        flag: String,
    },
    /// Make a file, or its time new.
    Touch {
        /// The directory.
        dir: PathBuf,
        /// The name in it.
        file: String,
    },
}

impl Job {
    /// What is to be done, by the names of the language: `to`, `subject`, `run`, ...
    pub fn fields(&self) -> Json {
        crate::testing::fields_of(self)
    }
}

/// Fills in the texts of an action. `left` is what earlier actions of the firing left
/// behind, by their names in templates.
///
/// # Errors
///
/// A sentence: which text cannot be filled in, or became what it must not be.
pub fn render(
    set: &RuleSet,
    action: &Action,
    firing: &Firing,
    left: &BTreeMap<String, Json>,
) -> Result<Job, String> {
    let pen = Pen { set, roots: firing.value(set, left) };
    Ok(match &action.kind {
        ActionKind::Exec { program, arguments, env, stdin, cwd } => {
            let arguments = pen.each("run", arguments)?;
            let env = pen.pairs("env", env)?;
            let texts = arguments.iter().chain(env.iter().map(|(_, text)| text));
            if texts.into_iter().any(|text| text.contains('\0')) {
                return Err(
                    "an argument or a variable became a text with a NUL in it, which \
                            no program can get"
                        .to_owned(),
                );
            }
            let stdin = match stdin {
                Some(stdin) => pen.text("stdin", stdin)?,
                None => format!("{}\n", firing.event()),
            };
            let (program, cwd) = (program.clone(), cwd.clone());
            Job::Exec { program, arguments, env, stdin, cwd }
        }
        ActionKind::Mail { to, subject, body, sender, via } => Job::Mail {
            to: pen.addresses(to)?,
            subject: one_line(&pen.text("subject", subject)?),
            body: match body {
                Some(body) => pen.text("body", body)?,
                None => firing.texts(),
            },
            sender: sender.clone(),
            via: via.clone(),
        },
        ActionKind::Listener { listener, arguments } => {
            let arguments = arguments.clone();
            let mut lines = vec![line_of(firing)];
            lines.extend_from_slice(&firing.more);
            Job::Listener { listener, arguments, lines }
        }
        ActionKind::Post { url, headers, body, token } => {
            let headers = pen.pairs("headers", headers)?;
            let headers =
                headers.into_iter().map(|(name, text)| (name, one_line(&text))).collect();
            let (body, is_json) = match body {
                Body::Event => (firing.event().to_string(), true),
                Body::Text(text) => (pen.text("body", text)?, false),
                Body::Json(tree) => (pen.tree(tree)?.to_string(), true),
            };
            Job::Post { url: pen.url(url)?, headers, body, is_json, token: token.clone() }
        }
        ActionKind::Emit { kind, fields } => {
            Job::Emit { kind: kind.clone(), fields: pen.pairs("fields", fields)? }
        }
        ActionKind::Set { flag, lasts } => {
            Job::Set { flag: pen.flag(flag)?, millis: length(*lasts) }
        }
        ActionKind::Clear { flag } => Job::Clear { flag: pen.flag(flag)? },
        ActionKind::Touch { dir, file } => {
            let file = pen.text("file", file)?;
            let is_bad = |it: char| it == '/' || it.is_control();
            if file.is_empty() || file.starts_with('.') || file.contains(is_bad) {
                return Err(format!(
                    "`file` became {file:?}, which is no name of a file in a directory"
                ));
            }
            Job::Touch { dir: dir.clone(), file }
        }
    })
}

/// Fills in texts.
struct Pen<'a> {
    set: &'a RuleSet,
    roots: Value,
}

impl Pen<'_> {
    fn text(&self, field: &str, template: &Template) -> Result<String, String> {
        self.text_in(&self.set.templates, field, template)
    }

    fn text_in(
        &self,
        templates: &Environment<'_>,
        field: &str,
        template: &Template,
    ) -> Result<String, String> {
        template
            .render(templates, self.roots.clone())
            .map_err(|error| format!("`{field}` cannot be filled in: {error}"))
    }

    fn each(&self, field: &str, templates: &[Template]) -> Result<Vec<String>, String> {
        templates.iter().map(|it| self.text(field, it)).collect()
    }

    fn pairs(
        &self,
        field: &str,
        pairs: &[(String, Template)],
    ) -> Result<Vec<(String, String)>, String> {
        let pair =
            |(name, it): &(String, Template)| Ok((name.clone(), self.text(field, it)?));
        pairs.iter().map(pair).collect()
    }

    fn addresses(&self, to: &[Template]) -> Result<Vec<String>, String> {
        let addresses = self.each("to", to)?;
        let is_bad =
            |it: char| it.is_whitespace() || it.is_control() || ",;<>()".contains(it);
        // What is written out may have a person's name, and was looked at by `load`.
        let is_wrong = |(template, it): &(&Template, &String)| {
            !template.is_literal()
                && (!it.contains('@') || it.contains(is_bad) || it.starts_with('-'))
        };
        match to.iter().zip(&addresses).find(is_wrong) {
            Some((_, wrong)) => {
                Err(format!("`to` became {wrong:?}, which is no address"))
            }
            None => Ok(addresses),
        }
    }

    fn flag(&self, flag: &Template) -> Result<String, String> {
        let flag = self.text("flag", flag)?;
        let is_fine = !flag.is_empty() && flag.len() <= FLAG_BYTES_MAX;
        if is_fine { Ok(flag) } else { Err("`flag` became empty or too long".to_owned()) }
    }

    /// An address whose values cannot leave the place they were written in.
    fn url(&self, url: &Template) -> Result<String, String> {
        if url.is_literal() {
            return Ok(url.text.clone());
        }
        let mut templates = self.set.templates.clone();
        templates.set_formatter(|output, _, value| {
            if !value.is_none() {
                output.write_str(&percent(&value.to_string()))?;
            }
            Ok(())
        });
        self.text_in(&templates, "url", url)
    }

    fn tree(&self, tree: &compiled::Json) -> Result<Json, String> {
        Ok(match tree {
            compiled::Json::Plain(value) => value.clone(),
            compiled::Json::Text(text) => self.text("json", text)?.into(),
            compiled::Json::List(list) => {
                list.iter().map(|it| self.tree(it)).collect::<Result<Vec<_>, _>>()?.into()
            }
            compiled::Json::Map(pairs) => {
                let pair = |(name, it): &(String, _)| Ok((name.clone(), self.tree(it)?));
                Json::Object(
                    pairs.iter().map(pair).collect::<Result<Map<_, _>, String>>()?,
                )
            }
        })
    }
}

/// All but letters, digits and `-_.~` as `%XX`.
fn percent(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            written.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            _ = write!(written, "%{byte:02X}");
        }
    }
    written
}

/// What is a line of its own somewhere: no control characters.
fn one_line(text: &str) -> String {
    let spaced = |it: char| if it.is_control() { ' ' } else { it };
    text.chars().map(spaced).collect::<String>().trim_end().to_owned()
}

fn line_of(firing: &Firing) -> String {
    let event = firing.event();
    let line = event.get("event").and_then(|it| it.get("line")?.as_str());
    line.map_or_else(|| event.to_string(), str::to_owned)
}

/// The longest name of a flag, in bytes.
const FLAG_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_where_they_are_put() {
        assert_eq!(percent("../a b?x=ü"), "..%2Fa%20b%3Fx%3D%C3%BC");
        assert_eq!(one_line("a\r\nBcc: x\n"), "a  Bcc: x");
    }
}
