//! `tripline man` and `tripline completions`: made from the command line's
//! own tree, so that they cannot say anything else.

use crate::cli::{Cli, CompletionsArgs, ManArgs};
use anyhow::Context as _;
use clap::CommandFactory as _;
use std::fs;
use std::io::{self, Write as _};
use std::process::ExitCode;
use tripline_diagnose::shown;

/// Writes the first manual page, or all of them into a directory.
pub(crate) fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    match &args.to {
        Some(directory) => {
            fs::create_dir_all(directory)
                .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
                .with_context(|| format!("cannot write into `{}`", shown(directory)))?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            io::stdout().write_all(&page)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the completions of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    match &args.to {
        Some(directory) => {
            fs::create_dir_all(directory)
                .and_then(|()| {
                    clap_complete::generate_to(
                        args.shell,
                        &mut command,
                        "tripline",
                        directory,
                    )
                })
                .with_context(|| format!("cannot write into `{}`", shown(directory)))?;
        }
        None => {
            // Into memory first: the generator panics when a pipe is closed.
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut command, "tripline", &mut script);
            io::stdout().write_all(&script)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
