//! A search for many literals that looks at a few bytes of many.
//!
//! Whatever is found has to cover one of the places that lie a stride apart, with the four
//! bytes behind it: a *gram*. So only there is looked, whether the gram is one of some
//! literal's, by one bit of a table that the nearest cache holds. No step waits for the
//! one before it, as those of an automaton do, and a hundred literals more are as many
//! bits more.

/// Finds places at which a literal may be.
#[derive(Debug)]
pub(super) struct Sieve {
    literals: Vec<Vec<u8>>,
    /// How far apart the places are.
    stride: usize,
    /// Whether some gram has this hash.
    bits: Vec<u64>,
    /// Where those of a hash begin in `grams`, and behind the last where they end.
    starts: Vec<u32>,
    grams: Vec<Gram>,
}

/// Four bytes of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Gram {
    hash: usize,
    value: u32,
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    /// Of this literal, so many bytes behind its start.
    One { literal: usize, offset: usize },
    /// Of so many that comparing all of them would take long.
    Many,
}

impl Sieve {
    /// Shorter literals are not for it.
    pub(super) const LITERAL_BYTES_MIN: usize = 2 * GRAM_BYTES;

    /// Of literals that are long enough, of which there is one.
    pub(super) fn new(literals: Vec<Vec<u8>>) -> Self {
        let shortest = literals.iter().map(Vec::len).min().unwrap_or_default();
        let stride = (shortest + 1).saturating_sub(GRAM_BYTES).clamp(1, STRIDE_MAX);
        let mut grams: Vec<Gram> = Vec::new();
        for (literal, bytes) in literals.iter().enumerate() {
            for offset in window(bytes, stride, &grams) {
                if let Some(value) = gram_at(bytes, offset) {
                    let of = Of::One { literal, offset };
                    grams.push(Gram { hash: hash(value), value, of });
                }
            }
        }
        grams.sort_unstable();
        let grams: Vec<Gram> = grams
            .chunk_by(|one, other| one.value == other.value)
            .flat_map(|same| match same {
                [first, ..] if same.len() > SAME_MAX => {
                    vec![Gram { of: Of::Many, ..*first }]
                }
                _ => same.to_vec(),
            })
            .collect();
        let mut bits = vec![0; HASHES / 64];
        for gram in &grams {
            bits[gram.hash / 64] |= 1 << (gram.hash % 64);
        }
        let start_of = |hash| grams.partition_point(|gram| gram.hash < hash) as u32;
        let starts = (0..=HASHES).map(start_of).collect();
        Self { literals, stride, bits, starts, grams }
    }

    /// A place, from this one on, in the first literal that is there, or in a text that is
    /// no literal but has the same gram as many.
    pub(super) fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let rest = bytes.get(from..)?;
        let mut places = rest.windows(GRAM_BYTES).step_by(self.stride).enumerate();
        let (step, _) = places.find(|(step, gram)| {
            let value = gram.first_chunk().map_or(0, |it| u32::from_le_bytes(*it));
            let hash = hash(value);
            let may_be = self.bits[hash / 64] >> (hash % 64) & 1 == 1;
            may_be && self.is_in_one(bytes, from + step * self.stride, value, hash)
        })?;
        Some(from + step * self.stride)
    }

    /// Whether the gram at this place is in a literal, or may be.
    #[cold]
    fn is_in_one(&self, bytes: &[u8], at: usize, value: u32, hash: usize) -> bool {
        let range = self.starts[hash] as usize..self.starts[hash + 1] as usize;
        self.grams[range].iter().filter(|gram| gram.value == value).any(|gram| {
            let Of::One { literal, offset } = gram.of else { return true };
            let start = at.checked_sub(offset);
            start.is_some_and(|start| bytes[start..].starts_with(&self.literals[literal]))
        })
    }
}

/// Where in a literal its grams begin: as many in a row as a stride has places, where
/// they are rare, also among those of other literals.
fn window(literal: &[u8], stride: usize, grams: &[Gram]) -> std::ops::Range<usize> {
    let cost = |offset: usize| -> usize {
        let gram = &literal[offset..offset + GRAM_BYTES];
        let value = gram_at(literal, offset);
        let shared = grams.iter().filter(|gram| Some(gram.value) == value).count();
        gram.iter().map(|byte| usize::from(common(*byte))).product::<usize>()
            + shared * SHARED_COST
    };
    let last = (literal.len() + 1).saturating_sub(GRAM_BYTES + stride);
    let costs = |start: usize| (start..start + stride).map(cost).sum::<usize>();
    let start = (0..=last).min_by_key(|start| costs(*start)).unwrap_or_default();
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

const fn hash(gram: u32) -> usize {
    // Fibonacci hashing: the golden ratio of 2^32.
    (gram.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

const GRAM_BYTES: usize = 4;
/// Farther apart a place does not help: the memory is the limit.
const STRIDE_MAX: usize = 8;
const HASH_BITS: u32 = 16;
const HASHES: usize = 1 << HASH_BITS;
/// So many literals with the same gram are compared at a place.
const SAME_MAX: usize = 16;
/// A gram that another literal has too is so much worse.
const SHARED_COST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lines at which it stops, and those that have a literal.
    fn lines(sieve: &Sieve, text: &[u8]) -> (Vec<usize>, Vec<usize>) {
        let has = |line: &[u8], literal: &Vec<u8>| {
            line.windows(literal.len()).any(|it| it == literal)
        };
        let each = text.split(|byte| *byte == b'\n').enumerate();
        let wanted = each
            .filter(|(_, line)| sieve.literals.iter().any(|literal| has(line, literal)))
            .map(|(number, _)| number)
            .collect();
        let mut stops = Vec::new();
        let mut at = 0;
        while let Some(place) = sieve.find(text, at) {
            assert!(place >= at);
            let number = text[..place].iter().filter(|byte| **byte == b'\n').count();
            stops.push(number);
            let end = text[place..].iter().position(|byte| *byte == b'\n');
            at = end.map_or(text.len(), |end| place + end + 1);
        }
        (stops, wanted)
    }

    proptest! {
        /// It stops at each line that has a literal, and at no other as long as few
        /// literals are alike.
        #[test]
        fn no_line_with_a_literal_is_passed_by(
            literals in prop::collection::vec("[ab]{8,16}", 1..12),
            text in "([abc]{0,30}\n){0,12}[abc]{0,30}",
        ) {
            let sieve = Sieve::new(literals.into_iter().map(String::into_bytes).collect());
            let (stops, wanted) = lines(&sieve, text.as_bytes());
            prop_assert!(wanted.iter().all(|line| stops.contains(line)));
            if sieve.grams.iter().all(|gram| gram.of != Of::Many) {
                prop_assert_eq!(stops, wanted);
            }
        }
    }

    #[test]
    fn of_many_that_are_alike_none_is_compared() {
        let alike = |number| format!("user-{number:04}").into_bytes();
        let sieve = Sieve::new((0..2000).map(alike).collect());
        let longest = sieve.grams.chunk_by(|a, b| a.hash == b.hash).map(<[Gram]>::len);
        assert!(longest.max() <= Some(4 * SAME_MAX));
        let found = sieve.find(b"a line of user-1999 and others", 0);
        assert!(found.is_some_and(|at| (10..=15).contains(&at)), "{found:?}");
        assert_eq!(sieve.find(b"a line of nobody", 0), None);
    }

    #[test]
    fn a_literal_at_either_end_is_found() {
        let sieve = Sieve::new(vec![b"abcdefgh".to_vec()]);
        assert!(sieve.find(b"abcdefgh", 0).is_some());
        assert!(sieve.find(b"...........abcdefgh", 3).is_some());
        for text in ["", "abc", "abcdefg", "bcdefgh"] {
            assert_eq!(sieve.find(text.as_bytes(), 0), None, "{text}");
        }
        assert_eq!(sieve.find(b"abcdefgh", 9), None);
    }
}
