//! Entries, and the stretch of a file they come in.

use crate::{Cursor, LineTime, Place, SourceId};
use p4journal::{Marker, NoteKind, Op, Record};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A run of whole entries from one file, borrowed from the reader that read it.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Where the entries come from.
    pub source: &'a SourceId,
    /// The log that the entries are lines of; `None` for a journal.
    pub log: Option<LogFile<'a>>,
    /// The place of the first byte.
    pub start: Place,
    /// The first entry is the first of its file, and another file came before.
    pub did_rotate: bool,
    /// The bytes of all entries, without a hole.
    pub bytes: &'a [u8],
    /// Where each entry ends.
    pub spans: &'a [Span],
    /// Where transactions end in this batch.
    pub marks: &'a [Mark],
    /// The cursor of a listener that has settled the whole batch.
    pub end: &'a Cursor,
}

/// The log that a batch comes from.
#[derive(Clone, Copy, Debug)]
pub struct LogFile<'a> {
    /// Its path: that of the file that is written to, also when the batch comes
    /// from one that was rotated away.
    pub path: &'a Arc<Path>,
    /// The only entry of the batch is the start of a line that was longer than
    /// the bound: so many bytes has the whole line in the file.
    pub cut: Option<u64>,
    /// The only entry of the batch is a line that is not finished: it comes
    /// again when it is, with the same id, and the cursor stays before it.
    pub is_preview: bool,
    /// How to read the time that a line carries, and a time near to it in
    /// seconds since 1970; `None` where that was not asked for.
    pub time: Option<(&'a LineTime, i64)>,
}

/// One entry of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its end, in bytes from the start of the batch.
    pub end: u32,
    /// The line feeds in it.
    pub lines: u32,
    /// It is not a whole record: torn, or cut at a bound.
    pub incomplete: bool,
}

/// The end of one or more transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The index of the entry that ends them.
    pub index: u32,
    /// What the entry says; `None` when the server started anew there, so that
    /// what was open before is abandoned and nobody's.
    pub by: Option<Marker>,
}

impl Mark {
    /// The mark that an entry with this index and these bytes is, if it is one.
    pub fn of(index: usize, bytes: &[u8]) -> Option<Self> {
        let index = index as u32;
        let record = || Record::parse(bytes).ok();
        match Op::of(bytes)? {
            Op::Ex | Op::Mx => Some(Self { index, by: Some(record()?.marker()?) }),
            Op::Nx if record()?.note()?.kind == NoteKind::ServerStart => {
                Some(Self { index, by: None })
            }
            _ => None,
        }
    }
}

impl<'a> Batch<'a> {
    /// The entries in order.
    pub fn entries(&self) -> Entries<'a> {
        Entries {
            batch: *self,
            index: 0,
            offset: 0,
            place: self.start,
            marks: self.marks,
        }
    }

    /// How many entries there are: at least one.
    pub const fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no entry, which does not happen in a batch that a
    /// reader hands out.
    pub const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The time of the last transaction mark, or of the last line, in seconds
    /// since 1970.
    pub fn last_time(&self) -> Option<i64> {
        match self.log {
            None => self.marks.iter().rev().find_map(|m| m.by).map(|mark| mark.time),
            Some(log) => {
                let (time, near) = log.time?;
                let before = self.spans.len().checked_sub(2);
                let start = before.map_or(0, |index| self.spans[index].end as usize);
                time.parse(&self.bytes[start..], near)
            }
        }
    }
}

/// One journal record or one log line, with its place.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Where it comes from.
    pub source: &'a SourceId,
    /// The log that it is a line of; `None` for a journal.
    pub log: Option<LogFile<'a>>,
    /// The place of its first byte.
    pub place: Place,
    /// Its bytes, with the line end.
    pub bytes: &'a [u8],
    /// The line feeds in it: a record with a description has many.
    pub lines: u32,
    /// It is the first of its file, and another file came before.
    pub did_rotate: bool,
    /// It is not a whole record: torn, or cut at a bound.
    pub incomplete: bool,
    /// The mark that closes the record's transaction. `None` when it is not
    /// known here: the mark is not written yet, or is behind the end of the
    /// batch, or never came.
    pub closed_by: Option<Marker>,
}

impl<'a> Entry<'a> {
    /// The entry as a journal record; `None` when it is not one.
    pub fn record(&self) -> Option<Record<'a>> {
        let is_none = self.incomplete || self.log.is_some();
        if is_none { None } else { Record::parse(self.bytes).ok() }
    }

    /// The text of a line, without its line end.
    pub fn text(&self) -> &'a [u8] {
        let text = self.bytes.strip_suffix(b"\n").unwrap_or(self.bytes);
        text.strip_suffix(b"\r").unwrap_or(text)
    }

    /// The time that the entry carries, in seconds since 1970: of a journal
    /// record that of its transaction; of a line its own, where the source was
    /// asked to read it.
    pub fn time(&self) -> Option<i64> {
        match self.log {
            None => self.closed_by.map(|mark| mark.time),
            Some(log) => log.time.and_then(|(time, near)| time.parse(self.bytes, near)),
        }
    }

    /// The id that stays the same for ever: `source/sequence/offset`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.source, self.place.id())
    }

    /// The place behind the entry.
    pub fn end(&self) -> Place {
        let bytes = self.log.and_then(|log| log.cut).unwrap_or(self.bytes.len() as u64);
        self.place.advance(bytes, u64::from(self.lines))
    }
}

/// The entries of a batch, in order.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    batch: Batch<'a>,
    index: usize,
    offset: usize,
    place: Place,
    marks: &'a [Mark],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let span = self.batch.spans.get(self.index)?;
        while let Some((first, rest)) = self.marks.split_first() {
            if first.index as usize >= self.index {
                break;
            }
            self.marks = rest;
        }
        let entry = Entry {
            source: self.batch.source,
            log: self.batch.log,
            place: self.place,
            bytes: &self.batch.bytes[self.offset..span.end as usize],
            lines: span.lines,
            did_rotate: self.batch.did_rotate && self.index == 0,
            incomplete: span.incomplete,
            closed_by: self.marks.first().and_then(|mark| mark.by),
        };
        self.index += 1;
        self.offset = span.end as usize;
        self.place = entry.end();
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.spans.len() - self.index;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// What a listener is handed: a batch, and which of its entries it said it
/// handles.
#[derive(Clone, Debug)]
pub struct View<'a> {
    batch: Batch<'a>,
    /// One flag an entry; `None` when all are handled.
    handled: Option<&'a [bool]>,
    len: usize,
}

impl<'a> View<'a> {
    /// All entries of a batch.
    pub const fn all(batch: Batch<'a>) -> Self {
        Self { batch, handled: None, len: batch.len() }
    }

    /// The entries whose flag is set; `handled` has one flag an entry.
    pub fn some(batch: Batch<'a>, handled: &'a [bool]) -> Self {
        assert_eq!(batch.len(), handled.len(), "one flag an entry");
        let len = handled.iter().filter(|h| **h).count();
        let handled = (len < handled.len()).then_some(handled);
        Self { batch, handled, len }
    }

    /// The handled entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let handled = self.handled;
        self.batch
            .entries()
            .enumerate()
            .filter(move |(index, _)| handled.is_none_or(|h| h[*index]))
            .map(|(_, entry)| entry)
    }

    /// The flags of a view of fewer entries: those with these indexes among the
    /// handled ones.
    pub fn flags_of(&self, indexes: Range<usize>) -> Vec<bool> {
        let mut index = 0;
        let mut flag = |position: usize| {
            let is_handled = self.handled.is_none_or(|handled| handled[position]);
            let is_one = is_handled && indexes.contains(&index);
            index += usize::from(is_handled);
            is_one
        };
        (0..self.batch.len()).map(&mut flag).collect()
    }

    /// How many entries are handled.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no entry is handled.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The batch behind the view, with the entries that are not handled too.
    pub const fn batch(&self) -> &Batch<'a> {
        &self.batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_know_place_and_closing_mark() {
        let source = SourceId::new("p4").unwrap();
        let bytes = b"@pv@ 1 @db.x@ @a\nb@ \n@ex@ 7 100\n@pv@ 1 @db.x@ 2 \n";
        let spans = [
            Span { end: 21, lines: 2, incomplete: false },
            Span { end: 32, lines: 1, incomplete: false },
            Span { end: 49, lines: 1, incomplete: false },
        ];
        let marks = [Mark { index: 1, by: Some(Marker { pid: 7, time: 100 }) }];
        let end = Cursor::unproved(Place::default());
        let start = Place { era: 0, sequence: 3, offset: 1000, line: 10 };
        let batch = Batch {
            source: &source,
            log: None,
            start,
            did_rotate: true,
            bytes,
            spans: &spans,
            marks: &marks,
            end: &end,
        };
        let all: Vec<_> = batch.entries().collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].id(), "p4/3/1000");
        assert!(all[0].did_rotate && !all[1].did_rotate);
        assert_eq!(all[0].closed_by, Some(Marker { pid: 7, time: 100 }));
        assert_eq!(all[1].closed_by, Some(Marker { pid: 7, time: 100 }));
        assert_eq!(all[2].closed_by, None, "its transaction is still open");
        assert_eq!((all[2].place.offset, all[2].place.line), (1032, 13));
        let view = View::some(batch, &[false, true, true]);
        assert_eq!(view.len(), 2);
        assert_eq!(view.entries().next().unwrap().bytes, b"@ex@ 7 100\n");
        assert_eq!(view.flags_of(1..2), [false, false, true]);
        assert_eq!(View::all(batch).flags_of(0..2), [true, true, false]);
    }

    #[test]
    fn what_a_restart_abandoned_is_nobodys() {
        let start = b"@nx@ 7 99 @58@ 0 0 0 0 0 @1666@ @/p4@ @@ @@ @@ \n";
        assert_eq!(Mark::of(4, start), Some(Mark { index: 4, by: None }));
        let by = Some(Marker { pid: 7, time: 100 });
        assert_eq!(Mark::of(1, b"@mx@ 7 100\n"), Some(Mark { index: 1, by }));
        assert_eq!(Mark::of(1, b"@nx@ 2 99 @58@ 0 0 0 0 0 @@ @@ @@ @@ @@ \n"), None);
        assert_eq!(Mark::of(1, b"@ex@ torn\n"), None);
        assert_eq!(Mark::of(1, b"@pv@ 1 @db.x@ 1 \n"), None);
    }
}
