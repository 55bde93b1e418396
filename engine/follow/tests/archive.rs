//! What holds for every compressed format, and what each does its own way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::{self, Cursor, Read, Write};
use std::process::{Command, Stdio};
use tripline_follow::archive::{Archive, ArchiveError, Format, Limits};

/// A format with what writes it here, which is not the code that reads it.
struct Row {
    format: Format,
    compress: fn(&[u8]) -> Vec<u8>,
    /// The tool, and the arguments of the ways to compress with it.
    tool: &'static str,
    ways: &'static [&'static [&'static str]],
}

const ROWS: &[Row] = &[
    Row {
        format: Format::Gzip,
        compress: gzip,
        tool: "gzip",
        ways: &[&["-1"], &["-9"], &["--rsyncable"]],
    },
    Row {
        format: Format::Zstd,
        compress: zstd,
        tool: "zstd",
        ways: &[&["-1"], &["-19"], &["--no-check"], &["--long=27"], &["-B100KB", "-T2"]],
    },
    Row {
        format: Format::Xz,
        compress: xz,
        tool: "xz",
        ways: &[
            &["-0"],
            &["-9e"],
            &["--check=crc32"],
            &["--check=sha256"],
            &["--check=none"],
            &["--block-size=1000"],
            &["--delta=dist=4", "--lzma2"],
            &["--x86", "--lzma2=dict=4KiB"],
        ],
    },
    Row {
        format: Format::Bzip2,
        compress: bzip2,
        tool: "bzip2",
        ways: &[&["-1"], &["-9"], &["--small"]],
    },
];

/// Those that were built in.
fn rows() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(|row| row.format.is_supported())
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
}

fn xz(text: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

fn bzip2(text: &[u8]) -> Vec<u8> {
    let mut encoder =
        bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Compresses with the format's tool; `None` where that is not installed.
fn by_tool(tool: &str, arguments: &[&str], text: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(tool)
        .args(arguments)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .inspect_err(|e| eprintln!("not compared with {tool}: {e}"))
        .ok()?;
    let mut input = child.stdin.take().unwrap();
    let bytes = text.to_vec();
    let writer = std::thread::Builder::new().spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.unwrap().join().unwrap().unwrap();
    assert!(output.status.success(), "{tool} {arguments:?}");
    Some(output.stdout)
}

fn log(lines: u32) -> Vec<u8> {
    let line = |n: u32| {
        let scattered = n.wrapping_mul(2_654_435_761);
        format!("2026-01-01T00:00:{:02} host{} {scattered}\n", n % 60, scattered % 7)
    };
    (0..lines).flat_map(|n| line(n).into_bytes()).collect()
}

/// All bytes that come, `step` at a time, and what came behind them.
fn read(mut archive: Archive, step: usize) -> (Vec<u8>, Result<(), ArchiveError>) {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; step]);
    loop {
        match archive.fill(&mut buffer) {
            Ok(0) => {
                assert_eq!(archive.fill(&mut buffer).unwrap(), 0, "the end stays");
                return (bytes, Ok(()));
            }
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(error) => {
                let again = archive.fill(&mut buffer).unwrap_err();
                assert_eq!(again.to_string(), error.to_string(), "an error stays");
                return (bytes, Err(error));
            }
        }
    }
}

fn archive(format: Format, file: &[u8]) -> Archive {
    Archive::from_reader(Cursor::new(file.to_vec()), format, Limits::default())
}

fn whole(format: Format, file: &[u8]) -> Vec<u8> {
    let (bytes, end) = read(archive(format, file), 1 << 16);
    end.unwrap_or_else(|e| panic!("{format}: {e}"));
    bytes
}

fn failure(format: Format, file: &[u8]) -> ArchiveError {
    let (_, end) = read(archive(format, file), 1 << 16);
    end.expect_err(format.name())
}

#[test]
fn what_a_compressor_wrote_is_read_in_steps_of_any_size() {
    let text = log(20_000);
    for row in rows() {
        let file = (row.compress)(&text);
        assert_eq!(Format::of(&file), Some(row.format));
        for step in [1, 7, 4096, 1 << 18, 1 << 22] {
            let (bytes, end) = read(archive(row.format, &file), step);
            assert!(end.is_ok() && bytes == text, "{} in steps of {step}", row.format);
        }
        let mut archive = archive(row.format, &file);
        assert_eq!(archive.compressed_offset(), 0);
        assert_eq!(archive.fill(&mut []).unwrap(), 0, "an empty buffer is no end");
        let mut buffer = vec![0; text.len()];
        assert_eq!(archive.fill(&mut buffer).unwrap(), text.len());
        assert_eq!(archive.fill(&mut buffer).unwrap(), 0);
        assert_eq!(archive.compressed_offset(), file.len() as u64);
    }
}

#[test]
fn what_the_tools_write_is_read() {
    let text = log(20_000);
    for row in rows() {
        for way in row.ways {
            for text in [&text[..], b"a\n", b""] {
                let Some(file) = by_tool(row.tool, way, text) else { continue };
                assert_eq!(Format::of(&file), Some(row.format), "{way:?}");
                assert!(whole(row.format, &file) == text, "{} {way:?}", row.tool);
            }
        }
    }
}

#[test]
fn all_parts_count() {
    for row in rows() {
        let mut file = Vec::new();
        for part in [&b"first\n"[..], b"", b"second\n", b"third"] {
            file.extend((row.compress)(part));
        }
        assert_eq!(whole(row.format, &file), b"first\nsecond\nthird", "{}", row.format);
    }
}

#[test]
fn a_file_cut_anywhere_ends_before_its_end_mark() {
    let text = log(40);
    for row in rows() {
        let first = (row.compress)(b"of its own\n");
        let mut file = first.clone();
        file.extend((row.compress)(&text));
        let wanted = whole(row.format, &file);
        for length in (0..file.len()).filter(|length| *length != first.len()) {
            let (bytes, end) = read(archive(row.format, &file[..length]), 64);
            assert!(matches!(end, Err(ArchiveError::Cut)), "{} {length}", row.format);
            assert!(wanted.starts_with(&bytes), "{} {length}", row.format);
            assert!(length < first.len() || bytes.starts_with(b"of its own\n"));
        }
        let (bytes, end) = read(archive(row.format, &first), 64);
        assert!(end.is_ok() && bytes == b"of its own\n", "a whole file of its own");
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_changes_nothing() {
    let text = log(40);
    for row in rows() {
        let mut file = (row.compress)(&text);
        for bit in 0..file.len() * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            let (small, end) = read(archive(row.format, &file), 1);
            let (large, same_end) = read(archive(row.format, &file), 1 << 16);
            assert_eq!(small, large, "{} bit {bit}", row.format);
            match (end, same_end) {
                (Ok(()), Ok(())) => assert_eq!(small, text, "{} bit {bit}", row.format),
                (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string()),
                (a, b) => panic!("{} bit {bit}: {a:?} and {b:?}", row.format),
            }
            file[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn what_stands_before_the_damage_comes() {
    let text = log(200_000);
    for row in rows() {
        let mut file = (row.compress)(&text);
        let at = file.len() / 2;
        file[at..at + 64].fill(0x55);
        let (bytes, end) = read(archive(row.format, &file), 1 << 16);
        let Err(ArchiveError::Damaged { at: noticed, .. }) = end else {
            panic!("{}: {end:?}", row.format)
        };
        assert!(noticed >= at as u64, "{}", row.format);
        let same = bytes.iter().zip(&text).take_while(|(a, b)| a == b).count();
        assert!(same > text.len() / 3, "{}: {same} of {}", row.format, text.len());
    }
}

/// A damaged block of bzip2 is scrambled as a whole: nothing of it comes.
#[cfg(feature = "bzip2")]
#[test]
fn nothing_of_a_damaged_bzip2_block_comes() {
    let text = log(20_000);
    let sound = bzip2(&text);
    for at in (100..sound.len()).step_by(sound.len() / 50) {
        let mut file = sound.clone();
        file[at] ^= 4;
        let (bytes, end) = read(archive(Format::Bzip2, &file), 1 << 16);
        assert!(matches!(end, Err(ArchiveError::Damaged { .. })), "byte {at}: {end:?}");
        assert!(text.starts_with(&bytes), "byte {at}");
    }
    let zeros = vec![0; 40 << 20];
    assert!(whole(Format::Bzip2, &bzip2(&zeros)) == zeros, "blocks of many MiB");
}

#[test]
fn something_else_behind_the_end_is_damage() {
    for row in rows() {
        let file = (row.compress)(b"whole\n");
        for behind in [&b"\n"[..], b"a line of text\n", b"\0\0\0\0text", b"BZh01AY"] {
            let file = [&file, behind].concat();
            let (bytes, end) = read(archive(row.format, &file), 64);
            assert!(
                matches!(end, Err(ArchiveError::Damaged { .. })),
                "{} {behind:?}: {end:?}",
                row.format
            );
            assert_eq!(bytes, b"whole\n");
        }
    }
}

#[cfg(all(feature = "xz", feature = "zstd", feature = "bzip2"))]
#[test]
fn padding_is_that_of_the_format() {
    let padded = |file: Vec<u8>, zeros: usize| [file, vec![0; zeros]].concat();
    for zeros in [1, 511, 1 << 20] {
        assert_eq!(whole(Format::Gzip, &padded(gzip(b"tape"), zeros)), b"tape");
    }
    let mut file = padded(xz(b"one "), 8);
    file.extend(padded(xz(b"two"), 4));
    assert_eq!(whole(Format::Xz, &file), b"one two");
    assert!(matches!(failure(Format::Xz, &file[..file.len() - 1]), ArchiveError::Cut));
    for (format, file) in [(Format::Zstd, zstd(b"none")), (Format::Bzip2, bzip2(b"none"))]
    {
        let error = failure(format, &padded(file, 4));
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    }
}

#[cfg(feature = "zstd")]
fn skippable(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_le_bytes();
    [&[0x50 | kind, 0x2a, 0x4d, 0x18], &length[..], content].concat()
}

#[cfg(feature = "zstd")]
#[test]
fn skippable_frames_are_skipped() {
    let mut file = skippable(0, b"an index");
    file.extend(zstd(b"a line\n"));
    file.extend(skippable(15, &[0; 300_000]));
    file.extend(skippable(3, b""));
    let first = file.len();
    file.extend(zstd(b"another\n"));
    assert_eq!(Format::of(&file), Some(Format::Zstd));
    assert_eq!(whole(Format::Zstd, &file), b"a line\nanother\n");
    assert_eq!(whole(Format::Zstd, &file[..first]), b"a line\n");
    assert!(matches!(failure(Format::Zstd, &file[..first - 4]), ArchiveError::Cut));
    assert!(matches!(failure(Format::Zstd, &file[..5]), ArchiveError::Cut));
}

#[test]
fn a_gzip_header_with_everything_in_it_is_read() {
    let plain = gzip(b"content\n");
    let mut header = vec![0x1f, 0x8b, 8, 0b11111, 1, 2, 3, 4, 0, 3];
    header.extend([3, 0, b'e', b'x', b't']);
    header.extend(b"a name\0a comment\0");
    let mut checksum = flate2::Crc::new();
    checksum.update(&header);
    header.extend((checksum.sum() as u16).to_le_bytes());
    let file = [&header[..], &plain[10..]].concat();
    assert_eq!(whole(Format::Gzip, &file), b"content\n");
    for length in 0..header.len() {
        assert!(matches!(failure(Format::Gzip, &file[..length]), ArchiveError::Cut));
    }
    header[5] ^= 1;
    let file = [&header[..], &plain[10..]].concat();
    let error = failure(Format::Gzip, &file).to_string();
    assert!(error.contains("checksum of a member's header"), "{error}");
}

#[test]
fn a_bomb_stops_at_the_ratio() {
    let zeros = vec![0; 16 << 20];
    for row in rows() {
        let bomb = by_tool(row.tool, &["-9"], &zeros);
        let bomb = bomb.unwrap_or_else(|| (row.compress)(&zeros));
        let limits = Limits { ratio_free_bytes: 20 << 20, ..Limits::default() };
        let limits = Limits { ratio_max: 500, ..limits };
        let file = Cursor::new(bomb.repeat(16));
        let (length, error) = length_of(Archive::from_reader(file, row.format, limits));
        assert!((20 << 20..21 << 20).contains(&length), "{} {length}", row.format);
        let error = error.unwrap().to_string();
        assert!(error.contains("more than 500 times its size"), "{error}");
        assert!(error.contains(&(20 << 20).to_string()), "{error}");
    }
}

#[cfg(feature = "zstd")]
#[test]
fn a_gibibyte_of_nothing_passes_by_default_and_no_more() {
    let zeros = zstd(&vec![0; 32 << 20]);
    let (length, error) = length_of(archive(Format::Zstd, &zeros.repeat(32)));
    assert!(length == 1 << 30 && error.is_none(), "{length} {error:?}");
    let (length, error) = length_of(archive(Format::Zstd, &zeros.repeat(33)));
    assert!((1 << 30..(1 << 30) + (1 << 20)).contains(&length), "{length}");
    assert!(matches!(error, Some(ArchiveError::TooBig { .. })), "{error:?}");
}

/// How much comes, without keeping it, and the error behind it.
fn length_of(mut archive: Archive) -> (u64, Option<ArchiveError>) {
    let (mut length, mut buffer) = (0, vec![0; 1 << 18]);
    loop {
        match archive.fill(&mut buffer) {
            Ok(0) => return (length, None),
            Ok(n) => length += n as u64,
            Err(error) => return (length, Some(error)),
        }
    }
}

#[test]
fn no_more_comes_than_the_limit_and_a_buffer() {
    for row in rows() {
        let file = (row.compress)(&log(20_000));
        let limits = Limits { bytes_max: 100_000, ..Limits::default() };
        let archive = Archive::from_reader(Cursor::new(file), row.format, limits);
        let (bytes, end) = read(archive, 1000);
        assert!((100_001..=101_000).contains(&bytes.len()), "{}", row.format);
        let error = end.unwrap_err().to_string();
        assert!(error.contains("more than 100000 bytes"), "{error}");
    }
}

#[cfg(all(feature = "xz", feature = "zstd"))]
#[test]
fn a_window_over_the_limit_is_refused_with_both_numbers() {
    // A frame with a window of 2 GiB, and an empty block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0];
    let error = failure(Format::Zstd, &frame).to_string();
    let wanted =
        "needs a zstd window of 2147483648 bytes, more than the limit of 134217728";
    assert_eq!(error, wanted);
    // All of it in one segment: the window is the content, 1 TiB.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0];
    let error = failure(Format::Zstd, &frame).to_string();
    assert!(error.contains("1099511627776 bytes"), "{error}");

    let mut options = lzma_rust2::XzOptions::with_preset(0);
    for (size, is_read) in [(128 << 20, true), (192 << 20, false), (1536 << 20, false)] {
        options.lzma_options.dict_size = 1 << 16;
        let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options.clone()).unwrap();
        writer.write_all(b"a line\n").unwrap();
        let file = with_dictionary(writer.finish().unwrap(), size);
        if is_read {
            assert_eq!(whole(Format::Xz, &file), b"a line\n");
        } else {
            let error = failure(Format::Xz, &file).to_string();
            let wanted =
                format!("needs an xz dictionary of {size} bytes, more than the ");
            assert_eq!(error, wanted + "limit of 134217728");
        }
    }
}

#[cfg(all(feature = "xz", feature = "zstd"))]
/// Writes another size of the dictionary into the header of the first block.
fn with_dictionary(mut file: Vec<u8>, size: u64) -> Vec<u8> {
    let of_bits = |bits: u8| (2 | u64::from(bits & 1)) << (bits / 2 + 11);
    let bits = (0..40).find(|bits| of_bits(*bits) == size).unwrap();
    let header = 12..12 + (usize::from(file[12]) + 1) * 4;
    let filter = file[header.clone()].windows(2).position(|w| w == [0x21, 1]).unwrap();
    file[12 + filter + 2] = bits;
    let mut checksum = flate2::Crc::new();
    checksum.update(&file[header.start..header.end - 4]);
    file[header.end - 4..header.end].copy_from_slice(&checksum.sum().to_le_bytes());
    file
}

#[test]
fn nothing_for_ever_is_not_waited_for() {
    for row in rows() {
        let empty = Endless { part: (row.compress)(b""), at: 0 };
        let archive = Archive::from_reader(empty, row.format, Limits::default());
        let (length, error) = length_of(archive);
        assert_eq!(length, 0, "{}", row.format);
        let error = error.unwrap().to_string();
        assert!(error.contains("decompress to nothing"), "{error}");
    }
}

/// The same part again and again.
struct Endless {
    part: Vec<u8>,
    at: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in &mut *buffer {
            *byte = self.part[self.at % self.part.len()];
            self.at += 1;
        }
        Ok(buffer.len())
    }
}

#[test]
fn a_fault_of_the_disk_is_not_the_contents() {
    for row in rows() {
        let file = (row.compress)(&log(50_000));
        let half = Cursor::new(file[..file.len() / 2].to_vec());
        let archive =
            Archive::from_reader(half.chain(Broken), row.format, Limits::default());
        let (_, end) = read(archive, 1 << 16);
        let error = end.unwrap_err();
        assert!(matches!(&error, ArchiveError::Io(e) if e.raw_os_error() == Some(5)));
        assert_eq!(io::Error::from(error).raw_os_error(), Some(5), "{}", row.format);
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(5))
    }
}

#[test]
fn formats_are_told_by_their_first_bytes() {
    let cases: &[(&[u8], Option<Format>)] = &[
        (b"", None),
        (b"\x1f\x8b", None),
        (b"\x1f\x8b\x08", Some(Format::Gzip)),
        (b"\x1f\x8b\x07", None),
        (b"\x28\xb5\x2f\xfd", Some(Format::Zstd)),
        (b"\x5f\x2a\x4d\x18", Some(Format::Zstd)),
        (b"\x60\x2a\x4d\x18", None),
        (b"\xfd7zXZ\0", Some(Format::Xz)),
        (b"\xfd7zXZ", None),
        (b"BZh91AY&SY", Some(Format::Bzip2)),
        (b"BZh1\x17\x72\x45\x38\x50\x90", Some(Format::Bzip2)),
        (b"BZh0\x17\x72\x45\x38\x50\x90", None),
        (b"BZh9 is how a bzip2 file starts", None),
    ];
    for (first, wanted) in cases {
        assert_eq!(Format::of(first), *wanted, "{first:?}");
        assert!(wanted.is_none() || first.len() <= Format::MAGIC_BYTES_MAX);
    }
}

#[test]
fn a_format_that_is_not_read_is_refused_in_words() {
    let empty = b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0";
    assert_eq!(Format::of(empty), Some(Format::Bzip2));
    for format in Format::ALL.into_iter().filter(|format| !format.is_supported()) {
        let error = failure(format, empty);
        assert!(matches!(error, ArchiveError::Unsupported { .. }), "{error:?}");
        let wanted = format!("is compressed with {format}, which this program does not ");
        assert!(error.to_string().starts_with(&(wanted + "read (it reads gzip")));
    }
}

#[test]
fn a_file_is_read_from_its_start_and_its_cursor_left_alone() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&gzip(b"of a file\n")).unwrap();
    assert_eq!(Format::of_file(&file).unwrap(), Some(Format::Gzip));
    let twin = file.try_clone().unwrap();
    let (bytes, end) = read(Archive::new(twin, Format::Gzip, Limits::default()), 16);
    assert!(end.is_ok() && bytes == b"of a file\n");
    file.write_all(b"behind").unwrap();
    let (_, end) = read(Archive::new(file, Format::Gzip, Limits::default()), 16);
    assert!(matches!(end, Err(ArchiveError::Damaged { .. })), "{end:?}");
}
