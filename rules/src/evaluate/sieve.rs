//! A search for many literals that looks at a few bytes of many.
//!
//! Whatever is found has to cover one of the places that lie a stride apart, with a few
//! bytes behind it: a *gram*. So only there is looked, whether the gram is one of some
//! literal's, by one bit of a table that the nearest cache holds. No step waits for the
//! one before it, as those of an automaton do, and a hundred literals more are as many
//! bits more. Where the bit is set, and another one, the *word* of eight bytes around the
//! gram must be one of some literal's too.

use std::collections::HashMap;
use std::ops::Range;

/// Finds places at which a literal may be.
#[derive(Debug)]
pub(super) struct Sieve {
    /// How far apart the places are.
    stride: usize,
    grams: Grams,
    /// Whether some gram has this hash.
    bits: Bits,
    /// Whether some gram has this second hash.
    second_bits: Bits,
    /// How many bits are set before each 64 of them.
    ranks: Vec<u32>,
    /// Where the words of each set bit begin, and behind the last where they end.
    starts: Vec<u32>,
    /// In their order, each once.
    words: Vec<Word>,
    /// How far into their words grams are: nearly always not at all.
    shifts: Vec<u32>,
}

/// How grams are read and hashed.
#[derive(Clone, Copy, Debug)]
struct Grams {
    /// How many bytes they have.
    bytes: usize,
    /// How long a hash is, in bits.
    hash_bits: u32,
    /// How far a word is shifted, so that only its gram is left.
    cut: u32,
}

/// A table of bits.
#[derive(Debug)]
struct Bits(Vec<u64>);

/// Eight bytes of a literal that has a gram in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Word {
    /// That of the gram.
    hash: u32,
    /// How far behind the first of the bytes the gram begins.
    shift: u32,
    /// All eight.
    bytes: u64,
}

impl Sieve {
    /// Shorter literals are not for it.
    pub(super) const LITERAL_BYTES_MIN: usize = WORD_BYTES;

    /// Of literals that are long enough, of which there is one.
    pub(super) fn new(literals: &[Vec<u8>]) -> Self {
        let shortest = literals.iter().map(Vec::len).min().unwrap_or_default();
        let stride = (shortest + 1).saturating_sub(GRAM_BYTES_MIN).clamp(1, STRIDE_MAX);
        // A gram for sixteen places of the table, so that few others have its bit.
        let hashes = (literals.len() * stride * 16).next_power_of_two();
        let gram_bytes = (shortest + 1).saturating_sub(stride);
        let gram_bytes = gram_bytes.clamp(GRAM_BYTES_MIN, WORD_BYTES);
        let grams = Grams {
            bytes: gram_bytes,
            cut: 8 * (WORD_BYTES - gram_bytes) as u32,
            hash_bits: hashes.ilog2().clamp(HASH_BITS_MIN, HASH_BITS_MAX),
        };
        let mut bits = Bits::new(grams.hash_bits);
        let mut second_bits = Bits::new(grams.hash_bits);
        let (mut words, mut uses) = (Vec::new(), HashMap::new());
        for literal in literals {
            for offset in grams.window(literal, stride, &uses) {
                let gram = grams.at(literal, offset);
                let hash = grams.hash(gram);
                bits.set(hash);
                second_bits.set(grams.second_hash(gram));
                let start = offset.min(literal.len().saturating_sub(WORD_BYTES));
                words.extend(Word::at(literal, start, hash, (offset - start) as u32));
                *uses.entry(gram).or_default() += 1;
            }
        }
        words.sort_unstable();
        words.dedup();
        let mut shifts: Vec<_> = words.iter().map(|word: &Word| word.shift).collect();
        shifts.sort_unstable();
        shifts.dedup();
        let mut starts: Vec<_> = (0..words.len() as u32).collect();
        starts.dedup_by_key(|at| words[*at as usize].hash);
        starts.push(words.len() as u32);
        let ranks = bits.ranks();
        Self { stride, grams, bits, second_bits, ranks, starts, words, shifts }
    }

    /// A place, from this one on, in the first literal that is there, or in a text that has
    /// the same eight bytes.
    pub(super) fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        // This loop is where a search spends its time.
        while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            if self.is_at(self.grams.of(*word), bytes, at) {
                return Some(at);
            }
            at += self.stride;
        }
        // What is left is shorter than a word, and may be longer than a gram.
        let end = (bytes.len() + 1).saturating_sub(self.grams.bytes);
        let mut last = (at..end).step_by(self.stride);
        last.find(|at| self.is_at(self.grams.at(bytes, *at), bytes, *at))
    }

    /// Whether this gram, at this place, is in a word of a literal.
    #[inline(always)]
    fn is_at(&self, gram: u64, bytes: &[u8], at: usize) -> bool {
        let hash = self.grams.hash(gram);
        self.bits.has(hash)
            && self.second_bits.has(self.grams.second_hash(gram))
            && self.is_in_word(bytes, at, hash)
    }

    /// The same of one that has its bits.
    #[cold]
    fn is_in_word(&self, bytes: &[u8], at: usize, hash: usize) -> bool {
        let rank = (self.ranks[hash / 64] + self.bits.set_before(hash)) as usize;
        let words =
            &self.words[self.starts[rank] as usize..self.starts[rank + 1] as usize];
        self.shifts.iter().any(|shift| {
            let start = at.checked_sub(*shift as usize);
            let word = start.and_then(|start| Word::at(bytes, start, hash, *shift));
            word.is_some_and(|word| words.binary_search(&word).is_ok())
        })
    }
}

impl Grams {
    /// That with which these bytes begin.
    #[inline]
    const fn of(self, word: [u8; WORD_BYTES]) -> u64 {
        u64::from_le_bytes(word) << self.cut
    }

    /// That at this place, where there may be fewer bytes than a word has.
    fn at(self, text: &[u8], at: usize) -> u64 {
        let rest = &text[at..];
        let mut word = [0; WORD_BYTES];
        let count = rest.len().min(WORD_BYTES);
        word[..count].copy_from_slice(&rest[..count]);
        self.of(word)
    }

    #[inline]
    const fn hash(self, gram: u64) -> usize {
        (gram.wrapping_mul(GOLDEN) >> (u64::BITS - self.hash_bits)) as usize
    }

    /// Another one, of the bytes in another order, that depends little on the first.
    #[inline]
    const fn second_hash(self, gram: u64) -> usize {
        self.hash(gram.swap_bytes())
    }

    /// Where in a literal its grams begin: as many in a row as a stride has places, where
    /// they are rare, in logs and among those of the literals before; each with a word
    /// behind it, if the literal is long enough.
    fn window(
        self,
        literal: &[u8],
        stride: usize,
        uses: &HashMap<u64, usize>,
    ) -> Range<usize> {
        let cost = |at: usize| -> usize {
            let shared = uses.get(&self.at(literal, at));
            let first = &literal[at..at + GRAM_BYTES_MIN];
            first.iter().map(|byte| usize::from(common(*byte))).product::<usize>()
                + shared.map_or(0, |uses| uses * SHARED_COST)
        };
        let has_words = literal.len() >= WORD_BYTES + stride - 1;
        let behind = if has_words { WORD_BYTES } else { self.bytes };
        let costs: Vec<usize> = (0..=literal.len() - behind).map(cost).collect();
        let sums = costs.windows(stride).map(|costs| costs.iter().sum::<usize>());
        let best = sums.enumerate().min_by_key(|(_, sum)| *sum);
        let start = best.map_or(0, |(start, _)| start);
        start..start + stride
    }
}

impl Bits {
    fn new(hash_bits: u32) -> Self {
        Self(vec![0; (1 << hash_bits) / 64])
    }

    fn set(&mut self, hash: usize) {
        self.0[hash / 64] |= 1 << (hash % 64);
    }

    #[inline]
    fn has(&self, hash: usize) -> bool {
        self.0[hash / 64] >> (hash % 64) & 1 == 1
    }

    /// How many are set before each 64 of them.
    fn ranks(&self) -> Vec<u32> {
        let ranks = self.0.iter().scan(0, |rank, bits: &u64| {
            Some(std::mem::replace(rank, *rank + bits.count_ones()))
        });
        ranks.collect()
    }

    /// How many are set before this one, of its 64.
    fn set_before(&self, hash: usize) -> u32 {
        (self.0[hash / 64] & ((1 << (hash % 64)) - 1)).count_ones()
    }
}

impl Word {
    fn at(text: &[u8], start: usize, hash: usize, shift: u32) -> Option<Self> {
        let bytes = text.get(start..)?.first_chunk()?;
        Some(Self { hash: hash as u32, shift, bytes: u64::from_le_bytes(*bytes) })
    }
}

/// How often a byte comes in logs, roughly.
const fn common(byte: u8) -> u8 {
    match byte {
        b' ' => 10,
        b'e' => 9,
        b't' => 8,
        b'a' | b'i' | b'n' | b'o' | b'r' | b's' | b'0'..=b'9' => 7,
        b'd' | b'l' => 5,
        b'c' | b'h' | b'm' | b'p' | b'u' | b'.' | b':' | b'-' | b'/' | b'=' => 4,
        b'b' | b'f' | b'g' => 3,
        b'k' | b'v' | b'w' | b'y' => 2,
        _ => 1,
    }
}

/// The golden ratio of 2^64, for Fibonacci hashing.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const GRAM_BYTES_MIN: usize = 4;
const WORD_BYTES: usize = 8;
/// Farther apart a place does not help: the memory is the limit.
const STRIDE_MAX: usize = 8;
/// The most is what the nearest cache holds: 32 KiB of bits.
const HASH_BITS_MIN: u32 = 10;
const HASH_BITS_MAX: u32 = 18;
/// A gram that another literal has too is so much worse.
const SHARED_COST: usize = 8;

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
