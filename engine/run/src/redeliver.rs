//! Handing a dead letter over once more, for a person who asked.

use crate::flight::Flight;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::{
    Batch, Content, Cursor, Flushed, Letter, ListenError, Listener, LogFile, Mark, Span,
    View,
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
            Err(ListenError::Retry(_) | ListenError::Lost(_))
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
        Content::Entry(bytes) => listen(listener, letter, bytes)?,
    }
    if listener.flush()? == Flushed::All {
        return Ok(());
    }
    let mut flight = Flight::new();
    while !listener.is_flushed()? {
        if Instant::now() >= until {
            let why = "it was sent, and nobody said that it arrived".to_owned();
            return Err(ListenError::Retry(why));
        }
        std::thread::sleep(flight.pause());
    }
    Ok(())
}

fn listen(
    listener: &mut dyn Listener,
    letter: &Letter,
    bytes: &[u8],
) -> Result<(), ListenError> {
    let path: Option<&Arc<Path>> = letter.key.log.as_ref();
    let log = path.map(|path| LogFile { path, cut: None, is_preview: false, time: None });
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u32;
    // No entry is longer than what an offset in a batch can say.
    let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let spans = [Span { end, lines, incomplete: false }];
    let marks: Vec<_> = match log {
        None => Mark::of(0, bytes).into_iter().collect(),
        Some(_) => Vec::new(),
    };
    let behind = letter.place.advance(bytes.len() as u64, u64::from(lines));
    listener.listen(&View::all(Batch {
        source: &letter.key.source,
        log,
        start: letter.place,
        did_rotate: false,
        bytes: &bytes[..end as usize],
        spans: &spans,
        marks: &marks,
        end: &Cursor::unproved(behind),
    }))
}
