//! `tripline check`: all errors of all files in one go.

use crate::cli::{CheckArgs, Format, exit};
use crate::config::{self, Config, ConfigError, ConfigRead, Registry, Rules};
use crate::kind::Kind;
use crate::receive_cmd::ReceiveConfig;
use crate::terminal::{self, Answers};
use anyhow::Context as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tripline_diagnose::{Diagnostic, Severity, SourceFile, counted, shown, summary};
use tripline_rules::Known;

/// Checks every file and says what is wrong. Rule files are one set; when there are
/// configurations too, the sources in them are those that rules can name. Beside one
/// configuration they are one set with the rules that it names.
pub(crate) fn run(args: &CheckArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let mut checked = Checked::default();
    for path in &args.paths {
        match files_of(path) {
            Ok(files) => files.into_iter().for_each(|file| checked.sort_in(file)),
            Err(error) => {
                terminal::say(format_args!("{error:#}"));
                checked.is_unread = true;
            }
        }
    }
    checked.look(registry);
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

/// What is checked, and what is wrong with it.
#[derive(Default)]
struct Checked {
    files: usize,
    receivers: Vec<PathBuf>,
    configurations: Vec<PathBuf>,
    rule_files: Vec<Arc<SourceFile>>,
    /// How many rules and tests; `None` where there are no rule files.
    counts: Option<(usize, usize)>,
    found: Vec<Diagnostic>,
    /// Something could not be read.
    is_unread: bool,
}

impl Checked {
    /// Looks what a file is.
    fn sort_in(&mut self, path: PathBuf) {
        // What cannot be read is the configuration's to tell.
        let bytes = config::read_bounded(&path);
        let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default());
        let is_receiver = Kind::of(&text) == Kind::Receiver;
        let is_of_rules = tripline_rules::looks_like_rules(&text);
        match bytes {
            Ok(bytes) if is_of_rules => {
                self.files += 1;
                let (file, problem) = config::decode(&path, bytes);
                match problem {
                    Some(mut problem) => {
                        problem.code("E008");
                        self.found.push(problem);
                    }
                    None => self.rule_files.push(file),
                }
            }
            _ if is_receiver => self.receivers.push(path),
            _ => self.configurations.push(path),
        }
    }

    fn look(&mut self, registry: &Registry) {
        for path in std::mem::take(&mut self.receivers) {
            let loaded = ReceiveConfig::load(&path).map(|config| config.warnings);
            let found = match loaded {
                Err(ConfigError::Wrong(wrong)) => Ok(wrong),
                loaded => loaded,
            };
            self.take(found);
        }
        let configurations = std::mem::take(&mut self.configurations);
        let given = std::mem::take(&mut self.rule_files);
        if let [path] = configurations.as_slice() {
            let read = Config::read(path, registry, Rules::OwnAnd(&given));
            let is_read = read.is_ok();
            self.configuration(read, given.len());
            if is_read {
                return;
            }
        }
        let (mut sources, mut is_partial) = (None, false);
        let mut named = Vec::new();
        for path in configurations.iter().filter(|_| configurations.len() > 1) {
            let read = Config::read(path, registry, Rules::Own);
            if let Ok(read) = &read {
                named.extend_from_slice(&read.rule_files);
                is_partial |= read.sources.is_none();
                let of_it = read.sources.iter().flatten().cloned();
                sources.get_or_insert_with(Vec::new).extend(of_it);
            }
            self.configuration(read, 0);
        }
        let is_known =
            |it: &Arc<SourceFile>| named.iter().any(|named| is_same(named, it));
        let rest: Vec<_> = given.into_iter().filter(|it| !is_known(it)).collect();
        if !rest.is_empty() {
            let sources = sources.filter(|_| !is_partial);
            let known = Known { sources, listeners: registry.listeners };
            let mut loaded = tripline_rules::load(&rest, &known);
            self.count(loaded.rules, loaded.tests);
            self.found.append(&mut loaded.diagnostics);
        }
    }

    /// A configuration was read, together with so many rule files that were given.
    fn configuration(&mut self, read: Result<ConfigRead, ConfigError>, given: usize) {
        let found = read.map(|read| {
            // Those that were given are counted already.
            self.files += read.files.saturating_sub(given);
            if read.files > 0 {
                self.count(read.rules, read.tests);
            }
            let mut found = read.diagnostics;
            found.extend(read.secrets);
            found
        });
        self.take(found);
    }

    fn take(&mut self, found: Result<Vec<Diagnostic>, ConfigError>) {
        match found {
            Ok(found) => {
                self.files += 1;
                self.found.extend(found);
            }
            Err(error) => {
                terminal::say(format_args!("{error}"));
                self.is_unread = true;
            }
        }
    }

    fn count(&mut self, rules: usize, tests: usize) {
        let (all_rules, all_tests) = self.counts.get_or_insert_default();
        *all_rules += rules;
        *all_tests += tests;
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
        if let Some((rules, tests)) = self.counts {
            counts.extend([counted(rules, "rule"), counted(tests, "test")]);
        }
        writeln!(Answers::new(), "{}: {}", counts.join(", "), summary(&self.found))
    }
}

/// Whether a file is at this path.
fn is_same(path: &Path, file: &SourceFile) -> bool {
    match (path.canonicalize(), file.path.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
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
        "there is no *.ron in the directory `{}`: name another one, or files",
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
