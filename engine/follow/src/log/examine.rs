//! What is known of the files of a log: whether a place is in them, and whether
//! they can be read.

use super::decide::{Candidate, Condition, Match};
use super::family::Member;
use super::open::{ends_as, keep_last, starts_as};
use crate::archive::{Archive, ArchiveError, Format, Limits};
use crate::file::{self, Stamp};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};
use tripline_api::{Cursor, Proof, SourceError};

/// How much is decompressed in one step, in bytes.
const STEP_BYTES: usize = 4 * 1024 * 1024;
/// How much of that at a time.
const BLOCK_BYTES: usize = 256 * 1024;
/// An archive without its end mark that nobody has touched for this long will
/// not get one any more.
const UNFINISHED_MAX: Duration = Duration::from_secs(60);
/// An archive in the making is looked through again after this long at least.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(50);
/// How many files are remembered; a log has a few dozen.
const KNOWN_MAX: usize = 1024;

/// What was found out about compressed files: reading them through is dear.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<(u64, u64), Archived>);

/// A compressed file that was looked at.
#[derive(Debug)]
struct Archived {
    stamp: Stamp,
    format: Format,
    head: Vec<u8>,
    verdict: Option<Verdict>,
}

#[derive(Clone, Debug)]
enum Verdict {
    /// Its end mark and checksum hold. What stands before the place that was
    /// looked for is kept.
    Whole { length: u64, before: Before },
    /// It has no end mark yet: as of when, and when to look again.
    Unfinished { why: String, since: Instant, again: Instant },
    /// Its content is damaged; what comes before that can be read.
    Broken { before: Before },
}

/// The bytes before an offset in a file, as many as a proof hashes; none where
/// the file ends before it.
#[derive(Clone, Debug, Default)]
struct Before {
    offset: u64,
    bytes: Option<Vec<u8>>,
}

impl Before {
    /// Whether a place is in the file, which begins as the place's file does.
    fn has(&self, cursor: &Cursor, proof: &Proof) -> Match {
        match &self.bytes {
            _ if cursor.place.offset == 0 => Match::Yes,
            _ if cursor.place.offset != self.offset => Match::Unknown,
            Some(bytes) if ends_as(bytes, proof) => Match::Yes,
            Some(_) => Match::No,
            None => Match::Shorter,
        }
    }
}

/// A compressed file being read through, a step at a time.
pub(super) struct Verifying {
    path: PathBuf,
    inode: (u64, u64),
    changed: i64,
    archive: Archive,
    buffer: Vec<u8>,
    length: u64,
    /// Where the place is, and the bytes before it.
    offset: u64,
    before: Vec<u8>,
    began: Instant,
}

impl Known {
    /// What is to be decided on about one file, for a place.
    pub(super) fn candidate(
        &mut self,
        member: &Member,
        cursor: Option<&Cursor>,
        limits: Limits,
        now: Instant,
    ) -> Candidate {
        let proof = cursor.and_then(|cursor| cursor.proof.as_ref());
        let since =
            |proof: &Proof| file::compare_times(member.stamp.modified, proof.modified);
        let mut candidate = Candidate {
            live: member.live,
            same_inode: proof.is_some_and(|proof| {
                member.stamp.inode == proof.inode
                    && !member.was_born_after(proof.modified)
            }),
            younger: proof.is_none_or(|proof| since(proof).is_gt()),
            older: proof.is_some_and(|proof| since(proof).is_lt()),
            after_hole: member.after_hole,
            ..Candidate::default()
        };
        match self.examine(member, cursor, limits, now) {
            Ok((mine, condition)) => {
                candidate.mine = mine;
                candidate.condition = condition;
                // A compressor writes to another file, whose time it sets back:
                // it only got the number that was free.
                candidate.same_inode &=
                    !(candidate.older && self.archived(member).is_some());
            }
            Err(error) => {
                let why = format!("{}: {error}", member.path.display());
                candidate.condition = Condition::Unreadable(why);
            }
        }
        candidate
    }

    fn examine(
        &mut self,
        member: &Member,
        cursor: Option<&Cursor>,
        limits: Limits,
        now: Instant,
    ) -> io::Result<(Match, Condition)> {
        if let Some(known) = self.0.get(&member.stamp.inode)
            && (known.stamp == member.stamp || known.is_unfinished(now))
        {
            return Ok(known.seen_from(cursor, member, now));
        }
        let file = file::open(&member.path)?;
        let mut magic = [0; Format::MAGIC_BYTES_MAX];
        let n = file::read_at(&file, &mut magic, 0)?;
        let Some(format) = Format::of(&magic[..n]) else {
            return examine_plain(&file, member, cursor);
        };
        let mut head = vec![0; Proof::HEAD_BYTES_MAX];
        let (n, verdict) = match Archive::new(file, format, limits).fill(&mut head) {
            Ok(n) => (n, None),
            Err(ArchiveError::Io(error)) => return Err(error),
            Err(ArchiveError::Cut) => (0, Some(unfinished(member, now))),
            Err(_) => (0, Some(Verdict::Broken { before: Before::default() })),
        };
        head.truncate(n);
        let archived = Archived { stamp: member.stamp, format, head, verdict };
        let seen = archived.seen_from(cursor, member, now);
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        self.0.insert(member.stamp.inode, archived);
        Ok(seen)
    }

    /// Whether a file is compressed, and how it begins.
    pub(super) fn archived(&self, member: &Member) -> Option<(Format, &[u8])> {
        let archived = self.0.get(&member.stamp.inode)?;
        // Inode numbers are given out again.
        let is_it = archived.stamp == member.stamp;
        is_it.then_some((archived.format, archived.head.as_slice()))
    }

    /// Remembers what reading through came to.
    fn learned(&mut self, inode: (u64, u64), verdict: Verdict) {
        if let Some(archived) = self.0.get_mut(&inode) {
            archived.verdict = Some(verdict);
        }
    }
}

impl Archived {
    /// It is in the making, and it is too early to look through it again.
    fn is_unfinished(&self, now: Instant) -> bool {
        matches!(self.verdict, Some(Verdict::Unfinished { again, .. }) if now < again)
    }

    fn seen_from(
        &self,
        cursor: Option<&Cursor>,
        member: &Member,
        now: Instant,
    ) -> (Match, Condition) {
        let place = cursor.and_then(|cursor| Some((cursor, cursor.proof.as_ref()?)));
        let alike = place.filter(|(_, proof)| {
            // By nothing at all every file would be recognised.
            let is_something = proof.head.len > 0
                || proof.inode == self.stamp.inode
                || is_younger(member, proof);
            is_something && starts_as(&self.head, proof)
        });
        let has = |before: &Before| {
            alike.map_or(Match::No, |(cursor, proof)| before.has(cursor, proof))
        };
        let unclear = if alike.is_some() { Match::Unknown } else { Match::No };
        match &self.verdict {
            None => (unclear, Condition::Unverified),
            Some(Verdict::Whole { length: 0, .. }) => (Match::No, Condition::Empty),
            Some(Verdict::Whole { before, .. }) => match has(before) {
                Match::Unknown => (Match::Unknown, Condition::Unverified),
                mine => (mine, Condition::Ready),
            },
            Some(Verdict::Broken { before }) => (has(before), Condition::Broken),
            Some(Verdict::Unfinished { why, since, again }) => {
                let is_touched = self.stamp != member.stamp;
                if is_touched && now >= *again {
                    (unclear, Condition::Unverified)
                } else if !is_touched && now >= *since + UNFINISHED_MAX {
                    // Nobody will finish it. What is there is there.
                    (
                        if alike.is_some() { Match::Yes } else { Match::No },
                        Condition::Broken,
                    )
                } else {
                    (unclear, Condition::Unfinished(why.clone()))
                }
            }
        }
    }
}

/// Whether a place is in the file at a path, which is not compressed.
///
/// # Errors
///
/// When it cannot be read, or is another one by now.
pub(super) fn plain_file(
    path: &Path,
    stamp: Stamp,
    cursor: &Cursor,
) -> io::Result<Match> {
    let member = Member::alone(path, stamp);
    let (file, opened) = file::open_stamped(path)?;
    if opened.inode != stamp.inode {
        return Err(io::ErrorKind::NotFound.into());
    }
    let (mine, _) = examine_plain(&file, &member, Some(cursor))?;
    Ok(mine)
}

fn examine_plain(
    file: &File,
    member: &Member,
    cursor: Option<&Cursor>,
) -> io::Result<(Match, Condition)> {
    let condition = match member.stamp.size {
        0 => Condition::Empty,
        _ => Condition::Ready,
    };
    let Some(cursor) = cursor else { return Ok((Match::No, condition)) };
    let offset = cursor.place.offset;
    let Some(proof) = &cursor.proof else {
        // A place that a person named: of the file that is written to.
        let is_meant = member.live && member.stamp.size >= offset;
        return Ok((if is_meant { Match::Yes } else { Match::No }, condition));
    };
    if proof.head.len == 0 {
        // Nothing had been read. What was written since, here or in a file that
        // comes before this one, is to be read.
        let is_it = member.stamp.inode == proof.inode || is_younger(member, proof);
        return Ok((if is_it { Match::Yes } else { Match::No }, condition));
    }
    let mut head = [0; Proof::HEAD_BYTES_MAX];
    let n = file::read_at(file, &mut head, 0)?;
    if !starts_as(&head[..n], proof) {
        return Ok((Match::No, condition));
    }
    let length = proof.tail.len as usize;
    let mut tail = vec![0; length];
    let n = file::read_at(file, &mut tail, offset.saturating_sub(length as u64))?;
    let mine = match n < length {
        true => Match::Shorter,
        false if ends_as(&tail, proof) => Match::Yes,
        false => Match::No,
    };
    Ok((mine, condition))
}

impl Verifying {
    /// Begins to read a compressed file through, with an eye on a place.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(super) fn begin(
        member: &Member,
        format: Format,
        cursor: Option<&Cursor>,
        limits: Limits,
        now: Instant,
    ) -> Result<Self, SourceError> {
        let failed =
            |e| SourceError::io(format!("cannot open {}", member.path.display()), e);
        let (file, stamp) = file::open_stamped(&member.path).map_err(failed)?;
        Ok(Self {
            path: member.path.clone(),
            inode: stamp.inode,
            changed: stamp.changed,
            archive: Archive::new(file, format, limits),
            buffer: vec![0; BLOCK_BYTES],
            length: 0,
            offset: cursor.map_or(0, |cursor| cursor.place.offset),
            before: Vec::new(),
            began: now,
        })
    }

    /// One step; at the end tells what it found, and returns true.
    ///
    /// # Errors
    ///
    /// When the file cannot be read now, which says nothing about it.
    pub(super) fn go_on(
        &mut self,
        known: &mut Known,
        now: Instant,
    ) -> Result<bool, SourceError> {
        for _ in 0..STEP_BYTES / BLOCK_BYTES {
            let verdict = match self.archive.fill(&mut self.buffer) {
                Ok(0) => Verdict::Whole { length: self.length, before: self.found() },
                Ok(n) => {
                    self.take(n);
                    continue;
                }
                Err(ArchiveError::Io(error)) => {
                    let what = format!("cannot read {}", self.path.display());
                    return Err(SourceError::io(what, error));
                }
                Err(ArchiveError::Cut) => {
                    let took = now.saturating_duration_since(self.began);
                    Verdict::Unfinished {
                        why: format!("{} has no end mark yet", self.path.display()),
                        since: untouched_since(self.changed, now),
                        again: now + LOOK_AGAIN_MIN.max(4 * took),
                    }
                }
                Err(_) => Verdict::Broken { before: self.found() },
            };
            known.learned(self.inode, verdict);
            return Ok(true);
        }
        Ok(false)
    }

    fn take(&mut self, n: usize) {
        let block = &self.buffer[..n];
        let wanted = self.offset.saturating_sub(self.length).min(n as u64) as usize;
        keep_last(&mut self.before, &block[..wanted], Proof::TAIL_BYTES_MAX);
        self.length += n as u64;
    }

    fn found(&mut self) -> Before {
        let is_there = self.length >= self.offset;
        let bytes = is_there.then(|| std::mem::take(&mut self.before));
        Before { offset: self.offset, bytes }
    }
}

fn is_younger(member: &Member, proof: &Proof) -> bool {
    file::compare_times(member.stamp.modified, proof.modified).is_gt()
}

fn unfinished(member: &Member, now: Instant) -> Verdict {
    Verdict::Unfinished {
        why: format!("{} has no end mark yet", member.path.display()),
        since: untouched_since(member.stamp.changed, now),
        again: now + LOOK_AGAIN_MIN,
    }
}

/// Since when nobody has touched a file that was changed last at this time, in
/// nanoseconds since 1970.
fn untouched_since(changed: i64, now: Instant) -> Instant {
    let changed = UNIX_EPOCH + Duration::from_nanos(u64::try_from(changed).unwrap_or(0));
    let age = changed.elapsed().unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}
