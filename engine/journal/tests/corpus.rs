//! Real journals of a real server, and hard cases made by hand.
//!
//! They lie beside the repository, in `shared/corpus`, or where `TRIPLINE_CORPUS` says.

#![expect(clippy::unwrap_used, reason = "a test, its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use p4journal::Count;
use p4journal::Counter;
use p4journal::Explanation;
use p4journal::Head;
use p4journal::Options;
use p4journal::Reader;
use p4journal::apply;
use p4journal::diff;
use p4journal::verify;

/// The corpus, or `None` after saying that it is not there.
fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let path = std::env::var_os("TRIPLINE_CORPUS").map_or(beside, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: no corpus at {}", path.display());
    None
}

fn count(bytes: &[u8]) -> Count {
    let mut counter = Counter::new();
    counter.push(bytes);
    counter.finish()
}

fn checkpoint(folder: &Path, number: u64) -> impl Read + use<> {
    MultiGzDecoder::new(
        File::open(folder.join(format!("checkpoint.{number}.gz"))).unwrap(),
    )
}

fn journal(folder: &Path, number: u64) -> File {
    File::open(folder.join(format!("journal.{number}"))).unwrap()
}

#[test]
fn hard_cases_count_as_expected() {
    let Some(corpus) = corpus() else { return };
    let folder = corpus.join("crafted");
    let expected = fs::read_to_string(folder.join("EXPECT.tsv")).unwrap();
    let mut checked = 0;
    for line in expected.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let (Ok(records), Ok(bytes)) = (cells[1].parse::<u64>(), cells[2].parse::<u64>())
        else {
            continue; // Not a journal but a cut gzip file.
        };
        let path = folder.join(cells[0]);
        let count = count(&fs::read(&path).unwrap());
        let found = (count.records, count.bytes_complete);
        assert_eq!(found, (records, bytes), "{}", cells[0]);
        let has_hole = cells[0].starts_with("12-");
        assert_eq!(count.damaged, u64::from(has_hole), "{}", cells[0]);
        #[cfg(unix)]
        assert_eq!(Count::of_file(&File::open(&path).unwrap()).unwrap(), count);
        checked += 1;
    }
    assert_eq!(checked, 19);
}

#[test]
fn every_journal_says_its_number_and_how_it_ends() {
    let Some(corpus) = corpus() else { return };
    let folder = corpus.join("p4d-a");
    for number in 1..=15 {
        let mut bytes = Vec::new();
        journal(&folder, number).read_to_end(&mut bytes).unwrap();
        let count = count(&bytes);
        assert_eq!((count.number, count.next_number), (Some(number), Some(number + 1)));
        assert!(count.is_complete() && count.is_terminated());
        // The first one does not say it; 2010.2 brought the header.
        assert_eq!(count.head.number(), (number > 1).then_some(number));
        let header = count.head.header();
        assert_eq!(header.map(|it| it.case_insensitive), (number > 3).then_some(true));
    }
    let live = count(&fs::read(folder.join("journal")).unwrap());
    assert_eq!((live.number, live.next_number), (Some(16), None));
}

#[test]
fn checkpoints_say_that_they_are() {
    let Some(corpus) = corpus() else { return };
    for number in 4..=16 {
        let mut bytes = Vec::new();
        checkpoint(&corpus.join("p4d-a"), number).read_to_end(&mut bytes).unwrap();
        assert!(matches!(Head::read(&bytes), Head::Checkpoint { .. }));
        assert!(count(&bytes).is_complete());
    }
}

#[test]
fn every_column_of_every_record_has_a_name() {
    let Some(corpus) = corpus() else { return };
    let mut unlike = BTreeSet::new();
    for number in 1..=15 {
        let mut reader = Reader::new(journal(&corpus.join("p4d-a"), number));
        while let Some(entry) = reader.next().unwrap() {
            let record = entry.record().unwrap();
            let Some(layout) = record.layout() else {
                assert_eq!(record.table(), None);
                continue;
            };
            let written = (record.version(), record.fields().count());
            if written != (Some(layout.version), layout.width()) {
                unlike.insert((layout.table, written, layout.version, layout.width()));
            }
        }
    }
    assert_eq!(unlike, BTreeSet::new());
}

/// Rows compared, rows that differ, and these by explanation: facts about the corpus,
/// looked at row by row when they were written down.
struct Pair {
    rows: u64,
    differ: u64,
    checkpoint_action: u64,
    restored: u64,
    upgraded: u64,
    rewritten: u64,
}

/// The pairs of checkpoints from 1 and 2 on.
const PAIRS: [Pair; 15] = {
    const fn pair(rows: u64, differ: u64, explained: [u64; 4]) -> Pair {
        let [checkpoint_action, restored, upgraded, rewritten] = explained;
        Pair { rows, differ, checkpoint_action, restored, upgraded, rewritten }
    }
    [
        pair(106, 0, [0, 0, 0, 0]),
        pair(109, 0, [0, 0, 0, 0]),
        pair(172, 32, [0, 1, 31, 0]),
        pair(174, 1, [1, 0, 0, 0]),
        pair(194, 2, [1, 1, 0, 0]),
        pair(195, 2, [1, 1, 0, 0]),
        pair(8000, 3, [1, 1, 0, 1]),
        pair(8000, 2, [1, 1, 0, 0]),
        pair(8000, 2, [1, 1, 0, 0]),
        pair(8032, 1, [1, 0, 0, 0]),
        pair(8093, 2, [1, 1, 0, 0]),
        pair(8155, 2, [1, 1, 0, 0]),
        pair(8162, 2484, [1, 0, 2482, 1]),
        pair(8168, 288, [1, 0, 169, 118]),
        pair(8190, 1, [1, 0, 0, 0]),
    ]
};

#[test]
fn the_chain_law_holds_for_every_pair() {
    let Some(corpus) = corpus() else { return };
    let folder = corpus.join("p4d-a");
    println!("pair      rows  differ  unexplained  explained");
    for (number, pair) in (1..).zip(PAIRS) {
        let done = verify(
            checkpoint(&folder, number),
            [journal(&folder, number)],
            checkpoint(&folder, number + 1),
            &Options::default(),
            |difference, explanation| {
                assert!(explanation.is_some(), "{number}: {difference:?}");
            },
        )
        .unwrap();
        println!(
            "{number:>2}->{:<2} {:>8} {:>7} {:>12}  {:?}",
            number + 1,
            done.comparison.rows(),
            done.comparison.differ(),
            done.unexplained,
            done.explained
        );
        assert!(done.holds());
        assert_eq!(done.comparison.rows(), pair.rows);
        assert_eq!(done.comparison.differ(), pair.differ);
        let explained = |why| done.explained.get(&why).copied().unwrap_or_default();
        assert_eq!(explained(Explanation::CheckpointAction), pair.checkpoint_action);
        assert_eq!(explained(Explanation::Restored), pair.restored);
        assert_eq!(explained(Explanation::Upgraded), pair.upgraded);
        assert_eq!(explained(Explanation::Rewritten), pair.rewritten);
        // The order of rows is understood, so that nothing had to be remembered.
        assert_eq!(done.applied.rows_out_of_order, 0);
        assert!(done.comparison.rows_aside_max <= 10);
        assert_eq!(done.applied.missing_deletes, 0);
        assert!(done.comparison.is_sound());
        assert_eq!(done.applied.breaks().next(), None);
        assert_eq!(done.applied.unknown_tables, [""; 0]);
    }
}

#[test]
fn the_chain_law_holds_over_many_journals_at_once() {
    let Some(corpus) = corpus() else { return };
    let folder = corpus.join("p4d-a");
    let journals = (8..=12).map(|number| journal(&folder, number));
    let (from, to) = (checkpoint(&folder, 8), checkpoint(&folder, 13));
    let done = verify(from, journals, to, &Options::default(), |_, _| {}).unwrap();
    assert!(done.holds(), "{done:?}");
    assert_eq!(done.applied.breaks().next(), None);
}

#[test]
fn a_missing_journal_is_noticed() {
    let Some(corpus) = corpus() else { return };
    let folder = corpus.join("p4d-a");
    let journals = [10, 12].map(|number| journal(&folder, number));
    let (from, to) = (checkpoint(&folder, 10), checkpoint(&folder, 13));
    let done = verify(from, journals, to, &Options::default(), |_, _| {}).unwrap();
    assert!(!done.holds());
    assert_eq!(done.applied.breaks().count(), 1);
}

#[test]
fn what_is_applied_is_a_checkpoint_again() {
    let Some(corpus) = corpus() else { return };
    let folder = corpus.join("p4d-a");
    for number in 1..=15 {
        let mut out = Vec::new();
        let options = Options::default();
        let journals = [journal(&folder, number)];
        let done =
            apply(checkpoint(&folder, number), journals, &mut out, &options).unwrap();
        // Applying no journals changes nothing, not a byte: order, line ends, marks.
        let mut again = Vec::new();
        let none: [&[u8]; 0] = [];
        let unchanged = apply(&out[..], none, &mut again, &options).unwrap();
        assert!(out == again, "{number}");
        assert_eq!(unchanged.rows_out_of_order, 0);
        assert_eq!(unchanged.checkpoint.rows, done.rows_written);

        let mut before = Vec::new();
        checkpoint(&folder, number).read_to_end(&mut before).unwrap();
        let mut same = Vec::new();
        apply(&before[..], none, &mut same, &options).unwrap();
        assert!(before == same, "{number}");
        assert_eq!(diff(&before[..], &same[..], &options, |_| {}).unwrap().differ(), 0);
    }
}
