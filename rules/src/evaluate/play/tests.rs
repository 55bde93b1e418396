use super::*;
use crate::evaluate::EVENTS_MAX;
use crate::evaluate::test_support::rules;
use std::collections::BTreeMap;
use std::sync::Arc;
use tripline_api::Place;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn play(text: &str) -> Play {
    let set = rules(&format!("(rules: [{text}])"));
    Play::new(Machine::new(Arc::clone(&set), at(0)), Runs::exact(set))
}

fn lines<'b>(bytes: &'b [u8]) -> Lines<'b> {
    Lines { source: "log", start: Place::default(), bytes, spans: None, time: None }
}

/// Does what the machine does itself, and holds back the rest.
#[derive(Default)]
struct Counts {
    fired: usize,
    noted: usize,
    said: Vec<String>,
    held: Vec<Start>,
}

impl Executor for Counts {
    fn execute(&mut self, start: Start) -> Option<Outcome> {
        if matches!(start.job, Job::Emit { .. } | Job::Set { .. }) {
            return Some(Outcome::Done { stdout: String::new(), stderr: String::new() });
        }
        self.held.push(start);
        None
    }

    fn fired(&mut self, _: &Firing) {
        self.fired += 1;
    }

    fn noted(&mut self, note: &Note) {
        self.noted += 1;
        self.said.push(note.message.clone());
    }
}

#[test]
fn a_ring_through_what_is_told_of_it_ends() {
    let mut play = play(
        r#"(name: "a", on: Lines(), match: r"oops", do: [Emit(kind: "x")]),
           (name: "b", on: Engine(emitted: ["x"]), do: [Emit(kind: "x")]),
           (name: "c", on: Engine(event: RuleFailed), do: [Emit(kind: "x")])"#,
    );
    let mut counts = Counts::default();
    for second in 0..=60 {
        play.lines(&lines(b"oops\n"), at(second), &mut counts);
        assert_eq!(play.due(), None);
        // Of each line `a` and eight times `b`; once a minute `c`.
        let notes = 1 + second as usize / 60;
        let fired = 9 * (second as usize + 1) + notes;
        assert_eq!((counts.fired, counts.noted), (fired, notes), "{second}");
    }
    assert!(play.runs.is_empty());
}

#[test]
fn what_takes_too_many_rounds_goes_on_with_the_next_tick() {
    let mut play = play(
        r#"(name: "holds", on: Lines(), match: r"first", one_at_a_time: "g", overlap: Queue(9999),
            do: [Exec(run: ["/bin/true"], timeout: "1s")]),
           (name: "waits", on: Lines(), match: r"then", one_at_a_time: "g", overlap: Queue(9999),
            do: [Emit(kind: "x")])"#,
    );
    let mut counts = Counts::default();
    play.lines(&lines(b"first\n"), at(0), &mut counts);
    let first = counts.held.pop().unwrap();
    play.lines(&lines(&b"then\n".repeat(3 * ROUNDS_MAX)), at(0), &mut counts);
    assert_eq!((play.runs.len(), play.due()), (3 * ROUNDS_MAX + 1, None));
    let done = Outcome::Done { stdout: String::new(), stderr: String::new() };
    play.ended(first.task, done, at(1), &mut counts);
    let mut left = Vec::new();
    while play.due().is_some_and(|due| due <= at(1)) {
        left.push(play.runs.len());
        play.tick(at(1), &mut counts);
    }
    assert_eq!(left, [2 * ROUNDS_MAX, ROUNDS_MAX, 0], "then it looks once more");
    assert!(play.runs.is_empty() && play.due().is_none());
}

/// Ten of one, and each of these fires again.
fn many(rule: &str, on: &str) -> String {
    let emit = ["Emit(kind: \"x\")"; 10].join(", ");
    format!("(name: \"{rule}\", on: {on}, do: [{emit}])")
}

#[test]
fn what_one_event_leads_to_has_a_bound() {
    let mut play = play(&format!(
        "{}, {}, (name: \"told\", on: Engine(event: RuleFailed), do: [Emit(kind: \"x\")])",
        many("a", "Lines()"),
        many("b", "Engine(emitted: [\"x\"])")
    ));
    let mut counts = Counts::default();
    for second in 0..=60 {
        play.lines(&lines_at(b"oops\n", second as u64), at(second), &mut counts);
        while play.due().is_some() {
            play.tick(at(second), &mut counts);
        }
        // Of each line `a`, and so often `b`; once a minute it is told, and that leads
        // nowhere.
        let notes = 1 + second as usize / 60;
        let fired = (EVENTS_MAX as usize + 1) * (second as usize + 1) + notes;
        assert_eq!((counts.fired, counts.noted), (fired, notes), "{second}");
    }
    assert!(play.runs.is_empty());
    assert!(counts.said[0].contains("rule `b`: one event led to 1000 others"));
}

fn lines_at(bytes: &[u8], second: u64) -> Lines<'_> {
    Lines { start: Place { offset: second * 100, ..Place::default() }, ..lines(bytes) }
}

/// The ends of programs are events as well, whenever they come, and whoever died meanwhile.
#[test]
fn the_bound_is_the_same_for_what_ends_later_and_over_a_restart() {
    let run = ["Exec(run: [\"/bin/true\"], needs: [])"; 10].join(", ");
    let text = format!(
        "(name: \"a\", on: Lines(), do: [{run}], overlap: Parallel(100)),
         (name: \"b\", on: Task(), do: [{run}], overlap: Parallel(100))"
    );
    for restarts in [false, true] {
        let mut it = play(&text);
        let mut counts = Counts::default();
        it.lines(&lines(b"oops\n"), at(0), &mut counts);
        let (mut ended, mut kept) = (0, BTreeMap::new());
        while !counts.held.is_empty() {
            let start = counts.held.swap_remove(ended * 7 % counts.held.len());
            let done = Outcome::Done { stdout: String::new(), stderr: String::new() };
            it.ended(start.task, done, at(1), &mut counts);
            ended += 1;
            assert!(ended < 100_000);
            for (number, run) in it.runs.take_touched().unwrap() {
                match run {
                    Some(run) => _ = kept.insert(number, run),
                    None => _ = kept.remove(&number),
                }
            }
            if restarts && ended % 500 == 0 {
                it = again(&it, &kept, &text, &mut counts);
            }
        }
        // As many events as may be, each with ten programs, and those of the line.
        assert_eq!(ended, 10 * (EVENTS_MAX as usize + 1), "{restarts}");
        let told = |it: &&String| it.contains("one event led to 1000 others");
        assert_eq!(counts.said.iter().filter(told).count(), 1, "{:?}", counts.said);
    }
}

/// Another process with what this one has written.
fn again(
    before: &Play,
    kept: &BTreeMap<u64, Vec<u8>>,
    text: &str,
    counts: &mut Counts,
) -> Play {
    let mut after = play(text);
    let parts = before.machine.parts().unwrap();
    after.machine.restore(&parts).unwrap();
    after.runs.restore(kept.iter().map(|(number, bytes)| (*number, &bytes[..]))).unwrap();
    counts.held.clear();
    after.tick(at(1), counts);
    after
}

/// What comes of the time is no end of one event: it may come again for ever.
#[test]
fn what_comes_of_the_time_begins_anew() {
    let mut play = play(
        r#"(name: "silent", on: Lines(), when: Absent(for: "1m", again: "1m"),
            do: [Emit(kind: "x")]),
           (name: "told", on: Engine(emitted: ["x"]), do: [Set(flag: "f", for: "1s")])"#,
    );
    let mut counts = Counts::default();
    play.lines(&lines(b"oops\n"), at(0), &mut counts);
    for minute in 1..=2 * i64::from(EVENTS_MAX) {
        play.tick(at(60 * minute), &mut counts);
        counts.held.clear();
    }
    assert_eq!((counts.fired, counts.noted), (4 * EVENTS_MAX as usize, 0));
}
