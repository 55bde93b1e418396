//! Where something is, and what things are called.

use std::fmt;
use std::sync::Arc;

/// A place in a source: always of the decompressed stream, always on the first
/// byte of an entry or just behind the last byte of one.
///
/// Places of one source order by era, then sequence, then offset; the line follows
/// from these. One that was read from an id has no line: compare such ones by
/// [`Place::key`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// What keeps the ids of entries apart where sequence and offset alone would
    /// not. For a journal: how often its numbering started over, 0 and one
    /// more each time the server came back with a number it had used (after a
    /// restore). For a log: 0 for the one that is the first path of the
    /// configuration, for any other a number made from its path; see
    /// [`Place::era_of_log`].
    pub era: u64,
    /// For a journal its own number (0 while it has none); for a log the
    /// files that came before this one: its rotations.
    pub sequence: u64,
    /// Bytes before this place in the decompressed file.
    pub offset: u64,
    /// Line feeds before this place in the file: the line number, from 0.
    pub line: u64,
}

impl Place {
    /// The first byte of the file with this sequence number.
    pub const fn start_of(era: u64, sequence: u64) -> Self {
        Self { era, sequence, offset: 0, line: 0 }
    }

    /// The place `bytes` bytes and `lines` line feeds further on.
    pub const fn advance(self, bytes: u64, lines: u64) -> Self {
        Self { offset: self.offset + bytes, line: self.line + lines, ..self }
    }

    /// The era of the log at this path: 48 bits of a hash, so that thousands of
    /// logs in one source do not meet, and never 0.
    pub fn era_of_log(path: &std::path::Path) -> u64 {
        let digest = crate::Digest::of(path.as_os_str().as_encoded_bytes());
        let (eight, _) = digest.hash.split_at(8);
        let number = eight.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        (number >> 16).max(1)
    }

    /// Writes `sequence/offset`, with `~era` behind it when the era is not 0:
    /// the part of an entry's id that comes after the source's name.
    pub fn id(&self) -> impl fmt::Display {
        struct Id(Place);
        impl fmt::Display for Id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.0.sequence, self.0.offset)?;
                match self.0.era {
                    0 => Ok(()),
                    era => write!(f, "~{era}"),
                }
            }
        }
        Id(*self)
    }

    /// What decides where a place is: era, sequence and offset.
    pub const fn key(&self) -> (u64, u64, u64) {
        (self.era, self.sequence, self.offset)
    }

    /// Reads what [`Place::id`] wrote; the line is not part of an id and
    /// becomes 0: see [`Place::key`].
    pub fn from_id(id: &str) -> Option<Self> {
        let (id, era) = match id.split_once('~') {
            Some((id, era)) => (id, era.parse().ok()?),
            None => (id, 0),
        };
        let (sequence, offset) = id.split_once('/')?;
        Some(Self {
            era,
            sequence: sequence.parse().ok()?,
            offset: offset.parse().ok()?,
            line: 0,
        })
    }
}

/// `sequence:offset`, as `tripline where --set` takes it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.offset)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest name, in bytes.
            pub const BYTES_MAX: usize = 100;

            /// Takes a name of letters, digits, `_`, `-` and `.`, at most
            /// [`Self::BYTES_MAX`] long; `None` for any other.
            ///
            /// Names become parts of ids and of file names, so `/`, `~` and
            /// white space stay out.
            pub fn new(name: &str) -> Option<Self> {
                let fine = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
                (!name.is_empty()
                    && name.len() <= Self::BYTES_MAX
                    && !name.starts_with('.')
                    && name.bytes().all(fine))
                .then(|| Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// The name of a source in the configuration.
    SourceId
}

name! {
    /// The name of a listener in the configuration.
    ListenerId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back() {
        let place = Place { era: 0, sequence: 12, offset: 3456, line: 0 };
        assert_eq!(place.id().to_string(), "12/3456");
        assert_eq!(Place::from_id("12/3456"), Some(place));
        let restored = Place { era: 2, ..place };
        assert_eq!(restored.id().to_string(), "12/3456~2");
        assert_eq!(Place::from_id("12/3456~2"), Some(restored));
        for bad in ["", "12", "12/", "/1", "a/b", "1/2~", "1/2~x", "-1/2"] {
            assert_eq!(Place::from_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn logs_have_eras_of_their_own() {
        let era = |path: &str| Place::era_of_log(std::path::Path::new(path));
        assert_eq!(era("/var/log/a"), era("/var/log/a"));
        assert_ne!(era("/var/log/a"), era("/var/log/b"));
        assert!(era("/var/log/a") < 1 << 48);
    }

    #[test]
    fn a_later_era_is_a_later_place() {
        let before = Place { era: 0, sequence: 12, offset: 900, line: 9 };
        let after = Place { era: 1, sequence: 9, offset: 0, line: 0 };
        assert!(before < after);
    }

    #[test]
    fn names_stay_printable() {
        assert!(SourceId::new("p4-main_1.old").is_some());
        for bad in ["", "a b", "a/b", "a~1", "é", ".hidden", "a\nb"] {
            assert!(SourceId::new(bad).is_none(), "{bad:?}");
        }
        assert!(ListenerId::new(&"x".repeat(101)).is_none());
    }
}
