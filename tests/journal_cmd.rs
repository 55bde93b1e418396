//! `tripline journal`, on small journals made here and, where it is there, on
//! the corpus.

use crate::util::{Dir, Ran, corpus, gzip};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const HEAD: &str = "@vv@ 1 @db.counters@ @journal@ @12@ \n";
const USER: &str =
    "@rv@ 3 @db.user@ @ann@ @ann@@x.net@ @@ 1 2 @Ann@ @0123CAFE@ 0 @@ 0 \n";
const DESC: &str = "@pv@ 0 @db.desc@ 7 @two\nlines@ \n";
const EX: &str = "@ex@ 4711 1700000000\n";

fn journal() -> String {
    [HEAD, USER, DESC, EX, "@pv@ 0 @db.nosuch@ 1 @x@ \n", "@ex@ 9 1700000001\n"].concat()
}

#[test]
fn count_has_the_agreed_keys() {
    let dir = Dir::new();
    dir.write("journal", journal() + "@ex@ 1 1700");
    dir.write_gz("zipped", journal());
    let ran = dir.run(["journal", "count", "journal", "zipped"]).exits(0).quietly();
    let [plain, zipped] = ran.json().try_into().unwrap();
    let bytes = journal().len() as u64;
    assert_eq!(plain["file"], "journal");
    assert_eq!((&plain["number"], &plain["records"]), (&12.into(), &6.into()));
    assert_eq!(plain["transactions"], 2);
    assert_eq!(
        (&plain["bytes"], &plain["bytes_complete"]),
        (&(bytes + 11).into(), &bytes.into())
    );
    assert_eq!(plain["complete"], false, "a torn tail is no damage and not complete");
    assert_eq!(plain["ops"], serde_json::json!({"vv": 1, "rv": 1, "pv": 2, "ex": 2}));
    assert_eq!(plain["tables"]["db.nosuch"], 1);
    assert_eq!(zipped["complete"], true);
    assert_eq!(zipped["records"], 6);
}

#[test]
fn count_tells_damage_from_what_cannot_be_read() {
    let dir = Dir::new();
    dir.write("holed", format!("{HEAD}\0\0\0\0\n{EX}"));
    let ran = dir.run(["journal", "count", "holed"]).exits(1);
    let ran = ran.complains(["is no record", &format!("at byte {}", HEAD.len())]);
    assert_eq!(
        (&ran.json()[0]["damaged"], &ran.json()[0]["records"]),
        (&1.into(), &2.into())
    );
    let zipped = gzip(journal().repeat(1000).as_bytes());
    dir.write("cut.gz", &zipped[..zipped.len() / 2]);
    let ran = dir.run(["journal", "count", "cut.gz"]).exits(1).complains(["cut short"]);
    assert_eq!(ran.json()[0]["complete"], false);
    let ran =
        dir.run(["journal", "count", "nosuch", "holed"]).exits(2).complains(["nosuch"]);
    assert_eq!(ran.json().len(), 1, "the other file is counted all the same");
    dir.run(["journal", "count", "."]).exits(2).complains(["it is a directory"]);
}

#[test]
fn cat_writes_entries() {
    let dir = Dir::new();
    dir.write_gz("j.12.gz", journal() + "@ex@ 1 1700");
    let ran = dir.run(["journal", "cat", "j.12.gz"]).exits(0).quietly();
    let entries = ran.json();
    assert_eq!(entries.len(), 6);
    let user = &entries[1];
    assert_eq!(user["id"], format!("j.12/12/{}", HEAD.len()));
    assert_eq!((&user["source"], &user["sequence"]), (&"j.12".into(), &12.into()));
    assert_eq!((&user["op"], &user["table"]), (&"rv".into(), &"db.user".into()));
    assert_eq!(user["fields"]["email"], "ann@x.net");
    assert_eq!(user["fields"]["password"], "[redacted]");
    assert_eq!((&user["pid"], &user["time"]), (&4711.into(), &1_700_000_000.into()));
    assert_eq!(entries[2]["fields"]["description"], "two\nlines");
    assert_eq!(entries[3]["line"], 5, "a text has lines of its own");
    assert_eq!(entries[4]["pid"], 9);
}

#[test]
fn cat_chooses() {
    let dir = Dir::new();
    dir.write("j", journal());
    let next = journal().replace("@12@", "@13@");
    dir.write("k", &next);
    let ids = |args: &[&str]| -> Vec<String> {
        let ran = dir.run(["journal", "cat"].iter().chain(args)).exits(0).quietly();
        ran.json().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    let desc = HEAD.len() + USER.len();
    assert_eq!(ids(&["j", "--table", "db.desc"]), [format!("j/12/{desc}")]);
    assert_eq!(ids(&["j", "--op", "ex", "--op", "vv"]).len(), 3);
    assert_eq!(
        ids(&["j", "--op", "pv", "--table", "db.nosuch", "--table", "db.user"]).len(),
        1
    );
    assert_eq!(ids(&["j", "k", "--source", "p4", "--since", "13"])[0], "p4/13/0");
    assert_eq!(ids(&["j", "k", "--since", "12:1"]).len(), 11);
    assert_eq!(ids(&["j", "--since", &format!("12:{desc}")])[0], format!("j/12/{desc}"));
    assert_eq!(ids(&["j", "k", "--since", "start"]).len(), 12);
    assert_eq!(ids(&["j", "k", "--since", "checkpoint:13"]).len(), 6);
    assert!(ids(&["j", "k", "--since", "end"]).is_empty());
    let both = dir.run(["journal", "cat", "j", "k", "--source", "p4"]).json();
    let rotated: Vec<_> = both.iter().filter(|it| it["did_rotate"] == true).collect();
    assert_eq!(rotated.len(), 1);
    assert_eq!(rotated[0]["id"], "p4/13/0");
    let raw = dir.run(["journal", "cat", "--raw", "j", "k"]).exits(0).quietly();
    assert_eq!(raw.stdout(), journal() + &next);
    let raw = dir.run(["journal", "cat", "--raw", "j", "--table", "db.user"]).exits(0);
    assert_eq!(raw.stdout(), USER);
}

#[test]
fn cat_goes_on_behind_damage_and_says_so() {
    let dir = Dir::new();
    dir.write("j", format!("{HEAD}{USER}\0\0\n@pv@ 0 @db.desc@ 7 @torn\n{EX}"));
    let ran =
        dir.run(["journal", "cat", "j"]).exits(1).complains(["2 times", "in line 3"]);
    let incomplete: Vec<_> =
        ran.json().iter().map(|it| it["incomplete"] == true).collect();
    assert_eq!(incomplete, [false, false, true, true, false]);
    let zipped = gzip(journal().repeat(1000).as_bytes());
    dir.write("cut.gz", &zipped[..zipped.len() / 2]);
    let ran = dir.run(["journal", "cat", "cut.gz"]).exits(1).complains(["cut short"]);
    assert!(!ran.json().is_empty(), "what is there is written");
}

#[test]
fn cat_keeps_the_order_of_a_long_journal() {
    use std::fmt::Write as _;
    let dir = Dir::new();
    let mut long = String::new();
    for number in 0..60_000 {
        let text = "x".repeat(number % 97);
        write!(long, "@pv@ 0 @db.desc@ {number} @{text}\n@ \n@ex@ {number} 1700000000\n")
            .unwrap();
    }
    dir.write("j", &long);
    let ran = dir.run(["journal", "cat", "j", "--table", "db.desc"]).exits(0).quietly();
    let entries = ran.json();
    assert_eq!(entries.len(), 60_000);
    for (number, entry) in entries.iter().enumerate() {
        assert_eq!(entry["fields"]["descKey"], number.to_string());
        assert_eq!(entry["pid"], number);
        assert_eq!(entry["line"], number * 3 + 1);
    }
    let raw = dir.run(["journal", "cat", "--raw", "j"]).exits(0).quietly();
    assert!(raw.stdout() == long, "every byte, in order");
}

#[test]
fn cat_writes_what_a_cut_file_still_holds() {
    let dir = Dir::new();
    let numbered = journal().replace("@12@", "@5@");
    let zipped = gzip(numbered.as_bytes());
    // The content is whole, and its checksum is not.
    dir.write("cut.gz", &zipped[..zipped.len() - 3]);
    let ran = dir.run(["journal", "cat", "cut.gz"]).exits(1).complains(["cut short"]);
    assert_eq!(ran.json().len(), 6, "{ran}");
    assert_eq!(ran.json()[0]["id"], "cut/5/0");
    dir.write("twice.gz", gzip(&zipped));
    dir.run(["journal", "cat", "twice.gz"]).exits(2).complains(["gzipped twice"]);
    let Some(corpus) = corpus() else { return };
    let path = corpus.join("crafted/30-truncated.jnl.5.gz");
    let ran = dir.run(["journal".as_ref(), "cat".as_ref(), path.as_os_str()]);
    let ran = ran.exits(1).complains(["cut short"]);
    assert!(!ran.json().is_empty(), "{ran}");
    assert!(ran.json().iter().all(|it| it["sequence"] == 5), "{ran}");
}

#[test]
fn a_journal_without_a_number_is_known_by_its_trailer() {
    let dir = Dir::new();
    let trailer = "@rv@ 1 @db.counters@ @journal@ @2@ \n@ex@ 9 1700000001\n";
    dir.write("journal.1", [USER, EX, trailer].concat());
    dir.write_gz("journal.1.gz", [USER, EX, trailer].concat());
    dir.write("journal.2", journal().replace("@12@", "@2@"));
    dir.write("journal", [USER, EX].concat());
    let ids = |args: &[&str]| -> Vec<String> {
        let ran = dir.run(["journal", "cat"].iter().chain(args)).exits(0).quietly();
        ran.json().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    for first in ["journal.1", "journal.1.gz"] {
        let count = dir.run(["journal", "count", first]).exits(0).json();
        assert_eq!(count[0]["number"], 1);
        assert_eq!(ids(&[first, "--since", "1"]).len(), 4);
        assert_eq!(ids(&[first, "--since", "1"])[0], "journal.1/0/0");
        let offset = format!("1:{}", USER.len());
        assert_eq!(ids(&[first, "journal.2", "--since", &offset]).len(), 3 + 6);
        assert_eq!(ids(&[first, "journal.2", "--since", "2"]).len(), 6);
    }
    // One whose number nobody knows may be any.
    assert_eq!(ids(&["journal", "--since", "7"]).len(), 2);
    let both = dir.run(["journal", "cat", "journal.1", "journal.2"]).json();
    let rotated: Vec<_> = both.iter().filter(|it| it["did_rotate"] == true).collect();
    assert_eq!(rotated.len(), 1);
    assert_eq!(rotated[0]["id"], "journal.2/2/0");
}

#[test]
fn what_does_not_parse_is_damage_for_every_command() {
    let dir = Dir::new();
    for bad in ["@pv@ 4294967296 @db.x@ 1 \n", "@pv@ garbage\n"] {
        dir.write("j", format!("{HEAD}{bad}{EX}"));
        let ran = dir.run(["journal", "count", "j"]).exits(1);
        assert_eq!(ran.json()[0]["damaged"], 1, "{bad}");
        assert_eq!(ran.json()[0]["bytes_complete"], HEAD.len(), "{bad}");
        assert_eq!(ran.json()[0]["records"], 2, "{bad}");
        let ran = dir.run(["journal", "cat", "j"]).exits(1);
        let ran = ran.complains(["once there is no record", "in line 2"]);
        let incomplete: Vec<_> =
            ran.json().iter().map(|it| it["incomplete"] == true).collect();
        assert_eq!(incomplete, [false, true, false], "{bad}");
        dir.write("ckp", CHECKPOINT);
        dir.run(["journal", "apply", "--to", "out", "ckp", "j"])
            .exits(1)
            .complains(["`j` is damaged in 1 place"]);
    }
}

#[test]
fn standard_input_and_files_without_a_length_are_read() {
    let dir = Dir::new();
    let path = dir.write("j", journal());
    for command in ["count", "cat"] {
        let mut command = dir.command(["journal", command, "-"]);
        command.stdin(fs::File::open(&path).unwrap());
        let ran = Ran(command.output().unwrap()).exits(0).quietly();
        assert!(ran.stdout().contains("12"), "{ran}");
    }
    if Path::new("/proc/self/environ").exists() {
        let mut command = dir.command(["journal", "count", "/proc/self/environ"]);
        command.env_clear().env("X", "\n@ex@ 1 2\n");
        let ran = Ran(command.output().unwrap()).exits(1);
        assert_eq!(ran.json()[0]["records"], 1, "{ran}");
    }
}

const CHECKPOINT: &str = "@pv@ 1 @db.counters@ @change@ @7@ \n\
    @pv@ 1 @db.counters@ @journal@ @12@ \n\
    @pv@ 3 @db.user@ @ann@ @a@ @@ 1 2 @Ann@ @0123CAFE@ 0 @@ 0 \n@ex@ 1 1\n";

#[test]
fn apply_writes_a_checkpoint_and_diff_compares_it() {
    let dir = Dir::new();
    dir.write_gz("ckp.12.gz", CHECKPOINT);
    dir.write("jnl.12", format!("{HEAD}@rv@ 1 @db.counters@ @change@ @8@ \n{EX}"));
    let args = ["journal", "apply", "--to", "out", "ckp.12.gz", "jnl.12"];
    dir.run(args).exits(0).complains(["1 journal applied"]);
    assert_eq!(dir.read("out"), CHECKPOINT.replace("@7@", "@8@").as_bytes());
    let ran =
        dir.run(["journal", "diff", "ckp.12.gz", "out", "--explain"]).exits(1).quietly();
    let row: serde_json::Value =
        serde_json::from_str(ran.stdout().lines().next().unwrap()).unwrap();
    assert_eq!(
        (&row["table"], &row["differs"]),
        (&"db.counters".into(), &"changed".into())
    );
    assert_eq!(row["second"]["fields"]["value"], "8");
    assert!(ran.stdout().lines().last().unwrap().starts_with("total"), "{ran}");
    dir.run(["journal", "diff", "out", "out"]).exits(0).quietly();
    let ran = dir.run(["journal", "verify", "ckp.12.gz", "jnl.12", "out"]).exits(0);
    let total: Vec<_> = ran.stdout().lines().last().unwrap().split_whitespace().collect();
    assert_eq!(total, ["total", "3", "0", "0"]);
}

#[test]
fn apply_leaves_out_what_is_not_committed() {
    let dir = Dir::new();
    dir.write("ckp", CHECKPOINT);
    let row = "@rv@ 1 @db.counters@ @change@ @8@ \n";
    // Live journals: without their first mark, and with a record being written.
    for live in [format!("{HEAD}{row}"), format!("{HEAD}{row}@ex@ 1 17")] {
        dir.write("journal", &live);
        let ran = dir.run(["journal", "apply", "--to", "out", "ckp", "journal"]).exits(0);
        let ran = ran.complains(["1 change without a transaction's end"]);
        assert_eq!(dir.read("out"), CHECKPOINT.as_bytes());
        let has_tail = live.len() > HEAD.len() + row.len();
        assert_eq!(ran.stderr().contains("9 bytes behind"), has_tail, "{ran}");
        dir.run(["journal", "verify", "ckp", "journal", "ckp"]).exits(0);
    }
}

#[test]
fn a_journal_in_the_middle_that_was_cut_is_an_error() {
    let dir = Dir::new();
    dir.write("ckp", CHECKPOINT);
    let trailer = "@rv@ 1 @db.counters@ @journal@ @13@ \n@ex@ 9 1700000001\n";
    dir.write("jnl.12", format!("{HEAD}{trailer}@pv@ 1"));
    dir.write("jnl.13", HEAD.replace("@12@", "@13@"));
    let args = ["journal", "apply", "--to", "out", "ckp", "jnl.12", "jnl.13"];
    dir.run(args).exits(1).complains(["`jnl.12`: 6 bytes behind", "was not written"]);
    dir.run(["journal", "verify", "ckp", "jnl.12", "jnl.13", "ckp"])
        .exits(1)
        .complains(["`jnl.12`: 6 bytes behind", "cut short"]);
}

#[test]
fn damaged_checkpoints_are_never_the_same() {
    let dir = Dir::new();
    dir.write("good", CHECKPOINT);
    dir.write("torn", format!("{CHECKPOINT}@pv@ 1 @db.counters@"));
    dir.write("holed", format!("\0\0\n{CHECKPOINT}"));
    dir.write("garbage", "no checkpoint\nat all\n");
    dir.write("marks", EX);
    dir.write("journal", HEAD);
    for (file, words) in [
        ("torn", "`torn`: 20 bytes behind"),
        ("holed", "`holed` is damaged in 1 place"),
        ("garbage", "`garbage` has no rows"),
        ("marks", "`marks` has no rows"),
    ] {
        dir.run(["journal", "diff", file, file]).exits(1).complains([words]);
        dir.run(["journal", "verify", file, "journal", file]).exits(1).complains([words]);
        dir.run(["journal", "diff", "good", file]).exits(1).complains([words]);
    }
    let ran = dir.run(["journal", "diff", "good", "good"]).exits(0).quietly();
    assert!(!ran.stdout().contains("explained"), "that is a question of verify: {ran}");
}

#[test]
fn apply_respects_what_is_at_its_target() {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
    let dir = Dir::new();
    let mode = |name: &str| {
        fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777
    };
    let checkpoint = dir.write("ckp", CHECKPOINT);
    fs::set_permissions(checkpoint, fs::Permissions::from_mode(0o440)).unwrap();
    dir.write("jnl.12", format!("{HEAD}{EX}"));
    let apply =
        |to: &str| dir.run(["journal", "apply", "--to", to, "ckp", "jnl.12"]).exits(0);
    apply("out");
    assert_eq!(mode("out"), 0o440, "as wide as the checkpoint and no wider");
    dir.write("elsewhere/target", "old");
    symlink("elsewhere/target", dir.path().join("link")).unwrap();
    symlink("elsewhere/new", dir.path().join("dangling")).unwrap();
    for (link, target) in [("link", "elsewhere/target"), ("dangling", "elsewhere/new")] {
        apply(link);
        assert_eq!(dir.read(target), CHECKPOINT.as_bytes());
        assert!(dir.path().join(link).is_symlink());
    }
    // A pipe stands for every device: it is written into, and stays what it is.
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = Command::new("cat").arg(&pipe).stdout(Stdio::piped()).spawn().unwrap();
    apply("pipe");
    let read = reader.wait_with_output().unwrap().stdout;
    assert_eq!(read, CHECKPOINT.as_bytes());
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    dir.run(["journal", "apply", "--to", "elsewhere", "ckp", "jnl.12"])
        .exits(2)
        .complains(["cannot write `elsewhere`: it is a directory"]);
}

#[test]
fn what_a_killed_apply_left_behind_is_removed() {
    let dir = Dir::new();
    dir.write("ckp", CHECKPOINT);
    dir.write("jnl.12", format!("{HEAD}{EX}"));
    dir.write("out.1234.part", "left behind");
    dir.write("out.part", "somebody's");
    dir.write("out.x.part", "somebody's");
    let in_use = fs::File::open(dir.write("out.5678.part", "in use")).unwrap();
    in_use.lock().unwrap();
    dir.run(["journal", "apply", "--to", "out", "ckp", "jnl.12"]).exits(0);
    let mut left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with("part"))
        .collect();
    left.sort();
    assert_eq!(left, ["out.5678.part", "out.part", "out.x.part"]);
}

#[test]
fn files_that_cannot_be_opened_are_named_before_any_work() {
    let dir = Dir::new();
    dir.write("ckp", CHECKPOINT);
    dir.write("jnl.12", format!("{HEAD}{EX}"));
    let commands: &[&[&str]] = &[
        &["apply", "--to", "out", "ckp", "jnl.12", "nosuch"],
        &["verify", "ckp", "jnl.12", "nosuch"],
        &["diff", "ckp", "nosuch"],
        &["count", "nosuch"],
        &["cat", "nosuch"],
    ];
    for command in commands {
        let ran = dir.run(["journal"].iter().chain(*command)).exits(2);
        ran.complains(["cannot open `nosuch`: No such file"]);
    }
    dir.run(["journal", "diff", "ckp", "."])
        .exits(2)
        .complains(["cannot open `.`: it is a directory"]);
}

#[test]
fn a_difference_never_shows_a_hash() {
    let dir = Dir::new();
    dir.write("a", CHECKPOINT);
    dir.write("b", CHECKPOINT.replace("0123CAFE", "4567CAFE"));
    let ran = dir.run(["journal", "diff", "--explain", "a", "b"]).exits(1);
    assert!(
        ran.stdout().contains("[redacted]") && !ran.stdout().contains("CAFE"),
        "{ran}"
    );
}

#[test]
fn apply_leaves_nothing_behind_when_it_fails() {
    let dir = Dir::new();
    dir.write("ckp", CHECKPOINT);
    dir.write("jnl.12", format!("{HEAD}{EX}"));
    dir.write("jnl.14", format!("{HEAD}{EX}").replace("@12@", "@14@"));
    let zipped = gzip(journal().repeat(1000).as_bytes());
    dir.write("cut.gz", &zipped[..zipped.len() / 2]);
    let attempts: &[(&[&str], i32, &str)] = &[
        (&["ckp", "jnl.12", "jnl.14"], 1, "in order"),
        (&["ckp", "cut.gz"], 1, "cut short"),
        (&["ckp", "nosuch"], 2, "nosuch"),
        (&["nosuch", "jnl.12"], 2, "nosuch"),
    ];
    for (files, code, words) in attempts {
        let args = ["journal", "apply", "--to", "out"];
        dir.run(args.iter().chain(*files)).exits(*code).complains([*words]);
    }
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["ckp", "cut.gz", "jnl.12", "jnl.14"]);
}

#[test]
fn the_crafted_cases_come_out_as_expected() {
    let Some(corpus) = corpus() else { return };
    let dir = Dir::new();
    let expected = fs::read_to_string(corpus.join("crafted/EXPECT.tsv")).unwrap();
    let mut cases = 0;
    for line in expected.lines().skip(1) {
        let cells: Vec<_> = line.split('\t').collect();
        let path = corpus.join("crafted").join(cells[0]);
        let ran = dir.run(["journal".as_ref(), "count".as_ref(), path.as_os_str()]);
        cases += 1;
        if cells[1] == "-" {
            ran.exits(1).complains(["cut short"]);
            continue;
        }
        let count = &ran.json()[0];
        assert_eq!(count["records"].to_string(), cells[1], "{line}\n{ran}");
        assert_eq!(count["bytes_complete"].to_string(), cells[2], "{line}\n{ran}");
        // What `cat` writes are these records.
        let ran = dir.run(["journal".as_ref(), "cat".as_ref(), path.as_os_str()]);
        let whole = ran.json().iter().filter(|it| it["incomplete"] == false).count();
        assert_eq!(whole.to_string(), cells[1], "{line}\n{ran}");
    }
    assert!(cases >= 20, "only {cases}");
}

#[test]
fn the_chain_law_holds_for_a_real_server() {
    let Some(corpus) = corpus() else { return };
    let dir = Dir::new();
    let server = corpus.join("p4d-a");
    for number in 1..=15 {
        let files = [
            format!("checkpoint.{number}.gz"),
            format!("journal.{number}"),
            format!("checkpoint.{}.gz", number + 1),
        ]
        .map(|name| server.join(name));
        let args = ["journal".as_ref(), "verify".as_ref()];
        let ran = dir.run(args.into_iter().chain(files.iter().map(|it| it.as_os_str())));
        assert_eq!(ran.0.status.code(), Some(0), "{number}: {ran}");
    }
}

#[test]
fn apply_does_not_write_over_what_it_reads() {
    let dir = Dir::new();
    let text = "@nx@ 0 9 @58@ 1 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
        @pv@ 1 @db.counters@ @journal@ @5@ \n@ex@ 1 9\n";
    dir.write("checkpoint.5", text);
    dir.write("journal.5", "@vv@ 1 @db.counters@ @journal@ @5@ \n@ex@ 1 9\n");
    dir.run(["journal", "apply", "--to", "./journal.5", "checkpoint.5", "journal.5"])
        .exits(2)
        .complains(["is one of the inputs", "write to another file"]);
    assert_eq!(dir.read("checkpoint.5"), text.as_bytes());
    // A checkpoint may be brought up to date, also with a stretch of a journal.
    let part = "@pv@ 0 @db.desc@ 7 @text@ \n@ex@ 1 9\n";
    dir.write("part", part);
    let apply = |more: &[&str]| {
        let words = ["journal", "apply", "--to", "checkpoint.5", "checkpoint.5", "part"];
        dir.run(words.iter().chain(more))
    };
    apply(&[]).exits(1).complains(["one without a number"]);
    assert_eq!(dir.read("checkpoint.5"), text.as_bytes());
    apply(&["--part"]).exits(0);
    let after = String::from_utf8(dir.read("checkpoint.5")).unwrap();
    assert!(after.contains("@db.desc@ 7 @text@"), "{after}");
}
