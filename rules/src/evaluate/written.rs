//! Numbers that were written down, as they are read again: none with which reckoning
//! would go wrong.

use super::TIME_MAX;
use serde::de::{Deserialize, Deserializer, Error};
use std::collections::{BTreeMap, VecDeque};

/// Milliseconds since 1970.
pub(super) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    i64::deserialize(from).and_then(checked)
}

/// The same, if it is there.
pub(super) fn maybe_time<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<i64>, D::Error> {
    Option::<i64>::deserialize(from)?.map(checked).transpose()
}

/// Several.
pub(super) fn list<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<VecDeque<i64>, D::Error> {
    Vec::<i64>::deserialize(from)?.into_iter().map(checked).collect()
}

/// Several by name.
pub(super) fn times<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, i64>, D::Error> {
    let written = BTreeMap::<String, i64>::deserialize(from)?;
    written.into_iter().map(|(name, time)| Ok((name, checked(time)?))).collect()
}

/// How many there were.
pub(super) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let count = u64::deserialize(from)?;
    match count <= COUNT_MAX {
        true => Ok(count),
        false => Err(D::Error::custom(format!("{count} is more than ever happens"))),
    }
}

/// How much memory something takes, about.
pub(super) fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    usize::deserialize(from).map(|bytes| bytes.min(super::KEYED_BYTES_MAX))
}

/// A time that is due may be a year behind the last that there is.
pub(super) fn checked<E: Error>(time: i64) -> Result<i64, E> {
    match time.unsigned_abs() <= 2 * TIME_MAX.unsigned_abs() {
        true => Ok(time),
        false => Err(E::custom(format!("{time} is no time"))),
    }
}

/// More are not counted before the end of days.
const COUNT_MAX: u64 = 1 << 53;
