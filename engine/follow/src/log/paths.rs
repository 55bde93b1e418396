//! Which files a log source follows: patterns of paths, as a shell has them.
//!
//! | written | matches |
//! |---|---|
//! | `*` | any characters of one name |
//! | `?` | one byte of a name: one character, if it is ASCII |
//! | `[a-z]`, `[!a-z]` | one character of these, or none of these |
//! | `{a,b}` | `a` or `b`, which may be patterns and may hold slashes |
//! | `**` between slashes | any number of directories; at the end, all below |
//! | `\*`, `[*]` | the character itself |
//!
//! A name with a leading dot matches only where the pattern has the dot. What
//! has none of these is a literal path.

mod find;
mod pattern;
mod walk;

pub use find::{FoundFiles, find_files};
pub(super) use walk::Walk;

use globset::{Candidate, Glob, GlobBuilder, GlobSet};
use pattern::Part;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tripline_api::resolved;

/// How deep below the root a directory may be in which files are found.
pub(super) const DEPTH_MAX: usize = 64;

/// What is wrong with a pattern, in a user's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatternError {
    pattern: String,
    problem: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the path pattern {:?} cannot be used: {}", self.pattern, self.problem)
    }
}

impl std::error::Error for PatternError {}

/// The paths that are followed. A clone is cheap and shares all.
#[derive(Clone, Debug)]
pub(super) struct Patterns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    paths: Rules,
    /// What these match is left out, and all below it.
    excluded_paths: Rules,
    /// Files that are called so are left out.
    excluded_names: Rules,
    literals: Vec<PathBuf>,
    /// What of the patterns stands before the first wildcard, each once.
    leads: Vec<PathBuf>,
    count: usize,
}

impl Patterns {
    /// Reads patterns of paths; relative ones start at `directory`.
    ///
    /// What `exclude` matches is left out. A pattern with a slash is that of a
    /// whole path: it leaves out the path and all below it, relative ones start
    /// at `directory`, and those that begin with `**/` at the root. One without
    /// a slash is that of a file's name, in whatever directory. Here wildcards
    /// match a leading dot too.
    ///
    /// # Errors
    ///
    /// When a pattern cannot be read, when it names a directory (`/var/log/`),
    /// or when all of them together are too big.
    pub(super) fn new(
        directory: &Path,
        paths: &[String],
        exclude: &[String],
    ) -> Result<Self, PatternError> {
        let directory = absolute(directory)?;
        let mut all = Builder { hides_dots: true, ..Builder::default() };
        let (mut literals, mut leads) = (Vec::new(), Vec::new());
        for (index, pattern) in paths.iter().enumerate() {
            let read = pattern::read(&directory, pattern);
            for parts in read.map_err(|problem| error(pattern, problem))? {
                literals.extend(pattern::literal(&parts));
                leads.push(pattern::lead(&parts));
                all.add(index, pattern, parts)?;
            }
        }
        leads.sort_unstable();
        leads.dedup();
        let (mut by_path, mut by_name) = (Builder::default(), Builder::default());
        for (index, pattern) in exclude.iter().enumerate() {
            let wrong = |problem| error(pattern, problem);
            if pattern.contains('/') {
                let is_anywhere = pattern.starts_with("**/");
                let start = if is_anywhere { Path::new("/") } else { &directory };
                for parts in pattern::read(start, pattern).map_err(wrong)? {
                    by_path.add(index, pattern, parts)?;
                }
            } else {
                for name in pattern::read_name(pattern).map_err(wrong)? {
                    by_name.add(index, pattern, vec![name])?;
                }
            }
        }
        let mut inner = Inner {
            paths: all.build(paths)?,
            excluded_paths: by_path.build(exclude)?,
            excluded_names: by_name.build(exclude)?,
            literals: Vec::new(),
            leads,
            count: paths.len(),
        };
        let mut seen = HashSet::new();
        literals.retain(|path| inner.find(path).is_some() && seen.insert(path.clone()));
        inner.literals = literals;
        Ok(Self(Arc::new(inner)))
    }

    /// Whether a file at this absolute path would be followed, by its name
    /// alone. Paths are compared as they are written, without a look at links.
    pub(super) fn matches(&self, path: &Path) -> bool {
        self.0.find(path).is_some()
    }

    /// Whether a path without links is that of a file which would be followed: links that
    /// stand before the first wildcard of a pattern are followed too.
    pub(super) fn lead_to(&self, path: &Path) -> bool {
        self.0.leads.iter().any(|lead| {
            let below = path.strip_prefix(resolved(lead));
            below.is_ok_and(|below| self.matches(&lead.join(below)))
        })
    }

    /// The paths without wildcards that are not left out, in the order written:
    /// these are waited for while they do not exist.
    pub(super) fn literals(&self) -> &[PathBuf] {
        &self.0.literals
    }

    /// Whether a path is named without wildcards.
    pub(super) fn is_literal(&self, path: &Path) -> bool {
        self.0.literals.iter().any(|literal| literal == path)
    }

    /// The index of the first pattern that matches; behind all of them when
    /// none does.
    pub(super) fn order(&self, path: &Path) -> usize {
        self.0.find(path).unwrap_or(self.0.count)
    }

    /// Whether a file that is followed could be in this directory, which may
    /// not exist yet, or anywhere below it.
    pub(super) fn concerns_directory(&self, directory: &Path) -> bool {
        let names: Vec<_> = names(directory).collect();
        if !directory.is_absolute() || names.len() > DEPTH_MAX {
            return false;
        }
        let excluded = &self.0.excluded_paths;
        !excluded.matches_on_the_way(&names) && !self.0.paths.after(&names).is_empty()
    }

    /// A look at all that is there now.
    pub(super) fn walk(&self) -> Walk {
        Walk::new(Arc::clone(&self.0))
    }
}

/// What a directory holds.
#[derive(Debug)]
pub(super) struct Listed {
    /// Its absolute path, as the patterns lead to it.
    pub(super) directory: PathBuf,
    /// All that matches in it, by name; or why it cannot be looked into. One
    /// that is gone, or never was there, is empty.
    ///
    /// Not only regular files: the type is for who opens them. Directories are
    /// among them only if a pattern without wildcards names them.
    pub(super) entries: io::Result<Vec<Found>>,
    /// A new file, directory or link in it could make a match, so it is worth
    /// watching.
    pub(super) is_worth_watching: bool,
}

/// An entry that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its absolute path.
    pub(super) path: PathBuf,
    /// It is a symlink; what it leads to may be missing.
    pub(super) is_symlink: bool,
    /// Its inode number, as the directory has it: that of the link for a
    /// symlink, and that of the mount point for a mounted file. A hint.
    pub(super) inode: u64,
}

impl Inner {
    /// The first pattern that matches a path which is not left out.
    fn find(&self, path: &Path) -> Option<usize> {
        let names: Vec<_> = names(path).collect();
        let (last, directories) = names.split_last()?;
        if !path.is_absolute() || directories.len() > DEPTH_MAX {
            return None;
        }
        let before = self.paths.after(directories);
        let matched = self.paths.advance(&before, last, false).matched?;
        let is_excluded =
            self.excludes_name(last) || self.excluded_paths.matches_on_the_way(&names);
        (!is_excluded).then_some(matched.pattern)
    }

    fn excludes_name(&self, name: &[u8]) -> bool {
        let rules = &self.excluded_names;
        rules.advance(&rules.start, name, false).matched.is_some()
    }
}

/// The names in a path, from its root or start on. A `..` is kept: what is
/// above a link is for the system to say.
fn names(path: &Path) -> impl Iterator<Item = &[u8]> {
    let names = path.as_os_str().as_bytes().split(|&byte| byte == b'/');
    names.filter(|name| !matches!(*name, b"" | b"."))
}

fn absolute(directory: &Path) -> Result<PathBuf, PatternError> {
    let this = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    std::path::absolute(this)
        .map_err(|why| error(".", format!("the current directory is not known: {why}")))
}

fn error(pattern: &str, problem: String) -> PatternError {
    PatternError { pattern: pattern.to_owned(), problem }
}

/// Patterns, compiled so that a path is matched name by name, and a walk knows
/// in each directory what may come below it.
#[derive(Debug)]
struct Rules {
    alternatives: Vec<Alternative>,
    /// All globs of all parts, each once.
    globs: GlobSet,
    /// By the index of a glob.
    takes_hidden: Vec<bool>,
    /// Wildcards leave out names with a leading dot.
    hides_dots: bool,
    /// What is to be matched at the root.
    start: Vec<At>,
}

#[derive(Debug)]
struct Alternative {
    /// The index of the pattern as it was written.
    pattern: usize,
    is_literal: bool,
    parts: Vec<CompiledPart>,
}

#[derive(Debug)]
enum CompiledPart {
    Literal(Vec<u8>),
    Glob(usize),
    Tree,
}

/// A part that is to be matched next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    alternative: usize,
    part: usize,
}

/// What a name leads to.
#[derive(Debug, Default)]
struct Step {
    /// What is to be matched below it, if it is a directory; in order, and
    /// each once.
    below: Vec<At>,
    matched: Option<Matched>,
}

impl Step {
    fn is_nothing(&self) -> bool {
        self.matched.is_none() && self.below.is_empty()
    }
}

#[derive(Clone, Copy, Debug)]
struct Matched {
    /// The first pattern that matches.
    pattern: usize,
    /// A pattern without wildcards is among those that match.
    is_literal: bool,
}

impl Rules {
    fn part(&self, at: At) -> &CompiledPart {
        &self.alternatives[at.alternative].parts[at.part]
    }

    /// What `name` leads to where `states` are to be matched. Below a symlink
    /// that only a `**` matches, nothing is.
    fn advance(&self, states: &[At], name: &[u8], is_link: bool) -> Step {
        let mut hits = Vec::new();
        if states.iter().any(|&at| matches!(self.part(at), CompiledPart::Glob(_))) {
            self.globs.matches_candidate_into(&Candidate::from_bytes(name), &mut hits);
        }
        let is_hidden = self.hides_dots && name.starts_with(b".");
        let mut step = Step::default();
        for &at in states {
            match self.part(at) {
                CompiledPart::Tree if !is_hidden && !is_link => {
                    self.enter(at, &mut step.below)
                }
                CompiledPart::Literal(literal) if literal == name => {
                    self.pass(at, &mut step)
                }
                CompiledPart::Glob(glob)
                    if hits.contains(glob)
                        && (!is_hidden || self.takes_hidden[*glob]) =>
                {
                    self.pass(at, &mut step);
                }
                _ => {}
            }
        }
        step.below.sort_unstable();
        step.below.dedup();
        step
    }

    /// A part was matched.
    fn pass(&self, at: At, step: &mut Step) {
        let At { alternative, part } = at;
        let Alternative { pattern, is_literal, ref parts } =
            self.alternatives[alternative];
        if part + 1 < parts.len() {
            self.enter(At { alternative, part: part + 1 }, &mut step.below);
            return;
        }
        let before = step.matched.unwrap_or(Matched { pattern, is_literal });
        step.matched = Some(Matched {
            pattern: pattern.min(before.pattern),
            is_literal: is_literal || before.is_literal,
        });
    }

    /// A part is to be matched next; a `**` can also match no directory, and
    /// never comes last.
    fn enter(&self, at: At, states: &mut Vec<At>) {
        states.push(at);
        if matches!(self.part(at), CompiledPart::Tree) {
            states.push(At { part: at.part + 1, ..at });
        }
    }

    /// What is to be matched below these directories.
    fn after(&self, directories: &[&[u8]]) -> Vec<At> {
        let mut states = self.start.clone();
        for name in directories {
            states = self.advance(&states, name, false).below;
        }
        states
    }

    /// Whether a path or a directory above it matches.
    fn matches_on_the_way(&self, names: &[&[u8]]) -> bool {
        let mut states = self.start.clone();
        names.iter().any(|name| {
            let step = self.advance(&states, name, false);
            states = step.below;
            step.matched.is_some()
        })
    }
}

/// Collects patterns and their globs.
#[derive(Default)]
struct Builder {
    alternatives: Vec<Alternative>,
    globs: Vec<Glob>,
    indexes: HashMap<String, usize>,
    takes_hidden: Vec<bool>,
    hides_dots: bool,
}

impl Builder {
    fn add(
        &mut self,
        index: usize,
        pattern: &str,
        parts: Vec<Part>,
    ) -> Result<(), PatternError> {
        let is_literal = parts.iter().all(|part| matches!(part, Part::Literal(_)));
        let mut compiled = Vec::with_capacity(parts.len());
        for part in parts {
            let takes_hidden = part.takes_hidden();
            compiled.push(match part {
                Part::Literal(name) => CompiledPart::Literal(name),
                Part::Tree => CompiledPart::Tree,
                Part::Glob(glob) => {
                    let index = self.glob(glob, takes_hidden);
                    CompiledPart::Glob(index.map_err(|problem| error(pattern, problem))?)
                }
            });
        }
        self.alternatives.push(Alternative {
            pattern: index,
            is_literal,
            parts: compiled,
        });
        Ok(())
    }

    /// The index of a glob among all of them.
    fn glob(&mut self, glob: String, takes_hidden: bool) -> Result<usize, String> {
        if let Some(&known) = self.indexes.get(&glob) {
            return Ok(known);
        }
        let built = GlobBuilder::new(&glob).literal_separator(true).build();
        self.globs.push(built.map_err(|why| why.kind().to_string())?);
        self.takes_hidden.push(takes_hidden);
        let next = self.indexes.len();
        self.indexes.insert(glob, next);
        Ok(next)
    }

    /// Compiles all of them; `patterns` are for the message.
    fn build(self, patterns: &[String]) -> Result<Rules, PatternError> {
        let first = patterns.first().map_or("", String::as_str);
        let wrong = |why: globset::Error| {
            error(first, format!("with those after it, it is too much: {}", why.kind()))
        };
        let mut rules = Rules {
            globs: GlobSet::new(self.globs).map_err(wrong)?,
            alternatives: self.alternatives,
            takes_hidden: self.takes_hidden,
            hides_dots: self.hides_dots,
            start: Vec::new(),
        };
        let mut start = Vec::new();
        for alternative in 0..rules.alternatives.len() {
            rules.enter(At { alternative, part: 0 }, &mut start);
        }
        rules.start = start;
        Ok(rules)
    }
}

#[cfg(test)]
mod tests;
