//! The words of the language: every block, its fields, what they hold and what it means.
//!
//! Reading, did-you-mean, repairs and `REFERENCE.md` are all driven by these tables, so
//! none of them can forget a field.

mod action;
mod on;
mod rule;
mod test;
mod when;

pub use action::{ACTIONS, COMMON, RETRY};
pub use on::ON;
pub use rule::{CALENDAR_TIME, FILE, LIMIT, OVERLAP, QUIET, RULE};
pub use test::{EXPECTED, GIVEN, HAS, PRETEND, TEST};
pub use when::{UNTIL, WHEN};

/// `(field: value, ..)`, or `Kind(field: value, ..)`.
#[derive(Debug)]
pub struct Block {
    /// The word before the parentheses; empty where there is none.
    pub word: &'static str,
    /// How sentences call it: `a rule`, `` `Count` ``.
    pub title: &'static str,
    /// What it is for, in sentences.
    pub doc: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
    /// Further fields, which others have too.
    pub shared: &'static [Field],
    /// What stands in the parentheses without a name, where something does.
    pub item: Option<Wants>,
    /// Fields that are not in the table are kept as they are, or are what a test wants.
    pub others: Others,
    /// How it is written.
    pub example: &'static str,
}

/// What becomes of fields that are not in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They are mistakes.
    Wrong,
    /// They are the listener's.
    Kept,
    /// They are what an action in a test should be like.
    Wanted,
}

/// `name: value`.
#[derive(Debug)]
pub struct Field {
    /// The name.
    pub name: &'static str,
    /// What it holds.
    pub wants: Wants,
    /// Whether it may be left out.
    pub need: Need,
    /// What it means, in sentences.
    pub doc: &'static str,
    /// A value, as it is written.
    pub example: &'static str,
}

/// Whether a field may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It may.
    Optional,
    /// It may not.
    Required,
}

/// A word that stands for a value.
#[derive(Debug)]
pub struct Word {
    /// The word.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub enum Wants {
    /// A text.
    Text(Holds),
    /// A text, or a list of texts.
    Texts(Holds),
    /// A list of texts.
    TextList(Holds),
    /// Names and texts in braces.
    TextMap(Holds),
    /// A list of names and texts in braces.
    TextMaps,
    /// A duration such as `"5m"`.
    Duration,
    /// A whole number between two, both included.
    Number(u64, u64),
    /// `true` or `false`.
    Flag,
    /// One of some words.
    Word(&'static [Word]),
    /// One or a list of some words.
    Words(&'static [Word]),
    /// A block without a word.
    Block(&'static Block),
    /// A list of them.
    Blocks(&'static Block),
    /// Names and lists of blocks.
    BlockMap(&'static Block),
    /// A block with one of some words.
    Kind(&'static [&'static Block]),
    /// A list of them.
    Kinds(&'static [&'static Block]),
    /// Names and blocks with one of some words.
    KindMap(&'static [&'static Block]),
    /// Any value that JSON has.
    Json,
    /// Names and any values that JSON has.
    JsonMap,
    /// Any value, kept as it is written.
    Raw,
}

/// What a text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// What it says.
    Plain,
    /// The name of something.
    Name,
    /// A field: `ip`, `event.host`.
    FieldName,
    /// A pattern.
    Pattern,
    /// An expression.
    Expression,
    /// A template.
    Template,
}

impl Block {
    /// All its fields, its own before those that others have too.
    pub fn all_fields(&self) -> impl Iterator<Item = &'static Field> + use<> {
        self.fields.iter().chain(self.shared)
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.all_fields().find(|field| field.name == name)
    }
}

impl Wants {
    /// What it must be, behind "must be".
    pub fn words(self) -> &'static str {
        match self {
            Self::Text(_) | Self::Duration => "a text in quotes",
            Self::Texts(_) => "a text in quotes, or a list of them",
            Self::TextList(_) => "a list of texts",
            Self::TextMap(_) => "names and texts in braces",
            Self::TextMaps => "a list of names and texts in braces",
            Self::Number(..) => "a whole number",
            Self::Flag => "`true` or `false`",
            Self::Word(_) => "a word without quotes",
            Self::Words(_) => "a word without quotes, or a list of them",
            Self::Block(_) => "a block in parentheses",
            Self::Blocks(_) => "a list of blocks in parentheses",
            Self::BlockMap(_) => "names and lists of blocks in braces",
            Self::Kind(_) => "a kind with its arguments in parentheses",
            Self::Kinds(_) => "a list of kinds with their arguments",
            Self::KindMap(_) => "names and kinds in braces",
            Self::Json => "a value as JSON has them",
            Self::JsonMap => "names and values in braces",
            Self::Raw => "a value",
        }
    }
}

/// Kinds that people may look for, and what there is instead.
pub const NOT_THERE: &[(&str, &str)] = &[
    ("Backup", "a backup is the listener `HotBackup`: configure it in `listeners`"),
    (
        "File",
        "follow what writes the files: their log with `Lines`, their depot with `Journal`",
    ),
    (
        "Files",
        "follow what writes the files: their log with `Lines`, their depot with `Journal`",
    ),
    ("Time", "let cron write a line and follow that with `Lines`, or use `Absent`"),
    ("Process", "follow the log of its supervisor with `Lines`, or use `Absent`"),
    ("Login", "follow the log of logins with `Lines(source: \"auth\")`"),
    ("Syslog", "let a syslog daemon write a file, and follow that with `Lines`"),
    ("Mirror", "a mirror is a listener: configure it in `listeners`"),
    ("Review", "review mails are a listener: configure it in `listeners`"),
];

/// The longest of any duration.
pub const DURATION_MAX_DAYS: u64 = 366;

const fn text(
    name: &'static str,
    holds: Holds,
    need: Need,
    doc: &'static str,
    example: &'static str,
) -> Field {
    Field { name, wants: Wants::Text(holds), need, doc, example }
}
