//! Opens plain and gzipped files alike.

use anyhow::Context as _;
use crossbeam_channel::{Receiver, Sender, bounded};
use flate2::bufread::MultiGzDecoder;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek as _};
use std::mem;
use std::path::Path;
use std::thread::{self, JoinHandle};

use tripline_diagnose::shown;

/// A journal or a checkpoint, opened.
pub(super) enum Input {
    /// A plain file; stands at its first byte.
    Plain(File),
    /// A pipe, of which the first bytes were read.
    Pipe(Box<dyn Read + Send>),
    /// A gzipped file, decompressed in a thread of its own.
    Gzip(Gunzip),
}

impl Input {
    /// Opens a file and looks at its first bytes: the name says nothing. `-` is
    /// standard input.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Self::open_file(path).with_context(|| format!("cannot open `{}`", shown(path)))
    }

    /// Whether a file can be opened, for a command that opens it later. What
    /// can be read only once is not opened for this.
    pub(super) fn probe(path: &Path) -> anyhow::Result<()> {
        let metadata = fs::metadata(place(path));
        let is_once = metadata.as_ref().is_ok_and(|it| !it.is_file() && !it.is_dir());
        if is_once {
            return Ok(());
        }
        open_plain(path)
            .map(drop)
            .with_context(|| format!("cannot open `{}`", shown(path)))
    }

    /// [`Self::open`] without the file's name in the error.
    pub(super) fn open_file(path: &Path) -> io::Result<Self> {
        let mut file = open_plain(path)?;
        let metadata = file.metadata()?;
        let mut magic = Vec::new();
        Read::by_ref(&mut file).take(GZIP_MAGIC.len() as u64).read_to_end(&mut magic)?;
        let is_gzip = magic == GZIP_MAGIC;
        // Files that the system makes up, as under /proc, have a length of 0 and
        // content all the same: they are read like a pipe.
        if metadata.is_file() && metadata.len() > 0 {
            file.rewind()?;
            return Ok(if is_gzip {
                Self::Gzip(Gunzip::new(file)?)
            } else {
                Self::Plain(file)
            });
        }
        let rest = io::Cursor::new(magic).chain(file);
        Ok(if is_gzip {
            Self::Gzip(Gunzip::new(rest)?)
        } else {
            Self::Pipe(Box::new(rest))
        })
    }

    /// Whether the file is gzipped.
    pub(super) const fn is_gzip(&self) -> bool {
        matches!(self, Self::Gzip(_))
    }

    /// The bytes, decompressed.
    pub(super) fn into_reader(self) -> Box<dyn Read + Send> {
        match self {
            Self::Plain(file) => Box::new(file),
            Self::Pipe(reader) => reader,
            Self::Gzip(gunzip) => Box::new(gunzip),
        }
    }
}

/// Where a path that the user gave leads.
fn place(path: &Path) -> &Path {
    if path == "-" { Path::new("/dev/stdin") } else { path }
}

fn open_plain(path: &Path) -> io::Result<File> {
    let file = File::open(place(path))?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    Ok(file)
}

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// Decompresses in a thread of its own, some blocks ahead of the reader.
pub(super) struct Gunzip {
    block: Vec<u8>,
    used: usize,
    /// `None` once the last block has come.
    blocks: Option<Receiver<io::Result<Vec<u8>>>>,
    /// Why the last block is not the file's, told to whoever asks again.
    failure: Option<(io::ErrorKind, String)>,
    /// Used blocks go back, to be filled again.
    empty: Option<Sender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Gunzip {
    fn new(compressed: impl Read + Send + 'static) -> io::Result<Self> {
        let (block_sender, blocks) = bounded(BLOCKS_MAX);
        let (empty, empty_blocks) = bounded(BLOCKS_MAX);
        let work = move || decompress(compressed, &block_sender, &empty_blocks);
        let thread = thread::Builder::new().name("gunzip".to_owned()).spawn(work)?;
        Ok(Self {
            block: Vec::new(),
            used: 0,
            blocks: Some(blocks),
            failure: None,
            empty: Some(empty),
            thread: Some(thread),
        })
    }
}

impl BufRead for Gunzip {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Some((kind, words)) = &self.failure {
            return Err(io::Error::new(*kind, words.clone()));
        }
        if self.used == self.block.len()
            && let Some(blocks) = &self.blocks
        {
            let died = |_| Err(io::Error::other("the decompressing thread died"));
            let next = blocks.recv().unwrap_or_else(died).inspect_err(|error| {
                self.failure = Some((error.kind(), error.to_string()));
            })?;
            // The end comes as an empty block; a thread that died sends none.
            if next.is_empty() {
                self.blocks = None;
            }
            let used = mem::replace(&mut self.block, next);
            self.used = 0;
            if let Some(empty) = &self.empty {
                // With no room for it, or nobody to fill it, it is freed.
                _ = empty.try_send(used);
            }
        }
        Ok(&self.block[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used += amount;
    }
}

impl Read for Gunzip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl Drop for Gunzip {
    fn drop(&mut self) {
        // The thread stops when it cannot send.
        self.blocks = None;
        self.empty = None;
        if let Some(thread) = self.thread.take() {
            // If it died, the reader has been told.
            _ = thread.join();
        }
    }
}

fn decompress(
    compressed: impl Read,
    blocks: &Sender<io::Result<Vec<u8>>>,
    empty: &Receiver<Vec<u8>>,
) {
    let compressed = BufReader::with_capacity(COMPRESSED_BYTES, compressed);
    let mut plain = MultiGzDecoder::new(compressed).take(0);
    let mut is_first = true;
    loop {
        let mut block = empty.try_recv().unwrap_or_default();
        block.clear();
        block.reserve(BLOCK_BYTES);
        plain.set_limit(BLOCK_BYTES as u64);
        let result = plain.read_to_end(&mut block);
        if mem::take(&mut is_first) && block.starts_with(GZIP_MAGIC) {
            // No record begins like this.
            _ = blocks.send(Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "it was gzipped twice: decompress it once",
            )));
            return;
        }
        let is_last = block.is_empty() || result.is_err();
        // What came before an error is good: the checksum tells at the end.
        if result.is_err() && !block.is_empty() && blocks.send(Ok(block.clone())).is_err()
        {
            return;
        }
        let sent = blocks.send(result.map(|_| block).map_err(in_words));
        if is_last || sent.is_err() {
            return;
        }
    }
}

fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the gzipped data is cut short: it is still being written, or was not copied whole",
        ),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the gzipped data is damaged ({error}): copy the file again"),
        ),
        _ => error,
    }
}

/// Whether an error of reading says that the content is damaged, and not that
/// it could not be read.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

/// How much is decompressed at a time: it should still be in the processor's
/// cache when the reader takes it.
const BLOCK_BYTES: usize = 256 * 1024;

/// How many blocks the decompression may be ahead.
const BLOCKS_MAX: usize = 4;

/// How much compressed data is read at a time.
const COMPRESSED_BYTES: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder =
            flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        std::fs::write(&path, bytes).unwrap();
        let mut read = Vec::new();
        Input::open_file(&path)?.into_reader().read_to_end(&mut read)?;
        Ok(read)
    }

    #[test]
    fn content_tells_not_the_name() {
        let long = vec![b'x'; 3 * BLOCK_BYTES + 7];
        assert_eq!(read(&long).unwrap(), long);
        assert_eq!(read(&gzip(&long)).unwrap(), long);
        assert_eq!(read(b"").unwrap(), b"");
        assert_eq!(read(b"\x1f").unwrap(), b"\x1f");
    }

    #[test]
    fn members_follow_each_other() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(read(&two).unwrap(), b"one two");
    }

    #[test]
    fn damage_is_said_in_words() {
        let whole = gzip(&b"some words ".repeat(9000));
        let error = read(&whole[..whole.len() - 5]).unwrap_err();
        assert!(is_damage(&error) && error.to_string().contains("cut short"), "{error}");
        let mut broken = whole.clone();
        let checksum = whole.len() - 8;
        broken[checksum] ^= 1;
        let error = read(&broken).unwrap_err();
        assert!(is_damage(&error) && error.to_string().contains("damaged"), "{error}");
    }

    #[test]
    fn an_error_is_told_again() {
        let whole = gzip(b"some words");
        let cut = io::Cursor::new(whole[..whole.len() - 5].to_vec());
        let mut gunzip = Gunzip::new(cut).unwrap();
        let mut read = Vec::new();
        for _ in 0..3 {
            let error = gunzip.read_to_end(&mut read).unwrap_err();
            assert!(
                is_damage(&error) && error.to_string().contains("cut short"),
                "{error}"
            );
        }
        assert_eq!(read, b"some words");
    }

    #[test]
    fn what_was_gzipped_twice_is_recognised() {
        let error = read(&gzip(&gzip(b"some words"))).unwrap_err();
        assert!(!is_damage(&error) && error.to_string().contains("twice"), "{error}");
    }

    #[test]
    fn a_file_without_a_length_has_content() {
        let path = Path::new("/proc/self/status");
        if path.exists() {
            let mut read = Vec::new();
            let input = Input::open_file(path).unwrap();
            input.into_reader().read_to_end(&mut read).unwrap();
            assert!(!read.is_empty());
        }
    }

    #[test]
    fn an_early_end_does_not_hang() {
        let bytes = gzip(&vec![b'x'; 50 * BLOCK_BYTES]);
        let mut gunzip = Gunzip::new(io::Cursor::new(bytes)).unwrap();
        assert!(!gunzip.fill_buf().unwrap().is_empty());
        drop(gunzip);
    }
}
