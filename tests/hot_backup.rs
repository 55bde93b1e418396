//! A standby over SSH: what is written is there, byte for byte, and applied;
//! and what goes wrong is said, and overwrites nothing.

use crate::plays::Random;
use crate::site::{Site, corpus_journals, in_words, small_journals, wait_until};
use crate::standby::{Standby, where_of};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tripline_listeners::testing::sshd::{Access, Plan, keygen};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn an_account_that_may_only_do_sftp_is_enough() {
    let journals = small_journals(3);
    for way in ["way: Library", "way: Program"] {
        let standby = Standby::with(&Plan::new(Access::Files), &[way]);
        let site = Site::new();
        standby.configure(&site);
        site.lay_out(&journals);
        site.catch_up();
        site.assert_delivered(&journals, way);
        // Again, with everything there.
        site.catch_up();
        site.assert_delivered(&journals, way);
    }
}

#[test]
fn a_lost_state_is_found_again_on_the_standby() {
    let journals = small_journals(4);
    let standby = Standby::new(&[]);
    let site = Site::new();
    standby.configure(&site);
    site.lay_out(&journals[..3]);
    site.catch_up();
    fs::remove_dir_all(site.out().join("state")).unwrap();
    fs::rename(site.live(), site.rotated(3)).unwrap();
    fs::write(site.live(), &journals[3].bytes).unwrap();
    fs::remove_file(site.rotated(1)).unwrap();
    site.configure(&format!(r#""standby": {},"#, standby.listener("")));
    let output = site.until_idle();
    assert!(output.status.success(), "{}", in_words(&output));
    site.assert_mirrored(&journals, "found again");
}

#[test]
fn other_bytes_on_the_standby_stop_it_and_stay() {
    let journals = small_journals(3);
    let standby = Standby::new(&[]);
    let site = Site::new();
    standby.configure(&site);
    site.lay_out(&journals);
    site.catch_up();
    let copy = standby.backup().join("journal");
    let mut bytes = fs::read(&copy).unwrap();
    bytes[100] ^= 1;
    fs::write(&copy, &bytes).unwrap();
    let mut more = journals[2].bytes.clone();
    more.extend(b"@pv@ 0 @db.desc@ 9 @more@ \n@ex@ 1 2\n");
    fs::write(site.live(), &more).unwrap();
    let output = site.until_idle();
    assert_eq!(output.status.code(), Some(3), "{}", in_words(&output));
    let said = in_words(&output);
    assert!(said.contains("backup diverged at journal 3 offset 100"), "{said}");
    assert!(said.contains("Nothing was overwritten"), "{said}");
    assert!(fs::read(&copy).unwrap() == bytes, "it was changed");
}

#[test]
fn what_a_power_loss_left_behind_the_settled_place_is_written_again() {
    let mut journals = small_journals(2);
    let standby = Standby::new(&[]);
    let site = Site::new();
    standby.configure(&site);
    site.lay_out(&journals);
    site.catch_up();
    let copy = standby.backup().join("journal");
    let mut torn = fs::read(&copy).unwrap();
    torn.extend([0; 300]);
    fs::write(&copy, &torn).unwrap();
    journals[1].bytes.extend(b"@pv@ 0 @db.desc@ 9 @more@ \n@ex@ 1 2\n");
    fs::write(site.live(), &journals[1].bytes).unwrap();
    site.catch_up();
    site.assert_mirrored(&journals, "after a loss of power");

    // And where the journal is over before anything more is written to it.
    let more = small_journals(4).remove(2);
    journals[1].bytes.extend(
        b"@rv@ 1 @db.counters@ @journal@ @3@ \n\
        @nx@ 3 1700000099 @58@ 0 0 0 0 0 @@ @@ @@ @@ @@ \n@ex@ 11 1700000099\n",
    );
    fs::write(site.live(), &journals[1].bytes).unwrap();
    site.catch_up();
    let mut torn = fs::read(&copy).unwrap();
    torn.extend([0; 300]);
    fs::write(&copy, &torn).unwrap();
    fs::rename(site.live(), site.rotated(2)).unwrap();
    fs::write(site.live(), &more.bytes).unwrap();
    journals.push(more);
    site.catch_up();
    site.assert_mirrored(&journals, "after a loss of power and a rotation");
}

#[test]
fn what_the_server_has_lost_stays_on_the_standby() {
    let journals = small_journals(2);
    let standby = Standby::new(&[]);
    let site = Site::new();
    standby.configure(&site);
    site.lay_out(&journals);
    site.catch_up();
    let copy = standby.backup().join("journal");
    let before = fs::read(&copy).unwrap();
    // It was restored and writes another journal 2, and what we know is gone too.
    fs::remove_dir_all(site.out().join("state")).unwrap();
    let start = &journals[1].bytes[..journals[1].bytes.len() / 2];
    let cut = start.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let other = [&start[..cut], b"@pv@ 0 @db.desc@ 99 @other@ \n@ex@ 1 2\n"].concat();
    fs::write(site.live(), &other).unwrap();
    for _ in 0..2 {
        let said = stopped(&site);
        assert!(said.contains("backup diverged at journal 2"), "{said}");
        assert!(fs::read(&copy).unwrap() == before, "the only copy was touched");
    }
    // A file that is somebody else's is not taken for an empty one.
    let theirs = [b"\0", &before[..]].concat();
    fs::write(&copy, &theirs).unwrap();
    let said = stopped(&site);
    assert!(said.contains("is no journal"), "{said}");
    assert!(fs::read(&copy).unwrap() == theirs, "it was touched");
}

#[test]
fn a_finished_journal_may_be_gone_from_the_source() {
    let journals = small_journals(2);
    for is_damaged in [false, true] {
        let standby = Standby::new(&[]);
        let site = Site::new();
        standby.configure(&site);
        site.lay_out(&journals[..1]);
        site.catch_up();
        let copy = standby.backup().join("journal");
        let mut bytes = fs::read(&copy).unwrap();
        if is_damaged {
            bytes[300] ^= 1;
            fs::write(&copy, &bytes).unwrap();
        }
        fs::write(site.live().with_extension("new"), &journals[1].bytes).unwrap();
        fs::rename(site.live().with_extension("new"), site.live()).unwrap();
        if is_damaged {
            let said = stopped(&site);
            assert!(said.contains("journal 1"), "{said}");
            assert!(fs::read(&copy).unwrap() == bytes, "it was touched");
        } else {
            site.catch_up();
            site.assert_delivered(&journals, "journal 1 is on the standby only");
        }
    }
}

#[test]
fn what_has_a_number_in_its_name_only_is_no_journal() {
    let journals = small_journals(2);
    let standby = Standby::new(&[]);
    let site = Site::new();
    standby.configure(&site);
    fs::create_dir(standby.backup()).unwrap();
    let stray = standby.backup().join("journal.20240101");
    fs::write(&stray, "of last year\n").unwrap();
    site.lay_out(&journals);
    site.catch_up();
    site.assert_delivered(&journals, "beside a stray file");
    assert_eq!(fs::read(&stray).unwrap(), b"of last year\n");
}

#[test]
fn a_first_journal_comes_again_under_the_number_it_got() {
    let mut journals = small_journals(2);
    let text = String::from_utf8(journals[0].bytes.clone()).unwrap();
    // A server's first journal does not begin with its number.
    let start = text.find("@pv@").unwrap();
    journals[0].bytes = text.as_bytes()[start..].to_vec();
    let standby = Standby::new(&[]);
    let site = Site::new();
    standby.configure(&site);
    let half = journals[0].bytes.windows(5).position(|it| it == b"@ex@ ").unwrap();
    fs::write(site.live(), &journals[0].bytes[..half]).unwrap();
    site.catch_up();
    let (state, saved) = (site.out().join("state"), site.out().join("saved"));
    fs::rename(&state, &saved).unwrap();
    site.lay_out(&journals);
    site.catch_up();
    site.assert_mirrored(&journals, "journal 1 without its number");
    fs::remove_dir_all(&state).unwrap();
    fs::rename(&saved, &state).unwrap();
    site.catch_up();
    site.assert_mirrored(&journals, "it came again");
}

#[test]
fn a_restored_server_is_not_mixed_with_what_it_was() {
    let journals = small_journals(2);
    let standby = Standby::new(&["on_gap: Notify"]);
    let site = Site::new();
    standby.configure(&site);
    site.lay_out(&journals);
    site.catch_up();
    let copy = standby.backup().join("journal");
    let daemon = site.start_daemon();
    let mut live = OpenOptions::new().append(true).open(site.live()).unwrap();
    live.write_all(b"@pv@ 0 @db.desc@ 98 @of before@ \n@ex@ 1 2\n").unwrap();
    let before = fs::read(site.live()).unwrap();
    assert!(wait_until(LIMIT, || fs::read(&copy).unwrap() == before), "not copied");
    let text = String::from_utf8(before.clone()).unwrap().replace("bob", "eve");
    let other = text + "@pv@ 0 @db.desc@ 99 @other@ \n@ex@ 1 2\n";
    fs::write(site.live().with_extension("new"), other).unwrap();
    let state = || where_of(&site, "standby");
    fs::rename(site.live().with_extension("new"), site.live()).unwrap();
    assert!(wait_until(LIMIT, || state()["state"] == "stopped"), "{}", state());
    let why = state()["why"].to_string();
    assert!(why.contains("numbering started over"), "{why}");
    daemon.kill();
    let said = stopped(&site);
    assert!(said.contains("backup diverged at journal 2"), "{said}");
    assert!(fs::read(&copy).unwrap() == before, "it was touched");
}

#[test]
fn a_host_that_is_not_known_or_another_stops_it_with_the_repair() {
    let journals = small_journals(1);
    for way in ["way: Library", "way: Program"] {
        let standby = Standby::new(&[way]);
        let site = Site::new();
        standby.configure(&site);
        site.lay_out(&journals);
        let known = standby.keys().join("known_hosts");
        let right = fs::read(&known).unwrap();

        fs::write(&known, "").unwrap();
        let said = stopped(&site);
        assert!(said.contains("ssh-keyscan"), "{way}: {said}");

        keygen(&standby.keys().join("other")).unwrap();
        standby.host.know(&standby.keys().join("other.pub")).unwrap();
        let said = stopped(&site);
        assert!(said.contains("ssh-keygen -R"), "{way}: {said}");
        assert!(!standby.backup().exists(), "something was sent");

        fs::write(&known, right).unwrap();
        site.catch_up();
        site.assert_delivered(&journals, way);
    }
}

#[test]
fn a_full_disk_is_waited_for() {
    let journals = small_journals(2);
    let mut plan = Plan::new(Access::Commands);
    plan.file_bytes_max = Some(200);
    let full = Standby::with(&plan, &[]);
    let site = Site::new();
    full.configure(&site);
    site.lay_out(&journals);
    let daemon = site.start_daemon();
    let state = || where_of(&site, "standby");
    let is_retrying = || state()["state"] == "retrying";
    assert!(wait_until(LIMIT, is_retrying), "{}", state());
    let why = state()["why"].to_string();
    assert!(why.contains("bytes free"), "{why}");
    daemon.stop();
    let held = fs::read(full.backup().join("journal")).unwrap();
    assert!(held.len() <= 200 && journals[0].bytes.starts_with(&held));
}

#[test]
fn what_is_copied_is_applied_on_the_standby() {
    let Some(journals) = corpus_journals() else { return };
    let standby = Standby::new(&[]);
    let (site, applied) = with_replay(&standby, 1);
    // Piece by piece, so that it goes on from what is applied.
    for (index, journal) in journals.iter().enumerate() {
        if index > 0 {
            fs::rename(site.live(), site.rotated(journals[index - 1].number)).unwrap();
        }
        fs::write(site.live(), &journal.bytes[..journal.bytes.len() / 3]).unwrap();
        if index % 5 == 0 {
            site.catch_up();
        }
        fs::write(site.live(), &journal.bytes).unwrap();
    }
    site.catch_up();
    site.assert_delivered(&journals, "applied");
    let place = where_of(&site, "standby.replay");
    assert_eq!((&place["sequence"], &place["state"]), (&16.into(), &"following".into()));
    // As if all journals had been applied at once.
    let at_once = standby.keys().join("at-once.ckp");
    let mut apply = journal(&["apply", "--to"]);
    apply.arg(&at_once).arg(standby.keys().join("checkpoint.1"));
    apply.args(journals[..15].iter().map(|it| site.rotated(it.number)));
    must(apply.arg(site.live()));
    must(journal(&["diff"]).args([&at_once, &applied]));
}

#[test]
fn what_is_applied_is_what_the_server_had() {
    let Some(journals) = corpus_journals() else { return };
    // The server wrote into these all that it did.
    for number in [4, 10, 15] {
        let standby = Standby::new(&[]);
        let (site, applied) = with_replay(&standby, number);
        site.lay_out(&journals[number as usize - 1..number as usize]);
        site.catch_up();
        let next = checkpoint(number + 1, standby.keys());
        must(journal(&["verify", "--explain"]).args([&applied, &next]));
    }
}

#[test]
fn also_when_it_is_cut_off_and_killed_all_the_time() {
    let Some(journals) = corpus_journals() else { return };
    for seed in 1..=crate::plays::plays(2) {
        let number = [15, 4, 10][seed as usize % 3];
        let way = ["way: Library", "way: Program"][seed as usize % 2];
        let standby = Standby::new(&[way]);
        let (site, applied) = with_replay(&standby, number);
        fs::write(site.live(), b"").unwrap();
        let mut daemon = site.start_daemon();
        let journal_of = &journals[number as usize - 1..number as usize];
        let bytes = &journal_of[0].bytes;
        let mut random = Random::new(seed);
        let mut written = 0;
        while written < bytes.len() {
            let most = bytes.len() as u64 / 10;
            let end = bytes.len().min(written + 1 + random.below(most) as usize);
            let mut live = OpenOptions::new().append(true).open(site.live()).unwrap();
            live.write_all(&bytes[written..end]).unwrap();
            written = end;
            let wanted = random.below(written as u64 + 1);
            wait_until(Duration::from_millis(300), || site.mirrored_bytes() >= wanted);
            match random.below(6) {
                0 => {
                    daemon.kill();
                    daemon = site.start_daemon();
                }
                1 | 2 => standby.host.kill(),
                _ => {}
            }
        }
        daemon.kill();
        site.catch_up();
        site.assert_mirrored(journal_of, &format!("seed {seed}"));
        let next = checkpoint(number + 1, standby.keys());
        must(journal(&["verify", "--explain"]).args([&applied, &next]));
    }
}

/// A site whose journals are applied to a copy of a checkpoint, and that copy.
fn with_replay(standby: &Standby, number: u64) -> (Site, PathBuf) {
    let applied = standby.keys().join("applied.ckp");
    fs::copy(checkpoint(number, standby.keys()), &applied).unwrap();
    let site = Site::new();
    let replay = format!(
        r#"replay: ["{}", "journal", "apply", "--part", "--to", "{1}", "{1}", "-"]"#,
        env!("CARGO_BIN_EXE_tripline"),
        applied.display()
    );
    standby.configure_with(&site, &replay);
    (site, applied)
}

fn journal(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
    command.arg("journal").args(words);
    command
}

fn must(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", in_words(&output));
}

#[test]
fn a_replay_that_fails_says_why_and_is_tried_again() {
    let journals = small_journals(1);
    let standby = Standby::new(&[]);
    let site = Site::new();
    standby.configure_with(&site, r#"replay: ["/bin/ls", "/no such folder"]"#);
    site.lay_out(&journals);
    let daemon = site.start_daemon();
    let is_retrying = || where_of(&site, "standby.replay")["state"] == "retrying";
    assert!(wait_until(LIMIT, is_retrying), "{}", where_of(&site, "standby.replay"));
    let why = where_of(&site, "standby.replay")["why"].to_string();
    assert!(why.contains("/bin/ls") && why.contains("no such folder"), "{why}");
    // The copies do not wait for it.
    let is_copied = || where_of(&site, "standby")["bytes_behind"] == 0;
    assert!(wait_until(LIMIT, is_copied));
    daemon.stop();
    site.assert_mirrored(&journals, "beside a replay that fails");
}

fn stopped(site: &Site) -> String {
    let output: Output = site.until_idle();
    assert_eq!(output.status.code(), Some(3), "{}", in_words(&output));
    in_words(&output)
}

/// A checkpoint of the corpus, unpacked into a folder.
fn checkpoint(number: u64, folder: &Path) -> PathBuf {
    let corpus = std::env::var_os("TRIPLINE_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"),
        PathBuf::from,
    );
    let packed = corpus.join(format!("p4d-a/checkpoint.{number}.gz"));
    let mut decoder = flate2::read::MultiGzDecoder::new(fs::File::open(packed).unwrap());
    let to = folder.join(format!("checkpoint.{number}"));
    std::io::copy(&mut decoder, &mut fs::File::create(&to).unwrap()).unwrap();
    to
}
