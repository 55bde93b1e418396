//! Mail by a program of this machine that behaves like sendmail.

use super::message::Sealed;
use super::smtp::Cancel;
use super::text;
use super::transport::{ADVICE, Outcome, Report};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A program that takes a mail on its standard input. It is never a shell's
/// word, and no `mail(1)`: that has commands inside of texts.
#[derive(Clone, Debug)]
pub(crate) struct Sendmail {
    /// The program and its first arguments.
    pub(super) program: Vec<String>,
    /// How long it may take.
    pub(super) timeout: Duration,
}

/// How often is looked whether the program has ended.
const LOOK_EACH: Duration = Duration::from_millis(10);
/// How much of what the program says is repeated, in bytes.
const SAID_BYTES_MAX: u64 = 500;
/// A program that says more than this on its standard error is ended.
const NOISE_BYTES_MAX: u64 = 1024 * 1024;

/// What one run of the program came to.
enum Ended {
    Delivered,
    Later(String),
    Refused(String),
    Stop(String),
}

impl Sendmail {
    /// Whether there is such a program.
    pub(super) fn prepare(&self) -> Result<(), String> {
        let program = &self.program[0];
        let about = std::fs::metadata(program);
        let is_program =
            |about: &std::fs::Metadata| about.is_file() && about.mode() & 0o111 != 0;
        match about {
            Ok(about) if is_program(&about) => Ok(()),
            Ok(_) => Err(format!("{program} is no program: name the right `program`")),
            Err(error) => Err(missing(program, &error)),
        }
    }

    /// The program gives one answer for all recipients. Where it refuses, each
    /// is tried alone: the others shall get the mail.
    pub(super) fn send(&self, mail: &Sealed, cancel: &Cancel) -> Report {
        let together = match self.run(mail, &mail.to, cancel) {
            Ended::Delivered => Outcome::Delivered,
            Ended::Refused(why) => Outcome::Refused(why),
            Ended::Later(why) => return Report::Failed(why),
            Ended::Stop(why) => return Report::Stop(why),
        };
        if together == Outcome::Delivered || mail.to.len() == 1 {
            let answer = |to: &String| (to.clone(), together.clone());
            return Report::Answered(mail.to.iter().map(answer).collect());
        }
        let mut answers = Vec::new();
        for recipient in &mail.to {
            let alone = std::slice::from_ref(recipient);
            let outcome = match self.run(mail, alone, cancel) {
                Ended::Delivered => Outcome::Delivered,
                Ended::Refused(why) => Outcome::Refused(why),
                Ended::Later(why) | Ended::Stop(why) => Outcome::Later(why),
            };
            answers.push((recipient.clone(), outcome));
        }
        Report::Answered(answers)
    }

    fn run(&self, mail: &Sealed, to: &[String], cancel: &Cancel) -> Ended {
        let program = &self.program[0];
        let (mut said, mut child) = match self.start(mail, to) {
            Ok(started) => started,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ended::Later(format!("cannot run {program} now: {error}"));
            }
            Err(error) => {
                return Ended::Stop(missing(program, &error));
            }
        };
        let until = Instant::now() + self.timeout;
        loop {
            let why = match child.try_wait() {
                Ok(Some(status)) => return judge(program, status, &mut said),
                Err(error) => format!("cannot wait for {program}: {error}"),
                Ok(None) if Instant::now() >= until => {
                    format!("{program} took longer than {:?} and was ended", self.timeout)
                }
                Ok(None) if cancel.is_cancelled() => format!("{program} was broken off"),
                Ok(None) if is_noisy(&said) => {
                    format!("{program} does not stop talking and was ended")
                }
                Ok(None) => {
                    std::thread::sleep(LOOK_EACH);
                    continue;
                }
            };
            end(&mut child);
            return Ended::Later(why);
        }
    }

    /// The mail and what the program says are in memory files, so that neither
    /// side waits for the other.
    fn start(&self, mail: &Sealed, to: &[String]) -> io::Result<(File, Child)> {
        let memory = || -> io::Result<File> {
            let file = rustix::fs::memfd_create("mail", MemfdFlags::CLOEXEC)?;
            Ok(File::from(file))
        };
        let (mut input, said) = (memory()?, memory()?);
        // Programs of this machine take lines as this machine has them.
        input.write_all(mail.content.replace("\r\n", "\n").as_bytes())?;
        input.rewind()?;
        let child = Command::new(&self.program[0])
            .args(&self.program[1..])
            .args(["-f", &mail.from, "--"])
            .args(to)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(input))
            .stdout(Stdio::null())
            .stderr(Stdio::from(said.try_clone()?))
            .spawn()?;
        Ok((said, child))
    }
}

fn missing(program: &str, error: &io::Error) -> String {
    format!(
        "cannot run {program}: {error}. Install a mail server, which brings it, or name \
         the right `program`"
    )
}

fn is_noisy(said: &File) -> bool {
    said.metadata().is_ok_and(|about| about.len() > NOISE_BYTES_MAX)
}

fn end(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id())
        && let Some(group) = Pid::from_raw(pid)
    {
        _ = kill_process_group(group, Signal::KILL);
    }
    _ = child.kill();
    _ = child.wait();
}

/// Exit codes as `sysexits.h` has them.
fn judge(program: &str, status: ExitStatus, said: &mut File) -> Ended {
    let mut words = Vec::new();
    if said.rewind().is_ok() {
        _ = said.take(SAID_BYTES_MAX).read_to_end(&mut words);
    }
    let words = text::one_line(&text::of_bytes(&words, words.len()), 200);
    let words = if words.is_empty() { "it does not say why" } else { &words };
    let Some(code) = status.code() else {
        let signal = status.signal().unwrap_or_default();
        return Ended::Later(format!("{program} was ended by signal {signal}: {words}"));
    };
    let why = format!("{program} ended with code {code}: {words}");
    match code {
        0 => Ended::Delivered,
        // The data, the user, the host: EX_DATAERR, EX_NOUSER, EX_NOHOST.
        65 | 67 | 68 => Ended::Refused(why),
        // How it was called, what it may: EX_USAGE, EX_NOPERM, EX_CONFIG.
        64 | 77 | 78 => Ended::Stop(format!("{why}{ADVICE}")),
        // EX_TEMPFAIL is 75; of the rest nobody says that it is for ever.
        _ => Ended::Later(why),
    }
}

#[cfg(test)]
mod tests;
