//! A checkpoint, item by item, as journals leave it.

use std::collections::VecDeque;
use std::io::Read;
use std::mem;
use std::ops::Bound;
use std::sync::Arc;

use crate::apply::Applied;
use crate::apply::CheckpointError;
use crate::apply::Input;
use crate::apply::Options;
use crate::apply::of;
use crate::field::Fields;
use crate::journal::Header;
use crate::journal::journal_counter;
use crate::key::Key;
use crate::order::rank;
use crate::overlay::JournalsSummary;
use crate::overlay::Overlay;
use crate::record::Op;
use crate::record::Record;
use crate::row::CheckpointSummary;
use crate::row::Format;
use crate::row::Item;
use crate::row::Items;
use crate::row::OtherItem;
use crate::row::OtherKind;
use crate::row::PlacedRow;

/// The items of a checkpoint as the journals leave them.
pub(crate) struct Overlaid<R> {
    items: Items<R>,
    overlay: Overlay,
    /// The table that the checkpoint is in.
    table: Option<Arc<str>>,
    /// The key of the row before, in that table.
    before: Option<Key>,
    /// Items ready to be handed out.
    ready: VecDeque<Item>,
    /// The last `@ex@`, to end a table with that the checkpoint does not have.
    end: Option<OtherItem>,
    ended: bool,
    applied: Applied,
}

impl<R: Read> Overlaid<R> {
    pub(crate) fn open<J: Read>(
        checkpoint: R,
        journals: impl IntoIterator<Item = J>,
        options: &Options,
    ) -> Result<Self, CheckpointError> {
        let items =
            Items::open(checkpoint, options.case).map_err(of(Input::Checkpoint))?;
        let mut overlay = Overlay::new(Some(items.format().case));
        for (index, journal) in journals.into_iter().enumerate() {
            overlay.read(journal).map_err(of(Input::Journal(index)))?;
        }
        overlay.finish();
        let unknown = |table: &&Arc<str>| crate::schema::layouts(table).is_empty();
        let unknown_tables =
            overlay.tables.keys().filter(unknown).map(|it| it.to_string());
        let applied = Applied {
            unknown_tables: unknown_tables.collect(),
            journals: mem::take(&mut overlay.summary),
            ..Applied::default()
        };
        Ok(Self {
            items,
            overlay,
            table: None,
            before: None,
            ready: VecDeque::new(),
            end: None,
            ended: false,
            applied,
        })
    }

    pub(crate) const fn format(&self) -> Format {
        self.items.format()
    }

    pub(crate) const fn header(&self) -> Option<&Header> {
        self.items.header()
    }

    /// What was read in the checkpoint so far.
    pub(crate) fn summary(&self) -> CheckpointSummary {
        self.items.summary()
    }

    pub(crate) const fn journals(&self) -> &JournalsSummary {
        &self.applied.journals
    }

    pub(crate) fn next(&mut self) -> Result<Option<Item>, CheckpointError> {
        while self.ready.is_empty() && !self.ended {
            match self.items.next().map_err(of(Input::Checkpoint))? {
                Some(item) => self.take(item),
                None => {
                    self.put_missing_tables();
                    self.ended = true;
                }
            }
        }
        let item = self.ready.pop_front();
        if matches!(item, Some(Item::Row(_))) {
            self.applied.rows_written += 1;
        }
        Ok(item)
    }

    /// What was done; complete once all items were taken.
    pub(crate) fn finish(mut self) -> Applied {
        let nets = self.overlay.tables.values().flat_map(|rows| rows.values());
        let missing =
            nets.filter(|net| net.row.is_none() && !net.settled && !net.was_put).count();
        self.applied.missing_deletes = missing as u64;
        self.applied.checkpoint = self.items.summary();
        self.applied
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Row(placed) => self.take_row(placed),
            Item::Other(other) => self.take_other(other),
        }
    }

    fn take_row(&mut self, mut placed: PlacedRow) {
        let columns = Fields::new(&placed.row.columns);
        if let Some(number) = journal_counter(Some(&placed.table), columns) {
            self.applied.checkpoint_number = Some(number);
        }
        self.enter(&placed.table);
        if self.before.as_ref().is_some_and(|before| *before > placed.key) {
            self.applied.rows_out_of_order += 1;
        } else {
            self.put_new(Bound::Excluded(&placed.key));
        }
        self.before = Some(placed.key.clone());
        let rows = self.overlay.tables.get_mut(&placed.table);
        if let Some(net) = rows.and_then(|rows| rows.get_mut(&placed.key)) {
            net.settled = true;
            match net.row.take() {
                Some(row) => placed.before = Some(mem::replace(&mut placed.row, row)),
                // Deleted; or put out already, when the checkpoint is out of order.
                None => return,
            }
        }
        self.ready.push_back(Item::Row(placed));
    }

    fn take_other(&mut self, mut other: OtherItem) {
        match &other.kind {
            OtherKind::Table(table) => {
                let table = Arc::clone(table);
                self.enter(&table);
                if self.overlay.tables.contains_key(&table) {
                    other.bytes = without_checksum(&other.bytes).into();
                }
            }
            OtherKind::End => {
                self.leave();
                self.end = Some(other.clone());
            }
            OtherKind::Trailer => self.put_missing_tables(),
            OtherKind::Damage | OtherKind::Else => {}
        }
        self.ready.push_back(Item::Other(other));
    }

    /// The checkpoint goes on with this table.
    fn enter(&mut self, table: &Arc<str>) {
        if self.table.as_ref() != Some(table) {
            self.leave();
            self.table = Some(Arc::clone(table));
        }
    }

    /// The table ends: what is left of its new rows belongs here.
    fn leave(&mut self) {
        self.put_new(Bound::Unbounded);
        (self.table, self.before) = (None, None);
    }

    /// Puts out the table's new rows between the row before and `to`.
    fn put_new(&mut self, to: Bound<&Key>) {
        let Some(table) = &self.table else {
            return;
        };
        let Some(rows) = self.overlay.tables.get_mut(table) else {
            return;
        };
        let from = self.before.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        if let (Bound::Excluded(from), Bound::Excluded(to)) = (from, to)
            && from >= to
        {
            return;
        }
        for (key, net) in rows.range_mut::<Key, _>((from, to)) {
            if let Some(row) = net.row.take() {
                net.settled = true;
                let table = Arc::clone(table);
                self.ready.push_back(Item::Row(PlacedRow {
                    table,
                    key: key.clone(),
                    row,
                    before: None,
                }));
            }
        }
    }

    /// Puts out what belongs to tables that the checkpoint does not have.
    fn put_missing_tables(&mut self) {
        self.leave();
        let mut tables: Vec<Arc<str>> = self.overlay.tables.keys().cloned().collect();
        tables.sort_by_key(|table| rank(table));
        for table in tables {
            let before = self.ready.len();
            self.enter(&table);
            self.leave();
            if self.ready.len() > before {
                self.ready.extend(self.end.clone().map(Item::Other));
            }
        }
    }
}

/// The note that begins a table, with its checksum, the third number, set to 0.
fn without_checksum(note: &[u8]) -> Vec<u8> {
    let Some(record) = Record::parse(note).ok().filter(|record| record.op() == Op::Nx)
    else {
        return note.to_vec();
    };
    let mut fields = record.fields();
    // Kind, time, protocol and two numbers come before it.
    let Some(checksum) = fields.nth(5).filter(|field| !field.is_quoted()) else {
        return note.to_vec();
    };
    let line_end = note.len() - note.trim_ascii_end().len();
    let body = note.len() - line_end;
    let after = fields.rest().trim_ascii_end().len();
    // Behind the checksum there is a space unless it is the last field.
    let end = body - after - usize::from(after > 0);
    let start = end - checksum.raw().len();
    [&note[..start], b"0", &note[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_the_third_number() {
        let zeroed =
            |note: &str| String::from_utf8(without_checksum(note.as_bytes())).unwrap();
        assert_eq!(
            zeroed("@nx@ 4 1 @30@ 1 2 -3 4 5 @t@ \r\n"),
            "@nx@ 4 1 @30@ 1 2 0 4 5 @t@ \r\n"
        );
        assert_eq!(zeroed("@nx@ 4 1 @30@ 1 2 33\n"), "@nx@ 4 1 @30@ 1 2 0\n");
        assert_eq!(zeroed("@nx@ 4 1 @30@ 1 @t@ \n"), "@nx@ 4 1 @30@ 1 @t@ \n");
    }
}
