//! Which instants are in a calendar.

use super::{Calendar, CalendarTime};
use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan as _, Zoned};

impl Calendar {
    /// Whether the instant is in it.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.end(at).is_some()
    }

    /// When those of its times end, the last of them, that hold at the instant.
    pub(crate) fn end(&self, at: Timestamp) -> Option<Timestamp> {
        self.times.iter().filter_map(|time| time.end(at)).max()
    }
}

impl CalendarTime {
    /// When this one ends, if it holds at the instant. It begins and ends at a time of
    /// the day: one that is skipped when clocks are set forward is the instant of that,
    /// and of one that comes twice the first counts.
    fn end(&self, at: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once { from, to } => (*from <= at && at < *to).then_some(*to),
            Self::Weekly { days, from, to, zone } => {
                let today = Zoned::new(at, zone.clone()).date();
                let yesterday = today.checked_sub(1.day()).ok();
                // Both, as a time may last until the next day.
                [Some(today), yesterday].into_iter().flatten().find_map(|date| {
                    let day = usize::try_from(date.weekday().to_monday_zero_offset());
                    if !days.get(day.ok()?).copied()? {
                        return None;
                    }
                    let last =
                        if from < to { date } else { date.checked_add(1.day()).ok()? };
                    let begins = instant(zone, date, *from)?;
                    let ends = instant(zone, last, *to)?;
                    (begins <= at && at < ends).then_some(ends)
                })
            }
        }
    }
}

fn instant(zone: &TimeZone, date: Date, time: Time) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(date.to_datetime(time));
    match ambiguous.offset() {
        AmbiguousOffset::Gap { .. } => {
            let before = ambiguous.earlier().ok()?;
            zone.following(before).next().map(|it| it.timestamp())
        }
        _ => ambiguous.earlier().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Berlin's rule: forward at 02:00 on 29 March 2026, back at 03:00 on 25 October.
    fn daily(from: &str, to: &str) -> Calendar {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let times = vec![CalendarTime::Weekly { days: [true; 7], from, to, zone }];
        Calendar { name: "x".to_owned(), times }
    }

    #[test]
    fn it_holds_where_clocks_are_set_forward_and_back() {
        for (from, to, at, holds) in [
            // 02:00 to 03:00 is skipped: what begins or ends in it does so at 03:00.
            ("01:00", "02:30", "2026-03-29T00:59:59Z", true),
            ("01:00", "02:30", "2026-03-29T01:00:00Z", false),
            ("02:30", "04:00", "2026-03-29T00:59:59Z", false),
            ("02:30", "04:00", "2026-03-29T01:00:00Z", true),
            ("02:30", "04:00", "2026-03-29T02:00:00Z", false),
            ("02:15", "02:45", "2026-03-29T01:00:00Z", false),
            // 02:00 to 03:00 comes twice, and the first counts.
            ("02:30", "03:30", "2026-10-25T00:29:59Z", false),
            ("02:30", "03:30", "2026-10-25T00:30:00Z", true),
            ("02:30", "03:30", "2026-10-25T01:10:00Z", true),
            ("02:30", "03:30", "2026-10-25T02:30:00Z", false),
            ("01:00", "02:30", "2026-10-25T00:29:59Z", true),
            ("01:00", "02:30", "2026-10-25T00:30:00Z", false),
            ("01:00", "02:30", "2026-10-25T01:10:00Z", false),
            ("22:00", "02:30", "2026-10-25T01:10:00Z", false),
            // Whole days have 23 and 25 hours.
            ("00:00", "00:00", "2026-03-28T23:00:00Z", true),
            ("00:00", "00:00", "2026-10-25T22:59:59Z", true),
        ] {
            let is_held = daily(from, to).holds(at.parse().unwrap());
            assert_eq!(is_held, holds, "{from} to {to} at {at}");
        }
    }
}
