//! Actions done for real: programs, servers, files, hostile values.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod exec; // programs that behave, or do not
mod hands; // rules, other rules, and what `check` would say
mod listener; // Forward and Print
mod mail; // Postfix, and a server that puts off
mod post; // a server that answers as it is told
mod site; // rules, starts, waiting
mod surroundings; // what a program finds around it
mod touch; // files, and what may stand in their place
mod web; // the server of `post`

// The same server as the listener `Mail` is tested with.
#[expect(dead_code, reason = "of what a server can do not all is asked here")]
#[path = "../../../../tests/mail/postfix.rs"]
mod postfix;
