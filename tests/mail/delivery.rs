//! Who gets what.

use super::postfix::{Mail, Postfix};
use crate::site::{Daemon, in_words, wait_until};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// So long anything may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A log, and a listener that mails its lines, each in a line of the body.
pub(super) struct Office {
    directory: tempfile::TempDir,
    listener: String,
    log: File,
    written: usize,
}

impl Office {
    /// `fields` are further ones of the listener.
    pub(super) fn new(listener: &str, via: &str, fields: &str) -> Self {
        // In memory, where a sync costs nothing.
        let directory = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")))
            .unwrap();
        let root = directory.path();
        fs::create_dir(root.join("out")).unwrap();
        let log = File::create(root.join("app.log")).unwrap();
        let config = format!(
            r#"(
    state: "out/state",
    sources: {{ "app": Log(paths: ["app.log"]) }},
    listeners: {{
        "{listener}": Mail(
            from: ["app"],
            to: ["Ops <ops@example.com>"],
            sender: "tripline@example.com",
            via: {via},
            body: "{{% for entry in entries %}}{{{{ entry.text }}}}\n{{% endfor %}}",
            {fields}
        ),
    }},
)
"#
        );
        fs::write(root.join("tripline.ron"), config).unwrap();
        Self { listener: listener.to_owned(), directory, log, written: 0 }
    }

    pub(super) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn out(&self) -> PathBuf {
        self.root().join("out")
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
        command.args(words).arg(self.root().join("tripline.ron")).stdin(Stdio::null());
        command
    }

    pub(super) fn start(&self) -> Daemon {
        let said = File::options()
            .create(true)
            .append(true)
            .open(self.root().join("said"))
            .unwrap();
        let mut command = self.command(&["run"]);
        command.stdout(Stdio::null()).stderr(said);
        Daemon::spawn(&mut command)
    }

    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.root().join("said")).unwrap_or_default()
    }

    pub(super) fn until_idle(&self) {
        let output = self.command(&["run", "--until-idle"]).output().unwrap();
        assert!(output.status.success(), "{}", in_words(&output));
    }

    pub(super) fn write(&mut self, text: &[u8]) {
        self.log.write_all(text).unwrap();
    }

    /// Writes so many numbered lines.
    pub(super) fn write_lines(&mut self, count: usize) {
        let numbers = self.written..self.written + count;
        let text: String = numbers.map(|number| format!("line {number}\n")).collect();
        self.written += count;
        self.write(text.as_bytes());
    }

    /// Each line is in one mail. A mail may have come twice, but not more often
    /// than the program died.
    pub(super) fn assert_all_once(
        &self,
        postfix: &Postfix,
        deaths: usize,
        context: &str,
    ) {
        let mails = postfix.distinct(&self.listener, "ops");
        let count: u64 = mails.iter().map(|(mail, _)| mail.entries()).sum();
        let mut lines: Vec<&str> =
            mails.iter().flat_map(|(mail, _)| mail.body.lines()).collect();
        let wanted: Vec<String> =
            (0..self.written).map(|number| format!("line {number}")).collect();
        lines.sort_by_key(|line| line[5..].parse::<usize>().unwrap());
        assert_eq!(lines, wanted, "{context}");
        assert_eq!(count, self.written as u64, "{context}");
        let twice: usize = mails.iter().map(|(_, times)| times - 1).sum();
        assert!(twice <= deaths, "{context}: {twice} came twice");
    }

    /// Waits until so many lines are in mails that were delivered.
    fn wait_for_lines(&self, postfix: &Postfix, count: usize) {
        let mut found = 0;
        let is_there = || {
            let mails = postfix.distinct(&self.listener, "ops");
            found = mails.iter().map(|(mail, _)| mail.entries()).sum();
            found >= count as u64
        };
        let is_there = wait_until(LIMIT, is_there);
        assert!(is_there, "{found} of {count} lines\n{}", self.said());
    }
}

pub(super) fn smtp(postfix: &Postfix) -> String {
    format!("Smtp(server: \"{}\", timeout: \"20s\")", postfix.server())
}

const AT_ONCE: &str = r#"digest: (after: "0s", every: "0s", show: 1000)"#;

#[test]
fn through_kills_and_restarts_everything_arrives_once() {
    let postfix = Postfix::start();
    let rhythm = r#"digest: (after: "30ms", every: "50ms", show: 1000)"#;
    let mut office = Office::new("killed", &smtp(&postfix), rhythm);
    let kills = 25;
    let mut mailed = 0;
    for round in 0..kills {
        let daemon = office.start();
        office.write_lines(20);
        // Somewhere between nothing done and all done.
        match round % 5 {
            0 => office.wait_for_lines(&postfix, mailed + 1),
            1 => {
                let file = office.out().join("state/listeners/killed/outbox");
                wait_until(Duration::from_millis(500), || file.exists());
            }
            part => {
                let until = Duration::from_millis(40 * part);
                wait_until(until, || false);
            }
        }
        office.write_lines(7);
        daemon.kill();
        mailed = office.written;
        if round == kills / 2 {
            postfix.end();
            let daemon = office.start();
            office.write_lines(50);
            let waits = || office.said().contains("cannot connect");
            assert!(wait_until(LIMIT, waits), "{}", office.said());
            postfix.begin();
            office.wait_for_lines(&postfix, office.written);
            daemon.stop();
        }
        if round % 5 == 0 {
            office.until_idle();
        }
    }
    office.until_idle();
    office.assert_all_once(&postfix, kills as usize, "in the end");
    // And nothing more when it starts once again.
    let before = postfix.mails("killed").len();
    office.until_idle();
    assert_eq!(postfix.mails("killed").len(), before);
}

#[test]
fn a_stop_does_not_wait_for_a_digest() {
    let postfix = Postfix::start();
    let hour = r#"digest: (after: "1h", or_entries: 10)"#;
    let mut office = Office::new("stopped", &smtp(&postfix), hour);
    let daemon = office.start();
    office.write_lines(9);
    let database = office.out().join("state/tripline.db");
    assert!(wait_until(LIMIT, || database.exists()), "{}", office.said());
    let began = Instant::now();
    daemon.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(postfix.mails("stopped").is_empty());
    assert!(!office.said().contains("not all that it was given"), "{}", office.said());
    office.write_lines(1);
    office.until_idle();
    office.assert_all_once(&postfix, 0, "after the stop");
}

#[test]
fn hostile_lines_are_text() {
    let postfix = Postfix::start();
    let fields =
        format!("subject: \"{{{{ entries[0].text }}}}\", attach: Json, {AT_ONCE}");
    let hostile: [&[u8]; 12] = [
        b"$(touch /tmp/pwned) `touch /tmp/pwned` ; reboot --flag",
        b"x\rBcc: ann@example.com",
        b"Bcc: ann@example.com",
        b".",
        b"..",
        b".\rMAIL FROM:<x@example.com>\rRCPT TO:<ann@example.com>\rDATA\r",
        b"~! touch /tmp/pwned",
        b"\x1b]0;title\x07\x1b[2J \xe2\x80\xae \0 nul",
        b"caf\xe9 \xff\xfe",
        b"%s%n {{ template }} {% include 'x' %}",
        b"From nobody Mon Jan 1 00:00:00 2026",
        b"=?utf-8?q?=0d=0aBcc:_ann@example.com?=",
    ];
    for (number, line) in (0..).zip(hostile) {
        let listener = format!("hostile-{number}");
        let mut office = Office::new(&listener, &smtp(&postfix), &fields);
        office.write(&[line, b"\n"].concat());
        office.until_idle();
        let mails = postfix.mails(&listener);
        let to: Vec<&str> = mails.iter().map(|mail| mail.mailbox).collect();
        assert_eq!(to, ["ops"], "{}: {mails:?}", line.escape_ascii());
        let ours = |mail: &Mail| -> Vec<String> {
            let names = mail.headers.iter().map(|(name, _)| name.clone());
            // Before that, the servers'.
            names.skip_while(|name| name != "Date").collect()
        };
        let names = ours(&mails[0]);
        let wanted = [
            "Date",
            "From",
            "To",
            "Subject",
            "Message-ID",
            "Auto-Submitted",
            "X-Tripline-Listener",
            "X-Tripline-Entries",
            "MIME-Version",
            "Content-Type",
        ];
        assert_eq!(names, wanted, "{}", line.escape_ascii());
        assert_eq!(mails[0].header("To"), "\"Ops\" <ops@example.com>");
    }
    assert!(!Path::new("/tmp/pwned").exists());
}

#[test]
fn a_real_sendmail_takes_mails_too() {
    let postfix = Postfix::start();
    let program = format!(
        "Sendmail(program: [\"/usr/sbin/sendmail\", \"-C\", \"{}\", \"-oi\"])",
        postfix.conf().display()
    );
    let mut office = Office::new("sendmail", &program, AT_ONCE);
    office.write_lines(10);
    office.write_lines(1);
    office.until_idle();
    office.assert_all_once(&postfix, 0, "by sendmail");
}

#[test]
fn over_tls_with_an_authority_of_our_own() {
    let postfix = Postfix::start();
    let via = format!(
        "Smtp(server: \"{}\", starttls: Required, ca_file: \"{}\")",
        postfix.server_by_name(),
        postfix.authority().display()
    );
    let mut office = Office::new("tls", &via, AT_ONCE);
    office.write_lines(10);
    office.until_idle();
    office.assert_all_once(&postfix, 0, "over TLS");
    let mails = postfix.mails("tls");
    assert!(mails[0].header("Received").contains("using TLSv1.3"), "{mails:?}");
}

#[test]
fn a_refused_recipient_is_set_aside_and_the_others_get_it() {
    let postfix = Postfix::start();
    let mut office = Office::new("refused", &smtp(&postfix), AT_ONCE);
    let config = office.root().join("tripline.ron");
    let text = fs::read_to_string(&config).unwrap();
    let to = r#"["gone@example.com", "ops@example.com", "ann@example.com"]"#;
    fs::write(&config, text.replace(r#"["Ops <ops@example.com>"]"#, to)).unwrap();
    let daemon = office.start();
    office.write_lines(10);
    office.wait_for_lines(&postfix, 10);
    daemon.stop();
    let boxes: Vec<&str> =
        postfix.mails("refused").iter().map(|mail| mail.mailbox).collect();
    assert_eq!(boxes, ["ops", "ann"]);
    let said = office.said();
    assert!(said.contains("gone@example.com: 550 5.1.1"), "{said}");
    let store =
        rusqlite::Connection::open(office.out().join("state/tripline.db")).unwrap();
    let letters: Vec<(u32, String)> = store
        .prepare("SELECT entries, why FROM letter")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(
        letters[0].0 == 10 && letters[0].1.contains("gone@example.com"),
        "{letters:?}"
    );
}
