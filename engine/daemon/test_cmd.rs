//! `tripline test`: the tests inside rule files.

use crate::check::files_of;
use crate::cli::{TestArgs, exit};
use crate::config::{self, Registry};
use crate::kind;
use crate::terminal::{self, Answers};
use anyhow::Context as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tripline_diagnose::{Severity, shown};
use tripline_rules::testing::{Report, run_tests};
use tripline_rules::{Known, load};

/// Runs the tests of all files, which are one set of rules.
pub(crate) fn run(args: &TestArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in &args.paths {
        let before = files.len();
        for file in rule_files_of(path)? {
            let bytes = config::read_bounded(&file)
                .with_context(|| format!("cannot read `{}`", shown(&file)))?;
            // A directory may hold a configuration too.
            let is_named = file == *path;
            if !is_named
                && !tripline_rules::looks_like_rules(&String::from_utf8_lossy(&bytes))
            {
                continue;
            }
            if let Some(what) = kind::no_rules(&file, &String::from_utf8_lossy(&bytes)) {
                anyhow::bail!("{what}");
            }
            let (file, problem) = config::decode(&file, bytes);
            problems.extend(problem);
            files.push(file);
        }
        anyhow::ensure!(
            files.len() > before,
            "no *.ron in the directory `{}` has rules: {WHAT_TO_NAME}",
            shown(path)
        );
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

/// The files that may have rules: the one that is named, or those of a directory.
fn rule_files_of(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    anyhow::ensure!(
        path.try_exists().unwrap_or(true),
        "there is no file and no directory `{}`: {WHAT_TO_NAME}",
        shown(path)
    );
    files_of(path)
}

const WHAT_TO_NAME: &str = "name files with rules, or a directory of them, such as \
                            `tripline test rules.d`";

fn code(report: &Report) -> ExitCode {
    if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::from(exit::NO) }
}
