//! How fast it is, beside what everybody has.
//!
//! A few MiB unless told otherwise: `TRIPLINE_SSH_MIB=1024 cargo test --release
//! -p tripline-listeners ssh::tests::speed -- --nocapture`.

use super::*;
use crate::ssh::testing::Access;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Instant;

#[test]
fn beside_scp_and_others() {
    let mib = std::env::var("TRIPLINE_SSH_MIB").ok();
    let mib: usize = mib.map_or(8, |text| text.parse().unwrap());
    let ground = Ground::new(Access::Commands);
    let block = pattern(1 << 20);
    let source = ground.directory().join("source");
    fs::write(&source, block.repeat(mib)).unwrap();
    let mut rows: Vec<(String, Vec<Duration>)> = Vec::new();
    let mut add = |name: &str, time: Duration| {
        match rows.iter_mut().find(|(it, _)| it == name) {
            Some((_, times)) => times.push(time),
            None => rows.push((name.to_owned(), vec![time])),
        }
        assert_eq!(fs::metadata(ground.local("to")).unwrap().len(), (mib << 20) as u64);
        fs::remove_file(ground.local("to")).unwrap();
    };
    for _ in 0..if mib > 100 { 3 } else { 1 } {
        for way in WAYS {
            let begun = Instant::now();
            ours(&ground, *way, &block, mib);
            add(&format!("ours, {way:?}"), begun.elapsed());
        }
        for other in ["scp", "cat", "rsync"] {
            let begun = Instant::now();
            if others(&ground, other, &source) {
                add(other, begun.elapsed());
            }
        }
    }
    for (name, times) in &rows {
        println!("{mib} MiB, {name}: {times:.2?}");
    }
    for way in WAYS {
        latency(&ground, *way);
    }
}

fn ours(ground: &Ground, way: Way, block: &[u8], mib: usize) {
    let mut sftp = ground.sftp(way);
    let ticket = sftp.open(ground.remote("to"), Open::NEW);
    let file = wait(&mut sftp, &ticket).unwrap();
    for number in 0..mib as u64 {
        let at = number * block.len() as u64;
        assert_eq!(sftp.push(file, at, block, later()).unwrap(), block.len());
    }
    let ticket = sftp.close(file);
    wait(&mut sftp, &ticket).unwrap();
}

/// The same with another program; whether it is there.
fn others(ground: &Ground, program: &str, source: &std::path::Path) -> bool {
    let at = |name: &str| ground.directory().join(name).display().to_string();
    let (port, to) = (ground.address().port().to_string(), ground.remote("to"));
    let known = format!("UserKnownHostsFile={}", at("known_hosts"));
    let options = ["-F", "none", "-o", "BatchMode=yes", "-o", &known, "-i", &at("user")];
    let mut command = match program {
        "scp" => {
            let mut command = Command::new("scp");
            command.args(["-q", "-P", &port]).args(options).arg(source);
            command.arg(format!("127.0.0.1:{to}"));
            command
        }
        "cat" => {
            let mut command = Command::new("ssh");
            command.args(["-p", &port]).args(options).arg("127.0.0.1");
            command.arg(format!("cat > {to}")).stdin(File::open(source).unwrap());
            command
        }
        _ => {
            let mut command = Command::new("rsync");
            let shell = format!("ssh -p {port} {}", options.join(" "));
            command.args(["-W", "-e", &shell]).arg(source);
            command.arg(format!("127.0.0.1:{to}"));
            command
        }
    };
    match command.stdout(Stdio::null()).status() {
        Ok(status) => {
            assert!(status.success(), "{program}");
            true
        }
        Err(error) => {
            println!("not compared with {program}: {error}");
            false
        }
    }
}

/// A small write, until it is on the disk.
fn latency(ground: &Ground, way: Way) {
    let mut sftp = ground.sftp(way);
    let ticket = sftp.open(ground.remote("small"), Open::NEW);
    let file = wait(&mut sftp, &ticket).unwrap();
    let mut times = Vec::new();
    for number in 0..200_u64 {
        let begun = Instant::now();
        put(&mut sftp, file, number * 300, &[b'x'; 300]).unwrap();
        times.push(begun.elapsed());
    }
    times.sort();
    println!(
        "300 bytes and an fsync, {way:?}: median {:.2?}, 99 of 100 {:.2?}",
        times[100], times[198]
    );
    drop(sftp);
    fs::remove_file(ground.local("small")).unwrap();
}
