//! A place with a journal, a configuration with a mirror and a print, and the
//! program; and what must be there when it has delivered everything.

use p4journal::Splitter;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// No program takes so long to start.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// One journal: its number, and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

/// A directory with everything in it.
pub(crate) struct Site {
    directory: tempfile::TempDir,
    root: PathBuf,
}

impl Site {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("p4root/checkpoints")).unwrap();
        fs::create_dir(root.join("out")).unwrap();
        let site = Self { directory, root };
        site.configure(
            r#"
            "standby": Mirror(from: ["p4"], to: "out/backup", on_gap: Stop),
            "audit": Print(from: ["p4"], to: "out/audit.jsonl"),"#,
        );
        site
    }

    /// Writes the configuration with these listeners.
    pub(crate) fn configure(&self, listeners: &str) {
        let text = format!(
            "(\n    state: \"out/state\",\n    sources: {{ \"p4\": Journal(\
             path: \"p4root/journal\", rotated: [\"p4root/checkpoints\"], \
             gap_after: \"1s\") }},\n    listeners: {{{listeners}\n    }},\n)\n"
        );
        fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.root.join("tripline.ron")
    }

    /// Where everything is that the program writes.
    pub(crate) fn out(&self) -> PathBuf {
        self.root.join("out")
    }

    pub(crate) fn live(&self) -> PathBuf {
        self.root.join("p4root/journal")
    }

    pub(crate) fn rotated(&self, number: u64) -> PathBuf {
        self.root.join(format!("p4root/checkpoints/journal.{number}"))
    }

    /// Puts journals where a server leaves them: the last one live.
    pub(crate) fn lay_out(&self, journals: &[Journal]) {
        let (live, rotated) = journals.split_last().expect("at least one journal");
        for journal in rotated {
            fs::write(self.rotated(journal.number), &journal.bytes).unwrap();
        }
        fs::write(self.live(), &live.bytes).unwrap();
    }

    /// The program, with the arguments that come before the configuration.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
        command.args(words).arg(self.config());
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn until_idle(&self) -> Output {
        self.command(&["run", "--until-idle"]).output().unwrap()
    }

    /// Runs until idle, which must go well.
    pub(crate) fn catch_up(&self) {
        let output = self.until_idle();
        assert!(output.status.success(), "{}", in_words(&output));
    }

    pub(crate) fn start_daemon(&self) -> Daemon {
        let mut command = self.command(&["run"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Daemon(command.spawn().unwrap())
    }

    /// How many bytes the mirror holds.
    pub(crate) fn mirrored_bytes(&self) -> u64 {
        let Ok(entries) = fs::read_dir(self.out().join("backup")) else { return 0 };
        entries
            .flatten()
            .filter(|e| !e.file_name().to_string_lossy().ends_with(".sha256"))
            .filter_map(|e| e.metadata().ok())
            .map(|m| m.len())
            .sum()
    }

    /// Everything is mirrored byte for byte, and printed once, in order.
    pub(crate) fn assert_delivered(&self, journals: &[Journal], context: &str) {
        self.assert_mirrored(journals, context);
        self.assert_printed(journals, context);
    }

    pub(crate) fn assert_mirrored(&self, journals: &[Journal], context: &str) {
        let backup = self.out().join("backup");
        let (live, rotated) = journals.split_last().expect("at least one journal");
        for journal in rotated {
            let path = backup.join(format!("journal.{}", journal.number));
            let mirrored = fs::read(&path)
                .unwrap_or_else(|e| panic!("{context}: {}: {e}", path.display()));
            assert!(mirrored == journal.bytes, "{context}: journal {}", journal.number);
            let hash = path.with_file_name(format!("journal.{}.sha256", journal.number));
            let written = fs::read_to_string(hash).unwrap();
            let sum = Sha256::digest(&mirrored);
            let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(
                written,
                format!("{hex}  journal.{}\n", journal.number),
                "{context}"
            );
        }
        let mirrored = fs::read(backup.join("journal")).unwrap();
        assert!(
            mirrored == live.bytes,
            "{context}: the live journal: {} bytes, not {}",
            mirrored.len(),
            live.bytes.len()
        );
    }

    pub(crate) fn assert_printed(&self, journals: &[Journal], context: &str) {
        let printed = fs::read(self.out().join("audit.jsonl")).unwrap();
        let mut lines = printed.split_inclusive(|byte| *byte == b'\n');
        for expected in ids(journals) {
            let line = lines.next().map(|l| String::from_utf8_lossy(l).into_owned());
            let line = line.unwrap_or_else(|| panic!("{context}: {expected} is missing"));
            let found = line.strip_prefix("{\"id\":\"").and_then(|l| l.split('"').next());
            assert_eq!(found, Some(expected.as_str()), "{context}: {line}");
            assert!(line.ends_with("}\n"), "{context}: torn: {line}");
        }
        assert_eq!(lines.next(), None, "{context}: more than there was");
    }

    /// Keeps the directory for somebody to look at.
    #[expect(dead_code, reason = "for hunting a failure by hand")]
    pub(crate) fn keep(self) -> PathBuf {
        self.directory.keep()
    }
}

/// The ids of all records, in order.
fn ids(journals: &[Journal]) -> Vec<String> {
    let mut ids = Vec::new();
    for journal in journals {
        // A first journal has no number inside, so its sequence is 0.
        let head = p4journal::Head::read(&journal.bytes);
        let sequence = head.number().unwrap_or(0);
        let mut splitter = Splitter::new();
        let mut at = 0;
        while let Some(piece) = splitter.next(&journal.bytes[at..]) {
            ids.push(format!("p4/{sequence}/{at}"));
            at += piece.len;
        }
    }
    ids
}

/// A running daemon; killed when it is forgotten.
pub(crate) struct Daemon(Child);

impl Daemon {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Whether it would do something of its own on a signal, or is over.
    fn heeds(&self, signal: rustix::process::Signal) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let Ok(status) = status else { return true };
        if status.contains("\nState:\tZ") {
            return true;
        }
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask, 16).ok());
        caught.is_none_or(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(mut self) {
        // One that was just started would be ended by the signal.
        assert!(wait_until(START_PATIENCE, || self.heeds(rustix::process::Signal::TERM)));
        self.signal(rustix::process::Signal::TERM);
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The processor time that it has used, to a hundredth of a second.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<_> =
            stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 =
            [11, 12].iter().map(|at| fields[*at].parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Looks until a condition holds, for at most so long; returns whether it does.
pub(crate) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    true
}

pub(crate) fn in_words(output: &Output) -> String {
    format!(
        "{}\n-- stdout\n{}\n-- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A few small journals of our own: numbered, with descriptions over several
/// lines, transactions of one and of many records.
pub(crate) fn small_journals(count: u64) -> Vec<Journal> {
    let mut journals = Vec::new();
    for number in 1..=count {
        let mut text = format!(
            "@nx@ 2 170000000{number} @58@ 1 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
             @vv@ 1 @db.counters@ @journal@ @{number}@ \n@ex@ 10 170000000{number}\n"
        );
        for change in 1..=3 {
            text += &format!(
                "@pv@ 0 @db.desc@ {change} @Line one of {number}.\nLine two, to \
                 bob@@@@example.net\n@ \n@ex@ 20 17000000{number}{change}\n"
            );
        }
        if number < count {
            text += &format!(
                "@rv@ 1 @db.counters@ @journal@ @{}@ \n\
                 @nx@ 3 1700000099 @58@ 0 0 0 0 0 @@ @@ @@ @@ @@ \n@ex@ 11 1700000099\n",
                number + 1
            );
        }
        journals.push(Journal { number, bytes: text.into_bytes() });
    }
    journals
}

/// The journals of the corpus, in order; `None`, said aloud, when it is absent.
pub(crate) fn corpus_journals() -> Option<Vec<Journal>> {
    let folder = std::env::var_os("TRIPLINE_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"),
        PathBuf::from,
    );
    let folder = folder.join("p4d-a");
    if !folder.is_dir() {
        eprintln!("skipped: no corpus at {}", folder.display());
        return None;
    }
    let mut journals: Vec<_> = (1..=15)
        .map(|number| Journal {
            number,
            bytes: fs::read(folder.join(format!("journal.{number}"))).unwrap(),
        })
        .collect();
    let bytes = fs::read(folder.join("journal")).unwrap();
    journals.push(Journal { number: 16, bytes });
    Some(journals)
}
