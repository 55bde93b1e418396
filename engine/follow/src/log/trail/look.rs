//! Where a log goes on when its file is not where it was: rotated, cut,
//! compressed, deleted, or not yet begun.

use super::{Context, Trail, Turn, is_in};
use crate::file::{Stamp, compare_times};
use crate::log::decide::{Candidate, Decision, Match, Position, decide, is_cut, mine};
use crate::log::examine::Verifying;
use crate::log::family::{Family, Member};
use crate::log::lines::Lines;
use crate::log::open::Open;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tripline_api::{Cursor, Gap, GapKind, Place, Proof, SourceError, Start};

/// A folder that is in motion is looked at again after this long.
const SETTLE: Duration = Duration::from_millis(10);
/// What would be a loss must look the same for this long.
const DOUBT: Duration = Duration::from_millis(200);
/// A change that was not followed up for this long may have been several.
const AWAKE: Duration = Duration::from_secs(3);
/// While something is in the way, it is looked for this often without a hint.
const WAIT: Duration = Duration::from_millis(500);

impl Trail {
    /// Looks at all files of the log and goes on where the place is.
    pub(super) fn look(&mut self, cx: &mut Context<'_>) -> Result<Turn, SourceError> {
        let mut family = self.family(cx)?;
        if !self.stands_still(&family) {
            let why = self.work().why.clone();
            return Ok(self.at_rest(Some(cx.now + SETTLE), why));
        }
        if self.cursor.is_none() && self.was_there && cx.settings.start == Start::Now {
            return self.begin_now(&family);
        }
        let (at, files) = self.situation_of_one(&mut family, cx);
        let work = self.work();
        let sure = work.doubt.is_some_and(|since| cx.now >= since + DOUBT);
        let decision = decide(&at, &files, sure);
        match &decision {
            Decision::Doubt | Decision::Verify(_) => {}
            Decision::Wait(why) => work.why.clone_from(why),
            _ => work.why = None,
        }
        match decision {
            Decision::Drain => Ok(Turn::Again),
            Decision::Read(index) if self.inherits.is_some() => {
                let sequence = self.cursor.as_ref().map_or(0, |it| it.place.sequence);
                match self.inherits.take() {
                    Some(from) if family.members[index].live => {
                        self.go_on_inherited(*from, sequence, cx)
                    }
                    _ => self.go_on_in(&family.members[index], cx),
                }
            }
            Decision::Read(index)
                if family.members[index].live
                    && !at.held
                    && cx.others.own(family.members[index].stamp.inode) =>
            {
                Ok(Turn::Owned)
            }
            Decision::Read(index) => {
                if at.cut {
                    let live = self.cursor.as_ref().and_then(|it| it.proof.as_ref());
                    self.work().copied_from = live.map(|proof| proof.inode);
                }
                self.go_on_in(&family.members[index], cx)
            }
            Decision::Next(index, gap) => {
                self.go_on_behind(&family.members[index], gap, cx)
            }
            Decision::Verify(index) => {
                let member = &family.members[index];
                let cursor = self.cursor.clone();
                let work = self.work();
                if let Some((format, _)) = work.known.archived(member) {
                    let limits = cx.settings.limits;
                    let verifying = Verifying::begin(
                        member,
                        format,
                        cursor.as_ref(),
                        limits,
                        cx.now,
                    )?;
                    work.verifying = Some(verifying);
                }
                Ok(Turn::Again)
            }
            Decision::Doubt => {
                let since = *self.work().doubt.get_or_insert(cx.now);
                let why = self.work().why.clone();
                Ok(self.at_rest(Some(since + DOUBT), why))
            }
            Decision::Wait(None) if self.is_at_no_path(&family) => self.part_from(cx),
            Decision::Wait(None) => {
                let broken = self.work.as_ref().and_then(|work| work.broken.clone());
                if broken.is_none() && self.open.as_ref().is_some_and(|it| !it.is_plain())
                {
                    // There is nothing more to come from a compressed file.
                    self.open = None;
                }
                Ok(self.at_rest(None, broken))
            }
            Decision::Wait(why) => Ok(self.at_rest(Some(cx.now + WAIT), why)),
        }
    }

    /// The files of the log. One that is followed as a log of its own is none of
    /// them, but for that of the place, as long as it is not the other's.
    pub(super) fn family(&self, cx: &mut Context<'_>) -> Result<Family, SourceError> {
        let mut family = cx.folders.family(&self.path).map_err(|error| {
            SourceError::io(format!("cannot look for {}", self.path.display()), error)
        })?;
        let cursor = self.cursor.as_ref();
        family.members.retain(|member| {
            let inode = member.stamp.inode;
            member.live
                || !cx.others.follow(&member.path)
                || !cx.others.own(inode) && cursor.is_some_and(|it| is_in(it, inode))
        });
        Ok(family)
    }

    /// Whether the files belong to one moment: nothing moved while they were
    /// looked at, or two looks found the same.
    fn stands_still(&mut self, family: &Family) -> bool {
        let fingerprint = family.fingerprint();
        let work = self.work();
        let is_same = work.fingerprint == fingerprint;
        if !is_same {
            work.doubt = None;
            work.fingerprint = fingerprint;
        }
        // Two looks at one list are one.
        let is_same = is_same && work.listed != family.listed;
        work.listed = family.listed;
        family.is_settled || is_same
    }

    /// The situation, also where the file at the path was compressed and nothing
    /// came after it.
    fn situation_of_one(
        &mut self,
        family: &mut Family,
        cx: &Context<'_>,
    ) -> (Position, Vec<Candidate>) {
        let was_read = self.cursor.as_ref().and_then(|it| it.proof.as_ref());
        let is_plain = self.open.as_ref().is_none_or(|open| open.is_plain());
        let is_held = self.open.is_some() && is_plain;
        if family.has_live() || is_held || was_read.is_none_or(|it| it.head.len == 0) {
            return self.situation(family, cx);
        }
        let count = family.members.len();
        family.add_compressed(&self.path);
        let (_, files) = self.situation(family, cx);
        let is_mine = |it: &Candidate| matches!(it.mine, Match::Yes | Match::Unknown);
        // The others are somebody's copies.
        let mine = files[count..].iter().position(is_mine).map(|at| count + at);
        let mine = mine.map(|at| family.members.swap_remove(at));
        family.members.truncate(count);
        family.members.extend(mine);
        self.situation(family, cx)
    }

    pub(super) fn situation(
        &mut self,
        family: &Family,
        cx: &Context<'_>,
    ) -> (Position, Vec<Candidate>) {
        let cursor = self.cursor.clone();
        let held = self.open.as_ref().map(|open| open.inode);
        let is_old = |since| cx.now.saturating_duration_since(since) > AWAKE;
        let awake =
            self.seen_awake == cx.standstills && !self.changed_since.is_some_and(is_old);
        let limits = cx.settings.limits;
        let work = self.work.get_or_insert_default();
        let mut files: Vec<_> = (family.members.iter())
            .map(|it| work.known.candidate(it, cursor.as_ref(), limits, cx.now))
            .collect();
        let is_held = |member: &Member| held == Some(member.stamp.inode);
        if held.is_some() {
            // Only a compressed twin can be the same file under another number.
            let is_linked = family.members.iter().any(is_held);
            for (file, member) in files.iter_mut().zip(&family.members) {
                if is_held(member) {
                    file.mine = Match::Yes;
                } else if is_linked || work.known.archived(member).is_none() {
                    file.mine = Match::No;
                }
            }
        }
        let at = Position {
            begun: cursor.is_some(),
            held: held.is_some(),
            exhausted: held.is_some(),
            broken: work.broken.is_some(),
            cut: work.copied_from.is_some() || held.is_none() && is_cut(&files),
            successor: work.successor.and_then(|wanted| index_of(wanted, family)),
            awake,
        };
        if let Some(mine) = mine(&files).filter(|it| files[*it].mine == Match::Yes) {
            work.successor = family.members.get(mine + 1).map(|next| next.stamp);
        }
        (at, files)
    }

    /// Begins behind what is there.
    fn begin_now(&mut self, family: &Family) -> Result<Turn, SourceError> {
        let place = Place::start_of(self.era, 0);
        let live = family.members.last().filter(|member| member.live);
        self.cursor = Some(nothing_read(place, live.map(|member| member.stamp)));
        let Some(live) = live.filter(|it| it.stamp.size > 0) else {
            return Ok(Turn::Begins);
        };
        self.pass_until = live.stamp.size;
        Ok(Turn::Again)
    }

    /// Goes on at the cursor, in this file.
    fn go_on_in(
        &mut self,
        member: &Member,
        cx: &mut Context<'_>,
    ) -> Result<Turn, SourceError> {
        if self.open.as_ref().is_some_and(|open| open.inode == member.stamp.inode) {
            return Ok(Turn::Again);
        }
        let cursor = self.cursor.clone();
        let place = cursor.as_ref().map(|cursor| cursor.place).unwrap_or_default();
        let proof = cursor.as_ref().and_then(|cursor| cursor.proof.as_ref());
        let open = self.open_at(member, place, proof, cx)?;
        if open.inode == member.stamp.inode {
            self.open = Some(Box::new(open));
            *cx.is_loaded = false;
        }
        Ok(Turn::Again)
    }

    /// Opens a file of the log, compressed or not, to be read at a place.
    fn open_at(
        &mut self,
        member: &Member,
        place: Place,
        proof: Option<&Proof>,
        cx: &Context<'_>,
    ) -> Result<Open, SourceError> {
        let Some((format, head)) = self.work().known.archived(member) else {
            return Open::plain(&member.path, proof);
        };
        let lines = Lines::new(cx.settings.lines.clone());
        Open::archive(&member.path, format, cx.settings.limits, head, lines, place)
    }

    /// Goes on at the start of this file, the next one.
    fn go_on_behind(
        &mut self,
        next: &Member,
        gap: Option<GapKind>,
        cx: &mut Context<'_>,
    ) -> Result<Turn, SourceError> {
        if let Some(turn) = self.finish(cx)? {
            return Ok(turn);
        }
        let before = self.cursor.clone();
        let sequence = before.as_ref().map_or(0, |cursor| cursor.place.sequence + 1);
        let has_come = |it: &mut Box<Cursor>| next.live && is_in(it, next.stamp.inode);
        if let Some(cursor) = self.inherits.take_if(has_come) {
            return self.go_on_inherited(*cursor, sequence, cx);
        }
        if next.live && cx.others.own(next.stamp.inode) {
            // What was to be gone on with has moved on, and another's is here instead:
            // both are found by their places.
            return Ok(Turn::Owned);
        }
        self.inherits = None;
        let place = Place::start_of(self.era, sequence);
        let mut open = self.open_at(next, place, None, cx)?;
        if open.inode != next.stamp.inode {
            // Moved on meanwhile: another look.
            return Ok(Turn::Again);
        }
        open.read_head()?;
        let mut proof = open.proof(b"");
        if proof.head.len == 0 {
            // Only by its time it will be known what comes behind: not what was
            // written late to the one before, which was read.
            let previous = self.open.as_ref().map_or(0, |open| open.modified);
            proof.modified = proof.modified.max(previous);
        }
        let gap = before.as_ref().zip(gap).map(|(before, kind)| {
            let copied_from = self.work.as_ref().and_then(|work| work.broken.as_deref());
            let (why, repair) = self.in_words(kind, before, next, copied_from);
            Gap {
                source: cx.settings.id.clone(),
                log: Some(self.path.clone()),
                kind,
                from: before.place,
                to: place,
                proof: Some(proof.clone()),
                missing: None,
                bytes: None,
                why,
                repair,
            }
        });
        self.cursor = Some(Cursor { place, proof: Some(proof), next: None });
        self.did_rotate = before.is_some();
        self.open = Some(Box::new(open));
        *cx.is_loaded = false;
        let work = self.work();
        work.broken = None;
        work.successor = None;
        work.torn = None;
        if next.live {
            work.copied_from = None;
            self.is_trusted = true;
            self.seen_awake = cx.standstills;
            self.changed_since = None;
        }
        Ok(gap.map_or(Turn::Again, |gap| Turn::Gap(Box::new(gap))))
    }

    /// Goes on in the file at the path, which was read so far under another one.
    fn go_on_inherited(
        &mut self,
        from: Cursor,
        sequence: u64,
        cx: &mut Context<'_>,
    ) -> Result<Turn, SourceError> {
        let open = Open::plain(&self.path, from.proof.as_ref())?;
        let place = Place { era: self.era, sequence, ..from.place };
        self.cursor = Some(Cursor { place, ..from });
        self.did_rotate = false;
        self.open = Some(Box::new(open));
        self.work = None;
        *cx.is_loaded = false;
        self.is_trusted = true;
        self.seen_awake = cx.standstills;
        Ok(Turn::Begins)
    }

    fn in_words(
        &self,
        kind: GapKind,
        before: &Cursor,
        next: &Member,
        broken: Option<&str>,
    ) -> (String, String) {
        let path = self.path.display();
        let next = next.path.display();
        let place = before.place;
        match kind {
            GapKind::Truncated => (
                format!(
                    "{path} was cut to nothing in place: what was written to it behind \
                     {place}, or behind the end of its copy, is in no file"
                ),
                "let it be rotated by renaming (`create`, not `copytruncate`): then \
                 nothing can be lost"
                    .to_owned(),
            ),
            GapKind::Damaged => (
                format!(
                    "a rotated file of {path} cannot be read behind {place}: {}",
                    broken.unwrap_or("it is damaged")
                ),
                "if there is another copy of it, read the rest from there".to_owned(),
            ),
            GapKind::Missing => (
                format!(
                    "between {place} of {path} and {next} a rotated file is missing, or \
                     may be"
                ),
                "if it was moved, read it from where it is".to_owned(),
            ),
            _ => (
                format!(
                    "the file of {path} that was read up to {place} is gone, and with \
                     it what was written to it since"
                ),
                "keep rotated files until they are read: raise `rotate` in logrotate, \
                 or name the folder they are moved to in `rotated`"
                    .to_owned(),
            ),
        }
    }
}

/// A place where nothing was read yet: in this file, or in what is written from
/// now on.
pub(super) fn nothing_read(place: Place, file: Option<Stamp>) -> Cursor {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let modified = file.map_or(now.as_nanos() as i64, |stamp| stamp.modified);
    let inode = file.map_or((0, 0), |stamp| stamp.inode);
    let proof = Proof { modified, ..Proof::new(inode, b"", b"") };
    Cursor { place, proof: Some(proof), next: None }
}

/// A place where nothing was read yet, in what was written since another place
/// was.
pub(super) fn nothing_read_after(before: &Cursor, place: Place) -> Cursor {
    let mut cursor = nothing_read(place, None);
    if let (Some(ours), Some(theirs)) = (&mut cursor.proof, &before.proof) {
        ours.modified = theirs.modified;
    }
    cursor
}

/// The file that a stamp was taken of, also if it was compressed since, which
/// keeps its time; or written to since, which keeps its inode.
fn index_of(wanted: Stamp, family: &Family) -> Option<usize> {
    let has_time = |it: &Stamp| compare_times(it.modified, wanted.modified).is_eq();
    let has_inode = |it: &Stamp| it.inode == wanted.inode;
    let find = |is_it: &dyn Fn(&Member) -> bool| family.members.iter().position(is_it);
    find(&|it| has_time(&it.stamp) && has_inode(&it.stamp))
        .or_else(|| find(&|it| has_time(&it.stamp) && !it.live))
        .or_else(|| find(&|it| has_inode(&it.stamp)))
}
