//! What became of actions, and what is under way, as `tripline tasks` shows it.

use super::place::{PATIENCE, Place, lines};
use crate::site::wait_until;
use crate::util::Ran;
use serde_json::Value;

/// One says hostile things and fails with 3, one goes well, one waits for a pipe.
const RULES: &str = r#"
    (name: "breaks", on: Lines(source: "app"), match: r"break (?P<what>\w+)",
     do: [
        Exec(id: "try", run: ["/bin/sh", "-c", "printf 'one\\n\\033[2Jtwo \\377 \\342\\200\\256end\\n' >&2; exit 3"], timeout: "20s"),
        Touch(id: "second", needs: ["try"], dir: "HERE", file: "never"),
     ]),
    (name: "fine", on: Lines(source: "app"), match: r"job (?P<n>\d+) done",
     do: [Touch(dir: "HERE", file: "fine")]),
    (name: "slow", on: Lines(source: "app"), match: r"wait for it",
     do: [
        Exec(id: "wait", run: ["/bin/sh", "-c", "echo begun > HERE/begun; cat HERE/pipe"], timeout: "10m"),
        Touch(id: "behind", dir: "HERE", file: "behind"),
     ]),
"#;

fn line(what: &str) -> String {
    format!("Nov 20 21:14:03 www app[9]: {what}\n")
}

fn tasks(place: &Place, words: &[&str]) -> Ran {
    place.dir.run([&["tasks", "tripline.ron"], words].concat())
}

fn json(place: &Place, words: &[&str]) -> Vec<Value> {
    let ran = tasks(place, &[words, &["--json"]].concat()).exits(0);
    serde_json::from_str(ran.stdout()).unwrap_or_else(|error| panic!("{error}: {ran}"))
}

#[test]
fn what_failed_and_what_runs_is_shown_beside_the_daemon() {
    let place = Place::new("", RULES);
    let pipe = place.file("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, mode, 0).unwrap();
    let daemon = place.start();
    place.append(&line("break it"));
    place.append(&line("wait for it"));
    place.append(&lines(0..1));
    place.wait_for_tasks(2);
    assert!(wait_until(PATIENCE, || place.file("begun").exists()), "{}", place.said());
    let running = || json(&place, &["--running"]);
    assert!(wait_until(PATIENCE, || running().len() == 2), "{:?}", running());
    let running = running();
    let shown: Vec<_> =
        running.iter().map(|it| (it["action"].as_str(), it["status"].as_str())).collect();
    assert_eq!(
        shown,
        [("wait", "running"), ("behind", "waiting")].map(|(a, b)| (Some(a), Some(b)))
    );
    assert_eq!(running[0]["line"], line("wait for it").trim_end());
    assert_eq!(running[0]["attempts"], 1);

    let table = tasks(&place, &[]).exits(0).quietly();
    let rows: Vec<_> = table.stdout().lines().collect();
    assert!(rows[0].starts_with("WHEN ") && rows[0].ends_with("EVENT"), "{table}");
    assert_eq!(rows.len(), 1 + 4 + 2, "{table}");
    assert!(rows[5].contains(" wait ") && rows[6].contains(" behind "), "{table}");
    // What it said is one line, in which nothing steers a terminal.
    assert!(table.stdout().contains("    reason: "), "{table}");
    let said = "    stderr: one\\n\\u{1b}[2Jtwo \u{fffd} \\u{202e}end\n";
    assert!(table.stdout().contains(said), "{table}");
    assert!(!table.stdout().contains(['\x1b', '\u{202e}']), "{table}");

    let failed = json(&place, &["--failed"]);
    assert_eq!(failed.len(), 1, "{failed:?}");
    let failed = &failed[0];
    assert_eq!(failed["stderr"], "one\n\u{1b}[2Jtwo \u{fffd} \u{202e}end\n");
    assert_eq!((&failed["exit"], &failed["status"]), (&3.into(), &"failed".into()));
    assert_eq!(
        (&failed["event"], &failed["id"]),
        (&"app/0/0".into(), &"app/0/0/breaks/try".into())
    );
    assert_eq!(failed["skipped"], serde_json::json!(["second"]));
    assert_eq!(json(&place, &["--rule", "fine"]).len(), 1);

    // The daemon says where to look.
    let said = place.said();
    for words in [
        "try of rule breaks failed at the first attempt (",
        "), on app/0/0: ",
        "tripline.ron --failed`)",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let whole = tasks(&place, &["app/0/0"]).exits(0);
    for words in [
        "id        app/0/0/breaks/try\n",
        "exit      3\n",
        "stderr\n  one\n  \\u{1b}[2Jtwo",
    ] {
        assert!(whole.stdout().contains(words), "{words}: {whole}");
    }
    assert_eq!(json(&place, &["app/0/0/breaks/try"])[0], *failed);
    tasks(&place, &["app/0/1"])
        .exits(2)
        .complains(["there is no task", "tripline tasks"]);

    std::fs::write(&pipe, "go on\n").unwrap();
    place.wait_for_tasks(4);
    daemon.stop();
    tasks(&place, &["--running"]).exits(0).complains(["no task is under way"]);
    let newest = tasks(&place, &["-n", "1"])
        .exits(0)
        .complains(["these are 1 task of 4; all of them: -n 4"]);
    assert!(newest.stdout().contains("behind"), "{newest}");
}

#[test]
fn where_nothing_is_to_be_seen_a_sentence_says_why() {
    let place = Place::new("", RULES);
    tasks(&place, &[]).exits(0).complains(["nothing was done yet", "tripline run"]);
    assert_eq!(json(&place, &[]), Vec::<Value>::new());
    place.until_idle().exits(0);
    tasks(&place, &[]).exits(0).complains(["no task was begun yet"]);
    tasks(&place, &["--failed"]).exits(0).complains(["has failed"]);
    let of = &["--running", "--rule", "nosuch"];
    tasks(&place, of).exits(0).complains(["no task of rule \"nosuch\" is under way"]);
    // Also while the rules are wrong.
    place.rules(r#"(name: "breaks", on: Lines(), mach: "x", do: [])"#);
    tasks(&place, &[]).exits(0).complains(["no task was begun yet"]);
    let config = r#"(state: "none", sources: {"app": Log(paths: ["logs/app.log"])},
        listeners: {"out": Print(from: ["app"], to: "out.jsonl")})"#;
    place.dir.write("none.ron", config);
    let ran = place.dir.run(["tasks", "none.ron"]).exits(0);
    ran.complains(["none.ron names no files with rules"]);
}

/// The places of the rules are to be seen while somebody writes rules.
#[test]
fn with_wrong_rules_their_places_are_those_that_were_kept() {
    let engine = r#", (name: "stops", on: Engine(event: Stopping), do: [Touch(dir: "HERE", file: "x")])"#;
    let place =
        Place::new("", &format!("{}{engine}", RULES.trim_end().trim_end_matches(',')));
    place.append(&lines(0..2));
    place.until_idle().exits(0);
    let before = place.places();
    assert_eq!(before.len(), 2, "{before:?}");
    place.rules(r#"(name: "breaks", on: Lines(), mach: "x", do: [])"#);
    let ran = place.dir.run(["where", "tripline.ron", "--json"]).exits(0);
    let after: Vec<Value> = serde_json::from_str(ran.stdout()).unwrap();
    let places = |rows: &[Value]| {
        let place = |row: &Value| {
            (row["listener"].clone(), row["source"].clone(), row["offset"].clone())
        };
        rows.iter().map(place).collect::<Vec<_>>()
    };
    let (mut before, mut after) = (places(&before), places(&after));
    before.sort_by_key(|row| row.1.to_string());
    after.sort_by_key(|row| row.1.to_string());
    assert_eq!(after, before, "{ran}");
    assert_eq!(ran.stderr().lines().count(), 1, "{ran}");
    ran.complains(["rules.d/all.ron has errors", "tripline check tripline.ron"]);
}
