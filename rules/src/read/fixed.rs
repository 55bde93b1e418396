//! Texts that are no templates: who writes one there would wait for ever to see it filled in.

use super::values::{Reader, Value, Values};
use crate::expression::is_template;
use crate::language::{ACTIONS, Block, Field, Holds, ON, Others, RULE, Wants};
use crate::model::{Json, Text};
use std::ops::Range;

impl Reader<'_> {
    /// Whether what a field of a rule or an action holds may stand there: in a text that is
    /// no template there are no `{{ .. }}`, nor in a name.
    pub(super) fn is_fixed(
        &mut self,
        block: &'static Block,
        field: &'static Field,
        value: &Value,
    ) -> bool {
        // What a test expects has the words of actions too.
        let is_action = block.others != Others::Wanted
            && ACTIONS.iter().any(|it| it.word == block.word);
        let is_on = || ON.iter().any(|it| std::ptr::eq(*it, block));
        if !is_action && !is_on() && !std::ptr::eq(block, &RULE) {
            return true;
        }
        let before = self.found.len();
        let is_plain = |holds| matches!(holds, Holds::Plain | Holds::Name);
        match (field.wants, value) {
            (Wants::Text(holds), Value::Text(text)) if is_plain(holds) => {
                self.no_template(field.name, text);
            }
            (Wants::Texts(holds) | Wants::TextList(holds), Value::Texts(texts))
                if is_plain(holds) =>
            {
                texts.value.iter().for_each(|it| self.no_template(field.name, it));
            }
            (Wants::TextMap(holds), Value::TextMap(map)) => {
                for (name, text) in map {
                    self.no_template_name(field.name, name);
                    if is_plain(holds) {
                        self.no_template(field.name, text);
                    }
                }
            }
            (Wants::Json, Value::Json(json)) => self.no_template_names(field.name, json),
            (Wants::Raw, Value::Raw(text)) => self.no_template(field.name, text),
            _ => {}
        }
        self.found.len() == before
    }

    /// The same for what a listener reads.
    pub(super) fn are_fixed(&mut self, values: &Values) {
        for other in &values.others {
            let value = self.text(&other.value).to_owned();
            let text = Text { value, span: other.value.clone() };
            self.no_template(&other.name.value, &text);
        }
    }

    fn no_template(&mut self, field: &str, text: &Text) {
        if is_template(&text.value) {
            let message = format!("`{field}` is no template: it stays as it is written");
            self.fixed(text.span.clone(), message);
        }
    }

    fn no_template_name(&mut self, field: &str, name: &Text) {
        if is_template(&name.value) {
            let message = format!("a name in `{field}` is no template");
            self.fixed(name.span.clone(), message);
        }
    }

    fn no_template_names(&mut self, field: &str, json: &Json) {
        match json {
            Json::Plain(_) | Json::Text(_) => {}
            Json::List(items) => {
                items.iter().for_each(|it| self.no_template_names(field, it));
            }
            Json::Map(entries) => {
                for (name, it) in entries {
                    self.no_template_name(field, name);
                    self.no_template_names(field, it);
                }
            }
        }
    }

    fn fixed(&mut self, span: Range<usize>, message: String) {
        self.error("E022", span, message)
            .label("nothing is filled in here")
            .help("write it out; where it depends on the event, write several rules");
    }
}
