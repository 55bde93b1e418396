//! The acknowledged protocol between two Triplines.
//!
//! A **sender** (a `Forward` to `tripline://host:port`) connects, says which
//! **peer** it is and which **stream** (the name of the listener), and proves it.
//! Then it sends **frames**: a frame names a source or a log, holds a run of its
//! bytes with their place, or a gap. The **receiver** (`tripline receive`) appends
//! the bytes to files, syncs them, commits in one transaction how far each log
//! came and how long each file is, and only then acknowledges the frames, by the
//! number of the last one.
//!
//! Nothing is ever sent again within a connection. When it ends, the sender goes
//! back to what was acknowledged and sends the rest on another one; the receiver
//! knows the place of each log and drops the bytes before it. So each byte is in
//! the file once, whatever was cut or killed whenever. Bytes that were written and
//! not committed come again and are written once more to where they already are.
//!
//! A place tells the receiver what it has only as long as neither of them was brought
//! back from an older state. So both keep a **tie**, a number that the sender draws
//! and writes down, and then sends, with each connection and each second in which it
//! sends something. The receiver commits it with the places that follow, and says at
//! the next connection which one it has. If that is neither the last one that the
//! sender has drawn nor the one before, it sends nothing more than why.
//!
//! * [`wire`]: the frames, encoded and decoded; pure.
//! * [`greeting`]: the first bytes of a connection, before any encryption.
//! * [`link`]: a connection of frames, plain or over TLS, that never blocks.
//! * [`key`]: two that share a key recognise each other.
//! * [`receive`]: the receiver: `names`, `places` and `plan` decide and are pure,
//!   `files`, `store` and `commit` keep, `session` and `server` are the rim.

pub mod greeting;
pub mod key;
pub mod link;
pub mod receive;
pub mod secret;
pub mod wire;
