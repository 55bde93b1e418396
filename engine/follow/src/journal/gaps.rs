//! A lost stretch, in words.

use super::Shared;
use super::catalog::Found;
use tripline_api::{Gap, GapKind, Place};

/// What was lost.
pub(super) enum Loss {
    /// Bytes behind a trailer that make no record.
    Torn { bytes: u64 },
    /// What the decision says.
    Found { kind: GapKind, missing: Option<(u64, u64)>, left_over: u64 },
}

/// Tells what happened between two places and what a person can do.
pub(super) fn gap(
    shared: &Shared,
    loss: &Loss,
    from: Place,
    to: Place,
    file: &Found,
) -> Gap {
    let (kind, missing, bytes) = match *loss {
        Loss::Torn { bytes } => (GapKind::Unterminated, None, Some(bytes)),
        Loss::Found { kind, missing, left_over } => {
            (kind, missing, (left_over > 0).then_some(left_over))
        }
    };
    let next = match file.number() {
        Some(number) => format!("journal {number} ({})", file.path.display()),
        None => format!("{}, a journal without a number", file.path.display()),
    };
    let was = format!("journal {} was read up to offset {}", from.sequence, from.offset);
    let why = match kind {
        GapKind::Missing => {
            let first = missing.map_or(from.sequence, |(first, _)| first);
            let lost = match missing {
                Some((first, last)) if first < last => {
                    format!("journals {first} to {last} are missing")
                }
                _ if first == from.sequence && from.offset > 0 => {
                    format!("the rest of journal {first} is missing")
                }
                _ => format!("journal {first} is missing"),
            };
            format!("{lost}: {was}, and the next one found is {next}")
        }
        GapKind::Unterminated => format!(
            "journal {} does not end as a finished journal ends, and {next} follows: \
             what stood behind offset {} may be lost",
            from.sequence, from.offset
        ),
        GapKind::Restored => format!(
            "the server went back to {next}, as after a restore from a checkpoint: {was}"
        ),
        // The last three are of logs.
        GapKind::Replaced | GapKind::Truncated | GapKind::Deleted | GapKind::Damaged => {
            format!(
                "{next} is not what it was: {was}, and what stands before that offset is \
             something else now"
            )
        }
    };
    Gap {
        source: shared.id.clone(),
        log: None,
        kind,
        from,
        to,
        proof: None,
        missing,
        bytes,
        why,
        repair: repair(shared, kind, missing, from),
    }
}

fn repair(
    shared: &Shared,
    kind: GapKind,
    missing: Option<(u64, u64)>,
    from: Place,
) -> String {
    let folders: Vec<_> =
        shared.directories().iter().map(|d| d.display().to_string()).collect();
    let folders = folders.join(" or ");
    match (kind, missing) {
        (GapKind::Missing, Some((first, last))) if first < last => {
            format!("put journal.{first} to journal.{last} (or their .gz) into {folders}")
        }
        (GapKind::Missing, _) => {
            let number = missing.map_or(from.sequence, |(first, _)| first);
            format!("put journal.{number} (or journal.{number}.gz) into {folders}")
        }
        (GapKind::Unterminated, _) => {
            format!("put the whole journal.{} into {folders}", from.sequence)
        }
        _ => "find out whether the server was restored; a backup made from the journals \
             of before must be seeded anew"
            .to_owned(),
    }
}
