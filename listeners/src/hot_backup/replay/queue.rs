//! Records become whole transactions, in the order in which they are committed.

use super::applied::Applied;
use p4journal::{Op, Record, Step, Transactions};
use std::collections::BTreeMap;
use tripline_api::{Cursor, Entry, ListenError};

/// So many bytes wait for a run of the command; one transaction may be longer.
const QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest transaction, all that are open with it, and what waits for their end. A
/// reader hands out what is longer than it can hold, so this is where it ends.
const TRANSACTION_BYTES_MAX: usize = 448 * 1024 * 1024;

/// What waits to be applied, and what waits to be committed.
#[derive(Default)]
pub(in crate::hot_backup) struct Queue {
    exclude_tables: Vec<String>,
    /// Records of transactions that are closed, and the place behind them.
    ready: Vec<u8>,
    to: Option<Applied>,
    /// Records since the last marker, and of processes that go on later.
    open: Vec<u8>,
    paused: BTreeMap<u64, Vec<u8>>,
    transactions: Transactions,
    /// The journal that came last.
    sequence: Option<u64>,
}

impl Queue {
    pub(in crate::hot_backup) fn new(exclude_tables: Vec<String>) -> Self {
        Self { exclude_tables, ..Self::default() }
    }

    /// Forgets what it has.
    pub(super) fn clear(&mut self) {
        *self = Self::new(std::mem::take(&mut self.exclude_tables));
    }

    pub(super) fn exclude_tables(&self) -> &[String] {
        &self.exclude_tables
    }

    /// Whether enough waits to be applied. Not while one transaction is open and others
    /// are closed behind it: only what is to come gives them a place to go to.
    pub(super) const fn is_full(&self) -> bool {
        self.to.is_some() && self.ready.len() >= QUEUE_BYTES_MAX
    }

    /// Whether there is nothing to apply, and no place to go to.
    pub(super) const fn is_empty(&self) -> bool {
        self.to.is_none()
    }

    /// Whether nothing waits to be committed.
    pub(super) fn is_closed(&self) -> bool {
        self.open.is_empty() && self.paused.is_empty()
    }

    /// What can be applied, and the place behind it.
    pub(super) fn take(&mut self) -> Option<(Vec<u8>, Applied)> {
        let to = self.to.take()?.without(&self.exclude_tables);
        Some((std::mem::take(&mut self.ready), to))
    }

    /// Takes the next record.
    ///
    /// # Errors
    ///
    /// [`ListenError::Stop`] when more is open than there can be.
    pub(super) fn push(&mut self, entry: &Entry<'_>) -> Result<(), ListenError> {
        if self.sequence.replace(entry.place.sequence) != Some(entry.place.sequence) {
            // What the journal before left open was never committed.
            self.abandon();
        }
        let marker = matches!(Op::of(entry.bytes), Some(Op::Ex | Op::Mx | Op::Nx));
        let record = if marker { Record::parse(entry.bytes).ok() } else { None };
        let step = record.as_ref().map(|record| self.transactions.see(record));
        if step.is_none() {
            self.transactions.see_inside();
        }
        if let Some(Step::Abandoned { .. }) = step {
            self.open.clear();
            self.paused.clear();
        }
        if !self.is_excluded(entry) {
            let paused: usize = self.paused.values().map(Vec::len).sum();
            let ready = if self.to.is_none() { self.ready.len() } else { 0 };
            let held = paused + ready;
            if held + self.open.len() + entry.bytes.len() > TRANSACTION_BYTES_MAX {
                return Err(ListenError::Stop(format!(
                    "the transactions that are open at {}, and those that wait for them, \
                     have more than {TRANSACTION_BYTES_MAX} bytes: replay that journal by hand, and set \
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
                self.ready.append(&mut before);
                self.ready.append(&mut self.open);
            }
            _ => {}
        }
        if self.transactions.is_settled() {
            self.ready.append(&mut self.open);
            self.to = Some(Applied::behind(entry));
        }
        Ok(())
    }

    /// A batch is over. Behind a journal's trailer nothing will be committed that
    /// was not, so that everything before is as good as applied.
    pub(super) fn end_batch(&mut self, end: &Cursor, last: Option<&Entry<'_>>) {
        if end.next.is_some() && !self.is_closed() {
            self.abandon();
            self.to = last.map(Applied::behind);
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Feed;

    /// What is queued of these journals, and up to which offset.
    fn queued(journals: &[&[u8]]) -> (String, Option<u64>) {
        let mut queue = Queue::default();
        let mut feed = Feed::new("p4");
        for (index, bytes) in journals.iter().enumerate() {
            feed = feed.journal(index as u64 + 1, bytes);
        }
        for batch in feed.batches(None, usize::MAX) {
            let batch = batch.view();
            batch.entries().for_each(|entry| queue.push(&entry).unwrap());
            queue.end_batch(batch.end, batch.entries().last().as_ref());
        }
        let to = queue.to.as_ref().map(|to| to.place().offset);
        (String::from_utf8(queue.ready).unwrap(), to)
    }

    #[test]
    fn what_one_process_commits_does_not_wait_for_another_nor_go_with_it() {
        let journal = b"@pv@ 0 @db.x@ 1 \n@mx@ 7 1\n@pv@ 0 @db.x@ 2 \n@ex@ 8 2\n\
            @nx@ 7 99 @58@ 0 0 0 0 0 @1666@ @/p4@ @@ @@ @@ \n@pv@ 0 @db.x@ 3 \n@ex@ 9 3\n";
        let (queue, to) = queued(&[journal]);
        assert!(queue.contains("@db.x@ 2 \n@ex@ 8 2\n"), "{queue}");
        assert!(queue.ends_with("@db.x@ 3 \n@ex@ 9 3\n"), "{queue}");
        assert!(!queue.contains("@db.x@ 1"), "it was never committed: {queue}");
        assert_eq!(to, Some(journal.len() as u64));
    }

    #[test]
    fn what_goes_on_later_is_committed_in_one_piece() {
        let journal = b"@pv@ 0 @db.x@ 1 \n@mx@ 7 1\n@pv@ 0 @db.x@ 2 \n@ex@ 8 2\n\
            @pv@ 0 @db.x@ 3 \n@ex@ 7 3\n@pv@ 0 @db.x@ 4 \n";
        let (queue, to) = queued(&[journal]);
        let order: Vec<_> = queue.lines().filter(|line| line.contains("db.x")).collect();
        assert_eq!(order, ["@pv@ 0 @db.x@ 2 ", "@pv@ 0 @db.x@ 1 ", "@pv@ 0 @db.x@ 3 "]);
        let open = b"@pv@ 0 @db.x@ 4 \n".len();
        assert_eq!(to, Some((journal.len() - open) as u64));
    }

    #[test]
    fn what_a_journal_left_open_is_not_committed_by_the_next() {
        let (queue, _) =
            queued(&[b"@pv@ 0 @db.x@ 1 \n", b"@pv@ 0 @db.x@ 2 \n@ex@ 8 2\n"]);
        assert_eq!(queue, "@pv@ 0 @db.x@ 2 \n@ex@ 8 2\n");
    }

    #[test]
    fn more_is_taken_while_nothing_of_it_can_be_applied() {
        let mut queue = Queue::default();
        let row = format!("@pv@ 0 @db.x@ 1 @{}@ \n@ex@ 8 2\n", "x".repeat(1024 * 1024));
        let journal = format!("@mx@ 7 1\n{}@ex@ 7 3\n", row.repeat(9));
        let feed = Feed::new("p4").journal(1, journal.as_bytes());
        let batches = feed.batches(None, 1);
        for (index, batch) in batches.iter().enumerate() {
            assert!(!queue.is_full(), "it could never go on at {index}");
            batch.view().entries().for_each(|entry| queue.push(&entry).unwrap());
        }
        assert!(queue.is_full());
        assert_eq!(queue.take().map(|(input, _)| input.len()), Some(journal.len()));
        assert!(!queue.is_full());
    }

    #[test]
    fn behind_a_trailer_nothing_is_waited_for() {
        let journal = b"@pv@ 0 @db.x@ 1 \n@mx@ 7 1\n@pv@ 0 @db.x@ 2 \n@ex@ 8 2\n\
            @rv@ 1 @db.counters@ @journal@ @2@ \n\
            @nx@ 3 1700000099 @58@ 0 0 0 0 0 @@ @@ @@ @@ @@ \n@ex@ 11 1700000099\n";
        let (queue, to) = queued(&[journal]);
        assert!(!queue.contains("@db.x@ 1"), "it was never committed: {queue}");
        assert_eq!(to, Some(journal.len() as u64));
    }
}
