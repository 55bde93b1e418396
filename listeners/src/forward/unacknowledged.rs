//! How much of what was written has not arrived.

use rustix::ioctl::{Getter, Opcode, ioctl};
use std::ffi::c_int;
use std::io;
use std::os::fd::AsFd;

/// How many of the bytes that were written to a TCP socket the peer's kernel
/// has not acknowledged yet, be they sent or not.
///
/// Of a connection that broke the answer says nothing: ask for the socket's
/// error afterwards, and use the answer when there is none.
///
/// # Errors
///
/// When the socket is none, or one that only listens.
#[expect(unsafe_code, reason = "no library of ours asks this in a safe form")]
pub(super) fn unacknowledged(socket: impl AsFd) -> io::Result<u64> {
    // SAFETY: on a socket this request, which is also called SIOCOUTQ, writes
    // one `int` and nothing else, and `Getter` brings the place for one.
    let bytes =
        unsafe { ioctl(socket, Getter::<{ libc::TIOCOUTQ as Opcode }, c_int>::new()) }?;
    u64::try_from(bytes).map_err(io::Error::other)
}
