//! Two checkpoints, row by row.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

use crate::apply::CheckpointError;
use crate::apply::Input;
use crate::apply::Options;
use crate::apply::of;
use crate::key::Key;
use crate::order::rank;
use crate::overlaid::Overlaid;
use crate::row::CheckpointSummary;
use crate::row::Item;
use crate::row::Items;
use crate::row::PlacedRow;
use crate::row::Row;

/// A row that two checkpoints do not have alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: Arc<str>,
    /// The row in the first checkpoint, `None` if it is only in the second.
    pub first: Option<Row>,
    /// The row in the second checkpoint, `None` if it is only in the first.
    pub second: Option<Row>,
    /// The row that the first checkpoint had before journals replaced it by `first`;
    /// `None` if they did not.
    pub before: Option<Row>,
}

/// How a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// Only the first has a row of that key.
    OnlyInFirst,
    /// Only the second has a row of that key.
    OnlyInSecond,
    /// Both have one, with different columns or of different versions.
    Changed,
}

/// What comparing two checkpoints came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// By table; those without a row in either are not in it.
    pub tables: BTreeMap<Arc<str>, TableComparison>,
    /// What was read in the first checkpoint, before any journals.
    pub first: CheckpointSummary,
    /// What was read in the second one.
    pub second: CheckpointSummary,
    /// Rows that were set aside at most, waiting for their like: what it cost in memory
    /// that the two are not sorted alike.
    pub rows_aside_max: u64,
}

/// What comparing one table came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableComparison {
    /// Rows compared: one of both, or one that only one has.
    pub rows: u64,
    /// Rows among them that are not alike.
    pub differ: u64,
}

/// Compares two checkpoints and hands out the rows that differ.
///
/// Memory: a block of each file, and the rows that differ, as one that is missing here
/// may still come there. Checkpoints whose rows are sorted in different orders are
/// compared rightly; it costs the memory of the rows out of step.
///
/// ```
/// let first = b"@pv@ 1 @db.counters@ @a@ @1@ \n@pv@ 1 @db.counters@ @b@ @1@ \n";
/// let second = b"@pv@ 1 @db.counters@ @a@ @1@ \n@pv@ 1 @db.counters@ @b@ @2@ \n";
/// let mut different = Vec::new();
/// let comparison = p4journal::diff(&first[..], &second[..], &Default::default(), |row| {
///     different.push(row.kind());
/// })?;
/// assert_eq!((comparison.rows(), comparison.differ()), (2, 1));
/// assert_eq!(different, [p4journal::DifferenceKind::Changed]);
/// # Ok::<(), p4journal::CheckpointError>(())
/// ```
///
/// Damage is passed over and counted: [`Comparison::is_sound`] says whether there is any.
///
/// # Errors
///
/// When a file cannot be read.
pub fn diff(
    first: impl Read,
    second: impl Read,
    options: &Options,
    each: impl FnMut(Difference),
) -> Result<Comparison, CheckpointError> {
    let first = Items::open(first, options.case).map_err(of(Input::Checkpoint))?;
    // Two files of one server fold alike, whatever each of them says about it.
    let case = Some(first.format().case);
    let second = Items::open(second, case).map_err(of(Input::Next))?;
    let mut first = ItemRows::new(first, Input::Checkpoint);
    let mut second = ItemRows::new(second, Input::Next);
    compare(&mut first, &mut second, each)
}

/// Rows, one after the other.
pub(crate) trait Rows {
    fn next_row(&mut self) -> Result<Option<PlacedRow>, CheckpointError>;

    /// What was read; complete behind the last row.
    fn summary(&self) -> CheckpointSummary;
}

/// The rows of a checkpoint.
pub(crate) struct ItemRows<R> {
    items: Items<R>,
    input: Input,
}

impl<R: Read> ItemRows<R> {
    pub(crate) const fn new(items: Items<R>, input: Input) -> Self {
        Self { items, input }
    }
}

impl<R: Read> Rows for ItemRows<R> {
    fn next_row(&mut self) -> Result<Option<PlacedRow>, CheckpointError> {
        while let Some(item) = self.items.next().map_err(of(self.input))? {
            if let Item::Row(placed) = item {
                return Ok(Some(placed));
            }
        }
        Ok(None)
    }

    fn summary(&self) -> CheckpointSummary {
        self.items.summary()
    }
}

impl<R: Read> Rows for Overlaid<R> {
    fn next_row(&mut self) -> Result<Option<PlacedRow>, CheckpointError> {
        while let Some(item) = self.next()? {
            if let Item::Row(placed) = item {
                return Ok(Some(placed));
            }
        }
        Ok(None)
    }

    fn summary(&self) -> CheckpointSummary {
        self.summary()
    }
}

/// Walks both side by side. Whichever is behind is read on; a row whose like is not on
/// the other side is set aside until its like comes, or the end.
pub(crate) fn compare(
    first: &mut impl Rows,
    second: &mut impl Rows,
    each: impl FnMut(Difference),
) -> Result<Comparison, CheckpointError> {
    let mut matcher = Matcher {
        sides: [Side::default(), Side::default()],
        comparison: Comparison::default(),
        each,
    };
    matcher.sides[FIRST].enter(first.next_row()?);
    matcher.sides[SECOND].enter(second.next_row()?);
    while let Some(step) = matcher.step() {
        match step {
            Step::Both => {
                matcher.match_current();
                matcher.sides[FIRST].enter(first.next_row()?);
                matcher.sides[SECOND].enter(second.next_row()?);
            }
            Step::One(side) => {
                matcher.set_current_aside(side);
                let next =
                    if side == FIRST { first.next_row() } else { second.next_row() };
                matcher.sides[side].enter(next?);
            }
        }
    }
    matcher.comparison.first = first.summary();
    matcher.comparison.second = second.summary();
    Ok(matcher.finish())
}

const FIRST: usize = 0;
const SECOND: usize = 1;

enum Step {
    /// The current rows are each other's like.
    Both,
    /// This side is behind.
    One(usize),
}

/// A row without its place, and what it replaced.
struct Content {
    row: Row,
    before: Option<Row>,
}

#[derive(Default)]
struct Side {
    current: Option<PlacedRow>,
    /// Tables that came, the current one too.
    tables: HashSet<Arc<str>>,
    /// Rows whose like did not come yet; several of one key if the key does not tell
    /// them apart.
    aside: BTreeMap<(Arc<str>, Key), VecDeque<Content>>,
    aside_count: u64,
}

struct Matcher<F> {
    sides: [Side; 2],
    comparison: Comparison,
    each: F,
}

impl Side {
    fn enter(&mut self, row: Option<PlacedRow>) {
        if let Some(placed) = &row
            && !self.tables.contains(&placed.table)
        {
            self.tables.insert(Arc::clone(&placed.table));
        }
        self.current = row;
    }

    fn set_aside(&mut self, placed: PlacedRow) {
        let content = Content { row: placed.row, before: placed.before };
        self.aside.entry((placed.table, placed.key)).or_default().push_back(content);
        self.aside_count += 1;
    }

    /// Takes back the row of that key that was set aside first.
    fn take_aside(&mut self, table: &Arc<str>, key: &Key) -> Option<Content> {
        if self.aside.is_empty() {
            return None;
        }
        let place = (Arc::clone(table), key.clone());
        let rows = self.aside.get_mut(&place)?;
        let content = rows.pop_front();
        if rows.is_empty() {
            self.aside.remove(&place);
        }
        self.aside_count -= 1;
        content
    }
}

impl<F: FnMut(Difference)> Matcher<F> {
    fn step(&self) -> Option<Step> {
        let [first, second] = &self.sides;
        let (left, right) = match (&first.current, &second.current) {
            (None, None) => return None,
            (Some(_), None) => return Some(Step::One(FIRST)),
            (None, Some(_)) => return Some(Step::One(SECOND)),
            (Some(left), Some(right)) => (left, right),
        };
        if left.table == right.table {
            return Some(match left.key.cmp(&right.key) {
                std::cmp::Ordering::Equal => Step::Both,
                std::cmp::Ordering::Less => Step::One(FIRST),
                std::cmp::Ordering::Greater => Step::One(SECOND),
            });
        }
        // In different tables: what a side has been through already decides, then the
        // usual order of tables.
        let second_is_behind = first.tables.contains(&right.table);
        let first_is_behind = second.tables.contains(&left.table);
        Some(match (first_is_behind, second_is_behind) {
            (true, false) => Step::One(FIRST),
            (false, true) => Step::One(SECOND),
            _ if rank(&left.table) <= rank(&right.table) => Step::One(FIRST),
            _ => Step::One(SECOND),
        })
    }

    fn match_current(&mut self) {
        let [first, second] = &mut self.sides;
        if let (Some(left), Some(right)) = (first.current.take(), second.current.take()) {
            let first = Content { row: left.row, before: left.before };
            self.matched(left.table, first, right.row);
        }
    }

    fn set_current_aside(&mut self, side: usize) {
        let Some(placed) = self.sides[side].current.take() else {
            return;
        };
        match self.sides[1 - side].take_aside(&placed.table, &placed.key) {
            Some(other) if side == FIRST => {
                let first = Content { row: placed.row, before: placed.before };
                self.matched(placed.table, first, other.row);
            }
            Some(other) => self.matched(placed.table, other, placed.row),
            None => {
                self.sides[side].set_aside(placed);
                let aside = self.sides.iter().map(|side| side.aside_count).sum();
                self.comparison.rows_aside_max =
                    self.comparison.rows_aside_max.max(aside);
            }
        }
    }

    fn matched(&mut self, table: Arc<str>, first: Content, second: Row) {
        let Content { row, before } = first;
        if row == second {
            self.comparison.tables.entry(table).or_default().rows += 1;
        } else {
            self.differ(Difference {
                table,
                first: Some(row),
                second: Some(second),
                before,
            });
        }
    }

    fn differ(&mut self, difference: Difference) {
        let table =
            self.comparison.tables.entry(Arc::clone(&difference.table)).or_default();
        table.rows += 1;
        table.differ += 1;
        (self.each)(difference);
    }

    /// What is still aside has no like.
    fn finish(mut self) -> Comparison {
        let [first, second] = std::mem::take(&mut self.sides);
        for ((table, _), rows) in first.aside {
            for Content { row, before } in rows {
                let (table, first) = (Arc::clone(&table), Some(row));
                self.differ(Difference { table, first, second: None, before });
            }
        }
        for ((table, _), rows) in second.aside {
            for Content { row, before } in rows {
                let (table, second) = (Arc::clone(&table), Some(row));
                self.differ(Difference { table, first: None, second, before });
            }
        }
        self.comparison
    }
}

impl Difference {
    /// How the row differs.
    pub const fn kind(&self) -> DifferenceKind {
        match (&self.first, &self.second) {
            (_, None) => DifferenceKind::OnlyInFirst,
            (None, _) => DifferenceKind::OnlyInSecond,
            _ => DifferenceKind::Changed,
        }
    }
}

impl Comparison {
    /// Whether both checkpoints are sound. When they are not, rows that are alike prove
    /// nothing about what could not be read.
    pub const fn is_sound(&self) -> bool {
        self.first.is_sound() && self.second.is_sound()
    }

    /// Rows compared, of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|table| table.rows).sum()
    }

    /// Rows that are not alike, of all tables.
    pub fn differ(&self) -> u64 {
        self.tables.values().map(|table| table.differ).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(first: &str, second: &str) -> (Vec<String>, Comparison) {
        let mut found = Vec::new();
        let options = Options::default();
        let each = |row: Difference| {
            let any = row.first.as_ref().or(row.second.as_ref()).unwrap();
            let columns = String::from_utf8_lossy(&any.columns).into_owned();
            found.push(format!("{:?} {}", row.kind(), columns.trim_end()));
        };
        let done = diff(first.as_bytes(), second.as_bytes(), &options, each).unwrap();
        found.sort();
        (found, done)
    }

    fn counters(rows: &[(&str, u32)]) -> String {
        let row = |(name, value)| format!("@pv@ 1 @db.counters@ @{name}@ @{value}@ \n");
        rows.iter().map(|&(name, value)| row((name, value))).collect()
    }

    #[test]
    fn each_kind_of_difference() {
        let (found, done) = differences(
            &counters(&[("a", 1), ("b", 1), ("c", 1)]),
            &counters(&[("b", 2), ("c", 1), ("d", 1)]),
        );
        assert_eq!(
            found,
            ["Changed @b@ @1@", "OnlyInFirst @a@ @1@", "OnlyInSecond @d@ @1@"]
        );
        assert_eq!((done.rows(), done.differ()), (4, 3));
    }

    #[test]
    fn order_does_not_matter() {
        let (found, done) = differences(
            &counters(&[("c", 1), ("b", 1), ("a", 1)]),
            &counters(&[("b", 1), ("a", 1), ("c", 1)]),
        );
        assert_eq!((found, done.rows()), (vec![], 3));
    }

    #[test]
    fn sorted_rows_are_not_set_aside() {
        let rows: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
        let rows: Vec<(&str, u32)> = rows.iter().map(|name| (name.as_str(), 1)).collect();
        let (_, done) = differences(&counters(&rows), &counters(&rows));
        assert_eq!(done.rows_aside_max, 0);
        let (_, done) = differences(&counters(&rows[1..]), &counters(&rows));
        assert_eq!(done.rows_aside_max, 1);
    }

    #[test]
    fn tables_may_come_in_any_order() {
        let depot = "@pv@ 1 @db.depot@ @d@ 0 @@ @d/...@ \n";
        let other = "@pv@ 0 @db.nosuch@ 1 \n";
        let counter = &counters(&[("a", 1)]);
        let first = [depot, other, counter].concat();
        let second = [other, counter, depot].concat();
        assert_eq!(differences(&first, &second).0, [""; 0]);
    }

    #[test]
    fn a_table_that_only_one_has() {
        let depot = "@pv@ 1 @db.depot@ @d@ 0 @@ @d/...@ \n";
        let user = "@pv@ 3 @db.user@ @u@ @@ @@ 1 2 @@ @@ 0 @@ 0 \n";
        let (found, done) = differences(&[user, depot].concat(), depot);
        assert_eq!((found.len(), done.rows(), done.rows_aside_max), (1, 2, 1));
    }

    #[test]
    fn rows_that_a_key_does_not_tell_apart() {
        let twice = counters(&[("a", 1), ("a", 2)]);
        assert_eq!(differences(&twice, &twice).0, [""; 0]);
        assert_eq!(
            differences(&twice, &counters(&[("a", 1)])).0,
            ["OnlyInFirst @a@ @2@"]
        );
    }

    #[test]
    fn damage_on_either_side_is_counted() {
        let sound = counters(&[("a", 1)]);
        let torn = sound.clone() + "@pv@ 1 @db.counters@ @b";
        let holed = sound.clone() + "\0\0\n";
        assert!(differences(&sound, &sound).1.is_sound());
        for (first, second) in
            [(&sound, &torn), (&torn, &sound), (&sound, &holed), (&holed, &holed)]
        {
            let (found, done) = differences(first, second);
            assert_eq!((found.len(), done.is_sound()), (0, false), "{first}{second}");
        }
        // Without a row it is no checkpoint.
        assert!(!differences("@ex@ 1 1\n", "@ex@ 1 1\n").1.is_sound());
        assert!(differences("", "").1.is_sound());
    }

    #[test]
    fn line_ends_are_no_difference() {
        let unix = "@pv@ 0 @db.desc@ 1 @one\n@ \n";
        assert_eq!(differences(unix, &unix.replace('\n', "\r\n")).0, [""; 0]);
    }
}
