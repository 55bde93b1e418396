//! Where a scenario takes place: a file system, a way to watch it, a directory
//! with logs, and the daemon that follows them.

use super::lines::{Delivered, Writer};
use super::receiver::Receiver;
use crate::site::{Daemon, in_words, wait_until};
use crate::util;
use serde_json::Value;
use std::cell::RefCell;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// After this long something will not happen any more. Shorter than the half
/// minute after which everything is looked at without a reason: what is found
/// only then is found too late.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);
/// How many runs of lines a failed test shows.
const TOLD_MAX: usize = 40;
/// More lines than this on standard error are a flood.
const SAID_MAX: usize = 200;

/// What files are kept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    Memory,
    Real,
}

/// How the daemon learns of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    Events,
    /// A tenth of a second apart, for the tests to be fast.
    Poll,
}

/// Runs a scenario on both file systems and in both ways, at the same time.
pub(crate) fn on_each(scenario: impl Fn(&Ground) + Sync) {
    on_these(
        &[
            (Disk::Memory, Watch::Events),
            (Disk::Memory, Watch::Poll),
            (Disk::Real, Watch::Events),
            (Disk::Real, Watch::Poll),
        ],
        scenario,
    );
}

pub(crate) fn on_these(grounds: &[(Disk, Watch)], scenario: impl Fn(&Ground) + Sync) {
    on_these_under_other_limits(grounds, |ground| {
        let _limits = util::usual_limits();
        scenario(ground);
    });
}

/// The same for a scenario that changes limits of the system itself.
pub(crate) fn on_these_under_other_limits(
    grounds: &[(Disk, Watch)],
    scenario: impl Fn(&Ground) + Sync,
) {
    let grounds = grounds.iter().filter_map(|&(disk, watch)| Ground::new(disk, watch));
    std::thread::scope(|scope| {
        let threads: Vec<_> = grounds
            .map(|ground| {
                let name = ground.to_string();
                let scenario = &scenario;
                (name, scope.spawn(move || scenario(&ground)))
            })
            .collect();
        let failed: Vec<_> = threads
            .into_iter()
            .filter_map(|(name, thread)| thread.join().is_err().then_some(name))
            .collect();
        assert!(failed.is_empty(), "failed on {failed:?}");
    });
}

/// A directory with logs, and everything around them.
pub(crate) struct Ground {
    pub(crate) disk: Disk,
    pub(crate) watch: Watch,
    root: PathBuf,
    /// Up to where what is printed was looked through.
    looked: RefCell<(u64, Vec<u8>)>,
    _directory: tempfile::TempDir,
}

impl Ground {
    fn new(disk: Disk, watch: Watch) -> Option<Self> {
        let place = match disk {
            Disk::Memory => Path::new("/dev/shm"),
            Disk::Real => Path::new(env!("CARGO_TARGET_TMPDIR")),
        };
        let directory = match tempfile::tempdir_in(place) {
            Ok(directory) => directory,
            Err(error) => {
                eprintln!("skipped on {}: {error}", place.display());
                return None;
            }
        };
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir(root.join("logs")).unwrap();
        fs::create_dir(root.join("out")).unwrap();
        let looked = RefCell::default();
        Some(Self { disk, watch, root, looked, _directory: directory })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A file in the folder with the logs.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(name)
    }

    /// A file in the folder in which the program writes.
    pub(crate) fn out(&self, name: &str) -> PathBuf {
        self.root.join("out").join(name)
    }

    fn printed_path(&self) -> PathBuf {
        self.out("printed.jsonl")
    }

    /// One source with these arguments; what comes is printed and, to a
    /// receiver, forwarded.
    pub(crate) fn configure(&self, source: &str, receiver: Option<&Receiver>) {
        let forward = receiver.map_or_else(String::new, |receiver| {
            let to = receiver.address();
            format!(
                "\"central\": Forward(from: [\"logs\"], to: \"{to}\", format: Lines),"
            )
        });
        self.configure_with(
            source,
            &format!(
                "\"audit\": Print(from: [\"logs\"], to: \"out/printed.jsonl\"), {forward}"
            ),
        );
    }

    pub(crate) fn configure_with(&self, source: &str, listeners: &str) {
        let text = format!(
            "(state: \"out/state\", sources: {{ \"logs\": Log({source}) }}, \
             listeners: {{ {listeners} }})\n"
        );
        fs::write(self.root.join("tripline.ron"), text).unwrap();
    }

    /// The program; what it says is kept.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.command_of(Command::new(env!("CARGO_BIN_EXE_tripline")), words)
    }

    /// The same, by way of another program that is given the command.
    pub(crate) fn command_of(&self, mut command: Command, words: &[&str]) -> Command {
        command.args(words).arg(self.root.join("tripline.ron"));
        if words[0] == "run" && self.watch == Watch::Poll {
            command.arg("--poll=100ms");
        }
        let said =
            OpenOptions::new().create(true).append(true).open(self.out("said")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        command
    }

    pub(crate) fn start(&self) -> Running<'_> {
        self.start_with(&mut self.command(&["run"]))
    }

    pub(crate) fn start_with(&self, command: &mut Command) -> Running<'_> {
        Running { ground: self, daemon: Daemon::spawn(command) }
    }

    /// Runs until everything there is was delivered.
    pub(crate) fn catch_up(&self) {
        let status = self.command(&["run", "--until-idle"]).status().unwrap();
        assert!(status.success(), "{self}: {status}");
    }

    /// What the program has said on standard error so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.out("said")).unwrap_or_default()
    }

    /// Waits until it has said this.
    pub(crate) fn wait_until_said(&self, words: &str) {
        let has_said = wait_until(PATIENCE, || self.said().contains(words));
        assert!(has_said, "{self}: never said {words:?}");
    }

    /// Waits until `where` gives this as the reason why something waits.
    pub(crate) fn wait_until_it_waits_for(&self, words: &str) {
        let is_why =
            |place: &Value| place["why"].as_str().is_some_and(|why| why.contains(words));
        let waits = wait_until(PATIENCE, || self.places().iter().any(is_why));
        assert!(waits, "{self}: does not wait for {words:?}: {:?}", self.places());
    }

    /// Everything that is printed in whole lines.
    pub(crate) fn printed(&self) -> Vec<Printed> {
        let bytes = fs::read(self.printed_path()).unwrap_or_default();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = bytes[..whole].split(|byte| *byte == b'\n');
        lines.filter(|line| !line.is_empty()).map(Printed::parse).collect()
    }

    /// The lines of the logs that were printed.
    pub(crate) fn printed_texts(&self) -> Vec<String> {
        let whole = |it: Printed| (!it.is_gap() && !it.is_partial()).then(|| it.text());
        self.printed().into_iter().filter_map(whole).collect()
    }

    pub(crate) fn gaps(&self) -> Vec<Printed> {
        self.printed().into_iter().filter(Printed::is_gap).collect()
    }

    pub(crate) fn delivered(&self) -> Delivered {
        Delivered::new(&self.printed_texts(), self)
    }

    /// Waits until the last line of each of these is printed.
    pub(crate) fn wait_for(&self, writers: &[&Writer]) {
        self.wait_for_within(PATIENCE, writers);
    }

    pub(crate) fn wait_for_within(&self, limit: Duration, writers: &[&Writer]) {
        let mut last: Vec<_> = writers.iter().map(|it| it.last()).collect();
        *self.looked.borrow_mut() = Default::default();
        let is_there = wait_until(limit, || {
            self.look_through_new(|bytes| {
                last.retain(|line| {
                    memchr::memmem::find(bytes, line.as_bytes()).is_none()
                });
            });
            last.is_empty()
        });
        assert!(is_there, "{self}: never came: {last:?}");
    }

    /// Shows what was printed since the last look, and a bit before it.
    fn look_through_new(&self, mut look: impl FnMut(&[u8])) {
        const OVERLAP: usize = 100;
        let Ok(mut file) = File::open(self.printed_path()) else { return };
        let (offset, bytes) = &mut *self.looked.borrow_mut();
        file.seek(SeekFrom::Start(*offset)).unwrap();
        let before = bytes.len();
        *offset += file.read_to_end(bytes).unwrap() as u64;
        if bytes.len() > before {
            look(bytes);
            bytes.drain(..bytes.len().saturating_sub(OVERLAP));
        }
    }

    /// All that these wrote is printed, once and in order, and the program knows
    /// that nothing is left.
    pub(crate) fn assert_printed(&self, writers: &[&Writer]) {
        self.delivered().assert_complete(writers, 0, self);
        self.assert_settled();
    }

    /// The same of what was forwarded, where some lines may have come twice.
    pub(crate) fn assert_received(
        &self,
        receiver: &Receiver,
        writers: &[&Writer],
        duplicates_max: usize,
    ) {
        let context = format!("{self}: the receiver");
        let delivered = Delivered::new(&receiver.lines(), &context);
        delivered.assert_complete(writers, duplicates_max, &context);
    }

    /// Where each listener is in each log; the daemon has stopped.
    pub(crate) fn places(&self) -> Vec<Value> {
        let mut command = self.command(&["where", "--json"]);
        let Output { status, stdout, .. } =
            command.stdout(Stdio::piped()).output().unwrap();
        assert!(status.success(), "{self}: {status}");
        serde_json::from_slice::<Vec<Value>>(&stdout).unwrap()
    }

    /// The cursors are at the ends of the files.
    pub(crate) fn assert_settled(&self) {
        for place in self.places() {
            assert_eq!(place["bytes_behind"], 0, "{self}: {place}");
        }
    }

    /// Waits until the cursors are at the ends of the files.
    pub(crate) fn wait_until_settled(&self) {
        let is_settled = || self.places().iter().all(|place| place["bytes_behind"] == 0);
        assert!(wait_until(PATIENCE, is_settled), "{self}: {:?}", self.places());
    }

    /// Rotates a log with the program that everybody uses.
    pub(crate) fn logrotate(&self, log: &str, directives: &str) {
        let config = self.root.join("logrotate.conf");
        let log = self.log(log);
        let text = format!("\"{}\" {{\n    {directives}\n}}\n", log.display());
        fs::write(&config, text).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("logrotate")
            // Where a user's search path does not lead.
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .args(["--force", "--state"])
            .arg(self.root.join("logrotate.state"))
            .arg(&config)
            .output()
            .unwrap_or_else(|e| panic!("no logrotate ({e}): tests/tools installs it"));
        let is_well = output.status.success() && output.stderr.is_empty();
        assert!(is_well, "{self}: {directives}: {}", in_words(&output));
    }
}

/// For whoever wants to know why a test failed.
impl Ground {
    /// Gaps, and the first and the last of the lines that follow each other in a
    /// file.
    fn tell_what_was_printed(&self) {
        let printed = self.printed();
        let mut files: Vec<_> = printed
            .chunk_by(|one, next| !next.is_gap() && one.is_in_file_of(next))
            .collect();
        let left_out = files.len().saturating_sub(TOLD_MAX);
        eprintln!("printed, but for {left_out} runs of lines:");
        for lines in files.split_off(left_out) {
            let [first, .., last] = lines else {
                eprintln!("  {}", lines[0].0);
                continue;
            };
            eprintln!(
                "  {} to {}: {}",
                first.0["id"],
                last.0["id"],
                first.path().display()
            );
            eprintln!("    {}\n    {}", first.0["text"], last.0["text"]);
        }
    }
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.disk, self.watch)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{self}: what it said:\n{}", self.said());
            self.tell_what_was_printed();
            let mut listing = Command::new("ls");
            let listing = listing.arg("-liR").arg(self.root.join("logs")).output();
            let listing = listing.map(|it| it.stdout).unwrap_or_default();
            eprintln!("{}", String::from_utf8_lossy(&listing[..listing.len().min(3000)]));
        }
    }
}

/// A line of `Print`.
#[derive(Clone, Debug)]
pub(crate) struct Printed(Value);

impl Printed {
    fn parse(line: &[u8]) -> Self {
        Self(serde_json::from_slice(line).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(line));
        }))
    }

    pub(crate) fn text(&self) -> String {
        self.0["text"].as_str().unwrap_or_else(|| panic!("{}", self.0)).to_owned()
    }

    /// The text of an entry that is text.
    pub(crate) fn utf8(&self) -> Option<String> {
        self.0["text"].as_str().map(str::to_owned)
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(self.0["path"].as_str().unwrap_or_else(|| panic!("{}", self.0)))
    }

    pub(crate) fn is_gap(&self) -> bool {
        self.0.get("gap").is_some()
    }

    /// The kind of the gap.
    pub(crate) fn kind(&self) -> &str {
        self.0["gap"]["kind"].as_str().unwrap_or_else(|| panic!("{}", self.0))
    }

    fn is_in_file_of(&self, other: &Self) -> bool {
        let file = |it: &Self| (it.0["path"].clone(), it.0["sequence"].clone());
        file(self) == file(other)
    }

    pub(crate) fn is_partial(&self) -> bool {
        self.0["partial"] == true
    }
}

/// A daemon at work.
pub(crate) struct Running<'a> {
    ground: &'a Ground,
    daemon: Daemon,
}

impl Running<'_> {
    /// It is what was started, and is well.
    pub(crate) fn assert_alive(&mut self) {
        assert!(self.daemon.is_running(), "{}: the daemon ended", self.ground);
    }

    /// Stops it as a supervisor does, and sees that it was well all along.
    pub(crate) fn stop(mut self) {
        self.assert_alive();
        self.daemon.stop();
        let said = self.ground.said();
        assert!(!said.contains("panicked"), "{}: {said}", self.ground);
        let count = said.lines().count();
        assert!(count < SAID_MAX, "{}: said {count} lines", self.ground);
    }

    pub(crate) fn kill(self) {
        self.daemon.kill();
    }

    /// Lets it sleep until [`Running::wake`].
    pub(crate) fn freeze(&self) {
        self.daemon.signal(rustix::process::Signal::STOP);
        let stat = format!("/proc/{}/stat", self.daemon.pid());
        let sleeps = || fs::read_to_string(&stat).unwrap().contains(") T ");
        assert!(wait_until(PATIENCE, sleeps), "{}: does not stop", self.ground);
    }

    pub(crate) fn wake(&self) {
        self.daemon.signal(rustix::process::Signal::CONT);
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.daemon.pid())).unwrap().count()
    }

    /// How many bytes it has read from files since it started.
    pub(crate) fn bytes_read(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.daemon.pid())).unwrap();
        io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
    }

    /// The processor time that it has used, to a hundredth of a second.
    pub(crate) fn processor_time(&self) -> Duration {
        self.daemon.processor_time()
    }

    /// How much memory it has, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.daemon.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// Lets time pass, where the passing of time is what is tested.
pub(crate) fn pause(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// Fails unless something holds all the time.
pub(crate) fn stays(time: Duration, mut holds: impl FnMut() -> bool) -> bool {
    !wait_until(time, || !holds())
}
