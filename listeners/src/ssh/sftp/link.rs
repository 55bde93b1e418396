//! Packets to the pipe and from it.

use super::packet::{self, Garbled, PACKET_BYTES_MAX};
use crate::ssh::failure::Failure;
use crate::ssh::transport::{Heard, Pipe};
use std::time::Instant;

/// So much is read at a time, at least.
const READ_BYTES: usize = 64 * 1024;
/// So much memory is kept for what waits to be sent.
const OUT_BYTES_KEPT: usize = 1024 * 1024;

/// The pipe, and what came out of it.
pub(super) struct Link {
    pipe: Box<dyn Pipe>,
    /// What was read and not yet consumed is `heard[from..to]`.
    heard: Vec<u8>,
    from: usize,
    to: usize,
    /// When bytes last went either way, or something to wait for began.
    moved: Instant,
}

/// What waits to be sent.
#[derive(Default)]
pub(super) struct Out {
    bytes: Vec<u8>,
    from: usize,
}

impl Out {
    pub(super) const fn len(&self) -> usize {
        self.bytes.len() - self.from
    }

    /// Where a packet is appended.
    pub(super) const fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    fn consume(&mut self, count: usize) {
        self.from += count;
        if self.from == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(OUT_BYTES_KEPT);
            self.from = 0;
        } else if self.from > self.bytes.len() / 2 {
            self.bytes.drain(..self.from);
            self.from = 0;
        }
    }
}

impl Link {
    pub(super) fn new(pipe: Box<dyn Pipe>) -> Self {
        Self { pipe, heard: Vec::new(), from: 0, to: 0, moved: Instant::now() }
    }

    pub(super) fn connect(&mut self, until: Instant) -> Result<bool, Failure> {
        self.pipe.connect(until)
    }

    pub(super) const fn moved(&self) -> Instant {
        self.moved
    }

    /// From now on an answer is waited for.
    pub(super) fn begins(&mut self) {
        self.moved = Instant::now();
    }

    /// Sends what the pipe takes; whether it took anything.
    pub(super) fn write(&mut self, out: &mut Out) -> Result<bool, Failure> {
        let mut has_written = false;
        while out.len() > 0 {
            let count = self.pipe.write(&out.bytes[out.from..])?;
            if count == 0 {
                break;
            }
            out.consume(count);
            has_written = true;
        }
        if has_written {
            self.moved = Instant::now();
        }
        Ok(has_written)
    }

    /// Reads once.
    pub(super) fn read(&mut self) -> Result<Heard, Failure> {
        self.make_room();
        let heard = self.pipe.read(&mut self.heard[self.to..])?;
        if let Heard::Bytes(count) = heard {
            self.to += count;
            self.moved = Instant::now();
        }
        Ok(heard)
    }

    /// Room for more than there is of a packet: those that are there as a whole
    /// have been consumed.
    fn make_room(&mut self) {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.heard.len() - self.to < READ_BYTES / 2 {
            self.heard.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        let wanted = (self.to + READ_BYTES).min(4 + PACKET_BYTES_MAX + READ_BYTES);
        if self.heard.len() < wanted {
            self.heard.resize(wanted, 0);
        }
    }

    /// The next packet that is there as a whole, until it is consumed.
    pub(super) fn packet(&self) -> Result<Option<&[u8]>, Garbled> {
        packet::split(&self.heard[self.from..self.to])
    }

    /// The packet is dealt with.
    pub(super) fn consume(&mut self) {
        if let Ok(Some(packet)) = self.packet() {
            self.from += 4 + packet.len();
        }
    }

    pub(super) fn wait(&mut self, to_write: bool, until: Instant) -> Result<(), Failure> {
        self.pipe.wait(to_write, until)
    }

    pub(super) fn ended(&mut self) -> Failure {
        self.pipe.ended()
    }
}
