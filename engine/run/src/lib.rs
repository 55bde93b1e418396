//! The engine: lanes that read and listen, and a ledger that remembers.
//!
//! ```text
//!  journal, journal.7.gz, *.log, *.log.1     inotify: a hint where to look now
//!         |                                     |
//!         v                                     v
//!  [lane per listener]  reader -> is_handled -> listen -> flush
//!         |  settled, gap, state                (bounded)
//!         v
//!  [ledger]  the one owner of the store: group commit, one fsync
//! ```
//!
//! Each lane is a thread that pulls from the source at its own cursor. The
//! files are the queue: nothing is buffered for a listener that is slow, stuck
//! or failing, it just reads later. So there is one way to read, whether a lane
//! follows the live end or catches up through compressed rotations, and no lane
//! can hold up another.
//!
//! [`Engine::start`] starts everything, [`Engine::stop`] ends it in two steps:
//! lanes take no further batch and flush what they have; then the ledger
//! commits and everybody is joined. Kill it anywhere instead, and the next
//! start goes on from the last commit.

mod events;
mod flight;
mod hunt;
mod lane;
mod ledger;
mod own;
mod pace;
mod pending;
mod redeliver;
mod retention;
mod retry;
mod status;
mod supervisor;
mod track;
mod unsaved;

pub use events::{Event, Events};
pub use redeliver::redeliver;
pub use retry::Backoff;
pub use status::LaneStatus;
pub use supervisor::{Engine, LaneSetup, Options, Outcome, Setup, SetupError};
