//! The end of a file of JSON lines: what is whole, and what was written last.

use crate::files::read_at;
use serde::Deserialize;
use std::collections::BTreeMap;
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
pub(super) type Key = (u64, u64, u64);

impl Newest {
    pub(super) const fn entry(place: Place) -> Self {
        Self::Entry(key(place))
    }

    pub(super) const fn gap(to: Place) -> Self {
        Self::Gap(key(to))
    }

    pub(super) const fn key(self) -> Key {
        let (Self::Entry(key) | Self::Gap(key)) = self;
        key
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
        key(to) <= self.key()
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

/// What the end of a file tells of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is no line of it.
    Nothing,
    /// It is a journal, and this is its newest line: its eras come one after
    /// the other.
    Journal(Newest),
    /// It has many logs, and this is the newest line of each, by its era: the
    /// eras of logs have no order.
    Logs(BTreeMap<u64, Newest>),
}

/// The newest lines of a source among the last [`NEWEST_BYTES_MAX`] of a file.
/// Lines that are not ours are passed over.
pub(super) fn newest(file: &File, source: &SourceId) -> io::Result<Found> {
    let prefix = format!("{LINE_START_TEXT}{source}/");
    let mut end = file.metadata()?.len();
    let floor = end.saturating_sub(NEWEST_BYTES_MAX);
    let mut first = vec![0; prefix.len()];
    while end > floor {
        // The line feed at the end is the line's own.
        let Some(start) = line_start(file, end - 1, floor)? else { break };
        let count = read_at(file, &mut first, start)?;
        if first[..count] == *prefix.as_bytes()
            && let Some((newest, is_log)) = read_line(file, start..end, source)?
        {
            return match is_log {
                false => Ok(Found::Journal(newest)),
                true => newest_of_logs(file, floor..end, &prefix).map(Found::Logs),
            };
        }
        end = start;
    }
    Ok(Found::Nothing)
}

/// The newest line of each log in a stretch of a file. Reads it from front to
/// back, as there may be thousands of logs.
fn newest_of_logs(
    file: &File,
    range: std::ops::Range<u64>,
    prefix: &str,
) -> io::Result<BTreeMap<u64, Newest>> {
    let mut newest = BTreeMap::new();
    let mut block = vec![0; BLOCK_BYTES];
    // A line that began in an earlier block.
    let mut begun: Vec<u8> = Vec::new();
    // The first line is whole only at the very start.
    let mut is_whole = range.start == 0;
    let mut offset = range.start;
    while offset < range.end {
        let length = (range.end - offset).min(BLOCK_BYTES as u64) as usize;
        let count = read_at(file, &mut block[..length], offset)?;
        if count == 0 {
            break;
        }
        offset += count as u64;
        for piece in block[..count].split_inclusive(|&byte| byte == b'\n') {
            if piece.last() != Some(&b'\n') {
                begun.extend_from_slice(piece);
                continue;
            }
            let line = match begun.is_empty() {
                true => piece,
                false => {
                    begun.extend_from_slice(piece);
                    &begun
                }
            };
            if is_whole && let Some(found) = line_of_log(line, prefix) {
                newest.insert(found.key().0, found);
            }
            is_whole = true;
            begun.clear();
        }
    }
    Ok(newest)
}

/// What a line of a log says, without reading all of it.
fn line_of_log(line: &[u8], prefix: &str) -> Option<Newest> {
    let rest = line.strip_prefix(prefix.as_bytes())?;
    let end = memchr::memchr(b'"', rest)?;
    let (id, rest) = rest.split_at(end);
    let is_ours = rest.starts_with(b"\",\"source\":\"") && rest.ends_with(b"}\n");
    // Quotes in a text have a backslash before them: this is no text.
    if !is_ours || rest.ends_with(PARTIAL) {
        return None;
    }
    newest_of(std::str::from_utf8(id).ok()?)
}

/// How a line ends that is not whole yet and comes again.
const PARTIAL: &[u8] = b",\"partial\":true}\n";

#[derive(Deserialize)]
struct Line {
    id: String,
    path: Option<serde::de::IgnoredAny>,
}

/// What a line says, and whether it is one of a log; `None` when it is no JSON
/// or its id is none of ours.
fn read_line(
    file: &File,
    range: std::ops::Range<u64>,
    source: &SourceId,
) -> io::Result<Option<(Newest, bool)>> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    read_at(file, &mut bytes, range.start)?;
    let Ok(line) = serde_json::from_slice::<Line>(&bytes) else { return Ok(None) };
    let id = line.id.strip_prefix(source.as_str()).and_then(|id| id.strip_prefix('/'));
    Ok(id.and_then(newest_of).map(|newest| (newest, line.path.is_some())))
}

/// What an id says, without its source.
fn newest_of(id: &str) -> Option<Newest> {
    match id.strip_suffix("#gap") {
        Some(to) => Place::from_id(to).map(Newest::gap),
        None => Place::from_id(id).map(Newest::entry),
    }
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

    fn found(source: &str, bytes: &[u8]) -> Found {
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
        assert_eq!(found("a", bytes), Found::Journal(Newest::Entry((2, 7, 40))));
        assert_eq!(found("b", bytes), Found::Journal(Newest::Gap((0, 14, 0))));
        assert_eq!(found("c", bytes), Found::Nothing);
        assert_eq!(found("a", b""), Found::Nothing);
    }

    #[test]
    fn each_log_has_a_newest_line() {
        let line = |id: &str, rest: &str| {
            format!("{{\"id\":\"{id}\",\"source\":\"a\",\"path\":\"/x\"{rest}}}\n")
        };
        let lines = [
            line("a/0/10~7", ",\"text\":\"x\""),
            line("a/1/0~9", ",\"text\":\"x\""),
            line("a/1/0~7#gap", ",\"gap\":{}"),
            line("b/9/9~9", ",\"text\":\"x\""),
            line("a/0/3", ",\"text\":\"x\\\",\\\"partial\\\":true\""),
            line("a/5/5~9", ",\"text\":\"x\",\"partial\":true"),
            "{\"id\":\"a/9/9~9\",\"sou\n# a note\n".to_owned(),
        ]
        .concat();
        let newest = BTreeMap::from([
            (7, Newest::Gap((7, 1, 0))),
            (9, Newest::Entry((9, 1, 0))),
            (0, Newest::Entry((0, 0, 3))),
        ]);
        assert_eq!(found("a", lines.as_bytes()), Found::Logs(newest.clone()));
        // Also when they lie across the edges of what is read at a time.
        let padding =
            line("b/0/0~1", &format!(",\"text\":\"{}\"", "x".repeat(BLOCK_BYTES - 150)));
        let far = format!("{padding}{lines}{padding}");
        assert_eq!(found("a", far.as_bytes()), Found::Logs(newest));
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
