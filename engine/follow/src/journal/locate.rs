//! Places in one file: where a record starts, what stands before an offset.

use super::catalog::Found;
use super::framer::{Framer, RECORD_BYTES_MAX};
use crate::archive::{Archive, Format, Limits};
use crate::file;
use std::fs::File;
use std::io;
use tripline_api::{Place, SourceError};

/// The `count` bytes before an offset of a plain file.
pub(super) fn bytes_before(file: &Found, offset: u64, count: u32) -> io::Result<Vec<u8>> {
    let opened = file::open(&file.path)?;
    let mut bytes = vec![0; count as usize];
    let start = offset.saturating_sub(u64::from(count));
    let n = file::read_at(&opened, &mut bytes, start)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// The place of the first record at or behind a wanted offset, with its line:
/// reads the file up to there. A place at the very end is one too.
pub(super) fn record_at(file: &Found, wanted: Place) -> Result<Place, SourceError> {
    let mut place = Place::start_of(wanted.era, wanted.sequence);
    walk(file, |length, lines| {
        if place.offset < wanted.offset {
            place = place.advance(length, lines);
        }
        place.offset < wanted.offset
    })?;
    Ok(place)
}

/// The place behind the last whole record.
pub(super) fn end_of(
    file: &Found,
    era: u64,
    sequence: u64,
) -> Result<Place, SourceError> {
    let mut place = Place::start_of(era, sequence);
    walk(file, |length, lines| {
        place = place.advance(length, lines);
        true
    })?;
    Ok(place)
}

/// Calls `each` with the length and the line feeds of each record, until it
/// returns false.
fn walk(file: &Found, mut each: impl FnMut(u64, u64) -> bool) -> Result<(), SourceError> {
    let failed = |e| SourceError::io(format!("cannot read {}", file.path.display()), e);
    let mut input = Input::open(file).map_err(failed)?;
    let mut framer = Framer::new(RECORD_BYTES_MAX);
    loop {
        let n = input.fill(framer.space()).map_err(failed)?;
        if n == 0 {
            return Ok(());
        }
        framer.filled(n);
        while framer.frame(false) {
            let mut start = 0;
            for span in framer.spans() {
                if !each(u64::from(span.end - start), u64::from(span.lines)) {
                    return Ok(());
                }
                start = span.end;
            }
            framer.discard();
        }
    }
}

enum Input {
    Plain(File, u64),
    Gzip(Archive),
}

impl Input {
    fn open(file: &Found) -> io::Result<Self> {
        let opened = file::open(&file.path)?;
        Ok(if file.gzip {
            Self::Gzip(Archive::new(opened, Format::Gzip, Limits::default()))
        } else {
            Self::Plain(opened, 0)
        })
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file, offset) => {
                let n = file::read_at(file, buffer, *offset)?;
                *offset += n as u64;
                Ok(n)
            }
            Self::Gzip(stream) => Ok(stream.fill(buffer)?),
        }
    }
}
