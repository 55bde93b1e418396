//! What cannot be proved is said: a journal that is missing, a server that went
//! back; who stops, who goes on, and how a person repairs it.

use crate::site::{Site, in_words, small_journals};
use std::fs;

#[test]
fn a_missing_journal_stops_the_mirror_and_is_an_entry_for_the_print() {
    let journals = small_journals(5);
    let site = Site::new();
    site.lay_out(&journals);
    fs::remove_file(site.rotated(3)).unwrap();
    let output = site.until_idle();
    assert_eq!(output.status.code(), Some(3), "{}", in_words(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("standby stopped: journal 3 is missing"), "{said}");
    assert!(said.contains("put journal.3 (or journal.3.gz) into"), "{said}");
    let way_on = format!("tripline where {} --set standby p4 4", site.config().display());
    assert!(said.contains(&way_on), "{said}");

    let printed = fs::read_to_string(site.out().join("audit.jsonl")).unwrap();
    let gaps: Vec<_> = printed.lines().filter(|l| l.contains("\"gap\":{")).collect();
    assert_eq!(gaps.len(), 1, "{printed}");
    assert!(gaps[0].contains("\"missing\":[3,3]"), "{}", gaps[0]);
    assert!(printed.lines().last().unwrap().contains("\"id\":\"p4/5/"), "it goes on");

    // Again: the one stops again, the other has its one gap.
    assert_eq!(site.until_idle().status.code(), Some(3));
    let again = fs::read_to_string(site.out().join("audit.jsonl")).unwrap();
    assert_eq!(again, printed);

    // Repaired: the journal is put back.
    fs::write(site.rotated(3), &journals[2].bytes).unwrap();
    site.catch_up();
    site.assert_mirrored(&journals, "repaired");
    // The one that went on has what was missing when it is moved back, as it was told.
    let set = ["--set", "audit", "p4", "3"];
    let told = format!("where {} {}", site.config().display(), set.join(" "));
    assert!(in_words(&output).contains(&told), "{}", in_words(&output));
    let moved = site.command(&["where"]).args(set).arg("--yes").output().unwrap();
    assert!(moved.status.success(), "{}", in_words(&moved));
    site.catch_up();
    let printed = fs::read_to_string(site.out().join("audit.jsonl")).unwrap();
    assert!(printed.contains("\"id\":\"p4/3/"), "{printed}");
}

#[test]
fn a_person_can_send_the_mirror_past_a_gap() {
    let journals = small_journals(4);
    let site = Site::new();
    site.lay_out(&journals);
    fs::remove_file(site.rotated(2)).unwrap();
    assert_eq!(site.until_idle().status.code(), Some(3));
    let mut set = site.command(&["where"]);
    let set = set.args(["--set", "standby", "p4", "3", "--yes"]).output().unwrap();
    assert!(set.status.success(), "{}", in_words(&set));
    site.catch_up();
    let backup = site.out().join("backup");
    assert!(!backup.join("journal.2").exists());
    for (name, journal) in [("journal.1", 0), ("journal.3", 2), ("journal", 3)] {
        let mirrored = fs::read(backup.join(name)).unwrap();
        assert!(mirrored == journals[journal].bytes, "{name}");
    }
}

#[test]
fn a_partial_gz_at_its_final_name_is_not_believed() {
    let journals = small_journals(3);
    let site = Site::new();
    site.lay_out(&journals);
    fs::remove_file(site.rotated(2)).unwrap();
    let packed = gzip(&journals[1].bytes);
    let path = site.rotated(2).with_file_name("journal.2.gz");
    fs::write(&path, &packed[..packed.len() - 3]).unwrap();
    let output = site.until_idle();
    assert_eq!(output.status.code(), Some(3), "{}", in_words(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("journal 2 is missing"));
    let printed = fs::read_to_string(site.out().join("audit.jsonl")).unwrap();
    assert!(!printed.contains("\"id\":\"p4/2/"), "nothing of the partial file");
    fs::write(&path, &packed).unwrap();
    site.catch_up();
    site.assert_mirrored(&journals, "the compressor came to its end");
}

#[test]
fn a_restored_server_is_a_gap_and_its_ids_are_new() {
    let journals = small_journals(3);
    let site = Site::new();
    site.lay_out(&journals);
    site.catch_up();
    // Restored from checkpoint 2: journal 2 begins again, at another time.
    let restored = String::from_utf8(journals[1].bytes.clone()).unwrap();
    let restored = restored.replace("1700000002", "1800000002");
    fs::remove_file(site.rotated(2)).unwrap();
    fs::write(site.live(), restored).unwrap();
    let output = site.until_idle();
    assert_eq!(output.status.code(), Some(3), "{}", in_words(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the server went back to journal 2"), "{said}");
    let printed = fs::read_to_string(site.out().join("audit.jsonl")).unwrap();
    assert!(printed.contains("\"id\":\"p4/2/0~1#gap\""), "{printed}");
    assert!(printed.contains("\"id\":\"p4/2/0~1\""), "{printed}");
    let mut ids: Vec<_> = printed.lines().map(|l| l.split('"').nth(3)).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "no id twice");
}

#[test]
fn a_rotated_journal_without_its_end_is_a_gap() {
    let journals = small_journals(3);
    let site = Site::new();
    site.lay_out(&journals);
    let whole = &journals[1].bytes;
    fs::write(site.rotated(2), &whole[..whole.len() - 100]).unwrap();
    let output = site.until_idle();
    assert_eq!(output.status.code(), Some(3), "{}", in_words(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("journal 2 does not end as a finished journal ends"), "{said}");
    fs::write(site.rotated(2), whole).unwrap();
    site.catch_up();
    site.assert_mirrored(&journals, "the whole journal is there");
}

#[test]
fn a_start_at_a_checkpoint_begins_with_the_journal_of_its_number() {
    let journals = small_journals(4);
    let site = Site::new();
    site.lay_out(&journals);
    let config = fs::read_to_string(site.config()).unwrap();
    let config = config.replace("gap_after", "start: Checkpoint(3), gap_after");
    fs::write(site.config(), config).unwrap();
    site.catch_up();
    site.assert_mirrored(&journals[2..], "from checkpoint 3");
    assert!(!site.out().join("backup/journal.2").exists());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder =
        flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
