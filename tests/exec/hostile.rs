//! What stands in entries and in the names of their files arrives byte for byte,
//! and nothing of it is run.

use super::place::{MODES, Mode, Place, keeper};
use base64::Engine as _;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The directory's name takes the place of `PWN`.
const LINES: &[&[u8]] = &[
    b"$(touch PWN/pwned)",
    b"`touch PWN/pwned`",
    b"; touch PWN/pwned; reboot",
    b"| touch PWN/pwned",
    b"--help",
    b"-rf /",
    b"~! touch PWN/pwned",
    b"Subject: x\rBcc: mallory@example.net",
    b"\x1b]0;title\x07 \x1b[2J \xe2\x80\xae",
    b"%s%n%s%n {{ template }} ${HOME} \\n \\x00 '\"",
    b"\"},{\"id\":\"logs/0/0\"}",
    b"OK",
    b"ERR",
    b"nul \0 in it",
    b"\xff\xfe caf\xe9 not utf-8",
    b"",
];

fn hostile(place: &Place) -> Vec<Vec<u8>> {
    let root = place.path("");
    let replace = |line: &&[u8]| {
        let at = line.windows(3).position(|it| it == b"PWN");
        match at {
            Some(at) => {
                let root = root.as_os_str().as_bytes();
                [&line[..at], root, &line[at + 3..]].concat()
            }
            None => line.to_vec(),
        }
    };
    LINES.iter().map(replace).collect()
}

fn bytes_of(value: &Value) -> Vec<u8> {
    match value["base64"].as_str() {
        Some(text) => base64::engine::general_purpose::STANDARD.decode(text).unwrap(),
        None => value.as_str().unwrap().as_bytes().to_vec(),
    }
}

fn delivered(place: &Place) -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = place.read("got");
    let parse = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        (bytes_of(&value["path"]), bytes_of(&value["text"]))
    };
    text.lines().map(parse).collect()
}

fn assert_nothing_was_run(place: &Place) {
    assert!(!place.path("pwned").exists());
    assert!(!Path::new("/pwned").exists());
    let said = place.said();
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
}

#[test]
fn lines_arrive_as_they_are() {
    for mode in MODES {
        let place = Place::new();
        place.program("feed", keeper(mode));
        place.configure(mode, "");
        let lines = hostile(&place);
        place.write(lines.join(&b'\n'));
        place.write("\n");
        let daemon = place.start();
        place.wait_until_settled();
        daemon.stop();
        let texts: Vec<_> = delivered(&place).into_iter().map(|(_, text)| text).collect();
        assert!(texts == lines, "{mode:?}: {texts:?}");
        assert_nothing_was_run(&place);
    }
}

#[test]
fn names_arrive_as_they_are() {
    let names: &[&[u8]] = &[
        b"a\nb;id.log",
        b"$(touch pwned).log",
        b"`touch pwned`",
        b"-rf",
        b"\xff\xfe.log",
        b"\x1b[2J.log",
        b"a b'c\"d\\e",
        &[b'x'; 255],
    ];
    for mode in MODES {
        let place = Place::new();
        place.program("feed", keeper(mode));
        place.configure(mode, "");
        let mut wanted = Vec::new();
        for name in names {
            let path = place.path("logs").join(OsStr::from_bytes(name));
            fs::write(&path, b"x\n").unwrap();
            wanted.push(path.as_os_str().as_bytes().to_vec());
        }
        let daemon = place.start();
        place.wait_until_settled();
        daemon.stop();
        let mut paths: Vec<_> =
            delivered(&place).into_iter().map(|(path, _)| path).collect();
        paths.sort();
        wanted.sort();
        assert!(paths == wanted, "{mode:?}: {paths:?}");
        assert_nothing_was_run(&place);
    }
}

/// What a program says reaches the terminal escaped, and a reason stays on its line.
#[test]
fn what_a_program_says_is_escaped() {
    let says = "printf '\\033[2J\\a \\r\\n tripline: all is well \\342\\200\\256'";
    for (mode, script) in [
        (Mode::Batch, format!("{says} >&2; exit 1")),
        (Mode::Batch, format!("{says}; exit 65")),
        (Mode::Acknowledged, format!("{says}; sleep 1000")),
        (Mode::Acknowledged, "printf 'DEFER \\033[2J\\a\\n'; sleep 1000".to_owned()),
    ] {
        let place = Place::new();
        place.program("feed", &script);
        place.configure(mode, "");
        place.write("one\n");
        let daemon = place.start();
        place.wait_until_said("u{1b}[2J");
        daemon.stop();
        let said = place.said();
        assert!(said.lines().all(|line| line.starts_with("tripline: feed: ")), "{said}");
        assert_nothing_was_run(&place);
    }
}
