//! Handing entries over, and setting aside what is refused for good.

use super::{Ended, Lane, Leave, Turn};
use crate::events::Event;
use crate::hunt::{Hunt, Next};
use crate::pace::Pace;
use tripline_api::{Batch, Change, Entry, Letter, ListenError, Rejected, View};

impl Lane {
    /// Hands a batch to the listener, as often as it takes.
    pub(super) fn deliver(
        &mut self,
        index: usize,
        batch: &Batch<'_>,
        pace: &mut Pace,
    ) -> Turn {
        let mut handled = std::mem::take(&mut pace.handled);
        handled.clear();
        handled.extend(batch.entries().map(|entry| self.listener.is_handled(&entry)));
        let result = self.hand_over(index, &View::some(*batch, &handled), pace);
        pace.handled = handled;
        result
    }

    /// Hands over all entries at once. Where some are refused for good, finds out
    /// which, sets them aside, and hands over the others.
    fn hand_over(&mut self, index: usize, view: &View<'_>, pace: &mut Pace) -> Turn {
        let mut hunt = Hunt::new(view.len());
        let mut why = String::new();
        loop {
            let range = match hunt.next() {
                Next::Offer(range) => range,
                Next::SetAside(range, attempts) => {
                    let refused = view.entries().skip(range.start).take(range.len());
                    self.set_aside(index, refused, &why, attempts)?;
                    pace.has_unflushed();
                    continue;
                }
                Next::Done => return Ok(()),
            };
            let is_all = range.len() == view.len();
            let flags = if is_all { Vec::new() } else { view.flags_of(range) };
            let part = if is_all { view } else { &View::some(*view.batch(), &flags) };
            let answer = self.attempt(pace, |lane| match lane.listener.listen(part) {
                Err(ListenError::Rejected(rejected)) => Ok(Err(rejected)),
                result => result.map(Ok),
            })?;
            match answer {
                Ok(()) => hunt.taken(),
                Err(Rejected { what, why: said }) => {
                    why = said;
                    hunt.rejected(what);
                }
            }
        }
    }

    /// The receiver will never take these.
    fn set_aside<'a>(
        &mut self,
        index: usize,
        refused: impl Iterator<Item = Entry<'a>>,
        why: &str,
        attempts: u32,
    ) -> Turn {
        let mut count = 0;
        let mut first = None;
        for entry in refused {
            // It comes again when it is finished.
            if entry.log.is_some_and(|log| log.is_preview) {
                return Ok(());
            }
            if self.letters >= Letter::MAX {
                return Err(Leave::Ended(self.too_many_letters(why)));
            }
            first.get_or_insert_with(|| entry.id());
            self.tracks[index].set_aside(&entry, why.to_owned(), attempts);
            self.letters += 1;
            count += 1;
        }
        if let Some(id) = &first {
            let listener = &self.id;
            self.events.event(&Event::SetAside { listener, id, entries: count, why });
        }
        Ok(())
    }

    fn too_many_letters(&self, why: &str) -> Ended {
        let why = format!(
            "it has set aside {} entries, and that is as many as there may be; the last \
             one because of: {why}. Look at them with `tripline dead list`, then have \
             them delivered again or drop them, and start again",
            self.letters
        );
        Ended::Stopped { why, at_gap: false }
    }

    /// What the listener set aside itself.
    pub(super) fn letters_of_listener(&mut self) -> Vec<Change> {
        let letters = self.listener.letters();
        for letter in &letters {
            let id = format!("{}/{}", letter.key.source, letter.place.id());
            self.events.event(&Event::SetAside {
                listener: &self.id,
                id: &id,
                entries: letter.entries,
                why: &letter.why,
            });
        }
        self.letters += letters.len() as u64;
        letters.into_iter().map(Change::SetAside).collect()
    }
}
