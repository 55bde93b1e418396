//! What the daemon reads late happened before.

use super::place::Place;
use jiff::{Timestamp, ToSpan as _};

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
