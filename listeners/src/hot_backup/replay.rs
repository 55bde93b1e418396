//! The lane that has whole transactions applied on the standby.
//!
//! Records wait in memory until their transaction is closed; then they go, many
//! transactions together, to one run of the command. When it has ended with 0, the
//! place behind them stands in the file `applied` on the standby, which says where
//! to go on: so it stands beside the database that it is about.
//!
//! `replay/queue.rs` sorts records into transactions, `replay/run.rs` has them
//! applied, `replay/applied.rs` is that file.

mod applied;
mod link;
mod queue;
mod run;

pub(super) use applied::{APPLIED, APPLIED_BYTES_MAX, Applied};
pub(super) use queue::Queue;

use super::advice;
use super::case::Handling;
use super::standby::CURRENT;
use crate::ssh::Settings;
use applied::Seen;
use link::Link;
use p4journal::{Head, Header, Op, Record};
use run::Runner;
use std::time::{Duration, Instant};
use tripline_api::{
    Begin, Cursor, Entry, Flushed, Gap, ListenError, Listener, Place, View,
};

/// No call takes much longer than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much of a journal's start is read for its header.
const HEAD_BYTES: u64 = 64 * 1024;

/// The listener.
pub(super) struct Replay {
    /// Of the listener that it belongs to.
    name: String,
    link: Link,
    runner: Runner,
    queue: Queue,
    /// How the standby's database handles case.
    case: Handling,
    /// What stands in the file `applied`, where it is there.
    there: Option<Vec<u8>>,
    /// Up to where everything is applied.
    applied: Option<Place>,
    /// What comes again up to there was applied or is about to be: it is passed over,
    /// and must be what it was.
    passed: Option<Applied>,
    /// Some of it came.
    is_passing: bool,
    /// The first place that was to be applied, where nothing says so yet.
    first: Option<Place>,
    /// The end of what was listened to, and that at the flush that is under way.
    reached: Option<Place>,
    mark: Option<Place>,
}

impl Replay {
    pub(super) fn new(
        name: &str,
        settings: Settings,
        argv: Vec<String>,
        queue: Queue,
        case: Handling,
    ) -> Self {
        Self {
            name: name.to_owned(),
            link: Link::new(settings),
            runner: Runner::new(argv),
            queue,
            case,
            there: None,
            applied: None,
            passed: None,
            is_passing: false,
            first: None,
            reached: None,
            mark: None,
        }
    }
}

impl Listener for Replay {
    fn begin(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        self.queue.clear();
        (self.applied, self.passed, self.first) = (None, None, None);
        (self.reached, self.mark, self.is_passing) = (None, None, false);
        let Some(there) =
            self.link.ask(|standby| standby.get(APPLIED, APPLIED_BYTES_MAX))?
        else {
            return Err(self.connecting());
        };
        self.is_restored(there.as_deref())?;
        if !self.check_case()? {
            return Err(self.connecting());
        }
        // A person knows better than the file, and than what is under way.
        let of_run = there.as_deref().filter(|_| !begin.set_by_hand);
        let under_way =
            self.runner.begin(&mut self.link, of_run, self.queue.exclude_tables())?;
        let Some(under_way) = under_way else { return Err(self.connecting()) };
        self.there = there;
        if begin.set_by_hand {
            return Ok(None);
        }
        self.resume(begin, under_way)
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let until = Instant::now() + PATIENCE;
        // A run that failed is begun again before more is taken.
        while self.queue.is_full() && Instant::now() < until {
            self.go_on(until)?;
        }
        if self.queue.is_full() {
            let program = self.runner.program();
            return Err(ListenError::Busy(format!("{program} is busy on the standby")));
        }
        let mut last = None;
        for entry in entries.entries() {
            if self.is_new(&entry)? {
                self.check_header(&entry)?;
                self.first.get_or_insert(entry.place);
                self.queue.push(&entry)?;
                last = Some(entry);
            }
        }
        if last.is_some() {
            self.queue.end_batch(entries.batch().end, last.as_ref());
        }
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
        let is_all =
            self.runner.is_idle() && self.queue.is_empty() && self.queue.is_closed();
        let is_applied = is_all || self.applied.is_some_and(|applied| applied >= mark);
        if is_applied {
            self.mark = None;
        }
        Ok(is_applied)
    }

    fn gap_advice(&self, gap: &Gap) -> Option<String> {
        advice(&self.name, gap)
    }

    /// A run goes on without us, and what came of it is found at the next start.
    fn arrives_soon(&self) -> bool {
        false
    }

    fn no_data(&mut self, _: bool) -> Result<(), ListenError> {
        self.go_on(Instant::now())
    }
}

impl Replay {
    /// Nothing is applied to a database that was not made yet.
    fn is_restored(&self, there: Option<&[u8]>) -> Result<(), ListenError> {
        let applied = there.and_then(|text| Applied::read(text).ok());
        let waits = applied.and_then(|it| Some((it.place().sequence, it.restore?)));
        let Some((number, checkpoint)) = waits else { return Ok(()) };
        let address = &self.link.settings.address;
        Err(ListenError::Stop(format!(
            "{checkpoint} was brought to the standby {address} and is to be restored there \
             first: p4d -r ROOT -jr {}/{checkpoint}. Then say so: tripline backup seed \
             CONFIG {} --restored {number}",
            address.path, self.name
        )))
    }

    /// What the journal there says of case is looked at before anything is applied;
    /// `false` while it is being connected to.
    fn check_case(&mut self) -> Result<bool, ListenError> {
        if !self.case.is_stated() {
            return Ok(true);
        }
        let Some(head) = self.link.ask(|standby| standby.get(CURRENT, HEAD_BYTES))?
        else {
            return Ok(false);
        };
        if let Some(header) = Head::read(&head.unwrap_or_default()).header() {
            self.case.check(header, &self.link.settings.address)?;
        }
        Ok(true)
    }

    fn check_header(&self, entry: &Entry<'_>) -> Result<(), ListenError> {
        if !self.case.is_stated() || Op::of(entry.bytes) != Some(Op::Nx) {
            return Ok(());
        }
        let record = Record::parse(entry.bytes).ok();
        match record.as_ref().and_then(Header::read) {
            Some(header) => self.case.check(&header, &self.link.settings.address),
            None => Ok(()),
        }
    }

    /// Says where to begin, given what is applied and what is under way.
    fn resume(
        &mut self,
        begin: &Begin<'_>,
        under_way: Option<Applied>,
    ) -> Result<Option<Cursor>, ListenError> {
        let place = begin.cursor.map(|cursor| cursor.place);
        let Some(text) = &self.there else {
            return match place {
                Some(place) if place > Place::start_of(place.era, place.sequence) => {
                    Err(ListenError::Stop(format!(
                        "the standby {} does not say any more what is applied there: its \
                         file `{APPLIED}` is gone. {}",
                        self.link.settings.address,
                        self.set_it(begin)
                    )))
                }
                _ => Ok(None),
            };
        };
        let applied = Applied::read(text).map_err(|error| {
            ListenError::Stop(format!(
                "the file `{APPLIED}` on the standby {} does not say what is applied: \
                 {error}. Remove it. {}",
                self.link.settings.address,
                self.set_it(begin)
            ))
        })?;
        let there = applied.place();
        // The record that proves it comes once more.
        let since = applied.since();
        self.applied = Some(there);
        self.passed = under_way.or(Some(applied));
        match place {
            // It has a proof of its own there, or comes through there.
            Some(place) if place <= there => Ok(None),
            _ => Ok(Some(Cursor::unproved(since))),
        }
    }

    /// Whether an entry is neither applied nor about to be.
    fn is_new(&mut self, entry: &Entry<'_>) -> Result<bool, ListenError> {
        let Some(passed) = &self.passed else { return Ok(true) };
        match passed.see(entry) {
            Seen::Before => {
                self.is_passing = true;
                return Ok(false);
            }
            Seen::Proves => {
                (self.passed, self.is_passing) = (None, false);
                return Ok(false);
            }
            Seen::Behind if !self.is_passing => {
                self.passed = None;
                return Ok(true);
            }
            Seen::Behind | Seen::Differs => {}
        }
        let Place { sequence, offset, .. } = passed.place();
        Err(ListenError::Stop(format!(
            "what is applied at the standby {} up to journal {sequence} offset {offset} is \
             not what the source has there: the server was restored, perhaps. Make the \
             standby's database from a checkpoint, then say which with `tripline where \
             CONFIG --set {}.replay SOURCE checkpoint:N`",
            self.link.settings.address, self.name
        )))
    }

    /// Goes on with the run, or begins one.
    fn go_on(&mut self, until: Instant) -> Result<(), ListenError> {
        if let Some(applied) = self.runner.go_on(&mut self.link, until)? {
            self.is_applied_to(&applied);
        }
        if !self.runner.is_idle() || self.queue.is_empty() {
            self.link.stay();
            return Ok(());
        }
        if self.link.standby()?.is_none() {
            return Ok(());
        }
        let first = self.first.unwrap_or_default();
        let from = match self.there.clone() {
            Some(from) => from,
            // The database was made from a checkpoint, and that is where it begins.
            None => {
                let from = Applied::at(first).text();
                self.say_applied(&from)?;
                from
            }
        };
        let Some((input, to)) = self.queue.take() else { return Ok(()) };
        if input.is_empty() {
            // Everything in it was excluded.
            self.say_applied(&to.text())?;
            self.is_applied_to(&to);
            return Ok(());
        }
        self.runner.send(&mut self.link, from, input, to)
    }

    fn say_applied(&mut self, text: &[u8]) -> Result<(), ListenError> {
        let said = self.link.ask(|standby| {
            standby.make_home()?;
            standby.put(APPLIED, text)
        })?;
        match said {
            Some(()) => {
                self.there = Some(text.to_vec());
                Ok(())
            }
            None => Err(self.connecting()),
        }
    }

    fn is_applied_to(&mut self, applied: &Applied) {
        self.applied = Some(applied.place());
        self.there = Some(applied.text());
    }

    fn connecting(&self) -> ListenError {
        ListenError::Busy(format!("still connecting to {}", self.link.settings.address))
    }

    fn set_it(&self, begin: &Begin<'_>) -> String {
        format!(
            "Say with `tripline where CONFIG --set {}.replay {} checkpoint:N` which \
             checkpoint its database was made from",
            self.name, begin.source
        )
    }
}
