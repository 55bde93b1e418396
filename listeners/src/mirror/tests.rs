//! The mirror against journals in memory, and against what a crash, a power
//! loss or a person may have done to its files.

use super::*;
use crate::testing::{Feed, OwnedBatch};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;
use tripline_api::Proof;

/// A server's first journal; only its trailer tells its number, which is 1.
const JOURNAL_1: &[u8] = b"@pv@ 1 @db.counters@ @upgrade@ @1@ \n@ex@ 1 90\n\
    @pv@ 0 @db.desc@ 1 @two\nlines@ \n@ex@ 1 91\n\
    @rv@ 1 @db.counters@ @journal@ @2@ \n@ex@ 1 92\n";
const JOURNAL_2: &[u8] = b"@nx@ 2 100 @40@ 10 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
    @vv@ 1 @db.counters@ @journal@ @2@ \n@ex@ 1 100\n\
    @pv@ 0 @db.desc@ 2 @nul \0 in text@ \n@ex@ 1 101\n\
    @rv@ 1 @db.counters@ @journal@ @3@ \n@ex@ 1 102\n";
const JOURNAL_3: &[u8] = b"@vv@ 1 @db.counters@ @journal@ @3@ \n@ex@ 1 110\n\
    @pv@ 0 @db.desc@ 3 @two\nlines@ \n@ex@ 1 111\n@pv@ 0 @db.x@ 4 \n@ex@ 1 112\n";

fn feed() -> Feed {
    Feed::new("p4").journal(0, JOURNAL_1).journal(2, JOURNAL_2).journal(3, JOURNAL_3)
}

/// A mirror and the directory that it writes to.
struct Case {
    directory: TempDir,
    mirror: Mirror,
}

impl Case {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mirror = Mirror::new(directory.path().join("backup"));
        Self { directory, mirror }
    }

    /// One that has taken these batches and then crashed.
    fn after(batches: &[OwnedBatch]) -> Self {
        let mut case = Self::new();
        case.begin(None).unwrap();
        case.deliver(batches).unwrap();
        case.mirror.flush().unwrap();
        case.crash();
        case
    }

    fn crash(&mut self) {
        self.mirror = Mirror::new(self.mirror.path.clone());
    }

    fn begin(&mut self, cursor: Option<&Cursor>) -> Result<Option<Cursor>, ListenError> {
        self.mirror.begin(&feed().begin(cursor))
    }

    fn begin_by_hand(&mut self, place: Place) -> Option<Cursor> {
        let (feed, cursor) = (feed(), Cursor::unproved(place));
        let begin = Begin { set_by_hand: true, ..feed.begin(Some(&cursor)) };
        self.mirror.begin(&begin).unwrap()
    }

    fn deliver(&mut self, batches: &[OwnedBatch]) -> Result<(), ListenError> {
        batches.iter().try_for_each(|batch| batch.deliver(&mut self.mirror))
    }

    /// Begins, takes everything that is missing, and flushes.
    fn catch_up(&mut self, cursor: Option<&Cursor>) {
        let begun = self.begin(cursor).unwrap().or_else(|| cursor.cloned());
        self.deliver(&feed().batches(begun.map(|c| c.place), 40)).unwrap();
        self.mirror.flush().unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mirror.path.join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let found = fs::read_dir(&self.mirror.path).unwrap();
        let mut names: Vec<String> = found
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn assert_exact(&self) {
        assert_eq!(
            self.names(),
            ["journal", "journal.1", "journal.1.sha256", "journal.2", "journal.2.sha256"]
        );
        for (name, bytes) in [("1", JOURNAL_1), ("2", JOURNAL_2)] {
            assert_eq!(self.read(&format!("journal.{name}")), bytes);
            let hash = Sha256::digest(bytes);
            let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            let line = format!("{hex}  journal.{name}\n");
            assert_eq!(self.read(&format!("journal.{name}.sha256")), line.as_bytes());
        }
        assert_eq!(self.read("journal"), JOURNAL_3);
    }
}

#[track_caller]
fn assert_stops<T: std::fmt::Debug>(result: Result<T, ListenError>, words: &[&str]) {
    match result {
        Err(ListenError::Stop(why)) => {
            for word in words {
                assert!(why.contains(word), "{why}");
            }
        }
        other => panic!("did not stop: {other:?}"),
    }
}

#[test]
fn copies_are_exact_and_private() {
    for bytes_max in [1, 100, usize::MAX] {
        let mut case = Case::new();
        assert_eq!(case.begin(None).unwrap(), None);
        case.deliver(&feed().batches(None, bytes_max)).unwrap();
        case.mirror.flush().unwrap();
        case.assert_exact();
        let mode =
            |name: &str| fs::metadata(case.path(name)).unwrap().permissions().mode();
        assert_eq!(mode("") & 0o777, 0o700);
        for name in case.names() {
            assert_eq!(mode(&name) & 0o777, 0o600, "{name}");
        }
    }
}

#[test]
fn the_mirror_knows_where_it_is() {
    let batches = feed().batches(None, 1);
    for (index, batch) in batches.iter().enumerate() {
        let mut case = Case::after(&batches[..=index]);
        let begun = case.begin(None).unwrap();
        let mut wanted = batch.end().clone();
        if let Some(proof) = &mut wanted.proof {
            proof.inode = (0, 0);
        }
        // A journal's number is not known from its header alone, so there the
        // mirror starts that file again.
        if batch.end().place.sequence == 2 && batch.end().place.line == 1 {
            wanted = batches[index - 1].end().clone();
            wanted.proof.as_mut().unwrap().inode = (0, 0);
        }
        assert_eq!(begun, Some(wanted), "batch {index}");
    }
}

#[test]
fn a_torn_tail_is_written_again_wherever_it_is_torn() {
    let batches = feed().batches(None, 1);
    let settled = batches.last().unwrap().end();
    for cursor in [None, Some(settled)] {
        for len in (0..JOURNAL_3.len()).step_by(3) {
            let mut case = Case::after(&batches);
            let file = fs::OpenOptions::new().write(true).open(case.path("journal"));
            file.unwrap().set_len(len as u64).unwrap();
            case.catch_up(cursor);
            case.assert_exact();
        }
    }
}

#[test]
fn nuls_after_a_power_loss_are_written_again() {
    let batches = feed().batches(None, 1);
    let settled = batches[batches.len() - 4].end();
    assert_eq!(settled.place.sequence, 3);
    for from in (0..JOURNAL_3.len()).step_by(3) {
        for to in [JOURNAL_3.len(), JOURNAL_3.len() + 5000] {
            let mut case = Case::after(&batches);
            let mut bytes = JOURNAL_3[..from].to_vec();
            bytes.resize(to, 0);
            fs::write(case.path("journal"), bytes).unwrap();
            case.catch_up(Some(settled));
            case.assert_exact();
        }
    }
}

#[test]
fn a_hole_in_what_is_not_settled_is_written_again() {
    let batches = feed().batches(None, 1);
    let settled = batches[batches.len() - 4].end();
    let from = settled.place.offset as usize;
    for to in from + 1..JOURNAL_3.len() {
        let mut case = Case::after(&batches);
        let mut bytes = JOURNAL_3.to_vec();
        bytes[from..to].fill(0);
        fs::write(case.path("journal"), bytes).unwrap();
        let begun = case.begin(Some(settled)).unwrap().unwrap();
        assert_eq!(begun.place, settled.place);
        assert_eq!(case.read("journal").len(), from, "cut off at once");
        case.catch_up(Some(settled));
        case.assert_exact();
    }
}

#[test]
fn each_step_of_a_rotation_may_be_the_last() {
    let until_rotation = feed().batches(Some(Place::start_of(0, 0)), usize::MAX);
    // The checksum is there and the journal is not renamed; or only a part of
    // the checksum, under its temporary name.
    for name in ["journal.2.sha256", "journal.2.sha256.tmp"] {
        let mut case = Case::after(&until_rotation[..2]);
        fs::write(case.path(name), "cut").unwrap();
        let begun = case.begin(None).unwrap().unwrap();
        assert_eq!((begun.place.sequence, begun.next), (2, Some(3)));
        case.catch_up(None);
        case.assert_exact();
    }
    // It is renamed, and the new one is not there, or is empty, or is NULs.
    for content in [None, Some(&b""[..]), Some(&[0; 300]), Some(&b"@vv@ 1 @db"[..])] {
        let mut case = Case::after(&until_rotation);
        fs::remove_file(case.path("journal")).unwrap();
        if let Some(content) = content {
            fs::write(case.path("journal"), content).unwrap();
        }
        let begun = case.begin(None).unwrap().unwrap();
        assert_eq!((begun.place.sequence, begun.next), (2, Some(3)));
        assert_eq!(begun.place.offset, JOURNAL_2.len() as u64);
        case.catch_up(None);
        case.assert_exact();
    }
}

#[test]
fn an_empty_mirror_wants_whole_journals() {
    let cursor = feed().batches(None, 1)[7].end().clone();
    assert_eq!(cursor.place.sequence, 2);
    let start = Some(Cursor::unproved(Place::start_of(0, 2)));
    let mut case = Case::new();
    assert_eq!(case.begin(Some(&cursor)).unwrap(), start);
    assert_eq!(case.begin_by_hand(cursor.place), start);
    assert_eq!(case.begin_by_hand(Place::start_of(0, 2)), None);
    assert_eq!(case.begin(start.as_ref()).unwrap(), None);
    assert!(!case.mirror.path.exists(), "begin made it");
}

#[test]
fn a_cursor_set_by_hand_compares_what_is_there() {
    let batches = feed().batches(None, 40);
    let mut case = Case::after(&batches);
    for place in [Place::start_of(0, 2), Place::start_of(0, 3), Place::start_of(0, 0)] {
        assert_eq!(case.begin_by_hand(place), None);
        case.deliver(&feed().batches(Some(place), 40)).unwrap();
        case.mirror.flush().unwrap();
        case.assert_exact();
    }
    // Ahead, in a journal of which nothing is here: the whole of it.
    let ahead = Place { sequence: 5, offset: 70, ..Place::default() };
    let start = Cursor::unproved(Place::start_of(0, 5));
    assert_eq!(case.begin_by_hand(ahead), Some(start));
}

#[test]
fn other_bytes_stop_the_mirror() {
    let batches = feed().batches(None, usize::MAX);
    for (sequence, name) in [(2, "journal.2"), (3, "journal")] {
        let mut case = Case::after(&batches);
        let mut bytes = case.read(name);
        bytes[58] ^= 1;
        fs::write(case.path(name), &bytes).unwrap();
        assert_eq!(case.begin_by_hand(Place::start_of(0, sequence)), None);
        let again = feed().batches(Some(Place::start_of(0, sequence)), usize::MAX);
        let at = format!("diverged at journal {sequence} offset 58:");
        assert_stops(case.deliver(&again), &[&at, "Move the mirror aside"]);
        assert_eq!(case.read(name), bytes, "nothing was changed");
    }
}

#[test]
fn a_journal_that_lost_its_number_is_not_taken_for_a_first_one() {
    let mut case = Case::after(&feed().batches(None, usize::MAX));
    let mut bytes = JOURNAL_3.to_vec();
    bytes[12] ^= 1;
    fs::write(case.path("journal"), bytes).unwrap();
    assert_stops(case.begin(None), &["does not say its number", "after journal.2"]);
}

#[test]
fn a_restored_server_stops_the_mirror() {
    let other = String::from_utf8_lossy(JOURNAL_2).replace("100", "109");
    let restored = Feed::new("p4").journal_of_era(1, 2, other.as_bytes());
    let mut case = Case::after(&feed().batches(None, usize::MAX));
    assert_eq!(case.begin_by_hand(Place::start_of(1, 2)), None);
    let result = case.deliver(&restored.batches(None, usize::MAX));
    assert_stops(result, &["diverged at journal 2", "numbering started over"]);
    // A journal from before that is not here.
    let older = Feed::new("p4").journal_of_era(1, 1, b"@ex@ 1 2\n");
    fs::remove_file(case.path("journal.1")).unwrap();
    let result = case.deliver(&older.batches(None, usize::MAX));
    assert_stops(result, &["journal 1 comes again", "move the mirror aside"]);
}

#[test]
fn a_finished_journal_is_never_replaced() {
    let mut case = Case::after(&feed().batches(None, usize::MAX));
    fs::write(case.path("journal.3"), "an older one").unwrap();
    case.begin(None).unwrap();
    let next = Feed::new("p4").journal(4, b"@vv@ 1 @db.counters@ @journal@ @4@ \n");
    let result = case.deliver(&next.batches(None, usize::MAX));
    assert_stops(result, &["journal.3 is already there", "aside"]);
    assert_eq!(case.read("journal.3"), b"an older one");
    assert_eq!(case.read("journal"), JOURNAL_3);
}

#[test]
fn a_hole_stops_the_mirror() {
    let batches = feed().batches(None, 1);
    let last = batches.len() - 1;
    let mut case = Case::after(&batches[..last - 1]);
    case.begin_by_hand(batches[last].view().start);
    let held = batches[last - 2].end().place.offset;
    let held = format!("has {held} bytes of journal 3");
    assert_stops(case.deliver(&batches[last..]), &[&held, "a hole", "Set the cursor"]);
    // In a journal of which nothing is here.
    let mut case = Case::after(&batches[..1]);
    case.begin(None).unwrap();
    assert_stops(case.deliver(&batches[last..]), &["has 0 bytes of journal 3"]);
    assert_eq!(case.names(), ["journal"], "the old one was not finished for it");
}

#[test]
fn behind_a_gap_the_next_journal_begins() {
    let feed = Feed::new("p4")
        .journal(2, &JOURNAL_2[..150])
        .journal(9, b"@vv@ 1 @db.counters@ @journal@ @9@ \n");
    let mut case = Case::after(&feed.batches(None, usize::MAX));
    assert_eq!(case.names(), ["journal", "journal.2", "journal.2.sha256"]);
    let begun = case.begin(None).unwrap().unwrap();
    assert_eq!(begun.place.sequence, 9);
}

#[test]
fn the_directory_is_the_mirrors_own() {
    let batches = feed().batches(None, usize::MAX);
    let mut case = Case::after(&batches);
    case.begin(None).unwrap();
    let mut second = Mirror::new(case.mirror.path.clone());
    assert_stops(second.begin(&feed().begin(None)), &["another mirror writes to"]);

    // As when the server's own directory was given: its journal grows.
    let mut grown = JOURNAL_3.to_vec();
    grown.extend_from_slice(b"@ex@ 1 113\n");
    fs::write(case.path("journal"), &grown).unwrap();
    let longer = Feed::new("p4").journal(3, &grown);
    let result = case.deliver(&longer.batches(Some(batches[2].end().place), 1));
    assert_stops(result, &["somebody else writes to it", "directory of its own"]);
    assert_eq!(case.read("journal"), grown);
}

#[test]
fn what_is_torn_stays_while_it_may_be_the_servers() {
    let mut case = Case::after(&feed().batches(None, usize::MAX));
    let torn = [JOURNAL_3, b"@pv@ 0 @db.desc@ 5 @being writ"].concat();
    fs::write(case.path("journal"), &torn).unwrap();
    let begun = case.begin(None).unwrap().unwrap();
    assert_eq!(begun.place.offset, JOURNAL_3.len() as u64);
    assert_eq!(case.read("journal"), torn);
}

#[test]
fn other_files_are_left_alone() {
    for content in
        [&b"no journal\n"[..], b"\x1f\x8b", b"@nx@ 0 1 @40@ 1 0 0 0 0 @@ @@ @@ @@ \n"]
    {
        let mut case = Case::new();
        fs::create_dir(&case.mirror.path).unwrap();
        fs::write(case.path("journal"), content).unwrap();
        assert_stops(case.begin(None), &["is no journal", "another directory"]);
        assert_eq!(case.read("journal"), content);
    }
    let mut case = Case::new();
    fs::create_dir_all(case.path("journal")).unwrap();
    assert_stops(case.begin(None), &["no plain file"]);
}

#[test]
fn a_mirror_that_was_moved_aside_begins_again() {
    let batches = feed().batches(None, 40);
    let mut case = Case::after(&batches[..6]);
    case.catch_up(None);
    fs::rename(&case.mirror.path, case.directory.path().join("aside")).unwrap();
    assert!(matches!(case.mirror.flush(), Err(ListenError::Retry(_))));
    let begun = case.begin(Some(batches[5].end())).unwrap().unwrap();
    assert_eq!(begun.place, Place::start_of(0, batches[5].end().place.sequence));
}

#[test]
fn what_a_failed_sync_leaves_in_doubt_is_written_again() {
    let batches = feed().batches(None, 1);
    let settled = batches[batches.len() - 3].end();
    let mut case = Case::after(&batches);
    case.mirror.doubt = Some((3, settled.place.offset));
    case.mirror.must_begin = Some("the disk failed".into());
    // What is handed over before the lane begins again is not settled.
    case.deliver(&batches[batches.len() - 1..]).unwrap();
    let flushed = case.mirror.flush();
    assert!(matches!(flushed, Err(ListenError::Retry(why)) if why == "the disk failed"));
    let begun = case.begin(Some(settled)).unwrap().unwrap();
    assert_eq!(begun.place, settled.place);
    assert_eq!(case.read("journal").len() as u64, settled.place.offset);
    case.catch_up(Some(settled));
    case.assert_exact();
}

#[test]
fn a_first_journal_keeps_the_sequence_it_was_mirrored_under() {
    let feed = Feed::new("p4").journal(1, JOURNAL_1);
    let batches = feed.batches(None, 40);
    let mut case = Case::after(&batches);
    let end = batches.last().unwrap().end();
    let begun = case.mirror.begin(&feed.begin(Some(end))).unwrap().unwrap();
    assert_eq!(begun.place, end.place);
    // Without the engine's word for it, it has none.
    assert_eq!(case.begin(None).unwrap().unwrap().place.sequence, 0);
}

#[test]
fn a_retry_after_a_failed_write_takes_the_same_entries() {
    let batches = feed().batches(None, 40);
    let mut case = Case::new();
    case.begin(None).unwrap();
    case.deliver(&batches[..4]).unwrap();
    // As a full disk leaves it: a part of the next batch is there.
    case.mirror.directory = None;
    let journal = [case.read("journal"), batches[4].view().bytes[..9].to_vec()].concat();
    fs::write(case.path("journal"), journal).unwrap();
    case.deliver(&batches[4..]).unwrap();
    case.mirror.flush().unwrap();
    case.assert_exact();
}

#[test]
fn what_was_lost_between_two_calls_comes_again() {
    let batches = feed().batches(None, 40);
    let mut case = Case::new();
    case.begin(None).unwrap();
    case.deliver(&batches[..4]).unwrap();
    case.mirror.directory = None;
    fs::write(case.path("journal"), &JOURNAL_1[..50]).unwrap();
    case.deliver(&batches[4..]).unwrap();
    assert!(matches!(case.mirror.flush(), Err(ListenError::Retry(_))));
    case.catch_up(None);
    case.assert_exact();
}

#[test]
fn arguments() {
    let directory = tempfile::tempdir().unwrap();
    let context = BuildContext {
        name: "standby",
        directory: directory.path(),
        state: directory.path(),
    };
    let build = |text: &str| {
        Factory.build(&Args::new(text), &context).map_err(|error| error.message)
    };
    let built = build(r#"(from: ["p4"], to: "backup", quiet: "1m")"#).unwrap();
    assert_eq!((built.on_gap, built.quiet.as_secs()), (OnGap::Stop, 60));
    let built = build(r#"(from: ["p4"], to: "backup", on_gap: Notify)"#).unwrap();
    assert_eq!(built.on_gap, OnGap::Notify);
    let error = build(r#"(from: ["p4", "b"], to: "x")"#).err().unwrap();
    assert!(error.contains("one source") && error.contains("Mirror for each"), "{error}");
    assert!(build(r#"(from: ["p4"], to: "")"#).is_err());
    assert!(build(r#"(from: ["p4"])"#).err().unwrap().contains("to"));
}

/// The proof is over bytes that are here, not over the source's.
#[test]
fn the_proof_is_of_the_mirrors_own_bytes() {
    let mut case = Case::after(&feed().batches(None, usize::MAX));
    let mut bytes = JOURNAL_3.to_vec();
    bytes[40] ^= 1;
    fs::write(case.path("journal"), &bytes).unwrap();
    let begun = case.begin(None).unwrap().unwrap();
    assert_eq!(begun.proof, Some(Proof::new((0, 0), &bytes, &bytes)));
}
