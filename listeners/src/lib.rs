//! The listeners that come with Tripline.
//!
//! [`ALL`] is the registry: the configuration, `tripline check`, the reference
//! and the tests are all driven by it.
//!
//! # Adding a listener
//!
//! 1. Write one file next to `print.rs`: a struct for the arguments
//!    (`#[serde(deny_unknown_fields)]`), a struct that is a
//!    [`Listener`](tripline_api::Listener), and a unit struct `Factory` that is
//!    a [`ListenerFactory`]. Its `doc`, `arguments` and `limits` are what people
//!    read (`listeners/REFERENCE.md` is made of them), its `example` is what they
//!    copy.
//! 2. Add a line to the list below.
//! 3. Add a row to [`conformance::KINDS`], in the same order: how to let it write
//!    into a directory, and how to read back what it wrote. A test fails until the
//!    row is there, and then runs the whole suite over it.
//!
//! What a listener owes the engine stands at
//! [`Listener`](tripline_api::Listener). The short form: what `flush` said yes
//! to is on the disk, or with its receiver; what comes again is recognised or
//! harmless; an error says what a person can do about it; nothing that an entry
//! holds makes it panic.
//!
//! # Known limits
//!
//! Listeners that write files want a local file system: they rely on a rename
//! being atomic, on `fsync`, and on a lock that ends with its process.

mod arguments;
mod checkpoint;
pub mod conformance;
mod exec;
mod files;
mod filter;
mod forward;
mod hot_backup;
mod mail;
mod mirror;
mod print;
pub mod process;
mod review;
pub mod single;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        unused_imports,
        reason = "the client is tested beyond what the backup asks of it"
    )
)]
mod ssh;
pub mod testing;

use tripline_api::ListenerFactory;

/// Every kind of listener: the words that may stand before the parenthesis in
/// `listeners`. The first of them is the example where one is missing.
pub static ALL: &[&dyn ListenerFactory] = &[
    &forward::Factory,
    &exec::Factory,
    &hot_backup::Factory,
    &mail::Factory,
    &mirror::Factory,
    &print::Factory,
    &review::Factory,
];

/// The factory of the listeners that the configuration calls `name`.
pub fn find(name: &str) -> Option<&'static dyn ListenerFactory> {
    ALL.iter().copied().find(|factory| factory.name() == name)
}
