//! A record reads as what it was written from, and two checkpoints compare as they are.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p4journal::Difference;
use p4journal::Field;
use p4journal::Options;
use p4journal::Reader;
use p4journal::Record;
use p4journal::apply;
use p4journal::diff;

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    while let Some(entry) = reader.next().unwrap() {
        let Ok(record) = entry.record() else { continue };
        check_fields(&record);
        if entry.piece.whole {
            check_rewritten(&record);
        }
    }
    check_apply(data);
});

fn check_fields(record: &Record<'_>) {
    for field in record.fields() {
        let text = field.text();
        assert!(text.len() <= field.raw().len());
        assert_eq!(
            field.is_quoted() && text.len() < field.raw().len(),
            field.raw().contains(&b'@') && field.is_quoted()
        );
    }
    let columns = record.columns().count();
    assert!(columns <= record.fields().count());
    if let Some(layout) = record.layout() {
        assert_eq!(Some(layout.table), record.table());
        if layout.width() == record.fields().count() {
            assert_eq!(columns, layout.columns.len());
            assert!(record.columns().all(|(name, _)| name.known().is_some()));
        }
    }
    assert!(record.note().is_none() || record.op_text() == "nx");
    assert!(record.marker().is_none() || ["ex", "mx"].contains(&record.op_text()));
}

/// Written anew from its fields, a record reads the same.
fn check_rewritten(record: &Record<'_>) {
    let mut bytes = format!("@{}@ ", record.op_text()).into_bytes();
    if let (Some(version), Some(table)) = (record.version(), record.table()) {
        bytes.extend(format!("{version} @{table}@ ").bytes());
    }
    for field in record.fields() {
        write(&mut bytes, &field);
    }
    bytes.push(b'\n');
    let again = Record::parse(&bytes).unwrap();
    assert_eq!((again.op(), again.version()), (record.op(), record.version()));
    assert_eq!(again.table(), record.table());
    assert!(again.fields().eq(record.fields()), "{}", bytes.escape_ascii());
}

fn write(bytes: &mut Vec<u8>, field: &Field<'_>) {
    let quote: &[u8] = if field.is_quoted() { b"@" } else { b"" };
    bytes.extend_from_slice(quote);
    bytes.extend_from_slice(field.raw());
    bytes.extend_from_slice(quote);
    bytes.push(b' ');
}

/// The first half is a checkpoint, the second a journal. What comes out of applying is
/// stable: applying nothing to it changes no row.
fn check_apply(data: &[u8]) {
    let (checkpoint, journal) = data.split_at(data.len() / 2);
    let options = Options::default();
    let mut out = Vec::new();
    let done = apply(checkpoint, [journal], &mut out, &options).unwrap();
    assert!(done.rows_written <= done.rows_read + done.journals.journals[0].records);
    let same = diff(&out[..], &out[..], &options, |_: Difference| {}).unwrap();
    assert_eq!(same.differ(), 0);
}
