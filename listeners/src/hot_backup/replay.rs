//! The lane that has whole transactions applied on the standby.
//!
//! Records wait in memory until their transaction is closed; then they go, many
//! transactions together, to one run of the command. When it has ended with 0,
//! the place behind them is written to the file `applied` on the standby, which
//! says where to go on: so it stands beside the database that it is about.

use super::standby::Standby;
use crate::ssh::{Bounds, Exec, Exit, Failure, Settings};
use p4journal::{Op, Record, Transactions};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use tripline_api::{Begin, Cursor, Entry, Flushed, ListenError, Listener, Place, View};

/// No call takes much longer than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many bytes wait for a run of the command; one transaction may be longer.
const QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest transaction.
const TRANSACTION_BYTES_MAX: usize = 512 * 1024 * 1024;
/// What the command says: the end of it goes into a message.
const OUTPUT_BYTES_MAX: usize = 4 * 1024;
/// How much of the input waits in the connection.
const INPUT_BYTES_MAX: usize = 1024 * 1024;
/// The file with the place up to which everything is applied.
const APPLIED: &str = "applied";
const APPLIED_BYTES_MAX: u64 = 4096;

/// The listener.
pub(super) struct Replay {
    settings: Settings,
    argv: Vec<String>,
    exclude_tables: Vec<String>,
    standby: Option<Standby>,
    /// Records of transactions that are closed, and the place behind them.
    queue: Vec<u8>,
    queued_to: Option<Place>,
    /// Records of those that are not.
    open: Vec<u8>,
    transactions: Transactions,
    run: Option<Run>,
    /// Everything before it is applied, and what comes again is passed over.
    applied: Option<Place>,
    /// The journal that came last.
    sequence: Option<u64>,
    /// Everything listened to at the flush that is under way.
    mark: Option<Place>,
    /// The end of what was listened to.
    reached: Option<Place>,
}

/// One run of the command.
struct Run {
    exec: Exec,
    input: Vec<u8>,
    pushed: usize,
    to: Place,
}

impl Replay {
    pub(super) fn new(
        settings: Settings,
        argv: Vec<String>,
        exclude_tables: Vec<String>,
    ) -> Self {
        Self {
            settings,
            argv,
            exclude_tables,
            standby: None,
            queue: Vec::new(),
            queued_to: None,
            open: Vec::new(),
            transactions: Transactions::new(),
            run: None,
            applied: None,
            sequence: None,
            mark: None,
            reached: None,
        }
    }
}

impl Listener for Replay {
    fn begin(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        self.forget();
        let begun = self.applied_there();
        if begun.is_err() {
            self.standby = None;
        }
        let place = begin.cursor.map(|cursor| cursor.place);
        if begin.set_by_hand {
            // A person knows better than the file.
            return begun.map(|_| None);
        }
        match (begun?, place) {
            (Some(there), _) => {
                self.applied = Some(there);
                Ok(Some(Cursor::unproved(there)))
            }
            (None, Some(place)) if place > Place::start_of(place.era, place.sequence) => {
                Err(ListenError::Stop(format!(
                    "the standby {} does not say any more what is applied there: its \
                     file `{APPLIED}` is gone. Say with `tripline where CONFIG --set {} \
                     {} checkpoint:N` which checkpoint its database was made from",
                    self.settings.address, "LISTENER.replay", begin.source
                )))
            }
            (None, _) => Ok(None),
        }
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let until = Instant::now() + PATIENCE;
        // A run that failed is begun again before more is taken.
        while self.queue.len() >= QUEUE_BYTES_MAX && Instant::now() < until {
            self.go_on(until)?;
        }
        if self.queue.len() >= QUEUE_BYTES_MAX {
            return Err(ListenError::Retry(format!(
                "{} is busy on the standby",
                self.argv[0]
            )));
        }
        entries.entries().try_for_each(|entry| self.take(&entry))?;
        self.reached = Some(entries.batch().end.place);
        self.go_on(Instant::now())
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        self.mark = self.reached;
        Ok(if self.is_flushed()? { Flushed::All } else { Flushed::Soon })
    }

    fn is_flushed(&mut self) -> Result<bool, ListenError> {
        self.go_on(Instant::now())?;
        let Some(mark) = self.mark else { return Ok(true) };
        let is_empty =
            self.run.is_none() && self.queue.is_empty() && self.open.is_empty();
        let is_applied = is_empty || self.applied.is_some_and(|applied| applied >= mark);
        if is_applied {
            self.mark = None;
        }
        Ok(is_applied)
    }

    fn no_data(&mut self, _: bool) -> Result<(), ListenError> {
        self.go_on(Instant::now())
    }
}

impl Replay {
    fn forget(&mut self) {
        self.queue.clear();
        self.open.clear();
        self.transactions = Transactions::new();
        self.queued_to = None;
        (self.run, self.mark, self.reached, self.applied) = (None, None, None, None);
        self.sequence = None;
    }

    /// What the standby says is applied.
    fn applied_there(&mut self) -> Result<Option<Place>, ListenError> {
        let standby = self.connected()?;
        let Some(text) = standby.get(APPLIED, APPLIED_BYTES_MAX)? else {
            return Ok(None);
        };
        match serde_json::from_slice::<Applied>(&text) {
            Ok(applied) => Ok(Some(applied.place())),
            Err(error) => Err(ListenError::Stop(format!(
                "{} on the standby {} does not say what is applied: {error}. Say it with \
                 `tripline where CONFIG --set`, after removing that file",
                standby.path(APPLIED),
                standby.name
            ))),
        }
    }

    fn connected(&mut self) -> Result<&mut Standby, ListenError> {
        let until = Instant::now() + PATIENCE;
        let mut standby = match self.standby.take() {
            Some(standby) => standby,
            None => Standby::begin(&self.settings)?,
        };
        match standby.connect(until)? {
            true => Ok(self.standby.insert(standby)),
            false => {
                self.standby = Some(standby);
                let why = format!("still connecting to {}", self.settings.address);
                Err(ListenError::Retry(why))
            }
        }
    }

    fn take(&mut self, entry: &Entry<'_>) -> Result<(), ListenError> {
        let end = entry.end();
        if self.applied.is_some_and(|applied| end <= applied) {
            return Ok(());
        }
        if self.sequence.replace(entry.place.sequence) != Some(entry.place.sequence) {
            // What the journal before left open was never committed.
            self.open.clear();
            self.transactions = Transactions::new();
        }
        let marker = matches!(Op::of(entry.bytes), Some(Op::Ex | Op::Mx | Op::Nx));
        let record = if marker { Record::parse(entry.bytes).ok() } else { None };
        match &record {
            Some(record) => {
                if let p4journal::Step::Abandoned { .. } = self.transactions.see(record) {
                    self.open.clear();
                }
            }
            None => self.transactions.see_inside(),
        }
        if !self.is_excluded(entry) {
            if self.open.len() + entry.bytes.len() > TRANSACTION_BYTES_MAX {
                return Err(ListenError::Stop(format!(
                    "the transaction that is open at {} has more than \
                     {TRANSACTION_BYTES_MAX} bytes: replay that journal by hand, and set \
                     the cursor behind it",
                    entry.id()
                )));
            }
            self.open.extend_from_slice(entry.bytes);
        }
        if self.transactions.is_settled() {
            self.queue.append(&mut self.open);
            self.queued_to = Some(end);
        }
        Ok(())
    }

    fn is_excluded(&self, entry: &Entry<'_>) -> bool {
        if self.exclude_tables.is_empty() {
            return false;
        }
        let record = entry.record();
        let table = record.as_ref().and_then(Record::table);
        table.is_some_and(|table| self.exclude_tables.iter().any(|it| it == table))
    }

    /// Goes on with the run, or begins one.
    fn go_on(&mut self, until: Instant) -> Result<(), ListenError> {
        if self.run.is_none() {
            self.begin_run()?;
        }
        let Some(run) = &mut self.run else { return self.stay_connected() };
        match run.go_on(until) {
            Ok(None) => Ok(()),
            Ok(Some(Exit::Status(0))) => {
                let to = run.to;
                self.run = None;
                self.write_applied(to)
            }
            Ok(Some(exit)) => Err(self.failed(&exit)),
            Err(failure) => {
                self.run = None;
                Err(lost(failure))
            }
        }
    }

    fn begin_run(&mut self) -> Result<(), ListenError> {
        let Some(to) = self.queued_to.take() else { return Ok(()) };
        let input = std::mem::take(&mut self.queue);
        if input.is_empty() {
            // Everything in it was excluded.
            return self.write_applied(to);
        }
        let bounds = Bounds {
            input_bytes_max: INPUT_BYTES_MAX,
            output_bytes_max: OUTPUT_BYTES_MAX,
            time: None,
            stall: self.settings.answer_timeout,
        };
        let exec = self.settings.transport().and_then(|mut transport| {
            Exec::begin(&mut *transport, &self.argv, &self.settings, bounds)
        });
        match exec {
            Ok(exec) => {
                self.run = Some(Run { exec, input, pushed: 0, to });
                Ok(())
            }
            Err(failure) => Err(lost(failure)),
        }
    }

    /// Everything before the place is applied: says so on the standby.
    fn write_applied(&mut self, to: Place) -> Result<(), ListenError> {
        let text = serde_json::to_string(&Applied::of(to)).unwrap_or_default();
        let put = match self.connected() {
            Ok(standby) => standby.put(APPLIED, format!("{text}\n").as_bytes()),
            // What is done is done again.
            Err(ListenError::Retry(why)) => return Err(ListenError::Lost(why)),
            Err(error) => return Err(error),
        };
        if let Err(failure) = put {
            self.standby = None;
            return Err(lost(failure));
        }
        self.applied = Some(to);
        Ok(())
    }

    fn stay_connected(&mut self) -> Result<(), ListenError> {
        let Some(standby) = &mut self.standby else { return Ok(()) };
        if standby.sftp.turn(Instant::now()).is_err() {
            // It is called again when there is something to say.
            self.standby = None;
        }
        Ok(())
    }

    /// The command ended, and not well.
    fn failed(&mut self, exit: &Exit) -> ListenError {
        let said = self.run.take().map(|run| run.said()).unwrap_or_default();
        let how = match exit {
            Exit::Status(code) => format!("ended with {code}"),
            Exit::Signal(name) => format!("was ended by signal {name}"),
            Exit::Unknown => "ended, and nobody knows how".to_owned(),
        };
        let (program, standby) = (&self.argv[0], &self.settings.address);
        ListenError::Lost(format!("{program} on the standby {standby} {how}{said}"))
    }
}

impl Run {
    fn go_on(&mut self, until: Instant) -> Result<Option<Exit>, Failure> {
        if self.pushed < self.input.len() {
            self.pushed += self.exec.push(&self.input[self.pushed..], until)?;
        }
        if self.pushed == self.input.len() {
            self.exec.end_input();
        }
        self.exec.turn(until)
    }

    /// The end of what the command said.
    fn said(&self) -> String {
        let errors = self.exec.errors().shown();
        let said = if errors.is_empty() { self.exec.output().shown() } else { errors };
        if said.is_empty() { String::new() } else { format!(": {said}") }
    }
}

/// The file `applied`.
#[derive(Serialize, Deserialize)]
struct Applied {
    sequence: u64,
    offset: u64,
    line: u64,
    #[serde(default)]
    era: u64,
}

impl Applied {
    const fn of(place: Place) -> Self {
        let Place { era, sequence, offset, line } = place;
        Self { sequence, offset, line, era }
    }

    const fn place(&self) -> Place {
        let Self { era, sequence, offset, line } = *self;
        Place { era, sequence, offset, line }
    }
}

fn lost(failure: Failure) -> ListenError {
    match ListenError::from(failure) {
        ListenError::Retry(why) => ListenError::Lost(why),
        error => error,
    }
}
