//! `tripline dead retry`: delivers again, by the hand of a person.

use super::{chosen, in_words, letters, unfile};
use crate::cli::{DeadRetryArgs, exit};
use crate::config::{Config, Registry};
use crate::terminal::{printable, say};
use std::collections::BTreeMap;
use std::process::ExitCode;
use tripline_api::{Built, Change, Filed, Letter, ListenError, ListenerId, Store as _};
use tripline_run::redeliver;
use tripline_store::SqliteStore;

/// Hands letters to listeners built for this, one after the other, and takes
/// away what was delivered. Behind a few that were tried in vain, one after the other, the
/// others of their listener are left as they are: its receiver is not there, and each
/// would take as long.
///
/// # Errors
///
/// When the configuration or the store cannot be read or written, or there is no
/// such letter.
pub(super) fn run(args: &DeadRetryArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let mut config = Config::load_without_rules(&args.config, registry)?;
    let letters = chosen(letters(&config.state)?, &args.which)?;
    if letters.is_empty() {
        say(format_args!("nothing to deliver"));
        return Ok(ExitCode::SUCCESS);
    }
    let mut store = SqliteStore::open(&config.state)?;
    let mut left = 0;
    let mut in_vain: BTreeMap<&ListenerId, InVain> = BTreeMap::new();
    for filed in &letters {
        let so_far = in_vain.entry(&filed.letter.key.listener).or_default();
        if so_far.in_a_row >= IN_VAIN_MAX {
            so_far.untried += 1;
            left += 1;
            continue;
        }
        let listener = config
            .listeners
            .iter_mut()
            .find(|(id, _)| *id == filed.letter.key.listener)
            .map(|(_, built)| built);
        let is_there = listener.is_some();
        let (change, words) = outcome(listener, filed, args);
        so_far.in_a_row = match change {
            None if is_there => so_far.in_a_row + 1,
            _ => 0,
        };
        left += usize::from(!matches!(change, Some(Change::Unfile { .. })));
        store.commit(change.as_slice())?;
        let (number, listener) = (filed.number, &filed.letter.key.listener);
        say(format_args!("{number} ({listener}): {}", printable(&words)));
    }
    for (listener, InVain { untried, .. }) in in_vain {
        if untried == 0 {
            continue;
        }
        let untried = in_words(untried);
        say(format_args!(
            "{listener} delivers nothing now: {untried} more of it not tried, to be tried by \
             number or when it does again"
        ));
    }
    if left > 0 {
        say(format_args!("{} left", in_words(left)));
        return Ok(ExitCode::from(exit::NO));
    }
    Ok(ExitCode::SUCCESS)
}

/// Letters of a listener that were not delivered, though nobody refused them.
#[derive(Default)]
struct InVain {
    in_a_row: usize,
    /// Not even tried, because of these.
    untried: usize,
}

/// After so many nobody seems to be there. Of fewer each may have a reason of its own, such
/// as a mailbox that is full.
const IN_VAIN_MAX: usize = 3;

/// Delivers one letter; what that changes, and what to say.
fn outcome(
    listener: Option<&mut Built>,
    filed: &Filed,
    args: &DeadRetryArgs,
) -> (Option<Change>, String) {
    let Some(built) = listener else {
        let words = "the configuration has no such listener any more: it stays";
        return (None, words.to_owned());
    };
    match redeliver(&mut *built.listener, &filed.letter, args.patience) {
        Ok(()) => (Some(unfile(filed)), "delivered".to_owned()),
        Err(ListenError::Rejected(rejected)) => {
            let letter =
                Letter { why: rejected.why.clone(), attempts: 1, ..filed.letter.clone() };
            let words = format!("refused again: {}", rejected.why);
            (Some(Change::SetAside(letter)), words)
        }
        Err(error) => (None, format!("not delivered: {error}")),
    }
}
