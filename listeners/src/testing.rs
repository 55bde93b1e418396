//! Journals and logs in memory, cut into batches as a reader would: for tests
//! of listeners, here and elsewhere.
//!
//! ```
//! use tripline_listeners::testing::Feed;
//!
//! let feed = Feed::new("p4").journal(1, b"@pv@ 0 @db.x@ 1 \n@ex@ 7 100\n");
//! let batches = feed.batches(None, 20);
//! assert_eq!(batches.len(), 2);
//! assert_eq!(batches[1].view().start.offset, 17);
//! ```

pub use crate::ssh::testing as sshd;
use p4journal::{Splitter, Trailer};
use std::path::Path;
use std::sync::Arc;
use tripline_api::{
    Batch, Begin, Cursor, Gap, GapKind, ListenError, Listener, LogFile, Mark, Place,
    Proof, Settled, SourceId, Span, View,
};

/// A source made of journals, or of logs, in memory.
#[derive(Clone, Debug)]
pub struct Feed {
    source: SourceId,
    journals: Vec<Journal>,
}

/// A journal, or one file of a log.
#[derive(Clone, Debug)]
struct Journal {
    /// The log it is of; `None` for a journal.
    log: Option<Arc<Path>>,
    /// Its first byte.
    start: Place,
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    end: usize,
    lines: u32,
    is_whole: bool,
    mark: Option<Mark>,
    /// The next journal's number, when a trailer ends here.
    next: Option<u64>,
}

/// A batch that owns its bytes.
#[derive(Clone, Debug)]
pub struct OwnedBatch {
    source: SourceId,
    log: Option<Arc<Path>>,
    is_preview: bool,
    start: Place,
    did_rotate: bool,
    bytes: Vec<u8>,
    spans: Vec<Span>,
    marks: Vec<Mark>,
    end: Cursor,
}

impl Feed {
    /// An empty source of this name.
    ///
    /// # Panics
    ///
    /// When it cannot be a source's name.
    pub fn new(source: &str) -> Self {
        let source = SourceId::new(source).expect("a source's name");
        Self { source, journals: Vec::new() }
    }

    /// Adds the next journal. What stands behind its last whole record is not
    /// handed out, as in a file that is being written.
    #[must_use]
    pub fn journal(self, sequence: u64, bytes: &[u8]) -> Self {
        self.journal_of_era(0, sequence, bytes)
    }

    /// Adds a journal of an era.
    #[must_use]
    pub fn journal_of_era(mut self, era: u64, sequence: u64, bytes: &[u8]) -> Self {
        let start = Place::start_of(era, sequence);
        let pieces = split(bytes);
        self.journals.push(Journal { log: None, start, bytes: bytes.to_vec(), pieces });
        self
    }

    /// Adds the next file of the log at this path. A line without its end is
    /// not handed out, but see [`Feed::previews`].
    #[must_use]
    pub fn log(mut self, path: impl AsRef<Path>, bytes: &[u8]) -> Self {
        let path = path.as_ref();
        let is_it = |journal: &&Journal| journal.log.as_deref() == Some(path);
        let sequence = self.journals.iter().filter(is_it).count() as u64;
        self.journals.push(Journal {
            log: Some(path.into()),
            start: Place::start_of(Place::era_of_log(path), sequence),
            bytes: bytes.to_vec(),
            pieces: lines(bytes),
        });
        self
    }

    /// The source's name.
    pub const fn source(&self) -> &SourceId {
        &self.source
    }

    /// What there is behind a place, or all, in batches of at most `bytes_max`
    /// bytes; an entry that is longer makes a batch of its own.
    ///
    /// # Panics
    ///
    /// When the place is in none of the journals, or not between two entries.
    pub fn batches(&self, from: Option<Place>, bytes_max: usize) -> Vec<OwnedBatch> {
        let is_at = |journal: &Journal, place: Place| {
            (journal.start.era, journal.start.sequence) == (place.era, place.sequence)
        };
        let first = from.map_or(0, |place| {
            let at = self.journals.iter().position(|journal| is_at(journal, place));
            at.unwrap_or_else(|| panic!("no journal has the place {place}"))
        });
        let mut batches = Vec::new();
        for (index, journal) in self.journals.iter().enumerate().skip(first) {
            let from = from.filter(|place| is_at(journal, *place));
            let offset = from.map_or(0, |place| place.offset as usize);
            self.cut(journal, index > 0, offset, bytes_max, &mut batches);
        }
        batches
    }

    /// Everything that is not settled yet, in batches of at most `bytes_max`
    /// bytes. Logs take turns, a batch each, and always in the same order.
    ///
    /// # Panics
    ///
    /// As [`Feed::batches`].
    pub fn unsettled(&self, settled: &Settled, bytes_max: usize) -> Vec<OwnedBatch> {
        if self.journals.iter().all(|journal| journal.log.is_none()) {
            let place = settled.get(&None).map(|cursor| cursor.place);
            return self.batches(place, bytes_max);
        }
        let mut logs: Vec<(&Journal, std::vec::IntoIter<OwnedBatch>)> = Vec::new();
        for journal in &self.journals {
            let mut batches = Vec::new();
            let did_rotate = journal.start.sequence > 0;
            self.cut(journal, did_rotate, 0, bytes_max, &mut batches);
            match logs.iter_mut().find(|(first, _)| first.log == journal.log) {
                Some((_, of_log)) => {
                    let all: Vec<_> = of_log.chain(batches).collect();
                    *of_log = all.into_iter();
                }
                None => logs.push((journal, batches.into_iter())),
            }
        }
        let mut all = Vec::new();
        loop {
            let before = all.len();
            all.extend(logs.iter_mut().filter_map(|(_, batches)| batches.next()));
            if all.len() == before {
                break;
            }
        }
        all.retain(|batch: &OwnedBatch| {
            settled.get(&batch.log).is_none_or(|cursor| cursor.place < batch.end.place)
        });
        all
    }

    /// The unfinished line at the end of each log, as it is shown before it is
    /// whole.
    pub fn previews(&self) -> Vec<OwnedBatch> {
        let preview = |journal: &Journal| {
            let log = journal.log.as_ref()?;
            let from = journal.pieces.last().map_or(0, |piece| piece.end);
            let lines = journal.pieces.len() as u64;
            let start = journal.start.advance(from as u64, lines);
            let rest = &journal.bytes[from..];
            let is_last = self.journals.iter().all(|other| {
                other.log.as_ref() != Some(log) || other.start <= journal.start
            });
            (is_last && !rest.is_empty()).then(|| OwnedBatch {
                source: self.source.clone(),
                log: Some(Arc::clone(log)),
                is_preview: true,
                start,
                did_rotate: false,
                bytes: rest.to_vec(),
                spans: vec![Span { end: rest.len() as u32, lines: 0, incomplete: true }],
                marks: Vec::new(),
                end: Cursor::unproved(start),
            })
        };
        self.journals.iter().filter_map(preview).collect()
    }

    /// A gap behind this cursor of a log, or of a journal when it has none.
    pub fn gap(&self, log: Option<&Path>, from: Place, to: Place) -> Gap {
        Gap {
            source: self.source.clone(),
            log: log.map(Arc::from),
            kind: if log.is_some() { GapKind::Truncated } else { GapKind::Missing },
            from,
            to,
            proof: None,
            missing: log.is_none().then_some((from.sequence, to.sequence)),
            bytes: None,
            why: "something is gone".to_owned(),
            repair: "bring it back".to_owned(),
        }
    }

    /// What a lane begins with.
    pub const fn begin<'a>(&'a self, cursor: Option<&'a Cursor>) -> Begin<'a> {
        Begin { source: &self.source, cursor, set_by_hand: false }
    }

    fn cut(
        &self,
        journal: &Journal,
        did_rotate: bool,
        from: usize,
        bytes_max: usize,
        batches: &mut Vec<OwnedBatch>,
    ) {
        let before: u64 = journal
            .pieces
            .iter()
            .take_while(|piece| piece.end <= from)
            .map(|piece| u64::from(piece.lines))
            .sum();
        let mut start = journal.start.advance(from as u64, before);
        let mut pieces = &journal.pieces[..];
        while pieces.first().is_some_and(|piece| piece.end <= from) {
            pieces = &pieces[1..];
        }
        while !pieces.is_empty() {
            let offset = start.offset as usize;
            let fits = pieces.iter().take_while(|p| p.end - offset <= bytes_max).count();
            let (taken, rest) = pieces.split_at(fits.max(1));
            let did_rotate = did_rotate && offset == 0;
            let batch = self.batch(journal, start, taken, did_rotate);
            start = batch.end.place;
            batches.push(batch);
            pieces = rest;
        }
    }

    fn batch(
        &self,
        journal: &Journal,
        start: Place,
        pieces: &[Piece],
        did_rotate: bool,
    ) -> OwnedBatch {
        let from = start.offset as usize;
        let to = pieces.last().map_or(from, |piece| piece.end);
        let lines = pieces.iter().map(|piece| u64::from(piece.lines)).sum();
        let inode = (1, 1000 + journal.start.sequence);
        let head = &journal.bytes[..to.min(Proof::HEAD_BYTES_MAX)];
        let proof = Proof::new(inode, head, &journal.bytes[..to]);
        let end = Cursor {
            place: start.advance((to - from) as u64, lines),
            proof: Some(proof),
            next: pieces.last().and_then(|piece| piece.next),
        };
        let span = |piece: &Piece| Span {
            end: (piece.end - from) as u32,
            lines: piece.lines,
            incomplete: !piece.is_whole,
        };
        let marks = pieces.iter().enumerate().filter_map(|(index, piece)| {
            piece.mark.map(|mark| Mark { index: index as u32, ..mark })
        });
        OwnedBatch {
            source: self.source.clone(),
            log: journal.log.clone(),
            is_preview: false,
            start,
            did_rotate,
            bytes: journal.bytes[from..to].to_vec(),
            spans: pieces.iter().map(span).collect(),
            marks: marks.collect(),
            end,
        }
    }
}

impl OwnedBatch {
    /// The batch as a reader hands it out.
    pub fn view(&self) -> Batch<'_> {
        let log = self.log.as_ref().map(|path| LogFile {
            path,
            cut: None,
            is_preview: self.is_preview,
            time: None,
        });
        Batch {
            source: &self.source,
            log,
            start: self.start,
            did_rotate: self.did_rotate,
            bytes: &self.bytes,
            spans: &self.spans,
            marks: &self.marks,
            end: &self.end,
        }
    }

    /// The log that it is of; `None` for a journal.
    pub const fn log(&self) -> Option<&Arc<Path>> {
        self.log.as_ref()
    }

    /// The cursor of a listener that has settled the batch.
    pub const fn end(&self) -> &Cursor {
        &self.end
    }

    /// Hands the entries to a listener as a lane does: those it says it
    /// handles, if there are any.
    ///
    /// # Errors
    ///
    /// The listener's.
    pub fn deliver(&self, listener: &mut dyn Listener) -> Result<(), ListenError> {
        let batch = self.view();
        let handled: Vec<bool> =
            batch.entries().map(|entry| listener.is_handled(&entry)).collect();
        let view = View::some(batch, &handled);
        if view.is_empty() { Ok(()) } else { listener.listen(&view) }
    }
}

fn lines(bytes: &[u8]) -> Vec<Piece> {
    let feeds = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let piece =
        |(at, _)| Piece { end: at + 1, lines: 1, is_whole: true, mark: None, next: None };
    feeds.map(piece).collect()
}

fn split(bytes: &[u8]) -> Vec<Piece> {
    let mut splitter = Splitter::new();
    let mut trailer = Trailer::new();
    let mut pieces = Vec::new();
    let mut start = 0;
    while let Some(piece) = splitter.next(&bytes[start..]) {
        let end = start + piece.len;
        let record = &bytes[start..end];
        trailer.see(record);
        pieces.push(Piece {
            end,
            lines: piece.lines,
            is_whole: piece.whole,
            mark: Mark::of(0, record),
            next: trailer.next_number(),
        });
        start = end;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = b"@pv@ 0 @db.desc@ 1 @a\nb@ \n@ex@ 7 100\n\
        @rv@ 1 @db.counters@ @journal@ @2@ \n@ex@ 7 101\n";
    const SECOND: &[u8] = b"@vv@ 1 @db.counters@ @journal@ @2@ \n@ex@ 7 102\n@pv@ torn";

    #[test]
    fn batches_join_without_a_hole() {
        let feed = Feed::new("p4").journal(1, FIRST).journal(2, SECOND);
        for bytes_max in [1, 30, 60, 10_000] {
            let batches = feed.batches(None, bytes_max);
            let joined: Vec<u8> =
                batches.iter().flat_map(|batch| batch.bytes.clone()).collect();
            assert_eq!(joined, [FIRST, &SECOND[..47]].concat());
            let whole = feed.batches(None, usize::MAX);
            assert_eq!(whole.len(), 2);
            assert!(batches.iter().any(|batch| batch.end() == whole[0].end()));
            assert_eq!(batches.last().unwrap().end(), whole[1].end());
        }
    }

    #[test]
    fn logs_take_turns_and_go_on_where_each_was() {
        let feed = Feed::new("auth")
            .log("/a", b"a1\na2\n")
            .log("/b", b"b1\nb2\nb3\nunfini")
            .log("/a", b"a3\n");
        let texts = |batches: &[OwnedBatch]| -> Vec<String> {
            let text =
                |batch: &OwnedBatch| String::from_utf8(batch.bytes.clone()).unwrap();
            batches.iter().map(text).collect()
        };
        let all = feed.unsettled(&Settled::new(), 1);
        assert_eq!(texts(&all), ["a1\n", "b1\n", "a2\n", "b2\n", "a3\n", "b3\n"]);
        assert!(all[4].did_rotate && !all[0].did_rotate);
        assert_eq!(all[4].start.sequence, 1);
        let settled = Settled::from([
            (all[0].log.clone(), all[0].end.clone()),
            (all[3].log.clone(), all[3].end.clone()),
        ]);
        let rest = feed.unsettled(&settled, 1);
        assert_eq!(texts(&rest), ["a2\n", "a3\n", "b3\n"]);
        let previews = feed.previews();
        assert_eq!(texts(&previews), ["unfini"]);
        assert!(previews[0].view().log.unwrap().is_preview);
        assert_eq!(previews[0].start, all[5].end.place);
    }

    #[test]
    fn a_place_goes_on() {
        let feed = Feed::new("p4").journal(1, FIRST).journal(2, SECOND);
        let all = feed.batches(None, 1);
        for (index, batch) in all.iter().enumerate() {
            let rest = feed.batches(Some(batch.end().place), 1);
            assert_eq!(rest.len(), all.len() - index - 1);
            if let (Some(first), Some(wanted)) = (rest.first(), all.get(index + 1)) {
                assert_eq!(first.view().start, wanted.view().start);
                assert_eq!(first.did_rotate, wanted.did_rotate);
            }
        }
        assert_eq!(all[3].end().next, Some(2));
        assert!(all[4].did_rotate && !all[5].did_rotate);
        let by = Some(p4journal::Marker { pid: 7, time: 100 });
        assert_eq!(all[1].marks, [Mark { index: 0, by }]);
    }
}
