//! What a walk knows of itself and of the files, as the decision wants it.

use super::catalog::{Content, Found, Whole};
use super::decide::{Candidate, Condition, Match, Position, may_be_meant};
use super::locate;
use super::names::Hint;
use super::reader::JournalReader;
use tripline_api::SourceError;

impl JournalReader {
    /// Where this walk is, and what each file means to it.
    pub(super) fn situation(
        &self,
        files: &[Found],
    ) -> Result<(Position, Vec<Candidate>), SourceError> {
        let cursor = self.cursor.as_ref().expect("a reader that looks has a cursor");
        let open = self.open.as_ref();
        let next = if open.is_some() { self.framer.next_number() } else { cursor.next };
        let mut position = Position {
            sequence: cursor.place.sequence,
            offset: cursor.place.offset,
            // A counter set by hand looks like a trailer, and a journal's
            // number only ever grows.
            next: next.filter(|next| *next > cursor.place.sequence),
            exhausted: open.is_some(),
            proved: cursor.proof.is_some() || open.is_some(),
            began: open.and_then(|open| open.header_time),
            restored: cursor.place.era > 0,
        };
        let mut candidates = Vec::with_capacity(files.len());
        for file in files {
            candidates.push(self.candidate(file, &position)?);
        }
        let mine = || {
            let proved = candidates.iter().position(|c| c.proof == Match::Yes);
            proved.filter(|_| position.proved).map(|index| &files[index])
        };
        position.began = position.began.or_else(|| mine()?.header_time());
        let mine =
            open.and_then(|open| open.origin.as_deref()).or_else(|| mine()?.origin());
        let live = files.iter().find(|f| f.hint == Hint::Live).and_then(Found::origin);
        for (candidate, file) in candidates.iter_mut().zip(files) {
            // A server that was moved has another root from then on: also what
            // is of the live one's is ours.
            candidate.foreign = !candidate.live
                && file.origin().is_some()
                && (mine.is_some() || live.is_some())
                && file.origin() != mine
                && file.origin() != live;
        }
        Ok((position, candidates))
    }

    fn candidate(&self, file: &Found, at: &Position) -> Result<Candidate, SourceError> {
        let held = self.open.as_ref().is_some_and(|open| open.inode == file.stamp.inode);
        let whole = self.shared.whole(file);
        let name = file.path.display();
        let condition = match (&file.content, &whole) {
            (Content::Unreadable(why), _) => {
                Condition::Unreadable(format!("{name} cannot be read: {why}"))
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
        let mut candidate = Candidate {
            number: file.number(),
            hint: next.map(|n| n.saturating_sub(1)).or_else(|| file.hint.number()),
            live: file.path == self.shared.live,
            gzip: file.gzip,
            held,
            size,
            header_time: file.header_time(),
            foreign: false,
            condition,
            proof: Match::Unknown,
        };
        candidate.proof = self.compare(file, &candidate, at)?;
        Ok(candidate)
    }

    /// Whether a file is the one the cursor points into.
    fn compare(
        &self,
        file: &Found,
        candidate: &Candidate,
        at: &Position,
    ) -> Result<Match, SourceError> {
        if candidate.number.is_some_and(|number| number != at.sequence) {
            return Ok(Match::Unknown);
        }
        if candidate.held {
            return Ok(Match::Yes);
        }
        Ok(match self.cursor.as_ref().and_then(|c| c.proof.as_ref()) {
            None if candidate.number.is_none() && !may_be_meant(at, candidate) => {
                Match::Unknown
            }
            // Somebody named the place: any file of that number will do.
            None if candidate.condition != Condition::Ready => Match::Unknown,
            None if candidate.size < at.offset => Match::HeadOnly,
            None => Match::Yes,
            Some(_) if !matches!(file.content, Content::Journal { .. }) => Match::Unknown,
            Some(proof) if !file.starts_as(&proof.head) => Match::No,
            Some(_) if file.gzip => self.read_through(file).unwrap_or_default(),
            Some(_) if file.stamp.size < at.offset => Match::HeadOnly,
            Some(proof) => {
                let before = locate::bytes_before(file, at.offset, proof.tail.len);
                let failed = |e| {
                    SourceError::io(format!("cannot read {}", file.path.display()), e)
                };
                match proof.tail.matches(&before.map_err(failed)?) {
                    true => Match::Yes,
                    false => Match::HeadOnly,
                }
            }
        })
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
