//! The listener.

use crate::crew::{Crew, Held};
use crate::feed::Feed;
use crate::history::{History, event_of};
use crate::lag::Lags;
use crate::workers::{Act, Workers};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_act::Hands;
use tripline_api::{
    Agenda, Batch, Begin, Bell, Cursor, Gap, Kept, ListenError, Listener, SourceId, View,
};
use tripline_rules::RuleSet;
use tripline_rules::evaluate::{
    Ended, Event, Executor, Job, Machine, Note, Outcome, Part, Play, Runs, Start,
};

/// What a listener of rules is made of.
pub struct Setup {
    /// The rules.
    pub set: Arc<RuleSet>,
    /// Who does their actions.
    pub hands: Arc<Hands>,
    /// Where they find what is under way, and leave it when others take over.
    pub crew: Arc<Crew>,
    /// Who is told what people should know: troubles of the rules, tasks that failed.
    pub tell: Tell,
    /// The command that shows tasks that failed.
    pub to_see_failed: String,
}

/// Takes a sentence.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// The rules as a listener.
pub struct Rules {
    play: Play,
    feed: Feed,
    lags: Lags,
    deeds: Deeds,
    /// Actions whose start is being written, by the number it is written with.
    written: VecDeque<(u64, Vec<Start>)>,
    hands: Arc<Hands>,
    crew: Arc<Crew>,
    /// From the moment on that something was remembered.
    workers: Option<Workers>,
    /// No action is to start any more.
    is_winding_down: bool,
    /// What is remembered could not be written.
    broken: Option<String>,
}

/// What is to be done and to be written, as the rules bring it up.
struct Deeds {
    starts: Vec<Start>,
    history: History,
    tell: Tell,
    to_see_failed: String,
    now: Timestamp,
}

impl Rules {
    /// What they are called among the listeners.
    pub const NAME: &'static str = "rules";
    /// What the names of firings whose actions have not all ended begin with among what is
    /// kept.
    pub const UNDER_WAY_KEPT_UNDER: &'static str = RUN;
    /// The source of what happens to Tripline itself: a log with a [`Note`] as JSON in each
    /// line.
    pub const ENGINE: &'static str = "engine";
    /// What the ends of tasks are called as a source.
    pub const TASK: &'static str = "task";

    /// Knows nothing yet, and does nothing before it has
    /// [remembered](Agenda::remember).
    pub fn new(setup: Setup) -> Self {
        let now = Timestamp::now();
        let machine = Machine::new(Arc::clone(&setup.set), now);
        let mut play = Play::new(machine, Runs::new(setup.set));
        play.wait_for_more();
        let history = History::default();
        Self {
            feed: Feed::new(&play),
            play,
            lags: Lags::default(),
            deeds: Deeds {
                starts: Vec::new(),
                history,
                tell: setup.tell,
                to_see_failed: setup.to_see_failed,
                now,
            },
            written: VecDeque::new(),
            hands: setup.hands,
            crew: setup.crew,
            workers: None,
            is_winding_down: false,
            broken: None,
        }
    }

    /// It is this time now.
    fn now(&mut self) -> Timestamp {
        self.deeds.now = Timestamp::now();
        self.play.set_behind(self.lags.behind());
        self.deeds.now
    }

    /// What happened to Tripline itself.
    fn engine(&mut self, batch: &Batch<'_>, now: Timestamp) {
        if batch.log.is_some_and(|log| log.is_preview) {
            return;
        }
        for entry in batch.entries() {
            // What is torn or of another version is no event.
            if let Ok(note) = serde_json::from_slice::<Note>(entry.bytes) {
                let event = Event::engine(&note, &entry.id(), now);
                self.play.event(&event, now, &mut self.deeds);
            }
        }
    }

    /// Has actions done, by those who do some of them already if there are any.
    fn hire(&mut self, bell: Bell) {
        let Some(Held { hands, mut workers }) = self.crew.take() else {
            self.workers = Some(Workers::new(act(&self.hands), bell));
            return;
        };
        // Two of a listener at the same time would spoil its output.
        if hands.set_rules(self.play.machine.rules()).is_ok() {
            self.hands = hands;
        }
        workers.go_on(act(&self.hands), bell);
        self.workers = Some(workers);
    }

    /// Hands out what may start.
    fn hand_out(&mut self) -> Result<(), ListenError> {
        let Some(workers) = self.workers.as_mut().filter(|_| !self.is_winding_down)
        else {
            return Ok(());
        };
        workers
            .hand_out()
            .map_err(|error| ListenError::io("cannot start a thread for actions", &error))
    }
}

fn act(hands: &Arc<Hands>) -> Act {
    let hands = Arc::clone(hands);
    Arc::new(move |start, stop| hands.act(start, stop))
}

/// What is under way ends, unless others take over.
impl Drop for Rules {
    fn drop(&mut self) {
        if self.crew.is_to_stay()
            && let Some(workers) = self.workers.take()
        {
            self.crew.put(Held { hands: Arc::clone(&self.hands), workers });
        }
    }
}

impl Listener for Rules {
    fn begin(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        self.lags.begin(begin.source);
        let is_moved = begin.set_by_hand || begin.cursor.is_none();
        Ok(self.feed.begin(begin.source, is_moved))
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let batch = entries.batch();
        let now = Timestamp::now();
        self.deeds.now = now;
        self.play.set_behind(self.lags.see(batch, now));
        match batch.log {
            Some(_) if batch.source.as_str() == Self::ENGINE => self.engine(batch, now),
            Some(_) => Feed::lines(&mut self.play, batch, now, &mut self.deeds),
            None => self.feed.records(&mut self.play, batch, now, &mut self.deeds),
        }
        Ok(())
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        self.feed.gap(&gap.source);
        Ok(())
    }

    fn agenda(&mut self) -> Option<&mut dyn Agenda> {
        Some(self)
    }
}

impl Agenda for Rules {
    fn remember(&mut self, kept: &mut Vec<Kept>, bell: Bell) -> Result<(), ListenError> {
        let stop = |what: String| {
            ListenError::Stop(format!(
                "what the rules remember cannot be read ({what}): nothing was changed. Use \
                 the program that wrote it, or have them begin anew by deleting it: \
                 sqlite3 tripline.db \"DELETE FROM kept WHERE listener = '{}'\"",
                Self::NAME
            ))
        };
        let (mut parts, mut runs) = (Vec::new(), Vec::new());
        for kept in std::mem::take(kept) {
            if self.deeds.history.remember(&kept) {
                continue;
            }
            if let Some(read) = self.feed.remember(&kept) {
                read.map_err(stop)?;
                continue;
            }
            let number = kept.name.strip_prefix(RUN).map(str::parse);
            let bytes = kept.value;
            match number {
                Some(Ok(number)) => runs.push((number, bytes.unwrap_or_default())),
                Some(Err(_)) => return Err(stop(format!("{} is no run", kept.name))),
                None => parts.push(Part { name: kept.name, bytes }),
            }
        }
        let restored = self.play.machine.restore(&parts);
        let restored = restored.map_err(|error| stop(error.to_string()))?;
        // Whether a source is away is found out anew.
        self.play.machine.sources_are_there();
        let runs = runs.iter().map(|(number, bytes)| (*number, &bytes[..]));
        let dropped = self.play.runs.restore(runs);
        let dropped = dropped.map_err(|error| stop(error.to_string()))?;
        let lost = restored.lost + dropped;
        if lost > 0 {
            let gone = restored.gone.join(", ");
            (self.deeds.tell)(&format!(
                "{lost} firings waited of rules that are not there any more, and are dropped \
                 ({gone})"
            ));
        }
        // What was begun goes on.
        bell();
        self.hire(bell);
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        let due = self.play.due()?.duration_since(Timestamp::now());
        Some(Instant::now() + Duration::try_from(due).unwrap_or_default())
    }

    fn work(&mut self) -> Result<(), ListenError> {
        if let Some(what) = self.broken.take() {
            return Err(ListenError::Stop(what));
        }
        let now = self.now();
        while let Some(done) = self.workers.as_mut().and_then(Workers::done) {
            self.play.ended(done.task, done.outcome, now, &mut self.deeds);
        }
        self.play.tick(now, &mut self.deeds);
        self.hand_out()
    }

    fn at_end(&mut self, source: &SourceId) {
        self.lags.at_end(source);
        self.play.set_behind(self.lags.behind());
    }

    fn takes_more(&self) -> bool {
        // What is late comes first: it happened before what is in the files.
        !self.play.runs.is_full() && !self.play.is_late(Timestamp::now())
    }

    fn has_to_keep(&self) -> bool {
        self.play.machine.is_touched()
            || self.play.runs.is_touched()
            || self.feed.is_touched()
            || self.deeds.history.is_fresh()
    }

    fn keep(&mut self, number: u64) -> Vec<Kept> {
        let now = self.now();
        self.play.hand_on(now, &mut self.deeds);
        let mut kept = self.feed.take_touched();
        kept.append(&mut self.deeds.history.take_fresh());
        let parts = self.play.machine.take_touched();
        let runs = self.play.runs.take_touched();
        match (parts, runs) {
            (Ok(parts), Ok(runs)) => {
                let part = |it: Part| Kept { name: it.name, value: it.bytes };
                kept.extend(parts.into_iter().map(part));
                let run =
                    |(number, value)| Kept { name: format!("{RUN}{number}"), value };
                kept.extend(runs.into_iter().map(run));
            }
            (Err(error), _) | (_, Err(error)) => self.broken = Some(error.to_string()),
        }
        let starts = std::mem::take(&mut self.deeds.starts);
        if !starts.is_empty() {
            self.written.push_back((number, starts));
        }
        kept
    }

    fn is_kept(&mut self, number: u64) {
        while self.written.front().is_some_and(|(it, _)| *it <= number)
            && let Some((_, starts)) = self.written.pop_front()
        {
            if let Some(workers) = &mut self.workers {
                starts.into_iter().for_each(|start| workers.give(start));
            }
        }
    }

    fn is_done(&self) -> bool {
        self.play.runs.is_empty()
    }

    fn wind_down(&mut self) {
        self.is_winding_down = true;
    }

    fn is_at_rest(&self) -> bool {
        self.crew.is_to_stay() || self.workers.as_ref().is_none_or(Workers::are_idle)
    }
}

const RUN: &str = "run/";

impl Executor for Deeds {
    fn execute(&mut self, start: Start) -> Option<Outcome> {
        if let Job::Emit { .. } | Job::Set { .. } | Job::Clear { .. } = start.job {
            return Some(Outcome::Done { stdout: String::new(), stderr: String::new() });
        }
        self.starts.push(start);
        None
    }

    fn ended(&mut self, ended: &Ended) {
        self.history.add(ended, self.now.as_second());
        let end = &ended.end;
        if !end.reason.is_empty() {
            let event = event_of(&ended.id, &end.rule, &end.action);
            let attempts = match end.attempts {
                0 | 1 => "at the first attempt".to_owned(),
                attempts => format!("after {attempts} attempts"),
            };
            (self.tell)(&format!(
                "{} of rule {} failed {attempts} ({}), on {event}: {} (see `{}`)",
                end.action, end.rule, end.duration, end.reason, self.to_see_failed
            ));
        }
    }

    fn noted(&mut self, note: &Note) {
        (self.tell)(&note.message);
    }
}
