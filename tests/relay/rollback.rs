//! A sender that is brought back from an older state, with its logs, sends nothing in
//! places that the receiver knows.

use super::pair::{LONG, Pair, assert_eq_bytes, numbered};
use crate::site::wait_until;
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};

/// Where it keeps what ties it to receivers.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            find(&path, name)
        } else {
            path.ends_with(name).then_some(path)
        }
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &to) } else { _ = fs::copy(&path, to).unwrap() }
    }
}

/// As of a virtual machine: of the state a copy, of the log what was there.
struct Snapshot<'a> {
    pair: &'a Pair,
    state: PathBuf,
    length: u64,
}

impl<'a> Snapshot<'a> {
    fn of(pair: &'a Pair) -> Self {
        let state = pair.path("snapshot");
        copy(&pair.path("sender/state"), &state);
        let length = pair.log("a.log").metadata().unwrap().len();
        Self { pair, state, length }
    }

    fn bring_back(self) {
        let state = self.pair.path("sender/state");
        fs::remove_dir_all(&state).unwrap();
        fs::rename(&self.state, state).unwrap();
        let log = fs::File::options().write(true).open(self.pair.log("a.log")).unwrap();
        log.set_len(self.length).unwrap();
    }
}

#[test]
fn a_sender_that_was_brought_back_is_told_what_to_do() {
    let pair = Pair::new();
    pair.append_numbered("a.log", 0..10);
    let receiver = pair.listening();
    let sender = pair.sender();
    pair.wait_until_received(&["a.log"]);
    pair.wait_until_settled();
    sender.signal(Signal::STOP);
    let snapshot = Snapshot::of(&pair);
    sender.signal(Signal::CONT);
    let kept = find(&pair.path("sender/state"), "relay.json").unwrap();
    let before = fs::read(&kept).unwrap();
    let mut lines = 10;
    let is_another = wait_until(LONG, || {
        pair.append_numbered("a.log", lines..lines + 1);
        lines += 1;
        fs::read(&kept).is_ok_and(|now| now != before)
    });
    assert!(is_another, "{}", pair.said("sender"));
    pair.wait_until_received(&["a.log"]);
    pair.wait_until_settled();
    sender.kill();
    let received = fs::read(pair.received("a.log")).unwrap();
    assert_eq_bytes(&received, &numbered(0..lines), "before");

    snapshot.bring_back();
    pair.append_numbered("a.log", 1000..1100);
    let sender = pair.sender();
    pair.wait_until_said("sender", "do not fit together");
    pair.wait_until_said("receiver", "it says: cannot forward");
    let is_shown = || pair.where_is().stdout().contains("do not fit together");
    assert!(wait_until(LONG, is_shown), "{}", pair.where_is());
    sender.stop();
    let now = fs::read(pair.received("a.log")).unwrap();
    assert_eq_bytes(&now, &received, "nothing is sent");

    let said = pair.said("sender");
    let (said, _) = said.split_once(" and what the receiver knows").unwrap();
    let (_, path) = said.rsplit_once(": ").unwrap();
    assert!(pair.said("sender").contains("remove that file and start it again"));
    fs::remove_file(pair.dir.path().join(path)).unwrap();
    pair.send().exits(0);
    let now = fs::read(pair.received("a.log")).unwrap();
    assert_eq_bytes(&now, &[received, numbered(1000..1100)].concat(), "as it was told");
    // From then on it is as any other.
    pair.append_numbered("a.log", 1100..1200);
    pair.send().exits(0);
    receiver.stop();
    let now = fs::read(pair.received("a.log")).unwrap();
    assert!(now.ends_with(&numbered(1000..1200)));
}

/// The same of a receiver: what it has lost is not passed over in silence.
#[test]
fn a_receiver_that_was_brought_back_is_noticed() {
    let pair = Pair::new();
    let round = |lines: std::ops::Range<usize>| {
        pair.append_numbered("a.log", lines);
        let receiver = pair.listening();
        let ran = pair.send();
        receiver.stop();
        ran
    };
    round(0..10).exits(0);
    copy(&pair.path("receiver/state"), &pair.path("copy"));
    round(10..20).exits(0);
    round(20..30).exits(0);
    fs::remove_dir_all(pair.path("receiver/state")).unwrap();
    fs::rename(pair.path("copy"), pair.path("receiver/state")).unwrap();
    pair.append_numbered("a.log", 30..40);
    let receiver = pair.listening();
    let sender = pair.sender();
    pair.wait_until_said("sender", "do not fit together");
    sender.stop();
    fs::remove_file(find(&pair.path("sender/state"), "relay.json").unwrap()).unwrap();
    let back = ["where", "sender/tripline.ron", "--yes", "--set", "out", "logs", "start"];
    pair.dir.run(back).exits(0);
    pair.send().exits(0);
    receiver.stop();
    let now = fs::read(pair.received("a.log")).unwrap();
    assert!(now.ends_with(&numbered(0..40)), "{}", now.len());
}
