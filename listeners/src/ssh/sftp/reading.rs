//! Reading a stretch of a file, with many requests under way.

use super::Sftp;
use super::answer::{Answer, Slot};
use super::file::FileId;
use crate::ssh::failure::{Failure, Kind};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

/// So many reads are under way at most, and so many bytes of them.
const READS_MAX: usize = 64;
const READ_WINDOW_BYTES: u64 = 4 * 1024 * 1024;

/// A stretch of a file that is being read.
#[derive(Debug)]
pub(crate) struct Reading {
    file: FileId,
    /// Where the next piece to be handed out begins.
    at: u64,
    /// Where the next piece to be asked for begins.
    next: u64,
    end: u64,
    pieces: VecDeque<Piece>,
}

#[derive(Debug)]
struct Piece {
    length: u32,
    slot: Slot,
}

/// What came of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The next bytes, at least one.
    Bytes(Vec<u8>),
    /// Nothing, for now.
    NotYet,
    /// The stretch has ended, or the file.
    End,
}

impl Reading {
    /// Up to where bytes were taken.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }
}

impl Sftp {
    /// Reads these bytes of a file, in order, by [`take`](Self::take). One that
    /// is dropped is read no further.
    pub(crate) fn read(&self, file: FileId, range: Range<u64>) -> Reading {
        let Range { start, end } = range;
        Reading { file, at: start, next: start, end, pieces: VecDeque::new() }
    }

    /// The next bytes of a reading, if they are there before `until`.
    ///
    /// # Errors
    ///
    /// The server refuses to read, or the connection is over.
    pub(crate) fn take(
        &mut self,
        reading: &mut Reading,
        until: Instant,
    ) -> Result<Taken, Failure> {
        loop {
            self.ask_ahead(reading);
            let Some(piece) = reading.pieces.front() else { return Ok(Taken::End) };
            let Some(answer) = piece.slot.take() else {
                let now = Instant::now();
                self.turn(until)?;
                if now >= until && !piece.slot.is_answered() {
                    return Ok(Taken::NotYet);
                }
                continue;
            };
            let length = piece.length;
            reading.pieces.pop_front();
            match answer? {
                Answer::Data(data) if data.is_empty() => {
                    reading.pieces.clear();
                    reading.end = reading.at;
                    reading.next = reading.end;
                    return Ok(Taken::End);
                }
                Answer::Data(data) if data.len() <= length as usize => {
                    let missing = length - data.len() as u32;
                    reading.at += data.len() as u64;
                    if missing > 0 {
                        let slot = self.ask_read(reading.file, reading.at, missing);
                        reading.pieces.push_front(Piece { length: missing, slot });
                    }
                    return Ok(Taken::Bytes(data));
                }
                _ => {
                    let why =
                        "the SFTP server answers a read with more than was asked for";
                    return self.remember(Err(Failure::new(Kind::Garbled, why)));
                }
            }
        }
    }

    fn ask_ahead(&mut self, reading: &mut Reading) {
        let most = self.state.data_bytes(|limits| limits.read) as u64;
        while reading.pieces.len() < READS_MAX
            && reading.next < reading.end
            && reading.next - reading.at < READ_WINDOW_BYTES
        {
            let length = most.min(reading.end - reading.next) as u32;
            let slot = self.ask_read(reading.file, reading.next, length);
            reading.pieces.push_back(Piece { length, slot });
            reading.next += u64::from(length);
        }
    }
}
