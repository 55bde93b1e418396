//! One mail or one request that somebody waits for.
//!
//! What the actions of rules send goes the ways that the listeners `Mail` and `Forward`
//! have: the same SMTP and TLS, the same care for what is hostile, the same files for
//! secrets. A listener sends in the background and remembers; here a call blocks until
//! there is an answer, and nothing is remembered.

pub use crate::forward::http::single::{NoAnswer, Post, PostAnswer};
pub use crate::mail::single::{CancelMail, Mail, MailAnswer, Mails};
