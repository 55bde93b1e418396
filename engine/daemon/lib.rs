//! The program `tripline`, as a library.
//!
//! A program of one's own that adds listeners calls [`main`] with a registry
//! that holds them, and has all commands:
//!
//! ```no_run
//! use tripline_api::ListenerFactory;
//!
//! // Those that come with Tripline, and behind them one's own.
//! static LISTENERS: &[&dyn ListenerFactory] = &[];
//!
//! fn main() -> std::process::ExitCode {
//!     tripline::main(LISTENERS)
//! }
//! ```
//!
//! The way through it: [`main`] reads the command line (`cli`) and calls the
//! module of the command. `run` and `where` and `check` read a configuration
//! (`config`), which either is usable or is a list of `diagnose`d errors.

mod backup_cmd;
mod check;
mod cli;
mod config;
mod dead_cmd;
mod explain_cmd;
mod fields;
mod init;
mod journal_cmd;
mod kind;
mod manual;
mod new_cmd;
mod receive_cmd;
mod reference;
mod replay_cmd;
mod run_cmd;
mod tasks_cmd;
mod terminal;
mod test_cmd;
mod where_cmd;

use crate::cli::{Cli, Command};
use crate::config::{ConfigError, Registry};
use clap::Parser as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use tripline_api::ListenerFactory;

pub use crate::reference::reference;

/// Runs the command that the command line names, with these listeners.
pub fn main(listeners: &'static [&'static dyn ListenerFactory]) -> ExitCode {
    let registry = Registry { sources: tripline_follow::ALL, listeners };
    match run(&Cli::parse().command, &registry) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(cli::exit::FAILED)
        }
    }
}

fn run(command: &Command, registry: &Registry) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => run_cmd::run(args, registry),
        Command::Receive(args) => receive_cmd::run(args),
        Command::Check(args) => check::run(args, registry),
        Command::Test(args) => test_cmd::run(args, registry),
        Command::Explain(args) => explain_cmd::run(args, registry),
        Command::Replay(args) => replay_cmd::run(args, registry),
        Command::New(args) => new_cmd::run(args, registry),
        Command::Where(args) => where_cmd::run(args, registry),
        Command::Tasks(args) => tasks_cmd::run(args, registry),
        Command::Dead(command) => dead_cmd::run(command, registry),
        Command::Backup(command) => backup_cmd::run(command, registry),
        Command::Journal(command) => journal_cmd::run(command),
        Command::Fields(args) => fields::run(args),
        Command::Init(args) => init::run(args),
        Command::Man(args) => manual::man(args),
        Command::Completions(args) => manual::completions(args),
    }
}

/// Whoever read our output has had enough, as `head` has: that is no error of a
/// command that only shows something. Those whose exit code is an answer write
/// with [`terminal::Answers`].
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn report(error: &anyhow::Error) {
    match error.downcast_ref::<ConfigError>() {
        Some(error) => {
            let text = error.render(terminal::for_stderr());
            // Nobody is left to be told when even standard error is closed.
            _ = io::stderr().write_all(text.as_bytes());
        }
        None => terminal::say(format_args!("{error:#}")),
    }
}
