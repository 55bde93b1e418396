//! Versioned files on the standby: brought, brought again, missing, hostile, wrong.

use super::depot::{Depot, FULL, GZIP, TEXT, committed, journal, row};
use super::{backup, checkpoint, exits};
use crate::site::{Site, in_words, wait_until};
use crate::standby::Standby;
use std::fs;
use std::time::Duration;
use tripline_listeners::testing::sshd::{Access, Plan};

const LIMIT: Duration = Duration::from_secs(60);
const ARCHIVES: &str = r#"archives: (root: "p4root")"#;

fn site_with(standby: &Standby) -> (Site, Depot) {
    let site = Site::new();
    standby.configure_with(&site, ARCHIVES);
    let depot = Depot::new(&site);
    (site, depot)
}

fn assert_same(standby: &Standby, depot: &Depot, names: &[&str]) {
    for name in names {
        let there = fs::read(standby.backup().join("archives").join(name));
        let there =
            there.unwrap_or_else(|error| panic!("{name}: {error}: {}", report(standby)));
        assert!(there == fs::read(depot.root.join(name)).unwrap(), "{name}");
    }
}

fn report(standby: &Standby) -> String {
    fs::read_to_string(standby.backup().join("archives.missing")).unwrap_or_default()
}

#[test]
fn files_that_rows_name_are_brought_and_brought_again() {
    for way in ["way: Library", "way: Program"] {
        let standby = Standby::with(&Plan::new(Access::Files), &[way]);
        let (site, depot) = site_with(&standby);
        depot.rcs("depot/a b/x%40y.c", &[("1.2", "two\n@at\n"), ("1.1", "one\n")]);
        depot.full("depot/y.bin", "1.3", "full\r\n");
        depot.gzip("depot/z.txt", "1.4", "packed\n");
        let mut rows =
            row("//depot/a b/x%40y.c", "//depot/a b/x%40y.c", "1.1", TEXT, "one\n");
        rows += &row("//depot/copy.c", "//depot/a b/x%40y.c", "1.1", TEXT, "one\n");
        rows += &row("//depot/y.bin", "//depot/y.bin", "1.3", FULL, "full\r\n");
        rows += &row("//depot/z.txt", "//depot/z.txt", "1.4", GZIP, "packed\n")
            .replace("db.rev", "db.revsh");
        let mut journals = journal(&committed(&rows));
        // What is not committed is nobody's.
        journals[0].bytes.extend(row("//depot/n", "//depot/n", "1.9", FULL, "").bytes());
        site.lay_out(&journals);
        site.catch_up();
        let names = ["depot/a b/x%40y.c,v", "depot/y.bin,d/1.3", "depot/z.txt,d/1.4.gz"];
        assert_same(&standby, &depot, &names);
        assert_eq!(report(&standby), "", "{way}");
        // It grows.
        depot.rcs(
            "depot/a b/x%40y.c",
            &[("1.5", "three\n"), ("1.2", "two\n@at\n"), ("1.1", "one\n")],
        );
        let more =
            row("//depot/a b/x%40y.c", "//depot/a b/x%40y.c", "1.5", TEXT, "three\n");
        journals[0].bytes.extend(b"@ex@ 9 9\n");
        journals[0].bytes.extend(committed(&more).bytes());
        depot.full("depot/n", "1.9", "");
        site.lay_out(&journals);
        site.catch_up();
        assert_same(&standby, &depot, &names);
        site.assert_delivered(&journals, way);
    }
}

#[test]
fn what_is_missing_or_wrong_is_reported_and_looked_for_again() {
    let standby = Standby::new(&[]);
    let (site, depot) = site_with(&standby);
    depot.full("depot/good", "1.1", "good");
    depot.full("depot/wrong", "1.2", "Wrong");
    depot.write("depot/torn.c,v", "head 1.3;\n1.3\n");
    depot.rcs("depot/half.c", &[("1.4", "half\n")]);
    let mut rows = row("//depot/gone", "//depot/gone", "1.1", FULL, "gone");
    rows += &row("//depot/wrong", "//depot/wrong", "1.2", FULL, "right");
    rows += &row("//depot/torn.c", "//depot/torn.c", "1.3", TEXT, "torn\n");
    rows += &row("//depot/half.c", "//depot/half.c", "1.4", TEXT, "half\n");
    rows += &row("//depot/half.c", "//depot/half.c", "1.5", TEXT, "other\n");
    rows += &row("//depot/good", "//depot/good", "1.1", FULL, "good");
    let mut journals = journal(&committed(&rows));
    site.lay_out(&journals);
    let output = site.until_idle();
    assert!(output.status.success(), "{}", in_words(&output));
    let said = in_words(&output);
    assert!(
        said.contains("depot/gone,d/1.1 (revision 1.1) is not on the standby"),
        "{said}"
    );
    assert_same(&standby, &depot, &["depot/good,d/1.1", "depot/half.c,v"]);
    let folder = standby.backup().join("archives/depot");
    for name in ["gone,d", "wrong,d/1.2", "wrong,d/1.2.part", "torn.c,v"] {
        assert!(!folder.join(name).exists(), "{name}");
    }
    let lines = report(&standby);
    assert_eq!(lines.lines().count(), 4, "{lines}");
    for words in ["content is not what", "no whole RCS file", "revision is not in it"] {
        assert!(lines.contains(words), "{words}: {lines}");
    }
    // Two are put right, one is deleted by the server.
    depot.full("depot/gone", "1.1", "gone");
    depot.full("depot/wrong", "1.2", "right");
    let records = "@dl@ @//depot/torn.c@ @1.3@ 0 @obliterate@ @//depot/torn.c@ \n";
    journals[0].bytes.extend(committed(records).bytes());
    site.lay_out(&journals);
    site.catch_up();
    assert_same(&standby, &depot, &["depot/gone,d/1.1", "depot/wrong,d/1.2"]);
    let lines = report(&standby);
    assert!(lines.lines().count() == 1 && lines.contains("half.c"), "{lines}");
    // Those that were told wait for a person, who tries again.
    let letters = site.command(&["dead", "list"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&letters.stdout).lines().count(), 5);
    let mut retry = site.command(&["dead", "retry"]);
    let said = exits(&retry.arg("--all").output().unwrap(), 1);
    assert!(said.contains("delivered") && said.contains("refused again"), "{said}");
    // What is purged is missing no more, before and after it was looked for.
    let purged = |row: &str| row.replace("@pv@", "@rv@").replace(" 0 5 17", " 6 5 17");
    let half = row("//depot/half.c", "//depot/half.c", "1.5", TEXT, "other\n");
    let soon = row("//depot/soon", "//depot/soon", "1.1", FULL, "soon");
    let taken = row("//depot/taken", "//depot/taken", "1.1", FULL, "taken");
    let rows = [&soon, &taken, &purged(&half), &purged(&soon)];
    journals[0].bytes.extend(committed(&rows.map(String::as_str).concat()).bytes());
    site.lay_out(&journals);
    site.until_idle();
    let lines = report(&standby);
    assert!(lines.contains("taken"), "{lines}");
    assert!(!lines.contains("half") && !lines.contains("soon"), "{lines}");
    let rows = committed(&taken.replace("@pv@", "@dv@"));
    journals[0].bytes.extend(rows.bytes());
    site.lay_out(&journals);
    site.catch_up();
    assert!(!report(&standby).contains("taken"), "{}", report(&standby));
}

#[test]
fn names_that_lead_out_are_told_and_touch_nothing() {
    let standby = Standby::new(&[]);
    let (site, depot) = site_with(&standby);
    depot.full("depot/good", "1.1", "good");
    fs::write(site.root().join("secret"), "secret").unwrap();
    let mut rows = String::new();
    for file in ["//depot/../../secret", "//../secret", "/etc/passwd", "//depot//x"] {
        rows += &row("//depot/x", file, "1.1", FULL, "secret");
    }
    rows += &row("//depot/x", "//depot/x", "../../../secret", FULL, "secret");
    rows += &row("//depot/good", "//depot/good", "1.1", FULL, "good");
    let journals = journal(&committed(&rows));
    site.lay_out(&journals);
    let output = site.until_idle();
    assert!(output.status.success(), "{}", in_words(&output));
    assert_same(&standby, &depot, &["depot/good,d/1.1"]);
    assert!(in_words(&output).contains("it leads out of the archives"));
    let mut found = Vec::new();
    walk(&standby.host.local(""), &mut found);
    assert!(!found.iter().any(|name| name.contains("secret")), "{found:?}");
    // A root that is none.
    fs::rename(site.root().join("p4root"), site.root().join("elsewhere")).unwrap();
    let said = exits(&backup(&site, "seed", &[]), 2);
    assert!(said.contains("no whole checkpoint"), "{said}");
}

fn walk(folder: &std::path::Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.display().to_string());
        if path.is_dir() {
            walk(&path, found);
        }
    }
}

#[test]
fn a_cut_in_the_middle_leaves_the_file_before() {
    let standby = Standby::new(&[]);
    let (site, depot) = site_with(&standby);
    depot.rcs("depot/x.c", &[("1.1", "one\n")]);
    let rows = row("//depot/x.c", "//depot/x.c", "1.1", TEXT, "one\n");
    let mut journals = journal(&committed(&rows));
    site.lay_out(&journals);
    site.catch_up();
    let there = standby.backup().join("archives/depot/x.c,v");
    let before = fs::read(&there).unwrap();
    let long = "much text of a long file\n".repeat(800_000);
    depot.rcs("depot/x.c", &[("1.2", &long), ("1.1", "one\n")]);
    let more = row("//depot/x.c", "//depot/x.c", "1.2", TEXT, &long);
    journals[0].bytes.extend(committed(&more).bytes());
    site.lay_out(&journals);
    let daemon = site.start_daemon();
    let part = there.with_file_name("x.c,v.part");
    assert!(wait_until(LIMIT, || part.metadata().is_ok_and(|it| it.len() > 100_000)));
    standby.host.kill();
    let now = fs::read(&there).unwrap();
    assert!(now == before || now.len() as u64 == depot_len(&depot), "half a file");
    let is_there = || there.metadata().is_ok_and(|it| it.len() == depot_len(&depot));
    assert!(wait_until(LIMIT, is_there), "it is not brought again");
    daemon.kill();
    site.catch_up();
    assert_same(&standby, &depot, &["depot/x.c,v"]);
}

#[test]
fn a_full_disk_is_waited_for_and_holds_up_no_journal() {
    let mut plan = Plan::new(Access::Commands);
    plan.file_bytes_max = Some(200_000);
    let standby = Standby::with(&plan, &[]);
    let (site, depot) = site_with(&standby);
    let content = "x".repeat(300_000);
    depot.full("depot/x", "1.1", &content);
    let rows = row("//depot/x", "//depot/x", "1.1", FULL, &content);
    let journals = journal(&committed(&rows));
    site.lay_out(&journals);
    let daemon = site.start_daemon();
    let why = || {
        let output = site.command(&["where", "--json"]).output().unwrap();
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = rows.as_array().unwrap();
        let row = rows.iter().find(|row| row["listener"] == "standby.archives").unwrap();
        row["why"].to_string()
    };
    assert!(wait_until(LIMIT, || why().contains("bytes free")), "{}", why());
    let copy = standby.backup().join("journal");
    assert!(wait_until(LIMIT, || fs::read(&copy).is_ok_and(|it| it == journals[0].bytes)));
    daemon.stop();
    assert!(!standby.backup().join("archives/depot/x,d/1.1").exists());
}

fn depot_len(depot: &Depot) -> u64 {
    fs::metadata(depot.root.join("depot/x.c,v")).unwrap().len()
}

#[test]
fn a_seed_brings_what_the_checkpoint_names() {
    let standby = Standby::new(&[]);
    let (site, depot) = site_with(&standby);
    depot.full("depot/old", "1.1", "old");
    depot.full("Big/OLD", "1.2", "a depot that is elsewhere");
    let mut rows = row("//depot/old", "//depot/old", "1.1", FULL, "old");
    rows += &row("//depot/none", "//depot/none", "1.1", FULL, "none");
    checkpoint(&site, 1, &rows);
    site.lay_out(&journal(""));
    let said = exits(&backup(&site, "seed", &[]), 0);
    assert!(said.contains("standby.archives begins with journal 1"), "{said}");
    assert!(said.contains("some are not on the standby: 1 "), "{said}");
    assert_same(&standby, &depot, &["depot/old,d/1.1"]);
    site.catch_up();
    let said = exits(&backup(&site, "seed", &[]), 0);
    assert!(said.contains("versioned files go on where they are"), "{said}");
}
