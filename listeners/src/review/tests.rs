//! The whole listener, driven as a lane drives it, with a post that does as it
//! is told.

mod cases;
mod corpus;
mod durable;
mod model;

use super::mail::Mail;
use super::post::Post;
use super::*;
use crate::testing::{Feed, OwnedBatch};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tripline_api::{
    Begin, Culprit, Cursor, Flushed, Letter, ListenError, Listener, Rejected,
};

/// Takes mails, and answers as it was told to; otherwise it accepts.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// What was accepted, or was taken and not answered.
    taken: Vec<Mail>,
    answers: VecDeque<Answer>,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Accept,
    /// It is taken, and the answer is lost.
    Lose,
    Later,
    Refuse,
}

impl Desk {
    fn taken(&self) -> Vec<Mail> {
        self.0.lock().unwrap().taken.clone()
    }

    fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.0.lock().unwrap().answers.extend(answers);
    }
}

impl Post for Desk {
    fn post(&mut self, mail: &Mail) -> Result<(), ListenError> {
        let mut inner = self.0.lock().unwrap();
        let answer = inner.answers.pop_front().unwrap_or(Answer::Accept);
        if matches!(answer, Answer::Accept | Answer::Lose) {
            inner.taken.push(mail.clone());
        }
        match answer {
            Answer::Accept => Ok(()),
            Answer::Lose => Err(ListenError::Retry("the answer was lost".into())),
            Answer::Later => Err(ListenError::Retry("450 later".into())),
            Answer::Refuse => {
                let why = "550 no such user".to_owned();
                Err(ListenError::Rejected(Rejected { what: Culprit::All, why }))
            }
        }
    }
}

fn settings(directory: &Path) -> Settings {
    Settings {
        id: ListenerId::new("review").unwrap(),
        directory: directory.join("state"),
        checkpoint: None,
        style: Style { zone: TimeZone::UTC, link: None },
        waiting_max: Settings::WAITING_MAX,
        choice: Choice { own_changes: true, users: BTreeMap::new(), exclude: Vec::new() },
    }
}

/// What an engine knows of a listener.
#[derive(Default)]
struct Lane {
    settled: Option<Cursor>,
    set_by_hand: bool,
    letters: Vec<Letter>,
}

/// So often a listener may say that it is not ready yet.
const ATTEMPTS_MAX: usize = 1000;

impl Lane {
    /// Hands over at most so many batches, flushing behind some of them, and
    /// behind the last one there is.
    fn run(
        &mut self,
        review: &mut Review,
        feed: &Feed,
        bytes_max: usize,
        flush_every: usize,
        batches_max: usize,
    ) -> Result<(), ListenError> {
        let mut batches = self.begin(review, feed, bytes_max)?;
        let (mut handed, mut losses) = (0, 0);
        while handed < batches.len().min(batches_max) {
            match again(|| batches[handed].deliver(review)) {
                Err(ListenError::Lost(why)) => {
                    losses += 1;
                    assert!(losses < 10, "over and over: {why}");
                    batches = self.begin(review, feed, bytes_max)?;
                    handed = 0;
                    continue;
                }
                other => other?,
            }
            handed += 1;
            if handed.is_multiple_of(flush_every) || handed == batches.len() {
                let mut is_flushed = review.flush()? == Flushed::All;
                while !is_flushed {
                    is_flushed = review.is_flushed()?;
                }
                self.letters.extend(review.letters());
                self.settled = Some(batches[handed - 1].end().clone());
                self.set_by_hand = false;
            }
        }
        Ok(())
    }

    /// All there is, at once.
    fn run_all(&mut self, review: &mut Review, feed: &Feed) -> Result<(), ListenError> {
        self.run(review, feed, usize::MAX, usize::MAX, usize::MAX)
    }

    /// An engine remembers where it begins before it hands anything over.
    fn begin(
        &mut self,
        review: &mut Review,
        feed: &Feed,
        bytes_max: usize,
    ) -> Result<Vec<OwnedBatch>, ListenError> {
        let held = review.begin(&Begin {
            source: feed.source(),
            cursor: self.settled.as_ref(),
            set_by_hand: self.set_by_hand,
        })?;
        let own = self.settled.as_ref().map(|cursor| cursor.place);
        let held = held.map(|cursor| cursor.place);
        let from = match (own, held) {
            (Some(own), Some(held)) => Some(own.min(held)),
            (own, held) => own.or(held),
        };
        let batches = feed.batches(from, bytes_max);
        if let Some(first) = batches.first().filter(|_| self.settled.is_none()) {
            self.settled = Some(Cursor::unproved(first.view().start));
        }
        Ok(batches)
    }
}

/// Calls as a lane does, until it is ready.
fn again(mut call: impl FnMut() -> Result<(), ListenError>) -> Result<(), ListenError> {
    for _ in 0..ATTEMPTS_MAX {
        match call() {
            Err(ListenError::Retry(_)) => {}
            other => return other,
        }
    }
    call()
}

#[test]
fn arguments_that_cannot_be_used_are_refused() {
    let build = |more: &str| {
        let text = format!("(from: [\"p4\"], to: \"x\", {more})");
        let directory = Path::new("/nowhere");
        let context = BuildContext { name: "review", directory, state: directory };
        Factory.build(&Args::new(&text), &context).map(|_| ()).map_err(|e| e.message)
    };
    assert_eq!(build("users: {\"ann\": \"ann@localhost\"}, zone: \"UTC\""), Ok(()));
    for (bad, why) in [
        ("users: {\"ann\": \"ann\"}", "no address"),
        ("users: {\"ann\": \"ann@x.org\"}, exclude: [\"ann\"]", "leave one of them out"),
        ("link: \"swarm/{change}\"", "must begin with"),
        ("link: \"https://h/{changes}\"", "no placeholder"),
        ("zone: \"Mars/North\"", "no time zone"),
    ] {
        let error = build(bad).unwrap_err();
        assert!(error.contains(why), "{bad}: {error}");
    }
    let two = Args::new("(from: [\"p4\", \"p5\"], to: \"x\")");
    let directory = Path::new("/nowhere");
    let context = BuildContext { name: "review", directory, state: directory };
    let error = Factory.build(&two, &context).err().unwrap();
    assert!(error.message.contains("one source"), "{error}");
}
