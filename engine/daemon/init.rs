//! `tripline init`: a commented configuration to begin with.

use crate::cli::InitArgs;
use crate::terminal::printable;
use anyhow::Context as _;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tripline_diagnose::shown;

/// Writes a configuration from the environment and from what is there.
pub(crate) fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let path = std::path::absolute(&args.to)?;
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    let server = Server::find(&Environment::read(), directory);
    let text = configuration(&server, directory)?;
    let written =
        File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => anyhow::bail!(
            "`{0}` exists and is left as it is: remove it, or write another with --to FILE",
            shown(&args.to)
        ),
        Err(error) => {
            Err(error).with_context(|| format!("cannot write `{}`", shown(&args.to)))?
        }
    }
    let (file, journal) = (shown(&args.to), shown(&server.journal));
    let found = match server.exists {
        true => format!("it follows `{journal}`"),
        false => {
            format!("there is no journal at `{journal}` yet: correct the path in it")
        }
    };
    writeln!(
        io::stderr(),
        "tripline: wrote `{file}`: {found}. Next: tripline check {file}; tripline run {file}"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The variables that a Perforce server is set up with.
struct Environment {
    root: Option<PathBuf>,
    journal: Option<PathBuf>,
    log: Option<PathBuf>,
    port: Option<String>,
}

impl Environment {
    fn read() -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        Self {
            root: set("P4ROOT").map(PathBuf::from),
            // `off` turns the journal off; it may be on elsewhere.
            journal: set("P4JOURNAL")
                .map(PathBuf::from)
                .filter(|it| *it != Path::new("off")),
            log: set("P4LOG").map(PathBuf::from),
            port: set("P4PORT").map(|port| port.to_string_lossy().into_owned()),
        }
    }
}

/// A server's journals and the logs of its host, as far as they can be seen.
struct Server {
    port: Option<String>,
    /// The live journal.
    journal: PathBuf,
    exists: bool,
    /// Other directories that hold rotated journals.
    rotated: Vec<PathBuf>,
    logs: Vec<PathBuf>,
}

impl Server {
    fn find(environment: &Environment, directory: &Path) -> Self {
        let here = [directory.join("journal"), directory.join("p4root/journal")];
        let journal = match (&environment.journal, &environment.root) {
            // As the server reads it: relative to its root.
            (Some(journal), Some(root)) => directory.join(root).join(journal),
            (Some(journal), None) => directory.join(journal),
            (None, Some(root)) => directory.join(root).join("journal"),
            (None, None) => {
                here.iter().find(|it| it.is_file()).unwrap_or(&here[1]).clone()
            }
        };
        let home = journal.parent().unwrap_or(directory).to_owned();
        let root = environment
            .root
            .as_ref()
            .map_or_else(|| home.clone(), |it| directory.join(it));
        let mut rotated = Vec::new();
        for base in
            [Some(root.as_path()), root.parent(), home.parent()].into_iter().flatten()
        {
            for name in ["", "checkpoints", "journals", "checkpoints.rotated"] {
                // Pushing an empty name would leave a `/` at the end.
                let candidate =
                    if name.is_empty() { base.to_owned() } else { base.join(name) };
                let is_new = candidate != home && !rotated.contains(&candidate);
                if is_new && holds_journals(&candidate) {
                    rotated.push(candidate);
                }
            }
        }
        let exists = journal.is_file();
        // As with the journal, it is relative to the server's root.
        let log = environment.log.as_deref().unwrap_or_else(|| Path::new("log"));
        let logs = logs(&[root.join(log)]);
        Self { port: environment.port.clone(), journal, exists, rotated, logs }
    }
}

/// Those of these files that are there, and of the logs that most hosts have.
/// What a configuration cannot name is left out.
fn logs(of_the_server: &[PathBuf]) -> Vec<PathBuf> {
    let of_the_host = ["/var/log/syslog", "/var/log/messages", "/var/log/auth.log"];
    let all = of_the_server.iter().cloned().chain(of_the_host.map(PathBuf::from));
    all.filter(|path| path.is_file() && path.to_str().is_some()).collect()
}

/// Whether a directory has files that are named like rotated journals:
/// `journal.12`, `p4_1.jnl.12.gz`.
fn holds_journals(directory: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    entries.take(ENTRIES_MAX).flatten().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        name.rsplit_once('.').is_some_and(|(stem, number)| {
            let is_number =
                !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            is_number && (stem.ends_with("jnl") || stem.ends_with("journal"))
        })
    })
}

/// How many names of a directory are looked at.
const ENTRIES_MAX: usize = 100_000;

fn configuration(server: &Server, directory: &Path) -> anyhow::Result<String> {
    let journal = quoted(&server.journal, directory)?;
    let rotated: Vec<String> = server
        .rotated
        .iter()
        .map(|it| quoted(it, directory))
        .collect::<Result<_, _>>()?;
    let home = server.journal.parent().unwrap_or(directory);
    let state = if home == directory.join("state") { "tripline-state" } else { "state" };
    let port = match &server.port {
        Some(port) => {
            format!(" of the server {}", printable(&port.replace(['\n', '\t'], " ")))
        }
        None => String::new(),
    };
    let rotated = match rotated.as_slice() {
        [] => "            // rotated: [\"checkpoints\"],\n".to_owned(),
        rotated => format!("            rotated: [{}],\n", rotated.join(", ")),
    };
    let logs: Vec<String> = match server.logs.as_slice() {
        [] => vec!["\"/var/log/app/*.log\"".to_owned()],
        logs => logs.iter().map(|it| quoted(it, directory)).collect::<Result<_, _>>()?,
    };
    let logs = logs.join(", ");
    Ok(format!(
        r#"// What Tripline follows, and who listens. Paths are relative to this file.
// `tripline check` finds mistakes in it, `tripline run` starts it.
(
    // A directory of its own, on a local disk: where every listener is.
    state: "{state}",

    sources: {{
        // The journal{port}.
        "p4": Journal(
            path: {journal},
            // Where else rotated journals are, besides the live one's directory.
            // Numbers are read from inside the files; names are only hints.
{rotated}            // Where a listener without a place begins: Oldest, Now, Journal(12), or
            // Checkpoint(12), the last one that was recovered on a standby.
            start: Oldest,
        ),
        // Log files, through whatever renames, copies or compresses them. Paths may
        // have *, ?, [a-z], {{a,b}} and **.
        // "logs": Log(paths: [{logs}]),
    }},

    listeners: {{
        // One JSON object a record. Without `tables` it is every record.
        "changes": Print(
            from: ["p4"],
            to: "changes.jsonl",
            tables: ["db.change", "db.user", "db.protect"],
        ),
        // An exact copy of the journal, for a standby. It holds the hashes of
        // passwords, as the journal does.
        // "standby": Mirror(from: ["p4"], to: "backup", on_gap: Stop),
        // The lines of logs as they are, over plain TCP: not encrypted.
        // "central": Forward(from: ["logs"], to: "tcp://127.0.0.1:6514", format: Lines),
    }},

    // What is to be done about entries: `tripline new 'LINE'` makes a rule of a line.
    // rules: ["rules.d/*.ron"],
)
"#
    ))
}

/// A path as a text: relative if it lies below the configuration.
fn quoted(path: &Path, directory: &Path) -> anyhow::Result<String> {
    let path = match path.strip_prefix(directory) {
        Ok(below) if !below.as_os_str().is_empty() => below,
        _ => path,
    };
    let text = path.to_str().with_context(|| {
        format!("the path `{}` is not UTF-8: a configuration cannot name it", shown(path))
    })?;
    // Rust's escapes are RON's.
    Ok(format!("{text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(root: Option<&Path>, journal: Option<&str>, directory: &Path) -> Server {
        let environment = Environment {
            root: root.map(Path::to_owned),
            journal: journal.map(PathBuf::from),
            log: None,
            port: Some("ssl:p4:1666".to_owned()),
        };
        Server::find(&environment, directory)
    }

    #[test]
    fn the_journal_is_where_the_server_has_it() {
        let directory = Path::new("/etc/tripline");
        let root = Some(Path::new("/p4/root"));
        let journal = |root, journal| server(root, journal, directory).journal;
        assert_eq!(journal(root, None), Path::new("/p4/root/journal"));
        assert_eq!(journal(root, Some("logs/j")), Path::new("/p4/root/logs/j"));
        assert_eq!(
            journal(root, Some("/p4/logs/journal")),
            Path::new("/p4/logs/journal")
        );
        assert_eq!(journal(None, None), Path::new("/etc/tripline/p4root/journal"));
    }

    #[test]
    fn rotated_journals_are_found() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("root");
        let checkpoints = temporary.path().join("checkpoints");
        for directory in [&root, &checkpoints] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(root.join("journal"), b"").unwrap();
        assert!(server(Some(&root), None, &root).rotated.is_empty());
        fs::write(checkpoints.join("p4_1.jnl.12.gz"), b"").unwrap();
        let server = server(Some(&root), None, &root);
        assert!(server.exists);
        assert_eq!(server.rotated, [checkpoints]);
        let text = configuration(&server, temporary.path()).unwrap();
        assert!(text.contains(r#"path: "root/journal""#), "{text}");
        assert!(text.contains(r#"rotated: ["checkpoints"]"#), "{text}");
        assert!(text.contains("of the server ssl:p4:1666"), "{text}");
    }

    #[test]
    fn the_log_of_the_server_is_found() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("root");
        fs::create_dir(&root).unwrap();
        for (name, environment) in [("log", None), ("p4d.log", Some("p4d.log"))] {
            fs::write(root.join(name), b"").unwrap();
            let environment = Environment {
                root: Some(root.clone()),
                journal: None,
                log: environment.map(PathBuf::from),
                port: None,
            };
            let server = Server::find(&environment, temporary.path());
            assert_eq!(server.logs.first(), Some(&root.join(name)));
            let text = configuration(&server, temporary.path()).unwrap();
            let line = format!(r#"        // "logs": Log(paths: ["root/{name}""#);
            assert!(text.contains(&line), "{text}");
        }
    }
}
