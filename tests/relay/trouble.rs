//! Full disks, stopped receivers, cursors moved by hand, journals, gaps.

use super::pair::{LONG, Pair, assert_eq_bytes, numbered};
use crate::forwarding::half_open::Network;
use crate::site::{small_journals, wait_until};
use rustix::process::Signal;
use std::fs;

/// As long as its files may not grow it says so, and then it goes on.
#[test]
fn a_full_disk_is_told_and_nothing_is_lost() {
    let pair = Pair::with("", "");
    pair.append("a.log", &numbered(0..100_000));
    // The file with the lines is longer than that; the signal that says so is not
    // wanted.
    let mut command = std::process::Command::new("prlimit");
    command.args(["--fsize=600000", "sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    command.args([env!("CARGO_BIN_EXE_tripline"), "receive", "receiver/receive.ron"]);
    command.current_dir(pair.dir.path());
    let receiver = pair.spawn("receiver", &mut command);
    let sender = pair.sender();
    pair.wait_until_said("sender", "cannot write to");
    pair.wait_until_said("receiver", "cannot write to");
    // In the moments in which it is tried again it is not there.
    let is_there = || pair.where_is().stdout().contains("cannot write to");
    assert!(wait_until(LONG, is_there), "{}", pair.where_is());
    receiver.kill();
    let receiver = pair.listening();
    pair.wait_until_received(&["a.log"]);
    pair.wait_until_settled();
    sender.stop();
    receiver.stop();
    pair.assert_received(&["a.log"], "with room again");
}

#[test]
fn a_stopped_receiver_is_noticed_and_goes_on() {
    let pair = Pair::with("acknowledge_timeout: \"1s\"", "");
    pair.append_numbered("a.log", 0..10);
    let receiver = pair.listening();
    let sender = pair.sender();
    pair.wait_until_received(&["a.log"]);
    receiver.signal(Signal::STOP);
    for round in 1..=20 {
        pair.append_numbered("a.log", round * 100_000..(round + 1) * 100_000);
    }
    pair.wait_until_said("sender", "has not confirmed anything for 1s");
    receiver.signal(Signal::CONT);
    pair.wait_until_received(&["a.log"]);
    pair.wait_until_settled();
    sender.stop();
    receiver.stop();
    pair.assert_received(&["a.log"], "after a rest");
}

#[test]
fn what_a_person_wants_again_comes_again() {
    let pair = Pair::new();
    pair.append_numbered("a.log", 0..10);
    let receiver = pair.listening();
    pair.send().exits(0);
    for times in 2..5 {
        let set =
            ["where", "sender/tripline.ron", "--yes", "--set", "out", "logs", "start"];
        pair.dir.run(set).exits(0);
        pair.send().exits(0);
        let found = fs::read(pair.received("a.log")).unwrap();
        assert_eq_bytes(&found, &numbered(0..10).repeat(times), "wanted again");
    }
    // A sender that lost its state begins anew.
    fs::remove_dir_all(pair.path("sender/state")).unwrap();
    pair.append_numbered("a.log", 10..11);
    pair.send().exits(0);
    let found = fs::read(pair.received("a.log")).unwrap();
    assert!(found.ends_with(&numbered(0..11)), "{}", found.len());
    receiver.stop();
}

#[test]
fn journals_are_copied_each_into_a_file() {
    let pair = Pair::new();
    let journals = small_journals(3);
    let (live, rotated) = journals.split_last().unwrap();
    for journal in rotated {
        pair.dir.write(&format!("sender/p4/journal.{}", journal.number), &journal.bytes);
    }
    pair.dir.write("sender/p4/journal", &live.bytes);
    let text = format!(
        "(state: \"state\", sources: {{\"p4\": Journal(path: \"p4/journal\")}}, listeners: \
         {{\"out\": Forward(from: [\"p4\"], peer: \"web1\", compress: Deflate, \
         to: \"tripline://127.0.0.1:{}\")}})\n",
        pair.port
    );
    pair.dir.write("sender/tripline.ron", text);
    let receiver = pair.listening();
    pair.send().exits(0);
    receiver.stop();
    for journal in &journals {
        let found =
            pair.dir.read(&format!("receiver/in/web1/p4/journal.{}", journal.number));
        assert_eq_bytes(&found, &journal.bytes, &format!("journal {}", journal.number));
    }
}

#[test]
fn a_gap_is_written_down_once() {
    let pair = Pair::new();
    pair.append_numbered("a.log", 0..10);
    let receiver = pair.listening();
    let sender = pair.sender();
    pair.wait_until_received(&["a.log"]);
    pair.wait_until_settled();
    let log = fs::File::options().write(true).open(pair.log("a.log")).unwrap();
    log.set_len(0).unwrap();
    pair.append_numbered("a.log", 20..22);
    let notes = pair.path("receiver/in/web1/logs/gaps.jsonl");
    let is_there = || fs::read(&notes).is_ok_and(|notes| !notes.is_empty());
    assert!(wait_until(LONG, is_there), "{}", pair.said("sender"));
    pair.wait_until_settled();
    sender.kill();
    receiver.kill();
    let receiver = pair.listening();
    pair.send().exits(0);
    receiver.stop();
    let notes = fs::read_to_string(&notes).unwrap();
    assert_eq!(notes.lines().count(), 1, "{notes}");
    let gap: serde_json::Value = serde_json::from_str(&notes).unwrap();
    assert_eq!(gap["gap"]["kind"], "truncated");
    let found = fs::read(pair.received("a.log")).unwrap();
    assert_eq_bytes(
        &found,
        &[numbered(0..10), numbered(20..22)].concat(),
        "around a gap",
    );
}

/// Two forwarders of one sender have folders of their own.
#[test]
fn two_streams_are_not_mixed() {
    let pair = Pair::new();
    pair.append_numbered("a.log", 0..1000);
    let to = format!("peer: \"web1\", to: \"tripline://127.0.0.1:{}\"", pair.port);
    let text = format!(
        "(state: \"state\", sources: {{\"logs\": Log(paths: [\"logs/*.log\"])}}, listeners: \
         {{\"one\": Forward(from: [\"logs\"], {to}), \"two\": Forward(from: [\"logs\"], {to})}})"
    );
    pair.dir.write("sender/tripline.ron", text);
    let receiver = pair.listening();
    pair.send().exits(0);
    receiver.stop();
    let folders = fs::read_dir(pair.path("receiver/in/web1")).unwrap();
    let folders: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(folders.len(), 2, "{folders:?}");
    let name = pair.received("a.log");
    for folder in folders {
        let found = fs::read(folder.join(name.file_name().unwrap())).unwrap();
        assert_eq_bytes(&found, &numbered(0..1000), "each stream");
    }
}

/// The examples, but for host, port and log.
#[test]
fn the_examples_work() {
    let pair = Pair::new();
    let example = |name: &str| {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/relay");
        fs::read_to_string(path.join(name)).unwrap()
    };
    let log = pair.dir.write("auth.log", numbered(0..100)).canonicalize().unwrap();
    let here = format!("127.0.0.1:{}", pair.port);
    let receive = example("receive.ron").replace("0.0.0.0:6515", &here);
    let send = example("send.ron")
        .replace("logs.example:6515", &here)
        .replace("/var/log/auth.log", log.to_str().unwrap());
    pair.dir.write("receiver/receive.ron", receive);
    pair.dir.write("sender/tripline.ron", send);
    let key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
    pair.share_a_key(key, key);
    let receiver = pair.listening();
    pair.send().exits(0);
    receiver.stop();
    let name = log.to_str().unwrap()[1..].replace('/', "+");
    let found = pair.dir.read(&format!("receiver/received/web1/auth/{name}"));
    assert_eq_bytes(&found, &numbered(0..100), "the examples");
}

/// Without a word of farewell: nobody hears anything any more.
#[test]
fn a_network_that_vanishes_is_noticed_and_loses_nothing() {
    let Some(network) = Network::new() else { return };
    let pair = Pair::with("acknowledge_timeout: \"2s\"", "");
    pair.append_numbered("a.log", 0..100);
    let program = env!("CARGO_BIN_EXE_tripline");
    let start = |side: &str, args: [&str; 2]| {
        let mut command = network.enter();
        command.current_dir(pair.dir.path()).arg(program).args(args);
        pair.spawn(side, &mut command)
    };
    let receiver = start("receiver", ["receive", "receiver/receive.ron"]);
    let sender = start("sender", ["run", "sender/tripline.ron"]);
    pair.wait_until_received(&["a.log"]);
    pair.wait_until_settled();
    network.link("down");
    let since = std::time::Instant::now();
    pair.append_numbered("a.log", 100..200);
    pair.wait_until_said("sender", "the receiver at");
    assert!(since.elapsed() < std::time::Duration::from_secs(30));
    network.link("up");
    pair.wait_until_received(&["a.log"]);
    pair.wait_until_settled();
    sender.stop();
    receiver.stop();
    pair.assert_received(&["a.log"], "after the network was gone");
}

#[test]
fn each_command_says_whose_configuration_it_was_given() {
    let pair = Pair::new();
    let words = "start it with `tripline receive receiver/receive.ron`";
    pair.dir.run(["run", "receiver/receive.ron"]).exits(2).complains([words]);
    let words = "start it with `tripline run sender/tripline.ron`";
    pair.dir.run(["receive", "sender/tripline.ron"]).exits(2).complains([words]);
}
