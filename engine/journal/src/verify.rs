//! The chain law: a checkpoint with its journals applied is the next checkpoint.
//!
//! It holds but for three kinds of rows. The counter `lastCheckpointAction` is written
//! after the checkpoint was taken, so that the checkpoint lacks it. A server that is
//! upgraded rewrites tables into new layouts without writing that into the journal. And
//! one that is restored from a checkpoint does not write that into the journal either.
//! A difference counts as explained only where the files themselves show which of these
//! it is.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use memchr::memmem;

use crate::apply::Applied;
use crate::apply::CheckpointError;
use crate::apply::Input;
use crate::apply::Options;
use crate::apply::of;
use crate::compare::Comparison;
use crate::compare::Difference;
use crate::compare::ItemRows;
use crate::compare::Rows;
use crate::compare::compare;
use crate::field::ColumnName;
use crate::field::Value;
use crate::journal::Header;
use crate::overlaid::Overlaid;
use crate::overlay::JournalsSummary;
use crate::record::Record;
use crate::row::CheckpointSummary;
use crate::row::Items;
use crate::row::PlacedRow;
use crate::row::Row;

/// Why a row of the second checkpoint may differ from what the journals say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Explanation {
    /// The server's own bookkeeping about its last checkpoint.
    CheckpointAction,
    /// The row is again what the first checkpoint had, and the files show that a
    /// checkpoint was restored.
    Restored,
    /// The row has a newer version and the same columns, with others behind them; and
    /// the files show that the server was upgraded.
    Upgraded,
    /// The row has a newer version and differs in columns that by the schema have
    /// another name or type in that version, and in no others; and the files show that
    /// the server was upgraded.
    Rewritten,
}

/// What verifying a chain came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// Rows compared and rows that differ, by table.
    pub comparison: Comparison,
    /// How many of the rows that differ have which explanation.
    pub explained: BTreeMap<Explanation, u64>,
    /// How many have none.
    pub unexplained: u64,
    /// What was seen of upgrades and restores.
    pub evidence: Evidence,
    /// What applying the journals did.
    pub applied: Applied,
}

/// What the files show, rows apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Upgrades of the server that notes in the journals name, from and to.
    pub server_upgrades: Vec<(i64, i64)>,
    /// Protocol levels of the server, as the first checkpoint, the journals and the
    /// second checkpoint name them; each change once.
    pub protocols: Vec<u32>,
    /// The journals create a database.
    pub creates_database: bool,
    /// The second checkpoint's `lastCheckpointAction` is that one was restored.
    pub says_restored: bool,
}

/// Applies `journals` to `checkpoint`, compares the result with `next`, and hands out
/// each row that differs with its explanation if it has one.
///
/// Memory: that of [`apply`](crate::apply) and that of [`diff`](crate::diff).
///
/// ```
/// use p4journal::Explanation;
///
/// let checkpoint = b"@pv@ 1 @db.counters@ @change@ @7@ \n@pv@ 1 @db.counters@ @job@ @1@ \n";
/// let journal = b"@rv@ 1 @db.counters@ @lastCheckpointAction@ @1 checkpoint completed@ \n\
///     @rv@ 1 @db.counters@ @change@ @8@ \n@ex@ 1 2\n";
/// let next = b"@pv@ 1 @db.counters@ @change@ @8@ \n@pv@ 1 @db.counters@ @job@ @2@ \n";
///
/// let mut found = Vec::new();
/// let options = Default::default();
/// let done = p4journal::verify(&checkpoint[..], [&journal[..]], &next[..], &options, |_, why| {
///     found.push(why);
/// })?;
/// assert_eq!((done.comparison.rows(), done.comparison.differ()), (3, 2));
/// assert_eq!(found, [None, Some(Explanation::CheckpointAction)]); // Who changed `job`?
/// assert!(!done.holds());
/// # Ok::<(), p4journal::CheckpointError>(())
/// ```
///
/// # Errors
///
/// When a file cannot be read.
pub fn verify<J: Read>(
    checkpoint: impl Read,
    journals: impl IntoIterator<Item = J>,
    next: impl Read,
    options: &Options,
    mut each: impl FnMut(&Difference, Option<Explanation>),
) -> Result<Verification, CheckpointError> {
    let mut first = Overlaid::open(checkpoint, journals, options)?;
    let case = Some(first.format().case);
    let items = Items::open(next, case).map_err(of(Input::Next))?;
    let says_restored = Cell::new(false);
    let mut evidence = Evidence::of(first.header(), first.journals(), items.header());
    let rows = ItemRows::new(items, Input::Next);
    let mut second = Watched { rows, says_restored: &says_restored };

    let mut explained = BTreeMap::<Explanation, u64>::new();
    let mut unexplained = 0;
    let comparison = compare(&mut first, &mut second, |difference| {
        evidence.says_restored = says_restored.get();
        let explanation = evidence.explain(&difference);
        match explanation {
            Some(explanation) => *explained.entry(explanation).or_default() += 1,
            None => unexplained += 1,
        }
        each(&difference, explanation);
    })?;
    evidence.says_restored = says_restored.get();
    Ok(Verification {
        comparison,
        explained,
        unexplained,
        evidence,
        applied: first.finish(),
    })
}

impl Verification {
    /// Whether the chain law holds: every difference is explained. Whether the files are
    /// sound is in [`Comparison::is_sound`] and in [`Verification::applied`].
    pub const fn holds(&self) -> bool {
        self.unexplained == 0
    }
}

impl Evidence {
    /// Whether the server was upgraded somewhere in the chain.
    pub fn shows_upgrade(&self) -> bool {
        !self.server_upgrades.is_empty()
            || self.protocols.windows(2).any(|it| it[0] < it[1])
    }

    /// Whether a checkpoint was restored somewhere in the chain.
    pub const fn shows_restore(&self) -> bool {
        self.creates_database || self.says_restored
    }

    fn of(
        first: Option<&Header>,
        journals: &JournalsSummary,
        second: Option<&Header>,
    ) -> Self {
        let journals = &journals.journals;
        let mut protocols: Vec<u32> =
            first.iter().map(|header| header.protocol).collect();
        protocols.extend(journals.iter().flat_map(|journal| &journal.protocols));
        protocols.extend(second.iter().map(|header| header.protocol));
        protocols.dedup();
        let upgrades = journals.iter().flat_map(|journal| &journal.server_upgrades);
        Self {
            server_upgrades: upgrades.copied().collect(),
            protocols,
            creates_database: journals.iter().any(|journal| journal.creates_database),
            says_restored: false,
        }
    }

    fn explain(&self, difference: &Difference) -> Option<Explanation> {
        let any = difference.first.as_ref().or(difference.second.as_ref())?;
        if is_checkpoint_action(&difference.table, any) {
            return Some(Explanation::CheckpointAction);
        }
        let (first, second) = (difference.first.as_ref()?, difference.second.as_ref()?);
        let goes_on = |row: &Row| row.version < second.version && self.shows_upgrade();
        let is_as_before = difference.before.as_ref().is_some_and(|before| {
            before == second
                || goes_on(before) && second.columns.starts_with(&before.columns)
        });
        if is_as_before && self.shows_restore() {
            Some(Explanation::Restored)
        } else if !goes_on(first) {
            None
        } else if second.columns.starts_with(&first.columns) {
            // Each column ends with a space, so that whole columns are compared.
            Some(Explanation::Upgraded)
        } else if is_rewrite(&difference.table, first, second) {
            Some(Explanation::Rewritten)
        } else {
            None
        }
    }
}

/// Notices what the second checkpoint says about restoring. Servers write the counters
/// before the tables that a restore may explain.
struct Watched<'a, R> {
    rows: ItemRows<R>,
    says_restored: &'a Cell<bool>,
}

impl<R: Read> Rows for Watched<'_, R> {
    fn next_row(&mut self) -> Result<Option<PlacedRow>, CheckpointError> {
        let placed = self.rows.next_row()?;
        if let Some(placed) = &placed
            && is_checkpoint_action(&placed.table, &placed.row)
            && memmem::find(&placed.row.columns, b"restored").is_some()
        {
            self.says_restored.set(true);
        }
        Ok(placed)
    }

    fn summary(&self) -> CheckpointSummary {
        self.rows.summary()
    }
}

/// Whether the rows are alike in all columns that have the same name and type in the
/// layouts of both.
fn is_rewrite(table: &str, first: &Row, second: &Row) -> bool {
    let records = [first.to_record(table), second.to_record(table)];
    let [Ok(first), Ok(second)] = [&records[0], &records[1]].map(|it| Record::parse(it))
    else {
        return false;
    };
    let (Some(old), Some(new)) = (first.layout(), second.layout()) else {
        return false;
    };
    let second: Vec<(ColumnName, Value<'_>)> = second.columns().collect();
    first.columns().enumerate().all(|(at, (name, value))| {
        let Some(column) = old.columns.get(at) else {
            // No schema names it: it has to be there as it was.
            return second.contains(&(name, value));
        };
        let counterpart = new.columns.iter().position(|it| it == column);
        counterpart.is_none_or(|at| second.get(at).is_some_and(|(_, it)| *it == value))
    })
}

fn is_checkpoint_action(table: &str, row: &Row) -> bool {
    table == "db.counters" && row.columns.starts_with(b"@lastCheckpointAction@ ")
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CheckpointAction => "bookkeeping of the last checkpoint",
            Self::Restored => "a checkpoint was restored in between, and the row with it",
            Self::Upgraded => "the server was upgraded and added columns to the row",
            Self::Rewritten => "the server was upgraded and rewrote columns of the row",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "@nx@ 5 1 @40@ 23 24 0 0 0 @@ @@ @@ @@ @@ \n";
    const CREATE: &str =
        "@pv@ 1 @db.counters@ @upgrade@ @1@ \n@rv@ 1 @db.counters@ @upgrade@ @9@ \n";
    const UPGRADE_COUNTER: &str = "@pv@ 1 @db.counters@ @upgrade@ @9@ \n";

    fn verified(checkpoint: &str, journal: &str, next: &str) -> Vec<Option<Explanation>> {
        let mut found = Vec::new();
        let journal = format!("{journal}@ex@ 1 1\n");
        let done = verify(
            checkpoint.as_bytes(),
            [journal.as_bytes()],
            next.as_bytes(),
            &Options::default(),
            |_, explanation| found.push(explanation),
        )
        .unwrap();
        assert_eq!(done.comparison.differ(), found.len() as u64);
        assert_eq!(done.holds(), !found.contains(&None));
        found
    }

    fn have(version: u32, columns: &str) -> String {
        format!("@pv@ {version} @db.have@ @//a/b@ @//d/b@ 1 {columns} \n")
    }

    #[test]
    fn a_chain_that_holds() {
        let journal = "@rv@ 2 @db.have@ @//a/b@ @//d/b@ 1 5 \n";
        assert_eq!(verified(&have(2, "0"), journal, &have(2, "5")), []);
    }

    #[test]
    fn an_upgrade_needs_evidence() {
        let (old, new) = (have(2, "0"), have(3, "0 7"));
        assert_eq!(verified(&old, UPGRADE, &new), [Some(Explanation::Upgraded)]);
        assert_eq!(verified(&old, "", &new), [None]);
        let protocols = "@nx@ 7 1 @39@ 0 0 0 0 0 @@ \n@nx@ 7 1 @40@ 0 0 0 0 0 @@ \n";
        assert_eq!(verified(&old, protocols, &new), [Some(Explanation::Upgraded)]);
        // Evidence of an upgrade explains no change of columns without a new version.
        assert_eq!(verified(&old, UPGRADE, &have(2, "1")), [None]);
        assert_eq!(verified(&old, UPGRADE, &have(3, "1 7")), [None]);
    }

    #[test]
    fn an_upgrade_rewrites_only_what_the_schema_changed() {
        let row = |version, user: &str, state: &str| {
            format!(
                "@pv@ {version} @db.resolve@ @//a@ @//{user}@ 0 1 0 0 6 {state} @//a@ 1 \n"
            )
        };
        let old = row(0, "b", "0");
        let rewritten = [Some(Explanation::Rewritten)];
        assert_eq!(verified(&old, UPGRADE, &row(1, "b", "1")), rewritten);
        assert_eq!(verified(&old, "", &row(1, "b", "1")), [None]);
        let how = row(1, "b", "1").replace(" 6 ", " 7 ");
        assert_eq!(verified(&old, UPGRADE, &how), [None]);
    }

    #[test]
    fn a_restore_needs_evidence() {
        let journal = "@rv@ 2 @db.have@ @//a/b@ @//d/b@ 1 5 \n";
        let old = have(2, "0");
        assert_eq!(verified(&old, journal, &old), [None]);
        let restored =
            "@pv@ 1 @db.counters@ @lastCheckpointAction@ @1 checkpoint restored@ \n"
                .to_owned();
        assert_eq!(
            verified(&(restored.clone() + &old), journal, &(restored + &old)),
            [Some(Explanation::Restored)]
        );
        let with_counter = UPGRADE_COUNTER.to_owned() + &old;
        let creating = CREATE.to_owned() + journal;
        assert_eq!(
            verified(&with_counter, &creating, &with_counter),
            [Some(Explanation::Restored)]
        );
        // Restored is what the first checkpoint had, and nothing else.
        let other = UPGRADE_COUNTER.to_owned() + &have(2, "9");
        assert_eq!(verified(&with_counter, &creating, &other), [None]);
    }

    #[test]
    fn a_row_that_is_missing_is_never_explained() {
        let both = UPGRADE_COUNTER.to_owned() + &have(2, "0");
        let journal = CREATE.to_owned() + UPGRADE;
        assert_eq!(verified(&both, &journal, UPGRADE_COUNTER), [None]);
        assert_eq!(verified(UPGRADE_COUNTER, &journal, &both), [None]);
    }

    #[test]
    fn the_checkpoint_action_may_be_on_one_side_only() {
        let action =
            "@pv@ 1 @db.counters@ @lastCheckpointAction@ @1 checkpoint completed@ \n";
        assert_eq!(verified("", action, ""), [Some(Explanation::CheckpointAction)]);
        assert_eq!(verified("", "", action), [Some(Explanation::CheckpointAction)]);
    }
}
