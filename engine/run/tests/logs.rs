//! Many logs in one source, each with a cursor of its own, and listeners whose
//! flush arrives later than it is asked for.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "logs/script.rs"]
mod script;

use script::{Site, Soon, path, wait_for};
use std::time::Duration;
use tripline_api::{Changed, GapKind, Place, State, Store as _};

#[test]
fn each_log_has_a_cursor_of_its_own() {
    let site = Site::new();
    for (log, lines) in [("a", 1), ("b", 2), ("c", 3)] {
        (0..lines).for_each(|line| site.write(log, &format!("{line}\n")));
    }
    let (listener, remote) = Soon::at_once();
    site.run_until_idle(listener);
    assert_eq!(remote.lines().len(), 6);
    assert_eq!(site.settled(), [("a".into(), 2), ("b".into(), 4), ("c".into(), 6)]);
    // A second run goes on at each of them.
    site.write("b", "new\n");
    let (listener, remote) = Soon::at_once();
    site.run_until_idle(listener);
    assert_eq!(remote.lines(), ["b 0/4 new"]);
    let rows = site.store().progress().unwrap();
    let source = rows.iter().find(|row| row.key.log.is_none()).unwrap();
    assert_eq!(source.state, State::Following, "the state is the source's");
}

#[test]
fn what_came_after_a_flush_is_not_settled_with_it() {
    let site = Site::new();
    let (listener, remote) = Soon::new();
    let engine = site.start(listener);
    site.write("a", "one\n");
    wait_for(|| remote.flushes() == 1);
    site.write("a", "two\n");
    site.write("b", "three\n");
    wait_for(|| remote.lines().len() == 3);
    assert_eq!(site.settled(), [], "nothing has arrived");
    wait_for(|| remote.questions() > 5);
    assert_eq!(remote.flushes(), 1, "one flush at a time");
    remote.acknowledge(1);
    wait_for(|| site.settled() == [("a".into(), 4)]);
    wait_for(|| remote.flushes() == 2);
    remote.acknowledge(2);
    wait_for(|| site.settled() == [("a".into(), 8), ("b".into(), 6)]);
    engine.stop();
}

#[test]
fn a_stop_waits_for_what_is_on_its_way() {
    let site = Site::new();
    let (listener, remote) = Soon::new();
    let engine = site.start(listener);
    site.write("a", "one\n");
    wait_for(|| remote.flushes() == 1);
    site.write("a", "two\n");
    wait_for(|| remote.lines().len() == 2);
    let stopping = std::thread::Builder::new().name("stopping".to_owned());
    let stopping = stopping.spawn(|| engine.stop().0).unwrap();
    let asked = remote.questions();
    wait_for(|| remote.questions() > asked + 5);
    remote.acknowledge(1);
    wait_for(|| remote.flushes() == 2);
    remote.acknowledge(2);
    assert_eq!(stopping.join().unwrap(), Default::default());
    assert_eq!(site.settled(), [("a".into(), 8)]);
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut site = Site::new();
    site.stop_within = Duration::from_millis(500);
    let (listener, remote) = Soon::new();
    let engine = site.start(listener);
    site.write("a", "one\n");
    wait_for(|| remote.flushes() == 1);
    assert_eq!(engine.stop().0, Default::default());
    assert!(site.heard("NotFlushed"));
    assert_eq!(site.settled(), []);
    let (listener, remote) = Soon::at_once();
    site.run_until_idle(listener);
    assert_eq!(remote.lines(), ["a 0/0 one"], "it comes again");
}

#[test]
fn what_was_lost_comes_again_from_the_last_settled_place() {
    let site = Site::new();
    let (listener, remote) = Soon::new();
    let engine = site.start(listener);
    site.write("a", "one\n");
    wait_for(|| remote.flushes() == 1);
    remote.acknowledge(1);
    wait_for(|| site.settled() == [("a".into(), 4)]);
    site.write("a", "two\n");
    site.write("b", "three\n");
    wait_for(|| remote.flushes() == 2);
    remote.lose("the line went down");
    site.write("a", "four\n");
    wait_for(|| site.heard("the line went down"));
    wait_for(|| remote.lines().iter().filter(|line| line.ends_with("two")).count() == 2);
    wait_for(|| remote.lines().iter().filter(|line| line.ends_with("one")).count() == 1);
    wait_for(|| remote.flushes() == 3);
    remote.acknowledge(3);
    wait_for(|| site.settled().len() == 2);
    wait_for(|| site.heard("Recovered"));
    // Nothing is left out, whatever comes next.
    wait_for(|| remote.lines().iter().any(|line| line.ends_with("four")));
    remote.acknowledge(99);
    engine.stop();
    assert_eq!(site.settled(), [("a".into(), 13), ("b".into(), 6)]);
}

#[test]
fn a_flush_that_fails_later_fails() {
    let site = Site::new();
    let (listener, remote) = Soon::new();
    let engine = site.start(listener);
    site.write("a", "one\n");
    wait_for(|| remote.flushes() == 1);
    remote.refuse("the disk over there is full");
    wait_for(|| site.heard("the disk over there is full"));
    wait_for(|| remote.flushes() == 2);
    remote.acknowledge(2);
    wait_for(|| site.settled() == [("a".into(), 4)]);
    assert_eq!(remote.lines(), ["a 0/0 one", "a 0/0 one"]);
    engine.stop();
}

#[test]
fn a_log_that_is_gone_is_forgotten_when_it_is_settled() {
    let site = Site::new();
    let (listener, remote) = Soon::new();
    let engine = site.start(listener);
    site.write("a", "one\n");
    site.write("b", "two\n");
    wait_for(|| remote.flushes() == 1);
    remote.acknowledge(1);
    wait_for(|| site.settled().len() == 2);
    site.write("a", "last\n");
    wait_for(|| remote.flushes() == 2);
    site.delete("a");
    wait_for(|| site.was_told_gone("a"));
    assert_eq!(site.settled().len(), 2, "the last line is not settled");
    remote.acknowledge(99);
    wait_for(|| site.settled() == [("b".into(), 4)]);
    // It comes back, and is another.
    site.write("a", "anew\n");
    wait_for(|| site.settled() == [("a".into(), 5), ("b".into(), 4)]);
    engine.stop();
}

#[test]
fn a_preview_settles_nothing() {
    let site = Site::new();
    site.write("a", "one\nunfini");
    let (listener, remote) = Soon::at_once();
    let engine = site.start(listener);
    wait_for(|| remote.lines().len() == 2);
    wait_for(|| site.settled() == [("a".into(), 4)]);
    site.write("a", "shed\n");
    wait_for(|| site.settled() == [("a".into(), 15)]);
    assert_eq!(remote.lines(), ["a 0/0 one", "a 0/4~ unfini", "a 0/4 unfinished"]);
    engine.stop();
    let rows = site.store().progress().unwrap();
    let row = rows.iter().find(|row| row.key.log == Some(path("a"))).unwrap();
    assert_eq!(row.entries_settled, 2);
}

#[test]
fn gaps_of_logs_keep_their_order_and_move_one_cursor() {
    let site = Site::new();
    site.write("a", "one\n");
    site.write("b", "two\n");
    let (listener, remote) = Soon::new();
    let engine = site.start(listener);
    wait_for(|| remote.flushes() == 1);
    remote.acknowledge(1);
    wait_for(|| site.settled().len() == 2);
    site.truncate("a", "new\n");
    wait_for(|| remote.lines().len() == 4);
    assert_eq!(remote.lines()[2..], ["a gap to 1/0", "a 1/0 new"]);
    assert_eq!(site.settled(), [("a".into(), 4), ("b".into(), 4)]);
    remote.acknowledge(99);
    let at = |log: &str| {
        let rows = site.store().progress().unwrap();
        let row = rows.into_iter().find(|row| row.key.log == Some(path(log)));
        row.and_then(|row| row.cursor).map(|cursor| cursor.place)
    };
    let era = Place::era_of_log(&path("a"));
    let behind = Place { offset: 4, line: 1, ..Place::start_of(era, 1) };
    wait_for(|| at("a") == Some(behind));
    engine.stop();
    let gaps = site.store().gaps().unwrap();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].0.log, Some(path("a")));
    assert_eq!(gaps[0].1.kind, GapKind::Truncated);
}

#[test]
fn hints_reach_the_reader_with_paths() {
    let site = Site::new();
    let (listener, _remote) = Soon::at_once();
    let engine = site.start(listener);
    wait_for(|| site.is_opened());
    let file = site.directory().join("something.log");
    std::fs::write(&file, "x").unwrap();
    let says =
        |hint: &Changed| matches!(hint, Changed::Paths(paths) if paths.contains(&file));
    wait_for(|| site.hints().iter().any(says));
    // A directory that the reader asks for later.
    let later = site.directory().join("later");
    std::fs::create_dir(&later).unwrap();
    site.asks_for(vec![site.directory(), later.clone()]);
    wait_for(|| site.hints().contains(&Changed::Anything));
    let file = later.join("deeper.log");
    std::fs::write(&file, "x").unwrap();
    let says =
        |hint: &Changed| matches!(hint, Changed::Paths(paths) if paths.contains(&file));
    wait_for(|| site.hints().iter().any(says));
    engine.stop();
}

#[test]
fn without_events_everything_is_looked_at_in_each_poll() {
    let mut site = Site::new();
    site.poll = Some(Duration::from_millis(20));
    let (listener, _remote) = Soon::at_once();
    let engine = site.start(listener);
    wait_for(|| site.hints().len() >= 3);
    engine.stop();
    assert!(site.hints().iter().all(|hint| *hint == Changed::Anything));
}

#[test]
fn a_source_of_ten_thousand_logs_costs_little() {
    const LOGS: usize = 10_000;
    let site = Site::new();
    for log in 0..LOGS {
        site.fill(&format!("containers/pod-{log}/current"), "a line of this log\n");
    }
    let (listener, remote) = Soon::at_once();
    site.run_until_idle(listener);
    assert_eq!(remote.lines().len(), LOGS);
    assert_eq!(site.settled().len(), LOGS);
    assert!(site.commits() < 20, "they are settled together: {}", site.commits());
}
