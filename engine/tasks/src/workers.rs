//! Threads on which actions are done.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tripline_act::{Hands, Stop};
use tripline_api::Bell;
use tripline_rules::evaluate::{Outcome, Start};

/// So many actions are done at the same time; more wait.
pub const WORKERS_MAX: usize = 16;

/// The threads, and what waits for one.
pub(crate) struct Workers {
    hands: Arc<Hands>,
    bell: Bell,
    stop: Stop,
    /// Dropped to end the threads.
    is_open: Option<Sender<()>>,
    is_closed: Receiver<()>,
    starts: (Sender<Start>, Receiver<Start>),
    outcomes: (Sender<Done>, Receiver<Done>),
    threads: Vec<JoinHandle<()>>,
    waiting: VecDeque<Start>,
    busy: usize,
}

/// An action that was done.
pub(crate) struct Done {
    pub(crate) task: (u64, usize),
    pub(crate) outcome: Outcome,
}

impl Workers {
    pub(crate) fn new(hands: Arc<Hands>, bell: Bell) -> Self {
        let (is_open, is_closed) = bounded(0);
        Self {
            hands,
            bell,
            stop: Stop::new(),
            is_open: Some(is_open),
            is_closed,
            starts: bounded(WORKERS_MAX),
            outcomes: bounded(WORKERS_MAX),
            threads: Vec::new(),
            waiting: VecDeque::new(),
            busy: 0,
        }
    }

    /// Has an action done, as soon as a thread is free.
    pub(crate) fn give(&mut self, start: Start) {
        self.waiting.push_back(start);
    }

    /// Hands out what waits, to as many threads as there may be.
    ///
    /// # Errors
    ///
    /// When the system gives no thread at all.
    pub(crate) fn hand_out(&mut self) -> io::Result<()> {
        while self.busy < WORKERS_MAX
            && let Some(start) = self.waiting.pop_front()
        {
            if self.busy == self.threads.len()
                && let Err(error) = self.hire()
                && self.threads.is_empty()
            {
                self.waiting.push_front(start);
                return Err(error);
            }
            match self.starts.0.try_send(start) {
                Ok(()) => self.busy += 1,
                Err(TrySendError::Full(start) | TrySendError::Disconnected(start)) => {
                    self.waiting.push_front(start);
                    break;
                }
            }
        }
        Ok(())
    }

    /// What was done since the last call.
    pub(crate) fn done(&mut self) -> Option<Done> {
        let done = self.outcomes.1.try_recv().ok()?;
        self.busy -= 1;
        Some(done)
    }

    /// Whether nothing is being done.
    pub(crate) const fn are_idle(&self) -> bool {
        self.busy == 0
    }

    fn hire(&mut self) -> io::Result<()> {
        let hands = Arc::clone(&self.hands);
        let (starts, outcomes) = (self.starts.1.clone(), self.outcomes.0.clone());
        let (is_closed, stop) = (self.is_closed.clone(), self.stop.clone());
        let bell = Arc::clone(&self.bell);
        let work = move || {
            loop {
                let start = crossbeam_channel::select_biased! {
                    recv(is_closed) -> _ => return,
                    recv(starts) -> start => start,
                };
                let Ok(start) = start else { return };
                // One that was ended early is done again after the next start.
                let Some(outcome) = hands.act(&start, &stop) else { return };
                // There is room for one of each thread.
                if outcomes.send(Done { task: start.task, outcome }).is_err() {
                    return;
                }
                bell();
            }
        };
        let name = format!("action {}", self.threads.len());
        self.threads.push(std::thread::Builder::new().name(name).spawn(work)?);
        Ok(())
    }
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
