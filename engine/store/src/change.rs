//! What a change does to a listener's progress: the same in every store.

use tripline_api::{Change, Cursor, Key, Progress, State, StoreError};

/// The progress of a listener of which nothing is known.
///
/// It counts as catching up until it says that it has everything there is.
pub(crate) const fn nothing_yet(key: Key) -> Progress {
    Progress {
        key,
        cursor: None,
        set_by_hand: false,
        entries_settled: 0,
        last_entry: None,
        state: State::CatchingUp,
        why: None,
    }
}

/// Changes a listener's progress.
///
/// A gap leaves `set_by_hand` alone: nothing was settled, so what a person
/// wanted again is still wanted again.
///
/// # Errors
///
/// When the change contradicts itself; `progress` is as it was.
pub(crate) fn apply(progress: &mut Progress, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Settled { cursor, entries, last_entry, .. } => {
            progress.cursor = Some(cursor.clone());
            progress.set_by_hand = false;
            progress.entries_settled = progress.entries_settled.saturating_add(*entries);
            progress.last_entry = last_entry.or(progress.last_entry);
        }
        Change::State { state, why, .. } => {
            progress.state = *state;
            progress.why.clone_from(why);
        }
        Change::Gap { key, gap } => {
            if (&gap.source, &gap.log) != (&key.source, &key.log) {
                return Err(StoreError {
                    what: format!("a gap was not recorded for {}", key.listener),
                    cause: format!("it is of {}, not of {}", gap.source, key.source)
                        .into(),
                });
            }
            progress.cursor =
                Some(Cursor { place: gap.to, proof: gap.proof.clone(), next: None });
        }
        // There is no progress behind it; the store takes it away.
        Change::Forget { .. } => {}
        // Letters are no progress.
        Change::SetAside(_) | Change::Unfile { .. } => {}
        // Nor is what a listener remembers.
        Change::Keep { .. } => {}
        Change::SetByHand { cursor, .. } => {
            progress.cursor = Some(cursor.clone());
            progress.set_by_hand = true;
            progress.state = State::CatchingUp;
            progress.why = None;
        }
    }
    Ok(())
}
