//! A directory with a log, programs, and a daemon that hands the one to the others.

use crate::site::{Daemon, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// After this long something will not happen any more.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How a program is handed entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Batch,
    Acknowledged,
}

pub(super) const MODES: [Mode; 2] = [Mode::Batch, Mode::Acknowledged];

pub(super) struct Place {
    root: PathBuf,
    _directory: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir(root.join("logs")).unwrap();
        Self { root, _directory: directory }
    }

    /// A file in the directory in which programs run too.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path("logs/app.log")
    }

    /// Appends to the log.
    pub(super) fn write(&self, bytes: impl AsRef<[u8]>) {
        let mut log =
            OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        log.write_all(bytes.as_ref()).unwrap();
    }

    /// Writes a program that the user has. A new one takes the place of an old one
    /// at once, as `mv` does it.
    pub(super) fn program(&self, name: &str, script: &str) {
        let new = self.path(&format!("{name}.new"));
        let mut file = File::create(&new).unwrap();
        file.write_all(format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o755)).unwrap();
        drop(file);
        fs::rename(new, self.path(name)).unwrap();
    }

    /// A listener `feed` that runs `./feed` here, with these arguments besides.
    pub(super) fn configure(&self, mode: Mode, arguments: &str) {
        self.configure_with(&format!("{},", feed(mode, arguments)));
    }

    pub(super) fn configure_with(&self, listeners: &str) {
        let text = format!(
            "(state: \"state\", sources: {{ \"logs\": Log(paths: [\"logs/*\"]) }}, \
             listeners: {{ {listeners} }})\n"
        );
        fs::write(self.path("tripline.ron"), text).unwrap();
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
        command.args(words).arg(self.path("tripline.ron"));
        let mut said = OpenOptions::new();
        let said = said.create(true).append(true).open(self.path("said")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        command
    }

    pub(super) fn start(&self) -> Daemon {
        Daemon::spawn(&mut self.command(&["run"]))
    }

    /// What the daemons have said so far.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.path("said")).unwrap_or_default()
    }

    pub(super) fn wait_until_said(&self, words: &str) {
        let has_said = wait_until(PATIENCE, || self.said().contains(words));
        assert!(has_said, "never said {words:?}:\n{}", self.said());
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The lines that a program has put into `got`, by id: how often each came.
    /// A line that comes twice is the same.
    pub(super) fn got(&self) -> BTreeMap<String, (String, usize)> {
        let mut found = BTreeMap::new();
        for line in self.read("got").lines() {
            let value: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{error}: {line:?}"));
            let id = value["id"].as_str().unwrap().to_owned();
            let first = || (line.to_owned(), 0);
            let (known, count) = found.entry(id).or_insert_with(first);
            assert_eq!(known, line, "the same id and another line");
            *count += 1;
        }
        found
    }

    /// How many lines there are in `got`.
    pub(super) fn count(&self) -> usize {
        self.read("got").lines().count()
    }

    /// Waits until the cursor of each listener is at the end.
    pub(super) fn wait_until_settled(&self) {
        let is_settled = wait_until(PATIENCE, || {
            let places = self.places();
            !places.is_empty() && places.iter().all(|place| place["bytes_behind"] == 0)
        });
        assert!(is_settled, "{:?}\n{}", self.places(), self.said());
    }

    pub(super) fn places(&self) -> Vec<Value> {
        let mut command = self.command(&["where", "--json"]);
        let output = command.stdout(Stdio::piped()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// What was set aside: where it was, what it was, and why.
    pub(super) fn letters(&self) -> Vec<(u64, Vec<u8>, String)> {
        let store = rusqlite::Connection::open_with_flags(
            self.path("state/tripline.db"),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        );
        let store = store.unwrap();
        let sql = "SELECT offset, content, why FROM letter ORDER BY number";
        let mut statement = store.prepare(sql).unwrap();
        let letters = statement.query_map([], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get(1)?, row.get(2)?))
        });
        letters.unwrap().map(Result::unwrap).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what the daemons said:\n{}", self.said());
        }
    }
}

/// The listener `feed`, as it stands in a configuration.
pub(super) fn feed(mode: Mode, arguments: &str) -> String {
    format!(
        "\"feed\": Exec(from: [\"logs\"], run: [\"./feed\"], cwd: \".\", mode: {mode:?}, \
         {arguments})"
    )
}

/// Keeps all it gets in the file `got`, in either mode.
pub(super) fn keeper(mode: Mode) -> &'static str {
    match mode {
        Mode::Batch => "exec cat >> got",
        Mode::Acknowledged => {
            "while IFS= read -r line; do printf '%s\\n' \"$line\" >> got; echo OK; done"
        }
    }
}

pub(super) fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The processes whose numbers were written to this file and that live.
pub(super) fn living(file: &Path) -> Vec<u32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|pid| pid.trim().parse().unwrap())
        .filter(|pid| lives(*pid))
        .collect()
}

/// How many children have ended without anybody asking how.
pub(super) fn zombies(parent: u32) -> usize {
    let parent = parent.to_string();
    let is_one = |stat: String| {
        let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
        let fields: Vec<_> = rest.split_whitespace().take(2).collect();
        fields == ["Z", &parent]
    };
    let stats = fs::read_dir("/proc").unwrap().flatten();
    let stats = stats.filter_map(|it| fs::read_to_string(it.path().join("stat")).ok());
    stats.filter(|stat| is_one(stat.clone())).count()
}
