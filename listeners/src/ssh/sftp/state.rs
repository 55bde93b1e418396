//! What is under way, and what each answer means for it.

use super::Extension;
use super::answer::{Answer, Name, Slot};
use super::file::{FileId, OpenFile};
use super::link::Out;
use super::packet::{self, Garbled, Limits, Reply, Request, VERSION};
use crate::ssh::failure::{Failure, Kind};
use std::collections::HashMap;

/// So many requests are under way at most, writes and reads included.
pub(super) const REQUESTS_MAX: usize = 1024;
/// So many files are open at most.
pub(super) const FILES_MAX: usize = 64;
/// So many writes are under way at most, and so many bytes of them. A server
/// takes in 2 MiB before it answers anything.
const WRITES_MAX: usize = 256;
const WRITE_WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// No more is queued while so much waits to be sent.
const OUT_BYTES_MAX: usize = 512 * 1024;
/// What every server takes in one write, and gives in one read.
const DATA_BYTES_MIN: usize = 32 * 1024;
/// What we put in one write and ask for in one read, if the server has nothing
/// against it: as much as OpenSSH takes.
const DATA_BYTES_MAX: usize = 255 * 1024;
const DATA_BYTES_LEAST: usize = 1024;
/// What stands around the data in a packet, with the longest handle.
const AROUND_BYTES: usize = 1024;
/// Handles are short: OpenSSH's have 4 bytes, the protocol allows 256.
const HANDLE_BYTES_MAX: usize = 256;
/// A directory with more is not listed.
const NAMES_MAX: usize = 100_000;
const NAMES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What is known of the server and what was asked of it.
pub(super) struct State {
    host: String,
    pub(super) out: Out,
    next_id: u32,
    under_way: HashMap<u32, UnderWay>,
    next_file: u32,
    files: HashMap<FileId, OpenFile>,
    writes: usize,
    write_bytes: usize,
    offers: Vec<Extension>,
    has_version: bool,
    limits: Option<Limits>,
}

/// A request without an answer.
pub(super) enum UnderWay {
    Limits,
    /// To see whether anybody is there.
    Ping,
    /// Nobody wants to know.
    Nothing,
    Write {
        file: FileId,
        length: usize,
    },
    Sync {
        file: FileId,
    },
    Close {
        file: FileId,
        slot: Slot,
    },
    Read {
        slot: Slot,
        what: String,
    },
    /// To be answered with a status.
    Done {
        slot: Slot,
        what: String,
    },
    Open {
        slot: Slot,
        path: String,
    },
    Attributes {
        slot: Slot,
        what: String,
    },
    Space {
        slot: Slot,
        what: String,
    },
    OpenDirectory {
        slot: Slot,
        what: String,
    },
    ReadDirectory {
        slot: Slot,
        what: String,
        handle: Vec<u8>,
        names: Names,
    },
    /// A directory, opened to be synced and closed.
    OpenToSync {
        slot: Slot,
        what: String,
    },
    SyncToClose {
        slot: Slot,
        what: String,
        handle: Vec<u8>,
    },
}

/// The names that came so far.
#[derive(Default)]
pub(super) struct Names {
    names: Vec<Name>,
    bytes: usize,
}

/// Status codes that are no refusal.
const OK: u32 = 0;
const END: u32 = 1;

impl State {
    /// With the first packet to be sent.
    pub(super) fn new(host: String) -> Self {
        let mut out = Out::default();
        packet::encode_hello(out.end());
        Self {
            host,
            out,
            next_id: 0,
            under_way: HashMap::new(),
            next_file: 0,
            files: HashMap::new(),
            writes: 0,
            write_bytes: 0,
            offers: Vec::new(),
            has_version: false,
            limits: None,
        }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty() && !self.has_to_write()
    }

    pub(super) const fn has_to_write(&self) -> bool {
        self.out.len() > 0
    }

    /// Whether version and limits are known.
    pub(super) const fn is_ready(&self) -> bool {
        self.has_version && self.limits.is_some()
    }

    pub(super) fn offers(&self, extension: Extension) -> bool {
        self.offers.contains(&extension)
    }

    pub(super) fn ping(&mut self) {
        self.send(&Request::RealPath { path: b"." }, UnderWay::Ping);
    }

    pub(super) fn is_full(&self) -> bool {
        self.under_way.len() >= REQUESTS_MAX
    }

    pub(super) fn send(&mut self, request: &Request<'_>, under_way: UnderWay) -> u32 {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        packet::encode(self.out.end(), id, request);
        self.under_way.insert(id, under_way);
        id
    }

    pub(super) fn file(&self, file: FileId) -> Option<&OpenFile> {
        self.files.get(&file)
    }

    pub(super) fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Whether the file is open and nothing was refused.
    pub(super) fn check(&self, file: FileId) -> Result<(), Failure> {
        let why = match self.files.get(&file) {
            Some(OpenFile { refused: None, .. }) => return Ok(()),
            Some(OpenFile { refused: Some(refused), .. }) => return Err(refused.clone()),
            None => "a file that is not open".to_owned(),
        };
        Err(Failure::refused(&format!("use {why}"), packet_code::FAILURE, b""))
    }

    /// How many bytes go in one write or read.
    pub(super) fn data_bytes(&self, of: impl Fn(&Limits) -> u64) -> usize {
        let Some(limits) = &self.limits else { return DATA_BYTES_MIN };
        let given = |bytes: u64| match usize::try_from(bytes) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(bytes) => bytes,
        };
        if *limits == Limits::default() {
            return DATA_BYTES_MIN;
        }
        let packet = given(limits.packet).saturating_sub(AROUND_BYTES);
        // One that allows next to nothing is asked for a little all the same.
        packet.min(given(of(limits))).clamp(DATA_BYTES_LEAST, DATA_BYTES_MAX)
    }

    /// Queues as much of the bytes as there is room for, and returns how much.
    pub(super) fn queue_write(
        &mut self,
        file: FileId,
        offset: u64,
        bytes: &[u8],
    ) -> usize {
        let Some(OpenFile { handle, .. }) = self.files.get(&file) else { return 0 };
        let handle = handle.clone();
        let most = self.data_bytes(|limits| limits.write);
        let mut taken = 0;
        while taken < bytes.len()
            && self.writes < WRITES_MAX
            && !self.is_full()
            && self.out.len() < OUT_BYTES_MAX
        {
            let data = &bytes[taken..bytes.len().min(taken + most)];
            if self.write_bytes > 0 && self.write_bytes + data.len() > WRITE_WINDOW_BYTES
            {
                break;
            }
            let at = offset + taken as u64;
            let request = Request::Write { handle: &handle, offset: at, data };
            let id = self.send(&request, UnderWay::Write { file, length: data.len() });
            if let Some(open) = self.files.get_mut(&file) {
                open.wrote(id, at + data.len() as u64);
            }
            self.writes += 1;
            self.write_bytes += data.len();
            taken += data.len();
        }
        taken
    }

    /// Queues an fsync.
    pub(super) fn queue_sync(&mut self, file: FileId, slot: Slot) {
        let Some(OpenFile { handle, .. }) = self.files.get(&file) else { return };
        let handle = handle.clone();
        let id = self.send(&Request::Sync { handle: &handle }, UnderWay::Sync { file });
        if let Some(open) = self.files.get_mut(&file) {
            open.syncs(id, slot);
        }
    }

    pub(super) fn garbled(&self, why: &Garbled) -> Failure {
        let host = &self.host;
        let why =
            format!("the SFTP server at {host} does not keep to the protocol: {why}");
        Failure::new(
            Kind::Garbled,
            why + ". Look what the account there prints before SFTP begins, as a shell's \
                   start files may",
        )
    }

    fn unasked(&self, what: &str) -> Failure {
        let host = &self.host;
        let why = format!(
            "the SFTP server at {host} does not keep to the protocol: it sent {what} that \
             was not asked for"
        );
        Failure::new(Kind::Garbled, why)
    }

    /// Takes a packet. An error is the end of the connection.
    pub(super) fn hear(&mut self, packet: &[u8]) -> Result<(), Failure> {
        let reply = packet::parse(packet).map_err(|why| self.garbled(&why))?;
        let id = match &reply {
            Reply::Version { version, extensions } => {
                return self.hear_version(*version, extensions);
            }
            Reply::Status { id, .. }
            | Reply::Handle { id, .. }
            | Reply::Data { id, .. }
            | Reply::Names { id, .. }
            | Reply::Attributes { id, .. }
            | Reply::Extended { id, .. } => *id,
        };
        let Some(under_way) = self.under_way.remove(&id) else {
            return Err(self.unasked("an answer"));
        };
        self.answer(id, under_way, reply)
    }

    fn hear_version(
        &mut self,
        version: u32,
        extensions: &[(&[u8], &[u8])],
    ) -> Result<(), Failure> {
        if self.has_version {
            return Err(self.unasked("a second version"));
        }
        if version != VERSION {
            let host = &self.host;
            let why = format!(
                "the SFTP server at {host} speaks version {version}, and {VERSION} is wanted"
            );
            return Err(Failure::new(Kind::Lacks, why));
        }
        self.has_version = true;
        let is_offered = |extension: &Extension| {
            let (name, version, _) = extension.about();
            extensions.contains(&(name.as_bytes(), version.as_bytes()))
        };
        self.offers = Extension::ALL.iter().copied().filter(is_offered).collect();
        if self.offers(Extension::Limits) {
            self.send(&Request::Limits, UnderWay::Limits);
        } else {
            self.limits = Some(Limits::default());
        }
        Ok(())
    }

    fn answer(
        &mut self,
        id: u32,
        under_way: UnderWay,
        reply: Reply<'_>,
    ) -> Result<(), Failure> {
        match (under_way, reply) {
            (UnderWay::Limits, reply) => {
                self.limits = Some(match reply {
                    Reply::Extended { fields, .. } => {
                        packet::parse_limits(fields).map_err(|why| self.garbled(&why))?
                    }
                    _ => Limits::default(),
                });
            }
            (UnderWay::Ping | UnderWay::Nothing, _) => {}
            (UnderWay::Write { file, length }, Reply::Status { code, message, .. }) => {
                self.writes -= 1;
                self.write_bytes -= length;
                self.written(file, id, "write to", code, message);
            }
            (UnderWay::Sync { file }, Reply::Status { code, message, .. }) => {
                self.written(file, id, "sync", code, message);
            }
            (UnderWay::Close { file, slot }, Reply::Status { code, message, .. }) => {
                let open = self.files.remove(&file);
                let path = open.map_or_else(String::new, |open| open.path);
                slot.put(done(&format!("close {path}"), code, message));
            }
            (UnderWay::Done { slot, what }, Reply::Status { code, message, .. }) => {
                slot.put(done(&what, code, message));
            }
            (UnderWay::Read { slot, .. }, Reply::Data { data, .. }) => {
                slot.put(Ok(Answer::Data(data.to_vec())));
            }
            (UnderWay::Read { slot, .. }, Reply::Status { code: END, .. }) => {
                slot.put(Ok(Answer::Data(Vec::new())));
            }
            (UnderWay::Open { slot, path }, Reply::Handle { handle, .. }) => {
                let handle = self.handle(handle)?;
                self.opened(slot, path, handle);
            }
            (UnderWay::Attributes { slot, .. }, Reply::Attributes { attributes, .. }) => {
                slot.put(Ok(Answer::Attributes(attributes)));
            }
            (UnderWay::Space { slot, .. }, Reply::Extended { fields, .. }) => {
                let space = packet::parse_space(fields);
                let space = space.map_err(|why| self.garbled(&why))?;
                slot.put(Ok(Answer::Space(space)));
            }
            (UnderWay::OpenDirectory { slot, what }, Reply::Handle { handle, .. }) => {
                let handle = self.handle(handle)?;
                self.read_directory(slot, what, handle, Names::default());
            }
            (
                UnderWay::ReadDirectory { slot, what, handle, names: so_far },
                Reply::Names { names, .. },
            ) => self.listed(slot, what, handle, so_far, &names)?,
            (
                UnderWay::ReadDirectory { slot, handle, names, .. },
                Reply::Status { code: END, .. },
            ) => {
                self.send(&Request::Close { handle: &handle }, UnderWay::Nothing);
                slot.put(Ok(Answer::Names(names.names)));
            }
            (UnderWay::OpenToSync { slot, what }, Reply::Handle { handle, .. }) => {
                let handle = self.handle(handle)?;
                let then = UnderWay::SyncToClose { slot, what, handle: handle.clone() };
                self.send(&Request::Sync { handle: &handle }, then);
            }
            (
                UnderWay::SyncToClose { slot, what, handle },
                Reply::Status { code, message, .. },
            ) => {
                self.send(&Request::Close { handle: &handle }, UnderWay::Nothing);
                slot.put(done(&what, code, message));
            }
            (under_way, Reply::Status { code, message, .. }) if code != OK => {
                self.refused(under_way, code, message);
            }
            _ => return Err(self.unasked("an answer of a kind")),
        }
        Ok(())
    }

    /// A request that was to be answered with something was answered with no.
    fn refused(&mut self, under_way: UnderWay, code: u32, message: &[u8]) {
        match under_way {
            UnderWay::ReadDirectory { slot, what, handle, .. } => {
                self.send(&Request::Close { handle: &handle }, UnderWay::Nothing);
                slot.put(Err(Failure::refused(&what, code, message)));
            }
            UnderWay::Open { slot, path } => {
                let what = format!("open {path}");
                slot.put(Err(Failure::refused(&what, code, message)));
            }
            UnderWay::Read { slot, what }
            | UnderWay::Attributes { slot, what }
            | UnderWay::Space { slot, what }
            | UnderWay::OpenDirectory { slot, what }
            | UnderWay::OpenToSync { slot, what }
            | UnderWay::Done { slot, what }
            | UnderWay::SyncToClose { slot, what, .. } => {
                slot.put(Err(Failure::refused(&what, code, message)));
            }
            UnderWay::Limits
            | UnderWay::Ping
            | UnderWay::Nothing
            | UnderWay::Write { .. }
            | UnderWay::Sync { .. }
            | UnderWay::Close { .. } => {}
        }
    }

    fn written(&mut self, file: FileId, id: u32, how: &str, code: u32, words: &[u8]) {
        let Some(open) = self.files.get_mut(&file) else { return };
        if code == OK {
            open.confirm(id);
        } else {
            let what = format!("{how} {}", open.path);
            let failure = Failure::refused(&what, code, words);
            open.refuse(&failure.advise(
                "look whether its disk is full or a quota is reached, with `df` there",
            ));
        }
    }

    fn handle(&self, handle: &[u8]) -> Result<Vec<u8>, Failure> {
        if handle.len() > HANDLE_BYTES_MAX {
            return Err(self.unasked("a handle of a length"));
        }
        Ok(handle.to_vec())
    }

    fn opened(&mut self, slot: Slot, path: String, handle: Vec<u8>) {
        if !slot.is_wanted() {
            self.send(&Request::Close { handle: &handle }, UnderWay::Nothing);
            return;
        }
        let file = FileId(self.next_file);
        self.next_file = self.next_file.wrapping_add(1);
        self.files.insert(file, OpenFile::new(handle, path));
        slot.put(Ok(Answer::File(file)));
    }

    fn read_directory(
        &mut self,
        slot: Slot,
        what: String,
        handle: Vec<u8>,
        names: Names,
    ) {
        let then = UnderWay::ReadDirectory { slot, what, handle: handle.clone(), names };
        self.send(&Request::ReadDirectory { handle: &handle }, then);
    }

    fn listed(
        &mut self,
        slot: Slot,
        what: String,
        handle: Vec<u8>,
        mut so_far: Names,
        names: &[(&[u8], packet::Attributes)],
    ) -> Result<(), Failure> {
        for (name, attributes) in names {
            if matches!(*name, b"." | b"..") {
                continue;
            }
            if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
                return Err(self.unasked("a name with a slash in it"));
            }
            so_far.bytes += name.len();
            let name = Name { name: name.to_vec(), attributes: *attributes };
            so_far.names.push(name);
        }
        if so_far.names.len() > NAMES_MAX || so_far.bytes > NAMES_BYTES_MAX {
            self.send(&Request::Close { handle: &handle }, UnderWay::Nothing);
            let words = format!("it has more than {NAMES_MAX} names");
            let failure = Failure::refused(&what, packet_code::FAILURE, words.as_bytes());
            slot.put(Err(failure));
        } else {
            self.read_directory(slot, what, handle, so_far);
        }
        Ok(())
    }
}

fn done(what: &str, code: u32, words: &[u8]) -> Result<Answer, Failure> {
    if code == OK { Ok(Answer::Done) } else { Err(Failure::refused(what, code, words)) }
}

/// Codes that we give ourselves.
pub(super) mod packet_code {
    pub(in super::super) const FAILURE: u32 = 4;
}
