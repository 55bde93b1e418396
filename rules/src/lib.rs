//! What a rule file says, and every mistake in it.
//!
//! * A [`model::RuleFile`] is what people wrote, each value with its place: on what
//!   events a rule looks, what it looks for, what it does. [`read`] makes it.
//! * A [`RuleSet`] is what all files together compile to: names resolved, patterns,
//!   expressions and templates parsed, durations and calendars typed. Evaluation works
//!   on nothing else. [`load`] makes it, or says all that is wrong.
//! * A [`evaluate::Machine`] takes events and the time and gives firings;
//!   [`evaluate::Runs`] says which of their actions starts when. [`testing`] runs the
//!   tests inside rule files on them.
//! * [`language`] is the table of all words: reading, messages and `REFERENCE.md` are
//!   driven by it.
//!
//! The way through it: `load` reads each file ([`read`]), which finds what is not of the
//! language; then `compile` looks at every name, pattern, expression and number, with all
//! files in sight. Both go on behind a mistake, so one run finds all of them.
//!
//! ```
//! use tripline_rules::{Known, SourceFile, load};
//!
//! let text = r#"(rules: [(
//!     name: "refused",
//!     on: Lines(source: "auth", program: "sshd"),
//!     match: r"^Failed password for (?P<user>\S+) from %{IP:ip}",
//!     limit: (times: 1, per: "10m"),
//!     do: [Mail(to: ["ops@example.com"], subject: "{{ usr }} from {{ ip }}")],
//! )])"#;
//! let loaded = load(&[SourceFile::new("a.ron", text)], &Known::default());
//! assert!(loaded.set.is_none());
//! let message = &loaded.diagnostics[0];
//! assert_eq!(message.code, "E030");
//! assert_eq!(message.label, "did you mean `user`?");
//! ```
//!
//! # What expressions and templates see
//!
//! Both are Jinja. A name that is not known here is a mistake that `load` finds, and one
//! that is not there when it is asked for is an error and never an empty text.
//!
//! | root | is | where |
//! |---|---|---|
//! | `event` | `id`, `time`, `source`, `kind`, `host`, `line`, `text`, `program`, `severity` | always |
//! | a capture | what a named group matched, `none` if it took no part | with `match` or `prefix` |
//! | `db` | `db.TABLE.COLUMN`, of the newest row, and `db.TABLE.rows`, all of them | `Journal` |
//! | `journal` | `pid`, `tables` | `Journal` |
//! | `submit` | `none`, or `change`, `user`, `client`, `description`, `time`, `files` | `Journal` |
//! | `task` | `rule`, `action`, `status`, `exit`, `reason`, `stderr`, `duration`, `attempts`, `skipped` | `Task`, `on_failure` |
//! | `engine` | `event`, `source`, `listener`, `rule`, `message` | `Engine` |
//! | `emitted` | the fields of an `Emit` | `Engine(emitted: [..])` |
//! | `count`, `first`, `last`, `events`, `dropped` | the events that made it fire | `Count`, `Digest`, `settle` |
//! | `start`, `end` | the events of a pair | `Pair` |
//! | `absent_for` | how long | `Absent` |
//! | `suppressed` | how many firings `limit` swallowed since the last | with `limit` |
//! | an action's `id` | `stdout`, `stderr`, `exit` | in the actions behind it |
//! | a name of `define` | its text | always |
//!
//! # Known limits
//!
//! * The types of expressions are known as far as they come from the schema, a library
//!   pattern or a constant; what is made by a filter is anything.
//! * Whether a source exists is only known when [`Known::sources`] says which there are.

mod compile;
pub mod compiled;
mod duration;
pub mod evaluate;
#[cfg(test)]
mod example_sets;
mod expression;
mod functions;
pub mod language;
pub mod model;
pub mod patterns;
mod read;
pub mod reference;
mod roots;
mod sketch;
pub mod testing;
mod types;

pub use compile::{Known, Loaded, load};
pub use compiled::RuleSet;
pub use read::{looks_like_rules, read};
pub use sketch::{SketchError, sketch};
pub use tripline_diagnose::{Diagnostic, Severity, SourceFile};
pub use types::Type;
