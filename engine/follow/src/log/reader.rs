//! One reader for any number of logs: fair turns, and few open files.

use super::family::Folders;
use super::lines::{End, Lines};
use super::links::Targets;
use super::logs::Logs;
use super::paths::Patterns;
use super::settings::Settings;
use super::trail::{Context, Taken, Turn};
use crate::clock::Clock;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::{
    Again, Batch, Changed, Cursor, Gap, Idle, LogFile, Place, Reader, Settled,
    SourceError, Step,
};

/// How many turns without a result are taken before the caller is asked whether
/// there is something else to do.
const TURNS_MAX: usize = 64;
/// A reader that was not asked for this long cannot know what came and went.
const STANDSTILL: Duration = Duration::from_secs(3);
/// How many files with a line longer than the bound keep what they have of it.
const PARKED_MAX: usize = 4;
/// Folders are watched at the latest after this long.
const WATCH_WITHIN: Duration = Duration::from_secs(1);
/// How long a log rests after a first failure, and at most.
const FAILED_REST: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(30));
/// How long a log rests whose path names the file of another one.
const OWNED_REST: Duration = Duration::from_secs(1);
/// How many things that are in the way are told at a time.
const TOLD_MAX: usize = 3;

/// Reads all logs of a source, in turns.
pub(super) struct LogReader {
    settings: Arc<Settings>,
    logs: Logs,
    clock: Clock,
    folders: Folders,
    /// Logs that may have something, in the order of their turns.
    ready: VecDeque<usize>,
    /// Logs that look again at a time of their own.
    timers: BTreeSet<(Instant, usize)>,
    /// The same, but nobody needs to be woken for it.
    leisurely: BTreeSet<(Instant, usize)>,
    /// What is in the way, of logs that have something in their way.
    troubles: BTreeMap<usize, Trouble>,
    /// The framer for everything that is not compressed, and whose bytes are in
    /// it.
    lines: Lines,
    loaded: Option<usize>,
    /// The last turn read something into a framer.
    was_read: bool,
    parked: Vec<(usize, Lines)>,
    /// Logs whose file is open, the longest idle first.
    opened: VecDeque<usize>,
    opened_max: usize,
    standstills: u32,
    last_asked: Option<Instant>,
    began: Option<Instant>,
    /// The source was never begun with: what is there now is begun with as the
    /// configuration says, and what comes later from its start.
    is_first: bool,
    /// Logs that are not begun yet behind what was there. Until none is left, the
    /// source is not begun with: another start would have to begin it anew.
    to_pass: Option<BTreeSet<usize>>,
    /// Where logs stand that is worth remembering without an entry.
    begins: VecDeque<usize>,
}

#[derive(Debug)]
struct Trouble {
    what: String,
    failures: u32,
}

impl LogReader {
    pub(super) fn new(
        settings: Arc<Settings>,
        patterns: Patterns,
        rotated: Vec<PathBuf>,
        clock: Clock,
        opened_max: usize,
        targets: Targets,
        settled: &Settled,
    ) -> Self {
        let lines = Lines::new(settings.lines.clone());
        Self {
            logs: Logs::new(patterns, rotated.clone(), targets, settled),
            settings,
            clock,
            folders: Folders::new(rotated),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
            leisurely: BTreeSet::new(),
            troubles: BTreeMap::new(),
            lines,
            loaded: None,
            was_read: false,
            parked: Vec::new(),
            opened: VecDeque::new(),
            opened_max,
            standstills: 0,
            last_asked: None,
            began: None,
            is_first: !settled.contains_key(&None),
            to_pass: None,
            begins: VecDeque::new(),
        }
    }

    /// One thing to do, or nothing.
    fn work(&mut self, now: Instant) -> Work {
        if self.logs.scan(now) {
            self.oldest_first();
        }
        for index in self.logs.take_woken() {
            self.again(index);
        }
        self.begins.extend(self.logs.take_moved());
        if let Some(index) = self.begins.pop_front() {
            return Work::Begins(index);
        }
        if let Some(notice) = self.logs.take_notice() {
            return Work::Notice(notice);
        }
        if self.logs.is_first_scan() {
            // Nobody is served before all are known: the oldest come first.
            return Work::More;
        }
        if self.is_first && self.has_passed() {
            self.is_first = false;
            return Work::Begun;
        }
        self.take_due(now);
        let Some(index) = self.next_in_turn() else { return self.nothing(now) };
        self.logs.trail_mut(index).is_ready = false;
        match self.turn(index, now) {
            Ok(turn) => self.after(index, turn, now),
            Err(error) => {
                self.failed(index, &error, now);
                Work::More
            }
        }
    }

    /// Whether every log is begun that was there at the first start.
    fn has_passed(&mut self) -> bool {
        let logs = &self.logs;
        self.to_pass.get_or_insert_with(|| logs.to_pass(&self.settings.start)).is_empty()
    }

    /// The log whose turn it is: the one that was read last while all it has is
    /// the beginning of a line. Another would take the framer, and what was read
    /// would have to be read again, by each of them for ever.
    fn next_in_turn(&mut self) -> Option<usize> {
        let can_be_kept = self.lines.is_skipping() && self.parked.len() < PARKED_MAX;
        if let Some(loaded) = self.loaded.filter(|_| self.was_read && !can_be_kept) {
            let trail = self.logs.trail_mut(loaded);
            if trail.is_ready && !trail.took {
                let at = self.ready.iter().rposition(|index| *index == loaded)?;
                return self.ready.remove(at);
            }
        }
        self.ready.pop_front()
    }

    fn nothing(&self, now: Instant) -> Work {
        if self.logs.is_scanning(now) { Work::More } else { Work::Nothing }
    }

    fn oldest_first(&mut self) {
        let logs = &mut self.logs;
        self.ready
            .make_contiguous()
            .sort_by_key(|&index| logs.trail_mut(index).seen.modified);
    }

    fn turn(&mut self, index: usize, now: Instant) -> Result<Turn, SourceError> {
        let trail = self.logs.trail_mut(index);
        if trail.shares_lines() && self.loaded != Some(index) {
            self.swap_lines(index);
        }
        let mut is_loaded = self.loaded == Some(index);
        let (trail, others) = self.logs.trail_and_others(index);
        let shared = trail.shares_lines();
        let result = trail.turn(&mut Context {
            settings: &self.settings,
            folders: &mut self.folders,
            lines: &mut self.lines,
            is_loaded: &mut is_loaded,
            now,
            standstills: self.standstills,
            others,
        });
        if is_loaded {
            self.loaded = Some(index);
        } else if shared || self.loaded == Some(index) {
            self.loaded = None;
        }
        self.keep_few_open(index);
        result
    }

    fn after(&mut self, index: usize, turn: Turn, now: Instant) -> Work {
        self.was_read = matches!(turn, Turn::Take(_));
        self.note_passed(index, matches!(turn, Turn::Rest(_)));
        self.troubles.remove(&index);
        match turn {
            Turn::Take(end) => {
                self.again(index);
                Work::Take(index, end)
            }
            Turn::Gap(gap) => {
                self.again(index);
                Work::Gap(gap)
            }
            Turn::Begins => {
                self.again(index);
                Work::Begins(index)
            }
            Turn::Owned => {
                if self.logs.settle_owner(index) {
                    self.again(index);
                } else {
                    self.set_timer(index, now + OWNED_REST, true);
                }
                Work::More
            }
            Turn::Again => {
                self.again(index);
                Work::More
            }
            Turn::Rest(rest) => {
                if let Some(until) = rest.until {
                    self.set_timer(index, until.max(now), rest.is_leisurely);
                }
                if let Some(what) = rest.waiting_for {
                    self.troubles.insert(index, Trouble { what, failures: 0 });
                }
                Work::More
            }
        }
    }

    /// What is in trouble does not keep the others from being begun with.
    fn note_passed(&mut self, index: usize, rests: bool) {
        if let Some(to_pass) = &mut self.to_pass
            && (rests || !self.logs.trail_mut(index).passes_over())
        {
            to_pass.remove(&index);
        }
    }

    fn again(&mut self, index: usize) {
        let trail = self.logs.trail_mut(index);
        if !std::mem::replace(&mut trail.is_ready, true) {
            self.ready.push_back(index);
        }
    }

    fn failed(&mut self, index: usize, error: &SourceError, now: Instant) {
        let failures = self.troubles.get(&index).map_or(0, |it| it.failures) + 1;
        self.was_read = false;
        self.note_passed(index, true);
        let (first, most) = FAILED_REST;
        let rest = first.saturating_mul(1 << failures.min(16)).min(most);
        self.set_timer(index, now + rest, false);
        self.troubles.insert(index, Trouble { what: error.to_string(), failures });
    }

    /// Each log has one timer, the last that was set.
    fn set_timer(&mut self, index: usize, time: Instant, is_leisurely: bool) {
        let before = self.logs.trail_mut(index).timer.replace(time);
        if let Some(before) = before {
            self.timers.remove(&(before, index));
            self.leisurely.remove(&(before, index));
        }
        let timers = if is_leisurely { &mut self.leisurely } else { &mut self.timers };
        timers.insert((time, index));
    }

    fn take_due(&mut self, now: Instant) {
        let mut due = Vec::new();
        for timers in [&mut self.timers, &mut self.leisurely] {
            while timers.first().is_some_and(|(time, _)| *time <= now) {
                due.extend(timers.pop_first().map(|(_, index)| index));
            }
        }
        due.into_iter().for_each(|index| self.again(index));
    }

    /// Makes room in the shared framer for another log. What it has of a line
    /// longer than the bound is kept: to read it again would cost a good deal.
    fn swap_lines(&mut self, index: usize) {
        if let Some(loaded) = self.loaded.filter(|_| self.lines.has_more()) {
            self.logs.trail_mut(loaded).is_cut_short = true;
        }
        if let Some(at) = self.parked.iter().position(|(parked, _)| *parked == index) {
            let (_, lines) = self.parked.swap_remove(at);
            self.park(lines);
            self.loaded = Some(index);
        } else if self.lines.is_skipping() {
            self.park(Lines::new(self.settings.lines.clone()));
            self.loaded = None;
        }
    }

    fn park(&mut self, lines: Lines) {
        let old = std::mem::replace(&mut self.lines, lines);
        if let Some(index) = self.loaded.filter(|_| old.is_skipping()) {
            if self.parked.len() >= PARKED_MAX {
                self.parked.remove(0);
            }
            self.parked.push((index, old));
        }
    }

    fn keep_few_open(&mut self, index: usize) {
        let trail = self.logs.trail_mut(index);
        if !trail.is_open() || std::mem::replace(&mut trail.is_listed_open, true) {
            return;
        }
        self.opened.push_back(index);
        for _ in 0..self.opened.len() {
            if self.opened.len() <= self.opened_max {
                break;
            }
            let Some(oldest) = self.opened.pop_front() else { break };
            let trail = self.logs.trail_mut(oldest);
            if oldest != index && trail.close() {
                trail.is_listed_open = false;
            } else if oldest != index && trail.let_go() {
                trail.is_listed_open = false;
                self.begins.push_back(oldest);
            } else {
                self.opened.push_back(oldest);
            }
        }
    }

    fn batch(&mut self, index: usize, end: End) -> Option<Batch<'_>> {
        let Self { settings, logs, lines, .. } = self;
        let Taken { piece, path, end, did_rotate, modified } =
            logs.trail_mut(index).take(lines, end)?;
        let near = modified / 1_000_000_000;
        Some(Batch {
            source: &settings.id,
            log: Some(LogFile {
                path,
                cut: piece.cut,
                is_preview: piece.is_preview(),
                time: settings.time.as_ref().map(|time| (time, near)),
            }),
            start: piece.start,
            did_rotate,
            bytes: piece.bytes,
            spans: piece.spans,
            marks: &[],
            end,
        })
    }

    fn idle(&self) -> Idle {
        let timer = self.timers.first().map(|&(time, _)| time);
        let again = match timer.into_iter().chain(self.logs.scans_at()).min() {
            Some(time) => Again::At(time),
            None => Again::Later,
        };
        let mut told =
            self.logs.troubles().chain(self.troubles.values().map(|it| &it.what));
        let waiting_for: Vec<_> = told.by_ref().take(TOLD_MAX).cloned().collect();
        let more = told.count();
        let mut waiting_for = waiting_for.join("; ");
        if more > 0 {
            waiting_for += &format!("; and {more} more like these");
        }
        let is_trouble = !waiting_for.is_empty();
        Idle { waiting_for: is_trouble.then_some(waiting_for), is_trouble, again }
    }

    fn has_slept(&mut self, now: Instant) {
        let last = self.last_asked.replace(now);
        if last.is_some_and(|last| now.saturating_duration_since(last) > STANDSTILL) {
            self.standstills = self.standstills.wrapping_add(1);
        }
    }
}

/// What [`LogReader::work`] came to.
enum Work {
    Take(usize, End),
    Gap(Box<Gap>),
    Notice(String),
    /// Where this log stands is worth remembering.
    Begins(usize),
    /// The source as a whole was begun with.
    Begun,
    More,
    Nothing,
}

impl Reader for LogReader {
    fn next(&mut self) -> Result<Step<'_>, SourceError> {
        let now = self.clock.now();
        self.has_slept(now);
        for _ in 0..TURNS_MAX {
            match self.work(now) {
                Work::More => {}
                Work::Nothing => return Ok(Step::Idle(self.idle())),
                Work::Notice(what) => return Ok(Step::Notice(what)),
                Work::Gap(gap) => return Ok(Step::Gap(*gap)),
                Work::Begun => {
                    let nowhere = Cursor::unproved(Place::default());
                    return Ok(Step::Begins(None, nowhere));
                }
                Work::Begins(index) => {
                    let trail = self.logs.trail_mut(index);
                    if let Some(cursor) = trail.cursor.clone() {
                        return Ok(Step::Begins(Some(trail.path.clone()), cursor));
                    }
                }
                Work::Take(index, end) => {
                    // Without an entry: only part of a line was read.
                    return Ok(match self.batch(index, end) {
                        Some(batch) => Step::Batch(batch),
                        None => AT_WORK,
                    });
                }
            }
        }
        Ok(AT_WORK)
    }

    fn hint(&mut self, changed: Changed) {
        match changed {
            Changed::Anything => self.logs.rescan(),
            Changed::Paths(paths) => self.logs.changed(&paths),
        }
    }

    fn directories(&mut self) -> Option<Vec<PathBuf>> {
        // Events are for what is at rest: while everything is being read for
        // the first time, they would tell of our own opening.
        let began = *self.began.get_or_insert_with(|| self.clock.now());
        let is_at_work = (self.logs.is_first_scan() || !self.ready.is_empty())
            && self.clock.now() < began + WATCH_WITHIN;
        if is_at_work { None } else { self.logs.take_directories() }
    }
}

const AT_WORK: Step<'_> =
    Step::Idle(Idle { waiting_for: None, is_trouble: false, again: Again::Now });
