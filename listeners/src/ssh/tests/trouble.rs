//! The host has trouble of its own.

use super::*;
use crate::ssh::testing::{Access, Plan};
use std::fs;
use std::process::Command;
use std::time::Instant;

#[test]
fn a_full_disk_is_said_and_nothing_counts_that_is_not_there() {
    let plan = Plan { file_bytes_max: Some(1 << 20), ..Plan::new(Access::Files) };
    let ground = Ground::with(&plan);
    let source = pattern(3 << 20);
    for way in WAYS {
        let mut sftp = ground.sftp(*way);
        let name = format!("{way:?}");
        let ticket = sftp.open(ground.remote(&name), Open::NEW);
        let file = wait(&mut sftp, &ticket).unwrap();
        put(&mut sftp, file, 0, &source[..500_000]).unwrap();
        let failure = match sftp.push(file, 500_000, &source[500_000..], later()) {
            Ok(_) => {
                let ticket = sftp.sync(file);
                wait(&mut sftp, &ticket).unwrap_err()
            }
            Err(failure) => failure,
        };
        assert!(matches!(failure.kind(), Kind::Refused(_)), "{failure}");
        assert!(failure.to_string().contains("disk is full"), "{failure}");
        let (acknowledged, synced) = (sftp.acknowledged(file), sftp.synced(file));
        assert_eq!(synced, 500_000);
        assert!(acknowledged <= 1 << 20);
        let held = fs::read(ground.local(&name)).unwrap();
        assert!(held.len() as u64 >= acknowledged && source.starts_with(&held));
        // The connection goes on.
        let ticket = sftp.close(file);
        wait(&mut sftp, &ticket).unwrap();
        let ticket = sftp.stat(ground.remote(&name));
        let size = wait(&mut sftp, &ticket).unwrap().size;
        assert_eq!(size, Some(held.len() as u64));
    }
}

/// A file system of its own that is really full; only root can make one.
#[test]
fn a_full_file_system_is_said() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested with a file system of its own: that needs root");
        return;
    }
    let ground = Ground::new(Access::Files);
    let place = ground.local("small");
    fs::create_dir(&place).unwrap();
    let run = |program: &str, words: &[&str]| {
        let done = Command::new(program).args(words).arg(&place).output().unwrap();
        assert!(done.status.success(), "{program}: {done:?}");
    };
    run("mount", &["-t", "tmpfs", "-o", "size=1m", "tripline-test"]);
    let source = pattern(3 << 20);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for way in WAYS {
            let mut sftp = ground.sftp(*way);
            let ticket = sftp.open(ground.remote("small/journal"), Open::NEW);
            let file = wait(&mut sftp, &ticket).unwrap();
            put(&mut sftp, file, 0, &source[..300_000]).unwrap();
            let failure = match sftp.push(file, 300_000, &source[300_000..], later()) {
                Ok(_) => {
                    let ticket = sftp.sync(file);
                    wait(&mut sftp, &ticket).unwrap_err()
                }
                Err(failure) => failure,
            };
            assert!(failure.to_string().contains("disk is full"), "{failure}");
            assert_eq!(sftp.synced(file), 300_000);
            let held = fs::read(place.join("journal")).unwrap();
            assert!(held.len() <= 1 << 20 && source.starts_with(&held));
            let ticket = sftp.space(ground.remote("small"));
            assert!(wait(&mut sftp, &ticket).unwrap().free < 128 * 1024);
            // It goes on where it was certain, once there is room.
            let ticket = sftp.open(ground.remote("small/journal"), Open::WRITE);
            let file = wait(&mut sftp, &ticket).unwrap();
            let ticket = sftp.resize(file, 300_000);
            wait(&mut sftp, &ticket).unwrap();
            put(&mut sftp, file, 300_000, &source[300_000..400_000]).unwrap();
            let held = fs::read(place.join("journal")).unwrap();
            assert!(held == source[..400_000]);
            let ticket = sftp.remove(ground.remote("small/journal"));
            wait(&mut sftp, &ticket).unwrap();
        }
    }));
    ground.kill();
    run("umount", &["-l"]);
    outcome.unwrap();
}

#[test]
fn a_host_without_sftp_is_said() {
    let plan = Plan {
        config: "Subsystem nothing /bin/false\n".into(),
        ..Plan::new(Access::Commands)
    };
    let ground = Ground::with(&plan);
    let config = ground.directory().join("sshd_config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("Subsystem sftp internal-sftp\n", "")).unwrap();
    for way in WAYS {
        let failure = fails(&ground.settings(*way, "x").unwrap());
        assert_eq!(failure.kind(), Kind::Lacks, "{failure}");
        assert!(failure.to_string().contains("internal-sftp"), "{failure}");
    }
}

/// The account's shell prints something, as start files do.
#[test]
fn a_talkative_account_is_said() {
    let plan = Plan {
        config: "ForceCommand echo Welcome to this fine host\n".into(),
        ..Plan::new(Access::Commands)
    };
    let ground = Ground::with(&plan);
    for way in WAYS {
        let failure = fails(&ground.settings(*way, "x").unwrap());
        assert_eq!(failure.kind(), Kind::Garbled, "{failure}");
        assert!(failure.to_string().contains("start files"), "{failure}");
    }
}

/// The process that serves the files is killed, and the rest of sshd lives.
#[test]
fn a_killed_server_process_ends_it() {
    let plan = Plan {
        config: "ForceCommand /usr/lib/openssh/sftp-server\n".into(),
        ..Plan::new(Access::Commands)
    };
    crate::ssh::testing::find("sftp-server", "openssh-sftp-server").unwrap();
    let ground = Ground::with(&plan);
    for way in WAYS {
        let mut sftp = ground.sftp(*way);
        let ticket = sftp.open(ground.remote(&format!("{way:?}")), Open::NEW);
        let file = wait(&mut sftp, &ticket).unwrap();
        put(&mut sftp, file, 0, b"safe").unwrap();
        let session = *ground.processes().last().unwrap();
        let server = last_descendant(session);
        assert_ne!(server, session, "{}", ground.log());
        let killed = Command::new("kill").args(["-9", &server.to_string()]).status();
        assert!(killed.unwrap().success());
        let mut source = pattern(1 << 20);
        source[..4].copy_from_slice(b"safe");
        let failure = loop {
            if let Err(failure) = sftp.push(file, 4, &source[4..], soon()) {
                break failure;
            }
        };
        assert_eq!(failure.kind(), Kind::Broken, "{failure}");
        let held = fs::read(ground.local(&format!("{way:?}"))).unwrap();
        assert_eq!(held, b"safe");
    }
}

/// The process at the end of the line of descent.
fn last_descendant(of: u32) -> u32 {
    let children = |of: u32| {
        let path = format!("/proc/{of}/task/{of}/children");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().last().and_then(|pid| pid.parse().ok())
    };
    let mut last = of;
    while let Some(child) = children(last) {
        last = child;
    }
    last
}

/// An idle connection is tried, and one that died is noticed.
#[test]
fn an_idle_connection_is_kept_alive() {
    let ground = Ground::new(Access::Files);
    for way in WAYS {
        let mut settings = ground.settings(*way, "x").unwrap();
        settings.keepalive = Duration::ZERO;
        let mut sftp = open(&settings);
        for _ in 0..100 {
            sftp.turn(soon()).unwrap();
        }
        ground.kill();
        let failure = loop {
            if let Err(failure) = sftp.turn(soon()) {
                break failure;
            }
        };
        assert_eq!(failure.kind(), Kind::Broken, "{failure}");
    }
}

#[test]
fn who_looks_late_is_let_in_all_the_same() {
    let ground = Ground::new(Access::Files);
    let timeout = Duration::from_secs(2);
    let begin = |way: &Way| {
        let mut settings = ground.settings(*way, "x").unwrap();
        settings.connect_timeout = timeout;
        Sftp::begin(&mut *settings.transport().unwrap(), &settings).unwrap()
    };
    let begun: Vec<_> = WAYS.iter().map(begin).collect();
    // An outage: for longer than all of it may take nobody looks what came of it.
    let late = Instant::now() + timeout * 2 + Duration::from_millis(200);
    while Instant::now() < late {
        std::thread::park_timeout(late.saturating_duration_since(Instant::now()));
    }
    for mut sftp in begun {
        assert!(sftp.connect(later()).unwrap());
    }
}
