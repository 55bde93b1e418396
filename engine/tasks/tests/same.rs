//! The same rules over the same input fire the same: line by line, in batches, after any
//! number of restarts, and in an engine that is killed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "same/alone.rs"]
mod alone;
#[path = "same/engine.rs"]
mod engine;
#[path = "same/pool.rs"]
mod pool;
#[path = "same/store.rs"]
mod store;
