//! What a connection writes: from frames to files, and to what is committed.

use super::commit::{Committer, Waker};
use super::files::{Opened, Output, Wrote};
use super::names;
use super::places::{self, LineEnd, Reached, Step};
use super::store::{Changes, Key};
use crate::wire::{At, Frame, Gap, Open, Run, Tie};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

/// A connection writes to so many files.
const OUTPUTS_MAX: usize = 100_000;
/// So many files are open at a time, for one connection.
const FILES_MAX: usize = 128;

/// The desk of one stream of one peer; nobody else writes its files meanwhile.
pub(super) struct Desk {
    committer: Arc<Committer>,
    waker: Waker,
    say: Arc<super::Say>,
    to: PathBuf,
    peer: String,
    stream: String,
    opened: Vec<Source>,
    keys: BTreeSet<(String, Vec<u8>)>,
    outputs: Vec<Output>,
    by_key: BTreeMap<String, usize>,
    /// What moved since the last commit began.
    moved: BTreeSet<usize>,
    /// Frames that were counted and written, in all.
    counted: u64,
    /// Of these, those of a commit that has begun.
    submitted: u64,
    /// Bytes since the last commit began.
    unsynced: usize,
    /// The connection has said what its places belong to.
    is_tied: bool,
    /// What it has said of that since the last commit began.
    tie: Option<Tie>,
    pending: Option<Pending>,
}

/// A log or journal of this connection.
struct Source {
    key: Key,
    incarnation: u64,
    folder: String,
    is_log: bool,
    reached: Option<Reached>,
    /// The file that was written to last, with the journal's number and era.
    output: Option<(usize, (u64, u64))>,
}

struct Pending {
    count: u64,
    answer: Receiver<Result<(), String>>,
}

impl Desk {
    pub(super) fn new(
        committer: Arc<Committer>,
        waker: Waker,
        say: Arc<super::Say>,
        to: PathBuf,
        peer: &str,
        stream: &str,
    ) -> Self {
        Self {
            committer,
            waker,
            say,
            to,
            peer: peer.to_owned(),
            stream: stream.to_owned(),
            opened: Vec::new(),
            keys: BTreeSet::new(),
            outputs: Vec::new(),
            by_key: BTreeMap::new(),
            moved: BTreeSet::new(),
            counted: 0,
            submitted: 0,
            unsynced: 0,
            is_tied: false,
            tie: None,
            pending: None,
        }
    }

    /// Takes a frame of a sender; `false` for one that is none of a sender's.
    ///
    /// # Errors
    ///
    /// Why not, in words for both sides.
    pub(super) fn take(&mut self, frame: &Frame<'_>) -> Result<bool, String> {
        match frame {
            Frame::Open(_) | Frame::Run(_) | Frame::Gap(_) if !self.is_tied => {
                return Err("it did not say what its lines belong to".to_owned());
            }
            Frame::Tie(tie) => {
                self.tie = Some(*tie);
                self.is_tied = true;
                self.counted += 1;
            }
            Frame::Open(open) => self.open(open)?,
            Frame::Run(run) => self.run(run)?,
            Frame::Gap(gap) => self.gap(gap)?,
            Frame::Ping => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn open(&mut self, open: &Open<'_>) -> Result<(), String> {
        let log = open.log.unwrap_or_default();
        if open.index as usize != self.opened.len()
            || !self.keys.insert((open.source.to_owned(), log.to_vec()))
        {
            return Err("a log was announced twice, or in no order".to_owned());
        }
        let mut store = self.committer.store();
        let folder = store.folder(&self.peer, &self.stream, open.source)?;
        let key = Key {
            peer: self.peer.clone(),
            stream: self.stream.clone(),
            source: open.source.to_owned(),
            log: log.to_vec(),
        };
        let reached = store.reached(&key, open.incarnation)?;
        drop(store);
        self.opened.push(Source {
            key,
            incarnation: open.incarnation,
            folder: format!("{}/{folder}", self.peer),
            is_log: open.log.is_some(),
            reached,
            output: None,
        });
        Ok(())
    }

    fn run(&mut self, run: &Run<'_>) -> Result<(), String> {
        let index = run.index as usize;
        let (reached, is_log) = self.reached(index, run.at.era)?;
        if let Some(step) = places::of_run(reached.as_ref(), run, is_log) {
            // Of what is in the file, the first run of an incarnation or an era
            // knows nothing.
            let is_first = reached.is_none_or(|reached| reached.begins_with_a_gap());
            self.step(index, run, &step, is_log && is_first)?;
        }
        self.counted += 1;
        Ok(())
    }

    /// Writes what is new: to the file, and when that was renamed, the rest to the
    /// next one. Whenever something is committed in between, the place is that
    /// behind what was written.
    fn step(
        &mut self,
        index: usize,
        run: &Run<'_>,
        step: &Step<'_>,
        is_first: bool,
    ) -> Result<(), String> {
        let output = self.output(index, run.at)?;
        let (mut rest, mut closes) = (step.bytes, step.closes);
        // A file that is renamed faster than it is written to has a person to blame.
        for _ in 0..RENAMES_MAX {
            let opened = self.open_output(output)?;
            let is_amid_line = self.outputs[output].is_amid_line();
            if is_first && is_amid_line && opened == Opened::Known {
                closes = closes.or(Some((run.at, LineEnd::Open)));
            }
            let foreign = opened == Opened::Foreign && is_amid_line;
            let wrote = self.write(output, closes.is_some() || foreign, rest)?;
            let count = match wrote {
                Wrote::All => rest.len(),
                Wrote::Until(count) => count,
            };
            self.unsynced += count;
            rest = &rest[count..];
            if wrote == Wrote::All {
                self.opened[index].reached = Some(step.reached);
            } else if count > 0 {
                let left = (run.bytes.len() - rest.len()) as u64;
                let at = At { offset: run.at.offset + left, ..run.at };
                let is_amid_line = step.bytes[..step.bytes.len() - rest.len()]
                    .last()
                    .is_some_and(|last| *last != b'\n');
                let line = if is_amid_line { LineEnd::Open } else { LineEnd::Whole };
                let reached = Reached { at, line, gap_noted: false };
                self.opened[index].reached = Some(reached);
            }
            self.moved.insert(index);
            if count > 0
                && let Some((at, end)) = closes.take()
            {
                self.note_line_feed(index, at, end)?;
            }
            if wrote == Wrote::All {
                return Ok(());
            }
            self.commit_all()?;
            self.outputs[output].leave();
        }
        Err(format!("{} is renamed again and again", self.outputs[output].key))
    }

    fn gap(&mut self, gap: &Gap<'_>) -> Result<(), String> {
        let index = gap.index as usize;
        let (reached, _) = self.reached(index, gap.to.era)?;
        if let Some(reached) = places::of_gap(reached.as_ref(), gap) {
            self.note(index, gap.text)?;
            self.opened[index].reached = Some(reached);
            self.moved.insert(index);
            self.unsynced += gap.text.len();
        }
        self.counted += 1;
        Ok(())
    }

    /// How far it came. A log whose era is another one has another place in its
    /// sender's configuration: what was noted of it means nothing there.
    fn reached(&self, index: usize, era: u64) -> Result<(Option<Reached>, bool), String> {
        let opened = self.opened.get(index).ok_or("a log was not announced")?;
        let fits = |reached: &Reached| !opened.is_log || reached.at.era == era;
        Ok((opened.reached.filter(fits), opened.is_log))
    }

    /// The file that the bytes of this place go to.
    fn output(&mut self, index: usize, at: At) -> Result<usize, String> {
        let opened = &self.opened[index];
        let which = if opened.is_log { (0, 0) } else { (at.sequence, at.era) };
        if let Some((output, known)) = opened.output
            && known == which
        {
            return Ok(output);
        }
        let name = match opened.is_log {
            true => names::of_log(&opened.key.log),
            false => names::of_journal(at.sequence, at.era),
        };
        let folder = opened.folder.clone();
        let output = self.output_of(&folder, name, opened.is_log)?;
        self.opened[index].output = Some((output, which));
        Ok(output)
    }

    fn output_of(
        &mut self,
        folder: &str,
        name: String,
        is_log: bool,
    ) -> Result<usize, String> {
        let output = Output::new(&self.to, folder, name, is_log);
        if let Some(known) = self.by_key.get(&output.key) {
            return Ok(*known);
        }
        if self.outputs.len() >= OUTPUTS_MAX {
            // On another connection it is the first again.
            return Err(format!(
                "a connection writes to {OUTPUTS_MAX} files and no more"
            ));
        }
        self.by_key.insert(output.key.clone(), self.outputs.len());
        self.outputs.push(output);
        Ok(self.outputs.len() - 1)
    }

    /// Opens a file, and has it in the database before anything is written to it.
    fn open_output(&mut self, output: usize) -> Result<Opened, String> {
        if self.outputs[output].is_open() {
            return Ok(Opened::Known);
        }
        if self.outputs.iter().filter(|output| output.is_open()).count() >= FILES_MAX {
            self.commit_all()?;
            self.outputs.iter_mut().for_each(Output::close);
        }
        let mut store = self.committer.store();
        let output = &mut self.outputs[output];
        let opened = output.open(&store)?;
        if opened != Opened::Known
            && let Some((_, length)) = output.state()
        {
            let files = vec![(output.key.clone(), length)];
            store.commit([&Changes { files, ..Changes::default() }].into_iter())?;
        }
        drop(store);
        if opened == Opened::Foreign {
            (self.say)(&format!(
                "{} was there before: what comes is appended to it",
                output.key
            ));
        }
        Ok(opened)
    }

    /// Writes to a file that is open, and says so when that held something else.
    fn write(
        &mut self,
        output: usize,
        closes: bool,
        bytes: &[u8],
    ) -> Result<Wrote, String> {
        let output = &mut self.outputs[output];
        let wrote = output.write(closes, bytes)?;
        if let Some(kept) = output.take_kept() {
            (self.say)(&format!(
                "{} has {kept} bytes that are not what came in their place: they stay, and \
                 what comes is appended, so some of it may be there twice. Was relay.db \
                 brought back from a backup, or did somebody else write to the file?",
                output.key
            ));
        }
        Ok(wrote)
    }

    /// A line feed that is ours, and not in the sender's file, is written down.
    fn note_line_feed(
        &mut self,
        index: usize,
        at: At,
        end: LineEnd,
    ) -> Result<(), String> {
        let opened = &self.opened[index];
        let name = names::of_log(&opened.key.log);
        let why = if end == LineEnd::Cut { "cut" } else { "incomplete" };
        let note = format!(
            "{{\"id\":\"{}/{at}#line-feed\",\"source\":\"{}\",\"file\":\"{name}\",\
             \"line_feed_after\":\"{why}\"}}\n",
            opened.key.source, opened.key.source
        );
        self.note(index, note.as_bytes())
    }

    fn note(&mut self, index: usize, text: &[u8]) -> Result<(), String> {
        let folder = self.opened[index].folder.clone();
        let output = self.output_of(&folder, names::GAPS.to_owned(), true)?;
        for _ in 0..RENAMES_MAX {
            let opened = self.open_output(output)?;
            let foreign =
                opened == Opened::Foreign && self.outputs[output].is_amid_line();
            // One line: all of it belongs to one file.
            let wrote = self.write(output, foreign, text)?;
            if wrote == Wrote::All {
                return Ok(());
            }
            // A part of it that is in a file with another name stands there, and all
            // of it in the next.
            self.commit_all()?;
            self.outputs[output].leave();
        }
        Err(format!("{} is renamed again and again", self.outputs[output].key))
    }

    /// Bytes that were written and are not in a commit that has begun.
    pub(super) const fn unsynced(&self) -> usize {
        self.unsynced
    }

    pub(super) const fn is_committing(&self) -> bool {
        self.pending.is_some()
    }

    /// Begins to commit what was written, unless a commit is under way.
    pub(super) fn begin_commit(&mut self) {
        let is_dirty = |output: &Output| output.is_dirty;
        let has_something = self.counted != self.submitted
            || !self.moved.is_empty()
            || self.outputs.iter().any(is_dirty);
        if self.pending.is_some() || !has_something {
            return;
        }
        let named = |tie| (self.peer.clone(), self.stream.clone(), tie);
        let mut changes =
            Changes { tie: self.tie.take().map(named), ..Changes::default() };
        for index in std::mem::take(&mut self.moved) {
            let opened = &self.opened[index];
            if let Some(reached) = opened.reached {
                changes.reached.push((opened.key.clone(), opened.incarnation, reached));
            }
        }
        let mut files = Vec::new();
        for output in self.outputs.iter_mut().filter(|output| output.is_dirty) {
            if let Some((file, length)) = output.state() {
                files.push(file);
                changes.files.push((output.key.clone(), length));
            }
            output.is_dirty = false;
        }
        let answer = self.committer.submit(files, changes, &self.waker);
        self.pending = Some(Pending { count: self.counted, answer });
        (self.submitted, self.unsynced) = (self.counted, 0);
    }

    /// How many frames are settled, when a commit has come to its end.
    ///
    /// # Errors
    ///
    /// Why it failed. Nothing may be written after that.
    pub(super) fn has_committed(&mut self) -> Result<Option<u64>, String> {
        let Some(pending) = &self.pending else { return Ok(None) };
        let answer = match pending.answer.try_recv() {
            Ok(answer) => answer,
            Err(TryRecvError::Empty) => return Ok(None),
            Err(TryRecvError::Disconnected) => Err(STOPPED.to_owned()),
        };
        let count = pending.count;
        self.pending = None;
        answer.map(|()| Some(count))
    }

    /// Commits everything that was written, and waits for it; returns how many
    /// frames that is.
    ///
    /// # Errors
    ///
    /// As [`has_committed`](Self::has_committed).
    pub(super) fn commit_all(&mut self) -> Result<u64, String> {
        self.wait()?;
        self.begin_commit();
        self.wait()?;
        Ok(self.submitted)
    }

    /// Waits for a commit that is under way.
    pub(super) fn wait(&mut self) -> Result<(), String> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        pending.answer.recv().unwrap_or_else(|_| Err(STOPPED.to_owned()))
    }
}

/// One write goes to no more files.
const RENAMES_MAX: usize = 8;
const STOPPED: &str = "the receiver is being stopped";

#[cfg(test)]
mod tests;
