//! Logs that are renamed: what was read under one path goes on under another.

use super::Logs;
use crate::file::Stamp;
use crate::log::decide::Match;
use crate::log::examine;
use crate::log::family::was_born_after;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tripline_api::Cursor;

/// A file that was read under one path and is now at another one.
pub(super) struct Move {
    from: usize,
    /// Where it was read up to.
    cursor: Cursor,
    to: PathBuf,
    stamp: Stamp,
}

/// Renames between paths that are followed.
impl Logs {
    /// Whether the log's own path still names that file.
    pub(super) fn is_still_at(&self, index: usize, stamp: Stamp) -> bool {
        let metadata = fs::metadata(&*self.trails[index].path);
        metadata.is_ok_and(|metadata| Stamp::of(&metadata).inode == stamp.inode)
    }

    /// Whether the file at a path is one that another log has read, as its
    /// content says. An error says that it is no longer there.
    pub(super) fn moved_from(
        &self,
        from: usize,
        path: &Path,
        stamp: Stamp,
    ) -> io::Result<Option<Move>> {
        let Some(cursor) = self.trails[from].place_in(stamp.inode).cloned() else {
            return Ok(None);
        };
        let is_new = cursor.proof.as_ref().is_some_and(|proof| {
            fs::metadata(path).is_ok_and(|it| was_born_after(&it, proof.modified))
        });
        let is_it = !is_new && examine::plain_file(path, stamp, &cursor)? == Match::Yes;
        Ok(is_it.then(|| Move { from, cursor, to: path.to_owned(), stamp }))
    }

    /// Each log gives away its file before any takes another's: two may have
    /// changed places.
    pub(super) fn apply(&mut self, mut moves: Vec<Move>) {
        let mut at = 0;
        while at < moves.len() {
            // What is now at the path it came from may have moved as well.
            let from = self.trails[moves[at].from].path.to_path_buf();
            if !moves.iter().any(|it| it.to == from)
                && let Ok(metadata) = fs::metadata(&from)
            {
                let stamp = Stamp::of(&metadata);
                let owner = self.owners.get(&stamp.inode).copied();
                let found =
                    owner.filter(|owner| *owner != moves[at].from).and_then(|owner| {
                        self.moved_from(owner, &from, stamp).ok().flatten()
                    });
                moves.extend(found);
            }
            at += 1;
        }
        for it in &moves {
            self.trails[it.from].give_away(it.stamp.inode);
            self.moved.push(it.from);
            self.wake(it.from);
        }
        for Move { cursor, to, stamp, .. } in moves {
            let known = self.by_path.get(&*to).copied();
            let index = known.unwrap_or_else(|| self.add(to.into(), None));
            self.trails[index].inherit(cursor);
            self.trails[index].seen = stamp;
            self.owners.insert(stamp.inode, index);
            self.wake(index);
        }
    }
}
