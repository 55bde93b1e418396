//! xz: streams one behind the other, with padding.

use super::source::{Source, Step};
use super::{ArchiveError, Decoder, End};
use lzma_rust2::XzReader;
use std::io::{self, Read};

/// How much is decompressed at a time, in bytes. The decoder forgets what it
/// decoded in the same call before a mistake, so the steps are small.
const STEP_BYTES: usize = 256;
/// What the decoder adds to a dictionary when it compares it with its limit, in
/// KiB: its own state, and a chunk of input.
const OVERHEAD_KIB: u64 = 40 + 64;

pub(super) struct Xz {
    reader: XzReader<Source>,
    window_bytes_max: u64,
    step: Step,
}

impl Xz {
    pub(super) fn new(source: Source, window_bytes_max: u64) -> Self {
        // The largest number means no limit to the decoder.
        let limit = (window_bytes_max / 1024).saturating_add(OVERHEAD_KIB);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(u32::MAX - 1);
        Self {
            reader: XzReader::new_mem_limit(source, true, limit),
            window_bytes_max,
            step: Step::new(STEP_BYTES),
        }
    }

    fn failed(&mut self, error: &io::Error) -> ArchiveError {
        let max = self.window_bytes_max;
        let source = self.reader.inner_mut();
        let dictionary = dictionary_in(source.last_read());
        source.fault(|at| match error.kind() {
            io::ErrorKind::OutOfMemory => ArchiveError::TooBig {
                why: format!(
                    "needs an xz dictionary of {dictionary} bytes, more than the limit of \
                     {max}"
                ),
            },
            io::ErrorKind::Unsupported => ArchiveError::Unsupported {
                why: format!("was compressed by xz in a way not known here: {error}"),
            },
            _ => ArchiveError::damaged(at, error),
        })
    }
}

/// The size of the dictionary that a block's header asks for, in bytes. The
/// header ends with it, then zeros up to a multiple of four, then a checksum.
fn dictionary_in(header: &[u8]) -> u64 {
    let filters = &header[..header.len().saturating_sub(4)];
    let bits = filters.iter().rev().find(|byte| **byte != 0).copied().unwrap_or(0);
    match bits {
        0..40 => (2 | u64::from(bits & 1)) << (bits / 2 + 11),
        _ => u64::from(u32::MAX),
    }
}

impl Decoder for Xz {
    fn decode(&mut self, out: &mut [u8]) -> (usize, Option<End>) {
        if self.step.is_empty() {
            match self.reader.read(self.step.space()) {
                Ok(0) => return (0, Some(End::Proven)),
                Ok(n) => self.step.filled(n),
                Err(error) => return (0, Some(End::Failed(self.failed(&error)))),
            }
        }
        (self.step.take(out), None)
    }

    fn source(&self) -> &Source {
        self.reader.inner()
    }

    fn source_mut(&mut self) -> &mut Source {
        self.reader.inner_mut()
    }
}
