//! Checkpoints as files: their numbers, and whether they are whole.

use flate2::read::MultiGzDecoder;
use md5::{Digest as _, Md5};
use p4journal::{Case, Header, NoteKind, Op, Reader};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use tripline_api::ListenError;

/// The number of a checkpoint is looked for in this many records at its start:
/// it is in its second table.
const RECORDS_BEFORE_NUMBER_MAX: usize = 100_000;
/// A file with an MD5 in it is not longer, in bytes.
const MD5_FILE_BYTES_MAX: u64 = 4096;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const BUFFER_BYTES: usize = 128 * 1024;

/// The number of the journal that goes on from a checkpoint: its counter
/// `journal`. A server's first has none, and 0 is meant.
pub(crate) fn number_of(path: &Path) -> Result<u64, ListenError> {
    let mut reader = Reader::new(input(path)?);
    let mut was_in_counters = false;
    for _ in 0..RECORDS_BEFORE_NUMBER_MAX {
        let entry = reader.next().map_err(|error| {
            ListenError::Stop(format!("cannot read {}: {error}", path.display()))
        })?;
        let Some(entry) = entry else { break };
        let Ok(record) = entry.record() else { continue };
        if record.table() == Some("db.counters") {
            was_in_counters = true;
            let mut fields = record.fields();
            if fields.next().is_some_and(|name| name.raw() == b"journal") {
                let number = fields.next().and_then(|value| value.number());
                return Ok(number.map_or(0, i64::cast_unsigned));
            }
        } else if was_in_counters && record.table().is_some() {
            break;
        }
    }
    if was_in_counters {
        return Ok(0);
    }
    Err(ListenError::Stop(format!(
        "{} is no checkpoint: it has no counters near its start",
        path.display()
    )))
}

/// The number in a name such as `checkpoint.15`, `p4_1.ckp.15.gz`.
pub(crate) fn number_in(name: &str) -> Option<u64> {
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    let (before, number) = plain.rsplit_once('.')?;
    let is_checkpoint = before.ends_with("checkpoint") || before.ends_with("ckp");
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    if is_checkpoint && is_number { number.parse().ok() } else { None }
}

pub(crate) fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// What is in a checkpoint, decompressed where it is not plain.
pub(crate) fn input(path: &Path) -> Result<Box<dyn Read + Send>, ListenError> {
    open(path).and_then(input_of).map_err(|error| cannot("read", path, &error))
}

/// Opens a regular file; a FIFO is neither waited for nor read.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let no_block = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(no_block).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
}

fn input_of(mut file: File) -> io::Result<Box<dyn Read + Send>> {
    let mut magic = [0; 2];
    file.rewind()?;
    let mut count = 0;
    while count < magic.len() {
        match file.read(&mut magic[count..])? {
            0 => break,
            more => count += more,
        }
    }
    let start = io::Cursor::new(magic[..count].to_vec());
    let whole = BufReader::with_capacity(BUFFER_BYTES, start.chain(file));
    Ok(if magic == GZIP { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) })
}

pub(crate) fn cannot(what: &str, path: &Path, error: &io::Error) -> ListenError {
    let text = format!("cannot {what} the checkpoint {}", path.display());
    if error.kind() == io::ErrorKind::NotFound {
        return ListenError::Stop(format!(
            "{text}: it is not there. Name one that is, or leave `checkpoint` out"
        ));
    }
    ListenError::io(text, error)
}

/// A checkpoint that was read to its end, and is whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) path: PathBuf,
    /// Open on the bytes that were read.
    pub(crate) file: File,
    pub(crate) number: u64,
    pub(crate) is_gzip: bool,
    /// How the server handles case, where it says so.
    pub(crate) case: Option<Case>,
    /// An MD5 file stood beside it, and is right.
    pub(crate) has_md5: bool,
    /// Its size and the time of its last change, when it was begun to be read.
    pub(crate) stamp: (u64, i64, i64),
}

/// The newest checkpoint in these folders that is whole; of each newer one that
/// is not, why is told.
///
/// # Errors
///
/// When a folder cannot be listed.
pub(crate) fn newest(
    folders: &[PathBuf],
    tell: &mut dyn FnMut(&str),
) -> Result<Option<Whole>, ListenError> {
    let mut found: Vec<(u64, bool, PathBuf)> = Vec::new();
    for folder in folders {
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(cannot("look for", folder, &error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| cannot("look for", folder, &error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if number_in(&name).is_none() {
                continue;
            }
            if path.is_dir() {
                let path = path.display();
                tell(&format!(
                    "{path} is passed over: a checkpoint in many files is not dealt with"
                ));
                continue;
            }
            match number_of(&path) {
                Ok(number) => found.push((number, is_gzip(&path), path)),
                Err(error) => tell(&format!("passed over: {error}")),
            }
            if found.len() > CHECKPOINTS_MAX {
                return Err(ListenError::Stop(format!(
                    "{} has more than {CHECKPOINTS_MAX} checkpoints: move old ones away",
                    folder.display()
                )));
            }
        }
    }
    // The plain one of two is read faster, and `p4d -jr` takes both.
    found.sort_by(|a, b| (b.0, a.1, &a.2).cmp(&(a.0, b.1, &b.2)));
    for (_, _, path) in found {
        match examine(&path) {
            Ok(whole) => return Ok(Some(whole)),
            Err(why) => tell(&format!("{} is passed over: {why}", path.display())),
        }
    }
    Ok(None)
}

/// No folder has more.
const CHECKPOINTS_MAX: usize = 10_000;

/// Reads a checkpoint to its end.
///
/// # Errors
///
/// In words, why it is not whole.
pub(crate) fn examine(path: &Path) -> Result<Whole, String> {
    let file = open(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let stamp = file
        .metadata()
        .map(|it| (it.size(), it.mtime(), it.mtime_nsec()))
        .map_err(|error| format!("it cannot be looked at: {error}"))?;
    let same = file.try_clone().map_err(|error| format!("it cannot be read: {error}"))?;
    let input = input_of(same).map_err(|error| format!("it cannot be read: {error}"))?;
    let mut input = Hashed { input, md5: Md5::new() };
    let mut reader = Reader::new(&mut input);
    let (mut header, mut is_first, mut is_ended) = (None, true, false);
    let (mut has_trailer, mut number, mut has_counters) = (false, None, false);
    let mut has_crlf = false;
    loop {
        let entry = reader.next().map_err(|error| format!("it is not whole: {error}"))?;
        let Some(entry) = entry else { break };
        let Ok(record) = entry.record() else {
            return Err(format!("it is damaged at byte {}", entry.offset));
        };
        if std::mem::take(&mut is_first) {
            header = Header::read(&record);
            has_crlf = entry.bytes.ends_with(b"\r\n");
        }
        is_ended = record.op() == Op::Ex;
        let note = record.note().map(|note| note.kind);
        has_trailer |= note == Some(NoteKind::CheckpointTrailer);
        if record.table() == Some("db.counters") {
            has_counters = true;
            let mut fields = record.fields();
            if fields.next().is_some_and(|name| name.raw() == b"journal") {
                number = fields.next().and_then(|value| value.number());
            }
        }
    }
    if !reader.tail().is_empty() || !is_ended || header.is_some() != has_trailer {
        return Err(
            "it does not end as a checkpoint does: it was cut, or is still being \
             written"
                .to_owned(),
        );
    }
    if !has_counters {
        return Err("it has no counters: it is no checkpoint".to_owned());
    }
    let has_md5 = check_md5(path, &file, input.md5)?;
    let case = match &header {
        Some(header) if header.case_insensitive => Some(Case::Insensitive),
        Some(_) => Some(Case::Sensitive),
        // Without a header: only servers on Windows write so.
        None => has_crlf.then_some(Case::Insensitive),
    };
    let number = number.map_or(0, i64::cast_unsigned);
    let is_gzip = magic_of(&file) == GZIP;
    Ok(Whole { path: path.to_owned(), file, number, is_gzip, case, has_md5, stamp })
}

fn magic_of(file: &File) -> [u8; 2] {
    use std::os::unix::fs::FileExt as _;
    let mut magic = [0; 2];
    _ = file.read_exact_at(&mut magic, 0);
    magic
}

/// Compares with the MD5 beside it, if there is one: of what is in it, and where a
/// compressor was there later, of the file as it is.
fn check_md5(path: &Path, file: &File, md5: Md5) -> Result<bool, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    let found = hex(&md5.finalize());
    for beside in [format!("{name}.md5"), format!("{plain}.md5")] {
        let Ok(written) = open(&path.with_file_name(&beside)) else { continue };
        let mut text = String::new();
        if written.take(MD5_FILE_BYTES_MAX).read_to_string(&mut text).is_err() {
            continue;
        }
        // `MD5 (checkpoint.15) = 6EC0…`
        let last = text.split_whitespace().last().unwrap_or_default();
        if last.len() != 32 {
            continue;
        }
        if last.eq_ignore_ascii_case(&found)
            || md5_of(file).is_some_and(|stored| last.eq_ignore_ascii_case(&stored))
        {
            return Ok(true);
        }
        return Err(format!("its MD5 is not the one in {beside}"));
    }
    Ok(false)
}

fn md5_of(file: &File) -> Option<String> {
    use std::os::unix::fs::FileExt as _;
    let (mut md5, mut at) = (Md5::new(), 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read_at(&mut buffer, at).ok()? {
            0 => return Some(hex(&md5.finalize())),
            count => {
                md5.update(&buffer[..count]);
                at += count as u64;
            }
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What passes is counted into a digest.
struct Hashed<R> {
    input: R,
    md5: Md5,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.md5.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    pub(crate) fn text(number: u64) -> String {
        format!(
            "@nx@ 0 1700000000 @58@ 1 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
             @pv@ 1 @db.counters@ @journal@ @{number}@ \n\
             @nx@ 1 1700000000 @58@ 1 0 0 0 0 @@ @@ @@ @@ @@ \n@ex@ 7 1700000000\n"
        )
    }

    fn newest_in(folder: &Path) -> (Option<u64>, String) {
        let mut told = String::new();
        let found = newest(&[folder.to_owned()], &mut |it| told += it).unwrap();
        (found.map(|it| it.number), told)
    }

    #[test]
    fn the_newest_that_is_whole_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        };
        assert_eq!(newest_in(folder.path()).0, None);
        write("checkpoint.9", text(9).as_bytes());
        // The name is a hint: inside it is an older one.
        write("p4_1.ckp.50", text(8).as_bytes());
        assert_eq!(newest_in(folder.path()).0, Some(9));
        let whole = text(10);
        write("checkpoint.10", &whole.as_bytes()[..whole.len() - 5]);
        let (number, told) = newest_in(folder.path());
        assert!(number == Some(9) && told.contains("still being written"), "{told}");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        gzip.write_all(whole.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        write("p4_1.ckp.10.gz", &gzip[..gzip.len() - 3]);
        assert_eq!(newest_in(folder.path()).0, Some(9));
        write("p4_1.ckp.10.gz", &gzip);
        assert_eq!(newest_in(folder.path()).0, Some(10));
        write(
            "p4_1.ckp.10.md5",
            b"MD5 (checkpoint.10) = 00000000000000000000000000000000",
        );
        let (number, told) = newest_in(folder.path());
        assert!(number == Some(9) && told.contains("MD5"), "{told}");
        let md5 = hex(&Md5::digest(whole.as_bytes())).to_uppercase();
        write("p4_1.ckp.10.md5", format!("MD5 (checkpoint.10) = {md5}\r\n").as_bytes());
        let found = newest(&[folder.path().to_owned()], &mut |_| {}).unwrap().unwrap();
        assert!(found.number == 10 && found.has_md5 && found.is_gzip);
        assert_eq!(found.case, Some(Case::Sensitive));
    }
}
