//! A sender, a receiver, and the network between them.

use crate::site::{Daemon, wait_until};
use crate::util::{Dir, Ran};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// After this long something will not happen any more.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A directory with `sender` and `receiver` in it.
pub(crate) struct Pair {
    pub(crate) dir: Dir,
    pub(crate) port: u16,
}

impl Pair {
    /// On this machine, without any proof.
    pub(crate) fn new() -> Self {
        let pair = Self::with("", "");
        pair.append("a.log", b"");
        pair
    }

    /// With more arguments of `Forward`, and more of the receiver.
    pub(crate) fn with(forward: &str, receive: &str) -> Self {
        // Others may take it before the receiver does, and the test fails then.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let pair = Self { dir: Dir::new(), port };
        pair.configure_sender(&format!("to: \"tripline://127.0.0.1:{port}\", {forward}"));
        pair.configure_receiver(receive);
        fs::create_dir(pair.path("sender/logs")).unwrap();
        pair
    }

    pub(crate) fn configure_sender(&self, forward: &str) {
        let text = format!(
            "(state: \"state\", sources: {{\"logs\": Log(paths: [\"logs/*.log\"])}},\n\
             listeners: {{\"out\": Forward(from: [\"logs\"], peer: \"web1\", {forward})}})\n"
        );
        self.dir.write("sender/tripline.ron", text);
    }

    pub(crate) fn configure_receiver(&self, more: &str) {
        let text = format!(
            "(listen: \"127.0.0.1:{}\", to: \"in\", state: \"state\", {more})\n",
            self.port
        );
        self.dir.write("receiver/receive.ron", text);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A key of both, in the file `web1.key` of both.
    pub(crate) fn share_a_key(&self, sender: &str, receiver: &str) {
        for (side, key) in [("sender", sender), ("receiver", receiver)] {
            let path = self.dir.write(&format!("{side}/web1.key"), key);
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    /// Appends to a log of the sender.
    pub(crate) fn append(&self, log: &str, bytes: &[u8]) {
        let path = self.log(log);
        let mut log = OpenOptions::new().create(true).append(true).open(path).unwrap();
        log.write_all(bytes).unwrap();
    }

    /// Appends numbered lines.
    pub(crate) fn append_numbered(&self, log: &str, numbers: std::ops::Range<usize>) {
        self.append(log, &numbered(numbers));
    }

    pub(crate) fn log(&self, log: &str) -> PathBuf {
        self.path("sender/logs").join(log)
    }

    /// The file in which the receiver has a log.
    pub(crate) fn received(&self, log: &str) -> PathBuf {
        let path = self.dir.path().canonicalize().unwrap().join("sender/logs").join(log);
        let name = path.to_str().unwrap()[1..].replace('/', "+");
        self.path("receiver/in/web1/logs").join(name)
    }

    #[track_caller]
    pub(crate) fn assert_received(&self, logs: &[&str], context: &str) {
        for log in logs {
            let found = fs::read(self.received(log)).unwrap_or_default();
            let sent = fs::read(self.log(log)).unwrap();
            assert_eq_bytes(&found, &sent, &format!("{context}: {log}"));
        }
    }

    #[track_caller]
    pub(crate) fn wait_until_received(&self, logs: &[&str]) {
        let len = |path: &Path| fs::metadata(path).map_or(0, |it| it.len());
        let is_there =
            || logs.iter().all(|log| len(&self.received(log)) >= len(&self.log(log)));
        assert!(
            wait_until(LONG, is_there),
            "{}\n{}",
            self.said("sender"),
            self.said("receiver")
        );
    }

    /// Waits until the sender has settled everything.
    #[track_caller]
    pub(crate) fn wait_until_settled(&self) {
        let is_settled = wait_until(LONG, || {
            let ran = self.where_is();
            let places: Vec<serde_json::Value> =
                serde_json::from_slice(&ran.0.stdout).unwrap_or_default();
            !places.is_empty() && places.iter().all(|place| place["bytes_behind"] == 0)
        });
        assert!(is_settled, "{}\n{}", self.said("sender"), self.said("receiver"));
    }

    pub(crate) fn where_is(&self) -> Ran {
        self.dir.run(["where", "--json", "sender/tripline.ron"])
    }

    pub(crate) fn receiver(&self) -> Daemon {
        self.spawn("receiver", &mut self.receive_command())
    }

    pub(crate) fn receive_command(&self) -> Command {
        self.dir.command(["receive", "receiver/receive.ron"])
    }

    /// The receiver, when it listens.
    #[track_caller]
    pub(crate) fn listening(&self) -> Daemon {
        let before = self.said("receiver").matches("receiving at").count();
        let receiver = self.receiver();
        let listens = || self.said("receiver").matches("receiving at").count() > before;
        assert!(wait_until(LONG, listens), "{}", self.said("receiver"));
        receiver
    }

    pub(crate) fn sender(&self) -> Daemon {
        self.spawn("sender", &mut self.dir.command(["run", "sender/tripline.ron"]))
    }

    /// Sends everything there is.
    pub(crate) fn send(&self) -> Ran {
        self.dir.run(["run", "--until-idle", "sender/tripline.ron"])
    }

    /// What it says goes into a file.
    pub(crate) fn spawn(&self, side: &str, command: &mut Command) -> Daemon {
        let said = self.path(&format!("{side}/said"));
        let said = OpenOptions::new().create(true).append(true).open(said).unwrap();
        Daemon::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said))
    }

    /// What one side has said so far.
    pub(crate) fn said(&self, side: &str) -> String {
        fs::read_to_string(self.path(&format!("{side}/said"))).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn wait_until_said(&self, side: &str, words: &str) {
        let has_said = wait_until(LONG, || self.said(side).contains(words));
        assert!(
            has_said,
            "never said {words:?}:\n{}\n{}",
            self.said("sender"),
            self.said("receiver")
        );
    }
}

pub(crate) fn numbered(numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.flat_map(|n| format!("line {n:09}\n").into_bytes()).collect()
}

/// Says where they part instead of showing them.
#[track_caller]
pub(crate) fn assert_eq_bytes(found: &[u8], wanted: &[u8], context: &str) {
    if found != wanted {
        let parts = found.iter().zip(wanted).position(|(a, b)| a != b);
        let at = parts.unwrap_or_else(|| found.len().min(wanted.len()));
        let show = |bytes: &[u8]| {
            let from = at.saturating_sub(40);
            String::from_utf8_lossy(&bytes[from..bytes.len().min(at + 60)]).into_owned()
        };
        panic!(
            "{context}: {} bytes instead of {}, other ones from {at}:\n{}\n-- instead of\n{}",
            found.len(),
            wanted.len(),
            show(found),
            show(wanted)
        );
    }
}
