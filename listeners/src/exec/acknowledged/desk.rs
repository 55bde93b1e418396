//! Where entries wait for their answers.
//!
//! The lane brings entries, a thread for each program hears what it answers and
//! gives it more, so that the lane may be elsewhere. Trouble is kept until the lane
//! asks.

use super::super::{SET_ASIDE_MAX, not_started};
use super::answers::{Answer, Answers};
use super::{Settings, Shared};
use crate::process::{Options, Process, Program};
use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::Instant;
use tripline_api::{Entry, Key, Letter, ListenError, ListenerId, Secrets, write_entry};

pub(super) struct Desk {
    name: ListenerId,
    program: Program,
    secrets: Secrets,
    settings: Settings,
    pub(super) worker: Option<Worker>,
    /// One that was told to end and has not yet.
    ending: Option<Arc<Process>>,
    /// Taken from the lane and not answered, in order. The program has the first
    /// of them. At most a window and a batch.
    queue: VecDeque<Item>,
    /// How many were taken from the lane, how many of them were answered, and how
    /// many are settled, since the last time that all were let go.
    accepted: u64,
    answered: u64,
    settled: u64,
    mark: Option<u64>,
    /// What was answered and is not settled, in order.
    done: VecDeque<Name>,
    /// What was answered and comes again, because all was let go.
    again: HashSet<u64>,
    letters: Vec<Letter>,
    set_aside: u64,
    /// What the lane has to know.
    trouble: Option<Trouble>,
}

/// What an entry is recognised by when it comes again: a hash of where it is and
/// what it is. One that is seen before it is whole, and a gap, have none.
type Name = Option<u64>;

/// So many entries that may come again are remembered: a few batches, as each
/// flush settles what came before it.
const AGAIN_MAX: usize = 1_000_000;

/// An entry or a gap.
pub(super) struct Item {
    /// What the program reads; empty once it was given that.
    line: Vec<u8>,
    /// What becomes of it when it is refused; `None` for what comes again when it
    /// is whole, and for a gap, which is in the store.
    letter: Option<Letter>,
    name: Name,
    id: String,
}

impl Item {
    pub(super) const fn without_name(line: Vec<u8>, id: String) -> Self {
        Self { line, letter: None, name: None, id }
    }
}

/// A program at work.
pub(super) struct Worker {
    process: Arc<Process>,
    answers: Answers,
    /// It has said that it is ready, if that is asked for.
    is_ready: bool,
    /// How many entries of the queue it has.
    pub(super) sent: usize,
    /// How many answers it owes for entries that were let go.
    stale: usize,
    /// Since when it owes the next answer.
    since: Instant,
}

/// Whether there is room for a batch; if not, why.
pub(super) enum Room {
    Enough,
    None(String),
}

/// Why it cannot go on.
enum Trouble {
    /// What waits comes again after a pause.
    ForNow(String),
    /// Not without a person.
    ForGood(String),
}

/// What the lane does.
impl Desk {
    pub(super) fn new(
        name: ListenerId,
        program: Program,
        secrets: Secrets,
        settings: Settings,
    ) -> Self {
        Self {
            name,
            program,
            secrets,
            settings,
            worker: None,
            ending: None,
            queue: VecDeque::new(),
            accepted: 0,
            answered: 0,
            settled: 0,
            mark: None,
            done: VecDeque::new(),
            again: HashSet::new(),
            letters: Vec::new(),
            set_aside: 0,
            trouble: None,
        }
    }

    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Everything that is not settled comes again.
    pub(super) fn begin(&mut self, set_by_hand: bool) {
        self.let_go();
        self.trouble = self.trouble.take().filter(|it| matches!(it, Trouble::ForGood(_)));
        if set_by_hand {
            // What comes again is wanted again.
            self.again.clear();
        }
    }

    pub(super) fn room(&self) -> Room {
        match self.queue.front() {
            Some(first) if self.queue.len() >= self.settings.window => {
                Room::None(format!(
                    "{} has not answered for {} entries yet, of which {} is the first",
                    self.program,
                    self.queue.len(),
                    first.id
                ))
            }
            _ => Room::Enough,
        }
    }

    pub(super) fn accept_entry(&mut self, entry: &Entry<'_>) {
        let name = name_of(entry);
        if name.is_some_and(|name| self.again.contains(&name)) {
            return;
        }
        let mut line = Vec::new();
        write_entry(&mut line, entry, self.secrets);
        let key = Key {
            source: entry.source.clone(),
            listener: self.name.clone(),
            log: entry.log.map(|log| Arc::clone(log.path)),
        };
        // What is refused before it is whole comes again when it is.
        let letter = name.map(|_| Letter::of(key, entry, String::new(), 1));
        self.accept(Item { line, letter, name, id: entry.id() });
    }

    pub(super) fn accept(&mut self, item: Item) {
        self.queue.push_back(item);
        self.accepted += 1;
    }

    /// A flush is for all that was accepted so far.
    pub(super) const fn mark(&mut self) {
        self.mark = Some(self.accepted);
    }

    /// Whether everything before the mark is answered.
    pub(super) fn is_flushed(
        &mut self,
        shared: &Arc<Shared>,
    ) -> Result<bool, ListenError> {
        self.work(shared)?;
        if self.mark.is_some_and(|mark| self.answered < mark) {
            return Ok(false);
        }
        let mark = self.mark.take().unwrap_or(self.settled);
        let settled = mark.saturating_sub(self.settled) as usize;
        self.done.drain(..settled.min(self.done.len()));
        self.settled = mark;
        if self.queue.is_empty() {
            self.again.clear();
        }
        Ok(true)
    }

    pub(super) fn letters(&mut self) -> Vec<Letter> {
        std::mem::take(&mut self.letters)
    }

    /// Does what can be done at once; says what went wrong since the last call.
    pub(super) fn work(&mut self, shared: &Arc<Shared>) -> Result<(), ListenError> {
        if self.trouble.is_none() {
            self.try_work(shared);
        }
        match self.trouble.take() {
            None => Ok(()),
            Some(Trouble::ForNow(why)) => Err(ListenError::Lost(why)),
            Some(Trouble::ForGood(why)) => Err(ListenError::Stop(why)),
        }
    }

    /// The listener ends. Returns the program, and whether it owes nothing.
    pub(super) fn leave(&mut self) -> Option<(Arc<Process>, bool)> {
        self.queue.clear();
        if let Some(process) = self.ending.take() {
            process.finish();
        }
        let worker = self.worker.take()?;
        Some((Arc::clone(&worker.process), worker.is_at_rest()))
    }
}

/// What the lane and the thread of the program do.
impl Desk {
    /// Everything that waits comes again, or is not wanted any more.
    fn let_go(&mut self) {
        self.queue.clear();
        (self.accepted, self.answered, self.settled, self.mark) = (0, 0, 0, None);
        if self.again.len() + self.done.len() > AGAIN_MAX {
            self.again.clear();
        }
        self.again.extend(self.done.drain(..).flatten());
        if let Some(worker) = &mut self.worker {
            worker.stale += std::mem::take(&mut worker.sent);
        }
    }

    /// Hears answers, and hands over what they make room for.
    fn try_work(&mut self, shared: &Arc<Shared>) {
        if self.worker.is_none() && self.queue.is_empty() {
            return;
        }
        let worked = self
            .hear_all()
            .and_then(|()| self.give(shared))
            .and_then(|()| self.check_time());
        if let Err(trouble) = worked {
            self.let_go();
            self.trouble.get_or_insert(trouble);
        }
    }

    fn hear_all(&mut self) -> Result<(), Trouble> {
        // In this order: what it said before it ended is heard.
        let ended = self.worker.as_ref().and_then(|it| it.process.wait(Instant::now()));
        if let Some(worker) = &mut self.worker {
            worker.answers.push(&worker.process.read());
        }
        self.hear()?;
        if let Some(ended) = ended
            && let Some(worker) = self.worker.take()
            && !worker.is_at_rest()
        {
            let why = format!("{} {ended}{}", self.program, self.open());
            return Err(Trouble::ForNow(why));
        }
        Ok(())
    }

    /// What waits for an answer, in words.
    fn open(&self) -> String {
        match self.queue.front() {
            Some(item) => format!(", and has not answered for {}", item.id),
            None => String::new(),
        }
    }

    fn hear(&mut self) -> Result<(), Trouble> {
        loop {
            let Some(worker) = &mut self.worker else { return Ok(()) };
            let answer = match worker.answers.next() {
                Ok(None) => return Ok(()),
                Ok(Some(answer)) => answer,
                Err(said) => {
                    return Err(self.end(&format!(
                        "said \"{said}\" where only OK, DEFER and ERR are answers"
                    )));
                }
            };
            worker.since = Instant::now();
            if !worker.is_ready {
                worker.is_ready = answer == Answer::Ok;
                if !worker.is_ready {
                    return Err(self.end("is not ready: it did not begin with OK"));
                }
            } else if worker.stale > 0 {
                worker.stale -= 1;
            } else if worker.sent > 0 {
                worker.sent -= 1;
                self.answered(answer)?;
            } else {
                return Err(self.end("answered more often than it was asked"));
            }
        }
    }

    /// The first of the queue was answered.
    fn answered(&mut self, answer: Answer) -> Result<(), Trouble> {
        let Some(item) = self.queue.pop_front() else { return Ok(()) };
        match answer {
            Answer::Ok => {}
            Answer::Defer(why) => {
                let why = said(&why);
                let why = format!("{} puts {} off{why}", self.program, item.id);
                return Err(Trouble::ForNow(why));
            }
            Answer::Err(why) => self.set_aside(item.letter, &why)?,
        }
        self.answered += 1;
        self.done.push_back(item.name);
        Ok(())
    }

    fn set_aside(&mut self, letter: Option<Letter>, why: &str) -> Result<(), Trouble> {
        let Some(letter) = letter else { return Ok(()) };
        if self.set_aside >= SET_ASIDE_MAX {
            return Err(Trouble::ForGood(format!(
                "{} has refused {SET_ASIDE_MAX} entries since the start, the last one{}. \
                 Look at them with `tripline dead list`, put it right and start again",
                self.program,
                said(why)
            )));
        }
        self.set_aside += 1;
        let why = format!("{} answered ERR{}", self.program, said(why));
        self.letters.push(Letter { why, ..letter });
        Ok(())
    }

    /// Gives the program as much as it may have, and starts it if need be.
    fn give(&mut self, shared: &Arc<Shared>) -> Result<(), Trouble> {
        if self.worker.is_none() && !self.queue.is_empty() {
            self.worker = Some(self.start(shared)?);
        }
        let Some(worker) = &mut self.worker else { return Ok(()) };
        // What it owes for others comes first.
        if !worker.is_ready || worker.stale > 0 {
            return Ok(());
        }
        if worker.sent == 0 {
            worker.since = Instant::now();
        }
        let mut lines = Vec::new();
        let room = self.settings.window.saturating_sub(worker.sent);
        for item in self.queue.iter_mut().skip(worker.sent).take(room) {
            lines.append(&mut item.line);
            worker.sent += 1;
        }
        if !lines.is_empty() {
            worker.process.write(lines);
        }
        Ok(())
    }

    fn start(&mut self, shared: &Arc<Shared>) -> Result<Worker, Trouble> {
        if let Some(before) = self.ending.take()
            && before.wait(Instant::now()).is_none()
        {
            self.ending = Some(before);
            let why = format!("{} has been told to end, and has not yet", self.program);
            return Err(Trouble::ForNow(why));
        }
        let grace = self.settings.grace;
        let options = Options { grace, reads_output: true, ..Options::default() };
        let process = Process::start(&self.program, options).map(Arc::new);
        let started = process.and_then(|process| {
            let (theirs, shared) = (Arc::downgrade(&process), Arc::downgrade(shared));
            let longest = self.settings.acknowledge_timeout;
            // It ends with the process; nobody waits for it.
            let listen = move || {
                while let Some(process) = theirs.upgrade() {
                    process.wait_for_output(Instant::now() + longest);
                    if !hear_out(&process, &shared) {
                        return;
                    }
                }
            };
            Builder::new().name("answers".to_owned()).spawn(listen).map(|_| process)
        });
        let process = started.map_err(|error| {
            Trouble::ForNow(not_started(&self.program, &error).to_string())
        })?;
        Ok(Worker {
            process,
            answers: Answers::default(),
            is_ready: !self.settings.ready,
            sent: 0,
            stale: 0,
            since: Instant::now(),
        })
    }

    /// One that owes an answer for too long is ended.
    fn check_time(&mut self) -> Result<(), Trouble> {
        let Some(worker) = &self.worker else { return Ok(()) };
        let timeout = self.settings.acknowledge_timeout;
        if !worker.is_at_rest() && worker.since.elapsed() >= timeout {
            let why = format!("has not answered for {timeout:?}{}", self.open());
            return Err(self.end(&why));
        }
        Ok(())
    }

    /// Ends the program, which did this. That may take longer than a call may.
    fn end(&mut self, why: &str) -> Trouble {
        let mut why = format!("{} {why}: it is ended, and started again", self.program);
        if let Some(worker) = self.worker.take() {
            worker.process.end(self.settings.grace);
            match worker.process.wait(Instant::now() + self.settings.patience) {
                None => self.ending = Some(worker.process),
                Some(ended) if ended.errors.is_empty() => {}
                Some(ended) => why = format!("{why}; it said \"{}\"", ended.errors),
            }
        }
        Trouble::ForNow(why)
    }
}

impl Worker {
    /// It owes nothing.
    const fn is_at_rest(&self) -> bool {
        self.is_ready && self.sent + self.stale == 0
    }
}

/// Hears what a program has said, if it is still the one at the desk; returns
/// whether there is more to come.
fn hear_out(process: &Arc<Process>, shared: &Weak<Shared>) -> bool {
    let Some(shared) = shared.upgrade() else { return false };
    let mut desk = shared.lock();
    let is_at = |it: &Worker| Arc::ptr_eq(&it.process, process);
    if !desk.worker.as_ref().is_some_and(is_at) {
        return false;
    }
    desk.try_work(&shared);
    let is_there = desk.worker.as_ref().is_some_and(is_at);
    drop(desk);
    shared.moved.notify_all();
    is_there
}

fn name_of(entry: &Entry<'_>) -> Name {
    if entry.log.is_some_and(|log| log.is_preview) {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    (entry.source.as_str(), entry.log.map(|log| log.path)).hash(&mut hasher);
    (entry.place, entry.bytes).hash(&mut hasher);
    Some(hasher.finish())
}

/// What the program gave as a reason.
fn said(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": \"{why}\"") }
}
