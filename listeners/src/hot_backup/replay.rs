//! The lane that has whole transactions applied on the standby.
//!
//! Records wait in memory until their transaction is closed; then they go, many
//! transactions together, to one run of the command. When it has ended with 0,
//! the place behind them is written to the file `applied` on the standby, which
//! says where to go on: so it stands beside the database that it is about.

use super::advice;
use super::case::Handling;
use super::standby::{CURRENT, Standby};
use crate::ssh::{Bounds, Exec, Exit, Failure, Settings};
use p4journal::{Head, Header, Op, Record, Step, Transactions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tripline_api::{
    Begin, Cursor, Entry, Flushed, Gap, ListenError, Listener, Place, View,
};

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
/// How long a command may take no input.
const STALL_MAX: Duration = Duration::from_secs(24 * 3600);
/// The file with the place up to which everything is applied.
pub(super) const APPLIED: &str = "applied";
pub(super) const APPLIED_BYTES_MAX: u64 = 4096;
/// How much of a journal's start is read for its header.
const HEAD_BYTES: u64 = 64 * 1024;

/// The listener.
pub(super) struct Replay {
    /// Of the listener that it belongs to.
    name: String,
    settings: Settings,
    argv: Vec<String>,
    exclude_tables: Vec<String>,
    /// How the standby's database handles case.
    case: Handling,
    standby: Option<Standby>,
    /// Records of transactions that are closed, and the place behind them.
    queue: Vec<u8>,
    queued_to: Option<Place>,
    /// Records since the last marker, and of processes that go on later.
    open: Vec<u8>,
    paused: BTreeMap<u64, Vec<u8>>,
    transactions: Transactions,
    run: Option<Run>,
    /// The end of a run that ended well, which the standby may not know yet.
    done: Option<Place>,
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
        name: &str,
        settings: Settings,
        argv: Vec<String>,
        exclude_tables: Vec<String>,
        case: Handling,
    ) -> Self {
        Self {
            name: name.to_owned(),
            settings,
            argv,
            exclude_tables,
            case,
            standby: None,
            queue: Vec::new(),
            queued_to: None,
            open: Vec::new(),
            paused: BTreeMap::new(),
            transactions: Transactions::new(),
            run: None,
            done: None,
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
        let begun = self.applied_there().and_then(|applied| {
            self.check_case()?;
            Ok(applied)
        });
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
                    self.settings.address,
                    format_args!("{}.replay", self.name),
                    begin.source
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

    fn gap_advice(&self, gap: &Gap) -> Option<String> {
        advice(&self.name, gap)
    }

    fn no_data(&mut self, _: bool) -> Result<(), ListenError> {
        self.go_on(Instant::now())
    }
}

impl Replay {
    fn forget(&mut self) {
        self.queue.clear();
        self.abandon();
        self.queued_to = None;
        (self.run, self.mark, self.reached, self.applied) = (None, None, None, None);
        self.sequence = None;
    }

    /// What the standby says is applied.
    fn applied_there(&mut self) -> Result<Option<Place>, ListenError> {
        self.connected()?;
        if let Some(done) = self.done {
            self.write_applied(done)?;
        }
        let name = self.name.clone();
        let standby = self.connected()?;
        let Some(text) = standby.get(APPLIED, APPLIED_BYTES_MAX)? else {
            return Ok(None);
        };
        match serde_json::from_slice::<Applied>(&text) {
            Ok(Applied { restore: Some(checkpoint), .. }) => {
                Err(ListenError::Stop(format!(
                    "{checkpoint} was brought to the standby {} and is to be restored \
                     there first: p4d -r ROOT -jr {}. Then say so: tripline backup seed \
                     CONFIG {name} --restored",
                    standby.name,
                    standby.path(&checkpoint)
                )))
            }
            Ok(applied) => Ok(Some(applied.place())),
            Err(error) => Err(ListenError::Stop(format!(
                "{} on the standby {} does not say what is applied: {error}. Say it with \
                 `tripline where CONFIG --set`, after removing that file",
                standby.path(APPLIED),
                standby.name
            ))),
        }
    }

    /// What the journal there says of case is looked at before anything is applied.
    fn check_case(&mut self) -> Result<(), ListenError> {
        if !self.case.is_stated() {
            return Ok(());
        }
        let head = self.connected()?.get(CURRENT, HEAD_BYTES)?.unwrap_or_default();
        match Head::read(&head).header() {
            Some(header) => self.case.check(header, &self.settings.address),
            None => Ok(()),
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
            self.abandon();
        }
        let marker = matches!(Op::of(entry.bytes), Some(Op::Ex | Op::Mx | Op::Nx));
        let record = if marker { Record::parse(entry.bytes).ok() } else { None };
        if let Some(header) = record.as_ref().and_then(Header::read) {
            self.case.check(&header, &self.settings.address)?;
        }
        let step = record.as_ref().map(|record| self.transactions.see(record));
        if step.is_none() {
            self.transactions.see_inside();
        }
        if let Some(Step::Abandoned { .. }) = step {
            (self.open, self.paused) = (Vec::new(), BTreeMap::new());
        }
        if !self.is_excluded(entry) {
            let held: usize = self.paused.values().map(Vec::len).sum();
            if held + self.open.len() + entry.bytes.len() > TRANSACTION_BYTES_MAX {
                return Err(ListenError::Stop(format!(
                    "the transactions that are open at {} have more than \
                     {TRANSACTION_BYTES_MAX} bytes: replay that journal by hand, and set \
                     the cursor behind it",
                    entry.id()
                )));
            }
            self.open.extend_from_slice(entry.bytes);
        }
        match step {
            // Records carry no process: the marker behind them does.
            Some(Step::Paused(by)) => {
                self.paused.entry(by.pid).or_default().append(&mut self.open);
            }
            Some(Step::Ended(by)) => {
                let mut before = self.paused.remove(&by.pid).unwrap_or_default();
                self.queue.append(&mut before);
                self.queue.append(&mut self.open);
            }
            _ => {}
        }
        if self.transactions.is_settled() {
            self.queue.append(&mut self.open);
            self.queued_to = Some(end);
        }
        Ok(())
    }

    /// What is open will never be closed.
    fn abandon(&mut self) {
        self.open.clear();
        self.paused.clear();
        self.transactions = Transactions::new();
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
        self.stay_connected()?;
        let Some(run) = &mut self.run else { return Ok(()) };
        match run.go_on(until) {
            Ok(None) => Ok(()),
            Ok(Some(Exit::Status(0))) if run.has_read_all() => {
                let to = run.to;
                self.run = None;
                // Should the connection fail now, it is written by the next one.
                self.done = Some(to);
                self.write_applied(to)
            }
            Ok(Some(Exit::Status(0))) => {
                let program = &self.argv[0];
                self.run = None;
                Err(ListenError::Lost(format!(
                    "{program} ended well, and did not read all of its input: nothing of \
                     it counts as applied"
                )))
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
            // A database may be locked for hours; that the connection lives is seen by
            // SSH itself.
            stall: STALL_MAX,
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
        (self.applied, self.done) = (Some(to), None);
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

    /// Whether everything was sent, as far as that can be told.
    const fn has_read_all(&self) -> bool {
        self.pushed == self.input.len() && self.exec.waiting() == 0
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
pub(super) struct Applied {
    sequence: u64,
    offset: u64,
    line: u64,
    #[serde(default)]
    era: u64,
    /// The checkpoint that a person has to restore before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) restore: Option<String>,
}

impl Applied {
    /// Before anything is, a person restores this checkpoint.
    pub(super) fn after(checkpoint: String, place: Place) -> Self {
        Self { restore: Some(checkpoint), ..Self::of(place) }
    }

    pub(super) const fn of(place: Place) -> Self {
        let Place { era, sequence, offset, line } = place;
        Self { sequence, offset, line, era, restore: None }
    }

    pub(super) const fn place(&self) -> Place {
        let Self { era, sequence, offset, line, .. } = *self;
        Place { era, sequence, offset, line }
    }
}

fn lost(failure: Failure) -> ListenError {
    match ListenError::from(failure) {
        ListenError::Retry(why) => ListenError::Lost(why),
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::Address;
    use crate::testing::Feed;

    /// What is queued of these journals, and up to where.
    fn queued(journals: &[&[u8]]) -> (String, Option<Place>) {
        let address = Address::try_from("ssh://a@b/c".to_owned()).unwrap();
        let argv = vec!["apply".to_owned()];
        let mut replay = Replay::new(
            "standby",
            Settings::new(address),
            argv,
            Vec::new(),
            Handling::UNKNOWN,
        );
        let mut feed = Feed::new("p4");
        for (index, bytes) in journals.iter().enumerate() {
            feed = feed.journal(index as u64 + 1, bytes);
        }
        for batch in feed.batches(None, usize::MAX) {
            batch.view().entries().for_each(|entry| replay.take(&entry).unwrap());
        }
        (String::from_utf8(replay.queue).unwrap(), replay.queued_to)
    }

    #[test]
    fn what_one_process_commits_does_not_wait_for_another_nor_go_with_it() {
        let journal = b"@pv@ 0 @db.x@ 1 \n@mx@ 7 1\n@pv@ 0 @db.x@ 2 \n@ex@ 8 2\n\
            @nx@ 7 99 @58@ 0 0 0 0 0 @1666@ @/p4@ @@ @@ @@ \n@pv@ 0 @db.x@ 3 \n@ex@ 9 3\n";
        let (queue, to) = queued(&[journal]);
        assert!(queue.contains("@db.x@ 2 \n@ex@ 8 2\n"), "{queue}");
        assert!(queue.ends_with("@db.x@ 3 \n@ex@ 9 3\n"), "{queue}");
        assert!(!queue.contains("@db.x@ 1"), "it was never committed: {queue}");
        assert_eq!(to.map(|place| place.offset), Some(journal.len() as u64));
    }

    #[test]
    fn what_goes_on_later_is_committed_in_one_piece() {
        let journal = b"@pv@ 0 @db.x@ 1 \n@mx@ 7 1\n@pv@ 0 @db.x@ 2 \n@ex@ 8 2\n\
            @pv@ 0 @db.x@ 3 \n@ex@ 7 3\n@pv@ 0 @db.x@ 4 \n";
        let (queue, to) = queued(&[journal]);
        let order: Vec<_> = queue.lines().filter(|line| line.contains("db.x")).collect();
        assert_eq!(order, ["@pv@ 0 @db.x@ 2 ", "@pv@ 0 @db.x@ 1 ", "@pv@ 0 @db.x@ 3 "]);
        let open = b"@pv@ 0 @db.x@ 4 \n".len() as u64;
        assert_eq!(to.map(|place| place.offset), Some(journal.len() as u64 - open));
    }

    #[test]
    fn what_a_journal_left_open_is_not_committed_by_the_next() {
        let (queue, _) =
            queued(&[b"@pv@ 0 @db.x@ 1 \n", b"@pv@ 0 @db.x@ 2 \n@ex@ 8 2\n"]);
        assert_eq!(queue, "@pv@ 0 @db.x@ 2 \n@ex@ 8 2\n");
    }
}
