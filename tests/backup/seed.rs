//! Bringing a checkpoint to a standby: cut, killed, changed, in the way.

use super::{backup, checkpoint, checkpoint_text, command, exits, journals_from};
use crate::site::{Daemon, Site, in_words, small_journals, wait_until};
use crate::standby::Standby;
use crate::util::gzip;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::process::Stdio;
use std::time::Duration;
use tripline_listeners::testing::sshd::{Access, Plan};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_new_standby_gets_the_newest_whole_checkpoint_and_goes_on() {
    let standby = Standby::with(&Plan::new(Access::Files), &[]);
    let site = Site::new();
    standby.configure(&site);
    let journals = journals_from(4, 6);
    site.lay_out(&journals);
    let four = checkpoint(&site, 4, "");
    let five = site.root().join("p4root/checkpoints/p4_1.ckp.5.gz");
    let packed = gzip(checkpoint_text(5, "").as_bytes());
    fs::write(&five, &packed[..packed.len() - 2]).unwrap();
    fs::write(four.with_extension("7"), "not yet").unwrap();

    let said = exits(&backup(&site, "seed", &[]), 0);
    assert!(said.contains("p4_1.ckp.5.gz is passed over"), "{said}");
    assert!(said.contains("standby begins with journal 4 of p4"), "{said}");
    assert!(said.contains("p4d -r ROOT -jr"), "{said}");
    assert_brought(&standby, "checkpoint.4", &fs::read(&four).unwrap());
    site.catch_up();
    site.assert_mirrored(&journals, "seeded");

    // Again, with a newer one; the journals go on where they are.
    fs::write(&five, &packed).unwrap();
    let said = exits(&backup(&site, "seed", &["standby"]), 0);
    assert!(said.contains("go on where the standby is, at journal 6"), "{said}");
    assert_brought(&standby, "checkpoint.5.gz", &packed);
    let said = exits(&backup(&site, "seed", &["standby"]), 0);
    assert!(said.contains("already, as it is here"), "{said}");
    site.catch_up();
    site.assert_mirrored(&journals, "seeded again");

    // While the daemon runs, nobody moves anything under it.
    let daemon = site.start_daemon();
    let more =
        [&journals[2].bytes[..], b"@pv@ 0 @db.desc@ 9 @more@ \n@ex@ 1 2\n"].concat();
    fs::write(site.live(), &more).unwrap();
    let copy = standby.backup().join("journal");
    assert!(wait_until(LIMIT, || fs::read(&copy).is_ok_and(|it| it == more)));
    exits(&backup(&site, "seed", &[]), 4);
    daemon.stop();
    let said = exits(&backup(&site, "seed", &["audit"]), 2);
    assert!(said.contains("keeps no backup") && said.contains("standby"), "{said}");
}

fn assert_brought(standby: &Standby, name: &str, bytes: &[u8]) {
    let folder = standby.backup();
    assert!(fs::read(folder.join(name)).unwrap() == bytes, "{name}");
    assert!(!folder.join(format!("{name}.part")).exists());
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let written = fs::read_to_string(folder.join(format!("{name}.sha256"))).unwrap();
    assert_eq!(written, format!("{hex}  {name}\n"));
}

#[test]
fn cut_and_killed_it_goes_on_where_it_was() {
    let standby = Standby::new(&[]);
    let site = Site::new();
    standby.configure(&site);
    site.lay_out(&journals_from(4, 4));
    let row = format!("@pv@ 0 @db.desc@ 1 @{}@ \n", "Much text. ".repeat(80_000));
    let path = checkpoint(&site, 4, &row.repeat(25));
    let part = standby.backup().join("checkpoint.4.part");
    let size = || fs::metadata(&part).map_or(0, |it| it.len());
    // The connection is cut.
    let mut seed = command(&site, "seed", &[]);
    let child = seed.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(wait_until(LIMIT, || size() > 1_000_000));
    standby.host.kill();
    let said = exits(&child.wait_with_output().unwrap(), 2);
    assert!(said.contains("is gone on with") || said.contains("connection"), "{said}");
    let held = size();
    assert!(held > 0, "nothing stayed");
    // The program is killed.
    let mut seed = command(&site, "seed", &[]);
    let killed = Daemon::spawn(seed.stdout(Stdio::null()).stderr(Stdio::null()));
    assert!(wait_until(LIMIT, || size() > held));
    killed.kill();
    // Another checkpoint of that number is there now, from its middle on.
    let mut bytes = fs::read(&path).unwrap();
    bytes[600_000] = b'm';
    fs::write(&path, &bytes).unwrap();
    let said = exits(&backup(&site, "seed", &[]), 0);
    assert!(said.contains("600000 of"), "{said}");
    assert_brought(&standby, "checkpoint.4", &bytes);
}

#[test]
fn what_is_in_the_way_stays_and_a_full_disk_is_said() {
    let mut plan = Plan::new(Access::Commands);
    plan.file_bytes_max = Some(300_000);
    let standby = Standby::with(&plan, &[]);
    let site = Site::new();
    standby.configure(&site);
    site.lay_out(&journals_from(4, 4));
    let path = checkpoint(&site, 4, "");
    let other = standby.backup().join("checkpoint.4");
    fs::create_dir_all(standby.backup()).unwrap();
    fs::write(&other, "somebody's").unwrap();
    let said = exits(&backup(&site, "seed", &[]), 2);
    assert!(said.contains("nothing was overwritten"), "{said}");
    assert_eq!(fs::read(&other).unwrap(), b"somebody's");
    fs::remove_file(&other).unwrap();

    checkpoint(&site, 4, &"@pv@ 0 @db.desc@ 1 @Much text.@ \n".repeat(20_000));
    let said = exits(&backup(&site, "seed", &[]), 2);
    assert!(said.contains("bytes free"), "{said}");
    assert!(!other.exists());
    // No checkpoint at all.
    fs::remove_file(path).unwrap();
    let said = exits(&backup(&site, "seed", &[]), 2);
    assert!(said.contains("no whole checkpoint in"), "{said}");
}

#[test]
fn a_standby_that_is_too_old_is_told_and_seeded() {
    let journals = small_journals(5);
    let standby = Standby::new(&[]);
    let site = Site::new();
    standby.configure(&site);
    site.lay_out(&journals[..2]);
    site.catch_up();
    let held = fs::read(standby.backup().join("journal")).unwrap();
    for number in [1, 2] {
        _ = fs::remove_file(site.rotated(number));
    }
    site.lay_out(&journals[3..]);
    let output = site.until_idle();
    assert_eq!(output.status.code(), Some(3), "{}", in_words(&output));
    let said = in_words(&output);
    assert!(said.contains("the standby needs checkpoint 4 or a later one"), "{said}");
    assert!(
        said.contains("tripline backup seed") && said.contains("standby brings"),
        "{said}"
    );

    checkpoint(&site, 4, "");
    let said = exits(&backup(&site, "seed", &[]), 0);
    assert!(said.contains("journal.2.unfinished"), "{said}");
    site.catch_up();
    let journals: Vec<_> = journals[3..].to_vec();
    site.assert_mirrored(&journals, "seeded");
    assert!(fs::read(standby.backup().join("journal.2.unfinished")).unwrap() == held);
}

#[test]
fn nothing_is_applied_before_the_checkpoint_is_restored() {
    let standby = Standby::new(&[]);
    let site = Site::new();
    let applied = standby.keys().join("applied.ckp");
    let replay = format!(
        r#"replay: ["{}", "journal", "apply", "--part", "--to", "{1}", "{1}", "-"]"#,
        env!("CARGO_BIN_EXE_tripline"),
        applied.display()
    );
    standby.configure_with(&site, &replay);
    site.lay_out(&journals_from(4, 5));
    let path = checkpoint(&site, 4, "");
    let said = exits(&backup(&site, "seed", &[]), 0);
    assert!(said.contains("--restored 4") && said.contains("into an empty"), "{said}");
    let said = exits(&site.until_idle(), 3);
    assert!(said.contains("is to be restored there first"), "{said}");
    assert!(!applied.exists(), "something was applied");
    // A newer one does not take its place while somebody restores it.
    checkpoint(&site, 5, "");
    let said = exits(&backup(&site, "seed", &[]), 0);
    assert!(said.contains("checkpoint.4 is waiting"), "{said}");
    assert!(said.contains("--restored 4") && !said.contains("--restored 5"), "{said}");
    let said = exits(&backup(&site, "seed", &["standby", "--restored", "5"]), 2);
    assert!(said.contains("checkpoint.4 is waiting"), "{said}");
    exits(&backup(&site, "seed", &["standby", "--restored"]), 2);
    // A person restores it, and says so.
    fs::copy(&path, &applied).unwrap();
    exits(&backup(&site, "seed", &["standby", "--restored", "4"]), 0);
    site.catch_up();
    let text = fs::read_to_string(&applied).unwrap();
    // The end of journal 4, and what journal 5 made of the same rows.
    assert!(text.contains("@journal@ @5@") && text.contains("Line one of 5"), "{text}");
    // There is nothing to be restored any more.
    let said = exits(&backup(&site, "seed", &[]), 0);
    assert!(said.contains("nothing is to be restored"), "{said}");
    let said = exits(&backup(&site, "seed", &["standby", "--restored", "4"]), 2);
    assert!(said.contains("no checkpoint waits"), "{said}");
    // What an earlier life of the server had applied is of no use.
    let there = standby.backup().join("applied");
    fs::write(&there, r#"{"sequence": 9, "offset": 0, "line": 0}"#).unwrap();
    let said = exits(&backup(&site, "seed", &[]), 0);
    assert!(said.contains("--restored 5"), "{said}");
    assert!(fs::read_to_string(&there).unwrap().contains("checkpoint.5"));
}

#[test]
fn a_standby_that_handles_case_otherwise_gets_nothing() {
    let standby = Standby::new(&[]);
    let site = Site::new();
    let said_so = standby.keys().join("was-called");
    let replay = format!(r#"replay: ["/usr/bin/touch", "{}", "-C1"]"#, said_so.display());
    standby.configure_with(&site, &replay);
    site.lay_out(&small_journals(2));
    let said = exits(&site.until_idle(), 3);
    assert!(said.contains("(p4d -C0)") && said.contains("(p4d -C1)"), "{said}");
    assert!(!said_so.exists(), "something was applied");
    // The copies are not concerned.
    site.assert_mirrored(&small_journals(2), "beside");
}
