//! What the documents show is run: each block marked `console` in its order, in a
//! copy of the quickstart whose server has just been seeded, and each block
//! marked `ron` is checked. `...` in what is shown stands for what varies: in a
//! line for a part of it, alone on a line for any number of lines. Where a
//! command fails, the last line shown is `[exit N]`.

use crate::util::{Dir, Ran, usual_limits};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[test]
fn the_documents_show_what_happens() {
    let _limits = usual_limits();
    let mut commands = 0;
    for document in documents() {
        let name = document.display();
        let text = std::fs::read_to_string(&document).unwrap();
        let dir = quickstart();
        for (line, language, block) in blocks(&text) {
            match language {
                "console" => commands += console(&dir, block, &format!("{name}:{line}")),
                "ron" => {
                    dir.write("shown.ron", block);
                    // Configurations name files like this one.
                    dir.write("rules.d/none.ron", "()");
                    dir.run(["check", "shown.ron"]).exits(0).quietly();
                }
                _ => {}
            }
        }
    }
    assert!(commands >= 5, "only {commands} commands: are blocks still found?");
}

/// Runs the commands of a block; returns how many there were.
fn console(dir: &Dir, block: &str, place: &str) -> usize {
    let block = format!("\n{}", block.trim_end());
    let parts: Vec<&str> = block.split("\n$ ").collect();
    assert!(parts[0].is_empty(), "{place}: a block begins with a command");
    for part in &parts[1..] {
        let (command, shown) = part.split_once('\n').unwrap_or((part, ""));
        let output = shell(dir, command);
        let shown: Vec<_> = shown.lines().collect();
        let happened: Vec<_> = output.lines().collect();
        assert!(matches(&shown, &happened), "{place}: `{command}` gives\n{output}");
    }
    parts.len() - 1
}

/// What a command writes, with its exit code when that is not 0.
fn shell(dir: &Dir, command: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_tripline"));
    let mut path = program.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut shell = Command::new("sh");
    // In the order in which a terminal has it.
    shell.args(["-c", &format!("exec 2>&1\n{command}")]).env("PATH", path);
    shell.current_dir(dir.path()).env("LC_ALL", "C").stdin(Stdio::null());
    let output = shell.output().unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    if !output.status.success() {
        _ = writeln!(text, "[exit {}]", output.status.code().unwrap());
    }
    text
}

fn matches(shown: &[&str], happened: &[&str]) -> bool {
    match shown.split_first() {
        None => happened.is_empty(),
        Some((&"...", rest)) => {
            (0..=happened.len()).any(|skipped| matches(rest, &happened[skipped..]))
        }
        Some((line, rest)) => happened.split_first().is_some_and(|(first, others)| {
            line_matches(line, first) && matches(rest, others)
        }),
    }
}

fn line_matches(shown: &str, happened: &str) -> bool {
    let Some((start, rest)) = shown.split_once("...") else { return shown == happened };
    let Some(happened) = happened.strip_prefix(start) else { return false };
    let mut ends = happened.char_indices().map(|(at, _)| at).chain([happened.len()]);
    ends.any(|at| line_matches(rest, &happened[at..]))
}

/// The documents at the top, and that of the examples.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.to_owned(), root.join("examples")];
    let files = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten();
    let files = files.map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|it| it == "md")).collect()
}

/// The fenced blocks: the line each begins at, its language, its content.
fn blocks(text: &str) -> Vec<(usize, &str, &str)> {
    let fences: Vec<&str> = text.split("```").collect();
    let mut line = 1;
    let mut blocks = Vec::new();
    for (index, part) in fences.iter().enumerate() {
        if index % 2 == 1 {
            let (language, content) = part.split_once('\n').unwrap_or_default();
            blocks.push((line, language, content));
        }
        line += part.matches('\n').count();
    }
    blocks
}

/// The quickstart as it stands in the repository, and a server's journals.
fn quickstart() -> Dir {
    let dir = Dir::new();
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
    let copy = dir.path().join("examples/quickstart");
    std::fs::create_dir_all(copy.join("site")).unwrap();
    let names =
        ["server", "block-ip", "tripline.ron", "logs.ron", "rules.ron", "ssh.ron"];
    for name in names {
        std::fs::copy(original.join(name), copy.join(name)).unwrap();
    }
    for name in ["receive.ron", "send.ron"] {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/relay").join(name);
        dir.write(&format!("examples/relay/{name}"), std::fs::read(path).unwrap());
    }
    let mut server = Command::new(copy.join("server"));
    server.arg(copy.join("site/p4root")).arg("seed");
    Ran(server.output().unwrap()).exits(0).quietly();
    dir
}

#[test]
fn three_dots_stand_for_what_varies() {
    let yes = |shown: &[&str], happened: &[&str]| assert!(matches(shown, happened));
    let no = |shown: &[&str], happened: &[&str]| assert!(!matches(shown, happened));
    yes(&["a", "...", "z"], &["a", "z"]);
    yes(&["a", "...", "z"], &["a", "b", "c", "z"]);
    yes(&["took ...s, ... bytes"], &["took 1.5s, 20 bytes"]);
    no(&["a", "...", "z"], &["a", "b"]);
    no(&["took ...s"], &["took 1 min"]);
    no(&[], &["a"]);
    no(&["a"], &[]);
}
