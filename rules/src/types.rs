//! What values are, as far as it is known before there is an event.

use p4journal::schema;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Not known before there is one.
    Any,
    /// Yes or no.
    Bool,
    /// A number with a fraction.
    Float,
    /// A whole number.
    Int,
    /// Several.
    List(Arc<Self>),
    /// Values by name.
    Record(Arc<Record>),
    /// A text.
    Text,
    /// Seconds since 1970. `local`, `rfc3339` and `date` make texts of it.
    Time,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// Values by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// How sentences call it: `` `event` ``, `table db.change`.
    pub title: String,
    /// What is in it.
    pub fields: BTreeMap<String, Type>,
    /// Where more about it is to be found.
    pub hint: String,
    /// Other names may be in it too.
    pub is_open: bool,
}

impl Type {
    pub(crate) fn list(of: Self) -> Self {
        Self::List(Arc::new(of))
    }

    /// A record with these fields.
    pub(crate) fn record(title: &str, fields: &[(&str, Self)]) -> Self {
        let fields = fields.iter().map(|(name, kind)| ((*name).to_owned(), kind.clone()));
        let record = Record {
            title: title.to_owned(),
            fields: fields.collect(),
            ..Record::default()
        };
        Self::Record(Arc::new(record))
    }

    /// Whether it is text, always.
    pub(crate) const fn is_text(&self) -> bool {
        matches!(self, Self::Text | Self::Word(_))
    }

    /// Whether it is a number, always.
    pub(crate) const fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Time)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "anything",
            Self::Bool => "yes or no",
            Self::Float | Self::Int => "a number",
            Self::List(_) => "a list",
            Self::Record(_) => "a record",
            Self::Text => "a text",
            Self::Time => "a time",
            Self::Word(_) => "a word",
        })
    }
}

/// The words of the schema's enumerations.
const CHANGE_STATUS: &[&str] = &["pending", "submitted", "shelved"];
const ACTIONS: &[&str] = &[
    "add",
    "edit",
    "delete",
    "branch",
    "integrate",
    "import",
    "purge",
    "move/delete",
    "move/add",
    "archive",
];
const MAP_FLAGS: &[&str] = &["include", "exclude", "overlay"];
const DOMAINS: &[(i64, &str)] = &[
    (98, "branch"),
    (99, "client"),
    (100, "depot"),
    (108, "label"),
    (115, "stream"),
    (116, "typemap"),
];
const DOMAIN_NAMES: &[&str] =
    &["branch", "client", "depot", "label", "stream", "typemap"];

/// The word for a value of a column of this kind; `None`: it stays the number that it is.
///
/// ```
/// use tripline_rules::compiled::word_of;
///
/// assert_eq!(word_of("ChangeStatus", 1), Some("submitted"));
/// assert_eq!(word_of("ChangeStatus", 3), Some("submitted"), "and shelved");
/// assert_eq!(word_of("Action", 8), Some("move/add"));
/// assert_eq!(word_of("Int", 8), None);
/// ```
pub fn word_of(kind: &str, value: i64) -> Option<&'static str> {
    let at = |words: &[&'static str]| {
        usize::try_from(value).ok().and_then(|index| words.get(index).copied())
    };
    match kind {
        "ChangeStatus" if value & 1 != 0 => Some("submitted"),
        "ChangeStatus" if value & 2 != 0 => Some("shelved"),
        "ChangeStatus" => Some("pending"),
        "Action" => at(ACTIONS),
        "MapFlag" => at(MAP_FLAGS),
        "DomainType" => {
            DOMAINS.iter().find(|(number, _)| *number == value).map(|(_, word)| *word)
        }
        _ => None,
    }
}

/// What a column of this kind holds. Words that have no name here stay numbers, as text.
pub fn type_of_column(kind: &str) -> Type {
    match kind {
        "ChangeStatus" => Type::Word(CHANGE_STATUS),
        "Action" => Type::Word(ACTIONS),
        "MapFlag" => Type::Word(MAP_FLAGS),
        "DomainType" => Type::Word(DOMAIN_NAMES),
        "Date" => Type::Time,
        "Change" | "FileSize" | "Int" | "Int64" | "Rev" => Type::Int,
        "Counter" | "Digest" | "DescShort" | "Domain" | "File" | "Key" | "Mapping"
        | "String" | "Text" | "User" | "Value" | "Octet" | "SHA1" | "Trigger" => {
            Type::Text
        }
        _ => Type::Any,
    }
}

/// `db`: every table of the schema, with the columns of all its versions.
pub(crate) fn tables() -> Type {
    TABLES.clone()
}

/// The tables' names, sorted: `db.change`.
pub(crate) fn table_names() -> Vec<&'static str> {
    let mut names: Vec<_> = schema::tables().iter().map(|layout| layout.table).collect();
    names.dedup();
    names
}

static TABLES: LazyLock<Type> = LazyLock::new(|| {
    let tables = table_names().into_iter().map(|table| {
        let short = table.strip_prefix("db.").unwrap_or(table).to_owned();
        (short, table_type(table))
    });
    Type::Record(Arc::new(Record {
        title: "`db`".to_owned(),
        fields: tables.collect(),
        hint: "tables are those of the Perforce schema, such as db.change".to_owned(),
        is_open: false,
    }))
});

fn table_type(table: &str) -> Type {
    let title = format!("table {table}");
    let hint = format!("`tripline fields {table}` shows what it has");
    let mut fields = BTreeMap::new();
    // Of a column that changed, what it is in the newest version counts.
    for column in schema::layouts(table).iter().flat_map(|layout| &layout.columns) {
        fields.insert(column.name.to_owned(), type_of_column(column.kind));
    }
    let mut row = fields.clone();
    row.insert("op".to_owned(), Type::Word(OPS));
    let row =
        Record { title: format!("a row of {table}"), fields: row, hint, is_open: false };
    let hint = row.hint.clone();
    fields.insert("rows".to_owned(), Type::list(Type::Record(Arc::new(row))));
    fields.insert("op".to_owned(), Type::Word(OPS));
    Type::Record(Arc::new(Record { title, fields, hint, is_open: false }))
}

/// How a row was written.
const OPS: &[&str] = &["put", "replace", "delete"];
