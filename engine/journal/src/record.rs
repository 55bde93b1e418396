//! One record: operator, version, table and fields, borrowed from its bytes.

use crate::field::Columns;
use crate::field::Fields;
use crate::note::Note;
use crate::schema;
use crate::schema::Layout;
use crate::split::starts_record;

/// What a record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// `@put@`: puts a row; 97.3 and older.
    Put,
    /// `@del@`: deletes a row; 97.3 and older.
    Del,
    /// `@pv@`: puts a row. Servers also write it for a row that exists.
    Pv,
    /// `@rv@`: replaces a row.
    Rv,
    /// `@dv@`: deletes the row of that key.
    Dv,
    /// `@vv@`: verifies a value; says the journal's number in its second line.
    Vv,
    /// `@dl@`: an archive was deleted. Has neither version nor table.
    Dl,
    /// `@ex@`: ends a transaction.
    Ex,
    /// `@mx@`: more of the same process's transaction follows.
    Mx,
    /// `@nx@`: a note, such as a journal's header or trailer.
    Nx,
    /// Any other operator; [`Record::op_text`] has its text.
    Other,
}

/// A record, borrowed from the bytes of one [`Piece`](crate::Piece).
///
/// Parsing looks at operator, version and table only. The fields are read when they are
/// asked for and copied when they hold a doubled quote.
///
/// ```
/// use p4journal::{Op, Record};
///
/// let record = Record::parse(b"@rv@ 0 @db.desc@ 7 @mail ann@@example.net@ \n")?;
/// assert_eq!((record.op(), record.version(), record.table()), (Op::Rv, Some(0), Some("db.desc")));
///
/// let columns: Vec<_> = record
///     .columns()
///     .map(|(name, value)| (name.to_string(), value.text().into_owned()))
///     .collect();
/// assert_eq!(columns[0], ("descKey".to_string(), b"7".to_vec()));
/// assert_eq!(columns[1], ("description".to_string(), b"mail ann@example.net".to_vec()));
/// # Ok::<(), p4journal::RecordError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    op: Op,
    op_text: &'a str,
    version: Option<u32>,
    table: Option<&'a str>,
    /// What follows the table, or the operator where there is none; no line end.
    rest: &'a [u8],
}

/// What an `@ex@` or `@mx@` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The process of the server that wrote the transaction.
    pub pid: u64,
    /// Seconds since 1970. Not monotonic: clocks are set.
    pub time: i64,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a journal record, at its byte {at}: {kind}")]
pub struct RecordError {
    /// Offset in bytes into the record.
    pub at: usize,
    /// What is wrong there.
    pub kind: RecordErrorKind,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordErrorKind {
    /// It does not start with an operator in quotes and a space.
    #[error("it does not start with an operator such as `@pv@ `")]
    Operator,
    /// The version in front of the table is missing or no number.
    #[error("a version number is missing in front of the table")]
    Version,
    /// The table is missing, not in quotes or not a name.
    #[error("the table's name in quotes is missing")]
    Table,
}

impl Op {
    /// The operator of a record, looking at its first bytes only; `None` if it does not
    /// start like a record.
    pub fn of(record: &[u8]) -> Option<Self> {
        starts_record(record).then(|| Self::of_text(op_text(record)))
    }

    /// The operator as it is written, such as `"rv"`; `"other"` for [`Op::Other`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Del => "del",
            Self::Pv => "pv",
            Self::Rv => "rv",
            Self::Dv => "dv",
            Self::Vv => "vv",
            Self::Dl => "dl",
            Self::Ex => "ex",
            Self::Mx => "mx",
            Self::Nx => "nx",
            Self::Other => "other",
        }
    }

    /// Whether it puts a row, new or over an old one: `put`, `pv`, `rv`.
    pub const fn is_put(self) -> bool {
        matches!(self, Self::Put | Self::Pv | Self::Rv)
    }

    /// Whether it deletes a row: `del`, `dv`.
    pub const fn is_delete(self) -> bool {
        matches!(self, Self::Del | Self::Dv)
    }

    fn of_text(text: &[u8]) -> Self {
        match text {
            b"put" => Self::Put,
            b"del" => Self::Del,
            b"pv" => Self::Pv,
            b"rv" => Self::Rv,
            b"dv" => Self::Dv,
            b"vv" => Self::Vv,
            b"dl" => Self::Dl,
            b"ex" => Self::Ex,
            b"mx" => Self::Mx,
            b"nx" => Self::Nx,
            _ => Self::Other,
        }
    }
}

impl<'a> Record<'a> {
    /// Reads operator, version and table of one piece, with or without its line end.
    ///
    /// An unknown operator is no error: it has a version and a table if it looks as if
    /// it had, and else only fields.
    ///
    /// # Errors
    ///
    /// When the bytes do not start with an operator, or when the operator is one that
    /// needs a version and a table and they are not there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let error = |at, kind| Err(RecordError { at, kind });
        if !starts_record(bytes) {
            return error(0, RecordErrorKind::Operator);
        }
        let op_bytes = op_text(bytes);
        let Ok(op_text) = std::str::from_utf8(op_bytes) else {
            return error(1, RecordErrorKind::Operator);
        };
        let op = Op::of_text(op_bytes);
        // `@`, the operator, `@` and the space, of which `starts_record` made sure.
        let bare = without_line_end(bytes);
        let rest = bare.get(op_bytes.len() + 3..).unwrap_or_default();
        let plain = Self { op, op_text, version: None, table: None, rest };
        match op {
            Op::Dl | Op::Ex | Op::Mx | Op::Nx => Ok(plain),
            Op::Put | Op::Del | Op::Pv | Op::Rv | Op::Dv | Op::Vv => plain
                .with_table()
                .map_err(|(left, kind)| RecordError { at: bare.len() - left, kind }),
            Op::Other => Ok(plain.with_table().unwrap_or(plain)),
        }
    }

    /// What the record does.
    pub const fn op(&self) -> Op {
        self.op
    }

    /// The operator as it is written, such as `"rv"`.
    pub const fn op_text(&self) -> &'a str {
        self.op_text
    }

    /// The version of the table's layout; `None` where there is no table.
    pub const fn version(&self) -> Option<u32> {
        self.version
    }

    /// The table; `None` for `@dl@`, `@ex@`, `@mx@`, `@nx@` and operators not known that
    /// have none.
    pub const fn table(&self) -> Option<&'a str> {
        self.table
    }

    /// The fields after the table, or after the operator where there is no table.
    pub const fn fields(&self) -> Fields<'a> {
        Fields::new(self.rest)
    }

    /// The fields with the names of their columns, by table, version and width. Those of
    /// `@dl@`, `@ex@` and `@mx@` have names too; a note's have none, see [`Self::note`].
    pub fn columns(&self) -> Columns<'a> {
        let names: &[&str] = match self.op {
            Op::Dl => &["lbrFile", "lbrRev", "type", "reason", "depotFile"],
            Op::Ex | Op::Mx => &["pid", "time"],
            _ => &[],
        };
        Columns::new(self.fields(), self.layout(), names)
    }

    /// The layout the schema has for this record; `None` if it has no table, or one that
    /// the schema does not know.
    pub fn layout(&self) -> Option<&'static Layout> {
        let (table, version) = (self.table?, self.version?);
        schema::fitting(schema::layouts(table), version, || self.fields().count())
    }

    /// The process and the time of an `@ex@` or `@mx@`; `None` for other records, and
    /// for one that does not hold two numbers.
    pub fn marker(&self) -> Option<Marker> {
        if !matches!(self.op, Op::Ex | Op::Mx) {
            return None;
        }
        let mut fields = self.fields();
        let pid = fields.next()?.number()?.try_into().ok()?;
        Some(Marker { pid, time: fields.next()?.number()? })
    }

    /// What a note says; `None` for other records, and for a note without the numbers
    /// that every note has.
    pub fn note(&self) -> Option<Note<'a>> {
        if self.op == Op::Nx { Note::read(self.fields()) } else { None }
    }

    /// Reads version and table off the front of `rest`. An error says how many bytes
    /// were left where it went wrong.
    fn with_table(self) -> Result<Self, (usize, RecordErrorKind)> {
        let mut fields = self.fields();
        let version = match fields.next() {
            Some(field) if !field.is_quoted() => field.number(),
            _ => None,
        };
        let Some(version) = version.and_then(|number| u32::try_from(number).ok()) else {
            return Err((self.rest.len(), RecordErrorKind::Version));
        };
        let left = fields.rest().len();
        let table = match fields.next() {
            Some(field) if field.is_quoted() => table_name(field.raw()),
            _ => None,
        };
        let table = table.ok_or((left, RecordErrorKind::Table))?;
        Ok(Self {
            version: Some(version),
            table: Some(table),
            rest: fields.rest(),
            ..self
        })
    }
}

/// The operator of bytes that start like a record.
fn op_text(record: &[u8]) -> &[u8] {
    let long = record.get(3) != Some(&b'@');
    record.get(1..if long { 4 } else { 3 }).unwrap_or_default()
}

fn table_name(raw: &[u8]) -> Option<&str> {
    let plain = !raw.is_empty()
        && raw.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
    if plain { std::str::from_utf8(raw).ok() } else { None }
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::ColumnName;

    #[test]
    fn records_without_a_table() {
        let dl = Record::parse(b"@dl@ @//depot/a@ @1.144@ 0 @obliterate@ @//depot/a@ ")
            .unwrap();
        assert_eq!((dl.op(), dl.table(), dl.fields().count()), (Op::Dl, None, 5));
        assert_eq!(dl.columns().nth(3).unwrap().0, ColumnName::Known("reason"));
        let ex = Record::parse(b"@ex@ 1716 1459200540\r\n").unwrap();
        assert_eq!(ex.marker(), Some(Marker { pid: 1716, time: 1_459_200_540 }));
        let mx =
            Record::parse(b"@mx@ 4000 17 2 0 2 2 @db.rev@ @db.change@ 0 0 \n").unwrap();
        assert_eq!(mx.marker(), Some(Marker { pid: 4000, time: 17 }));
    }

    #[test]
    fn unknown_operators_pass() {
        let table = Record::parse(b"@zz@ 1 @db.x@ 1 \n").unwrap();
        assert_eq!((table.op(), table.op_text()), (Op::Other, "zz"));
        assert_eq!((table.version(), table.table()), (Some(1), Some("db.x")));
        let none = Record::parse(b"@abc@ @x@ 1 \n").unwrap();
        assert_eq!((none.table(), none.fields().count()), (None, 2));
    }

    #[test]
    fn old_operators() {
        let put = Record::parse(b"@put@ 0 @db.user@ @a@ \n").unwrap();
        assert_eq!(
            (put.op(), put.op_text(), put.table()),
            (Op::Put, "put", Some("db.user"))
        );
        assert_eq!(Op::of(b"@del@ 0"), Some(Op::Del));
    }

    #[test]
    fn errors_say_where() {
        let error = |bytes| Record::parse(bytes).unwrap_err();
        assert_eq!(
            error(b"\0\0"),
            RecordError { at: 0, kind: RecordErrorKind::Operator }
        );
        assert_eq!(
            error(b"@pv@ x"),
            RecordError { at: 5, kind: RecordErrorKind::Version }
        );
        assert_eq!(
            error(b"@pv@ -1 @t@"),
            RecordError { at: 5, kind: RecordErrorKind::Version }
        );
        assert_eq!(
            error(b"@pv@ 7 t"),
            RecordError { at: 7, kind: RecordErrorKind::Table }
        );
        assert_eq!(
            error(b"@pv@ 7 @@ "),
            RecordError { at: 7, kind: RecordErrorKind::Table }
        );
    }
}
