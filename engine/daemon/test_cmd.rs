//! `tripline test`: the tests inside rule files.

use crate::check::files_of;
use crate::cli::{TestArgs, exit};
use crate::config::{self, Registry};
use crate::terminal::{self, Answers};
use std::io::{self, Write as _};
use std::process::ExitCode;
use tripline_diagnose::Severity;
use tripline_rules::testing::{Report, run_tests};
use tripline_rules::{Known, load};

/// Runs the tests of all files, which are one set of rules.
pub(crate) fn run(args: &TestArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in &args.paths {
        for file in files_of(path)? {
            let bytes = config::read_bounded(&file)?;
            // A directory may hold a configuration too.
            let is_named = file == *path;
            if !is_named
                && !tripline_rules::looks_like_rules(&String::from_utf8_lossy(&bytes))
            {
                continue;
            }
            let (file, problem) = config::decode(&file, bytes);
            problems.extend(problem);
            files.push(file);
        }
    }
    let known = Known { sources: None, listeners: registry.listeners };
    let loaded = load(&files, &known);
    let wrong = loaded.diagnostics.iter().filter(|it| it.severity == Severity::Error);
    let style = terminal::for_stderr();
    let mut stderr = io::stderr().lock();
    for diagnostic in problems.iter().chain(wrong) {
        // The exit code is the answer when nobody reads the words.
        _ = writeln!(stderr, "{}", diagnostic.render(style));
    }
    let Some(set) = loaded.set.filter(|_| problems.is_empty()) else {
        return Ok(ExitCode::from(exit::NO));
    };
    let report = run_tests(&set);
    writeln!(Answers::new(), "{report}")?;
    Ok(code(&report))
}

fn code(report: &Report) -> ExitCode {
    if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::from(exit::NO) }
}
