//! Templates of subjects and bodies.

use minijinja::value::{Enumerator, Object, Serde, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, escape_formatter};
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tripline_api::ArgsError;

/// A template that was found sound.
///
/// It may work for so long and write so much; it reads no file, and a name that
/// is not there is an error and not nothing.
#[derive(Debug)]
pub(crate) struct Template {
    /// The argument it was written in.
    field: &'static str,
    text: String,
}

/// The longest template, in bytes.
const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// The most steps of one run.
const FUEL_MAX: u64 = 2_000_000;
/// How deep calls may nest.
const DEPTH_MAX: usize = 50;
/// The most it may write, in bytes. What is beyond that is thrown away.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024 + 1024;

impl Template {
    /// Takes the text of an argument. `names` are those that it may use.
    ///
    /// # Errors
    ///
    /// With the line and what stands there.
    pub(crate) fn new(
        field: &'static str,
        text: &str,
        trial: &serde_json::Value,
    ) -> Result<Self, ArgsError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(ArgsError::new(format!(
                "`{field}` is longer than {TEMPLATE_BYTES_MAX} bytes"
            )));
        }
        let template = Self { field, text: text.to_owned() };
        template.check(trial).map_err(ArgsError::new)?;
        Ok(template)
    }

    /// Parses it and tries it out. What depends on what an entry holds is left
    /// to its time.
    fn check(&self, trial: &serde_json::Value) -> Result<(), String> {
        let environment = environment();
        let parsed = environment.template_from_named_str(self.field, &self.text);
        let parsed = parsed.map_err(|error| self.explain(&error))?;
        let known = trial.as_object();
        let mut unknown: Vec<String> = parsed
            .undeclared_variables(false)
            .into_iter()
            .filter(|name| known.is_none_or(|known| !known.contains_key(name)))
            .filter(|name| !environment.globals().any(|(global, _)| global == name))
            .collect();
        unknown.sort();
        if let Some(name) = unknown.first() {
            return Err(format!(
                "`{}` uses `{}`, which there is not: there are {}",
                self.field,
                super::text::one_line(name, 40),
                names_of(trial)
            ));
        }
        let asked = Asked::default();
        match self.run(trial_value(trial, &asked)) {
            Err(error) if is_mistake(&error) => Err(self.explain(&error)),
            // Every entry has all names there are, and here all fields too.
            Err(error) if error.kind() == ErrorKind::UndefinedError => {
                let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                asked.first().map_or(Ok(()), |name| {
                    Err(format!(
                        "`{}` asks an entry for `{}`, which none has: they have {}",
                        self.field,
                        super::text::one_line(name, 40),
                        names_of(&trial["entries"][0])
                    ))
                })
            }
            _ => Ok(()),
        }
    }

    /// The text that it makes of what there is.
    ///
    /// # Errors
    ///
    /// What went wrong and where, in a sentence.
    pub(crate) fn render(&self, context: &serde_json::Value) -> Result<String, String> {
        self.run(Value::from(Serde(context))).map_err(|error| self.explain(&error))
    }

    fn run(&self, context: Value) -> Result<String, Error> {
        let environment = environment();
        let parsed = environment.template_from_named_str(self.field, &self.text)?;
        let mut output = Bounded(Vec::new());
        parsed.render_captured_to(context, &mut output)?;
        Ok(String::from_utf8_lossy(&output.0).into_owned())
    }

    fn explain(&self, error: &Error) -> String {
        let mut place = String::new();
        // Of what is not there, the library does not know well where.
        let is_known = error.kind() != ErrorKind::UndefinedError;
        if let Some(range) = error.range().filter(|_| is_known) {
            let before = self.text.get(..range.start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column =
                before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            place = format!(" in line {line}, column {column}");
            let stands = self.text.get(range).unwrap_or_default();
            if !stands.is_empty() {
                place += &format!(", at `{}`", super::text::one_line(stands, 40));
            }
        } else if let Some(line) = error.line().filter(|_| is_known) {
            place = format!(" in line {line}");
        }
        let what = match error.detail() {
            Some(detail) => super::text::one_line(detail, 200),
            None => error.kind().to_string(),
        };
        format!("`{}` has a mistake{place}: {what}", self.field)
    }
}

/// What one of our own templates makes of it.
pub(crate) fn plain(text: &'static str, context: &serde_json::Value) -> String {
    let template = Template { field: "body", text: text.to_owned() };
    template.render(context).unwrap_or_default()
}

/// What every template runs in.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL_MAX));
    environment.set_recursion_limit(DEPTH_MAX);
    environment.set_debug(true);
    // What is not there in an entry is nothing to be read.
    environment.set_formatter(|output, state, value| {
        if value.is_none() { Ok(()) } else { escape_formatter(output, state, value) }
    });
    environment
}

/// Takes so much and throws the rest away.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = OUTPUT_BYTES_MAX - self.0.len();
        self.0.extend_from_slice(&bytes[..bytes.len().min(left)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether it would fail with every entry.
fn is_mistake(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::TemplateNotFound
            | ErrorKind::UnknownFilter
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownMethod
            | ErrorKind::TooManyArguments
            | ErrorKind::MissingArgument
    )
}

/// The names in an object, for a sentence.
fn names_of(object: &serde_json::Value) -> String {
    let names = object.as_object().into_iter().flat_map(serde_json::Map::keys);
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The names that a template asked an entry for, and that there are not.
type Asked = Arc<Mutex<Vec<String>>>;

/// The trial's values.
fn trial_value(trial: &serde_json::Value, asked: &Asked) -> Value {
    let Some(map) = trial.as_object() else { return Value::from(Serde(trial)) };
    let pairs = map.iter().map(|(name, value)| {
        let entries = value.as_array().filter(|_| name == "entries");
        let value = match entries {
            Some(entries) => {
                let entry = |entry: &serde_json::Value| {
                    let (entry, asked) = (entry.clone(), Arc::clone(asked));
                    Value::from_object(TrialEntry { entry, asked })
                };
                entries.iter().map(entry).collect()
            }
            None => Value::from(Serde(value)),
        };
        (name.clone(), value)
    });
    Value::from(pairs.collect::<BTreeMap<String, Value>>())
}

/// An entry that notes what it is asked for in vain.
#[derive(Debug)]
struct TrialEntry {
    entry: serde_json::Value,
    asked: Asked,
}

impl Object for TrialEntry {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        match self.entry.get(name) {
            Some(_) if name == "fields" => Some(Value::from_object(AnyField)),
            Some(value) => Some(Value::from(Serde(value))),
            None => {
                let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
                asked.push(name.to_owned());
                None
            }
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let names = self.entry.as_object().into_iter().flat_map(serde_json::Map::keys);
        Enumerator::Values(names.map(|name| Value::from(name.as_str())).collect())
    }
}

/// Has every field, as nobody knows here which there will be.
#[derive(Debug)]
struct AnyField;

impl Object for AnyField {
    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from("value"))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(vec![Value::from("field")])
    }
}

/// A digest for trying templates out.
pub(super) fn trial() -> serde_json::Value {
    let entry = json!({
        "id": "auth/0/0", "source": "auth", "path": "/var/log/auth.log", "sequence": 0,
        "line": 1, "offset": 0, "did_rotate": false, "incomplete": false,
        "text": "a line of a log", "op": "rv", "version": 0, "table": "db.user",
        "fields": {}, "raw": "", "pid": 0, "time": 0, "when": "", "gap": null,
        "length": 0, "summary": "a line of a log",
    });
    json!({
        "listener": "ops", "host": "host", "count": 2, "gaps": 0, "suppressed": 1,
        "sources": ["auth"], "first": "auth/0/0", "last": "auth/0/1",
        "entries": [entry],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Result<Template, String> {
        Template::new("body", text, &trial()).map_err(|error| error.message)
    }

    #[test]
    fn sound_templates_are_taken() {
        for text in [
            "",
            "no template at all",
            "{{ count }} on {{ host }} {% if count > 1 %}several{% endif %}",
            "{% for entry in entries %}{{ loop.index }} {{ entry.text }}\n{% endfor %}",
            "{% for entry in entries %}{{ entry.fields.email }}{% endfor %}",
            "{% for e in entries %}{{ e.fields[\"user\"] or \"-\" }}{% endfor %}",
            "{% for e in entries %}{% for k in e.fields %}{{ k }}{% endfor %}{% endfor %}",
            "{{ (entries[0].text | split(\"=\"))[1] }}",
            "{{ entries | map(attribute=\"summary\") | join(\"\\n\") }}",
            "{{ entries | tojson }} {{ sources | join(\", \") }} {{ range(3) | list }}",
            "{{ entries[0].gap.why if entries[0].gap else \"\" }}",
        ] {
            template(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    #[test]
    fn mistakes_are_found_with_their_place() {
        for (text, words) in [
            ("{{ count", "`body` has a mistake in line 1"),
            ("one\ntwo {% for %}", "in line 2"),
            ("{{ hots }}", "uses `hots`, which there is not: there are count"),
            ("{{ count | shout }}", "shout"),
            ("\n\n{{ nope() }}", "uses `nope`"),
            ("{% include \"/etc/passwd\" %}", "mistake in line 1"),
            ("{% extends \"../base\" %}", "mistake in line 1"),
            (
                "{% for entry in entries %}\n{{ entry.txt }}{% endfor %}",
                "asks an entry for `txt`, which none has: they have ",
            ),
        ] {
            let error = template(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
            assert!(error.starts_with("`body` "), "{error}");
        }
        assert!(template(&"x".repeat(70_000)).unwrap_err().contains("longer than"));
    }

    #[test]
    fn nothing_runs_for_ever_or_writes_without_end() {
        let endless = "{% for a in range(10000) %}{% for b in range(10000) %}\
            {{ count }}{% endfor %}{% endfor %}";
        let error = template(endless).unwrap().render(&trial()).unwrap_err();
        assert!(error.contains("fuel"), "{error}");
        let long =
            "{% for a in range(10000) %}".to_owned() + &"x".repeat(1000) + "{% endfor %}";
        let output = template(&long).unwrap().render(&trial()).unwrap();
        assert_eq!(output.len(), OUTPUT_BYTES_MAX);
        let deep = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
        assert!(template(deep).is_ok_and(|it| it.render(&trial()).is_err()));
    }

    #[test]
    fn what_entries_hold_is_no_template() {
        let mut context = trial();
        context["entries"][0]["text"] = "{{ host }} {% include \"x\" %} <b> %s%n".into();
        let output = template("{{ entries[0].text }}").unwrap().render(&context).unwrap();
        assert_eq!(output, "{{ host }} {% include \"x\" %} <b> %s%n");
        let error = template("{{ entries[0].fields.none }}").unwrap().render(&context);
        let error = error.unwrap_err();
        assert!(error.contains("undefined"), "{error}");
    }
}
