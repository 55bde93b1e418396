//! `Forward`, `Print`: actions that a listener of the registry does.
//!
//! A listener is built once for all actions with the same word and the same arguments, and
//! is handed the events one by one, each as an entry of a log of its own in the source
//! `rules`: so no order is expected of them, and an entry that comes again has the same id.
//! It may be asked for as long as the action's time lasts, as a lane would: it waits between
//! two attempts by itself.

use crate::{
    ActContext, Hands, Outcome, Problem, Stop, actions, done, failed, name as name_of,
};
use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tripline_api::{
    Args, Batch, Begin, Built, Cursor, Flushed, ListenError, Listener, LogFile, Place,
    Rejected, SourceId, Span, View, resolved,
};
use tripline_rules::RuleSet;
use tripline_rules::compiled::ActionKind;
use tripline_rules::evaluate::{Job, Start};

/// A listener is built anew after so many entries: it may remember something of each.
const USES_MAX: usize = 10_000;
/// Between two calls of one that is not done: at first, and at most.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What a listener is known by: its word and its arguments.
pub(crate) type Key = (&'static str, String);

/// The listeners, by what they are known by.
#[derive(Default)]
pub(crate) struct Seats {
    all: Mutex<BTreeMap<Key, Arc<Seat>>>,
    /// Those that only rules of before need, as long as somebody uses them.
    former: Mutex<BTreeMap<Key, Weak<Seat>>>,
}

/// A listener that one action uses at a time.
#[derive(Default)]
pub(crate) struct Seat {
    chair: Mutex<Chair>,
    freed: Condvar,
    /// The file that it alone writes to.
    writes: Option<PathBuf>,
}

#[derive(Default)]
struct Chair {
    is_taken: bool,
    listener: Option<Used>,
}

struct Used {
    listener: Box<dyn Listener>,
    uses: usize,
}

/// A seat that is taken, and is freed when this is dropped.
struct Taken<'a>(&'a Seat);

/// What trying to deliver came to.
enum Delivery {
    Done(String),
    Failed(String),
    /// Its time is over; why it was not done before.
    Late(String),
    Stopped,
}

impl Seats {
    /// The listeners that the rules need; those that are there are kept.
    pub(crate) fn plan(
        &self,
        set: &RuleSet,
        context: &ActContext,
        wrong: &mut Vec<Problem>,
    ) -> BTreeMap<Key, Arc<Seat>> {
        // Whoever delivers does not wait for this.
        let known = lock(&self.all).clone();
        let mut seats: BTreeMap<Key, Arc<Seat>> = BTreeMap::new();
        let mut written = HashSet::new();
        for rule in &set.rules {
            for action in actions(rule) {
                let ActionKind::Listener { listener, arguments } = &action.kind else {
                    continue;
                };
                let key = (*listener, arguments.clone());
                if seats.contains_key(&key) {
                    continue;
                }
                let former = || lock(&self.former).get(&key).and_then(Weak::upgrade);
                let seat = match known.get(&key).cloned().or_else(former) {
                    Some(seat) => Ok(seat),
                    None => Seat::new(listener, arguments, context),
                };
                let seat = seat.and_then(|seat| match &seat.writes {
                    Some(path) if !written.insert(resolved(path)) => Err(format!(
                        "{} is written to by another action that has other arguments: \
                         give both the same, or two files",
                        path.display()
                    )),
                    _ => Ok(seat),
                });
                match seat {
                    Ok(seat) => _ = seats.insert(key, seat),
                    Err(why) => wrong.push(Problem::error(set, rule, action, &why)),
                }
            }
        }
        seats
    }

    /// Those that are not needed any more go when nobody uses them.
    pub(crate) fn take_over(&self, seats: BTreeMap<Key, Arc<Seat>>) {
        let before = std::mem::replace(&mut *lock(&self.all), seats);
        let mut former = lock(&self.former);
        former.retain(|_, seat| seat.strong_count() > 0);
        former
            .extend(before.iter().map(|(key, seat)| (key.clone(), Arc::downgrade(seat))));
        drop(former);
        drop(before);
    }

    pub(crate) fn writes(&self) -> Vec<PathBuf> {
        lock(&self.all).values().filter_map(|seat| seat.writes.clone()).collect()
    }

    /// One of the rules of before may not be among those that were planned: it is built
    /// for as long as it is used.
    fn seat(
        &self,
        listener: &'static str,
        arguments: &str,
        context: &ActContext,
    ) -> Result<Arc<Seat>, String> {
        let key = (listener, arguments.to_owned());
        if let Some(seat) = lock(&self.all).get(&key) {
            return Ok(Arc::clone(seat));
        }
        let mut former = lock(&self.former);
        if let Some(seat) = former.get(&key).and_then(Weak::upgrade) {
            return Ok(seat);
        }
        let seat = Seat::new(listener, arguments, context)?;
        former.retain(|_, seat| seat.strong_count() > 0);
        former.insert(key, Arc::downgrade(&seat));
        Ok(seat)
    }
}

/// The file that an action writes to, by a listener or by making it; `None` for one that
/// writes to none, or to one that its event chooses.
pub(crate) fn written(kind: &ActionKind, context: &ActContext) -> Option<PathBuf> {
    match kind {
        ActionKind::Listener { listener, arguments } => {
            build(listener, arguments, context).ok()?.writes
        }
        ActionKind::Touch { dir, file } if file.is_literal() => {
            Some(context.directory.join(dir).join(&file.text))
        }
        _ => None,
    }
}

impl Seat {
    fn new(
        listener: &str,
        arguments: &str,
        context: &ActContext,
    ) -> Result<Arc<Self>, String> {
        let built = build(listener, arguments, context)?;
        let used = Used { listener: built.listener, uses: 0 };
        let chair = Chair { is_taken: false, listener: Some(used) };
        let writes = built.writes;
        Ok(Arc::new(Self { chair: Mutex::new(chair), freed: Condvar::new(), writes }))
    }

    /// Waits until nobody else uses it.
    fn take(&self, until: Instant, stop: &Stop) -> Option<Taken<'_>> {
        let mut chair = lock(&self.chair);
        while chair.is_taken {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || stop.is_stopped() {
                return None;
            }
            let waited = self.freed.wait_timeout(chair, left);
            chair = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        chair.is_taken = true;
        Some(Taken(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        lock(&self.0.chair).is_taken = false;
        self.0.freed.notify_all();
    }
}

/// A listener for lines, with nobody beside it.
fn build(word: &str, arguments: &str, context: &ActContext) -> Result<Built, String> {
    let known = context.listeners.iter().find(|factory| factory.name() == word);
    let factory = known.ok_or_else(|| format!("there is no listener `{word}`"))?;
    if arguments.contains("\"tripline://") {
        return Err(
            "another Tripline keeps journals and logs, and what an action hands on \
                    is neither: forward the source by the listener `Forward`"
                .to_owned(),
        );
    }
    let written = format!("(from: [\"{SOURCE}\"], {arguments})");
    let state = context.state.join(word);
    let mut wanted = context.build();
    wanted.state = &state;
    let built = factory
        .build(&Args::new(&written), &wanted)
        .map_err(|error| error.to_string())?;
    if built.only_journals || !built.beside.is_empty() || built.backup.is_some() {
        return Err(format!(
            "`{word}` with these arguments follows journals: an action hands a line to it"
        ));
    }
    Ok(built)
}

/// The source that the entries are of.
const SOURCE: &str = "rules";

impl Hands {
    pub(crate) fn listen(
        &self,
        start: &Start,
        until: Instant,
        stop: &Stop,
    ) -> Option<Outcome> {
        let Job::Listener { listener: word, arguments, lines } = &start.job else {
            return None;
        };
        let seat = match self.seats.seat(word, arguments, &self.context) {
            Ok(seat) => seat,
            Err(why) => return Some(failed(why)),
        };
        let waits = Arc::clone(&seat);
        let on_stop = stop.when_stopped(move || {
            // Whoever waits has looked before, or sees it now.
            drop(lock(&waits.chair));
            waits.freed.notify_all();
        });
        let Some(taken) = seat.take(until, stop) else {
            let stderr = "[tripline: others used the receiver all the time]\n".to_owned();
            return (!stop.is_stopped()).then_some(Outcome::TimedOut { stderr });
        };
        drop(on_stop);
        let used = lock(&seat.chair).listener.take();
        let used = used.filter(|used| used.uses < USES_MAX);
        let used = match used {
            Some(used) => Ok(used),
            None => build(word, arguments, &self.context)
                .map(|built| Used { listener: built.listener, uses: 0 }),
        };
        let mut used = match used {
            Ok(used) => used,
            Err(why) => return Some(failed(why)),
        };
        let attempt = || deliver(&mut used, start, lines, until, stop);
        // One that dies of an entry does not take the thread with it.
        let delivery = catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|_| {
            let why = format!("the listener {word} died of it, which is a mistake in it");
            Delivery::Failed(why)
        });
        if matches!(delivery, Delivery::Done(_)) {
            // Any other is in doubt, and may hold something of the entry.
            lock(&seat.chair).listener = Some(used);
        }
        drop(taken);
        match delivery {
            Delivery::Done(stderr) => Some(done(String::new(), stderr)),
            Delivery::Failed(why) => Some(failed(why)),
            Delivery::Late(why) => {
                Some(Outcome::TimedOut { stderr: format!("[tripline: {why}]\n") })
            }
            Delivery::Stopped => None,
        }
    }
}

/// Hands the lines to the listener until that has made them durable.
fn deliver(
    used: &mut Used,
    start: &Start,
    lines: &[String],
    until: Instant,
    stop: &Stop,
) -> Delivery {
    let Some(source) = SourceId::new(SOURCE) else {
        return Delivery::Failed(format!("`{SOURCE}` is no name of a source"));
    };
    let path: Arc<Path> = Path::new(&start.rule).join(&start.action).into();
    let (mut bytes, mut spans) = (Vec::new(), Vec::with_capacity(lines.len()));
    for line in lines {
        add_line(&mut bytes, line);
        let Ok(end) = u32::try_from(bytes.len()) else {
            return Delivery::Failed("the event is longer than 4 GiB".to_owned());
        };
        spans.push(Span { end, lines: 1, incomplete: false });
    }
    let era = Place::era_of_log(Path::new(&name_of(start)));
    let place = Place::start_of(era, 0);
    let end = place.advance(bytes.len() as u64, lines.len() as u64);
    let cursor = Cursor::unproved(end);
    let batch = Batch {
        source: &source,
        log: Some(LogFile { path: &path, cut: None, is_preview: false, time: None }),
        start: place,
        did_rotate: false,
        bytes: &bytes,
        spans: &spans,
        marks: &[],
        end: &cursor,
    };
    let handled: Vec<bool> =
        batch.entries().map(|entry| used.listener.is_handled(&entry)).collect();
    if !handled.contains(&true) {
        let note = format!("[tripline: {} chose not to take it]\n", start.word);
        return Delivery::Done(note);
    }
    let begin = Begin { source: &source, cursor: None, set_by_hand: false };
    let mut courier =
        Courier { used, begin, view: View::some(batch, &handled), stage: Stage::Listen };
    courier.see_through(until, stop)
}

/// With one line feed, at its end: otherwise it would be two lines to who reads it.
fn add_line(bytes: &mut Vec<u8>, line: &str) {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    bytes.extend(line.bytes().map(|byte| if is_end(&byte) { b' ' } else { byte }));
    bytes.push(b'\n');
}

/// One entry on its way, as a lane would bring it.
struct Courier<'a> {
    used: &'a mut Used,
    begin: Begin<'a>,
    view: View<'a>,
    stage: Stage,
}

/// What is to be called next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    Listen,
    Flush,
    IsFlushed,
    Done,
}

impl Courier<'_> {
    fn see_through(&mut self, until: Instant, stop: &Stop) -> Delivery {
        if self.used.uses == 0 {
            self.stage = Stage::Begin;
        }
        self.used.uses += 1;
        let mut pause = PAUSE_FIRST;
        loop {
            let why = match self.step() {
                Ok(()) if self.stage == Stage::Done => return self.arrived(),
                Ok(()) if self.stage != Stage::IsFlushed => continue,
                Ok(()) => "the receiver has not confirmed it".to_owned(),
                Err(ListenError::Rejected(Rejected { why, .. })) => {
                    return Delivery::Failed(why);
                }
                Err(ListenError::Stop(why)) => return Delivery::Failed(why),
                Err(ListenError::Lost(why)) => {
                    self.stage = Stage::Begin;
                    why
                }
                Err(ListenError::Retry(why)) => {
                    // After a flush that failed a lane begins again too.
                    if matches!(self.stage, Stage::Flush | Stage::IsFlushed) {
                        self.stage = Stage::Begin;
                    }
                    why
                }
                Err(ListenError::Busy(why)) => why,
            };
            let now = Instant::now();
            if now >= until {
                return Delivery::Late(why);
            }
            if stop.wait(until.min(now + pause)) {
                return Delivery::Stopped;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn step(&mut self) -> Result<(), ListenError> {
        let listener = &mut self.used.listener;
        self.stage = match self.stage {
            Stage::Begin => {
                listener.begin(&self.begin)?;
                Stage::Listen
            }
            Stage::Listen => {
                listener.listen(&self.view)?;
                Stage::Flush
            }
            Stage::Flush => match listener.flush()? {
                Flushed::All => Stage::Done,
                Flushed::Soon => Stage::IsFlushed,
            },
            Stage::IsFlushed if listener.is_flushed()? => Stage::Done,
            stage => stage,
        };
        Ok(())
    }

    /// It is durable, or was set aside.
    fn arrived(&mut self) -> Delivery {
        let letters = self.used.listener.letters();
        match letters.first() {
            None => Delivery::Done(String::new()),
            Some(letter) => Delivery::Failed(letter.why.clone()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one() {
        let mut bytes = Vec::new();
        add_line(&mut bytes, "a\r\nb\n");
        add_line(&mut bytes, "");
        assert_eq!(bytes, b"a  b \n\n");
    }
}
