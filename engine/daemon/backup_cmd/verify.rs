//! `tripline backup verify`: is everything in the backup as it should be?

use super::{Kept, Teller};
use crate::cli::{BackupVerifyArgs, exit};
use crate::config::{Config, Registry};
use crate::terminal::{Answers, printable};
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use tripline_api::{Compared, Difference, Verifying};
use tripline_diagnose::shown;

/// So many differences are kept to be shown; all are counted.
const SHOWN_MAX: usize = 1_000_000;

/// Compares a backup with what it should be.
///
/// # Errors
///
/// When it could not be compared.
pub(super) fn run(
    args: &BackupVerifyArgs,
    registry: &Registry,
) -> anyhow::Result<ExitCode> {
    let mut config = Config::load_without_rules(&args.config, registry)?;
    let (listener, checkpoint) =
        args.which(|name| config.listeners.iter().any(|(id, _)| id.as_str() == name));
    let mut kept = Kept::find(&mut config, listener)?;
    let mut teller = Teller::new();
    let mut differences = Vec::new();
    let mut left_out = 0_u64;
    let compared = kept.backup.verify(
        &Verifying {
            source: &*kept.source,
            checkpoint: checkpoint.map(Path::to_path_buf).as_ref(),
            local: args.local.as_ref(),
        },
        &mut |told| teller.tell(told),
        &mut |difference| match differences.len() < SHOWN_MAX && args.explain {
            true => differences.push(difference.clone()),
            false => left_out += 1,
        },
    );
    teller.clear();
    let compared = compared.map_err(|error| {
        anyhow::Error::msg(error.to_string().replace("CONFIG", &shown(&args.config)))
    })?;
    let holds = compared.iter().all(Compared::holds);
    match args.json {
        true => write_json(&compared, &differences, holds)?,
        false => write_table(&compared, &differences, holds, left_out)?,
    }
    Ok(ExitCode::from(if holds { 0 } else { exit::NO }))
}

fn write_json(
    compared: &[Compared],
    differences: &[Difference],
    holds: bool,
) -> anyhow::Result<()> {
    let kinds: Vec<_> = compared
        .iter()
        .map(|it| {
            json!({
                "kind": it.kind, "same": it.same, "missing": it.missing,
                "differ": it.differ, "unchecked": it.unchecked,
            })
        })
        .collect();
    let differences: Vec<_> = differences
        .iter()
        .map(|it| {
            json!({
                "kind": it.kind, "name": it.name, "missing": it.is_missing,
                "why": it.why,
            })
        })
        .collect();
    let all = json!({ "holds": holds, "kinds": kinds, "differences": differences });
    let mut out = Answers::new();
    writeln!(out, "{all}")?;
    Ok(out.flush()?)
}

fn write_table(
    compared: &[Compared],
    differences: &[Difference],
    holds: bool,
    left_out: u64,
) -> anyhow::Result<()> {
    let mut out = Answers::new();
    for Difference { name, why, .. } in differences {
        // Who wrote the name may want to write to the terminal, too.
        let name: String = name.escape_debug().collect();
        writeln!(out, "{name}: {}", printable(why).escape_debug())?;
    }
    writeln!(
        out,
        "{:<12}{:>12}{:>12}{:>12}{:>12}",
        "kind", "same", "missing", "differ", "unchecked"
    )?;
    for it in compared {
        let Compared { kind, same, missing, differ, unchecked } = it;
        writeln!(out, "{kind:<12}{same:>12}{missing:>12}{differ:>12}{unchecked:>12}")?;
    }
    match (holds, left_out) {
        (true, _) => writeln!(out, "the backup holds")?,
        (false, 0) => writeln!(out, "the backup does not hold")?,
        (false, _) => writeln!(out, "the backup does not hold; --explain says where")?,
    }
    Ok(out.flush()?)
}
