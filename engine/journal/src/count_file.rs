//! Counting a plain file on several cores.
//!
//! A line that starts with `@op@ ` starts a record wherever it stands, so a file can be
//! cut anywhere: a part begins at the first such line behind the cut and ends where the
//! next part begins.

use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;

use crate::count::Count;
use crate::count::forget_middle;
use crate::journal::Head;
use crate::journal::Trailer;
use crate::split::Splitter;
use crate::split::resync;
use crate::split::starts_record;
use crate::tally::Tally;

impl Count {
    /// Counts a plain file, on as many as four cores. The result is that of
    /// [`Counter`](crate::Counter) over the same bytes.
    ///
    /// What the file has at the start is counted; what is written meanwhile is not. Each
    /// core holds at most 2 MiB, however long the records are.
    ///
    /// # Errors
    ///
    /// When reading the file fails, or it becomes shorter meanwhile.
    pub fn of_file(file: &File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        let next_part = AtomicU64::new(0);
        let cores = thread::available_parallelism().map_or(1, |count| count.get());
        let parts = bytes.div_ceil(PART_BYTES).max(1);
        let workers = (cores.min(WORKERS_MAX) as u64).min(parts);

        let mut tally = Tally::default();
        let mut complete = 0;
        thread::scope(|scope| -> io::Result<()> {
            let spawn = |index| {
                let work = || count_parts(file, bytes, &next_part);
                thread::Builder::new()
                    .name(format!("count-{index}"))
                    .spawn_scoped(scope, work)
            };
            // This thread is one of the workers.
            let others = (1..workers).map(spawn).collect::<io::Result<Vec<_>>>()?;
            let mut results = vec![count_parts(file, bytes, &next_part)];
            for other in others {
                let died = |_| Err(io::Error::other("a counting thread died"));
                results.push(other.join().unwrap_or_else(died));
            }
            for result in results {
                let (part_tally, end) = result?;
                tally.merge(part_tally);
                complete = complete.max(end);
            }
            Ok(())
        })?;

        let mut first_bytes = vec![0; HEAD_BYTES.min(bytes) as usize];
        read_at(file, &mut first_bytes, 0)?;
        let trailer = read_trailer(file, complete)?;
        Ok(Self::new(Head::read(&first_bytes), trailer, &tally, bytes, complete))
    }
}

/// Takes parts until none is left. Returns what was counted and how far the pieces went.
fn count_parts(
    file: &File,
    bytes: u64,
    next_part: &AtomicU64,
) -> io::Result<(Tally, u64)> {
    let mut window = Window::new(file, bytes);
    let mut tally = Tally::default();
    let mut complete = 0;
    loop {
        let from = next_part.fetch_add(1, Ordering::Relaxed).saturating_mul(PART_BYTES);
        if from >= bytes {
            return Ok((tally, complete));
        }
        let to = from.saturating_add(PART_BYTES);
        if window.seek_start(from, to)? {
            complete = complete.max(count_part(&mut window, to, &mut tally)?);
        }
    }
}

/// Counts the pieces from the window's place to the first record start at or behind
/// `to`. Returns the place behind the last piece.
fn count_part(window: &mut Window<'_>, to: u64, tally: &mut Tally) -> io::Result<u64> {
    let mut splitter = Splitter::new();
    loop {
        let mut pieces = splitter.pieces(&window.held);
        let mut at = window.offset;
        // Only the first piece may have been so long that its middle is not held.
        let mut forgotten = window.forgotten;
        for (bytes, piece) in pieces.by_ref() {
            // What starts behind the end and is no record belongs to this part too: the
            // next one begins with a record.
            if at >= to && starts_record(bytes) {
                return Ok(at);
            }
            tally.see(at, bytes, piece);
            at += piece.len as u64 + mem::take(&mut forgotten);
        }
        let used = pieces.used();
        window.advance(used);
        window.forgotten += forget_middle(&mut window.held, &mut splitter) as u64;
        if window.offset >= to && starts_record(&window.held) || !window.fill()? {
            return Ok(window.offset);
        }
    }
}

/// Looks for the trailer in the last bytes. Its three records are short, and a record
/// in front of them only clears what came before.
fn read_trailer(file: &File, complete: u64) -> io::Result<Trailer> {
    let from = complete.saturating_sub(TRAILER_BYTES);
    let mut bytes = vec![0; (complete - from) as usize];
    read_at(file, &mut bytes, from)?;
    let mut rest = match from {
        0 => bytes.as_slice(),
        _ => resync(&bytes).map_or(&[][..], |at| &bytes[at..]),
    };
    let (mut trailer, mut splitter) = (Trailer::new(), Splitter::new());
    while let Some(piece) = splitter.next(rest) {
        trailer.see(&rest[..piece.len]);
        rest = &rest[piece.len..];
    }
    Ok(trailer)
}

/// Reads bytes that the file had at the start.
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
        // Not an end that came early, as of a file that was not copied whole.
        io::ErrorKind::UnexpectedEof => {
            io::Error::other("it became shorter while it was read")
        }
        _ => error,
    })
}

/// A stretch of the file in memory.
struct Window<'a> {
    file: &'a File,
    /// The file's length.
    bytes: u64,
    /// The file's bytes from `offset` on.
    held: Vec<u8>,
    offset: u64,
    /// How many bytes were taken out of what is held, see [`forget_middle`].
    forgotten: u64,
}

impl<'a> Window<'a> {
    const fn new(file: &'a File, bytes: u64) -> Self {
        Self { file, bytes, held: Vec::new(), offset: 0, forgotten: 0 }
    }

    /// Moves to the first record start in `from..to`, or says that there is none. The
    /// first part starts at the file's first byte, whatever that is.
    fn seek_start(&mut self, from: u64, to: u64) -> io::Result<bool> {
        self.held.clear();
        self.forgotten = 0;
        // One byte more in front: a start is known by the line feed before it.
        self.offset = from.saturating_sub(1);
        if from == 0 {
            return Ok(true);
        }
        loop {
            if !self.fill()? {
                return Ok(false);
            }
            if let Some(at) = resync(&self.held) {
                self.advance(at);
                return Ok(self.offset < to);
            }
            if self.offset >= to {
                return Ok(false);
            }
            // The last bytes may be a line feed and half a start.
            self.advance(self.held.len().saturating_sub(START_BYTES_MAX));
        }
    }

    /// Lets go of the first bytes held.
    fn advance(&mut self, count: usize) {
        if count > 0 {
            self.held.drain(..count);
            self.offset += count as u64 + mem::take(&mut self.forgotten);
        }
    }

    /// Reads another block behind what is held; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        let held = self.held.len();
        let read_from = self.offset + self.forgotten + held as u64;
        let count = self.bytes.saturating_sub(read_from).min(BLOCK_BYTES as u64) as usize;
        self.held.resize(held + count, 0);
        read_at(self.file, &mut self.held[held..], read_from)?;
        Ok(count > 0)
    }
}

/// How much of the file is one part: enough that finding its start costs nothing, small
/// enough that a core which is busy otherwise does not hold up the rest.
const PART_BYTES: u64 = 4 << 20;

/// How much is read at a time; what fits the cache near the processor.
const BLOCK_BYTES: usize = 128 * 1024;

/// More cores than this wait for the memory.
const WORKERS_MAX: usize = 4;

/// A line feed and the longest operator.
const START_BYTES_MAX: usize = 7;

/// Where the head is looked for.
const HEAD_BYTES: u64 = 64 * 1024;

/// Where the trailer is looked for.
const TRAILER_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::count::Counter;

    /// Counts both ways and compares.
    fn both_ways(bytes: &[u8]) -> Count {
        let mut counter = Counter::new();
        counter.push(bytes);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let count = Count::of_file(&file).unwrap();
        assert_eq!(count, counter.finish());
        count
    }

    #[test]
    fn small_files() {
        for bytes in [
            &b""[..],
            b"@ex@ 1 2\n",
            b"\0\0\0",
            b"\n\n@ex@ 1 2\n@ex",
            b"@rv@ 1 @db.counters@ @journal@ @6@ \n@ex@ 1 2\n",
            b"@pv@ 1 @db.desc@ 1 @torn\n@ex@ 1 2\n",
        ] {
            both_ways(bytes);
        }
    }

    #[test]
    fn records_across_the_cuts() {
        let mut bytes = b"@vv@ 1 @db.counters@ @journal@ @5@ \n".to_vec();
        let text = "a line of text\n@@pv@@ 1 @@db.x@@ \n".repeat(50);
        while (bytes.len() as u64) < 2 * PART_BYTES + 1000 {
            write!(bytes, "@pv@ 0 @db.desc@ {} @{text}@ \n@ex@ 1 2\n", bytes.len())
                .unwrap();
            // Damage too: a hole, a torn record, a blank line.
            write!(bytes, "\0\0\0\n@rv@ 1 @db.desc@ 1 @torn{text}@ex@ 1 2\n\n").unwrap();
        }
        let count = both_ways(&bytes);
        assert!(count.records > 5000 && count.damaged > 5000);
    }

    #[test]
    fn a_record_longer_than_several_parts() {
        let text = "x\n".repeat(3 * PART_BYTES as usize / 2);
        let count =
            both_ways(format!("@pv@ 0 @db.desc@ 1 @{text}@ \n@ex@ 1 2\n").as_bytes());
        assert_eq!(count.records, 2);
        both_ways(format!("@pv@ 0 @db.desc@ 1 @{text}").as_bytes());
    }

    #[test]
    fn damage_longer_than_a_part() {
        let mut bytes = b"@ex@ 1 2\n".to_vec();
        bytes.extend(b"no record\n".repeat(PART_BYTES as usize / 4));
        bytes.extend(b"@ex@ 3 4\n");
        assert_eq!(both_ways(&bytes).records, 2);
    }

    #[test]
    fn a_file_that_becomes_shorter_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"@ex@ 1 2\n").unwrap();
        let error = read_at(&file, &mut [0; 9], 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
        assert!(error.to_string().contains("shorter"), "{error}");
    }

    #[test]
    fn every_distance_from_a_cut() {
        for before in 0..20 {
            let mut bytes = b"@pv@ 0 @db.desc@ 1 @".to_vec();
            bytes.resize(PART_BYTES as usize - before, b'x');
            bytes.extend_from_slice(b"@ \n@pv@ 0 @db.x@ 1 \n@ex@ 1 2\n");
            assert_eq!(both_ways(&bytes).records, 3);
        }
    }
}
