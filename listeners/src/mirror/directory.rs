//! The mirror's directory: what is in it, and how it changes.
//!
//! | file               | is                                                   |
//! |--------------------|------------------------------------------------------|
//! | `journal`          | the journal being mirrored                           |
//! | `journal.N`        | a finished one                                       |
//! | `journal.N.sha256` | its checksum, as `sha256sum -c` reads it             |
//! | `….sha256.tmp`     | a checksum that was being written at a crash         |
//!
//! A rotation is: checksum under its temporary name, checksum under its final
//! name, `journal` renamed to `journal.N`, a new `journal`. After a crash
//! between any two of these steps the next rotation, or the next entry, takes
//! up where it was left: a checksum without its journal is written again.

use super::current::Current;
use super::scan::{self, BLOCK_BYTES, Belief, Whole};
use crate::files::{self, read_at};
use p4journal::Head;
use sha2::{Digest as _, Sha256};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use tripline_api::{Cursor, ListenError, Place};

/// A mirror's directory, locked against other mirrors.
pub(super) struct Directory {
    path: PathBuf,
    /// For the lock, and to make names durable.
    handle: File,
    /// Files were created or renamed since the directory was synced.
    names_changed: bool,
    /// The file `journal`, where there is one.
    current: Option<Current>,
    /// The finished journal with the highest number.
    newest: Option<Finished>,
    /// The finished journal that entries were last compared with.
    compared: Option<Finished>,
}

/// A journal under its number.
struct Finished {
    sequence: u64,
    name: String,
    file: File,
}

/// What is known from elsewhere when a directory is opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known<'a> {
    /// The cursor the engine goes on at. Everything before it was flushed.
    pub(super) settled: Option<&'a Cursor>,
    /// The sequence that a journal without a number was mirrored under.
    pub(super) sequence: Option<u64>,
    /// A sync of the journal of this sequence failed, and only this many bytes
    /// of it are certain.
    pub(super) doubt: Option<(u64, u64)>,
}

/// Up to where the mirror has everything.
pub(super) struct Standing {
    pub(super) sequence: u64,
    pub(super) whole: Whole,
    /// With a proof from the mirror's own bytes.
    pub(super) cursor: Cursor,
}

impl Directory {
    /// Opens the directory; `None` when there is none and none is to be made.
    pub(super) fn open(
        path: &Path,
        create: bool,
        known: &Known<'_>,
    ) -> Result<Option<Self>, ListenError> {
        let handle = match File::open(path) {
            Ok(handle) => handle,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !create {
                    return Ok(None);
                }
                make(path).map_err(|error| cannot("create", path, &error))?
            }
            Err(error) => return Err(cannot("open", path, &error)),
        };
        lock(&handle, path)?;
        let newest = newest_finished(path, known)?;
        let current = Current::open(&path.join(CURRENT), known)?;
        if let Some(Current { sequence: Some(_), .. }) = &current
            && current.as_ref().is_some_and(|current| !current.is_numbered())
            && let Some(newest) = &newest
        {
            return Err(ListenError::Stop(format!(
                "{} does not say its number, as every journal after {} does: it is \
                 damaged. Move it away to have it mirrored again",
                path.join(CURRENT).display(),
                newest.name
            )));
        }
        // What is found may be in memory only, and the engine is about to rely
        // on it.
        handle.sync_all().map_err(|error| cannot("sync", path, &error))?;
        Ok(Some(Self {
            path: path.to_owned(),
            handle,
            names_changed: false,
            current,
            newest,
            compared: None,
        }))
    }

    /// Takes bytes whose first is at `place`: compares what is there already,
    /// appends what is not.
    pub(super) fn write(
        &mut self,
        place: Place,
        bytes: &[u8],
    ) -> Result<(), ListenError> {
        let current = self.current.as_ref().and_then(|current| current.sequence);
        let newest = self.newest.as_ref().map(|finished| finished.sequence);
        if current != Some(place.sequence) {
            if current.or(newest).is_some_and(|sequence| place.sequence <= sequence) {
                return self.compare_finished(place, bytes);
            }
            if place.offset > 0 {
                return Err(self.hole(place, 0));
            }
            if current.is_some() {
                self.finish()?;
            }
            self.begin_journal(place.sequence)?;
        }
        let Some(current) = self.current.as_mut() else { return Ok(()) };
        let held = current.whole_bytes();
        if place.offset > held {
            return Err(self.hole(place, held));
        }
        let known = bytes.len().min((held - place.offset) as usize);
        let (again, fresh) = bytes.split_at(known);
        if let Some(at) = difference(current.file(), place.offset, again)
            .map_err(|error| cannot("read", &self.path.join(CURRENT), &error))?
        {
            return Err(self.diverged(place, at, CURRENT));
        }
        if fresh.is_empty() { Ok(()) } else { current.append(fresh) }
    }

    /// Makes everything written durable.
    pub(super) fn sync(&mut self) -> Result<(), ListenError> {
        if let Some(current) = &mut self.current {
            current.sync()?;
        }
        if self.names_changed {
            self.sync_names()?;
        }
        Ok(())
    }

    /// Whether `journal` still is the file that is written to: somebody may
    /// have moved the mirror aside.
    pub(super) fn is_in_place(&self) -> bool {
        let Some(current) = &self.current else { return true };
        std::fs::metadata(self.path.join(CURRENT))
            .is_ok_and(|found| (found.dev(), found.ino()) == current.inode())
    }

    /// Up to where the mirror has everything, in an era; `None` when it has
    /// nothing.
    pub(super) fn standing(&self, era: u64) -> Result<Option<Standing>, ListenError> {
        let (path, file, sequence, whole);
        if let Some(current) = &self.current
            && let Some(current_sequence) = current.sequence
        {
            path = self.path.join(CURRENT);
            (file, sequence, whole) = (current.file(), current_sequence, current.whole());
        } else if let Some(finished) = &self.newest {
            path = self.path.join(&finished.name);
            (file, sequence) = (&finished.file, finished.sequence);
            whole = scan::scan(file, Belief::FULL)
                .map_err(|error| cannot("read", &path, &error))?;
        } else {
            return Ok(None);
        }
        let cursor = whole
            .cursor(file, era, sequence)
            .map_err(|error| cannot("read", &path, &error))?;
        Ok(Some(Standing { sequence, whole, cursor }))
    }

    /// How many bytes of `journal`, and of which sequence, have certainly
    /// reached the disk.
    pub(super) fn durable(&self) -> Option<(u64, u64)> {
        let current = self.current.as_ref()?;
        Some((current.sequence?, current.durable_bytes()))
    }

    /// Gives the current journal its number and its checksum.
    fn finish(&mut self) -> Result<(), ListenError> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        let from = self.path.join(CURRENT);
        let sequence = current.sequence.unwrap_or_default();
        let number = current.number()?;
        let name = format!("{CURRENT}.{number}");
        let to = self.path.join(&name);
        if to.symlink_metadata().is_ok() {
            return Err(ListenError::Stop(format!(
                "{} is already there, so {} cannot become it: the mirror holds an older \
                 journal {number}, perhaps from before the server was restored. Move \
                 {} aside, with all that is in it, and start again",
                to.display(),
                from.display(),
                self.path.display()
            )));
        }
        if let Err(error) = current.cut().and_then(|()| current.sync()) {
            // The caller must still learn what is certain of this file.
            self.current = Some(current);
            return Err(error);
        }
        let checksum = checksum(current.file(), current.whole_bytes())
            .map_err(|error| cannot("read back", &from, &error))?;
        self.write_checksum(&name, &checksum)?;
        std::fs::rename(&from, &to).map_err(|error| cannot("rename", &from, &error))?;
        self.sync_names()?;
        let file = current.into_file();
        self.newest = Some(Finished { sequence, name, file });
        self.compared = None;
        Ok(())
    }

    /// Writes `journal.N.sha256`: whole or not at all.
    fn write_checksum(&self, name: &str, checksum: &str) -> Result<(), ListenError> {
        let path = self.path.join(format!("{name}.sha256"));
        let temporary = self.path.join(format!("{name}.sha256.tmp"));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(format!("{checksum}  {name}\n").as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)
        };
        write().map_err(|error| cannot("write", &path, &error))
    }

    fn begin_journal(&mut self, sequence: u64) -> Result<(), ListenError> {
        if self.current.is_none() {
            self.current = Some(Current::create(&self.path.join(CURRENT))?);
            self.names_changed = true;
        }
        if let Some(current) = &mut self.current {
            current.sequence = Some(sequence);
        }
        Ok(())
    }

    /// Entries of a journal that is finished here: a person moved the cursor
    /// back, or the server was restored.
    fn compare_finished(
        &mut self,
        place: Place,
        bytes: &[u8],
    ) -> Result<(), ListenError> {
        if self.compared.as_ref().is_none_or(|f| f.sequence != place.sequence) {
            self.compared = find_finished(&self.path, place.sequence)?;
        }
        let Some(finished) = &self.compared else {
            return Err(ListenError::Stop(format!(
                "journal {} comes again, but the mirror {} is already past it and does \
                 not have it. After a restore of the server, move the mirror aside and \
                 start again; otherwise set the cursor back to where the mirror ends",
                place.sequence,
                self.path.display()
            )));
        };
        let found = difference(&finished.file, place.offset, bytes)
            .map_err(|error| cannot("read", &self.path.join(&finished.name), &error))?;
        match found {
            None => Ok(()),
            Some(at) => Err(self.diverged(place, at, &finished.name)),
        }
    }

    fn diverged(&self, place: Place, at: u64, name: &str) -> ListenError {
        let restored = match place.era {
            0 => "",
            _ => " The server's numbering started over, as after a restore.",
        };
        ListenError::Stop(format!(
            "mirror {} diverged at journal {} offset {at}: {name} does not hold there \
             what the source does.{restored} Nothing was changed. Move the mirror aside \
             and start again to mirror what the source has, or find out who wrote to it",
            self.path.display(),
            place.sequence
        ))
    }

    fn hole(&self, place: Place, held: u64) -> ListenError {
        ListenError::Stop(format!(
            "mirror {} has {held} bytes of journal {}, and the next entry is at offset \
             {}: it would leave a hole. Set the cursor to {}:{held}, or to the start of \
             a later journal",
            self.path.display(),
            place.sequence,
            place.offset,
            place.sequence
        ))
    }

    fn sync_names(&mut self) -> Result<(), ListenError> {
        self.handle.sync_all().map_err(|error| cannot("sync", &self.path, &error))?;
        self.names_changed = false;
        Ok(())
    }
}

/// An error of the system, worth another try.
pub(super) fn cannot(what: &str, path: &Path, error: &io::Error) -> ListenError {
    ListenError::io(format_args!("mirror: cannot {what} {}", path.display()), error)
}

/// The name of the journal being mirrored.
const CURRENT: &str = "journal";

/// Makes a directory for its owner only, and its name durable.
fn make(path: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    if let Some(parent) = path.parent() {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent)?.sync_all()?;
    }
    File::open(path)
}

fn lock(handle: &File, path: &Path) -> Result<(), ListenError> {
    if files::lock(handle) {
        return Ok(());
    }
    Err(ListenError::Stop(format!(
        "another mirror writes to {}: give each mirror a directory of its own",
        path.display()
    )))
}

/// The numbers of the finished journals, in no order.
fn finished_numbers(path: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for found in std::fs::read_dir(path)? {
        let name = found?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("journal."));
        numbers.extend(
            number
                .filter(|n| n.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|number| number.parse::<u64>().ok()),
        );
    }
    Ok(numbers)
}

fn newest_finished(
    path: &Path,
    known: &Known<'_>,
) -> Result<Option<Finished>, ListenError> {
    let numbers = finished_numbers(path).map_err(|error| cannot("list", path, &error))?;
    let Some(number) = numbers.into_iter().max() else { return Ok(None) };
    open_finished(path, number, |first_bytes| known.sequence_of_unnumbered(first_bytes))
}

/// The finished journal of a sequence. One without a number in it, a server's
/// first, has the sequence 0 and the lowest number.
fn find_finished(path: &Path, sequence: u64) -> Result<Option<Finished>, ListenError> {
    let by_name = open_finished(path, sequence, |_| sequence)?;
    if by_name.is_some() || sequence > 0 {
        return Ok(by_name);
    }
    let numbers = finished_numbers(path).map_err(|error| cannot("list", path, &error))?;
    let Some(lowest) = numbers.into_iter().min() else { return Ok(None) };
    Ok(open_finished(path, lowest, |_| 0)?.filter(|finished| finished.sequence == 0))
}

fn open_finished(
    path: &Path,
    number: u64,
    unnumbered: impl Fn(&[u8]) -> u64,
) -> Result<Option<Finished>, ListenError> {
    let name = format!("{CURRENT}.{number}");
    let path = path.join(&name);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot("open", &path, &error)),
    };
    let (head, first_bytes) =
        scan::read_head(&file).map_err(|error| cannot("read", &path, &error))?;
    let sequence = match head {
        Head::Numbered { number, .. } => number,
        Head::Unnumbered { .. } => unnumbered(&first_bytes),
        _ => number,
    };
    Ok(Some(Finished { sequence, name, file }))
}

/// The offset of the first byte in the file that is not the one in `bytes`,
/// which are at `offset`; a byte behind the file's end is none.
fn difference(file: &File, offset: u64, bytes: &[u8]) -> io::Result<Option<u64>> {
    let mut found = vec![0; bytes.len().min(BLOCK_BYTES)];
    let mut at = offset;
    for wanted in bytes.chunks(BLOCK_BYTES) {
        let found = &mut found[..wanted.len()];
        let count = read_at(file, found, at)?;
        let same = found[..count].iter().zip(wanted).take_while(|(a, b)| a == b).count();
        if same < wanted.len() {
            return Ok(Some(at + same as u64));
        }
        at += wanted.len() as u64;
    }
    Ok(None)
}

/// The SHA-256 of a file of this length, in hexadecimal, from what a read of it
/// gives back.
fn checksum(file: &File, length: u64) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut offset = 0;
    loop {
        let count = read_at(file, &mut block, offset)?;
        if count == 0 {
            break;
        }
        hash.update(&block[..count]);
        offset += count as u64;
    }
    if offset != length {
        return Err(io::Error::other(format!("{length} bytes written, {offset} there")));
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
