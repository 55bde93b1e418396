//! `tripline explain`, `new` and `replay`: rules in the hands of people.

use crate::util::{Dir, Ran};
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

const CONFIG: &str = r#"(
    state: "state",
    sources: {
        "auth": Log(paths: ["auth.log"], time: Syslog, zone: "UTC"),
        "app": Log(paths: ["app.log"], time: Iso),
        "p4": Journal(path: "journal"),
    },
    rules: ["rules.d/*.ron"],
)
"#;

const RULES: &str = r#"(
    rules: [
        (
            name: "brute",
            on: Lines(source: "auth", program: "sshd"),
            match: r"^Failed \S+ for %{USER:user} from %{IP:ip}",
            unless: "ip is cidr('10.0.0.0/8')",
            when: Count(of: 3, within: "60s"),
            by: ["ip"],
            limit: (times: 1, per: "10m"),
            do: [Mail(to: ["ops@example.com"], subject: "{{ ip }}: {{ count }}")],
        ),
        (
            name: "silent",
            on: Lines(source: "app"),
            match: r"alive",
            when: Absent(for: "5m"),
            do: [Emit(kind: "silent")],
        ),
        (
            name: "told",
            on: Engine(emitted: "silent"),
            do: [Set(flag: "silent", for: "1h")],
        ),
        (
            name: "protect",
            on: Journal(source: "p4", table: "db.protect"),
            do: [Touch(dir: "/run/flags", file: "{{ db.protect.user }}")],
        ),
    ],
)
"#;

fn site() -> Dir {
    let dir = Dir::new();
    dir.write("tripline.ron", CONFIG);
    dir.write("rules.d/a.ron", RULES);
    dir
}

fn failed(second: u64, ip: &str) -> String {
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "Nov 19 {hour:02}:{minute:02}:{second:02} www sshd[9]: Failed password for bob \
         from {ip} port 5 ssh2\n"
    )
}

fn explain(dir: &Dir, words: &[&str]) -> Ran {
    dir.run([&["explain", "tripline.ron"], words].concat()).exits(0).quietly()
}

#[track_caller]
fn says(ran: &Ran, all: &[&str]) {
    for words in all {
        assert!(ran.stdout().contains(words), "no {words:?} in\n{ran}");
    }
}

#[test]
fn explain_says_where_a_rule_stops_and_why() {
    let dir = site();
    let line = failed(0, "10.1.2.3");
    let ran = explain(&dir, &["--at", "2026-11-19T00:00:05Z", "--", &line]);
    says(
        &ran,
        &[
            "source   auth (of 2; say another with --source)",
            "as you say",
            "event.program = \"sshd\"",
            "event.time = 1795046400",
            "rules    1 of 4 look at auth",
            "match        yes  ip=10.1.2.3 user=bob",
            "ip is cidr('10.0.0.0/8')  ->  true   with ip=10.1.2.3   <- stops here",
        ],
    );
    // The one that matches nothing says how far it came.
    let ran = explain(&dir, &["--", &line.replace("from", "by")]);
    says(
        &ran,
        &["found \"Failed password for bob \", then at column 25 wanted \"from \""],
    );
    // Line after line, and what would be done.
    let lines = [failed(1, "192.0.2.1"), failed(2, "192.0.2.1"), failed(3, "192.0.2.1")];
    let ran = explain(&dir, &["--", &lines.concat()]);
    says(
        &ran,
        &[
            "entry    3 of 3",
            "when         no   2 of 3 within 1m for ip=192.0.2.1   <- stops here",
            "when         yes  3 of 3 within 1m for ip=192.0.2.1",
            "fires        yes  auth/0/160/brute",
            "would do Mail, the action mail-1 of brute",
            "subject: \"192.0.2.1: 3\"",
        ],
    );
    let ran = explain(&dir, &["--rule", "protect", "--", &line]);
    says(&ran, &["protect does not look at auth"]);
    let ran = explain(&dir, &["--source", "app", "--", "2026-11-19T00:00:00Z alive"]);
    says(&ran, &["source   app\n", "which it carries", "fires if nothing comes for 5m"]);
}

#[test]
fn explain_knows_records_of_a_journal() {
    let dir = site();
    let record = "@pv@ 6 @db.protect@ 1 0 @ann@ @*@ 255 1 @//...@ ";
    let ran = explain(&dir, &["--", record]);
    says(
        &ran,
        &[
            "source   p4 (the only journal)",
            "as if its transaction ended now",
            "table        yes  db.protect put",
            "fires        yes",
            "would do Touch",
        ],
    );
    let closed = format!("{record}\n@ex@ 7 1795046400\n");
    says(&explain(&dir, &["--", &closed]), &["which it carries"]);
    let ran = explain(&dir, &["--", "@pv@ 4 @db.change@ 1 1 @ws@ @ann@ 1 0 @x@ "]);
    says(&ran, &["db.change put; wanted db.protect   <- stops here"]);
    // From standard input too.
    let mut command = dir.command(["explain", "tripline.ron", "--", "-"]);
    dir.write("input", &closed);
    let input = std::fs::File::open(dir.path().join("input")).unwrap();
    let ran = Ran(command.stdin(Stdio::from(input)).output().unwrap()).exits(0);
    says(&ran, &["fires        yes"]);
}

#[test]
fn explain_refuses_what_is_not_there() {
    let dir = site();
    let run = |words: &[&str]| dir.run([&["explain", "tripline.ron"], words].concat());
    run(&["--rule", "brtue", "--", "x"]).exits(2).complains(["did you mean `brute`?"]);
    run(&["--source", "x", "--", "x"]).exits(2).complains(["`auth`, `app` and `p4`"]);
    run(&["--source", "p4", "--", "x"]).exits(2).complains(["`p4` is a journal"]);
    run(&["--at", "noon", "--", "x"]).exits(2).complains(["2026-11-19T12:00:00"]);
    dir.write(
        "none.ron",
        CONFIG.replace(
            "rules: [\"rules.d/*.ron\"],",
            "listeners: {
        \"all\": Print(from: [\"auth\", \"app\", \"p4\"], to: \"all.jsonl\"),
    },",
        ),
    );
    dir.run(["explain", "none.ron", "--", "x"])
        .exits(2)
        .complains(["add for example rules:"]);
    // What is hostile stays text.
    let ran = explain(&dir, &["--source", "auth", "--", "\x1b[2J\u{202e}"]);
    assert!(!ran.stdout().contains('\x1b') && !ran.stdout().contains('\u{202e}'));
}

#[test]
fn new_writes_a_rule_that_passes_its_test() {
    let dir = Dir::new();
    for (number, line) in [
        failed(0, "192.0.2.1").as_str(),
        "2026-11-19T00:00:00Z ERROR \"disk\" full: /srv/data 97%",
        "-- x {{ i }} %{IP} \\d \x1b[2J",
        "<13>1 2026-11-19T00:00:00Z h app 7 - - user=ann id=0x1f",
        "@pv@ 6 @db.protect@ 1 0 @ann@ @*@ 255 1 @//...@ ",
    ]
    .into_iter()
    .enumerate()
    {
        let ran = dir.run(["new", line]).exits(0).quietly();
        assert!(!ran.stdout().contains('\x1b'));
        let name = format!("{number}.ron");
        dir.write(&name, ran.stdout());
        dir.run(["check", "--strict", &name]).exits(0).quietly();
        let ran = dir.run(["test", &name]).exits(0);
        assert!(ran.stdout().contains("1 passed, 0 failed"), "{ran}");
    }
    let ran = dir.run(["new", "--source", "auth", "a 1"]).exits(0);
    says(&ran, &["on: Lines(source: \"auth\")", "source: \"auth\")]"]);
    dir.run(["new", " "]).exits(2).complains(["the line is empty"]);
}

#[test]
fn new_takes_one_line() {
    let dir = Dir::new();
    let two = format!("{}{}", failed(0, "192.0.2.1"), failed(1, "192.0.2.2"));
    let told = ["these are 2 lines", "a rule is made of one", "given: [Lines"];
    dir.run(["new", &two]).exits(2).complains(told);
    // The end of the line is none of them.
    dir.run(["new", &failed(0, "192.0.2.1")]).exits(0).quietly();
    let told = ["these are 3 arguments", "put the line in quotes", "given: [Lines"];
    dir.run(["new", "Failed", "password", "for"]).exits(2).complains(told);
    dir.run(["new", "a 1", "--source", "auth"]).exits(0).quietly();
}

/// A day of two logs and a journal.
fn write_day(dir: &Dir) {
    let (mut first, mut second) = (String::new(), String::new());
    for minute in 0..300_u64 {
        let log = if minute < 200 { &mut first } else { &mut second };
        let ip = format!("192.0.2.{}", minute % 3);
        // Three at once, every minute: each address is limited to one in ten minutes.
        for at in [0, 1, 2] {
            log.push_str(&failed(minute * 60 + at, &ip));
        }
        log.push_str("a line without a time\n");
    }
    dir.write_gz("auth.log.1.gz", first);
    dir.write("auth.log", second);
    let mut app = String::new();
    for minute in [0, 1, 2, 30, 31, 100] {
        let (hour, minute) = (minute / 60, minute % 60);
        _ = writeln!(app, "2026-11-19T{hour:02}:{minute:02}:00Z alive");
    }
    dir.write("app.log", app);
    // Lines of syslog have no year: it is that of the file.
    let written = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_132_800);
    for name in ["auth.log.1.gz", "auth.log"] {
        let file = std::fs::File::options().append(true).open(dir.path().join(name));
        file.unwrap().set_modified(written).unwrap();
    }
    dir.write(
        "journal",
        "@pv@ 6 @db.protect@ 1 0 @ann@ @*@ 255 1 @//...@ \n@ex@ 7 1795050000\n\
         @pv@ 4 @db.change@ 1 1 @ws@ @ann@ 1 0 @x@ \n@ex@ 7 1795050001\n",
    );
}

fn replay(dir: &Dir, words: &[&str]) -> serde_json::Value {
    let words = [&["replay", "tripline.ron", "--dry-run", "--json"], words].concat();
    dir.run(words).exits(0).quietly().json().remove(0)
}

fn fired(side: &serde_json::Value, name: &str) -> u64 {
    let rules = side["rules"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["name"] == name).unwrap();
    rule["fired"].as_u64().unwrap()
}

#[test]
fn replay_goes_by_the_times_of_the_lines() {
    let dir = site();
    write_day(&dir);
    // In whatever order the files are named.
    let files = ["journal", "auth.log", "app.log", "auth.log.1.gz"];
    let mut turned = files;
    turned.reverse();
    let (one, other) = (replay(&dir, &files), replay(&dir, &turned));
    for all in [&one, &other] {
        assert_eq!(
            (all["files"].as_u64(), all["events"].as_u64()),
            (Some(4), Some(1208))
        );
        assert_eq!(all["untimed"], 300);
        assert_eq!(
            (&all["first"], &all["last"]),
            (&"2026-11-19T00:00:00Z".into(), &"2026-11-19T04:59:02Z".into(),)
        );
        // Each address once in ten minutes, in 300 minutes.
        assert_eq!(fired(&all["new"], "brute"), 75);
        // Silent after 00:02, after 00:31 and after 01:40.
        assert_eq!(fired(&all["new"], "silent"), 3);
        assert_eq!(fired(&all["new"], "told"), 3);
        assert_eq!(fired(&all["new"], "protect"), 1);
        let would = serde_json::json!({"Emit": 3, "Mail": 75, "Set": 3, "Touch": 1});
        assert_eq!(all["new"]["would"], would);
        assert_eq!(all["new"]["failed"], serde_json::json!({}));
    }
    // Nothing was done, and no state was made.
    assert!(!dir.path().join("state").exists());
}

#[test]
fn replay_takes_a_part_of_the_time() {
    let dir = site();
    write_day(&dir);
    let part = ["--since", "2026-11-19T01:00:00Z", "--until", "2026-11-19T02:00:00Z"];
    let all = replay(&dir, &[&part[..], &["auth.log.1.gz", "app.log"]].concat());
    assert_eq!(all["first"], "2026-11-19T01:00:00Z");
    assert_eq!(fired(&all["new"], "brute"), 15);
    assert_eq!(fired(&all["new"], "silent"), 1);
    assert!(all["passed_over"].as_u64().unwrap() > 500, "{all}");
}

#[test]
fn replay_shows_what_two_sets_do_differently() {
    let dir = site();
    write_day(&dir);
    let old = RULES
        .replace("Count(of: 3", "Count(of: 2")
        .replace("for: \"5m\"", "for: \"20m\"");
    dir.write("old.d/a.ron", old.replace("\"protect\"", "\"guard\""));
    let files = ["auth.log.1.gz", "auth.log", "app.log", "journal"];
    let all = replay(&dir, &[&["--diff-with", "old.d"], &files[..]].concat());
    assert_eq!((fired(&all["old"], "silent"), fired(&all["new"], "silent")), (3, 3));
    let rules = all["difference"]["rules"].as_array().unwrap();
    let only = |name: &str| {
        let rule = rules.iter().find(|rule| rule["name"] == name);
        rule.map(|it| {
            (it["only_old"].as_u64().unwrap(), it["only_new"].as_u64().unwrap())
        })
    };
    // At other times, by other events, by another name, and the same.
    assert_eq!(only("silent"), Some((3, 3)));
    assert_eq!(only("brute"), Some((75, 75)));
    assert_eq!((only("guard"), only("protect")), (Some((1, 0)), Some((0, 1))));
    let same = replay(&dir, &[&["--diff-with", "rules.d"], &files[..]].concat());
    assert_eq!(same["difference"]["rules"], serde_json::json!([]));
    let words =
        [&["replay", "tripline.ron", "--dry-run", "--diff-with", "old.d"], &files[..]];
    let ran = dir.run(words.concat()).exits(0).quietly();
    says(
        &ran,
        &["RULE", "ONLY OLD", "only old: ", "only new: ", " ip=192.0.2.0 (auth.log"],
    );
    says(&ran, &["would do: Emit 3, Mail 75, Set 3, Touch 1. Nothing was done."]);
    // Three of each rule, or all.
    says(&ran, &["only old: and 72 more: --all shows them\n"]);
    assert_eq!(ran.stdout().matches("only old: 2026").count(), 10, "{ran}");
    let ran = dir.run([&words.concat()[..], &["--all"]].concat()).exits(0).quietly();
    assert_eq!(ran.stdout().matches("only old: 2026").count(), 82, "{ran}");
    assert!(!ran.stdout().contains(" more"), "{ran}");
    dir.run(["replay", "tripline.ron", "--dry-run", "--all", "auth.log"])
        .exits(2)
        .complains(["--diff-with"]);
}

#[test]
fn what_belongs_together_is_joined_as_the_source_says() {
    let dir = site();
    dir.write("tripline.ron", CONFIG.replace("time: Iso", "time: Iso, join: Indent"));
    let rule = "(rules: [(name: \"trace\", on: Lines(source: \"app\"), \
                match: r\"(?s)^.{20} ERROR.*at %{NOTSPACE:place}$\", do: [Touch(dir: \"/run\", \
                file: \"{{ place }}\")])])";
    dir.write("rules.d/a.ron", rule);
    let text = "2026-11-19T00:00:00Z INFO up\n2026-11-19T00:00:01Z ERROR broken\n  in x\n  at here\n";
    dir.write("app.log", text);
    let all = replay(&dir, &["app.log"]);
    assert_eq!((all["events"].as_u64(), fired(&all["new"], "trace")), (Some(2), 1));
    let ran = explain(&dir, &["--source", "app", "--", text]);
    says(&ran, &["entry    2 of 2", "match        yes  place=here", "file: \"here\""]);
}

#[test]
fn replay_refuses_what_it_cannot_do() {
    let dir = site();
    write_day(&dir);
    let run = |words: &[&str]| dir.run([&["replay", "tripline.ron"], words].concat());
    run(&["auth.log"]).exits(2).complains(["--dry-run"]);
    run(&["--dry-run", "nosuch"]).exits(2).complains(["cannot read `nosuch`"]);
    run(&["--dry-run", "."]).exits(2).complains(["it is not a file"]);
    dir.write("other.txt", "2026-11-19T00:00:00Z alive\n");
    run(&["--dry-run", "other.txt"]).exits(2).complains(["Say --source `auth` or `app`"]);
    let ran = run(&["--dry-run", "--source", "app", "other.txt"]).exits(0);
    says(&ran, &["read 1 event of 1 file"]);
    run(&["--dry-run", "--source", "p4", "other.txt"])
        .exits(2)
        .complains(["`p4` is a journal"]);
    let cut = dir.read("auth.log.1.gz");
    dir.write("auth.log.2.gz", &cut[..cut.len() / 2]);
    run(&["--dry-run", "auth.log.2.gz"]).exits(2).complains(["auth.log.2.gz"]);
    dir.write("old.ron", "(rules: [");
    run(&["--dry-run", "--diff-with", "old.ron", "auth.log"])
        .exits(2)
        .complains(["error[E002]", "old.ron:1:9"]);
    dir.write("empty.log", "");
    let ran = run(&["--dry-run", "empty.log"]).exits(0);
    says(&ran, &["read 0 events of 0 files", "would do: nothing"]);
}

#[test]
fn test_says_what_to_name() {
    let dir = site();
    dir.write("empty/x.txt", "");
    dir.write("other/tripline.ron", CONFIG);
    for (path, wanted) in [
        ("nosuch", "there is no file and no directory `nosuch`"),
        ("empty", "there is no *.ron in the directory `empty`"),
        ("other", "no *.ron in the directory `other` has rules"),
    ] {
        let ran = dir.run(["test", path]).exits(2).complains([wanted, "name"]);
        assert_eq!(ran.stdout(), "", "{ran}");
    }
    // What it is instead is said, and not all that it is not.
    dir.write("receive.ron", "(listen: \"127.0.0.1:1\", to: \"t\", state: \"s\")");
    for (words, wanted) in [
        (["test", "tripline.ron"], "tripline.ron is a configuration"),
        (["test", "receive.ron"], "receive.ron is the configuration of a receiver"),
        (["where", "receive.ron"], "start it with `tripline receive receive.ron`"),
        (["tasks", "receive.ron"], "start it with `tripline receive receive.ron`"),
        (["run", "rules.d/a.ron"], "rules.d/a.ron is a file with rules"),
        (["receive", "rules.d/a.ron"], "rules.d/a.ron is a file with rules"),
    ] {
        let ran = dir.run(words).exits(2).complains([wanted]);
        assert_eq!(ran.stderr().lines().count(), 1, "{ran}");
    }
    let words = ["explain", "receive.ron", "--", "a line"];
    let ran = dir.run(words).exits(2).complains(["`tripline receive receive.ron`"]);
    assert_eq!(ran.stderr().lines().count(), 1, "{ran}");
    // A file that is named is rules, or says why not; one that is missing spoils it all.
    dir.run(["test", "rules.d", "nosuch"]).exits(2).complains(["`nosuch`"]);
    dir.run(["test", "rules.d"]).exits(0);
}
