//! What was there before the first start makes no rule fire, unless the source says so.

use super::place::{PATIENCE, Place, lines};
use crate::site::wait_until;
use rustix::process::Signal;

const RULE: &str = r#"(name: "each", on: Lines(), match: r"job (?P<n>\d+) done",
    overlap: Parallel(8), do: [Touch(dir: "HERE", file: "done-{{ event.source }}-{{ n }}")])"#;

/// A place whose log says nothing of where to begin.
fn place(sources: &str) -> Place {
    let place = Place::new("", RULE);
    configure(&place, sources);
    place
}

fn configure(place: &Place, sources: &str) {
    let config = format!(
        r#"(state: "state", sources: {{{sources}}}, listeners: {{}}, rules: ["rules.d/*.ron"])"#
    );
    place.dir.write("tripline.ron", config);
}

const APP: &str = r#""app": Log(paths: ["logs/app*.log"])"#;
const PASSED: &str = "rules begin with what comes from now on";

#[test]
fn old_lines_make_nothing_fire_and_new_ones_do() {
    let place = place(APP);
    let (old, older) = (lines(0..1000), lines(3000..4000));
    place.dir.write("logs/app.log.1", &older);
    place.append(&old);
    let ran = place.until_idle().exits(0);
    let bytes = format!("{} bytes", old.len() + older.len());
    ran.complains([PASSED, &bytes, "--set rules app start`", "`start: Oldest`"]);
    assert_eq!(place.tasks().len(), 0);
    // From then on they have a place, and what comes while nobody looks comes to them.
    place.append(&lines(1000..1003));
    place.dir.write("logs/app-new.log", lines(2000..2002));
    let ran = place.until_idle().exits(0);
    assert!(!ran.stderr().contains(PASSED), "{ran}");
    assert_eq!(place.tasks().len(), 5);
    // A person may want it all.
    place
        .dir
        .run(["where", "tripline.ron", "--set", "rules", "app", "start", "--yes"])
        .exits(0);
    place.until_idle().exits(0);
    assert!(place.file("done-app-0").exists());
}

#[test]
fn a_log_that_is_empty_or_says_where_to_begin_is_not_talked_of() {
    let all = place(r#""app": Log(paths: ["logs/app.log"], start: Oldest)"#);
    let none = place(APP);
    all.append(&lines(0..3));
    for place in [&all, &none] {
        let ran = place.until_idle().exits(0);
        assert!(!ran.stderr().contains(PASSED), "{ran}");
    }
    assert_eq!(all.tasks().len(), 3);
    none.append(&lines(0..3));
    none.until_idle().exits(0);
    assert_eq!(none.tasks().len(), 3, "the file was there, and nothing was in it");
}

#[test]
fn a_source_that_a_reload_adds_begins_there_too() {
    let place = place(APP);
    let daemon = place.start();
    assert!(wait_until(PATIENCE, || place.places()[0]["state"] == "following"));
    let rule = |name: &str, file: &str| {
        format!(
            r#"(name: "{name}", on: Lines(), match: r"job (?P<n>\d+) done", overlap: Parallel(8),
            do: [Touch(dir: "HERE", file: "{file}-{{{{ event.source }}}}-{{{{ n }}}}")])"#
        )
    };
    place.dir.write("logs/other.log", lines(0..100));
    configure(&place, &format!(r#"{APP}, "other": Log(paths: ["logs/other.log"])"#));
    let two = format!("{},{}", rule("each", "done"), rule("new", "new"));
    place.rules(&two);
    daemon.signal(Signal::HUP);
    assert!(
        wait_until(PATIENCE, || place.said().contains("2 sources")),
        "{}",
        place.said()
    );
    let is_begun = || {
        let rows = place.places();
        rows.iter().any(|row| row["source"] == "other" && row["bytes_behind"] == 0)
    };
    assert!(wait_until(PATIENCE, is_begun), "{}", place.said());
    place.append(&lines(5..6));
    std::fs::write(place.file("logs/other.log"), lines(0..100) + &lines(100..101))
        .unwrap();
    place.wait_for_tasks(4);
    let said = place.said();
    assert!(said.contains("reloaded: 2 sources, 0 listeners, 2 rules\n"), "{said}");
    assert!(said.contains(&format!("rules: other: {PASSED}")), "{said}");
    // Another meaning, and a rule that is gone.
    place.rules(&rule("each", "done").replace("job", "JOB"));
    daemon.signal(Signal::HUP);
    let wanted = "2 sources, 0 listeners, 1 rule; of another meaning, so they begin anew: \
                  each; gone: new\n";
    assert!(wait_until(PATIENCE, || place.said().contains(wanted)), "{}", place.said());
    daemon.stop();
    let mut done: Vec<_> = place.ends();
    done.sort();
    assert_eq!(done.len(), 4, "{done:?}");
    assert!(
        place.file("done-other-100").exists() && !place.file("done-other-99").exists()
    );
}

#[test]
fn a_journal_begins_behind_what_is_there() {
    let rule = r#"(name: "submit", on: Journal(source: "p4", table: "db.change"),
        if: "submit", do: [Touch(dir: "HERE", file: "submit-{{ submit.change }}")])"#;
    let place = Place::new("", rule);
    configure(&place, r#""p4": Journal(path: "p4/journal")"#);
    let submit = |number: u32| {
        format!(
            "@rv@ 5 @db.change@ {number} {number} @ws@ @ann@ 1767614400 1 @x@ @//depot/main/*@ @@ @@ 0 0 \n\
             @pv@ 9 @db.rev@ @//depot/main/a@ {number} 0 1 {number} 1767614400 1 00 12 0 0 @//depot/main/a@ @1.7@ 0 \n\
             @ex@ 1 1767614400\n"
        )
    };
    let old = submit(1) + &submit(2);
    place.dir.write("p4/journal", &old);
    place.until_idle().exits(0).complains(["rules: p4: ", PASSED]);
    assert!(place.tasks().is_empty());
    place.dir.write("p4/journal", old + &submit(3));
    place.until_idle().exits(0);
    assert_eq!(place.tasks().len(), 1, "{:?}", place.ends());
    assert!(place.file("submit-3").exists());
}
