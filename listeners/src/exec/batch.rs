//! A process for each batch.
//!
//! The lane hands the same entries over until they are taken; a program that
//! needs longer than a call may last goes on between two calls, and what it has
//! taken of a batch that goes to several processes is remembered until all of it
//! is. So nothing is settled that the program has not said yes to, and nothing
//! is under way when a flush comes.

use super::{OnFailure, not_started};
use crate::process::{Ended, How, Options, Process, Program};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::{
    Begin, Culprit, Cursor, Gap, ListenError, Listener, Place, Rejected, Secrets,
    SourceId, View, write_entry, write_gap,
};

/// How a batch is handed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// How many entries a process gets, and how many bytes of JSON; one entry at
    /// least.
    pub(super) entries_max: usize,
    pub(super) bytes_max: usize,
    pub(super) timeout: Duration,
    pub(super) grace: Duration,
    pub(super) on_failure: OnFailure,
    pub(super) patience: Duration,
}

/// Try again.
const EX_TEMPFAIL: i32 = 75;
/// The data will never do.
const EX_DATAERR: i32 = 65;
/// What is killed is gone by then, unless the system itself holds it.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// The listener.
pub(super) struct Batch {
    program: Program,
    secrets: Secrets,
    settings: Settings,
    /// What is under way, and at what.
    job: Option<(Part, Process, Instant)>,
    /// What of a batch was taken.
    taken: Option<Taken>,
}

/// What a process was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    entries: usize,
    /// Of its standard input.
    hash: u64,
}

/// In this batch all entries before this place were taken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taken {
    source: SourceId,
    log: Option<Arc<Path>>,
    start: Place,
    end: Place,
    until: Place,
}

/// What the end of a process means for what it was given.
enum Answer {
    Taken,
    Rejected(String),
}

impl Listener for Batch {
    /// Nothing of what was under way is asked for any more.
    fn begin(&mut self, _: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        self.taken = None;
        self.job = None;
        Ok(None)
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let until = Instant::now() + self.settings.patience;
        self.forget_others(entries);
        let taken = self.taken.as_ref().map(|taken| taken.until);
        let is_new = |place: Place| taken.is_none_or(|taken| place >= taken);
        let mut rest = entries.entries().filter(|entry| is_new(entry.place)).peekable();
        while rest.peek().is_some() {
            let mut input = Vec::new();
            let mut count = 0;
            let mut end = entries.batch().start;
            while count < self.settings.entries_max
                && let Some(entry) = rest.peek()
            {
                let before = input.len();
                write_entry(&mut input, entry, self.secrets);
                if count > 0 && input.len() > self.settings.bytes_max {
                    input.truncate(before);
                    break;
                }
                end = entry.end();
                count += 1;
                rest.next();
            }
            match self.hand_over(count, &input, until)? {
                Answer::Taken if rest.peek().is_some() => self.has_taken(entries, end),
                Answer::Taken => {}
                Answer::Rejected(why) => {
                    return Err(ListenError::Rejected(Rejected {
                        what: Culprit::OneOf,
                        why,
                    }));
                }
            }
        }
        Ok(())
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        let mut input = Vec::new();
        write_gap(&mut input, gap);
        let until = Instant::now() + self.settings.patience;
        // There is nothing to set aside: the gap is in the store.
        self.hand_over(1, &input, until).map(|_| ())
    }
}

impl Batch {
    pub(super) const fn new(
        program: Program,
        secrets: Secrets,
        settings: Settings,
    ) -> Self {
        Self { program, secrets, settings, job: None, taken: None }
    }

    /// What was taken of another batch does not matter any more. A line that is
    /// shown before it is whole comes again in a batch that looks alike.
    fn forget_others(&mut self, entries: &View<'_>) {
        let mut now = taken_of(entries, entries.batch().start);
        let is_preview = entries.batch().log.is_some_and(|log| log.is_preview);
        self.taken = self.taken.take().filter(|taken| {
            now.until = taken.until;
            !is_preview && *taken == now
        });
    }

    fn has_taken(&mut self, entries: &View<'_>, until: Place) {
        self.taken = Some(taken_of(entries, until));
    }

    /// Gives this to a process, unless that has been done, and waits for its end.
    fn hand_over(
        &mut self,
        entries: usize,
        input: &[u8],
        until: Instant,
    ) -> Result<Answer, ListenError> {
        let mut hasher = DefaultHasher::new();
        input.hash(&mut hasher);
        let part = Part { entries, hash: hasher.finish() };
        let job = self.job.take().filter(|(under_way, ..)| *under_way == part);
        let (process, began) = match job {
            Some((_, process, began)) => (process, began),
            None => (self.start(input)?, Instant::now()),
        };
        let Some(ended) = process.wait(until) else {
            let program = &self.program;
            self.job = Some((part, process, began));
            let time = self.settings.timeout + self.settings.grace + KILL_PATIENCE;
            if began.elapsed() > time {
                return Err(ListenError::Retry(format!(
                    "{program} was killed when its time was up, and does not end: look \
                     what its process waits for, such as a file system that does not answer"
                )));
            }
            let why = format!("{program} is still at work on {}", counted(entries));
            return Err(ListenError::Busy(why));
        };
        drop(process);
        self.answer(entries, &ended)
    }

    fn start(&self, input: &[u8]) -> Result<Process, ListenError> {
        let options = Options {
            timeout: Some(self.settings.timeout),
            grace: self.settings.grace,
            ..Options::default()
        };
        Process::start_on(&self.program, options, input)
            .map_err(|error| not_started(&self.program, &error))
    }

    fn answer(&self, entries: usize, ended: &Ended) -> Result<Answer, ListenError> {
        let why = format!("{} {ended}", self.program);
        let is_failure = match &ended.how {
            How::Exited(0) => return Ok(Answer::Taken),
            How::Exited(EX_DATAERR) => return Ok(Answer::Rejected(why)),
            How::Exited(code) => *code != EX_TEMPFAIL,
            How::TimedOut(_) => true,
            how => how.is_fault(),
        };
        match self.settings.on_failure {
            OnFailure::SetAside if is_failure => Ok(Answer::Rejected(why)),
            OnFailure::Stop if is_failure => Err(ListenError::Stop(format!(
                "{why}. It had {}, which come again: put it right and start again",
                counted(entries)
            ))),
            _ => Err(ListenError::Retry(why)),
        }
    }
}

fn taken_of(entries: &View<'_>, until: Place) -> Taken {
    let batch = entries.batch();
    Taken {
        source: batch.source.clone(),
        log: batch.log.map(|log| Arc::clone(log.path)),
        start: batch.start,
        end: batch.end.place,
        until,
    }
}

fn counted(entries: usize) -> String {
    match entries {
        1 => "1 entry".to_owned(),
        n => format!("{n} entries"),
    }
}

#[cfg(test)]
mod tests;
