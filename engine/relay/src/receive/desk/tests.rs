use super::super::store::Store;
use super::*;
use std::path::Path;

fn desk(scratch: &Path, committer: &Arc<Committer>) -> Desk {
    let (say, to): (Arc<super::super::Say>, _) =
        (Arc::new(|_: &str| {}), scratch.join("to"));
    let waker = Waker::new().unwrap();
    let mut desk = Desk::new(Arc::clone(committer), waker, say, to, "web1", "central");
    desk.take(&Frame::Tie(Tie { file: 1, number: 1 })).unwrap();
    desk
}

fn open(incarnation: u64) -> Frame<'static> {
    Frame::Open(Open { index: 0, source: "auth", incarnation, log: Some(b"/a") })
}

fn run(era: u64, bytes: &[u8]) -> Frame<'_> {
    Frame::Run(Run {
        index: 0,
        at: At { era, sequence: 0, offset: 0 },
        line: 0,
        next: bytes.len() as u64,
        entries: 1,
        did_rotate: false,
        incomplete: !bytes.ends_with(b"\n"),
        bytes,
    })
}

/// Nobody knows any more that the last line was torn; the file does.
#[test]
fn another_incarnation_or_era_begins_with_a_line_of_its_own() {
    for (incarnation, era, is_again) in [(2, 5, true), (1, 6, true), (1, 6, false)] {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::open(scratch.path()).unwrap();
        let committer = Arc::new(Committer::start(store).unwrap());
        let mut first = desk(scratch.path(), &committer);
        first.take(&open(1)).unwrap();
        first.take(&run(5, b"one\ntorn")).unwrap();
        first.commit_all().unwrap();
        if is_again {
            first = desk(scratch.path(), &committer);
            first.take(&open(incarnation)).unwrap();
        }
        first.take(&run(era, b"next\n")).unwrap();
        first.commit_all().unwrap();
        let read = |name| std::fs::read_to_string(scratch.path().join(name)).unwrap();
        assert_eq!(read("to/web1/auth/a"), "one\ntorn\nnext\n");
        let notes = read("to/web1/auth/gaps.jsonl");
        assert_eq!(notes.lines().count(), 1, "{notes}");
    }
}
