//! Files besides the configuration: those that somebody writes to, and those with secrets.

use super::Reading;
use super::entries::Entry;
use super::rules::RulesRead;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use tripline_act::{ActContext, Hands};
use tripline_api::{Built, ListenerId, Looked, Source, resolved};
use tripline_diagnose::{Diagnostic, Field, Shape, SourceFile, shown};

/// A file or a directory where actions may not write.
pub(super) struct Taken {
    /// As [`resolved`].
    path: PathBuf,
    listener: String,
    span: Range<usize>,
}

impl Reading {
    /// Where listeners write, and where they stand in the file.
    pub(super) fn taken(
        &self,
        field: Option<&Field>,
        listeners: &[(ListenerId, Built)],
    ) -> Vec<Taken> {
        let Some(field) = field else { return Vec::new() };
        let taken = |(id, built): &(ListenerId, Built)| {
            Some(Taken {
                path: resolved(built.writes.as_ref()?),
                listener: id.to_string(),
                span: self.key(field, id.as_str()),
            })
        };
        listeners.iter().filter_map(taken).collect()
    }

    /// Actions may write neither where a listener does nor where a source looks: the one
    /// would spoil the file, the other would make events of events for ever.
    pub(super) fn actions_write_elsewhere(
        &self,
        taken: &[Taken],
        sources: &[Arc<dyn Source>],
        context: &ActContext,
        files: &[Arc<SourceFile>],
        read: &mut RulesRead,
    ) {
        let Some(set) = &read.set else { return };
        let mut found = Vec::new();
        for write in Hands::written(set, context) {
            let path = resolved(&write.path);
            let help = "give the action a file of its own";
            let mut refuse = |message: String, also: Option<&Taken>| {
                let problem = write.refused(message, help.to_owned());
                let Some(file) = files.iter().find(|it| it.path == problem.file) else {
                    return;
                };
                let mut diagnostic = problem.diagnostic(file);
                if let Some(also) = also {
                    diagnostic.also_in(&self.file, also.span.clone(), "which is here");
                }
                found.push(diagnostic);
            };
            for other in taken.iter().filter(|it| path.starts_with(&it.path)) {
                let (shown, listener) = (shown(&write.path), &other.listener);
                let message = format!("`{shown}` is where `{listener}` writes");
                refuse(message, Some(other));
            }
            for source in sources.iter().filter(|it| it.is_at(&write.path)) {
                let (shown, id) = (shown(&write.path), source.id());
                refuse(format!("`{shown}` is followed as `{id}`"), None);
            }
        }
        read.diagnostics.append(&mut found);
    }

    /// Looks at the files with secrets that a listener will read.
    pub(super) fn looks_at_secrets(&mut self, entry: &Entry<'_>, built: &Built) {
        for secret in &built.secrets {
            let looked = secret.look();
            let argument = secret.argument;
            let mut field = None;
            if let Some(block) = entry.block {
                // It may be an argument of an argument.
                block.each_field(&mut |it| {
                    if field.is_none() && self.text(&it.name) == argument {
                        field = Some(it);
                    }
                });
            }
            let span = field.map_or(&entry.kind, |it| &it.value.span).clone();
            match looked {
                Looked::Fine | Looked::Unknown => {}
                Looked::Missing => {
                    let path = shown(&secret.path);
                    let message = format!("there is no file `{path}` on this machine");
                    self.warning(span, message).help(format!(
                        "make it before it is needed, or correct `{argument}`"
                    ));
                }
                Looked::Wrong(why) => {
                    let message = format!("`{argument}` cannot be used: {why}");
                    let mut wrong = Diagnostic::error(&self.file, span, message);
                    wrong.help("put it right: it is read whenever it is needed");
                    self.secrets.push(wrong);
                }
            }
        }
    }

    /// Where the name of an entry stands, or of the one that it is a part of.
    fn key(&self, field: &Field, name: &str) -> Range<usize> {
        let Shape::Map(entries) = &field.value.shape else { return field.name.clone() };
        let is_it = |key: &str| {
            name.strip_prefix(key).is_some_and(|it| it.is_empty() || it.starts_with('.'))
        };
        let entry = entries
            .iter()
            .find(|(key, _)| self.string(key).is_some_and(|key| is_it(&key)));
        entry.map_or(&field.name, |(key, _)| &key.span).clone()
    }
}
