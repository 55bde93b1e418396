//! From a line to what was done, other rules, and what `check` would say.

use crate::site::{act, context, rules};
use jiff::Timestamp;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use tripline_act::{Hands, Problem};
use tripline_api::Place;
use tripline_rules::evaluate::{Clock, Ended, Lines, Machine, Output, Runs};
use tripline_rules::model::Status;
use tripline_rules::{RuleSet, Severity, SourceFile};

/// A machine, its runs, and hands that do what they say.
struct Site {
    machine: Machine,
    runs: Runs,
    hands: Hands,
    now: Timestamp,
    offset: u64,
}

impl Site {
    fn new(set: &Arc<RuleSet>, hands: Hands) -> Self {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let machine = Machine::new(Arc::clone(set), now);
        Self { machine, runs: Runs::exact(Arc::clone(set)), hands, now, offset: 0 }
    }

    /// A line appears, and all that follows from it is done.
    fn line(&mut self, text: &str) -> Vec<Ended> {
        let bytes = format!("{text}\n");
        let start = Place { offset: self.offset, ..Place::default() };
        self.offset += bytes.len() as u64;
        let lines = Lines {
            source: "auth",
            start,
            bytes: bytes.as_bytes(),
            spans: None,
            time: None,
        };
        let mut out = Vec::new();
        self.machine.lines(&lines, Clock::Now(self.now), &mut out);
        for output in out {
            if let Output::Fired(firing) = output {
                self.runs.start(*firing);
            }
        }
        let mut ended = Vec::new();
        loop {
            let starts = self.runs.next(self.now, &mut ended);
            for start in &starts {
                let outcome = act(&self.hands, start);
                self.runs.ended(start.task, outcome, self.now, &mut ended);
            }
            match self.runs.due() {
                Some(due) if starts.is_empty() => self.now = self.now.max(due),
                None if starts.is_empty() => return ended,
                _ => {}
            }
        }
    }
}

#[test]
fn a_line_becomes_what_the_rule_says() {
    let directory = tempfile::tempdir().unwrap();
    let set = rules(
        r#"(rules: [(
            name: "login",
            on: Lines(source: "auth"),
            match: r"^(?P<user>.+) from (?P<ip>\S+)$",
            do: [
                Exec(id: "who", run: ["/usr/bin/printf", "%s", "{{ user }}"]),
                Exec(id: "again", run: ["/bin/sh", "-c", "test $1 = $(cat count 2>/dev/null || echo 0) || { echo 1 > count; exit 75; }", "sh", "1"], cwd: "DIR"),
                Print(to: "out.jsonl"),
                Touch(dir: "DIR", file: "seen-{{ ip }}"),
                Exec(id: "fails", run: ["/bin/sh", "-c", "echo \"$WHO\" >&2; exit 7"], env: {"WHO": "{{ who.stdout }}"}, may_fail: true),
            ],
        )])"#
            .replace("DIR", directory.path().to_str().unwrap())
            .as_str(),
    );
    let hands = Hands::new(&set, &context(directory.path())).unwrap();
    let mut site = Site::new(&set, hands);
    let ended = site.line("$(touch /tmp/pwned) -- from 192.0.2.1");
    let told: Vec<(&str, Status, u32)> = ended
        .iter()
        .map(|it| (&*it.end.action, it.end.status, it.end.attempts))
        .collect();
    let wanted = [
        ("who", Status::Succeeded, 1),
        ("again", Status::Succeeded, 2),
        ("print-3", Status::Succeeded, 1),
        ("touch-4", Status::Succeeded, 1),
        ("fails", Status::Failed, 1),
    ];
    assert_eq!(told, wanted, "{ended:?}");
    assert_eq!(ended[4].end.stderr, "$(touch /tmp/pwned) --\n");
    assert_eq!(ended[4].end.exit, 7);
    assert!(directory.path().join("seen-192.0.2.1").is_file());
    let printed = fs::read_to_string(directory.path().join("out.jsonl")).unwrap();
    assert!(printed.contains("$(touch /tmp/pwned) -- from 192.0.2.1"), "{printed}");
    // A name that is none fails with a sentence, and nothing is made.
    let ended = site.line("x from ../../y");
    let touch = ended.iter().find(|it| it.end.action == "touch-4").unwrap();
    assert!(touch.end.reason.contains("is no name of a file"), "{touch:?}");
    crate::site::assert_nothing_was_run();
}

fn rule(action: &str) -> String {
    format!(r#"(rules: [(name: "r", on: Lines(), match: r"x", do: [{action}])])"#)
}

#[test]
fn rules_that_are_wrong_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let good = rules(&rule(r#"Print(to: "a")"#));
    let hands = Hands::new(&good, &context(directory.path())).unwrap();
    let bad = rules(&rule(r#"Print(to: "b"), Forward(to: "tripline://127.0.0.1:1")"#));
    for _ in 0..100 {
        assert_eq!(hands.set_rules(&bad).unwrap_err().len(), 1);
        assert_eq!(hands.writes(), [directory.path().join("a")]);
    }
    hands.set_rules(&rules(&rule(r#"Print(to: "b")"#))).unwrap();
    assert_eq!(hands.writes(), [directory.path().join("b")]);
    // What was begun by the rules of before is done all the same.
    let mut site = Site::new(&good, hands);
    let ended = site.line("x");
    assert_eq!(ended[0].end.status, Status::Succeeded, "{ended:?}");
    assert!(directory.path().join("a").is_file());
}

#[test]
fn what_would_fail_is_found_before() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for (name, mode) in
        [("plain", 0o644), ("open", 0o777), ("fine", 0o755), ("token", 0o640)]
    {
        fs::write(root.join(name), "#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let text = r#"(rules: [(
    name: "r", on: Lines(), match: r"x",
    do: [
        Exec(run: ["DIR/fine"], cwd: "DIR"),
        Exec(run: ["DIR/absent"]),
        Exec(run: ["DIR/plain"], cwd: "DIR/nowhere"),
        Exec(run: ["DIR/open"]),
        Touch(dir: "DIR/nowhere", file: "x"),
        Touch(dir: "DIR/plain", file: "x"),
        Post(url: "https://example.com/", token: "DIR/token"),
        Post(url: "https://example.com/", token: "DIR/none"),
        Mail(to: ["a@example.com"], subject: "x", via: Sendmail(program: ["DIR/absent"])),
    ],
    on_failure: [Exec(run: ["DIR/absent"])],
)])"#
        .replace("DIR", root.to_str().unwrap());
    let problems = Hands::problems(&rules(&text), &context(root));
    let told = |problem: &Problem| {
        let message = problem.message.replace(root.to_str().unwrap(), "DIR");
        (problem.line, message)
    };
    let told: Vec<(usize, String)> = problems.iter().map(told).collect();
    let wanted = [
        (5, "there is no program DIR/absent"),
        (6, "DIR/plain may not be executed"),
        (6, "there is no directory DIR/nowhere"),
        (7, "everybody may change what DIR/open does"),
        (8, "there is no directory DIR/nowhere"),
        (9, "DIR/plain is no directory"),
        (10, "others may read the token in DIR/token, so it is not used"),
        (11, "there is no file DIR/none with a token"),
        (
            12,
            "cannot run DIR/absent: No such file or directory (os error 2). Install a \
              mail server, which brings it, or name the right `program`",
        ),
        (14, "there is no program DIR/absent"),
    ];
    assert_eq!(told, wanted.map(|(line, message)| (line, message.to_owned())));
    let file = SourceFile::new("rules.ron", text.as_str());
    let warning = problems[9].diagnostic(&file);
    assert_eq!(warning.severity, Severity::Warning);
    let marked = &text[warning.span];
    assert!(
        marked.starts_with("on_failure: [Exec(") && marked.ends_with("])],"),
        "{marked}"
    );
}
