//! The arguments of `tripline dead`.

use super::parse_duration;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// The commands on dead letters.
///
/// They work while the daemon runs.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List what was set aside.
    List(DeadListArgs),
    /// Show one letter, with the entry or what was made of it, as JSON.
    Show(DeadShowArgs),
    /// Deliver letters once more.
    Retry(DeadRetryArgs),
    /// Throw letters away.
    Drop(DeadDropArgs),
}

/// Arguments of `tripline dead list`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tripline dead list tripline.ron
  tripline dead list tripline.ron --listener central --json")]
pub(crate) struct DeadListArgs {
    /// The configuration.
    pub(crate) config: PathBuf,
    /// Only the letters of this listener.
    #[arg(long)]
    pub(crate) listener: Option<String>,
    /// Write a JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `tripline dead show`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Hashes of passwords and tickets are written as [redacted].

Examples:
  tripline dead show tripline.ron 7")]
pub(crate) struct DeadShowArgs {
    /// The configuration.
    pub(crate) config: PathBuf,
    /// The letter's number.
    pub(crate) number: u64,
}

/// Arguments of `tripline dead retry`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exits with 0 when all were delivered, 1 when some were not: those stay. Behind three
letters in a row that were tried in vain, because their receiver is not there, the other
letters of the same listener are not tried; one that is refused again is in nobody's way.

Examples:
  tripline dead retry tripline.ron 7 9
  tripline dead retry tripline.ron --listener central --patience 1m")]
pub(crate) struct DeadRetryArgs {
    /// The configuration.
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) which: Which,
    /// How long one is tried.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub(crate) patience: Duration,
}

/// Arguments of `tripline dead drop`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tripline dead drop tripline.ron 7
  tripline dead drop tripline.ron --all --yes")]
pub(crate) struct DeadDropArgs {
    /// The configuration.
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) which: Which,
    /// Do not ask before.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Which letters.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// Their numbers, as `tripline dead list` shows them.
    #[arg(value_name = "NUMBER")]
    pub(crate) numbers: Vec<u64>,
    /// All there are.
    #[arg(long)]
    pub(crate) all: bool,
    /// All of this listener.
    #[arg(long)]
    pub(crate) listener: Option<String>,
}
