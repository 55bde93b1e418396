use super::*;

fn feed(framer: &mut Framer, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let space = framer.space();
        let n = space.len().min(bytes.len());
        space[..n].copy_from_slice(&bytes[..n]);
        framer.filled(n);
        bytes = &bytes[n..];
    }
}

fn texts(framer: &Framer) -> Vec<String> {
    let mut at = 0;
    let mut all = Vec::new();
    for span in framer.spans() {
        let text = &framer.bytes()[at..span.end as usize];
        all.push(String::from_utf8_lossy(text).into_owned());
        at = span.end as usize;
    }
    all
}

#[test]
fn places_and_the_bytes_before_them_go_on() {
    let mut framer = Framer::new(RECORD_BYTES_MAX);
    framer.restart(Place { era: 0, sequence: 4, offset: 100, line: 9 }, b"earlier\n");
    feed(&mut framer, b"@pv@ 1 @db.x@ @a\nb@ \n@ex@ 1 2\n@pv@ 1 @d");
    assert!(framer.frame(false));
    assert_eq!(framer.spans().len(), 2);
    assert_eq!(framer.marks()[0].index, 1);
    assert_eq!(framer.before_end(), b"earlier\n@pv@ 1 @db.x@ @a\nb@ \n@ex@ 1 2\n");
    framer.discard();
    assert_eq!((framer.place().offset, framer.place().line), (130, 12));
    assert!(!framer.frame(false));
    assert_eq!(framer.left_over(), 9);
    assert_eq!(framer.read_offset(), 139);
    feed(&mut framer, b"b.x@ 3 \n");
    assert!(framer.frame(false));
    assert_eq!(texts(&framer), ["@pv@ 1 @db.x@ 3 \n"]);
    assert_eq!(framer.before_read(4), b" 3 \n");
}

#[test]
fn with_more_to_come_a_batch_ends_on_a_transaction() {
    let mut framer = Framer::new(RECORD_BYTES_MAX);
    feed(&mut framer, b"@pv@ 1 @db.x@ 1 \n@ex@ 1 2\n@pv@ 1 @db.x@ 2 \n");
    assert!(framer.frame(true));
    assert_eq!(framer.spans().len(), 2);
    framer.discard();
    assert!(framer.frame(false));
    assert_eq!(texts(&framer), ["@pv@ 1 @db.x@ 2 \n"]);
}

#[test]
fn an_open_transaction_is_held_back() {
    let mut framer = Framer::new(RECORD_BYTES_MAX);
    framer.hold_open();
    feed(&mut framer, b"@pv@ 1 @db.x@ 1 \n@ex@ 1 2\n@pv@ 1 @db.x@ 2 \n@mx@ 7 3\n");
    assert!(framer.frame(false));
    assert_eq!(framer.spans().len(), 2);
    assert_eq!(framer.marks().len(), 1);
    framer.discard();
    // Another process ends its own in between.
    feed(&mut framer, b"@pv@ 1 @db.x@ 3 \n@ex@ 8 4\n");
    assert!(!framer.frame(false));
    feed(&mut framer, b"@pv@ 1 @db.x@ 4 \n@ex@ 7 5\n@pv@ 1 @db.x@ 5 \n");
    assert!(framer.frame(true));
    assert_eq!(framer.spans().len(), 6);
    framer.discard();
    assert!(!framer.frame(false));
    assert!(framer.release());
    assert_eq!(texts(&framer), ["@pv@ 1 @db.x@ 5 \n"]);
}

#[test]
fn a_transaction_that_is_too_long_is_not_held() {
    let mut framer = Framer::new(BLOCK_BYTES);
    framer.hold_open();
    let record = b"@pv@ 1 @db.x@ 1 \n";
    let length = BLOCK_BYTES * HELD_RECORDS_MAX;
    for _ in 0..length / record.len() {
        feed(&mut framer, record);
    }
    assert!(!framer.frame(true));
    feed(&mut framer, record);
    assert!(framer.frame(true));
    assert!(framer.bytes().len() >= length);
    // What comes then goes on where it was.
    framer.discard();
    feed(&mut framer, record);
    feed(&mut framer, b"@ex@ 7 1\n");
    feed(&mut framer, record);
    assert!(framer.frame(true));
    assert_eq!((framer.spans().len(), framer.marks().len()), (2, 1));
}

#[test]
fn what_is_held_is_looked_at_once_and_handed_out_as_it_is() {
    let transaction = |change: usize, by: &str| {
        format!("@pv@ 0 @db.desc@ {change} @a\nb@ \n@pv@ 0 @db.x@ {change} \n{by}\n")
    };
    let mut all = String::new();
    for change in 0..201 {
        all += &transaction(change, ["@ex@ 7 1", "@mx@ 8 1", "@ex@ 8 2"][change % 3]);
    }
    let mut whole = Framer::new(RECORD_BYTES_MAX);
    feed(&mut whole, all.as_bytes());
    assert!(whole.frame(false));
    for length in [1, 7, 64, 1000] {
        let mut framer = Framer::new(RECORD_BYTES_MAX);
        framer.hold_open();
        let (mut seen, mut marks) = (Vec::new(), 0);
        for chunk in all.as_bytes().chunks(length) {
            feed(&mut framer, chunk);
            if framer.frame(true) {
                let last = texts(&framer).pop().unwrap();
                assert!(last.starts_with("@ex@"), "{last}");
                seen.extend(texts(&framer));
                marks += framer.marks().len();
                framer.discard();
            }
        }
        assert_eq!(framer.place(), whole.end_place());
        assert_eq!((seen, marks), (texts(&whole), whole.marks().len()), "{length}");
    }
}

#[test]
fn a_trailer_is_seen_across_batches() {
    let mut framer = Framer::new(RECORD_BYTES_MAX);
    feed(&mut framer, b"@rv@ 1 @db.counters@ @journal@ @6@ \n");
    assert!(framer.frame(false));
    framer.discard();
    assert_eq!(framer.next_number(), None, "not before its mark");
    feed(&mut framer, b"@nx@ 3 9 @58@ 0 0 0 0 0 @@ @@ @@ @@ @@ \n@ex@ 1 9\n");
    assert!(framer.frame(false));
    assert_eq!(framer.next_number(), Some(6));
}

#[test]
fn a_trailer_is_seen_from_its_middle() {
    let mut framer = Framer::new(RECORD_BYTES_MAX);
    let before = b"cut @ \n@ex@ 1 2\n@rv@ 1 @db.counters@ @journal@ @6@ \n";
    framer.restart(Place::default(), before);
    feed(&mut framer, b"@ex@ 1 9\n");
    assert!(framer.frame(false));
    assert_eq!(framer.next_number(), Some(6));
}

#[test]
fn a_giant_record_is_cut_and_the_next_is_whole() {
    let mut framer = Framer::new(BLOCK_BYTES);
    let mut giant = b"@pv@ 0 @db.desc@ 1 @".to_vec();
    giant.extend(std::iter::repeat_n(b"text of a line\n".as_slice(), 60_000).flatten());
    giant.extend(b"@ \n");
    let next = b"@ex@ 1 2\n";
    let mut all = giant.clone();
    all.extend(next);
    let (mut seen, mut incomplete, mut lines) = (Vec::<u8>::new(), 0, 0);
    for chunk in all.chunks(50_000) {
        feed(&mut framer, chunk);
        while framer.frame(true) {
            for (span, text) in framer.spans().iter().zip(texts(&framer)) {
                seen.extend(text.as_bytes());
                incomplete += usize::from(span.incomplete);
                lines += span.lines;
                assert!(span.incomplete || text.as_bytes() == next);
            }
            framer.discard();
        }
    }
    assert_eq!(seen, all);
    assert!(incomplete > 1);
    assert_eq!(lines, count_lines(&all));
}
