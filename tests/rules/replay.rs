//! The same rules over the same lines fire as often in a replay as in the daemon.

use super::place::Place;
use jiff::{Timestamp, ToSpan as _};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const RULES: &str = r#"
    (name: "each", on: Lines(source: "app", program: "web"), match: r"^slow %{IP:ip}",
        by: ["ip"], limit: (times: 2, per: "5m"), do: [Touch(dir: "HERE", file: "x")]),
    (name: "burst", on: Lines(source: "app"), match: [r"^slow %{IP:ip}", r"^gone %{IP:ip}"],
        when: Count(of: 3, within: "40s"), by: ["ip"], do: [Touch(dir: "HERE", file: "x")]),
    (name: "beat", on: Lines(source: "app"), match: r"^alive %{IP:ip}", by: ["ip"],
        when: Absent(for: "3m"), do: [Touch(dir: "HERE", file: "x")],
        on_return: [Touch(dir: "HERE", file: "x")]),
    (name: "pair", on: Lines(source: "app"), match: r"^gone %{IP:ip}", by: ["ip"],
        when: Pair(until: (match: r"^alive %{IP:ip}"), within: "1m", fire: IfMissing),
        do: [Touch(dir: "HERE", file: "x")]),
    (name: "digest", on: Lines(source: "app"), match: r"^slow",
        when: Digest(every: "2m"), do: [Touch(dir: "HERE", file: "x")]),
    (name: "settled", on: Lines(source: "app"), match: r"^gone", settle: "15s",
        do: [Touch(dir: "HERE", file: "x")])"#;

/// Numbers that look like chance, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

/// Lines of some hours that ended an hour ago.
fn lines(seed: u64) -> String {
    let mut chance = Chance(seed);
    let mut pauses: Vec<u64> = Vec::new();
    for _ in 0..150 {
        let bound = if chance.below(10) == 0 { 400 } else { 20 };
        pauses.push(chance.below(bound));
    }
    let all = pauses.iter().sum::<u64>().cast_signed();
    let mut at = Timestamp::now() - (3600 + all).seconds();
    let mut text = String::new();
    for pause in pauses {
        at += pause.cast_signed().seconds();
        let word = ["slow", "gone", "alive", "fine"][chance.below(4) as usize];
        let program = ["web", "db"][chance.below(2) as usize];
        let ip = chance.below(3);
        _ = writeln!(text, "{at:.0} www {program}[7]: {word} 192.0.2.{ip}");
    }
    text
}

#[test]
fn a_replay_fires_as_the_daemon_does() {
    let mut fired = 0;
    for seed in 0..8 {
        let place = Place::new(", time: Iso, zone: \"UTC\"", RULES);
        let text = lines(seed);
        place.append(&text);
        place.until_idle().exits(0);
        let mut done: BTreeMap<String, u64> = BTreeMap::new();
        for task in place.tasks() {
            *done.entry(task.end.rule).or_default() += 1;
        }
        let now = Timestamp::now().to_string();
        let words = ["replay", "tripline.ron", "--dry-run", "--json", "--until", &now];
        let ran = place.dir.run(words.iter().chain(&["logs/app.log"])).exits(0);
        let all = ran.json().remove(0);
        let rules = all["new"]["rules"].as_array().unwrap();
        let count = |rule: &serde_json::Value| {
            let name = rule["name"].as_str().unwrap().to_owned();
            (name, rule["fired"].as_u64().unwrap())
        };
        let replayed: BTreeMap<String, u64> =
            rules.iter().map(count).filter(|(_, count)| *count > 0).collect();
        assert_eq!(done, replayed, "seed {seed}\n{text}");
        assert_eq!(all["new"]["would"]["Touch"], done.values().sum::<u64>());
        fired += done.len();
    }
    assert!(fired >= 6 * 6, "every kind of rule fires: {fired}");
}
