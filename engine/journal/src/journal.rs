//! Where a journal stands in its chain: its number, its header and its trailer.
//!
//! The name of a journal file is a hint at best; its content says which one it is. A
//! rotation writes into the old journal, as its last records, that the counter `journal`
//! is N+1 now, and into the new one, among its first, that it verifies it to be N+1.

use crate::field::Fields;
use crate::note::Note;
use crate::note::NoteKind;
use crate::record::Op;
use crate::record::Record;
use crate::split::Splitter;
use crate::split::may_start_record;

/// What the first records of a file say it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// More bytes are needed to tell.
    NeedMore,
    /// A journal that says its own number.
    Numbered {
        /// The journal's number.
        number: u64,
        /// Its header, unless the server is older than 2010.2.
        header: Option<Header>,
    },
    /// A journal that does not: a server's first one, or one begun without a rotation.
    /// A checkpoint of 2009.2 or older has no header either and looks the same.
    Unnumbered {
        /// Its header if it has one.
        header: Option<Header>,
    },
    /// A checkpoint of 2010.2 or younger.
    Checkpoint {
        /// Its header.
        header: Header,
    },
    /// No journal: the first bytes cannot be the start of a record.
    NotAJournal,
}

/// The first record of a journal or a checkpoint, since 2010.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Seconds since 1970 of the rotation. Two journals of the same number, as a restore
    /// leaves behind, differ in it.
    pub time: i64,
    /// The server's protocol level, such as 40 for 2015.2.
    pub protocol: u32,
    /// The server folds the case of names.
    pub case_insensitive: bool,
    /// The server runs in unicode mode.
    pub unicode: bool,
    /// The flags as they are written, of which the two above are read.
    pub flags: i64,
    /// What made the file: 0 a server as usual, others are dumps and repairs.
    pub origin: i64,
    /// The server's root directory. Bytes: nothing says they are UTF-8.
    pub root: Vec<u8>,
    /// The server's journal file.
    pub journal: Vec<u8>,
}

/// Notices, as the records pass by, when they end like a journal that was rotated.
///
/// The trailer is `@rv@ 1 @db.counters@ @journal@ @N@`, since 2010.2 `@nx@ 3`, and
/// `@ex@`. Feed every record in order; it costs a look at their first bytes.
///
/// ```
/// let mut trailer = p4journal::Trailer::new();
/// trailer.see(b"@rv@ 1 @db.counters@ @journal@ @6@ \n");
/// trailer.see(b"@nx@ 3 1700009999 @58@ 0 0 0 0 0 @@ @@ @@ @@ @@ \n");
/// assert_eq!(trailer.next_number(), None);
/// trailer.see(b"@ex@ 101 1700009999\n");
/// assert_eq!(trailer.next_number(), Some(6));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trailer {
    step: Step,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Elsewhere,
    /// The counter was set to this.
    Counter(u64),
    /// And the note followed.
    Note(u64),
    /// And the transaction ended.
    Closed(u64),
}

impl Head {
    /// Reads the first bytes of a file, decompressed.
    ///
    /// Looks at notes and at the record after them, a few hundred bytes, and gives up on
    /// a number behind 64 notes. An answer other than [`Head::NeedMore`] does not change
    /// when more bytes follow.
    pub fn read(first_bytes: &[u8]) -> Self {
        if !may_start_record(first_bytes) {
            return Self::NotAJournal;
        }
        let mut header = None;
        let mut rest = first_bytes;
        for _ in 0..NOTES_MAX {
            // A long first row need not be there as a whole: its operator tells.
            match Op::of(rest) {
                None if may_start_record(rest) => return Self::NeedMore,
                Some(Op::Nx | Op::Vv) => {}
                _ => return Self::Unnumbered { header },
            }
            let Some(piece) = Splitter::new().next(rest) else {
                return Self::NeedMore;
            };
            let (bytes, after) = rest.split_at(piece.len);
            let Ok(record) = Record::parse(bytes) else {
                return Self::Unnumbered { header };
            };
            let Some(note) = record.note() else {
                return match journal_counter(record.table(), record.fields()) {
                    Some(number) if piece.whole => Self::Numbered { number, header },
                    _ => Self::Unnumbered { header },
                };
            };
            match note.kind {
                NoteKind::CheckpointHeader => {
                    return Self::Checkpoint { header: Header::of(&note) };
                }
                NoteKind::JournalHeader => header = Some(Header::of(&note)),
                _ => {}
            }
            rest = after;
        }
        Self::Unnumbered { header }
    }

    /// The journal's number if it says it.
    pub const fn number(&self) -> Option<u64> {
        match self {
            Self::Numbered { number, .. } => Some(*number),
            _ => None,
        }
    }

    /// The header if there is one.
    pub const fn header(&self) -> Option<&Header> {
        match self {
            Self::Numbered { header, .. } | Self::Unnumbered { header } => {
                header.as_ref()
            }
            Self::Checkpoint { header } => Some(header),
            Self::NeedMore | Self::NotAJournal => None,
        }
    }
}

impl Header {
    /// Reads the record that begins a journal or a checkpoint; `None` if it is another.
    pub fn read(record: &Record<'_>) -> Option<Self> {
        let note = record.note()?;
        let is_header = [NoteKind::JournalHeader, NoteKind::CheckpointHeader];
        is_header.contains(&note.kind).then(|| Self::of(&note))
    }

    fn of(note: &Note<'_>) -> Self {
        let mut strings = note.strings().map(|field| field.text().into_owned());
        Self {
            time: note.time,
            protocol: note.protocol,
            case_insensitive: note.is_case_insensitive(),
            unicode: note.is_unicode(),
            flags: note.ints[0],
            origin: note.ints[1],
            root: strings.next().unwrap_or_default(),
            journal: strings.next().unwrap_or_default(),
        }
    }
}

impl Trailer {
    /// Before any record.
    pub const fn new() -> Self {
        Self { step: Step::Elsewhere }
    }

    /// Takes the next record. Anything but the trailer's records, in their order, clears
    /// what was seen: a counter set by hand, or data written on behind the trailer.
    pub fn see(&mut self, record: &[u8]) {
        self.step = match (self.step, record) {
            (_, [b'@', b'r', b'v', b'@', b' ', ..]) => set_counter(record),
            (Step::Counter(number), [b'@', b'n', b'x', b'@', b' ', b'3', b' ', ..]) => {
                Step::Note(number)
            }
            (
                Step::Counter(number) | Step::Note(number),
                [b'@', b'e', b'x', b'@', ..],
            ) => Step::Closed(number),
            _ => Step::Elsewhere,
        };
    }

    /// The number of the next journal, when the last records seen were a trailer with
    /// its `@ex@`. The journal that ends here is complete, and its number is one less.
    pub const fn next_number(&self) -> Option<u64> {
        match self.step {
            Step::Closed(number) => Some(number),
            _ => None,
        }
    }
}

/// What `@rv@` leads to: the first step of a trailer, or nothing.
fn set_counter(record: &[u8]) -> Step {
    // A look at the digits and the table before parsing: most records are others.
    let rest = &record[5..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !rest[digits..].starts_with(b" @db.counters@ @journal@ ") {
        return Step::Elsewhere;
    }
    let counter = Record::parse(record)
        .ok()
        .and_then(|record| journal_counter(record.table(), record.fields()));
    counter.map_or(Step::Elsewhere, Step::Counter)
}

/// The value if a row of that table and with these columns is the counter `journal`. It
/// was a number until 2007, and is a text since.
pub(crate) fn journal_counter(
    table: Option<&str>,
    mut columns: Fields<'_>,
) -> Option<u64> {
    if table != Some("db.counters") || columns.next()?.raw() != b"journal" {
        return None;
    }
    columns.next()?.number()?.try_into().ok()
}

/// How many notes are read in search of a journal's number. A server writes one, and one
/// more each time it is started or upgraded.
const NOTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] =
        b"@nx@ 2 1700000000 @58@ 10 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \r\n";
    const NUMBER: &[u8] = b"@vv@ 1 @db.counters@ @journal@ @15@ \r\n";

    fn join(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn a_numbered_journal() {
        let head = Head::read(&join(&[HEADER, NUMBER]));
        assert_eq!(head.number(), Some(15));
        let header = head.header().unwrap();
        assert!(header.case_insensitive && header.unicode);
        assert_eq!((header.time, header.root.as_slice()), (1_700_000_000, &b"/p4"[..]));
        assert_eq!(Head::read(NUMBER), Head::Numbered { number: 15, header: None });
    }

    #[test]
    fn every_prefix_needs_more_until_it_is_told() {
        let whole = join(&[HEADER, NUMBER]);
        for len in 0..whole.len() {
            assert_eq!(Head::read(&whole[..len]), Head::NeedMore, "{len}");
        }
    }

    #[test]
    fn notes_may_come_between() {
        let start = b"@nx@ 7 1700000001 @58@ 0 0 0 0 0 @1666@ @/p4@ @@ @@ @@ \n";
        assert_eq!(Head::read(&join(&[HEADER, start, NUMBER])).number(), Some(15));
        let unnumbered = Head::read(&join(&[HEADER, start, b"@pv@ 1 @db.x@ 1"]));
        assert!(matches!(unnumbered, Head::Unnumbered { header: Some(_) }));
    }

    #[test]
    fn nothing_but_notes_is_given_up_on() {
        let head = Head::read(&HEADER.repeat(100));
        assert!(matches!(head, Head::Unnumbered { header: Some(_) }));
    }

    #[test]
    fn other_beginnings() {
        let unnumbered = Head::Unnumbered { header: None };
        assert_eq!(Head::read(b"@pv@ 1 @db.counters@ @upgrade@ @1@ \n"), unnumbered);
        assert_eq!(Head::read(b"@vv@ 1 @db.counters@ @change@ @1@ \n"), unnumbered);
        assert_eq!(Head::read(b"\0\0"), Head::NotAJournal);
        assert_eq!(Head::read(b"\x1f\x8b"), Head::NotAJournal);
        assert_eq!(Head::read(b"@P"), Head::NotAJournal);
        let checkpoint = b"@nx@ 0 1306252140 @30@ 2 0 0 0 0 @C:/p4@ @journal@ @@ @@ \r\n";
        assert!(matches!(Head::read(checkpoint), Head::Checkpoint { .. }));
    }

    #[test]
    fn a_counter_of_the_old_kind() {
        assert_eq!(Head::read(b"@vv@ 0 @db.counters@ @journal@ 7 \n").number(), Some(7));
    }

    #[test]
    fn a_trailer_without_its_note() {
        let mut trailer = Trailer::new();
        trailer.see(b"@rv@ 1 @db.counters@ @journal@ @3@ \r\n");
        trailer.see(b"@ex@ 1 2\r\n");
        assert_eq!(trailer.next_number(), Some(3));
    }

    #[test]
    fn what_follows_a_trailer_clears_it() {
        for after in
            [&b"@pv@ 1 @db.x@ 1 \n"[..], b"@ex@ 1 2\n", b"@nx@ 7 1 @58@ \n", b"\n"]
        {
            let mut trailer = Trailer::new();
            trailer.see(b"@rv@ 1 @db.counters@ @journal@ @3@ \n");
            trailer.see(b"@ex@ 1 2\n");
            trailer.see(after);
            assert_eq!(trailer.next_number(), None, "{}", after.escape_ascii());
        }
    }

    #[test]
    fn a_counter_set_by_hand_is_no_trailer() {
        let mut trailer = Trailer::new();
        trailer.see(b"@rv@ 1 @db.counters@ @journal@ @3@ \n");
        trailer.see(b"@rv@ 1 @db.counters@ @change@ @3@ \n");
        trailer.see(b"@ex@ 1 2\n");
        assert_eq!(trailer.next_number(), None);
    }
}
