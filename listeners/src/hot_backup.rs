//! `HotBackup`: a standby's copies of the journals over SSH, byte for byte, and
//! its metadata applied.
//!
//! It is several listeners, so that the one cannot hold up the other: `copy` writes
//! the journals to the standby, `replay` hands whole transactions to a command
//! there and runs under the name `NAME.replay`, `archives` brings versioned files
//! and runs under `NAME.archives`. Each has a cursor of its own: that of the first
//! says what is *persisted* on the standby, that of the second what is *applied*.
//!
//! `hot_backup/standby.rs` has the standby's directory, `hot_backup/resume.rs`
//! decides where to begin, `hot_backup/held.rs` compares what is there already.
//! `hot_backup/keeper.rs` is for a person: it seeds a standby and compares all of it.

mod archives;
mod case;
mod checksum;
mod copy;
mod doc;
mod held;
mod keeper;
mod replay;
mod resume;
mod standby;

use crate::arguments;
use crate::ssh::{Address, Settings, Way};
use archives::Root;
use case::{Handling, Stated};
use copy::Copy;
use keeper::{Keeper, Kept};
use replay::{Queue, Replay};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tripline_api::{
    Args, ArgsError, Argument, BuildContext, Built, FriendlyDuration, Gap, GapKind,
    ListenerFactory, OnGap,
};

/// Makes hot backups.
pub(crate) struct Factory;

impl ListenerFactory for Factory {
    fn name(&self) -> &'static str {
        "HotBackup"
    }

    fn doc(&self) -> &'static str {
        doc::DOC
    }

    fn arguments(&self) -> &'static [Argument] {
        doc::ARGUMENTS
    }

    fn limits(&self) -> &'static [&'static str] {
        doc::LIMITS
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
        let copy = Copy::new(settings.clone(), context.name);
        // The standby has synced it by then: see `copy`.
        let mut backup = Built { flush_after: FLUSH_AFTER, ..built(Box::new(copy)) };
        if let Some(replay) = arguments.replay(context.name, &settings)? {
            let replay = built(Box::new(replay));
            backup.beside.push(("replay", Built { whole_transactions: true, ..replay }));
        }
        let kept = arguments.archives.as_ref().map(|it| it.kept(&settings, context));
        let kept = kept.transpose()?;
        if let Some(kept) = &kept {
            let name = format!("{}.archives", context.name);
            let archives = built(Box::new(kept.listener(&name)));
            backup
                .beside
                .push(("archives", Built { whole_transactions: true, ..archives }));
        }
        backup.backup = Some(Box::new(Keeper {
            settings,
            has_replay: arguments.replay.is_some(),
            archives: kept,
        }));
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
    case: Option<Stated>,
    archives: Option<ArchivesArguments>,
    on_gap: Option<OnGap>,
    quiet: Option<FriendlyDuration>,
}

/// `archives: (...)`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArchivesArguments {
    root: PathBuf,
    #[serde(default)]
    depots: BTreeMap<String, PathBuf>,
    to: Option<Address>,
}

impl ArchivesArguments {
    fn kept(
        &self,
        settings: &Settings,
        context: &BuildContext<'_>,
    ) -> Result<Kept, ArgsError> {
        if let Some(odd) = self.depots.keys().find(|it| it.is_empty() || it.contains('/'))
        {
            return Err(ArgsError::new(format!(
                "`depots` has {odd:?}, which is no depot: write its name, as in \
                 depots: {{\"big\": \"/vol2/big\"}}"
            )));
        }
        let depots = self.depots.iter();
        let depots = depots.map(|(name, path)| (name.clone(), context.path(path)));
        let root = Root::new(context.path(&self.root), depots.collect());
        let mut settings = settings.clone();
        let mut prefix = "archives/";
        if let Some(to) = &self.to {
            settings.address = to.clone();
            prefix = "";
        }
        Ok(Kept { settings, prefix, root })
    }
}

impl Arguments {
    fn replay(
        &self,
        name: &str,
        settings: &Settings,
    ) -> Result<Option<Replay>, ArgsError> {
        let tables = self.exclude_tables.clone().unwrap_or_default();
        let Some(argv) = &self.replay else {
            if !tables.is_empty() {
                return Err(ArgsError::new(
                    "`exclude_tables` says what is not replayed, and there is no `replay`: \
                     the copies of the journals are always whole",
                ));
            }
            if self.case.is_some() {
                return Err(ArgsError::new(
                    "`case` is looked at before journals are applied, and there is no \
                     `replay`",
                ));
            }
            return Ok(None);
        };
        if argv.is_empty() {
            return Err(ArgsError::new("`replay` is empty: write a program's name"));
        }
        let case = Handling::new(self.case, argv)?;
        let (settings, queue) = (settings.clone(), Queue::new(tables));
        Ok(Some(Replay::new(name, settings, argv.clone(), queue, case)))
    }

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

/// What to do about journals that the source does not have any more.
fn advice(name: &str, gap: &Gap) -> Option<String> {
    if gap.kind != GapKind::Missing {
        return None;
    }
    Some(format!(
        "When it cannot be had, the standby needs checkpoint {} or a later one: \
         tripline backup seed CONFIG {name} brings the newest there is",
        gap.to.sequence
    ))
}

const FLUSH_AFTER: Duration = Duration::from_millis(5);
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
