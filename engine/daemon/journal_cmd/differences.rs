//! What two checkpoints do not have alike, on standard output.

use crate::terminal::Answers;
use p4journal::{Comparison, Difference, DifferenceKind, Explanation, Record, Row};
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write as _};
use tripline_api::{Secrets, write_record};

/// Writes rows that differ as they come, and the counts at the end.
pub(super) struct Differences {
    out: BufWriter<Answers>,
    /// Write the rows, too.
    explain: bool,
    /// Rows with an explanation, by table and by explanation.
    explained: BTreeMap<String, u64>,
    reasons: BTreeMap<Explanation, u64>,
    line: Vec<u8>,
    /// The first error of writing; then nothing more is written.
    error: Option<io::Error>,
}

impl Differences {
    pub(super) fn new(explain: bool) -> Self {
        Self {
            out: BufWriter::new(Answers::new()),
            explain,
            explained: BTreeMap::new(),
            reasons: BTreeMap::new(),
            line: Vec::new(),
            error: None,
        }
    }

    /// Takes a row that differs, and writes it if rows are wanted.
    pub(super) fn see(&mut self, difference: &Difference, why: Option<Explanation>) {
        if let Some(why) = why {
            *self.explained.entry(difference.table.to_string()).or_default() += 1;
            *self.reasons.entry(why).or_default() += 1;
        }
        if self.explain && self.error.is_none() {
            self.write(difference, why);
        }
    }

    /// Writes how many rows of each table were compared and how many differ.
    pub(super) fn finish(self, comparison: &Comparison) -> io::Result<()> {
        self.write_table(comparison, false)
    }

    /// [`Self::finish`], and how many of the rows that differ are explained.
    pub(super) fn finish_explained(self, comparison: &Comparison) -> io::Result<()> {
        self.write_table(comparison, true)
    }

    fn write_table(mut self, comparison: &Comparison, explained: bool) -> io::Result<()> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let width =
            comparison.tables.keys().map(|table| table.len()).max().unwrap_or(0).max(5);
        let columns = if explained { 3 } else { 2 };
        let mut line = |name: &str, cells: [&dyn std::fmt::Display; 3]| {
            write!(self.out, "{name:width$}")?;
            cells[..columns]
                .iter()
                .try_for_each(|cell| write!(self.out, " {cell:>12}"))?;
            writeln!(self.out)
        };
        line("table", [&"rows", &"differ", &"explained"])?;
        for (table, counts) in &comparison.tables {
            let explained = self.explained.get(&**table).copied().unwrap_or_default();
            line(table, [&counts.rows, &counts.differ, &explained])?;
        }
        let all: u64 = self.explained.values().sum();
        line("total", [&comparison.rows(), &comparison.differ(), &all])?;
        for (why, rows) in &self.reasons {
            writeln!(self.out, "explained: {rows} by: {why}")?;
        }
        self.out.flush()
    }

    /// Writes a row as a JSON object. Hashes of passwords are left out as
    /// everywhere.
    fn write(&mut self, difference: &Difference, why: Option<Explanation>) {
        let kind = match difference.kind() {
            DifferenceKind::OnlyInFirst => "only in first",
            DifferenceKind::OnlyInSecond => "only in second",
            DifferenceKind::Changed => "changed",
        };
        self.line.clear();
        // Tables have plain names, and writing into a Vec cannot fail.
        _ = write!(
            self.line,
            "{{\"differs\":\"{kind}\",\"table\":\"{}\"",
            difference.table
        );
        match why {
            Some(why) => _ = write!(self.line, ",\"why\":\"{why}\""),
            None => self.line.extend_from_slice(b",\"why\":null"),
        }
        self.side("first", &difference.table, difference.first.as_ref());
        self.side("second", &difference.table, difference.second.as_ref());
        self.line.extend_from_slice(b"}\n");
        self.error = self.out.write_all(&self.line).err();
    }

    fn side(&mut self, name: &str, table: &str, row: Option<&Row>) {
        _ = write!(self.line, ",\"{name}\":");
        let Some(row) = row else {
            self.line.extend_from_slice(b"null");
            return;
        };
        let bytes = row.to_record(table);
        match Record::parse(&bytes) {
            Ok(record) => {
                // The members begin with a comma.
                let at = self.line.len();
                write_record(&mut self.line, &record, None, Secrets::Redact);
                self.line[at] = b'{';
                self.line.push(b'}');
            }
            Err(_) => self.line.extend_from_slice(b"null"),
        }
    }
}
