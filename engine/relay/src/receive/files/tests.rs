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
        let changes = Changes { reached: Vec::new(), files };
        self.store.commit([&changes].into_iter()).unwrap();
        output.is_dirty = false;
    }

    /// Opens the file, and has it in the database.
    fn open(&mut self, output: &mut Output) -> Opened {
        let opened = output.open(&self.store, false).unwrap();
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
    // The rest of a line goes with it.
    fs::rename(ground.path("a.log"), ground.path("a.log.2")).unwrap();
    fs::write(ground.path("a.log"), b"").unwrap();
    assert_eq!(output.write(false, b"ree\nfour\n"), Ok(Wrote::Until(4)));
    ground.commit(&mut output);
    output.leave();
    assert_eq!(ground.open(&mut output), Opened::New);
    output.write(false, b"four\n").unwrap();
    let all = ["a.log.1", "a.log.2", "a.log"].map(|name| ground.read(name));
    assert_eq!(all, ["one\n", "two\nthree\n", "four\n"]);
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
    assert_eq!(output.open(&ground.store, false).unwrap(), Opened::Known);
    assert_eq!(output.write(false, b"two\nthree\nfour\n"), Ok(Wrote::Until(10)));
    ground.commit(&mut output);
    output.leave();
    ground.open(&mut output);
    output.write(false, b"four\n").unwrap();
    assert_eq!(ground.read("a.log-20261121"), "one\ntwo\nthree\n");
    assert_eq!(ground.read("a.log"), "four\n");
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
    let why = ground.output().open(&ground.store, false).unwrap_err();
    assert!(why.contains("cannot open"), "{why}");
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    fs::remove_file(ground.path("a.log")).unwrap();
    fs::create_dir(ground.path("a.log")).unwrap();
    ground.output().open(&ground.store, false).unwrap_err();
}
