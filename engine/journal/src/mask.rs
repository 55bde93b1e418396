//! Where the line feeds and the quotes are among 64 bytes, one bit a byte.
//!
//! Looking at bytes one by one costs more than all the rest of reading a journal.

use wide::u8x16;

/// How many bytes one mask is about.
pub(crate) const BLOCK_BYTES: usize = 64;

/// Bit `i` is about byte `i` of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Masks {
    /// The byte is a line feed.
    pub(crate) feeds: u64,
    /// The byte is `@`.
    pub(crate) quotes: u64,
}

impl Masks {
    /// The masks of the first block of `bytes`; the bits behind a shorter end are 0.
    #[inline]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match bytes.first_chunk() {
            Some(block) => Self::of_block(block),
            None => {
                let mut block = [0; BLOCK_BYTES];
                block[..bytes.len()].copy_from_slice(bytes);
                Self::of_block(&block)
            }
        }
    }

    #[inline]
    fn of_block(block: &[u8; BLOCK_BYTES]) -> Self {
        let mut masks = Self { feeds: 0, quotes: 0 };
        for (index, lane) in block.as_chunks::<16>().0.iter().enumerate() {
            let bytes = u8x16::new(*lane);
            let mask = |wanted| {
                u64::from(bytes.simd_eq(u8x16::splat(wanted)).to_bitmask())
                    << (index * 16)
            };
            masks.feeds |= mask(b'\n');
            masks.quotes |= mask(b'@');
        }
        masks
    }
}

/// Bit `i` of the result is the parity of the bits `0..=i`: set from every odd `@` up to
/// the next even one, which is where a block is inside quotes.
#[inline]
pub(crate) const fn parity_up_to(mut bits: u64) -> u64 {
    let mut shift = 1;
    while shift < u64::BITS {
        bits ^= bits << shift;
        shift *= 2;
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, byte by byte.
    fn plain(bytes: &[u8]) -> Masks {
        let mask = |wanted| {
            let bits = bytes.iter().take(BLOCK_BYTES).enumerate();
            bits.fold(0, |mask, (at, &byte)| mask | (u64::from(byte == wanted) << at))
        };
        Masks { feeds: mask(b'\n'), quotes: mask(b'@') }
    }

    proptest! {
        #[test]
        fn masks_are_those_of_the_bytes(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'@'), Just(b'\n'), Just(0x8a), Just(0xc0), any::<u8>()],
                0..=80,
            )
        ) {
            prop_assert_eq!(Masks::of(&bytes), plain(&bytes));
        }

        #[test]
        fn parity_is_that_of_the_bits_so_far(bits: u64) {
            for at in 0..u64::BITS {
                let so_far = bits << (u64::BITS - 1 - at);
                let inside = parity_up_to(bits) >> at & 1 == 1;
                prop_assert_eq!(inside, so_far.count_ones() % 2 == 1);
            }
        }
    }
}
