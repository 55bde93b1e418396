//! `HotBackup`: a standby's copies of the journals over SSH, byte for byte, and
//! its metadata applied.
//!
//! It is two listeners, so that the one cannot hold up the other: `copy` writes
//! the journals to the standby, `replay` hands whole transactions to a command
//! there and runs under the name `NAME.replay`. Each has a cursor of its own:
//! that of the first says what is *persisted* on the standby, that of the second
//! what is *applied*.
//!
//! `hot_backup/standby.rs` has the standby's directory, `hot_backup/resume.rs`
//! decides where to begin, `hot_backup/held.rs` compares what is there already.

mod checksum;
mod copy;
mod held;
mod replay;
mod resume;
mod standby;

use crate::arguments;
use crate::ssh::{Address, Settings, Way};
use copy::Copy;
use replay::{Queue, Replay};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use tripline_api::{
    Args, ArgsError, BuildContext, Built, FriendlyDuration, ListenerFactory, OnGap,
};

/// Makes hot backups.
pub(crate) struct Factory;

impl ListenerFactory for Factory {
    fn name(&self) -> &'static str {
        "HotBackup"
    }

    fn doc(&self) -> &'static str {
        "Keeps a standby ready: copies the journals of one source to the directory of \
         `to` on another host, \"ssh://user@host:port/directory\", as they are written. \
         The current one is `journal` there; when the source begins the next one it \
         becomes `journal.N`, with its SHA-256 beside it in `journal.N.sha256` (for \
         `sha256sum -c`). An account that may do nothing but SFTP is enough \
         (`ForceCommand internal-sftp`, in a chroot if you like). Every record is synced \
         to the standby's disk before its place is settled: `tripline where` shows what \
         is persisted.\n\
         \n\
         What the standby holds says where to go on. At each start its current journal \
         is read back once and compared with the source's; where they differ, in what \
         was settled before, the backup stops and says at which byte. Nothing is ever \
         overwritten, and there is never a hole: at a gap it stops (`on_gap: Stop`, the \
         default). What a loss of power on the standby took away behind the last \
         settled place is written again.\n\
         \n\
         With `replay`, a command on the standby gets the records of whole \
         transactions on its standard input, for example [\"p4d\", \"-r\", \
         \"/p4/1/offline\", \"-f\", \"-jr\", \"-\"]. They lie there in a file before it \
         begins, so it never gets a part of them, whatever breaks; a run goes on when \
         the connection is cut or Tripline stopped, no other begins before it has ended, \
         and it is known later what came of it. When it has ended with 0 and read its \
         input to the end, the place stands in the file `applied` beside the journals, \
         and is settled: `tripline where` shows it as that of `NAME.replay`. When it \
         fails, the same comes again; so a transaction may be handed to it twice, which \
         leaves a Perforce database as once does. What the command says is in \
         `replay.log`. The words reach it as they are, by `sh -c` with one script that \
         is always the same, and needs `flock` and `cmp`: an account that is kept \
         to a command must allow it, and may compare the whole text. The rows of tables named in \
         `exclude_tables` are left out: what depends on them is then wrong on the \
         standby, such as which files clients have (db.have), and so are checksums of \
         tables.\n\
         \n\
         Hosts must be known: an unknown or changed key stops the backup, and the \
         message says what to type. The key comes from an agent or from the file \
         `key`, which nobody else may read. `way: Program` uses the system's `ssh`, \
         which knows jump hosts, certificates and hardware keys; `ssh_config` is a file \
         for its `-F`.\n\
         \n\
         Journals hold the hashes of passwords and tickets, and a byte-exact copy keeps \
         them: give the standby the care that the server gets.\n\
         \n\
         Arguments: `from`, one source; `to`; `way`, `Library` (the default) or \
         `Program`; `key`, `known_hosts` and `ssh_config`, files; `connect_timeout` \
         (\"10s\"), `answer_timeout` (\"30s\"); `replay`, a program and its arguments; \
         `exclude_tables`, tables that are not replayed; `on_gap`, `Stop` or `Notify`; \
         `quiet`, a duration (\"5s\")."
    }

    fn example(&self) -> &'static str {
        r#"HotBackup(from: ["p4"], to: "ssh://backup@standby.example.com/p4/journals")"#
    }

    fn build(
        &self,
        args: &Args<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Built, ArgsError> {
        let arguments: Arguments = args.parse()?;
        arguments::check_sources(&arguments.from)?;
        if arguments.from.len() > 1 {
            return Err(ArgsError::new(format!(
                "a backup has one source, and `from` names {}: write a HotBackup for \
                 each, with a directory of its own",
                arguments.from.len()
            )));
        }
        let settings = arguments.settings(context)?;
        let quiet = arguments::quiet(arguments.quiet)?;
        let built = |listener| Built {
            only_journals: true,
            on_gap: arguments.on_gap.unwrap_or(OnGap::Stop),
            ..Built::new(listener, arguments.from.clone(), quiet)
        };
        let copy = built(Box::new(Copy::new(settings.clone())));
        // The standby has synced it by then: see `copy`.
        let mut backup = Built { flush_after: FLUSH_AFTER, ..copy };
        let tables = arguments.exclude_tables.clone().unwrap_or_default();
        match &arguments.replay {
            Some(argv) if argv.is_empty() => {
                return Err(ArgsError::new("`replay` is empty: write a program's name"));
            }
            Some(argv) => {
                let replay = Replay::new(settings, argv.clone(), Queue::new(tables));
                let replay = built(Box::new(replay));
                backup
                    .beside
                    .push(("replay", Built { whole_transactions: true, ..replay }));
            }
            None if !tables.is_empty() => {
                return Err(ArgsError::new(
                    "`exclude_tables` says what is not replayed, and there is no `replay`: \
                     the copies of the journals are always whole",
                ));
            }
            None => {}
        }
        Ok(backup)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    from: Vec<String>,
    to: Address,
    way: Option<Way>,
    key: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
    ssh_config: Option<PathBuf>,
    connect_timeout: Option<FriendlyDuration>,
    answer_timeout: Option<FriendlyDuration>,
    replay: Option<Vec<String>>,
    exclude_tables: Option<Vec<String>>,
    on_gap: Option<OnGap>,
    quiet: Option<FriendlyDuration>,
}

impl Arguments {
    fn settings(&self, context: &BuildContext<'_>) -> Result<Settings, ArgsError> {
        let mut settings = Settings::new(self.to.clone());
        let path = |path: &Option<PathBuf>| path.as_ref().map(|it| context.path(it));
        settings.way = self.way.unwrap_or(Way::DEFAULT);
        settings.key = path(&self.key);
        settings.known_hosts = path(&self.known_hosts);
        settings.config = path(&self.ssh_config);
        if settings.config.is_some() && settings.way != Way::Program {
            return Err(ArgsError::new(
                "`ssh_config` is for the system's `ssh`: write `way: Program` too",
            ));
        }
        let timeout = |name, written: Option<FriendlyDuration>, default: Duration| {
            let timeout = written.map_or(default, |written| written.0);
            match (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
                true => Ok(timeout),
                false => Err(ArgsError::new(format!(
                    "`{name}` must lie between \"100ms\" and \"1 hour\""
                ))),
            }
        };
        settings.connect_timeout =
            timeout("connect_timeout", self.connect_timeout, settings.connect_timeout)?;
        settings.answer_timeout =
            timeout("answer_timeout", self.answer_timeout, settings.answer_timeout)?;
        Ok(settings)
    }
}

const FLUSH_AFTER: Duration = Duration::from_millis(5);
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
