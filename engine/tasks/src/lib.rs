//! The rules as a listener: entries become firings, and firings tasks.
//!
//! ```text
//!  entries -> [Feed] -> Play (machine and runs) -> starts -> [Workers] -> Hands
//!                          ^                                     |
//!                          +------------- outcomes --------------+
//! ```
//!
//! [`Rules`] is a listener like any other, on a lane of its own; what it remembers
//! ([`Agenda::keep`](tripline_api::Agenda::keep)) is in the store from the same moment on
//! as its cursors. An action starts when its firing is on the disk, so a crash neither
//! loses a firing nor makes one twice; an action that ran when the daemon died runs again,
//! under the same id.
//!
//! The time of rules is that of what they read: see [`lag`](self).

mod crew;
mod feed;
mod history;
mod lag;
mod rules;
mod turns;
mod workers;

pub use crew::Crew;
pub use history::{HISTORY_MAX, Ran, SAID_BYTES_MAX, event_of};
pub use rules::{Rules, Setup, Tell};
pub use workers::{RULE_WORKERS_MAX, WORKERS_MAX};
