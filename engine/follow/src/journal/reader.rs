//! One walk through a journal and its rotations.

use super::catalog::{Content, Found};
use super::decide::{Candidate, Condition, Decision, Match, Position, decide};
use super::framer::{BLOCK_BYTES, Framer};
use super::gaps::{Loss, gap};
use super::names::Hint;
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
    pub(super) shared: Arc<Shared>,
    /// Behind the last entry that was handed out; `None` until it is known
    /// where to begin.
    pub(super) cursor: Option<Cursor>,
    /// It was opened with a cursor, or has handed out something.
    has_begun: bool,
    /// The cursor behind the batch that is out now.
    batch_end: Option<Cursor>,
    /// When this walk began.
    since: Instant,
    pub(super) framer: Framer,
    pub(super) open: Option<Open>,
    verifying: Option<Verifying>,
    /// Of compressed files read through: whether the bytes before the cursor's
    /// offset are those that were read.
    pub(super) verified: HashMap<PathBuf, (Stamp, Match)>,
    /// The next entry is the first of a file that follows another.
    did_rotate: bool,
    doubt: Option<Doubt>,
    /// How the folders looked when there was nothing to do.
    looked: Option<Looked>,
    /// There was no journal at all when this walk began, so it begins with the
    /// first that comes, whatever `start` says.
    began_empty: bool,
}

/// What a look at the folders came to, so that it need not be repeated while
/// they stay as they were.
struct Looked {
    at: Instant,
    folders: Vec<Option<std::time::SystemTime>>,
    idle: Idle,
}

/// A folder can change without a sign: a file in it is completed in place, or
/// its clock is coarse.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);

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
    Gap(Box<Gap>),
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
                Turn::Entries => {
                    self.has_begun = true;
                    return Ok(Step::Batch(self.batch()));
                }
                Turn::Gap(gap) => {
                    self.has_begun = true;
                    return Ok(Step::Gap(*gap));
                }
                Turn::Idle(idle) => return Ok(self.begins().unwrap_or(Step::Idle(idle))),
                Turn::Again => {}
            }
        }
        Ok(Step::Idle(Idle { again: Again::Now, ..Idle::at_end() }))
    }

    fn hold_open_transactions(&mut self) {
        self.framer.hold_open();
    }
}

impl JournalReader {
    /// Where the walk begins, once, when that was found out and there is nothing
    /// yet.
    fn begins(&mut self) -> Option<Step<'static>> {
        let cursor = self.cursor.as_ref().filter(|_| !self.has_begun)?;
        self.has_begun = true;
        Some(Step::Begins(None, cursor.clone()))
    }

    /// Whether what is there now leads from the cursor into a new era.
    pub(super) fn leads_to_new_era(&self) -> Result<bool, SourceError> {
        let files = self.shared.scan()?;
        let (position, candidates) = self.situation(&files)?;
        let decision = decide(&position, &candidates, false);
        Ok(matches!(decision, Decision::Gap { new_era: true, .. }))
    }

    pub(super) fn new(shared: Arc<Shared>, cursor: Option<Cursor>) -> Self {
        let framer = Framer::new(shared.record_bytes_max);
        Self {
            shared,
            has_begun: cursor.is_some(),
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
            began_empty: false,
        }
    }

    fn turn(&mut self) -> Result<Turn, SourceError> {
        if self.verifying.is_some() {
            return self.verify();
        }
        let Some(open) = &mut self.open else {
            return self.locate();
        };
        match open.read(&mut self.framer) {
            Ok(Read::More) => Ok(self.frame()),
            Ok(Read::Skipped) => Ok(Turn::Again),
            // With nothing more to come, no record waits for its transaction.
            Ok(Read::End) if self.framer.left_over() > 0 && self.framer.frame(false) => {
                Ok(Turn::Entries)
            }
            Ok(Read::End) => self.at_end(),
            Ok(Read::Changed) => {
                self.open = None;
                Ok(Turn::Again)
            }
            Err(error) => {
                // A stream that failed may have lost what it had decompressed:
                // it is read again from the cursor.
                self.open = None;
                Err(error)
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
            next: self.framer.next_number().filter(|next| *next > place.sequence),
        };
        Batch {
            source: &self.shared.id,
            log: None,
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
        let open = self.open.as_ref().expect("called with a file open");
        if self.framer.next_number().is_none()
            && open.is_plain()
            && open.is_at(&self.shared.live)
        {
            return Ok(Turn::Idle(Idle::at_end()));
        }
        self.locate()
    }

    /// Looks at what files there are and decides which to read.
    fn locate(&mut self) -> Result<Turn, SourceError> {
        let folders = self.shared.look();
        if let Some(looked) = &self.looked
            && looked.at.elapsed() < LOOK_AGAIN_AFTER
            && folders.as_ref() == Some(&looked.folders)
        {
            return Ok(Turn::Idle(looked.idle.clone()));
        }
        self.looked = None;
        let files = self.shared.scan()?;
        // A file can hide from a look at a folder while it is being renamed.
        let is_calm = folders.is_some() && self.shared.look() == folders;
        if self.cursor.is_none()
            && let Some(idle) = self.begin(&files, is_calm)?
        {
            return Ok(Turn::Idle(idle));
        }
        let (position, candidates) = self.situation(&files)?;
        let decision = decide(&position, &candidates, false);
        if !matches!(decision, Decision::Wait(_)) && self.has_grown()? {
            self.doubt = None;
            return Ok(self.frame());
        }
        if matches!(decision, Decision::Next(_)) && self.framer.release() {
            return Ok(Turn::Entries);
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
                let is_trouble = candidates.iter().any(Candidate::is_trouble)
                    || (self.open.is_none() && files.is_empty());
                let idle = Idle { waiting_for, is_trouble, again: Again::Later };
                let is_settled = files.iter().all(|f| f.content != Content::NotYet);
                self.looked = folders.filter(|_| is_settled).map(|folders| Looked {
                    at: Instant::now(),
                    folders,
                    idle: idle.clone(),
                });
                Ok(Turn::Idle(idle))
            }
            Decision::Gap { .. } => {
                let patient = decide(&position, &candidates, true);
                let wait = self.patience(&position, &patient, is_calm);
                Ok(self.doubt(decision, patient, wait, &files, &candidates))
            }
        }
    }

    /// Finds out where to begin; an idle answer while that cannot be told.
    fn begin(
        &mut self,
        files: &[Found],
        is_calm: bool,
    ) -> Result<Option<Idle>, SourceError> {
        if !is_calm && self.since.elapsed() < self.shared.gap_after {
            return Ok(Some(Idle { again: Again::Soon, ..Idle::at_end() }));
        }
        match self.shared.first(files, self.began_empty)? {
            Ok(cursor) => {
                self.cursor = Some(cursor);
                Ok(None)
            }
            Err(why) => {
                self.began_empty = true;
                let waiting_for = Some(why);
                // An empty live file is a journal to come; anything else at its
                // path, or nothing, is probably a wrong path.
                let is_to_come =
                    |f: &Found| f.hint == Hint::Live && f.content == Content::NotYet;
                let is_trouble = !files.iter().any(is_to_come);
                Ok(Some(Idle { waiting_for, is_trouble, again: Again::Later }))
            }
        }
    }

    /// How long a seeming loss is doubted. Where a file may still be copied,
    /// or a folder is not mounted yet, a moment is not enough.
    fn patience(&self, at: &Position, patient: &Decision, is_calm: bool) -> Duration {
        if !self.shared.missing_folders().is_empty() {
            return Duration::MAX;
        }
        let may_grow = at.exhausted && at.next.is_none();
        match patient {
            Decision::Gap { .. } if is_calm && !may_grow => CONFIRM_AFTER,
            _ => self.shared.gap_after,
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
        let wanted = self.cursor.as_ref().map(|c| c.next.unwrap_or(c.place.sequence));
        let unclear: Vec<_> = files
            .iter()
            .zip(candidates)
            .filter(|(_, c)| c.condition != Condition::Ready)
            .filter(|(_, c)| c.live || c.hint == wanted || c.number == wanted)
            .map(|(f, _)| f.stamp)
            .collect();
        let doubt = match self.doubt.take() {
            Some(d) if d.decision == decision && d.unclear == unclear => d,
            _ => Doubt { since: Instant::now(), decision: decision.clone(), unclear },
        };
        if doubt.since.elapsed() < wait {
            self.doubt = Some(doubt);
            let missing = self.shared.missing_folders();
            let waiting_for = match (patient, missing.first()) {
                (_, Some(folder)) => {
                    Some(format!("the folder {} is not there", folder.display()))
                }
                (Decision::Wait(why), None) => why,
                _ => None,
            };
            // A folder that is missing may stay so for days.
            let again = if missing.is_empty() { Again::Soon } else { Again::Later };
            return Turn::Idle(Idle { waiting_for, is_trouble: true, again });
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
        Turn::Gap(Box::new(gap(&self.shared, &loss, from, to, file)))
    }

    /// Begins a file at its start.
    fn move_to(&mut self, file: &Found, new_era: bool) {
        let era = self.cursor.as_ref().map_or(0, |c| c.place.era) + u64::from(new_era);
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
            return Ok(Turn::Idle(Idle { again: Again::Soon, ..Idle::at_end() }));
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
        match open.read(&mut self.framer) {
            Ok(Read::More) => Ok(true),
            Ok(Read::Skipped | Read::End) => Ok(false),
            Ok(Read::Changed) => {
                self.open = None;
                Ok(false)
            }
            Err(error) => {
                self.open = None;
                Err(error)
            }
        }
    }

    fn verify(&mut self) -> Result<Turn, SourceError> {
        let verifying = self.verifying.as_mut().expect("called while verifying");
        let (whole, before) = match verifying.go_on() {
            Ok(Some(verdict)) => verdict,
            Ok(None) => return Ok(Turn::Again),
            Err(error) => {
                self.verifying = None;
                return Err(error);
            }
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
}

fn ends_as(before: &[u8], proof: &Proof) -> bool {
    let length = proof.tail.len as usize;
    before.len() >= length && proof.tail.matches(&before[before.len() - length..])
}

/// A block fits the buffer that is always there.
const _: () = assert!(BLOCK_BYTES >= Proof::TAIL_BYTES_MAX);
