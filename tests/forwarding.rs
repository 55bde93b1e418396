//! What is forwarded, at the other end: real receivers, hostile lines, and
//! networks that fail.

pub(crate) mod certificates; // of receivers, and ours
mod field; // a log, a configuration, the program
pub(crate) mod half_open; // a network that takes everything and delivers nothing
mod herd; // a hundred come back, not all at once
mod hostile; // lines that try to be more than a line
mod http; // posted, refused, set aside
mod syslog; // every message is read as it is meant
mod syslogd; // rsyslogd and syslog-ng
mod tls; // the right receivers get everything, all others nothing
mod trouble; // receivers that go, come back, stop
mod web; // takes what is posted
