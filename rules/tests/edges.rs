//! Windows, ends and quiet times at their edges, to the millisecond, on a clock that the
//! test turns.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tripline_api::Place;
use tripline_rules::evaluate::{Clock, Job, Lines, Machine, Output, render};
use tripline_rules::{Known, RuleSet, SourceFile, load};

fn rules(text: &str) -> Arc<RuleSet> {
    let loaded = load(&[SourceFile::new("a.ron", text)], &Known::default());
    let said: Vec<_> = loaded.diagnostics.iter().map(|it| it.message.clone()).collect();
    Arc::new(loaded.set.unwrap_or_else(|| panic!("{said:#?}")))
}

/// A rule for lines; `{t}` is what each firing says.
fn rule(name: &str, which: &str, says: &str) -> String {
    format!(
        r#"(name: "{name}", on: Lines(), {which}, do: [Emit(kind: "x", fields: {{"t": "{says}"}})])"#
    )
}

struct Play {
    machine: Machine,
    offset: u64,
    out: Vec<Output>,
}

impl Play {
    fn new(set: Arc<RuleSet>, now: Timestamp) -> Self {
        Self { machine: Machine::new(set, now), offset: 0, out: Vec::new() }
    }

    fn line(&mut self, at: Timestamp, line: &str) {
        let start = Place { offset: self.offset, ..Place::default() };
        self.offset += line.len() as u64;
        let bytes = line.as_bytes();
        let lines = Lines { source: "log", start, bytes, spans: None, time: None };
        self.machine.lines(&lines, Clock::Now(at), &mut self.out);
    }

    fn tick(&mut self, at: Timestamp) {
        self.machine.tick(at, &mut self.out);
    }

    /// Ends, and begins anew with what was written, perhaps with other rules.
    fn restart(&mut self, set: Option<Arc<RuleSet>>, now: Timestamp) {
        let parts = self.machine.parts().unwrap();
        let set = set.unwrap_or_else(|| Arc::clone(self.machine.rules()));
        self.machine = Machine::new(set, now);
        let restored = self.machine.restore(&parts).unwrap();
        assert!(restored.anew.is_empty() && restored.gone.is_empty(), "{restored:?}");
    }

    /// What each firing says.
    fn said(&mut self) -> Vec<(Timestamp, String)> {
        let set = Arc::clone(self.machine.rules());
        let say = |output| {
            let Output::Fired(firing) = output else { panic!("{output:?}") };
            let rule = set.rules.iter().find(|it| *it.name == *firing.rule).unwrap();
            let action = &firing.actions(rule)[0];
            let job = render(&set, action, &firing, &Default::default()).unwrap();
            let Job::Emit { fields, .. } = job else { panic!("{job:?}") };
            (firing.time(), fields[0].1.clone())
        };
        self.out.drain(..).map(say).collect()
    }
}

/// So many milliseconds behind noon of a day.
fn at(millis: i64) -> Timestamp {
    let noon: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
    noon + SignedDuration::from_millis(millis)
}

/// Lines at milliseconds; `-` lets the time pass. With a restart before each, too.
#[track_caller]
fn plays(rules_of: &str, lines: &[(i64, &str)], wanted: &[(i64, &str)]) {
    for restarts in [false, true] {
        let mut play = Play::new(rules(&format!("(rules: [{rules_of}])")), at(0));
        for (millis, line) in lines {
            if restarts {
                play.restart(None, at(*millis));
            }
            match *line {
                "-" => play.tick(at(*millis)),
                line => play.line(at(*millis), line),
            }
        }
        let said = play.said();
        let said: Vec<_> = said.iter().map(|(at, text)| (*at, text.as_str())).collect();
        let wanted: Vec<_> = wanted.iter().map(|(it, text)| (at(*it), *text)).collect();
        assert_eq!(said, wanted, "{lines:?}, restarts: {restarts}");
    }
}

#[test]
fn a_count_ends_with_its_window() {
    let rule = rule(
        "r",
        r#"match: r"(?P<who>\w+)", when: Count(of: 3, within: "10s")"#,
        "{{ first.who }} {{ count }}",
    );
    for (lines, wanted) in [
        ([(0, "a"), (1, "b"), (10_000, "c")], Some((10_000, "a 3"))),
        ([(0, "a"), (1, "b"), (10_001, "c")], None),
        ([(5, "a"), (5, "b"), (5, "c")], Some((5, "a 3"))),
    ] {
        plays(&rule, &lines, wanted.as_slice());
    }
    // What is used up counts no more; the next three do, from the next millisecond on.
    let lines = [0, 0, 10_000, 10_001, 10_002, 20_001].map(|millis| (millis, "a"));
    plays(&rule, &lines, &[(10_000, "a 3"), (20_001, "a 3")]);
    // The clock goes back by a second: the line counts where it is.
    let lines = [(10_000, "a"), (9_000, "b"), (20_000, "c")];
    plays(&rule, &lines, &[(20_000, "a 3")]);
}

#[test]
fn distinct_values_are_the_newest() {
    let which =
        r#"match: r"(?P<who>\w+)", when: Count(of: 2, within: "10s", distinct: "who")"#;
    let rule = rule("r", which, "{{ first.who }} {{ last.who }}");
    for (lines, wanted) in [
        ([(0, "a"), (1, "a"), (10_001, "b")], Some((10_001, "a b"))),
        ([(0, "a"), (1, "a"), (10_002, "b")], None),
        ([(0, "a"), (10_000, "b"), (10_000, "a")], Some((10_000, "a b"))),
    ] {
        plays(&rule, &lines, wanted.as_slice());
    }
}

#[test]
fn a_pair_ends_with_its_time() {
    let pair = |fire: &str| {
        let which = format!(
            r#"match: r"begin", when: Pair(until: (match: r"end"), within: "1m", fire: {fire})"#
        );
        rule(fire, &which, fire)
    };
    let both = format!("{}, {}", pair("IfSeen"), pair("IfMissing"));
    for (lines, wanted) in [
        // An event and an end at one instant: the event comes first.
        (vec![(0, "begin"), (60_000, "end"), (60_000, "-")], vec![(60_000, "IfSeen")]),
        (vec![(0, "begin"), (60_001, "end")], vec![(60_000, "IfMissing")]),
        (vec![(0, "begin"), (59_999, "-"), (60_000, "end")], vec![(60_000, "IfSeen")]),
        // It was said, and is too late.
        (vec![(0, "begin"), (60_000, "-"), (60_000, "end")], vec![(60_000, "IfMissing")]),
        (vec![(0, "begin"), (0, "end")], vec![(0, "IfSeen")]),
        // A second beginning counts from when the first is over.
        (
            vec![(0, "begin"), (59_999, "begin"), (60_000, "-"), (60_001, "end")],
            vec![(60_000, "IfMissing")],
        ),
        (
            vec![(0, "begin"), (60_001, "begin"), (120_001, "end")],
            vec![(60_000, "IfMissing"), (120_001, "IfSeen")],
        ),
    ] {
        plays(&both, &lines, &wanted);
    }
}

#[test]
fn absence_is_told_on_time_and_again() {
    let rule = r#"(name: "r", on: Lines(), match: r"beat", when: Absent(for: "5m", again: "1h"),
        do: [Emit(kind: "x", fields: {"t": "no for {{ absent_for }}"})],
        on_return: [Emit(kind: "x", fields: {"t": "back after {{ absent_for }}"})])"#;
    const FOR: i64 = 300_000;
    const AGAIN: i64 = 3_600_000;
    for (lines, wanted) in [
        (vec![(0, "beat"), (FOR, "beat"), (FOR, "-")], vec![]),
        (vec![(0, "beat"), (FOR - 1, "-")], vec![]),
        (vec![(0, "beat"), (FOR, "-")], vec![(FOR, "no for 5m")]),
        (
            vec![(0, "beat"), (FOR + 1, "beat")],
            vec![(FOR, "no for 5m"), (FOR + 1, "back after 5m")],
        ),
        // At its instant the beat comes first: it is not told again.
        (
            vec![(0, "beat"), (FOR + AGAIN, "beat"), (FOR + AGAIN, "-")],
            vec![(FOR, "no for 5m"), (FOR + AGAIN, "back after 1h 5m")],
        ),
        (
            vec![(0, "beat"), (FOR, "-"), (FOR + AGAIN, "-"), (FOR + 2 * AGAIN - 1, "-")],
            vec![(FOR, "no for 5m"), (FOR + AGAIN, "no for 1h 5m")],
        ),
        (
            // Of what nobody waited through it is told once, when it was due last.
            vec![(0, "beat"), (FOR + 2 * AGAIN, "-"), (FOR + 2 * AGAIN, "beat")],
            vec![
                (FOR + 2 * AGAIN, "no for 2h 5m"),
                (FOR + 2 * AGAIN, "back after 2h 5m"),
            ],
        ),
    ] {
        plays(rule, &lines, &wanted);
    }
}

#[test]
fn a_digest_is_whole_over_a_restart() {
    let which = r#"match: r"(?P<n>\d)", when: Digest(every: "15m", keep: 2)"#;
    let rule = rule("r", which, "{{ count }} {{ dropped }} {{ first.n }} {{ last.n }}");
    const EVERY: i64 = 900_000;
    for (lines, wanted) in [
        (
            vec![(5, "1"), (6, "2"), (EVERY + 4, "3"), (EVERY + 5, "-")],
            vec![(EVERY + 5, "3 1 1 3")],
        ),
        // What comes at its end belongs to it.
        (
            vec![(5, "1"), (EVERY + 5, "2"), (EVERY + 5, "-")],
            vec![(EVERY + 5, "2 0 1 2")],
        ),
        (
            vec![(5, "1"), (EVERY + 6, "2"), (3 * EVERY, "-")],
            vec![(EVERY + 5, "1 0 1 1"), (2 * EVERY + 6, "1 0 2 2")],
        ),
        // Nobody was there when it was due.
        (vec![(5, "1"), (9 * EVERY, "-")], vec![(EVERY + 5, "1 0 1 1")]),
        (vec![(5, "-"), (9 * EVERY, "-")], vec![]),
    ] {
        plays(&rule, &lines, &wanted);
    }
}

#[test]
fn a_limit_ends_with_its_time() {
    let which = r#"match: r"x", limit: (times: 2, per: "10s", then: [Emit(kind: "x", fields: {"t": "too many"})])"#;
    let rule = rule("r", which, "{{ suppressed }}");
    let lines = [0, 4_000, 5_000, 9_999, 10_000, 13_999, 14_000, 24_001, 24_002, 24_003];
    plays(
        &rule,
        &lines.map(|millis| (millis, "x")),
        &[
            (0, "0"),
            (4_000, "0"),
            (5_000, "too many"),
            (10_000, "2"),
            (13_999, "too many"),
            (14_000, "1"),
            (24_001, "0"),
            (24_002, "0"),
            (24_003, "too many"),
        ],
    );
}

#[test]
fn what_settles_is_one() {
    let rule =
        rule("r", r#"match: r"(?P<n>\d)", settle: "2s""#, "{{ count }} {{ last.n }}");
    for (lines, wanted) in [
        (vec![(0, "1"), (1_999, "2"), (3_999, "3"), (5_999, "-")], vec![(5_999, "3 3")]),
        (vec![(0, "1"), (2_000, "2"), (3_999, "-")], vec![]),
        (
            vec![(0, "1"), (2_001, "2"), (4_001, "-")],
            vec![(2_000, "1 1"), (4_001, "1 2")],
        ),
    ] {
        plays(&rule, &lines, &wanted);
    }
}

/// A rule that is quiet from .. to in a zone, and holds.
fn quiet(from: &str, to: &str, zone: &str) -> Arc<RuleSet> {
    let calendar = format!(r#"(from: "{from}", to: "{to}", zone: "{zone}")"#);
    let which = r#"match: r"(?P<n>\w+)", quiet: (in: ["c"], then: Hold)"#;
    let rule = rule("r", which, "{{ n }}");
    rules(&format!(r#"(calendars: {{"c": [{calendar}]}}, rules: [{rule}])"#))
}

/// A line at each instant, and when its firing was handed out.
fn handed_out(set: &Arc<RuleSet>, from: &str) -> Timestamp {
    let from: Timestamp = from.parse().unwrap();
    let mut play = Play::new(Arc::clone(set), from);
    play.line(from, "x");
    if !play.said().is_empty() {
        return from;
    }
    let due = play.machine.due().unwrap();
    play.tick(due - SignedDuration::from_millis(1));
    assert!(play.said().is_empty(), "{due} is early");
    play.tick(due);
    assert_eq!(play.said().len(), 1);
    due
}

#[test]
fn a_night_ends_behind_midnight() {
    let night = quiet("22:00", "07:00", "Europe/Zurich");
    for (from, until) in [
        ("2026-01-05T21:59:59.999+01:00", "2026-01-05T21:59:59.999+01:00"),
        ("2026-01-05T22:00:00+01:00", "2026-01-06T07:00:00+01:00"),
        ("2026-01-05T23:59:59.999+01:00", "2026-01-06T07:00:00+01:00"),
        ("2026-01-06T00:00:00+01:00", "2026-01-06T07:00:00+01:00"),
        ("2026-01-06T06:59:59.999+01:00", "2026-01-06T07:00:00+01:00"),
        ("2026-01-06T07:00:00+01:00", "2026-01-06T07:00:00+01:00"),
    ] {
        assert_eq!(handed_out(&night, from), until.parse().unwrap(), "{from}");
    }
    // What comes at the end comes before what was held.
    let begin = "2026-01-05T23:00:00+01:00".parse().unwrap();
    let mut play = Play::new(night, begin);
    play.line(begin, "held");
    let end = "2026-01-06T07:00:00+01:00".parse().unwrap();
    play.line(end, "new");
    play.tick(end);
    let said: Vec<_> = play.said().into_iter().map(|(_, text)| text).collect();
    assert_eq!(said, ["new", "held"]);
}

/// Until when it is quiet on the days on which clocks are set.
#[test]
fn quiet_times_where_clocks_are_set() {
    struct Day<'d> {
        zone: &'d str,
        /// From .. to, an instant, and until when it is quiet then.
        rows: &'d [(&'d str, &'d str, &'d str, &'d str)],
    }
    let days = [
        Day {
            zone: "Europe/Zurich",
            rows: &[
                // 29 March: 03:00 (+02) follows 01:59 (+01).
                (
                    "22:00",
                    "07:00",
                    "2026-03-28T23:00:00+01:00",
                    "2026-03-29T07:00:00+02:00",
                ),
                (
                    "01:30",
                    "02:30",
                    "2026-03-29T01:45:00+01:00",
                    "2026-03-29T03:00:00+02:00",
                ),
                ("02:30", "03:30", "2026-03-29T01:59:59+01:00", "-"),
                (
                    "02:30",
                    "03:30",
                    "2026-03-29T03:00:00+02:00",
                    "2026-03-29T03:30:00+02:00",
                ),
                ("02:10", "02:50", "2026-03-29T03:00:00+02:00", "-"),
                (
                    "02:10",
                    "02:50",
                    "2026-03-30T02:10:00+02:00",
                    "2026-03-30T02:50:00+02:00",
                ),
                (
                    "03:00",
                    "02:00",
                    "2026-03-29T01:30:00+01:00",
                    "2026-03-30T02:00:00+02:00",
                ),
                // 25 October: 02:00 (+01) follows 02:59 (+02).
                (
                    "22:00",
                    "07:00",
                    "2026-10-24T23:00:00+02:00",
                    "2026-10-25T07:00:00+01:00",
                ),
                (
                    "01:30",
                    "02:30",
                    "2026-10-25T01:45:00+02:00",
                    "2026-10-25T02:30:00+02:00",
                ),
                ("01:30", "02:30", "2026-10-25T02:30:00+02:00", "-"),
                ("01:30", "02:30", "2026-10-25T02:10:00+01:00", "-"),
                (
                    "02:30",
                    "03:30",
                    "2026-10-25T02:30:00+02:00",
                    "2026-10-25T03:30:00+01:00",
                ),
                (
                    "02:30",
                    "03:30",
                    "2026-10-25T02:00:00+01:00",
                    "2026-10-25T03:30:00+01:00",
                ),
                ("02:30", "03:30", "2026-10-25T03:30:00+01:00", "-"),
                ("02:10", "02:50", "2026-10-25T02:20:00+01:00", "-"),
            ],
        },
        Day {
            zone: "America/New_York",
            rows: &[
                // 8 March: 03:00 (-04) follows 01:59 (-05).
                (
                    "22:00",
                    "07:00",
                    "2026-03-07T23:00:00-05:00",
                    "2026-03-08T07:00:00-04:00",
                ),
                (
                    "01:30",
                    "02:30",
                    "2026-03-08T01:45:00-05:00",
                    "2026-03-08T03:00:00-04:00",
                ),
                (
                    "02:30",
                    "03:30",
                    "2026-03-08T03:00:00-04:00",
                    "2026-03-08T03:30:00-04:00",
                ),
                ("02:10", "02:50", "2026-03-08T03:00:00-04:00", "-"),
                // 1 November: 01:00 (-05) follows 01:59 (-04).
                (
                    "22:00",
                    "07:00",
                    "2026-10-31T23:00:00-04:00",
                    "2026-11-01T07:00:00-05:00",
                ),
                (
                    "00:30",
                    "01:30",
                    "2026-11-01T00:45:00-04:00",
                    "2026-11-01T01:30:00-04:00",
                ),
                ("00:30", "01:30", "2026-11-01T01:10:00-05:00", "-"),
                (
                    "01:30",
                    "02:30",
                    "2026-11-01T01:00:00-05:00",
                    "2026-11-01T02:30:00-05:00",
                ),
                ("01:30", "02:30", "2026-11-01T02:30:00-05:00", "-"),
            ],
        },
        // A day of 23 hours that begins at 01:00, as midnight is skipped.
        Day {
            zone: "America/Santiago",
            rows: &[
                (
                    "23:00",
                    "00:30",
                    "2026-09-05T23:30:00-04:00",
                    "2026-09-06T01:00:00-03:00",
                ),
                (
                    "00:00",
                    "02:00",
                    "2026-09-06T01:00:00-03:00",
                    "2026-09-06T02:00:00-03:00",
                ),
            ],
        },
    ];
    for Day { zone, rows } in days {
        for (from, to, at, until) in rows {
            let set = quiet(from, to, zone);
            let until = if *until == "-" { at } else { until };
            let wanted: Timestamp = until.parse().unwrap();
            assert_eq!(handed_out(&set, at), wanted, "{from}-{to} {zone} {at}");
            let holds = set.rules[0].quiet.as_ref().unwrap().calendars[0]
                .holds(at.parse().unwrap());
            assert_eq!(holds, until != at, "{from}-{to} {zone} {at}");
        }
    }
}

/// What is held is let go of when it is quiet no more, also where that is sooner now.
#[test]
fn a_zone_that_changes() {
    let begin: Timestamp = "2026-01-05T23:00:00+01:00".parse().unwrap();
    let later = begin + SignedDuration::from_hours(1);
    for (zone, until) in [
        ("Europe/Zurich", "2026-01-06T06:00:00Z"),
        ("Europe/London", "2026-01-06T07:00:00Z"),
        // It is noon there, and six in the evening.
        ("Pacific/Auckland", "2026-01-05T23:00:00Z"),
        ("America/New_York", "2026-01-05T23:00:00Z"),
    ] {
        let mut play = Play::new(quiet("22:00", "07:00", "Europe/Zurich"), begin);
        play.line(begin, "held");
        let before = play.machine.parts().unwrap();
        let other = quiet("22:00", "07:00", zone);
        play.machine = Machine::new(Arc::clone(&other), later);
        play.machine.restore(&before).unwrap();
        play.tick(later);
        let said = play.said();
        let handed_out = match said.is_empty() {
            true => play.machine.due().unwrap(),
            false => later,
        };
        let until: Timestamp = until.parse().unwrap();
        assert_eq!(handed_out, until, "{zone}");
    }
}
