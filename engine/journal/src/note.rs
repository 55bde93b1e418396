//! Notes: what the server says about the journal itself, `@nx@`.

use crate::field::Field;
use crate::field::Fields;

/// A note, since 2010.2.
///
/// `@nx@ kind time @protocol@ i1 i2 i3 i4 i5 @s1@ @s2@ ..`: what the numbers and texts
/// mean depends on the kind.
#[derive(Clone, Debug)]
pub struct Note<'a> {
    /// What it is about. A kind that is not known yet passes as it is.
    pub kind: NoteKind,
    /// Seconds since 1970.
    pub time: i64,
    /// The server's protocol level, such as 40 for 2015.2. It can change in the middle
    /// of a journal, when the server is upgraded without a rotation.
    pub protocol: u32,
    /// The five numbers; one that is missing is 0.
    pub ints: [i64; 5],
    strings: Fields<'a>,
}

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// 0: the first record of a checkpoint; `i1` has the flags, `s1` root, `s2` journal.
    CheckpointHeader,
    /// 1: the last but one record of a checkpoint.
    CheckpointTrailer,
    /// 2: the first record of a journal; `i1` has the flags, `s1` root, `s2` journal.
    JournalHeader,
    /// 3: the last but one record of a journal that was rotated.
    JournalTrailer,
    /// 4: a table of a checkpoint begins; `i1` its version, `i3` its checksum, `s1` name.
    Table,
    /// 5: the server was upgraded, from `i1` to `i2`.
    ServerUpgrade,
    /// 6: a table was upgraded.
    TableUpgrade,
    /// 7: the server was started.
    ServerStart,
    /// Any other.
    Other(u32),
}

impl<'a> Note<'a> {
    /// Reads the fields of an `@nx@`.
    pub(crate) fn read(mut fields: Fields<'a>) -> Option<Self> {
        let kind = NoteKind::of(u32::try_from(fields.next()?.number()?).ok()?);
        let time = fields.next()?.number()?;
        let protocol = fields.next()?.number()?.try_into().ok()?;
        let mut ints = [0; 5];
        for int in &mut ints {
            let before = fields.clone();
            match fields.next() {
                Some(field) if !field.is_quoted() => *int = field.number().unwrap_or(0),
                // The texts begin: there were fewer numbers.
                Some(_) => {
                    fields = before;
                    break;
                }
                None => break,
            }
        }
        Some(Self { kind, time, protocol, ints, strings: fields })
    }

    /// The texts, `s1` first.
    pub fn strings(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        self.strings.clone()
    }

    /// For a header: the server folds the case of names, as on Windows or with `-C1`.
    pub const fn is_case_insensitive(&self) -> bool {
        self.ints[0] & 3 == 2
    }

    /// For a header: the server runs in unicode mode.
    pub const fn is_unicode(&self) -> bool {
        self.ints[0] & 8 == 8
    }
}

impl NoteKind {
    /// The kind with that number.
    pub const fn of(number: u32) -> Self {
        match number {
            0 => Self::CheckpointHeader,
            1 => Self::CheckpointTrailer,
            2 => Self::JournalHeader,
            3 => Self::JournalTrailer,
            4 => Self::Table,
            5 => Self::ServerUpgrade,
            6 => Self::TableUpgrade,
            7 => Self::ServerStart,
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    #[test]
    fn a_header() {
        let bytes =
            br"@nx@ 2 1459200540 @40@ 10 0 0 0 0 @C:\MyTestDir@ @journal@ @@ @@ @@ ";
        let note = Record::parse(bytes).unwrap().note().unwrap();
        assert_eq!((note.kind, note.time), (NoteKind::JournalHeader, 1_459_200_540));
        assert_eq!((note.protocol, note.ints), (40, [10, 0, 0, 0, 0]));
        assert!(note.is_case_insensitive() && note.is_unicode());
        let strings: Vec<_> = note.strings().map(|field| field.raw()).collect();
        assert_eq!(strings, [&br"C:\MyTestDir"[..], b"journal", b"", b"", b""]);
    }

    #[test]
    fn fewer_numbers_than_five() {
        let note = Record::parse(b"@nx@ 42 1 @58@ 7 @a@ ").unwrap().note().unwrap();
        assert_eq!((note.kind, note.ints), (NoteKind::Other(42), [7, 0, 0, 0, 0]));
        assert_eq!(note.strings().count(), 1);
    }

    #[test]
    fn what_is_no_note() {
        assert!(Record::parse(b"@nx@ x 1 @58@ ").unwrap().note().is_none());
        assert!(Record::parse(b"@ex@ 1 1").unwrap().note().is_none());
    }
}
