//! Rule files and every message about them, word by word.
//!
//! Each `tests/golden/rules/NAME.ron` has its messages in `NAME.txt`; the twenty-two `bNN`
//! have one mistake each. After a change of words, `TRIPLINE_BLESS=1` writes them anew;
//! then read the difference before you commit it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tripline_diagnose::Style;
use tripline_rules::{Known, Loaded, Severity, SourceFile, load};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of a folder, by name.
fn files(folder: &str) -> Vec<Arc<SourceFile>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "ron"))
        .collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths
        .iter()
        .map(|path| SourceFile::new(name(path), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The sources that the files are about.
fn known() -> Known {
    let logs = ["auth", "kern", "p4-log", "syslog", "verify-log"];
    let logs = logs.iter().map(|name| ((*name).to_owned(), false));
    Known {
        sources: Some(logs.chain([("p4-1".to_owned(), true)]).collect()),
        ..Known::default()
    }
}

fn rendered(loaded: &Loaded) -> String {
    loaded.diagnostics.iter().map(|it| it.render(Style::Plain) + "\n").collect()
}

#[test]
fn the_examples_are_sound_and_without_warnings() {
    let files = files("examples/rules");
    assert_eq!(files.len(), 12);
    for file in &files {
        let loaded = load(&[Arc::clone(file)], &known());
        assert!(loaded.diagnostics.is_empty(), "{}", rendered(&loaded));
        assert!(loaded.set.is_some());
    }
    let loaded = load(&files, &known());
    assert!(loaded.diagnostics.is_empty(), "{}", rendered(&loaded));
    let set = loaded.set.unwrap();
    assert_eq!((set.rules.len(), loaded.rules), (16, 16));
    assert_eq!(set.tests.len(), loaded.tests);
}

#[test]
fn every_message_is_as_agreed() {
    let bless = std::env::var_os("TRIPLINE_BLESS").is_some();
    let mut wrong = Vec::new();
    let files = files("tests/golden/rules");
    assert!(files.len() > 25, "the golden files are gone");
    for file in files {
        let name = file.path.file_stem().unwrap().to_str().unwrap().to_owned();
        let loaded = load(&[file], &known());
        let got = rendered(&loaded);
        let path = root().join(format!("tests/golden/rules/{name}.txt"));
        if bless {
            fs::write(&path, &got).unwrap();
        }
        let wanted = fs::read_to_string(&path).unwrap_or_default();
        if got != wanted {
            wrong.push(format!("== {name}: wanted\n{wanted}\n== {name}: got\n{got}"));
        }
        if name.starts_with('b') {
            let count = usize::from(name != "b00");
            assert_eq!(
                loaded.diagnostics.len(),
                count,
                "one mistake, one message:\n{got}"
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_message_has_a_code_a_place_and_a_repair() {
    for file in files("tests/golden/rules") {
        let lines = file.text.lines().count() + 1;
        for message in load(&[Arc::clone(&file)], &known()).diagnostics {
            let said = message.render(Style::Plain);
            let (line, column) = message.file.position(message.span.start);
            assert!((1..=lines).contains(&line) && column >= 1, "{said}");
            assert!(message.span.end <= file.text.len(), "{said}");
            let letter = if message.severity == Severity::Error { 'E' } else { 'W' };
            let is_code = message.code.len() == 4 && message.code.starts_with(letter);
            assert!(is_code, "{said}");
            assert!(message.help.is_some_and(|it| !it.is_empty()), "{said}");
            assert!(!message.message.contains("xpected"), "{said}");
            let path = file.path.to_str().unwrap();
            assert!(said.contains(&format!("{path}:{line}:{column}")), "{said}");
        }
    }
}

#[test]
fn files_know_each_other() {
    let one = SourceFile::new(
        "one.ron",
        r#"(define: {"oncall": "a@example.com"}, rules: [(
        name: "r", on: Lines(), do: [Mail(to: ["{{ oncall }}"], subject: "x")])])"#,
    );
    let two = SourceFile::new(
        "two.ron",
        r#"(rules: [(
        name: "r", on: Task(rule: "x"), do: [Clear(flag: "{{ oncall }}")])])"#,
    );
    let loaded = load(&[one, two], &Known::default());
    let found: Vec<_> = loaded.diagnostics.iter().map(|it| it.code).collect();
    assert_eq!(found, ["E041", "E043"], "{}", rendered(&loaded));
    assert!(rendered(&loaded).contains("one.ron:2:15"), "{}", rendered(&loaded));
}

#[test]
fn many_rules_are_checked_fast() {
    let rule = |index: usize| {
        format!(
            "(name: \"r{index}\", on: Lines(source: \"s\"), match: r\"^event {index} \
             %{{IP:ip}} (?P<user>\\S+)\", if: \"user != 'x{index}'\", do: [Mail(to: \
             [\"a@example.com\"], subject: \"{{{{ ip }}}} {{{{ user }}}}\")]),"
        )
    };
    let rules: String = (0..1000).map(rule).collect();
    let file = SourceFile::new("many.ron", format!("(rules: [{rules}])"));
    let start = std::time::Instant::now();
    let loaded = load(&[file], &Known::default());
    let took = start.elapsed();
    println!("1000 rules: {took:?}");
    assert!(loaded.set.is_some(), "{}", rendered(&loaded));
    assert!(took.as_secs() < 20, "{took:?}");
}
