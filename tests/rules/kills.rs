//! The daemon is killed again and again while rules fire: each firing is there once, and
//! nothing is counted twice or not at all.

use super::place::{PATIENCE, Place, lines};
use crate::site::wait_until;
use std::collections::BTreeMap;

/// Lines of a run: `TRIPLINE_RULE_LINES`.
const LINES: u32 = 1500;
/// After so many lines it is killed.
const BETWEEN: u32 = 100;

const RULES: &str = r#"
    (name: "each", on: Lines(source: "app"), match: r"job (?P<n>\d+) done", overlap: Parallel(8),
     do: [Touch(id: "touch", dir: "HERE", file: "touched")]),
    (name: "tenth", on: Lines(source: "app"), match: r"job (?P<n>\d+) done",
     when: Count(of: 10, within: "1h"), overlap: Parallel(8),
     do: [Exec(id: "write", run: ["/usr/bin/tee", "-a", "HERE/tenths"], stdin: "{{ last.n }}\n", timeout: "20s")]),
    (name: "seventh", on: Task(rule: "each"), when: Count(of: 7, within: "1h"), overlap: Parallel(8),
     do: [Touch(id: "touch", dir: "HERE", file: "touched")]),
"#;

#[test]
fn each_firing_is_there_once() {
    let all = std::env::var("TRIPLINE_RULE_LINES").ok().and_then(|it| it.parse().ok());
    let all: u32 = all.unwrap_or(LINES);
    let place = Place::new("", RULES);
    let mut daemon = place.start();
    let mut kills = 0;
    for start in (0..all).step_by(BETWEEN as usize) {
        place.append(&lines(start..(start + BETWEEN).min(all)));
        // Not at the same moment each time: when a part of this was done.
        let part = 2 * start as usize + (start as usize * 7) % (BETWEEN as usize);
        assert!(
            wait_until(PATIENCE, || place.tasks().len() > part / 2),
            "{part}: {}\n{}",
            place.tasks().len(),
            place.said()
        );
        daemon.kill();
        kills += 1;
        daemon = place.start();
    }
    let wanted = (all + all / 10 + all / 7) as usize;
    place.wait_for_tasks(wanted);
    daemon.stop();
    let tasks = place.tasks();
    let mut ids: BTreeMap<&str, u32> = BTreeMap::new();
    for task in &tasks {
        *ids.entry(&task.id).or_default() += 1;
    }
    let twice: Vec<_> = ids.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let of = |rule: &str| tasks.iter().filter(|it| it.end.rule == rule).count();
    let counted = [of("each"), of("tenth"), of("seventh")];
    assert_eq!(counted, [all as usize, all as usize / 10, all as usize / 7]);
    // What was under way when it was killed was done again, and nothing else.
    let tenths = String::from_utf8(place.dir.read("tenths")).unwrap();
    let mut written: Vec<u32> = tenths.lines().map(|it| it.parse().unwrap()).collect();
    let count = written.len();
    written.sort_unstable();
    written.dedup();
    let expected: Vec<u32> = (0..all / 10).map(|tenth| tenth * 10 + 9).collect();
    assert_eq!(written, expected);
    assert!(count <= written.len() + kills * 8, "{count} writes for {}", written.len());
    println!("{kills} kills, {wanted} tasks, {} done twice", count - written.len());
}
