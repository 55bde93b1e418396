//! A search for many literals that looks at a few bytes of many.
//!
//! Whatever is found has to cover one of the places that lie a stride apart, with the four
//! bytes behind it: a *gram*. So only there is looked, whether the gram is one of some
//! literal's, by one bit of a table that the nearest cache holds. No step waits for the
//! one before it, as those of an automaton do, and a hundred literals more are as many
//! bits more. Where the bit is set, the *word* of eight bytes around the gram must be one
//! of some literal's too.

use std::collections::HashMap;
use std::ops::Range;

/// Finds places at which a literal may be.
#[derive(Debug)]
pub(super) struct Sieve {
    /// How far apart the places are.
    stride: usize,
    /// How long a hash is, in bits.
    hash_bits: u32,
    /// Whether some gram has this hash.
    bits: Vec<u64>,
    /// Where those of a hash begin in `words`, and behind the last where they end.
    starts: Vec<u32>,
    /// In their order, each once.
    words: Vec<Word>,
}

/// Eight bytes of a literal that has a gram in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Word {
    /// That of the gram.
    hash: usize,
    /// How far behind the first of the bytes the gram begins.
    shift: usize,
    bytes: [u8; WORD_BYTES],
}

impl Sieve {
    /// Shorter literals are not for it.
    pub(super) const LITERAL_BYTES_MIN: usize = WORD_BYTES;

    /// Of literals that are long enough, of which there is one.
    pub(super) fn new(literals: &[Vec<u8>]) -> Self {
        let shortest = literals.iter().map(Vec::len).min().unwrap_or_default();
        let stride = (shortest + 1).saturating_sub(GRAM_BYTES).clamp(1, STRIDE_MAX);
        // A gram for sixteen places of the table, so that few others have its bit.
        let hashes = (literals.len() * stride * 16).next_power_of_two();
        let hash_bits = hashes.ilog2().clamp(HASH_BITS_MIN, HASH_BITS_MAX);
        let (mut words, mut uses) = (Vec::new(), HashMap::new());
        for literal in literals {
            for offset in window(literal, stride, &uses) {
                let Some(gram) = gram_at(literal, offset) else { continue };
                let start = offset.min(literal.len().saturating_sub(WORD_BYTES));
                let (hash, shift) = (hash(gram, hash_bits), offset - start);
                words.extend(Word::at(literal, start, hash, shift));
                *uses.entry(gram).or_default() += 1;
            }
        }
        words.sort_unstable();
        words.dedup();
        let mut bits = vec![0; (1 << hash_bits) / 64];
        for word in &words {
            bits[word.hash / 64] |= 1 << (word.hash % 64);
        }
        let start_of = |hash| words.partition_point(|word| word.hash < hash) as u32;
        let starts = (0..=1 << hash_bits).map(start_of).collect();
        Self { stride, hash_bits, bits, starts, words }
    }

    /// A place, from this one on, in the first literal that is there, or in a text that has
    /// the same eight bytes.
    pub(super) fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let rest = bytes.get(from..)?;
        let mut places = rest.windows(GRAM_BYTES).step_by(self.stride).enumerate();
        let (step, _) = places.find(|(step, gram)| {
            let hash = gram_at(gram, 0).map_or(0, |gram| hash(gram, self.hash_bits));
            let may_be = self.bits[hash / 64] >> (hash % 64) & 1 == 1;
            may_be && self.is_in_word(bytes, from + step * self.stride, hash)
        })?;
        Some(from + step * self.stride)
    }

    /// Whether the gram at this place is in a word of a literal.
    #[cold]
    fn is_in_word(&self, bytes: &[u8], at: usize, hash: usize) -> bool {
        let words =
            &self.words[self.starts[hash] as usize..self.starts[hash + 1] as usize];
        let is_at = |word: &Word| {
            let start = at.checked_sub(word.shift);
            start.is_some_and(|start| bytes[start..].starts_with(&word.bytes))
        };
        if words.len() <= FEW_MAX {
            return words.iter().any(is_at);
        }
        (0..=WORD_BYTES - GRAM_BYTES).any(|shift| {
            let start = at.checked_sub(shift);
            let word = start.and_then(|start| Word::at(bytes, start, hash, shift));
            word.is_some_and(|word| words.binary_search(&word).is_ok())
        })
    }
}

impl Word {
    fn at(text: &[u8], start: usize, hash: usize, shift: usize) -> Option<Self> {
        let bytes = *text.get(start..)?.first_chunk()?;
        Some(Self { hash, shift, bytes })
    }
}

/// Where in a literal its grams begin: as many in a row as a stride has places, where
/// they are rare, in logs and among those of the literals before.
fn window(literal: &[u8], stride: usize, uses: &HashMap<u32, usize>) -> Range<usize> {
    let cost = |gram: &[u8]| -> usize {
        let shared = gram_at(gram, 0).and_then(|value| uses.get(&value));
        gram.iter().map(|byte| usize::from(common(*byte))).product::<usize>()
            + shared.map_or(0, |uses| uses * SHARED_COST)
    };
    let costs: Vec<usize> = literal.windows(GRAM_BYTES).map(cost).collect();
    let sums = costs.windows(stride).map(|costs| costs.iter().sum::<usize>());
    let best = sums.enumerate().min_by_key(|(_, sum)| *sum);
    let start = best.map_or(0, |(start, _)| start);
    start..start + stride
}

/// How often a byte comes in logs, roughly.
const fn common(byte: u8) -> u8 {
    match byte {
        b' ' | b'0'..=b'9' => 6,
        b'a' | b'c'..=b'e' | b'i' | b'l'..=b'p' | b'r'..=b't' => 4,
        b'a'..=b'z' | b'.' | b':' | b'-' | b'/' => 3,
        _ => 1,
    }
}

fn gram_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|gram| u32::from_le_bytes(*gram))
}

const fn hash(gram: u32, bits: u32) -> usize {
    // Fibonacci hashing: the golden ratio of 2^32.
    (gram.wrapping_mul(0x9e37_79b1) >> (u32::BITS - bits)) as usize
}

const GRAM_BYTES: usize = 4;
const WORD_BYTES: usize = 2 * GRAM_BYTES;
/// Farther apart a place does not help: the memory is the limit.
const STRIDE_MAX: usize = 8;
/// The most is what the nearest cache holds: 8 KiB of bits.
const HASH_BITS_MIN: u32 = 10;
const HASH_BITS_MAX: u32 = 16;
/// So many words are compared one by one.
const FEW_MAX: usize = 4;
/// A gram that another literal has too is so much worse.
const SHARED_COST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// It stops at each line that has a literal, and at no line that has nothing of one.
        #[test]
        fn no_line_with_a_literal_is_passed_by(
            literals in prop::collection::vec("[ab]{8,16}", 1..12),
            text in "([abc]{0,30}\n){0,12}[abc]{0,30}",
        ) {
            let literals: Vec<_> = literals.into_iter().map(String::into_bytes).collect();
            let (sieve, text) = (Sieve::new(&literals), text.as_bytes());
            let mut stops = Vec::new();
            let mut at = 0;
            while let Some(place) = sieve.find(text, at) {
                prop_assert!(place >= at);
                stops.push(text[..place].iter().filter(|byte| **byte == b'\n').count());
                let end = text[place..].iter().position(|byte| *byte == b'\n');
                at = end.map_or(text.len(), |end| place + end + 1);
            }
            for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
                let has = |part: &[u8]| line.windows(part.len()).any(|it| it == part);
                let has_one = literals.iter().any(|literal| has(literal));
                let has_word =
                    literals.iter().any(|literal| literal.windows(WORD_BYTES).any(has));
                let is_stop = stops.contains(&number);
                prop_assert!(is_stop || !has_one, "{number}: {stops:?}");
                prop_assert!(!is_stop || has_word, "{number}: {stops:?}");
            }
        }
    }

    #[test]
    fn many_that_are_alike_are_told_apart() {
        let alike = |number| format!("user-{number:04} is not known").into_bytes();
        let sieve = Sieve::new(&(0..2000).map(alike).collect::<Vec<_>>());
        let found = sieve.find(b"a line: user-1999 is not known here", 0);
        assert!(found.is_some_and(|at| (8..=27).contains(&at)), "{found:?}");
        assert_eq!(sieve.find(b"a line: user-2999 has a note", 0), None);
    }

    #[test]
    fn a_literal_at_either_end_is_found() {
        let sieve = Sieve::new(&[b"abcdefgh".to_vec()]);
        assert!(sieve.find(b"abcdefgh", 0).is_some());
        assert!(sieve.find(b"...........abcdefgh", 3).is_some());
        for text in ["", "abc", "abcdefg", "bcdefgh"] {
            assert_eq!(sieve.find(text.as_bytes(), 0), None, "{text}");
        }
        assert_eq!(sieve.find(b"abcdefgh", 9), None);
    }
}
