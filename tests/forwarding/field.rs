//! A log that is forwarded.

use crate::site::{Daemon, wait_until};
use crate::util::{Dir, Ran};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// After this long something will not happen any more.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A directory with a log, and what is configured to forward it.
pub(crate) struct Field(Dir);

impl Field {
    /// Forwards the log with these arguments: `to` and `format` at least.
    pub(crate) fn new(arguments: &str) -> Self {
        let field = Self(Dir::new());
        field.0.write("app.log", b"");
        field.configure(arguments);
        field
    }

    pub(crate) fn configure(&self, arguments: &str) {
        self.configure_with(&format!("\"out\": Forward(from: [\"app\"], {arguments})"));
    }

    pub(crate) fn configure_with(&self, listeners: &str) {
        let text = format!(
            "(state: \"state\", sources: {{ \"app\": Log(paths: [\"app.log\"]) }}, \
             listeners: {{ {listeners} }})\n"
        );
        self.0.write("tripline.ron", text);
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path().join("app.log")
    }

    /// Appends to the log.
    pub(crate) fn append(&self, bytes: &[u8]) {
        let mut log = OpenOptions::new().append(true).open(self.log()).unwrap();
        log.write_all(bytes).unwrap();
    }

    /// Appends numbered lines.
    pub(crate) fn append_numbered(&self, numbers: std::ops::Range<usize>) {
        let lines = numbers.flat_map(|n| format!("line {n:06}\n").into_bytes());
        self.append(&lines.collect::<Vec<u8>>());
    }

    /// Runs until everything there is was delivered.
    #[track_caller]
    pub(crate) fn catch_up(&self) {
        self.run().exits(0);
    }

    pub(crate) fn run(&self) -> Ran {
        self.0.run(["run", "--until-idle", "tripline.ron"])
    }

    /// How far each listener is.
    pub(crate) fn places(&self) -> Vec<serde_json::Value> {
        let ran = self.0.run(["where", "--json", "tripline.ron"]);
        serde_json::from_slice(&ran.0.stdout)
            .unwrap_or_else(|error| panic!("{error}: {ran}"))
    }

    /// What was set aside.
    pub(crate) fn dead(&self) -> Vec<serde_json::Value> {
        self.0.run(["dead", "list", "--json", "tripline.ron"]).exits(0).json()
    }

    /// How far a listener is behind the end of the log, in bytes.
    pub(crate) fn behind(&self, listener: &str) -> Option<u64> {
        let places = self.places();
        let place = places.iter().find(|place| place["listener"] == listener)?;
        place["bytes_behind"].as_u64()
    }

    #[track_caller]
    pub(crate) fn wait_until_settled(&self) {
        let is_settled = wait_until(LONG, || self.behind("out") == Some(0));
        assert!(is_settled, "{:?}\n{}", self.places(), self.said());
    }

    /// What it says goes into a file.
    pub(crate) fn start(&self) -> Daemon {
        self.spawn(self.0.command(["run", "tripline.ron"]))
    }

    /// The same, by way of another program that is given the command.
    pub(crate) fn start_by(&self, mut command: Command) -> Daemon {
        let program = env!("CARGO_BIN_EXE_tripline");
        command.current_dir(self.path()).args([program, "run", "tripline.ron"]);
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Daemon {
        let said = self.path().join("said");
        let said = OpenOptions::new().create(true).append(true).open(said).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        Daemon::spawn(&mut command)
    }

    /// What a daemon has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.path().join("said")).unwrap_or_default()
    }

    /// Waits until a daemon has said this.
    #[track_caller]
    pub(crate) fn wait_until_said(&self, words: &str) {
        let has_said = wait_until(LONG, || self.said().contains(words));
        assert!(has_said, "never said {words:?}:\n{}", self.said());
    }
}
