//! Calendars.

use crate::compiled::{Calendar, CalendarTime};
use crate::model::{self, Text};
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use std::sync::Arc;
use tripline_diagnose::{Diagnostic, SourceFile};

/// The calendar, or `None` and what is wrong.
pub(super) fn compile(
    file: &Arc<SourceFile>,
    written: &model::Calendar,
) -> (Option<Calendar>, Vec<Diagnostic>) {
    let mut found = Vec::new();
    let mut times = Vec::new();
    if written.times.is_empty() {
        let message = format!("the calendar `{}` has no time", written.name.value);
        let mut diagnostic = Diagnostic::error(file, written.name.span.clone(), message);
        diagnostic.help("write for example [(from: \"22:00\", to: \"07:00\")]");
        found.push(diagnostic);
    }
    for time in &written.times {
        match compile_time(file, time) {
            Ok(time) => times.push(time),
            Err(diagnostic) => found.push(*diagnostic),
        }
    }
    found.iter_mut().for_each(|it| it.code = "E044");
    let calendar = Calendar { name: written.name.value.clone(), times };
    (found.is_empty().then_some(calendar), found)
}

fn compile_time(
    file: &Arc<SourceFile>,
    time: &model::CalendarTime,
) -> Result<CalendarTime, Box<Diagnostic>> {
    let wrong = |text: &Text, message: &str, help: &str| {
        let message = message.replace("{}", &text.value);
        let mut diagnostic = Diagnostic::error(file, text.span.clone(), message);
        diagnostic.help(help);
        Box::new(diagnostic)
    };
    let is_instant = |text: &Option<Text>| {
        text.as_ref().is_some_and(|text| text.value.contains(['T', '-']))
    };
    if is_instant(&time.from) || is_instant(&time.to) {
        let (Some(from), Some(to)) = (&time.from, &time.to) else {
            let mut diagnostic = Diagnostic::error(
                file,
                time.span.clone(),
                "a time that is once has two ends",
            );
            diagnostic.help("write from: \"2026-12-01T18:00:00+01:00\", to: \"..\"");
            return Err(Box::new(diagnostic));
        };
        let instant = |text: &Text| {
            text.value.parse::<Timestamp>().map_err(|_| {
                let help = "write it like \"2026-12-01T18:00:00+01:00\", with its offset";
                wrong(text, "`{}` is no instant", help)
            })
        };
        let (begins, ends) = (instant(from)?, instant(to)?);
        if begins >= ends {
            return Err(wrong(
                to,
                "`{}` is not after `from`",
                "exchange them, or mend one",
            ));
        }
        if let Some(other) = time.zone.as_ref() {
            let help = "take it away: an instant has its offset";
            return Err(wrong(other, "the zone `{}` has nothing to do here", help));
        }
        return Ok(CalendarTime::Once { from: begins, to: ends });
    }
    let of_day = |text: &Option<Text>| match text {
        None => Ok(Time::midnight()),
        Some(text) if text.value == "24:00" => Ok(Time::midnight()),
        Some(text) => text.value.parse::<Time>().map_err(|_| {
            wrong(
                text,
                "`{}` is no time of the day",
                "write it like \"07:00\" or \"22:30\"",
            )
        }),
    };
    let zone = match &time.zone {
        None => TimeZone::system(),
        Some(name) => TimeZone::get(&name.value).map_err(|_| {
            wrong(
                name,
                "`{}` is no time zone known here",
                "write it like \"Europe/Zurich\" or \"UTC\"",
            )
        })?,
    };
    let mut days = [time.days.is_empty(); 7];
    for day in &time.days {
        days[day.value as usize] = true;
    }
    Ok(CalendarTime::Weekly {
        days,
        from: of_day(&time.from)?,
        to: of_day(&time.to)?,
        zone,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::read;

    fn calendar(times: &str) -> Result<Calendar, String> {
        let text = format!("(calendars: {{\"c\": [{times}]}})");
        let file = SourceFile::new("a.ron", text);
        let (model, wrong) = read(&file);
        assert!(wrong.is_empty(), "{wrong:?}");
        let (calendar, wrong) = compile(&file, &model.calendars[0]);
        calendar.ok_or_else(|| wrong[0].message.clone())
    }

    fn holds(times: &str, at: &str) -> bool {
        calendar(times).unwrap().holds(at.parse().unwrap())
    }

    #[test]
    fn nights_end_on_the_next_day() {
        let night = r#"(from: "22:00", to: "07:00", days: [Fri], zone: "Europe/Zurich")"#;
        // 2026-11-20 is a Friday; Zurich is an hour ahead of UTC.
        assert!(!holds(night, "2026-11-20T20:59:59Z"));
        assert!(holds(night, "2026-11-20T21:00:00Z"));
        assert!(holds(night, "2026-11-21T05:59:59Z"));
        assert!(!holds(night, "2026-11-21T06:00:00Z"));
        assert!(!holds(night, "2026-11-21T21:00:00Z"));
    }

    #[test]
    fn whole_days_and_instants() {
        let weekend = r#"(days: [Sat, Sun], zone: "UTC")"#;
        assert!(holds(weekend, "2026-11-21T00:00:00Z"));
        assert!(holds(weekend, "2026-11-22T23:59:59Z"));
        assert!(!holds(weekend, "2026-11-23T00:00:00Z"));
        let once =
            r#"(from: "2026-12-01T18:00:00+01:00", to: "2026-12-02T06:00:00+01:00")"#;
        assert!(holds(once, "2026-12-01T17:00:00Z"));
        assert!(!holds(once, "2026-12-02T05:00:00Z"));
    }

    #[test]
    fn mistakes_are_told() {
        for (times, words) in [
            ("", "has no time"),
            (r#"(from: "25:00")"#, "no time of the day"),
            (r#"(zone: "Europe/Zurch")"#, "no time zone"),
            (r#"(from: "2026-12-01T18:00:00+01:00")"#, "two ends"),
            (r#"(from: "2026-12-01", to: "2026-12-02")"#, "no instant"),
        ] {
            let message = calendar(times).unwrap_err();
            assert!(message.contains(words), "{times}: {message}");
        }
    }
}
