//! What a journal can go through, as regressions: each of these once lost,
//! repeated or hid something.

use crate::site::{Journal, Site, in_words, small_journals};
use std::fs::{self, OpenOptions};
use std::io::Write as _;

fn configure(site: &Site, more: &str) {
    let config = fs::read_to_string(site.config()).unwrap();
    let config = config.replace("gap_after", &format!("{more}, gap_after"));
    fs::write(site.config(), config).unwrap();
}

fn append(site: &Site, text: &str) {
    let mut live = OpenOptions::new().append(true).open(site.live()).unwrap();
    live.write_all(text.as_bytes()).unwrap();
}

fn printed(site: &Site) -> String {
    fs::read_to_string(site.out().join("audit.jsonl")).unwrap_or_default()
}

#[test]
fn now_is_when_it_was_first_asked() {
    let site = Site::new();
    site.lay_out(&small_journals(2));
    site.configure("\"audit\": Print(from: [\"p4\"], to: \"out/audit.jsonl\"),");
    configure(&site, "start: Now");
    site.catch_up();
    assert_eq!(printed(&site), "");
    append(&site, "@pv@ 0 @db.desc@ 77 @new@ \n@ex@ 1 2\n");
    site.catch_up();
    assert_eq!(printed(&site).lines().count(), 2, "what came after `Now` is not skipped");
}

#[test]
fn a_counter_set_by_hand_is_no_trailer() {
    let journals = small_journals(5);
    let site = Site::new();
    site.lay_out(&journals);
    append(&site, "@rv@ 1 @db.counters@ @journal@ @3@ \n@ex@ 9 9\n");
    site.catch_up();
    assert_eq!(printed(&site).lines().count(), 4 * (9 + 3) + 9 + 2);
    append(&site, "@pv@ 0 @db.desc@ 77 @new@ \n@ex@ 1 2\n");
    site.catch_up();
    assert!(printed(&site).lines().last().unwrap().contains("\"op\":\"ex\""));
    assert_eq!(printed(&site).matches("\"id\":\"p4/3/0\"").count(), 1);
}

#[test]
fn another_servers_journals_in_the_folder_are_left_alone() {
    let journals = small_journals(4);
    let site = Site::new();
    site.lay_out(&journals);
    for (number, journal) in [(2, &journals[1]), (3, &journals[2])] {
        let text = String::from_utf8(journal.bytes.clone()).unwrap();
        let other =
            text.replace("@/p4@", "@/srv/other@").replace("Line", "A longer line");
        let path = site.rotated(number).with_file_name(format!("other.jnl.{number}"));
        fs::write(path, other).unwrap();
    }
    site.catch_up();
    site.assert_delivered(&journals, "beside another server");
}

#[test]
fn a_live_journal_put_there_by_hand_is_followed_on_after_a_restart() {
    let journals = small_journals(2);
    let site = Site::new();
    site.configure("\"audit\": Print(from: [\"p4\"], to: \"out/audit.jsonl\"),");
    site.lay_out(&journals);
    site.catch_up();
    let before = printed(&site).lines().count();
    fs::remove_file(site.live()).unwrap();
    fs::write(site.live(), "@pv@ 0 @db.desc@ 1 @by hand@ \n@ex@ 1 2\n").unwrap();
    site.catch_up();
    for change in 2..5 {
        append(&site, &format!("@pv@ 0 @db.desc@ {change} @by hand@ \n@ex@ 1 2\n"));
        site.catch_up();
    }
    let text = printed(&site);
    assert_eq!(text.matches("\"gap\":{").count(), 1, "{text}");
    assert_eq!(text.lines().count(), before + 1 + 8, "{text}");
}

#[test]
fn records_without_their_mark_are_not_held_back_at_the_end() {
    // The file ends exactly where a block of the reader ends.
    let site = Site::new();
    let mut bytes = small_journals(1).remove(0).bytes;
    let row = b"@pv@ 0 @db.desc@ 5 @0123456789@ \n";
    let fill = 256 * 1024 - bytes.len();
    let last = fill % row.len();
    for _ in 0..fill / row.len() - 1 {
        bytes.extend_from_slice(row);
    }
    let mut long = row.to_vec();
    long.splice(20..20, std::iter::repeat_n(b'x', last));
    bytes.extend_from_slice(&long);
    assert_eq!(bytes.len(), 256 * 1024);
    let journals = [Journal { number: 1, bytes }];
    site.lay_out(&journals);
    site.catch_up();
    site.assert_delivered(&journals, "to the last byte");
}

#[test]
fn what_should_be_there_and_is_not_is_said_at_the_end() {
    let site = Site::new();
    let output = site.until_idle();
    assert_eq!(output.status.code(), Some(3), "{}", in_words(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("there is no journal yet at"), "{said}");

    // An empty live journal is a rotation in the making, and no trouble.
    site.lay_out(&small_journals(2));
    fs::write(site.live(), "").unwrap();
    site.catch_up();
}

#[test]
fn a_folder_that_is_not_mounted_yet_is_no_gap() {
    let journals = small_journals(3);
    let site = Site::new();
    site.lay_out(&journals[..1]);
    site.catch_up();
    site.lay_out(&journals);
    // Journal 1 is finished by its trailer now, 2 is in the folder.
    let folder = site.rotated(1).parent().unwrap().to_owned();
    let away = folder.with_file_name("not mounted");
    fs::rename(&folder, &away).unwrap();
    let output = site.until_idle();
    assert_eq!(output.status.code(), Some(3), "{}", in_words(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is not there"), "{said}");
    assert!(!printed(&site).contains("\"gap\""), "{}", printed(&site));
    fs::rename(&away, &folder).unwrap();
    site.catch_up();
}

#[test]
fn a_standby_has_only_numbered_journals() {
    let journals = small_journals(3);
    let site = Site::new();
    let name = |number: u64| site.live().with_file_name(format!("journal.{number}"));
    for journal in &journals {
        // What the journal copy has fetched so far, and then all of it.
        let half = &journal.bytes[..journal.bytes.len() / 2];
        fs::write(name(journal.number), half).unwrap();
        site.catch_up();
        fs::write(name(journal.number), &journal.bytes).unwrap();
        site.catch_up();
    }
    site.assert_delivered(&journals, "a standby");
}

#[test]
fn the_live_journal_may_be_named_by_a_link() {
    let journals = small_journals(3);
    let site = Site::new();
    let elsewhere = site.root().join("logs");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("journal"), site.live()).unwrap();
    for journal in &journals {
        fs::write(elsewhere.join("journal"), &journal.bytes).unwrap();
        site.catch_up();
        if journal.number < 3 {
            fs::rename(elsewhere.join("journal"), site.rotated(journal.number)).unwrap();
        }
    }
    site.assert_delivered(&journals, "behind a link");
}

#[test]
fn a_start_by_number_is_not_a_servers_first_journal() {
    let mut journals = small_journals(4);
    // As a server writes its first: no header, no number; and it is the longest.
    let text = String::from_utf8(journals[0].bytes.clone()).unwrap();
    let (_, rest) = text.split_once("@ex@ 10 1700000001\n").unwrap();
    journals[0].bytes = rest.as_bytes().to_vec();
    let more = "@pv@ 0 @db.desc@ 9 @more@ \n@ex@ 1 2\n".repeat(50);
    journals[0].bytes.splice(0..0, more.into_bytes());
    for start in ["start: Journal(3)", "start: Checkpoint(3)"] {
        let site = Site::new();
        site.lay_out(&journals);
        configure(&site, start);
        site.catch_up();
        site.assert_delivered(&journals[2..], start);
    }
    let site = Site::new();
    site.lay_out(&journals);
    site.catch_up();
    site.assert_delivered(&journals, "from the first");
    let mut set = site.command(&["where"]);
    let set = set.args(["--set", "audit", "p4", "4", "--yes"]).output().unwrap();
    assert!(set.status.success(), "{}", in_words(&set));
    site.catch_up();
    let text = printed(&site);
    assert_eq!(text.matches("\"id\":\"p4/4/0\"").count(), 2);
    assert_eq!(text.matches("\"id\":\"p4/0/0\"").count(), 1);
}

#[test]
fn what_was_wrong_is_not_said_for_ever() {
    let site = Site::new();
    assert_eq!(site.until_idle().status.code(), Some(3));
    let said = |site: &Site| {
        let output = site.command(&["where"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(said(&site).contains("there is no journal yet"), "{}", said(&site));
    site.lay_out(&small_journals(2));
    site.catch_up();
    assert!(!said(&site).contains("there is no journal yet"), "{}", said(&site));
    // A file that is no journal is no journal to come.
    let other = Site::new();
    fs::write(other.live(), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    assert_eq!(other.until_idle().status.code(), Some(3));
}
