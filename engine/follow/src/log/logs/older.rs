//! Files that are called like an older file of a log, and match the patterns
//! themselves: `app-20261120.log` beside `app.log`, or `worker.1.log` beside
//! `worker.log`. The name does not tell whether the one was the other before.
//!
//! What was written after the log had begun the file it is in, and is not what
//! the log has read, never was the log's: a log of its own. A rename or a copy
//! does not pass for that: what was renamed was written to before the next file
//! was begun, and a copy begins as what was read.

use super::Logs;
use crate::file::Stamp;
use crate::log::decide::Match;
use crate::log::examine;
use crate::log::names;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tripline_api::Cursor;

/// What a file is that matches and is not followed yet.
pub(super) enum Standing {
    /// An older file of a log that is followed: it is read as such.
    Older,
    /// A log of its own, which was read up to there while it was taken for an
    /// older file of another.
    Own(Option<Cursor>),
}

impl Logs {
    /// Whether a log reads this file that it cannot be an older file of, by its
    /// name: then it was renamed.
    pub(super) fn is_of_another(&self, path: &Path, stamp: Stamp) -> bool {
        let Some(&owner) = self.owners.get(&stamp.inode) else { return false };
        let owner = &self.trails[owner];
        let names = owner.path.file_name().zip(path.file_name());
        let is_named_after = owner.path.parent() == path.parent()
            && names.is_some_and(|(log, name)| {
                names::rotation_of(log.as_bytes(), name.as_bytes()).is_some()
            });
        owner.place_in(stamp.inode).is_some() && !is_named_after
    }

    /// What a file is, by its name, its time and, where these do not tell, its
    /// content.
    pub(super) fn standing(&self, path: &Path, stamp: Stamp) -> Standing {
        let named = path.parent().zip(path.file_name());
        let Some((folder, name)) = named.filter(|_| !self.patterns.is_literal(path))
        else {
            return Standing::Own(None);
        };
        let mut standing = Standing::Own(None);
        for base in names::bases_of(name.as_bytes()) {
            let log = folder.join(OsStr::from_bytes(&base));
            let is_followed = self.by_path.contains_key(&*log)
                || self.patterns.matches(&log) && log.is_file();
            if !is_followed {
                continue;
            }
            let is_sure = names::rotation_of(&base, name.as_bytes())
                .is_none_or(|it| it.is_compressed || !it.keeps_extension);
            if is_sure {
                return Standing::Older;
            }
            match self.standing_beside(&log, path, stamp) {
                Standing::Older => return Standing::Older,
                Standing::Own(None) => {}
                own @ Standing::Own(Some(_)) => standing = own,
            }
        }
        standing
    }

    /// Whether the path of a log now names an older file of another one: what was
    /// taken for a log of its own had been such a file too, and is renamed.
    pub(super) fn is_taken_over(&self, index: usize, stamp: Stamp) -> bool {
        let trail = &self.trails[index];
        let is_other = |cursor: &Cursor| {
            cursor.proof.as_ref().is_some_and(|proof| proof.inode != stamp.inode)
        };
        stamp.size > 0
            && trail.cursor.as_ref().is_some_and(is_other)
            && trail.place_in(stamp.inode).is_none()
            && matches!(self.standing(&trail.path, stamp), Standing::Older)
    }

    /// What a file is that may be an older one of this log.
    fn standing_beside(&self, log: &Path, path: &Path, stamp: Stamp) -> Standing {
        let trail = self.by_path.get(log).map(|index| &self.trails[*index]);
        let Ok(live) = fs::metadata(log).map(|metadata| Stamp::of(&metadata)) else {
            return Standing::Older;
        };
        let Some((trail, cursor)) = trail.and_then(|it| Some((it, it.cursor.as_ref()?)))
        else {
            // The log is not begun: only by its time is anything known.
            let is_younger = live.size > 0 && stamp.modified > live.modified;
            return if is_younger { Standing::Own(None) } else { Standing::Older };
        };
        if let Some(left) = trail.left_in(stamp.inode) {
            let has_more = stamp.size > left.place.offset
                && examine::plain_file(path, stamp, left)
                    .is_ok_and(|it| it == Match::Yes);
            return match has_more {
                true => Standing::Own(Some(left.clone())),
                false => Standing::Older,
            };
        }
        let Some(proof) = &cursor.proof else { return Standing::Older };
        let is_in = |path, stamp| examine::plain_file(path, stamp, cursor);
        // While the log has not come to the file at its path, or has read nothing
        // of it, it may have to read this one before.
        let is_passed = proof.head.len > 0
            && stamp.size > 0
            && stamp.modified > trail.entered
            && stamp.inode != live.inode
            && proof.inode == live.inode
            && is_in(log, live).is_ok_and(|it| it == Match::Yes)
            && is_in(path, stamp).is_ok_and(|it| it == Match::No);
        if is_passed { Standing::Own(None) } else { Standing::Older }
    }
}
