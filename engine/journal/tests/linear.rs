//! Long records and hostile ones take time in proportion to their length.
//!
//! Not measured by a clock: after each call the splitter says how many bytes it has
//! examined, which may fall back by no more than one line feed with the start of an
//! operator behind it, and never reach beyond what it was given. Each byte is then
//! examined once, and a few at the end of each call twice.

#![expect(clippy::unwrap_used, reason = "a test, its helpers too")]

use p4journal::Reader;
use p4journal::Splitter;

/// A line feed and `@put@`, the longest thing that is not yet known to be a start.
const EXAMINED_TWICE_MAX: usize = 6;

/// Feeds the record in steps and returns how many bytes were examined in all, those
/// examined twice counted twice. The last byte completes the record.
fn examined(record: &[u8], step: usize) -> usize {
    let mut splitter = Splitter::new();
    let mut sum = 0;
    let mut before = 0;
    for end in (step..record.len()).step_by(step) {
        assert_eq!(splitter.next(&record[..end]), None, "at {end}");
        assert!(end - splitter.examined() <= EXAMINED_TWICE_MAX, "at {end}");
        sum += end - before;
        before = splitter.examined();
    }
    let piece = splitter.next(record).unwrap();
    assert_eq!(piece.len, record.len());
    sum + record.len() - before
}

fn assert_linear(record: &[u8], steps: &[usize]) {
    for &step in steps {
        let calls = record.len().div_ceil(step);
        let examined = examined(record, step);
        assert!(examined <= record.len() + calls * EXAMINED_TWICE_MAX, "steps of {step}");
    }
}

#[test]
fn two_megabytes_of_text_in_four_hundred_thousand_lines() {
    let text = "line\n".repeat(400_000);
    let record = format!("@pv@ 0 @db.desc@ 1 @{text}@ \n");
    assert_linear(record.as_bytes(), &[61, 4096, 1 << 16]);

    let journal = format!("{record}@ex@ 1 2\n");
    let mut reader = Reader::new(journal.as_bytes());
    let description = reader.next().unwrap().unwrap();
    assert_eq!((description.piece.lines, description.line), (400_001, 1));
    let text = description.record().unwrap().fields().nth(1).unwrap();
    assert_eq!(text.raw().len(), 2_000_000);
    assert_eq!(reader.next().unwrap().unwrap().line, 400_002);
}

#[test]
fn lines_that_almost_start_a_record() {
    for line in ["@@pv@@ \n", "\n", "@@", "@@\n", "pv@@ \n", "@@put@@\n@@ex@@ \n", "\r\n"]
    {
        let record = format!("@pv@ 0 @db.desc@ 1 @{}@ \n", line.repeat(20_000));
        assert_linear(record.as_bytes(), &[1, 7, 64, 4096]);
    }
}

#[test]
fn many_short_fields() {
    let record = format!("@pv@ 0 @db.nosuch@ {}\n", "@@ ".repeat(100_000));
    assert_linear(record.as_bytes(), &[7, 64, 1 << 16]);
    let parsed = p4journal::Record::parse(record.as_bytes()).unwrap();
    assert_eq!(parsed.fields().count(), 100_000);
}

#[test]
fn a_description_that_arrives_byte_by_byte_after_damage() {
    let mut journal = b"\0".repeat(100_000);
    journal.extend_from_slice(b"@pv@ 0 @db.desc@ 1 @torn\n@ex@ 1 2\n");
    let mut splitter = Splitter::new();
    let mut lengths = Vec::new();
    let mut start = 0;
    for end in 1..=journal.len() {
        while let Some(piece) = splitter.next(&journal[start..end]) {
            lengths.push((piece.len, piece.whole));
            start += piece.len;
        }
        assert!(end - start - splitter.examined() <= EXAMINED_TWICE_MAX);
    }
    assert_eq!(lengths, [(100_025, false), (9, true)]);
}
