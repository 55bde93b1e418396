//! Comparing what the standby holds with what comes again.

use crate::ssh::{Failure, FileId, Reading, Sftp, Taken};
use std::time::Instant;

/// A file on the standby, as far as it was there when it was opened.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) file: FileId,
    /// How many bytes there are to compare with.
    pub(super) size: u64,
    /// Everything before this is the same here and there.
    compared: u64,
    reading: Option<Reading>,
    /// Bytes that were read and not compared yet; the first is at `compared`.
    bytes: Vec<u8>,
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// As far as there was something to compare with, it is the same.
    Same,
    /// The first byte that differs.
    DiffersAt(u64),
    /// The standby has not answered in time: ask again with the same bytes.
    NotYet,
}

impl Held {
    /// Everything before `compared` is known to be the same.
    pub(super) const fn new(file: FileId, size: u64, compared: u64) -> Self {
        Self { file, size, compared, reading: None, bytes: Vec::new() }
    }

    /// Whether nothing is left to be compared.
    pub(super) const fn is_compared(&self) -> bool {
        self.compared >= self.size
    }

    /// Compares bytes that come again. They come in order, and may come twice.
    ///
    /// # Errors
    ///
    /// The standby refuses to read, or the connection is over.
    pub(super) fn compare(
        &mut self,
        sftp: &mut Sftp,
        offset: u64,
        bytes: &[u8],
        until: Instant,
    ) -> Result<Compared, Failure> {
        let end = (offset + bytes.len() as u64).min(self.size);
        if offset > self.compared {
            // Somebody wants it from here on, and what is before is not asked for.
            (self.compared, self.reading) = (offset, None);
            self.bytes.clear();
        }
        while self.compared < end {
            if self.bytes.is_empty() {
                let range = self.compared..self.size;
                let reading =
                    self.reading.get_or_insert_with(|| sftp.read(self.file, range));
                match sftp.take(reading, until)? {
                    Taken::Bytes(more) => self.bytes = more,
                    Taken::NotYet => return Ok(Compared::NotYet),
                    // It was longer when it was opened.
                    Taken::End => return Ok(Compared::DiffersAt(self.compared)),
                }
            }
            let ours = &bytes[(self.compared - offset) as usize..(end - offset) as usize];
            let count = ours.len().min(self.bytes.len());
            let same = ours.iter().zip(&self.bytes).take_while(|(a, b)| a == b).count();
            self.compared += same as u64;
            if same < count {
                self.reading = None;
                self.bytes.clear();
                return Ok(Compared::DiffersAt(self.compared));
            }
            self.bytes.drain(..count);
        }
        Ok(Compared::Same)
    }
}
