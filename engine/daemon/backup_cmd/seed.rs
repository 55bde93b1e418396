//! `tripline backup seed`: a standby that is new, or too old.

use super::{Kept, Teller};
use crate::cli::{SeedArgs, exit};
use crate::config::{Config, Registry};
use crate::terminal::say;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::process::ExitCode;
use tripline_api::{
    Change, Key, ListenerId, Place, Progress, Seeded, Seeding, Settled, Start, Store as _,
};
use tripline_diagnose::shown;
use tripline_store::{LockError, SqliteStore, StateLock};

/// Brings the newest checkpoint to a standby, and lets the listener begin there.
///
/// # Errors
///
/// When it could not be brought; what is there stays, and is gone on with.
pub(super) fn run(args: &SeedArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let mut config = Config::load_without_rules(&args.config, registry)?;
    let mut kept = Kept::find(&mut config, args.listener.as_deref())?;
    let _lock = match StateLock::take(&config.state) {
        Ok(lock) => lock,
        Err(error @ LockError::Held { .. }) => {
            say(format_args!("{error}: stop it before you seed its standby"));
            return Ok(ExitCode::from(exit::IN_USE));
        }
        Err(error) => return Err(error.into()),
    };
    let mut store = SqliteStore::open(&config.state)?;
    let known: Vec<_> = store
        .progress()?
        .into_iter()
        .filter(|it| it.key.source == *kept.source.id())
        .collect();
    let mut teller = Teller::new();
    let seeded = match args.restored {
        Some(number) => kept.backup.restored(number),
        None => {
            let places = places(&kept.name, &known);
            let seeding = Seeding { source: &*kept.source, places: &places };
            kept.backup.seed(&seeding, &mut |told| teller.tell(told))
        }
    };
    teller.clear();
    let seeded = seeded.map_err(|error| {
        let words = error.to_string().replace("CONFIG", &shown(&args.config));
        anyhow::Error::msg(words)
    })?;
    let changes = begin(&kept, &seeded, &known)?;
    store.commit(&changes)?;
    for change in &changes {
        let Some(key) = change.key() else { continue };
        let (listener, source) = (&key.listener, kept.source.id());
        let number = seeded.checkpoint;
        say(format_args!("{listener} begins with journal {number} of {source}"));
    }
    for step in &seeded.next {
        let step = step.replace("CONFIG", &shown(&args.config));
        say(format_args!("next: {}", step.replace("LISTENER", &kept.name)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the listener is, and those that belong to it, by their words.
fn places(name: &str, known: &[Progress]) -> BTreeMap<String, Place> {
    let word = |progress: &Progress| {
        let rest = progress.key.listener.as_str().strip_prefix(name)?;
        let word = if rest.is_empty() { rest } else { rest.strip_prefix('.')? };
        Some((word.to_owned(), progress.cursor.as_ref()?.place))
    };
    known.iter().filter_map(word).collect()
}

/// The cursors that lead to the journal behind the checkpoint.
fn begin(
    kept: &Kept,
    seeded: &Seeded,
    known: &[Progress],
) -> anyhow::Result<Vec<Change>> {
    let mut changes = Vec::new();
    for word in &seeded.begin {
        let listener = match word.as_str() {
            "" => kept.name.clone(),
            word => format!("{}.{word}", kept.name),
        };
        let listener = ListenerId::new(&listener).context("a listener without a name")?;
        let source = kept.source.id().clone();
        let key = Key { source, listener, log: None };
        let before: Settled = known
            .iter()
            .filter(|it| it.key == key)
            .filter_map(|it| Some((None, it.cursor.clone()?)))
            .collect();
        let wanted = Start::Checkpoint(seeded.checkpoint);
        let found = kept.source.find(&wanted, None, &before).with_context(|| {
            format!(
                "the checkpoint is on the standby, and journal {0} behind it is not at \
                 the source: put it back, and seed again",
                seeded.checkpoint
            )
        })?;
        let cursors = found.into_values();
        changes
            .extend(cursors.map(|cursor| Change::SetByHand { key: key.clone(), cursor }));
    }
    Ok(changes)
}
