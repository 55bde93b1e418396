//! What entries look like on their way.

use serde::Deserialize;
use tripline_api::View;

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Format {
    /// Each entry's bytes as they are in the file, ended by one line feed.
    Lines,
}

impl Format {
    /// The bytes that carry these entries. Where the batch has them already
    /// they are not copied; otherwise they are built in `buffer`, which becomes
    /// at most a line feed an entry longer than the batch.
    pub(super) fn write<'a>(
        self,
        entries: &View<'a>,
        buffer: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        match self {
            Self::Lines => lines(entries, buffer),
        }
    }
}

fn lines<'a>(entries: &View<'a>, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let batch = entries.batch();
    let is_line = |end: u32| {
        let last = (end as usize).checked_sub(1).and_then(|last| batch.bytes.get(last));
        last == Some(&b'\n')
    };
    let is_all = entries.len() == batch.len();
    if is_all && batch.spans.iter().all(|span| is_line(span.end)) {
        return batch.bytes;
    }
    buffer.clear();
    for entry in entries.entries() {
        buffer.extend_from_slice(entry.bytes);
        // A file's last line may have no end, and the start of one that was
        // cut, or is not finished, never has.
        if !entry.bytes.ends_with(b"\n") {
            buffer.push(b'\n');
        }
    }
    buffer
}
