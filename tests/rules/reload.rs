//! Another set of rules takes over while entries come: none is lost, none counts twice.

use super::place::{PATIENCE, Place, lines};
use crate::site::wait_until;
use rustix::process::Signal;

/// How often the rules are loaded anew.
const RELOADS: u32 = 100;
const LINES: u32 = 20;

fn rules(text: &str, broken: &str) -> String {
    format!(
        r#"(name: "tenth", on: Lines(source: "app"), match: r"job (?P<n>\d+) done",
            when: Count(of: 10, within: "1h"), overlap: Parallel(8),
            do: [Exec(id: "write", run: ["/usr/bin/tee", "-a", "HERE/tenths"], stdin: "{{{{ last.n }}}}{text}\n", timeout: "20s")]),
        (name: "refused", on: Engine(event: ReloadRefused), do: [Touch(dir: "HERE", file: "refused")]),
        {broken}"#
    )
}

#[test]
fn a_hundred_reloads_lose_and_double_nothing() {
    let place = Place::new("", &rules("", ""));
    let mut daemon = place.start();
    for number in 0..RELOADS {
        place.append(&lines(number * LINES..(number + 1) * LINES));
        if number == 0 {
            place.wait_for_tasks(1);
        }
        place.rules(&rules(&format!(" {number}"), ""));
        daemon.signal(Signal::HUP);
        assert!(daemon.is_running(), "{}", place.said());
    }
    let all = (RELOADS * LINES / 10) as usize;
    place.wait_for_tasks(all);
    daemon.stop();
    let text = String::from_utf8(place.dir.read("tenths")).unwrap();
    let mut written: Vec<u32> =
        text.lines().map(|it| it.split(' ').next().unwrap().parse().unwrap()).collect();
    written.sort_unstable();
    let expected: Vec<u32> = (0..RELOADS * LINES / 10).map(|it| it * 10 + 9).collect();
    assert_eq!(written, expected, "{}", place.said());
}

/// An action that takes as long as it likes is neither ended nor done again, and whoever
/// loads the rules anew does not wait for it.
#[test]
fn a_slow_action_goes_on_over_reloads() {
    let slow = r#"(name: "slow", on: Lines(source: "app"), match: r"job (?P<n>\d+) done",
            do: [EXTRA Exec(id: "wait", needs: [], run: ["/bin/sh", "-c", "echo begun >> HERE/begun; cat HERE/pipe >> HERE/ended"], timeout: "10m")])"#;
    let quick = r#"(name: "loaded", on: Engine(event: Reloaded), do: [Touch(id: "NAME", dir: "HERE", file: "NAME")])"#;
    let with = |extra: &str, name: &str| {
        format!("{},{}", slow.replace("EXTRA", extra), quick.replace("NAME", name))
    };
    let place = Place::new("", &with("", "zero"));
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.file("pipe"),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    let daemon = place.start();
    place.append(&lines(0..1));
    assert!(wait_until(PATIENCE, || place.file("begun").exists()), "{}", place.said());
    // Another action before it: it has another place among those of its firing.
    let first = r#"Touch(id: "mark", dir: "HERE", file: "marked"),"#;
    for (extra, name, tasks) in [("", "one", 1), (first, "two", 3), (first, "three", 4)] {
        place.rules(&with(extra, name));
        daemon.signal(Signal::HUP);
        // Before its end is kept, the next set would do it again.
        place.wait_for_tasks(tasks);
        assert!(place.file(name).exists(), "{}", place.said());
    }
    assert!(!place.file("ended").exists() || place.dir.read("ended").is_empty());
    std::fs::write(place.file("pipe"), "out\n").unwrap();
    place.wait_for_tasks(5);
    daemon.stop();
    assert_eq!(place.dir.read("begun"), b"begun\n");
    assert_eq!(place.dir.read("ended"), b"out\n");
    let mut ends = place.ends();
    ends.sort();
    let wanted = ["loaded.one", "loaded.three", "loaded.two", "slow.mark", "slow.wait"];
    assert_eq!(ends, wanted.map(|it| format!("{it} succeeded")), "{}", place.said());
}

#[test]
fn a_set_with_a_mistake_is_refused_and_the_old_one_goes_on() {
    let place = Place::new("", &rules("", ""));
    let daemon = place.start();
    place.append(&lines(0..10));
    place.wait_for_tasks(1);
    place.rules(&rules(" new", r#"(name: "tenth", on: Lines(), mach: r"x", do: [])"#));
    daemon.signal(Signal::HUP);
    assert!(wait_until(PATIENCE, || place.file("refused").exists()), "{}", place.said());
    place.append(&lines(10..20));
    place.wait_for_tasks(3);
    daemon.stop();
    assert_eq!(place.dir.read("tenths"), b"9\n19\n");
    let said = place.said();
    for words in ["did you mean `match`?", "the old configuration stays in force"] {
        assert!(said.contains(words), "{said}");
    }
}
