//! Programs that answer as a test wants, or do not.

use super::super::tests::{LONG, json, lines, numbered, read, script};
use super::*;
use crate::testing::{Feed, OwnedBatch};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use tempfile::TempDir;

const SETTINGS: Settings = Settings {
    window: 100,
    acknowledge_timeout: LONG,
    ready: false,
    grace: Duration::from_millis(100),
    patience: LONG,
};

fn exec(text: &str, directory: &Path, settings: Settings) -> Acknowledged {
    let name = ListenerId::new("feed").unwrap();
    Acknowledged::new(name, script(text, directory), Secrets::Redact, settings)
}

/// Says yes to all, and writes down what it got.
const YES: &str = "echo start >> starts; while IFS= read -r line; do \
                   printf '%s\\n' \"$line\" >> got; echo OK; done";

/// A program that says what the test tells it to, for each line that it got.
struct Puppet {
    directory: TempDir,
    answers: File,
}

impl Puppet {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("answers");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
        // Open at both ends, so that nobody waits for the other.
        let answers = OpenOptions::new().read(true).write(true).open(fifo).unwrap();
        Self { directory, answers }
    }

    fn exec(&self, settings: Settings) -> Acknowledged {
        let text = "exec 3<> answers; while IFS= read -r line; do \
                    printf '%s\\n' \"$line\" >> got; \
                    IFS= read -r answer <&3; \
                    case $answer in die) exit 3;; *) printf '%s\\n' \"$answer\";; esac; done";
        exec(text, self.directory.path(), settings)
    }

    fn answer(&mut self, answers: &[&str]) {
        for answer in answers {
            writeln!(self.answers, "{answer}").unwrap();
        }
    }

    fn got(&self) -> String {
        read(self.directory.path().join("got"))
    }
}

/// Flushes, and waits until it is done.
fn settle(exec: &mut Acknowledged) -> Result<(), ListenError> {
    let until = Instant::now() + LONG;
    let mut is_flushed = exec.flush()? == Flushed::All;
    while !is_flushed {
        assert!(Instant::now() < until, "never flushed");
        std::thread::yield_now();
        is_flushed = exec.is_flushed()?;
    }
    Ok(())
}

fn lost<T: std::fmt::Debug>(result: Result<T, ListenError>) -> String {
    match result {
        Err(ListenError::Lost(why)) => why,
        other => panic!("not lost: {other:?}"),
    }
}

/// As a lane after a loss.
fn begin(exec: &mut Acknowledged) {
    exec.begin(&Feed::new("auth").begin(None)).unwrap();
}

fn ids(got: &str) -> Vec<usize> {
    let number = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["text"].as_str().unwrap().trim_start_matches("line ").parse().unwrap()
    };
    got.lines().map(number).collect()
}

#[test]
fn all_that_is_answered_is_settled() {
    let directory = tempfile::tempdir().unwrap();
    let mut exec = exec(YES, directory.path(), Settings { window: 7, ..SETTINGS });
    let batch = numbered(1000);
    batch.deliver(&mut exec).unwrap();
    settle(&mut exec).unwrap();
    assert_eq!(read(directory.path().join("got")), json(&batch));
    assert_eq!(exec.flush().unwrap(), Flushed::All, "nothing came since");
    exec.no_data(true).unwrap();
    drop(exec);
    assert_eq!(read(directory.path().join("starts")), "start\n");
}

#[test]
fn no_more_than_a_window_is_out() {
    let mut puppet = Puppet::new();
    let settings =
        Settings { window: 3, patience: Duration::from_millis(20), ..SETTINGS };
    let mut exec = puppet.exec(settings);
    let batch = numbered(10);
    batch.deliver(&mut exec).unwrap();
    assert_eq!(exec.flush().unwrap(), Flushed::Soon);
    assert!(!exec.is_flushed().unwrap());
    assert_eq!(exec.shared.lock().worker.as_ref().unwrap().sent, 3);
    // And no more is taken than there is room for.
    let Err(ListenError::Retry(why)) = lines(&["more"]).deliver(&mut exec) else {
        panic!("it was taken");
    };
    assert!(why.contains("has not answered for 10 entries yet"), "{why}");
    puppet.answer(&["OK"; 10]);
    settle(&mut exec).unwrap();
    assert_eq!(puppet.got(), json(&batch));
}

#[test]
fn a_flush_settles_what_came_before_it() {
    let mut puppet = Puppet::new();
    let mut exec = puppet.exec(SETTINGS);
    let feed = Feed::new("auth").log("/a", b"line 0\nline 1\n");
    let parts = feed.unsettled(&tripline_api::Settled::new(), 1);
    parts[0].deliver(&mut exec).unwrap();
    assert_eq!(exec.flush().unwrap(), Flushed::Soon);
    parts[1].deliver(&mut exec).unwrap();
    puppet.answer(&["OK"]);
    let until = Instant::now() + LONG;
    while !exec.is_flushed().unwrap() {
        assert!(Instant::now() < until);
    }
    assert_eq!(exec.flush().unwrap(), Flushed::Soon, "the second is on its way");
    puppet.answer(&["OK"]);
    settle(&mut exec).unwrap();
}

#[test]
fn what_is_refused_is_set_aside_alone() {
    let mut puppet = Puppet::new();
    let mut exec = puppet.exec(SETTINGS);
    let batch = numbered(5);
    batch.deliver(&mut exec).unwrap();
    puppet.answer(&["OK", "OK", "ERR no \x1b such user", "OK", "OK"]);
    settle(&mut exec).unwrap();
    let letters = exec.letters();
    assert_eq!(letters.len(), 1);
    let entry = batch.view().entries().nth(2).unwrap();
    assert_eq!(letters[0].place, entry.place);
    assert_eq!(letters[0].content, tripline_api::Content::Entry(b"line 2\n".to_vec()));
    assert_eq!(letters[0].why, "/bin/sh answered ERR: \"no \\u{1b} such user\"");
    assert_eq!(letters[0].key.listener.as_str(), "feed");
    assert_eq!(letters[0].key.log.as_deref(), Some(Path::new("/var/log/auth.log")));
    assert!(exec.letters().is_empty());
}

#[test]
fn what_is_put_off_comes_again_and_all_behind_it() {
    let mut puppet = Puppet::new();
    let mut exec = puppet.exec(SETTINGS);
    let batch = numbered(5);
    batch.deliver(&mut exec).unwrap();
    puppet.answer(&["OK", "OK", "DEFER disk full", "OK", "ERR late"]);
    let why = lost(settle(&mut exec));
    assert!(why.contains("/bin/sh puts auth/0/14"), "{why}");
    assert!(why.ends_with(" off: \"disk full\""), "{why}");
    begin(&mut exec);
    batch.deliver(&mut exec).unwrap();
    puppet.answer(&["OK", "OK", "OK"]);
    settle(&mut exec).unwrap();
    // The same program; what it said to those behind does not count.
    assert_eq!(ids(&puppet.got()), [0, 1, 2, 3, 4, 2, 3, 4]);
    assert!(exec.letters().is_empty());
}

#[test]
fn what_was_acknowledged_before_it_died_counts() {
    let mut puppet = Puppet::new();
    let mut exec = puppet.exec(SETTINGS);
    let batch = numbered(5);
    batch.deliver(&mut exec).unwrap();
    puppet.answer(&["OK", "OK", "die"]);
    let why = lost(settle(&mut exec));
    assert!(
        why.contains("ended with code 3, and has not answered for auth/0/14"),
        "{why}"
    );
    begin(&mut exec);
    batch.deliver(&mut exec).unwrap();
    // It dies once more before anything is settled.
    puppet.answer(&["OK", "die"]);
    lost(settle(&mut exec));
    begin(&mut exec);
    batch.deliver(&mut exec).unwrap();
    puppet.answer(&["OK", "OK"]);
    settle(&mut exec).unwrap();
    assert_eq!(ids(&puppet.got()), [0, 1, 2, 2, 3, 3, 4]);
    // What a person wants again comes again.
    let feed = Feed::new("auth");
    exec.begin(&Begin { set_by_hand: true, ..feed.begin(None) }).unwrap();
    batch.deliver(&mut exec).unwrap();
    puppet.answer(&["OK"; 5]);
    settle(&mut exec).unwrap();
    assert_eq!(ids(&puppet.got()).len(), 12);
}

#[test]
fn one_that_does_not_answer_is_ended_and_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let text = "echo start >> starts; echo hm >&2; exec sleep 1000";
    let settings =
        Settings { acknowledge_timeout: Duration::from_millis(200), ..SETTINGS };
    let mut exec = exec(text, directory.path(), settings);
    for _ in 0..2 {
        lines(&["x"]).deliver(&mut exec).unwrap();
        let why = lost(settle(&mut exec));
        assert!(why.contains("has not answered for 200ms, and has not"), "{why}");
        assert!(why.ends_with("it said \"hm\""), "{why}");
        begin(&mut exec);
    }
    assert_eq!(read(directory.path().join("starts")), "start\nstart\n");
}

#[test]
fn what_is_no_answer_ends_it() {
    for (text, word) in [
        ("echo hello; cat > /dev/null", "said \"hello\" where only"),
        ("echo OK; echo OK; cat > /dev/null", "more often than it was asked"),
        ("cat > /dev/null & head -c 100000 /dev/zero; wait", "[truncated]"),
        ("exit 0", "ended with code 0, and has not answered for auth/0/0"),
        ("exec /no/such/program", "code 127"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut exec = exec(text, directory.path(), SETTINGS);
        let result = lines(&["x"]).deliver(&mut exec);
        let result = result.and_then(|()| {
            settle(&mut exec)?;
            // The second answer may come after the first was enough.
            loop {
                exec.no_data(true)?;
                std::thread::yield_now();
            }
        });
        let why = lost::<()>(result);
        assert!(why.contains(word), "{text}: {why}");
    }
}

#[test]
fn one_that_says_when_it_is_ready_gets_nothing_before() {
    let mut puppet = Puppet::new();
    let settings = Settings { ready: true, ..SETTINGS };
    let text = "exec 3<> answers; IFS= read -r answer <&3; echo \"$answer\"; \
                while IFS= read -r line; do printf '%s\\n' \"$line\" >> got; echo OK; done";
    let mut exec = exec(text, puppet.directory.path(), settings);
    let batch = numbered(3);
    batch.deliver(&mut exec).unwrap();
    assert_eq!(exec.flush().unwrap(), Flushed::Soon);
    assert_eq!(exec.shared.lock().worker.as_ref().unwrap().sent, 0);
    puppet.answer(&["OK"]);
    settle(&mut exec).unwrap();
    assert_eq!(puppet.got(), json(&batch));
    let mut exec = super::tests::exec("echo ERR", puppet.directory.path(), settings);
    batch.deliver(&mut exec).unwrap();
    assert!(lost(settle(&mut exec)).contains("it did not begin with OK"));
}

#[test]
fn one_that_ends_at_rest_is_started_when_it_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let text =
        "echo start >> starts; read line; printf '%s\\n' \"$line\" >> got; echo OK";
    let mut exec = exec(text, directory.path(), SETTINGS);
    for count in 1..4 {
        let feed = Feed::new("auth").log(format!("/{count}"), b"x\n");
        let batches: Vec<OwnedBatch> =
            feed.unsettled(&tripline_api::Settled::new(), usize::MAX);
        batches[0].deliver(&mut exec).unwrap();
        settle(&mut exec).unwrap();
        let until = Instant::now() + LONG;
        while exec.shared.lock().worker.is_some() {
            exec.no_data(true).unwrap();
            assert!(Instant::now() < until);
        }
        assert_eq!(read(directory.path().join("starts")).lines().count(), count);
    }
}

#[test]
fn unfinished_lines_and_gaps_are_answered_too() {
    let mut puppet = Puppet::new();
    let mut exec = puppet.exec(SETTINGS);
    let before = Feed::new("auth").log("/a", b"line 0\nli");
    let after = Feed::new("auth").log("/a", b"line 0\nline 1\n");
    let all = after.unsettled(&tripline_api::Settled::new(), 1);
    before.previews()[0].deliver(&mut exec).unwrap();
    let gap = before.gap(None, tripline_api::Place::start_of(0, 1), all[0].view().start);
    exec.gap(&gap).unwrap();
    puppet.answer(&["ERR what is this", "ERR and this"]);
    settle(&mut exec).unwrap();
    assert!(exec.letters().is_empty(), "they come again, or are in the store");
    all[1].deliver(&mut exec).unwrap();
    puppet.answer(&["OK"]);
    settle(&mut exec).unwrap();
    let got = puppet.got();
    assert_eq!(got.lines().count(), 3);
    assert!(got.contains("\"partial\":true") && got.contains("\"gap\":"), "{got}");
}

#[test]
fn a_missing_program_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::new(&["./feed".to_owned()], directory.path()).unwrap();
    let name = ListenerId::new("feed").unwrap();
    let mut exec = Acknowledged::new(name, program, Secrets::Redact, SETTINGS);
    let result = lines(&["x"]).deliver(&mut exec);
    let why = lost(result.and_then(|()| settle(&mut exec)));
    assert!(why.contains("did not start: ") && why.contains("put it back"), "{why}");
}
