//! "Where was I", and how to be sure of it.

use crate::Place;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The place up to which a listener has settled everything, with the proof by
/// which the file is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Everything before this place is settled.
    pub place: Place,
    /// How to recognise the file and the offset; `None` for a place that was
    /// set by hand or lies at the very start.
    pub proof: Option<Proof>,
    /// The number of the next file, where this one ended as a finished file
    /// does: then the cursor survives the removal of the finished file.
    pub next: Option<u64>,
}

impl Cursor {
    /// A cursor that claims a place without proof.
    pub const fn unproved(place: Place) -> Self {
        Self { place, proof: None, next: None }
    }
}

/// What must hold of a file for a cursor to point into it.
///
/// The device and inode numbers only help to find it fast: a file system hands
/// them out again. The head finds the file under another name, and the bytes
/// just before the offset prove that the place is the one meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Device and inode number: a hint.
    pub inode: (u64, u64),
    /// When the file was last written, in nanoseconds since 1970; 0 where that
    /// is not known. A hint: where the file is gone it tells which of those
    /// that are left are younger.
    #[serde(default)]
    pub modified: i64,
    /// The first bytes of the file, at most [`Proof::HEAD_BYTES_MAX`].
    pub head: Digest,
    /// The bytes just before the offset, at most [`Proof::TAIL_BYTES_MAX`].
    pub tail: Digest,
}

impl Proof {
    /// How much of a file's start is hashed, in bytes.
    pub const HEAD_BYTES_MAX: usize = 256;
    /// How much of what lies before an offset is hashed, in bytes.
    pub const TAIL_BYTES_MAX: usize = 1024;

    /// The proof of the place behind `before`, in a file that starts with
    /// `head`: both are cut to the lengths that are hashed.
    pub fn new(inode: (u64, u64), head: &[u8], before: &[u8]) -> Self {
        let head = &head[..head.len().min(Self::HEAD_BYTES_MAX)];
        let tail = &before[before.len().saturating_sub(Self::TAIL_BYTES_MAX)..];
        Self { inode, modified: 0, head: Digest::of(head), tail: Digest::of(tail) }
    }
}

/// The length of some bytes and half of their SHA-256.
///
/// A strong hash on purpose: what is hashed may have been written by somebody
/// who would like two files to be taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// How many bytes were hashed.
    pub len: u32,
    /// The first 16 bytes of their SHA-256.
    pub hash: [u8; 16],
}

impl Digest {
    /// Hashes `bytes`, which must be shorter than 4 GiB.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 16];
        hash.copy_from_slice(&Sha256::digest(bytes)[..16]);
        Self { len: bytes.len() as u32, hash }
    }

    /// Whether these are the bytes that were hashed.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.len as usize && Self::of(bytes) == *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_hashes_the_edges_only() {
        let long = vec![b'x'; 5000];
        let proof = Proof::new((1, 2), &long, &long);
        assert_eq!(proof.head.len, 256);
        assert_eq!(proof.tail.len, 1024);
        assert!(proof.head.matches(&long[..256]));
        assert!(!proof.head.matches(&long[..255]));
        assert!(!proof.tail.matches(&[b'y'; 1024]));
    }
}
