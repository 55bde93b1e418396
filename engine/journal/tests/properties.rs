//! What holds for every journal and for every way its bytes arrive.

use p4journal::Counter;
use p4journal::Head;
use p4journal::Piece;
use p4journal::Reader;
use p4journal::Record;
use p4journal::Splitter;
use p4journal::resync;
use p4journal::starts_record;
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes of the kind that decide something, and a few that do not.
fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let fragment = proptest::sample::select(vec![
        &b"@"[..],
        b"@@",
        b"\n",
        b"\r\n",
        b" ",
        b"@pv@ ",
        b"@put@ ",
        b"@ex@ 1 2\n",
        b"@nx@ 2 1 @30@ 2 ",
        b"1 @db.x@ ",
        b"\0",
        b"\x83\x40",
        b"text",
        b"a text that is longer than the sixty-four bytes that are looked at at once",
    ]);
    vec(fragment, 0..40).prop_map(|fragments| fragments.concat())
}

/// A field as a server writes it.
#[derive(Clone, Debug)]
enum Written {
    Number(i64),
    Text(Vec<u8>),
}

fn written() -> impl Strategy<Value = Written> {
    let byte = prop_oneof![Just(b'@'), Just(b'\n'), Just(b' '), Just(b'\r'), any::<u8>()];
    prop_oneof![
        any::<i64>().prop_map(Written::Number),
        vec(byte, 0..80).prop_map(Written::Text)
    ]
}

fn record_of(fields: &[Written]) -> Vec<u8> {
    let mut record = b"@pv@ 3 @db.nosuch@ ".to_vec();
    for field in fields {
        match field {
            Written::Number(number) => record.extend(number.to_string().bytes()),
            Written::Text(text) => {
                record.push(b'@');
                for &byte in text {
                    record.push(byte);
                    if byte == b'@' {
                        record.push(byte);
                    }
                }
                record.push(b'@');
            }
        }
        record.push(b' ');
    }
    record.push(b'\n');
    record
}

/// The rule as it is written down, with no regard to speed: the end of the first record.
fn end_by_the_rule(bytes: &[u8]) -> Option<Piece> {
    let mut quotes = 0;
    let mut lines = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        quotes += usize::from(byte == b'@');
        if byte != b'\n' {
            continue;
        }
        lines += 1;
        let after = &bytes[at + 1..];
        let balanced = quotes % 2 == 0;
        if balanced || starts_record(after) {
            let whole = balanced && starts_record(bytes);
            return Some(Piece { len: at + 1, lines, whole });
        }
        let may_become_a_start = [&b"@ex@ "[..], b"@put@ "].iter().any(|shape| {
            let filled = [after, shape.get(after.len()..).unwrap_or_default()].concat();
            after.len() < shape.len() && starts_record(&filled)
        });
        if may_become_a_start {
            return None;
        }
    }
    None
}

fn pieces_by_the_rule(bytes: &[u8]) -> Vec<Piece> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while let Some(piece) = end_by_the_rule(rest) {
        rest = &rest[piece.len..];
        pieces.push(piece);
    }
    pieces
}

/// The pieces when the bytes arrive in steps, each ending at a cut.
fn pieces_in_steps(bytes: &[u8], cuts: &[usize]) -> Vec<Piece> {
    let mut splitter = Splitter::new();
    let (mut start, mut pieces) = (0, Vec::new());
    for &cut in cuts.iter().chain([&bytes.len()]) {
        while let Some(piece) = splitter.next(&bytes[start..cut.max(start)]) {
            start += piece.len;
            pieces.push(piece);
        }
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn pieces_are_those_of_the_rule(bytes in hostile_bytes()) {
        let expected = pieces_by_the_rule(&bytes);
        prop_assert_eq!(&pieces_in_steps(&bytes, &[]), &expected);
        let mut splitter = Splitter::new();
        let mut found = Vec::new();
        let mut concatenated = Vec::new();
        let mut pieces = splitter.pieces(&bytes);
        for (piece_bytes, piece) in pieces.by_ref() {
            prop_assert_eq!(piece_bytes.len(), piece.len);
            concatenated.extend_from_slice(piece_bytes);
            found.push(piece);
        }
        prop_assert_eq!(pieces.used(), concatenated.len());
        prop_assert!(bytes.starts_with(&concatenated));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_cut_changes_the_pieces(bytes in hostile_bytes(), cuts in vec(0_usize..400, 0..20)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let every_byte: Vec<usize> = (0..bytes.len()).collect();
        let expected = pieces_in_steps(&bytes, &[]);
        prop_assert_eq!(&pieces_in_steps(&bytes, &cuts), &expected);
        prop_assert_eq!(pieces_in_steps(&bytes, &every_byte), expected);
    }

    #[test]
    fn more_bytes_never_change_a_piece(bytes in hostile_bytes(), more in hostile_bytes()) {
        let before = pieces_by_the_rule(&bytes);
        let after = pieces_by_the_rule(&[bytes, more].concat());
        prop_assert!(after.starts_with(&before));
    }

    #[test]
    fn a_resync_lands_on_a_piece(bytes in hostile_bytes(), from in 0_usize..400) {
        let from = from.min(bytes.len());
        let mut ends = vec![0];
        for piece in pieces_by_the_rule(&bytes) {
            ends.push(ends[ends.len() - 1] + piece.len);
        }
        if let Some(at) = resync(&bytes[from..]) {
            prop_assert!(starts_record(&bytes[from + at..]));
            prop_assert!(ends.contains(&(from + at)), "{} in {:?}", from + at, ends);
        }
    }

    #[test]
    fn what_was_written_is_read(records in vec(vec(written(), 0..8), 1..8)) {
        let bytes: Vec<u8> = records.iter().flat_map(|fields| record_of(fields)).collect();
        let mut reader = Reader::new(&bytes[..]);
        for fields in &records {
            let entry = reader.next().unwrap().unwrap();
            prop_assert!(entry.piece.whole);
            let record = entry.record().unwrap();
            prop_assert_eq!(record.table(), Some("db.nosuch"));
            prop_assert_eq!(record.fields().count(), fields.len());
            for (field, written) in record.fields().zip(fields) {
                match written {
                    Written::Number(number) => {
                        prop_assert!(!field.is_quoted());
                        prop_assert_eq!(field.number(), Some(*number));
                    }
                    Written::Text(text) => {
                        prop_assert!(field.is_quoted());
                        prop_assert_eq!(&*field.text(), &text[..]);
                    }
                }
            }
        }
        prop_assert!(reader.next().unwrap().is_none());
        prop_assert!(reader.tail().is_empty());
    }

    #[test]
    fn parsing_never_reads_beyond_the_record(bytes in hostile_bytes()) {
        let Ok(record) = Record::parse(&bytes) else { return Ok(()) };
        let raw: usize = record.fields().map(|field| field.raw().len()).sum();
        prop_assert!(raw <= bytes.len());
        prop_assert!(record.columns().count() <= record.fields().count());
        let _ = (record.note(), record.marker());
    }

    #[test]
    fn a_head_once_told_stays(bytes in hostile_bytes(), more in hostile_bytes()) {
        let head = Head::read(&bytes);
        if head != Head::NeedMore {
            prop_assert_eq!(Head::read(&[bytes, more].concat()), head);
        }
    }

    #[test]
    fn counting_in_steps_is_counting(bytes in hostile_bytes(), step in 1_usize..100) {
        let mut whole = Counter::new();
        whole.push(&bytes);
        let mut steps = Counter::new();
        bytes.chunks(step).for_each(|chunk| steps.push(chunk));
        let count = whole.finish();
        prop_assert_eq!(&steps.finish(), &count);
        // Of each piece the length, and whether it is a record.
        let mut rest = bytes.as_slice();
        let mut pieces = Vec::new();
        for piece in pieces_by_the_rule(&bytes) {
            let (piece_bytes, after) = rest.split_at(piece.len);
            pieces.push((piece.len as u64, piece.record(piece_bytes).is_some()));
            rest = after;
        }
        prop_assert_eq!(count.bytes_behind, rest.len() as u64);
        let complete = pieces.iter().take_while(|(_, is_record)| *is_record);
        let complete: u64 = complete.map(|(len, _)| len).sum();
        prop_assert_eq!(count.bytes_complete, complete);
        let records = pieces.iter().filter(|(_, is_record)| *is_record).count();
        prop_assert_eq!(count.records, records as u64);
        prop_assert_eq!(count.records + count.damaged, pieces.len() as u64);
    }
}
