//! A command on another host: its input, its output and its end.

use super::failure::{Failure, Kind};
use super::transport::{Exit, Heard, Pipe, Service, Transport};
use super::{Captured, Settings, quote};
use std::time::{Duration, Instant};

/// So much is read at a time, and so often in one go.
const READ_BYTES: usize = 32 * 1024;
const READS_MAX: usize = 64;

/// What a command may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// So many bytes wait to be sent to it.
    pub(crate) input_bytes_max: usize,
    /// So many of the last bytes it writes are kept.
    pub(crate) output_bytes_max: usize,
    /// All of it, from the first attempt to connect. `None` for one that goes
    /// on for ever.
    pub(crate) time: Option<Duration>,
    /// What waits to be sent must move within this.
    pub(crate) stall: Duration,
}

/// A command that runs. To drop it ends the connection; what the command does
/// then is its own matter: most end when they read the end of their input.
pub(crate) struct Exec {
    pipe: Box<dyn Pipe>,
    host: String,
    bounds: Bounds,
    begun: Instant,
    is_connected: bool,
    /// Taken and not yet sent is `input[from..]`.
    input: Vec<u8>,
    from: usize,
    end: End,
    /// There is more to hear than was heard, so there is nothing to wait for.
    has_more: bool,
    /// When bytes last went either way, or something to send came.
    moved: Instant,
    output: Captured,
    exit: Option<Exit>,
    over: Option<Failure>,
}

/// How far the end of the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotYet,
    Wanted,
    Sent,
}

impl Exec {
    /// Begins to run a command; returns at once. Its words reach the remote
    /// program as they are.
    ///
    /// # Errors
    ///
    /// When it cannot even begin.
    pub(crate) fn begin(
        transport: &mut dyn Transport,
        argv: &[String],
        settings: &Settings,
        bounds: Bounds,
    ) -> Result<Self, Failure> {
        let pipe = transport.begin(&Service::Exec(quote::command(argv)?))?;
        let now = Instant::now();
        Ok(Self {
            pipe,
            host: settings.address.to_string(),
            bounds,
            begun: now,
            is_connected: false,
            input: Vec::new(),
            from: 0,
            end: End::NotYet,
            has_more: false,
            moved: now,
            output: Captured::new(bounds.output_bytes_max),
            exit: None,
            over: None,
        })
    }

    /// Queues input, and returns how much was taken: all, unless `until` came
    /// first, or the command has ended.
    ///
    /// # Errors
    ///
    /// The connection is over, or a bound of time.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        until: Instant,
    ) -> Result<usize, Failure> {
        let mut taken = 0;
        loop {
            let waiting = self.waiting();
            let room = self.bounds.input_bytes_max.saturating_sub(waiting);
            let count = room.min(bytes.len() - taken);
            if waiting == 0 && count > 0 {
                self.moved = Instant::now();
            }
            self.input.extend_from_slice(&bytes[taken..taken + count]);
            taken += count;
            let done = self.step()?;
            if done || taken == bytes.len() || Instant::now() >= until {
                return Ok(taken);
            }
            if self.waiting() == self.bounds.input_bytes_max {
                self.rest(until)?;
            }
        }
    }

    /// Ends the input, behind everything that was pushed.
    pub(crate) fn end_input(&mut self) {
        if self.end == End::NotYet {
            self.end = End::Wanted;
        }
    }

    /// Sends and hears until the command ends or until `until`; how it ended.
    ///
    /// # Errors
    ///
    /// The connection is over, or a bound of time.
    pub(crate) fn turn(&mut self, until: Instant) -> Result<Option<Exit>, Failure> {
        while !self.step()? {
            if Instant::now() >= until {
                return Ok(None);
            }
            self.rest(until)?;
        }
        Ok(self.exit.clone())
    }

    /// How much of the input waits here.
    pub(crate) const fn waiting(&self) -> usize {
        self.input.len() - self.from
    }

    /// The end of what the command wrote to its standard output.
    pub(crate) const fn output(&self) -> &Captured {
        &self.output
    }

    /// The end of what it wrote to its standard error; with the system's `ssh`
    /// that one's messages too.
    pub(crate) fn errors(&self) -> &Captured {
        self.pipe.errors()
    }

    /// Sends and hears what there is; whether the command has ended.
    fn step(&mut self) -> Result<bool, Failure> {
        if let Some(failure) = &self.over {
            return Err(failure.clone());
        }
        let result = self.try_step();
        if let Err(failure) = &result {
            self.over = Some(failure.clone());
        }
        result
    }

    fn try_step(&mut self) -> Result<bool, Failure> {
        if self.exit.is_some() {
            return Ok(true);
        }
        self.is_connected = self.is_connected || self.pipe.connect(Instant::now())?;
        if self.is_connected {
            self.send()?;
            self.hear()?;
        }
        if self.exit.is_none() {
            self.watch()?;
        }
        Ok(self.exit.is_some())
    }

    fn send(&mut self) -> Result<(), Failure> {
        while self.from < self.input.len() {
            let count = self.pipe.write(&self.input[self.from..])?;
            if count == 0 {
                break;
            }
            self.from += count;
            self.moved = Instant::now();
        }
        if self.from == self.input.len() {
            self.input.clear();
            self.from = 0;
            if self.end == End::Wanted && self.pipe.end_input()? {
                self.end = End::Sent;
            }
        } else if self.from > self.input.len() / 2 {
            self.input.drain(..self.from);
            self.from = 0;
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<(), Failure> {
        let mut block = vec![0; READ_BYTES];
        self.has_more = false;
        for _ in 0..READS_MAX {
            match self.pipe.read(&mut block)? {
                Heard::Bytes(count) => {
                    self.output.push(&block[..count]);
                    self.moved = Instant::now();
                }
                Heard::Nothing => return Ok(()),
                Heard::End => {
                    self.exit = Some(self.pipe.exit()?);
                    return Ok(());
                }
            }
        }
        self.has_more = true;
        Ok(())
    }

    /// Whether it takes too long.
    fn watch(&self) -> Result<(), Failure> {
        let host = &self.host;
        let stalled = |why: String| Err(Failure::new(Kind::Stalled, why));
        match self.bounds.time {
            Some(time) if self.begun.elapsed() >= time => {
                return stalled(format!(
                    "the command on {host} has not ended within {time:?}: the connection \
                     is given up"
                ));
            }
            _ => {}
        }
        let stall = self.bounds.stall;
        if self.is_connected && self.waiting() > 0 && self.moved.elapsed() >= stall {
            return stalled(format!(
                "the command on {host} has not taken any of its input for {stall:?}: the \
                 connection is given up"
            ));
        }
        Ok(())
    }

    fn rest(&mut self, until: Instant) -> Result<(), Failure> {
        if self.has_more {
            return Ok(());
        }
        let mut until = until;
        if let Some(time) = self.bounds.time {
            until = until.min(self.begun + time);
        }
        if !self.is_connected {
            self.is_connected = self.pipe.connect(until)?;
            return Ok(());
        }
        let to_write = self.waiting() > 0 || self.end == End::Wanted;
        if self.waiting() > 0 {
            until = until.min(self.moved + self.bounds.stall);
        }
        self.pipe.wait(to_write, until)
    }
}
