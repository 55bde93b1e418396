//! `tripline journal`: journal and checkpoint files, without a configuration.

mod batches;
mod cat;
mod checkpoints;
mod count;
mod differences;
mod input;
mod output;

use crate::cli::JournalCommand;
use std::process::ExitCode;

/// Runs one of the commands on journal files.
pub(crate) fn run(command: &JournalCommand) -> anyhow::Result<ExitCode> {
    match command {
        JournalCommand::Count(args) => count::run(args),
        JournalCommand::Cat(args) => cat::run(args),
        JournalCommand::Apply(args) => checkpoints::apply(args),
        JournalCommand::Verify(args) => checkpoints::verify(args),
        JournalCommand::Diff(args) => checkpoints::diff(args),
    }
}
