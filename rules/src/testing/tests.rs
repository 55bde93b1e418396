use super::*;
use crate::{Known, SourceFile, load};

fn report(text: &str) -> Report {
    let loaded = load(&[SourceFile::new("test.ron", text)], &Known::default());
    let messages: Vec<_> =
        loaded.diagnostics.iter().map(|it| it.message.clone()).collect();
    run_tests(&loaded.set.unwrap_or_else(|| panic!("{messages:#?}")))
}

#[test]
fn the_examples_pass() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/rules");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let files: Vec<_> = files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|it| it == "ron"))
        .map(|path| SourceFile::new(path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    let loaded = load(&files, &Known::default());
    let report = run_tests(&loaded.set.unwrap());
    assert!(report.tests.len() >= 10);
    assert_eq!(report.failed(), 0, "\n{report}");
}

const RULES: &str = r#"
    rules: [(
        name: "refused",
        on: Lines(source: "auth", program: "sshd"),
        match: [r"^Failed \S+ for (?P<user>\S+) from %{IP:ip}", r"^never seen (?P<ip>x)"],
        do: [
            Mail(to: ["ops@example.com"], subject: "{{ user }} from {{ ip }}"),
            Exec(id: "block", run: ["/bin/true", "--", "{{ ip }}"], retry: (times: 1, backoff: "2s")),
        ],
        on_failure: [Mail(to: ["ops@example.com"], subject: "failed: {{ task.reason }}", body: "{{ task.stderr }}")],
    )],"#;

fn tests_of(tests: &str) -> Report {
    report(&format!("({RULES} tests: [{tests}])"))
}

const LINE: &str = r#"Lines(text: "Nov 20 21:00:00 www sshd[9]: Failed password for root from 192.0.2.1 port 2")"#;

#[test]
fn what_is_expected_passes() {
    let report = tests_of(&format!(
        r#"(name: "one", given: [{LINE}], expect: [
            Mail(rule: "refused", to: ["ops@example.com"], subject: Has("192.0.2.1")),
            Exec(run: ["/bin/true", "--", "192.0.2.1"]),
        ]),
        (name: "none", given: [Lines(text: "nothing of interest")], expect: [])"#
    ));
    assert_eq!((report.passed(), report.failed()), (2, 0), "\n{report}");
    assert_eq!(report.coverage.without_sample, ["refused#2"]);
    assert!(report.coverage.never_fired.is_empty());
}

#[test]
fn failures_are_tried_again_and_told() {
    let report = tests_of(&format!(
        r#"(name: "fails", given: [{LINE}],
            pretend: {{"block": Fails(exit: 3, stderr: "no nft")}},
            expect: [
                Mail(), Exec(), Exec(after: "2s"),
                Mail(subject: "failed: exit status 3", body: "no nft"),
            ])"#
    ));
    assert_eq!(report.failed(), 0, "\n{report}");
}

#[test]
fn differences_are_told_by_field() {
    let report = tests_of(&format!(
        r#"(name: "wrong", given: [{LINE}], expect: [Mail(subject: "root from 192.0.2.2")])"#
    ));
    let text = report.to_string();
    for part in [
        "FAIL",
        "test.ron:",
        "action 1 of 1 differs",
        "Mail.subject",
        "expected  \"root from 192.0.2.2\"",
        "got       \"root from 192.0.2.1\"",
        "not expected: Exec of rule refused at +0s",
        "timeline: +0s refused fires",
        "0 passed, 1 failed",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}
