//! Bytes in any steps give the pieces that the rule gives for all of them at once.
//!
//! The first byte of the input chooses the steps, the rest is the journal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p4journal::Counter;
use p4journal::Head;
use p4journal::Piece;
use p4journal::Reader;
use p4journal::Splitter;
use p4journal::resync;
use p4journal::starts_record;

fuzz_target!(|data: &[u8]| {
    let Some((&step, bytes)) = data.split_first() else { return };
    let step = usize::from(step) + 1;
    let pieces = all_at_once(bytes);
    check_pieces(bytes, &pieces);
    assert_eq!(in_steps(bytes, step), pieces, "in steps of {step}");
    check_reader(bytes, &pieces);
    check_resync(bytes, &pieces);
    check_count(bytes, step, &pieces);
    check_head(bytes, step);
});

fn all_at_once(bytes: &[u8]) -> Vec<Piece> {
    let mut splitter = Splitter::new();
    let mut pieces = splitter.pieces(bytes);
    let found: Vec<Piece> = pieces.by_ref().map(|(_, piece)| piece).collect();
    assert_eq!(pieces.used(), found.iter().map(|piece| piece.len).sum::<usize>());
    found
}

fn in_steps(bytes: &[u8], step: usize) -> Vec<Piece> {
    let mut splitter = Splitter::new();
    let (mut start, mut pieces) = (0, Vec::new());
    let mut end = 0;
    while end < bytes.len() {
        end = bytes.len().min(end + step);
        while let Some(piece) = splitter.next(&bytes[start..end]) {
            start += piece.len;
            pieces.push(piece);
        }
        assert!(end - start - splitter.examined() <= 6, "examined too little");
    }
    pieces
}

/// Each piece ends at a line feed for one of the two reasons, and no earlier.
fn check_pieces(bytes: &[u8], pieces: &[Piece]) {
    let mut start = 0;
    for piece in pieces {
        let end = start + piece.len;
        let record = &bytes[start..end];
        let (mut odd, mut lines) = (false, 0);
        for (at, &byte) in record.iter().enumerate() {
            odd ^= byte == b'@';
            if byte == b'\n' {
                lines += 1;
                let ends = !odd || starts_record(&bytes[start + at + 1..]);
                assert_eq!(ends, at + 1 == record.len(), "at {}", start + at);
            }
        }
        assert_eq!(lines, piece.lines);
        assert_eq!(piece.whole, !odd && starts_record(record));
        start = end;
    }
}

fn check_reader(bytes: &[u8], pieces: &[Piece]) {
    let mut reader = Reader::new(bytes);
    let (mut offset, mut line) = (0, 1);
    for piece in pieces {
        let entry = reader.next().unwrap().unwrap();
        assert_eq!((entry.piece, entry.offset, entry.line), (*piece, offset, line));
        offset += piece.len as u64;
        line += u64::from(piece.lines);
    }
    assert!(reader.next().unwrap().is_none());
    assert_eq!(reader.tail(), &bytes[offset as usize..]);
}

/// From wherever it is looked for, the first record start is a piece's.
fn check_resync(bytes: &[u8], pieces: &[Piece]) {
    let mut starts = vec![0];
    for piece in pieces {
        starts.push(starts[starts.len() - 1] + piece.len);
    }
    let mut from = 0;
    while let Some(at) = resync(&bytes[from..]) {
        assert!(starts.contains(&(from + at)));
        from += at;
    }
}

fn check_count(bytes: &[u8], step: usize, pieces: &[Piece]) {
    let mut counter = Counter::new();
    bytes.chunks(step).for_each(|chunk| counter.push(chunk));
    let count = counter.finish();
    assert_eq!(count.records + count.damaged, pieces.len() as u64);
    assert_eq!(count.is_complete(), count.damaged == 0 && count.bytes_behind == 0);
    assert_eq!(count.records, count.ops.values().sum::<u64>());
    assert!(count.tables.values().sum::<u64>() <= count.records);
    let mut whole = Counter::new();
    whole.push(bytes);
    assert_eq!(whole.finish(), count);
}

/// What a head says of some bytes it says of more.
fn check_head(bytes: &[u8], step: usize) {
    let head = Head::read(&bytes[..bytes.len().min(step)]);
    if head != Head::NeedMore {
        assert_eq!(Head::read(bytes), head);
    }
}
