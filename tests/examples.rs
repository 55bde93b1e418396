//! The examples are programs that work: each is run on the quickstart's journals.

use crate::util::{Dir, Ran, usual_limits};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const CONFIG: &str = r#"(
    state: "state",
    sources: { "p4": Journal(path: "p4root/journal", rotated: ["p4root/checkpoints"]) },
    listeners: {
        "standby": Mirror(from: ["p4"], to: "backup"),
        "news": Headlines(from: ["p4"], to: "headlines.jsonl"),
    },
)
"#;

#[test]
fn my_listener_runs_beside_the_built_in_ones() {
    let _limits = usual_limits();
    let dir = Dir::new();
    dir.write("tripline.ron", CONFIG);
    let tripline = |words: &[&str]| run(example("my_listener"), &dir, words).exits(0);
    serve(&dir, &["seed"]);
    tripline(&["check", "--strict", "tripline.ron"]);
    tripline(&["run", "tripline.ron", "--until-idle"]).quietly();
    assert_eq!(changes(&dir), (1001..=1013).collect());
    serve(&dir, &["live", "8"]);
    tripline(&["run", "tripline.ron", "--until-idle"]).quietly();
    assert_eq!(changes(&dir), (1001..=1021).collect());
    assert_eq!(dir.read("backup/journal"), dir.read("p4root/journal"));
    // The program that has no such listener says so.
    dir.run(["check", "tripline.ron"]).exits(1).complains(["Headlines"]);
}

#[test]
fn embed_counts_what_is_new() {
    let _limits = usual_limits();
    let dir = Dir::new();
    let embed = || run(example("embed"), &dir, &["p4root", "state"]).exits(0).quietly();
    serve(&dir, &["seed"]);
    let place = format!("read up to 5:{} of p4\n", dir.read("p4root/journal").len());
    assert_eq!(embed().stdout(), format!("ann: 4\nbob: 4\ncarol: 5\n{place}"));
    assert_eq!(embed().stdout(), place);
    serve(&dir, &["live", "3"]);
    let ran = embed();
    assert!(ran.stdout().starts_with("ann: 1\nbob: 1\ncarol: 1\nread up to 6:"), "{ran}");
    run(example("embed"), &dir, &["p4root"]).exits(1).complains(["usage"]);
}

#[test]
fn feed_keeps_what_it_is_given() {
    let _limits = usual_limits();
    let dir = Dir::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let feed = root.join("examples/feed.py");
    let config = CONFIG.replace(
        "\"news\": Headlines(from: [\"p4\"], to: \"headlines.jsonl\"),",
        &format!(
            "\"news\": Exec(from: [\"p4\"], run: [{feed:?}, \"kept.txt\"], cwd: \".\", \
             mode: Acknowledged),"
        ),
    );
    dir.write("tripline.ron", config);
    serve(&dir, &["seed"]);
    dir.run(["check", "--strict", "tripline.ron"]).exits(0);
    dir.run(["run", "tripline.ron", "--until-idle"]).exits(0).quietly();
    let ids = |dir: &Dir| -> Vec<String> {
        let kept = String::from_utf8(dir.read("kept.txt")).unwrap();
        kept.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let seeded = ids(&dir);
    assert!(seeded.len() > 10 && seeded[0].starts_with("p4/"), "{seeded:?}");
    serve(&dir, &["live", "3"]);
    dir.run(["run", "tripline.ron", "--until-idle"]).exits(0).quietly();
    let all = ids(&dir);
    assert_eq!(all[..seeded.len()], seeded);
    let once: BTreeSet<_> = all.iter().collect();
    assert!(once.len() == all.len() && all.len() > seeded.len(), "each came once");
}

/// The changes that have a headline; each has one, because nothing crashed.
fn changes(dir: &Dir) -> BTreeSet<u64> {
    let text = String::from_utf8(dir.read("headlines.jsonl")).unwrap();
    let mut changes = BTreeSet::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let change = line["change"].as_str().unwrap().parse().unwrap();
        let expected = format!("Fix the loader, part {change}.");
        assert_eq!(line["headline"], expected);
        assert!(changes.insert(change), "{change} came twice");
    }
    changes
}

/// Lets the quickstart's server write.
fn serve(dir: &Dir, what: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("examples/quickstart/server"));
    command.arg(dir.path().join("p4root")).args(what);
    Ran(command.output().unwrap()).exits(0).quietly();
}

fn run(program: PathBuf, dir: &Dir, words: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.current_dir(dir.path()).args(words).stdin(Stdio::null());
    Ran(command.output().unwrap())
}

/// An example as a program. Cargo builds examples for some ways of running the
/// tests and not for others, and an old one would pass for a new one: so it is
/// asked here, which takes a moment when they are built.
fn example(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let myself = std::env::current_exe().unwrap();
        let profile = myself.ancestors().nth(2).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--examples", "--offline", "--target-dir"]);
        cargo.arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        Ran(cargo.output().unwrap()).exits(0);
        profile.join("examples")
    });
    directory.join(name)
}
