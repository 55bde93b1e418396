//! The checksum of a journal that is being copied.
//!
//! Hashing and encrypting cost about the same. So what comes in bulk is hashed by a
//! thread of its own, which lives as long as the bulk does.

use p4journal::Head;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use tripline_api::Place;

/// A piece this long is hashed beside, and all behind it until there is a rest.
const BULK_BYTES: usize = 64 * 1024;
/// So many pieces wait to be hashed.
const PIECES_MAX: usize = 24;
/// How much the thread that hashes holds back: of 19.
const NICE: i32 = 15;

/// The checksum of a journal, from its first byte on.
#[derive(Default)]
pub(super) struct Checksum {
    sequence: u64,
    /// How much is in it.
    bytes: u64,
    /// The journal says its number itself.
    is_numbered: bool,
    hash: Sha256,
    beside: Option<Beside>,
}

/// A thread that hashes.
struct Beside {
    pieces: SyncSender<Vec<u8>>,
    /// What was hashed: room for the next.
    used: Receiver<Vec<u8>>,
    thread: JoinHandle<Sha256>,
}

impl Checksum {
    /// That of a journal that was read from its first byte on.
    pub(super) fn of(sequence: u64, bytes: u64, is_numbered: bool, hash: Sha256) -> Self {
        Self { sequence, bytes, is_numbered, hash, beside: None }
    }

    /// Adds bytes that are not in it yet.
    pub(super) fn add(&mut self, place: Place, bytes: &[u8]) {
        if self.sequence != place.sequence || self.bytes == 0 {
            *self = Self::of(place.sequence, 0, false, Sha256::new());
        }
        if self.bytes == 0 {
            self.is_numbered = Head::read(bytes).number().is_some();
        }
        let end = place.offset + bytes.len() as u64;
        if place.offset <= self.bytes && end > self.bytes {
            self.update(&bytes[(self.bytes - place.offset) as usize..]);
            self.bytes = end;
        }
    }

    /// Whether it is that of the whole of this journal, which has so many bytes.
    pub(super) const fn is_of(&self, sequence: u64, bytes: u64) -> bool {
        self.sequence == sequence && self.bytes == bytes
    }

    pub(super) const fn is_numbered(&self) -> bool {
        self.is_numbered
    }

    /// Nothing more comes for a while.
    pub(super) fn rest(&mut self) {
        let Some(Beside { pieces, used, thread }) = self.beside.take() else { return };
        drop((pieces, used));
        match thread.join() {
            Ok(hash) => self.hash = hash,
            // It is as if nothing of this journal had come.
            Err(_) => *self = Self::default(),
        }
    }

    /// As it is written, in hexadecimal digits.
    pub(super) fn hex(&mut self) -> String {
        self.rest();
        let mut hex = String::new();
        for byte in self.hash.clone().finalize() {
            _ = write!(hex, "{byte:02x}");
        }
        hex
    }

    fn update(&mut self, bytes: &[u8]) {
        if self.beside.is_none() && bytes.len() >= BULK_BYTES {
            self.beside = Beside::start(&self.hash);
        }
        let Some(beside) = &self.beside else { return self.hash.update(bytes) };
        let mut piece = beside.used.try_recv().unwrap_or_default();
        piece.clear();
        piece.extend_from_slice(bytes);
        // Where the thread died, the join says so.
        _ = beside.pieces.send(piece);
    }
}

impl Drop for Checksum {
    fn drop(&mut self) {
        self.rest();
    }
}

impl Beside {
    /// Goes on from this hash; `None` where no thread is to be had.
    fn start(hash: &Sha256) -> Option<Self> {
        let (pieces, to_hash) = sync_channel::<Vec<u8>>(PIECES_MAX);
        let (give_back, used) = sync_channel(PIECES_MAX);
        let mut hash = hash.clone();
        let work = move || {
            // Both ends of the connection need the processors more; it catches up in their
            // pauses. Where that is not allowed, it is as urgent as they are.
            _ = setpriority_process(Some(gettid()), NICE);
            for piece in to_hash {
                hash.update(&piece);
                _ = give_back.try_send(piece);
            }
            hash
        };
        let thread = thread::Builder::new().name("checksum".into()).spawn(work).ok()?;
        Some(Self { pieces, used, thread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_and_trickle_make_one_sum() {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut checksum = Checksum::default();
        let mut at = 0;
        for length in [10, 300_000, 5, 64 * 1024, 100, 400_000, 7, usize::MAX] {
            let end = at + length.min(bytes.len() - at);
            let place = Place { offset: at as u64, ..Place::start_of(0, 3) };
            checksum.add(place, &bytes[at..end]);
            // What comes again counts once.
            checksum.add(place, &bytes[at..end]);
            if length == 100 {
                checksum.rest();
            }
            at = end;
        }
        assert!(checksum.is_of(3, bytes.len() as u64));
        let whole: String =
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(checksum.hex(), whole);
        // Another journal begins anew, and what does not follow is not counted.
        checksum.add(Place::start_of(0, 4), b"abc");
        checksum.add(Place { offset: 9, ..Place::start_of(0, 4) }, b"abc");
        assert!(checksum.is_of(4, 3));
    }
}
