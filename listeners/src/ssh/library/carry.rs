//! What the thread of a session does when it is logged in: it encrypts and sends what
//! the pipe was given, and hands it what comes. That takes about as long as all else
//! that is done to a byte, so it is done beside it.

use super::exchange::{Exchange, Over};
use super::login::Established;
use crate::ssh::text::shown;
use crate::ssh::transport::Exit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_tcp_cork;
use ssh2::{BlockDirections, ErrorCode};
use std::fmt::Display;
use std::io::{self, Read as _, Write as _};
use std::time::Duration;

/// So much is read at a time.
const BLOCK_BYTES: usize = 32 * 1024;
/// More than this is sent as a bulk.
const BULK_BYTES: usize = 64 * 1024;
/// However often an idle server is told that we are there.
const SLEEP_MIN: Duration = Duration::from_secs(1);

/// Carries bytes until the service ends, the connection breaks, or nobody is there
/// any more. An idle server is told at this interval that we are there.
pub(super) fn carry(
    established: &mut Established,
    exchange: &Exchange,
    keepalive: Duration,
) -> Over {
    let mut carrier = Carrier {
        established,
        exchange,
        sending: Vec::new(),
        sent: 0,
        is_begun: false,
        input: Input::Open,
        block: vec![0; BLOCK_BYTES],
        room: exchange.room(),
    };
    match carrier.run(keepalive) {
        Ok(exit) => Over::Ended(exit),
        Err(why) => Over::Broken(why),
    }
}

struct Carrier<'a> {
    established: &'a mut Established,
    exchange: &'a Exchange,
    /// Of what was given, from `sent` on it is to be sent.
    sending: Vec<u8>,
    sent: usize,
    /// A part of what comes next may be sent.
    is_begun: bool,
    input: Input,
    block: Vec<u8>,
    /// So much might still be read when it was read last.
    room: (usize, usize),
}

/// What comes behind what is being sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// Nothing, which is yet to be said.
    Ends,
    Ended,
}

impl Carrier<'_> {
    fn run(&mut self, keepalive: Duration) -> Result<Exit, String> {
        let mut has_looked_again = false;
        loop {
            if self.exchange.is_over() {
                return Err("it is not needed any more".to_owned());
            }
            if self.sent == self.sending.len() {
                self.sent = 0;
                if self.exchange.next(&mut self.sending) {
                    self.input = Input::Ends;
                }
            }
            let has_sent = self.send()?;
            let has_heard = self.hear()? | self.hear_errors()?;
            // The library takes all there is from the socket whenever it looks for one
            // thing. So it is looked for again; but once, for it may be of no use.
            let queued = self.established.channel.read_window().available > 0;
            let looks_again = queued && !has_looked_again;
            has_looked_again = looks_again && !has_sent && !has_heard;
            if has_sent || has_heard || looks_again {
                continue;
            }
            if !queued && let Some(exit) = self.exit()? {
                return Ok(exit);
            }
            if !self.is_unsent() {
                self.keep_alive()?;
            }
            self.sleep(keepalive)?;
        }
    }

    /// Whether something of what was taken is not sent.
    fn is_unsent(&self) -> bool {
        self.sent < self.sending.len() || self.input == Input::Ends
    }

    /// Sends what can be; whether anything was.
    fn send(&mut self) -> Result<bool, String> {
        let before = (self.sent, self.input);
        // The library sends each packet by itself; of a bulk of them the kernel makes
        // fewer and larger ones, and both sides are woken up half as often.
        let in_bulk = self.sending.len() - self.sent > BULK_BYTES;
        if in_bulk {
            _ = set_tcp_cork(&self.established.stream, true);
        }
        let sent = self.send_all();
        if in_bulk {
            _ = set_tcp_cork(&self.established.stream, false);
        }
        sent?;
        if self.sent == self.sending.len() && self.input == Input::Ends {
            match self.established.channel.send_eof() {
                Ok(()) => self.input = Input::Ended,
                Err(error) if would_block(&error) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok((self.sent, self.input) != before)
    }

    /// Sends until all is sent or no more is taken.
    fn send_all(&mut self) -> Result<(), String> {
        let channel = &mut self.established.channel;
        // At its end the other side takes nothing any more: why, reading tells. But what
        // was begun to be sent must go, or nothing else does.
        while self.sent < self.sending.len() && (self.is_begun || !channel.eof()) {
            self.is_begun = false;
            match channel.write(&self.sending[self.sent..]) {
                Ok(0) => break,
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_begun = true;
                    break;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Reads what there is and there is room for; whether there was anything.
    fn hear(&mut self) -> Result<bool, String> {
        let mut has_heard = false;
        loop {
            self.room = self.exchange.room();
            let max = self.room.0.min(BLOCK_BYTES);
            let read = self.established.channel.read(&mut self.block[..max]);
            let Some(count) = read_count(read)? else { return Ok(has_heard) };
            self.exchange.hear(&self.block[..count]);
            has_heard = true;
        }
    }

    /// The same with what is said for people.
    fn hear_errors(&mut self) -> Result<bool, String> {
        let mut has_heard = false;
        loop {
            self.room = self.exchange.room();
            let max = self.room.1.min(BLOCK_BYTES);
            let read = self.established.channel.stderr().read(&mut self.block[..max]);
            let Some(count) = read_count(read)? else { return Ok(has_heard) };
            self.exchange.hear_errors(&self.block[..count]);
            has_heard = true;
        }
    }

    /// How the service ended, which comes behind the end of what it said.
    fn exit(&mut self) -> Result<Option<Exit>, String> {
        let channel = &mut self.established.channel;
        if !channel.eof() {
            return Ok(None);
        }
        match channel.wait_close() {
            Ok(()) => {}
            Err(error) if would_block(&error) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        }
        let ended = channel.exit_signal().and_then(|signal| match signal.exit_signal {
            Some(name) => Ok(Exit::Signal(shown(name.as_bytes()))),
            None => Ok(Exit::Status(channel.exit_status()?.unsigned_abs())),
        });
        ended.map(Some).map_err(described)
    }

    /// Tells an idle server that we are there. Nothing may be half sent, and nothing
    /// may become so: it must go at once or not at all.
    fn keep_alive(&self) -> Result<(), String> {
        let Established { session, stream, .. } = &*self.established;
        let mut polled = [PollFd::new(stream, PollFlags::OUT)];
        let is_free = poll(&mut polled, Some(&Timespec::default())) == Ok(1);
        if !is_free {
            return Ok(());
        }
        session.keepalive_send().map(drop).map_err(described)
    }

    fn sleep(&self, timeout: Duration) -> Result<(), String> {
        // What waits to be sent may have to go before anything is read.
        let (is_in, is_out) = match self.established.session.block_directions() {
            BlockDirections::Both => (true, true),
            BlockDirections::Outbound => (false, true),
            BlockDirections::Inbound | BlockDirections::None => (true, false),
        };
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, is_in && self.room.0 > 0);
        flags.set(PollFlags::OUT, is_out);
        let (is_unsent, stream) = (self.is_unsent(), &self.established.stream);
        let timeout = timeout.max(SLEEP_MIN);
        let slept = self.exchange.sleep(stream, flags, is_unsent, self.room, timeout);
        slept.map_err(described)
    }
}

/// How much was read; `None` when there is nothing, for now or any more.
fn read_count(read: io::Result<usize>) -> Result<Option<usize>, String> {
    match read {
        Ok(0) => Ok(None),
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// What the library says when it would have to wait.
const TRY_AGAIN: i32 = -37;

fn would_block(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(TRY_AGAIN)
}

fn described(error: impl Display) -> String {
    error.to_string()
}
