//! Numbered lines: whoever gets them can tell whether one is missing, came
//! twice, came too early or was never written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

/// Writes lines such as `w=3 n=17 crc=0badcafe ...`, each in one `write`, to the
/// end of a file that it holds open, as a logging program does.
pub(crate) struct Writer {
    name: u32,
    /// The next line's number: so many were written.
    next: u64,
    file: File,
    random: Random,
}

impl Writer {
    /// A writer that no other one of the test is called like.
    pub(crate) fn new(name: u32, path: &Path) -> Self {
        let random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(name));
        Self { name, next: 0, file: open(path), random }
    }

    /// Goes on in the file that is now at a path, or in a new one.
    pub(crate) fn reopen(&mut self, path: &Path) {
        self.file = open(path);
    }

    /// Writes lines of everyday length.
    pub(crate) fn write(&mut self, count: u64) {
        for _ in 0..count {
            let payload = self.random.below(120) as usize;
            let line = self.line(payload);
            self.raw(&line);
        }
    }

    /// Writes lines, of so many bytes in total: at least 60.
    pub(crate) fn write_bytes(&mut self, mut bytes: usize) {
        while bytes > 0 {
            // What is left must be enough for another one, or nothing.
            let len = if bytes < 200 { bytes } else { 100 };
            let bare = Line::head(self.name, self.next, b"").len() + 1;
            let line = self.line(len - bare);
            assert_eq!(line.len(), len);
            self.raw(&line);
            bytes -= len;
        }
    }

    /// The next line, with its line feed, for the caller to write.
    pub(crate) fn line(&mut self, payload: usize) -> Vec<u8> {
        let letter = b'a' + (self.next % 26) as u8;
        let payload = vec![letter; payload];
        let mut line = Line::head(self.name, self.next, &payload).into_bytes();
        line.extend_from_slice(&payload);
        line.push(b'\n');
        self.next += 1;
        line
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).unwrap();
    }

    pub(crate) const fn written(&self) -> u64 {
        self.next
    }

    /// With what its last line begins.
    pub(crate) fn last(&self) -> String {
        format!("w={} n={} ", self.name, self.next - 1)
    }

    pub(crate) const fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// What a line says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    writer: u32,
    number: u64,
}

impl Line {
    fn head(writer: u32, number: u64, payload: &[u8]) -> String {
        let crc = Self::crc(writer, number, payload);
        format!("w={writer} n={number} crc={crc:08x} ")
    }

    fn crc(writer: u32, number: u64, payload: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(&writer.to_le_bytes());
        crc.update(&number.to_le_bytes());
        crc.update(payload);
        crc.sum()
    }

    /// `None` for anything but a whole line of a writer.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut words = text.splitn(4, |byte| *byte == b' ');
        let mut word =
            |name: &[u8]| std::str::from_utf8(words.next()?.strip_prefix(name)?).ok();
        let writer = word(b"w=")?.parse().ok()?;
        let number = word(b"n=")?.parse().ok()?;
        let crc = u32::from_str_radix(word(b"crc=")?, 16).ok()?;
        let payload = words.next()?;
        (crc == Self::crc(writer, number, payload)).then_some(Self { writer, number })
    }
}

/// What arrived, in order, without the line feeds.
pub(crate) struct Delivered {
    /// The numbers of each writer's lines.
    lines: BTreeMap<u32, Vec<u64>>,
    /// Lines of one byte or none, which have no room for a number.
    pub(crate) bare: usize,
}

impl Delivered {
    /// Fails when something arrived that nobody wrote.
    pub(crate) fn new<T: AsRef<[u8]>>(texts: &[T], context: &dyn fmt::Display) -> Self {
        let mut delivered = Self { lines: BTreeMap::new(), bare: 0 };
        for text in texts.iter().map(AsRef::as_ref) {
            if text.len() < 2 {
                delivered.bare += 1;
                continue;
            }
            let line = Line::parse(text).unwrap_or_else(|| {
                let text = String::from_utf8_lossy(&text[..text.len().min(300)]);
                panic!("{context}: nobody wrote this: {text:?}")
            });
            delivered.lines.entry(line.writer).or_default().push(line.number);
        }
        delivered
    }

    /// How many lines came more than once.
    pub(crate) fn duplicates(&self) -> usize {
        let different =
            |numbers: &Vec<u64>| numbers.iter().collect::<BTreeSet<_>>().len();
        self.lines.values().map(|numbers| numbers.len() - different(numbers)).sum()
    }

    /// The numbers of the lines that did not come.
    pub(crate) fn missing(&self, writer: &Writer) -> Vec<u64> {
        let found: BTreeSet<_> =
            self.lines.get(&writer.name).into_iter().flatten().copied().collect();
        assert!(found.last().is_none_or(|last| *last < writer.next), "not written yet");
        (0..writer.next).filter(|number| !found.contains(number)).collect()
    }

    /// Fails when a line came for the first time after a later one had.
    pub(crate) fn assert_in_order(&self, context: &dyn fmt::Display) {
        for (writer, numbers) in &self.lines {
            let mut newest: Option<u64> = None;
            let mut seen = BTreeSet::new();
            for number in numbers {
                if seen.insert(*number) {
                    assert!(
                        newest.is_none_or(|newest| newest < *number),
                        "{context}: writer {writer}: {number} came after {newest:?}"
                    );
                    newest = Some(*number);
                }
            }
        }
    }

    /// Fails unless everything came, in order, and at most so many lines twice.
    pub(crate) fn assert_complete(
        &self,
        writers: &[&Writer],
        duplicates_max: usize,
        context: &dyn fmt::Display,
    ) {
        for writer in writers {
            let missing = self.missing(writer);
            assert!(
                missing.is_empty(),
                "{context}: writer {}: {} of {} lines are missing: {}",
                writer.name,
                missing.len(),
                writer.next,
                in_short(&missing)
            );
        }
        let duplicates = self.duplicates();
        assert!(duplicates <= duplicates_max, "{context}: {duplicates} came again");
        self.assert_in_order(context);
    }
}

/// Numbers, as runs of them.
pub(crate) fn in_short(numbers: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    format!("{:?}", &runs[..runs.len().min(10)])
}

/// The same numbers in each run.
pub(crate) struct Random(u64);

impl Random {
    /// A number below `limit`.
    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn a_line_that_was_changed_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(3, &folder.path().join("log"));
    let mut line = writer.line(10);
    line.pop();
    assert_eq!(Line::parse(&line), Some(Line { writer: 3, number: 0 }));
    assert_eq!(Line::parse(&line[..line.len() - 1]), None);
    line[3] ^= 1;
    assert_eq!(Line::parse(&line), None);
    writer.write_bytes(12_345);
    let written = std::fs::read(folder.path().join("log")).unwrap();
    assert_eq!(written.len(), 12_345);
}
