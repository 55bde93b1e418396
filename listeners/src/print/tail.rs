//! The end of a file of JSON lines: what is whole, and what was written last.

use crate::files::read_at;
use serde::Deserialize;
use std::fs::File;
use std::io;
use tripline_api::{Place, SourceId};

/// The newest line of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newest {
    /// An entry at this place.
    Entry(Key),
    /// A gap that leads to this place.
    Gap(Key),
}

/// A place without its line, which an id does not have: era, sequence, offset.
type Key = (u32, u64, u64);

impl Newest {
    pub(super) const fn entry(place: Place) -> Self {
        Self::Entry(key(place))
    }

    pub(super) const fn gap(to: Place) -> Self {
        Self::Gap(key(to))
    }

    /// Whether the entry at this place is in the file.
    pub(super) fn has_entry(self, place: Place) -> bool {
        match self {
            Self::Entry(newest) => key(place) <= newest,
            // The entry that the gap leads to comes after it.
            Self::Gap(to) => key(place) < to,
        }
    }

    /// Whether the gap that leads to this place is in the file.
    pub(super) fn has_gap(self, to: Place) -> bool {
        let (Self::Entry(newest) | Self::Gap(newest)) = self;
        key(to) <= newest
    }
}

const fn key(place: Place) -> Key {
    (place.era, place.sequence, place.offset)
}

/// Whether a file holds lines like ours, or nothing, or the beginning of one.
pub(super) fn is_ours(file: &File) -> io::Result<bool> {
    let mut page = [0; PAGE_BYTES];
    let count = read_at(file, &mut page, 0)?;
    let page = &page[..count];
    // What never reached the disk reads as NULs, page by page.
    let text = page.split(|&byte| byte == 0).next().unwrap_or_default();
    let lost = page[text.len()..].iter().all(|&byte| byte == 0);
    Ok(text.starts_with(LINE_START) || (LINE_START.starts_with(text) && lost))
}

/// How many bytes of a file are whole lines.
///
/// What follows the last line feed is torn. A NUL in the last
/// [`DAMAGE_BYTES_MAX`] ends what is whole too: JSON has none, so it stands
/// where a power loss took bytes, and what is behind it comes again.
pub(super) fn whole_bytes(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = length.saturating_sub(DAMAGE_BYTES_MAX);
    while at < length {
        let count = read_at(file, &mut block, at)?;
        if count == 0 {
            break;
        }
        if let Some(nul) = memchr::memchr(0, &block[..count]) {
            return line_start(file, at + nul as u64, 0).map(|start| start.unwrap_or(0));
        }
        at += count as u64;
    }
    line_start(file, length, 0).map(|start| start.unwrap_or(0))
}

/// The newest line of a source among the last [`NEWEST_BYTES_MAX`] of a file.
/// Lines that are not ours are passed over.
pub(super) fn newest(file: &File, source: &SourceId) -> io::Result<Option<Newest>> {
    let prefix = format!("{LINE_START_TEXT}{source}/");
    let mut end = file.metadata()?.len();
    let floor = end.saturating_sub(NEWEST_BYTES_MAX);
    let mut first = vec![0; prefix.len()];
    while end > floor {
        // The line feed at the end is the line's own.
        let Some(start) = line_start(file, end - 1, floor)? else { break };
        let count = read_at(file, &mut first, start)?;
        if first[..count] == *prefix.as_bytes()
            && let Some(newest) = read_line(file, start..end, source)?
        {
            return Ok(Some(newest));
        }
        end = start;
    }
    Ok(None)
}

#[derive(Deserialize)]
struct Line {
    id: String,
}

/// What a line says; `None` when it is no JSON or its id is none of ours.
fn read_line(
    file: &File,
    range: std::ops::Range<u64>,
    source: &SourceId,
) -> io::Result<Option<Newest>> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    read_at(file, &mut bytes, range.start)?;
    let Ok(line) = serde_json::from_slice::<Line>(&bytes) else { return Ok(None) };
    let id = line.id.strip_prefix(source.as_str()).and_then(|id| id.strip_prefix('/'));
    Ok(id.and_then(|id| match id.strip_suffix("#gap") {
        Some(to) => Place::from_id(to).map(Newest::gap),
        None => Place::from_id(id).map(Newest::entry),
    }))
}

/// The start of the line that holds the byte before `at`, or that starts there:
/// just behind the last line feed before `at`. `None` when it is before `floor`.
fn line_start(file: &File, at: u64, floor: u64) -> io::Result<Option<u64>> {
    let mut block = vec![0; LINE_BLOCK_BYTES];
    let mut end = at;
    while end > floor {
        let start = end.saturating_sub(LINE_BLOCK_BYTES as u64).max(floor);
        let part = &mut block[..(end - start) as usize];
        let count = read_at(file, part, start)?;
        if let Some(feed) = memchr::memrchr(b'\n', &part[..count]) {
            return Ok(Some(start + feed as u64 + 1));
        }
        end = start;
    }
    Ok((floor == 0).then_some(0))
}

/// How every line begins.
const LINE_START_TEXT: &str = "{\"id\":\"";
const LINE_START: &[u8] = LINE_START_TEXT.as_bytes();

/// How far back the newest line of a source is looked for, in bytes.
const NEWEST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How far back damage is looked for, in bytes: more than is ever written
/// between two flushes.
const DAMAGE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// What a power loss takes at least.
const PAGE_BYTES: usize = 4096;

/// How much is read at a time.
const BLOCK_BYTES: usize = 256 * 1024;

/// How much is read at a time in search of a line's start: most are short.
const LINE_BLOCK_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn newest_of(source: &str, bytes: &[u8]) -> Option<Newest> {
        newest(&file(bytes), &SourceId::new(source).unwrap()).unwrap()
    }

    #[test]
    fn whole_lines_count() {
        let whole = |bytes: &[u8]| whole_bytes(&file(bytes)).unwrap();
        assert_eq!(whole(b""), 0);
        assert_eq!(whole(b"{\"id\":\"a/1/0\"}\n"), 15);
        assert_eq!(whole(b"{\"id\":\"a/1/0\"}\n{\"id\":\"a/1"), 15);
        assert_eq!(whole(b"{\"id\":\"a/1"), 0);
        assert_eq!(whole(b"{\"id\":\"a/1/0\"}\n\0\0\0"), 15);
        assert_eq!(
            whole(b"{\"id\":\"a/1/0\"}\n{\"id\":\0\0\0}\n{\"id\":\"a/1/7\"}\n"),
            15
        );
        assert_eq!(whole(&vec![0; BLOCK_BYTES + 9]), 0);
        let long = [b"{\"id\":\"a/1/0\"}\n", &*vec![b'x'; 3 * LINE_BLOCK_BYTES]].concat();
        assert_eq!(whole(&long), 15);
    }

    #[test]
    fn each_source_has_a_newest_line() {
        let bytes = b"{\"id\":\"b/1/0\"}\n{\"id\":\"a/7/40~2\",\"x\":{}}\n# a note\n\
            {\"id\":\"b/14/0#gap\"}\n{\"id\":\"a/9\n{\"id\":\"ab/1/0\"}\n";
        assert_eq!(newest_of("a", bytes), Some(Newest::Entry((2, 7, 40))));
        assert_eq!(newest_of("b", bytes), Some(Newest::Gap((0, 14, 0))));
        assert_eq!(newest_of("c", bytes), None);
        assert_eq!(newest_of("a", b""), None);
    }

    #[test]
    fn the_entry_a_gap_leads_to_is_not_in_the_file() {
        let at = |offset| Place { era: 0, sequence: 14, offset, line: 3 };
        let gap = Newest::gap(at(10));
        assert!(gap.has_gap(at(10)) && !gap.has_entry(at(10)) && gap.has_entry(at(9)));
        let entry = Newest::entry(at(10));
        assert!(entry.has_gap(at(10)) && entry.has_entry(at(10)));
        assert!(!entry.has_entry(at(11)) && !entry.has_gap(at(11)));
        let restored = Place { era: 1, sequence: 2, ..Place::default() };
        assert!(!entry.has_entry(restored));
    }

    #[test]
    fn other_files_are_not_ours() {
        for ours in [&b""[..], b"{\"i", b"{\"id\":\"x", &[0; 4096]] {
            assert!(is_ours(&file(ours)).unwrap(), "{}", ours.escape_ascii());
        }
        for other in [&b"# notes\n"[..], b"{\"name\":1}\n", b"\0\0ELF\n..", b"\n"] {
            assert!(!is_ours(&file(other)).unwrap(), "{}", other.escape_ascii());
        }
    }
}
