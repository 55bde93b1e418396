//! The rows of a checkpoint, one after the other.

use std::borrow::Cow;
use std::io::Read;
use std::io::Write;
use std::sync::Arc;

use memchr::memmem;

use crate::journal::Header;
use crate::key::Case;
use crate::key::Key;
use crate::note::NoteKind;
use crate::reader::Entry;
use crate::reader::ReadError;
use crate::reader::Reader;
use crate::record::Op;
use crate::record::Record;

/// A row's content, without its table: what differs when two rows of one key differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The version of the table's layout.
    pub version: u32,
    /// The columns as they are written, quotes and all, without a line end. Line ends
    /// inside text are LF, whatever the file has.
    pub columns: Box<[u8]>,
}

/// A row with its place in the order of its checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct PlacedRow {
    pub(crate) table: Arc<str>,
    pub(crate) key: Key,
    pub(crate) row: Row,
    /// The row that journals replaced by this one.
    pub(crate) before: Option<Row>,
}

/// What a checkpoint consists of.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Row(PlacedRow),
    /// A note or a marker, or damage.
    Other(OtherItem),
}

/// What is not a row.
#[derive(Clone, Debug)]
pub(crate) struct OtherItem {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) kind: OtherKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OtherKind {
    /// The note that begins a table.
    Table(Arc<str>),
    /// The note that ends the checkpoint.
    Trailer,
    /// An `@ex@`.
    End,
    /// No record.
    Damage,
    Else,
}

/// Reads the items of a checkpoint.
#[derive(Debug)]
pub(crate) struct Items<R> {
    reader: Reader<R>,
    format: Format,
    table: Arc<str>,
    /// The first record was looked at and is still to be handed out.
    first: Option<Item>,
    header: Option<Header>,
    summary: CheckpointSummary,
}

/// What was read in a checkpoint, its rows apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointSummary {
    /// Bytes, those of the tail too.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Pieces that are no record, and that were passed over.
    pub damaged: u64,
    /// Bytes behind the last piece, passed over too: a checkpoint that has some was cut.
    pub tail_bytes: u64,
}

/// How a file writes what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) case: Case,
    /// Line ends are CR LF, in text too.
    pub(crate) has_crlf: bool,
}

impl Row {
    /// The row as a record of a checkpoint, without a line end.
    pub fn to_record(&self, table: &str) -> Vec<u8> {
        let head = format!("@pv@ {} @{table}@ ", self.version);
        [head.as_bytes(), &self.columns].concat()
    }

    /// The content of a record that has a table.
    pub(crate) fn of(record: &Record<'_>, format: Format) -> Self {
        let columns = record.fields().rest();
        Self {
            version: record.version().unwrap_or_default(),
            columns: if format.has_crlf { without_crlf(columns) } else { columns.into() },
        }
    }

    /// Writes the row as a record, with the line ends of the file.
    pub(crate) fn write(
        &self,
        table: &str,
        format: Format,
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        let mut record = self.to_record(table);
        record.push(b'\n');
        out.write_all(&if format.has_crlf {
            with_crlf(&record)
        } else {
            Cow::Owned(record)
        })
    }
}

impl<R: Read> Items<R> {
    /// Reads the first record. `case` of `None` takes the case flag of the header, and
    /// without a header takes a file with CR LF for one of a server on Windows, which
    /// folds case.
    pub(crate) fn open(input: R, case: Option<Case>) -> Result<Self, ReadError> {
        let mut items = Self {
            reader: Reader::new(input),
            format: Format::default(),
            table: Arc::from(""),
            first: None,
            header: None,
            summary: CheckpointSummary::default(),
        };
        if let Some(entry) = items.reader.next()? {
            items.header = entry.record().ok().and_then(|record| Header::read(&record));
            items.format = Format::of(entry.bytes, items.header.as_ref(), case);
            items.first = Some(item_of(&entry, items.format, &mut items.table));
            items.summary.bytes = entry.bytes.len() as u64;
        }
        Ok(items)
    }

    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    pub(crate) const fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    pub(crate) fn next(&mut self) -> Result<Option<Item>, ReadError> {
        let item = match self.first.take() {
            Some(item) => item,
            None => {
                let Some(entry) = self.reader.next()? else {
                    return Ok(None);
                };
                self.summary.bytes += entry.bytes.len() as u64;
                item_of(&entry, self.format, &mut self.table)
            }
        };
        match &item {
            Item::Row(_) => self.summary.rows += 1,
            Item::Other(other) if other.kind == OtherKind::Damage => {
                self.summary.damaged += 1;
            }
            Item::Other(_) => {}
        }
        Ok(Some(item))
    }

    /// What was read; complete once all items were taken.
    pub(crate) fn summary(&self) -> CheckpointSummary {
        let tail_bytes = self.reader.tail().len() as u64;
        CheckpointSummary {
            bytes: self.summary.bytes + tail_bytes,
            tail_bytes,
            ..self.summary
        }
    }
}

impl CheckpointSummary {
    /// Whether it is sound: nothing in it was passed over, and unless it is empty it has
    /// rows, as every checkpoint does.
    pub const fn is_sound(&self) -> bool {
        self.damaged == 0 && self.tail_bytes == 0 && (self.rows > 0 || self.bytes == 0)
    }
}

impl Format {
    pub(crate) fn of(first: &[u8], header: Option<&Header>, case: Option<Case>) -> Self {
        let has_crlf = first.ends_with(b"\r\n");
        let insensitive = header.map_or(has_crlf, |header| header.case_insensitive);
        let said = if insensitive { Case::Insensitive } else { Case::Sensitive };
        Self { case: case.unwrap_or(said), has_crlf }
    }
}

/// Reads one piece. `table` is that of the piece before, so that one name is held once.
fn item_of(entry: &Entry<'_>, format: Format, table: &mut Arc<str>) -> Item {
    let other = |kind| Item::Other(OtherItem { bytes: entry.bytes.into(), kind });
    let Some(record) = entry.piece.record(entry.bytes) else {
        return other(OtherKind::Damage);
    };
    match (record.op(), record.table()) {
        (op, Some(name)) if op.is_put() => {
            if **table != *name {
                *table = name.into();
            }
            let key = Key::of(&record, record.layout(), format.case);
            let row = Row::of(&record, format);
            Item::Row(PlacedRow { table: Arc::clone(table), key, row, before: None })
        }
        (Op::Ex, _) => other(OtherKind::End),
        (Op::Nx, _) => other(note_kind(&record)),
        _ => other(OtherKind::Else),
    }
}

fn note_kind(record: &Record<'_>) -> OtherKind {
    let Some(note) = record.note() else {
        return OtherKind::Else;
    };
    match note.kind {
        NoteKind::CheckpointTrailer => OtherKind::Trailer,
        NoteKind::Table => {
            let name = note.strings().next().map(|field| field.text());
            name.map_or(OtherKind::Else, |name| {
                OtherKind::Table(String::from_utf8_lossy(&name).into())
            })
        }
        _ => OtherKind::Else,
    }
}

fn without_crlf(bytes: &[u8]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for at in memmem::find_iter(bytes, b"\r\n") {
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.into()
}

fn with_crlf(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    for &byte in bytes {
        if byte == b'\n' {
            out.push(b'\r');
        }
        out.push(byte);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_come_back_as_they_were() {
        for bytes in [&b"@pv@ 0 @db.desc@ 1 @a\r\n\r\nb\rc\r\n@ \r\n"[..], b"\r\r\n"] {
            assert_eq!(&*with_crlf(&without_crlf(bytes)), bytes);
        }
    }

    #[test]
    fn the_first_record_tells_the_format() {
        let crlf = Format { case: Case::Insensitive, has_crlf: true };
        assert_eq!(Format::of(b"@pv@ 0 @db.x@ \r\n", None, None), crlf);
        assert_eq!(Format::of(b"@pv@ 0 @db.x@ \n", None, None), Format::default());
        let sensitive = Some(Case::Sensitive);
        assert_eq!(Format::of(b"@ex@ \r\n", None, sensitive).case, Case::Sensitive);
    }

    #[test]
    fn the_items_of_a_checkpoint() {
        let bytes = b"@nx@ 0 1 @30@ 2 0 0 0 0 @C:/p4@ @journal@ @@ @@ \r\n\
            @nx@ 4 1 @30@ 1 0 0 0 0 @db.depot@ @@ @@ @@ \r\n\
            @pv@ 1 @db.depot@ @Depot@ 0 @@ @depot/...@ \r\n@ex@ 1 2\r\n\
            @nx@ 1 1 @30@ 0 0 0 0 0 @@ @@ @@ @@ \r\n@ex@ 1 2\r\n\0";
        let mut items = Items::open(&bytes[..], None).unwrap();
        let mut kinds = Vec::new();
        while let Some(item) = items.next().unwrap() {
            match item {
                Item::Row(placed) => assert_eq!(&*placed.table, "db.depot"),
                Item::Other(other) => kinds.push(other.kind),
            }
        }
        let table = OtherKind::Table("db.depot".into());
        let (end, trailer) = (OtherKind::End, OtherKind::Trailer);
        assert_eq!(kinds, [OtherKind::Else, table, end.clone(), trailer, end]);
        assert!(items.header().unwrap().case_insensitive);
        let summary = items.summary();
        assert_eq!((summary.bytes, summary.tail_bytes), (bytes.len() as u64, 1));
        assert_eq!((summary.rows, summary.damaged, summary.is_sound()), (1, 0, false));
    }
}
