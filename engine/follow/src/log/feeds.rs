//! Where line feeds are.

use wide::u8x16;

/// How many bytes are looked at together.
const CHUNK: usize = 64;

/// The positions of the line feeds in some bytes, in order.
///
/// Lines are short: a search that starts over at each of them spends more on
/// starting than on searching. Here a bit mask of 64 bytes gives all that are
/// in them.
pub(super) struct Feeds<'a> {
    chunks: std::slice::Iter<'a, [u8; CHUNK]>,
    /// What is left over behind the chunks.
    rest: &'a [u8],
    /// A bit for each line feed of the chunk at hand, which begins at `at`.
    mask: u64,
    at: usize,
    /// Where the next chunk begins.
    next: usize,
}

impl<'a> Feeds<'a> {
    pub(super) fn in_bytes(bytes: &'a [u8]) -> Self {
        let (chunks, rest) = bytes.as_chunks();
        Self { chunks: chunks.iter(), rest, mask: 0, at: 0, next: 0 }
    }
}

impl Iterator for Feeds<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.mask == 0 {
            self.at = self.next;
            self.mask = match self.chunks.next() {
                Some(chunk) => feeds_of(chunk),
                None if self.rest.is_empty() => return None,
                None => feeds_of_rest(std::mem::take(&mut self.rest)),
            };
            self.next += CHUNK;
        }
        let found = self.at + self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        Some(found)
    }
}

#[inline]
fn feeds_of(chunk: &[u8; CHUNK]) -> u64 {
    let (lanes, _) = chunk.as_chunks::<16>();
    lanes.iter().rev().fold(0, |mask, lane| {
        let found = u8x16::new(*lane).simd_eq(u8x16::splat(b'\n'));
        mask << 16 | u64::from(found.to_bitmask())
    })
}

fn feeds_of_rest(rest: &[u8]) -> u64 {
    let mut chunk = [0; CHUNK];
    chunk[..rest.len()].copy_from_slice(rest);
    feeds_of(&chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_feed_is_found_and_nothing_else() {
        for len in [0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 200] {
            let mut bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            for at in 0..len {
                let was = std::mem::replace(&mut bytes[at], b'\n');
                let found: Vec<_> = Feeds::in_bytes(&bytes).collect();
                let expected: Vec<_> = (0..len).filter(|i| bytes[*i] == b'\n').collect();
                assert_eq!(found, expected);
                bytes[at] = was;
            }
        }
        let all = [b'\n'; 130];
        assert!(Feeds::in_bytes(&all).eq(0..130));
    }
}
