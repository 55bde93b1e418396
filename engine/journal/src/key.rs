//! The key of a row, in the order of a checkpoint.

use std::borrow::Cow;

use crate::field::Field;
use crate::record::Record;
use crate::schema::Layout;

/// Whether names that differ in case only are the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    /// They are not; the usual server on Unix.
    #[default]
    Sensitive,
    /// They are; a server on Windows, or one started with `-C1`. Only ASCII letters are
    /// folded here: a unicode server folds more, see *Known limits*.
    Insensitive,
}

impl Case {
    /// The text as it is compared: in lower case if the case does not matter, ASCII
    /// letters only.
    pub fn fold(self, text: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Insensitive if text.iter().any(u8::is_ascii_uppercase) => {
                Cow::Owned(text.to_ascii_lowercase())
            }
            _ => Cow::Borrowed(text),
        }
    }

    pub(crate) const fn fold_byte(self, byte: u8) -> u8 {
        match self {
            Self::Sensitive => byte,
            Self::Insensitive => byte.to_ascii_lowercase(),
        }
    }
}

/// The key of a row: bytes that compare as the rows of a checkpoint are sorted.
///
/// Numbers compare as numbers, texts byte by byte, with their case folded if the server
/// does so; the columns that a table sorts downwards are inverted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(Box<[u8]>);

impl Key {
    /// The key of a record that has a table. Without a layout the whole row is its key:
    /// then rows are still the same or not, but nothing replaces another.
    pub(crate) fn of(record: &Record<'_>, layout: Option<&Layout>, case: Case) -> Self {
        let mut bytes = Vec::with_capacity(64);
        match layout {
            Some(layout) => push_columns(&mut bytes, record, layout, case),
            None => record.fields().for_each(|field| push_field(&mut bytes, field, case)),
        }
        Self(bytes.into())
    }
}

fn push_columns(bytes: &mut Vec<u8>, record: &Record<'_>, layout: &Layout, case: Case) {
    // No key column comes behind an octet column, so that tokens are columns here; and
    // there are few enough that walking the fields for each costs nothing.
    for key in &layout.key {
        let from = bytes.len();
        if let Some(field) = record.fields().nth(key.column) {
            push_field(bytes, field, case);
        }
        if key.descending {
            bytes[from..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
}

/// Appends a field so that no field's bytes begin another's: comparing the whole key
/// then compares field by field.
fn push_field(bytes: &mut Vec<u8>, field: Field<'_>, case: Case) {
    let number = if field.is_quoted() { None } else { field.number() };
    if let Some(number) = number {
        bytes.push(NUMBER);
        // With the sign bit turned, negative numbers sort before the others.
        bytes.extend_from_slice(&(number ^ i64::MIN).to_be_bytes());
        return;
    }
    bytes.push(TEXT);
    for &byte in field.text().iter() {
        let byte = case.fold_byte(byte);
        bytes.push(byte);
        if byte == 0 {
            bytes.push(u8::MAX);
        }
    }
    bytes.extend_from_slice(&[0, 0]);
}

/// What the bytes of a field start with.
const NUMBER: u8 = 1;
const TEXT: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(record: &str, case: Case) -> Key {
        let record = Record::parse(record.as_bytes()).unwrap();
        Key::of(&record, record.layout(), case)
    }

    /// Whether the records are in the order of a checkpoint.
    fn sorted(records: &[&str], case: Case) -> bool {
        records.is_sorted_by_key(|record| key(record, case))
    }

    #[test]
    fn numbers_sort_as_numbers() {
        let seq = |seq: i64| format!("@pv@ 4 @db.protect@ {seq} 0 @u@ @h@ 1 0 @//...@ ");
        let records: Vec<_> = [-1, 0, 2, 10, 300].map(seq).into();
        let records: Vec<_> = records.iter().map(String::as_str).collect();
        assert!(sorted(&records, Case::Sensitive));
    }

    #[test]
    fn some_columns_sort_downwards() {
        let change = "@pv@ 0 @db.revcx@ 8 @//depot/b@ 2 1 ";
        let older = "@pv@ 0 @db.revcx@ 7 @//depot/a@ 1 0 ";
        assert!(sorted(&[change, older], Case::Sensitive));
    }

    #[test]
    fn case_folds_by_the_flag() {
        let upper = "@pv@ 1 @db.depot@ @Depot@ 0 @@ @depot/...@ ";
        let lower = "@pv@ 1 @db.depot@ @depot@ 0 @@ @depot/...@ ";
        assert_eq!(key(upper, Case::Insensitive), key(lower, Case::Insensitive));
        assert_ne!(key(upper, Case::Sensitive), key(lower, Case::Sensitive));
    }

    #[test]
    fn a_text_sorts_before_what_it_begins() {
        let job = |name: &str| format!("@pv@ 0 @db.job@ @{name}@ @u@ 1 @open@ @@ ");
        let (short, long) = (job("a"), job("a\0"));
        assert!(sorted(&[&job(""), &short, &long, &job("a!")], Case::Sensitive));
    }

    #[test]
    fn the_rest_of_the_row_is_no_part_of_the_key() {
        let old = "@pv@ 3 @db.user@ @a@ @a@@b@ @@ 1 2 @a@ @@ 0 @@ 0 ";
        let new = "@rv@ 8 @db.user@ @a@ @b@ @@ 1 2 @a@ @@ 0 @@ 0 0 0 0 0 0 ";
        assert_eq!(key(old, Case::Sensitive), key(new, Case::Sensitive));
    }

    #[test]
    fn an_unknown_table_is_keyed_by_the_whole_row() {
        let row = "@pv@ 3 @db.nosuch@ 1 @a@ ";
        assert_eq!(
            key(row, Case::Sensitive),
            key("@dv@ 4 @db.nosuch@ 1 @a@ ", Case::Sensitive)
        );
        assert_ne!(
            key(row, Case::Sensitive),
            key("@pv@ 3 @db.nosuch@ 1 @b@ ", Case::Sensitive)
        );
    }

    #[test]
    fn no_key_column_comes_behind_an_octet_column() {
        for layout in crate::schema::tables() {
            let octets = layout.columns.iter().position(|column| column.is_octets());
            let last_key = layout.key.iter().map(|key| key.column).max();
            assert!(octets.is_none() || last_key < octets, "{layout:?}");
        }
    }
}
