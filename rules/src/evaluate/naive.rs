//! The same as the machine, the slow and simple way: each line, each rule by itself.

use super::head::Head;
use super::lines::{Hit, LineIndex, Lines, lookers, without_end};
use super::matching;
use super::test_support::rules;
use super::{Clock, Firing, Machine, Output};
use crate::compiled::{RuleSet, Trigger};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};
use tripline_api::{Place, Span};

fn naive_scan(set: &RuleSet, source: &str, bytes: &[u8]) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let range = start..start + line.len();
        start = range.end;
        let line = without_end(line);
        let head = Head::of(line);
        for (number, rule) in set.rules.iter().enumerate() {
            for (role, triggers) in matching::roles(rule) {
                let fitting = triggers.iter().find_map(|trigger| {
                    let Trigger::Lines { sources, programs, whole } = trigger else {
                        return None;
                    };
                    let text = if *whole { line } else { head.text };
                    let is_program = programs.is_empty()
                        || head.program.is_some_and(|it| {
                            programs.iter().any(|program| program.as_bytes() == it)
                        });
                    let is_source =
                        sources.is_empty() || sources.iter().any(|it| it == source);
                    let wanted = matching::text_of(rule, role);
                    let is_it =
                        is_source && is_program && matching::is_found(wanted, text);
                    is_it.then_some(*whole)
                });
                if let Some(is_whole) = fitting {
                    hits.push(Hit { rule: number, role, is_whole, line: range.clone() });
                }
            }
        }
    }
    hits
}

const RULES: &str = r##"(rules: [
    (name: "each", on: Lines(source: "a", program: "sshd"),
     match: r"^Failed \S+ for (?P<user>\S+) from (?P<ip>[0-9.]+)",
     do: [Emit(kind: "x", fields: {"t": "{{ ip }}"})]),
    (name: "count", on: Lines(), match: [r"(?P<what>oops|broken) \d", r"Failed (?P<what>\w+)"],
     by: ["what"], when: Count(of: 2, within: "3s"),
     do: [Emit(kind: "x", fields: {"t": "{{ count }}"})]),
    (name: "no-literal", on: Lines(source: "a"), match: r"^(?P<n>\d+)$",
     do: [Emit(kind: "x", fields: {"t": "{{ n }}"})]),
    (name: "whole", on: Lines(source: ["a", "b"], whole: true), match: r"^Nov .*(?P<w>oops)",
     limit: (times: 1, per: "2s"),
     do: [Emit(kind: "x", fields: {"t": "{{ suppressed }}"})]),
    (name: "prefix", on: Lines(source: "a"), prefix: r"^unit %{REST:rest}", match: r"^broken",
     unless_match: [r"never mind"], do: [Emit(kind: "x", fields: {"t": "1"})]),
    (name: "pair", on: Lines(source: "a"), match: r"begin (?P<k>\w)", by: ["k"],
     when: Pair(until: (match: r"end (?P<k>\w)"), within: "4s", fire: IfMissing),
     do: [Emit(kind: "x", fields: {"t": "{{ k }}"})]),
    (name: "digest", on: Lines(source: "a"), match: r"oops",
     when: Digest(every: "5s", keep: 2), do: [Emit(kind: "x", fields: {"t": "{{ count }}"})]),
    (name: "all-b", on: Lines(source: "b"), unless: "event.program == 'cron'",
     do: [Emit(kind: "x", fields: {"t": "{{ event.line }}"})]),
    (name: "absent", on: Lines(source: "a"), match: r"beat (?P<k>\w)", by: ["k"],
     when: Absent(for: "3s", again: "6s", expect: [{"k": "z"}]),
     do: [Emit(kind: "x", fields: {"t": "{{ k }}"})],
     on_return: [Emit(kind: "x", fields: {"t": "{{ absent_for }}"})]),
])"##;

static SET: LazyLock<Arc<RuleSet>> = LazyLock::new(|| rules(RULES));

fn line() -> impl Strategy<Value = String> {
    let heads =
        ["", "Nov 20 21:00:00 www sshd[9]: ", "Nov 20 21:00:00 www cron: ", "unit "];
    let texts = [
        "Failed password for root from 192.0.2.1 port 2",
        "Failed password for ann from 192.0.2.2",
        "oops 1",
        "oops",
        "broken 2",
        "broken 3 never mind",
        "17",
        "begin a",
        "begin b",
        "end a",
        "end b",
        "beat z",
        "beat y",
        "\r",
        "",
        "Failed \u{fffd} oops 4 broken 5",
    ];
    (prop::sample::select(heads.to_vec()), prop::sample::select(texts.to_vec()))
        .prop_map(|(head, text)| format!("{head}{text}\n"))
}

/// The firings of lines that arrive one a second, cut into batches.
fn play(set: &Arc<RuleSet>, lines: &[String], restarts: bool) -> Vec<Firing> {
    let begin = Timestamp::from_second(1_767_614_400).unwrap();
    let at = |second: usize| begin + SignedDuration::from_secs(second as i64);
    let mut machine = Machine::new(Arc::clone(set), begin);
    let (mut out, mut place) = (Vec::new(), Place::default());
    for (second, line) in lines.iter().enumerate() {
        let bytes = line.as_bytes();
        for source in ["a", "b"] {
            let lines = Lines { source, start: place, bytes, spans: None, time: None };
            machine.lines(&lines, Clock::Now(at(second)), &mut out);
        }
        place.offset += bytes.len() as u64;
        if restarts {
            let bytes = machine.parts().unwrap();
            machine = Machine::new(Arc::clone(set), at(second));
            let restored = machine.restore(&bytes).unwrap();
            assert_eq!(restored.kept.len(), set.rules.len());
        }
    }
    machine.tick(at(lines.len() + 60), &mut out);
    let fired = |output| match output {
        Output::Fired(firing) => *firing,
        Output::Note(note, _) => panic!("{}", note.message),
    };
    out.into_iter().map(fired).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_index_finds_what_looking_at_each_finds(
        lines in prop::collection::vec(line(), 0..40), ends in any::<bool>(),
    ) {
        let set = Arc::clone(&SET);
        let mut bytes = lines.concat().into_bytes();
        if !ends {
            bytes.pop();
        }
        for source in ["a", "b", "c"] {
            let index = LineIndex::new(&set, lookers(&set, source));
            let wanted = naive_scan(&set, source, &bytes);
            let all =
                Lines { source, start: Place::default(), bytes: &bytes, spans: None, time: None };
            prop_assert_eq!(&index.scan(&set.rules, &all), &wanted);
            let mut spans = Vec::new();
            let mut end = 0;
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                end += line.len() as u32;
                spans.push(Span { end, lines: 1, incomplete: false });
            }
            let all = Lines { spans: Some(&spans), ..all };
            prop_assert_eq!(&index.scan(&set.rules, &all), &wanted);
        }
    }

    #[test]
    fn lines_that_come_together_fire_the_same(
        lines in prop::collection::vec(line(), 1..40), cut in 1_usize..8,
    ) {
        let set = Arc::clone(&SET);
        let now = Timestamp::from_second(1_767_614_400).unwrap();
        let run = |size: usize| {
            let mut machine = Machine::new(Arc::clone(&set), now);
            let (mut out, mut start) = (Vec::new(), Place::default());
            for chunk in lines.chunks(size) {
                let bytes = chunk.concat();
                let bytes = bytes.as_bytes();
                let lines = Lines { source: "a", start, bytes, spans: None, time: None };
                machine.lines(&lines, Clock::Now(now), &mut out);
                start.offset += bytes.len() as u64;
            }
            out
        };
        prop_assert_eq!(run(lines.len()), run(cut));
    }

    #[test]
    fn restarts_change_nothing(lines in prop::collection::vec(line(), 1..60)) {
        let set = Arc::clone(&SET);
        let wanted = play(&set, &lines, false);
        let got = play(&set, &lines, true);
        prop_assert_eq!(&wanted, &got);
        let mut ids: Vec<_> = wanted.iter().map(|firing| &firing.id).collect();
        ids.sort();
        ids.dedup();
        prop_assert_eq!(ids.len(), wanted.len(), "ids are unique");
    }
}
