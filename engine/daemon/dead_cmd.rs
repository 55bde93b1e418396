//! `tripline dead`: what was set aside because its receiver will never take it.
//!
//! All of it works while the daemon runs: letters have rows of their own, which
//! the daemon only adds to.

mod retry;
mod show;

use crate::cli::{DeadCommand, DeadDropArgs, DeadListArgs, DeadShowArgs, Which, exit};
use crate::config::{Config, Registry};
use crate::terminal::{Answers, confirmed, say};
use anyhow::bail;
use std::path::Path;
use std::process::ExitCode;
use tripline_api::{Change, Filed, Store as _};
use tripline_store::{OpenError, SqliteStore};

/// Lists, shows, delivers again or drops letters.
///
/// # Errors
///
/// When the configuration or the store cannot be read, or there is no such
/// letter.
pub(crate) fn run(
    command: &DeadCommand,
    registry: &Registry,
) -> anyhow::Result<ExitCode> {
    match command {
        DeadCommand::List(args) => list(args, registry),
        DeadCommand::Show(args) => show_one(args, registry),
        DeadCommand::Retry(args) => retry::run(args, registry),
        DeadCommand::Drop(args) => drop_some(args, registry),
    }
}

fn list(args: &DeadListArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let config = Config::load_without_rules(&args.config, registry)?;
    let mut letters = letters(&config.state)?;
    if let Some(listener) = &args.listener {
        letters.retain(|filed| filed.letter.key.listener.as_str() == listener);
    }
    let mut out = Answers::new();
    match args.json {
        true => show::write_json_lines(&mut out, &letters)?,
        false => show::write_table(&mut out, &letters)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show_one(args: &DeadShowArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let config = Config::load_without_rules(&args.config, registry)?;
    let wanted = Which { numbers: vec![args.number], all: false, listener: None };
    for filed in &chosen(letters(&config.state)?, &wanted)? {
        show::write_one(&mut Answers::new(), filed)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn drop_some(args: &DeadDropArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let config = Config::load_without_rules(&args.config, registry)?;
    let letters = chosen(letters(&config.state)?, &args.which)?;
    if letters.is_empty() {
        say(format_args!("nothing to drop"));
        return Ok(ExitCode::SUCCESS);
    }
    let count = in_words(letters.len());
    if !args.yes && !confirmed(&format!("drop {count} for good?"))? {
        say(format_args!("nothing was dropped"));
        return Ok(ExitCode::from(exit::FAILED));
    }
    let changes: Vec<_> = letters.iter().map(unfile).collect();
    SqliteStore::open(&config.state)?.commit(&changes)?;
    say(format_args!("{count} dropped"));
    Ok(ExitCode::SUCCESS)
}

/// Everything that was set aside, oldest first.
fn letters(state: &Path) -> anyhow::Result<Vec<Filed>> {
    match SqliteStore::open_to_read(state) {
        Ok(mut store) => Ok(store.letters()?),
        Err(OpenError::Nothing { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Those that were asked for, oldest first.
fn chosen(letters: Vec<Filed>, which: &Which) -> anyhow::Result<Vec<Filed>> {
    for number in &which.numbers {
        if !letters.iter().any(|filed| filed.number == *number) {
            bail!(
                "there is no letter {number}: `tripline dead list` shows those there are"
            );
        }
    }
    let is_meant = |filed: &Filed| match &which.listener {
        Some(listener) => filed.letter.key.listener.as_str() == listener,
        None => which.all || which.numbers.contains(&filed.number),
    };
    Ok(letters.into_iter().filter(is_meant).collect())
}

fn unfile(filed: &Filed) -> Change {
    Change::Unfile { key: filed.letter.key.clone(), number: filed.number }
}

fn in_words(count: usize) -> String {
    match count {
        1 => "1 letter".to_owned(),
        count => format!("{count} letters"),
    }
}
