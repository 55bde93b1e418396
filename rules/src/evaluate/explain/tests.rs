use super::*;
use crate::{Known, RuleSet, SourceFile, example_sets, load};
use std::collections::BTreeSet;

const START: i64 = 1_767_614_400;

fn set(text: &str) -> Arc<RuleSet> {
    let loaded = load(&[SourceFile::new("test.ron", text)], &Known::default());
    let messages: Vec<_> =
        loaded.diagnostics.iter().map(|it| it.message.clone()).collect();
    Arc::new(loaded.set.unwrap_or_else(|| panic!("{messages:#?}")))
}

fn line(bytes: &[u8]) -> Lines<'_> {
    Lines { source: "auth", start: Default::default(), bytes, spans: None, time: None }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

/// What a rule makes of a line, a line a step.
fn told(machine: &mut Machine, second: i64, text: &str) -> Vec<String> {
    let explained =
        machine.explain_line(&line(text.as_bytes()), at(second), &mut Vec::new());
    let steps = explained.rules.iter().flat_map(|it| &it.steps);
    let word = |goes_on| if goes_on { "yes" } else { "no" };
    steps.map(|it| format!("{} {} {}", it.word, word(it.goes_on), it.why)).collect()
}

const RULES: &str = r#"(
    calendars: { "all": [(from: "00:00", to: "24:00", zone: "UTC")] },
    rules: [(
        name: "brute",
        on: Lines(source: "auth", program: "sshd"),
        match: [r"^Failed \S+ for (?P<user>\S+) from %{IP:ip} port", r"^Bad %{IP:ip}"],
        unless_match: r"from 192\.0\.2\.9",
        unless: "ip is cidr('10.0.0.0/8')",
        when: Count(of: 2, within: "60s"),
        by: ["ip"],
        limit: (times: 1, per: "1h"),
        do: [Clear(flag: "x")],
    )],
)"#;

#[test]
fn each_step_says_where_it_stops() {
    let mut machine = Machine::new(set(RULES), at(0));
    let head = "Jan  5 12:00:00 www sshd[9]: ";
    let mut told = |second, text: &str| told(&mut machine, second, text);
    assert_eq!(
        told(0, "Jan  5 12:00:00 www cron[9]: hello\n"),
        ["program no cron, wanted sshd"]
    );
    assert_eq!(told(0, "hello\n"), ["program no the line names none, wanted sshd"]);
    assert_eq!(
        told(0, &format!("{head}Failed password for bob from here\n")),
        [
            "program yes sshd",
            "match no not found: closest pattern 1: found \"Failed password for bob from \", \
             then at column 30 wanted %{IP:ip}",
        ]
    );
    assert_eq!(
        told(0, &format!("{head}Failed password for bob from 192.0.2.9 port 5\n")),
        [
            "program yes sshd",
            "match yes pattern 1 ip=192.0.2.9 user=bob",
            "unless_match no from 192\\.0\\.2\\.9 is found",
        ]
    );
    assert_eq!(
        told(0, &format!("{head}Bad 10.1.2.3\n"))[1..],
        [
            "match yes pattern 2 ip=10.1.2.3 user=none",
            "unless no ip is cidr('10.0.0.0/8')  ->  true   with ip=10.1.2.3",
        ]
    );
    let bad = format!("{head}Bad 192.0.2.1\n");
    assert_eq!(told(1, &bad)[3], "when no 1 of 2 within 1m for ip=192.0.2.1");
    let fired = told(2, &bad);
    assert_eq!(
        fired[3..],
        [
            "when yes 2 of 2 within 1m for ip=192.0.2.1",
            "limit yes at most 1 in 1h for ip=192.0.2.1",
            "fires yes auth/0/0/brute",
        ]
    );
    told(3, &bad);
    assert_eq!(told(4, &bad)[4], "limit no at most 1 in 1h for ip=192.0.2.1: no more");
}

#[test]
fn what_waits_says_for_what() {
    let rules = |when: &str| {
        RULES.replace("when: Count(of: 2, within: \"60s\")", when).replace(
            "limit: (times: 1, per: \"1h\")",
            "quiet: (in: [\"all\"], then: Drop)",
        )
    };
    let text = "Jan  5 12:00:00 www sshd[9]: Bad 192.0.2.1\n";
    for (when, wanted) in [
        ("when: Each", "quiet no dropped: it is quiet until"),
        ("settle: \"2s\"", "settle no 1 so far for ip=192.0.2.1; fires when nothing"),
        (
            "when: Absent(for: \"5m\")",
            "when no it came for ip=192.0.2.1; fires if nothing",
        ),
        ("when: Digest(every: \"5m\")", "when no 1 so far for ip=192.0.2.1; fires 5m"),
        (
            "when: Pair(until: (match: r\"^ok %{IP:ip}\"), within: \"5m\", fire: IfMissing)",
            "when no waits for the second event for ip=192.0.2.1 until 2026-01-05T12:05:00Z",
        ),
    ] {
        let mut machine = Machine::new(set(&rules(when)), at(0));
        let all = told(&mut machine, 0, text);
        let last = all.last().unwrap();
        assert!(last.starts_with(wanted), "{when}: {last}");
    }
}

/// The rules of the examples, and what the tests of all give them.
fn examples() -> (Vec<Arc<RuleSet>>, Vec<String>) {
    let sets = example_sets::sets();
    let texts = sets.iter().flat_map(|set| example_sets::texts(set)).collect();
    (sets, texts)
}

/// The names of the sources of lines, or of journals, that rules name.
fn sources(set: &RuleSet, is_journal: bool) -> BTreeSet<String> {
    let triggers = set.rules.iter().flat_map(|rule| &rule.on);
    let names = triggers.filter_map(|trigger| match trigger {
        Trigger::Lines { sources, .. } if !is_journal => Some(sources),
        Trigger::Journal { sources, .. } if is_journal => Some(sources),
        _ => None,
    });
    names.flatten().cloned().collect()
}

/// What fired is what was told to.
fn same(set: &RuleSet, out: &[Output], explained: &Explained, what: &str) {
    let fired: BTreeSet<&str> = out
        .iter()
        .filter_map(|it| match it {
            Output::Fired(firing) => Some(firing.rule.as_str()),
            Output::Note(..) => None,
        })
        .collect();
    let told = explained.rules.iter().filter(|it| it.fires());
    let told: BTreeSet<&str> = told.map(|it| &*set.rules[it.rule].name).collect();
    assert_eq!(fired, told, "{what}");
}

#[test]
fn the_machine_does_with_transactions_what_is_told() {
    let (sets, texts) = examples();
    let texts = texts.iter().filter(|it| it.starts_with('@'));
    let mut fired = 0;
    let all = sets
        .iter()
        .flat_map(|set| sources(set, true).into_iter().map(move |it| (set, it)));
    for (set, source) in all {
        let mut one = Machine::new(Arc::clone(set), at(0));
        let mut other = Machine::new(Arc::clone(set), at(0));
        let mut gather = crate::evaluate::Gather::default();
        for text in texts.clone() {
            let mut reader = p4journal::Reader::new(text.as_bytes());
            while let Some(entry) = reader.next().unwrap() {
                let Some(transaction) = gather.push(entry.bytes, Default::default())
                else {
                    continue;
                };
                let (mut out, mut as_told) = (Vec::new(), Vec::new());
                one.transaction(&source, &transaction, Clock::Now(at(0)), &mut out);
                let explained =
                    other.explain_transaction(&source, &transaction, at(0), &mut as_told);
                assert_eq!(out, as_told, "{text}");
                same(set, &out, &explained, text);
                fired += out.len();
            }
        }
    }
    assert!(fired > 0);
}

#[test]
fn the_machine_does_what_is_told() {
    let (sets, lines) = examples();
    let lines: Vec<_> = lines.iter().filter(|it| !it.starts_with('@')).collect();
    assert!(lines.len() > 10);
    for set in &sets {
        the_machine_does_what_it_tells(set, &lines);
    }
}

fn the_machine_does_what_it_tells(set: &Arc<RuleSet>, lines: &[&String]) {
    let sources = sources(set, false);
    let mut one = Machine::new(Arc::clone(set), at(0));
    let mut other = Machine::new(Arc::clone(set), at(0));
    for (second, bytes) in lines.iter().enumerate() {
        for source in &sources {
            for bytes in bytes.split_inclusive('\n') {
                let lines = Lines { source, ..line(bytes.as_bytes()) };
                let (mut out, mut as_told) = (Vec::new(), Vec::new());
                // What is due comes before.
                let now = at(second as i64);
                one.tick(now, &mut Vec::new());
                other.tick(now, &mut Vec::new());
                one.lines(&lines, Clock::Now(now), &mut out);
                let explained = other.explain_line(&lines, now, &mut as_told);
                assert_eq!(out, as_told, "{source}: {bytes}");
                same(set, &out, &explained, bytes);
            }
        }
    }
}
