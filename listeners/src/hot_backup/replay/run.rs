//! Runs of the command on the standby, of which none is lost and no two go on at
//! once.
//!
//! What a run is to apply lies on the standby before it begins, so that no cut
//! connection ends the command's input in the middle. It is a directory,
//! `replay.next`:
//!
//! | file   | is                                                            |
//! |--------|---------------------------------------------------------------|
//! | `in`   | records of whole transactions: the command's standard input   |
//! | `from` | what stands in `applied` before the run                       |
//! | `to`   | what stands in `applied` after it                             |
//!
//! It is made under another name, synced, and gets this one in one step. Then the
//! standby runs [`SCRIPT`], which waits until no other does, enters the directory,
//! looks whether `applied` still is `from`, runs the command and, when that ended with
//! 0 and has read everything, makes `to` become `applied`: the one of its directory,
//! which is gone when the run was given up, and then nothing counts as applied. A run needs nobody to listen to it; what
//! the command says is in `replay.log`.
//!
//! ```text
//!          input             all of it synced            the script ended
//!   Idle ---------> Sending ------------------> Running ------------------> Ended
//!    ^                                           ^                           |
//!    |       `applied` is `to`                   |        `applied` is `from`|
//!    +-------------------------------------------|---------------------------+
//!    |  begin: no `replay.next`, or one that     |  begin: `replay.next`     |
//!    |  does not begin at `applied` (removed)    |  begins at `applied`      v
//!    +-------------------------------------------+----------------------- failed
//! ```
//!
//! Whatever breaks off, ours or theirs, leads to `begin`. A script that is told to
//! run what another is running waits for that one and finds that it is done.

use super::applied::{APPLIED, APPLIED_BYTES_MAX, Applied};
use super::link::{Link, lost};
use crate::hot_backup::standby::Standby;
use crate::ssh::{Bounds, Captured, Exec, Exit, Failure, FileId, Open};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tripline_api::ListenError;

/// What the standby's shell does, given the directory and the command's words.
/// It is the same each time, so that an account may be kept to it.
const SCRIPT: &str = concat!(
    // The directory is pinned, not its name: when this run was given up, another's lies
    // there under that name, and must not be taken for this one's.
    r#"d=$1 w=$PWD; shift; exec 9>>"$d/replay.lock" && flock 9 && "#,
    r#"cd "$d/replay.next" && cmp -s from ../applied || "#,
    r#"{ echo replay: not begun; exit 75; }; "#,
    // Without `to` it cannot become applied: it is made anew.
    r#"{ cat in || rm -f to; } | { "#,
    r#"(cd "$w" && exec "$@") >../replay.log 2>&1 9>&9 || exit; "#,
    // What the command has left in the pipe.
    r#"if read -r rest; then echo replay: not read; exit 76; fi; "#,
    r#"cmp -s from ../applied && mv -f to ../applied; }"#,
);
/// It could not begin, or was done already: the script says so, because the command
/// may end with any number.
const NOT_BEGUN: &str = "replay: not begun";
/// The command did not read its input to the end.
const NOT_READ: &str = "replay: not read";

const NEXT: &str = "replay.next";
const LOG: &str = "replay.log";
const LOCK: &str = "replay.lock";
/// What is in the directory of a run; `to` goes first when it is given up, so that
/// a run that goes on cannot say that it is done.
const PARTS: [&str; 3] = ["to", "from", "in"];
/// What the command says: the end of it goes into a message.
const OUTPUT_BYTES_MAX: usize = 4 * 1024;

/// Runs the command.
pub(super) struct Runner {
    argv: Vec<String>,
    stage: Stage,
}

enum Stage {
    Idle,
    Sending(Sending),
    Running(Box<Exec>, Applied),
    Ended(Ended),
}

/// Input on its way.
struct Sending {
    /// The directory's name until all is there.
    name: String,
    file: FileId,
    input: Vec<u8>,
    pushed: usize,
    from: Vec<u8>,
    to: Applied,
}

/// A run that is over.
struct Ended {
    exit: Exit,
    /// What the script says itself.
    output: String,
    errors: String,
    to: Applied,
}

impl Runner {
    pub(super) const fn new(argv: Vec<String>) -> Self {
        Self { argv, stage: Stage::Idle }
    }

    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    pub(super) fn program(&self) -> &str {
        &self.argv[0]
    }

    /// Finds out what is under way on the standby, and where that leads to; the
    /// outer `None` while it is being connected to. `applied` is what stands in that
    /// file; `None` gives up what is under way.
    pub(super) fn begin(
        &mut self,
        link: &mut Link,
        applied: Option<&[u8]>,
        without: &[String],
    ) -> Result<Option<Option<Applied>>, ListenError> {
        self.stage = Stage::Idle;
        let found = link.ask(|standby| {
            for name in standby.names()? {
                if name.starts_with("replay.") && name.ends_with(".tmp") {
                    standby.remove_parts(&name, &PARTS)?;
                }
            }
            let from = standby.get(&part(NEXT, "from"), APPLIED_BYTES_MAX)?;
            let to = standby.get(&part(NEXT, "to"), APPLIED_BYTES_MAX)?;
            let to = to.and_then(|text| Applied::read(&text).ok());
            let is_of_now = from.is_some() && from.as_deref() == applied;
            let to = to.filter(|to| is_of_now && to.is_without(without));
            if to.is_none() {
                standby.remove_parts(NEXT, &PARTS)?;
            }
            Ok(to)
        })?;
        if let Some(Some(to)) = &found {
            self.run(link, to.clone())?;
        }
        Ok(found)
    }

    /// Begins to send what is to be applied, where nothing else is under way.
    pub(super) fn send(
        &mut self,
        link: &mut Link,
        from: Vec<u8>,
        input: Vec<u8>,
        to: Applied,
    ) -> Result<(), ListenError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // A name that no earlier connection's last words are about.
        let name = format!("replay.{:x}-{:x}.tmp", now.as_nanos(), std::process::id());
        let file = link.ask(|standby| {
            standby.make_directory(&name)?;
            standby.open(&part(&name, "in"), Open::NEW)
        })?;
        // Connected a moment ago.
        let Some(file) = file else { return Err(not_connected()) };
        self.stage = Stage::Sending(Sending { name, file, input, pushed: 0, from, to });
        Ok(())
    }

    /// Goes on, until `until` at most; the place up to which everything is applied,
    /// when that is another.
    pub(super) fn go_on(
        &mut self,
        link: &mut Link,
        until: Instant,
    ) -> Result<Option<Applied>, ListenError> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => Ok(None),
            Stage::Sending(mut sending) => {
                let Some(is_there) = link.ask(|standby| sending.go_on(standby, until))?
                else {
                    // It was connected, so what was sent may be lost.
                    return Err(not_connected());
                };
                if is_there {
                    self.run(link, sending.to)?;
                } else {
                    self.stage = Stage::Sending(sending);
                }
                Ok(None)
            }
            Stage::Running(mut exec, to) => {
                link.stay();
                // It keeps its connection alive while it waits.
                let until = until.max(Instant::now() + Duration::from_millis(1));
                let Some(exit) = exec.turn(until).map_err(lost)? else {
                    self.stage = Stage::Running(exec, to);
                    return Ok(None);
                };
                let (output, errors) = (exec.output().shown(), exec.errors().shown());
                self.look(link, Ended { exit, output, errors, to })
            }
            Stage::Ended(ended) => self.look(link, ended),
        }
    }

    /// Has the standby run the script.
    fn run(&mut self, link: &Link, to: Applied) -> Result<(), ListenError> {
        let path = link.settings.address.path.trim_end_matches('/');
        // What begins with a dash would be an option.
        let directory = match path.starts_with('/') || path.is_empty() {
            true => path.to_owned(),
            false => format!("./{path}"),
        };
        let mut words = ["sh", "-c", SCRIPT, "replay"].map(str::to_owned).to_vec();
        words.push(directory);
        words.extend_from_slice(&self.argv);
        let bounds = Bounds {
            input_bytes_max: 1,
            output_bytes_max: OUTPUT_BYTES_MAX,
            // A database may be locked for hours; that the connection lives is seen by
            // SSH itself.
            time: None,
            stall: STALL_MAX,
        };
        let begun = link.settings.transport().and_then(|mut transport| {
            Exec::begin(&mut *transport, &words, &link.settings, bounds)
        });
        let mut exec = begun.map_err(lost)?;
        exec.end_input();
        self.stage = Stage::Running(Box::new(exec), to);
        Ok(())
    }

    /// Whether a run that is over has done what it should.
    fn look(
        &mut self,
        link: &mut Link,
        ended: Ended,
    ) -> Result<Option<Applied>, ListenError> {
        let looked = link.ask(|standby| {
            let is_done =
                standby.get(APPLIED, APPLIED_BYTES_MAX)? == Some(ended.to.text());
            if is_done {
                standby.sync_names()?;
                standby.remove_parts(NEXT, &PARTS)?;
                return Ok(None);
            }
            // The first that the script makes.
            if !standby.exists(LOCK)? {
                return Ok(Some(None));
            }
            let mut said = Captured::new(OUTPUT_BYTES_MAX);
            if !ended.output.contains(NOT_BEGUN) {
                said.push(&standby.get_end(LOG, OUTPUT_BYTES_MAX as u64)?);
            }
            Ok(Some(Some(said.shown())))
        })?;
        match looked {
            None => {
                self.stage = Stage::Ended(ended);
                Ok(None)
            }
            Some(None) => Ok(Some(ended.to)),
            Some(Some(None)) => Err(self.was_not_run(link, &ended)),
            Some(Some(Some(said))) => Err(self.failed(link, &ended, &said)),
        }
    }

    fn was_not_run(&self, link: &Link, ended: &Ended) -> ListenError {
        let (program, standby) = (self.program(), &link.settings.address);
        let said = if ended.errors.is_empty() { "nothing" } else { &ended.errors };
        ListenError::Lost(format!(
            "{program} was not run on the standby {standby}: its account may not run \
             commands, perhaps, or is kept to another one (ForceCommand). It said: {said}"
        ))
    }

    fn failed(&self, link: &Link, ended: &Ended, said: &str) -> ListenError {
        let (program, standby) = (self.program(), &link.settings.address);
        let how = match &ended.exit {
            Exit::Status(_) if ended.output.contains(NOT_BEGUN) => format!(
                "{program} could not be run on the standby {standby}: sh, flock, cmp, \
                 cat, mv and rm must be there, and nobody else may change the file `{APPLIED}`"
            ),
            Exit::Status(_) if ended.output.contains(NOT_READ) => format!(
                "{program} on the standby {standby} ended with 0, and did not read its \
                 standard input to the end: nothing of it counts as applied"
            ),
            Exit::Status(code) => {
                format!("{program} on the standby {standby} ended with {code}")
            }
            Exit::Signal(name) => {
                format!("{program} on the standby {standby} was ended by signal {name}")
            }
            Exit::Unknown => {
                format!("{program} on the standby {standby} ended, and nobody knows how")
            }
        };
        let said: Vec<_> =
            [said, &ended.errors].into_iter().filter(|said| !said.is_empty()).collect();
        let why =
            if said.is_empty() { how } else { format!("{how}: {}", said.join("; ")) };
        ListenError::Lost(why)
    }
}

impl Sending {
    /// Whether everything is there and has its name.
    fn go_on(&mut self, standby: &mut Standby, until: Instant) -> Result<bool, Failure> {
        if self.pushed < self.input.len() {
            let rest = &self.input[self.pushed..];
            self.pushed +=
                standby.sftp.push(self.file, self.pushed as u64, rest, until)?;
            if self.pushed < self.input.len() {
                return Ok(false);
            }
            // The count of synced bytes is asked for, not this ticket.
            drop(standby.sftp.sync(self.file));
        }
        standby.sftp.turn(until)?;
        standby.sftp.check(self.file)?;
        if standby.sftp.synced(self.file) < self.input.len() as u64 {
            return Ok(false);
        }
        standby.close(self.file)?;
        standby.write_new(&part(&self.name, "from"), &self.from)?;
        standby.write_new(&part(&self.name, "to"), &self.to.text())?;
        standby.sync_names_in(&self.name)?;
        standby.rename_new(&self.name, NEXT)?;
        Ok(true)
    }
}

fn part(directory: &str, name: &str) -> String {
    format!("{directory}/{name}")
}

fn not_connected() -> ListenError {
    ListenError::Lost("the connection to the standby is gone".to_owned())
}

/// There is no input to wait for.
const STALL_MAX: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Output};

    /// What a run of these words leaves, where `applied` and `from` are `0`.
    fn run(directory: &Path, command: &str) -> Output {
        fs::write(directory.join("applied"), "0").unwrap();
        put(directory, NEXT, "1");
        let script = ["-c", SCRIPT, "replay", "./standby", "sh", "-c", command];
        let home = directory.parent().unwrap();
        Command::new("sh").args(script).current_dir(home).output().unwrap()
    }

    fn put(directory: &Path, name: &str, to: &str) {
        let run = directory.join(name);
        fs::create_dir_all(&run).unwrap();
        for (part, text) in [("from", "0"), ("to", to), ("in", "@ex@ 1 2\n")] {
            fs::write(run.join(part), text).unwrap();
        }
    }

    #[test]
    fn a_run_confirms_its_own_place_only() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("standby");
        fs::create_dir(&directory).unwrap();
        let applied = || fs::read_to_string(directory.join("applied")).unwrap();
        let output = run(&directory, "cat > seen");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(applied(), "1");
        let seen = fs::read_to_string(home.path().join("seen")).unwrap();
        assert_eq!(seen, "@ex@ 1 2\n", "it runs where it was begun");

        // It is given up while it goes on, and another one from there is to come.
        put(&directory, "other", "2");
        let swap = "cat > seen; rm -r standby/replay.next; \
            mv standby/other standby/replay.next";
        let output = run(&directory, swap);
        assert!(!output.status.success(), "{output:?}");
        assert_eq!(applied(), "0", "nobody has applied that");
        assert!(directory.join("replay.next/to").exists(), "it is still to come");
    }

    #[test]
    fn what_the_command_ends_with_is_not_what_the_script_says() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("standby");
        fs::create_dir(&directory).unwrap();
        for code in [75, 76] {
            let output = run(&directory, &format!("cat > seen; echo no; exit {code}"));
            assert_eq!(output.status.code(), Some(code));
            assert!(output.stdout.is_empty(), "{output:?}");
            assert_eq!(fs::read_to_string(directory.join(LOG)).unwrap(), "no\n");
        }
        let output = run(&directory, "exit 0");
        assert!(String::from_utf8(output.stdout).unwrap().contains(NOT_READ));
        fs::remove_dir_all(directory.join(NEXT)).unwrap();
        let script = ["-c", SCRIPT, "replay", "./standby", "true"];
        let output =
            Command::new("sh").args(script).current_dir(home.path()).output().unwrap();
        assert!(String::from_utf8(output.stdout).unwrap().contains(NOT_BEGUN));
    }
}
