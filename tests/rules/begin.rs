//! What is said when rules see a source for the first time, and when they are loaded anew.

use super::place::{PATIENCE, Place, lines};
use crate::site::wait_until;
use rustix::process::Signal;

const FIRST: &str = "rules see it for the first time";

fn rule(name: &str) -> String {
    format!(
        r#"(name: "{name}", on: Lines(), match: r"job (?P<n>\d+) done", overlap: Parallel(8),
           do: [Touch(dir: "HERE", file: "{name}-{{{{ n }}}}")])"#
    )
}

#[test]
fn it_is_said_how_much_old_is_acted_on() {
    let (all, none) =
        (Place::new("", &rule("x")), Place::new(", start: Now", &rule("x")));
    let old = lines(0..10);
    for (place, is_told) in [(&all, true), (&none, false)] {
        place.append(&old);
        let ran = place.until_idle().exits(0);
        assert_eq!(ran.stderr().contains(FIRST), is_told, "{ran}");
        assert_eq!(place.tasks().len(), if is_told { 10 } else { 0 });
    }
    let more = lines(10..12);
    all.append(&more);
    let ran = all.until_idle().exits(0);
    assert!(!ran.stderr().contains(FIRST), "{ran}");
    let again = Place::new("", &rule("x"));
    again.append(&old);
    let bytes = format!("act on the {} bytes that are there", old.len());
    let ran = again.until_idle().exits(0);
    ran.complains([&*bytes, "tripline.ron --set rules app end`"]);
}

#[test]
fn a_journal_is_told_of_as_it_is_begun() {
    let rule = r#"(name: "any", on: Journal(source: "p4"), do: [Touch(dir: "HERE", file: "x")])"#;
    let journal = "@pv@ 0 @db.counters@ @change@ 1 \n@ex@ 1 1700000001\n";
    for (start, is_told) in
        [("", true), (", start: Oldest", true), (", start: Now", false)]
    {
        let place = Place::new("", rule);
        place.dir.write(
            "tripline.ron",
            format!(
                r#"(state: "state", sources: {{"p4": Journal(path: "journal"{start})}},
                    listeners: {{}}, rules: ["rules.d/*.ron"])"#
            ),
        );
        place.dir.write("journal", journal);
        let ran = place.until_idle().exits(0);
        assert_eq!(ran.stderr().contains(FIRST), is_told, "{start}: {ran}");
        assert_eq!(place.tasks().len(), usize::from(is_told), "{start}: {ran}");
    }
}

#[test]
fn a_reload_says_what_is_in_force() {
    let place = Place::new("", &format!("{},{}", rule("stays"), rule("goes")));
    let daemon = place.start();
    place.append(&lines(0..1));
    place.wait_for_tasks(2);
    let says = |wanted: &str| {
        daemon.signal(Signal::HUP);
        assert!(
            wait_until(PATIENCE, || place.said().contains(wanted)),
            "{}",
            place.said()
        );
    };
    says("reloaded: 1 source, 0 listeners, 2 rules\n");
    place.rules(&rule("stays").replace("job", "JOB"));
    says(
        "reloaded: 1 source, 0 listeners, 1 rule; of another meaning, so they begin anew: \
         stays; gone: goes\n",
    );
    daemon.stop();
}

#[test]
fn a_start_shows_the_first_warnings() {
    for (count, more) in
        [(10, None), (11, Some("1 more warning:")), (99, Some("89 more"))]
    {
        let other = |n| rule(&format!("r{n}")).replace("job", &format!("job {n}"));
        let rules: Vec<_> = (0..count).map(other).collect();
        let place = Place::new("", &rules.join(",\n"));
        let ran = place.until_idle().exits(0);
        assert_eq!(ran.stderr().matches("warning[W010]").count(), 10, "{ran}");
        match more {
            None => assert!(!ran.stderr().contains("shows them all"), "{ran}"),
            Some(more) => {
                ran.complains([more, "tripline.ron` shows them all"]);
            }
        }
    }
}

/// That rules have no test is no reason to hide what stops a listener.
#[test]
fn a_secret_that_cannot_be_read_is_shown_first() {
    let other = |n| rule(&format!("r{n}")).replace("job", &format!("job {n}"));
    let rules: Vec<_> = (0..20).map(other).collect();
    let place = Place::new("", &rules.join(",\n"));
    let config = String::from_utf8(place.dir.read("tripline.ron")).unwrap();
    let listener = r#"listeners: {"far": Forward(from: ["app"], peer: "a",
        to: "tripline://127.0.0.1:1", shared_key: "a.key")}"#;
    place.dir.write("tripline.ron", config.replace("listeners: {}", listener));
    place.dir.write("a.key", "0".repeat(64));
    let ran = place.until_idle();
    let (key, no_test) = (ran.stderr().find("chmod 600"), ran.stderr().find("W010"));
    assert!(key.is_some() && key < no_test, "{ran}");
}
