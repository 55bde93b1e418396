//! Both sides are killed again and again while logs are written: nothing is lost,
//! nothing is there twice.
//!
//! `TRIPLINE_RELAY_SECONDS` and `TRIPLINE_RELAY_MIB` make it longer.

use super::pair::Pair;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const LOGS: [&str; 3] = ["a.log", "b.log", "c.log"];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn killed_again_and_again_everything_arrives_once() {
    let seconds = number("TRIPLINE_RELAY_SECONDS", 8);
    let bytes = number("TRIPLINE_RELAY_MIB", 64) << 20;
    let seed = number("TRIPLINE_RELAY_SEED", u64::from(std::process::id()));
    let pair = Pair::with("compress: None", "");
    LOGS.iter().for_each(|log| pair.append(log, b""));
    let (done, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    let [senders, receivers] = std::thread::scope(|scope| {
        let writer = std::thread::Builder::new().name("writer".into());
        let write = || write_at_pace(&pair, &done, &written, bytes, seconds);
        writer.spawn_scoped(scope, write).unwrap();
        let killed = kill_both(&pair, seed, Duration::from_secs(seconds));
        done.store(true, SeqCst);
        killed
    });
    let (receiver, sender) = (pair.receiver(), pair.sender());
    pair.wait_until_received(&LOGS);
    pair.wait_until_settled();
    sender.stop();
    receiver.stop();
    let total: u64 = LOGS.iter().map(|log| pair.log(log).metadata().unwrap().len()).sum();
    for log in LOGS {
        let (sent, found) = (pair.log(log), pair.received(log));
        let sums = [&sent, &found].map(|path| sum(path));
        assert!(
            sums[0] == sums[1],
            "seed {seed}: {log}: {:?} instead of {:?} bytes, kept in {}",
            found.metadata().map(|it| it.len()),
            sent.metadata().map(|it| it.len()),
            pair.dir.path().display()
        );
    }
    assert!(!pair.path("receiver/in/web1/logs/gaps.jsonl").exists());
    eprintln!(
        "{senders} senders and {receivers} receivers killed in {:?}, {} MiB in {} logs, seed \
         {seed}: all there once",
        began.elapsed(),
        total >> 20,
        LOGS.len()
    );
}

/// Kills one or both, at random, and starts them again at once.
fn kill_both(pair: &Pair, seed: u64, how_long: Duration) -> [u32; 2] {
    let until = Instant::now() + how_long;
    let mut random = Random(seed | 1);
    let mut killed = [0, 0];
    let (mut sender, mut receiver) = (pair.sender(), pair.receiver());
    while Instant::now() < until {
        // Two seconds at the most, and often a moment.
        let pause = Duration::from_millis(random.next() % 2000 / (1 + random.next() % 8));
        std::thread::park_timeout(pause);
        if !random.next().is_multiple_of(3) {
            sender.kill();
            killed[0] += 1;
            sender = pair.sender();
        }
        if !random.next().is_multiple_of(3) {
            receiver.kill();
            killed[1] += 1;
            receiver = pair.receiver();
        }
    }
    sender.kill();
    receiver.kill();
    killed
}

/// Lines of all lengths, in bursts.
fn write_at_pace(
    pair: &Pair,
    done: &AtomicBool,
    written: &AtomicU64,
    bytes: u64,
    seconds: u64,
) {
    let mut files =
        LOGS.map(|log| File::options().append(true).open(pair.log(log)).unwrap());
    let began = Instant::now();
    let mut random = Random(7);
    let mut count = 0_u64;
    while !done.load(SeqCst) {
        let due = bytes as f64 * began.elapsed().as_secs_f64() / seconds as f64;
        if written.load(SeqCst) as f64 > due {
            std::thread::park_timeout(Duration::from_millis(5));
            continue;
        }
        let mut block = Vec::with_capacity(1 << 20);
        while block.len() < 1 << 20 {
            count += 1;
            let filler = random.next() % 200;
            write!(block, "{count:012} ").unwrap();
            block.resize(block.len() + filler as usize, b'a' + (count % 26) as u8);
            block.push(b'\n');
        }
        let file = &mut files[(random.next() % 3) as usize];
        file.write_all(&block).unwrap();
        written.fetch_add(block.len() as u64, SeqCst);
    }
}

/// xorshift64*: it need not be good.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }
}

fn sum(path: &Path) -> Vec<u8> {
    let Ok(mut file) = File::open(path) else { return Vec::new() };
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block).unwrap() {
            0 => break,
            count => hash.update(&block[..count]),
        }
    }
    hash.finalize().to_vec()
}
