//! What leaves the house: programs, addresses of the web, files. Here hostile text could
//! become a command.

use super::Compiler;
use crate::compiled::{ActionKind, Template};
use crate::expression::is_template;
use crate::model::{Action, Text};
use crate::roots::Roots;
use std::path::PathBuf;

/// Programs that take a script as an argument, and behind which argument it stands. Where
/// that is empty, what they get is joined and given to a shell somewhere else.
const SCRIPTS: &[(&str, &[&str])] = &[
    ("sh", &["-c"]),
    ("ash", &["-c"]),
    ("bash", &["-c"]),
    ("dash", &["-c"]),
    ("ksh", &["-c"]),
    ("zsh", &["-c"]),
    ("fish", &["-c"]),
    ("su", &["-c"]),
    ("perl", &["-e", "-E"]),
    ("python", &["-c"]),
    ("python3", &["-c"]),
    ("ruby", &["-e"]),
    ("node", &["-e"]),
    ("awk", &[]),
    ("ssh", &[]),
];

/// The most arguments of a program.
const ARGUMENTS_MAX: usize = 1000;

impl Compiler<'_> {
    pub(super) fn exec(
        &mut self,
        action: &Action,
        run: &[Text],
        env: &[(Text, Text)],
        stdin: Option<&Text>,
        cwd: Option<&Text>,
        roots: &Roots,
    ) -> Option<ActionKind> {
        let Some((program, arguments)) = run.split_first() else {
            if !action.unread.iter().any(|field| field == "run") {
                self.error("E022", action.word.clone(), "`run` names no program")
                    .help("write run: [\"/usr/local/bin/program\", \"argument\"]");
            }
            return None;
        };
        self.program(program);
        self.no_script(program, arguments);
        if let Some(last) = arguments.get(ARGUMENTS_MAX) {
            let message = format!("a program gets at most {ARGUMENTS_MAX} arguments");
            self.error("E013", last.span.clone(), message)
                .help("hand them on by `stdin`, or in a file");
        }
        let arguments: Vec<Option<Template>> =
            arguments.iter().map(|it| self.template(it, roots)).collect();
        for (name, _) in env {
            self.variable(name);
        }
        let env = self.template_map(env, roots);
        let stdin = self.optional(stdin, roots);
        if let Some(cwd) = cwd {
            self.absolute("cwd", cwd);
        }
        Some(ActionKind::Exec {
            program: PathBuf::from(&program.value),
            arguments: arguments.into_iter().collect::<Option<_>>()?,
            env,
            stdin,
            cwd: cwd.map(|it| PathBuf::from(&it.value)),
        })
    }

    fn program(&mut self, program: &Text) {
        if is_template(&program.value) {
            let message = "what an event says cannot choose the program";
            self.error("E022", program.span.clone(), message)
                .help("write the path of one: \"/usr/local/sbin/block\"");
        } else if program.value.split_whitespace().count() > 1
            && program.value.starts_with('/')
        {
            let words: Vec<String> =
                program.value.split_whitespace().map(|it| format!("\"{it}\"")).collect();
            let message = "this is a whole command: each argument is a text of its own";
            self.error("E021", program.span.clone(), message)
                .help(format!("write {}", words.join(", ")));
        } else if !program.value.starts_with('/') {
            let message = format!("`{}` is no absolute path", program.value);
            self.error("E022", program.span.clone(), message).help(format!(
                "write where it is, such as \"/usr/bin/{}\"",
                program.value
            ));
        }
    }

    /// No value of an event inside a script: whoever writes the log would write it.
    fn no_script(&mut self, program: &Text, arguments: &[Text]) {
        let name = program.value.rsplit('/').next().unwrap_or_default();
        let Some((_, before)) = SCRIPTS.iter().find(|(it, _)| *it == name) else {
            return;
        };
        let script = match before {
            [] => arguments.iter().find(|it| is_template(&it.value)),
            before => {
                let flag =
                    arguments.iter().position(|it| before.contains(&it.value.as_str()));
                let script = flag.and_then(|at| arguments.get(at + 1));
                script.filter(|it| is_template(&it.value))
            }
        };
        let Some(script) = script else { return };
        let value = first_value(&script.value);
        let variable: String = value
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        let variable = if variable.is_empty() { "VALUE".to_owned() } else { variable };
        let at = script.value.find("{{").unwrap_or_default();
        let end =
            script.value[at..].find("}}").map_or(script.value.len(), |it| at + it + 2);
        let start = crate::read::place_in(self.file, script, at);
        let end = crate::read::place_in(self.file, script, end);
        let message = "a value from an event inside a script lets whoever writes the log run \
            commands";
        let help = match before {
            [] => format!(
                "hand it on by `stdin`, which `{name}` passes through; `{name}` takes its \
                 arguments for a script"
            ),
            _ => format!(
                "pass it as env: {{\"{variable}\": \"{{{{ {value} }}}}\"}} and write \
                 \"${variable}\" in the script, in double quotes"
            ),
        };
        self.error("E020", start..end, message).help(help);
    }

    fn variable(&mut self, name: &Text) {
        let is_one = name.value.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && name
                .value
                .bytes()
                .all(|it| it.is_ascii_uppercase() || it.is_ascii_digit() || it == b'_');
        if !is_one {
            let upper: String =
                name.value
                    .chars()
                    .map(|c| {
                        if c.is_ascii_alphanumeric() {
                            c.to_ascii_uppercase()
                        } else {
                            '_'
                        }
                    })
                    .collect();
            let message = format!("`{}` is no name of a variable", name.value);
            self.error("E022", name.span.clone(), message)
                .help(format!("names have capitals, digits and `_`: \"{upper}\""));
        } else if ["LD_PRELOAD", "LD_LIBRARY_PATH", "IFS", "BASH_ENV", "ENV"]
            .contains(&name.value.as_str())
        {
            let message = format!("`{}` changes which program runs", name.value);
            self.error("E022", name.span.clone(), message)
                .help("set it in a script of your own that starts the program");
        }
    }

    pub(super) fn absolute(&mut self, field: &str, path: &Text) {
        if !path.value.starts_with('/') || is_template(&path.value) {
            let message = format!("`{field}` must be an absolute path, written out");
            self.error("E022", path.span.clone(), message)
                .help(format!("write for example {field}: \"/srv/site\""));
        }
    }

    pub(super) fn touch(
        &mut self,
        dir: Option<&Text>,
        file: Option<&Text>,
        roots: &Roots,
    ) -> Option<ActionKind> {
        if let Some(dir) = dir {
            self.absolute("dir", dir);
        }
        let template = file.and_then(|it| self.template(it, roots));
        if let Some(file) = file
            && (file.value.contains('/') && !is_template(&file.value)
                || file.value.starts_with('.')
                || file.value.is_empty())
        {
            self.error("E022", file.span.clone(), "this is no name of a file in `dir`")
                .help("write a name without `/` that does not begin with `.`");
        }
        Some(ActionKind::Touch { dir: PathBuf::from(&dir?.value), file: template? })
    }

    pub(super) fn url(&mut self, url: &Text) {
        let Some((scheme, rest)) = url.value.split_once("://") else {
            self.error("E023", url.span.clone(), "this is no address of the web")
                .help("write it like \"https://host.example.com/path\"");
            return;
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if is_template(scheme) || is_template(host) {
            let message = "what an event says cannot choose the host";
            self.error("E023", url.span.clone(), message).help(
                "write scheme and host out: \"https://host.example.com/{{ value }}\"",
            );
            return;
        }
        let is_here = ["localhost", "127.0.0.1", "[::1]"].iter().any(|it| {
            host.strip_prefix(it)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        });
        match scheme {
            "https" if !host.is_empty() => {}
            "http" if is_here => {}
            "http" => {
                let message = "everybody on the way could read and change what is posted";
                self.error("E023", url.span.clone(), message)
                    .help(format!("write \"https://{rest}\""));
            }
            _ => {
                self.error("E023", url.span.clone(), "this is no address of the web")
                    .help("write it like \"https://host.example.com/path\"");
            }
        }
    }

    pub(super) fn headers(&mut self, headers: &[(Text, Text)]) {
        for (name, _) in headers {
            let is_one = !name.value.is_empty()
                && name
                    .value
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_');
            if !is_one {
                let message = format!("`{}` is no name of a header", name.value);
                self.error("E022", name.span.clone(), message)
                    .help("write it like \"X-Source\"");
            } else if ["authorization", "cookie", "proxy-authorization"]
                .contains(&name.value.to_ascii_lowercase().as_str())
            {
                let message = "secrets do not belong into rules";
                self.error("E023", name.span.clone(), message).help(
                    "put the token into a file for its owner only: token: \"/etc/tripline/token\"",
                );
            }
        }
    }
}

/// What the first `{{ .. }}` of a text has in it.
fn first_value(text: &str) -> &str {
    let Some((_, rest)) = text.split_once("{{") else { return "" };
    let inside = rest.split("}}").next().unwrap_or_default();
    inside.split('|').next().unwrap_or_default().trim()
}
