//! `Count`: so many events in a time that slides.

use super::event::Seen;
use super::keyed::{Key, Keyed};
use super::several::Several;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What is counted, for each key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Count {
    pub(super) windows: Keyed<Window>,
}

/// The events of a key that count, by time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Window {
    points: VecDeque<Point>,
    /// About how many bytes of memory they take.
    #[serde(deserialize_with = "super::written::bytes")]
    weight: usize,
}

/// An event that counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Point {
    #[serde(deserialize_with = "super::written::time")]
    time: i64,
    /// By what it has to differ from the others.
    differs: Option<String>,
    /// `None` for those between of which there are too many to keep.
    seen: Option<Seen>,
}

/// What a rule says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) of: usize,
    pub(super) within: i64,
}

impl Count {
    /// An event: the events that it makes the rule fire with, which are used up.
    ///
    /// Events count by their own time. One that comes late takes its place among the
    /// others; one that is too old for the newest counts for nothing.
    pub(super) fn see(
        &mut self,
        rule: Rule,
        key: Key,
        seen: Seen,
        differs: Option<String>,
    ) -> Option<Several> {
        let mut window = self.windows.remove(&key).unwrap_or_default();
        let (last, time) = (seen.clone(), seen.time);
        if window.take_equal(&differs, time) {
            window.insert(Point { time, differs, seen: Some(seen) });
            window.slide(rule.within);
        }
        if window.points.len() >= rule.of {
            return several(window.points, last);
        }
        if let Some(newest) = window.points.back().map(|point| point.time) {
            let weight = window.weight;
            self.windows.put(key, window, weight, Some(newest + rule.within));
        }
        None
    }

    /// How many events count for a key.
    pub(super) fn so_far(&self, key: &Key) -> usize {
        self.windows.get(key).map_or(0, |window| window.points.len())
    }

    /// Forgets what can no longer count.
    pub(super) fn forget(&mut self, now: i64) {
        while self.windows.take_due(now - LATE_MILLIS).is_some() {}
    }

    /// Everything happened so much later.
    pub(super) fn shift(&mut self, by: i64) {
        self.windows.shift(by, |window| {
            for point in &mut window.points {
                point.time += by;
                point.seen.iter_mut().for_each(|seen| seen.time += by);
            }
        });
    }

    pub(super) fn take_evicted(&mut self) -> u64 {
        self.windows.take_evicted()
    }
}

impl Window {
    /// Takes out the event that does not differ: of equals the newest counts. `false`
    /// if that is the one which is there.
    fn take_equal(&mut self, differs: &Option<String>, time: i64) -> bool {
        if differs.is_none() {
            return true;
        }
        let same = self.points.iter().position(|point| point.differs == *differs);
        match same {
            Some(at) if self.points[at].time > time => false,
            Some(at) => {
                let gone = self.points.remove(at);
                self.lighten(gone.as_ref().map_or(0, Point::weight));
                true
            }
            None => true,
        }
    }

    /// Puts it among the others. In the middle of a long window events are only counted.
    fn insert(&mut self, point: Point) {
        let place = self.points.partition_point(|other| other.time <= point.time);
        self.weight += point.weight();
        self.points.insert(place, point);
        let len = self.points.len();
        if len > POINTS_KEPT_MAX {
            let middle = &mut self.points[len - 2];
            let before = middle.weight();
            middle.seen = None;
            let gone = before - middle.weight();
            self.lighten(gone);
        }
    }

    fn slide(&mut self, within: i64) {
        let newest = self.points.back().map_or(0, |point| point.time);
        while let Some(oldest) = self.points.front()
            && newest - oldest.time > within
        {
            let gone = oldest.weight();
            self.lighten(gone);
            self.points.pop_front();
        }
    }

    const fn lighten(&mut self, by: usize) {
        self.weight = self.weight.saturating_sub(by);
    }
}

impl Point {
    fn weight(&self) -> usize {
        let differs = self.differs.as_ref().map_or(0, String::len);
        64 + differs + self.seen.as_ref().map_or(0, Seen::weight)
    }
}

fn several(window: VecDeque<Point>, last: Seen) -> Option<Several> {
    let count = window.len() as u64;
    let kept: Vec<Seen> = window.into_iter().filter_map(|point| point.seen).collect();
    let weight = 0; // It is not kept.
    Some(Several { began: 0, first: kept.first()?.clone(), last, kept, count, weight })
}

/// Of more events than these, those in the middle are counted and not kept.
const POINTS_KEPT_MAX: usize = 100;
/// How late an event may come: as far as its time is believed.
const LATE_MILLIS: i64 = 2 * super::SKEW_MILLIS_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::test_support::seen;

    /// Events by time and what they differ in; the times at which it fires.
    fn fires(
        of: usize,
        within: i64,
        events: &[(i64, &str)],
        distinct: bool,
    ) -> Vec<(i64, u64)> {
        let mut count = Count::default();
        let rule = Rule { of, within };
        events
            .iter()
            .filter_map(|(time, differs)| {
                let differs = distinct.then(|| (*differs).to_owned());
                let several = count.see(rule, Key::default(), seen(*time), differs)?;
                assert!(several.first.time <= several.last.time);
                Some((*time, several.count))
            })
            .collect()
    }

    fn times(of: usize, within: i64, times: &[i64]) -> Vec<i64> {
        let events: Vec<_> = times.iter().map(|time| (*time, "")).collect();
        fires(of, within, &events, false).into_iter().map(|(time, _)| time).collect()
    }

    #[test]
    fn both_ends_of_the_window_belong_to_it() {
        assert_eq!(times(3, 60, &[0, 30, 60]), [60]);
        assert!(times(3, 60, &[0, 30, 61]).is_empty());
        assert_eq!(times(3, 60, &[0, 0, 0]), [0]);
        assert_eq!(times(3, 60, &[0, 30, 61, 90]), [90], "it slides");
    }

    #[test]
    fn firing_uses_events_up() {
        assert_eq!(times(2, 60, &[0, 1, 2, 3, 4]), [1, 3]);
        assert_eq!(times(5, 60, &[0, 10, 20, 30, 40, 50, 60]), [40]);
    }

    #[test]
    fn late_events_take_their_place() {
        assert_eq!(times(3, 60, &[100, 50, 40]), [40]);
        assert!(times(3, 60, &[100, 39, 38, 37]).is_empty(), "too old for the newest");
        assert_eq!(times(2, 60, &[100, 39, 101]), [101]);
    }

    #[test]
    fn distinct_counts_what_differs() {
        let events = [(0, "a"), (10, "a"), (20, "b"), (65, "c"), (66, "d")];
        assert_eq!(fires(3, 60, &events, true), [(65, 3)], "the newest `a` counts");
        let events = [(0, "a"), (20, "b"), (65, "c"), (66, "a")];
        assert_eq!(fires(3, 60, &events, true), [(66, 3)]);
        assert!(fires(2, 60, &[(0, "a"), (1, "a"), (2, "a")], true).is_empty());
    }

    #[test]
    fn long_windows_keep_a_part() {
        let mut count = Count::default();
        let rule = Rule { of: 1000, within: 10_000 };
        let fired =
            (0..1000).find_map(|time| count.see(rule, Key::default(), seen(time), None));
        let several = fired.unwrap();
        assert_eq!(
            (several.count, several.first.time, several.last.time),
            (1000, 0, 999)
        );
        assert!(several.kept.len() <= POINTS_KEPT_MAX + 1);
    }
}
