use super::*;
use crate::evaluate::test_support::{rules, seen};
use crate::evaluate::{Key, Seen};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn firing(rule: &str, number: i64) -> Firing {
    let Seen { roots, captures, .. } = seen(number);
    Firing {
        rule: rule.to_owned(),
        what: What::Do,
        id: format!("x/0/{number}/{rule}"),
        at: number,
        key: Key::default(),
        roots,
        own: captures,
        flags: Vec::new(),
        depth: 1,
        origin: 0,
        more: Vec::new(),
    }
}

const CHAIN: &str = r#"(rules: [(name: "r", on: Lines(), match: r"x",
    do: [
        Exec(id: "a", run: ["/bin/true"], timeout: "1s"),
        Exec(id: "b", run: ["/bin/true", "--", "{{ a.stdout }}"], timeout: "1s", retry: (times: 2, backoff: "2s", max: "3s")),
        Exec(id: "c", run: ["/bin/true"], timeout: "1s"),
        Exec(id: "d", needs: ["a"], run: ["/bin/true"], timeout: "1s", may_fail: true),
        Exec(id: "e", needs: ["d"], run: ["/bin/true"], timeout: "1s"),
    ],
    on_failure: [Emit(kind: "failed", fields: {"t": "{{ task.action }} {{ task.skipped | join(',') }}"})])])"#;

fn done(stdout: &str) -> Outcome {
    Outcome::Done { stdout: stdout.to_owned(), stderr: String::new() }
}

fn failed(exit: i64) -> Outcome {
    let reason = format!("exit status {exit}");
    Outcome::Failed { exit, reason, stderr: "no".to_owned() }
}

fn names(starts: &[Start]) -> Vec<&str> {
    starts.iter().map(|start| start.action.as_str()).collect()
}

#[test]
fn actions_wait_for_what_they_need() {
    let mut runs = Runs::exact(rules(CHAIN));
    let mut ended = Vec::new();
    runs.start(firing("r", 1));
    let first = runs.next(at(0), &mut ended);
    assert_eq!(names(&first), ["a"]);
    runs.ended(first[0].task, done("out"), at(1), &mut ended);
    let next = runs.next(at(1), &mut ended);
    assert_eq!(names(&next), ["b", "d"]);
    let Job::Exec { arguments, .. } = &next[0].job else { panic!() };
    assert_eq!(arguments, &["--", "out"]);
    // `d` may fail: `e` runs all the same, and nothing is done about it.
    runs.ended(next[1].task, failed(1), at(1), &mut ended);
    let e = runs.next(at(1), &mut ended);
    assert_eq!(names(&e), ["e"]);
    runs.ended(e[0].task, done(""), at(1), &mut ended);
    // `b` fails, and is tried again after 2 s and after 3 s more.
    runs.ended(next[0].task, failed(1), at(1), &mut ended);
    assert_eq!(runs.due(), Some(at(3)));
    assert!(runs.next(at(2), &mut ended).is_empty());
    let again = runs.next(at(3), &mut ended);
    assert_eq!((again[0].attempt, runs.due()), (2, None));
    runs.ended(
        again[0].task,
        Outcome::TimedOut { stderr: String::new() },
        at(4),
        &mut ended,
    );
    let again = runs.next(at(7), &mut ended);
    ended.clear();
    runs.ended(again[0].task, failed(1), at(8), &mut ended);
    let end = &ended[0].end;
    assert_eq!(
        (end.status, end.attempts, end.duration.as_str()),
        (Status::GaveUp, 3, "7s")
    );
    assert_eq!(
        (end.skipped.as_slice(), ended[0].id.as_str()),
        (&["c".to_owned()][..], "x/0/1/r/b")
    );
    let failure = runs.next(at(8), &mut ended);
    let Job::Emit { fields, .. } = &failure[0].job else { panic!() };
    assert_eq!(fields[0].1, "b c");
    runs.ended(failure[0].task, failed(1), at(8), &mut ended);
    assert!(runs.next(at(8), &mut ended).is_empty() && runs.is_empty());
}

#[test]
fn what_asks_to_be_tried_again_is() {
    let mut runs = Runs::exact(rules(CHAIN));
    let mut ended = Vec::new();
    runs.start(firing("r", 1));
    for attempt in 1..=6 {
        let now = runs.due().unwrap_or_else(|| at(0));
        let starts = runs.next(now, &mut ended);
        assert_eq!((names(&starts), starts[0].attempt), (vec!["a"], attempt));
        runs.ended(starts[0].task, failed(75), now, &mut ended);
    }
    assert_eq!(ended[0].end.attempts, 6);
    assert_eq!(ended[0].end.skipped, ["b", "c", "d", "e"]);
}

#[test]
fn overlap_says_who_waits() {
    for (overlap, acting, left) in [
        ("overlap: Parallel(2)", vec![1, 2], 3),
        ("one_at_a_time: \"g\", overlap: Queue(1)", vec![1], 2),
        ("one_at_a_time: \"g\", overlap: Skip", vec![1], 1),
    ] {
        let set = rules(&format!(
            r#"(rules: [(name: "r", on: Lines(), match: r"x", {overlap},
                do: [Exec(id: "a", run: ["/bin/true"], timeout: "1s")])])"#
        ));
        let mut runs = Runs::exact(set);
        let mut ended = Vec::new();
        for number in 1..=3 {
            runs.start(firing("r", number));
        }
        let starts = runs.next(at(0), &mut ended);
        let ids: Vec<_> = starts.iter().map(|start| start.firing.clone()).collect();
        let wanted: Vec<_> = acting.iter().map(|it| format!("x/0/{it}/r")).collect();
        assert_eq!((ids, runs.len()), (wanted, left), "{overlap}");
        runs.ended(starts[0].task, done(""), at(1), &mut ended);
        let next = runs.next(at(1), &mut ended);
        assert_eq!(next.len(), usize::from(left > acting.len()), "{overlap}");
        assert!(next.iter().all(|start| start.firing == "x/0/3/r"), "the newest waits");
    }
}

#[test]
fn runs_survive_a_restart() {
    let set = rules(CHAIN);
    let mut runs = Runs::exact(Arc::clone(&set));
    let mut ended = Vec::new();
    runs.start(firing("r", 1));
    let first = runs.next(at(0), &mut ended);
    runs.ended(first[0].task, done("kept"), at(0), &mut ended);
    let before = runs.next(at(1), &mut ended);
    let written = runs.take_touched().unwrap();
    assert!(!runs.is_touched());
    let written: Vec<(u64, Vec<u8>)> =
        written.into_iter().map(|(number, bytes)| (number, bytes.unwrap())).collect();
    let written = || written.iter().map(|(number, bytes)| (*number, &bytes[..]));
    let mut runs = Runs::exact(set);
    assert_eq!(runs.restore(written()).unwrap(), 0);
    assert_eq!(runs.next(at(2), &mut ended), before, "what ran runs again");
    let mut others = Runs::exact(rules(
        &CHAIN.replace(r#"id: "d""#, r#"id: "f""#).replace(r#"["d"]"#, r#"["f"]"#),
    ));
    assert_eq!(others.restore(written()).unwrap(), 0);
    assert_eq!(names(&others.next(at(2), &mut ended)), ["b", "f"], "an action is new");
    let mut others = Runs::exact(rules(&CHAIN.replace(r#"name: "r""#, r#"name: "q""#)));
    assert_eq!(others.restore(written()).unwrap(), 1, "the rule is gone");
    assert!(others.is_empty() && others.next(at(2), &mut ended).is_empty());
}

#[test]
fn runs_are_bounded_by_bytes_and_written_only_if_they_last() {
    let set = rules(CHAIN);
    let mut runs = Runs::exact(Arc::clone(&set));
    let mut ended = Vec::new();
    let large = |number: i64| {
        let line = "x".repeat(RUNS_BYTES_MAX / 10).into();
        let firing = firing("r", number);
        Firing { own: serde_json::Map::from_iter([("line".to_owned(), line)]), ..firing }
    };
    let mut began = 0;
    while !runs.is_full() {
        began += 1;
        runs.start(large(began));
    }
    assert_eq!(began, 10);
    let written = runs.take_touched().unwrap();
    assert_eq!(written.iter().filter(|(_, bytes)| bytes.is_some()).count(), 10);
    let all: usize = written.iter().flat_map(|(_, bytes)| bytes).map(Vec::len).sum();
    assert_eq!((runs.bytes, runs.is_full()), (all, true));
    let mut restored = Runs::exact(Arc::clone(&set));
    let written =
        written.iter().map(|(number, bytes)| (*number, bytes.as_deref().unwrap()));
    restored.restore(written).unwrap();
    assert_eq!((restored.bytes, restored.is_full()), (all, true));
    // One that was written is forgotten, one that was not leaves nothing.
    runs.start(firing("r", 11));
    let fail = |runs: &mut Runs, ended: &mut Vec<Ended>| {
        let starts = runs.next(at(0), ended);
        assert!(!starts.is_empty());
        for start in starts {
            runs.ended(start.task, failed(1), at(0), ended);
        }
    };
    while !runs.is_empty() {
        fail(&mut runs, &mut ended);
    }
    assert_eq!((runs.bytes, runs.is_full()), (0, false));
    let left = runs.take_touched().unwrap();
    assert_eq!(left, (0..10).map(|number| (number, None)).collect::<Vec<_>>());
}

#[test]
fn pauses_differ_a_little() {
    let set = rules(CHAIN);
    let action = &set.rules[0].actions[1];
    let pauses: Vec<i64> =
        (0..50).map(|it| pause(action, 1, Some(&format!("x/{it}")))).collect();
    assert!(pauses.iter().all(|it| (1600..2400).contains(it)), "{pauses:?}");
    assert!(pauses.iter().any(|it| *it != pauses[0]));
}

#[test]
fn what_was_refused_for_good_is_not_tried_again() {
    let set = rules(
        r#"(rules: [(name: "r", on: Lines(), match: r"x", do: [
            Mail(id: "m", needs: [], to: ["Ops <ops@example.com>"], subject: "x"),
            Post(id: "p", needs: [], url: "https://example.com/"),
        ])])"#,
    );
    for (exit, tried_again) in [
        (-1, ["m", "p"].as_slice()),
        (65, &["p"]),
        (404, &["m"]),
        (302, &["m"]),
        (408, &["m", "p"]),
        (425, &["m", "p"]),
        (429, &["m", "p"]),
        (503, &["m", "p"]),
    ] {
        let mut runs = Runs::exact(Arc::clone(&set));
        let mut ended = Vec::new();
        runs.start(firing("r", 1));
        let first = runs.next(at(0), &mut ended);
        assert_eq!(names(&first), ["m", "p"]);
        let Job::Mail { to, .. } = &first[0].job else { panic!() };
        assert_eq!(to, &["Ops <ops@example.com>"]);
        for start in &first {
            runs.ended(start.task, failed(exit), at(0), &mut ended);
        }
        let again = runs.next(at(100), &mut ended);
        assert_eq!(names(&again), tried_again, "{exit}");
        assert_eq!(ended.len(), 2 - tried_again.len());
    }
}

#[test]
fn what_is_written_of_a_run_can_be_looked_at() {
    let mut runs = Runs::exact(rules(
        r#"(rules: [(name: "r", on: Lines(), match: r"x", do: [
            Exec(id: "one", run: ["/bin/true"], timeout: "1m"),
            Exec(id: "two", needs: [], run: ["/bin/true"], timeout: "1m",
                retry: (times: 3, backoff: "10s", max: "10s")),
            Exec(id: "three", needs: ["one"], run: ["/bin/true"], timeout: "1m"),
        ])])"#,
    ));
    let mut ended = Vec::new();
    runs.start(firing("r", 1));
    let starts = runs.next(at(7), &mut ended);
    assert_eq!(names(&starts), ["one", "two"]);
    runs.ended(starts[1].task, failed(1), at(8), &mut ended);
    let read = look(&mut runs);
    let doing: Vec<_> = read.tasks.iter().map(|it| (&*it.action, it.doing)).collect();
    let wanted =
        [("one", Doing::Runs), ("two", Doing::Pauses(at(18))), ("three", Doing::Waits)];
    assert_eq!(doing, wanted);
    let failures: Vec<_> = read.tasks.iter().map(|it| it.failure.is_some()).collect();
    assert_eq!(failures, [false, true, false]);
    assert_eq!((&*read.rule, read.tasks[0].since), ("r", Some(at(7))));
    runs.ended(starts[0].task, done(""), at(9), &mut ended);
    assert_eq!(read.tasks[0].id, ended[0].id);
    let left = look(&mut runs).tasks;
    assert_eq!(left.iter().map(|it| &*it.action).collect::<Vec<_>>(), ["two", "three"]);
    UnderWay::read(b"{}").unwrap_err();
}

#[test]
fn of_a_failure_the_last_line_is_kept_until_the_next() {
    let set = rules(
        r#"(rules: [(name: "r", on: Lines(), match: r"x", do: [
            Exec(id: "one", run: ["/bin/true"], timeout: "1m",
                retry: (times: 9, backoff: "1s", max: "1s")),
        ])])"#,
    );
    let mut runs = Runs::exact(Arc::clone(&set));
    let mut ended = Vec::new();
    runs.start(firing("r", 1));
    let mut try_again = |runs: &mut Runs, time: i64, outcome: Outcome| {
        let start = runs.next(at(time), &mut ended).remove(0);
        runs.ended(start.task, outcome, at(time), &mut ended);
        look(runs).tasks.remove(0).failure.unwrap()
    };
    let stderr = "first\nlast\r\n\n".to_owned();
    let reason = "é".repeat(1000);
    let failure = try_again(
        &mut runs,
        7,
        Outcome::Failed { exit: 3, reason: reason.clone(), stderr },
    );
    assert_eq!((failure.exit, &*failure.stderr), (3, "last"));
    assert_eq!(failure.reason, reason[..1024]);
    let failure = try_again(&mut runs, 20, Outcome::TimedOut { stderr: String::new() });
    assert_eq!((failure.exit, &*failure.stderr), (-1, ""));
    assert_eq!(failure.reason, "not done after 1m");
    // It is there while it is begun again, and after a restart.
    runs.next(at(30), &mut ended);
    let written = runs.take_touched().unwrap().remove(0).1.unwrap();
    let mut runs = Runs::exact(set);
    runs.restore([(1, written.as_slice())]).unwrap();
    let task = look(&mut runs).tasks.remove(0);
    assert_eq!((task.doing, task.attempts), (Doing::Waits, 2));
    assert_eq!(task.failure, Some(failure));
}

/// The only run, as it is written.
fn look(runs: &mut Runs) -> UnderWay {
    let written = runs.take_touched().unwrap().remove(0).1.unwrap();
    UnderWay::read(&written).unwrap()
}
