//! Finding the entries that a receiver will never take.
//!
//! Of a thousand entries with a bad one among them, the 999 others are delivered
//! with eleven requests more than without it.

use std::ops::Range;
use tripline_api::Culprit;

/// Which entries of a batch to hand over next. Pure: what happened goes in, what
/// to do comes out.
///
/// Entries are counted from the batch's first handled one.
#[derive(Debug)]
pub(crate) struct Hunt {
    /// What is neither taken nor set aside.
    rest: Range<usize>,
    /// A bad one lies before this, the first of the rest at the earliest; `None`
    /// where that is not known.
    suspect_until: Option<usize>,
    /// What was handed over and not answered.
    offered: Range<usize>,
    /// To be set aside, and how often it was refused.
    condemned: Option<(Range<usize>, u32)>,
    /// How often the bad one that is hunted was refused.
    refused: u32,
}

/// What to do with entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Hand these over.
    Offer(Range<usize>),
    /// Set these aside, which were handed over so many times.
    SetAside(Range<usize>, u32),
    /// All are taken or set aside.
    Done,
}

impl Hunt {
    pub(crate) const fn new(count: usize) -> Self {
        Self {
            rest: 0..count,
            suspect_until: None,
            offered: 0..0,
            condemned: None,
            refused: 0,
        }
    }

    pub(crate) fn next(&mut self) -> Next {
        if let Some((range, attempts)) = self.condemned.take() {
            self.rest.start = range.end;
            self.suspect_until = None;
            self.refused = 0;
            return Next::SetAside(range, attempts);
        }
        if self.rest.is_empty() {
            return Next::Done;
        }
        let start = self.rest.start;
        let until = match self.suspect_until {
            None => self.rest.end,
            // It is the only one left: there is nothing to ask.
            Some(until) if until - start == 1 => {
                self.condemned = Some((start..until, self.refused));
                return self.next();
            }
            Some(until) => start + (until - start) / 2,
        };
        self.offered = start..until;
        Next::Offer(self.offered.clone())
    }

    /// What was offered last was taken.
    pub(crate) fn taken(&mut self) {
        self.rest.start = self.offered.end;
        if self.suspect_until.is_some_and(|until| until <= self.rest.start) {
            self.suspect_until = None;
            self.refused = 0;
        }
    }

    /// Some of what was offered last was refused.
    pub(crate) fn rejected(&mut self, culprit: Culprit) {
        self.refused = self.refused.saturating_add(1);
        let offered = self.offered.clone();
        let condemned = match culprit {
            Culprit::OneOf => return self.suspect_until = Some(offered.end),
            Culprit::Entry(index) => {
                // One that was not handed over is the last that was.
                let at = offered.start.saturating_add(index).min(offered.end - 1);
                at..at + 1
            }
            Culprit::All => offered,
        };
        self.condemned = Some((condemned, self.refused));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hunts with a receiver that answers as `ask` does; returns what was taken,
    /// what was set aside, and how many requests it took.
    fn hunt(
        count: usize,
        mut ask: impl FnMut(Range<usize>) -> Result<(), Culprit>,
    ) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut taken, mut aside, mut requests) = (Vec::new(), Vec::new(), 0);
        let mut hunt = Hunt::new(count);
        loop {
            match hunt.next() {
                Next::Done => return (taken, aside, requests),
                Next::SetAside(range, _) => aside.extend(range),
                Next::Offer(range) => {
                    assert!(!range.is_empty());
                    requests += 1;
                    match ask(range.clone()) {
                        Ok(()) => {
                            taken.extend(range);
                            hunt.taken();
                        }
                        Err(culprit) => {
                            if let Culprit::Entry(index) = culprit {
                                taken.extend(range.start..range.start + index);
                            }
                            hunt.rejected(culprit);
                        }
                    }
                }
            }
        }
    }

    fn bad_in(bad: &[usize], range: &Range<usize>) -> Option<usize> {
        bad.iter().copied().find(|bad| range.contains(bad))
    }

    #[test]
    fn only_the_bad_ones_are_set_aside_and_order_stays() {
        for bad in [&[][..], &[0], &[6], &[3], &[2, 3], &[0, 6], &[0, 1, 2, 3, 4, 5, 6]] {
            let good: Vec<_> = (0..7).filter(|n| !bad.contains(n)).collect();
            let blind = hunt(7, |range| match bad_in(bad, &range) {
                Some(_) => Err(Culprit::OneOf),
                None => Ok(()),
            });
            assert_eq!((blind.0, blind.1), (good.clone(), bad.to_vec()));
            let seeing = hunt(7, |range| match bad_in(bad, &range) {
                Some(bad) => Err(Culprit::Entry(bad - range.start)),
                None => Ok(()),
            });
            assert_eq!((seeing.0, seeing.1), (good, bad.to_vec()));
        }
    }

    #[test]
    fn one_in_a_thousand_costs_few_requests() {
        let most = (0..1000)
            .map(|bad| {
                let (taken, aside, requests) =
                    hunt(1000, |range| match bad_in(&[bad], &range) {
                        Some(_) => Err(Culprit::OneOf),
                        None => Ok(()),
                    });
                assert_eq!((taken.len(), aside), (999, vec![bad]));
                requests
            })
            .max();
        assert_eq!(most, Some(12), "one, ten halvings, and the rest");
    }

    #[test]
    fn what_is_refused_as_a_whole_is_not_taken_apart() {
        let (taken, aside, requests) = hunt(9, |_| Err(Culprit::All));
        assert_eq!((taken, aside.len(), requests), (vec![], 9, 1));
    }

    #[test]
    fn a_listener_that_contradicts_itself_ends_the_hunt() {
        // It refused what it takes in parts.
        let (taken, aside, _) = hunt(8, |range| match range.len() {
            8 => Err(Culprit::OneOf),
            _ => Ok(()),
        });
        assert_eq!((taken.len(), aside), (7, vec![7]));
        let mut hunt = Hunt::new(3);
        assert_eq!(hunt.next(), Next::Offer(0..3));
        hunt.rejected(Culprit::Entry(99));
        assert_eq!(hunt.next(), Next::SetAside(2..3, 1));
        assert_eq!(hunt.next(), Next::Done);
    }

    #[test]
    fn attempts_count_how_often_it_was_refused() {
        let mut hunt = Hunt::new(4);
        assert_eq!(hunt.next(), Next::Offer(0..4));
        hunt.rejected(Culprit::OneOf);
        assert_eq!(hunt.next(), Next::Offer(0..2));
        hunt.rejected(Culprit::OneOf);
        assert_eq!(hunt.next(), Next::Offer(0..1));
        hunt.taken();
        assert_eq!(hunt.next(), Next::SetAside(1..2, 2));
        assert_eq!(hunt.next(), Next::Offer(2..4));
    }
}
