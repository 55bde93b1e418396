//! A compressed file comes to the same bytes and the same end, however it is read.
//!
//! The first byte of the input chooses the format and the steps, the rest is the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::{self, Cursor, Read};
use std::mem::discriminant;
use tripline_follow::archive::{Archive, ArchiveError, Format, Limits};

const LIMITS: Limits = Limits {
    ratio_max: 1000,
    ratio_free_bytes: BYTES_MAX as u64,
    bytes_max: BYTES_MAX as u64,
    window_bytes_max: 8 << 20,
};
const BYTES_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, file)) = data.split_first() else { return };
    let format = Format::ALL[usize::from(choice % 4)];
    let step = [1, 3, 100, 4096][usize::from(choice / 4 % 4)];
    let at_once = read(format, Cursor::new(file.to_vec()), 1 << 18);
    let in_steps = read(format, Cursor::new(file.to_vec()), step);
    check_same(&at_once, &in_steps);
    let bit_by_bit = Slow { file: Cursor::new(file.to_vec()), step };
    let bit_by_bit = read(format, bit_by_bit, 1 << 18);
    // How far a broken stream goes depends on how its bytes come, with these.
    let depends = matches!(format, Format::Gzip | Format::Bzip2);
    if !depends || at_once.1.is_ok() {
        check_same(&at_once, &bit_by_bit);
    }
    check_cut(format, file, &at_once);
});

type Outcome = (Vec<u8>, Result<(), ArchiveError>);

fn read(format: Format, input: impl Read + Send + 'static, step: usize) -> Outcome {
    let mut archive = Archive::from_reader(input, format, LIMITS);
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; step]);
    loop {
        match archive.fill(&mut buffer) {
            Ok(0) => return (bytes, Ok(())),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(error) => return (bytes, Err(error)),
        }
        assert!(bytes.len() <= BYTES_MAX + step);
    }
}

fn check_same(one: &Outcome, other: &Outcome) {
    match (&one.1, &other.1) {
        (Ok(()), Ok(())) => {}
        (Err(a), Err(b)) => assert_eq!(discriminant(a), discriminant(b), "{a} / {b}"),
        (a, b) => panic!("{a:?} / {b:?}"),
    }
    let reached = |outcome: &Outcome| outcome.0.len().min(BYTES_MAX);
    assert_eq!(one.0[..reached(one)], other.0[..reached(other)]);
}

/// What was whole and is cut is cut, or ends at the end of a part.
fn check_cut(format: Format, file: &[u8], (bytes, end): &Outcome) {
    if end.is_ok() && !file.is_empty() {
        let length = file.len() * 2 / 3;
        let (start, end) = read(format, Cursor::new(file[..length].to_vec()), 1 << 18);
        assert!(matches!(end, Ok(()) | Err(ArchiveError::Cut)), "{end:?}");
        assert!(bytes.starts_with(&start));
    }
}

/// Gives a few bytes at a time.
struct Slow {
    file: Cursor<Vec<u8>>,
    step: usize,
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = buffer.len().min(self.step);
        self.file.read(&mut buffer[..n])
    }
}
