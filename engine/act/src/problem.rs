//! What is wrong with actions, as far as it can be found before they are done.

use crate::{ActContext, actions};
use std::fmt;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tripline_listeners::single::Mails;
use tripline_rules::compiled::{Action, ActionKind, Rule};
use tripline_rules::{Diagnostic, RuleSet, SourceFile};

/// An action that can never be done as it is written, or would fail if it were done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// It can never be done.
    pub is_error: bool,
    /// The rule file, as it was given.
    pub file: PathBuf,
    /// The line in which the action begins, from 1.
    pub line: usize,
    /// The rule.
    pub rule: String,
    /// The action's id.
    pub action: String,
    /// What is wrong.
    pub message: String,
    /// What a person can do.
    pub help: String,
}

/// A file that an action writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The file.
    pub path: PathBuf,
    /// The action.
    pub(crate) place: Problem,
}

impl Write {
    /// The action may not write there, and what a person can do.
    pub fn refused(&self, message: String, help: String) -> Problem {
        Problem { message, help, ..self.place.clone() }
    }
}

impl Problem {
    /// One of this action of this rule. The message says what is wrong, and behind a
    /// colon, if there is one, how to repair it.
    pub(crate) fn error(
        set: &RuleSet,
        rule: &Rule,
        action: &Action,
        message: &str,
    ) -> Self {
        let (message, help) = message.split_once(": ").unwrap_or((message, SEE));
        Self::new(set, rule, action, true, (message.to_owned(), help.to_owned()))
    }

    fn new(
        set: &RuleSet,
        rule: &Rule,
        action: &Action,
        is_error: bool,
        (message, help): (String, String),
    ) -> Self {
        let file = set.files.get(rule.file).map(|file| file.path.clone());
        Self {
            is_error,
            file: file.unwrap_or_default(),
            line: action.line,
            rule: rule.name.to_string(),
            action: action.id.to_string(),
            message,
            help,
        }
    }

    /// As an error or a warning in the file that it is about, at the line of the action.
    pub fn diagnostic(&self, file: &Arc<SourceFile>) -> Diagnostic {
        let lines = file.text.split_inclusive('\n');
        let before: usize = lines.take(self.line.saturating_sub(1)).map(str::len).sum();
        let line = file.text[before..].lines().next().unwrap_or_default();
        let start = before + (line.len() - line.trim_start().len());
        let end = before + line.trim_end().len();
        let (span, message) = (start..end.max(start), self.message.clone());
        let (mut diagnostic, code) = match self.is_error {
            true => (Diagnostic::error(file, span, message), "E024"),
            false => (Diagnostic::warning(file, span, message), "W024"),
        };
        diagnostic.code(code).help(self.help.clone());
        diagnostic
    }
}

/// In one sentence.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, rule, action, message, help, .. } = self;
        let file = self.file.display();
        write!(f, "{file}:{line}: rule \"{rule}\", {action}: {message}: {help}")
    }
}

const SEE: &str = "see the listener in the reference";

/// What is wrong, and what a person can do.
type Found = Option<(String, String)>;

/// What looking at this machine shows.
pub(crate) fn find(set: &RuleSet, context: &ActContext) -> Vec<Problem> {
    let mut problems = Vec::new();
    for rule in set.rules.iter().filter(|rule| rule.enabled) {
        for action in actions(rule) {
            let found = look(action, context).into_iter();
            problems.extend(found.map(|it| Problem::new(set, rule, action, false, it)));
        }
    }
    problems
}

fn look(action: &Action, context: &ActContext) -> Vec<(String, String)> {
    let path = |path: &Path| context.directory.join(path);
    let found: [Found; 2] = match &action.kind {
        ActionKind::Exec { program, cwd, .. } => [
            program_at(&path(program)),
            cwd.as_ref().and_then(|it| dir("cwd", &path(it))),
        ],
        ActionKind::Touch { dir: it, .. } => [dir("dir", &path(it)), None],
        ActionKind::Post { token: Some(token), .. } => [secret(&path(token)), None],
        ActionKind::Mail { via, .. } => {
            let mails = Mails::new(via.as_deref(), &context.build());
            let problem = mails.ok().and_then(|mails| mails.prepare().err());
            let help = "put it right before the rule fires";
            [problem.map(|why| (why, help.to_owned())), None]
        }
        _ => [None, None],
    };
    found.into_iter().flatten().collect()
}

/// Whether there is something to be run. What may not be looked at by who asks may be fine
/// for the daemon.
fn program_at(path: &Path) -> Found {
    let shown = path.display();
    let about = match about(path) {
        Ok(about) => about?,
        Err(()) => {
            return Some((
                format!("there is no program {shown}"),
                "install it, or put `run` right".to_owned(),
            ));
        }
    };
    let mode = about.permissions().mode();
    if !about.is_file() {
        let help = "write the path of a program".to_owned();
        return Some((format!("{shown} is no program"), help));
    }
    if mode & 0o111 == 0 {
        let help = format!("allow that: chmod +x {shown}");
        return Some((format!("{shown} may not be executed"), help));
    }
    if mode & 0o002 != 0 {
        let help = format!("take that away: chmod o-w {shown}");
        return Some((format!("everybody may change what {shown} does"), help));
    }
    None
}

fn dir(field: &str, path: &Path) -> Found {
    let shown = path.display();
    let help = format!("make it, or put `{field}` right");
    match about(path) {
        Ok(Some(about)) if !about.is_dir() => {
            Some((format!("{shown} is no directory"), help))
        }
        Ok(_) => None,
        Err(()) => Some((format!("there is no directory {shown}"), help)),
    }
}

fn secret(path: &Path) -> Found {
    let shown = path.display();
    match about(path) {
        Ok(about) if about.as_ref()?.permissions().mode() & 0o077 != 0 => Some((
            format!("others may read the token in {shown}, so it is not used"),
            format!("take that away: chmod 600 {shown}"),
        )),
        Ok(_) => None,
        Err(()) => Some((
            format!("there is no file {shown} with a token"),
            "write the token into it, for its owner only, or put `token` right"
                .to_owned(),
        )),
    }
}

/// What is there; `Ok(None)` when that cannot be known, an error when nothing is.
fn about(path: &Path) -> Result<Option<Metadata>, ()> {
    match fs::metadata(path) {
        Ok(about) => Ok(Some(about)),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Err(()),
            _ => Ok(None),
        },
    }
}
