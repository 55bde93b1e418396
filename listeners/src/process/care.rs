//! The thread that takes care of one program: feeds it, hears it out, ends it.

use super::program::Program;
use super::tail::Tail;
use super::tree::Tree;
use super::{Ended, How, Options, Process, Shared};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, waitid,
};
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// What a program has started may hold its pipes for so long after its end.
const PIPES_HELD_MAX: Duration = Duration::from_secs(1);
/// What it left running may take so long to end after TERM.
const LEFT_GRACE: Duration = Duration::from_secs(1);
/// KILL is tried for so long: what starts others faster than we can look, or
/// hangs in the system, is not to hold us up.
const KILL_MAX: Duration = Duration::from_secs(2);
/// Between two looks at what is left.
const LOOK_FIRST: Duration = Duration::from_millis(2);
const LOOK_MAX: Duration = Duration::from_millis(100);
/// Where the system cannot say that a process ended, it is asked so often.
const ASK_EACH: Duration = Duration::from_millis(20);
const BLOCK_BYTES: usize = 64 * 1024;
/// At most so many blocks are read at a time: there is more to do.
const BLOCKS_MAX: usize = 16;

pub(super) struct Care<'a> {
    shared: &'a Shared,
    options: Options,
    child: Child,
    pid: Pid,
    /// `None` where the system has no such thing.
    pidfd: Option<OwnedFd>,
    tree: Tree,
    /// Its standard input, and what is to be written there from `fed` on.
    stdin: Option<OwnedFd>,
    food: Vec<u8>,
    fed: usize,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    output: Tail,
    errors: Tail,
    /// As many bytes of output wait as may.
    is_full: bool,
    /// The program itself has ended.
    is_over: bool,
    block: Vec<u8>,
}

impl<'a> Care<'a> {
    /// From the start of a program to its end.
    pub(super) fn run(
        program: &Program,
        options: Options,
        input: Option<File>,
        shared: &'a Shared,
    ) {
        // What one run started is not to be mistaken for that of another.
        let mark = format!(
            "{}-{:016x}",
            std::process::id(),
            RandomState::new().hash_one(std::thread::current().id())
        );
        let how = match program.spawn(&mark, input) {
            Ok(child) => match Self::new(child, options, shared, &mark) {
                Ok(care) => return care.see_through(),
                Err(error) => How::NotStarted(error.to_string()),
            },
            Err(error) => How::NotStarted(program.why_not(&error)),
        };
        let (output, errors) = (Tail::default(), Tail::default());
        shared.ended(Ended { how, output, errors, outlived_by: 0, left: 0 });
    }

    fn new(
        mut child: Child,
        options: Options,
        shared: &'a Shared,
        mark: &str,
    ) -> io::Result<Self> {
        let pid = Pid::from_child(&child);
        let stdin = child.stdin.take().map(OwnedFd::from);
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        let mut care = Self {
            shared,
            options,
            child,
            pid,
            pidfd: pidfd_open(pid, PidfdFlags::empty()).ok(),
            tree: Tree::new(pid, mark),
            stdin,
            food: Vec::new(),
            fed: 0,
            stdout,
            stderr,
            output: Tail::of_at_most(options.said_max),
            errors: Tail::of_at_most(options.said_max),
            is_full: false,
            is_over: false,
            block: vec![0; BLOCK_BYTES],
        };
        let pipes = [&care.stdin, &care.stdout, &care.stderr];
        let set_up = pipes.into_iter().flatten().try_for_each(never_wait);
        match set_up {
            Ok(()) => Ok(care),
            Err(error) => {
                care.end_tree(Duration::ZERO);
                _ = care.child.wait();
                Err(error)
            }
        }
    }

    fn see_through(mut self) {
        let since = Instant::now();
        let deadline = self.options.timeout.and_then(|after| since.checked_add(after));
        let ours = loop {
            if self.has_ended() {
                break None;
            }
            if self.shared.lock().kill_at.is_some() {
                break Some(How::Stopped);
            }
            if deadline.is_some_and(|time| Instant::now() >= time) {
                break Some(How::TimedOut(self.options.timeout.unwrap_or_default()));
            }
            self.turn(deadline);
        };
        let grace = if ours.is_some() { self.options.grace } else { LEFT_GRACE };
        if ours.is_none() {
            // What it has started may be about to end, and to say something.
            self.hear_out();
        }
        let outlived_by = if ours.is_none() { self.tree.count() } else { 0 };
        let left = self.end_tree(grace);
        self.hear_out();
        while !self.has_ended() {
            // Not even KILL ends what waits for a disk that is gone.
            self.tree.signal(Signal::KILL);
            self.pause(LOOK_MAX);
        }
        let status = self.child.wait();
        let how = ours.unwrap_or_else(|| how(status));
        let (output, errors) = (self.output, self.errors);
        self.shared.ended(Ended { how, output, errors, outlived_by, left });
    }

    /// Whether the program itself has ended. Its number stays its own until it
    /// is waited for.
    fn has_ended(&mut self) -> bool {
        if self.is_over {
            return true;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        self.is_over =
            match waitid(WaitId::Pid(self.pid), options | WaitIdOptions::NOWAIT) {
                Ok(ended) => ended.is_some(),
                Err(Errno::INTR) => false,
                Err(_) => {
                    // The system was told to forget children that end.
                    self.tree.forget_leader();
                    true
                }
            };
        self.is_over
    }

    /// Reads what comes until its pipes are closed, but not for long.
    fn hear_out(&mut self) {
        self.stdin = None;
        let until = Instant::now() + PIPES_HELD_MAX;
        while self.stdout.is_some() || self.stderr.is_some() {
            let is_asked_to_hurry = self.shared.lock().kill_at.is_some();
            if is_asked_to_hurry || Instant::now() >= until {
                // What is there is read all the same.
                self.read_all();
                break;
            }
            self.turn(Some(until));
        }
        if self.has_ended() {
            // Abandoned, if it is still held.
            (self.stdout, self.stderr) = (None, None);
        }
    }

    /// Ends everything; returns how much of it could not be ended.
    fn end_tree(&mut self, grace: Duration) -> usize {
        if self.tree.signal(Signal::TERM) == 0 {
            return 0;
        }
        let until = Instant::now() + grace;
        let mut look = LOOK_FIRST;
        loop {
            let kill_at = self.shared.lock().kill_at;
            let until = kill_at.map_or(until, |at| at.min(until));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.pause(look.min(left));
            look = (look * 2).min(LOOK_MAX);
            if self.tree.count() == 0 {
                return 0;
            }
        }
        let give_up = Instant::now() + KILL_MAX;
        loop {
            let left = self.tree.signal(Signal::KILL);
            if left == 0 || Instant::now() >= give_up {
                return left;
            }
            self.pause(LOOK_FIRST);
        }
    }

    /// Goes on reading for so long; not longer than until the program ends, if it
    /// has not.
    fn pause(&mut self, time: Duration) {
        let until = Instant::now() + time;
        let had_ended = self.has_ended();
        while Instant::now() < until && (had_ended || !self.has_ended()) {
            self.turn(Some(until));
        }
    }

    /// Waits until there is something to do, and does it.
    fn turn(&mut self, until: Option<Instant>) {
        self.take_food();
        self.is_full = self.options.reads_output
            && self.shared.lock().output.len() >= Process::OUTPUT_BYTES_MAX;
        let is_hungry = self.fed < self.food.len();
        let bell = &self.shared.bell;
        let mut polled = vec![PollFd::new(bell, PollFlags::IN)];
        let listed = [
            (self.stdin.as_ref().filter(|_| is_hungry), PollFlags::OUT),
            (self.stdout.as_ref().filter(|_| !self.is_full), PollFlags::IN),
            (self.stderr.as_ref(), PollFlags::IN),
            // Once it has ended it is always ready.
            (self.pidfd.as_ref().filter(|_| !self.is_over), PollFlags::IN),
        ];
        let fds = listed.iter().filter_map(|(fd, flags)| Some((fd.as_ref()?, *flags)));
        polled.extend(fds.map(|(fd, flags)| PollFd::new(*fd, flags)));
        let mut left = until.map(|time| time.saturating_duration_since(Instant::now()));
        if self.pidfd.is_none() {
            left = Some(left.map_or(ASK_EACH, |left| left.min(ASK_EACH)));
        }
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        // Whatever it says, there is no harm in trying.
        _ = poll(&mut polled, timeout.as_ref());
        _ = rustix::io::read(bell, &mut [0_u8; 8]);
        self.feed();
        self.read_all();
    }

    fn take_food(&mut self) {
        let mut state = self.shared.lock();
        if self.fed == self.food.len() || self.stdin.is_none() {
            self.food = std::mem::take(&mut state.input);
            self.fed = 0;
        }
        let is_all = self.food.is_empty() && state.input_ends;
        drop(state);
        if is_all {
            self.stdin = None;
        }
    }

    fn feed(&mut self) {
        let Some(stdin) = &self.stdin else { return };
        while self.fed < self.food.len() {
            match rustix::io::write(stdin, &self.food[self.fed..]) {
                Ok(written) => self.fed += written,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // It reads no more; what that means its end will say.
                Err(_) => return self.stdin = None,
            }
        }
        // Perhaps that was all.
        self.take_food();
    }

    fn read_all(&mut self) {
        if !self.is_full
            && let Some(stdout) = self.stdout.take()
        {
            let (shared, tail) = (self.shared, &mut self.output);
            let reads = self.options.reads_output;
            let is_open = read_blocks(stdout.as_fd(), &mut self.block, |bytes| {
                if !reads {
                    tail.push(bytes);
                    return true;
                }
                let mut state = shared.lock();
                state.output.extend_from_slice(bytes);
                let is_full = state.output.len() >= Process::OUTPUT_BYTES_MAX;
                drop(state);
                shared.changed.notify_all();
                !is_full
            });
            self.stdout = is_open.then_some(stdout);
        }
        if let Some(stderr) = self.stderr.take() {
            let tail = &mut self.errors;
            let is_open = read_blocks(stderr.as_fd(), &mut self.block, |bytes| {
                tail.push(bytes);
                true
            });
            self.stderr = is_open.then_some(stderr);
        }
    }
}

/// Reads what is there, as long as more is wanted; returns whether there may be
/// more.
fn read_blocks(
    pipe: BorrowedFd<'_>,
    block: &mut [u8],
    mut take: impl FnMut(&[u8]) -> bool,
) -> bool {
    for _ in 0..BLOCKS_MAX {
        match rustix::io::read(pipe, &mut *block) {
            Ok(0) => return false,
            Ok(count) if !take(&block[..count]) => return true,
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return true,
            Err(_) => return false,
        }
    }
    true
}

/// This end of a pipe never makes us wait; the other end does not notice.
fn never_wait(pipe: &OwnedFd) -> io::Result<()> {
    Ok(fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?)
}

fn how(status: io::Result<ExitStatus>) -> How {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => How::Exited(code),
            (None, Some(signal)) => How::Killed(signal),
            (None, None) => How::Unknown(status.to_string()),
        },
        Err(error) => How::Unknown(format!("the system says: {error}")),
    }
}
