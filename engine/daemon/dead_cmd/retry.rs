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
/// away what was delivered. Behind one that was tried in vain the others of its listener
/// are left as they are: its receiver is not there, and each would take as long.
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
    // Who delivers nothing now, and how many letters were not tried because of that.
    let mut given_up: BTreeMap<&ListenerId, usize> = BTreeMap::new();
    for filed in &letters {
        if let Some(untried) = given_up.get_mut(&filed.letter.key.listener) {
            *untried += 1;
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
        if is_there && change.is_none() {
            given_up.insert(&filed.letter.key.listener, 0);
        }
        left += usize::from(!matches!(change, Some(Change::Unfile { .. })));
        store.commit(change.as_slice())?;
        let (number, listener) = (filed.number, &filed.letter.key.listener);
        say(format_args!("{number} ({listener}): {}", printable(&words)));
    }
    for (listener, untried) in given_up.into_iter().filter(|(_, untried)| *untried > 0) {
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
