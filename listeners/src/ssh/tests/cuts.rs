//! The connection is cut at many places, and the host dies in the middle: what
//! an fsync said yes to is there, and nothing but what was written.

use super::proxy::{Cut, Proxy};
use super::*;
use crate::ssh::testing::Access;
use std::fs;
use std::sync::atomic::Ordering;
use std::time::Instant;

const BYTES: usize = 96 * 1024;
const PIECE: usize = 4 * 1024;

/// Goes on where the remote file ends; how much is certain, and why it ended.
fn upload(
    ground: &Ground,
    settings: &Settings,
    name: &str,
    source: &[u8],
) -> (u64, Option<Failure>) {
    let mut certain = 0;
    let mut run = || {
        let mut sftp = try_open(settings)?;
        let mode = Open { create: Create::IfMissing, ..Open::WRITE };
        let ticket = sftp.open(ground.remote(name), mode);
        let file = wait(&mut sftp, &ticket)?;
        let ticket = sftp.fstat(file);
        let mut at = wait(&mut sftp, &ticket)?.size.unwrap() as usize;
        let held = read(&mut sftp, file, 0..at as u64)?;
        assert!(held == source[..at], "the host has other bytes");
        while at < source.len() {
            let piece = &source[at..source.len().min(at + PIECE)];
            at += sftp.push(file, at as u64, piece, soon())?;
            drop(sftp.sync(file));
            certain = sftp.synced(file);
        }
        let ticket = sftp.sync(file);
        let synced = wait(&mut sftp, &ticket);
        certain = sftp.synced(file);
        synced
    };
    let failure = run().err();
    (certain, failure)
}

/// What lies there is the start of the source, as far as was promised at least.
fn check(ground: &Ground, name: &str, source: &[u8], certain: u64) {
    let held = fs::read(ground.local(name)).unwrap_or_default();
    assert!(held.len() as u64 >= certain, "{} < {certain}", held.len());
    assert!(source.starts_with(&held), "{name}: other bytes than were written");
}

#[cfg(feature = "ssh2")]
#[test]
fn cuts_lose_nothing_that_was_promised_to_the_library() {
    cuts_lose_nothing(Way::Library);
}

#[test]
fn cuts_lose_nothing_that_was_promised_to_the_program() {
    cuts_lose_nothing(Way::Program);
}

fn cuts_lose_nothing(way: Way) {
    let ground = Ground::new(Access::Files);
    let source = pattern(BYTES);
    let whole = Proxy::start(ground.address(), Cut::Never);
    let through = |proxy: &Proxy| {
        let mut settings = ground.settings_at(proxy.address, way, "x").unwrap();
        settings.known_hosts = Some(known_at(&ground, proxy));
        settings
    };
    let (certain, failure) = upload(&ground, &through(&whole), "whole", &source);
    assert_eq!(certain, BYTES as u64, "{failure:?}");
    fs::remove_file(ground.local("whole")).unwrap();
    let there = whole.there.load(Ordering::Relaxed);
    let back = whole.back.load(Ordering::Relaxed);
    drop(whole);

    let places = |all: u64| {
        let mut places = vec![0, 1, 7, 30, 45, 200, 1000, 1700];
        places.extend((2_000..all).step_by((all / 23) as usize + 1));
        places
    };
    let cuts = places(there).into_iter().map(Cut::There);
    for (number, cut) in cuts.chain(places(back).into_iter().map(Cut::Back)).enumerate() {
        let name = format!("{way:?}-{number}");
        let proxy = Proxy::start(ground.address(), cut);
        let (certain, failure) = upload(&ground, &through(&proxy), &name, &source);
        // Only the last words may have been cut off.
        if let Some(failure) = &failure {
            assert!(
                matches!(failure.kind(), Kind::Broken | Kind::Unreachable),
                "{cut:?}: {failure}"
            );
        } else {
            assert_eq!(certain, BYTES as u64, "{cut:?}");
        }
        drop(proxy);
        check(&ground, &name, &source, certain);
        let settings = ground.settings(way, "x").unwrap();
        let (certain, failure) = upload(&ground, &settings, &name, &source);
        assert_eq!(certain_or_whole(certain, &failure), BYTES as u64, "{failure:?}");
        assert!(fs::read(ground.local(&name)).unwrap() == source, "{cut:?}");
        fs::remove_file(ground.local(&name)).unwrap();
    }
}

/// Where everything was there already, nothing was written, and nothing counted.
fn certain_or_whole(certain: u64, failure: &Option<Failure>) -> u64 {
    if failure.is_none() && certain == 0 { BYTES as u64 } else { certain }
}

/// The host is known at the proxy's address too.
fn known_at(ground: &Ground, proxy: &Proxy) -> std::path::PathBuf {
    let key = fs::read_to_string(ground.directory().join("host.pub")).unwrap();
    let path = ground.directory().join(format!("known-{}", proxy.address.port()));
    let name = format!("[{}]:{}", proxy.address.ip(), proxy.address.port());
    fs::write(&path, format!("{name} {key}")).unwrap();
    path
}

#[test]
fn a_host_that_dies_keeps_what_it_promised() {
    let ground = Ground::new(Access::Files);
    let source = pattern(32 << 20);
    for way in WAYS {
        for round in 0..4 {
            let name = format!("{way:?}-{round}");
            let mut sftp = ground.sftp(*way);
            let ticket = sftp.open(ground.remote(&name), Open::NEW);
            let file = wait(&mut sftp, &ticket).unwrap();
            let (mut at, mut certain, mut is_killed) = (0, 0, false);
            let failure = loop {
                let piece = &source[at..source.len().min(at + 300_000)];
                match sftp.push(file, at as u64, piece, soon()) {
                    Ok(taken) => at += taken,
                    Err(failure) => break failure,
                }
                drop(sftp.sync(file));
                certain = certain.max(sftp.synced(file));
                if !is_killed && certain > 2_000_000 * round {
                    ground.kill();
                    is_killed = true;
                }
                assert!(at < source.len(), "nothing ended");
            };
            assert_eq!(failure.kind(), Kind::Broken, "{failure}");
            check(&ground, &name, &source, certain);
            fs::remove_file(ground.local(&name)).unwrap();
            // It stays so, and nothing hangs.
            sftp.turn(later()).unwrap_err();
            let ticket = sftp.stat("x");
            wait(&mut sftp, &ticket).unwrap_err();
        }
    }
}

#[test]
fn a_stalled_connection_is_given_up_in_time() {
    let ground = Ground::new(Access::Files);
    for way in WAYS {
        let proxy = Proxy::start(ground.address(), Cut::Stall(12_000));
        let mut settings = ground.settings_at(proxy.address, *way, "x").unwrap();
        settings.known_hosts = Some(known_at(&ground, &proxy));
        settings.answer_timeout = Duration::from_millis(700);
        let mut sftp = open(&settings);
        let ticket = sftp.open(ground.remote(&format!("{way:?}")), Open::NEW);
        let file = wait(&mut sftp, &ticket).unwrap();
        let source = pattern(64 << 20);
        let mut at = 0;
        let mut moved = Instant::now();
        let failure = loop {
            let begun = Instant::now();
            match sftp.push(file, at as u64, &source[at..], soon()) {
                Ok(0) => {}
                Ok(taken) => {
                    at += taken;
                    moved = Instant::now();
                }
                Err(failure) => break failure,
            }
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        };
        assert_eq!(failure.kind(), Kind::Stalled, "{failure}");
        assert!(moved.elapsed() < Duration::from_secs(10), "{:?}", moved.elapsed());
        let certain = sftp.acknowledged(file);
        drop(sftp);
        check(&ground, &format!("{way:?}"), &source, certain);
    }
}
