//! What was set aside because its receiver will never take it.

use crate::{Batch, Cursor, Entry, Key, LogFile, Mark, Place, Span};

/// A dead letter: an entry, or what a listener made of several, that its
/// receiver refuses for good. The cursor passes it once it is in the store, where
/// people look at it, have it delivered again, or drop it.
///
/// It holds what the source held, so it deserves the same care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Whose, from which source and log.
    pub key: Key,
    /// Where its entry is, or the first of its entries.
    pub place: Place,
    /// How many entries it stands for: at least one.
    pub entries: u64,
    /// What is to be delivered.
    pub content: Content,
    /// Why the receiver refused it, in its words.
    pub why: String,
    /// How often it was handed over: at least once.
    pub attempts: u32,
}

/// What a [`Letter`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The bytes of one entry, with its line end.
    Entry(Vec<u8>),
    /// What the listener made, in a form of its own, for its
    /// [`deliver`](crate::Listener::deliver).
    Made(Vec<u8>),
}

impl Letter {
    /// How many letters a listener may have. One that sets aside more than this
    /// stops: the fault is hardly with the entries.
    pub const MAX: u64 = 10_000;

    /// The letter of an entry that was refused.
    pub fn of(key: Key, entry: &Entry<'_>, why: String, attempts: u32) -> Self {
        let content = Content::Entry(entry.bytes.to_vec());
        Self { key, place: entry.place, entries: 1, content, why, attempts }
    }

    /// Hands over the entry once more, as a batch of its own; `None` when the letter
    /// holds what the listener made.
    pub fn with_entry<T>(&self, take: impl FnOnce(Batch<'_>) -> T) -> Option<T> {
        let Content::Entry(bytes) = &self.content else { return None };
        let path = self.key.log.as_ref();
        let log =
            path.map(|path| LogFile { path, cut: None, is_preview: false, time: None });
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u32;
        // No entry is longer than what an offset in a batch can say.
        let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mark = if log.is_none() { Mark::of(0, bytes) } else { None };
        let behind = self.place.advance(u64::from(end), u64::from(lines));
        Some(take(Batch {
            source: &self.key.source,
            log,
            start: self.place,
            did_rotate: false,
            bytes: &bytes[..end as usize],
            spans: &[Span { end, lines, incomplete: false }],
            marks: mark.as_slice(),
            end: &Cursor::unproved(behind),
        }))
    }
}

/// What a receiver will never take, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which of the entries that were handed over.
    pub what: Culprit,
    /// What the receiver said, and where that helps, what to do.
    pub why: String,
}

/// Which entries of a view are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// This one, counted from the start of the view. Those before it were taken,
    /// those behind it were not.
    Entry(usize),
    /// At least one, and which cannot be told: none was taken. The lane finds
    /// out by handing over parts, so the answer must not depend on how many
    /// there are.
    OneOf,
    /// All of them: none was taken.
    All,
}
