//! Two logs with rotated and compressed files, and a directory in which nothing
//! but the program writes.

use crate::log_archives::GZIP;
use crate::logs::lines::{Delivered, Writer};
use crate::logs::receiver::Receiver;
use crate::site::{in_words, wait_until};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

/// Each log has a compressed file, a rotated one and one that is written to.
const LOGS: [&str; 2] = ["app.log", "auth.log"];

pub(super) struct Place {
    directory: tempfile::TempDir,
    pub(super) writers: Vec<Writer>,
}

impl Place {
    pub(super) fn new(receiver: Option<&Receiver>) -> Self {
        // In memory, where a sync costs nothing: there are thousands.
        let directory = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")))
            .unwrap();
        let mut place = Self { directory, writers: Vec::new() };
        fs::create_dir(place.root().join("logs")).unwrap();
        fs::create_dir(place.out()).unwrap();
        let forward = receiver.map_or_else(String::new, |receiver| {
            let to = receiver.address();
            format!(
                "\"central\": Forward(from: [\"logs\"], to: \"{to}\", format: Lines),"
            )
        });
        let config = format!(
            "(state: \"out/state\", sources: {{ \"logs\": Log(paths: [\"logs/*.log\"]) }}, \
             listeners: {{ \"audit\": Print(from: [\"logs\"], to: \"out/printed.jsonl\"), \
             {forward} }})\n"
        );
        fs::write(place.config(), config).unwrap();
        for (name, log) in (0..).zip(LOGS) {
            let mut writer = Writer::new(name, &place.log(log));
            for (age, rotated) in [(60, Some("2.gz")), (30, Some("1")), (0, None)] {
                writer.write(5);
                let live = place.log(log);
                // As far apart as they would be.
                let then = SystemTime::now() - Duration::from_secs(3600 + age);
                File::options()
                    .append(true)
                    .open(&live)
                    .unwrap()
                    .set_modified(then)
                    .unwrap();
                let Some(rotated) = rotated else { continue };
                let plain = place.log(&format!("{log}.{}", &rotated[..1]));
                fs::rename(&live, &plain).unwrap();
                if rotated.ends_with("gz") {
                    GZIP.compress_file(&plain);
                }
                writer.reopen(&live);
            }
            place.writers.push(writer);
        }
        place
    }

    pub(super) fn root(&self) -> &Path {
        self.directory.path()
    }

    fn config(&self) -> PathBuf {
        self.root().join("tripline.ron")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.root().join("logs").join(name)
    }

    /// Everything that the program writes is in here.
    pub(super) fn out(&self) -> PathBuf {
        self.root().join("out")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.out().join("state")
    }

    pub(super) fn database(&self) -> PathBuf {
        self.state().join("tripline.db")
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
        command.args(words).arg(self.config()).stdin(Stdio::null());
        command
    }

    pub(super) fn until_idle(&self) -> Output {
        self.command(&["run", "--until-idle"]).output().unwrap()
    }

    pub(super) fn catch_up(&self, context: &str) {
        let output = self.until_idle();
        assert!(output.status.success(), "{context}: {}", in_words(&output));
    }

    /// Every log is rotated once more, and written on.
    pub(super) fn rotate(&mut self) {
        for (writer, log) in self.writers.iter_mut().zip(LOGS) {
            let numbered = |end: &str| {
                self.directory.path().join("logs").join(format!("{log}{end}"))
            };
            fs::rename(numbered(".2.gz"), numbered(".3.gz")).unwrap();
            fs::rename(numbered(".1"), numbered(".2")).unwrap();
            GZIP.compress_file(&numbered(".2"));
            fs::rename(numbered(""), numbered(".1")).unwrap();
            writer.reopen(&numbered(""));
            writer.write(5);
        }
    }

    pub(super) fn write(&mut self, count: u64) {
        self.writers.iter_mut().for_each(|writer| writer.write(count));
    }

    fn all(&self) -> Vec<&Writer> {
        self.writers.iter().collect()
    }

    /// The texts that were printed; fails at a gap, and at a torn line.
    pub(super) fn printed(&self, context: &str) -> Vec<String> {
        let printed =
            fs::read_to_string(self.out().join("printed.jsonl")).unwrap_or_default();
        let text = |line: &str| {
            let value: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{context}: {error}: {line}"));
            value["text"]
                .as_str()
                .unwrap_or_else(|| panic!("{context}: {line}"))
                .to_owned()
        };
        printed.lines().map(text).collect()
    }

    /// Whether the last line of every log is printed.
    pub(super) fn is_printed(&self) -> bool {
        let printed = fs::read(self.out().join("printed.jsonl")).unwrap_or_default();
        let is_there =
            |it: &Writer| memchr::memmem::find(&printed, it.last().as_bytes()).is_some();
        self.writers.iter().all(is_there)
    }

    /// Everything is printed once, in order; the places are the ends of the
    /// files; and what was received is all of it, if there was a receiver.
    pub(super) fn assert_delivered(&self, receiver: Option<&Receiver>, context: &str) {
        let printed = self.printed(context);
        Delivered::new(&printed, &context).assert_complete(&self.all(), 0, &context);
        for row in self.places(context) {
            assert_eq!(row["bytes_behind"], 0, "{context}: {row}");
        }
        if let Some(receiver) = receiver {
            // What the system has acknowledged the receiver may not have read.
            let has_all = || self.writers.iter().all(|it| receiver.has(&it.last()));
            wait_until(Duration::from_secs(25), has_all);
            let lines = receiver.lines();
            // At most all of it twice: it may have died before anything was
            // settled.
            let again_max = lines.len() / 2;
            let delivered = Delivered::new(&lines, &context);
            delivered.assert_complete(&self.all(), again_max, &context);
        }
    }

    /// What the program says of where everybody is.
    pub(super) fn places(&self, context: &str) -> Vec<Value> {
        let output = self.command(&["where", "--json"]).output().unwrap();
        assert!(output.status.success(), "{context}: {}", in_words(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}
