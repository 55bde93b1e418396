use super::super::keyed::tests::Room;
use super::super::test_support::rules;
use super::super::{Clock, Event, Lines, Machine, Note, Output};
use super::*;
use crate::compiled::RuleSet;
use crate::model::EngineEvent;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use tripline_api::Place;

/// A machine, and the store of what it remembers.
struct Stage {
    machine: Machine,
    now: Timestamp,
    offset: u64,
    out: Vec<Output>,
    store: BTreeMap<String, Vec<u8>>,
}

impl Stage {
    fn new(set: &Arc<RuleSet>) -> Self {
        let now = Timestamp::from_second(1_767_614_400).unwrap();
        let machine = Machine::new(Arc::clone(set), now);
        Self { machine, now, offset: 0, out: Vec::new(), store: BTreeMap::new() }
    }

    fn line(&mut self, line: &str) {
        let start = Place { offset: self.offset, ..Place::default() };
        self.offset += line.len() as u64;
        let bytes = line.as_bytes();
        let lines = Lines { source: "log", start, bytes, spans: None, time: None };
        self.machine.lines(&lines, Clock::Now(self.now), &mut self.out);
    }

    fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.machine.tick(self.now, &mut self.out);
    }

    fn engine(&mut self, event: EngineEvent) {
        let (listener, rule, message) = Default::default();
        let note = Note { event, source: "log".to_owned(), listener, rule, message };
        let event = Event::engine(&note, &format!("engine/{}", self.offset), self.now);
        self.machine.event(&event, self.now, &mut self.out);
    }

    /// What there was to be written is in the store now.
    fn keep(&mut self) -> Vec<Part> {
        let parts = self.machine.take_touched().unwrap();
        for Part { name, bytes } in parts.clone() {
            match bytes {
                Some(bytes) => _ = self.store.insert(name, bytes),
                None => assert!(self.store.remove(&name).is_some(), "{name}"),
            }
        }
        parts
    }

    fn stored(&self) -> Vec<Part> {
        let part = |(name, bytes): (&String, &Vec<u8>)| Part {
            name: name.clone(),
            bytes: Some(bytes.clone()),
        };
        self.store.iter().map(part).collect()
    }

    /// Another begins with what is in the store.
    fn restart(&mut self, set: &Arc<RuleSet>) -> super::super::Restored {
        self.machine = Machine::new(Arc::clone(set), self.now);
        let parts = self.stored();
        self.machine.restore(&parts).unwrap()
    }

    /// Why it does not begin with these.
    fn refused(&mut self, parts: &[Part]) -> String {
        let before = self.machine.parts().unwrap();
        let error = self.machine.restore(parts).unwrap_err().to_string();
        assert_eq!(self.machine.parts().unwrap(), before, "nothing changed");
        error
    }

    fn names(&self) -> Vec<&str> {
        self.store.keys().map(String::as_str).collect()
    }
}

fn named<'p>(parts: &'p [Part], name: &str) -> &'p Part {
    parts.iter().find(|part| part.name == name).unwrap()
}

fn count(name: &str, of: u32) -> String {
    format!(
        r#"(name: "{name}", on: Lines(), match: r"^(?P<k>\S+) oops", by: ["k"],
            when: Count(of: {of}, within: "1h"), do: [Emit(kind: "x")]),"#
    )
}

fn set(of: &[String]) -> Arc<RuleSet> {
    rules(&format!("(rules: [{}])", of.concat()))
}

#[test]
fn what_is_written_is_what_was_touched() {
    let mut stage = Stage::new(&set(&[count("r", 9)]));
    for number in 0..10_000 {
        stage.line(&format!("10.0.{}.{} oops\n", number / 256, number % 256));
    }
    assert_eq!(stage.keep().len(), 2 + 10_000);
    stage.line("10.0.1.7 oops\n");
    stage.line("10.0.1.7 oops\n");
    assert!(stage.machine.is_touched());
    let parts = stage.keep();
    let names: Vec<_> = parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["clock", "rule/r", r#"key/["r","count",["10.0.1.7"]]"#]);
    let bytes: usize = parts.iter().flat_map(|part| &part.bytes).map(Vec::len).sum();
    assert!(bytes < 4_000, "{bytes}");
    assert!(!stage.machine.is_touched());
    assert_eq!(stage.keep().len(), 1, "the clock");
    // What is over is deleted with what is written next.
    stage.pass(7200);
    assert!(!stage.machine.is_touched());
    stage.line("x oops\n");
    assert_eq!(stage.keep().len(), 2 + 10_000 + 1);
    assert_eq!(stage.names(), ["clock", r#"key/["r","count",["x"]]"#, "rule/r"]);
}

#[test]
fn names_cannot_be_confused() {
    let key = |values: &[&str]| Key(values.iter().map(|it| (*it).to_owned()).collect());
    let long = "x".repeat(300);
    let of = [
        ("a", "count", key(&["b", "c"])),
        ("a", "count", key(&["b\",\"c"])),
        ("a", "count", key(&["b/c"])),
        ("a/count", "limit", key(&[])),
        ("a\",\"count", "limit", key(&[""])),
        ("a", "count", key(&[&long])),
        ("a", "limit", key(&[&long])),
        (&long, "limit", key(&["a\0\u{301}\n"])),
    ];
    let names: Vec<_> =
        of.iter().map(|(rule, what, key)| name_of(rule, what, key).unwrap()).collect();
    for (number, (name, is_hashed)) in names.iter().enumerate() {
        assert_eq!(names.iter().filter(|(it, _)| it == name).count(), 1, "{name}");
        assert_eq!(*is_hashed, number >= 5, "{name}");
        assert!(name.len() <= KEY.len() + NAME_BYTES_MAX);
    }
}

#[test]
fn long_names_are_read_again() {
    let set = set(&[count(&"r".repeat(60), 3)]);
    let mut stage = Stage::new(&set);
    let long = "k".repeat(250);
    let lines = [format!("{long} oops\n"), format!("{long}2 oops\n")];
    for line in &lines {
        stage.line(line);
        stage.line(line);
    }
    stage.keep();
    assert_eq!(stage.names().iter().filter(|name| name.len() == 4 + 64).count(), 2);
    assert_eq!(stage.restart(&set).kept.len(), 1);
    lines.iter().for_each(|line| stage.line(line));
    assert_eq!(stage.out.len(), 2);
    stage.keep();
    assert_eq!(stage.names().len(), 2, "both fired: {:?}", stage.names());
}

#[test]
fn what_means_something_else_is_forgotten() {
    let mut stage = Stage::new(&set(&[count("a", 9), count("b", 9), count("c", 9)]));
    ["x oops\n", "y oops\n"].iter().for_each(|line| stage.line(line));
    stage.keep();
    assert_eq!(stage.names().len(), 1 + 3 * 3);
    let other = set(&[count("a", 9), count("b", 2)]);
    let restored = stage.restart(&other);
    assert_eq!(
        (restored.kept, restored.anew, restored.gone),
        (vec!["a".into()], vec!["b".into()], vec!["c".into()])
    );
    assert!(stage.machine.is_touched());
    // A key that comes again at once is not lost with what is forgotten.
    stage.line("x oops\n");
    let parts = stage.keep();
    let gone: Vec<_> = parts.iter().filter(|part| part.bytes.is_none()).collect();
    let gone: Vec<_> = gone.iter().map(|part| part.name.as_str()).collect();
    let [y, cx, cy] = [("b", "y"), ("c", "x"), ("c", "y")]
        .map(|(rule, key)| format!(r#"key/["{rule}","count",["{key}"]]"#));
    assert_eq!(gone, [&*y, &*cx, &*cy, "rule/c"]);
    assert_eq!(stage.names().len(), 1 + 2 + 3);
    stage.line("x oops\n");
    assert_eq!(stage.out.len(), 1, "`b` counted both");
    stage.keep();
    let restored = stage.restart(&other);
    assert_eq!((restored.kept.len(), restored.gone.len()), (2, 0));
}

#[test]
fn what_is_of_no_rule_is_forgotten() {
    let set = set(&[count("a", 9)]);
    let mut stage = Stage::new(&set);
    stage.line("x oops\n");
    stage.keep();
    let (rule, key) = ("rule/a".to_owned(), r#"key/["a","count",["x"]]"#.to_owned());
    let other = key.replacen("\"a\"", "\"gone\"", 1);
    stage.store.insert(other.clone(), stage.store[&key].clone());
    assert_eq!(stage.restart(&set).kept.len(), 1);
    let parts = stage.keep();
    assert_eq!(named(&parts, &other).bytes, None);
    assert_eq!(stage.names(), ["clock", &key, &rule]);
    // One of a rule that there is was never without it.
    stage.store.remove(&rule);
    let parts = stage.stored();
    let said = stage.refused(&parts);
    assert!(said.contains("there is no part of the rule `a` itself"), "{said}");
}

#[test]
fn what_is_damaged_is_refused() {
    let set = set(&[count("a", 9)]);
    let mut stage = Stage::new(&set);
    let long = format!("{} oops\n", "k".repeat(250));
    ["x oops\n", "y oops\n", &long].iter().for_each(|line| stage.line(line));
    stage.keep();
    let parts = stage.stored();
    let place = |is_it: fn(&str) -> bool| parts.iter().position(|it| is_it(&it.name));
    let hashed = place(|name| name.len() == KEY.len() + 64).unwrap();
    let x = place(|name| name.contains("\"x\"")).unwrap();
    let y = place(|name| name.contains("\"y\"")).unwrap();
    let bytes = |number: usize| String::from_utf8(parts[number].bytes.clone().unwrap());
    let with = |number: usize, name: &str, bytes: String| {
        let mut parts = parts.clone();
        parts[number] = Part { name: name.to_owned(), bytes: Some(bytes.into_bytes()) };
        parts
    };
    let of_x = bytes(x).unwrap();
    let mut twice = parts.clone();
    twice.push(parts[x].clone());
    let name = &*parts[x].name;
    for (parts, said) in [
        (twice, "is there twice"),
        (with(x, &parts[y].name, of_x.clone()), "is there twice"),
        (with(x, r#"key/["a","pair",["x"]]"#, of_x.clone()), "keeps no `pair` by key"),
        (with(x, r#"key/["a", "count",["x"]]"#, of_x.clone()), "it is of another key"),
        (with(x, r#"key/["a","count",["x"]"#, of_x.clone()), "EOF"),
        (with(x, "key/", of_x.clone()), "missing field `of`"),
        (
            with(
                x,
                &parts[hashed].name.replacen("key/", "key/0", 1),
                bytes(hashed).unwrap(),
            ),
            "is of another key",
        ),
        (with(y, &parts[y].name, of_x.clone()), "used twice at a time"),
        (with(x, name, of_x.replace("\"used\":0", "\"used\":-1")), "invalid value"),
        (
            with(x, name, of_x.replace("\"used\":0", "\"used\":9007199254740993")),
            "more than ever",
        ),
        (with(x, name, of_x.replace("\"due\":", "\"due\":999")), "is no time"),
        (with(x, name, of_x.replace("\"time\":", "\"time\":999")), "is no time"),
        (with(x, name, of_x.replace("\"value\"", "\"v\"")), "missing field `value`"),
    ] {
        let mut stage = Stage::new(&set);
        let refused = stage.refused(&parts);
        assert!(refused.contains(said), "{refused} {said}");
    }
    // As it was written when a rule was one part.
    let old = br#"{"fingerprint":"","state":{"when":{"Count":{"windows":[]}},"settle":
        {"open":[]},"limit":{"keys":[]},"held":[],"held_until":null,"failed_at":null,
        "evicted_at":null,"counts":{"matched":0,"fired":0,"suppressed":0,"held":0,
        "dropped":0,"failed":0,"evicted":0}}}"#;
    let refused =
        stage.refused(&[Part { name: "rule/a".into(), bytes: Some(old.into()) }]);
    assert!(
        refused.contains("cannot be read: rule/a: invalid type: sequence"),
        "{refused}"
    );
}

/// One of each kind.
static SET: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    rules(
        r#"(rules: [
    (name: "count", on: Lines(), match: r"(?P<k>\w) (?P<n>\d)", by: ["k"],
     when: Count(of: 3, within: "20s", distinct: "n"), limit: (times: 1, per: "1m", by: ["n"]),
     do: [Emit(kind: "x")]),
    (name: "pair", on: Lines(), match: r"(?P<k>\w) [0-6]", by: ["k"],
     when: Pair(until: (match: r"(?P<k>\w) [78]"), within: "30s", fire: IfMissing),
     do: [Emit(kind: "x")]),
    (name: "absent", on: Lines(), match: r"(?P<k>\w) \d", by: ["k"],
     when: Absent(for: "30s", again: "2m"), do: [Emit(kind: "x")],
     on_return: [Emit(kind: "x")]),
    (name: "digest", on: Lines(), match: r"(?P<k>\w) \d", by: ["k"],
     when: Digest(every: "40s", keep: 2), do: [Emit(kind: "x")]),
    (name: "settle", on: Lines(), match: r"(?P<k>\w) \d", by: ["k"], settle: "5s",
     limit: (times: 2, per: "1m"), do: [Emit(kind: "x")]),
    ])"#,
    )
});

#[derive(Clone, Debug)]
enum Step {
    Line(char, u8),
    /// So many seconds; below none the clock was ahead.
    Pass(i64),
    Engine(bool),
    Keep,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (prop::char::range('a', 'h'), 0..9_u8).prop_map(|(k, n)| Step::Line(k, n)),
        4 => (0..15_i64).prop_map(Step::Pass),
        1 => prop::sample::select(vec![-3600, -30, 45, 700]).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Engine),
        3 => Just(Step::Keep),
        2 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..120)
}

/// What comes of it, and how many keys were forgotten.
fn play(steps: &[Step], restarts: bool) -> (Vec<Output>, u64) {
    let mut stage = Stage::new(&SET);
    for step in steps {
        match step {
            Step::Line(k, n) => stage.line(&format!("{k} {n}\n")),
            Step::Pass(seconds) => stage.pass(*seconds),
            Step::Engine(is_lost) => stage.engine(match is_lost {
                true => EngineEvent::SourceLost,
                false => EngineEvent::SourceBack,
            }),
            _ if !restarts => {}
            Step::Keep | Step::Restart => {
                stage.keep();
                for Part { name, bytes } in stage.machine.parts().unwrap() {
                    let kept = stage.store.get(&name);
                    // A part that was never touched is as it began.
                    if kept.is_some() || name.starts_with(KEY) {
                        assert_eq!(kept, bytes.as_ref(), "{name}");
                    }
                }
                assert!(stage.store.len() <= stage.machine.parts().unwrap().len());
                if matches!(step, Step::Restart) {
                    let restored = stage.restart(&SET);
                    assert!(restored.anew.is_empty() && restored.gone.is_empty());
                }
            }
        }
    }
    let evicted = stage.machine.counts().map(|it| it.evicted).sum();
    (stage.out, evicted)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn restarts_change_nothing_where_keys_do_not_fit(steps in steps(), room in 2..6_usize) {
        let _room = Room::of(room);
        let wanted = play(&steps, false);
        prop_assert_eq!(wanted, play(&steps, true));
    }

    #[test]
    fn each_name_is_of_one_key(
        rule in any::<String>(), what in any::<String>(),
        key in prop::collection::vec("\\PC{0,120}", 0..3),
    ) {
        let key = Key(key);
        let (name, is_hashed) = name_of(&rule, &what, &key).unwrap();
        prop_assert!(name.len() <= KEY.len() + NAME_BYTES_MAX);
        let of = is_hashed.then_some((&*rule, &*what, &key));
        let written = WrittenKey { of, used: 0, due: None, bytes: 0, value: &() };
        let bytes = serde_json::to_vec(&written).unwrap();
        let (read, part) = super::of(&name, &bytes).unwrap();
        prop_assert_eq!((read, part.what, part.key), (rule, what, key));
    }
}
