//! The columns of the server's tables, by table and version.
//!
//! The table is data: `schema.tsv` beside this file, compiled in. The version that a
//! record carries does not decide alone, as some releases added columns without a new
//! version; so the number of columns is asked too, and a layout that does not fit
//! exactly is still better than none: see [`columns`].

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

/// One layout of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The table's name, such as `db.change`.
    pub table: &'static str,
    /// The version that records of this layout carry.
    pub version: u32,
    /// The server release that introduced it, such as `2015.2`.
    pub since: &'static str,
    /// The columns in the order of the record.
    pub columns: Vec<Column>,
    /// The key columns in the order of the key. Never empty.
    pub key: Vec<KeyColumn>,
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, as Perforce's schema documentation has it.
    pub name: &'static str,
    /// Its type, such as `Change`, `File` or `Text`.
    pub kind: &'static str,
}

/// A column of a table's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Index into [`Layout::columns`].
    pub column: usize,
    /// The rows of a checkpoint are sorted downwards by it.
    pub descending: bool,
}

impl Layout {
    /// How many tokens a record of this layout has after its table: one a column, and
    /// two for an octet column.
    pub fn width(&self) -> usize {
        self.columns.len()
            + self.columns.iter().filter(|column| column.is_octets()).count()
    }

    /// The names of the key columns, in key order.
    pub fn key_names(&self) -> impl Iterator<Item = &'static str> {
        self.key.iter().map(|key| self.columns[key.column].name)
    }

    /// Parses a line of `schema.tsv`; `None` is a mistake in that file, which the test
    /// below finds.
    fn parse(line: &'static str) -> Option<Self> {
        let mut cells = line.split('\t');
        let table = cells.next()?;
        let version = cells.next()?.parse().ok()?;
        let since = cells.next()?;
        let key_cell = cells.next()?;
        let columns: Vec<Column> = cells
            .next()?
            .split(' ')
            .map(|cell| cell.split_once(':').map(|(name, kind)| Column { name, kind }))
            .collect::<Option<_>>()?;
        let key = key_cell
            .split(',')
            .map(|cell| {
                let name = cell.strip_prefix('-').unwrap_or(cell);
                let column = columns.iter().position(|column| column.name == name)?;
                Some(KeyColumn { column, descending: cell.starts_with('-') })
            })
            .collect::<Option<_>>()?;
        cells.next().is_none().then_some(Self { table, version, since, columns, key })
    }
}

impl Column {
    /// Its value is a length and that much data, in two tokens.
    pub fn is_octets(&self) -> bool {
        self.kind == "Octet"
    }
}

/// Every known layout, sorted by table, version and release.
///
/// ```
/// let change = p4journal::schema::tables().iter().rfind(|layout| layout.table == "db.change");
/// assert_eq!(change.unwrap().key_names().collect::<Vec<_>>(), ["change"]);
/// ```
pub fn tables() -> &'static [Layout] {
    &LAYOUTS
}

/// The layouts of one table, sorted by version and release; empty if it is unknown.
pub fn layouts(table: &str) -> &'static [Layout] {
    INDEX.get(table).map_or(&[], |range| &tables()[range.clone()])
}

/// The layout that fits a record of `table` with that version and `width` tokens after
/// the table; `None` if the table is unknown.
///
/// In this order: the version and the width as asked, the version with the nearest
/// width, the nearest older version, the oldest there is. Columns were only ever
/// appended, with few exceptions, so a layout that is too short names the columns it
/// knows rightly. Of equals the youngest wins.
///
/// ```
/// use p4journal::schema::columns;
///
/// let names = |version, width| {
///     let layout = columns("db.view", version, width).unwrap();
///     layout.columns.last().unwrap().name
/// };
/// assert_eq!(names(1, 5), "depotFile");
/// assert_eq!(names(1, 6), "comment"); // 2024.1 added a column and kept the version.
/// assert_eq!(names(99, 6), "comment"); // Not known yet: the nearest older one.
/// assert_eq!(columns("db.nosuch", 1, 6), None);
/// ```
pub fn columns(table: &str, version: u32, width: usize) -> Option<&'static Layout> {
    fitting(layouts(table), version, || width)
}

/// [`columns`] of the layouts of one table. Asks for the width only where it decides:
/// that is seldom, and counting a record's tokens takes as long as reading them.
pub(crate) fn fitting(
    layouts: &'static [Layout],
    version: u32,
    width: impl FnOnce() -> usize,
) -> Option<&'static Layout> {
    let older = layouts.partition_point(|layout| layout.version <= version);
    let chosen = layouts.get(older.saturating_sub(1))?.version;
    let from = layouts.partition_point(|layout| layout.version < chosen);
    let to = layouts.partition_point(|layout| layout.version <= chosen);
    match &layouts[from..to] {
        [only] => Some(only),
        several => {
            let width = width();
            several.iter().rev().min_by_key(|layout| layout.width().abs_diff(width))
        }
    }
}

/// The rows of `schema.tsv`.
static LAYOUTS: LazyLock<Vec<Layout>> =
    LazyLock::new(|| rows().filter_map(Layout::parse).collect());

/// Where the layouts of each table are: every record is looked up, so by hash.
static INDEX: LazyLock<HashMap<&'static str, Range<usize>>> = LazyLock::new(|| {
    let mut index: HashMap<&'static str, Range<usize>> = HashMap::new();
    for (at, layout) in LAYOUTS.iter().enumerate() {
        index.entry(layout.table).or_insert(at..at).end = at + 1;
    }
    index
});

fn rows() -> impl Iterator<Item = &'static str> {
    include_str!("schema.tsv").lines().filter(|line| !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_parses_and_its_key_names_columns() {
        for line in rows() {
            let layout = Layout::parse(line).unwrap_or_else(|| panic!("{line}"));
            assert!(!layout.key.is_empty(), "{line}");
            assert!(layout.key.iter().all(|key| key.column < layout.columns.len()));
        }
        assert_eq!(tables().len(), rows().count());
    }

    #[test]
    fn rows_are_sorted_and_names_are_unique_in_a_layout() {
        let order = |layout: &Layout| (layout.table, layout.version, layout.since);
        assert!(tables().is_sorted_by_key(order));
        for layout in tables() {
            let mut names: Vec<_> =
                layout.columns.iter().map(|column| column.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), layout.columns.len(), "{layout:?}");
        }
    }

    #[test]
    fn the_versions_of_a_table_have_keys_of_one_length() {
        // Rows of several versions of a table are compared by key with each other. The
        // exception is one whose key was made longer with a new version.
        for pair in tables().windows(2).filter(|pair| pair[0].table == pair[1].table) {
            let same = pair[0].key.len() == pair[1].key.len();
            assert!(same || pair[0].table == "db.integedss", "{pair:?}");
        }
    }

    #[test]
    fn an_octet_column_takes_two_tokens() {
        assert_eq!(columns("db.traits", 0, 5).unwrap().width(), 5);
        assert_eq!(columns("db.traits", 0, 5).unwrap().columns.len(), 4);
    }

    #[test]
    fn the_width_decides_between_layouts_of_one_version() {
        assert_eq!(columns("db.user", 6, 13).unwrap().since, "2013.1");
        assert_eq!(columns("db.user", 6, 14).unwrap().since, "2013.3");
        assert_eq!(columns("db.user", 6, 99).unwrap().since, "2013.3");
        assert_eq!(columns("db.user", 6, 1).unwrap().since, "2013.1");
    }

    #[test]
    fn an_older_version_than_any_known_gets_the_oldest() {
        assert_eq!(columns("db.user", 0, 10).unwrap().version, 3);
    }
}
