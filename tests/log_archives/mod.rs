//! Rotated logs that somebody compresses: whichever tool does it, whenever it
//! does, and whatever it leaves behind.
//!
//! Each scenario runs on both file systems and with and without events, like
//! those of `logs`; `tools.rs` compresses with the real tools.

mod bombs; // what decompresses to far more than anybody wants
mod making; // archives that are still being made, and those that never will be
mod odd; // parts, padding, names that lie, damage
mod rotated; // compressed before or after they were read
pub(crate) mod tools; // gzip, zstd, xz and bzip2

/// The compressor that everybody has.
pub(crate) const GZIP: tools::Tool = tools::TOOLS[0];
