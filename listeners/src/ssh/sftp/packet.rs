//! The packets of SFTP version 3, and those extensions of OpenSSH we use.
//!
//! Bytes in, values out: nothing here waits or asks the system. A packet is
//! `length u32, type u8, id u32, fields`; the first one each way has a version
//! in the place of the id. All numbers are big-endian, a string is a length and
//! its bytes. What the peer says about lengths is believed only as far as there
//! are bytes, so nothing is allocated on its word.

use std::fmt;

/// The version of the protocol that everybody speaks.
pub(crate) const VERSION: u32 = 3;
/// No packet of the peer is longer, without its length field: OpenSSH sends up
/// to 256 KiB.
pub(crate) const PACKET_BYTES_MAX: usize = 256 * 1024 + 1024;
/// So many extensions of a server are looked at.
const EXTENSIONS_MAX: usize = 256;

/// What we ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// Opens a file; the flags are those of [`flags`].
    Open {
        path: &'a [u8],
        flags: u32,
        mode: Option<u32>,
    },
    Close {
        handle: &'a [u8],
    },
    Read {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    Write {
        handle: &'a [u8],
        offset: u64,
        data: &'a [u8],
    },
    /// Makes a file as long as this.
    Resize {
        handle: &'a [u8],
        size: u64,
    },
    LinkStat {
        path: &'a [u8],
    },
    FileStat {
        handle: &'a [u8],
    },
    OpenDirectory {
        path: &'a [u8],
    },
    ReadDirectory {
        handle: &'a [u8],
    },
    Remove {
        path: &'a [u8],
    },
    RemoveDirectory {
        path: &'a [u8],
    },
    MakeDirectory {
        path: &'a [u8],
        mode: u32,
    },
    RealPath {
        path: &'a [u8],
    },
    Stat {
        path: &'a [u8],
    },
    /// Fails where there is something of that name.
    Rename {
        from: &'a [u8],
        to: &'a [u8],
    },
    /// `posix-rename@openssh.com`: replaces what is there.
    PosixRename {
        from: &'a [u8],
        to: &'a [u8],
    },
    /// `fsync@openssh.com`.
    Sync {
        handle: &'a [u8],
    },
    /// `limits@openssh.com`.
    Limits,
    /// `statvfs@openssh.com`.
    Space {
        path: &'a [u8],
    },
}

/// Flags of [`Request::Open`].
pub(crate) mod flags {
    pub(crate) const READ: u32 = 0x01;
    pub(crate) const WRITE: u32 = 0x02;
    pub(crate) const CREATE: u32 = 0x08;
    pub(crate) const TRUNCATE: u32 = 0x10;
    pub(crate) const EXCLUSIVE: u32 = 0x20;
}

/// Appends the first packet.
pub(crate) fn encode_hello(out: &mut Vec<u8>) {
    packet(out, kind::INIT, |out| number(out, VERSION));
}

/// Appends a request. A string of 4 GiB or more is cut, which no caller makes.
pub(crate) fn encode(out: &mut Vec<u8>, id: u32, request: &Request<'_>) {
    packet(out, request.kind(), |out| {
        number(out, id);
        match *request {
            Request::Open { path, flags, mode } => {
                string(out, path);
                number(out, flags);
                attributes(out, mode);
            }
            Request::Close { handle }
            | Request::FileStat { handle }
            | Request::ReadDirectory { handle } => string(out, handle),
            Request::Read { handle, offset, length } => {
                string(out, handle);
                out.extend(offset.to_be_bytes());
                number(out, length);
            }
            Request::Write { handle, offset, data } => {
                string(out, handle);
                out.extend(offset.to_be_bytes());
                string(out, data);
            }
            Request::Rename { from, to } => {
                string(out, from);
                string(out, to);
            }
            Request::Resize { handle, size } => {
                string(out, handle);
                number(out, has::SIZE);
                out.extend(size.to_be_bytes());
            }
            Request::LinkStat { path }
            | Request::OpenDirectory { path }
            | Request::Remove { path }
            | Request::RemoveDirectory { path }
            | Request::RealPath { path }
            | Request::Stat { path } => string(out, path),
            Request::MakeDirectory { path, mode } => {
                string(out, path);
                attributes(out, Some(mode));
            }
            Request::PosixRename { from, to } => {
                string(out, b"posix-rename@openssh.com");
                string(out, from);
                string(out, to);
            }
            Request::Sync { handle } => {
                string(out, b"fsync@openssh.com");
                string(out, handle);
            }
            Request::Limits => string(out, b"limits@openssh.com"),
            Request::Space { path } => {
                string(out, b"statvfs@openssh.com");
                string(out, path);
            }
        }
    });
}

impl Request<'_> {
    const fn kind(&self) -> u8 {
        match self {
            Self::Open { .. } => kind::OPEN,
            Self::Close { .. } => kind::CLOSE,
            Self::Read { .. } => kind::READ,
            Self::Write { .. } => kind::WRITE,
            Self::LinkStat { .. } => kind::LSTAT,
            Self::FileStat { .. } => kind::FSTAT,
            Self::Resize { .. } => kind::FSETSTAT,
            Self::Rename { .. } => kind::RENAME,
            Self::OpenDirectory { .. } => kind::OPENDIR,
            Self::ReadDirectory { .. } => kind::READDIR,
            Self::Remove { .. } => kind::REMOVE,
            Self::RemoveDirectory { .. } => kind::RMDIR,
            Self::MakeDirectory { .. } => kind::MKDIR,
            Self::RealPath { .. } => kind::REALPATH,
            Self::Stat { .. } => kind::STAT,
            Self::PosixRename { .. }
            | Self::Sync { .. }
            | Self::Limits
            | Self::Space { .. } => kind::EXTENDED,
        }
    }
}

fn packet(out: &mut Vec<u8>, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    number(out, 0);
    out.push(kind);
    fields(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn number(out: &mut Vec<u8>, number: u32) {
    out.extend(number.to_be_bytes());
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    number(out, length);
    out.extend_from_slice(&bytes[..length as usize]);
}

/// Attributes with a mode, or with nothing.
fn attributes(out: &mut Vec<u8>, mode: Option<u32>) {
    match mode {
        Some(mode) => {
            number(out, has::MODE);
            number(out, mode & 0o7777);
        }
        None => number(out, 0),
    }
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// To the first packet; each extension has a name and a version.
    Version {
        version: u32,
        extensions: Vec<(&'a [u8], &'a [u8])>,
    },
    Status {
        id: u32,
        code: u32,
        message: &'a [u8],
    },
    Handle {
        id: u32,
        handle: &'a [u8],
    },
    Data {
        id: u32,
        data: &'a [u8],
    },
    Names {
        id: u32,
        names: Vec<(&'a [u8], Attributes)>,
    },
    Attributes {
        id: u32,
        attributes: Attributes,
    },
    /// To a request of an extension; what the fields are, the request says.
    Extended {
        id: u32,
        fields: &'a [u8],
    },
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// In bytes.
    pub(crate) size: Option<u64>,
    /// User and group.
    pub(crate) owner: Option<(u32, u32)>,
    /// The type and the permissions, as in `st_mode`.
    pub(crate) mode: Option<u32>,
    /// When it was read and changed, in seconds since 1970.
    pub(crate) times: Option<(u32, u32)>,
}

impl Attributes {
    /// Whether it is a plain file, as far as the server said.
    pub(crate) fn is_file(&self) -> bool {
        self.mode.is_some_and(|mode| mode & 0o170_000 == 0o100_000)
    }

    /// Whether it is a directory, as far as the server said.
    pub(crate) fn is_directory(&self) -> bool {
        self.mode.is_some_and(|mode| mode & 0o170_000 == 0o040_000)
    }
}

/// What a server allows, in bytes; 0 where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) packet: u64,
    pub(crate) read: u64,
    pub(crate) write: u64,
    pub(crate) handles: u64,
}

/// How full a file system is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// All of it.
    pub(crate) total: u64,
    /// What this account may still use.
    pub(crate) free: u64,
}

/// The peer does not keep to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Garbled {
    /// A packet says that it is this long.
    Length(u32),
    /// A packet ends in the middle of a field.
    Short,
    /// A packet goes on behind its last field.
    Long,
    /// There is no such packet.
    Kind(u8),
}

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "a packet of {length} bytes"),
            Self::Short => f.write_str("a packet that ends too early"),
            Self::Long => f.write_str("a packet with something behind its end"),
            Self::Kind(kind) => write!(f, "a packet of the unknown type {kind}"),
        }
    }
}

/// The first packet at the start of the bytes, without its length field;
/// `None` when it is not all there. It is 4 bytes shorter than what it takes.
///
/// # Errors
///
/// [`Garbled::Length`], also when the rest is not there yet.
pub(crate) fn split(bytes: &[u8]) -> Result<Option<&[u8]>, Garbled> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    if length == 0 || length as usize > PACKET_BYTES_MAX {
        return Err(Garbled::Length(length));
    }
    Ok(rest.get(..length as usize))
}

/// Reads a packet as [`split`] found it.
///
/// # Errors
///
/// When it is no packet of a server, or not a whole one.
pub(crate) fn parse(packet: &[u8]) -> Result<Reply<'_>, Garbled> {
    let mut fields = Fields(packet);
    let kind = fields.byte()?;
    let reply = match kind {
        kind::VERSION => {
            let version = fields.number()?;
            let mut extensions = Vec::new();
            while !fields.0.is_empty() && extensions.len() < EXTENSIONS_MAX {
                extensions.push((fields.string()?, fields.string()?));
            }
            return Ok(Reply::Version { version, extensions });
        }
        kind::STATUS => {
            let (id, code) = (fields.number()?, fields.number()?);
            // Servers of the first hour end here.
            let message = if fields.0.is_empty() { b"" } else { fields.string()? };
            // The language of the message.
            fields.0 = b"";
            Reply::Status { id, code, message }
        }
        kind::HANDLE => Reply::Handle { id: fields.number()?, handle: fields.string()? },
        kind::DATA => Reply::Data { id: fields.number()?, data: fields.string()? },
        kind::NAME => {
            let (id, count) = (fields.number()?, fields.number()?);
            let mut names = Vec::new();
            for _ in 0..count {
                let name = fields.string()?;
                fields.string()?;
                names.push((name, fields.attributes()?));
            }
            Reply::Names { id, names }
        }
        kind::ATTRS => {
            let id = fields.number()?;
            Reply::Attributes { id, attributes: fields.attributes()? }
        }
        kind::EXTENDED_REPLY => {
            let id = fields.number()?;
            Reply::Extended { id, fields: std::mem::take(&mut fields.0) }
        }
        kind => return Err(Garbled::Kind(kind)),
    };
    if fields.0.is_empty() { Ok(reply) } else { Err(Garbled::Long) }
}

/// Reads the answer to [`Request::Limits`].
///
/// # Errors
///
/// When it is too short.
pub(crate) fn parse_limits(fields: &[u8]) -> Result<Limits, Garbled> {
    let mut fields = Fields(fields);
    Ok(Limits {
        packet: fields.long()?,
        read: fields.long()?,
        write: fields.long()?,
        handles: fields.long()?,
    })
}

/// Reads the answer to [`Request::Space`].
///
/// # Errors
///
/// When it is too short.
pub(crate) fn parse_space(fields: &[u8]) -> Result<Space, Garbled> {
    let mut fields = Fields(fields);
    let _block = fields.long()?;
    let unit = fields.long()?;
    let total = fields.long()?;
    let _free_for_root = fields.long()?;
    let free = fields.long()?;
    Ok(Space { total: unit.saturating_mul(total), free: unit.saturating_mul(free) })
}

/// What is left of a packet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Garbled> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Garbled::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn chunk<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], Garbled> {
        let (chunk, rest) = self.0.split_first_chunk().ok_or(Garbled::Short)?;
        self.0 = rest;
        Ok(*chunk)
    }

    fn byte(&mut self) -> Result<u8, Garbled> {
        self.chunk::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u32, Garbled> {
        self.chunk().map(u32::from_be_bytes)
    }

    fn long(&mut self) -> Result<u64, Garbled> {
        self.chunk().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], Garbled> {
        let length = self.number()?;
        self.take(length as usize)
    }

    fn attributes(&mut self) -> Result<Attributes, Garbled> {
        let flags = self.number()?;
        let mut attributes = Attributes::default();
        if flags & has::SIZE != 0 {
            attributes.size = Some(self.long()?);
        }
        if flags & has::OWNER != 0 {
            attributes.owner = Some((self.number()?, self.number()?));
        }
        if flags & has::MODE != 0 {
            attributes.mode = Some(self.number()?);
        }
        if flags & has::TIMES != 0 {
            attributes.times = Some((self.number()?, self.number()?));
        }
        if flags & has::EXTENDED != 0 {
            for _ in 0..self.number()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(attributes)
    }
}

/// Which attributes are there.
mod has {
    pub(super) const SIZE: u32 = 0x01;
    pub(super) const OWNER: u32 = 0x02;
    pub(super) const MODE: u32 = 0x04;
    pub(super) const TIMES: u32 = 0x08;
    pub(super) const EXTENDED: u32 = 0x8000_0000;
}

/// The types of packets.
mod kind {
    pub(super) const INIT: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const OPEN: u8 = 3;
    pub(super) const CLOSE: u8 = 4;
    pub(super) const READ: u8 = 5;
    pub(super) const WRITE: u8 = 6;
    pub(super) const LSTAT: u8 = 7;
    pub(super) const FSTAT: u8 = 8;
    pub(super) const FSETSTAT: u8 = 10;
    pub(super) const OPENDIR: u8 = 11;
    pub(super) const READDIR: u8 = 12;
    pub(super) const REMOVE: u8 = 13;
    pub(super) const MKDIR: u8 = 14;
    pub(super) const RMDIR: u8 = 15;
    pub(super) const REALPATH: u8 = 16;
    pub(super) const STAT: u8 = 17;
    pub(super) const RENAME: u8 = 18;
    pub(super) const STATUS: u8 = 101;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const NAME: u8 = 104;
    pub(super) const ATTRS: u8 = 105;
    pub(super) const EXTENDED: u8 = 200;
    pub(super) const EXTENDED_REPLY: u8 = 201;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_protocol_says() {
        let encoded = |request: &Request<'_>| {
            let mut out = Vec::new();
            encode(&mut out, 7, request);
            out
        };
        let mut hello = Vec::new();
        encode_hello(&mut hello);
        assert_eq!(hello, b"\0\0\0\x05\x01\0\0\0\x03");
        let write = Request::Write { handle: b"h", offset: 1 << 40, data: b"ab" };
        assert_eq!(
            encoded(&write),
            b"\0\0\0\x18\x06\0\0\0\x07\0\0\0\x01h\0\0\x01\0\0\0\0\0\0\0\0\x02ab"
        );
        let flags = flags::WRITE | flags::CREATE | flags::EXCLUSIVE;
        let open = Request::Open { path: b"p", flags, mode: Some(0o100_600) };
        assert_eq!(
            encoded(&open),
            b"\0\0\0\x16\x03\0\0\0\x07\0\0\0\x01p\0\0\0\x2a\0\0\0\x04\0\0\x01\x80"
        );
        let sync = Request::Sync { handle: b"h" };
        assert_eq!(
            encoded(&sync),
            b"\0\0\0\x1f\xc8\0\0\0\x07\0\0\0\x11fsync@openssh.com\0\0\0\x01h"
        );
    }

    #[test]
    fn packets_are_found_whole_or_not_at_all() {
        assert_eq!(split(b"\0\0\0"), Ok(None));
        assert_eq!(split(b"\0\0\0\x02a"), Ok(None));
        assert_eq!(split(b"\0\0\0\x02abc"), Ok(Some(&b"ab"[..])));
        assert_eq!(split(b"\0\0\0\0"), Err(Garbled::Length(0)));
        assert_eq!(split(b"Welcome"), Err(Garbled::Length(0x5765_6c63)));
    }
}
