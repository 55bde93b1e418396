//! A listener's own work, between its entries.

use super::{Lane, Turn};
use crate::own::Keeper;
use crate::pace::Pace;
use std::time::Instant;
use tripline_api::Change;

impl Lane {
    /// What the listener kept before this start, once.
    pub(super) fn remember(&mut self, pace: &mut Pace) -> Turn {
        let Some(own) = &mut self.own else { return Ok(()) };
        let bell = own.bell();
        let Some(mut kept) = own.kept.take() else { return Ok(()) };
        self.attempt(pace, |lane| match lane.listener.agenda() {
            Some(agenda) => agenda.remember(&mut kept, bell.clone()),
            None => Ok(()),
        })
    }

    /// Has done what is to be done now; returns whether the listener takes entries.
    pub(super) fn work(&mut self, pace: &mut Pace) -> Turn<bool> {
        let Some(own) = &mut self.own else { return Ok(true) };
        let (was_rung, news) = (own.was_rung(), own.news());
        let is_due =
            was_rung || self.works_at().is_some_and(|time| time <= Instant::now());
        if let (Some(number), Some(agenda)) = (news, self.listener.agenda()) {
            agenda.is_kept(number);
        }
        if is_due {
            self.attempt(pace, |lane| {
                lane.listener.agenda().map_or(Ok(()), |it| it.work())
            })?;
        }
        let (Some(own), Some(agenda)) = (&self.own, self.listener.agenda()) else {
            return Ok(true);
        };
        let takes_more = agenda.takes_more() && !own.is_far_ahead();
        if agenda.has_to_keep() {
            pace.has_unflushed();
        }
        Ok(takes_more)
    }

    /// Lets what is under way come to its end, for a while.
    pub(super) fn wind_down(&mut self, pace: &mut Pace) -> Turn {
        let until = Instant::now() + self.flush_within;
        if let Some(agenda) = self.listener.agenda() {
            agenda.wind_down();
        }
        while let Some(own) = &self.own
            && !self.listener.agenda().is_none_or(|it| it.is_at_rest())
            && own.rings().recv_deadline(until).is_ok()
        {
            own.ring();
            self.work(pace)?;
        }
        Ok(())
    }

    pub(super) fn works_at(&mut self) -> Option<Instant> {
        self.own.as_ref()?;
        self.listener.agenda()?.due()
    }

    pub(super) fn has_to_keep(&mut self) -> bool {
        self.own.is_some() && self.listener.agenda().is_some_and(|it| it.has_to_keep())
    }

    /// Adds what is to be remembered with what is settled.
    pub(super) fn keep(
        &mut self,
        changes: &mut Vec<Change>,
        pace: &mut Pace,
    ) -> Option<Keeper> {
        let own = self.own.as_mut()?;
        let agenda = self.listener.agenda().filter(|it| it.has_to_keep())?;
        let keeper = own.next();
        let kept = agenda.keep(own.number());
        pace.kept(own.kept(&kept));
        changes.push(Change::Keep { listener: self.id.clone(), kept });
        Some(keeper)
    }

    /// All that was there of a source has been handed out.
    pub(super) fn tell_at_end(&mut self, index: usize) {
        if self.own.is_some()
            && let Some(agenda) = self.listener.agenda()
        {
            agenda.at_end(&self.tracks[index].key.source);
        }
    }

    /// Whether the listener has nothing more to do by itself.
    pub(super) fn is_done(&mut self) -> bool {
        let is_settled = self.own.as_ref().is_none_or(|own| own.is_settled());
        let is_due = self.works_at().is_some_and(|time| time <= Instant::now());
        is_settled
            && !is_due
            && self.listener.agenda().is_none_or(|agenda| agenda.is_done())
    }
}
