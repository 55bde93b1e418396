//! `quiet`: times in which a rule does not act.

use crate::compiled::Quiet;
use jiff::Timestamp;

/// When the quiet time that holds at this instant ends; `None` if it is not quiet then.
///
/// Times that overlap or touch each other are one.
pub(super) fn end(quiet: &Quiet, at: Timestamp) -> Option<Timestamp> {
    let mut end = None;
    let mut from = at;
    for _ in 0..JOINED_MAX {
        let later = quiet.calendars.iter().filter_map(|it| it.end(from)).max();
        let Some(later) = later else { break };
        end = Some(later);
        from = later;
    }
    end
}

/// The most times in a row that are looked at: two months of days that touch.
const JOINED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiled::{Calendar, CalendarTime};
    use jiff::tz::TimeZone;
    use std::sync::Arc;

    /// Berlin's rule, also where no time zone database is installed.
    fn quiet(from: &str, to: &str, days: [bool; 7]) -> Quiet {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let times = vec![CalendarTime::Weekly { days, from, to, zone }];
        let calendar = Calendar { name: "x".to_owned(), times };
        Quiet { calendars: vec![Arc::new(calendar)], then: crate::model::Quieted::Hold }
    }

    fn ends(quiet: &Quiet, at: &str) -> Option<String> {
        end(quiet, at.parse().unwrap()).map(|end| end.to_string())
    }

    #[test]
    fn nights_last_until_the_morning() {
        let night = quiet("22:00", "07:00", [true; 7]);
        for (at, wanted) in [
            ("2026-11-20T21:59:59+01:00", None),
            ("2026-11-20T22:00:00+01:00", Some("2026-11-21T06:00:00Z")),
            ("2026-11-21T06:59:59+01:00", Some("2026-11-21T06:00:00Z")),
            ("2026-11-21T07:00:00+01:00", None),
            // Set forward at 02:00, and back at 03:00.
            ("2026-03-28T23:00:00+01:00", Some("2026-03-29T05:00:00Z")),
            ("2026-10-24T23:00:00+02:00", Some("2026-10-25T06:00:00Z")),
        ] {
            assert_eq!(ends(&night, at).as_deref(), wanted, "{at}");
        }
    }

    #[test]
    fn skipped_and_doubled_hours() {
        let early = quiet("01:00", "02:30", [true; 7]);
        assert_eq!(ends(&early, "2026-03-29T00:30:00Z").unwrap(), "2026-03-29T01:00:00Z");
        assert_eq!(ends(&early, "2026-03-29T01:00:00Z"), None, "03:00 follows 01:59");
        assert_eq!(ends(&early, "2026-10-25T00:00:00Z").unwrap(), "2026-10-25T00:30:00Z");
        assert_eq!(ends(&early, "2026-10-25T01:10:00Z"), None, "the second 02:10");
        let skipped = quiet("02:15", "02:45", [true; 7]);
        assert_eq!(ends(&skipped, "2026-03-29T01:00:00Z"), None);
    }

    #[test]
    fn days_are_those_on_which_it_begins() {
        let saturdays = [false, false, false, false, false, true, false];
        let night = quiet("22:00", "07:00", saturdays);
        assert!(ends(&night, "2026-11-22T05:00:00+01:00").is_some());
        assert!(ends(&night, "2026-11-21T05:00:00+01:00").is_none());
    }

    #[test]
    fn times_that_touch_are_one() {
        let weekend = [false, false, false, false, false, true, true];
        let days = quiet("00:00", "00:00", weekend);
        let monday = "2026-11-22T23:00:00Z";
        assert_eq!(ends(&days, "2026-11-21T12:00:00+01:00").unwrap(), monday);
        let mut both = quiet("22:00", "07:00", [true; 7]);
        both.calendars.extend(days.calendars);
        assert_eq!(
            ends(&both, "2026-11-20T23:00:00+01:00").unwrap(),
            "2026-11-23T06:00:00Z"
        );
    }
}
