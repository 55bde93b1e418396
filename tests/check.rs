//! `tripline check`, word by word.
//!
//! Each `tests/golden/NAME.ron` has its messages in `NAME.txt`. After a change
//! of words, `TRIPLINE_BLESS=1 cargo test` writes them anew; then read the
//! difference before you commit it.

use crate::util::Dir;
use std::fs;
use std::path::{Path, PathBuf};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The golden configurations, by name.
fn cases() -> Vec<(String, Vec<u8>)> {
    let mut cases: Vec<_> = fs::read_dir(golden())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "ron"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    cases.sort();
    assert!(cases.len() > 10, "the golden files are gone");
    cases
}

#[test]
fn every_message_is_as_agreed() {
    let bless = std::env::var_os("TRIPLINE_BLESS").is_some();
    let mut wrong = Vec::new();
    for (name, config) in cases() {
        let dir = Dir::new();
        let file = format!("{name}.ron");
        dir.write(&file, config);
        let ran = dir.run(["check", &file]);
        let got = format!("{}{}", ran.stderr(), ran.stdout());
        let path = golden().join(format!("{name}.txt"));
        if bless {
            fs::write(&path, &got).unwrap();
        }
        let wanted = fs::read_to_string(&path).unwrap_or_default();
        if got != wanted {
            wrong.push(format!("== {name}: wanted\n{wanted}\n== {name}: got\n{got}"));
        }
        let is_fine = matches!(name.as_str(), "fine" | "warnings");
        assert_eq!(
            ran.0.status.code(),
            Some(if is_fine { 0 } else { 1 }),
            "{name}: {ran}"
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_message_has_a_place_and_a_repair() {
    for (name, config) in cases() {
        let dir = Dir::new();
        let file = format!("{name}.ron");
        let lines = 1 + config.iter().filter(|byte| **byte == b'\n').count() as u64;
        dir.write(&file, config);
        for message in dir.run(["check", "--format", "json", &file]).quietly().json() {
            assert_eq!(message["file"], *file);
            let number = |key: &str| message[key].as_u64().unwrap();
            assert!((1..=lines).contains(&number("line")), "{name}: {message}");
            assert!(number("column") >= 1, "{name}: {message}");
            assert!(
                (number("line"), number("column"))
                    <= (number("end_line"), number("end_column")),
                "{name}: {message}"
            );
            assert!(
                message["help"].as_str().is_some_and(|it| !it.is_empty()),
                "{name}: {message}"
            );
            let words = message["message"].as_str().unwrap();
            assert!(
                !words.contains("Unexpected") && !words.contains("Expected"),
                "{name}: {words}"
            );
        }
    }
}

#[test]
fn nothing_steers_the_terminal() {
    for (name, config) in cases() {
        let dir = Dir::new();
        dir.write("a.ron", config);
        for format in ["human", "json"] {
            let ran = dir.run(["check", "--format", format, "a.ron"]);
            let text = format!("{}{}", ran.stderr(), ran.stdout());
            let bad = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
            assert_eq!(bad, None, "{name}, {format}");
        }
    }
}

#[test]
fn directories_are_checked_in_order() {
    let dir = Dir::new();
    let fine = fs::read(golden().join("fine.ron")).unwrap();
    dir.write("conf/b.ron", "(");
    dir.write("conf/a.ron", "");
    dir.write("conf/c.ron", &fine);
    dir.write("conf/c.ron.bak", "(");
    dir.write("fine/c.ron", &fine);
    let ran = dir.run(["check", "conf"]).exits(1);
    let place = |file| ran.stderr().find(file).unwrap();
    assert!(place("conf/a.ron:1:1") < place("conf/b.ron:1:1"), "{ran}");
    assert_eq!(ran.stdout(), "3 files: 2 errors\n");
    let ran = dir.run(["check", "fine", "fine/c.ron"]).exits(0).quietly();
    assert_eq!(ran.stdout(), "2 files: no errors\n");
}

#[test]
fn what_cannot_be_read_is_told_apart() {
    let dir = Dir::new();
    dir.write("bad.ron", "(");
    dir.write("empty/readme", "");
    let ran = dir.run(["check", "nosuch.ron"]).exits(2);
    let ran = ran.complains(["cannot read", "nosuch.ron"]);
    assert_eq!(ran.stdout(), "", "nothing was checked");
    dir.run(["check", "empty"]).exits(2).complains(["no *.ron", "empty"]);
    // The others are checked all the same.
    dir.run(["check", "nosuch.ron", "bad.ron"]).exits(2).complains(["bad.ron:1:1"]);
    dir.run(["check", "/dev/null"]).exits(2).complains(["it is not a file"]);
}

#[test]
fn strict_takes_warnings_for_errors() {
    let dir = Dir::new();
    dir.write("w.ron", fs::read(golden().join("warnings.ron")).unwrap());
    let ran =
        dir.run(["check", "w.ron"]).exits(0).complains(["warning: no listener follows"]);
    assert_eq!(ran.stdout(), "1 file: 2 warnings\n");
    let ran = dir.run(["check", "--strict", "w.ron"]).exits(1);
    assert_eq!(ran.stdout(), "1 file: 2 errors\n");
}

#[test]
fn rule_files_are_checked_as_one_set() {
    let dir = Dir::new();
    let rules = |name: &str| fs::read(golden().join("rules").join(name)).unwrap();
    dir.write("rules.d/good.ron", rules("b00.ron"));
    dir.write("rules.d/same.ron", rules("b00.ron"));
    let ran = dir.run(["check", "rules.d"]).exits(1);
    let ran =
        ran.complains(["error[E041]", "rules.d/same.ron:4:19", "rules.d/good.ron:4:19"]);
    assert_eq!(ran.stdout(), "2 files, 2 rules, 2 tests: 1 error\n");
    let ran = dir.run(["check", "--strict", "rules.d/good.ron"]).exits(0).quietly();
    assert_eq!(ran.stdout(), "1 file, 1 rule, 1 test: no errors\n");
    let ran = dir.run(["check", "--format", "json", "rules.d"]).exits(1).quietly();
    assert_eq!(ran.json()[0]["code"], "E041");
}

#[test]
fn rules_name_the_sources_of_the_configuration() {
    let dir = Dir::new();
    dir.write("fine.ron", fs::read(golden().join("fine.ron")).unwrap());
    let rule =
        "(rules: [(name: \"r\", on: Lines(source: \"p4\"), do: [Clear(flag: \"x\")])])";
    dir.write("r.ron", rule);
    dir.run(["check", "r.ron"]).exits(0).complains(["warning[W010]"]);
    dir.run(["check", "--strict", "r.ron"]).exits(1).complains(["error[W010]"]);
    let ran = dir.run(["check", "fine.ron", "r.ron"]).exits(1);
    ran.complains(["error[E042]", "on: Journal(source: \"p4\")"]);
    dir.write("r.ron", [b"(rules: [\"".as_slice(), &[0xff], b"\"])"].concat());
    dir.run(["check", "r.ron"]).exits(1).complains(["not UTF-8", "r.ron:1:11"]);
}

const WITH_RULES: &str = r#"(
    state: "state",
    sources: { "auth": Log(paths: ["auth.log"]), "p4": Journal(path: "journal") },
    rules: ["rules.d/*.ron"],
)
"#;

/// A rule with its test, on lines of this source.
fn rule(name: &str, source: &str) -> String {
    format!(
        "(rules: [(name: {name:?}, on: Lines(source: {source:?}), match: \"^Failed\",
            do: [Clear(flag: \"x\")])],
          tests: [(name: \"t\", given: [Lines(text: \"Failed\")],
            expect: [Clear(flag: \"x\")])])\n"
    )
}

#[test]
fn rules_of_a_configuration_are_checked_with_it() {
    let dir = Dir::new();
    dir.write("conf/tripline.ron", WITH_RULES);
    // What nobody follows is warned of, and what a rule looks at is followed.
    dir.write("conf/rules.d/a.ron", rule("a", "auth"));
    let ran = dir.run(["check", "conf/tripline.ron"]).exits(0);
    let ran = ran.complains(["no listener or rule follows `p4`"]);
    assert!(!ran.stderr().contains("follows `auth`"), "{ran}");
    assert_eq!(ran.stdout(), "2 files, 1 rule, 1 test: 1 warning\n");
    // A file that is also given by itself is one file.
    for given in ["conf/rules.d", "conf/rules.d/a.ron", "conf/../conf/rules.d/a.ron"] {
        let ran = dir.run(["check", "conf/tripline.ron", given]).exits(0);
        assert_eq!(ran.stdout(), "2 files, 1 rule, 1 test: 1 warning\n", "{given}");
    }
    // One set: also with a file that is only given.
    dir.write("new.ron", rule("a", "auth"));
    let ran = dir.run(["check", "new.ron", "conf/tripline.ron"]).exits(1);
    ran.complains(["error[E041]", "new.ron:1:17", "conf/rules.d/a.ron:1:17"]);
    // All errors of all files, each in its own.
    dir.write("conf/rules.d/b.ron", rule("b", "auht"));
    dir.write("conf/rules.d/c.ron", [b"(rules: [\"".as_slice(), &[0xff]].concat());
    dir.write("conf/rules.d/d.ron", "(rules: [");
    let wrong = ["conf/rules.d/b.ron:1:40", "error[E042]", "error[E008]", "d.ron:1:9"];
    dir.run(["check", "conf/tripline.ron"]).exits(1).complains(wrong);
    // So does `run`, and nothing is started; who only looks is not in the way.
    let ran = dir.run(["run", "conf/tripline.ron"]).exits(2).complains(wrong);
    assert!(ran.stderr().contains("tripline: 3 files: 3 errors"), "{ran}");
    dir.run(["where", "conf/tripline.ron"]).exits(0);
}

/// Only where the configuration is there, and said once for each log.
#[test]
fn who_counts_wants_the_time_of_lines() {
    let dir = Dir::new();
    let config = |log: &str| {
        format!(
            "(\n    state: \"state\",\n    sources: {{ \"auth\": Log(paths: [\"auth.log\"]{log}) }},\n    \
             rules: [\"rules.d/*.ron\"],\n)\n"
        )
    };
    let with =
        |more: &str| rule("r", "auth").replace("match:", &format!("{more} match:"));
    dir.write("t.ron", config(""));
    let count = "when: Count(of: 5, within: \"10m\"),";
    for counts in [count, "limit: (times: 1, per: \"1h\"),", "settle: \"2s\","] {
        dir.write("rules.d/a.ron", with(counts));
        let ran = dir.run(["check", "t.ron"]).exits(0).complains([
            "warning[W025]: `auth` has no `time`, and rule `r` counts by time",
            "t.ron:3:16",
            "help: say how its lines write it: add time: Syslog",
        ]);
        assert_eq!(ran.stdout(), "2 files, 1 rule, 1 test: 1 warning\n");
        dir.run(["check", "rules.d/a.ron"]).exits(0).quietly();
    }
    dir.run(["check", "--strict", "t.ron"]).exits(1);
    dir.write("rules.d/b.ron", with(count).replace("\"r\"", "\"s\""));
    let ran = dir.run(["check", "t.ron"]).exits(0);
    let ran = ran.complains(["rules `r` and `s` count by time"]);
    assert!(ran.stdout().ends_with(": 1 warning\n"), "{ran}");
    dir.write("rules.d/a.ron", with(""));
    std::fs::remove_file(dir.path().join("rules.d/b.ron")).unwrap();
    dir.run(["check", "--strict", "t.ron"]).exits(0).quietly();
    dir.write("rules.d/a.ron", with(count));
    dir.write("t.ron", config(", time: Syslog"));
    dir.run(["check", "--strict", "t.ron"]).exits(0).quietly();
}

#[test]
fn what_rules_name_is_looked_at() {
    let dir = Dir::new();
    dir.write("rules.d/a.ron", rule("a", "auth"));
    dir.write("rules.ron", rule("b", "auth"));
    for (written, words) in [
        ("[\"nosuch/*.ron\", \"rules.ron\"]", "warning: no file is found by this"),
        ("\"nosuch.ron\"", "there is no file `nosuch.ron`"),
        ("[\"rules.d\"]", "write \"rules.d/*.ron\""),
        ("[\"rules.d/\"]", "add `/*` for the files in it"),
        ("[\"*.ron\"]", "this names the configuration itself"),
        ("[\"a[.ron\"]", "a `[` without its `]`"),
        ("[3]", "`rules` must be paths of files, in quotes"),
        ("{\"a\": 3}", "`rules` must be paths of files, in quotes"),
        ("[]", "the configuration does not say `listeners`"),
    ] {
        dir.write("t.ron", WITH_RULES.replace("[\"rules.d/*.ron\"]", written));
        let ran = dir.run(["check", "t.ron"]);
        let code = if words.starts_with("warning") { 0 } else { 1 };
        ran.exits(code).complains([words, "help: "]);
    }
    let both = WITH_RULES.replace("[\"rules.d/*.ron\"]", "[\"r*/*.ron\", \"rules.ron\"]");
    dir.write("t.ron", both);
    let ran = dir.run(["check", "t.ron"]).exits(0);
    assert_eq!(ran.stdout(), "3 files, 2 rules, 2 tests: 1 warning\n");
}

/// Where the configuration is there also is what its actions need. Rules by themselves may
/// be meant for another machine.
#[test]
fn actions_that_cannot_be_done_here_are_found() {
    let dir = Dir::new();
    dir.write("t.ron", WITH_RULES.replace("\"p4\": Journal(path: \"journal\")", ""));
    dir.write(
        "rules.d/a.ron",
        r#"(rules: [(name: "a", on: Lines(source: "auth"), match: "x", do: [
    Exec(run: ["/nowhere/block"]),
    Print(to: "out.jsonl"),
])])"#,
    );
    let ran = dir.run(["check", "t.ron"]).exits(0);
    let wanted = ["warning[W024]", "rules.d/a.ron:2:5", "no program /nowhere/block"];
    ran.complains(wanted).complains(["help: install it, or put `run` right"]);
    let ran = dir.run(["check", "rules.d/a.ron"]).exits(0);
    assert!(!ran.stderr().contains("W024"), "{ran}");
    dir.write(
        "rules.d/b.ron",
        r#"(rules: [(name: "b", on: Lines(source: "auth"), match: "x", do: [
    Print(to: "out.jsonl", secrets: Keep),
])])"#,
    );
    let ran = dir.run(["check", "t.ron"]).exits(1);
    ran.complains([
        "error[E024]",
        "rules.d/b.ron:2:5",
        "is written to by another action",
    ]);
}

#[test]
fn too_much_of_rules_is_refused() {
    let dir = Dir::new();
    dir.write("t.ron", WITH_RULES);
    for number in 0..1001 {
        dir.write(&format!("rules.d/{number}.ron"), "()");
    }
    let ran = dir.run(["check", "t.ron"]).exits(1);
    ran.complains(["t.ron:4:12", "these are more than 1000 files"]);
    let dir = Dir::new();
    dir.write("t.ron", WITH_RULES);
    let long = format!("({})", " ".repeat((4 << 20) - 2));
    for number in 0..9 {
        dir.write(&format!("rules.d/{number}.ron"), &long);
    }
    let ran = dir.run(["check", "t.ron"]).exits(1);
    ran.complains(["t.ron:4:13", "the files with rules have more than 32 MiB"]);
    dir.write("rules.d/0.ron", long + " ");
    dir.run(["check", "t.ron"]).exits(1).complains(["0.ron` cannot be read", "4 MiB"]);
}

/// A configuration with a mirror, a file of a listener, and one that a source looks at.
const WRITERS: &str = r#"(
    state: "state",
    sources: {
        "app": Log(paths: ["logs/app.log"]),
        "p4": Journal(path: "journal"),
    },
    listeners: {
        "copy": Mirror(from: ["p4"], to: "mirror"),
        "all": Print(from: ["app"], to: "out/all.jsonl"),
    },
    rules: ["rules.ron"],
)
"#;

#[test]
fn actions_write_where_nobody_else_does() {
    let dir = Dir::new();
    dir.write("tripline.ron", WRITERS);
    dir.write("out/other", "");
    std::os::unix::fs::symlink("out", dir.path().join("link")).unwrap();
    let rule = |action: &str| {
        format!("(rules: [(name: \"r\", on: Lines(source: \"app\"), do: [{action}])])")
    };
    let folder = dir.path().join("out").display().to_string();
    let place = ["error[E024]", "rules.ron:1:", "tripline.ron:9:9", "a file of its own"];
    let is_taken = "is where `all` writes";
    for action in [
        "Print(to: \"out/all.jsonl\")",
        "Print(to: \"./link/../out/./all.jsonl\")",
        "Print(to: \"link/all.jsonl\")",
        &format!("Touch(dir: \"{folder}\", file: \"all.jsonl\")"),
    ] {
        dir.write("rules.ron", rule(action));
        let words = [&place[..], &[is_taken]].concat();
        dir.run(["check", "tripline.ron"]).exits(1).complains(words);
        // Nor would it be run.
        dir.run(["run", "tripline.ron", "--until-idle"]).exits(2).complains([is_taken]);
    }
    dir.write("rules.ron", rule("Print(to: \"mirror/x.jsonl\")"));
    let wanted = ["is where `copy` writes", "tripline.ron:8:9"];
    dir.run(["check", "tripline.ron"]).exits(1).complains(wanted);
    dir.write("rules.ron", rule("Print(to: \"logs/app.log\")"));
    dir.run(["check", "tripline.ron"]).exits(1).complains(["is followed as `app`"]);
    // A file that is not there yet, behind a link to its directory.
    std::os::unix::fs::symlink("new", dir.path().join("old")).unwrap();
    dir.write("new/other", "");
    dir.write("rules.ron", rule("Print(to: \"new/x.log\")"));
    dir.run(["check", "tripline.ron"]).exits(0);
    for path in ["old/x.log", "old/*.log", "./new/../old/x.log"] {
        dir.write("linked.ron", WRITERS.replace("logs/app.log", path));
        let is_followed =
            ["error[E024]", "rules.ron:1:", "new/x.log` is followed as `app`"];
        dir.run(["check", "linked.ron"]).exits(1).complains(is_followed);
    }
    dir.write("rules.ron", rule("Print(to: \"link/mine.jsonl\")"));
    dir.run(["check", "tripline.ron"]).exits(0);
    // Two listeners that spell one place differently, too.
    let two = WRITERS.replace(
        "\"all\": ",
        "\"b\": Print(from: [\"app\"], to: \"link/all.jsonl\"),\n        \"all\": ",
    );
    dir.write("tripline.ron", two);
    dir.run(["check", "tripline.ron"]).exits(1).complains(["write to the same place"]);
}

#[test]
fn files_with_secrets_are_looked_at() {
    let dir = Dir::new();
    let config = |to: &str| {
        format!(
            "(\n    state: \"state\",\n    sources: {{ \"app\": Log(paths: [\"app.log\"]) }},\n    \
             listeners: {{\n        \"x\": Forward(from: [\"app\"], {to}),\n    }},\n)\n"
        )
    };
    let relay = "to: \"tripline://127.0.0.1:1\", peer: \"a\", shared_key: \"a.key\"";
    let web = "to: \"https://127.0.0.1:1/x\", format: Json, token: \"a.key\"";
    let mail = |kind: &str, more: &str| {
        format!(
            "(\n    state: \"state\",\n    sources: {{ \"p4\": Journal(path: \"journal\") }},\n    \
             listeners: {{\n        \"x\": {kind}(from: [\"p4\"], sender: \"p4@example.com\",{more}\n        \
             via: Smtp(server: \"smtps://mail.example.com\", user: \"p4\",\n        \
             password_file: \"a.key\")),\n    }},\n)\n"
        )
    };
    dir.write("mail.ron", mail("Mail", " to: [\"ops@example.com\"],"));
    dir.write("review.ron", mail("Review", ""));
    let receive = "(\n    listen: \"127.0.0.1:1\",\n    to: \"to\",\n    state: \"kept\",\n    \
                   peers: {\"a\": (shared_key: \"a.key\")},\n)\n";
    dir.write("relay.ron", config(relay));
    dir.write("web.ron", config(web));
    dir.write("receive.ron", receive);
    let all = [
        ("relay.ron", "relay.ron:5:90"),
        ("web.ron", "web.ron:5:87"),
        ("receive.ron", "receive.ron:5:31"),
        ("mail.ron", "mail.ron:7:24"),
        ("review.ron", "review.ron:7:24"),
    ];
    for (file, place) in all {
        let missing = ["warning", "there is no file", "a.key", place];
        dir.run(["check", file]).exits(0).complains(missing);
        dir.run(["check", "--strict", file]).exits(1);
    }
    let key = "0123456789abcdef".repeat(4);
    for (text, mode, wanted) in [
        (&key[..], 0o644, "chmod 600"),
        ("two words", 0o600, "64 hexadecimal digits"),
        (&key[1..], 0o600, "64 hexadecimal digits"),
    ] {
        dir.write("a.key", text);
        set_mode(&dir, mode);
        for (file, place) in all {
            let is_password = ["mail.ron", "review.ron"].contains(&file);
            // Not every text is a key, and every word a token or a password.
            if (file == "web.ron" && text == &key[1..]) || (is_password && mode == 0o600)
            {
                continue;
            }
            let wanted = if file == "web.ron" && mode == 0o600 {
                "holds no token"
            } else {
                wanted
            };
            let ran = dir.run(["check", file]).exits(1);
            let ran = ran.complains(["error", wanted, place]);
            assert!(!ran.stderr().contains(&key[1..]), "{ran}");
        }
    }
    dir.write("a.key", key);
    set_mode(&dir, 0o600);
    for (file, _) in all {
        dir.run(["check", "--strict", file]).exits(0).quietly();
    }
}

fn set_mode(dir: &Dir, mode: u32) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(dir.path().join("a.key"), mode).unwrap();
}
