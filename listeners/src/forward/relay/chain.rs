//! Whether a receiver knows us as we know ourselves.
//!
//! A receiver drops what comes again by its place. A sender that was brought back from
//! an older state, with its logs, has other lines in places that the receiver knows.
//! So we draw numbers, one after the other, and send each before what belongs to it;
//! the receiver keeps the last one with the places that came behind it. Of each
//! receiver we keep the number that it is known to have had, `before`, and the one
//! that was drawn last, `now`.
//!
//! It never takes a sender for another that was only killed, whenever that was:
//!
//! * A number is drawn only when the receiver is known to have `now` on its disk, and
//!   is on ours, as `now` with the last one as `before`, when it is sent.
//! * So, before the file is written, the receiver has our `now`. Behind that, and until
//!   it has committed the new one, it has our `before`; and then our `now`, also
//!   when nobody heard of it. It never goes back: a connection is let in when the one
//!   before is over and committed.
//! * Of the first number with a receiver there is no `before`: until it is committed
//!   there, the receiver has no number of this file, but perhaps one of another.
//!
//! Another **file** was removed since, or is that of another machine. All incarnations
//! are drawn with the file, so no place that came with another one is ever compared
//! with ours; and the receiver forgets these places with the first number of ours.
//!
//! A sender that was brought back is found out as soon as another number was committed
//! since: what it sent under the last one, within [`TIE_EVERY`] or before that was
//! confirmed, is not told apart.

use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, SystemTime};
use tripline_relay::wire::Tie;

/// So long a number is in use, if something is sent and it is confirmed.
pub(super) const TIE_EVERY: Duration = Duration::from_secs(1);
/// So many receivers are remembered: one that comes again after so many others is not
/// recognised, and a person has to look.
const CHAINS_MAX: usize = 64;

/// What ties us to each receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chains {
    file: u64,
    /// The one that was drawn for last is the last.
    receivers: Vec<Chain>,
}

/// What ties us to one receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chain {
    with: With,
    /// 0 when there was none.
    before: u64,
    now: u64,
}

/// A receiver, as far as it knows us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct With {
    /// The number of its database.
    pub(super) receiver: u64,
    /// Who we are there.
    pub(super) peer: String,
}

impl Chains {
    /// Of a new file.
    pub(super) fn new() -> Self {
        Self { file: draw(), receivers: Vec::new() }
    }

    /// Whether a receiver that has this tie knows us as we are.
    pub(super) fn fits(&self, with: &With, has: Option<Tie>) -> bool {
        let chain = self.receivers.iter().find(|chain| chain.with == *with);
        match (has, chain) {
            // It has no places either.
            (None, _) => true,
            (Some(tie), Some(chain)) if tie.file == self.file => {
                tie.number == chain.now || tie.number == chain.before
            }
            (Some(tie), None) => tie.file != self.file,
            // It has had one of ours, or not even that.
            (Some(_), Some(chain)) => chain.before == 0,
        }
    }

    /// Whether this was drawn last for that receiver.
    pub(super) fn is_last(&self, with: &With, tie: Tie) -> bool {
        let is_it = |chain: &Chain| chain.with == *with && chain.now == tie.number;
        tie.file == self.file && self.receivers.iter().any(is_it)
    }

    /// What is to be sent next to a receiver that fits, and is known to have this on
    /// its disk. Where that is another than before, it is to be kept first.
    pub(super) fn next(&mut self, with: &With, has: Option<Tie>) -> Tie {
        let known = self.receivers.iter().position(|chain| chain.with == *with);
        let before = match known.map(|known| self.receivers[known].now) {
            None => 0,
            Some(now) => {
                let tie = Tie { file: self.file, number: now };
                if has != Some(tie) {
                    return tie;
                }
                now
            }
        };
        known.map(|known| self.receivers.remove(known));
        if self.receivers.len() >= CHAINS_MAX {
            self.receivers.remove(0);
        }
        let now = draw();
        self.receivers.push(Chain { with: with.clone(), before, now });
        Tie { file: self.file, number: now }
    }
}

/// A number that was not there before, and is not 0.
pub(super) fn draw() -> u64 {
    let drawn = RandomState::new().hash_one((SystemTime::now(), std::process::id()));
    drawn.max(1)
}

#[cfg(test)]
mod tests;
