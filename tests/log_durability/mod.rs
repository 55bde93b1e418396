//! What is remembered of logs outlives kills, power cuts, and disks that are
//! full, broken or read-only.
//!
//! The same for journals is in `crashes`; damage to the database itself, byte by
//! byte, and its upgrade are tested in the crate `tripline-store`.

mod crashes; // dies, or loses power, at every operation on its files
mod damage; // a database that is no database any more
mod place; // two logs, rotated and compressed, and the program
mod refusals; // the disk is full, broken or read-only for a while
