//! One log, followed through its files.
//!
//! While nothing is wrong it is read here. What becomes of it when the file is
//! no longer where it was is found out in `look.rs`.

mod leave;
mod look;

use super::examine::{Known, Verifying};
use super::family::{Folders, is_absent, was_born_after};
use super::lines::{End, Lines, Piece};
use super::logs::Others;
use super::open::{Open, Read, ends_as};
use super::settings::Settings;
use crate::file::{Stamp, compare_times};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tripline_api::{Cursor, Gap, Place, SourceError, Start};

/// One log and where it is read. Thousands of them are at rest at a time, so
/// what only a busy one needs is in [`Work`].
pub(super) struct Trail {
    /// The path of the file that is written to.
    pub(super) path: Arc<Path>,
    era: u64,
    /// Behind everything handed out.
    pub(super) cursor: Option<Cursor>,
    /// The file that the cursor is in, while it is open.
    open: Option<Box<Open>>,
    /// The next batch is the first of its file, and another file came before.
    did_rotate: bool,
    /// The last take came to something; otherwise there is the beginning of a
    /// line in the framer, longer than what was read of it.
    pub(super) took: bool,
    /// Another log took the framer while there was more in it to hand out.
    pub(super) is_cut_short: bool,
    /// The open file was empty when it was looked at last.
    rests_empty: bool,
    /// Nothing is known to be wrong with the file at the path.
    is_trusted: bool,
    /// How often everything had come to a standstill when the file at the path
    /// was last seen to be the one at the cursor.
    seen_awake: u32,
    /// Something changed at the path or beside it since the last turn.
    is_hinted: bool,
    /// When something changed first, after the file at the path was last seen to
    /// be the one at the cursor.
    changed_since: Option<Instant>,
    /// The file at the path was read up to here under another path, from which
    /// it was renamed.
    inherits: Option<Box<Cursor>>,
    /// Passed over up to this offset: it was there before the source was begun
    /// with.
    pass_until: u64,
    work: Option<Box<Work>>,
    /// How the file at the path looked at the last scan or hint.
    pub(super) seen: Stamp,
    /// When it looks again without a reason.
    pub(super) timer: Option<Instant>,
    /// It waits for its turn.
    pub(super) is_ready: bool,
    /// Its open file is counted.
    pub(super) is_listed_open: bool,
    /// The scan under way has come across it.
    pub(super) is_found: bool,
    /// It was there when the source was begun with.
    pub(super) was_there: bool,
}

/// What a log needs while there is something to find out.
#[derive(Default)]
struct Work {
    known: Known,
    verifying: Option<Verifying>,
    /// The files at the last look, while they were in motion.
    fingerprint: Vec<(PathBuf, (u64, u64))>,
    /// When they were listed then.
    listed: Option<Instant>,
    /// Since when they are the same, and a loss.
    doubt: Option<Instant>,
    /// What was in the way at the last look.
    why: Option<String>,
    /// The file behind the one at the cursor, as of the last look.
    successor: Option<Stamp>,
    /// The open file ended in an error of its content.
    broken: Option<String>,
    /// What waits at the end of the live file: a torn line or an open group.
    torn: Option<Torn>,
    /// Since when the open file, which is deleted, has this size.
    held: Option<(Instant, u64)>,
    /// The place is in a copy of a file that was cut: the inode of that file.
    copied_from: Option<(u64, u64)>,
}

/// A torn line or an open group.
struct Torn {
    /// Up to where it was read.
    end: u64,
    since: Instant,
    /// What was taken of it because the wait was over.
    taken: Vec<End>,
}

/// What a turn came to.
pub(super) enum Turn {
    /// The framer has something to take.
    Take(End),
    /// A hole; the log goes on behind it.
    Gap(Box<Gap>),
    /// It was found out where to begin.
    Begins,
    /// The file at the path was read by another log.
    Owned,
    /// There is more to do.
    Again,
    /// There is nothing to do.
    Rest(Rest),
}

/// What was taken of a log.
pub(super) struct Taken<'a> {
    pub(super) piece: Piece<'a>,
    pub(super) path: &'a Arc<Path>,
    /// The cursor behind it.
    pub(super) end: &'a Cursor,
    /// It begins a file, and another came before.
    pub(super) did_rotate: bool,
    /// When the file was last written, in nanoseconds since 1970.
    pub(super) modified: i64,
}

/// Why a log rests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// When to look again without a hint.
    pub(super) until: Option<Instant>,
    /// Nobody needs to wait for that.
    pub(super) is_leisurely: bool,
    /// What is in the way, in words.
    pub(super) waiting_for: Option<String>,
}

/// What a log may use during its turn.
pub(super) struct Context<'a> {
    pub(super) settings: &'a Settings,
    pub(super) folders: &'a mut Folders,
    /// The framer that the logs share.
    pub(super) lines: &'a mut Lines,
    /// It holds what this log has read.
    pub(super) is_loaded: &'a mut bool,
    pub(super) now: Instant,
    /// How often everything had come to a standstill.
    pub(super) standstills: u32,
    pub(super) others: Others<'a>,
}

impl Trail {
    pub(super) fn new(path: Arc<Path>, era: u64, cursor: Option<Cursor>) -> Self {
        // The first of its file, and the file is not the first.
        let did_rotate = cursor
            .as_ref()
            .is_some_and(|it| it.place.offset == 0 && it.place.sequence > 0);
        Self {
            path,
            era: cursor.as_ref().map_or(era, |cursor| cursor.place.era),
            cursor,
            open: None,
            did_rotate,
            took: false,
            is_cut_short: false,
            rests_empty: false,
            is_trusted: true,
            seen_awake: 0,
            is_hinted: false,
            changed_since: None,
            was_there: false,
            inherits: None,
            pass_until: 0,
            work: None,
            seen: Stamp::unknown(),
            timer: None,
            is_ready: false,
            is_listed_open: false,
            is_found: false,
        }
    }

    /// Does a bounded amount of work.
    ///
    /// # Errors
    ///
    /// When a file or folder cannot be read now. The next turn tries again.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>) -> Result<Turn, SourceError> {
        if let Some(work) = &mut self.work
            && let Some(verifying) = &mut work.verifying
        {
            match verifying.go_on(&mut work.known, cx.now) {
                Ok(false) => {}
                Ok(true) => work.verifying = None,
                Err(error) => {
                    work.verifying = None;
                    return Err(error);
                }
            }
            return Ok(Turn::Again);
        }
        match self.open.is_some() {
            true => self.read(cx),
            false => self.find(cx),
        }
    }

    /// Takes what was read, and moves the cursor behind it. What is passed over
    /// is not handed out.
    pub(super) fn take<'a>(
        &'a mut self,
        shared: &'a mut Lines,
        end: End,
    ) -> Option<Taken<'a>> {
        self.took = false;
        let (piece, mut proof) = self.open.as_mut()?.take(shared, end)?;
        self.took = true;
        let modified = proof.modified;
        if let Some(inode) = self.work.as_ref().and_then(|work| work.copied_from) {
            // The log lives on in the file that was cut.
            proof.inode = inode;
        }
        let is_preview = piece.is_preview();
        if !is_preview {
            self.cursor =
                Some(Cursor { place: piece.end, proof: Some(proof), next: None });
        }
        if self.pass_until > 0 {
            return None;
        }
        Some(Taken {
            piece,
            path: &self.path,
            end: self.cursor.as_ref()?,
            did_rotate: std::mem::take(&mut self.did_rotate),
            modified,
        })
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// What was there when the source was begun with is being passed over.
    pub(super) const fn passes_over(&self) -> bool {
        self.pass_until > 0
    }

    /// It reads a file that is not compressed, through the shared framer.
    pub(super) fn shares_lines(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.is_plain())
    }

    /// Gives the file back, unless nothing else holds it any more: then it could
    /// not be opened again. Returns whether it did.
    pub(super) fn close(&mut self) -> bool {
        let is_in_place = self.is_trusted && !self.is_hinted && self.work.is_none();
        let is_needed = self.open.as_ref().is_some_and(|open| {
            let is_linked = || open.links_and_size().is_some_and(|(links, _)| links > 0);
            !open.is_plain() || !is_in_place && !is_linked()
        });
        if !is_needed {
            self.open = None;
        }
        !is_needed
    }

    /// Something changed at the path or beside it.
    pub(super) fn hint(&mut self, now: Instant) {
        self.is_hinted = true;
        self.changed_since.get_or_insert(now);
    }

    /// Where it is in the file with this inode, or will be when it comes to it.
    pub(super) fn place_in(&self, inode: (u64, u64)) -> Option<&Cursor> {
        let inherited = self.inherits.as_deref().filter(|it| is_in(it, inode));
        inherited.or_else(|| self.cursor.as_ref().filter(|it| is_in(it, inode)))
    }

    /// The file at the path was read so far under another path.
    pub(super) fn inherit(&mut self, cursor: Cursor) {
        self.inherits = Some(Box::new(cursor));
    }

    fn work(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

    /// Finds the file that the cursor is in.
    fn find(&mut self, cx: &mut Context<'_>) -> Result<Turn, SourceError> {
        let Some(cursor) = &self.cursor else { return self.begin(cx) };
        // With no head nothing tells the file from another.
        let proof = cursor.proof.as_ref().filter(|proof| proof.head.len > 0);
        let Some(proof) = proof.filter(|_| self.is_trusted) else {
            return self.look(cx);
        };
        // The usual case: it is where it was.
        let Ok(metadata) = std::fs::metadata(&*self.path) else { return self.look(cx) };
        let stamp = Stamp::of(&metadata);
        if stamp.inode != proof.inode
            || stamp.size < cursor.place.offset
            || was_born_after(&metadata, proof.modified)
        {
            return self.look(cx);
        }
        if stamp.size == cursor.place.offset && stamp.modified == proof.modified {
            return Ok(self.is_well(cx));
        }
        let open = Open::plain(&self.path, Some(proof))?;
        if open.inode != stamp.inode || open.is_compressed()? {
            return self.look(cx);
        }
        self.open = Some(Box::new(open));
        self.is_hinted = false;
        *cx.is_loaded = false;
        self.read(cx)
    }

    /// Begins a log. Most have no rotated files yet, and of those there may be
    /// thousands at once.
    fn begin(&mut self, cx: &mut Context<'_>) -> Result<Turn, SourceError> {
        let failed = |error| {
            SourceError::io(format!("cannot look for {}", self.path.display()), error)
        };
        let is_simple = self.is_trusted
            && self.inherits.is_none()
            && !(self.was_there && cx.settings.start == Start::Now)
            && cx.folders.seems_alone(&self.path).map_err(failed)?;
        if !is_simple {
            return self.look(cx);
        }
        let Ok(open) = Open::plain(&self.path, None) else { return self.look(cx) };
        // It may have been rotated between the list and now.
        if open.size == 0
            || cx.others.own(open.inode)
            || open.is_compressed()?
            || !cx.folders.is_alone(&self.path).map_err(failed)?
        {
            return self.look(cx);
        }
        let proof = Some(open.proof(b""));
        self.cursor =
            Some(Cursor { place: Place::start_of(self.era, 0), proof, next: None });
        self.open = Some(Box::new(open));
        self.is_hinted = false;
        *cx.is_loaded = false;
        self.read(cx)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<Turn, SourceError> {
        let own = self.open.as_mut().and_then(|open| open.own_lines());
        let has_more = match own {
            Some(lines) => lines.has_more(),
            None => *cx.is_loaded && cx.lines.has_more(),
        };
        if has_more {
            return Ok(Turn::Take(End::Open));
        }
        if self.pass_until > 0 && self.read_up_to(cx) >= self.pass_until {
            self.pass_until = 0;
            return Ok(Turn::Begins);
        }
        if self.is_quiet(cx) {
            return self.torn(cx);
        }
        if std::mem::take(&mut self.is_hinted)
            && let Some(turn) = self.release(cx)?
        {
            return Ok(turn);
        }
        let was_empty = std::mem::take(&mut self.rests_empty);
        match self.read_block(cx)? {
            Read::More if was_empty && self.may_have_copies(cx)? => {
                self.open = None;
                self.is_trusted = false;
                *cx.is_loaded = false;
                Ok(Turn::Again)
            }
            Read::More => Ok(Turn::Take(End::Open)),
            Read::Passed => Ok(Turn::Again),
            Read::End => self.at_end(cx),
            Read::Broken(why) => {
                self.work().broken = Some(why);
                self.at_end(cx)
            }
            Read::Changed => {
                self.open = None;
                self.is_trusted = false;
                *cx.is_loaded = false;
                Ok(Turn::Again)
            }
        }
    }

    /// Nothing was read of the open file, by which it could be told that its
    /// content was another before.
    fn has_read_nothing(&self) -> bool {
        let is_it = |cursor: &Cursor| {
            cursor.place.offset == 0
                && cursor.proof.as_ref().is_some_and(|proof| proof.head.len == 0)
        };
        self.open.as_ref().is_some_and(|open| open.is_plain())
            && self.cursor.as_ref().is_some_and(is_it)
    }

    /// Whether what was in the file when it was begun may have been copied before
    /// it was cut.
    fn may_have_copies(&self, cx: &mut Context<'_>) -> Result<bool, SourceError> {
        let proof = self.cursor.as_ref().and_then(|cursor| cursor.proof.as_ref());
        let Some(proof) = proof else { return Ok(false) };
        let family = self.family(cx)?;
        Ok(family.members.iter().any(|it| {
            !it.live
                && it.stamp.inode != proof.inode
                && compare_times(it.stamp.modified, proof.modified).is_gt()
        }))
    }

    /// Up to where the open file was read.
    fn read_up_to(&self, cx: &Context<'_>) -> u64 {
        let place = self.cursor.as_ref().map_or(0, |cursor| cursor.place.offset);
        match *cx.is_loaded {
            true => cx.lines.read_offset(),
            false => self.open.as_ref().and_then(|open| open.end()).unwrap_or(place),
        }
    }

    /// Whether the file stands at its path, and all of it was read and nothing
    /// written since.
    fn is_quiet(&self, cx: &Context<'_>) -> bool {
        let Some(open) = self.open.as_ref().filter(|open| open.is_plain()) else {
            return false;
        };
        // Without the framer, what lies behind the cursor is a torn line.
        let was_read = !*cx.is_loaded || open.end() == Some(cx.lines.read_offset());
        open.end().is_some()
            && !self.is_cut_short
            && was_read
            && std::fs::metadata(&*self.path)
                .is_ok_and(|metadata| open.is_as_read(Stamp::of(&metadata)))
    }

    fn read_block(&mut self, cx: &mut Context<'_>) -> Result<Read, SourceError> {
        let Some(open) = &mut self.open else { return Ok(Read::Changed) };
        if !open.is_plain() {
            return match self.work.as_ref().and_then(|work| work.broken.clone()) {
                Some(why) => Ok(Read::Broken(why)),
                None => open.read_archive(),
            };
        }
        let cursor = self.cursor.as_ref();
        let place = cursor.map(|cursor| cursor.place).unwrap_or_default();
        if !*cx.is_loaded {
            let before = open.before(place.offset)?;
            let proof = cursor.and_then(|cursor| cursor.proof.as_ref());
            if proof.is_some_and(|proof| !ends_as(&before, proof)) {
                return Ok(Read::Changed);
            }
            cx.lines.restart(place, &before);
            *cx.is_loaded = true;
            self.is_cut_short = false;
        }
        let max = match self.pass_until.checked_sub(cx.lines.read_offset()) {
            // What is passed over must not share a piece with what is not.
            Some(left) if left > 0 => usize::try_from(left).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        open.read_plain(cx.lines, max)
    }

    /// The open file was read to its end, for now or for ever.
    fn at_end(&mut self, cx: &mut Context<'_>) -> Result<Turn, SourceError> {
        if self.is_live()? {
            self.seen_awake = cx.standstills;
            self.is_trusted = true;
            let broken = self.work.as_ref().and_then(|work| work.broken.clone());
            if broken.is_none() {
                return self.torn(cx);
            }
        }
        self.look(cx)
    }

    /// Whether the open file stands at the path.
    fn is_live(&self) -> Result<bool, SourceError> {
        let Some(open) = &self.open else { return Ok(false) };
        match std::fs::metadata(&*self.path) {
            Ok(metadata) => Ok(Stamp::of(&metadata).inode == open.inode),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => {
                let what = format!("cannot look at {}", self.path.display());
                Err(SourceError::io(what, error))
            }
        }
    }

    /// What is left at the end of the live file waits for the rest of it, within
    /// bounds where they were asked for.
    fn torn(&mut self, cx: &Context<'_>) -> Result<Turn, SourceError> {
        let settings = cx.settings;
        let now = cx.now;
        let place = self.cursor.as_ref().map_or(0, |cursor| cursor.place.offset);
        let Some(open) = self.open.as_mut() else { return Ok(Turn::Again) };
        let is_loaded = *cx.is_loaded || !open.is_plain();
        let end = match open.own_lines() {
            Some(lines) => lines.read_offset(),
            None if *cx.is_loaded => cx.lines.read_offset(),
            None => open.end().unwrap_or(place),
        };
        let waits = [
            settings.join_wait().map(|wait| (wait, End::GroupOver)),
            settings.partial_after.map(|wait| (wait, End::Preview)),
        ];
        if end <= place || waits == [None, None] {
            return Ok(self.is_well(cx));
        }
        let work = self.work();
        if work.torn.as_ref().is_none_or(|torn| torn.end != end) {
            work.torn = Some(Torn { end, since: now, taken: Vec::new() });
        }
        let Some(torn) = &mut work.torn else { return Ok(Turn::Again) };
        let since = torn.since;
        let mut until: Option<Instant> = None;
        for (wait, end) in waits.into_iter().flatten() {
            if torn.taken.contains(&end) {
                continue;
            }
            if now >= since + wait {
                if !is_loaded {
                    // Another log used the framer since: it is read again first.
                    self.is_cut_short = true;
                    return Ok(Turn::Again);
                }
                torn.taken.push(end);
                return Ok(Turn::Take(end));
            }
            until = Some(until.map_or(since + wait, |it| it.min(since + wait)));
        }
        Ok(match until {
            Some(_) => self.at_rest(until, None),
            None => self.is_well(cx),
        })
    }

    /// The live file was read to its end.
    fn is_well(&mut self, cx: &Context<'_>) -> Turn {
        self.seen_awake = cx.standstills;
        self.changed_since = None;
        self.is_trusted = true;
        self.rests_empty = self.has_read_nothing();
        if self.work.as_ref().is_some_and(|work| work.torn.is_none()) {
            self.work = None;
        }
        self.at_rest(None, None)
    }

    /// Nothing to do before that time, or until something changes.
    fn at_rest(&mut self, until: Option<Instant>, waiting_for: Option<String>) -> Turn {
        if until.is_none() && std::mem::take(&mut self.pass_until) > 0 {
            return Turn::Begins;
        }
        Turn::Rest(Rest { until, is_leisurely: false, waiting_for })
    }
}

/// Whether a cursor is in the file with this inode, as it was last known.
fn is_in(cursor: &Cursor, inode: (u64, u64)) -> bool {
    cursor.proof.as_ref().is_some_and(|proof| proof.inode == inode)
}
