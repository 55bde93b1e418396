//! The system's `ssh` as the way to a host.
//!
//! A child process for each connection, and its standard input and output as
//! the pipe. `program/options.rs` has its command line, `program/words.rs` makes
//! sense of what it says.

mod options;
mod words;

use super::Settings;
use super::failure::{Failure, Kind};
use super::text::Captured;
use super::transport::{Exit, Heard, Pipe, Service, Transport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use words::Words;

/// `ssh` has so long to end when its output has.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// As much of the pipe to `ssh` as the system gives to everybody.
const PIPE_BYTES: usize = 1024 * 1024;
/// So much is read from `ssh`'s messages at a time, so often at most.
const WORDS_BLOCK_BYTES: usize = 4096;
const WORDS_BLOCKS_MAX: usize = 64;

/// Makes connections by running `ssh`.
pub(super) struct Program {
    settings: Arc<Settings>,
}

impl Program {
    /// Looks whether the program is there and the settings can be given to it.
    pub(super) fn new(settings: &Settings) -> Result<Self, Failure> {
        options::check(settings)?;
        Ok(Self { settings: Arc::new(settings.clone()) })
    }
}

impl Transport for Program {
    fn begin(&mut self, service: &Service) -> Result<Box<dyn Pipe>, Failure> {
        let mut command = Command::new(&self.settings.program);
        options::write(&mut command, &self.settings, service);
        // Not in our group, so that an interrupt at the terminal is ours alone.
        let spawned = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let child =
            spawned.map_err(|error| options::cannot_run(&self.settings, &error))?;
        let pipe = ProgramPipe::new(child, Arc::clone(&self.settings), service)?;
        Ok(Box::new(pipe))
    }
}

/// A running `ssh`.
struct ProgramPipe {
    settings: Arc<Settings>,
    child: Child,
    /// Readable when the child has ended; `None` on a system without.
    handle: Option<OwnedFd>,
    /// `None` when it was closed, by us or by it.
    input: Option<ChildStdin>,
    /// `None` when it has ended.
    output: Option<ChildStdout>,
    /// `None` when it has ended.
    messages: Option<ChildStderr>,
    words: Words,
    /// When its output ended.
    ended: Option<Instant>,
    /// It did not end by itself.
    was_killed: bool,
}

impl ProgramPipe {
    fn new(
        mut child: Child,
        settings: Arc<Settings>,
        service: &Service,
    ) -> Result<Self, Failure> {
        let (input, output, messages) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let handle = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let pipe = Self {
            words: Words::new(*service == Service::Sftp),
            settings,
            child,
            handle,
            input,
            output,
            messages,
            ended: None,
            was_killed: false,
        };
        let set = pipe.set_nonblocking();
        set.map_err(|error| pipe.broken("use its pipes", &error))?;
        Ok(pipe)
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        if let Some(input) = &self.input {
            rustix::io::ioctl_fionbio(input, true)?;
            // Fewer turns; where it is not given, it goes with less.
            _ = rustix::pipe::fcntl_setpipe_size(input, PIPE_BYTES);
        }
        if let Some(output) = &self.output {
            rustix::io::ioctl_fionbio(output, true)?;
            _ = rustix::pipe::fcntl_setpipe_size(output, PIPE_BYTES);
        }
        if let Some(messages) = &self.messages {
            rustix::io::ioctl_fionbio(messages, true)?;
        }
        Ok(())
    }

    fn broken(&self, what: &str, error: &io::Error) -> Failure {
        let (program, address) =
            (self.settings.program.display(), &self.settings.address);
        let why = format!("cannot {what} of {program} for {address}: {error}");
        Failure::new(Kind::Broken, why)
    }

    /// Takes what it says.
    fn hear_words(&mut self) {
        let mut block = [0; WORDS_BLOCK_BYTES];
        for _ in 0..WORDS_BLOCKS_MAX {
            let Some(messages) = &mut self.messages else { return };
            match messages.read(&mut block) {
                Ok(0) => self.messages = None,
                Ok(count) => self.words.push(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.messages = None,
            }
        }
    }

    /// Whether it has ended, now that its output has. One that does not end is
    /// ended: a child of its own may hold on to it.
    fn has_ended(&mut self) -> Result<bool, Failure> {
        let ended = *self.ended.get_or_insert_with(Instant::now);
        let mut status = self.child.try_wait();
        if matches!(status, Ok(None)) && ended.elapsed() >= END_PATIENCE {
            self.was_killed = true;
            _ = self.child.kill();
            status = self.child.wait().map(Some);
        }
        let status = status.map_err(|error| self.broken("learn the end", &error))?;
        if status.is_some() {
            self.hear_words();
            self.words.finish();
        }
        Ok(status.is_some())
    }
}

impl Pipe for ProgramPipe {
    /// What can be told is told by what the service answers.
    fn connect(&mut self, _: Instant) -> Result<bool, Failure> {
        Ok(true)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        let Some(input) = self.input.as_mut().filter(|_| !bytes.is_empty()) else {
            return Ok(0);
        };
        match input.write(bytes) {
            Ok(count) => Ok(count),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                // It has gone: why, its last words say.
                io::ErrorKind::BrokenPipe => {
                    self.input = None;
                    Ok(0)
                }
                _ => Err(self.broken("write to the input", &error)),
            },
        }
    }

    fn end_input(&mut self) -> Result<bool, Failure> {
        self.input = None;
        Ok(true)
    }

    fn read(&mut self, into: &mut [u8]) -> Result<Heard, Failure> {
        while let Some(output) = &mut self.output {
            match output.read(into) {
                Ok(0) => self.output = None,
                Ok(count) => return Ok(Heard::Bytes(count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.hear_words();
                    return Ok(Heard::Nothing);
                }
                Err(error) => return Err(self.broken("read the output", &error)),
            }
        }
        self.hear_words();
        Ok(if self.has_ended()? { Heard::End } else { Heard::Nothing })
    }

    fn wait(&mut self, to_write: bool, until: Instant) -> Result<(), Failure> {
        let mut until = until;
        let mut polled = Vec::with_capacity(4);
        if let Some(output) = &self.output {
            polled.push(PollFd::new(output, PollFlags::IN));
        } else if let Some(handle) = &self.handle {
            polled.push(PollFd::new(handle, PollFlags::IN));
            until = until.min(self.ended.map_or(until, |ended| ended + END_PATIENCE));
        } else {
            // It is about to end, and nothing says when.
            until = until.min(Instant::now() + Duration::from_millis(5));
        }
        if let Some(messages) = &self.messages {
            polled.push(PollFd::new(messages, PollFlags::IN));
        }
        if let Some(input) = self.input.as_ref().filter(|_| to_write) {
            polled.push(PollFd::from_borrowed_fd(input.as_fd(), PollFlags::OUT));
        }
        let timeout = until.saturating_duration_since(Instant::now());
        match poll(&mut polled, Timespec::try_from(timeout).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(self.broken("wait for the pipes", &error.into())),
        }
    }

    fn exit(&mut self) -> Result<Exit, Failure> {
        use std::os::unix::process::ExitStatusExt as _;
        let waited = self.child.try_wait();
        let status = waited.map_err(|error| self.broken("learn the end", &error))?;
        match status.and_then(|status| status.code()) {
            Some(255) => match self.words.failure(&self.settings) {
                Some(failure) => Err(failure),
                None => Ok(Exit::Unknown),
            },
            Some(code) => Ok(Exit::Status(code.unsigned_abs())),
            None => {
                let signal = status.and_then(|status| status.signal()).unwrap_or(0);
                let program = self.settings.program.display();
                let why =
                    format!("{program} was ended by signal {signal} on this machine");
                Err(Failure::new(Kind::Broken, why))
            }
        }
    }

    fn errors(&self) -> &Captured {
        self.words.captured()
    }

    fn ended(&mut self) -> Failure {
        if let Some(failure) = self.words.failure(&self.settings) {
            return failure;
        }
        let how = match self.child.try_wait() {
            _ if self.was_killed => "did not end by itself".to_owned(),
            Ok(Some(status)) => format!("ended ({status})"),
            Ok(None) | Err(_) => "is ending".to_owned(),
        };
        self.words.unexplained(&self.settings, &how)
    }
}

impl Drop for ProgramPipe {
    /// Ends it, whatever it does: what matters has been acknowledged.
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            _ = self.child.kill();
            _ = self.child.wait();
        }
    }
}
