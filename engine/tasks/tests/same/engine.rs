//! The rules in an engine, over files that grow, and killed between any two commits.

use crate::alone::Alone;
use crate::pool::{BY_THREADS, Item, START, When, set, some_items, some_rules, written};
use crate::store::{Mortal, Shelf};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_act::{ActContext, Hands};
use tripline_api::{
    Agenda, Args, Batch, Begin, Bell, BuildContext, Built, Cursor, Gap, Kept,
    ListenError, Listener, ListenerId, Source, SourceId, View,
};
use tripline_rules::RuleSet;
use tripline_rules::evaluate::SKEW_MILLIS_MAX;
use tripline_run::{Engine, Event, Events, LaneSetup, Options};
use tripline_tasks::{Crew, Ran, Rules, Setup};

/// What is further ahead is not believed.
const SKEW: SignedDuration = SignedDuration::from_millis(SKEW_MILLIS_MAX);
/// So long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Rules that are told that a source is at its end when another brings something: all that
/// they read happened before, and nobody waits for what was not written yet.
struct Late(Rules, Vec<SourceId>);

impl Listener for Late {
    fn begin(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        self.0.begin(begin)
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let batch = entries.batch();
        if says_a_time(batch) {
            let others = self.1.iter().filter(|it| *it != batch.source);
            others.for_each(|other| self.0.at_end(other));
        }
        self.0.listen(entries)
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        self.0.gap(gap)
    }

    fn agenda(&mut self) -> Option<&mut dyn Agenda> {
        Some(self)
    }
}

/// Whether something in it says when it happened, and is believed.
fn says_a_time(batch: &Batch<'_>) -> bool {
    let newest = (Timestamp::now() + SKEW).as_second();
    let marks = batch.marks.iter().filter_map(|mark| mark.by).map(|it| it.time);
    let lines = batch.entries().filter_map(|it| it.time());
    let first = if batch.log.is_some() { lines.min() } else { marks.min() };
    first.is_some_and(|time| time <= newest)
}

impl Agenda for Late {
    fn remember(&mut self, kept: &mut Vec<Kept>, bell: Bell) -> Result<(), ListenError> {
        self.0.remember(kept, bell)
    }

    fn due(&self) -> Option<Instant> {
        self.0.due()
    }

    fn work(&mut self) -> Result<(), ListenError> {
        self.0.work()
    }

    fn at_end(&mut self, _: &SourceId) {}

    fn takes_more(&self) -> bool {
        self.0.takes_more()
    }

    fn has_to_keep(&self) -> bool {
        self.0.has_to_keep()
    }

    fn keep(&mut self, number: u64) -> Vec<Kept> {
        self.0.keep(number)
    }

    fn is_kept(&mut self, number: u64) {
        self.0.is_kept(number);
    }

    fn wind_down(&mut self) {
        self.0.wind_down();
    }

    fn is_at_rest(&self) -> bool {
        self.0.is_at_rest()
    }

    fn is_done(&self) -> bool {
        self.0.is_done()
    }
}

struct Silent;

impl Events for Silent {
    fn event(&self, _: &Event<'_>) {}
}

/// A directory with a log and a journal, and the engine that follows them.
struct Site {
    directory: tempfile::TempDir,
    set: Arc<RuleSet>,
    shelf: Shelf,
    engine: Option<(Engine, Mortal)>,
    /// Bytes that are there of the log and the journal, as far as they are whole.
    whole: [u64; 2],
    starts: usize,
    /// A source of which nothing comes would count as one that is behind.
    has_journal: bool,
}

impl Site {
    fn new(rules: &[&str], base: Timestamp, on_disk: bool, has_journal: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path().join("touched");
        fs::create_dir(&here).unwrap();
        for name in FILES {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let set = set(rules, base, here.to_str().unwrap());
        let shelf = match on_disk {
            true => Shelf::on_disk(&directory.path().join("state")),
            false => Shelf::in_memory(),
        };
        Self {
            directory,
            set,
            shelf,
            engine: None,
            whole: [0; 2],
            starts: 0,
            has_journal,
        }
    }

    fn sources(&self) -> Vec<Arc<dyn Source>> {
        let directory = self.directory.path();
        let source = |name, number: usize, args: &str| {
            let context = BuildContext { name, directory, state: directory };
            tripline_follow::ALL[number].build(&Args::new(args), &context).unwrap()
        };
        let mut sources =
            vec![source("log", 1, r#"(paths: ["log"], time: Iso, zone: "UTC")"#)];
        if self.has_journal {
            sources.push(source("p4", 0, r#"(path: "journal")"#));
        }
        sources
    }

    /// Starts, and dies at this commit.
    fn start(&mut self, dies_at: Option<u64>, takes_effect: bool) {
        let context = ActContext {
            listeners: &[],
            directory: self.directory.path().to_owned(),
            state: self.directory.path().join("state"),
        };
        let hands = Arc::new(Hands::new(&self.set, &context).unwrap());
        let tell = Arc::new(|_: &str| {});
        let crew = Arc::new(Crew::new());
        let rules = Rules::new(Setup {
            set: Arc::clone(&self.set),
            hands,
            crew,
            tell,
            to_see_failed: String::new(),
        });
        let sources = self.sources();
        let ids = sources.iter().map(|source| source.id().clone()).collect();
        let from = sources.iter().map(|source| source.id().to_string()).collect();
        let built = Built {
            flush_after: Duration::ZERO,
            ..Built::new(Box::new(Late(rules, ids)), from, Duration::from_secs(60))
        };
        let store = Mortal::new(&self.shelf, dies_at, takes_effect);
        let setup = tripline_run::Setup {
            sources,
            listeners: vec![LaneSetup {
                id: ListenerId::new(Rules::NAME).unwrap(),
                built,
            }],
            store: Box::new(store.clone()),
            options: Options::default(),
            events: Arc::new(Silent),
        };
        self.engine = Some((Engine::start(setup).unwrap(), store));
        self.starts += 1;
    }

    fn write(&mut self, is_journal: bool, text: &str, is_whole: bool) {
        let number = usize::from(is_journal);
        let path = self.directory.path().join(FILES[number]);
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        if is_whole {
            self.whole[number] = file.metadata().unwrap().len();
        }
    }

    /// Whether all that is whole was listened to, and this is in the store.
    fn is_settled(&self) -> bool {
        let progress = self.shelf.progress();
        ["log", "p4"].iter().zip(self.whole).all(|(name, whole)| {
            let of = progress.iter().filter(|it| it.key.source.as_str() == *name);
            let settled =
                of.filter_map(|it| it.cursor.as_ref()).map(|it| it.place.offset);
            whole == 0 || settled.max().is_some_and(|settled| settled >= whole)
        })
    }

    /// Waits until it is so, and starts again each time it dies before.
    #[track_caller]
    fn until(&mut self, deaths: &mut Deaths<'_>, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            if self.engine.as_ref().is_none_or(|(_, store)| store.is_dead()) {
                self.end();
                let (dies_at, takes_effect) = deaths.next().copied().unzip();
                self.start(dies_at, takes_effect.unwrap_or_default());
            }
            let left = self.shelf.kept();
            assert!(Instant::now() < deadline, "{:?} {left:#?}", self.whole);
            std::thread::park_timeout(Duration::from_micros(300));
        }
    }

    /// Nothing is under way any more.
    fn has_ended(&self) -> bool {
        self.is_settled()
            && !self.shelf.kept().keys().any(|name| name.starts_with("run/"))
    }

    fn end(&mut self) {
        if let Some((engine, store)) = self.engine.take() {
            store.die();
            let (outcome, _) = engine.stop();
            assert!(outcome.stopped.is_empty(), "{outcome:?}");
        }
    }
}

const FILES: [&str; 2] = ["log", "journal"];

type Deaths<'d> = std::slice::Iter<'d, (u64, bool)>;

/// All that an engine left behind.
struct Left {
    /// The id and the end of each task, but for how long it took.
    tasks: Vec<String>,
    /// The parts of the machine.
    parts: BTreeMap<String, serde_json::Value>,
}

fn of_kept(kept: BTreeMap<String, Vec<u8>>) -> Left {
    let mut left = Left { tasks: Vec::new(), parts: BTreeMap::new() };
    for (name, value) in kept {
        let row = Kept { name: name.clone(), value: Some(value.clone()) };
        if let Some(ran) = Ran::read(&row) {
            left.tasks
                .push(format!("{} {:?} {}", ran.id, ran.end.status, ran.end.reason));
        } else if is_compared(&name) {
            left.parts.insert(name, serde_json::from_slice(&value).unwrap());
        }
    }
    left.tasks.sort();
    left
}

fn of_alone(alone: &Alone) -> Left {
    let ended = alone.deeds.ended.iter();
    let task = |it: &tripline_rules::evaluate::Ended| {
        format!("{} {:?} {}", it.id, it.end.status, it.end.reason)
    };
    let mut tasks: Vec<String> = ended.map(task).collect();
    tasks.sort();
    let parts = alone.play.machine.parts().unwrap();
    let parts = parts.into_iter().filter(|part| is_compared(&part.name));
    let part = |it: tripline_rules::evaluate::Part| {
        (it.name, serde_json::from_slice(&it.bytes.unwrap()).unwrap())
    };
    Left { tasks, parts: parts.map(part).collect() }
}

fn is_compared(name: &str) -> bool {
    let of_threads =
        name.strip_prefix("rule/").is_some_and(|it| BY_THREADS.contains(&it));
    !of_threads && !name.starts_with("journal/")
}

/// Cuts the items into pieces, each from one source and not always at the end of a line:
/// what is written, and whether its end is that of a line.
fn pieces(items: &[(bool, String)], cuts: &[(u8, usize)]) -> Vec<(bool, String, bool)> {
    let mut pieces: Vec<(bool, String, bool)> = Vec::new();
    for (number, (is_journal, text)) in items.iter().enumerate() {
        let (kind, at) = cuts[number % cuts.len()];
        match pieces.last_mut() {
            Some(last) if kind == 0 && last.0 == *is_journal => {
                last.1 += text;
                last.2 = true;
            }
            // A torn line, or a torn transaction; and then its rest.
            _ if kind == 1 => {
                let at = at % text.len();
                pieces.push((*is_journal, text[..at].to_owned(), false));
                pieces.push((*is_journal, text[at..].to_owned(), true));
            }
            _ => pieces.push((*is_journal, text.clone(), true)),
        }
    }
    pieces
}

/// What is counted of which event, in any order: which program ends first is chance.
fn unordered(part: &serde_json::Value) -> serde_json::Value {
    let mut part = part.clone();
    if let Some(counts) = part.get_mut("counts").and_then(|it| it.as_array_mut()) {
        counts.sort_by_key(ToString::to_string);
    }
    part
}

fn play(
    rules: &[&'static str],
    mut items: Vec<Item>,
    cuts: &[(u8, usize)],
    deaths: &[(u64, bool)],
    on_disk: bool,
) -> Result<usize, TestCaseError> {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let base = now - SignedDuration::from_hours(12);
    // The first thing that has a time says when all began.
    items.insert(0, Item::Line(When::Later(0), START.to_owned()));
    let items = written(&items, base);
    let mut site = Site::new(rules, base, on_disk, items.iter().any(|it| it.0));
    let mut deaths = deaths.iter();
    for (is_journal, text, is_whole) in pieces(&items, cuts) {
        site.write(is_journal, &text, is_whole);
        if is_whole {
            site.until(&mut deaths, Site::is_settled);
        }
    }
    site.until(&mut deaths, Site::has_ended);
    site.end();
    let left = of_kept(site.shelf.kept());
    let mut alone = Alone::new(Arc::clone(&site.set), Timestamp::now());
    items.iter().for_each(|(is_journal, text)| alone.take(*is_journal, text));
    let wanted = of_alone(&alone);
    prop_assert_eq!(&left.tasks, &wanted.tasks);
    for (name, part) in &wanted.parts {
        // What was never touched is as it began, but for a key, which was not there.
        match left.parts.get(name) {
            Some(kept) => prop_assert_eq!(unordered(kept), unordered(part), "{}", name),
            None => prop_assert!(!name.starts_with("key/"), "{}", name),
        }
    }
    let unknown: Vec<_> =
        left.parts.keys().filter(|it| !wanted.parts.contains_key(*it)).collect();
    prop_assert!(unknown.is_empty(), "{:?}", unknown);
    Ok(site.starts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn in_an_engine_that_dies(
        rules in some_rules(),
        items in some_items(),
        cuts in prop::collection::vec((0..3_u8, any::<usize>()), 1..40),
        deaths in prop::collection::vec((1..8_u64, any::<bool>()), 0..6),
        on_disk in prop::bool::weighted(0.2),
    ) {
        play(&rules, items, &cuts, &deaths, on_disk)?;
    }
}

/// `TRIPLINE_SAME_ENGINES`, or a few.
fn cases() -> u32 {
    let given =
        std::env::var("TRIPLINE_SAME_ENGINES").ok().and_then(|it| it.parse().ok());
    given.unwrap_or(24)
}
