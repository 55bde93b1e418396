//! Whether a compressed journal is whole: only then does it count.

use super::catalog::{Found, Whole};
use super::framer::records_in;
use crate::archive::{Archive, ArchiveError, Format, Limits};
use crate::file;
use p4journal::Trailer;
use tripline_api::{Proof, SourceError};

/// How much is decompressed in one step, in bytes.
const STEP_BYTES: usize = 4 * 1024 * 1024;
/// How much of the end is kept to look for a trailer, in bytes.
const TRAILER_BYTES: usize = 4096;

/// Reads a compressed file through, a step at a time, and keeps what matters:
/// its length, its trailer, and the bytes before an offset.
pub(super) struct Verifying {
    pub(super) found: Found,
    stream: Archive,
    buffer: Vec<u8>,
    length: u64,
    last: Vec<u8>,
    offset: u64,
    before: Vec<u8>,
}

impl Verifying {
    pub(super) fn begin(found: &Found, offset: u64) -> Result<Self, SourceError> {
        let file = file::open(&found.path).map_err(|e| {
            SourceError::io(format!("cannot open {}", found.path.display()), e)
        })?;
        Ok(Self {
            found: found.clone(),
            stream: Archive::new(file, Format::Gzip, Limits::default()),
            buffer: vec![0; 256 * 1024],
            length: 0,
            last: Vec::new(),
            offset,
            before: Vec::new(),
        })
    }

    /// One step; at the end the verdict, and the bytes before the offset.
    ///
    /// # Errors
    ///
    /// When the file cannot be read now, which says nothing about it.
    pub(super) fn go_on(&mut self) -> Result<Option<(Whole, Vec<u8>)>, SourceError> {
        for _ in 0..STEP_BYTES / self.buffer.len() {
            match self.stream.fill(&mut self.buffer) {
                Ok(0) => {
                    let whole =
                        Whole::Yes { next: trailer_in(&self.last), length: self.length };
                    return Ok(Some((whole, std::mem::take(&mut self.before))));
                }
                Ok(n) => self.take(n),
                Err(e) => return self.failed(e).map(Some),
            }
        }
        Ok(None)
    }

    fn failed(&self, error: ArchiveError) -> Result<(Whole, Vec<u8>), SourceError> {
        match error {
            ArchiveError::Io(e) => {
                let what = format!("cannot read {}", self.found.path.display());
                Err(SourceError::io(what, e))
            }
            // The content is at fault, not the disk.
            error => Ok((Whole::No(format!("it {error}")), Vec::new())),
        }
    }

    fn take(&mut self, n: usize) {
        let block = &self.buffer[..n];
        let wanted = self.offset.saturating_sub(self.length).min(n as u64) as usize;
        keep_last(&mut self.before, &block[..wanted], Proof::TAIL_BYTES_MAX);
        keep_last(&mut self.last, block, TRAILER_BYTES);
        self.length += n as u64;
    }
}

/// The number of the next journal, if these last bytes of one end with a
/// trailer.
pub(super) fn trailer_in(last: &[u8]) -> Option<u64> {
    let mut trailer = Trailer::new();
    let mut records = records_in(last);
    for record in &mut records {
        trailer.see(record);
    }
    trailer.next_number().filter(|_| records.rest.is_empty())
}

fn keep_last(kept: &mut Vec<u8>, bytes: &[u8], count: usize) {
    let bytes = &bytes[bytes.len().saturating_sub(count)..];
    kept.extend_from_slice(bytes);
    kept.drain(..kept.len().saturating_sub(count));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_is_found_at_the_end_only() {
        let trailer = b"@rv@ 1 @db.counters@ @journal@ @6@ \n\
            @nx@ 3 9 @58@ 0 0 0 0 0 @@ @@ @@ @@ @@ \n@ex@ 1 9\n";
        let mut file = b"half a record @ \n@ex@ 1 2\n".to_vec();
        file.extend(trailer);
        assert_eq!(trailer_in(&file), Some(6));
        assert_eq!(trailer_in(&file[..file.len() - 1]), None);
        file.extend(b"@pv@ 1 @db.x@ 1 \n@ex@ 1 2\n");
        assert_eq!(trailer_in(&file), None);
    }
}
