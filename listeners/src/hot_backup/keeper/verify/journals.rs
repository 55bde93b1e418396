//! The journals: each copy with the source's or with its checksum, and what they
//! do to the rows.

use super::rows::{Rows, Shift};
use super::there::There;
use super::{CHECKPOINT, JOURNAL, LEADS_OUT, Verify};
use crate::checkpoint;
use crate::hot_backup::standby::CURRENT;
use p4journal::{Head, Reader, Record, Step as Stage, Transactions};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;
use tripline_api::{Again, Cursor, ListenError, Place, Settled, Step, Verifying};

/// So often a source is asked that finds out what it has.
const ASKED_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// So many rows wait for the end of their transactions; more are applied before.
const OPEN_ROWS_MAX: usize = 1_000_000;
/// How much of a journal's start is read to tell its number.
const HEAD_BYTES: u64 = 64 * 1024;

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
        let (sums, newest) = match there {
            There::Over(_) => {
                let sums = self.follow(verifying, rows, from)?;
                let newest = sums.last_key_value().map(|(sequence, _)| *sequence);
                (sums, newest)
            }
            There::Here(folder) => {
                let newest = self.read_here(folder, names, rows, from)?;
                (BTreeMap::new(), newest)
            }
        };
        rows.save()?;
        self.beginning(names, newest);
        self.without_file(names, newest);
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

    /// Journals alone are no backup: a checkpoint is restored before them, and none
    /// behind it may be missing.
    fn beginning(&mut self, names: &[String], newest: Option<u64>) {
        let Some(newest) = newest.or_else(|| names.iter().filter_map(number_of).max())
        else {
            return;
        };
        let lowest = lowest_of(names, newest);
        if !self.needs_checkpoint || is_beginning(names, lowest..=newest) {
            return;
        }
        let why = format!(
            "no checkpoint is there behind which all journals up to {newest} are, which \
             begin with {lowest}: they cannot be used. `tripline backup seed` brings one"
        );
        self.missing(CHECKPOINT, "checkpoint".to_owned(), why);
    }

    /// A checksum says that its file was there.
    fn without_file(&mut self, names: &[String], newest: Option<u64>) {
        for name in names {
            let Some(file) = name.strip_suffix(".sha256") else { continue };
            let number = number_of(file);
            let kind = match (number, checkpoint::number_in(file)) {
                (Some(_), _) => JOURNAL,
                (None, Some(_)) => CHECKPOINT,
                (None, None) => continue,
            };
            // It is written before the journal that grows gets its number.
            let is_next = number.is_some() && number == newest && has(names, CURRENT);
            if !has(names, file) && !is_next {
                let why = format!("{name} is there, and the file is not");
                self.missing(kind, file.to_owned(), why);
            }
        }
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
        } else if checkpoint::hex(&hash.finalize()) == live.hex {
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

    /// Reads the copies of journals on this machine, all from the checkpoint's on;
    /// the number of the newest.
    fn read_here(
        &mut self,
        folder: &Path,
        names: &[String],
        rows: &mut Rows,
        from: u64,
    ) -> Result<Option<u64>, ListenError> {
        let mut numbers: Vec<_> =
            names.iter().filter_map(number_of).filter(|it| *it >= from).collect();
        numbers.sort_unstable();
        let mut next = from;
        for number in &numbers {
            self.not_there(next, *number);
            self.read_one(&folder.join(format!("{CURRENT}.{number}")), *number, rows)?;
            next = number.saturating_add(1);
        }
        if has(names, CURRENT) {
            let path = folder.join(CURRENT);
            let number = number_inside(&path)?.unwrap_or(next);
            self.not_there(next, number);
            self.read_one(&path, number.max(next), rows)?;
            return Ok(Some(number.max(next)));
        }
        match numbers.last() {
            None => self.not_there(from, from.saturating_add(1)),
            Some(last) => self.say(&format!(
                "there is no `{CURRENT}` behind {CURRENT}.{last}: whether the server wrote \
                 more cannot be known here"
            )),
        }
        Ok(numbers.last().copied())
    }

    /// Journals from one on, up to before another, are missing.
    fn not_there(&mut self, from: u64, until: u64) {
        let why = match until.saturating_sub(from) {
            0 => return,
            1 => "it is not there".to_owned(),
            _ => format!("neither it nor those behind it up to {} are there", until - 1),
        };
        self.missing(JOURNAL, format!("{CURRENT}.{from}"), why);
    }

    fn read_one(
        &mut self,
        path: &Path,
        number: u64,
        rows: &mut Rows,
    ) -> Result<(), ListenError> {
        if let Some(inside) = number_inside(path)?.filter(|inside| *inside != number) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let why = format!("it is journal {inside}, and should be {number}");
            self.wrong(JOURNAL, name.into_owned(), why);
        }
        let file = checkpoint::open(path).map_err(|error| {
            ListenError::io(format!("cannot read {}", path.display()), &error)
        })?;
        let mut reader = Reader::new(file);
        let mut open = Open::default();
        loop {
            let entry = reader.next().map_err(|error| {
                ListenError::Stop(format!("cannot read {}: {error}", path.display()))
            })?;
            let Some(entry) = entry else { return Ok(()) };
            let Ok(record) = entry.record() else { continue };
            self.apply(&mut open, &record, rows)?;
        }
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
        let hex = checkpoint::hex(&self.hash.finalize());
        (self.sequence, Sum { hex, bytes: self.bytes })
    }
}

/// The number of a finished journal, by its name.
fn number_of(name: impl AsRef<str>) -> Option<u64> {
    let name = name.as_ref();
    let number = name.strip_prefix("journal.")?.parse().ok()?;
    (name == format!("{CURRENT}.{number}")).then_some(number)
}

/// Whether a name is among them; they are sorted.
fn has(names: &[String], name: &str) -> bool {
    names.binary_search_by(|it| it.as_str().cmp(name)).is_ok()
}

/// The journal with which those begin that lead to the newest without a hole.
fn lowest_of(names: &[String], newest: u64) -> u64 {
    let mut lowest = newest;
    while let Some(before) = lowest.checked_sub(1)
        && has(names, &format!("{CURRENT}.{before}"))
    {
        lowest = before;
    }
    lowest
}

/// Whether a database can be made before these journals: from a checkpoint, or from
/// nothing before a server's first journal.
fn is_beginning(names: &[String], journals: RangeInclusive<u64>) -> bool {
    *journals.start() == 0
        || names
            .iter()
            .filter_map(|name| checkpoint::number_in(name))
            .any(|number| journals.contains(&number))
}

/// The number that a journal on this machine says it has, where it does.
fn number_inside(path: &Path) -> Result<Option<u64>, ListenError> {
    let mut head = Vec::new();
    checkpoint::open(path)
        .and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head))
        .map_err(|error| {
            ListenError::io(format!("cannot read {}", path.display()), &error)
        })?;
    Ok(match Head::read(&head) {
        Head::Numbered { number, .. } => Some(number),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_need_a_checkpoint_before_them() {
        let names = |words: &str| {
            let mut names: Vec<_> = words.split(' ').map(str::to_owned).collect();
            names.sort();
            names
        };
        for (words, newest, lowest, is_usable) in [
            ("journal", 4, 4, false),
            ("journal checkpoint.4", 4, 4, true),
            ("journal checkpoint.4.gz.part", 4, 4, false),
            ("journal journal.9 journal.10 journal.11", 12, 9, false),
            ("journal journal.9 journal.10 journal.11 p4.ckp.10.gz", 12, 9, true),
            ("journal journal.9 journal.11 checkpoint.9", 12, 11, false),
            ("journal journal.9 checkpoint.11", 10, 9, false),
            ("journal journal.0 journal.1", 2, 0, true),
        ] {
            let names = names(words);
            assert_eq!(lowest_of(&names, newest), lowest, "{words}");
            assert_eq!(is_beginning(&names, lowest..=newest), is_usable, "{words}");
        }
    }
}
