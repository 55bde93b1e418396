//! Log files under fire: what writers, rotations, people and the system do to
//! them, and what must have been delivered in the end.
//!
//! Each scenario runs on a file system in memory and on a disk, and with and
//! without file-system events, at the same time: `ground.rs` is where, `lines.rs`
//! what is written and what must have come of it, `receiver.rs` the other end of
//! a `Forward`.

mod advice; // what a gap says to do about it, done
mod away; // one of many receivers is away for long
mod begin; // `start: Now`, and places where nothing was read yet
mod cuts; // files that are cut in place, copied first or not
mod following; // many writers, torn lines
pub(crate) mod ground; // a scratch directory, a configuration, the daemon, logrotate
mod held; // deleted while the receiver is away
mod identity; // what is the same file, and what only looks like it
mod limits; // many files, few descriptors, no watches, a queue that overflows
pub(crate) mod lines; // numbered lines
mod namesakes; // logs that are called like older files of another
mod paths; // what comes and goes at a path
mod pauses; // the daemon sleeps while files are rotated
mod quiet; // what waits does not keep the daemon busy
pub(crate) mod receiver; // takes what is forwarded
mod rotation; // renamed by logrotate, while it runs and while it does not
mod soak; // many rotations leave nothing behind
mod trouble; // files that cannot be read
