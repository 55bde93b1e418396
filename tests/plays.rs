//! A real server's journals, played live: written in odd-sized pieces, rotated
//! in every way at random moments, while the program follows. Each play is a
//! seed; `TRIPLINE_PLAYS` says how many to run.

use crate::site::{Daemon, Journal, Site, corpus_journals, wait_until};
use crate::standby::Standby;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[test]
fn what_is_played_is_mirrored_and_printed() {
    let Some(journals) = corpus_journals() else { return };
    for seed in 1..=plays(20) {
        Play::new(seed, &journals).run(Kills::Never);
    }
}

#[test]
fn also_when_killed_at_any_moment() {
    let Some(journals) = corpus_journals() else { return };
    for seed in 1001..=1000 + plays(10) {
        Play::new(seed, &journals).run(Kills::Often);
    }
}

#[test]
fn what_is_played_is_on_the_standby() {
    let Some(journals) = corpus_journals() else { return };
    for seed in 2001..=2000 + plays(6) {
        let standby = Standby::new(&[]);
        Play::on(seed, &journals, standby).run(Kills::Never);
    }
}

#[test]
fn also_when_either_side_is_killed_at_any_moment() {
    let Some(journals) = corpus_journals() else { return };
    for seed in 3001..=3000 + plays(6) {
        let way = ["way: Library", "way: Program"][seed as usize % 2];
        let standby = Standby::new(&[way, "answer_timeout: \"5s\""]);
        Play::on(seed, &journals, standby).run(Kills::Often);
    }
}

pub(crate) fn plays(default: u64) -> u64 {
    let wanted = std::env::var("TRIPLINE_PLAYS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[derive(Clone, Copy, PartialEq)]
enum Kills {
    Never,
    Often,
}

struct Play<'a> {
    seed: u64,
    random: Random,
    site: Site,
    journals: &'a [Journal],
    daemon: Option<Daemon>,
    written: u64,
    to_compress: Vec<PathBuf>,
    standby: Option<Standby>,
}

impl<'a> Play<'a> {
    fn new(seed: u64, journals: &'a [Journal]) -> Self {
        Self {
            seed,
            random: Random::new(seed),
            site: Site::new(),
            journals,
            daemon: None,
            written: 0,
            to_compress: Vec::new(),
            standby: None,
        }
    }

    /// Plays for a backup on another host.
    fn on(seed: u64, journals: &'a [Journal], standby: Standby) -> Self {
        let mut play = Self::new(seed, journals);
        standby.configure(&play.site);
        play.standby = Some(standby);
        play
    }

    fn run(mut self, kills: Kills) {
        fs::write(self.site.live(), b"").unwrap();
        self.daemon = Some(self.site.start_daemon());
        let (last, rotated) = self.journals.split_last().unwrap();
        for journal in rotated {
            self.write(&journal.bytes, kills);
            self.rotate(journal.number);
        }
        self.write(&last.bytes, kills);
        if let Some(daemon) = self.daemon.take() {
            match kills {
                Kills::Never => daemon.stop(),
                Kills::Often => daemon.kill(),
            }
        }
        self.site.catch_up();
        self.site.assert_delivered(self.journals, &format!("seed {}", self.seed));
    }

    fn write(&mut self, bytes: &[u8], kills: Kills) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = 1 << (4 + self.random.below(15));
            let length = (1 + self.random.below(most)).min(rest.len() as u64) as usize;
            let mut live =
                OpenOptions::new().append(true).open(self.site.live()).unwrap();
            live.write_all(&rest[..length]).unwrap();
            rest = &rest[length..];
            self.written += length as u64;
            self.meanwhile(kills);
        }
    }

    /// What happens between two writes.
    fn meanwhile(&mut self, kills: Kills) {
        match self.random.below(24) {
            0 => self.compress(),
            1 => {
                // Let the daemon come close: only then a rotation meets it at
                // the live end. Half a record may be what is missing.
                let near = self.written.saturating_sub(self.random.below(2000));
                let site = &self.site;
                wait_until(Duration::from_millis(300), || site.mirrored_bytes() >= near);
            }
            2 if kills == Kills::Often => {
                if let Some(daemon) = self.daemon.take() {
                    daemon.kill();
                }
                self.daemon = Some(self.site.start_daemon());
            }
            3 if kills == Kills::Often => {
                if let Some(standby) = &self.standby {
                    standby.host.kill();
                }
            }
            _ => {}
        }
    }

    fn rotate(&mut self, number: u64) {
        let live = self.site.live();
        let to = match self.random.below(3) {
            0 => live.with_file_name(format!("journal.{number}")),
            1 => self.site.rotated(number),
            _ => self.site.rotated(number).with_file_name(format!("p4_1.jnl.{number}")),
        };
        if self.random.below(2) == 0 {
            fs::rename(&live, &to).unwrap();
            fs::File::create(&live).unwrap();
        } else {
            fs::copy(&live, &to).unwrap();
            OpenOptions::new().write(true).truncate(true).open(&live).unwrap();
        }
        if self.random.below(2) == 0 {
            self.to_compress.push(to);
        }
    }

    fn compress(&mut self) {
        let Some(path) = self.to_compress.pop() else { return };
        gzip(&path);
    }
}

/// What the command `gzip` does: the final name grows, then the plain file goes.
fn gzip(path: &Path) {
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    let file = fs::File::create(PathBuf::from(packed)).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    for chunk in fs::read(path).unwrap().chunks(100_000) {
        encoder.write_all(chunk).unwrap();
    }
    encoder.finish().unwrap();
    fs::remove_file(path).unwrap();
}

/// xorshift64*: a play must be the same for ever.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}
