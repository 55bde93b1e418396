//! Durations as people write them: `60s`, `5m`, `1h30m`, `2d`.

use std::time::Duration;

/// The longest duration.
pub(crate) const MAX: Duration =
    Duration::from_secs(crate::language::DURATION_MAX_DAYS * 24 * 3600);
/// The shortest.
pub(crate) const MIN: Duration = Duration::from_millis(1);

/// Reads a duration: numbers with units, the larger first by custom.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() || rest.len() > TEXT_BYTES_MAX {
        return None;
    }
    while !rest.is_empty() {
        let digits =
            rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().ok()?;
        let behind = rest[digits..].trim_start();
        let letters = behind.len() - behind.trim_start_matches(char::is_alphabetic).len();
        let unit = unit(&behind[..letters])?;
        let millis = number.checked_mul(unit)?;
        total = total.checked_add(Duration::from_millis(millis))?;
        rest = behind[letters..].trim_start();
    }
    Some(total)
}

/// What somebody may have meant who wrote it in words or without a unit.
pub(crate) fn meant(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    if text.parse::<u64>().is_ok() {
        return Some(format!("{text}s"));
    }
    let mut words = Vec::new();
    for word in
        text.split([' ', ',', '-']).filter(|word| !word.is_empty() && *word != "and")
    {
        let number = NUMBERS.iter().find(|(name, _)| *name == word);
        words.push(
            number.map_or_else(|| word.to_owned(), |(_, number)| number.to_string()),
        );
    }
    let mut written = String::new();
    for pair in words.chunks(2) {
        let [number, name] = pair else { return None };
        let number: u64 = number.parse().ok()?;
        let short = UNITS.iter().find(|(names, ..)| {
            names.iter().any(|it| it == name)
                || names.contains(&name.trim_end_matches('s'))
        })?;
        written += &format!("{number}{}", short.0[0]);
    }
    parse(&written).map(|_| written)
}

fn unit(name: &str) -> Option<u64> {
    let found = UNITS.iter().find(|(names, _)| names.contains(&name));
    found.map(|(_, millis)| *millis)
}

/// The names of units, the one that we write first, and their milliseconds.
const UNITS: &[(&[&str], u64)] = &[
    (&["ms", "msec", "millisecond", "milliseconds"], 1),
    (&["s", "sec", "secs", "second", "seconds"], 1_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
    (&["w", "week", "weeks"], 604_800_000),
];

const NUMBERS: &[(&str, u64)] = &[
    ("a", 1),
    ("an", 1),
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("ten", 10),
    ("fifteen", 15),
    ("twenty", 20),
    ("thirty", 30),
    ("sixty", 60),
];

/// The longest text that is looked at, in bytes.
const TEXT_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [
            ("60s", 60),
            ("5m", 300),
            ("1h30m", 5400),
            ("2m 30s", 150),
            ("2 d", 172_800),
            ("1 hour", 3600),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "60", "one minute", "5x", "-5s", "1.5h", "99999999999999999999s"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("18446744073709551615w"), None);
    }

    #[test]
    fn words_are_understood() {
        assert_eq!(meant("one minute").as_deref(), Some("1m"));
        assert_eq!(meant("60").as_deref(), Some("60s"));
        assert_eq!(meant("two hours and ten minutes").as_deref(), Some("2h10m"));
        assert_eq!(meant("soon"), None);
        assert_eq!(meant("a while"), None);
    }
}
