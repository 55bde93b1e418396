//! What the ways to a host have in common.

use super::failure::Failure;
use super::text::Captured;
use std::time::Instant;

/// A way to a host.
pub(crate) trait Transport: Send {
    /// Begins a connection of its own for this service, and returns at once.
    ///
    /// # Errors
    ///
    /// When it cannot even begin.
    fn begin(&mut self, service: &Service) -> Result<Box<dyn Pipe>, Failure>;
}

/// What is wanted of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Its files.
    Sftp,
    /// That it runs a command, as [`quote`](super::quote) made it.
    Exec(String),
}

/// Bytes to a service and back. No call waits, except where it is given a time.
///
/// After an error the pipe is of no use any more. To drop it ends the
/// connection at once.
pub(crate) trait Pipe: Send {
    /// Goes on with connecting, until `until` at most. With `true` bytes may be
    /// written; whether they arrive may yet be seen.
    fn connect(&mut self, until: Instant) -> Result<bool, Failure>;

    /// Takes some of the bytes, and returns how many; 0 when there is no room.
    /// What was not taken must come again, unchanged, in front.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failure>;

    /// Says that nothing more will be written; `false` when to be asked again.
    fn end_input(&mut self) -> Result<bool, Failure>;

    /// Reads some bytes, if there are any. To be called until there is nothing
    /// before [`wait`](Self::wait).
    fn read(&mut self, into: &mut [u8]) -> Result<Heard, Failure>;

    /// Waits until there is something to read or, if asked for, something can
    /// be written. May return early.
    fn wait(&mut self, to_write: bool, until: Instant) -> Result<(), Failure>;

    /// How the service ended, once [`read`](Self::read) has said so.
    fn exit(&mut self) -> Result<Exit, Failure>;

    /// What the other side said besides, for people.
    fn errors(&self) -> &Captured;

    /// Why the pipe has ended, when it should not have.
    fn ended(&mut self) -> Failure;
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing, for now.
    Nothing,
    /// Nothing any more: the service has ended.
    End,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself.
    Status(u32),
    /// By this signal, named without `SIG`.
    Signal(String),
    /// The system's `ssh` ends with 255 for a command that does, for one that
    /// was ended by a signal, and for itself.
    Unknown,
}

/// So much of what the other side says for people is kept.
pub(super) const ERRORS_BYTES_MAX: usize = 64 * 1024;
