//! The writer and the rotator.

use super::Listing;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first line of each file, in some plays: longer than what identifies a
/// file.
pub(crate) const BANNER: &str = "======== this file begins as all of them do, which is why the \
    beginning alone cannot tell one from the other; it has to be longer than the head \
    that is hashed, so here is more of it: the quick brown fox jumps over the lazy dog, \
    and once more, because the fox is quick and the dog is lazy ========";

/// The number of a line, if it is one.
pub(crate) fn number_of(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix(" end")?;
    text.strip_prefix("line ")?.split(' ').next()?.parse().ok()
}

/// How rotated files are called.
#[derive(Clone, Copy, Debug)]
enum Naming {
    /// `app.log.1`
    Numbered,
    /// `app.1.log`
    Inside,
    /// `app.log-20260101`
    Dated,
    /// `old/app.log.1`
    Elsewhere,
}

pub(crate) struct World {
    live: PathBuf,
    directory: PathBuf,
    naming: Naming,
    has_banner: bool,
    /// What this play may do.
    may_cut: bool,
    may_delete: bool,
    writer: Option<File>,
    /// The rest of a line that was begun.
    torn: Option<Vec<u8>>,
    /// The writer still writes to a file that was renamed.
    is_behind: bool,
    /// A compressor at work: the rest of what it writes, and what it removes.
    compressing: Option<(PathBuf, Vec<u8>, PathBuf)>,
    rotations: u64,
    /// Lines written.
    pub(crate) lines: u64,
    /// The file that each line was written to.
    pub(crate) file_of: Vec<u32>,
    file: u32,
    /// What each rotated file and the live one are, where they are.
    files: BTreeMap<PathBuf, u32>,
    /// Files that were deleted.
    pub(crate) deleted: BTreeSet<u32>,
    /// Something was deleted or cut.
    pub(crate) was_lossy: bool,
    /// Something was cut.
    pub(crate) was_cut: bool,
    is_told: bool,
}

impl World {
    pub(crate) fn new(directory: &Path, random: &mut Random, is_told: bool) -> Self {
        fs::create_dir(directory.join("old")).unwrap();
        let may_cut = random.below(4) == 0;
        let namings =
            [Naming::Numbered, Naming::Inside, Naming::Dated, Naming::Elsewhere];
        Self {
            live: directory.join("app.log"),
            directory: directory.to_owned(),
            naming: namings[random.below(4) as usize],
            // A file that was cut and begins again with the same bytes up to the
            // place is as if it had not been cut.
            has_banner: !may_cut && random.below(3) == 0,
            may_cut,
            may_delete: random.below(4) == 0,
            writer: None,
            torn: None,
            is_behind: false,
            compressing: None,
            rotations: 0,
            lines: 0,
            file_of: vec![0],
            file: 0,
            files: BTreeMap::new(),
            deleted: BTreeSet::new(),
            was_lossy: false,
            was_cut: false,
            is_told,
        }
    }

    pub(crate) fn step(&mut self, random: &mut Random) {
        match random.below(20) {
            0..8 => self.write(1 + random.below(5), random),
            8..10 => self.write_torn(random),
            10..13 => self.rename(random),
            13..15 => self.reopen(),
            15..17 => self.compress(random),
            17 if self.may_cut => self.copy_and_cut(),
            18 if self.may_delete => self.delete_live(),
            19 if self.may_delete => self.delete_oldest(),
            _ => {}
        }
    }

    /// Ends whatever was begun, and writes lines by which the end is known.
    pub(crate) fn finish(&mut self, random: &mut Random) {
        self.end_compressing();
        self.reopen();
        self.write(1 + random.below(3), random);
    }

    pub(crate) fn list(&self) -> Listing {
        let mut all = Listing::new();
        for folder in [&self.directory, &self.directory.join("old")] {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                all.insert(path.display().to_string(), path.metadata().unwrap().len());
            }
        }
        all
    }

    pub(crate) fn write(&mut self, count: u64, random: &mut Random) {
        let mut bytes = self.rest_of_line();
        for _ in 0..count {
            bytes.extend(self.line(random));
        }
        self.tell(&format!("write {} lines, up to {}", count, self.lines));
        self.append(&bytes);
    }

    fn write_torn(&mut self, random: &mut Random) {
        let mut bytes = self.rest_of_line();
        bytes.extend(self.line(random));
        let cut = random.below(bytes.len() as u64) as usize;
        self.tell(&format!("write up to the middle of line {}", self.lines));
        self.append(&bytes[..cut]);
        self.torn = Some(bytes.split_off(cut));
    }

    /// The rest of a line that was begun. It may have been begun in a file that
    /// was cut since: then it belongs to the one where it ends.
    fn rest_of_line(&mut self) -> Vec<u8> {
        let Some(rest) = self.torn.take() else { return Vec::new() };
        self.file_of[self.lines as usize] = self.file;
        rest
    }

    fn line(&mut self, random: &mut Random) -> Vec<u8> {
        self.lines += 1;
        if self.writer.is_none() {
            self.open();
        }
        self.file_of.push(self.file);
        let padding = "x".repeat(random.below(120) as usize);
        format!("line {} {padding} end\n", self.lines).into_bytes()
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.writer.is_none() {
            self.open();
        }
        self.writer.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn open(&mut self) {
        if self.has_banner || self.may_cut {
            self.wait_for_another_time();
        }
        let file = OpenOptions::new().append(true).create(true).open(&self.live);
        let mut file = file.unwrap();
        if self.is_behind || self.writer.is_none() {
            self.file += 1;
            self.files.insert(self.live.clone(), self.file);
        }
        if self.has_banner && file.metadata().unwrap().len() == 0 {
            writeln!(file, "{BANNER}").unwrap();
        }
        self.writer = Some(file);
        self.is_behind = false;
    }

    /// Files that are alike are told apart by their time stamps, which are
    /// coarse: two that were written to in the same instant are not.
    fn wait_for_another_time(&self) {
        let clock = File::create(self.directory.join("old/clock")).unwrap();
        let time = || clock.metadata().unwrap().modified().unwrap();
        let before = time();
        while time() == before {
            std::thread::park_timeout(Duration::from_micros(500));
            (&clock).write_all(b".").unwrap();
        }
    }

    /// The writer is told to begin a new file. It finishes its line first.
    fn reopen(&mut self) {
        let rest = self.rest_of_line();
        if !rest.is_empty() {
            self.append(&rest);
        }
        self.tell("reopen");
        self.open();
    }

    /// Where the file that was rotated `age` times before is kept.
    fn rotated(&self, age: u64) -> PathBuf {
        let name = match self.naming {
            Naming::Numbered => format!("app.log.{age}"),
            Naming::Inside => format!("app.{age}.log"),
            Naming::Elsewhere => format!("old/app.log.{age}"),
            Naming::Dated => format!("app.log-2026{:04}", self.rotations + 1001 - age),
        };
        self.directory.join(name)
    }

    /// Renames in steps, oldest first, as logrotate does. Whoever looks in
    /// between sees two moments.
    fn rename(&mut self, random: &mut Random) {
        if self.is_behind || !self.live.exists() {
            return;
        }
        self.end_compressing();
        self.shift();
        let to = self.rotated(1);
        self.tell(&format!("rename to {}", to.display()));
        self.moved(&self.live.clone(), &to);
        fs::rename(&self.live, to).unwrap();
        self.is_behind = self.writer.is_some();
        match random.below(3) {
            0 => self.reopen(),
            1 => {
                self.tell("create");
                drop(File::create(&self.live).unwrap());
            }
            _ => {}
        }
    }

    fn shift(&mut self) {
        self.rotations += 1;
        if matches!(self.naming, Naming::Dated) {
            return;
        }
        for age in (1..=self.rotations).rev() {
            for suffix in ["", ".gz"] {
                let from = with_suffix(&self.rotated(age), suffix);
                if from.exists() {
                    let to = with_suffix(&self.rotated(age + 1), suffix);
                    self.moved(&from, &to);
                    fs::rename(from, to).unwrap();
                }
            }
        }
    }

    fn copy_and_cut(&mut self) {
        if self.is_behind || !self.live.exists() {
            return;
        }
        self.end_compressing();
        self.shift();
        self.tell("copy and cut");
        self.moved(&self.live.clone(), &self.rotated(1));
        self.file += 1;
        self.files.insert(self.live.clone(), self.file);
        self.wait_for_another_time();
        fs::copy(&self.live, self.rotated(1)).unwrap();
        self.wait_for_another_time();
        OpenOptions::new().write(true).open(&self.live).unwrap().set_len(0).unwrap();
        self.was_lossy = true;
        self.was_cut = true;
    }

    /// Begins to compress a rotated file, or ends what was begun.
    fn compress(&mut self, random: &mut Random) {
        if self.compressing.is_some() {
            return self.end_compressing();
        }
        let age = 1 + random.below(self.rotations.max(1));
        let plain = self.rotated(age);
        if !plain.exists() || (age == 1 && self.is_behind) {
            return;
        }
        let content = fs::read(&plain).unwrap();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&content).unwrap();
        let mut whole = encoder.finish().unwrap();
        let rest = whole.split_off(random.below(whole.len() as u64) as usize);
        let archive = with_suffix(&plain, ".gz");
        self.tell(&format!("compress {}, in part", plain.display()));
        fs::write(&archive, whole).unwrap();
        self.compressing = Some((archive, rest, plain));
        if random.below(2) == 0 {
            self.end_compressing();
        }
    }

    fn end_compressing(&mut self) {
        let Some((archive, rest, plain)) = self.compressing.take() else { return };
        self.tell(&format!("end of compressing {}", plain.display()));
        if !plain.exists() {
            // It was deleted meanwhile, and logrotate with it.
            fs::remove_file(archive).unwrap();
            return;
        }
        let mut file = OpenOptions::new().append(true).open(&archive).unwrap();
        file.write_all(&rest).unwrap();
        let modified = plain.metadata().unwrap().modified().unwrap();
        file.set_modified(modified).unwrap();
        self.moved(&plain, &archive);
        fs::remove_file(plain).unwrap();
    }

    fn moved(&mut self, from: &Path, to: &Path) {
        if let Some(file) = self.files.remove(from) {
            self.files.insert(to.to_owned(), file);
        }
    }

    fn delete_live(&mut self) {
        if self.live.exists() && !self.is_behind {
            self.tell("delete");
            self.deleted.extend(self.files.remove(&self.live));
            fs::remove_file(&self.live).unwrap();
            self.was_lossy = true;
            self.is_behind = self.writer.is_some();
        }
    }

    fn delete_oldest(&mut self) {
        self.end_compressing();
        for age in (1..=self.rotations + 1).rev() {
            for suffix in ["", ".gz"] {
                let path = with_suffix(&self.rotated(age), suffix);
                if path.exists() && !(self.is_behind && age == 1) {
                    self.tell(&format!("delete {}", path.display()));
                    self.deleted.extend(self.files.remove(&path));
                    fs::remove_file(path).unwrap();
                    self.was_lossy = true;
                    return;
                }
            }
        }
    }

    fn tell(&self, what: &str) {
        if self.is_told {
            println!("    {what}");
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Numbers that a seed gives.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % bound
    }
}
