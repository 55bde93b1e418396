//! Rules over events: what fires, when, and with what.
//!
//! A [`Machine`] takes events and the time and gives [`Output`]: it has no thread, no
//! clock and no file. The daemon, a replay and a test differ in nothing but who turns its
//! clock. An event is
//!
//! * a line of a log: [`Machine::lines`] takes a whole batch, and passes by the lines that
//!   no rule can want without looking at each (see `lines.rs`);
//! * a [`Transaction`] of a journal, which a [`Gather`] makes of records;
//! * an [`Event`]: a task ended, something happened to the engine, a rule emitted it.
//!
//! What comes out is a [`Firing`], with all that its actions need to know, or a [`Note`]
//! about the machine's own troubles. [`Runs`] says which action starts when. [`Play`] has
//! both, and does what follows from an event.
//!
//! # Time
//!
//! Windows (`Count`, the second event of a `Pair`, `limit`) go by the time that events
//! carry, if it is within [`SKEW_MILLIS_MAX`] of their arrival, and otherwise by their
//! arrival, with a note `clock_skew`. What is to happen without an event (`Absent`,
//! `Digest`, `settle`, the end of a `Pair` or of quiet hours) goes by the clock that the
//! caller turns: [`Machine::due`] says when it should ask, [`Machine::tick`] does it. Of
//! an event and an end at the same instant the event comes first.
//!
//! Time that goes by at once, as nobody asked in between, makes each key fire once at
//! most for what was due: `Absent` with `again` says it for the last time that was due,
//! and its `absent_for` says how long it was by then. A [tick](Machine::tick) gives not
//! many more than [`OUTPUTS_MAX`], and the next one goes on.
//!
//! Events that happened before, as old files are read, turn the clock themselves, but no
//! further than all that are read have come: see [`Behind`]. They count from when they
//! happened, so what was due to their key before them comes before them, if the rule
//! looks at nothing but their source. What carries no time happened when the one before it
//! did that rules looked at; or now, if nobody asked for the times of its source. A time
//! that is still to come is not believed, and turns no clock. It is up to the caller to say
//! what is old: the daemon asks the first event of what comes together, and takes nothing
//! for the present before the source is at its end.
//!
//! A clock that goes back by a minute or less stands still. If it goes back further it
//! was wrong before: the machine sets its clock and all that goes by it back, and notes
//! `clock_skew`. So it does at a start with a state of the future.
//!
//! # State
//!
//! [`Machine::parts`] are all that a machine remembers, [`Machine::take_touched`] those
//! that changed; [`Machine::restore`] takes them over for the rules whose meaning is still
//! the same. Each key by which a rule counts is a part by itself, so that an event of one
//! costs no more where there are a hundred thousand. Everything is bounded: see
//! [`KEYS_MAX`], [`KEYED_BYTES_MAX`], [`HELD_MAX`], [`FLAGS_MAX`].

mod absent;
mod by_key;
mod clock;
mod closest;
mod count;
mod digest;
mod event;
mod explain;
mod firing;
mod head;
mod index;
mod job;
mod keyed;
mod led;
mod limit;
mod lines;
mod literals;
mod machine;
mod matching;
mod offer;
mod pair;
mod play;
mod quiet;
mod rehearse;
mod run;
mod search;
mod several;
mod sieve;
mod snapshot;
mod state;
mod transaction;
mod words;
mod written;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

pub use clock::{Behind, Clock, OUTPUTS_MAX};
pub use event::{Event, Note, Seen, TaskEnd};
pub use explain::{Explained, RuleExplained, Step};
pub use firing::{Firing, What};
pub use head::Head;
pub use job::{Job, render};
pub use keyed::{KEYED_BYTES_MAX, KEYS_MAX, Key};
pub use led::EVENTS_MAX;
pub use lines::Lines;
pub use machine::{DEPTH_MAX, FLAGS_MAX, Machine, Output};
pub use play::{Executor, Play};
pub use rehearse::Rehearsal;
pub use run::{
    Doing, Ended, Failure, Outcome, Runs, Start, TaskUnderWay, UnderWay, WrittenRun,
};
pub use search::Search;
pub use snapshot::{Part, Restored, SnapshotError};
pub use state::{Counts, HELD_MAX};
pub use transaction::{Gather, ROWS_MAX, TRANSACTION_BYTES_MAX, Transaction};

use jiff::Timestamp;
use std::time::Duration;

/// How far the time that an event carries may be from its arrival, in milliseconds.
pub const SKEW_MILLIS_MAX: i64 = 5 * 60 * 1000;

/// Milliseconds since 1970.
fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// The instant of so many milliseconds since 1970, or the nearest that there is.
fn instant(millis: i64) -> Timestamp {
    let nearest = if millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(millis).unwrap_or(nearest)
}

/// The furthest time from 1970 that is looked at, in milliseconds: of the year 9999.
const TIME_MAX: i64 = 253_402_207_200_000;

/// A duration in milliseconds.
fn length(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// A duration for people: `1h 5m`, `250ms`.
fn how_long(millis: i64) -> String {
    if millis < 1000 {
        return format!("{}ms", millis.max(0));
    }
    let mut left = millis / 1000;
    let mut words = Vec::new();
    for (unit, seconds) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if left >= seconds {
            words.push(format!("{}{unit}", left / seconds));
            left %= seconds;
        }
    }
    words.join(" ")
}
