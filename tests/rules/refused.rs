//! A configuration or a set of rules with a mistake changes nothing, whatever the mistake.

use super::place::{PATIENCE, Place, lines};
use crate::site::wait_until;
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::symlink;

const GOOD: &str = r#"(name: "tenth", on: Lines(source: "app"), match: r"job (?P<n>\d+) done",
    when: Count(of: 10, within: "1h"),
    do: [Exec(id: "write", run: ["/usr/bin/tee", "-a", "HERE/tenths"], stdin: "{{ last.n }}\n", timeout: "20s")])"#;

/// Rules that are wrong, and what is said of them.
const RULES: &[(&str, &str)] = &[
    (r#"(name: "x", on: Lines(), match: r"x", do: [)"#, "`[` is not closed"),
    (
        r#"(name: "x", on: Lines(), mach: r"x", do: [Print(to: "HERE/x")])"#,
        "a rule has no field `mach`",
    ),
    (
        r#"(name: "x", on: Lines(), match: r"(", do: [Print(to: "HERE/x")])"#,
        "this group is not closed",
    ),
    (
        r#"(name: "x", on: Lines(), match: r"(a{1000}){1000}", do: [Print(to: "HERE/x")])"#,
        "this pattern is too large",
    ),
    (
        r#"(name: "x", on: Lines(source: "ap"), match: r"x", do: [Print(to: "HERE/x")])"#,
        "there is no source named `ap`",
    ),
];

#[test]
fn whatever_the_mistake_the_old_set_goes_on() {
    let place = Place::new("", GOOD);
    let daemon = place.start();
    place.append(&lines(0..15));
    place.wait_for_tasks(1);
    let mut expected = "9\n".to_owned();
    let mut refused = 0;
    let mut goes_on = |words: &str| {
        daemon.signal(Signal::HUP);
        refused += 1;
        let is_refused = || place.said().matches("stays in force").count() >= refused;
        assert!(wait_until(PATIENCE, is_refused), "{words}: {}", place.said());
        assert!(place.said().contains(words), "{words}: {}", place.said());
        // Each time a half is counted before, and a half behind it.
        let number = refused as u32 * 10;
        place.append(&lines(number + 5..number + 15));
        place.wait_for_tasks(refused + 1);
        expected += &format!("{}\n", number + 9);
    };
    for (rules, words) in RULES {
        place.rules(&format!("{},{rules}", GOOD.replace("{{ last.n }}", "wrong")));
        goes_on(words);
    }
    fs::write(place.file("rules.d/all.ron"), b"(rules: [\xff])").unwrap();
    goes_on("UTF-8");
    fs::remove_file(place.file("rules.d/all.ron")).unwrap();
    symlink("nowhere", place.file("rules.d/all.ron")).unwrap();
    goes_on("`rules.d/all.ron` cannot be read");
    place.dir.write("tripline.ron", "(state: \"state\", sources: {");
    goes_on("`{` is not closed");
    daemon.stop();
    let written = String::from_utf8(place.dir.read("tenths")).unwrap();
    assert_eq!(written, expected, "{}", place.said());
}
