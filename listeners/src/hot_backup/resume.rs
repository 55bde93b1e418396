//! Where to begin, given what the standby holds: decided from numbers alone.

use tripline_api::Place;

/// The journals on the standby.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holdings {
    /// Which journal the growing file is; `None` where it is not there, or too
    /// short to say.
    pub(super) current: Option<u64>,
    /// The finished journal with the highest number.
    pub(super) newest: Option<u64>,
}

/// Where the engine is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// At its own cursor.
    AtItsOwn,
    /// At the start of the journal with this sequence.
    AtStartOf(u64),
}

/// Decides. The growing journal comes from its start, to be compared, unless
/// this process has compared it already (`is_compared`).
pub(super) fn resume(
    holdings: Holdings,
    cursor: Option<Place>,
    set_by_hand: bool,
    is_compared: bool,
) -> Answer {
    let Some(place) = cursor else {
        let held = holdings.current.or(holdings.newest);
        return held.map_or(Answer::AtItsOwn, Answer::AtStartOf);
    };
    let in_the_middle = match place.offset {
        0 => Answer::AtItsOwn,
        _ => Answer::AtStartOf(place.sequence),
    };
    match (holdings.current, holdings.newest) {
        (Some(current), _) if current == place.sequence => {
            let is_wanted = set_by_hand || is_compared;
            if is_wanted { Answer::AtItsOwn } else { Answer::AtStartOf(current) }
        }
        // It has more than was settled: what comes again is compared.
        (Some(current), _) if current > place.sequence => Answer::AtItsOwn,
        (_, Some(newest)) if newest >= place.sequence => Answer::AtItsOwn,
        // A person sent us past what is missing.
        _ if set_by_hand => in_the_middle,
        (Some(current), _) => Answer::AtStartOf(current),
        (None, Some(newest)) => Answer::AtStartOf(newest + 1),
        (None, None) => in_the_middle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Answer::{AtItsOwn, AtStartOf};

    #[test]
    fn it_begins_where_the_standby_is() {
        let at =
            |sequence, offset| Some(Place { offset, ..Place::start_of(0, sequence) });
        let holds = |current, newest| Holdings { current, newest };
        for (holdings, cursor, by_hand, is_compared, wanted) in [
            // Nothing there.
            (holds(None, None), None, false, false, AtItsOwn),
            (holds(None, None), at(7, 0), false, false, AtItsOwn),
            (holds(None, None), at(7, 99), false, false, AtStartOf(7)),
            (holds(None, None), at(7, 99), true, false, AtStartOf(7)),
            // Nothing known here.
            (holds(Some(7), Some(6)), None, false, false, AtStartOf(7)),
            (holds(None, Some(6)), None, false, false, AtStartOf(6)),
            // In the same journal.
            (holds(Some(7), None), at(7, 99), false, false, AtStartOf(7)),
            (holds(Some(7), None), at(7, 99), false, true, AtItsOwn),
            (holds(Some(7), None), at(7, 99), true, false, AtItsOwn),
            // The standby is behind.
            (holds(Some(6), Some(5)), at(7, 99), false, true, AtStartOf(6)),
            (holds(None, Some(5)), at(7, 99), false, false, AtStartOf(6)),
            (holds(None, Some(6)), at(7, 99), false, false, AtStartOf(7)),
            (holds(None, Some(6)), at(9, 0), true, false, AtItsOwn),
            // It is ahead.
            (holds(Some(8), Some(7)), at(7, 99), false, false, AtItsOwn),
            (holds(None, Some(7)), at(7, 99), false, false, AtItsOwn),
            (holds(None, Some(9)), at(7, 99), false, false, AtItsOwn),
        ] {
            let found = resume(holdings, cursor, by_hand, is_compared);
            assert_eq!(found, wanted, "{holdings:?} {cursor:?} {by_hand} {is_compared}");
        }
    }
}
