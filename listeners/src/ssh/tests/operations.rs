//! Every operation, over both ways.

use super::*;
use crate::ssh::testing::Access;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::time::Instant;

#[test]
fn files_are_written_and_synced_and_read() {
    let ground = Ground::new(Access::Files);
    for way in WAYS {
        let mut sftp = ground.sftp(*way);
        let all = [Extension::Fsync, Extension::PosixRename, Extension::Space];
        sftp.needs(&all).unwrap();
        let name = format!("journal-{way:?}");
        let ticket = sftp.open(ground.remote(&name), Open::NEW);
        let file = wait(&mut sftp, &ticket).unwrap();
        assert_eq!((sftp.acknowledged(file), sftp.synced(file)), (0, 0));
        let bytes = pattern(5_000_001);
        put(&mut sftp, file, 0, &bytes).unwrap();
        assert!(fs::read(ground.local(&name)).unwrap() == bytes, "other bytes");
        assert_eq!(fs::metadata(ground.local(&name)).unwrap().mode() & 0o777, 0o600);

        assert!(read(&mut sftp, file, 0..u64::MAX).unwrap() == bytes, "to the end");
        let some = read(&mut sftp, file, 4_999_990..5_000_010).unwrap();
        assert_eq!(some, &bytes[4_999_990..]);
        assert_eq!(read(&mut sftp, file, 6_000_000..6_000_001).unwrap(), b"");
        assert_eq!(read(&mut sftp, file, 7..7).unwrap(), b"");

        let ticket = sftp.fstat(file);
        let attributes: Attributes = wait(&mut sftp, &ticket).unwrap();
        assert_eq!(attributes.size, Some(5_000_001));
        assert!(attributes.is_file() && !attributes.is_directory());
        let ticket = sftp.close(file);
        wait(&mut sftp, &ticket).unwrap();
        let failure = sftp.push(file, 0, b"x", later()).unwrap_err();
        assert!(failure.to_string().contains("not open"), "{failure}");
        assert!(sftp.is_idle());
    }
}

#[test]
fn what_is_there_is_not_thrown_away() {
    let ground = Ground::new(Access::Files);
    fs::write(ground.local("old"), b"0123456789").unwrap();
    for way in WAYS {
        let mut sftp = ground.sftp(*way);
        let path = ground.remote("old");
        let refused = sftp.open(&path, Open::NEW);
        let failure = wait(&mut sftp, &refused).unwrap_err();
        assert_eq!(failure.kind(), Kind::Refused(Code::Failure), "{failure}");
        let both = Open { create: Create::IfMissing, ..Open::WRITE };
        let ticket = sftp.open(&path, both);
        let file = wait(&mut sftp, &ticket).unwrap();
        put(&mut sftp, file, 8, b"89abc").unwrap();
        assert_eq!(fs::read(ground.local("old")).unwrap(), b"0123456789abc");
        let ticket = sftp.open(&path, Open { truncate: true, ..Open::WRITE });
        let file = wait(&mut sftp, &ticket).unwrap();
        put(&mut sftp, file, 0, b"0123456789").unwrap();
        assert_eq!(fs::read(ground.local("old")).unwrap(), b"0123456789");
    }
}

#[test]
fn names_are_made_changed_listed_and_removed() {
    let ground = Ground::new(Access::Files);
    for way in WAYS {
        let mut sftp = ground.sftp(*way);
        let at = |name: &str| ground.remote(&format!("{way:?}/{name}"));
        let ticket = sftp.make_directory(ground.remote(&format!("{way:?}")), 0o700);
        wait(&mut sftp, &ticket).unwrap();
        let local = ground.local(&format!("{way:?}"));
        for name in ["a", "b", "é \u{1b} x"] {
            let ticket = sftp.open(at(name), Open::NEW);
            let file = wait(&mut sftp, &ticket).unwrap();
            put(&mut sftp, file, 0, name.as_bytes()).unwrap();
        }
        symlink("a", local.join("link")).unwrap();
        let ticket = sftp.rename(at("a"), at("b"));
        wait(&mut sftp, &ticket).unwrap();
        assert_eq!(fs::read(local.join("b")).unwrap(), b"a", "it is replaced");
        let ticket = sftp.sync_directory(ground.remote(&format!("{way:?}")));
        wait(&mut sftp, &ticket).unwrap();

        let ticket = sftp.lstat(at("link"));
        let attributes = wait(&mut sftp, &ticket).unwrap();
        assert!(!attributes.is_file() && !attributes.is_directory());
        let ticket = sftp.stat(at("link"));
        let failure = wait(&mut sftp, &ticket).unwrap_err();
        assert_eq!(failure.kind(), Kind::Refused(Code::NoSuchFile), "{failure}");

        let ticket = sftp.list(ground.remote(&format!("{way:?}")));
        let mut names: Vec<Name> = wait(&mut sftp, &ticket).unwrap();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        let found: Vec<&[u8]> = names.iter().map(|it| it.name.as_slice()).collect();
        assert_eq!(found, [&b"b"[..], b"link", "é \u{1b} x".as_bytes()]);
        assert_eq!(names[0].attributes.size, Some(1));

        for name in ["b", "link", "é \u{1b} x"] {
            let ticket = sftp.remove(at(name));
            wait(&mut sftp, &ticket).unwrap();
        }
        assert_eq!(fs::read_dir(&local).unwrap().count(), 0);
        let ticket = sftp.space(ground.remote(&format!("{way:?}")));
        let space: Space = wait(&mut sftp, &ticket).unwrap();
        assert!(space.free <= space.total && space.total > 0, "{space:?}");
    }
}

/// A listing takes many requests.
#[test]
fn large_directories_are_listed_whole() {
    let ground = Ground::new(Access::Files);
    for number in 0..3000 {
        fs::write(ground.local(&format!("journal.{number}")), b"").unwrap();
    }
    for way in WAYS {
        let mut sftp = ground.sftp(*way);
        let ticket = sftp.list(ground.remote(""));
        assert_eq!(wait(&mut sftp, &ticket).unwrap().len(), 3000);
    }
}

/// What the promise of an fsync rests on.
#[test]
fn a_request_sees_what_was_asked_before_it() {
    let ground = Ground::new(Access::Files);
    for way in WAYS {
        let mut sftp = ground.sftp(*way);
        let ticket = sftp.open(ground.remote(&format!("{way:?}")), Open::NEW);
        let file = wait(&mut sftp, &ticket).unwrap();
        let block = pattern(700_000);
        for round in 0..20 {
            let start = round * block.len() as u64;
            assert_eq!(sftp.push(file, start, &block, later()).unwrap(), block.len());
            let end = start + block.len() as u64;
            let (size, synced) = (sftp.fstat(file), sftp.sync(file));
            assert_eq!(wait(&mut sftp, &size).unwrap().size, Some(end));
            wait(&mut sftp, &synced).unwrap();
            assert_eq!(sftp.synced(file), end);
        }
    }
}

#[test]
fn refusals_leave_the_connection_as_it_is() {
    let ground = Ground::new(Access::Files);
    fs::write(ground.local("file"), b"x").unwrap();
    for way in WAYS {
        let mut sftp = ground.sftp(*way);
        let missing = ground.remote("no/such");
        let tickets = [
            sftp.remove(&missing),
            sftp.make_directory(ground.remote(""), 0o700),
            sftp.rename(&missing, ground.remote("x")),
            sftp.sync_directory(&missing),
            sftp.remove(""),
            sftp.remove("a\0b"),
            sftp.remove("x".repeat(5000)),
        ];
        for ticket in &tickets {
            let failure = wait(&mut sftp, ticket).unwrap_err();
            assert!(!failure.kind().ends_connection(), "{failure}");
            assert!(!failure.kind().stops(), "{failure}");
        }
        let ticket = sftp.list(ground.remote("file"));
        wait(&mut sftp, &ticket).unwrap_err();
        // A write to a file that is open for reading.
        let ticket = sftp.open(ground.remote("file"), Open::READ);
        let file = wait(&mut sftp, &ticket).unwrap();
        assert_eq!(sftp.push(file, 1, b"yz", later()).unwrap(), 2);
        let synced = sftp.sync(file);
        let failure = wait(&mut sftp, &synced).unwrap_err();
        assert!(matches!(failure.kind(), Kind::Refused(_)), "{failure}");
        assert!(failure.to_string().contains("file"), "{failure}");
        assert_eq!((sftp.acknowledged(file), sftp.synced(file)), (0, 0));
        sftp.push(file, 1, b"y", later()).unwrap_err();
        sftp.check(file).unwrap_err();
        let ticket = sftp.close(file);
        wait(&mut sftp, &ticket).unwrap();
        assert_eq!(fs::read(ground.local("file")).unwrap(), b"x");
    }
}

#[test]
fn no_call_waits_longer_than_it_is_told() {
    let ground = Ground::new(Access::Files);
    for way in WAYS {
        let mut sftp = ground.sftp(*way);
        let ticket = sftp.open(ground.remote(&format!("{way:?}")), Open::NEW);
        let file = wait(&mut sftp, &ticket).unwrap();
        let block = pattern(1 << 20);
        let (mut offset, mut longest) = (0, Duration::ZERO);
        while offset < 64 << 20 {
            let begun = Instant::now();
            let at = offset as usize % block.len();
            offset += sftp.push(file, offset, &block[at..], begun).unwrap() as u64;
            longest = longest.max(begun.elapsed());
        }
        let ticket = sftp.sync(file);
        let begun = Instant::now();
        sftp.turn(begun).unwrap();
        sftp.wait(&ticket, begun).unwrap();
        longest = longest.max(begun.elapsed());
        // What is there is dealt with, and that is a few MiB at most.
        assert!(longest < Duration::from_secs(1), "{way:?}: {longest:?}");
        wait(&mut sftp, &ticket).ok();
    }
}

/// Keys are changed many times meanwhile.
#[test]
fn a_new_name_replaces_nothing() {
    let ground = Ground::new(Access::Files);
    for way in WAYS {
        let mut sftp = ground.sftp(*way);
        for name in ["journal", "journal.2"] {
            fs::write(ground.local(name), name).unwrap();
        }
        let (from, to) = (ground.remote("journal"), ground.remote("journal.2"));
        let ticket = sftp.rename_new(&from, &to);
        let failure = wait(&mut sftp, &ticket).unwrap_err();
        assert_eq!(failure.kind(), Kind::Refused(Code::Failure), "{failure}");
        assert_eq!(fs::read(ground.local("journal.2")).unwrap(), b"journal.2");
        let ticket = sftp.rename_new(&from, ground.remote(&format!("{way:?}")));
        wait(&mut sftp, &ticket).unwrap();
        // A directory too, with what is in it.
        for name in ["made", "other"] {
            let ticket = sftp.make_directory(ground.remote(name), 0o700);
            wait(&mut sftp, &ticket).unwrap();
            fs::write(ground.local(name).join("in"), name).unwrap();
        }
        let ticket = sftp.rename_new(ground.remote("made"), ground.remote("other"));
        wait(&mut sftp, &ticket).unwrap_err();
        let ticket = sftp.rename_new(ground.remote("made"), ground.remote("next"));
        wait(&mut sftp, &ticket).unwrap();
        assert_eq!(fs::read(ground.local("next/in")).unwrap(), b"made");
        let ticket = sftp.remove_directory(ground.remote("next"));
        wait(&mut sftp, &ticket).unwrap_err();
        for name in ["next", "other"] {
            let ticket = sftp.remove(ground.remote(&format!("{name}/in")));
            wait(&mut sftp, &ticket).unwrap();
            let ticket = sftp.remove_directory(ground.remote(name));
            wait(&mut sftp, &ticket).unwrap();
            assert!(!ground.local(name).exists());
        }
    }
}
