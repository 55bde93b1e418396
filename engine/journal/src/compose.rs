//! Writing a record.

use crate::record::Op;

/// Composes a record field by field, with the quoting that the format wants.
///
/// ```
/// use p4journal::{Compose, Op};
///
/// let record = Compose::row(Op::Rv, 0, "db.desc").number(7).text(b"mail ann@example.net");
/// assert_eq!(record.line(), b"@rv@ 0 @db.desc@ 7 @mail ann@@example.net@ \n");
/// assert_eq!(Compose::marker(Op::Ex, 7080, 1292544037).line(), b"@ex@ 7080 1292544037\n");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compose {
    bytes: Vec<u8>,
}

impl Compose {
    /// A row of a table, without its columns. The table must be a name, as
    /// [`Record::table`](crate::Record::table) has it.
    pub fn row(op: Op, version: u32, table: &str) -> Self {
        let bytes = format!("@{}@ {version} @{table}@ ", op.name()).into_bytes();
        Self { bytes }
    }

    /// An `@ex@` or `@mx@`.
    pub fn marker(op: Op, pid: u64, time: i64) -> Self {
        // Markers alone have no space at their end.
        Self { bytes: format!("@{}@ {pid} {time}", op.name()).into_bytes() }
    }

    /// Fields alone, such as a key.
    pub const fn fields() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Appends a field in quotes. It may hold any bytes.
    #[must_use]
    pub fn text(mut self, text: &[u8]) -> Self {
        self.bytes.push(b'@');
        for &byte in text {
            self.bytes.push(byte);
            if byte == b'@' {
                self.bytes.push(byte);
            }
        }
        self.bytes.extend_from_slice(b"@ ");
        self
    }

    /// Appends a number.
    #[must_use]
    pub fn number(mut self, number: i64) -> Self {
        self.bytes.extend_from_slice(number.to_string().as_bytes());
        self.bytes.push(b' ');
        self
    }

    /// Appends several numbers.
    #[must_use]
    pub fn numbers(self, numbers: &[i64]) -> Self {
        numbers.iter().fold(self, |composed, &number| composed.number(number))
    }

    /// What was composed, without a line end.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// What was composed, with a line feed.
    pub fn line(mut self) -> Vec<u8> {
        self.bytes.push(b'\n');
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Record;

    proptest! {
        #[test]
        fn what_is_composed_reads_back(text: Vec<u8>, number: i64, version: u32) {
            let composed = Compose::row(Op::Pv, version, "db.x").text(&text);
            let line = composed.number(number).text(b"").numbers(&[1, -1]).line();
            let record = Record::parse(&line).unwrap();
            prop_assert_eq!(
                (record.op(), record.version(), record.table()),
                (Op::Pv, Some(version), Some("db.x"))
            );
            let fields: Vec<_> = record.fields().collect();
            prop_assert_eq!(&*fields[0].text(), &text[..]);
            prop_assert_eq!(fields[1].number(), Some(number));
            prop_assert_eq!((fields[2].text().len(), fields[4].number()), (0, Some(-1)));
            prop_assert_eq!(fields.len(), 5);
            let piece = crate::split::Splitter::new().next(&line).unwrap();
            prop_assert!(piece.whole && piece.len == line.len());
        }
    }
}
