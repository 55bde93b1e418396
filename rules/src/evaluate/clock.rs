//! What time it is to the rules, and what happens as it goes on.

use super::event::Event;
use super::keyed::Key;
use super::machine::{Machine, Output, TELL_AGAIN_MILLIS};
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
    /// What their source brings later happened later.
    pub is_in_order: bool,
}

/// What an event says of when it happened.
#[derive(Clone, Copy)]
pub(super) enum Came {
    /// Then, in milliseconds since 1970.
    At(i64),
    /// Nothing, but others of its source do.
    AfterTheLast,
    /// Nothing, like all of its source.
    Now,
}

impl Machine {
    /// What happens without an event, up to and with this instant: so much of it that not
    /// many more than [`OUTPUTS_MAX`] come out. If there is more, it is still
    /// [due](Self::due), and the next call goes on.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        self.depth = 0;
        self.mind_clock(now, out);
        self.is_not_behind();
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
        self.mind_clock(now, out);
        self.advance(millis(now) - 1, usize::MAX, out);
        self.turn(now);
    }

    /// What comes before an event that says this of its time. Returns when it arrived, and
    /// when it happened, in milliseconds since 1970. What happened before arrived when it
    /// happened, or later, if the clock was there already.
    pub(super) fn arrives(
        &mut self,
        source: &str,
        came: Came,
        clock: Clock,
        out: &mut Vec<Output>,
    ) -> (i64, i64) {
        let (now, behind) = match clock {
            Clock::Now(_) => {
                self.is_not_behind();
                let time = match came {
                    Came::At(time) => self.believed(source, time, self.clock, out),
                    Came::AfterTheLast | Came::Now => self.clock,
                };
                return (self.clock, time);
            }
            Clock::Then(now, behind) => (now, behind),
        };
        self.is_in_order = behind.is_in_order;
        let last = self.carried.get(source).copied().unwrap_or(self.clock);
        let (arrival, time) = match came {
            Came::AfterTheLast => (last, last),
            Came::Now => (millis(now), millis(now)),
            // What is still to come is not believed, and says nothing of those behind it.
            Came::At(time) if time.saturating_sub(millis(now)) > SKEW_MILLIS_MAX => {
                (last, self.believed(source, time, last, out))
            }
            Came::At(time) => {
                self.turn_with(time, now, behind, out);
                let arrival = time.min(millis(now));
                self.carries(source, arrival);
                (arrival, time)
            }
        };
        (arrival.max(self.clock), time)
    }

    /// A source that brings what happened before carried this time.
    fn carries(&mut self, source: &str, time: i64) {
        match self.carried.get_mut(source) {
            Some(last) if *last == time => return,
            Some(last) => *last = time,
            None => _ = self.carried.insert(source.to_owned(), time),
        }
        self.touched.clock = true;
    }

    /// Nothing that happened before is brought any more.
    fn is_not_behind(&mut self) {
        if !self.carried.is_empty() {
            self.carried.clear();
            self.touched.clock = true;
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
            self.touched.clock = true;
            let direction = if skew < 0 { "before" } else { "after" };
            let message = format!(
                "an event of {source} carries a time {} {direction} its arrival; rules go \
                 by the arrival. Look at the clock of the machine that wrote it, at the \
                 source's time zone, or at what held it up",
                how_long(skew.saturating_abs())
            );
            self.note(EngineEvent::ClockSkew, [source, ""], message, out);
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
            self.turn_back(time);
        }
        let until = behind.until.map_or(self.clock, millis).min(time);
        self.touched.clock |= self.is_fresh || until > self.clock;
        self.is_fresh = false;
        if until > self.clock {
            self.before(instant(until), out);
        }
    }

    /// The first time that it sees is where its time begins. What came before without a
    /// time came just before.
    fn turn_back(&mut self, time: i64) {
        self.shift(time - self.clock);
        for rule in 0..self.states.len() {
            self.expect_from(rule, true);
        }
    }

    /// All that it knows happened so much later.
    fn shift(&mut self, by: i64) {
        self.clock += by;
        for (number, state) in self.states.iter_mut().enumerate() {
            state.shift(by, self.clock);
            self.touched.rules.insert(number);
        }
        self.touched.flags |= !self.flags.is_empty();
        self.flags.values_mut().for_each(|until| *until += by);
        self.touched.clock = true;
        self.skewed.clear();
        self.carried.clear();
        self.ring_at = None;
        self.touched.led |= self.led.told_at.take().is_some();
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
            let first = self.waiting().filter_map(due).min();
            let Some((at, rule)) = first.filter(|(at, _)| *at <= until) else {
                return true;
            };
            if out.len() - before >= most {
                return false;
            }
            self.skip(rule, until);
            if self.states[rule].due() != Some(at) {
                self.touched.rules.insert(rule);
                continue;
            }
            self.clock = self.clock.max(at);
            self.is_fresh = false;
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
            self.note(EngineEvent::ClockSkew, ["", ""], message, out);
        }
    }

    /// Sets the clock back if it was far ahead.
    pub(super) fn set_back(&mut self, now: Timestamp) {
        let by = self.clock.saturating_sub(millis(now));
        if by <= AHEAD_MILLIS_MAX {
            return;
        }
        self.was_ahead = Some(by);
        self.shift(-by);
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
