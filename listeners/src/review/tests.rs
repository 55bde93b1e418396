//! The whole listener, driven as a lane drives it, with a post that does as it
//! is told.

mod cases;
mod corpus;
mod durable;
mod model;
mod server;

use super::mail::Mail;
use super::post::Post;
use super::*;
use crate::mail::transport::{Outcome, Report};
use crate::testing::{Feed, OwnedBatch};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tripline_api::{Begin, Cursor, Flushed, Letter, ListenError, Listener};

/// Takes mails, and answers as it was told to; otherwise it accepts.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// What was accepted, or was taken and not answered.
    taken: Vec<Mail>,
    answers: VecDeque<Answer>,
    /// Of the mail that was started last.
    report: Option<Report>,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Accept,
    /// It is taken, and the answer is lost.
    Lose,
    /// The server has other worries.
    Later,
    /// Only this one is not taken now.
    PutOff,
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

impl Desk {
    fn take(&self, mail: &Mail) -> Report {
        let mut inner = self.0.lock().unwrap();
        let answer = inner.answers.pop_front().unwrap_or(Answer::Accept);
        if matches!(answer, Answer::Accept | Answer::Lose) {
            inner.taken.push(mail.clone());
        }
        let said = |outcome| Report::Answered(vec![(mail.to.address.clone(), outcome)]);
        match answer {
            Answer::Accept => said(Outcome::Delivered),
            Answer::Lose => Report::Failed("the answer was lost".into()),
            Answer::Later => Report::Failed("421 later".into()),
            Answer::PutOff => said(Outcome::Later("450 mailbox busy".into())),
            Answer::Refuse => said(Outcome::Refused("550 no such user".into())),
        }
    }
}

impl Post for Desk {
    fn prepare(&self) -> Result<(), ListenError> {
        Ok(())
    }

    fn start(&mut self, mail: &Mail) -> Result<(), ListenError> {
        let report = self.take(mail);
        self.0.lock().unwrap().report = Some(report);
        Ok(())
    }

    fn report(&mut self, _: Duration) -> Option<Report> {
        self.0.lock().unwrap().report.take()
    }

    fn send(&self, mail: &Mail) -> Result<Report, ListenError> {
        Ok(self.take(mail))
    }
}

fn settings(directory: &Path) -> Settings {
    Settings {
        id: ListenerId::new("review").unwrap(),
        directory: directory.join("state"),
        checkpoint: None,
        style: Style { zone: TimeZone::UTC, link: None },
        waiting_max: Settings::WAITING_MAX,
        give_up: Duration::from_secs(3600),
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
        let text =
            format!("(from: [\"p4\"], sender: \"p4@x.org\", via: Sendmail(), {more})");
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
        ("give_up: \"0s\"", "`give_up`"),
        ("to: \"mails\"", "`to`"),
    ] {
        let error = build(bad).unwrap_err();
        assert!(error.contains(why), "{bad}: {error}");
    }
    let two =
        Args::new("(from: [\"p4\", \"p5\"], sender: \"p4@x.org\", via: Sendmail())");
    let directory = Path::new("/nowhere");
    let context = BuildContext { name: "review", directory, state: directory };
    let error = Factory.build(&two, &context).err().unwrap();
    assert!(error.message.contains("one source"), "{error}");
}
