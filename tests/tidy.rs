//! The house rules that no compiler enforces, each with its reason.

use std::fs;
use std::path::{Path, PathBuf};

/// A file that is longer is two.
const LINES_MAX: usize = 600;

/// What may not stand in Rust code. In two parts, so that it does not stand here.
const BANNED: &[(&str, &str, &str)] = &[
    ("todo", "!(", "what is not built has no command: nothing is half there"),
    ("unimplemented", "!(", "what is not built has no command: nothing is half there"),
    ("dbg", "!(", "it is for looking, not for keeping"),
    ("#[ig", "nore", "a test that does not run proves nothing: make it fast or drop it"),
    ("#[al", "low(", "`expect` with a reason goes away with its cause"),
    ("#![al", "low(", "`expect` with a reason goes away with its cause"),
    ("unbo", "unded(", "every queue has a bound, or a slow disk fills the memory"),
];

#[test]
fn code_keeps_the_house_rules() {
    let mut broken = Vec::new();
    for path in files(&["rs"]) {
        let text = fs::read_to_string(&path).unwrap();
        let mut tell = |line: usize, what: &str| {
            broken.push(format!("{}:{line}: {what}", path.display()));
        };
        let count = text.lines().count();
        if count > LINES_MAX {
            tell(count, &format!("over {LINES_MAX} lines: it is about two things"));
        }
        let mut is_test = is_test(&path);
        for (index, line) in text.lines().enumerate() {
            is_test |= line == "#[cfg(test)]";
            for rule in broken_by(line, is_test) {
                tell(index + 1, &rule);
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// What a line does that it should not.
fn broken_by(line: &str, is_test: bool) -> Vec<String> {
    let mut broken = Vec::new();
    for (start, end, why) in BANNED {
        if line.contains(&format!("{start}{end}")) {
            broken.push(format!("no `{start}{end}`: {why}"));
        }
    }
    let is_serde = line.trim_start().starts_with("#[serde(");
    if is_serde && (line.contains("flatten") || line.contains("untagged")) {
        let why =
            "they lose the place of a mistake, and with it the caret in its message";
        broken.push(format!("no `flatten`, no `untagged`: {why}"));
    }
    if is_test && line.contains(concat!("thread::", "sleep")) {
        let why = "it is too short on a busy machine and too long on every other one";
        broken.push(format!("no sleep in a test, wait for what should happen: {why}"));
    }
    broken
}

#[test]
fn lines_end_where_their_text_ends() {
    let mut broken = Vec::new();
    for path in files(&["rs", "md", "toml"]) {
        let text = fs::read_to_string(&path).unwrap();
        for (index, line) in text.lines().enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                broken.push(format!("{}:{}", path.display(), index + 1));
            }
        }
    }
    let why = "it shows in every diff that somebody else makes";
    assert!(broken.is_empty(), "white space at the end of lines, {why}:\n{broken:#?}");
}

#[test]
fn every_crate_says_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let (_, members) = manifest.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    let members = members.split('"').skip(1).step_by(2);
    let mut libraries: Vec<_> =
        members.map(|it| root.join(it).join("src/lib.rs")).collect();
    libraries.push(root.join("engine/daemon/lib.rs"));
    assert!(libraries.len() > 5, "only {libraries:?}");
    for library in libraries {
        let text = fs::read_to_string(&library).unwrap();
        let why = "its nouns are where a reader begins";
        assert!(text.starts_with("//! "), "{} has no overview: {why}", library.display());
    }
}

#[test]
fn every_listener_is_documented_with_an_example() {
    for factory in tripline_listeners::ALL {
        let name = factory.name();
        let doc = factory.doc();
        assert!(
            doc.len() > 40 && doc.is_ascii(),
            "{name}: `doc` is what people read first"
        );
        assert!(
            factory.arguments().first().is_some_and(|it| it.name == "from"),
            "{name}: `arguments` describes them all, in their order"
        );
        assert!(
            factory.example().starts_with(&format!("{name}(from: [")),
            "{name}: `example` is what people copy into a configuration"
        );
    }
}

#[test]
fn every_module_of_the_tests_says_what_it_is_about() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/main.rs"));
    for line in text.unwrap().lines().filter(|line| line.starts_with("mod ")) {
        assert!(line.contains("; // "), "{line}: main.rs is the table of contents");
    }
}

/// Tests are found by where they are; within a file they come last.
fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
        || path.components().any(|part| part.as_os_str() == "tests")
}

/// All files of the repository with these endings.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() {
                let is_made = name.starts_with('.') || name == "target" || name == "work";
                if !is_made {
                    folders.push(path);
                }
            } else if endings.iter().any(|it| path.extension().is_some_and(|e| e == *it))
            {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 10, "only {found:?}");
    found
}
