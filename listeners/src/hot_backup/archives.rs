//! The lane that brings versioned files to the standby.
//!
//! The rows of `db.rev` and its like name them. A server writes the file first and
//! commits the row when it has it, so that a file whose row is committed is whole;
//! RCS files grow, and are brought again whenever another row names them. What
//! cannot be brought is written to the report `archives.missing` on the standby,
//! holds up nothing else, and is looked for again and again.

mod content;
mod missing;
mod queue;
mod rcs;
mod root;
mod send;
mod wanted;

pub(super) use content::{Content, Verdict};
pub(super) use root::Root;
pub(super) use wanted::{Form, Named, Revision, TABLES, Wanted};

use super::standby::{Folders, Standby};
use crate::ssh::{Failure, Kind, Settings};
use missing::{Missing, REPORT, REPORT_BYTES_MAX};
use p4journal::{Header, Op, Record, Step, Transactions};
use queue::{Job, Queue};
use root::Stamp;
use send::{Sending, Sent};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tripline_api::{
    Begin, Content as LetterContent, Culprit, Cursor, Entry, Flushed, Key, Letter,
    ListenError, Listener, ListenerId, Place, Rejected, SourceId, View,
};

/// No call takes much longer than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// So long a call works that is made to ask only.
const GLANCE: Duration = Duration::from_millis(100);
/// So many files wait; what one batch names may come on top.
const QUEUE_MAX: usize = 10_000;
/// So many rows wait for the end of their transactions; of more, and of those that
/// still wait at a flush, the file is brought before it is known that they are
/// committed.
const OPEN_ROWS_MAX: usize = 1_000_000;
/// Of so many files it is remembered how they looked when they were sent.
const SENT_MAX: usize = 100_000;
/// What is missing is looked for again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// So many are told one by one since the start; the report has all.
const LETTERS_MAX: usize = 100;
/// In so many folders names are made before those are synced.
const DIRTY_MAX: usize = 10_000;
const NO_ROOM: &str = "More are missing than archives.missing on the standby has room for: \
     is `root` the P4ROOT of this server, and are depots that are elsewhere in `depots`?";

/// The listener.
pub(super) struct Archives {
    settings: Settings,
    /// In front of the names on the standby.
    prefix: &'static str,
    listener: Option<ListenerId>,
    source: Option<SourceId>,
    root: Root,
    standby: Option<Standby>,
    folders: Folders,
    queue: Queue,
    sending: Option<Sending>,
    missing: Missing,
    /// How files looked when the standby got them.
    sent: HashMap<Vec<u8>, Stamp>,
    /// Rows since the last marker, and of processes that go on later.
    open: Vec<Row>,
    paused: BTreeMap<u64, Vec<Row>>,
    transactions: Transactions,
    sequence: Option<u64>,
    /// So much of the queue was put in before the flush that is under way.
    mark: Option<u64>,
    looked: Instant,
    letters: Vec<Letter>,
    told: usize,
}

/// What a row does once it is committed.
enum Row {
    /// It names a revision.
    Names(Wanted, Place),
    /// It names it no more.
    LetsGo { wanted: Wanted, is_purged: bool },
}

impl Archives {
    pub(super) fn new(
        settings: Settings,
        prefix: &'static str,
        root: Root,
        name: &str,
    ) -> Self {
        Self {
            settings,
            prefix,
            listener: ListenerId::new(name),
            source: None,
            root,
            standby: None,
            folders: Folders::default(),
            queue: Queue::default(),
            sending: None,
            missing: Missing::default(),
            sent: HashMap::new(),
            open: Vec::new(),
            paused: BTreeMap::new(),
            transactions: Transactions::new(),
            sequence: None,
            mark: None,
            looked: Instant::now(),
            letters: Vec::new(),
            told: 0,
        }
    }
}

impl Listener for Archives {
    fn begin(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        self.source = Some(begin.source.clone());
        self.open()?;
        // What a person has put there since is brought at once.
        self.go_on(Instant::now() + PATIENCE)?;
        Ok(None)
    }

    fn is_handled(&self, entry: &Entry<'_>) -> bool {
        match Op::of(entry.bytes) {
            Some(Op::Ex | Op::Mx | Op::Nx | Op::Dl) => true,
            Some(op) if op.is_put() || op.is_delete() => {
                let record = entry.record();
                let table = record.as_ref().and_then(Record::table);
                table.is_some_and(|table| TABLES.contains(&table))
            }
            _ => false,
        }
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let until = Instant::now() + PATIENCE;
        while self.queue.len() >= QUEUE_MAX && Instant::now() < until {
            self.go_on(until)?;
        }
        if self.queue.len() >= QUEUE_MAX {
            let standby = &self.settings.address;
            let why = format!("{} versioned files wait for {standby}", self.queue.len());
            return Err(ListenError::Retry(why));
        }
        for entry in entries.entries() {
            self.take(&entry);
        }
        self.go_on(Instant::now())
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        // What is settled does not come again, also where it is the start of a
        // transaction that was too long to be handed out in one piece.
        self.bring_early();
        self.mark = Some(self.queue.put);
        Ok(if self.is_flushed()? { Flushed::All } else { Flushed::Soon })
    }

    fn is_flushed(&mut self) -> Result<bool, ListenError> {
        self.go_on(Instant::now() + GLANCE)?;
        let Some(mark) = self.mark else { return Ok(true) };
        if self.queue.done < mark {
            return Ok(false);
        }
        self.settle()?;
        self.mark = None;
        Ok(true)
    }

    fn letters(&mut self) -> Vec<Letter> {
        std::mem::take(&mut self.letters)
    }

    fn deliver(&mut self, made: &[u8]) -> Result<(), ListenError> {
        let Some((wanted, _)) = missing::read(made) else {
            return Err(ListenError::Stop("this letter names no versioned file".into()));
        };
        self.open()?;
        let key = (wanted.path.clone(), wanted.revision.name.clone());
        let cut = self.missing.cut();
        self.queue.put(wanted, Place::default());
        self.go_on(Instant::now() + PATIENCE)?;
        if self.queue.done < self.queue.put {
            let why = "the standby has not got all of it yet".to_owned();
            return Err(ListenError::Retry(why));
        }
        let why = match self.missing.why(&key) {
            Some(why) => why.to_owned(),
            None if self.missing.cut() > cut => NO_ROOM.to_owned(),
            None => return Ok(()),
        };
        Err(ListenError::Rejected(Rejected { what: Culprit::All, why }))
    }

    fn no_data(&mut self, _: bool) -> Result<(), ListenError> {
        if self.looked.elapsed() >= LOOK_AGAIN {
            self.look_again();
        }
        self.go_on(Instant::now() + GLANCE)
    }
}

impl Archives {
    /// Connects, and learns what is missing.
    fn open(&mut self) -> Result<(), ListenError> {
        self.forget();
        if !self.root.path().is_dir() {
            return Err(ListenError::Stop(format!(
                "{} is no folder that can be read: `root` of `archives` is the P4ROOT \
                 of the server, below which its depots are",
                self.root.path().display()
            )));
        }
        let standby = self.connected()?;
        let report = standby.get(REPORT, REPORT_BYTES_MAX)?;
        self.missing = Missing::of_report(&report.unwrap_or_default());
        self.look_again();
        Ok(())
    }

    fn forget(&mut self) {
        (self.queue, self.missing) = (Queue::default(), Missing::default());
        (self.sending, self.mark, self.sequence) = (None, None, None);
        self.folders = Folders::default();
        self.sent.clear();
        self.abandon();
    }

    fn connected(&mut self) -> Result<&mut Standby, ListenError> {
        let until = Instant::now() + PATIENCE;
        let mut standby = match self.standby.take() {
            Some(standby) => standby,
            None => Standby::begin(&self.settings)?,
        };
        if standby.connect(until)? {
            return Ok(self.standby.insert(standby));
        }
        self.standby = Some(standby);
        Err(ListenError::Retry(format!("still connecting to {}", self.settings.address)))
    }

    /// Puts everything that is missing into the queue.
    pub(super) fn look_again(&mut self) {
        self.looked = Instant::now();
        for wanted in self.missing.wanted() {
            self.sent.remove(&wanted.path);
            self.queue.put(wanted, Place::default());
        }
    }

    fn take(&mut self, entry: &Entry<'_>) {
        let sequence = entry.place.sequence;
        if self.sequence.replace(sequence) != Some(sequence) {
            // What the journal before left open was never committed.
            self.abandon();
        }
        let Ok(record) = Record::parse(entry.bytes) else { return };
        if let Some(header) = Header::read(&record) {
            self.root.folds = Some(header.case_insensitive);
        }
        match record.op() {
            Op::Dl => {
                if let Named::File(gone) = Wanted::deleted(&record) {
                    self.queue.forget(&gone.path, &gone.revision.name);
                    self.missing.remove(&gone.path, &gone.revision.name);
                }
            }
            op if op.is_put() || op.is_delete() => match Wanted::let_go(&record) {
                Some(wanted) => {
                    self.row(Row::LetsGo { wanted, is_purged: op.is_put() });
                }
                None if op.is_put() => self.name(&record, entry.place),
                None => {}
            },
            _ => {}
        }
        match self.transactions.see(&record) {
            // Rows carry no process: the marker behind them does.
            Step::Paused(by) => {
                let rows = &mut self.open;
                self.paused.entry(by.pid).or_default().append(rows);
            }
            Step::Ended(by) => {
                let before = self.paused.remove(&by.pid).unwrap_or_default();
                let now = std::mem::take(&mut self.open);
                self.put(before.into_iter().chain(now));
            }
            Step::Abandoned { .. } => self.abandon(),
            Step::Inside => {}
        }
    }

    /// What a row names, once it is committed.
    pub(super) fn name(&mut self, record: &Record<'_>, place: Place) {
        match Wanted::of(record) {
            Named::File(wanted) => self.row(Row::Names(wanted, place)),
            Named::Nothing => {}
            Named::Odd(what) => self.tell(
                place,
                what.as_bytes(),
                "a row names it, and it can be no versioned file: it leads out of the \
                 archives. Find out who writes to the journal",
            ),
        }
    }

    fn row(&mut self, row: Row) {
        self.open.push(row);
        let paused: usize = self.paused.values().map(Vec::len).sum();
        if self.open.len() + paused > OPEN_ROWS_MAX {
            let rows = std::mem::take(&mut self.open);
            self.put(rows.into_iter());
        }
    }

    /// A checkpoint has only rows that are committed.
    pub(super) fn commit(&mut self) {
        let rows = std::mem::take(&mut self.open);
        self.put(rows.into_iter());
    }

    /// Brings what is not known to be committed.
    fn bring_early(&mut self) {
        for rows in std::mem::take(&mut self.paused).into_values() {
            self.put(rows.into_iter());
        }
        self.commit();
    }

    fn put(&mut self, rows: impl Iterator<Item = Row>) {
        for row in rows {
            match row {
                Row::Names(wanted, place) => self.queue.put(wanted, place),
                Row::LetsGo { wanted, is_purged } => {
                    let (path, name) = (&wanted.path, &wanted.revision.name);
                    self.missing.remove(path, name);
                    // A row that is taken away may have been put elsewhere: when a
                    // shelf is submitted, say.
                    if is_purged {
                        self.queue.purged(path, name);
                    }
                }
            }
        }
    }

    fn abandon(&mut self) {
        self.open.clear();
        self.paused.clear();
        self.transactions = Transactions::new();
    }

    /// Brings files, until there are no more or it is time to do something else.
    pub(super) fn go_on(&mut self, until: Instant) -> Result<(), ListenError> {
        loop {
            if self.sending.is_none() && self.queue.len() == 0 {
                self.stay_connected()?;
                return self.settle();
            }
            let went = self.step(until).map_err(|failure| self.failed(&failure));
            if !went? || Instant::now() >= until {
                return Ok(());
            }
        }
    }

    /// One step; `false` where the standby needs time.
    fn step(&mut self, until: Instant) -> Result<bool, Failure> {
        let Some(standby) = &mut self.standby else { return Err(not_connected()) };
        let (root, folders) = (&self.root, &mut self.folders);
        // A few at a time, so that the end of a seed is not all of the work.
        standby.sync_folders(folders, DIRTY_MAX)?;
        let sending = match &mut self.sending {
            Some(sending) => sending,
            none => {
                let Some(job) = self.queue.take() else { return Ok(true) };
                let is_sent = |sent: &Stamp| {
                    root.open(&job.path).is_ok_and(|found| found.stamp == *sent)
                };
                if job.revisions.is_empty()
                    || self.sent.get(&job.path).is_some_and(is_sent)
                {
                    self.queue.done += 1;
                    return Ok(true);
                }
                match Sending::begin(job, root, self.prefix, standby, folders)? {
                    Ok(sending) => none.insert(sending),
                    Err((job, why)) => {
                        self.not_brought(&job, &why);
                        return Ok(true);
                    }
                }
            }
        };
        let sent = sending.go_on(root, standby, folders, until)?;
        if matches!(sent, Sent::NotYet) {
            return Ok(false);
        }
        let Some(Sending { job, .. }) = self.sending.take() else { return Ok(true) };
        match sent {
            Sent::Done(stamp, verdicts) => self.brought(job, stamp, &verdicts),
            Sent::Not(why) => self.not_brought(&job, &why),
            Sent::NotYet => {}
        }
        Ok(true)
    }

    fn brought(&mut self, job: Job, stamp: Stamp, verdicts: &[Verdict]) {
        for (revision, verdict) in job.revisions.iter().zip(verdicts) {
            match verdict {
                Verdict::Same | Verdict::Unchecked => {
                    self.missing.remove(&job.path, &revision.name);
                }
                Verdict::Differs(why) => {
                    let why = format!("it was brought, but {why}");
                    self.lacks(&job, revision, &why);
                }
            }
        }
        if self.sent.len() >= SENT_MAX {
            self.sent.clear();
        }
        self.sent.insert(job.path, stamp);
        self.queue.done += 1;
    }

    fn not_brought(&mut self, job: &Job, why: &str) {
        for revision in &job.revisions {
            self.lacks(job, revision, why);
        }
        self.queue.done += 1;
    }

    fn lacks(&mut self, job: &Job, revision: &Revision, why: &str) {
        if job.purged.contains(&revision.name) {
            self.missing.remove(&job.path, &revision.name);
            return;
        }
        let cut = self.missing.cut();
        let is_new = self.missing.add(&job.path, job.form, revision, why);
        let is_first_cut = cut == 0 && self.missing.cut() > 0;
        if !is_new && !is_first_cut {
            return;
        }
        let made = missing::line(&job.path, job.form, revision, why);
        let file = String::from_utf8_lossy(&job.path);
        let name = String::from_utf8_lossy(&revision.name);
        let mut told = format!("{file} (revision {name}) is not on the standby: {why}");
        if is_first_cut {
            // It is told, however many were.
            self.told = 0;
            told += &format!(". {NO_ROOM}");
        }
        self.tell(job.place, made.to_string().as_bytes(), &told);
    }

    fn tell(&mut self, place: Place, made: &[u8], why: &str) {
        let (Some(source), Some(listener)) = (&self.source, &self.listener) else {
            return;
        };
        self.told += 1;
        if self.told > LETTERS_MAX {
            return;
        }
        let rest = match self.told {
            LETTERS_MAX => ". More are not told one by one: see archives.missing there",
            _ => "",
        };
        let key = Key { source: source.clone(), listener: listener.clone(), log: None };
        self.letters.push(Letter {
            key,
            place,
            entries: 1,
            content: LetterContent::Made(made.to_vec()),
            why: format!("{why}{rest}"),
            attempts: 1,
        });
    }

    /// Makes durable what was brought, and writes down what was not.
    pub(super) fn settle(&mut self) -> Result<(), ListenError> {
        let result = self.try_settle();
        result.map_err(|failure| self.failed(&failure))
    }

    fn try_settle(&mut self) -> Result<(), Failure> {
        let Some(standby) = &mut self.standby else { return Err(not_connected()) };
        standby.sync_folders(&mut self.folders, 0)?;
        if self.missing.has_changed {
            standby.put(REPORT, &self.missing.to_report())?;
            self.missing.has_changed = false;
        }
        Ok(())
    }

    fn stay_connected(&mut self) -> Result<(), ListenError> {
        let Some(standby) = &mut self.standby else { return Ok(()) };
        let turned = standby.sftp.turn(Instant::now());
        turned.map_err(|failure| self.failed(&failure))
    }

    /// The connection or a write failed: everything since the last flush comes
    /// again.
    fn failed(&mut self, failure: &Failure) -> ListenError {
        let mut why = failure.to_string();
        if matches!(failure.kind(), Kind::Refused(_))
            && let Some(bytes) = self.standby.as_mut().and_then(Standby::room)
        {
            why += &format!("; the standby's disk has {bytes} bytes free");
        }
        self.standby = None;
        self.forget();
        if failure.kind().stops() {
            ListenError::Stop(why)
        } else {
            ListenError::Lost(why)
        }
    }

    /// How many are missing, for people.
    pub(super) fn missing(&self) -> u64 {
        self.missing.len() as u64 + self.missing.cut()
    }

    /// Whether the server folds case, where that is known.
    pub(super) const fn fold(&mut self, folds: Option<bool>) {
        self.root.folds = folds;
    }

    /// Connects for a command.
    pub(super) fn open_for_command(&mut self) -> Result<(), ListenError> {
        self.open()
    }

    /// Whether all that was named is done with.
    pub(super) fn is_done(&self) -> bool {
        self.queue.done >= self.queue.put && self.sending.is_none()
    }

    pub(super) fn brought_so_far(&self) -> (u64, u64) {
        (self.queue.done, self.queue.put)
    }

    pub(super) const fn waits(&self) -> bool {
        self.queue.put - self.queue.done > QUEUE_MAX as u64
    }
}

fn not_connected() -> Failure {
    Failure::new(Kind::Broken, "the connection to the standby is gone")
}
