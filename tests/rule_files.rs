//! The rule files that people copy: each passes `check --strict` and its own tests, which
//! touch every rule, alone and together. A file more is tested without a line here.

use crate::util::Dir;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders below `examples`, and whether their files stand alone.
const FOLDERS: [(&str, bool); 3] =
    [("rules", true), ("cookbook", true), ("fail2ban", false)];

#[test]
fn each_file_is_sound_and_does_what_its_tests_say() {
    for (folder, stand_alone) in FOLDERS {
        let dir = copy(folder);
        let all = vec![".".to_owned()];
        let each = names(folder).into_iter().map(|name| vec![name]);
        for files in each.filter(|_| stand_alone).chain([all]) {
            let place = format!("examples/{folder}: {files:?}");
            let checked = dir.run(words(&["check", "--strict"], &files));
            assert!(checked.0.status.success(), "{place}: {checked}");
            let tested = dir.run(words(&["test"], &files));
            assert!(tested.0.status.success(), "{place}: {tested}");
            for gap in ["never fired", "\n0 passed"] {
                assert!(!tested.stdout().contains(gap), "{place}: {tested}");
            }
        }
    }
}

/// People load them together: no name is in two of them.
#[test]
fn all_files_go_together() {
    let dir = Dir::new();
    for (folder, _) in FOLDERS {
        for name in names(folder) {
            let text = fs::read(path(folder).join(&name)).unwrap();
            dir.write(&format!("{folder}-{name}"), text);
        }
    }
    let checked = dir.run(["check", "--strict", "."]);
    assert!(checked.0.status.success(), "{checked}");
}

#[test]
fn each_pattern_of_the_cookbook_has_a_sample() {
    let tested = copy("cookbook").run(["test", "."]).exits(0);
    assert!(!tested.stdout().contains("without a sample"), "{tested}");
    assert!(names("cookbook").len() >= 20, "{:?}", names("cookbook"));
}

#[test]
fn each_file_says_what_it_is_for() {
    for (folder, _) in FOLDERS {
        for name in names(folder) {
            let text = fs::read_to_string(path(folder).join(&name)).unwrap();
            let first = text.lines().next().unwrap_or_default();
            let is_said = first.starts_with("// ") && first.len() > 30;
            assert!(is_said, "examples/{folder}/{name} begins with {first:?}");
        }
    }
}

/// Each block of the guide is a file of rules with tests.
#[test]
fn the_guide_shows_rules_that_work() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/COMING-FROM.md");
    let text = fs::read_to_string(guide).unwrap();
    let blocks: Vec<&str> = text.split("```ron\n").skip(1).collect();
    assert!(blocks.len() >= 4, "only {} blocks", blocks.len());
    let dir = Dir::new();
    for (number, block) in blocks.iter().enumerate() {
        let (block, _) = block.split_once("```").unwrap();
        let name = format!("{number}.ron");
        dir.write(&name, block);
        let checked = dir.run(["check", "--strict", &name]);
        assert!(checked.0.status.success(), "{checked}\n{block}");
        let tested = dir.run(["test", &name]);
        assert!(tested.0.status.success(), "{tested}\n{block}");
        for gap in ["never fired", "\n0 passed", "without a sample"] {
            assert!(!tested.stdout().contains(gap), "{tested}\n{block}");
        }
    }
}

fn words(first: &[&str], files: &[String]) -> Vec<String> {
    first.iter().map(|it| (*it).to_owned()).chain(files.iter().cloned()).collect()
}

/// The folder, where nothing else is.
fn copy(folder: &str) -> Dir {
    let dir = Dir::new();
    for name in names(folder) {
        dir.write(&name, fs::read(path(folder).join(&name)).unwrap());
    }
    dir
}

fn path(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(folder)
}

fn names(folder: &str) -> Vec<String> {
    let files = fs::read_dir(path(folder)).unwrap();
    let name = |it: fs::DirEntry| it.file_name().into_string().unwrap();
    let mut names: Vec<_> = files.map(|it| name(it.unwrap())).collect();
    names.retain(|name| name.ends_with(".ron"));
    names.sort();
    assert!(!names.is_empty(), "examples/{folder} is empty");
    names
}
