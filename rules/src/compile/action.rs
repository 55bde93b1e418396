//! Actions.

use super::Compiler;
use super::rule::ACTIONS_MAX;
use super::when::{or, small};
use crate::compiled::{self, ActionKind, Body, Json, RETRY_MAX, Template};
use crate::language::ACTIONS;
use crate::model::{self, Action, Text};
use crate::roots::{Roots, output};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tripline_api::{Args, BuildContext};

/// Of an attempt, unless given.
const EXEC_TIMEOUT: Duration = Duration::from_secs(600);
const TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts and pauses, unless given.
const TIMES: u32 = 5;
const BACKOFF: Duration = Duration::from_secs(5);
const BACKOFF_MAX: Duration = Duration::from_secs(600);

impl Compiler<'_> {
    /// A list of actions. What is left out of it is wrong, and said.
    pub(super) fn actions(
        &mut self,
        actions: &[Action],
        roots: &Roots,
    ) -> Vec<compiled::Action> {
        if let Some(action) = actions.get(ACTIONS_MAX) {
            let message = format!("there are more than {ACTIONS_MAX} actions");
            self.error("E013", action.word.clone(), message)
                .help("let one program do several things, or write several rules");
            return Vec::new();
        }
        let needs = self.needs(actions);
        let mut roots = roots.clone();
        let mut compiled = Vec::with_capacity(actions.len());
        for (index, (action, needs)) in actions.iter().zip(needs).enumerate() {
            let kind =
                action.kind.as_ref().and_then(|kind| self.kind(action, kind, &roots));
            if let Some(id) = &action.id {
                roots.add(&id.value.replace('-', "_"), output(&id.value));
            }
            let Some(kind) = kind else { continue };
            let word = self.file.text.get(action.word.clone()).unwrap_or_default();
            let known = ACTIONS.iter().find(|it| it.word == word);
            let word = known.map_or("", |it| it.word);
            let id: Arc<str> = match &action.id {
                Some(id) => id.value.as_str().into(),
                None => format!("{}-{}", word.to_lowercase(), index + 1).into(),
            };
            let is_exec = matches!(kind, ActionKind::Exec { .. });
            compiled.push(compiled::Action {
                id,
                word,
                line: self.line(action.span.start),
                needs,
                timeout: or(
                    action.timeout.as_ref(),
                    if is_exec { EXEC_TIMEOUT } else { TIMEOUT },
                ),
                retry: self.retry(action, &kind),
                may_fail: action.may_fail,
                kind,
            });
        }
        compiled
    }

    fn retry(&mut self, action: &Action, kind: &ActionKind) -> compiled::Retry {
        let is_sent = matches!(kind, ActionKind::Mail { .. } | ActionKind::Post { .. });
        let Some(retry) = &action.retry else {
            let times = if is_sent { TIMES } else { 0 };
            return compiled::Retry { times, backoff: BACKOFF, max: BACKOFF_MAX };
        };
        let backoff = or(retry.backoff.as_ref(), BACKOFF);
        let max = or(retry.max.as_ref(), BACKOFF_MAX.max(backoff));
        if max < backoff {
            let span = retry
                .max
                .as_ref()
                .map_or_else(|| retry.span.clone(), |it| it.span.clone());
            self.error("E045", span, "`max` is shorter than `backoff`")
                .help("exchange them, or leave `max` out");
        }
        let times = retry.times.as_ref().map_or(0, |it| small(it, RETRY_MAX));
        compiled::Retry { times, backoff, max }
    }

    fn kind(
        &mut self,
        action: &Action,
        kind: &model::ActionKind,
        roots: &Roots,
    ) -> Option<ActionKind> {
        match kind {
            model::ActionKind::Exec { run, env, stdin, cwd } => {
                self.exec(action, run, env, stdin.as_ref(), cwd.as_ref(), roots)
            }
            model::ActionKind::Mail { to, subject, body, sender, via } => {
                let to = self.addresses(to, roots);
                let subject = subject.as_ref().and_then(|it| self.template(it, roots));
                let body = self.optional(body.as_ref(), roots);
                if let Some(sender) = sender {
                    self.address(sender);
                }
                self.via(via.as_ref());
                Some(ActionKind::Mail {
                    to,
                    subject: subject?,
                    body,
                    sender: sender.as_ref().map(|it| it.value.clone()),
                    via: via.as_ref().map(|it| it.value.clone()),
                })
            }
            model::ActionKind::Listener { listener, arguments } => {
                let written = format!("(from: [\"source\"], {arguments})");
                self.listener(action, listener, &written);
                Some(ActionKind::Listener { listener, arguments: arguments.clone() })
            }
            model::ActionKind::Post { url, headers, json, body, token } => {
                let url = url.as_ref().and_then(|url| {
                    self.url(url);
                    self.template(url, roots)
                });
                self.headers(headers);
                let headers = self.template_map(headers, roots);
                let body = self.body(action, json.as_ref(), body.as_ref(), roots)?;
                let token = token.as_ref().map(|it| PathBuf::from(&it.value));
                Some(ActionKind::Post { url: url?, headers, body, token })
            }
            model::ActionKind::Emit { kind, fields } => {
                let fields = self.template_map(fields, roots);
                Some(ActionKind::Emit { kind: kind.as_ref()?.value.clone(), fields })
            }
            model::ActionKind::Set { flag, lasts } => {
                let flag = flag.as_ref().and_then(|it| self.template(it, roots));
                Some(ActionKind::Set { flag: flag?, lasts: lasts.as_ref()?.value })
            }
            model::ActionKind::Clear { flag } => {
                let flag = flag.as_ref().and_then(|it| self.template(it, roots));
                Some(ActionKind::Clear { flag: flag? })
            }
            model::ActionKind::Touch { dir, file } => {
                self.touch(dir.as_ref(), file.as_ref(), roots)
            }
        }
    }

    pub(super) fn optional(
        &mut self,
        text: Option<&Text>,
        roots: &Roots,
    ) -> Option<Template> {
        text.and_then(|text| self.template(text, roots))
    }

    pub(super) fn template_map(
        &mut self,
        map: &[(Text, Text)],
        roots: &Roots,
    ) -> Vec<(String, Template)> {
        let entries = map.iter().map(|(name, text)| {
            let template = self.template(text, roots)?;
            Some((name.value.clone(), template))
        });
        entries.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    fn addresses(&mut self, to: &[Text], roots: &Roots) -> Vec<Template> {
        let mut templates = Vec::with_capacity(to.len());
        for text in to {
            let Some(template) = self.template(text, roots) else { continue };
            match self.fixed_text(&text.value) {
                Some(known) if !template.is_literal() => {
                    let known = Text { value: known, span: text.span.clone() };
                    let before = self.found.len();
                    self.address(&known);
                    // What is filled in is never taken for a name and an address.
                    if known.value.contains('<') && self.found.len() == before {
                        let message = format!(
                            "`{}` cannot be filled in as an address",
                            known.value
                        );
                        self.error("E022", known.span, message).help(
                            "let `define` have the address without the name of a person",
                        );
                    }
                }
                _ if template.is_literal() => self.address(text),
                _ => {}
            }
            templates.push(template);
        }
        templates
    }

    /// What a template comes to that is a name of `define` and nothing else.
    fn fixed_text(&self, template: &str) -> Option<String> {
        let name = template.trim().strip_prefix("{{")?.strip_suffix("}}")?;
        self.shared.define.get(name.trim()).cloned()
    }

    /// Lets the listener `Mail` look at an address, so that one that is taken here is taken
    /// there too.
    fn address(&mut self, text: &Text) {
        let written = ron::to_string(&text.value).unwrap_or_default();
        let arguments = format!(
            "(from: [\"source\"], to: [{written}], sender: \"a@localhost\", via: \
             Sendmail())"
        );
        if self.shared.listeners.iter().any(|it| it.name() == "Mail") {
            if let Some(message) = self.refused("Mail", &arguments) {
                let (message, help) = halves(&message);
                self.error("E022", text.span.clone(), message).help(help);
            }
            return;
        }
        let address = text.value.rsplit('<').next().unwrap_or_default();
        let address = address.trim_end_matches('>').trim();
        let is_one = match address.split_once('@') {
            Some((user, host)) => {
                let is_plain = |part: &str| {
                    !part.is_empty()
                        && !part.contains(|c: char| c.is_whitespace() || c == '@')
                };
                is_plain(user) && is_plain(host)
            }
            None => false,
        };
        if !is_one || text.value.contains(char::is_control) {
            let message = format!("`{}` is no address", text.value);
            self.error("E022", text.span.clone(), message)
                .help("write it like \"ops@example.com\", one in each text");
        }
    }

    /// Lets the listener `Mail` look at `via`.
    fn via(&mut self, via: Option<&Text>) {
        let Some(via) = via else { return };
        let head =
            "(from: [\"source\"], to: [\"a@localhost\"], sender: \"a@localhost\", via: ";
        let text = format!("{head}{})", via.value);
        if let Some(message) = self.refused("Mail", &text) {
            let (message, help) = halves(&message);
            self.error("E024", via.span.clone(), message).help(help);
        }
    }

    /// Lets a listener look at its arguments.
    fn listener(&mut self, action: &Action, name: &str, arguments: &str) {
        if let Some(message) = self.refused(name, arguments) {
            let (message, help) = halves(&message);
            self.error("E024", action.word.clone(), message).help(help);
        }
    }

    fn refused(&self, name: &str, arguments: &str) -> Option<String> {
        let factory = self.shared.listeners.iter().find(|it| it.name() == name)?;
        let context =
            BuildContext { name: "rule", directory: "/".as_ref(), state: "/".as_ref() };
        match factory.build(&Args::new(arguments), &context) {
            Err(error) => Some(error.message),
            Ok(built) if built.only_journals => Some(
                "it takes records of journals only, and what an action hands to it is a \
                 line: leave `tables` and `ops` out, the rule has chosen already"
                    .to_owned(),
            ),
            Ok(_) => None,
        }
    }

    /// What is posted.
    fn body(
        &mut self,
        action: &Action,
        json: Option<&model::Json>,
        body: Option<&Text>,
        roots: &Roots,
    ) -> Option<Body> {
        if let (Some(_), Some(body)) = (json, body) {
            let message = "`json` and `body` are both what is posted";
            self.error("E045", body.span.clone(), message)
                .also(action.word.clone(), "of this action")
                .help("leave one of them out");
        }
        Some(match (json, body) {
            (Some(json), _) => Body::Json(self.json(json, roots)?),
            (None, Some(body)) => Body::Text(self.template(body, roots)?),
            (None, None) => Body::Event,
        })
    }

    fn json(&mut self, json: &model::Json, roots: &Roots) -> Option<Json> {
        Some(match json {
            model::Json::Plain(value) => Json::Plain(value.clone()),
            model::Json::Text(text) => Json::Text(self.template(text, roots)?),
            model::Json::List(items) => {
                let items: Vec<_> = items.iter().map(|it| self.json(it, roots)).collect();
                Json::List(items.into_iter().collect::<Option<_>>()?)
            }
            model::Json::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(name, it)| Some((name.value.clone(), self.json(it, roots)?)))
                    .collect();
                Json::Map(entries.into_iter().collect::<Option<_>>()?)
            }
        })
    }
}

/// A listener's sentence: what is wrong, and how to repair it.
fn halves(message: &str) -> (String, String) {
    match message.split_once(": ") {
        Some((what, how)) => (what.to_owned(), how.to_owned()),
        None => (message.to_owned(), "see the listener in the reference".to_owned()),
    }
}
