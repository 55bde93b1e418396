//! A server that writes and rotates in every way there is, in steps as small as
//! the file system has, and a reader that looks between any two of them.
//!
//! The model is the list of bytes the server wrote under each number; the claim
//! is that the reader hands out exactly those, in order, once, in whole records,
//! and announces no gap. Every play is a seed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tripline_api::{Again, Args, BuildContext, Cursor, Reader, Settled, Source, Step};

#[test]
fn every_play_hands_out_what_was_written() {
    let plays = std::env::var("TRIPLINE_PLAYS").ok().and_then(|n| n.parse().ok());
    for seed in 1..=plays.unwrap_or(300) {
        Play::new(seed).run();
    }
}

struct Play {
    seed: u64,
    random: Random,
    directory: tempfile::TempDir,
    server: Server,
    source: std::sync::Arc<dyn Source>,
    reader: Box<dyn Reader>,
    cursor: Option<Cursor>,
    seen: BTreeMap<u64, Vec<u8>>,
    rotations_seen: u64,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("checkpoints")).unwrap();
        let first = random.below(3);
        let server = Server::new(directory.path(), first);
        let context = BuildContext {
            name: "p4",
            directory: directory.path(),
            state: directory.path(),
        };
        let args = r#"(path: "journal", rotated: ["checkpoints"])"#;
        let source =
            tripline_follow::ALL[0].build(&Args::new(args), &context).expect("builds");
        let reader = source.open(&Settled::new());
        Self {
            seed,
            random,
            directory,
            server,
            source,
            reader,
            cursor: None,
            seen: BTreeMap::new(),
            rotations_seen: 0,
        }
    }

    fn run(mut self) {
        let steps = 40 + self.random.below(160);
        for _ in 0..steps {
            self.server.step(&mut self.random);
            match self.random.below(10) {
                0..4 => self.read(1),
                4..6 => self.read(3),
                6 => self.restart(),
                _ => {}
            }
        }
        self.server.finish(&mut self.random);
        self.restart();
        self.read(usize::MAX);
        let written = &self.server.written;
        for (number, bytes) in written {
            let seen = self.seen.get(number).map_or(&[][..], Vec::as_slice);
            assert!(
                seen == bytes.as_slice(),
                "seed {}: journal {number}: {} bytes written, {} seen; files {:?}",
                self.seed,
                bytes.len(),
                seen.len(),
                list(self.directory.path())
            );
        }
        assert_eq!(self.seen.len(), written.values().filter(|b| !b.is_empty()).count());
        assert_eq!(self.rotations_seen, self.seen.len() as u64 - 1, "seed {}", self.seed);
    }

    /// At most so many batches, and not beyond the end there is now.
    fn read(&mut self, batches: usize) {
        let mut read = 0;
        let deadline = Instant::now() + Duration::from_secs(20);
        while read < batches {
            match self.reader.next().unwrap_or_else(|e| panic!("seed {}: {e}", self.seed))
            {
                Step::Batch(batch) => {
                    let bytes = self.seen.entry(batch.start.sequence).or_default();
                    assert_eq!(
                        bytes.len() as u64,
                        batch.start.offset,
                        "seed {}",
                        self.seed
                    );
                    let lines = bytes.iter().filter(|b| **b == b'\n').count() as u64;
                    assert_eq!(lines, batch.start.line, "seed {}", self.seed);
                    for entry in batch.entries() {
                        assert!(!entry.incomplete, "seed {}", self.seed);
                        assert!(entry.record().is_some(), "seed {}", self.seed);
                        self.rotations_seen += u64::from(entry.did_rotate);
                    }
                    bytes.extend_from_slice(batch.bytes);
                    self.cursor = Some(batch.end.clone());
                    read += 1;
                }
                // Opened with this, a walk begins at the same place.
                Step::Begins(log, cursor) => {
                    assert_eq!((log, &self.cursor), (None, &None), "seed {}", self.seed);
                    self.cursor = Some(cursor);
                }
                Step::Notice(text) => panic!("seed {}: {text}", self.seed),
                Step::Gone(log) => panic!("seed {}: {}", self.seed, log.display()),
                Step::Gap(gap) => panic!("seed {}: {gap:?}", self.seed),
                Step::Idle(idle) if idle.again == Again::Later => return,
                Step::Idle(_) if batches != usize::MAX => return,
                Step::Idle(_) => {
                    assert!(Instant::now() < deadline, "seed {}: no rest", self.seed);
                    std::thread::yield_now();
                }
            }
        }
    }

    fn restart(&mut self) {
        let settled = self.cursor.iter().map(|cursor| (None, cursor.clone())).collect();
        self.reader = self.source.open(&settled);
    }
}

/// Writes journals as a Perforce server does, one small step at a time.
struct Server {
    live: PathBuf,
    checkpoints: PathBuf,
    number: u64,
    written: BTreeMap<u64, Vec<u8>>,
    /// What is decided on and not written yet.
    unwritten: Vec<u8>,
    /// The steps of a rotation that are still to be done.
    plan: Vec<Action>,
    to_compress: Vec<PathBuf>,
    time: u64,
}

#[derive(Clone, Debug)]
enum Action {
    Write(Vec<u8>),
    Rename(PathBuf),
    Create,
    CopyPart { to: PathBuf, half: bool },
    Truncate,
    NextNumber,
}

impl Server {
    fn new(directory: &Path, first: u64) -> Self {
        let mut server = Self {
            live: directory.join("journal"),
            checkpoints: directory.join("checkpoints"),
            number: first,
            written: BTreeMap::new(),
            unwritten: Vec::new(),
            plan: Vec::new(),
            to_compress: Vec::new(),
            time: 1_700_000_000,
        };
        File::create(&server.live).unwrap();
        // The first journal of a server has no header and no number.
        let first_bytes = if first == 0 {
            b"@pv@ 1 @db.counters@ @upgrade@ @1@ \n@ex@ 7 1700000000\n".to_vec()
        } else {
            server.header()
        };
        server.unwritten = first_bytes;
        server
    }

    fn header(&mut self) -> Vec<u8> {
        self.time += 1;
        format!(
            "@nx@ 2 {0} @58@ 1 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
             @vv@ 1 @db.counters@ @journal@ @{1}@ \n@ex@ 10 {0}\n",
            self.time, self.number
        )
        .into_bytes()
    }

    fn trailer(&self) -> Vec<u8> {
        format!(
            "@rv@ 1 @db.counters@ @journal@ @{}@ \n\
             @nx@ 3 {1} @58@ 0 0 0 0 0 @@ @@ @@ @@ @@ \n@ex@ 10 {1}\n",
            self.number + 1,
            self.time
        )
        .into_bytes()
    }

    fn step(&mut self, random: &mut Random) {
        if !self.unwritten.is_empty() {
            let n = 1 + random.below(self.unwritten.len() as u64) as usize;
            let piece: Vec<u8> = self.unwritten.drain(..n).collect();
            return self.write(&piece);
        }
        if !self.plan.is_empty() {
            let action = self.plan.remove(0);
            return self.act(action);
        }
        match random.below(12) {
            0 => self.plan_rename(random),
            1 => self.plan_copy(),
            2 => self.compress(random),
            _ => self.unwritten = self.transaction(random),
        }
    }

    fn finish(&mut self, random: &mut Random) {
        while !self.unwritten.is_empty() || !self.plan.is_empty() {
            self.step(random);
        }
    }

    fn transaction(&mut self, random: &mut Random) -> Vec<u8> {
        self.time += random.below(3);
        let mut bytes = Vec::new();
        for _ in 0..=random.below(6) {
            let text = match random.below(4) {
                0 => "two\nlines @@ and a mail to bob@@example.net\n",
                1 => "@@pv@@ 7 @@db.change@@\n@@ex@@ 1 2\n",
                2 => "",
                _ => "plain",
            };
            let key = random.below(1000);
            bytes.extend(format!("@pv@ 0 @db.desc@ {key} @{text}@ \n").as_bytes());
        }
        bytes.extend(format!("@ex@ {} {}\n", random.below(9999), self.time).as_bytes());
        bytes
    }

    fn plan_rename(&mut self, random: &mut Random) {
        let name = format!("journal.{}", self.number);
        let to = if random.below(2) == 0 {
            self.checkpoints.join(name)
        } else {
            self.live.with_file_name(name)
        };
        self.to_compress.push(to.clone());
        self.plan = vec![
            Action::Write(self.trailer()),
            Action::Rename(to),
            Action::Create,
            Action::NextNumber,
        ];
    }

    fn plan_copy(&mut self) {
        let to = self.checkpoints.join(format!("p4_1.jnl.{}", self.number));
        self.to_compress.push(to.clone());
        self.plan = vec![
            Action::Write(self.trailer()),
            Action::CopyPart { to: to.clone(), half: true },
            Action::CopyPart { to, half: false },
            Action::Truncate,
            Action::NextNumber,
        ];
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Write(bytes) => self.unwritten = bytes,
            Action::Rename(to) => fs::rename(&self.live, to).unwrap(),
            Action::Create => _ = File::create(&self.live).unwrap(),
            Action::CopyPart { to, half } => {
                let bytes = fs::read(&self.live).unwrap();
                let length = if half { bytes.len() / 2 } else { bytes.len() };
                fs::write(to, &bytes[..length]).unwrap();
            }
            Action::Truncate => {
                OpenOptions::new().write(true).truncate(true).open(&self.live).unwrap();
            }
            Action::NextNumber => {
                self.number += 1;
                self.unwritten = self.header();
            }
        }
    }

    /// Compresses a rotated journal, removes the plain one a step later.
    fn compress(&mut self, random: &mut Random) {
        let Some(path) = self.to_compress.first().cloned() else { return };
        if !path.exists() {
            return;
        }
        let mut name = path.clone().into_os_string();
        name.push(".gz");
        let packed = PathBuf::from(name);
        let bytes = fs::read(&path).unwrap();
        let cut = random.below(bytes.len() as u64 + 1) as usize;
        let mut gzip = Vec::new();
        // Two members, as a compressor that was asked to append makes them.
        for part in [&bytes[..cut], &bytes[cut..]] {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(part).unwrap();
            gzip.extend(encoder.finish().unwrap());
        }
        let state = fs::metadata(&packed).map_or(0, |m| m.len() as usize);
        if state == 0 {
            fs::write(&packed, &gzip[..gzip.len() / 2]).unwrap();
        } else {
            fs::write(&packed, &gzip).unwrap();
            fs::remove_file(&path).unwrap();
            self.to_compress.remove(0);
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut file = OpenOptions::new().append(true).open(&self.live).unwrap();
        file.write_all(bytes).unwrap();
        self.written.entry(self.number).or_default().extend_from_slice(bytes);
    }
}

/// xorshift64*: a play must be the same for ever.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

fn list(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for folder in [directory.to_path_buf(), directory.join("checkpoints")] {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let size = entry.metadata().unwrap().len();
            names.push(format!("{} ({size})", entry.file_name().to_string_lossy()));
        }
    }
    names
}
