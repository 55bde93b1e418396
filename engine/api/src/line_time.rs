//! The time that a line carries.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::Deserialize;

/// How lines write their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TimeFormat {
    /// `Nov 20 21:00:00` at the start of the line, as syslog writes it without
    /// a year, or behind a `<PRI>`. The year is the one that puts it next to
    /// the time the line was seen, and at most a day after.
    Syslog,
    /// `2026-11-20T21:00:00.123+01:00`, as ISO 8601 and RFC 3339 have it, in
    /// the forms that logs use: a space for the `T`, slashes in the date, no
    /// seconds, a fraction after a point or a comma (it is dropped), and `Z`,
    /// ` UTC`, ` GMT`, `+01:00`, `+0100`, ` +0100`, `+01` or nothing at the end.
    ///
    /// The first one counts that begins within the first 64 bytes and behind
    /// no letter or digit: in a bracket, in quotes, behind a host name.
    Iso,
}

/// Reads the time that a line carries.
///
/// Where the line names no time zone, the configured one is used. A time that
/// its clocks skipped counts as if they had not been set forward yet (02:30
/// becomes 03:30); of one that they showed twice the first is taken.
#[derive(Clone, Debug)]
pub struct LineTime {
    format: TimeFormat,
    zone: TimeZone,
}

/// A time zone that is not known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time zone known here: write it like \"Europe/Berlin\" or \"UTC\"")]
pub struct ZoneError(String);

impl LineTime {
    /// How far into a line an ISO time may begin, in bytes.
    pub const SEARCH_BYTES_MAX: usize = 64;

    /// Reads times in this format. `zone` is `UTC` or a name of the IANA time
    /// zone database, looked up on this machine; `None` is the zone of this
    /// machine, or UTC when it has none.
    pub fn new(format: TimeFormat, zone: Option<&str>) -> Result<Self, ZoneError> {
        let zone = match zone {
            None => TimeZone::system(),
            Some("UTC") => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| ZoneError(name.to_owned()))?,
        };
        Ok(Self { format, zone })
    }

    /// The time in a line, in seconds since 1970. `near` is a time near to it,
    /// of which the year is guessed where the line has none: when the line was
    /// seen, in seconds since 1970.
    pub fn parse(&self, line: &[u8], near: i64) -> Option<i64> {
        match self.format {
            TimeFormat::Syslog => self.parse_syslog(line, near),
            TimeFormat::Iso => self.parse_iso(line),
        }
    }

    fn parse_iso(&self, line: &[u8]) -> Option<i64> {
        let starts = line.len().min(Self::SEARCH_BYTES_MAX + 1);
        let mut before = b' ';
        for (at, byte) in line[..starts].iter().enumerate() {
            if byte.is_ascii_digit() && !before.is_ascii_alphanumeric() {
                let found = Text(&line[at..]).iso();
                if let Some(time) = found.and_then(|found| self.seconds(found)) {
                    return Some(time);
                }
            }
            before = *byte;
        }
        None
    }

    fn parse_syslog(&self, line: &[u8], near: i64) -> Option<i64> {
        let (month, day, clock) = Text(line).syslog()?;
        let this_year = Timestamp::from_second(near).ok()?;
        let this_year = this_year.to_zoned(self.zone.clone()).year();
        let latest = near.saturating_add(ONE_DAY);
        // The 29th of February may be eight years ago.
        (this_year.saturating_sub(8)..=this_year.saturating_add(1))
            .rev()
            .filter_map(|year| {
                let local = clock.on(Date::new(year, month, day).ok()?)?;
                self.seconds((local, None))
            })
            .find(|time| *time <= latest)
    }

    /// The seconds since 1970 of a time with its offset from UTC in seconds,
    /// or without one.
    fn seconds(&self, (local, offset): (DateTime, Option<i64>)) -> Option<i64> {
        if let Some(offset) = offset {
            let time = TimeZone::UTC.to_timestamp(local).ok()?;
            return Some(time.as_second() - offset);
        }
        Some(self.zone.to_timestamp(local).ok()?.as_second())
    }
}

/// In seconds.
const ONE_DAY: i64 = 24 * 60 * 60;

/// A time of the day.
#[derive(Clone, Copy)]
struct Clock {
    hour: i8,
    minute: i8,
    second: i8,
}

impl Clock {
    fn on(self, date: Date) -> Option<DateTime> {
        // A leap second is the second before it.
        let second = if self.second == 60 { 59 } else { self.second };
        let time = jiff::civil::Time::new(self.hour, self.minute, second, 0).ok()?;
        Some(date.to_datetime(time))
    }
}

/// What was not read yet of a line.
#[derive(Clone, Copy)]
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn iso(mut self) -> Option<(DateTime, Option<i64>)> {
        let year = self.number(4)?;
        let separator = self.one_of(b"-/")?;
        let month = self.number(2)? as i8;
        self.one_of(&[separator])?;
        let day = self.number(2)? as i8;
        self.one_of(b"Tt ")?;
        let clock = self.clock()?;
        let local = clock.on(Date::new(year, month, day).ok()?)?;
        Some((local, self.offset()))
    }

    fn syslog(mut self) -> Option<(i8, i8, Clock)> {
        self.skip_priority();
        let name = self.0.get(..3)?;
        let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
        self.0 = &self.0[3..];
        self.one_of(b" ")?;
        let _ = self.one_of(b" ");
        let day = self.number(2).or_else(|| self.number(1))?;
        self.one_of(b" ")?;
        let clock = self.clock()?;
        Some((month as i8 + 1, day as i8, clock))
    }

    /// `<13>`, if it is there.
    fn skip_priority(&mut self) {
        let Some(rest) = self.0.strip_prefix(b"<") else { return };
        let digits = rest.iter().take(3).take_while(|b| b.is_ascii_digit()).count();
        if digits > 0 && rest.get(digits) == Some(&b'>') {
            self.0 = &rest[digits + 1..];
        }
    }

    /// `21:00`, `21:00:00` or `21:00:00.123`.
    fn clock(&mut self) -> Option<Clock> {
        let hour = self.number(2)? as i8;
        self.one_of(b":")?;
        let minute = self.number(2)? as i8;
        let mut second = 0;
        if self.one_of(b":").is_some() {
            second = self.number(2)? as i8;
            let fraction = Self(self.0.get(1..).unwrap_or_default()).digits();
            if fraction > 0 && matches!(self.0.first(), Some(b'.' | b',')) {
                self.0 = &self.0[1 + fraction..];
            }
        }
        (self.digits() == 0).then_some(Clock { hour, minute, second })
    }

    /// The offset from UTC in seconds, where one is written.
    fn offset(mut self) -> Option<i64> {
        if self.one_of(b"Zz").is_some() {
            return Some(0);
        }
        let has_space = self.one_of(b" ").is_some();
        if has_space && [b"UTC", b"GMT"].iter().any(|name| self.0.starts_with(*name)) {
            return Some(0);
        }
        let sign = if self.one_of(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.number(2)?;
        let has_colon = self.one_of(b":").is_some();
        let minutes = match self.number(2) {
            Some(minutes) => minutes,
            // After a space it may be any number.
            None if has_colon || has_space => return None,
            None => 0,
        };
        let is_offset = hours < 24 && minutes < 60 && self.digits() == 0;
        is_offset.then(|| sign * (i64::from(hours) * 60 + i64::from(minutes)) * 60)
    }

    /// Reads so many digits, at most four.
    fn number(&mut self, digits: usize) -> Option<i16> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        let number = number.iter().try_fold(0, |number, byte| {
            let digit = byte.is_ascii_digit().then(|| i16::from(byte - b'0'))?;
            Some(number * 10 + digit)
        })?;
        self.0 = rest;
        Some(number)
    }

    /// Reads one of these bytes.
    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// How many digits come now.
    fn digits(self) -> usize {
        self.0.iter().take_while(|b| b.is_ascii_digit()).count()
    }
}

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct",
    b"Nov", b"Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Berlin's rule, also where no time zone database is installed.
    fn berlin(format: TimeFormat) -> LineTime {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        LineTime { format, zone }
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn iso_times_in_many_forms() {
        let time = berlin(TimeFormat::Iso);
        let nine = "2026-11-20T20:00:00Z";
        for (line, expected) in [
            ("2026-11-20T21:00:00.123+01:00 up", Some(nine)),
            ("2026-11-20T21:00:00.123456789+01:00", Some(nine)),
            ("2026-11-20 21:00:00,123 INFO up", Some(nine)),
            ("2026-11-20 21:00:00", Some(nine)),
            ("2026-11-20t20:00:00z", Some(nine)),
            ("2026-11-20 21:00", Some(nine)),
            ("\t2026/11/20 21:00:00 pid 1234 ann@ws", Some(nine)),
            ("[2026-11-20T15:00:00-0500] up", Some(nine)),
            ("2026-11-20T22+ 2026-11-20T21:00:00+01", Some(nine)),
            ("<165>1 2026-11-20T20:00:00.003Z host app - -", Some(nine)),
            ("{\"time\":\"2026-11-20T20:00:00Z\"}", Some(nine)),
            ("2026-11-20 20:00:00.5 UTC [7] LOG: up", Some(nine)),
            ("2026-11-20 20:00:00 GMT", Some(nine)),
            ("2026-11-20 16:00:00 -0400 up", Some(nine)),
            ("2026-11-20 01:30:00 +05:30", Some("2026-11-19T20:00:00Z")),
            ("2026-11-20 21:00:00 -5 things", Some(nine)),
            ("2026-11-20 21:00:00 +12345 things", Some(nine)),
            ("2026-11-20 21:00:00 CET", Some(nine)),
            ("2026-11-20 21:00:00-99:00", Some(nine)),
            ("2026-11-20 21:00:00, then", Some(nine)),
            ("2026-13-20 21:00:00 2026-11-20 21:00:00", Some(nine)),
            ("1969-12-31T23:59:58Z", Some("1969-12-31T23:59:58Z")),
            ("2016-12-31T23:59:60Z", Some("2016-12-31T23:59:59Z")),
            ("2028-02-29 12:00:00", Some("2028-02-29T11:00:00Z")),
            ("2026-02-29 12:00:00", None),
            ("2026-11-20", None),
            ("2026-11-20 24:00:00", None),
            ("2026-11/20 21:00:00", None),
            ("12026-11-20 21:00:00", None),
            ("v2026-11-20 21:00:00", None),
            ("2026-11-20 21:00:001", None),
            ("2026-11-20 21:0", None),
            ("", None),
            ("Nov 20 21:00:00 host", None),
        ] {
            assert_eq!(time.parse(line.as_bytes(), 0), expected.map(at), "{line}");
        }
    }

    #[test]
    fn an_iso_time_begins_within_the_first_bytes() {
        let time = berlin(TimeFormat::Iso);
        let behind = |count| [&vec![b'.'; count], &b"2026-11-20 21:00:00Z"[..]].concat();
        assert!(time.parse(&behind(LineTime::SEARCH_BYTES_MAX), 0).is_some());
        assert!(time.parse(&behind(LineTime::SEARCH_BYTES_MAX + 1), 0).is_none());
        assert!(time.parse(b"\xff\0 2026-11-20 21:00:00Z", 0).is_some());
    }

    #[test]
    fn the_clocks_go_forward_and_back() {
        let time = berlin(TimeFormat::Iso);
        for (line, expected) in [
            ("2026-03-29 01:59:59", "2026-03-29T00:59:59Z"),
            // Skipped: as 03:30 in summer.
            ("2026-03-29 02:30:00", "2026-03-29T01:30:00Z"),
            ("2026-03-29 03:00:00", "2026-03-29T01:00:00Z"),
            // Twice: the first, in summer time.
            ("2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),
            ("2026-10-25 03:00:00", "2026-10-25T02:00:00Z"),
        ] {
            assert_eq!(time.parse(line.as_bytes(), 0), Some(at(expected)), "{line}");
        }
    }

    #[test]
    fn syslog_times_find_their_year() {
        let time = berlin(TimeFormat::Syslog);
        for (line, near, expected) in [
            (
                "Nov 20 21:00:00 host p4d[7]: up",
                "2026-11-20T20:00:05Z",
                Some("2026-11-20T20:00:00Z"),
            ),
            (
                "<13>Nov  5 21:00:00 h",
                "2026-11-20T00:00:00Z",
                Some("2026-11-05T20:00:00Z"),
            ),
            ("nov 05 21:00:00", "2026-11-20T00:00:00Z", Some("2026-11-05T20:00:00Z")),
            ("Nov 5 21:00:00", "2026-11-20T00:00:00Z", Some("2026-11-05T20:00:00Z")),
            // At most a day after, else the year before.
            ("Nov 21 01:00:00", "2026-11-20T00:00:00Z", Some("2026-11-21T00:00:00Z")),
            ("Nov 21 01:00:01", "2026-11-20T00:00:00Z", Some("2025-11-21T00:00:01Z")),
            // Around new year, which is an hour earlier in Berlin.
            ("Dec 31 23:59:59", "2027-01-01T10:00:00Z", Some("2026-12-31T22:59:59Z")),
            ("Jan  1 00:00:01", "2026-12-31T22:59:00Z", Some("2026-12-31T23:00:01Z")),
            ("Jan  1 00:00:01", "2026-12-31T23:30:00Z", Some("2026-12-31T23:00:01Z")),
            ("Dec 31 23:59:59", "2026-12-31T23:30:00Z", Some("2026-12-31T22:59:59Z")),
            ("Feb 29 12:00:00", "2028-03-01T00:00:00Z", Some("2028-02-29T11:00:00Z")),
            ("Feb 29 12:00:00", "2027-03-01T00:00:00Z", Some("2024-02-29T11:00:00Z")),
            ("Feb 29 12:00:00", "2104-02-01T00:00:00Z", Some("2096-02-29T11:00:00Z")),
            // Skipped and twice.
            ("Mar 29 02:30:00", "2026-03-29T02:00:00Z", Some("2026-03-29T01:30:00Z")),
            ("Oct 25 02:30:00", "2026-10-25T02:00:00Z", Some("2026-10-25T00:30:00Z")),
            ("Feb 30 12:00:00", "2028-03-01T00:00:00Z", None),
            ("Nov 20 25:00:00", "2026-11-20T00:00:00Z", None),
            ("Nov 20 21:", "2026-11-20T00:00:00Z", None),
            ("Nov 20 21:00:001", "2026-11-20T00:00:00Z", None),
            ("Nov 123 21:00:00", "2026-11-20T00:00:00Z", None),
            ("Nox 20 21:00:00", "2026-11-20T00:00:00Z", None),
            ("<1234>Nov 20 21:00:00", "2026-11-20T00:00:00Z", None),
            (" Nov 20 21:00:00", "2026-11-20T00:00:00Z", None),
            ("Nov", "2026-11-20T00:00:00Z", None),
            ("", "2026-11-20T00:00:00Z", None),
        ] {
            let found = time.parse(line.as_bytes(), at(near));
            assert_eq!(found, expected.map(at), "{line} near {near}");
        }
    }

    #[test]
    fn no_time_is_too_far() {
        for near in [i64::MIN, i64::MAX, -400_000_000_000, 253_402_207_200] {
            for format in [TimeFormat::Syslog, TimeFormat::Iso] {
                for line in ["Nov 20 21:00:00", "9999-12-31 23:59:59-23:59"] {
                    let _ = berlin(format).parse(line.as_bytes(), near);
                }
            }
        }
    }

    #[test]
    fn zones_have_names() {
        let utc = LineTime::new(TimeFormat::Iso, Some("UTC")).unwrap();
        let line = b"2026-11-20 21:00:00";
        assert_eq!(utc.parse(line, 0), Some(at("2026-11-20T21:00:00Z")));
        assert!(LineTime::new(TimeFormat::Iso, None).is_ok());
        let error = LineTime::new(TimeFormat::Iso, Some("Mars/Base")).unwrap_err();
        assert!(error.to_string().starts_with("`Mars/Base` is no time zone known here"));
    }

    #[test]
    fn a_format_is_read_from_its_name() {
        let format: TimeFormat = ron::from_str("Syslog").unwrap();
        assert_eq!(format, TimeFormat::Syslog);
    }
}
