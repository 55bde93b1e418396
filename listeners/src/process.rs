//! Programs of the user, each run with everything it starts, and ended with it.
//!
//! [`Program`] says what to run and in which surroundings, [`Process`] is one
//! that runs. A thread feeds it, hears it out and ends it, so that nobody else
//! waits for it: not for a program that never reads, never stops writing or
//! never ends. `process/care.rs` is what the thread does, `process/tree.rs` finds
//! what a program has started, `process/tail.rs` keeps the end of what it said.
//!
//! # What is promised
//!
//! * No shell has a part in it: arguments arrive as they are.
//! * The environment is what [`Program`] says and nothing else. Descriptors 0, 1
//!   and 2 are pipes; others are not handed on, but for those that were open, and
//!   not to be closed, when our own process was started. No signal is blocked, and
//!   none is ignored that was not when our own process was started. The umask is our
//!   own.
//! * When the program has ended, or is to end, everything it has started ends
//!   too: what is in its process group, what comes from it by a chain of parents,
//!   and what carries its mark in the environment, in a session of its own or
//!   not. First by TERM, then, after a grace, by KILL. What belongs to nobody or
//!   to others is never touched.
//! * What it writes costs no memory: the end of it is kept.
//!
//! # Known limits
//!
//! Out of reach is what has left all three at once, a process whose parent has
//! ended, that has a group of its own and a fresh environment; what runs as
//! another user (`sudo`); and what another service started when it was asked to
//! (`at`, `systemd-run`). When our own process is killed, programs go on: their
//! standard input ends.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use tripline_listeners::process::{How, Options, Process, Program};
//!
//! let program = Program::new(&["/bin/cat".into()], "/".as_ref())?;
//! let process = Process::start_on(&program, Options::default(), b"hello\n")?;
//! let ended = process.wait(Instant::now() + Duration::from_secs(10)).unwrap();
//! assert_eq!((ended.how, ended.output.bytes()), (How::Exited(0), &b"hello\n"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod care;
mod program;
mod tail;
mod tree;

pub use program::Program;
pub use tail::Tail;

use care::Care;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How to run a program.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// It is ended when it runs for longer; `None` for as long as it likes.
    pub timeout: Option<Duration>,
    /// How long it may take to end after TERM; then comes KILL.
    pub grace: Duration,
    /// What it writes to standard output is there for [`Process::read`]; without,
    /// only its end is kept.
    pub reads_output: bool,
    /// So many bytes at the end of what it says are kept, of each stream.
    pub said_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        let grace = Duration::from_secs(5);
        Self { timeout: None, grace, reads_output: false, said_max: Tail::BYTES_MAX }
    }
}

/// A program that runs, or has ended. It is ended when this is dropped.
#[derive(Debug)]
pub struct Process {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// How a program ended, and what it said last.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How.
    pub how: How,
    /// The end of what it wrote to standard output, unless that was read.
    pub output: Tail,
    /// The end of what it wrote to standard error.
    pub errors: Tail,
    /// How many of the processes it started were there still when it had ended by
    /// itself, though they had a second to end too. They were ended.
    pub outlived_by: usize,
    /// How many of the processes it started could not be ended.
    pub left: usize,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// With this exit code.
    Exited(i32),
    /// By a signal that did not come from here.
    Killed(i32),
    /// It ran for longer than it may, and was ended.
    TimedOut(Duration),
    /// It was ended because that was asked for.
    Stopped,
    /// It did not start, and why.
    NotStarted(String),
    /// Nobody knows, and why.
    Unknown(String),
}

impl How {
    /// Whether it died of a fault of its own, such as a segmentation fault, and
    /// not because somebody else ended it.
    pub fn is_fault(&self) -> bool {
        const FAULTS: &[i32] = &[
            libc::SIGILL,
            libc::SIGTRAP,
            libc::SIGABRT,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGSEGV,
            libc::SIGSYS,
            libc::SIGXCPU,
            libc::SIGXFSZ,
        ];
        matches!(self, Self::Killed(signal) if FAULTS.contains(signal))
    }
}

impl fmt::Display for How {
    /// What is said of it after its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "ended with code {code}"),
            Self::Killed(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "was killed by signal {signal} ({name})"),
                None => write!(f, "was killed by signal {signal}"),
            },
            Self::TimedOut(after) => {
                write!(f, "had not ended after {after:?}, and was killed")
            }
            Self::Stopped => f.write_str("was ended"),
            Self::NotStarted(why) => write!(f, "did not start: {why}"),
            Self::Unknown(why) => write!(f, "ended, and nobody knows how: {why}"),
        }
    }
}

impl fmt::Display for Ended {
    /// How it ended and what it said last, all on one line and fit for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.how)?;
        if self.left > 0 {
            write!(f, ", but {} of what it started could not be ended", self.left)?;
        }
        let said = if self.errors.is_empty() { &self.output } else { &self.errors };
        if said.is_empty() { Ok(()) } else { write!(f, "; it said \"{said}\"") }
    }
}

impl Process {
    /// So much of standard output waits to be read; then the program waits.
    pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;

    /// Starts a program that is given what to read bit by bit, by
    /// [`Process::write`]. That it cannot be started is what [`Process::wait`] says.
    ///
    /// # Errors
    ///
    /// When the system refuses a thread, or a descriptor to wake it.
    pub fn start(program: &Program, options: Options) -> io::Result<Self> {
        Self::start_with(program, options, None)
    }

    /// Starts a program that reads this, all of it from the beginning: its standard
    /// input is a file in memory, so that it never ends within a line, also when
    /// our own process is killed meanwhile.
    ///
    /// # Errors
    ///
    /// As for [`Process::start`], and when there is no memory for the file.
    pub fn start_on(
        program: &Program,
        options: Options,
        input: &[u8],
    ) -> io::Result<Self> {
        Self::start_with(program, options, Some(file_of(input)?))
    }

    fn start_with(
        program: &Program,
        options: Options,
        input: Option<File>,
    ) -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared =
            Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), bell });
        let (theirs, program) = (Arc::clone(&shared), program.clone());
        let thread = Builder::new().name("program".to_owned()).spawn(move || {
            let _last_word = LastWord(&theirs);
            Care::run(&program, options, input, &theirs);
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Gives it more to read on its standard input. What it has not read when it
    /// ends, or closes its standard input, is gone.
    pub fn write(&self, bytes: Vec<u8>) {
        let mut state = self.shared.lock();
        if state.input.is_empty() {
            state.input = bytes;
        } else {
            state.input.extend_from_slice(&bytes);
        }
        drop(state);
        self.shared.ring();
    }

    /// There is nothing more for it to read: its standard input ends.
    pub fn close_input(&self) {
        self.shared.lock().input_ends = true;
        self.shared.ring();
    }

    /// Takes what it has written to standard output since the last call, for
    /// [`Options::reads_output`].
    pub fn read(&self) -> Vec<u8> {
        let output = std::mem::take(&mut self.shared.lock().output);
        if !output.is_empty() {
            self.shared.ring();
        }
        output
    }

    /// Waits until there is something to read, or it has ended, but not longer
    /// than until then.
    pub fn wait_for_output(&self, until: Instant) {
        let is_there = |state: &State| !state.output.is_empty() || state.ended.is_some();
        drop(self.shared.wait(until, is_there));
    }

    /// How it ended, if that is before `until`.
    pub fn wait(&self, until: Instant) -> Option<Ended> {
        self.shared.wait(until, |state| state.ended.is_some()).ended.clone()
    }

    /// Ends it and what it has started: TERM, then KILL after the grace, which
    /// another call may make shorter. Does not wait.
    pub fn end(&self, grace: Duration) {
        let mut state = self.shared.lock();
        let until = Instant::now() + grace;
        state.kill_at = Some(state.kill_at.map_or(until, |at| at.min(until)));
        drop(state);
        self.shared.ring();
    }

    /// Ends it as a forgotten one is ended, with little grace, and waits for that;
    /// returns whether it has ended.
    pub fn finish(&self) -> bool {
        self.end(Self::LAST_GRACE);
        self.wait(Instant::now() + Self::LAST_WAIT).is_some()
    }

    /// It may go on for so long when nobody is interested any more.
    const LAST_GRACE: Duration = Duration::from_millis(300);
    /// So long it is waited for then.
    const LAST_WAIT: Duration = Duration::from_secs(3);
}

impl Drop for Process {
    fn drop(&mut self) {
        let is_over = self.finish();
        // One that even KILL does not end is left to its thread.
        if let Some(thread) = self.thread.take().filter(|_| is_over) {
            _ = thread.join();
        }
    }
}

/// A file without a name with this in it, to be read from its beginning.
fn file_of(bytes: &[u8]) -> io::Result<File> {
    let make = |flags| memfd_create("input", MemfdFlags::CLOEXEC | flags);
    // Older systems do not know that it is not to be executed.
    let made = make(MemfdFlags::NOEXEC_SEAL).or_else(|_| make(MemfdFlags::empty()))?;
    let mut file = File::from(made);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// What the thread and everybody else have in common.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something changed in `output` or `ended`.
    changed: Condvar,
    /// Wakes the thread.
    bell: OwnedFd,
}

#[derive(Debug, Default)]
struct State {
    /// To be written, as soon as what was before is.
    input: Vec<u8>,
    input_ends: bool,
    output: Vec<u8>,
    /// It is to end, and at this time it is killed.
    kill_at: Option<Instant>,
    ended: Option<Ended>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(
        &self,
        until: Instant,
        is_so: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if is_so(&state) || left.is_zero() {
                return state;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Wakes the thread; when it cannot, the thread is awake anyway.
    fn ring(&self) {
        _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    fn ended(&self, ended: Ended) {
        let mut state = self.lock();
        state.ended.get_or_insert(ended);
        state.input = Vec::new();
        drop(state);
        self.changed.notify_all();
    }
}

/// So that nobody waits for a thread that died.
struct LastWord<'a>(&'a Shared);

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        let how = How::Unknown("the thread that took care of it died".to_owned());
        let (output, errors) = (Tail::default(), Tail::default());
        self.0.ended(Ended { how, output, errors, outlived_by: 0, left: 0 });
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "hangup",
        libc::SIGINT => "interrupt",
        libc::SIGQUIT => "quit",
        libc::SIGTRAP => "trap",
        libc::SIGUSR1 => "USR1",
        libc::SIGUSR2 => "USR2",
        libc::SIGALRM => "alarm",
        libc::SIGSYS => "bad system call",
        libc::SIGILL => "illegal instruction",
        libc::SIGABRT => "abort",
        libc::SIGBUS => "bus error",
        libc::SIGFPE => "arithmetic fault",
        libc::SIGKILL => "KILL: by a person, or because memory ran out",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGPIPE => "broken pipe",
        libc::SIGTERM => "TERM",
        libc::SIGXCPU => "processor time limit",
        libc::SIGXFSZ => "file size limit",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
