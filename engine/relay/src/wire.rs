//! Frames: what is sent over a connection, both ways.
//!
//! A frame is a head of [`HEAD_BYTES`] and a body. The head has the length of the
//! body (4 bytes, least significant first, as all numbers), the kind (1), flags (1),
//! two zeros, the CRC-32 of the body (4) and that of the head before it (4). So no
//! length is believed that a broken network made up.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::fmt;

/// The length of a head.
pub const HEAD_BYTES: usize = 16;
/// No body is longer.
pub const BODY_BYTES_MAX: usize = RUN_BYTES_MAX + 64 * 1024;
/// No run of a log's bytes in one frame is longer: what is, takes several.
pub const RUN_BYTES_MAX: usize = 1024 * 1024;
/// No path is longer, in bytes.
pub const PATH_BYTES_MAX: usize = 16 * 1024;
/// No name of a peer, a stream or a source is longer, in bytes.
pub const NAME_BYTES_MAX: usize = 100;
/// No sentence, nor what says what a gap is, is longer, in bytes.
pub const TEXT_BYTES_MAX: usize = 32 * 1024;
/// No connection names more sources and logs.
pub const OPENED_MAX: u32 = 65_536;
/// The version of the protocol that is spoken here.
pub const VERSION: u16 = 2;

/// The body is compressed: its length when it is not (4 bytes), and the deflated rest.
const DEFLATED: u8 = 1;
/// Shorter bodies are not worth it, in bytes.
const DEFLATE_BYTES_MIN: usize = 128;

/// A place in a log or journal, as far as it orders what comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// As [`tripline_api::Place`] has it, all three.
    ///
    /// [`tripline_api::Place`]: https://docs.rs/tripline-api
    pub era: u64,
    /// The file.
    pub sequence: u64,
    /// Bytes before it in the file.
    pub offset: u64,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.sequence, self.offset)?;
        if self.era == 0 { Ok(()) } else { write!(f, "~{}", self.era) }
    }
}

/// What a receiver keeps beside the places of a sender, and a sender beside what it
/// knows of the receiver. When they differ, one of them was brought back from an
/// older state, and places mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tie {
    /// The file in which the sender keeps it: drawn with all incarnations in it.
    /// Not 0.
    pub file: u64,
    /// Drawn again and again. Not 0.
    pub number: u64,
}

/// One frame, with what is long borrowed from the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The sender's first: the version it speaks, and the name of its listener.
    Hello {
        /// [`VERSION`] of the sender.
        version: u16,
        /// The name of the listener.
        stream: &'a str,
    },
    /// From here on this number stands for a journal or a log.
    Open(Open<'a>),
    /// A run of whole entries, or a part of one that is longer than a frame. Counted.
    Run(Run<'a>),
    /// Continuity could not be proved. Counted.
    Gap(Gap<'a>),
    /// Is somebody there?
    Ping,
    /// What is sent from here on belongs to this tie: the first of a connection, and
    /// now and then another. Counted.
    Tie(Tie),
    /// The receiver's first: go on.
    Welcome {
        /// [`VERSION`] of the receiver.
        version: u16,
        /// Who it is: the number of its database.
        receiver: u64,
        /// The last tie of this stream that is on its disk.
        tie: Option<Tie>,
    },
    /// One of them will not, or cannot go on; says why, and ends the connection.
    Refused(&'a str),
    /// So many counted frames, from the first on, are on the receiver's disk.
    Settled(u64),
    /// Somebody is there.
    Alive,
}

/// What a number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// The number: below [`OPENED_MAX`].
    pub index: u32,
    /// The name of the source.
    pub source: &'a str,
    /// Places that were sent under another incarnation mean nothing any more.
    pub incarnation: u64,
    /// The path of the log; `None` for a journal.
    pub log: Option<&'a [u8]>,
}

/// Bytes of a log or journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// Of which one.
    pub index: u32,
    /// The place of the first byte.
    pub at: At,
    /// Its line, from 0.
    pub line: u64,
    /// The offset behind the run: further on than its bytes where the rest of a
    /// line that was too long is left out.
    pub next: u64,
    /// How many entries end in it.
    pub entries: u32,
    /// The first entry is the first of its file, and another file came before.
    pub did_rotate: bool,
    /// The last entry is not whole: torn, or cut.
    pub incomplete: bool,
    /// The bytes, as they are in the file.
    pub bytes: &'a [u8],
}

/// A gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// Of which one.
    pub index: u32,
    /// The next entry comes from here, or from behind it.
    pub to: At,
    /// A JSON object with a line feed.
    pub text: &'a [u8],
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not a head: something else is spoken, or it was changed on its way.
    #[error(
        "what came is not a frame: another protocol is spoken, or the network changes bytes"
    )]
    Head,
    /// The head is fine, the body is not what was sent.
    #[error("a frame was changed on its way: its checksum does not hold")]
    Changed,
    /// The body is not what its kind says, or longer than allowed.
    #[error("a frame cannot be understood ({0}): is the other Tripline a newer one?")]
    Body(&'static str),
}

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The length of the body: at most [`BODY_BYTES_MAX`].
    pub len: usize,
    kind: u8,
    flags: u8,
    crc: u32,
}

impl Head {
    /// Reads the head at the start of these bytes; `None` when there are too few.
    ///
    /// # Errors
    ///
    /// When they are not a head.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, WireError> {
        let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let number = |at: usize| {
            u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
        };
        let (len, flags) = (number(0) as usize, head[5]);
        let is_fine = number(12) == crc(&[&head[..12]])
            && len <= BODY_BYTES_MAX
            && flags & !DEFLATED == 0
            && head[6..8] == [0, 0];
        if !is_fine {
            return Err(WireError::Head);
        }
        Ok(Some(Self { len, kind: head[4], flags, crc: number(8) }))
    }

    /// A frame of any kind and body, with a head that holds: for tests.
    #[doc(hidden)]
    pub fn seal(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![0; HEAD_BYTES];
        out.extend_from_slice(&body[..body.len().min(BODY_BYTES_MAX)]);
        finish(kind, flags, &mut out, 0, &[]);
        out
    }

    /// Reads the body; what was compressed goes into `room`.
    ///
    /// # Errors
    ///
    /// When it is not what the head says.
    pub fn body<'a>(
        &self,
        body: &'a [u8],
        room: &'a mut Vec<u8>,
    ) -> Result<Frame<'a>, WireError> {
        if body.len() != self.len || crc(&[body]) != self.crc {
            return Err(WireError::Changed);
        }
        let body = match self.flags & DEFLATED {
            0 => body,
            _ => inflate(body, room)?,
        };
        let mut fields = Fields(body);
        let frame = Frame::read(self.kind, &mut fields)?;
        if fields.0.is_empty() { Ok(frame) } else { Err(WireError::Body("too long")) }
    }
}

/// Writes the start of a frame, up to its last field, and its head; `last` is sent
/// behind it. Takes the memory that it is written to.
fn finish(kind: u8, flags: u8, out: &mut [u8], from: usize, last: &[u8]) {
    let body = from + HEAD_BYTES;
    let len = out.len() - body + last.len();
    debug_assert!(len <= BODY_BYTES_MAX, "{len}");
    let sum = crc(&[&out[body..], last]);
    let head = &mut out[from..body];
    head[..4].copy_from_slice(&(len as u32).to_le_bytes());
    head[4..8].copy_from_slice(&[kind, flags, 0, 0]);
    head[8..12].copy_from_slice(&sum.to_le_bytes());
    let sum = crc(&[&head[..12]]);
    head[12..].copy_from_slice(&sum.to_le_bytes());
}

impl<'a> Frame<'a> {
    /// Appends the frame, but for its last field, which is returned and goes out
    /// behind it: so a run need not be copied.
    pub fn write(&self, out: &mut Vec<u8>) -> &'a [u8] {
        let from = out.len();
        out.extend_from_slice(&[0; HEAD_BYTES]);
        let last = self.write_body(out);
        finish(self.kind(), 0, out, from, last);
        last
    }

    /// The same in one piece, and compressed where that makes it shorter.
    pub fn write_deflated(&self, out: &mut Vec<u8>) {
        let from = out.len();
        let mut body = Vec::new();
        let last = self.write_body(&mut body);
        body.extend_from_slice(last);
        out.extend_from_slice(&[0; HEAD_BYTES]);
        let flags = match deflate(&body, out) {
            true => DEFLATED,
            false => {
                out.truncate(from + HEAD_BYTES);
                out.extend_from_slice(&body);
                0
            }
        };
        finish(self.kind(), flags, out, from, &[]);
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => 1,
            Self::Open(_) => 2,
            Self::Run(_) => 3,
            Self::Gap(_) => 4,
            Self::Ping => 5,
            Self::Tie(_) => 6,
            Self::Welcome { .. } => 33,
            Self::Refused(_) => 34,
            Self::Settled(_) => 35,
            Self::Alive => 36,
        }
    }

    /// Appends all fields but the last, which is returned.
    fn write_body(&self, out: &mut Vec<u8>) -> &'a [u8] {
        match self {
            Self::Hello { version, stream } => {
                out.extend_from_slice(&version.to_le_bytes());
                stream.as_bytes()
            }
            Self::Open(open) => {
                out.extend_from_slice(&open.index.to_le_bytes());
                out.extend_from_slice(&open.incarnation.to_le_bytes());
                out.push(u8::from(open.log.is_some()));
                out.push(open.source.len() as u8);
                out.extend_from_slice(open.source.as_bytes());
                open.log.unwrap_or_default()
            }
            Self::Run(run) => {
                out.extend_from_slice(&run.index.to_le_bytes());
                run.at.write(out);
                out.extend_from_slice(&run.line.to_le_bytes());
                out.extend_from_slice(&run.next.to_le_bytes());
                out.extend_from_slice(&run.entries.to_le_bytes());
                out.push(u8::from(run.did_rotate) | u8::from(run.incomplete) << 1);
                run.bytes
            }
            Self::Gap(gap) => {
                out.extend_from_slice(&gap.index.to_le_bytes());
                gap.to.write(out);
                gap.text
            }
            Self::Tie(tie) => {
                tie.write(out);
                &[]
            }
            Self::Welcome { version, receiver, tie } => {
                out.extend_from_slice(&version.to_le_bytes());
                out.extend_from_slice(&receiver.to_le_bytes());
                tie.unwrap_or(Tie { file: 0, number: 0 }).write(out);
                &[]
            }
            Self::Refused(why) => why.as_bytes(),
            Self::Settled(count) => {
                out.extend_from_slice(&count.to_le_bytes());
                &[]
            }
            Self::Ping | Self::Alive => &[],
        }
    }

    fn read(kind: u8, fields: &mut Fields<'a>) -> Result<Self, WireError> {
        Ok(match kind {
            1 => Self::Hello { version: fields.u16()?, stream: fields.rest_name()? },
            2 => {
                let (index, incarnation) = (fields.index()?, fields.u64()?);
                let is_log = fields.flags(1)? == 1;
                let len = usize::from(fields.u8()?);
                let source = name(fields.take(len)?)?;
                let path = fields.rest(PATH_BYTES_MAX)?;
                if path.is_empty() == is_log {
                    return Err(WireError::Body("a path"));
                }
                Self::Open(Open {
                    index,
                    source,
                    incarnation,
                    log: is_log.then_some(path),
                })
            }
            3 => {
                let index = fields.index()?;
                let at = fields.at()?;
                let (line, next, entries) = (fields.u64()?, fields.u64()?, fields.u32()?);
                let flags = fields.flags(3)?;
                let bytes = fields.rest(RUN_BYTES_MAX)?;
                let end = at.offset.checked_add(bytes.len() as u64);
                if end.is_none_or(|end| end > next || next > NUMBER_MAX) {
                    return Err(WireError::Body("a place"));
                }
                let (did_rotate, incomplete) = (flags & 1 != 0, flags & 2 != 0);
                Self::Run(Run {
                    index,
                    at,
                    line,
                    next,
                    entries,
                    did_rotate,
                    incomplete,
                    bytes,
                })
            }
            4 => Self::Gap(Gap {
                index: fields.index()?,
                to: fields.at()?,
                text: fields.rest(TEXT_BYTES_MAX)?,
            }),
            5 => Self::Ping,
            6 => Self::Tie(fields.tie()?.ok_or(WireError::Body("a tie"))?),
            33 => Self::Welcome {
                version: fields.u16()?,
                receiver: fields.u64()?,
                tie: fields.tie()?,
            },
            34 => Self::Refused(text(fields.rest(TEXT_BYTES_MAX)?)?),
            35 => Self::Settled(fields.u64()?),
            36 => Self::Alive,
            _ => return Err(WireError::Body("a kind")),
        })
    }
}

/// As much as the receiver's database can hold.
const NUMBER_MAX: u64 = i64::MAX as u64;

impl At {
    fn write(self, out: &mut Vec<u8>) {
        for number in [self.era, self.sequence, self.offset] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

impl Tie {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.file.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
    }
}

/// What is left of a body.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) =
            self.0.split_at_checked(len).ok_or(WireError::Body("too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| WireError::Body("too short"))
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.number::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        self.number().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.number().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.number().map(u64::from_le_bytes)
    }

    fn flags(&mut self, known: u8) -> Result<u8, WireError> {
        let flags = self.u8()?;
        if flags & !known == 0 { Ok(flags) } else { Err(WireError::Body("flags")) }
    }

    fn index(&mut self) -> Result<u32, WireError> {
        let index = self.u32()?;
        if index < OPENED_MAX { Ok(index) } else { Err(WireError::Body("an index")) }
    }

    fn at(&mut self) -> Result<At, WireError> {
        let at = At { era: self.u64()?, sequence: self.u64()?, offset: self.u64()? };
        let is_fine = [at.era, at.sequence, at.offset].iter().all(|it| *it <= NUMBER_MAX);
        if is_fine { Ok(at) } else { Err(WireError::Body("a place")) }
    }

    /// Zeros stand for none.
    fn tie(&mut self) -> Result<Option<Tie>, WireError> {
        match (self.u64()?, self.u64()?) {
            (0, 0) => Ok(None),
            (0, _) | (_, 0) => Err(WireError::Body("a tie")),
            (file, number) => Ok(Some(Tie { file, number })),
        }
    }

    fn rest(&mut self, max: usize) -> Result<&'a [u8], WireError> {
        let rest = std::mem::take(&mut self.0);
        if rest.len() <= max { Ok(rest) } else { Err(WireError::Body("too long")) }
    }

    fn rest_name(&mut self) -> Result<&'a str, WireError> {
        name(self.rest(NAME_BYTES_MAX)?)
    }
}

fn text(bytes: &[u8]) -> Result<&str, WireError> {
    str::from_utf8(bytes).map_err(|_| WireError::Body("a text"))
}

/// A name: it becomes a folder.
fn name(bytes: &[u8]) -> Result<&str, WireError> {
    let text = text(bytes)?;
    if is_name(text) { Ok(text) } else { Err(WireError::Body("a name")) }
}

/// Whether this can be the name of a peer, a stream or a source: letters, digits,
/// `_`, `-` and `.`, not first a `.`.
pub fn is_name(text: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && !text.starts_with('.')
        && text.bytes().all(fine)
}

/// What the other side says, as it may be shown to people: a line, not too long.
pub fn printable(text: &str) -> String {
    let shown = text.chars().take(SHOWN_CHARS_MAX);
    shown.map(|c| if c.is_control() { '?' } else { c }).collect()
}

const SHOWN_CHARS_MAX: usize = 1000;

fn crc(parts: &[&[u8]]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    parts.iter().for_each(|part| crc.update(part));
    crc.finalize()
}

/// Appends the body, compressed; `false` when that is not shorter.
fn deflate(body: &[u8], out: &mut Vec<u8>) -> bool {
    if body.len() < DEFLATE_BYTES_MIN {
        return false;
    }
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    let from = out.len();
    out.resize(from + body.len() - DEFLATE_BYTES_MIN / 4, 0);
    let mut compress = Compress::new(Compression::fast(), false);
    let done = compress.compress(body, &mut out[from..], FlushCompress::Finish);
    out.truncate(from + compress.total_out() as usize);
    matches!(done, Ok(Status::StreamEnd))
}

/// Never makes more of it than [`BODY_BYTES_MAX`].
fn inflate<'a>(body: &[u8], room: &'a mut Vec<u8>) -> Result<&'a [u8], WireError> {
    let (len, body) =
        body.split_first_chunk::<4>().ok_or(WireError::Body("too short"))?;
    let len = u32::from_le_bytes(*len) as usize;
    if len > BODY_BYTES_MAX {
        return Err(WireError::Body("too long"));
    }
    room.clear();
    room.resize(len, 0);
    let mut decompress = Decompress::new(false);
    let done = decompress.decompress(body, room, FlushDecompress::Finish);
    let is_whole = decompress.total_out() == len as u64
        && decompress.total_in() == body.len() as u64;
    match done {
        Ok(Status::StreamEnd) if is_whole => Ok(room),
        _ => Err(WireError::Body("what is compressed")),
    }
}

#[cfg(test)]
mod tests;
