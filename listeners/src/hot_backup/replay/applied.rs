//! The file `applied`: up to where the standby's database has everything.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use tripline_api::{Entry, Place};

/// The file with the place up to which everything is applied.
pub(in crate::hot_backup) const APPLIED: &str = "applied";
pub(in crate::hot_backup) const APPLIED_BYTES_MAX: u64 = 64 * 1024;

/// A place up to which everything is applied, as the file says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::hot_backup) struct Applied {
    sequence: u64,
    offset: u64,
    line: u64,
    #[serde(default)]
    era: u64,
    /// The record before the place, which proves it; not where a person named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Last>,
    /// The tables that were left out when it was last applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    without: Vec<String>,
    /// The checkpoint that a person has to restore before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::hot_backup) restore: Option<String>,
}

/// A record of which not much is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Last {
    bytes: u64,
    lines: u64,
    sha256: String,
}

/// What an entry is to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It lies before it.
    Before,
    /// It ends there, and is the one that proves it.
    Proves,
    /// It ends or goes through there, and is another one.
    Differs,
    /// It lies behind it.
    Behind,
}

impl Applied {
    /// A place that nothing proves: where a database made from a checkpoint is.
    pub(in crate::hot_backup) const fn at(place: Place) -> Self {
        let Place { era, sequence, offset, line } = place;
        Self {
            sequence,
            offset,
            line,
            era,
            last: None,
            without: Vec::new(),
            restore: None,
        }
    }

    /// Before anything is, a person restores this checkpoint.
    pub(in crate::hot_backup) fn after(checkpoint: String, place: Place) -> Self {
        Self { restore: Some(checkpoint), ..Self::at(place) }
    }

    /// The place behind an entry.
    pub(super) fn behind(entry: &Entry<'_>) -> Self {
        let end = entry.end();
        let last = Last {
            bytes: end.offset - entry.place.offset,
            lines: end.line - entry.place.line,
            sha256: hex(entry.bytes),
        };
        Self { last: Some(last), ..Self::at(end) }
    }

    /// The same, with these tables left out.
    pub(super) fn without(self, tables: &[String]) -> Self {
        Self { without: tables.to_vec(), ..self }
    }

    /// Whether it was applied without these tables and no others.
    pub(super) fn is_without(&self, tables: &[String]) -> bool {
        self.without == tables
    }

    pub(in crate::hot_backup) const fn place(&self) -> Place {
        let Self { era, sequence, offset, line, .. } = *self;
        Place { era, sequence, offset, line }
    }

    /// Where the record that proves it begins; the place where there is none.
    pub(super) fn since(&self) -> Place {
        let (bytes, lines) = self.last.as_ref().map_or((0, 0), |it| (it.bytes, it.lines));
        Place {
            offset: self.offset.saturating_sub(bytes),
            line: self.line.saturating_sub(lines),
            ..self.place()
        }
    }

    pub(super) fn see(&self, entry: &Entry<'_>) -> Seen {
        let (place, end) = (self.place(), entry.end());
        if end < place {
            return Seen::Before;
        }
        if end > place {
            return if entry.place < place { Seen::Differs } else { Seen::Behind };
        }
        match &self.last {
            Some(last) if last.sha256 != hex(entry.bytes) => Seen::Differs,
            _ => Seen::Proves,
        }
    }

    /// What stands in the file.
    pub(in crate::hot_backup) fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Reads what stands in the file.
    pub(in crate::hot_backup) fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(bytes) {
        _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Feed;

    #[test]
    fn the_record_before_a_place_proves_it() {
        let journal = |by: u32| {
            let text =
                format!("@pv@ 0 @db.x@ 1 @a\nb@ \n@ex@ {by} 1\n@pv@ 0 @db.x@ 2 \n");
            Feed::new("p4").journal(4, text.as_bytes()).batches(None, usize::MAX)
        };
        let right = journal(7);
        let entries: Vec<_> = right[0].view().entries().collect();
        let applied = Applied::behind(&entries[1]);
        assert_eq!(
            (applied.place(), applied.since()),
            (entries[2].place, entries[1].place)
        );
        let read = Applied::read(&applied.text()).unwrap();
        assert_eq!(read, applied);
        let seen: Vec<_> = entries.iter().map(|entry| read.see(entry)).collect();
        assert_eq!(seen, [Seen::Before, Seen::Proves, Seen::Behind]);
        let other = journal(8);
        let seen: Vec<_> =
            other[0].view().entries().map(|entry| read.see(&entry)).collect();
        assert_eq!(seen, [Seen::Before, Seen::Differs, Seen::Behind]);
        let longer = journal(77);
        let seen: Vec<_> =
            longer[0].view().entries().map(|entry| read.see(&entry)).collect();
        assert_eq!(seen, [Seen::Before, Seen::Differs, Seen::Behind]);
    }

    #[test]
    fn a_place_that_a_person_wrote_needs_no_proof() {
        let place = Place { era: 0, sequence: 4, offset: 27, line: 2 };
        let written = br#"{"sequence": 4, "offset": 27, "line": 2}"#;
        let read = Applied::read(written).unwrap();
        assert_eq!((read.place(), read.since()), (place, place));
        assert!(Applied::read(b"{}").is_err());
    }
}
