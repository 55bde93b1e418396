//! What was set aside is listed, shown, delivered again and dropped by a person,
//! while the daemon runs.

use crate::site::{Site, in_words, small_journals, wait_until};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::Output;
use std::time::Duration;
use tripline_api::{
    Change, Content, Key, Letter, ListenerId, Place, SourceId, Store as _,
};
use tripline_store::SqliteStore;

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn letters_are_shown_delivered_and_dropped_beside_the_daemon() {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = site_with(&receiver.local_addr().unwrap().to_string());
    let daemon = site.start_daemon();
    let bytes = small_journals(1)[0].bytes.len() as u64;
    assert!(wait_until(LIMIT, || site.mirrored_bytes() == bytes));
    let user = "@pv@ 6 @db.user@ @ann@ @a@b@ @@ 0 0 @Ann@ @0123456789ABCDEF@ 0 @@ 0 0 \n";
    set_aside(
        &site,
        &[(1, "@pv@ 0 @db.desc@ 1 @one\ntwo@ \n"), (2, user), (3, "torn\n")],
    );

    let list = dead(&site, "list", &[]);
    let text = String::from_utf8(list.stdout).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains("p4/7/1") && text.contains("550 refused"), "{text}");
    let json = String::from_utf8(dead(&site, "list", &["--json"]).stdout).unwrap();
    let first: serde_json::Value =
        serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["number"], &first["attempts"]), (&1.into(), &2.into()));
    let places = site.command(&["where"]).output().unwrap();
    let places = String::from_utf8(places.stdout).unwrap();
    assert!(places.contains("central: 3 set aside of p4: see"), "{places}");
    let none = dead(&site, "list", &["--listener", "nobody", "--json"]);
    assert!(none.stdout.is_empty());

    let shown = String::from_utf8(dead(&site, "show", &["2"]).stdout).unwrap();
    assert!(shown.contains("[redacted]") && !shown.contains("0123456789"), "{shown}");
    assert!(shown.contains("\"user\": \"ann\""), "{shown}");

    // The daemon has a connection of its own.
    let (mut of_daemon, _) =
        receiver.accept().map(|(s, a)| (BufReader::new(s), a)).unwrap();
    let mut line = String::new();
    of_daemon.read_line(&mut line).unwrap();
    let arrived = std::thread::scope(|scope| {
        let arrived = scope.spawn(|| {
            let lines = BufReader::new(receiver.accept().unwrap().0).lines();
            lines.map_while(Result::ok).collect::<Vec<_>>()
        });
        let retried = dead(&site, "retry", &["1", "3"]);
        assert!(retried.status.success(), "{}", in_words(&retried));
        arrived.join().unwrap()
    });
    assert_eq!(arrived, ["@pv@ 0 @db.desc@ 1 @one", "two@ ", "torn"]);
    let json = String::from_utf8(dead(&site, "list", &["--json"]).stdout).unwrap();
    assert_eq!(json.lines().count(), 1, "{json}");

    let refused = dead(&site, "drop", &["--all"]);
    assert_eq!(refused.status.code(), Some(2), "there is nobody to ask");
    assert!(dead(&site, "drop", &["2", "--yes"]).status.success());
    assert!(dead(&site, "list", &["--json"]).stdout.is_empty());
    let gone = dead(&site, "show", &["2"]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("there is no letter 2"));
    daemon.stop();
}

#[test]
fn what_cannot_be_delivered_stays() {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = receiver.local_addr().unwrap().to_string();
    drop(receiver);
    let site = site_with(&address);
    drop(SqliteStore::open(&site.out().join("state")).unwrap());
    set_aside(&site, &[(1, "one\n")]);
    let output = dead(&site, "retry", &["--all", "--patience", "300ms"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("1 (central): not delivered: "), "{said}");
    assert!(said.contains("1 letter left"), "{said}");
    let json = String::from_utf8(dead(&site, "list", &["--json"]).stdout).unwrap();
    assert_eq!(json.lines().count(), 1);
    // The others would take as long, and are not tried.
    set_aside(&site, &[(2, "two\n"), (3, "three\n"), (4, "four\n"), (5, "five\n")]);
    let output = dead(&site, "retry", &["--all", "--patience", "300ms"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("not delivered: ").count(), 3, "{said}");
    assert!(said.contains("central delivers nothing now: 2 letters more"), "{said}");
    assert!(said.contains("5 letters left"), "{said}");
    assert!(dead(&site, "drop", &["2", "3", "4", "5", "--yes"]).status.success());

    // Its listener may be gone from the configuration.
    site.configure(r#""audit": Print(from: ["p4"], to: "out/audit.jsonl"),"#);
    let output = dead(&site, "retry", &["1"]);
    assert!(in_words(&output).contains("no such listener any more"));
    assert!(dead(&site, "drop", &["1", "--yes"]).status.success());
    let output = dead(&site, "drop", &["--all"]);
    assert!(output.status.success(), "{}", in_words(&output));
    assert!(in_words(&output).contains("nothing to drop"), "{}", in_words(&output));
}

fn site_with(receiver: &str) -> Site {
    let site = Site::new();
    site.configure(&format!(
        r#""central": Forward(from: ["p4"], to: "tcp://{receiver}", format: Lines),
        "standby": Mirror(from: ["p4"], to: "out/backup"),"#
    ));
    site.lay_out(&small_journals(1));
    site
}

fn dead(site: &Site, what: &str, more: &[&str]) -> Output {
    site.command(&["dead", what]).args(more).output().unwrap()
}

fn set_aside(site: &Site, letters: &[(u64, &str)]) {
    let letter = |&(offset, text): &(u64, &str)| {
        Change::SetAside(Letter {
            key: Key {
                source: SourceId::new("p4").unwrap(),
                listener: ListenerId::new("central").unwrap(),
                log: None,
            },
            place: Place { offset, ..Place::start_of(0, 7) },
            entries: 1,
            content: Content::Entry(text.into()),
            why: "550 refused".to_owned(),
            attempts: 2,
        })
    };
    let mut store = SqliteStore::open(&site.out().join("state")).unwrap();
    store.commit(&letters.iter().map(letter).collect::<Vec<_>>()).unwrap();
}
