//! What Tripline keeps between two runs, and where.
//!
//! * [`SqliteStore`] is the store of the program: one SQLite database in the
//!   state directory, one transaction and one trip to the disk a commit.
//! * [`StateLock`] keeps a second process out of the state directory, and the
//!   state directory off network file systems.
//! * [`MemoryStore`] and [`FaultStore`] are stores for tests: one that can be
//!   looked into while it is in use, one that fails when it is told to.
//! * [`conformance`] holds what every store must do, as one suite.
//!
//! ```
//! use tripline_api::{Change, Key, ListenerId, SourceId, State, Store as _};
//! use tripline_store::{SqliteStore, StateLock};
//!
//! # let scratch = tempfile::tempdir()?;
//! # let directory = scratch.path().join("state");
//! let lock = StateLock::take(&directory)?;
//! let mut store = SqliteStore::open(&directory)?;
//! let key = Key {
//!     source: SourceId::new("p4").expect("a valid name"),
//!     listener: ListenerId::new("backup").expect("a valid name"),
//!     log: None,
//! };
//! store.commit(&[Change::State { key, state: State::Following, why: None }])?;
//! assert_eq!(store.progress()?[0].state, State::Following);
//! # drop(store);
//! # drop(lock);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Known limits
//!
//! * The state directory must be on a file system of this host: SQLite's
//!   write-ahead log needs memory shared between processes and honest locks.
//! * The `sqlite3` shell reads the store from version 3.37 on (strict tables).
//! * While some other program keeps a read transaction open, the write-ahead
//!   log cannot start over and grows.

pub mod conformance;

mod change;
mod directory;
mod error;
mod fault;
mod kept;
mod letters;
mod lock;
mod memory;
mod open;
mod rows;
mod sqlite;

pub use directory::check_local;
pub use error::{LockError, OpenError};
pub use fault::{Effect, Fault, FaultStore, Faults};
pub use lock::StateLock;
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;
