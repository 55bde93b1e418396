//! What time it is to the rules, and what happens as it goes on.

use super::event::Event;
use super::keyed::Key;
use super::machine::{Machine, Output, TELL_AGAIN_MILLIS, note};
use super::state::{RuleState, absent_rule};
use super::{SKEW_MILLIS_MAX, how_long, instant, millis};
use crate::compiled::{Rule, Trigger};
use crate::model::EngineEvent;
use jiff::Timestamp;
use std::sync::Arc;

/// What time it is to events that come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// They come as they happen: this.
    Now(Timestamp),
    /// They happened before: that which each of them carries, but no later than this,
    /// which it is now, and never earlier than it was.
    Then(Timestamp, Behind),
}

/// How things are with events that happened before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// The clock goes no further than this, as others may still bring what happened
    /// then; `None`: it stands still.
    pub until: Option<Timestamp>,
    /// When those happened that carry no time; `None`: now.
    pub untimed: Option<Timestamp>,
    /// What their source brings later happened later.
    pub is_in_order: bool,
}

impl Machine {
    /// What happens without an event, up to and with this instant: so much of it that not
    /// many more than [`OUTPUTS_MAX`] come out. If there is more, it is still
    /// [due](Self::due), and the next call goes on.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        self.mind_clock(now, out);
        if !self.advance(millis(now), OUTPUTS_MAX, out) {
            return;
        }
        self.turn(now);
        let clock = self.clock;
        self.states.iter_mut().for_each(|state| state.forget(clock));
        self.flags.retain(|_, until| *until > clock);
    }

    /// What comes before an event at this instant.
    pub(super) fn before(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        self.is_fresh = false;
        self.mind_clock(now, out);
        self.advance(millis(now) - 1, usize::MAX, out);
        self.turn(now);
    }

    /// What comes before an event that carries this time or none. Returns when it
    /// arrived, and when it happened, in milliseconds since 1970. What happened before
    /// arrived when it happened, or later, if the clock was there already.
    pub(super) fn arrives(
        &mut self,
        source: &str,
        time: Option<i64>,
        clock: Clock,
        out: &mut Vec<Output>,
    ) -> (i64, i64) {
        match (clock, time) {
            (Clock::Now(_), None) => (self.clock, self.clock),
            (Clock::Now(_), Some(time)) => {
                (self.clock, self.believed(source, time, self.clock, out))
            }
            (Clock::Then(now, behind), None) => {
                self.is_fresh = false;
                let time = millis(behind.untimed.unwrap_or(now));
                (time.max(self.clock), time)
            }
            (Clock::Then(now, behind), Some(time)) => {
                self.turn_with(time, now, behind, out);
                let now = millis(now);
                let happened = if time <= now {
                    time
                } else {
                    self.believed(source, time, now, out)
                };
                (time.min(now).max(self.clock), happened)
            }
        }
    }

    /// The time that an event carries, if it is near its arrival; else that.
    fn believed(
        &mut self,
        source: &str,
        time: i64,
        arrival: i64,
        out: &mut Vec<Output>,
    ) -> i64 {
        let skew = time.saturating_sub(arrival);
        if skew.saturating_abs() <= SKEW_MILLIS_MAX {
            return time;
        }
        let told = self.skewed.get(source).copied();
        if told.is_none_or(|told| arrival - told >= TELL_AGAIN_MILLIS) {
            self.skewed.insert(source.to_owned(), arrival);
            let direction = if skew < 0 { "before" } else { "after" };
            let message = format!(
                "an event of {source} carries a time {} {direction} its arrival; rules go \
                 by the arrival. Look at the clock of the machine that wrote it, at the \
                 source's time zone, or at what held it up",
                how_long(skew.saturating_abs())
            );
            out.push(note(EngineEvent::ClockSkew, source, "", message));
        }
        arrival
    }

    /// What comes before an event that happened then, of those that come late: the clock
    /// goes with them.
    fn turn_with(
        &mut self,
        time: i64,
        now: Timestamp,
        behind: Behind,
        out: &mut Vec<Output>,
    ) {
        self.mind_clock(now, out);
        let time = time.min(millis(now));
        if self.is_fresh && time < self.clock {
            // The first thing that it sees is where its time begins.
            self.begin_anew(instant(time));
        }
        self.is_fresh = false;
        self.is_in_order = behind.is_in_order;
        let until = behind.until.map_or(self.clock, millis).min(time);
        if until > self.clock {
            self.before(instant(until), out);
        }
    }

    /// What was due to this key of a rule before an event that arrives now, although the
    /// clock is not there yet, as it waits for other sources than the rule's.
    pub(super) fn before_key(
        &mut self,
        number: usize,
        key: &Key,
        event: &Event,
        out: &mut Vec<Output>,
    ) {
        if event.arrival <= self.clock
            || !self.is_in_order
            || !looks_only_at(&self.set.rules[number], &event.source)
        {
            return;
        }
        let until = event.arrival - 1;
        self.skip(number, until);
        let due = self.states[number].due_of(key);
        if let Some(at) = due.filter(|at| *at <= until) {
            self.happen(number, Some(key), at, out);
        }
    }

    fn turn(&mut self, now: Timestamp) {
        self.clock = self.clock.max(millis(now));
    }

    /// What happens without an event until then, in the order of time and rules. Returns
    /// whether that was all.
    fn advance(&mut self, until: i64, most: usize, out: &mut Vec<Output>) -> bool {
        let before = out.len();
        loop {
            let due = |(rule, state): (usize, &RuleState)| Some((state.due()?, rule));
            let first = self.states.iter().enumerate().filter_map(due).min();
            let Some((at, rule)) = first.filter(|(at, _)| *at <= until) else {
                return true;
            };
            if out.len() - before >= most {
                return false;
            }
            self.skip(rule, until);
            if self.states[rule].due() != Some(at) {
                continue;
            }
            self.clock = self.clock.max(at);
            // What comes of the time is not about the event.
            let watch = self.watch.take();
            self.happen(rule, None, at, out);
            self.watch = watch;
        }
    }

    /// Of what a rule says again and again, in a time that goes by at once, the last.
    fn skip(&mut self, number: usize, until: i64) {
        let set = Arc::clone(&self.set);
        if let (Some(meant), super::state::WhenState::Absent(absent)) =
            (absent_rule(&set.rules[number].when), &mut self.states[number].when)
        {
            absent.skip(meant, until);
        }
    }

    /// A clock that goes back a little stands still. If it was far ahead, it was wrong:
    /// it is set back, with all that goes by it.
    fn mind_clock(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        self.set_back(now);
        if let Some(by) = self.was_ahead.take() {
            let message = format!(
                "the clock of this machine was {} ahead, or is as much behind now: rules go \
                 by what it says now. What they waited for may have come too early",
                how_long(by)
            );
            out.push(note(EngineEvent::ClockSkew, "", "", message));
        }
    }

    /// Sets the clock back if it was far ahead.
    pub(super) fn set_back(&mut self, now: Timestamp) {
        let by = self.clock.saturating_sub(millis(now));
        if by <= AHEAD_MILLIS_MAX {
            return;
        }
        self.was_ahead = Some(by);
        self.clock = millis(now);
        for number in 0..self.states.len() {
            self.states[number].set_back(by, self.clock);
            self.touched.rules.insert(number);
        }
        for until in self.flags.values_mut() {
            *until -= by;
        }
        self.touched.flags = true;
        self.skewed.clear();
    }
}

/// Whether nothing but this source brings a rule its events.
fn looks_only_at(rule: &Rule, source: &str) -> bool {
    rule.on.iter().all(|trigger| match trigger {
        Trigger::Lines { sources, .. } | Trigger::Journal { sources, .. } => {
            matches!(&sources[..], [only] if only == source)
        }
        _ => false,
    })
}

/// So much comes out of a [tick](Machine::tick), and what comes with the last of it.
pub const OUTPUTS_MAX: usize = 1_000;
/// How far the clock may be ahead of the time, in milliseconds.
const AHEAD_MILLIS_MAX: i64 = 60_000;

#[cfg(test)]
mod tests;
