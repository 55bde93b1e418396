use super::*;
use crossbeam_channel::{Receiver, bounded};
use std::fs;
use tripline_api::Changed;

const PATIENCE: Duration = Duration::from_secs(10);

/// A source of all files in a directory.
fn source(directory: &Path) -> Arc<dyn Source> {
    let context = tripline_api::BuildContext { name: "p4", directory, state: directory };
    let args = tripline_api::Args::new(r#"(path: "journal")"#);
    crate::ALL[0].build(&args, &context).unwrap()
}

fn waker() -> (Waker, Receiver<Sign>) {
    let (sender, signs) = bounded(16);
    let looking = Looking { events: true, poll: Duration::from_secs(1) };
    (Waker::new(looking, Box::new(move |sign| _ = sender.send(sign))), signs)
}

fn next(hints: &mut Hints) -> Changed {
    loop {
        hints.bell().recv_timeout(PATIENCE).expect("a hint");
        // The bell is silent now, and what it rang for is there all the same.
        if let Some(changed) = hints.take() {
            return changed;
        }
    }
}

/// Everything that comes until it is quiet.
fn drain(hints: &mut Hints) {
    while hints.bell().recv_timeout(Duration::from_millis(100)).is_ok() {
        hints.take();
    }
    hints.take();
}

#[test]
fn a_write_is_a_hint_with_a_path_and_a_read_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("journal");
    fs::write(&file, "a").unwrap();
    let (waker, _signs) = waker();
    let mut hints = waker.subscribe(&source(directory.path()));
    assert_eq!(hints.take(), None);
    fs::write(&file, "b").unwrap();
    assert_eq!(next(&mut hints), Changed::Paths(vec![file.clone()]));
    // The close of the write may still come.
    drain(&mut hints);
    fs::read(&file).unwrap();
    assert!(hints.bell().recv_timeout(Duration::from_millis(100)).is_err());
    let unrelated = directory.path().join("unrelated");
    fs::write(unrelated, "c").unwrap();
    assert!(hints.bell().recv_timeout(Duration::from_millis(100)).is_err());
}

#[test]
fn a_directory_that_comes_later_is_watched_then() {
    let directory = tempfile::tempdir().unwrap();
    let later = directory.path().join("later");
    let (waker, _signs) = waker();
    let mut hints = waker.subscribe(&source(&later));
    fs::create_dir(&later).unwrap();
    waker.watch_again();
    assert_eq!(next(&mut hints), Changed::Anything);
    fs::write(later.join("journal"), "a").unwrap();
    assert_eq!(next(&mut hints), Changed::Paths(vec![later.join("journal")]));
}

#[test]
fn a_directory_that_is_replaced_is_watched_again() {
    let directory = tempfile::tempdir().unwrap();
    let logs = directory.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let (waker, _signs) = waker();
    let mut hints = waker.subscribe(&source(&logs));
    fs::remove_dir(&logs).unwrap();
    // Nobody watches the parent: the poll finds out.
    while hints.due_at() > Instant::now() + Duration::from_secs(2) {
        _ = hints.bell().recv_timeout(PATIENCE);
        hints.take();
    }
    fs::create_dir(&logs).unwrap();
    drain(&mut hints);
    let due = hints.due_at() + Duration::from_secs(1);
    assert_eq!(hints.due(due), Some(Changed::Anything));
    drain(&mut hints);
    fs::write(logs.join("journal"), "a").unwrap();
    assert_eq!(next(&mut hints), Changed::Paths(vec![logs.join("journal")]));
}

#[test]
fn a_directory_by_two_paths_tells_both() {
    let directory = tempfile::tempdir().unwrap();
    let (real, link) = (directory.path().join("real"), directory.path().join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let (waker, _signs) = waker();
    let mut one = waker.subscribe(&source(&real));
    let mut other = waker.subscribe(&source(&link));
    fs::write(real.join("journal"), "a").unwrap();
    assert_eq!(next(&mut one), Changed::Paths(vec![real.join("journal")]));
    assert_eq!(next(&mut other), Changed::Paths(vec![link.join("journal")]));
}

#[test]
fn other_directories_can_be_asked_for_later() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a"), directory.path().join("b"));
    fs::create_dir(&a).unwrap();
    fs::create_dir(&b).unwrap();
    let (waker, _signs) = waker();
    let mut hints = waker.subscribe(&source(&a));
    hints.watch(vec![a.clone()]);
    assert_eq!(hints.take(), None, "nothing is new");
    hints.watch(vec![b]);
    assert_eq!(next(&mut hints), Changed::Anything);
    fs::write(a.join("journal"), "a").unwrap();
    assert!(hints.bell().recv_timeout(Duration::from_millis(100)).is_err());
}

#[test]
fn too_many_paths_are_anything() {
    let directory = tempfile::tempdir().unwrap();
    let (waker, _signs) = waker();
    let source = source(directory.path());
    let mut hints = waker.subscribe(&source);
    for number in 0..=PATHS_MAX {
        hints.mailbox.put(&directory.path().join(number.to_string()));
    }
    assert_eq!(hints.take(), Some(Changed::Anything));
    assert_eq!(hints.take(), None);
}

#[test]
fn an_overflow_is_anything_and_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let (waker, _signs) = waker();
    let mut hints = waker.subscribe(&source(directory.path()));
    let overflow = || {
        let event = notify::Event::new(notify::EventKind::Other);
        Ok(event.set_flag(notify::event::Flag::Rescan))
    };
    assert!(waker.shared.router.take(overflow()));
    assert!(!waker.shared.router.take(overflow()), "the same burst");
    assert_eq!(hints.take(), Some(Changed::Anything));
    assert!(overflow_in_words().contains("fs.inotify.max_queued_events is"));
}

#[test]
fn polling_looks_at_everything() {
    let directory = tempfile::tempdir().unwrap();
    let poll = Duration::from_secs(2);
    let looking = Looking { events: false, poll };
    let waker = Waker::new(looking, Box::new(|sign| panic!("{sign:?}")));
    let mut hints = waker.subscribe(&source(directory.path()));
    let start = Instant::now();
    fs::write(directory.path().join("journal"), "a").unwrap();
    assert_eq!(hints.due(start), None);
    assert_eq!(hints.due(start + poll), Some(Changed::Anything));
    assert_eq!(hints.due(start + poll), None);
    assert_eq!(hints.take(), None, "no event");
}

#[test]
fn where_events_are_believed_it_is_quiet() {
    // The shared memory of the host is a tmpfs.
    let Ok(directory) = tempfile::tempdir_in("/dev/shm") else { return };
    let (waker, _signs) = waker();
    let hints = waker.subscribe(&source(directory.path()));
    assert!(hints.due_at() > Instant::now() + Duration::from_secs(20));
    let missing = waker.subscribe(&source(Path::new("/nowhere/at/all")));
    assert!(missing.due_at() < Instant::now() + Duration::from_secs(2));
}
