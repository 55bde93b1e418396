//! `tripline check`: all errors of all files in one go.

use crate::cli::{CheckArgs, Format, exit};
use crate::config::{self, Config, ConfigError, Registry};
use crate::receive_cmd::{ReceiveConfig, is_for_receiving};
use crate::terminal::{self, Answers};
use anyhow::Context as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tripline_api::Source;
use tripline_diagnose::{Diagnostic, Severity, SourceFile, counted, shown, summary};
use tripline_rules::Known;

/// Checks every file and says what is wrong. Rule files are one set; when there are
/// configurations too, the sources in them are those that rules can name.
pub(crate) fn run(args: &CheckArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let mut checked = Checked::default();
    for path in &args.paths {
        match files_of(path) {
            Ok(files) => files.iter().for_each(|file| checked.file(file, registry)),
            Err(error) => {
                terminal::say(format_args!("{error:#}"));
                checked.is_unread = true;
            }
        }
    }
    checked.rules(registry);
    if args.strict {
        checked.found.iter_mut().for_each(|it| it.severity = Severity::Error);
    }
    match args.format {
        Format::Human => checked.print_human()?,
        Format::Json => print_json(&checked.found)?,
    }
    let has_errors = checked.found.iter().any(|it| it.severity == Severity::Error);
    Ok(match has_errors {
        _ if checked.is_unread => ExitCode::from(exit::FAILED),
        true => ExitCode::from(exit::NO),
        false => ExitCode::SUCCESS,
    })
}

/// What was checked, and what is wrong with it.
#[derive(Default)]
struct Checked {
    files: usize,
    rule_files: Vec<Arc<SourceFile>>,
    /// The sources of the configurations, and whether they are journals; `None` when
    /// there is none that is sound.
    sources: Option<Vec<(String, bool)>>,
    /// A configuration is not sound, so it may have more sources.
    is_partial: bool,
    counts: Vec<String>,
    found: Vec<Diagnostic>,
    /// Something could not be read.
    is_unread: bool,
}

impl Checked {
    fn file(&mut self, path: &Path, registry: &Registry) {
        // What cannot be read is the configuration's to tell.
        if let Ok(bytes) = config::read_bounded(path)
            && tripline_rules::looks_like_rules(&String::from_utf8_lossy(&bytes))
        {
            self.files += 1;
            let (file, problem) = config::decode(path, bytes);
            match problem {
                Some(mut problem) => {
                    problem.code("E008");
                    self.found.push(problem);
                }
                None => self.rule_files.push(file),
            }
            return;
        }
        let loaded = match is_for_receiving(path) {
            true => ReceiveConfig::load(path).map(|config| config.warnings),
            false => Config::load(path, registry).map(|config| {
                let sources = self.sources.get_or_insert_default();
                let of = |it: &Arc<dyn Source>| (it.id().to_string(), it.is_journal());
                sources.extend(config.sources.iter().map(of));
                config.warnings
            }),
        };
        match loaded {
            Ok(warnings) => self.found.extend(warnings),
            Err(ConfigError::Wrong(diagnostics)) => {
                self.is_partial = true;
                self.found.extend(diagnostics);
            }
            Err(error @ ConfigError::Unreadable { .. }) => {
                terminal::say(format_args!("{error}"));
                self.is_unread = true;
                return;
            }
        }
        self.files += 1;
    }

    fn rules(&mut self, registry: &Registry) {
        if self.rule_files.is_empty() {
            return;
        }
        let sources = self.sources.take().filter(|_| !self.is_partial);
        let known = Known { sources, listeners: registry.listeners };
        let mut loaded = tripline_rules::load(&self.rule_files, &known);
        self.counts = vec![counted(loaded.rules, "rule"), counted(loaded.tests, "test")];
        self.found.append(&mut loaded.diagnostics);
    }

    fn print_human(&self) -> io::Result<()> {
        let style = terminal::for_stderr();
        let mut stderr = io::stderr().lock();
        for diagnostic in &self.found {
            // The exit code is the answer when nobody reads the words.
            _ = writeln!(stderr, "{}", diagnostic.render(style));
        }
        if self.files == 0 {
            return Ok(());
        }
        let mut counts = vec![counted(self.files, "file")];
        counts.extend_from_slice(&self.counts);
        writeln!(Answers::new(), "{}: {}", counts.join(", "), summary(&self.found))
    }
}

/// The file itself, or the files that a directory stands for.
pub(crate) fn files_of(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
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

fn print_json(found: &[Diagnostic]) -> io::Result<()> {
    let mut stdout = Answers::new();
    found.iter().try_for_each(|it| stdout.write_all(it.json().as_bytes()))?;
    stdout.flush()
}
