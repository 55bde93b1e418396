//! What the daemon reads late happened before.

use super::place::Place;
use jiff::{Timestamp, ToSpan as _};
use std::fmt::Write as _;

/// Lines as an app writes them, each so many seconds after the one before, the last of
/// them so many ago.
fn lines(count: i64, apart: i64, ago: i64) -> String {
    let now = Timestamp::now();
    let at = |number: i64| now - (ago + (count - 1 - number) * apart).seconds();
    (0..count).map(|number| format!("{:.0} oops {number}\n", at(number))).collect()
}

const COUNT: &str = r#"(name: "burst", on: Lines(source: "app"), match: r"oops (?P<n>\d+)",
    when: Count(of: 5, within: "60s"), do: [Touch(dir: "HERE", file: "burst-{{ last.n }}")])"#;

#[test]
fn an_hour_that_is_read_in_a_second_is_an_hour() {
    let place = Place::new(", time: Iso, zone: \"UTC\"", COUNT);
    place.append(&lines(200, 20, 3600));
    place.until_idle().exits(0);
    assert!(place.tasks().is_empty(), "3 a minute: {:?}", place.ends());
    place.append(&lines(5, 1, 0));
    place.until_idle().exits(0);
    assert!(place.file("burst-4").exists(), "{:?}", place.ends());
}

/// While the daemon was away beats came; when it was away a second time none came.
#[test]
fn nothing_is_missed_that_came_while_the_daemon_was_away() {
    let rule = r#"(name: "beat", on: Lines(source: "app"), match: r"oops (?P<n>\d+)",
        when: Absent(for: "10m"), do: [Touch(dir: "HERE", file: "absent")])"#;
    let place = Place::new(", time: Iso, zone: \"UTC\"", rule);
    place.append(&lines(30, 60, 3600));
    place.until_idle().exits(0);
    // The file ends an hour ago: by now it is missed.
    assert!(place.file("absent").exists(), "{:?} {}", place.ends(), place.said());
    let place = Place::new(", time: Iso, zone: \"UTC\"", rule);
    place.append(&lines(90, 60, 0));
    place.until_idle().exits(0);
    assert!(!place.file("absent").exists(), "{:?}", place.ends());
}

/// As it is at each start while a log goes on.
#[test]
fn what_began_long_ago_and_ends_now_did_not_all_happen_now() {
    let place = Place::new(", time: Iso, zone: \"UTC\"", COUNT);
    place.append(&lines(201, 20, 0));
    place.until_idle().exits(0);
    assert!(place.tasks().is_empty(), "3 a minute: {:?}", place.ends());
}

/// Minutes that nobody waited through are told of once.
#[test]
fn half_a_century_is_missed_once() {
    let rule = r#"(name: "beat", on: Lines(source: "app"), match: r"oops (?P<n>\d+)",
        when: Absent(for: "10m", again: "1m"), do: [Touch(dir: "HERE", file: "absent")])"#;
    let place = Place::new(", time: Iso, zone: \"UTC\"", rule);
    place.append("1970-01-02T00:00:00Z oops 0\n");
    place.append(&lines(1, 0, 0));
    place.until_idle().exits(0);
    assert_eq!(place.ends(), ["beat.touch-1 succeeded"]);
}

const TWO: &str = r#"(state: "state", listeners: {}, rules: ["rules.d/*.ron"], sources: {
    "app": Log(paths: ["logs/app.log"], time: Iso, zone: "UTC"),
    "live": Log(paths: ["logs/live.log"], time: Iso, zone: "UTC")})"#;

#[test]
fn what_happens_now_makes_nothing_late_that_is_read_later() {
    let rules = r#"(name: "beat", on: Lines(source: "app"), match: r"oops (?P<n>\d+)",
            when: Absent(for: "10m"), do: [Touch(dir: "HERE", file: "absent")]),
        (name: "live", on: Lines(source: "live"), match: r"oops",
            do: [Touch(dir: "HERE", file: "live")])"#;
    let place = Place::new("", rules);
    place.dir.write("tripline.ron", TWO);
    // So much that it does not come at once.
    let pad = "x".repeat(40_000);
    let beats = lines(100, 60, 0).lines().fold(String::new(), |mut all, line| {
        _ = writeln!(all, "{line} {pad}");
        all
    });
    place.append(&beats);
    place.dir.write("logs/live.log", lines(1, 0, 0));
    place.until_idle().exits(0);
    assert_eq!(place.ends(), ["live.touch-1 succeeded"]);
}

#[test]
fn a_source_that_cannot_be_read_holds_nothing_up() {
    let rules = r#"(name: "digest", on: Lines(source: "app"), match: r"oops",
            when: Digest(every: "1s"), do: [Touch(dir: "HERE", file: "digest")]),
        (name: "never", on: Journal(source: "p4"), do: [Touch(dir: "HERE", file: "never")])"#;
    let place = Place::new("", rules);
    // Its folder is a file.
    let journal = r#""p4": Journal(path: "logs/app.log/journal")})"#;
    let (app, _) = TWO.split_once(r#""live""#).unwrap();
    place.dir.write("tripline.ron", format!("{app}{journal}"));
    let daemon = place.start();
    place.append(&lines(1, 0, 0));
    place.wait_for_tasks(1);
    daemon.stop();
}
