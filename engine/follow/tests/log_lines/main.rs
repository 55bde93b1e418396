//! How bytes become lines, and lines entries.

mod naive;

use naive::{Act, Rule, check};
use proptest::prelude::*;
use std::sync::Arc;
use tripline_api::Place;
use tripline_follow::log::join::{Join, LINES_MAX};
use tripline_follow::log::lines::{End, LineRules, Lines};

fn lines(line_bytes_max: usize, join: Option<Join>) -> Lines {
    Lines::new(Arc::new(LineRules { line_bytes_max, join }))
}

fn feed(lines: &mut Lines, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let space = lines.space(usize::MAX);
        let count = space.len().min(bytes.len());
        assert!(count > 0);
        space[..count].copy_from_slice(&bytes[..count]);
        lines.filled(count);
        bytes = &bytes[count..];
    }
}

/// What can be taken: each entry as text, with `~` where it is incomplete and
/// its length where it was cut.
fn taken(lines: &mut Lines, end: End) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(piece) = lines.take(end) {
        let mut at = 0;
        for span in piece.spans {
            let text = String::from_utf8_lossy(&piece.bytes[at..span.end as usize]);
            let torn = if span.incomplete { "~" } else { "" };
            let cut = piece.cut.map(|len| len.to_string()).unwrap_or_default();
            all.push(format!("{text}{torn}{cut}"));
            at = span.end as usize;
        }
    }
    all
}

fn all(max: usize, join: Option<Join>, bytes: &[u8]) -> Vec<String> {
    let mut lines = lines(max, join);
    feed(&mut lines, bytes);
    taken(&mut lines, End::Final)
}

#[test]
fn a_line_goes_to_its_line_feed() {
    for (bytes, expected) in [
        (&b""[..], &[][..]),
        (b"a\n", &["a\n"]),
        (b"\n\na\n\n", &["\n", "\n", "a\n", "\n"]),
        (b"a\r\nb\rc\r\n", &["a\r\n", "b\rc\r\n"]),
        (b"a\0b\n\0\n", &["a\0b\n", "\0\n"]),
        (b"a\xff\n\xc3\n", &["a\u{fffd}\n", "\u{fffd}\n"]),
        (b"a\nb", &["a\n", "b~"]),
        (b"123456\n", &["123456\n"]),
        (b"1234567\nx\n", &["123456~8", "x\n"]),
        (b"x\n1234567", &["x\n", "123456~7"]),
    ] {
        assert_eq!(all(6, None, bytes), expected, "{bytes:?}");
    }
}

#[test]
fn a_torn_line_waits_and_is_shown_once() {
    let mut lines = lines(100, None);
    lines.restart(Place { era: 0, sequence: 1, offset: 10, line: 2 }, b"earlier\n");
    feed(&mut lines, b"one\ntw");
    let piece = lines.take(End::Open).unwrap();
    assert_eq!(piece.bytes, b"one\n");
    assert_eq!((piece.end.offset, piece.end.line), (14, 3));
    assert_eq!(piece.before_end, b"earlier\none\n");
    assert_eq!(taken(&mut lines, End::Open), [""; 0]);
    assert_eq!(taken(&mut lines, End::GroupOver), [""; 0]);
    assert_eq!((lines.read_offset(), lines.rest_bytes()), (16, 2));
    let piece = lines.take(End::Preview).unwrap();
    assert!(piece.is_preview());
    assert_eq!((piece.bytes, piece.before_end), (&b"tw"[..], &b"earlier\none\n"[..]));
    assert_eq!(lines.place().offset, 14);
    assert_eq!(taken(&mut lines, End::Preview), [""; 0], "once");
    feed(&mut lines, b"o");
    assert_eq!(taken(&mut lines, End::Preview), ["two~"]);
    feed(&mut lines, b"\n");
    assert_eq!(taken(&mut lines, End::Preview), ["two\n"]);
    assert_eq!(lines.place().line, 4);
}

#[test]
fn a_giant_line_costs_no_more_than_the_bound() {
    let max = 1 << 20;
    let mut lines = lines(max, None);
    feed(&mut lines, b"before\n");
    assert_eq!(taken(&mut lines, End::Open), ["before\n"]);
    let (block, mut len) = (vec![b'x'; 200_000], 0);
    while len < 50 << 20 {
        feed(&mut lines, &block);
        len += block.len() as u64;
        assert_eq!(taken(&mut lines, End::Open), [""; 0]);
        assert_eq!(lines.rest_bytes(), len);
        assert!(lines.space(usize::MAX).len() <= 256 * 1024);
    }
    assert!(lines.is_skipping());
    let piece = lines.take(End::Preview).unwrap();
    assert_eq!((piece.cut, piece.bytes.len()), (Some(len), max));
    assert_eq!(piece.before_end, b"before\n");
    feed(&mut lines, b"the end\nnext\n");
    let piece = lines.take(End::Open).unwrap();
    assert_eq!((piece.cut, piece.bytes.len()), (Some(len + 8), max));
    assert_eq!((piece.end.offset, piece.end.line), (7 + len + 8, 2));
    assert_eq!(piece.before_end.len(), 1024);
    assert!(piece.before_end.ends_with(b"xxxthe end\n"));
    assert!(!lines.is_skipping());
    assert_eq!(taken(&mut lines, End::Open), ["next\n"]);
}

#[test]
fn a_giant_line_behind_others_waits_whole() {
    let mut lines = lines(10, None);
    let text = ["a\n".to_owned(), "x".repeat(250_000), "\n".into()].concat();
    feed(&mut lines, text.as_bytes());
    assert_eq!(lines.take(End::Open).unwrap().bytes, b"a\n");
    feed(&mut lines, &b"b\n".repeat(100));
    let piece = lines.take(End::Open).unwrap();
    assert_eq!((piece.cut, piece.end.offset), (Some(250_001), 250_003));
    assert_eq!(taken(&mut lines, End::Open).len(), 100);
}

#[test]
fn pieces_are_not_endless_and_a_full_buffer_has_no_room() {
    let mut lines = lines(8 << 20, None);
    let block = b"line\n".repeat(50_000);
    let mut read = 0;
    loop {
        let space = lines.space(usize::MAX);
        if space.is_empty() {
            break;
        }
        let count = space.len().min(block.len()) / 5 * 5;
        if count == 0 {
            break;
        }
        space[..count].copy_from_slice(&block[..count]);
        lines.filled(count);
        read += count;
    }
    assert!(read > 8 << 20 && read < 9 << 20, "{read}");
    let mut handed_out = 0;
    while let Some(piece) = lines.take(End::Open) {
        assert!(piece.bytes.len() <= (1 << 20) + 5);
        handed_out += piece.bytes.len();
    }
    assert_eq!(handed_out, read);
    assert!(!lines.space(usize::MAX).is_empty());
}

#[test]
fn what_was_read_in_one_go_comes_in_pieces() {
    let long = ["x".repeat(3 << 20), "\ny\n".into()].concat();
    let halves = ["a\n".to_owned(), " b\n".repeat(200_000)].concat().repeat(2);
    // It ends just where a piece is full.
    let full = ["1".repeat(599_999), "\n".into()].concat().repeat(2) + "2\n";
    for text in [&long, &halves, &full] {
        for (rule, join) in [(Rule::Alone, None), (Rule::Indent, Some(Join::Indent))] {
            let mut lines = lines(8 << 20, join);
            feed(&mut lines, text.as_bytes());
            let mut ends = Vec::new();
            while let Some(piece) = lines.take(End::Final) {
                let base = piece.start.offset as usize;
                let spans = piece.spans.iter();
                ends.extend(spans.map(|s| (base + s.end as usize, s.incomplete)));
            }
            let expected = naive::entries(text.as_bytes(), 8 << 20, rule, &[]);
            let expected: Vec<_> =
                expected.iter().map(|e| (e.start + e.len, e.incomplete)).collect();
            assert!(ends == expected, "{rule:?}");
        }
    }
}

#[test]
fn a_pattern_begins_an_entry() {
    let join = || Some(Join::start(r"^\d+ ").unwrap());
    for (bytes, expected) in [
        (&b"1 a\n  at x\n\n2 b\n"[..], &["1 a\n  at x\n\n", "2 b\n"][..]),
        (b"of before\nthis too\n1 a\n", &["of before\nthis too\n", "1 a\n"]),
        (b"1 a\nmore", &["1 a\nmore~"]),
        (b"1 a\n2 b", &["1 a\n", "2 b~"]),
        // The bound is 20 bytes without the last line feed.
        (b"1 23456789\n234567890\n", &["1 23456789\n234567890\n"]),
        (b"1 23456789\n2345678901\nx\n", &["1 23456789\n~", "2345678901\nx\n"]),
        (
            b"1 a\n123456789.123456789.1\nb\n",
            &["1 a\n~", "123456789.123456789.~22", "b\n"],
        ),
        (
            b"1 a\n2 3456789.123456789.1\nb\n",
            &["1 a\n", "2 3456789.123456789.~22", "b\n"],
        ),
    ] {
        assert_eq!(all(20, join(), bytes), expected, "{:?}", bytes.escape_ascii());
    }
}

#[test]
fn an_indented_line_continues() {
    let bytes = b"\ta\nb\n c\n\td\n\ne\n";
    let expected = ["\ta\n", "b\n c\n\td\n", "\n", "e\n"];
    assert_eq!(all(100, Some(Join::Indent), bytes), expected);
}

#[test]
fn an_open_group_waits_until_its_time_is_over() {
    let mut lines = lines(100, Some(Join::Indent));
    feed(&mut lines, b"a\nb\n c\n ");
    assert_eq!(taken(&mut lines, End::Open), ["a\n"]);
    assert_eq!(lines.rest_bytes(), 6);
    assert_eq!(taken(&mut lines, End::Preview), ["b\n c\n ~"]);
    assert_eq!(taken(&mut lines, End::GroupOver), ["b\n c\n"]);
    assert_eq!(lines.rest_bytes(), 1);
    feed(&mut lines, b"late\n d\nx");
    assert_eq!(taken(&mut lines, End::Open), [" late\n d\n"]);
    assert_eq!(taken(&mut lines, End::Final), ["x~"]);
}

#[test]
fn a_preview_does_not_join_what_begins_the_next() {
    let mut lines = lines(100, Some(Join::Indent));
    feed(&mut lines, b"a\n b\nc");
    assert_eq!(taken(&mut lines, End::Open), ["a\n b\n"], "an indent is known at once");
    assert_eq!(taken(&mut lines, End::Preview), ["c~"]);
    let mut lines = self::lines(100, Some(Join::start("^c").unwrap()));
    feed(&mut lines, b"a\nb\nc");
    assert_eq!(taken(&mut lines, End::Open), [""; 0], "a pattern is not");
    assert_eq!(taken(&mut lines, End::Preview), ["a\nb\n~"]);
}

#[test]
fn an_entry_has_a_bound_of_lines() {
    let mut lines = lines(1 << 20, Some(Join::Indent));
    feed(&mut lines, b"a\n");
    feed(&mut lines, &b" \n".repeat(2 * LINES_MAX as usize));
    feed(&mut lines, b"b\n");
    let piece = lines.take(End::Final).unwrap();
    let spans: Vec<_> = piece.spans.iter().map(|s| (s.lines, s.incomplete)).collect();
    assert_eq!(spans, [(LINES_MAX, true), (LINES_MAX, true), (1, false), (1, false)]);
}

#[test]
fn a_restart_forgets() {
    let mut lines = lines(10, Some(Join::Indent));
    feed(&mut lines, b"a\n b\n cccccccccccccccccccc");
    assert_eq!(taken(&mut lines, End::Open), ["a\n b\n~"]);
    assert!(lines.is_skipping());
    lines.restart(Place::start_of(0, 2), b"");
    assert!(!lines.is_skipping());
    assert_eq!((lines.read_offset(), lines.before_read(10)), (0, &b""[..]));
    feed(&mut lines, b" x\n");
    assert_eq!(taken(&mut lines, End::Final), [" x\n"]);
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(b"\n\n\n\n  \tab1\r\0\xff\xc3x".as_slice());
    prop::collection::vec(byte, 0..300)
}

/// Mostly text; now and then a run that is longer than all buffers.
fn long_text() -> impl Strategy<Value = Vec<u8>> {
    // Without a line feed, and no two stretches alike; or all the same.
    let byte = |i: usize| b"xb \t1\r\0\xff"[i.wrapping_mul(0x9e37_79b9) >> 13 & 7];
    let line = (1..700_000usize).prop_map(move |len| (0..len).map(byte).collect());
    let run = (prop::sample::select(b" \n".as_slice()), 1..300_000usize)
        .prop_map(|(byte, len)| vec![byte; len]);
    let parts = prop_oneof![3 => text(), 2 => line, 1 => run];
    prop::collection::vec(parts, 1..6).prop_map(|parts| parts.concat())
}

fn acts(read_max: usize) -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (1..read_max).prop_map(Act::Read),
        2 => Just(Act::Take(End::Open)),
        1 => Just(Act::Take(End::Preview)),
        1 => Just(Act::Take(End::GroupOver)),
        1 => Just(Act::TakeOne),
    ];
    prop::collection::vec(act, 0..60)
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        2 => Just(Rule::Alone),
        1 => Just(Rule::Indent),
        1 => Just(Rule::Digit),
        1 => Just(Rule::EndsWithB),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_reads_and_takes_give_the_same_entries(
        before in text(),
        bytes in text(),
        max in prop_oneof![1..6usize, 1..40usize],
        rule in rule(),
        acts in prop_oneof![acts(5), acts(40)],
    ) {
        check(&before, &bytes, max, rule, &acts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn long_lines_too(
        before in long_text(),
        bytes in long_text(),
        max in prop_oneof![1..40usize, 1000..10_000usize, Just(1 << 20)],
        rule in rule(),
        acts in acts(300_000),
    ) {
        check(&before, &bytes, max, rule, &acts);
    }
}
