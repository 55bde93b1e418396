//! Files that are called like older files of a log, and match the patterns
//! themselves: `app.log.1` or `app-20261120.log` beside `app.log`.
//!
//! They are read as that log's, and not followed on their own. The name decides:
//! a rule that can be foreseen, and that a person can overrule, by naming the
//! file in `paths` without wildcards.

use super::Logs;
use crate::file::Stamp;
use crate::log::decide::Match;
use crate::log::examine;
use crate::log::names;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Logs {
    /// The log that a file is an older one of, by its name.
    pub(super) fn newer_of(&self, path: &Path) -> Option<PathBuf> {
        let name = path.file_name().filter(|_| !self.patterns.is_literal(path))?;
        let logs = names::bases_of(name.as_bytes()).into_iter();
        logs.map(|base| path.with_file_name(OsStr::from_bytes(&base))).find(|log| {
            self.by_path.contains_key(&**log)
                || self.patterns.matches(log) && log.is_file()
        })
    }

    /// Says so when somebody writes to a file that is taken for an older one, and
    /// is no copy of the log: then it is perhaps a log like the other.
    pub(super) fn tell_if_alive(&mut self, path: &Path, stamp: Stamp, log: &Path) {
        let names = log.file_name().zip(path.file_name());
        let rotation = names
            .and_then(|(log, name)| names::rotation_of(log.as_bytes(), name.as_bytes()));
        if !rotation.is_some_and(|it| it.could_be_a_log()) {
            return;
        }
        let Some(trail) = self.by_path.get(log).map(|index| &self.trails[*index]) else {
            return;
        };
        let Some((cursor, proof)) =
            trail.cursor.as_ref().and_then(|it| Some((it, it.proof.as_ref()?)))
        else {
            return;
        };
        let Ok(live) = fs::metadata(log).map(|metadata| Stamp::of(&metadata)) else {
            return;
        };
        // What was rotated was written to before what came after it.
        let is_copy = || {
            proof.head.len > 0
                && examine::plain_file(path, stamp, cursor)
                    .is_ok_and(|it| it != Match::No)
        };
        let is_alive = stamp.modified > live.modified
            && ![proof.inode, live.inode].contains(&stamp.inode)
            && !is_copy();
        if is_alive {
            let what = format!(
                "{} is written to, but by its name it is an older file of {}: what comes \
                 to it is not read. If it is a log of its own, name it in `paths`, \
                 without wildcards",
                path.display(),
                log.display()
            );
            self.tell_of(path, what);
        }
    }
}
