//! Which entries a listener wants, by table, operator or pattern.

use p4journal::{Op, Record, schema};
use regex::bytes::{Regex, RegexBuilder};
use std::collections::BTreeSet;
use tripline_api::{ArgsError, Entry};
use tripline_diagnose::words::did_you_mean;

/// Which entries are wanted: those that pass all that is set.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    tables: Option<Vec<String>>,
    ops: Option<Vec<String>>,
    pattern: Option<Regex>,
}

/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4096;
/// The most memory of a compiled pattern, in bytes.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// How deep the parentheses of a pattern may nest.
const NEST_MAX: u32 = 50;
/// So much of an entry is searched, in bytes.
const SEARCHED_BYTES_MAX: usize = 1024 * 1024;

impl Filter {
    /// Wants records of these tables with these operators, as the arguments
    /// `tables` and `ops` name them; without one of them, any.
    ///
    /// # Errors
    ///
    /// When a list is empty or a name is none.
    pub(crate) fn new(
        tables: Option<Vec<String>>,
        ops: Option<Vec<String>>,
    ) -> Result<Self, ArgsError> {
        check_names("tables", tables.as_deref(), check_table)?;
        check_names("ops", ops.as_deref(), check_op)?;
        Ok(Self { tables, ops, pattern: None })
    }

    /// Wants only what has a match of the pattern, as the argument `matching`
    /// has it. It is matched against bytes, and its classes are those of ASCII.
    ///
    /// # Errors
    ///
    /// When it is no pattern, or too large a one.
    pub(crate) fn matching(self, pattern: Option<&str>) -> Result<Self, ArgsError> {
        let Some(pattern) = pattern else { return Ok(self) };
        if pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX {
            return Err(ArgsError::new(format!(
                "`matching` must be a pattern of 1 to {PATTERN_BYTES_MAX} bytes"
            )));
        }
        let built = RegexBuilder::new(pattern)
            .unicode(false)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .nest_limit(NEST_MAX)
            .build();
        let pattern = built.map_err(|error| {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default();
            let why = last.trim_start_matches("error: ");
            ArgsError::new(format!("`matching` is no pattern: {why}"))
        })?;
        Ok(Self { pattern: Some(pattern), ..self })
    }

    /// Lines have neither tables nor operators.
    pub(crate) const fn is_only_for_journals(&self) -> bool {
        self.tables.is_some() || self.ops.is_some()
    }

    /// Whether this entry is wanted. Of a record, looks at operator and table
    /// only, which a torn one has too.
    pub(crate) fn wants(&self, entry: &Entry<'_>) -> bool {
        if entry.log.is_some() {
            return !self.is_only_for_journals() && self.has_match(entry.text());
        }
        if let Some(ops) = &self.ops
            && !Op::of(entry.bytes).is_some_and(|op| ops.iter().any(|o| o == op.name()))
        {
            return false;
        }
        if let Some(tables) = &self.tables {
            let record = Record::parse(entry.bytes).ok();
            let table = record.as_ref().and_then(Record::table);
            if !table.is_some_and(|table| tables.iter().any(|wanted| wanted == table)) {
                return false;
            }
        }
        self.has_match(entry.bytes)
    }

    fn has_match(&self, bytes: &[u8]) -> bool {
        let searched = &bytes[..bytes.len().min(SEARCHED_BYTES_MAX)];
        self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(searched))
    }
}

/// An empty list is refused: read as "none" it would silence the listener, read
/// as "all" it would say more than was asked for.
fn check_names(
    argument: &str,
    names: Option<&[String]>,
    check: fn(&str) -> Result<(), String>,
) -> Result<(), ArgsError> {
    match names {
        Some([]) => Err(ArgsError::new(format!(
            "`{argument}` is empty: leave it out to have all of them"
        ))),
        Some(names) => {
            names.iter().try_for_each(|name| check(name)).map_err(ArgsError::new)
        }
        None => Ok(()),
    }
}

fn check_table(name: &str) -> Result<(), String> {
    let (before, after) = name.split_once('.').unwrap_or_default();
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if before.is_empty() || after.is_empty() || !name.chars().all(fine) {
        return Err(format!(
            "`tables` has {name:?}, which is no table: write it like \"db.user\""
        ));
    }
    // A server may have tables that are newer than this program.
    let known: BTreeSet<_> = schema::tables().iter().map(|it| it.table).collect();
    match did_you_mean(name, known.iter().copied()) {
        Some(meant) if meant != name => Err(format!(
            "`tables` has {name:?}, and no server has such a table: did you mean {meant:?}?"
        )),
        _ => Ok(()),
    }
}

fn check_op(name: &str) -> Result<(), String> {
    let is_known = Op::of(format!("@{name}@ ").as_bytes())
        .is_some_and(|op| op != Op::Other && op.name() == name);
    if !is_known {
        return Err(format!(
            "`ops` has {name:?}, which is no operator: write some of \"pv\", \"rv\", \
             \"dv\", \"vv\", \"dl\", \"ex\", \"mx\", \"nx\", \"put\", \"del\""
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Feed;

    fn wanted(filter: &Filter, feed: &Feed) -> Vec<u64> {
        let batches = feed.unsettled(&tripline_api::Settled::new(), usize::MAX);
        let entries = batches.iter().flat_map(|batch| {
            let view = batch.view();
            let wanted = view.entries().filter(|entry| filter.wants(entry));
            wanted.map(|entry| entry.place.line).collect::<Vec<_>>()
        });
        entries.collect()
    }

    #[test]
    fn a_misspelt_table_is_refused() {
        let of = |table: &str| Filter::new(Some(vec![table.to_owned()]), None);
        for table in ["db.user", "db.rev", "db.invented"] {
            assert!(of(table).is_ok(), "{table}");
        }
        for (table, meant) in [("db.chnage", "db.change"), ("db.User", "db.user")] {
            let why = of(table).unwrap_err().to_string();
            assert!(why.contains(&format!("did you mean {meant:?}?")), "{why}");
        }
    }

    #[test]
    fn a_pattern_chooses_lines() {
        let lines = b"sshd: Failed password for root\nsshd: session opened\n\
            FAILED caf\xe9\nsu: Failed\r\n";
        let feed = Feed::new("auth").log("/var/log/auth.log", lines);
        for (pattern, lines) in [
            (None, vec![0, 1, 2, 3]),
            (Some("Failed password"), vec![0]),
            (Some("(?i)failed"), vec![0, 2, 3]),
            (Some("Failed$"), vec![3]),
            (Some("^sshd: .* for \\w+$"), vec![0]),
            (Some("caf."), vec![2]),
        ] {
            let filter = Filter::default().matching(pattern).unwrap();
            assert_eq!(wanted(&filter, &feed), lines, "{pattern:?}");
        }
        let only = Filter::new(Some(vec!["db.user".into()]), None).unwrap();
        assert_eq!(wanted(&only, &feed), Vec::<u64>::new());
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        let bad = |pattern: &str| {
            Filter::default().matching(Some(pattern)).unwrap_err().to_string()
        };
        assert!(bad("").contains("1 to 4096 bytes"));
        assert!(bad(&"x".repeat(5000)).contains("1 to 4096 bytes"));
        assert!(bad("(a").contains("unclosed group"), "{}", bad("(a"));
        assert!(bad("(?:a{1000}){1000}").contains("no pattern"));
    }
}
