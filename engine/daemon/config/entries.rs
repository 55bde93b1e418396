//! The two maps of a configuration: sources and listeners by name.

use super::{Config, Reading};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use tripline_api::{Args, Built, ListenerId, Source, SourceId, resolved};
use tripline_diagnose::{Block, Diagnostic, Field, Node, Shape, words};

/// `"name": Kind(arguments)`.
pub(super) struct Entry<'a> {
    pub(super) name: String,
    pub(super) key: Range<usize>,
    pub(super) kind: Range<usize>,
    /// The arguments; `None` for a kind that stands alone.
    pub(super) block: Option<&'a Block>,
    pub(super) span: Range<usize>,
}

impl Reading {
    /// The names of all entries of a map, sound or not, each once.
    pub(super) fn names(&self, field: &Field) -> Vec<String> {
        let Shape::Map(entries) = &field.value.shape else { return Vec::new() };
        let mut names: Vec<String> = Vec::new();
        for name in entries.iter().filter_map(|(key, _)| self.string(key)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Builds the sources that are sound.
    pub(super) fn sources(&mut self, field: &Field) -> Vec<Arc<dyn Source>> {
        let registry = self.registry.sources;
        let kinds: Vec<_> = registry.iter().map(|it| (it.name(), it.example())).collect();
        let mut sources = Vec::new();
        for entry in self.entries(field, "source", &kinds) {
            let Some(index) = self.kind(&entry, "source", &kinds) else { continue };
            let factory = registry[index];
            sources.extend(self.build(
                &entry,
                "sources",
                factory.example(),
                |args, context| factory.build(args, context),
            ));
        }
        sources
    }

    /// Builds the listeners that are sound, given the names of all sources if
    /// there are any, and those of them that are sound.
    pub(super) fn listeners(
        &mut self,
        field: &Field,
        sources: Option<&[String]>,
        built_sources: &[Arc<dyn Source>],
    ) -> Vec<(ListenerId, Built)> {
        let registry = self.registry.listeners;
        let kinds: Vec<_> = registry.iter().map(|it| (it.name(), it.example())).collect();
        let mut listeners = Vec::new();
        for entry in self.entries(field, "listener", &kinds) {
            let Some(index) = self.kind(&entry, "listener", &kinds) else { continue };
            let factory = registry[index];
            let built =
                self.build(&entry, "listeners", factory.example(), |args, context| {
                    factory.build(args, context)
                });
            if let Some(sources) = sources {
                self.follows(&entry, built.as_ref(), sources);
            }
            if let Some(built) = &built {
                self.shares(&entry, built, &listeners);
                self.understands(&entry, built, built_sources);
                self.looks_at_secrets(&entry, built);
            }
            let named = built.map_or_else(Vec::new, |built| named(&entry.name, built));
            for (id, _) in named.iter().skip(1) {
                self.is_free(&entry, id, field);
            }
            listeners.extend(named);
        }
        listeners
    }

    /// A listener that belongs to another may not have the name of a third.
    fn is_free(&mut self, entry: &Entry<'_>, id: &ListenerId, field: &Field) {
        if self.names(field).iter().any(|name| name == id.as_str()) {
            let message = format!("`{id}` is a part of `{}`", entry.name);
            self.error(entry.span.clone(), message)
                .help(format!("give the other listener `{id}` another name"));
        }
    }

    /// Two writers to one file would spoil it for each other, and so would one in a
    /// directory that another has for itself alone.
    fn shares(
        &mut self,
        entry: &Entry<'_>,
        built: &Built,
        others: &[(ListenerId, Built)],
    ) {
        let Some(writes) = built.writes.as_deref().map(resolved) else { return };
        let name = &entry.name;
        for (other, built) in others {
            let Some(theirs) = built.writes.as_deref().map(resolved) else { continue };
            let (inner, outer) = if writes == theirs {
                let message = format!("`{name}` and `{other}` write to the same place");
                self.error(entry.span.clone(), message)
                    .help("give each listener a file or a directory of its own");
                return;
            } else if writes.starts_with(&theirs) {
                (name.as_str(), other.as_str())
            } else if theirs.starts_with(&writes) {
                (other.as_str(), name.as_str())
            } else {
                continue;
            };
            let message =
                format!("`{inner}` would write into the directory of `{outer}`");
            self.error(entry.span.clone(), message)
                .help(format!("give `{inner}` a file or a directory outside of it"));
            return;
        }
    }

    /// What is sound and yet probably not meant.
    pub(super) fn warn(
        &mut self,
        state: &Field,
        sources: &Field,
        config: &Config,
        without_rules: bool,
    ) {
        let Shape::Map(entries) = &sources.value.shape else { return };
        for source in &config.sources {
            let name = source.id().as_str();
            let key =
                entries.iter().find(|(key, _)| self.string(key).as_deref() == Some(name));
            let span = key.map_or(&sources.name, |(key, _)| &key.span).clone();
            let mut directories = source.directories().into_iter();
            if directories.any(|directory| is_same(&directory, &config.state)) {
                let message = format!("`{name}` is followed in the same directory");
                self.warning(state.value.span.clone(), message)
                    .label("every change of the state would wake it")
                    .also(span.clone(), "followed here")
                    .help("give the state a directory of its own");
            }
            for (listener, built) in &config.listeners {
                let Some(writes) = &built.writes else { continue };
                let is_theirs =
                    source.directories().iter().any(|folder| is_same(folder, writes));
                if is_theirs || source.is_at(writes) {
                    let message = format!(
                        "`{listener}` would write where the files of `{name}` are"
                    );
                    self.error(span.clone(), message)
                        .help("give the listener a file or a directory of its own");
                }
            }
            let mut listeners = config.listeners.iter();
            let is_followed =
                listeners.any(|(_, it)| it.from.iter().any(|from| from == name));
            if !is_followed && !without_rules && !self.rules.look_at(&**source) {
                let who = if config.rules.is_some() { " or rule" } else { "" };
                self.warning(span, format!("no listener{who} follows `{name}`")).help(
                    format!(
                        "take it away, or name it in a listener's `from: [\"{name}\"]`"
                    ),
                );
            }
            self.counts_without_time(
                source,
                key.map_or(&sources.name, |(key, _)| &key.span),
            );
        }
    }

    /// Rules that count lines without a time of theirs count them as they are read.
    fn counts_without_time(&mut self, source: &Arc<dyn Source>, at: &Range<usize>) {
        let Some(set) = &self.rules.set else { return };
        if source.is_journal() || source.line_time().is_some() {
            return;
        }
        let name = source.id();
        let rules: Vec<_> = set.counting(name.as_str()).collect();
        let (who, count) = match rules.as_slice() {
            [] => return,
            [one] => (format!("rule `{one}`"), "counts"),
            [one, two] => (format!("rules `{one}` and `{two}`"), "count"),
            [one, rest @ ..] => {
                (format!("rule `{one}` and {} others", rest.len()), "count")
            }
        };
        let message = format!("`{name}` has no `time`, and {who} {count} by time");
        let mut warning = Diagnostic::warning(&self.file, at.clone(), message);
        warning
            .code("W025")
            .label("what is caught up with counts as one moment, that of reading it")
            .help(
                "say how its lines write it: add time: Syslog for `Nov 20 21:00:00` at \
                 their start, or time: Iso for `2026-11-20T21:00:00`; other forms cannot \
                 be read yet, and naming one of these for them would be worse",
            );
        self.rules.diagnostics.push(warning);
    }

    /// The entries of a map that have a proper name and a kind.
    fn entries<'a>(
        &mut self,
        field: &'a Field,
        noun: &str,
        kinds: &[(&str, &str)],
    ) -> Vec<Entry<'a>> {
        let Shape::Map(map) = &field.value.shape else {
            let example = kinds.first().map_or("...", |(_, example)| example);
            self.error(
                field.value.span.clone(),
                format!("`{noun}s` must be {noun}s by name, in braces"),
            )
            .help(format!("write {noun}s: {{ \"name\": {} }}", one_line(example)));
            return Vec::new();
        };
        let may_be_empty = noun == "listener" && self.has_rules;
        if map.is_empty() && !self.is_damaged && !may_be_empty {
            let example = kinds.first().map_or("...", |(_, example)| example);
            self.error(field.value.span.clone(), format!("there is no {noun}"))
                .help(format!("add one: \"name\": {}", one_line(example)));
        }
        let mut entries: Vec<Entry<'_>> = Vec::new();
        for (key, value) in map {
            let Some(name) = self.name(key, noun) else { continue };
            if let Some(first) = entries.iter().find(|it| it.name == name) {
                let first = first.key.clone();
                self.error(
                    key.span.clone(),
                    format!("there are two {noun}s named `{name}`"),
                )
                .also(first, "the first one")
                .help("give one of them another name");
            }
            let (kind, block) = match &value.shape {
                Shape::Word => (value.span.clone(), None),
                Shape::Block(block) if !block.name.is_empty() => {
                    (block.name.clone(), Some(block))
                }
                _ => {
                    let names = kinds.iter().map(|(name, _)| *name);
                    self.error(
                        value.span.clone(),
                        format!("this does not say what kind of {noun} it is"),
                    )
                    .help(format!(
                        "write the kind in front of it: {}",
                        words::list(names)
                    ));
                    continue;
                }
            };
            entries.push(Entry {
                name,
                key: key.span.clone(),
                kind,
                block,
                span: value.span.clone(),
            });
        }
        entries
    }

    /// An entry's name, which becomes part of ids and of file names.
    fn name(&mut self, key: &Node, noun: &str) -> Option<String> {
        let Some(name) = self.string(key) else {
            // In single quotes it is a character for RON, or nothing at all.
            let written = self.text(&key.span).trim_matches('\'').to_owned();
            self.error(
                key.span.clone(),
                format!("the name of a {noun} must be in quotes"),
            )
            .help(format!("write \"{written}\""));
            return None;
        };
        if RESERVED.contains(&(noun, name.as_str())) {
            let message = format!("`{name}` is the name of a {noun} of Tripline's own");
            self.error(key.span.clone(), message).help("choose another name");
        }
        // The names of sources and of listeners follow the same rule.
        if SourceId::new(&name).is_none() {
            let max = SourceId::BYTES_MAX;
            self.error(key.span.clone(), format!("this cannot be the name of a {noun}"))
                .help(format!(
                    "use letters, digits, `_`, `-` and `.`, no `.` at the front, \
                     and at most {max} of them"
                ));
        }
        Some(name)
    }

    /// The index of an entry's kind.
    fn kind(
        &mut self,
        entry: &Entry<'_>,
        noun: &str,
        kinds: &[(&str, &str)],
    ) -> Option<usize> {
        let written = self.text(&entry.kind).to_owned();
        let names = || kinds.iter().map(|(name, _)| *name);
        let index = names().position(|name| name == written);
        if index.is_none() {
            let label = words::did_you_mean(&written, names());
            let label = label.map(|meant| format!("did you mean `{meant}`?"));
            self.error(
                entry.kind.clone(),
                format!("there is no kind of {noun} named `{written}`"),
            )
            .label(label.unwrap_or_default())
            .help(format!("the kinds of {noun}s are {}", words::list(names())));
        }
        index
    }

    /// Checks that there are the sources that a listener follows.
    fn follows(&mut self, entry: &Entry<'_>, built: Option<&Built>, sources: &[String]) {
        if built.is_some_and(|built| built.from.is_empty()) {
            self.error(entry.kind.clone(), format!("`{}` follows no source", entry.name))
                .help("name at least one: from: [\"p4\"]");
        }
        // What could not be built says only in the file what it follows.
        let from = match built {
            Some(built) => built.from.clone(),
            None => self.from(entry).iter().filter_map(|it| self.string(it)).collect(),
        };
        for from in from {
            if sources.contains(&from) || self.is_damaged {
                continue;
            }
            let names = || sources.iter().map(String::as_str);
            let label = words::did_you_mean(&from, names());
            let label = label.map(|meant| format!("did you mean `{meant}`?"));
            let mut texts = self.from(entry).iter();
            let text = texts.find(|it| self.string(it).as_deref() == Some(&from));
            let span = text.map_or(&entry.kind, |it| &it.span).clone();
            let help = match sources {
                [] => "add it under `sources`".to_owned(),
                _ => format!("known sources: {}", words::list(names())),
            };
            self.error(span, format!("there is no source named `{from}`"))
                .label(label.unwrap_or_default())
                .help(help);
        }
    }

    /// Checks that a listener of journal records follows no logs.
    fn understands(
        &mut self,
        entry: &Entry<'_>,
        built: &Built,
        sources: &[Arc<dyn Source>],
    ) {
        let of_lines = |name: &&String| {
            let is_it = |source: &&Arc<dyn Source>| source.id().as_str() == name.as_str();
            sources.iter().find(is_it).is_some_and(|source| !source.is_journal())
        };
        if !built.only_journals {
            return;
        }
        for from in built.from.iter().filter(of_lines) {
            let mut texts = self.from(entry).iter();
            let text = texts.find(|it| self.string(it).as_deref() == Some(from));
            let span = text.map_or(&entry.kind, |it| &it.span).clone();
            let filters = entry.block.map_or(&[][..], |block| &block.fields).iter();
            let filter = filters
                .map(|field| self.text(&field.name))
                .find(|name| ["tables", "ops"].contains(name))
                .map(str::to_owned);
            let kind = self.text(&entry.kind).to_owned();
            match filter {
                Some(filter) => self
                    .error(span, format!("`{filter}` matches nothing in `{from}`"))
                    .label("its entries are lines, not journal records")
                    .help(format!(
                        "write a {kind} of its own for `{from}`, without `{filter}`"
                    )),
                None => self
                    .error(span, format!("`{from}` is no journal"))
                    .label("its entries are lines, not journal records")
                    .help(format!("{kind} follows journals only: name one")),
            };
        }
    }

    /// The values of the entry's `from`, as they are written.
    fn from<'a>(&self, entry: &Entry<'a>) -> &'a [Node] {
        let mut fields = entry.block.map_or(&[][..], |block| &block.fields).iter();
        match fields.find(|field| self.text(&field.name) == "from") {
            Some(Field { value: Node { shape: Shape::List(items), .. }, .. }) => items,
            Some(field) => std::slice::from_ref(&field.value),
            None => &[],
        }
    }

    /// What a text in quotes says.
    pub(super) fn string(&self, node: &Node) -> Option<String> {
        match node.shape {
            Shape::Text => Args::new(self.text(&node.span)).parse().ok(),
            _ => None,
        }
    }
}

/// An example as part of a sentence.
pub(super) fn one_line(example: &str) -> String {
    let words: Vec<_> = example.split_whitespace().collect();
    words.join(" ").replace("( ", "(").replace(", )", ")").replace(" )", ")")
}

/// Whether two paths are one directory, which may not exist yet.
fn is_same(a: &Path, b: &Path) -> bool {
    resolved(a) == resolved(b)
}

/// A listener, and those that belong to it, under their names.
fn named(name: &str, mut built: Built) -> Vec<(ListenerId, Built)> {
    let beside = std::mem::take(&mut built.beside).into_iter();
    let beside = beside.map(|(word, built)| (format!("{name}.{word}"), built));
    std::iter::once((name.to_owned(), built))
        .chain(beside)
        .filter_map(|(name, built)| Some((ListenerId::new(&name)?, built)))
        .collect()
}

/// Names that are taken: the rules are a listener, and look at two sources of their own.
const RESERVED: [(&str, &str); 3] = [
    ("listener", tripline_tasks::Rules::NAME),
    ("source", tripline_tasks::Rules::ENGINE),
    ("source", tripline_tasks::Rules::TASK),
];
