//! Mail through a real server: Postfix with a queue and mailboxes of its own.

mod crashes; // dies, or loses power, at every operation on its files
mod delivery; // who gets what, through kills, restarts and hostile lines
mod flood; // a million lines are a few mails
pub(crate) mod postfix; // a mail server on a free port
