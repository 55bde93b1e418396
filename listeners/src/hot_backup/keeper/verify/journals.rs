//! The journals: each copy with the source's or with its checksum, and what they
//! do to the rows.

use super::rows::{Rows, Shift};
use super::there::There;
use super::{JOURNAL, LEADS_OUT, Verify};
use crate::hot_backup::standby::CURRENT;
use p4journal::{Reader, Record, Step as Stage, Transactions};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;
use tripline_api::{Again, Cursor, ListenError, Place, Settled, Step, Verifying};

/// So often a source is asked that finds out what it has.
const ASKED_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// So many rows wait for the end of their transactions; more are applied before.
const OPEN_ROWS_MAX: usize = 1_000_000;

/// Rows of transactions that are not ended.
#[derive(Default)]
struct Open {
    current: Vec<Shift>,
    paused: BTreeMap<u64, Vec<Shift>>,
    transactions: Transactions,
}

/// One journal of the source, as it passes by.
struct Passing {
    sequence: u64,
    hash: Sha256,
    bytes: u64,
}

impl Verify<'_, '_> {
    pub(super) fn journals(
        &mut self,
        there: &mut There,
        names: &[String],
        verifying: &Verifying<'_>,
        rows: &mut Rows,
        from: u64,
    ) -> Result<(), ListenError> {
        let sums = match verifying.local {
            None => self.follow(verifying, rows, from)?,
            Some(_) => {
                self.read_here(there, names, rows, from)?;
                BTreeMap::new()
            }
        };
        rows.save()?;
        for name in names {
            let digits = name.strip_prefix("journal.").unwrap_or_default();
            let number = digits
                .parse()
                .ok()
                .filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
            if let Some(number) = number {
                self.finished(there, name, sums.get(&number))?;
            }
        }
        if let Some((sequence, live)) = sums.last_key_value() {
            let is_there = names.iter().any(|name| name == CURRENT);
            let is_finished = names.contains(&format!("{CURRENT}.{sequence}"));
            match (is_there, is_finished) {
                (true, _) => self.current(there, *sequence, live)?,
                (false, true) => {}
                (false, false) => self.missing(
                    JOURNAL,
                    CURRENT.to_owned(),
                    format!("journal {sequence} of the source is not there"),
                ),
            }
        }
        for sequence in sums.keys().rev().skip(1) {
            let name = format!("{CURRENT}.{sequence}");
            if *sequence > 0 && !names.contains(&name) {
                let why = format!("journal {sequence} of the source is not there");
                self.missing(JOURNAL, name, why);
            }
        }
        Ok(())
    }

    /// A copy that is finished.
    fn finished(
        &mut self,
        there: &mut There,
        name: &str,
        source: Option<&Sum>,
    ) -> Result<(), ListenError> {
        let Some(found) = self.sum(there, name)? else { return Ok(()) };
        let stated = there.checksum(name)?;
        if source.is_some_and(|source| source.hex != found) {
            self.wrong(JOURNAL, name.to_owned(), "it is not what the source has".into());
        } else if stated.as_ref().is_some_and(|stated| *stated != found) {
            let why = format!("it is not what {name}.sha256 says");
            self.wrong(JOURNAL, name.to_owned(), why);
        } else if source.is_none() && stated.is_none() {
            self.kind(JOURNAL).unchecked += 1;
        } else {
            self.kind(JOURNAL).same += 1;
        }
        Ok(())
    }

    /// The copy that grows: what is there must be how the source's begins.
    fn current(
        &mut self,
        there: &mut There,
        sequence: u64,
        live: &Sum,
    ) -> Result<(), ListenError> {
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        there.read(CURRENT.as_bytes(), &mut |chunk| {
            // What came since the source was read is not looked at.
            let room = usize::try_from(live.bytes - bytes).unwrap_or(usize::MAX);
            let chunk = &chunk[..chunk.len().min(room)];
            hash.update(chunk);
            bytes += chunk.len() as u64;
        })?;
        let name = CURRENT.to_owned();
        if bytes < live.bytes {
            let why = format!(
                "it has {bytes} bytes of journal {sequence}, and the source {}: the \
                 listener is behind, or it is another journal",
                live.bytes
            );
            self.wrong(JOURNAL, name, why);
        } else if crate::checkpoint::hex(&hash.finalize()) == live.hex {
            self.kind(JOURNAL).same += 1;
        } else {
            let why = format!("it is not how journal {sequence} of the source begins");
            self.wrong(JOURNAL, name, why);
        }
        Ok(())
    }

    /// Reads all journals of the source from one on.
    fn follow(
        &mut self,
        verifying: &Verifying<'_>,
        rows: &mut Rows,
        from: u64,
    ) -> Result<BTreeMap<u64, Sum>, ListenError> {
        let start = Cursor::unproved(Place::start_of(0, from));
        let mut reader = verifying.source.open(&Settled::from([(None, start)]));
        let (mut sums, mut open) = (BTreeMap::new(), Open::default());
        let mut passing: Option<Passing> = None;
        let mut asked = 0;
        loop {
            let step =
                reader.next().map_err(|error| ListenError::Retry(error.to_string()))?;
            match step {
                Step::Batch(batch) => {
                    asked = 0;
                    let sequence = batch.start.sequence;
                    if passing.as_ref().is_none_or(|it| it.sequence != sequence) {
                        open = Open::default();
                        sums.extend(passing.take().map(Passing::end));
                    }
                    let passing = passing.get_or_insert_with(|| Passing {
                        sequence,
                        hash: Sha256::new(),
                        bytes: 0,
                    });
                    passing.hash.update(batch.bytes);
                    passing.bytes += batch.bytes.len() as u64;
                    for entry in batch.entries() {
                        let Ok(record) = Record::parse(entry.bytes) else { continue };
                        self.apply(&mut open, &record, rows)?;
                    }
                }
                Step::Gap(gap) => {
                    self.missing(JOURNAL, gap.source.to_string(), gap.why);
                    open = Open::default();
                    passing = None;
                }
                Step::Notice(text) => self.say(&text),
                Step::Begins(..) | Step::Gone(_) => {}
                Step::Idle(idle) => {
                    asked += 1;
                    let goes_on = match idle.again {
                        Again::Now => true,
                        Again::Soon => asked < ASKED_MAX,
                        Again::At(_) | Again::Later => false,
                    };
                    if !goes_on {
                        if let Some(what) = idle.waiting_for.filter(|_| idle.is_trouble) {
                            self.missing(JOURNAL, CURRENT.to_owned(), what);
                        }
                        break;
                    }
                    if idle.again == Again::Soon {
                        std::thread::park_timeout(PAUSE);
                    }
                }
            }
        }
        sums.extend(passing.map(Passing::end));
        Ok(sums)
    }

    /// Reads the copies of journals on this machine.
    fn read_here(
        &mut self,
        there: &There,
        names: &[String],
        rows: &mut Rows,
        from: u64,
    ) -> Result<(), ListenError> {
        let There::Here(folder) = there else { return Ok(()) };
        let number = |name: &String| name.strip_prefix("journal.")?.parse::<u64>().ok();
        let mut numbers: Vec<_> =
            names.iter().filter_map(number).filter(|it| *it >= from).collect();
        numbers.sort_unstable();
        let finished = numbers.iter().map(|number| format!("{CURRENT}.{number}"));
        let current = names.iter().filter(|name| *name == CURRENT).cloned();
        for name in finished.chain(current) {
            let path = folder.join(&name);
            let file = crate::checkpoint::open(&path).map_err(|error| {
                ListenError::io(format!("cannot read {}", path.display()), &error)
            })?;
            let mut reader = Reader::new(file);
            let mut open = Open::default();
            loop {
                let entry = reader.next().map_err(|error| {
                    ListenError::Stop(format!("cannot read {}: {error}", path.display()))
                })?;
                let Some(entry) = entry else { break };
                let Ok(record) = entry.record() else { continue };
                self.apply(&mut open, &record, rows)?;
            }
        }
        Ok(())
    }

    /// A record does what it does when it is committed.
    fn apply(
        &mut self,
        open: &mut Open,
        record: &Record<'_>,
        rows: &mut Rows,
    ) -> Result<(), ListenError> {
        match Shift::of(record, rows.folds()) {
            Some(Ok(shift)) => open.current.push(shift),
            Some(Err(odd)) => self.wrong("row", odd, LEADS_OUT.to_owned()),
            None => {}
        }
        let now = match open.transactions.see(record) {
            Stage::Paused(by) => {
                let part = &mut open.current;
                open.paused.entry(by.pid).or_default().append(part);
                Vec::new()
            }
            Stage::Ended(by) => {
                let mut all = open.paused.remove(&by.pid).unwrap_or_default();
                all.append(&mut open.current);
                all
            }
            Stage::Abandoned { .. } => {
                *open = Open::default();
                Vec::new()
            }
            Stage::Inside if open.current.len() > OPEN_ROWS_MAX => {
                std::mem::take(&mut open.current)
            }
            Stage::Inside => Vec::new(),
        };
        now.iter().try_for_each(|shift| rows.apply(shift))
    }
}

/// What a journal of the source is.
struct Sum {
    hex: String,
    bytes: u64,
}

impl Passing {
    fn end(self) -> (u64, Sum) {
        let hex = crate::checkpoint::hex(&self.hash.finalize());
        (self.sequence, Sum { hex, bytes: self.bytes })
    }
}
