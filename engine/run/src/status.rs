//! How far a lane has come, for whoever shows it.

use std::sync::atomic::AtomicU64;

/// What a lane has done since it was started, for whoever shows progress.
#[derive(Debug, Default)]
pub struct LaneStatus {
    /// Entries read.
    pub entries: AtomicU64,
    /// Bytes read.
    pub bytes: AtomicU64,
}
