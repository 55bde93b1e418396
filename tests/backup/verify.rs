//! The full compare: what holds, and everything that can be wrong.

use super::depot::{Depot, FULL, GZIP, TEXT, committed, journal, row};
use super::{backup, checkpoint, exits, journals_from};
use crate::site::{Site, corpus_journals};
use crate::standby::Standby;
use crate::util::{corpus, gzip};
use std::fs;
use std::path::Path;

fn kinds(site: &Site, words: &[&str], code: i32) -> serde_json::Value {
    let output = backup(site, "verify", &[words, &["--json", "--explain"]].concat());
    exits(&output, code);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn count(all: &serde_json::Value, kind: &str, what: &str) -> u64 {
    let kinds = all["kinds"].as_array().unwrap();
    let found = kinds.iter().find(|it| it["kind"] == kind);
    found.map_or(0, |it| it[what].as_u64().unwrap())
}

#[test]
fn what_holds_holds_and_all_that_is_wrong_is_found() {
    let standby = Standby::new(&[]);
    let site = Site::new();
    standby.configure_with(&site, r#"archives: (root: "p4root")"#);
    let depot = Depot::new(&site);
    depot.rcs("depot/x.c", &[("1.2", "two\nlines\n"), ("1.1", "one\n")]);
    depot.full("depot/y", "1.3", "full");
    depot.gzip("depot/z", "1.4", "packed");
    depot.gzip("depot/w", "1.5", "from the journal");
    let mut rows = row("//depot/x.c", "//depot/x.c", "1.1", TEXT, "one\n");
    rows += &row("//depot/x.d", "//depot/x.c", "1.2", TEXT, "two\nlines\n");
    rows += &row("//depot/lazy", "//depot/x.c", "1.2", TEXT, "two\nlines\n");
    rows += &row("//depot/y", "//depot/y", "1.3", FULL, "full");
    rows += &row("//depot/z", "//depot/z", "1.4", GZIP, "packed");
    let gone = row("//depot/gone", "//depot/gone", "1.9", FULL, "gone");
    checkpoint(&site, 1, &(rows + &gone));
    let mut more = row("//depot/w", "//depot/w", "1.5", GZIP, "from the journal");
    more += &gone.replace("@pv@", "@dv@");
    let journals = journal(&committed(&more));
    site.lay_out(&journals);
    exits(&backup(&site, "seed", &[]), 0);
    site.catch_up();
    let all = kinds(&site, &[], 0);
    for (kind, same) in
        [("checkpoint", 1), ("journal", 1), ("rcs", 2), ("full", 1), ("gzip", 2)]
    {
        assert_eq!(count(&all, kind, "same"), same, "{kind}: {all}");
    }
    let local = standby.backup();
    let here = kinds(&site, &["--local", local.to_str().unwrap()], 0);
    assert_eq!(count(&here, "gzip", "same"), 2, "{here}");

    let archives = standby.backup().join("archives/depot");
    let wrongs: [(&Path, &str, Change); 6] = [
        (&archives.join("x.c,v"), "revision 1.2", |bytes| swap(&bytes, "lines", "Lines")),
        (&archives.join("x.c,v"), "revision 1.1", |bytes| swap(&bytes, "one", "two")),
        (&archives.join("y,d/1.3"), "has 3 bytes and should have 4", |mut bytes| {
            bytes.pop();
            bytes
        }),
        (&archives.join("w,d/1.5.gz"), "is damaged", |mut bytes| {
            bytes.truncate(bytes.len() - 3);
            bytes
        }),
        (&archives.join("z,d/1.4.gz"), "content is not", |_| gzip(b"Packed")),
        (&standby.backup().join("journal"), "journal 1 of the source begins", |bytes| {
            swap(&bytes, "Line one", "Line two")
        }),
    ];
    for (path, words, change) in wrongs {
        let bytes = fs::read(path).unwrap();
        fs::write(path, change(bytes.clone())).unwrap();
        let output = backup(&site, "verify", &["standby", "--explain"]);
        let said = exits(&output, 1);
        assert!(said.contains(words), "{words}: {said}");
        fs::write(path, bytes).unwrap();
    }
    let checkpoint = standby.backup().join("checkpoint.1");
    fs::write(&checkpoint, b"other").unwrap();
    fs::remove_file(archives.join("y,d/1.3")).unwrap();
    let all = kinds(&site, &[], 1);
    assert_eq!(count(&all, "full", "missing"), 1, "{all}");
    assert_eq!(count(&all, "checkpoint", "differ"), 1, "{all}");
    let said = exits(&backup(&site, "verify", &["standby", "/no such file"]), 2);
    assert!(said.contains("cannot be used"), "{said}");
}

#[test]
fn a_backup_with_a_hole_does_not_hold() {
    let standby = Standby::new(&[]);
    let site = Site::new();
    standby.configure(&site);
    site.lay_out(&journals_from(2, 5));
    let old = checkpoint(&site, 2, "");
    exits(&backup(&site, "seed", &[]), 0);
    site.catch_up();
    checkpoint(&site, 5, "");
    fs::remove_file(old).unwrap();
    let folder = standby.backup();
    let here = ["--local", folder.to_str().unwrap()];
    kinds(&site, &[], 0);
    kinds(&site, &here, 0);
    let file = |name: &str| folder.join(name);
    let aside = file("aside");
    for name in ["checkpoint.2", "journal.2", "journal.4", "journal"] {
        fs::rename(file(name), &aside).unwrap();
        let all = kinds(&site, &[], 1);
        let kind = name.split('.').next().unwrap();
        assert!(count(&all, kind, "missing") > 0, "{name}: {all}");
        if name.starts_with("journal.") {
            let all = kinds(&site, &here, 1);
            assert!(count(&all, kind, "missing") > 0, "{name}: {all}");
        }
        fs::rename(&aside, file(name)).unwrap();
    }
    // Nor without its checksum, or under another number.
    let sum = file("journal.3.sha256");
    fs::rename(file("journal.3"), &aside).unwrap();
    fs::rename(&sum, file("sum")).unwrap();
    kinds(&site, &[], 1);
    kinds(&site, &here, 1);
    fs::copy(file("journal.4"), file("journal.3")).unwrap();
    let all = kinds(&site, &here, 1);
    assert_eq!(count(&all, "journal", "differ"), 1, "{all}");
}

/// What is done to a file.
type Change = fn(Vec<u8>) -> Vec<u8>;

fn swap(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains(from));
    text.replacen(from, to, 1).into_bytes()
}

/// A real server's files, and the rows that name them, with their digests.
#[test]
fn the_archives_of_a_real_server_are_brought_and_hold() {
    let (Some(journals), Some(corpus)) = (corpus_journals(), corpus()) else { return };
    let standby = Standby::new(&[]);
    let site = Site::new();
    let root = corpus.join("p4d-a/archive");
    let archives = format!(r#"archives: (root: "{}")"#, root.display());
    standby.configure_with(&site, &archives);
    site.lay_out(&journals[15..]);
    let name = "p4root/checkpoints/checkpoint.16.gz";
    fs::copy(corpus.join("p4d-a/checkpoint.16.gz"), site.root().join(name)).unwrap();
    fs::copy(
        corpus.join("p4d-a/checkpoint.16.md5"),
        site.root().join("p4root/checkpoints/checkpoint.16.md5"),
    )
    .unwrap();
    let said = exits(&backup(&site, "seed", &[]), 0);
    assert!(said.contains("its MD5 is right") && said.contains("-C1"), "{said}");
    site.catch_up();
    let all = kinds(&site, &[], 0);
    assert!(count(&all, "rcs", "same") > 100, "{all}");
    assert!(count(&all, "gzip", "same") > 50, "{all}");
    assert!(count(&all, "full", "same") > 5, "{all}");
    let unchecked: u64 =
        ["rcs", "gzip", "full"].iter().map(|kind| count(&all, kind, "unchecked")).sum();
    assert_eq!(unchecked, 0, "{all}");
}
