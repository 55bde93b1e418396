//! Whatever lines and journals hold, and whatever is read as the rules' own memory: no
//! panic, and what is no memory is said in words.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use jiff::{SignedDuration, Timestamp};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use tripline_api::{LineTime, Place, TimeFormat};
use tripline_rules::evaluate::{
    Behind, Executor, Gather, Lines, Machine, Outcome, Part, Play, Runs, Start,
};
use tripline_rules::{Known, RuleSet, SourceFile, load};

/// One of each kind.
const RULES: &str = r#"(
  calendars: {"c": [(from: "22:00", to: "07:00", zone: "Europe/Zurich")]},
  rules: [
    (name: "count", on: Lines(), match: r"(?P<k>\w+) %{FLOAT:n}", by: ["k"],
     when: Count(of: 3, within: "1m", distinct: "n"), limit: (times: 1, per: "1h"),
     do: [Emit(kind: "a", fields: {"t": "{{ k }} {{ first.n }} {{ events | length }}"})]),
    (name: "pair", on: Lines(), match: r"a(?P<k>\w?)", by: ["k"],
     when: Pair(until: (match: r"b(?P<k>\w?)"), within: "1m", fire: IfMissing),
     do: [Emit(kind: "a", fields: {"t": "{{ k }} {{ start.event.id }}"}),
          Exec(run: ["/bin/true", "--", "{{ k }}"], retry: (times: 2, backoff: "1s"))],
     on_failure: [Emit(kind: "f", fields: {"t": "{{ task.reason }}"})]),
    (name: "absent", on: Lines(whole: true), match: r"(?P<k>[ab])", by: ["k"],
     when: Absent(for: "1m", again: "1h", expect: [{"k": "z"}]),
     do: [Set(flag: "f", for: "1h")], on_return: [Clear(flag: "f")]),
    (name: "digest", on: Any([Lines(), Journal()]), when: Digest(every: "1m", keep: 2),
     quiet: (in: ["c"], then: Hold), do: [Emit(kind: "d", fields: {"t": "{{ count }}"})]),
    (name: "settle", on: Lines(), match: r"\d", settle: "2s", if: "flag('f') or true",
     do: [Exec(run: ["/bin/true"], timeout: "1s")], one_at_a_time: "g", overlap: Queue(2)),
    (name: "submit", on: Journal(table: "db.change"), if: "submit",
     do: [Emit(kind: "s", fields: {"t": "{{ submit.description }} {{ submit.files | length }}"})]),
    (name: "task", on: Task(), when: Count(of: 2, within: "1m"),
     do: [Emit(kind: "t", fields: {"t": "{{ last.task.reason }}"})]),
  ])"#;

static SET: LazyLock<Arc<RuleSet>> = LazyLock::new(|| set(RULES));

/// Of these some mean something else, and one is gone.
static OTHER: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    set(&RULES
        .replace("Count(of: 3", "Count(of: 4")
        .replace("Digest(every: \"1m\"", "Digest(every: \"2m\"")
        .replace("name: \"pair\"", "name: \"two\""))
});

fn set(text: &str) -> Arc<RuleSet> {
    let loaded = load(&[SourceFile::new("a.ron", text)], &Known::default());
    let said: Vec<_> = loaded.diagnostics.iter().map(|it| it.message.clone()).collect();
    Arc::new(loaded.set.unwrap_or_else(|| panic!("{said:#?}")))
}

/// Every third action fails, every third is under way for ever.
#[derive(Default)]
struct Fickle(u32);

impl Executor for Fickle {
    fn execute(&mut self, start: Start) -> Option<Outcome> {
        self.0 += 1;
        let (stdout, stderr) = (start.firing, String::new());
        match self.0 % 3 {
            0 => Some(Outcome::Done { stdout, stderr }),
            1 => Some(Outcome::Failed { exit: 75, reason: stdout, stderr }),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Lines(Vec<u8>),
    Records(Vec<u8>),
    /// Seconds later, or earlier.
    Pass(i64),
    /// So many seconds at most, whether in order; or not any more.
    Behind(Option<i64>, Option<bool>),
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "a",
        "b",
        "7",
        "oops 1.5",
        "-1e308 2.2250738585072014e-308",
        " ",
        "\n",
        "\r\n",
        "2026-01-05T12:00:00Z ",
        "0000-01-01T00:00:00Z ",
        "9999-12-31T23:59:59Z ",
        "2026-01-05 22:30:00 +0100 ",
        "Nov 20 21:00:00 host app[1]: ",
        "<13>",
        "\0",
        "\u{feff}",
    ];
    let piece = prop_oneof![
        6 => prop::sample::select(pieces.to_vec()).prop_map(|it| it.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn records() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "@pv@ 0 @db.desc@ 7 @Fix\nit@ \n",
        "@dv@ 0 @db.desc@ 7 @@ \n",
        "@rv@ 5 @db.change@ 7 7 @ws@ @ann@ 1767614400 1 @Fix@ @//d/*@ @@ @@ 0 0 \n",
        "@pv@ 9 @db.rev@ @//d/a@ 3 0 1 7 1767614400 1 00 12 0 0 @//d/a@ @1.7@ 0 \n",
        "@ex@ 1 1767614400\n",
        "@ex@ 1 -9223372036854775808\n",
        "@ex@ 1 9223372036854775807\n",
        "@mx@ 1 1\n",
        "@ex@ 2 0\n",
        "@nx@ 7 99 @58@ 0 0 0 0 0 @1666@ @/p4@ @@ @@ @@ \n",
        "@rv@ 5 @db.change@ 99999999999999999999 @x@ \n",
        "@",
        "@pv@ 0 @db.desc@ ",
    ];
    let piece = prop_oneof![
        9 => prop::sample::select(pieces.to_vec()).prop_map(|it| it.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let far = prop::sample::select(vec![i64::from(i32::MAX), 250_000_000_000, -5_000, 0]);
    let step = prop_oneof![
        5 => bytes().prop_map(Step::Lines),
        2 => records().prop_map(Step::Records),
        3 => (0..4000_i64).prop_map(Step::Pass),
        1 => far.prop_map(Step::Pass),
        1 => (option::of(0..9000_i64), option::of(any::<bool>()))
            .prop_map(|(until, is_in_order)| Step::Behind(until, is_in_order)),
    ];
    prop::collection::vec(step, 0..12)
}

struct Stage {
    play: Play,
    gather: Gather,
    with: Fickle,
    now: Timestamp,
    offset: u64,
}

impl Stage {
    fn new() -> Self {
        Self::with(&SET)
    }

    fn with(set: &Arc<RuleSet>) -> Self {
        let now = Timestamp::from_second(1_767_614_400).unwrap();
        let machine = Machine::new(Arc::clone(set), now);
        let play = Play::new(machine, Runs::new(Arc::clone(set)));
        Self { play, gather: Gather::default(), with: Fickle::default(), now, offset: 0 }
    }

    fn take(&mut self, step: &Step) {
        let (now, with) = (self.now, &mut self.with);
        let start = Place { offset: self.offset, ..Place::default() };
        match step {
            Step::Lines(bytes) => {
                for format in [TimeFormat::Iso, TimeFormat::Syslog] {
                    let time = LineTime::new(format, Some("Europe/Zurich")).unwrap();
                    let time = Some((&time, now.as_second()));
                    let lines = Lines { source: "log", start, bytes, spans: None, time };
                    self.play.lines(&lines, now, with);
                }
                self.offset += bytes.len() as u64;
            }
            Step::Records(bytes) => {
                for record in bytes.split_inclusive(|byte| *byte == b'\n') {
                    let place = start.advance(record.len() as u64, 1);
                    if let Some(transaction) = self.gather.push(record, place) {
                        self.play.transaction("p4", &transaction, now, with);
                    }
                }
                self.offset += bytes.len() as u64;
            }
            Step::Pass(seconds) => {
                let then = now.as_second().saturating_add(*seconds);
                self.now =
                    Timestamp::from_second(then.min(253_000_000_000)).unwrap_or(now);
                self.play.tick(self.now, with);
            }
            Step::Behind(until, is_in_order) => {
                let before =
                    |it| self.now.checked_sub(SignedDuration::from_secs(it)).ok();
                let until = until.and_then(before);
                let behind =
                    Behind { until, is_in_order: is_in_order.unwrap_or_default() };
                self.play.set_behind(is_in_order.map(|_| behind));
            }
        }
    }

    fn written(&mut self) -> (Vec<Part>, Vec<(u64, Vec<u8>)>) {
        let runs = self.play.runs.take_touched().unwrap();
        let runs = runs.into_iter().filter_map(|(number, run)| Some((number, run?)));
        (self.play.machine.parts().unwrap(), runs.collect())
    }
}

/// How many values there are in a value, itself too.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(size).sum(),
        Value::Object(map) => map.values().map(size).sum(),
        _ => 0,
    }
}

/// Puts another value in the place of the one with this number.
fn put(value: &mut Value, number: &mut usize, other: &Value) {
    if *number == 0 {
        *value = other.clone();
        *number = usize::MAX;
        return;
    }
    *number -= 1;
    let inner: Vec<&mut Value> = match value {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(map) => map.values_mut().collect(),
        _ => return,
    };
    for value in inner {
        if *number == usize::MAX {
            return;
        }
        put(value, number, other);
    }
}

fn other() -> impl Strategy<Value = Value> {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    prop_oneof![
        4 => prop::sample::select(vec![
            json!(i64::MAX), json!(i64::MIN), json!(u64::MAX), json!(-1), json!(0),
            json!(u32::MAX), json!(1e300), json!(500_000_000_000_000_i64),
            json!(-500_000_000_000_000_i64), json!(9_007_199_254_740_991_u64),
        ]),
        2 => prop::sample::select(vec![
            Value::Null, json!(true), json!(""), json!("x"), json!([]), json!({}), deep,
        ]),
    ]
}

/// What may be wrong with parts besides what they say.
#[derive(Clone, Debug)]
enum Wrong {
    /// It is there twice.
    Twice(prop::sample::Index),
    /// It is not there.
    Missing(prop::sample::Index),
    /// It has the name of another.
    Named(prop::sample::Index, prop::sample::Index),
    /// It is said of another rule, or of another part of one.
    Of(prop::sample::Index, &'static str, &'static str),
    /// It is called so.
    Called(prop::sample::Index, &'static str),
}

fn wrong() -> impl Strategy<Value = Wrong> {
    let index = any::<prop::sample::Index>;
    let words = vec!["count", "pair", "absent", "digest", "settle", "limit", "task", "x"];
    let word = move || prop::sample::select(words.clone());
    let names = vec!["key/", "key/[", "key/0", "key/[\"count\",\"count\",[]]", "rule/"];
    prop_oneof![
        index().prop_map(Wrong::Twice),
        index().prop_map(Wrong::Missing),
        (index(), index()).prop_map(|(one, other)| Wrong::Named(one, other)),
        (index(), word(), word()).prop_map(|(at, from, to)| Wrong::Of(at, from, to)),
        (index(), prop::sample::select(names))
            .prop_map(|(at, name)| Wrong::Called(at, name)),
    ]
}

impl Wrong {
    fn put(&self, parts: &mut Vec<Part>) {
        match self {
            _ if parts.is_empty() => {}
            Self::Twice(at) => parts.push(at.get(parts).clone()),
            Self::Missing(at) => drop(parts.remove(at.index(parts.len()))),
            Self::Named(one, other) => {
                let name = other.get(parts).name.clone();
                one.get_mut(parts).name = name;
            }
            Self::Of(at, from, to) => {
                let part = at.get_mut(parts);
                part.name = part.name.replacen(from, to, 1);
            }
            Self::Called(at, name) => at.get_mut(parts).name = (*name).to_owned(),
        }
    }
}

/// Other values in the places of some; sometimes other bytes.
fn spoil(bytes: &[u8], changes: &[(usize, Value)]) -> Vec<u8> {
    // What was spoiled before may be too deep to be read.
    let Ok(mut value) = serde_json::from_slice(bytes) else { return bytes.to_vec() };
    for (number, other) in changes {
        let mut number = number % size(&value);
        put(&mut value, &mut number, other);
    }
    serde_json::to_vec(&value).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_no_panic(steps in steps()) {
        let mut stage = Stage::new();
        steps.iter().for_each(|step| stage.take(step));
        let (parts, runs) = stage.written();
        let mut again = Stage::new();
        again.play.machine.restore(&parts).unwrap();
        let runs = runs.iter().map(|(number, run)| (*number, &run[..]));
        again.play.runs.restore(runs).unwrap();
        prop_assert_eq!(again.play.machine.parts().unwrap().len(), parts.len());
    }

    #[test]
    fn whatever_was_kept_no_panic(
        before in steps(),
        which in prop::collection::vec((any::<prop::sample::Index>(), any::<usize>(), other()), 0..6),
        wrong in prop::collection::vec(wrong(), 0..3),
        number in prop_oneof![9 => 0..40_u64, 1 => any::<u64>()],
        is_other in any::<bool>(),
        after in steps(),
    ) {
        let mut stage = Stage::new();
        before.iter().for_each(|step| stage.take(step));
        let now = stage.now;
        let (mut parts, mut runs) = stage.written();
        for (index, place, other) in which {
            let at = index.index(parts.len() + runs.len());
            let bytes = match parts.get_mut(at) {
                Some(part) => part.bytes.as_mut().unwrap(),
                None => {
                    let at = at - parts.len();
                    runs[at].0 = number;
                    &mut runs[at].1
                }
            };
            *bytes = spoil(bytes, &[(place, other)]);
        }
        wrong.iter().for_each(|it| it.put(&mut parts));
        let set = if is_other { &OTHER } else { &SET };
        let mut stage = Stage::with(set);
        stage.now = now;
        let mut names: BTreeSet<String> = BTreeSet::new();
        if let Err(error) = stage.play.machine.restore(&parts) {
            let said = error.to_string();
            prop_assert!(said.contains("cannot be read") && said.len() > 60, "{said}");
        } else {
            names.extend(parts.into_iter().map(|part| part.name));
        }
        let runs = runs.iter().map(|(number, run)| (*number, &run[..]));
        if let Err(error) = stage.play.runs.restore(runs) {
            prop_assert!(error.to_string().contains("cannot be read"), "{error}");
        }
        after.iter().for_each(|step| stage.take(step));
        // What is in the store then is what it remembers, and nothing else.
        let touched = stage.play.machine.take_touched().unwrap();
        let count = touched.len();
        let changed: BTreeSet<_> = touched.iter().map(|part| part.name.clone()).collect();
        prop_assert_eq!(changed.len(), count, "{:?}", touched);
        for part in touched {
            match part.bytes {
                Some(_) => _ = names.insert(part.name),
                None => prop_assert!(names.remove(&part.name), "{}", part.name),
            }
        }
        let (parts, _) = stage.written();
        let there: BTreeSet<_> = parts.into_iter().map(|part| part.name).collect();
        let unknown: Vec<_> = names.difference(&there).collect();
        prop_assert!(unknown.is_empty(), "{:?}", unknown);
        let unwritten: Vec<_> = there.difference(&names).collect();
        let is_key = unwritten.iter().any(|name| name.starts_with("key/"));
        prop_assert!(!is_key, "{:?}", unwritten);
    }

    #[test]
    fn any_bytes_are_no_memory(
        name in prop::sample::select(vec![
            "clock", "flags", "led", "rule/pair", "descriptions/p4", "x", "", "key/", "key/0",
            "key/[\"pair\",\"pair\",[\"a\"]]", "key/[\"gone\",\"pair\",[]]",
        ]),
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut stage = Stage::new();
        let part = Part { name: name.to_owned(), bytes: Some(bytes.clone()) };
        let before = stage.play.machine.parts().unwrap();
        if stage.play.machine.restore(&[part]).is_err() {
            prop_assert_eq!(stage.play.machine.parts().unwrap(), before, "nothing changed");
        }
        _ = stage.play.runs.restore([(0, &bytes[..])]);
        stage.take(&Step::Lines(b"a 1\n".to_vec()));
    }
}

/// `TRIPLINE_STATE_CASES`, or a few.
fn cases() -> u32 {
    let given = std::env::var("TRIPLINE_STATE_CASES").ok().and_then(|it| it.parse().ok());
    given.unwrap_or(96)
}
