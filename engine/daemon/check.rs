//! `tripline check`: all errors of all files in one go.

use crate::cli::{CheckArgs, Format, exit};
use crate::config::{Config, ConfigError, Registry};
use crate::terminal::{self, Answers};
use anyhow::Context as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tripline_diagnose::{Diagnostic, Severity, counted, shown, summary};

/// Checks every file and says what is wrong.
pub(crate) fn run(args: &CheckArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let mut found = Vec::new();
    let (mut checked, mut is_all_read) = (0, true);
    for path in &args.paths {
        let files = match files_of(path) {
            Ok(files) => files,
            Err(error) => {
                terminal::say(format_args!("{error:#}"));
                is_all_read = false;
                continue;
            }
        };
        for file in files {
            match Config::load(&file, registry) {
                Ok(config) => found.extend(config.warnings),
                Err(ConfigError::Wrong(diagnostics)) => found.extend(diagnostics),
                Err(error @ ConfigError::Unreadable { .. }) => {
                    terminal::say(format_args!("{error}"));
                    is_all_read = false;
                    continue;
                }
            }
            checked += 1;
        }
    }
    if args.strict {
        found.iter_mut().for_each(|it| it.severity = Severity::Error);
    }
    match args.format {
        Format::Human => print_human(&found, checked)?,
        Format::Json => print_json(&found)?,
    }
    let has_errors = found.iter().any(|it| it.severity == Severity::Error);
    Ok(match has_errors {
        _ if !is_all_read => ExitCode::from(exit::FAILED),
        true => ExitCode::from(exit::NO),
        false => ExitCode::SUCCESS,
    })
}

/// The file itself, or the files that a directory stands for.
fn files_of(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let doing = || format!("cannot list the directory `{}`", shown(path));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).with_context(doing)? {
        let file = entry.with_context(doing)?.path();
        if file.extension().is_some_and(|it| it == "ron") && !file.is_dir() {
            files.push(file);
        }
    }
    anyhow::ensure!(
        !files.is_empty(),
        "there is no *.ron in the directory `{}`",
        shown(path)
    );
    files.sort();
    Ok(files)
}

fn print_human(found: &[Diagnostic], checked: usize) -> io::Result<()> {
    let style = terminal::for_stderr();
    let mut stderr = io::stderr().lock();
    for diagnostic in found {
        // The exit code is the answer when nobody reads the words.
        _ = writeln!(stderr, "{}", diagnostic.render(style));
    }
    if checked == 0 {
        return Ok(());
    }
    let files = counted(checked, "file");
    writeln!(Answers::new(), "{files}: {}", summary(found))
}

fn print_json(found: &[Diagnostic]) -> io::Result<()> {
    let mut stdout = Answers::new();
    found.iter().try_for_each(|it| stdout.write_all(it.json().as_bytes()))?;
    stdout.flush()
}
