//! Up to where everything was mailed.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tripline_api::{Place, SourceId};

/// So many logs are remembered; of more, those that had no mail for longest are
/// forgotten: what was mailed of them is settled by then.
const COVERS_MAX: usize = 10_000;

/// For each stretch up to which place its entries are in a mail. What comes
/// again before that is not mailed again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Row>", into = "Vec<Row>")]
pub(super) struct Covers(BTreeMap<Stretch, Cover>);

/// What is handed out in order: a journal with all its eras, or one log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stretch {
    source: String,
    /// Of a log its era, which tells it apart.
    log: Option<u64>,
}

/// Everything before a place, and perhaps a gap that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cover {
    place: (u64, u64, u64),
    has_gap: bool,
    /// The number of the mail.
    mail: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    source: String,
    log: Option<u64>,
    era: u64,
    sequence: u64,
    offset: u64,
    gap: bool,
    mail: u64,
}

impl Stretch {
    /// The stretch of a place with this era in a log, or else a journal.
    pub(super) fn new(source: &SourceId, is_log: bool, era: u64) -> Self {
        Self { source: source.as_str().to_owned(), log: is_log.then_some(era) }
    }
}

const fn plain(place: Place) -> (u64, u64, u64) {
    (place.era, place.sequence, place.offset)
}

impl Covers {
    /// Whether the entry at this place is in a mail.
    pub(super) fn has_entry(&self, stretch: &Stretch, place: Place) -> bool {
        self.0.get(stretch).is_some_and(|cover| plain(place) < cover.place)
    }

    /// Whether the gap that leads to this place is in a mail.
    pub(super) fn has_gap(&self, stretch: &Stretch, to: Place) -> bool {
        self.0.get(stretch).is_some_and(|cover| {
            plain(to) < cover.place || (plain(to) == cover.place && cover.has_gap)
        })
    }

    /// Entries up to this place are in the next mail.
    pub(super) fn add_entries(&mut self, stretch: Stretch, end: Place) {
        self.add(stretch, Cover { place: plain(end), has_gap: false, mail: 0 });
    }

    /// The gap to this place is in the next mail.
    pub(super) fn add_gap(&mut self, stretch: Stretch, to: Place) {
        self.add(stretch, Cover { place: plain(to), has_gap: true, mail: 0 });
    }

    fn add(&mut self, stretch: Stretch, cover: Cover) {
        let known = self.0.entry(stretch).or_insert(cover);
        *known = cover.max(*known);
    }

    /// Takes in what the mail of this number has.
    pub(super) fn join(&mut self, other: Self, mail: u64) {
        for (stretch, cover) in other.0 {
            self.add(stretch, Cover { mail, ..cover });
        }
        if self.0.len() > COVERS_MAX {
            let mut mails: Vec<u64> = self.0.values().map(|cover| cover.mail).collect();
            mails.sort_unstable();
            let oldest = mails[self.0.len() - COVERS_MAX];
            self.0.retain(|_, cover| cover.mail >= oldest);
        }
    }

    /// What comes again of a source is wanted again.
    pub(super) fn forget(&mut self, source: &SourceId) {
        self.0.retain(|stretch, _| stretch.source != source.as_str());
    }
}

impl From<Vec<Row>> for Covers {
    fn from(rows: Vec<Row>) -> Self {
        let cover = |row: Row| {
            let place = (row.era, row.sequence, row.offset);
            let cover = Cover { place, has_gap: row.gap, mail: row.mail };
            (Stretch { source: row.source, log: row.log }, cover)
        };
        Self(rows.into_iter().map(cover).collect())
    }
}

impl From<Covers> for Vec<Row> {
    fn from(covers: Covers) -> Self {
        let row = |(stretch, cover): (Stretch, Cover)| {
            let (era, sequence, offset) = cover.place;
            Row {
                source: stretch.source,
                log: stretch.log,
                era,
                sequence,
                offset,
                gap: cover.has_gap,
                mail: cover.mail,
            }
        };
        covers.0.into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64, offset: u64) -> Place {
        Place { era: 0, sequence, offset, line: 7 }
    }

    #[test]
    fn what_is_before_is_covered() {
        let source = SourceId::new("p4").unwrap();
        let journal = Stretch::new(&source, false, 3);
        let mut covers = Covers::default();
        assert!(!covers.has_entry(&journal, at(0, 0)));
        covers.add_entries(journal.clone(), at(2, 100));
        covers.add_entries(journal.clone(), at(1, 900));
        assert!(
            covers.has_entry(&journal, at(1, 5000))
                && covers.has_entry(&journal, at(2, 99))
        );
        assert!(!covers.has_entry(&journal, at(2, 100)));
        assert!(!covers.has_gap(&journal, at(2, 100)), "entries end there, no gap");
        covers.add_gap(journal.clone(), at(2, 100));
        assert!(
            covers.has_gap(&journal, at(2, 100)) && !covers.has_gap(&journal, at(3, 0))
        );
        let restored = Place { era: 1, ..at(1, 0) };
        assert!(!covers.has_entry(&journal, restored), "a new era");
        let log = Stretch::new(&source, true, 3);
        assert!(!covers.has_entry(&log, at(0, 0)), "another stretch");
        let json = serde_json::to_vec(&covers).unwrap();
        assert_eq!(serde_json::from_slice::<Covers>(&json).unwrap(), covers);
        covers.forget(&source);
        assert_eq!(covers, Covers::default());
    }

    #[test]
    fn the_newest_are_remembered() {
        let source = SourceId::new("logs").unwrap();
        let mut covers = Covers::default();
        for mail in 0..COVERS_MAX as u64 + 50 {
            let mut one = Covers::default();
            one.add_entries(Stretch::new(&source, true, mail), at(0, 1));
            covers.join(one, mail);
        }
        assert_eq!(covers.0.len(), COVERS_MAX);
        assert!(!covers.has_entry(&Stretch::new(&source, true, 49), at(0, 0)));
        assert!(covers.has_entry(&Stretch::new(&source, true, 50), at(0, 0)));
    }
}
