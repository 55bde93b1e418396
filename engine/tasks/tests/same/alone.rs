//! The machine and its runs alone: line by line, in batches, and restored from what they
//! wrote.

use crate::pool::{Item, START, When, line_time, set, some_items, some_rules, written};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use tripline_api::Place;
use tripline_rules::RuleSet;
use tripline_rules::evaluate::{
    Behind, Ended, Executor, Firing, Gather, Lines, Machine, Note, Outcome, Part, Play,
    Runs, Start,
};

/// What came of it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Deeds {
    pub(crate) fired: Vec<Firing>,
    pub(crate) ended: Vec<Ended>,
    pub(crate) noted: Vec<Note>,
    starts: Vec<String>,
}

impl Executor for Deeds {
    fn execute(&mut self, start: Start) -> Option<Outcome> {
        self.starts.push(format!("{}/{} {:?}", start.firing, start.action, start.job));
        Some(Outcome::Done { stdout: String::new(), stderr: String::new() })
    }

    fn fired(&mut self, firing: &Firing) {
        self.fired.push(firing.clone());
    }

    fn ended(&mut self, ended: &Ended) {
        self.ended.push(ended.clone());
    }

    fn noted(&mut self, note: &Note) {
        self.noted.push(note.clone());
    }
}

/// A machine, and what it wrote so far.
pub(crate) struct Alone {
    set: Arc<RuleSet>,
    pub(crate) play: Play,
    gather: Gather,
    kept: BTreeMap<String, Part>,
    runs: BTreeMap<u64, Vec<u8>>,
    places: [u64; 2],
    now: Timestamp,
    pub(crate) deeds: Deeds,
}

impl Alone {
    /// What comes happened before `now`.
    pub(crate) fn new(set: Arc<RuleSet>, now: Timestamp) -> Self {
        let machine = Machine::new(Arc::clone(&set), now);
        let mut play = Play::new(machine, Runs::new(Arc::clone(&set)));
        play.set_behind(Some(behind(now)));
        let (gather, kept, runs) = Default::default();
        Self {
            set,
            play,
            gather,
            kept,
            runs,
            places: [0; 2],
            now,
            deeds: Deeds::default(),
        }
    }

    /// Lines or records in one piece.
    pub(crate) fn take(&mut self, is_journal: bool, text: &str) {
        let place = &mut self.places[usize::from(is_journal)];
        let start = Place { offset: *place, ..Place::default() };
        *place += text.len() as u64;
        let (bytes, time) = (text.as_bytes(), line_time());
        if !is_journal {
            let time = Some((&time, self.now.as_second()));
            let lines = Lines { source: "log", start, bytes, spans: None, time };
            return self.play.lines(&lines, self.now, &mut self.deeds);
        }
        let mut reader = p4journal::Reader::new(bytes);
        while let Some(entry) = reader.next().unwrap() {
            let place = start.advance(entry.offset, 0);
            if let Some(transaction) = self.gather.push(entry.bytes, place) {
                self.play.transaction("p4", &transaction, self.now, &mut self.deeds);
            }
        }
    }

    /// Ends, and begins anew with what it wrote: later, and only what it says changed.
    fn restart(&mut self, later: i64) {
        self.keep();
        self.now += SignedDuration::from_secs(later);
        let machine = Machine::new(Arc::clone(&self.set), self.now);
        self.play = Play::new(machine, Runs::new(Arc::clone(&self.set)));
        self.play.set_behind(Some(behind(self.now)));
        let parts: Vec<Part> = self.kept.values().cloned().collect();
        self.play.machine.restore(&parts).unwrap();
        let runs = self.runs.iter().map(|(number, bytes)| (*number, &bytes[..]));
        assert_eq!(self.play.runs.restore(runs).unwrap(), 0);
    }

    fn keep(&mut self) {
        if self.play.machine.is_touched() {
            let parts = self.play.machine.take_touched().unwrap();
            for part in parts {
                match part.bytes {
                    Some(_) => _ = self.kept.insert(part.name.clone(), part),
                    None => _ = self.kept.remove(&part.name),
                }
            }
        }
        for (number, bytes) in self.play.runs.take_touched().unwrap() {
            match bytes {
                Some(bytes) => _ = self.runs.insert(number, bytes),
                None => _ = self.runs.remove(&number),
            }
        }
    }

    /// Time goes on to now.
    pub(crate) fn catch_up(&mut self, now: Timestamp) {
        self.play.set_behind(None);
        self.play.tick(now, &mut self.deeds);
    }
}

/// Nobody but who brings something is behind.
fn behind(now: Timestamp) -> Behind {
    Behind { until: Some(now), is_in_order: true }
}

fn base() -> Timestamp {
    "2026-01-05T12:00:00Z".parse().unwrap()
}

fn now() -> Timestamp {
    base() + SignedDuration::from_hours(8)
}

fn later() -> Timestamp {
    now() + SignedDuration::from_hours(24)
}

/// Each item by itself, and in the end a day passes.
fn line_by_line(set: &Arc<RuleSet>, items: &[(bool, String)]) -> Deeds {
    let mut alone = Alone::new(Arc::clone(set), now());
    items.iter().for_each(|(is_journal, text)| alone.take(*is_journal, text));
    alone.catch_up(later());
    alone.deeds
}

/// The items between two cuts together, as far as they are of one source.
fn batches<'i>(
    items: &'i [(bool, String)],
    cuts: &'i [bool],
) -> impl Iterator<Item = (bool, String)> + 'i {
    let numbers: Vec<usize> = (0..items.len()).collect();
    let is_together = |one: &usize, _: &usize| !cuts[one % cuts.len()];
    let pieces: Vec<Vec<usize>> =
        numbers.chunk_by(is_together).map(<[_]>::to_vec).collect();
    let of_one_source = move |piece: Vec<usize>| {
        piece
            .chunk_by(|one, other| items[*one].0 == items[*other].0)
            .map(|of| {
                let text = of.iter().map(|number| items[*number].1.as_str()).collect();
                (items[of[0]].0, text)
            })
            .collect::<Vec<(bool, String)>>()
    };
    pieces.into_iter().flat_map(of_one_source)
}

#[track_caller]
fn same(one: &Deeds, other: &Deeds) -> Result<(), TestCaseError> {
    let said = |it: &Deeds| {
        it.fired
            .iter()
            .map(|it| {
                format!("{} {:?} {} {:?} {}", it.rule, it.what, it.id, it.key, it.at)
            })
            .collect::<Vec<_>>()
    };
    prop_assert_eq!(said(one), said(other));
    prop_assert_eq!(&one.ended, &other.ended);
    prop_assert_eq!(&one.starts, &other.starts);
    prop_assert_eq!(&one.noted, &other.noted);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cut_into_batches(
        rules in some_rules(),
        items in some_items(),
        cuts in prop::collection::vec(any::<bool>(), 1..90),
    ) {
        let set = set(&rules, base(), "/nowhere");
        let items = written(&items, base());
        let wanted = line_by_line(&set, &items);
        let mut alone = Alone::new(Arc::clone(&set), now());
        batches(&items, &cuts).for_each(|(is_journal, text)| alone.take(is_journal, &text));
        alone.catch_up(later());
        same(&wanted, &alone.deeds)?;
    }

    #[test]
    fn begun_anew_from_what_was_written(
        rules in some_rules(),
        mut items in some_items(),
        is_started in any::<bool>(),
        cuts in prop::collection::vec(any::<bool>(), 1..90),
        stops in prop::collection::vec((0..4_u8, 0..500_i64), 1..90),
    ) {
        let set = set(&rules, base(), "/nowhere");
        if is_started {
            items.insert(0, Item::Line(When::Later(0), START.to_owned()));
        }
        let items = written(&items, base());
        let wanted = line_by_line(&set, &items);
        let mut alone = Alone::new(Arc::clone(&set), now());
        for (number, (is_journal, text)) in batches(&items, &cuts).enumerate() {
            let (stop, seconds) = stops[number % stops.len()];
            // Before anything had a time, what comes has that of the beginning.
            let seconds = if is_started && number > 0 { seconds } else { 0 };
            match stop {
                0 => alone.restart(seconds),
                1 | 2 => alone.keep(),
                _ => {}
            }
            alone.take(is_journal, &text);
        }
        alone.restart(0);
        alone.catch_up(later());
        same(&wanted, &alone.deeds)?;
    }
}

/// One in ten of such numbers is another when it is read carelessly.
#[test]
fn numbers_stay_what_they_were() {
    let rule = r#"(name: "r", on: Lines(source: "log"), match: r"login %{FLOAT:n}",
        when: Count(of: 2, within: "1d"),
        do: [Emit(kind: "r", fields: {"t": "{{ first.n }}"})])"#;
    let set = set(&[rule], base(), "/nowhere");
    let number =
        |it: u64| format!("{}.{}", it % 99, it.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 5);
    let line = |it| (false, format!("2026-01-05T12:00:00Z login {}\n", number(it)));
    let items: Vec<_> = (0..400).map(line).collect();
    let wanted = line_by_line(&set, &items);
    let mut alone = Alone::new(set, now());
    for (is_journal, text) in &items {
        alone.take(*is_journal, text);
        alone.restart(0);
    }
    alone.catch_up(later());
    assert_eq!(wanted.fired.len(), 200);
    same(&wanted, &alone.deeds).unwrap();
}

/// Of keys that take more room than there is the same are forgotten.
#[test]
fn keys_that_do_not_fit_are_forgotten_alike() {
    let rule = r#"(name: "r", on: Lines(source: "log"), match: r"login (?P<user>\w+)", by: ["user"],
        when: Count(of: 2, within: "1d"), limit: (times: 1, per: "1d"),
        do: [Emit(kind: "r", fields: {"t": "{{ user }}"})])"#;
    let set = set(&[rule], base(), "/nowhere");
    let heavy = "x".repeat(1 << 20);
    // Each comes again: some soon enough, and some too late.
    let users = (0..90).chain([30, 29, 31, 1, 89]).chain(90..110).chain([40, 60, 95]);
    let line = |it| (false, format!("2026-01-05T12:00:00Z login u{it} {heavy}\n"));
    let items: Vec<_> = users.map(line).collect();
    let wanted = line_by_line(&set, &items);
    let mut alone = Alone::new(set, now());
    for (number, (is_journal, text)) in items.iter().enumerate() {
        alone.take(*is_journal, text);
        match number % 35 {
            34 => alone.restart(0),
            9 | 19 => alone.keep(),
            _ => {}
        }
    }
    alone.catch_up(later());
    let evicted = alone.play.machine.counts().map(|it| it.evicted).sum::<u64>();
    assert!(
        evicted > 20 && !wanted.fired.is_empty() && wanted.fired.len() < 8,
        "{evicted}"
    );
    same(&wanted, &alone.deeds).unwrap();
}

/// `TRIPLINE_SAME_CASES`, or a few.
fn cases() -> u32 {
    let given = std::env::var("TRIPLINE_SAME_CASES").ok().and_then(|it| it.parse().ok());
    given.unwrap_or(128)
}
