//! How a log leaves a file: when another comes after it, when it is deleted, and
//! when it is another log's from now on.
//!
//! | | when | what was not read |
//! |---|---|---|
//! | `finish` | another file comes after it | is handed out |
//! | `release` | deleted, and there is more to read than is kept | is a gap |
//! | `part_from` | it is at no path, and read to its end | there is none |
//! | `let_go` | the same, and many files are open | there is none |
//! | `give_away` | it is at the path of another log | is read there |

use super::look::nothing_read_after;
use super::{Context, Rest, Trail, Turn, is_in};
use crate::log::decide::Match;
use crate::log::family::{Family, Member};
use crate::log::lines::End;
use crate::log::open::Read;
use crate::log::settings::OnDeleted;
use std::time::{Duration, Instant};
use tripline_api::{Gap, GapKind, Place, SourceError};

/// A deleted file that was read to its end is held open this long after the last
/// write to it.
const HELD_QUIET: Duration = Duration::from_secs(15 * 60);

impl Trail {
    /// Hands out what is left of the open file, which has a successor with
    /// content: whoever wrote the one writes the other now.
    pub(super) fn finish(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Result<Option<Turn>, SourceError> {
        let Some(open) = &mut self.open else { return Ok(None) };
        if open.is_plain() {
            match open.read_plain(cx.lines, usize::MAX)? {
                Read::More => return Ok(Some(Turn::Take(End::Open))),
                Read::Changed => {
                    self.open = None;
                    return Ok(Some(Turn::Again));
                }
                _ => {}
            }
        }
        let lines = open.own_lines().unwrap_or(cx.lines);
        let is_left = lines.rest_bytes() > 0;
        Ok(is_left.then_some(Turn::Take(End::Final)))
    }

    /// Nothing links to the open file any more, and no copy of it was found:
    /// whether what was not read of it is given up.
    pub(super) fn release(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Result<Option<Turn>, SourceError> {
        let Some(open) = &self.open else { return Ok(None) };
        let Some((0, size)) = open.links_and_size() else { return Ok(None) };
        let Some(before) = self.cursor.clone() else { return Ok(None) };
        let unread = size.saturating_sub(before.place.offset);
        let is_kept = cx.settings.on_deleted == OnDeleted::Drain
            && unread <= cx.settings.held_bytes_max;
        if unread == 0 || is_kept {
            return Ok(None);
        }
        let mut family = self.family(cx)?;
        family.add_compressed(&self.path);
        let (_, files) = self.situation(&family, cx);
        if files.iter().any(|it| matches!(it.mine, Match::Yes | Match::Unknown)) {
            // It was compressed: nothing is lost.
            return Ok(None);
        }
        let to = Place::start_of(self.era, before.place.sequence + 1);
        let why = format!(
            "{} was deleted before it was read to its end: {unread} bytes of it were \
             given up",
            self.path.display()
        );
        let repair = "keep rotated files until they are read, or allow more to be held \
            (`on_deleted: Drain`, `held_bytes_max`)";
        self.leave();
        let proof = self.cursor.as_ref().and_then(|cursor| cursor.proof.clone());
        Ok(Some(Turn::Gap(Box::new(Gap {
            source: cx.settings.id.clone(),
            log: Some(self.path.clone()),
            kind: GapKind::Deleted,
            from: before.place,
            to,
            proof,
            missing: None,
            bytes: Some(unread),
            why,
            repair: repair.to_owned(),
        }))))
    }

    /// Whether the open file has no name any more that belongs to the log, but for
    /// that of what it was compressed to, and no other is at the path.
    pub(super) fn is_at_no_path(&self, family: &Family) -> bool {
        let Some(open) = &self.open else { return false };
        let is_it = |it: &Member| it.stamp.inode == open.inode && !it.is_compressed_live;
        !family.has_live() && !family.members.iter().any(is_it)
    }

    /// The file was read to its end, nothing stands at the path, and no older file
    /// of the log comes after it: it is let go, once nobody can write to it or has
    /// done so for long. What comes next is begun at its start.
    pub(super) fn part_from(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Result<Turn, SourceError> {
        let deleted = self.open.as_ref().and_then(|open| open.links_and_size());
        let is_plain = self.open.as_ref().is_some_and(|open| open.is_plain());
        if is_plain && let Some((links, size)) = deleted {
            if links > 0 {
                // Moved elsewhere: it may be deleted there.
                return Ok(leisurely(cx.now + HELD_QUIET));
            }
            let held = &mut self.work().held;
            if held.is_none_or(|(_, before)| before != size) {
                *held = Some((cx.now, size));
            }
            let until = held.map_or(cx.now, |(since, _)| since + HELD_QUIET);
            if cx.now < until {
                return Ok(leisurely(until));
            }
        }
        if let Some(turn) = self.finish(cx)? {
            return Ok(turn);
        }
        self.leave();
        *cx.is_loaded = false;
        Ok(Turn::Begins)
    }

    /// Lets go of a file that is deleted and was read to its end, although somebody
    /// may write to it still. Returns whether it was one.
    pub(in crate::log) fn let_go(&mut self) -> bool {
        let is_held = self.work.as_ref().is_some_and(|work| work.held.is_some());
        let read = self.cursor.as_ref().map(|cursor| cursor.place.offset);
        // What waits for the end of its line is not let go so soon.
        let is_read = self.open.as_ref().is_some_and(|open| open.end() == read);
        if is_held && is_read {
            self.leave();
        }
        is_held && is_read
    }

    /// The file with this inode was renamed to another path that is followed,
    /// and is read there from now on.
    pub(in crate::log) fn give_away(&mut self, inode: (u64, u64)) {
        if self.inherits.as_deref().is_some_and(|it| is_in(it, inode)) {
            self.inherits = None;
            return;
        }
        self.leave();
    }

    /// Leaves the file of the cursor. The next one begins at its start.
    pub(super) fn leave(&mut self) {
        let Some(cursor) = self.cursor.take() else { return };
        let next = Place::start_of(self.era, cursor.place.sequence + 1);
        self.cursor = Some(nothing_read_after(&cursor, next));
        self.did_rotate = true;
        self.open = None;
        self.work = None;
    }
}

/// A rest until then, for which nobody needs to wait.
const fn leisurely(until: Instant) -> Turn {
    Turn::Rest(Rest { until: Some(until), is_leisurely: true, waiting_for: None })
}
