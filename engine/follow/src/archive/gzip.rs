//! gzip, RFC 1952: members one behind the other.

use super::source::{Source, Step};
use super::{ArchiveError, Decoder, End};
use flate2::{Crc, Decompress, FlushDecompress, Status};

/// How much is decompressed at a time, in bytes: a few windows, because the
/// decoder copies one at the end of each step.
const STEP_BYTES: usize = 128 * 1024;

const HEADER_CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

pub(super) struct Gzip {
    source: Source,
    inflate: Decompress,
    step: Step,
    /// Of what the member came to so far.
    checksum: Crc,
    next: Next,
}

/// What comes next in the file.
#[derive(Clone, Copy)]
enum Next {
    FirstMember,
    Body,
    Trailer,
    /// The decoder found a mistake behind what it gave.
    Broken,
    /// Another member, or padding up to the end.
    MemberOrEnd,
}

impl Gzip {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            inflate: Decompress::new(false),
            step: Step::new(STEP_BYTES),
            checksum: Crc::new(),
            next: Next::FirstMember,
        }
    }

    fn go_on(&mut self) -> Result<Next, End> {
        match self.next {
            Next::FirstMember => self.begin_member().map_err(End::Failed),
            Next::Body => self.inflate().map_err(End::Failed),
            Next::Trailer => self.check_trailer().map_err(End::Failed),
            Next::MemberOrEnd => self.begin_member_or_end(),
            Next::Broken => {
                Err(End::Failed(self.damaged("its deflate stream is broken")))
            }
        }
    }

    fn begin_member_or_end(&mut self) -> Result<Next, End> {
        match self.source.peek().map_err(End::Failed)?.first() {
            None => Err(End::Proven),
            // Tapes and block devices fill their last block up.
            Some(0) => Err(self.padding().map_or_else(End::Failed, |()| End::Proven)),
            Some(_) => self.begin_member().map_err(End::Failed),
        }
    }

    fn padding(&mut self) -> Result<(), ArchiveError> {
        loop {
            let bytes = self.source.peek()?;
            if bytes.is_empty() {
                return Ok(());
            }
            let count = bytes.len();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            self.source.consume(zeros);
            if zeros < count {
                return Err(self.damaged("neither padding nor a member behind the end"));
            }
        }
    }

    fn begin_member(&mut self) -> Result<Next, ArchiveError> {
        let mut checksum = Crc::new();
        for magic in [0x1f, 0x8b] {
            let at = self.source.offset();
            if self.header::<1>(&mut checksum)? != [magic] {
                let what = match at {
                    0 | 1 => "it is no gzip file",
                    _ => "neither padding nor a member behind the end",
                };
                return Err(ArchiveError::damaged(at, what));
            }
        }
        let [method] = self.header(&mut checksum)?;
        if method != 8 {
            return Err(self.damaged("a member with an unknown method"));
        }
        let [flags] = self.header(&mut checksum)?;
        if flags & RESERVED != 0 {
            return Err(self.damaged("a member with unknown flags"));
        }
        // When it was compressed, how well, and where.
        self.header::<6>(&mut checksum)?;
        if flags & EXTRA != 0 {
            let length = u16::from_le_bytes(self.header(&mut checksum)?);
            for _ in 0..length {
                self.header::<1>(&mut checksum)?;
            }
        }
        for text in [NAME, COMMENT] {
            while flags & text != 0 && self.header(&mut checksum)? != [0] {}
        }
        if flags & HEADER_CHECKSUM != 0
            && u16::from_le_bytes(self.source.read_array()?) != checksum.sum() as u16
        {
            return Err(self.damaged("the checksum of a member's header does not hold"));
        }
        self.inflate.reset(false);
        self.checksum.reset();
        Ok(Next::Body)
    }

    fn header<const N: usize>(
        &mut self,
        checksum: &mut Crc,
    ) -> Result<[u8; N], ArchiveError> {
        let bytes = self.source.read_array::<N>()?;
        checksum.update(&bytes);
        Ok(bytes)
    }

    fn inflate(&mut self) -> Result<Next, ArchiveError> {
        let input = self.source.peek()?;
        if input.is_empty() {
            return Err(ArchiveError::Cut);
        }
        let before = (self.inflate.total_in(), self.inflate.total_out());
        let out = self.step.space();
        let status = self.inflate.decompress(input, out, FlushDecompress::None);
        let used = (self.inflate.total_in() - before.0) as usize;
        let n = (self.inflate.total_out() - before.1) as usize;
        self.checksum.update(&out[..n]);
        self.source.consume(used);
        self.step.filled(n);
        Ok(match status {
            Ok(Status::StreamEnd) => Next::Trailer,
            // Neither taking nor giving anything would go on for ever.
            Ok(_) if used > 0 || n > 0 => Next::Body,
            Ok(_) | Err(_) => Next::Broken,
        })
    }

    fn check_trailer(&mut self) -> Result<Next, ArchiveError> {
        let checksum = u32::from_le_bytes(self.source.read_array()?);
        let length = u32::from_le_bytes(self.source.read_array()?);
        if checksum != self.checksum.sum() || length != self.checksum.amount() {
            return Err(self.damaged("the checksum does not hold"));
        }
        Ok(Next::MemberOrEnd)
    }

    fn damaged(&self, what: &str) -> ArchiveError {
        ArchiveError::damaged(self.source.offset(), what)
    }
}

impl Decoder for Gzip {
    fn decode(&mut self, out: &mut [u8]) -> (usize, Option<End>) {
        while self.step.is_empty() {
            match self.go_on() {
                Ok(next) => self.next = next,
                Err(end) => return (0, Some(end)),
            }
        }
        (self.step.take(out), None)
    }

    fn source(&self) -> &Source {
        &self.source
    }

    fn source_mut(&mut self) -> &mut Source {
        &mut self.source
    }
}
