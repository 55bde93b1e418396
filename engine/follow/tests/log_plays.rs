//! A writer and a rotator that do everything that is done to logs, in steps as
//! small as the file system has, and a reader that looks between any of them.
//!
//! Every line has a number. The claims: lines are handed out in their order and
//! once; where one was not handed out there is a gap in its place; and where
//! nothing was cut or deleted there is no gap. Every play is a seed:
//! `TRIPLINE_LOG_PLAYS=100000` plays more of them, `TRIPLINE_LOG_PLAY=17` one,
//! and tells its steps.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "log_plays/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tripline_api::{Again, Args, BuildContext, Changed, Reader, Settled, Source, Step};
use tripline_follow::{Clock, log};
use world::{Random, World};

#[test]
fn every_play_hands_out_what_was_written_or_says_what_is_missing() {
    let number =
        |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("TRIPLINE_LOG_PLAY") {
        Play::new(seed, true).run();
        return;
    }
    let plays = number("TRIPLINE_LOG_PLAYS").unwrap_or(5000);
    // A play waits for the next time stamp much of its time.
    let threads =
        std::thread::available_parallelism().map_or(4, |it| 4 * it.get() as u64);
    let play = |first: u64| {
        let (mut gaps, mut lines, mut failed) = (0, 0, Vec::new());
        for seed in (first..=plays).step_by(threads as usize) {
            // A panic says what was wrong; one that failed does not end the others.
            match std::panic::catch_unwind(|| Play::new(seed, false).run()) {
                Ok((some_gaps, some_lines)) => {
                    gaps += some_gaps;
                    lines += some_lines;
                }
                Err(_) => failed.push(seed),
            }
        }
        (gaps, lines, failed)
    };
    let (mut gaps, mut lines, mut failed) = (0, 0, Vec::new());
    std::thread::scope(|scope| {
        let players: Vec<_> =
            (1..=threads).map(|first| scope.spawn(move || play(first))).collect();
        for player in players {
            let (some_gaps, some_lines, some_failed) = player.join().unwrap();
            gaps += some_gaps;
            lines += some_lines;
            failed.extend(some_failed);
        }
    });
    println!("{lines} lines handed out, {gaps} gaps announced");
    assert!(failed.is_empty(), "{} plays failed: {failed:?}", failed.len());
}

/// What came out, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Out {
    Line(u64),
    /// Something is missing. Right behind it nothing was read by which to tell
    /// one file from another: one that was read before may come again.
    Gap,
    /// A line that was cut in two.
    Torn,
}

struct Play {
    seed: u64,
    is_told: bool,
    pattern: u64,
    random: Random,
    directory: tempfile::TempDir,
    world: World,
    clock: Clock,
    source: Arc<dyn Source>,
    reader: Option<Box<dyn Reader>>,
    /// What is settled, and what came out up to there.
    settled: Settled,
    settled_out: usize,
    /// What would be settled by now.
    at: Settled,
    out: Vec<Out>,
}

impl Play {
    fn new(seed: u64, is_told: bool) -> Self {
        let mut random = Random::new(seed);
        let directory = scratch(seed);
        let world = World::new(directory.path(), &mut random, is_told);
        let clock = Clock::by_hand();
        let context = BuildContext {
            name: "app",
            directory: directory.path(),
            state: directory.path(),
        };
        let pattern = random.below(3);
        let args = match pattern {
            0 => r#"(paths: ["app.log"], rotated: ["old"])"#,
            1 => r#"(paths: ["*.log"], rotated: ["old"])"#,
            _ => r#"(paths: ["**/app.log"], rotated: ["old"], exclude: ["old/*"])"#,
        };
        let source =
            log::FACTORY.build_with(clock.clone(), &Args::new(args), &context).unwrap();
        Self {
            seed,
            is_told,
            pattern,
            random,
            directory,
            world,
            clock,
            source,
            reader: None,
            settled: Settled::new(),
            settled_out: 0,
            at: Settled::new(),
            out: Vec::new(),
        }
    }

    fn run(mut self) -> (usize, usize) {
        // `*.log` matches `app.1.log` too, which would be a log like another if
        // it were there before `app.log`.
        if self.pattern == 1 {
            self.world.write(1, &mut self.random);
            self.read(1000);
            self.commit();
        }
        let steps = 20 + self.random.below(60);
        for _ in 0..steps {
            self.world.step(&mut self.random);
            match self.random.below(16) {
                0..5 => self.read(1),
                5..8 => self.read(4),
                8 => self.read(1000),
                9 => self.commit(),
                10 => self.stop(),
                11 => self.kill(),
                12 => {
                    self.tell("asleep");
                    self.clock.wind_on(Duration::from_secs(60));
                }
                _ => {}
            }
        }
        self.world.finish(&mut self.random);
        self.read(usize::MAX);
        // Another start finds nothing left to do.
        let before = self.out.len();
        self.stop();
        self.read(usize::MAX);
        assert_eq!(self.out.len(), before, "seed {}: more after a restart", self.seed);
        self.check();
        let gaps = self.out.iter().filter(|out| !matches!(out, Out::Line(_))).count();
        (gaps, self.out.len() - gaps)
    }

    fn check(&self) {
        let (mut expected, mut may_repeat) = (1, false);
        // What was deleted before anything was seen was never known.
        let mut is_gap = self.world.was_lossy;
        for out in &self.out {
            match out {
                Out::Torn => is_gap = true,
                Out::Gap => (is_gap, may_repeat) = (true, true),
                Out::Line(number) => {
                    assert!(
                        *number >= expected || may_repeat,
                        "seed {}: line {number} came again or late",
                        self.seed
                    );
                    may_repeat = false;
                    let mut missing = expected..*number;
                    assert!(
                        is_gap || missing.all(|line| self.was_never_seen(line)),
                        "seed {}: lines {expected} to {} are missing, and no gap says so; \
                         {:?}",
                        self.seed,
                        number - 1,
                        self.world.list()
                    );
                    expected = number + 1;
                    is_gap = false;
                }
            }
        }
        assert_eq!(
            expected,
            self.world.lines + 1,
            "seed {}: the last lines are missing; {:?}",
            self.seed,
            self.world.list()
        );
        if !self.world.was_lossy {
            let gap = self.out.iter().find(|out| !matches!(out, Out::Line(_)));
            assert_eq!(gap, None, "seed {}: nothing was lost", self.seed);
        }
    }

    /// Whether the line's file was deleted before anything of it was read: then
    /// nothing is left that could tell of it.
    fn was_never_seen(&self, line: u64) -> bool {
        let file = self.world.file_of[line as usize];
        let is_of_it = |out: &Out| matches!(out, Out::Line(it) if self.world.file_of[*it as usize] == file);
        self.world.deleted.contains(&file) && !self.out.iter().any(is_of_it)
    }

    /// At most so many steps with a result.
    fn read(&mut self, steps: usize) {
        self.tell(&format!("read {steps}"));
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.source.open(&self.settled),
        };
        match self.random.below(3) {
            0 if steps != usize::MAX => {
                reader.hint(Changed::Paths(vec![self.directory.path().join("app.log")]));
            }
            _ => reader.hint(Changed::Anything),
        }
        let mut results = 0;
        let before = self.out.len();
        for _ in 0..10_000 {
            if results >= steps {
                break;
            }
            let step =
                reader.next().unwrap_or_else(|e| panic!("seed {}: {e}", self.seed));
            results += 1;
            match step {
                Step::Batch(batch) => {
                    let path = batch.log.unwrap().path.clone();
                    if self.is_told {
                        println!("  of {}", path.file_name().unwrap().display());
                    }
                    let before = self.at.insert(Some(path), batch.end.clone());
                    assert!(
                        before.is_none_or(|it| it.place <= batch.start),
                        "seed {}: goes back",
                        self.seed
                    );
                    for entry in batch.entries() {
                        if entry.incomplete {
                            // Said: a line that was cut in two.
                            self.out.push(Out::Torn);
                        } else if let Some(number) = world::number_of(entry.text()) {
                            self.out.push(Out::Line(number));
                        } else {
                            let text = String::from_utf8_lossy(entry.text());
                            let is_fine = text == world::BANNER || self.world.was_cut;
                            assert!(is_fine, "seed {}: {text:?}", self.seed);
                        }
                    }
                }
                Step::Gap(gap) => {
                    let log = gap.log.clone();
                    let cursor = tripline_api::Cursor {
                        place: gap.to,
                        proof: gap.proof.clone(),
                        next: None,
                    };
                    self.at.insert(log, cursor);
                    self.out.push(Out::Gap);
                }
                Step::Begins(log, cursor) => _ = self.at.insert(log, cursor),
                Step::Gone(log) => _ = self.at.remove(&Some(log)),
                Step::Notice(_) => {}
                Step::Idle(idle) => match idle.again {
                    Again::Later => break,
                    Again::Now => results -= 1,
                    Again::Soon | Again::At(_) if steps < 1000 => break,
                    Again::Soon | Again::At(_) => {
                        results -= 1;
                        self.clock.wind_on(Duration::from_millis(40));
                    }
                },
            }
        }
        if self.is_told {
            println!("  new: {:?}", &self.out[before..]);
        }
        self.reader = Some(reader);
    }

    fn commit(&mut self) {
        self.tell("commit");
        self.settled.clone_from(&self.at);
        self.settled_out = self.out.len();
    }

    fn stop(&mut self) {
        self.commit();
        self.tell("stop");
        self.reader = None;
    }

    /// What was not settled comes again.
    fn kill(&mut self) {
        self.tell("kill");
        self.reader = None;
        self.at.clone_from(&self.settled);
        self.out.truncate(self.settled_out);
    }

    fn tell(&self, what: &str) {
        if self.is_told {
            println!("{what}");
        }
    }
}

/// In memory where that is possible; every eighth on the disk, whose file
/// systems give inode numbers out again at once.
fn scratch(seed: u64) -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if seed.is_multiple_of(8) || !memory.is_dir() {
        return tempfile::tempdir().unwrap();
    }
    tempfile::tempdir_in(memory).unwrap()
}

/// So that a map of what there is shows in a failed play.
type Listing = BTreeMap<String, u64>;
