use super::*;
use crate::evaluate::test_support::rules;
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
    held: Vec<Start>,
}

impl Executor for Counts {
    fn execute(&mut self, start: Start) -> Option<Outcome> {
        if matches!(start.job, Job::Emit { .. }) {
            return Some(Outcome::Done { stdout: String::new(), stderr: String::new() });
        }
        self.held.push(start);
        None
    }

    fn fired(&mut self, _: &Firing) {
        self.fired += 1;
    }

    fn noted(&mut self, _: &Note) {
        self.noted += 1;
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
