//! `tripline fields`: the columns of a Perforce table.

use crate::cli::FieldsArgs;
use p4journal::schema::{self, Layout};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use tripline_diagnose::words;

/// Writes the columns of one version of one table.
pub(crate) fn run(args: &FieldsArgs) -> anyhow::Result<ExitCode> {
    let layouts = schema::layouts(&args.table);
    let Some(youngest) = layouts.last() else { return Err(no_such_table(&args.table)) };
    let version = args.version.unwrap_or(youngest.version);
    let mut of_version = layouts.iter().filter(|layout| layout.version == version);
    // Some releases added columns and kept the version: the last has them all.
    let Some(layout) = of_version.next_back() else {
        let mut versions: Vec<_> =
            layouts.iter().map(|layout| layout.version.to_string()).collect();
        versions.dedup();
        let versions = words::list(versions.iter().map(String::as_str));
        anyhow::bail!("{} has no version {version}; it has {versions}", args.table);
    };
    io::stdout().write_all(describe(layout, layouts).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn no_such_table(table: &str) -> anyhow::Error {
    let mut names: Vec<&str> =
        schema::tables().iter().map(|layout| layout.table).collect();
    names.dedup();
    let prefixed = format!("db.{table}");
    let meant = match names.contains(&prefixed.as_str()) {
        true => Some(prefixed.as_str()),
        false => words::did_you_mean(table, names.iter().copied()),
    };
    match meant {
        Some(meant) => {
            anyhow::anyhow!("no table is called `{table}`; did you mean `{meant}`?")
        }
        None => anyhow::anyhow!(
            "no table is called `{table}`; {} are known, such as `db.change` and `db.rev`",
            names.len()
        ),
    }
}

/// A head line, and a line for each column: position, name, type, place in the
/// key, and the release that first had it.
fn describe(layout: &Layout, layouts: &[Layout]) -> String {
    let mut text = format!(
        "{} version {}, since {}; key: {}\n",
        layout.table,
        layout.version,
        since(layout, layouts),
        layout.key_names().collect::<Vec<_>>().join(", ")
    );
    let widest = |text: &dyn Fn(usize) -> usize| {
        (0..layout.columns.len()).map(text).max().unwrap_or_default()
    };
    let name_width = widest(&|index| layout.columns[index].name.len());
    let kind_width = widest(&|index| layout.columns[index].kind.len());
    for (index, column) in layout.columns.iter().enumerate() {
        let key = match layout.key.iter().position(|key| key.column == index) {
            Some(place) if layout.key[place].descending => {
                format!("key {} down", place + 1)
            }
            Some(place) => format!("key {}", place + 1),
            None => String::new(),
        };
        // Writing into a String cannot fail.
        _ = writeln!(
            text,
            "{:>3}  {:name_width$}  {:kind_width$}  {key:10}  since {}",
            index + 1,
            column.name,
            column.kind,
            first_with(column.name, layouts).unwrap_or(layout.since),
        );
    }
    text
}

/// The release that brought the version.
fn since(layout: &Layout, layouts: &[Layout]) -> &'static str {
    let first = layouts.iter().find(|it| it.version == layout.version);
    first.map_or(layout.since, |first| first.since)
}

/// The oldest release whose layout has a column of this name. Releases are
/// written as years, so they compare as text.
fn first_with(name: &str, layouts: &[Layout]) -> Option<&'static str> {
    let having =
        layouts.iter().filter(|it| it.columns.iter().any(|column| column.name == name));
    having.map(|layout| layout.since).min()
}
