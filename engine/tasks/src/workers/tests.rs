use super::*;
use std::time::Duration;
use tripline_rules::evaluate::Job;

/// So long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(rule: &str, number: u64) -> Start {
    Start {
        task: (number, 0),
        rule: rule.to_owned(),
        action: "a".to_owned(),
        word: "Clear",
        firing: format!("x/0/{number}/{rule}"),
        depth: 1,
        origin: 0,
        attempt: 1,
        job: Job::Clear { flag: "f".to_owned() },
        timeout: Duration::from_secs(1),
    }
}

fn done() -> Outcome {
    Outcome::Done { stdout: String::new(), stderr: String::new() }
}

struct Test {
    rings: Receiver<()>,
    begun: Receiver<u64>,
    goes: Sender<()>,
    workers: Workers,
}

/// Actions of the rule `slow` end when they are told to; one of `bad` panics.
fn test() -> Test {
    let ((said, begun), (goes, go)) = (bounded(100), bounded(100));
    let act = move |start: &Start, stop: &Stop| {
        assert!(start.rule != "bad", "on purpose");
        said.send(start.task.0).unwrap();
        if start.rule == "slow" {
            go.recv().unwrap();
        }
        (!stop.is_stopped()).then(done)
    };
    let (bell, rings) = bell();
    Test { workers: Workers::new(Arc::new(act), bell), rings, begun, goes }
}

fn bell() -> (Bell, Receiver<()>) {
    let (sender, rings) = bounded(1);
    (Arc::new(move || _ = sender.try_send(())), rings)
}

impl Test {
    fn next(&mut self) -> Done {
        loop {
            if let Some(done) = self.workers.done() {
                return done;
            }
            self.rings.recv_timeout(PATIENCE).unwrap();
        }
    }

    fn begin(&mut self, count: usize) -> Vec<u64> {
        self.workers.hand_out().unwrap();
        (0..count).map(|_| self.begun.recv_timeout(PATIENCE).unwrap()).collect()
    }
}

#[test]
fn slow_actions_of_a_rule_hold_up_no_other() {
    let mut test = test();
    (0..40).for_each(|number| test.workers.give(start("slow", number)));
    (40..80).for_each(|number| test.workers.give(start("quick", number)));
    let mut begun = test.begin(WORKERS_MAX);
    begun.sort_unstable();
    assert_eq!(begun, (0..8).chain(40..48).collect::<Vec<_>>());
    let mut ended = Vec::new();
    while ended.len() < 40 {
        ended.push(test.next().task.0);
        test.workers.hand_out().unwrap();
    }
    ended.sort_unstable();
    assert_eq!(ended, (40..80).collect::<Vec<_>>());
    (0..40).for_each(|_| test.goes.send(()).unwrap());
    for _ in 0..40 {
        assert!(test.next().task.0 < 40);
        test.workers.hand_out().unwrap();
    }
    assert!(test.workers.are_idle() && test.workers.done().is_none());
}

#[test]
fn a_panic_is_a_failure() {
    let mut test = test();
    for number in 0..2 * WORKERS_MAX as u64 {
        test.workers.give(start("bad", number));
    }
    for _ in 0..2 * WORKERS_MAX {
        test.workers.hand_out().unwrap();
        assert_eq!(test.next().outcome, panicked());
    }
    assert!(test.workers.are_idle());
    test.workers.give(start("good", 99));
    test.workers.hand_out().unwrap();
    assert_eq!(test.next(), Done { task: (99, 0), outcome: done() });
}

#[test]
fn who_takes_over_gets_what_is_under_way_and_does_it_once() {
    let mut test = test();
    (0..20).for_each(|number| test.workers.give(start("slow", number)));
    let mut begun = test.begin(RULE_WORKERS_MAX);
    begun.sort_unstable();
    assert_eq!(begun, (0..8).collect::<Vec<_>>());
    let (bell, rings) = bell();
    test.rings = rings;
    test.workers.go_on(Arc::new(|_: &Start, _: &Stop| Some(panicked())), bell);
    // One ends before anybody asks for it.
    test.goes.send(()).unwrap();
    test.rings.recv_timeout(PATIENCE).unwrap();
    assert_eq!(test.workers.done(), None);
    for number in (0..20).rev() {
        let again = start("slow", number);
        test.workers.give(Start { task: (number, 7), ..again });
    }
    (0..7).for_each(|_| test.goes.send(()).unwrap());
    let mut ended = Vec::new();
    while ended.len() < 20 {
        test.workers.hand_out().unwrap();
        ended.push(test.next());
    }
    ended.sort_unstable_by_key(|it| it.task);
    for (number, it) in ended.iter().enumerate() {
        assert_eq!(it.task, (number as u64, 7));
        assert_eq!(it.outcome == done(), number < 8, "{it:?}");
    }
    assert!(test.begun.is_empty() && test.workers.begun.is_empty());
}
