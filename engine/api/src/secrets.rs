//! Which values of a record may leave: hashes of passwords and tickets may not.

use p4journal::{ColumnName, Record};
use serde::Deserialize;

/// Whether password and ticket hashes may leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Secrets {
    /// They are replaced by `[redacted]`.
    #[default]
    Redact,
    /// They are written as they stand.
    Keep,
}

/// Says of one value after the other, in their order, whether it is hidden.
pub(crate) struct Veil {
    shown: Shown,
    /// A row of a table with secrets begins inside this record: it was torn,
    /// and the server wrote on after it.
    in_another_row: bool,
}

enum Shown {
    All,
    Only(&'static [&'static str]),
    AllBut(&'static str),
}

impl Veil {
    pub(crate) fn over(record: &Record<'_>, secrets: Secrets) -> Self {
        let shown = match (secrets, record.table()) {
            (Secrets::Keep, _) | (_, None) => Shown::All,
            (_, Some(table)) if holds_hashes(table.as_bytes()) => {
                Shown::Only(if is_known(record) { SAFE_COLUMNS } else { KEY_COLUMNS })
            }
            (_, Some(table)) if table.starts_with("db.ldap") => Shown::AllBut("bindpass"),
            _ => Shown::All,
        };
        Self { shown, in_another_row: false }
    }

    /// Whether this value must be hidden. An empty one never is: that there is
    /// no password is no secret.
    pub(crate) fn hides(&mut self, column: ColumnName, value: &[u8]) -> bool {
        if value.is_empty() {
            return false;
        }
        if self.in_another_row {
            return true;
        }
        self.in_another_row = holds_hashes(value);
        match (&self.shown, column.known()) {
            (Shown::All, _) => false,
            (Shown::Only(safe), Some(name)) => !safe.contains(&name),
            (Shown::AllBut(secret), Some(name)) => name == *secret,
            // A column that no schema names may be anything.
            (_, None) => true,
        }
    }
}

/// Whether bytes that are no record may be shown: only those whose start says
/// that they belong to something without secrets.
pub(crate) fn may_show_raw(raw: &[u8], secrets: Secrets) -> bool {
    if secrets == Secrets::Keep {
        return true;
    }
    let mut tokens = raw.split(|byte| *byte == b' ');
    let starts_well = match tokens.next() {
        Some(b"@ex@" | b"@mx@" | b"@nx@" | b"@dl@") => true,
        Some(op) if op.starts_with(b"@") => {
            let table = tokens.nth(1).and_then(|token| token.strip_prefix(b"@"));
            table.is_some_and(|table| table.starts_with(b"db.") && !holds_hashes(table))
        }
        _ => raw.iter().all(|byte| matches!(byte, 0 | b'\r' | b'\n' | b' ')),
    };
    starts_well
        && HASH_TABLES.iter().all(|name| memchr::memmem::find(raw, name).is_none())
}

/// Every column of a table with hashes that is not listed here is taken for
/// one: a column of a future version must not leak because it is new.
const SAFE_COLUMNS: &[&str] = &[
    "user",
    "email",
    "jobView",
    "updateDate",
    "accessDate",
    "fullName",
    "strength",
    "endDate",
    "type",
    "passDate",
    "passExpire",
    "passwordChangeDate",
    "attempts",
    "auth",
    "host",
    "state",
];

/// What is shown of a row whose columns are guessed from another version.
const KEY_COLUMNS: &[&str] = &["user"];

const HASH_TABLES: [&[u8]; 3] = [b"db.user", b"db.ticket", b"db.ldap"];

/// Whether this is the name of a table with hashes, or of a copy of one.
fn holds_hashes(table: &[u8]) -> bool {
    table.starts_with(b"db.user") || table.starts_with(b"db.ticket")
}

/// Whether the schema has exactly this version and width of the table.
fn is_known(record: &Record<'_>) -> bool {
    record.layout().is_some_and(|layout| {
        record.version() == Some(layout.version)
            && record.fields().count() == layout.columns.len()
    })
}
