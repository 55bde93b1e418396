//! Files, and what may stand in their place.

use crate::site::{LONG, act, hands, said, start, why};
use rustix::fs::{CWD, Mode, mkfifoat};
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, SystemTime};
use tripline_rules::evaluate::{Job, Outcome};

fn touch(dir: &Path, file: &str) -> Outcome {
    let job = Job::Touch { dir: dir.to_owned(), file: file.to_owned() };
    act(&hands("/".as_ref()), &start(1, job, LONG))
}

/// A file with this content and an old time.
fn old(path: &Path) -> SystemTime {
    fs::write(path, "kept").unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    time
}

fn time(path: &Path) -> SystemTime {
    fs::symlink_metadata(path).unwrap().modified().unwrap()
}

#[test]
fn a_file_is_made_or_its_time_made_new() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let long = "x".repeat(255);
    for name in ["flag", "a b\n\u{1b}[2J$(id)", "-rf", &long] {
        said(touch(root, name));
        let about = fs::symlink_metadata(root.join(name)).unwrap();
        assert!(about.is_file() && about.len() == 0, "{name:?}");
        assert_eq!(about.permissions().mode() & 0o133, 0, "{name:?}");
    }
    let before = old(&root.join("flag"));
    said(touch(root, "flag"));
    assert!(time(&root.join("flag")) > before);
    assert_eq!(fs::read_to_string(root.join("flag")).unwrap(), "kept");
    // The directory may be a link: it was written into the rule.
    symlink(root, root.join("link")).unwrap();
    said(touch(&root.join("link"), "through"));
    assert!(root.join("through").is_file());
}

#[test]
fn nothing_else_is_touched() {
    let (directory, elsewhere) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (root, outside) = (directory.path(), elsewhere.path());
    let victim = outside.join("victim");
    let before = old(&victim);
    symlink(&victim, root.join("link")).unwrap();
    symlink(outside.join("not there"), root.join("dangling")).unwrap();
    fs::hard_link(&victim, root.join("hard")).unwrap();
    fs::create_dir(root.join("folder")).unwrap();
    for name in ["pipe", "pipe with a reader"] {
        mkfifoat(CWD, root.join(name), Mode::from_raw_mode(0o600)).unwrap();
    }
    let reads = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let reader = rustix::fs::open(root.join("pipe with a reader"), reads, Mode::empty());
    let up = format!("../{}/new", outside.file_name().unwrap().to_str().unwrap());
    for (name, wanted) in [
        ("link", "is a symbolic link"),
        ("dangling", "is a symbolic link"),
        ("hard", "is another file's name too"),
        ("folder", "cannot touch"),
        ("pipe", "is no plain file"),
        ("pipe with a reader", "is no plain file"),
        (&up, "is no name of a file"),
        ("..", "is no name of a file"),
        (".", "is no name of a file"),
        ("", "is no name of a file"),
        ("a/b", "is no name of a file"),
        ("a\0b", "is no name of a file"),
        (&"x".repeat(256), "too long"),
    ] {
        let (exit, reason) = why(touch(root, name));
        assert!(exit == -1 && reason.contains(wanted), "{name:?}: {reason}");
        assert!(!reason.contains(char::is_control), "{reason:?}");
    }
    drop(reader);
    assert_eq!(time(&victim), before);
    assert_eq!(fs::read_dir(outside).unwrap().count(), 1);
    assert!(why(touch(&root.join("none"), "x")).1.contains("there is no directory"));
    assert!(why(touch(&victim, "x")).1.contains("is no directory"));
}

/// Somebody exchanges the file for a link and back all the time.
#[test]
fn a_race_is_not_lost() {
    let (directory, elsewhere) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (root, outside) = (directory.path(), elsewhere.path());
    let (victim, absent) = (outside.join("victim"), outside.join("absent"));
    let before = old(&victim);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swap = || {
            let (name, next) = (root.join("flag"), root.join("next"));
            let mut number = 0_u32;
            while !is_over.load(SeqCst) {
                number += 1;
                match number % 4 {
                    0 => symlink(&victim, &next).unwrap(),
                    1 => fs::write(&next, "").unwrap(),
                    2 => symlink(&absent, &next).unwrap(),
                    _ => {
                        _ = fs::remove_file(&name);
                        continue;
                    }
                }
                fs::rename(&next, &name).unwrap();
            }
        };
        scope.spawn(swap);
        let (hands, mut touched) = (hands("/".as_ref()), 0);
        let job = Job::Touch { dir: root.to_owned(), file: "flag".to_owned() };
        let start = start(1, job, LONG);
        for _ in 0..10_000 {
            touched += usize::from(matches!(act(&hands, &start), Outcome::Done { .. }));
        }
        is_over.store(true, SeqCst);
        assert!(touched > 0);
    });
    assert_eq!(time(&victim), before);
    assert!(!absent.exists());
}
