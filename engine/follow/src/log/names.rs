//! What a file's name says about being an older file of a log. Only ever a
//! hint: the bytes inside decide. It puts files in an order for the first try,
//! and keeps rotated files from being followed as logs of their own.

use std::cmp::Reverse;

/// Endings of compressed files that can be read.
const COMPRESSED: [&[u8]; 4] = [b".gz", b".zst", b".xz", b".bz2"];

/// Endings of the one older file that some programs keep.
const PREVIOUS: [&[u8]; 3] = [b".old", b".bak", b".prev"];

/// Endings that a rotation may add to a log that has none (`addextension`).
const ADDED: [&[u8]; 2] = [b".log", b".txt"];

/// The longest number or date with its separator, in bytes.
const TAIL_BYTES_MAX: usize = 48;

/// The most groups of digits in a date with its time and number.
const GROUPS_MAX: usize = 10;

/// How many digits a date needs behind a `-` or `_` before the extension:
/// `app-1.log` is usually another log than `app.log`, and so is `app-2026.log`.
const INSERTED_DIGITS_MIN: usize = 8;

/// Seconds since 1970 that are taken for a time: 2001 to 2099.
const EPOCH: std::ops::Range<u64> = 1_000_000_000..4_102_444_800;

/// What the name of an older file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    /// Its place among the older files of the same log.
    pub(super) age: Age,
    /// The name ends as those of compressed files do; the content may differ.
    pub(super) is_compressed: bool,
    /// The number or date stands before the extension, so the name could as well
    /// be that of another log, beside the one it is called after.
    pub(super) keeps_extension: bool,
}

impl Rotation {
    /// Whether the file could as well be a log of its own, by its name.
    pub(super) const fn could_be_a_log(&self) -> bool {
        self.keeps_extension && !self.is_compressed
    }
}

/// Orders the older files of one log, oldest first.
///
/// Names of different kinds beside each other, as after a change of the
/// rotation's configuration, have an order too, but it says little.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Age {
    /// A date, with or without time and number, as its numbers from the year
    /// on; or the seconds, or fractions of them, since 1970.
    ///
    /// Of two files of one day the one with the higher number is newer, and
    /// one without a number is the first: so do the writers that number the
    /// files of a day (logback, log4j 2, serilog, winston). In a time zone
    /// that turns its clocks back the order can be wrong for an hour.
    Dated(Vec<u64>),
    /// A number that rises with each rotation: the lowest is the newest.
    Numbered(Reverse<u64>),
    /// The one older file of a log that keeps no more.
    Previous,
}

impl Age {
    /// Whether it is a number that counts rotations.
    pub(super) const fn is_numbered(&self) -> bool {
        matches!(self, Self::Numbered(_))
    }
}

/// Reads `name`, a file name, as that of an older file of the log that is
/// called `base`; `None` when it is not called like one.
///
/// These forms are known, all with or without the ending of a compressed file:
/// `app.log.1` and `app.log-20261120` (also behind `_`); `app.1.log` and
/// `app-20261120.log`, where the extension stays last; `app.1.log` of a log
/// called `app`; `app.log.old`, `.bak` and `.prev`.
///
/// `app.log.gz` alone is none: it says nothing of its age, and may be an
/// admin's copy as well as what was compressed.
pub(super) fn rotation_of(base: &[u8], name: &[u8]) -> Option<Rotation> {
    // Most names in a folder end here.
    let stem = base.iter().rposition(|&byte| byte == b'.').unwrap_or(base.len());
    if !name.starts_with(&base[..stem]) {
        return None;
    }
    let found = readings(name).find(|reading| reading.is_of(base))?;
    let Reading { age, is_compressed, keeps_extension, .. } = found;
    Some(Rotation { age, is_compressed, keeps_extension })
}

/// The names that a file has when it is compressed.
pub(super) fn compressed(name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    COMPRESSED.iter().map(move |end| [name, end].concat())
}

/// The name of every log that `name` could be an older file of, in no certain
/// order and each once. Exactly those for which [`rotation_of`] says so.
pub(super) fn bases_of(name: &[u8]) -> Vec<Vec<u8>> {
    let mut bases: Vec<_> = readings(name).map(|reading| reading.base()).collect();
    bases.sort_unstable();
    bases.dedup();
    bases
}

/// Numbers that are missing between two that are there, first and last of each
/// run; `ages` are those of one log, oldest first. Dates have no holes: nobody
/// knows how often a log is rotated.
pub(super) fn holes(ages: &[Age]) -> Vec<(u64, u64)> {
    let number = |age: &Age| match age {
        Age::Numbered(Reverse(number)) => Some(*number),
        Age::Dated(_) | Age::Previous => None,
    };
    let numbers: Vec<u64> = ages.iter().filter_map(number).collect();
    let missing = |pair: &[u64]| {
        let (first, last) = (pair[1].checked_add(1)?, pair[0].checked_sub(1)?);
        (first <= last).then_some((first, last))
    };
    numbers.windows(2).filter_map(missing).collect()
}

/// One way to read a name: as that of an older file of `stem` + `extension`.
struct Reading<'a> {
    stem: &'a [u8],
    extension: &'a [u8],
    age: Age,
    is_compressed: bool,
    keeps_extension: bool,
}

impl Reading<'_> {
    fn base(&self) -> Vec<u8> {
        [self.stem, self.extension].concat()
    }

    fn is_of(&self, base: &[u8]) -> bool {
        base.strip_prefix(self.stem) == Some(self.extension)
    }
}

/// All ways to read a name.
fn readings(name: &[u8]) -> impl Iterator<Item = Reading<'_>> {
    let compressed = COMPRESSED.iter().find_map(|end| name.strip_suffix(*end));
    let (body, is_compressed) = compressed.map_or((name, false), |body| (body, true));
    let reading = move |stem, extension, age, keeps_extension| Reading {
        stem,
        extension,
        age,
        is_compressed,
        keeps_extension,
    };

    let previous = PREVIOUS.iter().filter_map(|end| body.strip_suffix(*end));
    let previous = previous.filter(|stem| !stem.is_empty());
    let previous =
        previous.map(move |stem| reading(stem, &b""[..], Age::Previous, false));

    let appended = cuts(body).filter_map(move |(stem, tail)| {
        Some(reading(stem, &b""[..], age(&tail[1..])?, false))
    });

    let inserted = extension(body).into_iter().flat_map(move |(rest, extension)| {
        cuts(rest)
            .filter_map(move |(stem, tail)| Some((stem, extension, inserted_age(tail)?)))
    });
    let inserted = inserted.flat_map(move |(stem, extension, age)| {
        // Added to a log that has no such extension, or kept behind.
        let is_added = ADDED.contains(&extension) && !stem.ends_with(extension);
        let added = is_added.then(|| reading(stem, &b""[..], age.clone(), true));
        std::iter::once(reading(stem, extension, age, true)).chain(added)
    });
    previous.chain(appended).chain(inserted)
}

/// Where a name may be cut: before each separator near its end. Both parts have
/// a byte or more.
fn cuts(body: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let first = body.len().saturating_sub(TAIL_BYTES_MAX).max(1);
    let is_cut = move |&at: &usize| matches!(body[at], b'.' | b'-' | b'_');
    (first..body.len()).filter(is_cut).map(|at| body.split_at(at))
}

/// The extension of a name with its dot, and what is before it.
fn extension(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = body.iter().rposition(|&byte| byte == b'.')?;
    let (rest, extension) = body.split_at(dot);
    let is_word = extension.get(1).is_some_and(|byte| !byte.is_ascii_digit());
    let is_other = COMPRESSED.contains(&extension);
    (dot > 0 && is_word && !is_other).then_some((rest, extension))
}

/// The age between a name and its extension; `tail` begins with the separator.
fn inserted_age(tail: &[u8]) -> Option<Age> {
    let (separator, text) = tail.split_first()?;
    let age = age(text)?;
    let digits = || text.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_date = || matches!(age, Age::Dated(_)) && digits() >= INSERTED_DIGITS_MIN;
    (*separator == b'.' || is_date()).then_some(age)
}

/// Reads groups of digits with single separators between them.
fn age(text: &[u8]) -> Option<Age> {
    let is_separator = |byte: &u8| matches!(byte, b'.' | b'-' | b'_' | b':' | b'T');
    let mut groups: Vec<&[u8]> = Vec::new();
    for group in text.split(is_separator) {
        let is_number = !group.is_empty() && group.iter().all(u8::is_ascii_digit);
        if !is_number || groups.len() == GROUPS_MAX {
            return None;
        }
        groups.push(group);
    }
    if let Some(date) = date(&groups) {
        return Some(Age::Dated(date));
    }
    match groups[..] {
        [one] => Some(Age::Numbered(Reverse(number(one)?))),
        // Two numbers are no scheme that anybody uses: a version, perhaps.
        _ => None,
    }
}

/// Groups of digits as a date, and what may come behind it.
fn date(groups: &[&[u8]]) -> Option<Vec<u64>> {
    let (first, rest) = groups.split_first()?;
    let mut parts = compact_date(first)
        .or_else(|| epoch(first).map(|time| vec![time]))
        .or_else(|| year(first, rest).map(|year| vec![year]))?;
    for group in rest {
        parts.push(number(group)?);
    }
    Some(parts)
}

/// `20261120`, with hours, minutes, seconds and three, six or nine digits of
/// a second behind it, or `202611`.
///
/// A time in seconds since 1970 has ten digits too, like a date with its hour,
/// but until 2033 it begins with a year in which there were no logs.
fn compact_date(digits: &[u8]) -> Option<Vec<u64>> {
    let ends: &[usize] = match digits.len() {
        6 => &[4, 6],
        8 => &[4, 6, 8],
        10 => &[4, 6, 8, 10],
        12 => &[4, 6, 8, 10, 12],
        14 => &[4, 6, 8, 10, 12, 14],
        17 | 20 | 23 => &[4, 6, 8, 10, 12, 14, digits.len()],
        _ => return None,
    };
    let mut parts = Vec::with_capacity(GROUPS_MAX);
    let mut start = 0;
    for &end in ends {
        parts.push(number(&digits[start..end])?);
        start = end;
    }
    let bounds = [1970..=2099, 1..=12, 1..=31, 0..=24, 0..=59, 0..=60];
    let is_date = bounds.iter().zip(&parts).all(|(bound, part)| bound.contains(part));
    is_date.then_some(parts)
}

/// Seconds, milli-, micro- or nanoseconds since 1970.
fn epoch(digits: &[u8]) -> Option<u64> {
    let unit = match digits.len() {
        10 => 1,
        13 => 1_000,
        16 => 1_000_000,
        19 => 1_000_000_000,
        _ => return None,
    };
    let time = number(digits)?;
    EPOCH.contains(&(time / unit)).then_some(time)
}

/// A year that a month, a week or a day of the year follows. Alone it would be
/// a number like another.
fn year(digits: &[u8], rest: &[&[u8]]) -> Option<u64> {
    let has_more = rest.first().is_some_and(|group| group.len() <= 3);
    let year = if digits.len() == 4 && has_more { number(digits)? } else { return None };
    (1970..=2099).contains(&year).then_some(year)
}

/// A number, with zeros before it or not; `None` if it does not fit.
fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
