//! What is applied on a standby: each transaction once, in order, whatever is cut
//! off, killed or stopped in the middle of a run.

use crate::site::{Daemon, Site, in_words, small_journals, wait_until};
use crate::standby::{Standby, where_of};
use rustix::process::Signal;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tripline_listeners::testing::sshd::{Access, Plan};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_run_goes_on_when_the_connection_is_cut_and_no_other_beside_it() {
    for way in ["way: Library", "way: Program"] {
        let case = Case::new(&[way], HELD);
        let daemon = case.site.start_daemon();
        case.wait_for_run();
        case.standby.host.kill();
        case.append(9);
        // It is told to run what is running.
        let logins = case.logins();
        assert!(wait_until(LIMIT, || case.logins() > logins + 1), "{way}: not called");
        case.let_go();
        case.assert_applied(way);
        daemon.stop();
    }
}

#[test]
fn a_run_goes_on_when_we_are_killed_or_stopped() {
    type End = fn(Daemon);
    for (name, end) in [("killed", Daemon::kill as End), ("stopped", stop_soon)] {
        let case = Case::new(&[], HELD);
        let daemon = case.site.start_daemon();
        case.wait_for_run();
        end(daemon);
        case.append(9);
        let daemon = case.site.start_daemon();
        case.let_go();
        case.assert_applied(name);
        daemon.stop();
    }
}

/// Stops a daemon, which must not wait for the run.
fn stop_soon(daemon: Daemon) {
    let begun = Instant::now();
    daemon.stop();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn a_run_that_was_killed_is_begun_again() {
    let case = Case::new(&[], HELD);
    let daemon = case.site.start_daemon();
    case.wait_for_run();
    for pid in case.lines("runs").iter().filter_map(|it| it.strip_prefix("begin ")) {
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }
    case.let_go();
    assert!(wait_until(LIMIT, || case.is_applied()), "{:?}", case.state());
    assert_eq!(case.read("seen"), case.records(), "the first one got nothing done");
    daemon.stop();
}

#[test]
fn a_slow_run_is_waited_for() {
    let slow = "echo begin $$ >> runs; sleep 3; cat >> seen; echo end $$ >> runs";
    // The server gives up who does not answer it within a second or two.
    let mut plan = Plan::new(Access::Commands);
    plan.config = "ClientAliveInterval 1\nClientAliveCountMax 1".to_owned();
    let standby = Standby::with(&plan, &["answer_timeout: \"300ms\""]);
    let case = Case::on(standby, slow);
    case.site.catch_up();
    case.assert_applied("slow");
    assert_eq!(case.lines("runs").len(), 2, "it was run once");
}

#[test]
fn a_command_that_does_not_read_its_input_has_applied_nothing() {
    let case = Case::new(&[], "exit 0");
    let daemon = case.site.start_daemon();
    let why = case.why();
    assert!(why.contains("did not read its standard input to the end"), "{why}");
    // It reads the first line only.
    case.set_program("read -r line; exit 0");
    case.append(9);
    let applied = fs::read_to_string(case.standby.backup().join("applied")).unwrap();
    assert!(applied.starts_with(r#"{"sequence":1,"offset":0,"#), "{applied}");
    case.set_program("cat >> seen");
    case.assert_applied("read at last");
    daemon.stop();
}

#[test]
fn what_a_command_says_when_it_fails_is_told_and_what_it_does_not_get_stays() {
    // 75 is what the script itself ends with when it cannot begin.
    for code in [3, 75] {
        let program = format!("echo the database is locked >&2; exit {code}");
        let case = Case::new(&[], &program);
        let daemon = case.site.start_daemon();
        let why = case.why();
        let wanted = format!("ended with {code}: the database is locked");
        assert!(why.contains(&wanted), "{why}");
        case.set_program("cat >> seen");
        assert!(wait_until(LIMIT, || case.is_applied()), "{:?}", case.state());
        assert_eq!(case.read("seen"), case.records());
        daemon.stop();
    }
}

#[test]
fn an_account_without_commands_says_so() {
    let standby = Standby::with(&Plan::new(Access::Files), &[]);
    let case = Case::on(standby, "cat >> seen");
    let daemon = case.site.start_daemon();
    let why = case.why();
    assert!(why.contains("ForceCommand"), "{why}");
    daemon.stop();
}

#[test]
fn an_account_may_be_kept_to_the_one_command() {
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let script = "#!/bin/sh\ncase $SSH_ORIGINAL_COMMAND in\n\
        internal-sftp) exec /usr/lib/openssh/sftp-server ;;\n\
        'sh -c '*' replay '*) exec sh -c \"$SSH_ORIGINAL_COMMAND\" ;;\nesac\nexit 9\n";
    fs::write(&gate, script).unwrap();
    fs::set_permissions(&gate, fs::Permissions::from_mode(0o755)).unwrap();
    let mut plan = Plan::new(Access::Commands);
    plan.config = format!("ForceCommand {}", gate.display());
    let case = Case::on(Standby::with(&plan, &[]), "cat >> seen");
    case.site.catch_up();
    assert!(case.is_applied(), "{:?}", case.state());
    assert_eq!(case.read("seen"), case.records());
}

#[test]
fn what_is_applied_must_be_what_the_source_has() {
    let case = Case::new(&[], "cat >> seen");
    case.site.catch_up();
    // Another server's journal, of which the state knows nothing.
    fs::remove_dir_all(case.site.out().join("state")).unwrap();
    let journal = fs::read_to_string(case.site.live()).unwrap();
    let other = journal.replace("@ex@ 20 ", "@ex@ 21 ");
    fs::write(case.site.live(), other).unwrap();
    let output = case.site.until_idle();
    let said = in_words(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("is not what the source has there"), "{said}");
    fs::write(case.site.live(), journal).unwrap();
    fs::remove_dir_all(case.site.out().join("state")).unwrap();
    case.append(9);
    case.site.catch_up();
    assert_eq!(case.read("seen"), case.records(), "once each");
}

/// A run waits until it is let go.
const HELD: &str = "echo begin $$ >> runs; cat > part; \
    while ! test -e go; do sleep 0.02; done; cat part >> seen; echo end $$ >> runs";

/// A journal, a standby, and a program on it that writes down what it gets.
struct Case {
    site: Site,
    standby: Standby,
}

impl Case {
    fn new(arguments: &[&str], program: &str) -> Self {
        Self::on(Standby::new(arguments), program)
    }

    fn on(standby: Standby, program: &str) -> Self {
        let site = Site::new();
        let case = Self { site, standby };
        case.set_program(program);
        let replay = format!(r#"replay: ["{}"]"#, case.file("program").display());
        case.standby.configure_with(&case.site, &replay);
        case.site.lay_out(&small_journals(1));
        case
    }

    fn file(&self, name: &str) -> PathBuf {
        self.standby.keys().join(name)
    }

    fn set_program(&self, program: &str) {
        let script =
            format!("#!/bin/sh\ncd '{}' || exit 8\n{program}\n", self.file("").display());
        let temporary = self.file("program.tmp");
        fs::write(&temporary, script).unwrap();
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(temporary, self.file("program")).unwrap();
    }

    /// Writes another transaction into the journal.
    fn append(&self, change: u64) {
        let mut live = OpenOptions::new().append(true).open(self.site.live()).unwrap();
        write!(live, "@pv@ 0 @db.desc@ {change} @more@ \n@ex@ 20 17000000{change}\n")
            .unwrap();
    }

    fn wait_for_run(&self) {
        assert!(
            wait_until(LIMIT, || !self.lines("runs").is_empty()),
            "{:?}",
            self.state()
        );
    }

    fn let_go(&self) {
        fs::write(self.file("go"), "").unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    fn lines(&self, name: &str) -> Vec<String> {
        self.read(name).lines().map(str::to_owned).collect()
    }

    /// How many connections were let in.
    fn logins(&self) -> usize {
        self.read("sshd.log").matches("Accepted publickey").count()
    }

    fn records(&self) -> String {
        fs::read_to_string(self.site.live()).unwrap()
    }

    fn state(&self) -> serde_json::Value {
        where_of(&self.site, "standby.replay")
    }

    fn is_applied(&self) -> bool {
        let state = self.state();
        state["bytes_behind"] == 0 && state["offset"] == self.records().len()
    }

    /// Why the replay does not work, once it is known.
    fn why(&self) -> String {
        let is_retrying = || self.state()["state"] == "retrying";
        assert!(wait_until(LIMIT, is_retrying), "{}", self.state());
        self.state()["why"].to_string()
    }

    /// Everything was applied, once, in order, and by one run at a time.
    fn assert_applied(&self, context: &str) {
        assert!(wait_until(LIMIT, || self.is_applied()), "{context}: {}", self.state());
        assert_eq!(self.read("seen"), self.records(), "{context}");
        let runs = self.lines("runs");
        for pair in runs.chunks(2) {
            if let [begin, end] = pair {
                assert_eq!(begin.replace("begin", "end"), *end, "{context}: {runs:?}");
            }
        }
        assert!(!self.standby.backup().join("replay.next").exists(), "{context}");
    }
}
