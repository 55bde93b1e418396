use super::super::store::Changes;
use super::*;

struct Ground {
    scratch: tempfile::TempDir,
    store: Store,
}

impl Ground {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::open(scratch.path()).unwrap();
        Self { scratch, store }
    }

    fn output(&self) -> Output {
        Output::new(self.scratch.path(), "web1/auth", "a.log".into(), true)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join("web1/auth").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn commit(&mut self, output: &mut Output) {
        let (file, length) = output.state().unwrap();
        file.sync_data().unwrap();
        let files = vec![(output.key.clone(), length)];
        let changes = Changes { files, ..Changes::default() };
        self.store.commit([&changes].into_iter()).unwrap();
        output.is_dirty = false;
    }

    /// Opens the file, and has it in the database.
    fn open(&mut self, output: &mut Output) -> Opened {
        let opened = output.open(&self.store).unwrap();
        self.commit(output);
        opened
    }
}

#[test]
fn what_was_not_committed_is_written_where_it_is() {
    let mut ground = Ground::new();
    let mut output = ground.output();
    assert_eq!(ground.open(&mut output), Opened::New);
    output.write(false, b"one\n").unwrap();
    ground.commit(&mut output);
    output.write(false, b"two\nthr").unwrap();
    // Killed here; and a power cut might have left this.
    fs::write(ground.path("a.log"), b"one\ntwo\n\0\0\0\0").unwrap();
    let mut output = ground.output();
    assert_eq!(ground.open(&mut output), Opened::Known);
    assert_eq!(output.write(false, b"two\n"), Ok(Wrote::All));
    assert_eq!(output.write(false, b"three\n"), Ok(Wrote::All));
    assert_eq!(ground.read("a.log"), "one\ntwo\nthree\n");
}

#[test]
fn renamed_while_running_the_next_is_begun() {
    let mut ground = Ground::new();
    let mut output = ground.output();
    ground.open(&mut output);
    output.write(false, b"one\n").unwrap();
    fs::rename(ground.path("a.log"), ground.path("a.log.1")).unwrap();
    assert_eq!(output.write(false, b"two\n"), Ok(Wrote::Until(0)));
    ground.commit(&mut output);
    output.leave();
    assert_eq!(ground.open(&mut output), Opened::New);
    assert_eq!(output.write(true, b"two\nth"), Ok(Wrote::All), "no line feed in front");
    // The rest of a line does not go with it: it may be compressed at this moment.
    fs::rename(ground.path("a.log"), ground.path("a.log.2")).unwrap();
    fs::write(ground.path("a.log"), b"").unwrap();
    assert_eq!(output.write(false, b"ree\nfour\n"), Ok(Wrote::Until(0)));
    ground.commit(&mut output);
    output.leave();
    assert_eq!(ground.open(&mut output), Opened::New);
    output.write(false, b"ree\nfour\n").unwrap();
    let all = ["a.log.1", "a.log.2", "a.log"].map(|name| ground.read(name));
    assert_eq!(all, ["one\n", "two\nth", "ree\nfour\n"]);
}

#[test]
fn renamed_while_stopped_its_end_is_not_written_twice() {
    let mut ground = Ground::new();
    let mut output = ground.output();
    ground.open(&mut output);
    output.write(false, b"one\n").unwrap();
    ground.commit(&mut output);
    output.write(false, b"two\nthr").unwrap();
    // Killed here, and rotated.
    fs::rename(ground.path("a.log"), ground.path("a.log-20261121")).unwrap();
    fs::write(ground.path("a.log"), b"").unwrap();
    let mut output = ground.output();
    assert_eq!(output.open(&ground.store).unwrap(), Opened::Known);
    assert_eq!(output.write(false, b"two\nthree\nfour\n"), Ok(Wrote::Until(7)));
    ground.commit(&mut output);
    output.leave();
    ground.open(&mut output);
    output.write(false, b"ee\nfour\n").unwrap();
    assert_eq!(ground.read("a.log-20261121"), "one\ntwo\nthr");
    assert_eq!(ground.read("a.log"), "ee\nfour\n");
}

/// The line without a line feed was the last one, or goes on: the next is no part of
/// a file that was compressed and deleted.
#[test]
fn nothing_goes_to_a_file_that_was_renamed_or_deleted() {
    for closes in [true, false] {
        for is_deleted in [true, false] {
            let mut ground = Ground::new();
            let mut output = ground.output();
            ground.open(&mut output);
            output.write(false, b"one\ntw").unwrap();
            ground.commit(&mut output);
            let renamed = ground.path("a.log.1");
            fs::rename(ground.path("a.log"), &renamed).unwrap();
            if is_deleted {
                fs::remove_file(&renamed).unwrap();
            }
            assert_eq!(output.write(closes, b"o\nthree\n"), Ok(Wrote::Until(0)));
            ground.commit(&mut output);
            output.leave();
            assert_eq!(ground.open(&mut output), Opened::New);
            output.write(closes, b"o\nthree\n").unwrap();
            assert_eq!(ground.read("a.log"), "o\nthree\n");
            assert!(is_deleted || ground.read("a.log.1") == "one\ntw");
        }
    }
}

/// The line feed and a part of the line were not committed, and renamed.
#[test]
fn a_line_feed_that_is_there_is_not_written_twice() {
    for (tail, count) in [("\n", 0), ("\ntw", 2), ("\ntwo\n", 4)] {
        let mut ground = Ground::new();
        let mut output = ground.output();
        ground.open(&mut output);
        output.write(false, b"one").unwrap();
        ground.commit(&mut output);
        fs::write(ground.path("a.log"), format!("one{tail}")).unwrap();
        fs::rename(ground.path("a.log"), ground.path("a.log.1")).unwrap();
        let mut output = ground.output();
        assert_eq!(ground.open(&mut output), Opened::Known);
        assert_eq!(output.write(true, b"two\nthree\n"), Ok(Wrote::Until(count)));
        ground.commit(&mut output);
        output.leave();
        assert_eq!(ground.open(&mut output), Opened::New, "{tail:?}");
        assert_eq!(ground.read("a.log.1"), format!("one{tail}"));
    }
}

/// The database was brought back from a backup, or the sender goes on elsewhere.
#[test]
fn what_is_not_what_came_stays() {
    for (there, expected) in [
        ("one\ntwo\nthree\n", "one\ntwo\nthree\nfour\nfive\n"),
        ("one\ntwo\nthr", "one\ntwo\nthr\nfour\nfive\n"),
        ("one\nfo\0\0", "one\nfour\nfive\n"),
    ] {
        let mut ground = Ground::new();
        let mut output = ground.output();
        ground.open(&mut output);
        output.write(false, b"one\n").unwrap();
        ground.commit(&mut output);
        fs::write(ground.path("a.log"), there).unwrap();
        let mut output = ground.output();
        assert_eq!(ground.open(&mut output), Opened::Known);
        assert_eq!(output.write(false, b"four\n"), Ok(Wrote::All));
        assert_eq!(output.write(false, b"five\n"), Ok(Wrote::All));
        assert_eq!(ground.read("a.log"), expected);
        assert_eq!(output.take_kept().is_some(), !there.contains('\0'));
        ground.commit(&mut output);
        assert_eq!(output.state().unwrap().1.length, expected.len() as u64);
    }
}

#[test]
fn cut_in_place_while_running_there_is_no_hole() {
    let mut ground = Ground::new();
    let mut output = ground.output();
    ground.open(&mut output);
    output.write(false, b"one\ntwo\n").unwrap();
    ground.commit(&mut output);
    File::options().write(true).open(ground.path("a.log")).unwrap().set_len(0).unwrap();
    output.write(false, b"three\n").unwrap();
    assert_eq!(ground.read("a.log"), "three\n");
}

#[test]
fn what_was_there_before_us_stays() {
    let mut ground = Ground::new();
    make_folder(&ground.path("")).unwrap();
    fs::write(ground.path("a.log"), b"theirs").unwrap();
    let mut output = ground.output();
    assert_eq!(ground.open(&mut output), Opened::Foreign);
    assert!(output.is_amid_line());
    output.write(true, b"ours\n").unwrap();
    assert_eq!(ground.read("a.log"), "theirs\nours\n");
}

#[test]
fn cut_in_place_it_goes_on_at_the_new_end() {
    let mut ground = Ground::new();
    let mut output = ground.output();
    ground.open(&mut output);
    output.write(false, b"one\ntwo\n").unwrap();
    ground.commit(&mut output);
    File::options().write(true).open(ground.path("a.log")).unwrap().set_len(0).unwrap();
    let mut output = ground.output();
    assert_eq!(ground.open(&mut output), Opened::Known);
    output.write(false, b"three\n").unwrap();
    assert_eq!(ground.read("a.log"), "three\n");
}

#[test]
fn links_and_pipes_are_no_files_of_ours() {
    let ground = Ground::new();
    make_folder(&ground.path("")).unwrap();
    let target = ground.scratch.path().join("target");
    fs::write(&target, b"precious").unwrap();
    std::os::unix::fs::symlink(&target, ground.path("a.log")).unwrap();
    let why = ground.output().open(&ground.store).unwrap_err();
    assert!(why.contains("cannot open"), "{why}");
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    fs::remove_file(ground.path("a.log")).unwrap();
    fs::create_dir(ground.path("a.log")).unwrap();
    ground.output().open(&ground.store).unwrap_err();
}
