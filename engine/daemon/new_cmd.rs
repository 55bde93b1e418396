//! `tripline new`: a rule with its test, from a sample line.

use crate::cli::NewArgs;
use crate::config::Registry;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use tripline_rules::{Known, sketch};

/// Writes the file to standard output.
pub(crate) fn run(args: &NewArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let more = args.more.len();
    anyhow::ensure!(
        more == 0,
        "a rule is made of one line, and these are {} arguments: put the line in quotes, \
         '..', and give one; others like it belong into the test of the rule, \
         `given: [Lines(text: \"..\"), Lines(text: \"..\")]`",
        more + 1
    );
    let known = Known { sources: None, listeners: registry.listeners };
    let source = args.source.as_ref().map(|it| it.as_str());
    let file = sketch(args.line.as_bytes(), source, &known)?;
    io::stdout().write_all(file.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
