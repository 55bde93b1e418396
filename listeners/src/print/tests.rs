//! The listener against journals in memory, and against what a crash, a power
//! loss or a person may have done to its file.

use super::*;
use crate::testing::{Feed, OwnedBatch};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;
use tripline_api::{GapKind, Place, SourceId};

const JOURNAL: &[u8] = b"@vv@ 1 @db.counters@ @journal@ @4@ \n@ex@ 1 110\n\
    @rv@ 4 @db.user@ @ann@ @ann@@example@ @@ 1 2 @Ann@ @0123CAFE@ 0 @@ 0 0 0 \n\
    @pv@ 0 @db.desc@ 3 @two\nlines \0@ \n@ex@ 1 111\n@dv@ 0 @db.x@ 4 \n@ex@ 1 112\n";

/// A listener and the file that it writes to.
struct Case {
    directory: TempDir,
    arguments: String,
    print: Box<dyn Listener>,
}

impl Case {
    fn new(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments = format!("(from: [\"p4\", \"b\"], to: \"out.jsonl\"{more})");
        let print = build(&arguments, directory.path()).unwrap().listener;
        Self { directory, arguments, print }
    }

    fn crash(&mut self) {
        // The old one lets go of the file first.
        self.print = Box::new(Nothing);
        self.print = build(&self.arguments, self.directory.path()).unwrap().listener;
    }

    fn begin(&mut self, feed: &Feed) {
        assert_eq!(self.print.begin(&feed.begin(None)).unwrap(), None);
    }

    fn deliver(&mut self, batches: &[OwnedBatch]) {
        for batch in batches {
            batch.deliver(&mut *self.print).unwrap();
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("out.jsonl")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn ids(&self) -> Vec<String> {
        let id = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            value["id"].as_str().unwrap().to_owned()
        };
        self.text().lines().map(id).collect()
    }
}

struct Nothing;

impl Listener for Nothing {
    fn listen(&mut self, _: &View<'_>) -> Result<(), ListenError> {
        Ok(())
    }
}

fn build(arguments: &str, directory: &Path) -> Result<Built, ArgsError> {
    Factory.build(
        &Args::new(arguments),
        &BuildContext { name: "audit", directory, state: directory },
    )
}

fn feed(source: &str) -> Feed {
    Feed::new(source).journal(4, JOURNAL)
}

fn gap(to: Place) -> Gap {
    Gap {
        source: SourceId::new("p4").unwrap(),
        log: None,
        kind: GapKind::Missing,
        from: Place::start_of(0, 1),
        to,
        proof: None,
        missing: Some((2, 3)),
        bytes: None,
        why: "journals 2 and 3 are gone".into(),
        repair: "restore them".into(),
    }
}

#[test]
fn lines_are_objects_and_private() {
    let mut case = Case::new("");
    case.begin(&feed("p4"));
    case.deliver(&feed("p4").batches(None, usize::MAX));
    case.print.flush().unwrap();
    assert_eq!(case.ids().len(), 7);
    let text = case.text();
    assert!(text.contains("[redacted]") && !text.contains("0123CAFE"), "{text}");
    assert_eq!(fs::metadata(case.path()).unwrap().permissions().mode() & 0o777, 0o600);

    let mut case = Case::new(", secrets: Keep");
    case.deliver(&feed("p4").batches(None, 1));
    assert!(case.text().contains("0123CAFE"));
}

#[test]
fn tables_and_ops_choose() {
    let ids = |more: &str| {
        let mut case = Case::new(more);
        case.deliver(&feed("p4").batches(None, usize::MAX));
        if case.path().exists() { case.text() } else { String::new() }
    };
    assert_eq!(ids(", tables: [\"db.user\", \"db.x\"]").lines().count(), 2);
    assert_eq!(ids(", ops: [\"ex\"]").lines().count(), 3);
    assert_eq!(ids(", tables: [\"db.x\"], ops: [\"pv\", \"rv\"]"), "");
    assert_eq!(ids(", tables: [\"db.x\"], ops: [\"dv\"]").lines().count(), 1);
}

#[test]
fn a_torn_record_of_a_wanted_table_is_shown() {
    let torn = b"@rv@ 4 @db.user@ @ann@ @torn\n@ex@ 1 2\n";
    let mut case = Case::new(", tables: [\"db.user\"]");
    case.deliver(&Feed::new("p4").journal(1, torn).batches(None, usize::MAX));
    assert!(case.text().contains("\"incomplete\":true"));
}

#[test]
fn what_is_torn_anywhere_is_written_once() {
    let batches = feed("p4").batches(None, 60);
    let mut case = Case::new("");
    case.deliver(&batches);
    let whole = fs::read(case.path()).unwrap();
    for len in (0..whole.len()).step_by(7) {
        for nuls in [0, 5000] {
            case.crash();
            let mut bytes = whole[..len].to_vec();
            bytes.resize(len + nuls, 0);
            fs::write(case.path(), bytes).unwrap();
            case.begin(&feed("p4"));
            let text = case.text();
            assert!(text.is_empty() || text.ends_with('\n'), "cut at once");
            case.deliver(&batches);
            case.print.flush().unwrap();
            assert_eq!(fs::read(case.path()).unwrap(), whole, "{len} {nuls}");
        }
    }
}

#[test]
fn sources_share_a_file() {
    let (a, b) = (feed("p4"), feed("b"));
    let mut case = Case::new("");
    case.deliver(&a.batches(None, 1)[..3]);
    case.deliver(&b.batches(None, 1)[..1]);
    case.deliver(&a.batches(None, 1)[3..4]);
    case.crash();
    case.begin(&a);
    case.begin(&b);
    case.deliver(&a.batches(None, 60));
    case.deliver(&b.batches(None, 60));
    let mut ids = case.ids();
    assert_eq!(ids.len(), 14);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 14);
}

#[test]
fn entries_asked_for_by_hand_come_again() {
    let feed = feed("p4");
    let mut case = Case::new("");
    case.deliver(&feed.batches(None, 60));
    case.crash();
    let cursor = Cursor::unproved(Place::start_of(0, 4));
    let begin = Begin { set_by_hand: true, ..feed.begin(Some(&cursor)) };
    case.print.begin(&begin).unwrap();
    case.deliver(&feed.batches(None, 1)[..1]);
    assert_eq!(case.ids().len(), 8);
    // From then on the newest line is the one that came again.
    case.crash();
    case.begin(&feed);
    case.deliver(&feed.batches(None, 60));
    assert_eq!(case.ids().len(), 14);
}

#[test]
fn a_gap_is_a_line_and_comes_once() {
    let to = Place::start_of(0, 4);
    let feed = feed("p4");
    let mut case = Case::new("");
    for _ in 0..2 {
        case.begin(&feed);
        case.print.gap(&gap(to)).unwrap();
        case.crash();
    }
    case.begin(&feed);
    case.deliver(&feed.batches(None, 60));
    case.crash();
    case.begin(&feed);
    case.print.gap(&gap(to)).unwrap();
    assert_eq!(case.ids()[..2], ["p4/4/0#gap", "p4/4/0"]);
    assert_eq!(case.ids().len(), 8);
    case.print.gap(&gap(Place::start_of(0, 9))).unwrap();
    assert_eq!(case.ids()[8], "p4/9/0#gap");
}

#[test]
fn a_later_era_is_not_taken_for_written() {
    let restored = Feed::new("p4").journal_of_era(1, 2, JOURNAL);
    let mut case = Case::new("");
    case.deliver(&feed("p4").batches(None, 60));
    case.crash();
    case.begin(&feed("p4"));
    case.deliver(&restored.batches(None, 60));
    assert_eq!(case.ids().len(), 14);
    case.crash();
    case.begin(&feed("p4"));
    case.deliver(&restored.batches(None, 60));
    assert_eq!(case.ids().len(), 14);
}

#[test]
fn a_renamed_file_is_left_for_a_new_one() {
    let batches = feed("p4").batches(None, 1);
    let rotated = |case: &Case| case.directory.path().join("out.jsonl.1");
    let mut case = Case::new("");
    case.begin(&feed("p4"));
    case.deliver(&batches[..2]);
    fs::rename(case.path(), rotated(&case)).unwrap();
    case.deliver(&batches[2..3]);
    case.print.flush().unwrap();
    case.deliver(&batches[3..]);
    case.print.flush().unwrap();
    assert_eq!(fs::read_to_string(rotated(&case)).unwrap().lines().count(), 3);
    assert_eq!(case.ids().len(), 4);
    // Also when nothing comes.
    fs::rename(case.path(), rotated(&case)).unwrap();
    case.print.no_data(false).unwrap();
    assert_eq!(case.text(), "");
}

#[test]
fn other_files_are_left_alone() {
    let mut case = Case::new("");
    fs::write(case.path(), "a letter\nto").unwrap();
    let error = case.print.begin(&feed("p4").begin(None)).unwrap_err();
    assert!(matches!(&error, ListenError::Stop(why) if why.contains("move it away")));
    assert_eq!(case.text(), "a letter\nto");
    fs::remove_file(case.path()).unwrap();
    fs::create_dir(case.path()).unwrap();
    let error = case.print.begin(&feed("p4").begin(None)).unwrap_err();
    assert!(error.to_string().contains("no plain file"), "{error}");
}

#[test]
fn arguments() {
    let refused = |arguments: &str| {
        build(arguments, Path::new("/")).err().expect(arguments).to_string()
    };
    let with = |more: &str| refused(&format!("(from: [\"p4\"], to: \"x\", {more})"));
    assert!(with("tables: []").contains("leave it out"));
    assert!(with("tables: [\"user\"]").contains("like \"db.user\""));
    assert!(with("tables: [\"db.user \"]").contains("no table"));
    assert!(with("ops: [\"put\", \"@rv@\"]").contains("\"@rv@\", which is no operator"));
    assert!(with("ops: [\"other\"]").contains("no operator"));
    assert!(with("quiet: \"soon\"").contains("no duration"));
    assert!(refused("(from: [\"p4\"], to: \"\")").contains("standard output"));
    let all = "(from: [\"p4\"], to: \"-\", tables: [\"db.user\"], ops: [\"rv\"], \
        secrets: Redact, on_gap: Stop, quiet: \"5s\")";
    assert_eq!(build(all, Path::new("/")).unwrap().on_gap, OnGap::Stop);
}
