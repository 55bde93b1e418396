//! Entries as bodies of HTTP requests.
//!
//! An answer settles what was posted. It may take longer than a call may: then
//! the request goes on in its thread, and the call in which the same entries
//! come again finds the answer. `http/answer.rs` says what an answer means,
//! `http/agent.rs` gets it.

mod agent;
mod answer;
pub(crate) mod single;

use super::Settings;
use super::dial::Pace;
use super::format::Encoder;
use super::progress::Progress;
use super::target::Target;
use super::tls::Tls;
use agent::Agent;
pub(super) use agent::bearer;
use answer::Verdict;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tripline_api::{Culprit, Gap, ListenError, Listener, Rejected, View};

/// What a request has besides its body.
#[derive(Debug)]
pub(super) struct Options {
    /// Names and values, checked.
    pub(super) headers: BTreeMap<String, String>,
    /// The file with the bearer token.
    pub(super) token: Option<PathBuf>,
    /// Until the whole answer is there.
    pub(super) request_timeout: Duration,
    /// The longest body, but for one entry that is longer.
    pub(super) body_max: usize,
    pub(super) content_type: &'static str,
}

/// The listener.
pub(super) struct Http {
    settings: Settings,
    encoder: Encoder,
    agent: Arc<Agent>,
    target: Target,
    attempt: Option<Attempt>,
    /// When to ask again after a failure.
    pace: Pace,
    has_failed: bool,
    not_before: Option<Instant>,
    /// Why the last request failed.
    why: String,
    /// Becomes smaller when the receiver says so.
    body_max: usize,
    progress: Progress,
}

/// A request that is under way.
struct Attempt {
    key: String,
    verdict: mpsc::Receiver<Verdict>,
}

/// What a request came to.
enum Posted {
    Taken,
    /// The receiver will never take it, and says why.
    Refused(String),
    /// It is too long.
    TooLong(String),
}

impl Listener for Http {
    /// Takes all entries or, with [`ListenError::Retry`], some of them, and goes
    /// on behind these when the same come again. What was taken is settled.
    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let until = Instant::now() + self.settings.patience;
        let mut done = self.progress.take(entries);
        loop {
            let mut body = Vec::new();
            let mut rest = entries.entries().skip(done).peekable();
            let Some(first) = rest.peek().map(tripline_api::Entry::id) else {
                return Ok(());
            };
            let count = self.encoder.fill_up_to(&mut rest, &mut body, self.body_max);
            let last = entries.entries().nth(done + count - 1);
            let last = last.map_or_else(String::new, |entry| entry.id());
            let length = body.len();
            let posted = self.post(key(&first, &last, &body), body, until);
            match posted {
                Ok(Posted::Taken) => done += count,
                Ok(Posted::TooLong(_)) if count > 1 => {
                    self.body_max = (length / 2).max(1);
                }
                Ok(Posted::Refused(why) | Posted::TooLong(why)) => {
                    let what = match count {
                        1 => Culprit::Entry(done),
                        _ => Culprit::OneOf,
                    };
                    return Err(ListenError::Rejected(Rejected { what, why }));
                }
                Err(error) => {
                    self.progress.keep(entries, done);
                    return Err(error);
                }
            }
        }
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        let mut body = Vec::new();
        if !self.encoder.gap(gap, &mut body) {
            return Ok(());
        }
        let until = Instant::now() + self.settings.patience;
        let id = gap.id();
        // One that is refused is in the store and in the daemon's messages.
        self.post(key(&id, &id, &body), body, until).map(|_| ())
    }
}

impl Http {
    pub(super) fn new(
        to: Target,
        tls: Option<Tls>,
        encoder: Encoder,
        options: Options,
        settings: Settings,
    ) -> Self {
        let body_max = options.body_max;
        Self {
            settings,
            encoder,
            agent: Arc::new(Agent::new(&to, tls, options, settings.connect_timeout)),
            target: to,
            attempt: None,
            pace: Pace::new(settings.first_pause),
            has_failed: false,
            not_before: None,
            why: String::new(),
            body_max,
            progress: Progress::default(),
        }
    }

    /// Posts a body and waits for the answer, if it comes in time.
    fn post(
        &mut self,
        key: String,
        body: Vec<u8>,
        until: Instant,
    ) -> Result<Posted, ListenError> {
        let body = Arc::new(body);
        let mut attempt = match self.attempt.take() {
            Some(attempt) => attempt,
            None => self.begin(&key, &body)?,
        };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let verdict = match attempt.verdict.recv_timeout(left) {
                Ok(verdict) => verdict,
                Err(RecvTimeoutError::Timeout) => {
                    self.attempt = Some(attempt);
                    let target = &self.target;
                    let why = format!("waiting for the answer of {target}");
                    return Err(ListenError::Retry(why));
                }
                Err(RecvTimeoutError::Disconnected) => Verdict::Again {
                    why: format!("a request to {} died", self.target),
                    after: None,
                },
            };
            if attempt.key == key {
                return self.heed(verdict);
            }
            // What was asked before is not asked any more: other entries came.
            // They are the ones that count, and one request is under way at most.
            attempt = self.begin(&key, &body)?;
        }
    }

    /// What an answer changes.
    fn heed(&mut self, verdict: Verdict) -> Result<Posted, ListenError> {
        let Verdict::Again { why, after } = verdict else {
            self.has_failed = false;
            self.not_before = None;
            self.pace.confirmed(Instant::now());
            return Ok(match verdict {
                Verdict::Refused(why) => Posted::Refused(why),
                Verdict::TooLong(why) => Posted::TooLong(why),
                Verdict::Taken | Verdict::Again { .. } => Posted::Taken,
            });
        };
        Err(self.failed(why, after))
    }

    fn failed(&mut self, why: String, after: Option<Duration>) -> ListenError {
        let now = Instant::now();
        self.has_failed = true;
        self.pace.failed(now);
        self.not_before = after.map(|after| now + after);
        self.why.clone_from(&why);
        ListenError::Retry(why)
    }

    /// Begins a request in a thread of its own, unless the last one failed and
    /// it is too early for another.
    fn begin(&mut self, key: &str, body: &Arc<Vec<u8>>) -> Result<Attempt, ListenError> {
        let now = Instant::now();
        let is_early = self.not_before.is_some_and(|time| now < time)
            || (self.has_failed && !self.pace.begins(now));
        if is_early {
            return Err(ListenError::Retry(self.why.clone()));
        }
        let (sender, verdict) = mpsc::sync_channel(1);
        let (agent, body) = (Arc::clone(&self.agent), Arc::clone(body));
        let own_key = key.to_owned();
        // When the listener is gone there is nobody to tell.
        let post = move || _ = sender.send(agent.post(&own_key, &body));
        match thread::Builder::new().name("post".into()).spawn(post) {
            Ok(_) => Ok(Attempt { key: key.to_owned(), verdict }),
            Err(error) => {
                let target = &self.target;
                let why = format!("cannot post to {target}: no thread: {error}");
                Err(self.failed(why, None))
            }
        }
    }
}

/// The same when the same entries are posted again in the same way.
fn key(first: &str, last: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in [first.as_bytes(), b"\0", last.as_bytes(), b"\0", body] {
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
