//! Threads on which actions are done.

use crate::turns::Turns;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tripline_act::Stop;
use tripline_api::Bell;
use tripline_rules::evaluate::{Outcome, Start};

/// So many actions are done at the same time; more wait.
pub const WORKERS_MAX: usize = 16;
/// So many of them may be of one rule: however slow they are, others have their turn.
pub const RULE_WORKERS_MAX: usize = WORKERS_MAX / 2;
/// With so many that nobody asks for, those that are done are forgotten.
const BEGUN_MAX: usize = 1000;

/// Does an action; `None` if it was ended early.
pub(crate) type Act = Arc<dyn Fn(&Start, &Stop) -> Option<Outcome> + Send + Sync>;

/// The threads, and what waits for one.
pub(crate) struct Workers {
    act: Act,
    bell: Arc<Mutex<Bell>>,
    stop: Stop,
    /// Dropped to end the threads.
    is_open: Option<Sender<()>>,
    is_closed: Receiver<()>,
    starts: (Sender<Given>, Receiver<Given>),
    outcomes: (Sender<Came>, Receiver<Came>),
    threads: Vec<JoinHandle<()>>,
    waiting: Turns,
    /// What is being done, and what was done and not asked for.
    begun: BTreeMap<Name, Begun>,
    /// Of these the outcome is there, and somebody wants it.
    ready: VecDeque<Name>,
}

/// Run, firing and action: the same after a restart.
type Name = (u64, String, String);

/// What came of an action.
type Came = (Name, Outcome);

struct Given {
    act: Act,
    start: Start,
}

struct Begun {
    rule: String,
    /// Whose it is; nobody's until those asked for it who took over.
    task: Option<(u64, usize)>,
    outcome: Option<Outcome>,
}

/// An action that was done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) task: (u64, usize),
    pub(crate) outcome: Outcome,
}

impl Workers {
    pub(crate) fn new(act: Act, bell: Bell) -> Self {
        let (is_open, is_closed) = bounded(0);
        Self {
            act,
            bell: Arc::new(Mutex::new(bell)),
            stop: Stop::new(),
            is_open: Some(is_open),
            is_closed,
            starts: bounded(WORKERS_MAX),
            outcomes: bounded(WORKERS_MAX),
            threads: Vec::new(),
            waiting: Turns::default(),
            begun: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Others take over. What is being done goes on, and is theirs as soon as they
    /// [give](Self::give) it; what waits is forgotten.
    pub(crate) fn go_on(&mut self, act: Act, bell: Bell) {
        *self.bell.lock().unwrap_or_else(PoisonError::into_inner) = bell;
        self.act = act;
        self.waiting.clear();
        self.ready.clear();
        if self.begun.len() > BEGUN_MAX {
            self.begun.retain(|_, begun| begun.outcome.is_none());
        }
        self.begun.values_mut().for_each(|begun| begun.task = None);
    }

    /// Has an action done, as soon as a thread is free, unless that is under way.
    pub(crate) fn give(&mut self, start: Start) {
        let name = name(&start);
        let Some(begun) = self.begun.get_mut(&name) else {
            return self.waiting.push(start);
        };
        begun.task = Some(start.task);
        if begun.outcome.is_some() {
            self.ready.push_back(name);
        }
    }

    /// Hands out what waits, to as many threads as there may be.
    ///
    /// # Errors
    ///
    /// When the system gives no thread at all.
    pub(crate) fn hand_out(&mut self) -> io::Result<()> {
        while self.busy() < WORKERS_MAX {
            let begun = &self.begun;
            let may = |rule: &str| {
                let is_of = |it: &&Begun| it.outcome.is_none() && it.rule == rule;
                begun.values().filter(is_of).count() < RULE_WORKERS_MAX
            };
            let Some(start) = self.waiting.next(may) else { break };
            if self.busy() >= self.threads.len()
                && let Err(error) = self.hire()
                && self.threads.is_empty()
            {
                self.waiting.push(start);
                return Err(error);
            }
            let (name, rule) = (name(&start), start.rule.clone());
            let begun = Begun { rule, task: Some(start.task), outcome: None };
            // There is room for all that may be under way.
            if self.starts.0.try_send(Given { act: Arc::clone(&self.act), start }).is_ok()
            {
                self.begun.insert(name, begun);
            }
        }
        Ok(())
    }

    /// What was done since the last call.
    pub(crate) fn done(&mut self) -> Option<Done> {
        while let Ok((name, outcome)) = self.outcomes.1.try_recv() {
            let Some(begun) = self.begun.get_mut(&name) else { continue };
            begun.outcome = Some(outcome);
            if begun.task.is_some() {
                self.ready.push_back(name);
            }
        }
        let begun = self.begun.remove(&self.ready.pop_front()?)?;
        Some(Done { task: begun.task?, outcome: begun.outcome? })
    }

    /// Whether nothing is being done.
    pub(crate) fn are_idle(&self) -> bool {
        self.busy() == 0
    }

    fn busy(&self) -> usize {
        self.begun.values().filter(|it| it.outcome.is_none()).count()
    }

    fn hire(&mut self) -> io::Result<()> {
        let (starts, outcomes) = (self.starts.1.clone(), self.outcomes.0.clone());
        let (is_closed, stop) = (self.is_closed.clone(), self.stop.clone());
        let bell = Arc::clone(&self.bell);
        let work = move || {
            loop {
                let given = crossbeam_channel::select_biased! {
                    recv(is_closed) -> _ => return,
                    recv(starts) -> given => given,
                };
                let Ok(Given { act, start }) = given else { return };
                // One that was ended early is done again after the next start.
                let acted = catch_unwind(AssertUnwindSafe(|| act(&start, &stop)));
                let Some(outcome) = acted.unwrap_or_else(|_| Some(panicked())) else {
                    return;
                };
                // There is room for one of each thread.
                if outcomes.send((name(&start), outcome)).is_err() {
                    return;
                }
                let bell =
                    Arc::clone(&bell.lock().unwrap_or_else(PoisonError::into_inner));
                bell();
            }
        };
        let name = format!("action {}", self.threads.len());
        self.threads.push(std::thread::Builder::new().name(name).spawn(work)?);
        Ok(())
    }
}

fn name(start: &Start) -> Name {
    (start.task.0, start.firing.clone(), start.action.clone())
}

fn panicked() -> Outcome {
    let reason = "it panicked; that is a mistake in Tripline: standard error says where";
    Outcome::Failed { exit: -1, reason: reason.to_owned(), stderr: String::new() }
}

/// Ends what is being done: it is done again after the next start.
impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.stop();
        drop(self.is_open.take());
        for thread in self.threads.drain(..) {
            // A thread that panicked has done no harm to others.
            _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
