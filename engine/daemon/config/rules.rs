//! `rules`: the files with rules that belong to a configuration.

use super::files::Taken;
use super::{Reading, decode, read_bounded};
use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tripline_act::{ActContext, Hands};
use tripline_api::{Args, Source};
use tripline_diagnose::{
    Block, Diagnostic, Field, Node, Severity, Shape, SourceFile, counted, shown,
};
use tripline_follow::log::find_files;
use tripline_rules::{Known, RuleSet};

/// Which rules are read with a configuration.
#[derive(Clone, Copy)]
pub(crate) enum Rules<'a> {
    /// None: for who only looks at listeners, also while the rules are wrong.
    None,
    /// Those that it names.
    Own,
    /// Those, and these files, as one set.
    OwnAnd(&'a [Arc<SourceFile>]),
}

/// What became of the rules of a configuration.
#[derive(Default)]
pub(super) struct RulesRead {
    /// The set, if there is one and it is sound.
    pub(super) set: Option<Arc<RuleSet>>,
    /// The absolute paths of the files that the configuration names.
    pub(super) files: Vec<PathBuf>,
    /// What is wrong in the files of rules.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// How many files were read, and how many rules and tests there are in them, sound or
    /// not.
    pub(super) count: usize,
    pub(super) rules: usize,
    pub(super) tests: usize,
}

impl RulesRead {
    /// Whether there may be rules that nobody has seen: a file is wrong.
    fn is_partial(&self) -> bool {
        self.diagnostics.iter().any(|it| it.severity == Severity::Error)
    }

    /// Whether a rule looks at this source, as far as is known.
    pub(super) fn look_at(&self, source: &dyn Source) -> bool {
        let looks =
            |set: &Arc<RuleSet>| set.looks_at(source.id().as_str(), source.is_journal());
        self.is_partial() || self.set.as_ref().is_some_and(looks)
    }
}

impl Reading {
    /// Reads the files that `rules` names, and those that are given besides, as one set.
    /// `sources` are all of the configuration, if all of them are sound; `taken` is where
    /// actions may not write.
    pub(super) fn read_rules(
        &mut self,
        field: Option<&Field>,
        sources: Option<&[Arc<dyn Source>]>,
        taken: &[Taken],
        rules: Rules<'_>,
    ) -> RulesRead {
        let mut read = RulesRead::default();
        let more = match rules {
            Rules::None => return read,
            Rules::Own => &[],
            Rules::OwnAnd(more) => more,
        };
        let mut files = field.map_or_else(Vec::new, |it| self.rule_files(it, &mut read));
        let is_named = |it: &Arc<SourceFile>| {
            let path = canonical(&it.path);
            read.files.iter().any(|named| canonical(named) == path)
        };
        files.extend(more.iter().filter(|it| !is_named(it)).cloned());
        if files.is_empty() {
            return read;
        }
        read.count = files.len();
        let of = |it: &Arc<dyn Source>| (it.id().to_string(), it.is_journal());
        let known = Known {
            sources: sources.map(|all| all.iter().map(of).collect()),
            listeners: self.registry.listeners,
        };
        let mut loaded = tripline_rules::load(&files, &known);
        read.diagnostics.append(&mut loaded.diagnostics);
        (read.rules, read.tests) = (loaded.rules, loaded.tests);
        read.set = loaded.set.filter(|_| !read.is_partial()).map(Arc::new);
        self.look_at_actions(&files, taken, sources.unwrap_or_default(), &mut read);
        read
    }

    /// Says which actions cannot be done, or not on this machine as it is now.
    fn look_at_actions(
        &self,
        files: &[Arc<SourceFile>],
        taken: &[Taken],
        sources: &[Arc<dyn Source>],
        read: &mut RulesRead,
    ) {
        let Some(set) = &read.set else { return };
        let context = ActContext {
            listeners: self.registry.listeners,
            directory: self.directory.clone(),
            state: PathBuf::new(),
        };
        for problem in Hands::problems(set, &context) {
            let file = files.iter().find(|file| file.path == problem.file);
            read.diagnostics.extend(file.map(|file| problem.diagnostic(file)));
        }
        self.actions_write_elsewhere(taken, sources, &context, files, read);
        if read.is_partial() {
            read.set = None;
        }
    }

    /// The files that the patterns find, in order and each once.
    fn rule_files(
        &mut self,
        field: &Field,
        read: &mut RulesRead,
    ) -> Vec<Arc<SourceFile>> {
        let mut seen = BTreeSet::new();
        let mut files = Vec::new();
        for (span, pattern) in self.patterns(field) {
            for path in self.found(&span, &pattern) {
                if seen.insert(canonical(&path)) {
                    files.push((span.clone(), path));
                }
            }
        }
        files.sort_by(|(_, a), (_, b)| a.cmp(b));
        if files.len() > FILES_MAX {
            self.too_many(field.value.span.clone());
            files.truncate(FILES_MAX);
        }
        let (mut texts, mut bytes) = (Vec::new(), 0);
        for (span, path) in files {
            let Some(file) = self.rule_file(&span, &path, read) else { continue };
            bytes += file.text.len();
            if bytes > BYTES_MAX {
                let mib = BYTES_MAX >> 20;
                let message = format!("the files with rules have more than {mib} MiB");
                self.error(span, message).help("take away what is no longer used");
                // Nobody wants to hear of mistakes in a part of them.
                return Vec::new();
            }
            read.files.push(path);
            texts.push(file);
        }
        texts
    }

    /// The patterns of paths, and where they stand.
    fn patterns(&mut self, field: &Field) -> Vec<(Range<usize>, String)> {
        let nodes = match &field.value.shape {
            Shape::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&field.value),
        };
        let mut patterns = Vec::new();
        for node in nodes {
            match self.pattern(node) {
                Some(pattern) => patterns.push((node.span.clone(), pattern)),
                None if self.has_syntax_error(&node.span) => {}
                None => {
                    self.error(
                        node.span.clone(),
                        "`rules` must be paths of files, in quotes",
                    )
                    .help("write rules: [\"rules.d/*.ron\"]");
                }
            }
        }
        patterns
    }

    fn pattern(&self, node: &Node) -> Option<String> {
        match node.shape {
            Shape::Text => Args::new(self.text(&node.span)).parse().ok(),
            _ => None,
        }
    }

    /// What a pattern finds; that it finds nothing is said.
    fn found(&mut self, span: &Range<usize>, pattern: &str) -> Vec<PathBuf> {
        let found = match find_files(&self.directory, pattern, FILES_MAX + 1) {
            Ok(found) => found,
            Err(problem) => {
                let (problem, help) = problem.split_once("; ").unwrap_or((&problem, ""));
                let message = format!("this is no pattern of paths: {problem}");
                let help = match help {
                    "" => "write for example \"rules.d/*.ron\"",
                    help => help,
                };
                self.error(span.clone(), message).help(help);
                return Vec::new();
            }
        };
        for (directory, error) in found.troubles {
            let message =
                format!("the directory `{}` cannot be looked into", shown(&directory));
            self.error(span.clone(), message)
                .label(error.to_string())
                .help("let it be readable, or name a narrower path");
        }
        if found.is_cut {
            self.too_many(span.clone());
        } else if found.files.is_empty() && !pattern.contains(['*', '?', '[', '{']) {
            let message = format!("there is no file `{}`", shown(Path::new(pattern)));
            self.error(span.clone(), message)
                .help("correct the path; relative ones begin where this file is");
        } else if found.files.is_empty() {
            self.warning(span.clone(), "no file is found by this").help(
                "correct it, or take it away; relative paths begin where this file is",
            );
        }
        found.files
    }

    fn too_many(&mut self, span: Range<usize>) {
        let message = format!("these are more than {}", counted(FILES_MAX, "file"));
        self.error(span, message).help(
            "name the files more exactly, or put rules that belong together into one",
        );
    }

    /// Reads one of the files; what keeps it from that is said where it is named.
    fn rule_file(
        &mut self,
        span: &Range<usize>,
        path: &Path,
        read: &mut RulesRead,
    ) -> Option<Arc<SourceFile>> {
        let named = self.as_named(path);
        if canonical(path) == canonical(&self.path) {
            self.error(span.clone(), "this names the configuration itself")
                .help("keep rules in a directory of their own: \"rules.d/*.ron\"");
            return None;
        }
        let bytes = match read_bounded(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let help = match path.is_dir() {
                    true => format!("write \"{}/*.ron\"", shown(&named)),
                    false => "let it be readable, or name other files".to_owned(),
                };
                let message = format!("`{}` cannot be read: {error}", shown(&named));
                self.error(span.clone(), message).help(help);
                return None;
            }
        };
        let (file, problem) = decode(&named, bytes);
        let Some(mut problem) = problem else { return Some(file) };
        problem.code("E008");
        read.diagnostics.push(problem);
        None
    }

    /// A path as the user would write it.
    fn as_named(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix(&self.directory), self.file.path.parent()) {
            (Ok(rest), Some(directory)) => directory.join(rest),
            _ => path.to_owned(),
        }
    }
}

/// Whether a configuration names files with rules.
pub(super) fn names_rules(block: &Block, text: &str) -> bool {
    block.fields.iter().any(|field| {
        let is_empty =
            matches!(&field.value.shape, Shape::List(items) if items.is_empty());
        &text[field.name.clone()] == "rules" && !is_empty
    })
}

fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The most files with rules.
const FILES_MAX: usize = 1_000;
/// The most that they may have together, in bytes.
const BYTES_MAX: usize = 32 << 20;
