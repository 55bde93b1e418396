//! Handing a dead letter over once more, for a person who asked.

use crate::flight::Flight;
use std::time::{Duration, Instant};
use tripline_api::{
    Content, Culprit, Flushed, Letter, ListenError, Listener, Rejected, View,
};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// Hands the letter to a listener that was built for this and follows nothing,
/// and waits until it is settled.
///
/// # Errors
///
/// As for [`Listener::listen`]; [`ListenError::Retry`] with the last reason when
/// it was not settled within `patience`.
pub fn redeliver(
    listener: &mut dyn Listener,
    letter: &Letter,
    patience: Duration,
) -> Result<(), ListenError> {
    let until = Instant::now() + patience;
    loop {
        match attempt(listener, letter, until) {
            Err(ListenError::Retry(_) | ListenError::Busy(_) | ListenError::Lost(_))
                if Instant::now() + PAUSE < until =>
            {
                std::thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

fn attempt(
    listener: &mut dyn Listener,
    letter: &Letter,
    until: Instant,
) -> Result<(), ListenError> {
    match &letter.content {
        Content::Made(made) => listener.deliver(made)?,
        Content::Entry(_) => letter
            .with_entry(|batch| listener.listen(&View::all(batch)))
            .unwrap_or(Ok(()))?,
    }
    if listener.flush()? != Flushed::All {
        let mut flight = Flight::new();
        while !listener.is_flushed()? {
            if Instant::now() >= until {
                let why = "it was sent, and nobody said that it arrived".to_owned();
                return Err(ListenError::Retry(why));
            }
            std::thread::sleep(flight.pause());
        }
    }
    // Some listeners settle what is refused, and say so besides.
    match listener.letters().into_iter().next() {
        None => Ok(()),
        Some(letter) => {
            let refused = Rejected { what: Culprit::All, why: letter.why };
            Err(ListenError::Rejected(refused))
        }
    }
}
