//! The daemon is killed and stopped while programs are at work, and has other
//! listeners beside a slow one.

use super::place::{MODES, Mode, PATIENCE, Place, feed, keeper, living};
use crate::site::wait_until;
use std::fs;
use std::time::{Duration, Instant};

const LINES: usize = 3000;
const KILLS: usize = 5;

/// Each line is delivered at least once, each time with the same id.
#[test]
fn a_killed_daemon_delivers_everything() {
    for mode in MODES {
        let place = Place::new();
        place.program("feed", keeper(mode));
        let arguments = match mode {
            Mode::Batch => "entries_max: 50",
            Mode::Acknowledged => "window: 20",
        };
        place.configure(mode, arguments);
        place.write((0..LINES).map(|n| format!("line {n}\n")).collect::<String>());
        for kill in 1..=KILLS {
            let daemon = place.start();
            let some = LINES * kill / (KILLS + 1);
            assert!(wait_until(PATIENCE, || place.count() >= some), "{}", place.count());
            daemon.kill();
        }
        let daemon = place.start();
        place.wait_until_settled();
        daemon.stop();
        let got = place.got();
        assert_eq!(got.len(), LINES, "{mode:?}");
        let texts: std::collections::BTreeSet<String> = got
            .values()
            .map(|(line, _)| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["text"].as_str().unwrap().to_owned()
            })
            .collect();
        let wanted = (0..LINES).map(|n| format!("line {n}")).collect();
        assert_eq!(texts, wanted, "{mode:?}");
    }
}

/// Whatever it does or does not do: the daemon has ten seconds.
#[test]
fn a_daemon_stops_while_a_program_hangs() {
    let hangs = "echo $$ >> pids\nexec sleep 1000";
    let ignores = "trap '' TERM\necho $$ >> pids\nwhile :; do sleep 1000; done";
    let leaves = "setsid sleep 1000 &\necho $! >> pids\nwait";
    std::thread::scope(|scope| {
        for mode in MODES {
            for script in [hangs, ignores, leaves] {
                scope.spawn(move || {
                    let place = Place::new();
                    place.program("feed", script);
                    place.configure(mode, "");
                    place.write("one\n");
                    let daemon = place.start();
                    let pids = place.path("pids");
                    let runs =
                        || !fs::read_to_string(&pids).unwrap_or_default().is_empty();
                    assert!(wait_until(PATIENCE, runs), "{}", place.said());
                    let since = Instant::now();
                    daemon.stop();
                    let took = since.elapsed();
                    let left = living(&pids);
                    assert!(left.is_empty(), "{mode:?}, {script}: {left:?} live");
                    assert!(
                        took < Duration::from_secs(11),
                        "{mode:?}, {script}: {took:?}"
                    );
                });
            }
        }
    });
}

/// A program that is at rest may put its things in order.
#[test]
fn a_daemon_that_stops_closes_standard_input_first() {
    let place = Place::new();
    let script = format!("{}; echo done >> goodbye", keeper(Mode::Acknowledged));
    place.program("feed", &script);
    place.configure(Mode::Acknowledged, "");
    place.write("one\n");
    let daemon = place.start();
    place.wait_until_settled();
    daemon.stop();
    assert_eq!(place.read("goodbye"), "done\n");
}

/// How long a line takes to be printed, in the middle of many.
fn latency(place: &Place) -> Duration {
    const COUNT: usize = 100;
    let printed = || place.read("fast.jsonl").lines().count();
    place.write("the first\n");
    assert!(wait_until(PATIENCE, || printed() == 1), "{}", place.said());
    let mut took: Vec<Duration> = (0..COUNT)
        .map(|n| {
            let since = Instant::now();
            place.write(format!("line {n}\n"));
            assert!(wait_until(PATIENCE, || printed() == n + 2), "{}", place.said());
            since.elapsed()
        })
        .collect();
    took.sort();
    took[COUNT / 2]
}

#[test]
fn a_slow_program_slows_nobody_else() {
    let fast = "\"fast\": Print(from: [\"logs\"], to: \"fast.jsonl\"),";
    let place = Place::new();
    place.configure_with(fast);
    let daemon = place.start();
    let alone = latency(&place);
    daemon.stop();
    for (mode, script) in [
        (Mode::Batch, "exec sleep 1000"),
        (Mode::Batch, "sleep 0.1; exit 0"),
        (Mode::Acknowledged, "exec sleep 1000"),
        (Mode::Acknowledged, "while IFS= read -r line; do sleep 0.1; echo OK; done"),
    ] {
        let place = Place::new();
        place.program("feed", script);
        place.configure_with(&format!("{fast} {}", feed(mode, "")));
        let daemon = place.start();
        let beside = latency(&place);
        daemon.stop();
        let most = alone * 2 + Duration::from_millis(10);
        assert!(beside < most, "{mode:?}, {script}: {beside:?}, alone {alone:?}");
    }
}
