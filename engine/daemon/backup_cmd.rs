//! `tripline backup`: the backup that a listener keeps, in the hands of a person.

mod seed;
mod verify;

use crate::cli::BackupCommand;
use crate::config::{Config, Registry};
use crate::terminal::{printable, say};
use anyhow::bail;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::{Backup, Source, Told};
use tripline_diagnose::shown;

/// Runs one of the commands on backups.
///
/// # Errors
///
/// When it could not be done: exit code 2.
pub(crate) fn run(
    command: &BackupCommand,
    registry: &Registry,
) -> anyhow::Result<ExitCode> {
    match command {
        BackupCommand::Seed(args) => seed::run(args, registry),
        BackupCommand::Verify(args) => verify::run(args, registry),
    }
}

/// A listener that keeps a backup, and what it follows.
struct Kept {
    name: String,
    backup: Box<dyn Backup>,
    source: Arc<dyn Source>,
}

impl Kept {
    /// The one of that name; without a name, the only one there is.
    fn find(config: &mut Config, listener: Option<&str>) -> anyhow::Result<Self> {
        let keeping = |config: &Config| -> Vec<String> {
            let all = config.listeners.iter().filter(|(_, built)| built.backup.is_some());
            all.map(|(id, _)| id.to_string()).collect()
        };
        let all = keeping(config);
        let name = match (listener, all.as_slice()) {
            (_, []) => bail!(
                "{} has no listener that keeps a backup which could be seeded: that is \
                 a HotBackup",
                shown(&config.path)
            ),
            (Some(name), all) if all.iter().any(|it| it == name) => name.to_owned(),
            (Some(name), all) => bail!(
                "`{}` keeps no backup which could be seeded; there is {}",
                printable(name),
                all.join(", ")
            ),
            (None, [only]) => only.clone(),
            (None, all) => bail!("say which backup: {}", all.join(", ")),
        };
        let built = config.listeners.iter_mut().find(|(id, _)| id.as_str() == name);
        let Some((backup, from)) = built
            .and_then(|(_, built)| Some((built.backup.take()?, built.from.first()?)))
        else {
            bail!("`{}` follows nothing", printable(&name));
        };
        let source = config.sources.iter().find(|it| it.id().as_str() == from);
        let Some(source) = source else { bail!("there is no source {from}") };
        Ok(Self { name, backup, source: Arc::clone(source) })
    }
}

/// Says how far it is: sentences, and on a terminal how many bytes.
struct Teller {
    shown: Option<Instant>,
    is_terminal: bool,
}

/// How often the bytes are shown.
const SHOW_EVERY: Duration = Duration::from_millis(200);

impl Teller {
    fn new() -> Self {
        Self { shown: None, is_terminal: io::stderr().is_terminal() }
    }

    fn tell(&mut self, told: Told<'_>) {
        match told {
            Told::Said(words) => {
                self.clear();
                say(format_args!("{words}"));
            }
            Told::Bytes { what, done, of } => {
                let is_due = self.shown.is_none_or(|it| it.elapsed() >= SHOW_EVERY);
                if !self.is_terminal || !is_due {
                    return;
                }
                let of = of.map_or_else(String::new, |of| format!(" of {} MB", mb(of)));
                let line = format!("{what}: {} MB{of}", mb(done));
                // It is only for whoever looks.
                _ = write!(io::stderr(), "\r\x1b[K{}", printable(&line));
                self.shown = Some(Instant::now());
            }
        }
    }

    fn clear(&mut self) {
        if self.shown.take().is_some() {
            _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

const fn mb(bytes: u64) -> u64 {
    bytes / 1_000_000
}
