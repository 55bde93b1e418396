//! The configuration, `tripline.ron`: what is followed, and who listens.
//!
//! Two stages: the [`Outline`] says what stands where in the file, and from it
//! a [`Config`] is made in which everything is built. There is nothing in
//! between that could be half right.

mod arguments;
mod entries;
mod files;
mod lane;
mod rules;
mod said;

pub(crate) use lane::{ENGINE_FILE, engine as engine_source};
pub(crate) use rules::Rules;

use crate::kind;
use rules::{RulesRead, names_rules};
use std::fs;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tripline_api::{
    Args, Argument, Built, ListenerFactory, ListenerId, Source, SourceFactory, Wants,
};
use tripline_diagnose::{
    Block, Diagnostic, Field, Node, Outline, Severity, Shape, SourceFile, Style, counted,
    shown, words,
};
use tripline_rules::RuleSet;
use tripline_tasks::Crew;

/// The kinds of sources and listeners that a configuration can name.
#[derive(Clone, Copy)]
pub(crate) struct Registry {
    /// The kinds of sources.
    pub(crate) sources: &'static [&'static dyn SourceFactory],
    /// The kinds of listeners.
    pub(crate) listeners: &'static [&'static dyn ListenerFactory],
}

/// A configuration of which everything is sound and built.
pub(crate) struct Config {
    /// The file.
    pub(crate) path: PathBuf,
    /// The directory of the state.
    pub(crate) state: PathBuf,
    /// The sources, in the order of the file.
    pub(crate) sources: Vec<Arc<dyn Source>>,
    /// The listeners, in the order of the file. Each follows at least one
    /// source, and all that it names exist.
    pub(crate) listeners: Vec<(ListenerId, Built)>,
    /// It names files with rules.
    pub(crate) names_rules: bool,
    /// The rules, of all files that it names; `None` if it names none, or if they were
    /// not asked for.
    pub(crate) rules: Option<Arc<RuleSet>>,
    /// What their actions leave to the next configuration, where they are done.
    pub(crate) crew: Option<Arc<Crew>>,
    /// What is probably not meant that way.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration `{}`: {cause}", shown(.path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// There are errors in it: all of them, and the warnings.
    #[error("{}", render(.0, Style::Plain))]
    Wrong(Vec<Diagnostic>),
    /// It is another kind of file, which this says, and what was meant.
    #[error("{0}")]
    Another(String),
    /// Actions of its rules cannot be done as they are written.
    #[error("{}", .0.join("\n"))]
    Actions(Vec<String>),
}

impl ConfigError {
    /// The error for people, ending with a line feed.
    pub(crate) fn render(&self, style: Style) -> String {
        match self {
            Self::Unreadable { .. } | Self::Another(_) => format!("tripline: {self}\n"),
            Self::Actions(wrong) => {
                wrong.iter().map(|it| format!("tripline: {it}\n")).collect()
            }
            Self::Wrong(diagnostics) => render(diagnostics, style),
        }
    }
}

impl Config {
    /// Reads a configuration with its rules and builds everything in it. Touches nothing
    /// but these files.
    ///
    /// # Errors
    ///
    /// With every error that is in the files, not only the first.
    pub(crate) fn load(path: &Path, registry: &Registry) -> Result<Self, ConfigError> {
        let mut config = Self::read(path, registry, Rules::Own)?.sound()?;
        lane::add(&mut config, registry).map_err(ConfigError::Actions)?;
        Ok(config)
    }

    /// The same with nobody who does what the rules say, for who only shows them something:
    /// that works also where what they do cannot be done.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub(crate) fn load_to_rehearse(
        path: &Path,
        registry: &Registry,
    ) -> Result<Self, ConfigError> {
        Self::read(path, registry, Rules::Own)?.sound()
    }

    /// The same without the rules, for who only looks at the listeners: that works also
    /// while somebody writes rules.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub(crate) fn load_without_rules(
        path: &Path,
        registry: &Registry,
    ) -> Result<Self, ConfigError> {
        Self::read(path, registry, Rules::None)?.sound()
    }

    /// Reads a configuration and says all that is wrong with it and its rules.
    ///
    /// # Errors
    ///
    /// When the configuration itself cannot be read.
    pub(crate) fn read(
        path: &Path,
        registry: &Registry,
        rules: Rules<'_>,
    ) -> Result<ConfigRead, ConfigError> {
        let unreadable = |cause| ConfigError::Unreadable { path: path.to_owned(), cause };
        let bytes = read_bounded(path).map_err(unreadable)?;
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let directory = absolute.parent().unwrap_or_else(|| Path::new("/")).to_owned();
        let (file, problem) = decode(path, bytes);
        if let Some(what) = kind::no_configuration(path, &file.text) {
            return Err(ConfigError::Another(what));
        }
        let outline = Outline::of(&file);
        let mut reading = Reading {
            path: absolute,
            state: directory.clone(),
            directory,
            registry: *registry,
            is_damaged: problem.is_some() || !outline.problems.is_empty(),
            syntax_errors: outline.problems.iter().map(|it| it.span.start).collect(),
            diagnostics: problem.into_iter().collect(),
            has_rules: false,
            rules: RulesRead::default(),
            secrets: Vec::new(),
            file,
        };
        let config = reading.config(&outline, rules);
        Ok(reading.finish(config, outline.problems))
    }
}

/// What became of a configuration and its rules.
pub(crate) struct ConfigRead {
    /// The configuration, if nothing is wrong; its warnings are in `diagnostics`.
    config: Option<Config>,
    /// The sources, if all of them are sound: names, and whether they are journals.
    pub(crate) sources: Option<Vec<(String, bool)>>,
    /// All that is wrong, by file.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Files with secrets that are there and cannot be used: who only checks calls that an
    /// error, and who runs warns of it, as they are read again whenever they are needed.
    pub(crate) secrets: Vec<Diagnostic>,
    /// The files with rules that it names.
    pub(crate) rule_files: Vec<PathBuf>,
    /// How many files with rules were read, and how many rules and tests are in them,
    /// sound or not.
    pub(crate) files: usize,
    pub(crate) rules: usize,
    pub(crate) tests: usize,
}

impl ConfigRead {
    /// The configuration, if it is sound.
    fn sound(mut self) -> Result<Config, ConfigError> {
        match self.config {
            Some(config) => {
                let mut warnings: Vec<_> = self.secrets.into_iter().map(warned).collect();
                warnings.append(&mut self.diagnostics);
                // Not all may be shown: that a rule has no test matters least.
                warnings.sort_by_key(|warning| warning.code == "W010");
                Ok(Config { warnings, ..config })
            }
            None => Err(ConfigError::Wrong(self.diagnostics)),
        }
    }
}

/// What is found wrong, as a warning.
pub(crate) fn warned(wrong: Diagnostic) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, ..wrong }
}

fn render(diagnostics: &[Diagnostic], style: Style) -> String {
    let mut text: String = diagnostics.iter().map(|it| it.render(style) + "\n").collect();
    let mut files: Vec<_> = diagnostics.iter().map(|it| &it.file.path).collect();
    files.sort_unstable();
    files.dedup();
    let summary = tripline_diagnose::summary(diagnostics);
    match files.as_slice() {
        [] => {}
        [file] => text += &format!("tripline: {}: {summary}\n", shown(file)),
        files => {
            let files = counted(files.len(), "file");
            text += &format!("tripline: {files}: {summary}\n");
        }
    }
    text
}

/// The file's bytes, if it is a file and not too long for one.
///
/// # Errors
///
/// As the system says.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe or a device would be waited for, or never end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let mib = FILE_BYTES_MAX >> 20;
        return Err(io::Error::other(format!("it is longer than {mib} MiB")));
    }
    Ok(bytes)
}

/// The longest configuration, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The file's text, and what is wrong with it if it is none.
pub(crate) fn decode(
    path: &Path,
    bytes: Vec<u8>,
) -> (Arc<SourceFile>, Option<Diagnostic>) {
    let path = path.to_owned();
    match String::from_utf8(bytes) {
        Ok(text) => (Arc::new(SourceFile { path, text }), None),
        Err(error) => {
            // Up to the error the lossy text is the same, byte for byte.
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let file = Arc::new(SourceFile { path, text });
            let mut problem = Diagnostic::error(&file, at..at, "this is not UTF-8 text");
            problem.help("save the file as UTF-8");
            (file, Some(problem))
        }
    }
}

/// A configuration being read.
struct Reading {
    file: Arc<SourceFile>,
    path: PathBuf,
    /// Where relative paths in the file start.
    directory: PathBuf,
    /// The directory of the state, once it was read.
    state: PathBuf,
    registry: Registry,
    /// Brackets or commas are wrong, so what seems to be missing may only be
    /// in the wrong place.
    is_damaged: bool,
    /// Where.
    syntax_errors: Vec<usize>,
    diagnostics: Vec<Diagnostic>,
    /// It names files with rules, so there need not be listeners.
    has_rules: bool,
    rules: RulesRead,
    /// Files with secrets that are there and cannot be used.
    secrets: Vec<Diagnostic>,
}

impl Reading {
    fn config(&mut self, outline: &Outline, rules: Rules<'_>) -> Option<Config> {
        let block = self.root(outline)?;
        self.has_rules = names_rules(block, &self.file.text);
        let [state, sources, listeners, files] = self.fields(block);
        // Not one of them is left out because another one is missing.
        let state_path = state.and_then(|field| self.state(field));
        self.state.clone_from(state_path.as_ref().unwrap_or(&self.directory));
        let names = sources.map(|field| self.names(field));
        let built_sources = sources.map(|field| self.sources(field));
        let built = built_sources.as_deref().unwrap_or_default();
        let is_whole = names.as_ref().is_some_and(|all| all.len() == built.len());
        let known = (is_whole && !self.is_damaged).then_some(built);
        let built_listeners =
            listeners.map(|field| self.listeners(field, names.as_deref(), built));
        let taken = self.taken(listeners, built_listeners.as_deref().unwrap_or_default());
        self.rules = self.read_rules(files, known, &taken, rules);
        let has_rules = self.has_rules;
        let config = Config {
            path: self.path.clone(),
            state: state_path?,
            sources: built_sources?,
            listeners: built_listeners.or_else(|| has_rules.then(Vec::new))?,
            names_rules: has_rules,
            rules: self.rules.set.clone(),
            crew: None,
            warnings: Vec::new(),
        };
        let is_wrong = self.diagnostics.iter().any(|it| it.severity == Severity::Error);
        if !is_wrong && !self.is_damaged {
            self.warn(state?, sources?, &config, matches!(rules, Rules::None));
        }
        Some(config)
    }

    /// The configuration if nothing is wrong, and everything that is.
    fn finish(mut self, config: Option<Config>, problems: Vec<Diagnostic>) -> ConfigRead {
        self.diagnostics.extend(problems);
        // The codes are those of rule files.
        self.diagnostics.iter_mut().for_each(|it| it.code = "");
        if self.diagnostics.iter().all(|it| it.severity != Severity::Error) {
            self.believe_ron();
        }
        tripline_diagnose::sort(&mut self.diagnostics);
        self.diagnostics.append(&mut self.rules.diagnostics);
        let is_wrong = self.diagnostics.iter().any(|it| it.severity == Severity::Error);
        let of = |it: &Arc<dyn Source>| (it.id().to_string(), it.is_journal());
        let sources = config.as_ref().filter(|_| !self.is_damaged);
        ConfigRead {
            sources: sources.map(|it| it.sources.iter().map(of).collect()),
            config: config.filter(|_| !is_wrong),
            diagnostics: self.diagnostics,
            secrets: self.secrets,
            rule_files: self.rules.files,
            files: self.rules.count,
            rules: self.rules.rules,
            tests: self.rules.tests,
        }
    }

    /// The outline overlooks what RON does not: a file is sound when both say
    /// so.
    fn believe_ron(&mut self) {
        let whole = Args::new(&self.file.text).parse::<serde::de::IgnoredAny>();
        if let Err(error) = whole {
            let at = error.at.unwrap_or(0..0);
            let message = format!("this is not RON: {}", said::lowercase(&error.message));
            self.error(at, message);
        }
    }

    fn root<'a>(&mut self, outline: &'a Outline) -> Option<&'a Block> {
        match &outline.root {
            None => {
                if !self.is_damaged {
                    self.error(0..0, "the file is empty")
                        .help("`tripline init` writes a configuration to begin with");
                }
                None
            }
            Some(Node { shape: Shape::Block(block), .. }) => {
                if !block.name.is_empty() {
                    self.error(
                        block.name.clone(),
                        "a configuration has no name in front of it",
                    )
                    .help("begin with the `(`");
                }
                for item in &block.items {
                    self.error(item.span.clone(), "this value has no name")
                        .help("write it as `name: value`");
                }
                Some(block)
            }
            Some(node) => {
                self.error(
                    node.span.clone(),
                    "a configuration is one block in parentheses",
                )
                .help("write ( state: ..., sources: {...}, listeners: {...} )");
                None
            }
        }
    }

    /// The fields of the configuration; what is missing, unknown or there
    /// twice is an error.
    fn fields<'a>(&mut self, block: &'a Block) -> [Option<&'a Field>; 4] {
        let mut found: [Option<&Field>; 4] = [None; 4];
        // Those that a misspelt one was meant to be: they are not missing.
        let mut meant: Vec<&str> = Vec::new();
        for field in &block.fields {
            let name = self.text(&field.name).to_owned();
            match FIELDS.iter().position(|known| *known == name) {
                Some(index) => match found[index] {
                    None => found[index] = Some(field),
                    Some(first) => {
                        self.error(
                            field.name.clone(),
                            format!("`{name}` is there twice"),
                        )
                        .also(first.name.clone(), "the first one")
                        .help("put everything into one, and take the other away");
                    }
                },
                None => {
                    let known = words::did_you_mean(&name, FIELDS);
                    meant.extend(known);
                    let label = known.map(|meant| format!("did you mean `{meant}`?"));
                    self.error(
                        field.name.clone(),
                        format!("a configuration has no field `{name}`"),
                    )
                    .label(label.unwrap_or_default())
                    .help(format!("its fields are {}", words::list(FIELDS)));
                }
            }
        }
        for (name, field) in FIELDS.into_iter().zip(found) {
            let is_needed = name != "rules" && !(name == "listeners" && self.has_rules);
            let is_missing = field.is_none() && !meant.contains(&name);
            if is_needed && is_missing && !self.is_damaged {
                let start = block.parentheses.start;
                let example = self.example(name);
                self.error(
                    start..start + 1,
                    format!("the configuration does not say `{name}`"),
                )
                .help(format!("add for example\n{example},"));
            }
        }
        found
    }

    /// How a field of the configuration looks.
    fn example(&self, name: &str) -> String {
        let (sources, listeners) = (self.registry.sources, self.registry.listeners);
        let example = match name {
            "sources" => sources.first().map(|factory| ("p4", factory.example())),
            "listeners" => listeners.first().map(|factory| ("name", factory.example())),
            _ => None,
        };
        match example {
            Some((key, example)) => {
                format!("{name}: {{ \"{key}\": {} }}", entries::one_line(example))
            }
            None => format!("{name}: \"{name}\""),
        }
    }

    fn state(&mut self, field: &Field) -> Option<PathBuf> {
        let span = field.value.span.clone();
        let written = match Args::new(self.text(&span)).parse::<PathBuf>() {
            Ok(written)
                if !written.as_os_str().is_empty()
                    && !written.as_os_str().as_encoded_bytes().contains(&0) =>
            {
                written
            }
            // A text without end was reported already.
            _ if self.has_syntax_error(&span) => return None,
            _ => {
                self.error(span, "`state` must be the path of a directory")
                    .help("write it in quotes: state: \"state\"");
                return None;
            }
        };
        Some(self.directory.join(written))
    }

    fn text(&self, span: &Range<usize>) -> &str {
        &self.file.text[span.clone()]
    }

    fn error(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Diagnostic::error(&self.file, span, message))
    }

    fn warning(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Diagnostic::warning(&self.file, span, message))
    }

    fn add(&mut self, diagnostic: Diagnostic) -> &mut Diagnostic {
        self.diagnostics.push(diagnostic);
        let last = self.diagnostics.len() - 1;
        &mut self.diagnostics[last]
    }
}

/// The fields of a configuration.
const FIELDS: [&str; 4] = ["state", "sources", "listeners", "rules"];

/// The same, as they are described.
pub(crate) const ARGUMENTS: &[Argument] = &[
    Argument::needed(
        "state",
        Wants::Path,
        r#""/var/lib/tripline""#,
        "A directory of its own, which is made if need be: where every listener is, what \
         rules have counted, and what must outlive a restart. On a local disk: on a network \
         file system it is refused.",
    ),
    Argument::needed(
        "sources",
        Wants::Other("names and [sources](#sources) in braces"),
        r#"{"p4": Journal(path: "p4root/journal")}"#,
        "What is followed. Names have letters, digits, `_`, `-` and `.`; `engine` and `task` \
         are taken. The name is a part of the ids of entries.",
    ),
    Argument::optional(
        "listeners",
        Wants::Other("names and [listeners](#listeners) in braces"),
        r#"{"copy": Mirror(from: ["p4"], to: "backup")}"#,
        "Who listens. Needed where there are no `rules`. `rules` is taken as a name. Under \
         its name a listener's place is kept: another name is another listener.",
    ),
    Argument::optional(
        "rules",
        Wants::Paths,
        r#"["rules.d/*.ron"]"#,
        "Files with rules, which are one set; patterns may have `*`, `?`, `[a-z]`, `{a,b}` \
         and `**`. What stands in them is in [rules/REFERENCE.md](../rules/REFERENCE.md).",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_are_described() {
        let described = ARGUMENTS.iter().map(|it| it.name);
        assert_eq!(described.collect::<Vec<_>>(), FIELDS);
    }
}
