//! One walk through a journal and its rotations.

use super::catalog::{Content, Found, Whole};
use super::decide::{Candidate, Condition, Decision, Match, Position, decide};
use super::framer::{BLOCK_BYTES, Framer};
use super::gaps::{Loss, gap};
use super::open::{Open, Read};
use super::verify::Verifying;
use super::{Shared, locate};
use crate::file::Stamp;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::{
    Again, Batch, Cursor, Gap, Idle, Place, Proof, Reader, SourceError, Step,
};

/// A gap is believed when two looks at folders at rest, this far apart, agree.
const CONFIRM_AFTER: Duration = Duration::from_millis(50);

/// How many turns one call may take before it gives the lane a chance to stop.
const TURNS_MAX: usize = 64;

/// Follows a journal for one listener.
pub(crate) struct JournalReader {
    shared: Arc<Shared>,
    /// Behind the last entry that was handed out; `None` until it is known
    /// where to begin.
    cursor: Option<Cursor>,
    /// The cursor behind the batch that is out now.
    batch_end: Option<Cursor>,
    /// When this walk began.
    since: Instant,
    framer: Framer,
    open: Option<Open>,
    verifying: Option<Verifying>,
    /// Of compressed files read through: whether the bytes before the cursor's
    /// offset are those that were read.
    verified: HashMap<PathBuf, (Stamp, Match)>,
    /// The next entry is the first of a file that follows another.
    did_rotate: bool,
    doubt: Option<Doubt>,
    /// How the folders looked when there was nothing to do.
    looked: Option<(Vec<Option<std::time::SystemTime>>, Option<String>)>,
}

/// Something seems to be lost; since when, and on what grounds.
struct Doubt {
    since: Instant,
    decision: Decision,
    /// The files that may still turn out to be the wanted one.
    unclear: Vec<Stamp>,
}

/// What a turn came to.
enum Turn {
    Entries,
    Gap(Gap),
    Idle(Idle),
    Again,
}

impl Reader for JournalReader {
    fn next(&mut self) -> Result<Step<'_>, SourceError> {
        if let Some(end) = self.batch_end.take() {
            self.framer.discard();
            self.cursor = Some(end);
        }
        for _ in 0..TURNS_MAX {
            match self.turn()? {
                Turn::Entries => return Ok(Step::Batch(self.batch())),
                Turn::Gap(gap) => return Ok(Step::Gap(gap)),
                Turn::Idle(idle) => return Ok(Step::Idle(idle)),
                Turn::Again => {}
            }
        }
        Ok(Step::Idle(Idle { waiting_for: None, again: Again::Now }))
    }
}

impl JournalReader {
    pub(super) fn new(shared: Arc<Shared>, cursor: Option<Cursor>) -> Self {
        let framer = Framer::new(shared.record_bytes_max);
        Self {
            shared,
            cursor,
            batch_end: None,
            since: Instant::now(),
            framer,
            open: None,
            verifying: None,
            verified: HashMap::new(),
            did_rotate: false,
            doubt: None,
            looked: None,
        }
    }

    fn turn(&mut self) -> Result<Turn, SourceError> {
        if self.verifying.is_some() {
            return self.verify();
        }
        let Some(open) = &mut self.open else {
            return self.locate();
        };
        match open.read(&mut self.framer)? {
            Read::More => Ok(self.frame()),
            Read::Skipped => Ok(Turn::Again),
            Read::End => self.at_end(),
            Read::Changed => {
                self.open = None;
                Ok(Turn::Again)
            }
        }
    }

    fn frame(&mut self) -> Turn {
        let more = self.open.as_ref().is_some_and(Open::has_more);
        if self.framer.frame(more) { Turn::Entries } else { Turn::Again }
    }

    fn batch(&mut self) -> Batch<'_> {
        let place = self.framer.place();
        let did_rotate = std::mem::take(&mut self.did_rotate) && place.offset == 0;
        let open = self.open.as_ref().expect("entries come from an open file");
        let end = Cursor {
            place: self.framer.end_place(),
            proof: Some(Proof::new(open.inode, &open.head, &self.framer.before_end())),
            next: self.framer.next_number(),
        };
        Batch {
            source: &self.shared.id,
            start: place,
            did_rotate,
            bytes: self.framer.bytes(),
            spans: self.framer.spans(),
            marks: self.framer.marks(),
            end: self.batch_end.insert(end),
        }
    }

    /// The open file has nothing more. Mostly that is the whole story: it is
    /// the live one, and nobody has written.
    fn at_end(&mut self) -> Result<Turn, SourceError> {
        let idle = |waiting_for| Idle { waiting_for, again: Again::Later };
        let open = self.open.as_ref().expect("called with a file open");
        if self.framer.next_number().is_none()
            && open.is_plain()
            && open.is_at(&self.shared.live)
        {
            return Ok(Turn::Idle(idle(None)));
        }
        if let Some((look, waiting_for)) = &self.looked
            && self.shared.look().as_ref() == Some(look)
        {
            return Ok(Turn::Idle(idle(waiting_for.clone())));
        }
        self.locate()
    }

    /// Looks at what files there are and decides which to read.
    fn locate(&mut self) -> Result<Turn, SourceError> {
        self.looked = None;
        let look = self.shared.look();
        let files = self.shared.scan()?;
        // A file can hide from a look at a folder while it is being renamed.
        let is_calm = look.is_some() && self.shared.look() == look;
        if self.cursor.is_none() {
            if !is_calm && self.since.elapsed() < self.shared.gap_after {
                return Ok(Turn::Idle(Idle { waiting_for: None, again: Again::Soon }));
            }
            match self.shared.first(&files)? {
                Ok(cursor) => self.cursor = Some(cursor),
                Err(waiting_for) => {
                    let waiting_for = Some(waiting_for);
                    return Ok(Turn::Idle(Idle { waiting_for, again: Again::Later }));
                }
            }
        }
        let position = self.position();
        let candidates: Vec<_> =
            files.iter().map(|file| self.candidate(file, &position)).collect();
        let decision = decide(&position, &candidates, false);
        if !matches!(decision, Decision::Wait(_)) && self.has_grown()? {
            return Ok(self.frame());
        }
        if !matches!(decision, Decision::Gap { .. }) {
            self.doubt = None;
        }
        match decision {
            Decision::Resume(index) => self.resume(&files[index]),
            Decision::Next(index) if self.framer.left_over() > 0 => {
                let loss = Loss::Torn { bytes: self.framer.left_over() as u64 };
                Ok(self.announce(loss, &files[index], false))
            }
            Decision::Next(index) => {
                self.move_to(&files[index], false);
                Ok(Turn::Again)
            }
            Decision::Verify(index) => {
                let offset = self.cursor.as_ref().map_or(0, |c| c.place.offset);
                self.verifying = Some(Verifying::begin(&files[index], offset)?);
                Ok(Turn::Again)
            }
            Decision::Wait(waiting_for) => {
                let settled = files.iter().all(|f| f.content != Content::NotYet);
                self.looked =
                    look.filter(|_| settled).map(|look| (look, waiting_for.clone()));
                Ok(Turn::Idle(Idle { waiting_for, again: Again::Later }))
            }
            Decision::Gap { .. } => {
                let patient = decide(&position, &candidates, true);
                let wait = match &patient {
                    Decision::Gap { .. } if is_calm => CONFIRM_AFTER,
                    _ => self.shared.gap_after,
                };
                Ok(self.doubt(decision, patient, wait, &files, &candidates))
            }
        }
    }

    /// Something seems lost: give it time to turn up, then say so.
    fn doubt(
        &mut self,
        decision: Decision,
        patient: Decision,
        wait: Duration,
        files: &[Found],
        candidates: &[Candidate],
    ) -> Turn {
        let unclear: Vec<_> = files
            .iter()
            .zip(candidates)
            .filter(|(_, c)| !matches!(c.condition, Condition::Ready))
            .map(|(f, _)| f.stamp)
            .collect();
        let doubt = match self.doubt.take() {
            Some(d) if d.decision == decision && d.unclear == unclear => d,
            _ => Doubt { since: Instant::now(), decision: decision.clone(), unclear },
        };
        if doubt.since.elapsed() < wait {
            self.doubt = Some(doubt);
            let waiting_for = match patient {
                Decision::Wait(why) => why,
                _ => None,
            };
            return Turn::Idle(Idle { waiting_for, again: Again::Soon });
        }
        let Decision::Gap { kind, file, missing, new_era } = decision else {
            return Turn::Again;
        };
        let left_over = self.framer.left_over() as u64;
        self.announce(Loss::Found { kind, missing, left_over }, &files[file], new_era)
    }

    fn announce(&mut self, loss: Loss, file: &Found, new_era: bool) -> Turn {
        let from = self.cursor.as_ref().map_or_else(Place::default, |c| c.place);
        self.move_to(file, new_era);
        let to = self.cursor.as_ref().map_or_else(Place::default, |c| c.place);
        Turn::Gap(gap(&self.shared, &loss, from, to, file))
    }

    /// Begins a file at its start.
    fn move_to(&mut self, file: &Found, new_era: bool) {
        let era = self.cursor.as_ref().map_or(0, |c| c.place.era) + u32::from(new_era);
        let sequence = match file.number() {
            Some(number) => number,
            None if new_era => self.cursor.as_ref().map_or(0, |c| c.place.sequence),
            None => 0,
        };
        let place = Place::start_of(era, sequence);
        self.cursor = Some(Cursor::unproved(place));
        self.did_rotate = true;
        self.doubt = None;
        self.verified.clear();
        self.framer.restart(place, &[]);
        // If it is gone again, the next turn looks for it anew.
        self.open = Open::new(file, place.offset).ok();
    }

    /// Goes on in a file at the cursor.
    fn resume(&mut self, file: &Found) -> Result<Turn, SourceError> {
        let mut cursor = self.cursor.clone().expect("decided for a cursor");
        if cursor.proof.is_none() {
            // A place somebody named: the number inside counts, and the next
            // start of a record.
            let sequence = file.number().unwrap_or(match cursor.place.era {
                0 => 0,
                _ => cursor.place.sequence,
            });
            let wanted = Place { sequence, ..cursor.place };
            cursor.place = if wanted.offset == 0 {
                wanted
            } else {
                locate::record_at(file, wanted)?
            };
        }
        let open = Open::new(file, cursor.place.offset)?;
        if open.inode != file.stamp.inode {
            return Ok(Turn::Idle(Idle { waiting_for: None, again: Again::Soon }));
        }
        let before = open.before(cursor.place.offset)?;
        self.framer.restart(cursor.place, &before);
        self.cursor = Some(cursor);
        self.open = Some(open);
        Ok(Turn::Again)
    }

    /// A last look at the open file, now that others were found: what was
    /// written before they came must be read before they are.
    fn has_grown(&mut self) -> Result<bool, SourceError> {
        let Some(open) = &mut self.open else { return Ok(false) };
        match open.read(&mut self.framer)? {
            Read::More => Ok(true),
            Read::Skipped | Read::End => Ok(false),
            Read::Changed => {
                self.open = None;
                Ok(false)
            }
        }
    }

    fn verify(&mut self) -> Result<Turn, SourceError> {
        let verifying = self.verifying.as_mut().expect("called while verifying");
        let Some((whole, before)) = verifying.go_on() else {
            return Ok(Turn::Again);
        };
        let found = verifying.found.clone();
        self.verifying = None;
        let matched = match self.cursor.as_ref().and_then(|c| c.proof.as_ref()) {
            Some(proof) if ends_as(&before, proof) => Match::Yes,
            Some(_) => Match::HeadOnly,
            None => Match::Yes,
        };
        self.verified.insert(found.path.clone(), (found.stamp, matched));
        self.shared.remember_whole(&found, whole);
        Ok(Turn::Again)
    }

    fn position(&self) -> Position {
        let cursor = self.cursor.as_ref().expect("a reader that looks has a cursor");
        let open = self.open.as_ref();
        Position {
            sequence: cursor.place.sequence,
            offset: cursor.place.offset,
            next: if open.is_some() { self.framer.next_number() } else { cursor.next },
            exhausted: open.is_some(),
            proved: cursor.proof.is_some() || open.is_some(),
            not_before: open
                .filter(|_| cursor.place.era > 0)
                .and_then(|open| open.header_time),
        }
    }

    fn candidate(&self, file: &Found, at: &Position) -> Candidate {
        let held = self.open.as_ref().is_some_and(|open| open.inode == file.stamp.inode);
        let whole = self.shared.whole(file);
        let name = file.path.display();
        let condition = match (&file.content, &whole) {
            (Content::Unreadable(why), _) => {
                Condition::Unusable(format!("{name} cannot be read: {why}"))
            }
            (Content::NotYet, _) => Condition::NotYet,
            (_, Some(Whole::No(why))) if file.gzip => {
                Condition::Unusable(format!("{name} is not whole: {why}"))
            }
            (_, None) if file.gzip => Condition::Unverified,
            _ if file.gzip && self.must_verify(file, at) => Condition::Unverified,
            _ => Condition::Ready,
        };
        let (next, size) = match whole {
            Some(Whole::Yes { next, length }) => (next, length),
            _ if file.gzip => (None, 0),
            _ => (None, file.stamp.size),
        };
        let hint = next.map(|next| next.saturating_sub(1)).or_else(|| file.hint.number());
        let mut candidate = Candidate {
            number: file.number(),
            hint,
            live: file.path == self.shared.live,
            gzip: file.gzip,
            held,
            size,
            header_time: match &file.content {
                Content::Journal { header_time, .. } => *header_time,
                _ => None,
            },
            condition,
            proof: Match::Unknown,
        };
        candidate.proof = self.compare(file, &candidate, at);
        candidate
    }

    /// Whether a file is the one the cursor points into.
    fn compare(&self, file: &Found, candidate: &Candidate, at: &Position) -> Match {
        if candidate.number.is_some_and(|number| number != at.sequence) {
            return Match::Unknown;
        }
        if candidate.held {
            return Match::Yes;
        }
        match self.cursor.as_ref().and_then(|c| c.proof.as_ref()) {
            // Somebody named the place: any file of that number will do.
            None if candidate.condition == Condition::Unverified => Match::Unknown,
            None if candidate.size < at.offset => Match::HeadOnly,
            None => Match::Yes,
            Some(proof) if !file.starts_as(&proof.head) => Match::No,
            Some(_) if file.gzip => self.read_through(file).unwrap_or_default(),
            Some(_) if file.stamp.size < at.offset => Match::HeadOnly,
            Some(proof) => match locate::bytes_before(file, at.offset, proof.tail.len) {
                Ok(before) if proof.tail.matches(&before) => Match::Yes,
                _ => Match::HeadOnly,
            },
        }
    }

    /// What reading a compressed file to its end told of the cursor's place.
    fn read_through(&self, file: &Found) -> Option<Match> {
        let (stamp, matched) = self.verified.get(&file.path)?;
        (*stamp == file.stamp).then_some(*matched)
    }

    /// Whether a compressed file must be read through by this reader, although
    /// another may know already that it is whole: only so it learns whether
    /// the bytes before its own place are those it has read.
    fn must_verify(&self, file: &Found, at: &Position) -> bool {
        let is_mine = file.number().is_none_or(|number| number == at.sequence);
        let proved = self.cursor.as_ref().is_some_and(|c| c.proof.is_some());
        is_mine && proved && self.read_through(file).is_none()
    }
}

fn ends_as(before: &[u8], proof: &Proof) -> bool {
    let length = proof.tail.len as usize;
    before.len() >= length && proof.tail.matches(&before[before.len() - length..])
}

/// A block fits the buffer that is always there.
const _: () = assert!(BLOCK_BYTES >= Proof::TAIL_BYTES_MAX);
