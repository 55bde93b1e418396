//! A directory of its own for every test, and the program run in it.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{RwLock, RwLockReadGuard};

/// Held for writing by who changes limits of the whole system.
pub(crate) static SYSTEM_LIMITS: RwLock<()> = RwLock::new(());

/// As long as this is kept, nobody changes limits of the whole system: for who
/// counts on the program having nothing to say about them. Not twice on a thread.
pub(crate) fn usual_limits() -> RwLockReadGuard<'static, ()> {
    SYSTEM_LIMITS.read().unwrap_or_else(|it| it.into_inner())
}

/// A temporary directory in which the program is run.
pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and the directories it is in.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes a file, gzipped.
    pub(crate) fn write_gz(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        self.write(name, gzip(bytes.as_ref()))
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap()
    }

    /// The program, in this directory and without the tester's environment.
    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
        command.current_dir(self.path()).args(args).stdin(Stdio::null());
        for name in ["P4ROOT", "P4JOURNAL", "P4PORT", "NO_COLOR"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        Ran(self.command(args).output().unwrap())
    }
}

/// What a run of the program came to.
pub(crate) struct Ran(pub(crate) Output);

impl Ran {
    /// Fails, showing all output, unless the program exited with `code`.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.0.status.code(), Some(code), "{self}");
        self
    }

    /// Fails, showing all output, unless standard error has each of the words.
    #[track_caller]
    pub(crate) fn complains<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Self {
        for word in words {
            assert!(self.stderr().contains(word), "no {word:?} in\n{self}");
        }
        self
    }

    /// Fails, showing all output, if anything went to standard error.
    #[track_caller]
    pub(crate) fn quietly(self) -> Self {
        assert!(self.0.stderr.is_empty(), "{self}");
        self
    }

    pub(crate) fn stdout(&self) -> &str {
        std::str::from_utf8(&self.0.stdout).unwrap()
    }

    pub(crate) fn stderr(&self) -> &str {
        std::str::from_utf8(&self.0.stderr).unwrap()
    }

    /// Each line of standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let parse =
            |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout().lines().map(parse).collect()
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdout = String::from_utf8_lossy(&self.0.stdout);
        let stderr = String::from_utf8_lossy(&self.0.stderr);
        write!(f, "{}\n== stdout\n{stdout}\n== stderr\n{stderr}", self.0.status)
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder =
        flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The folder of journals of real servers and of crafted hard cases, which is
/// not part of the repository; says so when it is not there.
pub(crate) fn corpus() -> Option<PathBuf> {
    let path = std::env::var_os("TRIPLINE_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"),
        PathBuf::from,
    );
    if !path.is_dir() {
        eprintln!(
            "skipped: there is no corpus at {}; set TRIPLINE_CORPUS",
            path.display()
        );
        return None;
    }
    Some(path)
}
