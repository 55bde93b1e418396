//! The places as a table for people.

use super::{Row, line};
use crate::terminal::{one_line, printable};
use std::io;
use std::path::Path;

/// How many logs of one listener and source are shown one by one on a terminal.
const ROWS_MAX: usize = 20;

const HEADINGS: [&str; 10] = [
    "LISTENER",
    "SOURCE",
    "PATH",
    "STATE",
    "SEQUENCE",
    "LINE",
    "OFFSET",
    "ENTRIES",
    "BYTES BEHIND",
    "LAST ENTRY",
];
const PATH: usize = 2;
const NUMBERS: std::ops::Range<usize> = 4..9;

/// Writes the table, and below it why listeners are not simply following.
///
/// On a terminal many logs become one line; for all of them there is `--json`.
pub(super) fn write(
    out: &mut impl io::Write,
    rows: &[Row<'_>],
    config: &str,
    is_terminal: bool,
) -> io::Result<()> {
    let groups: Vec<_> = rows.chunk_by(is_same_source).collect();
    let mut cells: Vec<[String; 10]> = vec![HEADINGS.map(str::to_owned)];
    for group in &groups {
        if is_terminal && group.len() > ROWS_MAX {
            cells.push(summed_up(group));
        } else {
            cells.extend(group.iter().map(cells_of));
        }
    }
    let has_paths = rows.iter().any(|row| row.log.is_some());
    let mut widths = [0; 10];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in &cells {
        write_cells(out, row, &widths, has_paths)?;
    }
    for row in groups.iter().filter_map(|group| group.first()) {
        if let Some(why) = &row.why {
            let why = why.replace("CONFIG", config);
            writeln!(out, "{}: {}: {}", row.listener, row.state, printable(&why))?;
        }
        if row.set_aside > 0 {
            writeln!(
                out,
                "{}: {} set aside of {}: see `tripline dead list {config}`",
                row.listener,
                row.set_aside,
                row.source.id()
            )?;
        }
    }
    Ok(())
}

fn is_same_source(a: &Row<'_>, b: &Row<'_>) -> bool {
    a.listener == b.listener && a.source.id() == b.source.id()
}

fn cells_of(row: &Row<'_>) -> [String; 10] {
    let cursor = row.cursor();
    [
        row.listener.to_string(),
        row.source.id().to_string(),
        row.log.as_deref().map_or_else(|| "-".to_owned(), path),
        row.state.to_owned(),
        number(cursor.map(|c| c.place.sequence)),
        number(cursor.map(line)),
        number(cursor.map(|c| c.place.offset)),
        number(row.known.as_ref().map(|p| p.entries_settled)),
        number(row.bytes_behind),
        row.last_entry().unwrap_or_else(|| "-".to_owned()),
    ]
}

/// All logs of a listener and a source in one line.
fn summed_up(rows: &[Row<'_>]) -> [String; 10] {
    let behind = rows.iter().filter(|row| row.bytes_behind != Some(0)).count();
    let newest = rows.iter().max_by_key(|row| row.known.as_ref().map(|p| p.last_entry));
    let entries = rows.iter().filter_map(|row| row.known.as_ref());
    let bytes: Option<u64> = rows.iter().map(|row| row.bytes_behind).sum();
    let first = cells_of(&rows[0]);
    let [listener, source, _, state, ..] = first;
    [
        listener,
        source,
        format!("{} logs, {behind} behind", rows.len()),
        state,
        number(None),
        number(None),
        number(None),
        number(Some(entries.map(|p| p.entries_settled).sum())),
        number(bytes),
        newest.and_then(Row::last_entry).unwrap_or_else(|| "-".to_owned()),
    ]
}

/// A path in one line, whatever is in it.
fn path(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn write_cells(
    out: &mut impl io::Write,
    cells: &[String; 10],
    widths: &[usize; 10],
    has_paths: bool,
) -> io::Result<()> {
    let mut line = String::new();
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if index == PATH && !has_paths {
            continue;
        }
        // Words to the left, numbers to the right.
        if NUMBERS.contains(&index) {
            line += &format!("{cell:>width$}  ");
        } else {
            line += &format!("{cell:<width$}  ");
        }
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tripline_api::{
        Args, BuildContext, Cursor, Key, ListenerId, Place, Progress, Source, State,
    };

    fn source() -> Arc<dyn Source> {
        let factory = tripline_follow::ALL.iter().find(|f| f.name() == "Log").unwrap();
        let context = BuildContext {
            name: "auth",
            directory: Path::new("/"),
            state: Path::new("/"),
        };
        factory.build(&Args::new(r#"(paths: ["/var/log/*.log"])"#), &context).unwrap()
    }

    fn row<'a>(
        listener: &'a ListenerId,
        source: &'a Arc<dyn Source>,
        number: u64,
    ) -> Row<'a> {
        let log: Arc<Path> = Path::new(&format!("/var/log/{number}\n.log")).into();
        let key = Key {
            source: source.id().clone(),
            listener: listener.clone(),
            log: Some(Arc::clone(&log)),
        };
        let known = Progress {
            key,
            cursor: Some(Cursor::unproved(Place { offset: 7, ..Place::default() })),
            set_by_hand: false,
            entries_settled: 3,
            last_entry: Some(number as i64),
            state: State::Following,
            why: None,
        };
        Row {
            listener,
            source,
            log: Some(log),
            known: Some(known),
            state: "following",
            why: None,
            set_aside: 0,
            bytes_behind: Some(number % 2),
        }
    }

    fn table(count: u64, is_terminal: bool) -> String {
        let (listener, source) = (ListenerId::new("a").unwrap(), source());
        let rows: Vec<_> = (0..count).map(|n| row(&listener, &source, n)).collect();
        let mut out = Vec::new();
        write(&mut out, &rows, "config", is_terminal).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_few_logs_have_a_line_each() {
        let table = table(20, true);
        assert_eq!(table.lines().count(), 21, "{table}");
        assert!(table.contains("/var/log/3\\n.log"), "{table}");
    }

    #[test]
    fn many_logs_are_one_line_on_a_terminal() {
        let many = table(31, true);
        assert_eq!(many.lines().count(), 2, "{many}");
        let wanted = "31 logs, 15 behind";
        assert!(many.contains(wanted) && many.contains(" 93 "), "{many}");
        assert!(many.contains("1970-01-01T00:00:30Z"), "{many}");
        assert_eq!(table(31, false).lines().count(), 32);
    }
}
