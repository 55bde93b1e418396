//! Walks through the directories in which matches can be, and no others.

use super::{At, CompiledPart, DEPTH_MAX, Found, Inner, Listed, Matched, Rules, Step};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirEntry, FileType};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most names in one directory that is listed.
const NAMES_MAX: usize = 1_000_000;

/// The most directories that wait for their turn in a walk.
const DIRECTORIES_MAX: usize = 200_000;

/// A look at all files that match, one directory at a time, so that whoever
/// takes it can stop between two. Each directory comes once.
///
/// Nothing is listed but directories in which a wildcard can match; a name
/// without one is looked up. A symlink to a directory is followed where a name
/// or a `*` of the pattern stands for it, and not where a `**` does: so no loop
/// of links is walked in.
///
/// Not looked into are a directory with more than a million names, one deeper
/// than [`DEPTH_MAX`], and those for which there is no room among the
/// 200,000 that wait: each comes as an error.
#[derive(Debug)]
pub(in crate::log) struct Walk {
    patterns: Arc<Inner>,
    /// What is to be matched in which directory. Taken in order: a directory
    /// comes before those in it, so all that is wanted of one is known when it
    /// is its turn.
    pending: BTreeMap<PathBuf, Vec<At>>,
    /// The first directory for which there was no room.
    overflow: Option<PathBuf>,
}

impl Walk {
    pub(super) fn new(patterns: Arc<Inner>) -> Self {
        let start = patterns.paths.start.clone();
        let mut pending = BTreeMap::new();
        if !start.is_empty() {
            pending.insert(PathBuf::from("/"), start);
        }
        Self { patterns, pending, overflow: None }
    }

    /// Looks into one more directory; `None` when there are no more.
    pub(in crate::log) fn step(&mut self) -> Option<Listed> {
        let Some((directory, states)) = self.pending.pop_first() else {
            let directory = self.overflow.take()?;
            return Some(Listed {
                directory,
                entries: Err(io::Error::other(format!(
                    "more than {DIRECTORIES_MAX} directories wait to be looked into"
                ))),
                is_worth_watching: false,
            });
        };
        let names: Vec<_> = super::names(&directory).collect();
        if names.len() > DEPTH_MAX {
            let why = format!("deeper than {DEPTH_MAX} directories");
            let entries = Err(io::Error::other(why));
            return Some(Listed { directory, entries, is_worth_watching: false });
        }
        let patterns = Arc::clone(&self.patterns);
        let look = Look {
            patterns: &patterns,
            excluded: patterns.excluded_paths.after(&names),
            directory: &directory,
            walk: self,
        };
        let (entries, is_worth_watching) = look.into_it(&states);
        Some(Listed { directory, entries, is_worth_watching })
    }

    fn push(&mut self, directory: PathBuf, states: Vec<At>) {
        if let Some(known) = self.pending.get_mut(&directory) {
            known.extend(states);
            known.sort_unstable();
            known.dedup();
        } else if self.pending.len() < DIRECTORIES_MAX {
            self.pending.insert(directory, states);
        } else {
            self.overflow.get_or_insert(directory);
        }
    }
}

/// A look into one directory.
struct Look<'a> {
    patterns: &'a Inner,
    /// What is to be matched here to be left out.
    excluded: Vec<At>,
    directory: &'a Path,
    walk: &'a mut Walk,
}

impl Look<'_> {
    fn into_it(mut self, states: &[At]) -> (io::Result<Vec<Found>>, bool) {
        let rules = &self.patterns.paths;
        let is_literal = |&&at: &&At| matches!(rules.part(at), CompiledPart::Literal(_));
        let literals: Vec<At> = states.iter().filter(is_literal).copied().collect();
        if literals.len() == states.len() {
            return self.look_up(rules, states);
        }
        let listed = self.list(states);
        match &listed {
            Err(error) if is_absent(error) => return (Ok(Vec::new()), false),
            // What is below can often be reached all the same.
            Err(_) => _ = self.look_up(rules, &literals),
            Ok(_) => {}
        }
        (listed, true)
    }

    /// Asks for names, without listing the directory. Also says whether one of
    /// them is a reason to watch it: a file, or what is not there yet, or a
    /// link, which may be put elsewhere.
    fn look_up(
        &mut self,
        rules: &Rules,
        states: &[At],
    ) -> (io::Result<Vec<Found>>, bool) {
        let name = |at: &At| match rules.part(*at) {
            CompiledPart::Literal(name) => Some(name.as_slice()),
            CompiledPart::Glob(_) | CompiledPart::Tree => None,
        };
        let mut wanted: Vec<_> = states.iter().filter_map(name).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let (mut found, mut failed, mut is_worth_watching) = (Vec::new(), None, false);
        for name in wanted {
            let step = self.step(states, name);
            if step.is_nothing() {
                continue;
            }
            is_worth_watching |= step.matched.is_some();
            let path = self.directory.join(OsStr::from_bytes(name));
            match fs::symlink_metadata(&path) {
                Ok(metadata) => {
                    is_worth_watching |= !metadata.is_dir();
                    let kind = metadata.file_type();
                    found.extend(self.take(
                        path,
                        name,
                        kind,
                        metadata.ino(),
                        states,
                        step,
                    ));
                }
                Err(error) if is_absent(&error) => is_worth_watching = true,
                Err(error) => failed = Some(error),
            }
        }
        (failed.map_or(Ok(found), Err), is_worth_watching)
    }

    /// Lists the directory in one pass. No entry is looked at but those that
    /// match, and of them only links and those of unknown type.
    fn list(&mut self, states: &[At]) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for (count, entry) in fs::read_dir(self.directory)?.enumerate() {
            if count == NAMES_MAX {
                let why = format!("there are more than {NAMES_MAX} names in it");
                return Err(io::Error::other(why));
            }
            found.extend(self.entry(&entry?, states)?);
        }
        found.sort_unstable_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
        Ok(found)
    }

    fn entry(&mut self, entry: &DirEntry, states: &[At]) -> io::Result<Option<Found>> {
        let name = entry.file_name();
        let name = name.as_bytes();
        let step = self.step(states, name);
        if step.is_nothing() {
            return Ok(None);
        }
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let path = entry.path();
        Ok(self.take(path, name, kind, entry.ino(), states, step))
    }

    /// What a name leads to that is not left out.
    fn step(&self, states: &[At], name: &[u8]) -> Step {
        let mut step = self.patterns.paths.advance(states, name, false);
        if !step.is_nothing() {
            let excluded = &self.patterns.excluded_paths;
            if excluded.advance(&self.excluded, name, false).matched.is_some() {
                return Step::default();
            }
            if step.matched.is_some() && self.patterns.excludes_name(name) {
                step.matched = None;
            }
        }
        step
    }

    /// Notes a directory for later; gives back what matches.
    fn take(
        &mut self,
        path: PathBuf,
        name: &[u8],
        kind: FileType,
        inode: u64,
        states: &[At],
        mut step: Step,
    ) -> Option<Found> {
        let is_symlink = kind.is_symlink();
        let mut is_directory = Some(kind.is_dir());
        if is_symlink {
            // Without what only a `**` leads to.
            step.below = self.patterns.paths.advance(states, name, true).below;
            is_directory = match fs::metadata(&path) {
                Ok(metadata) => Some(metadata.is_dir()),
                // Leads nowhere, or to itself.
                Err(error) if is_absent(&error) || is_loop(&error) => Some(false),
                // Why is reported by who opens it, or when it is its turn.
                Err(_) => None,
            };
        }
        let is_wanted =
            |matched: Matched| matched.is_literal || is_directory != Some(true);
        let found = step.matched.is_some_and(is_wanted);
        let found = found.then(|| Found { path: path.clone(), is_symlink, inode });
        if is_directory != Some(false) && !step.below.is_empty() {
            self.walk.push(path, step.below);
        }
        found
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}
