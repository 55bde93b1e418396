//! Arguments, and what the tests of both modes have in common.

use super::*;
use crate::conformance::{Kind, Promise, conforms};
use crate::testing::{Feed, OwnedBatch};
use std::fs;
use std::path::Path;
use tripline_api::write_entry;

/// After this long something will not happen any more.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// A script: the shell is the user's program here. It runs in the directory.
pub(super) fn script(text: &str, directory: &Path) -> Program {
    let words = ["/bin/sh", "-c", text].map(str::to_owned);
    Program::new(&words, directory).unwrap().in_directory(directory.to_owned())
}

/// A log with these lines, each of them with a line feed.
pub(super) fn lines(lines: &[&str]) -> OwnedBatch {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let feed = Feed::new("auth").log("/var/log/auth.log", text.as_bytes());
    feed.unsettled(&tripline_api::Settled::new(), usize::MAX).remove(0)
}

/// As many lines as that: `line 0` and so on.
pub(super) fn numbered(count: usize) -> OwnedBatch {
    let all: Vec<String> = (0..count).map(|n| format!("line {n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    lines(&all)
}

/// What a program reads of a batch.
pub(super) fn json(batch: &OwnedBatch) -> String {
    let mut out = Vec::new();
    for entry in batch.view().entries() {
        write_entry(&mut out, &entry, Secrets::Redact);
    }
    String::from_utf8(out).unwrap()
}

pub(super) fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn build(arguments: &str) -> Result<Built, ArgsError> {
    let root = Path::new("/");
    let context = BuildContext { name: "feed", directory: root, state: root };
    Factory.build(&Args::new(arguments), &context)
}

#[test]
fn arguments_are_checked() {
    let with = |more: &str| build(&format!(r#"(from: ["a"], run: ["/bin/cat"]{more})"#));
    for good in [
        "",
        ", mode: Batch, entries_max: 1, bytes_max: 1, timeout: \"1s\", on_failure: Stop",
        ", mode: Acknowledged, window: 1, acknowledge_timeout: \"1s\", ready: true",
        ", env: {\"A\": \"b\"}, cwd: \"/tmp\", secrets: Keep, grace: \"1s\"",
        ", on_gap: Stop, quiet: \"1s\"",
    ] {
        assert!(with(good).is_ok(), "{good}");
    }
    for (bad, word) in [
        (", window: 1", "`window` is only for `mode: Acknowledged`"),
        (", ready: false", "`ready` is only for"),
        (", mode: Acknowledged, timeout: \"1s\"", "`timeout` is only for `mode: Batch`"),
        (", mode: Acknowledged, window: 0", "`window` must lie between 1 and 10000"),
        (", entries_max: 0", "`entries_max` must lie"),
        (", bytes_max: 999999999999", "`bytes_max` must lie"),
        (", timeout: \"0s\"", "`timeout` must lie between"),
        (", grace: \"2h\"", "`grace` must lie between"),
        (", env: {\"A=B\": \"\"}", "`env` has"),
        (", env: {\"TRIPLINE_LISTENER\": \"x\"}", "given by Tripline"),
        (", cwd: \"\"", "`cwd` is empty"),
    ] {
        let error = with(bad).err().unwrap_or_else(|| panic!("{bad} is taken"));
        assert!(error.message.contains(word), "{bad}: {error}");
    }
    assert!(build(r#"(from: ["a"], run: [])"#).is_err());
    assert!(build(r#"(from: ["a"], run: ["cat"])"#).is_err());
    // What is not there yet may be there when it is needed.
    assert!(build(r#"(from: ["a"], run: ["/no/such/program"])"#).is_ok());
}

/// The other mode than that of the row.
#[test]
fn an_acknowledging_program_conforms() {
    let kind = Kind {
        name: "Exec",
        arguments: r#"(from: ["p4"], mode: Acknowledged, window: 7, cwd: ".", run: [
            "/bin/sh", "-c",
            "while IFS= read -r line; do printf '%s\n' \"$line\" >> received; echo OK; done",
        ])"#,
        output: |directory| {
            let text = fs::read(directory.join("received")).unwrap_or_default();
            text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
        },
        promise: Promise::AtLeastOnce,
    };
    let scratch = tempfile::tempdir().unwrap();
    conforms(&Factory, &kind, scratch.path());
}
