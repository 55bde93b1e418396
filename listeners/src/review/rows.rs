//! The rows of the server's tables that matter, and only what matters of them.
//!
//! A row is kept as a record too: in the database, and nothing but the columns
//! that are read here. Hashes of passwords and tickets are none of them.

use p4journal::{Compose, MapFlag, Op, Record, Value};
use std::sync::Arc;

/// A name of a user, a group or a job, as bytes: nothing says they are UTF-8.
pub(super) type Name = Arc<[u8]>;

/// A row that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Row {
    User(User),
    Member(Member),
    Line(Line),
    Change(Change),
    Description(Description),
    Fix(Fix),
    Job(Job),
    File(File),
}

/// Of `db.user`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: Name,
    pub(super) email: Box<[u8]>,
    pub(super) full_name: Box<[u8]>,
    /// 0 standard, 1 service, 2 operator.
    pub(super) level: i64,
}

/// Of `db.group`: what a user or a group is in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) user: Name,
    pub(super) group: Name,
    /// Bits: 1 a user, 2 a group, 4 an owner.
    pub(super) role: i64,
}

/// Of `db.review`: a line of what a user reviews.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) user: Name,
    /// Later lines override earlier ones.
    pub(super) seq: i64,
    pub(super) flag: MapFlag,
    pub(super) pattern: Box<[u8]>,
}

/// Of `db.change`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) number: i64,
    /// Under which its description is, in `db.desc`.
    pub(super) desc_key: i64,
    pub(super) client: Name,
    pub(super) user: Name,
    /// Seconds since 1970.
    pub(super) date: i64,
    pub(super) status: i64,
    /// The first 31 characters of its description.
    pub(super) short: Box<[u8]>,
}

/// Of `db.desc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) key: i64,
    /// At most [`DESCRIPTION_BYTES_MAX`]: it was cut if it has that many.
    pub(super) text: Box<[u8]>,
}

/// Of `db.fix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fix {
    pub(super) job: Name,
    pub(super) change: i64,
}

/// Of `db.job`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) name: Name,
    /// The first 31 characters of its description.
    pub(super) short: Box<[u8]>,
}

/// Of `db.revcx`: a file of a submitted change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) change: i64,
    pub(super) path: Box<[u8]>,
    pub(super) revision: i64,
    pub(super) action: i64,
}

/// What is kept of a description, in bytes.
pub(super) const DESCRIPTION_BYTES_MAX: usize = 16 * 1024;
/// A row with a longer name is not a server's, and passed over.
const NAME_BYTES_MAX: usize = 1024;
/// What is kept of an address, a person's name or a short description, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

impl Change {
    /// The lowest bit of the status.
    pub(super) const fn is_committed(&self) -> bool {
        self.status & 1 == 1
    }
}

impl Row {
    /// Whether rows of this table matter.
    pub(super) fn matters(table: &str) -> bool {
        matches!(
            table,
            "db.user"
                | "db.group"
                | "db.review"
                | "db.change"
                | "db.desc"
                | "db.fix"
                | "db.job"
                | "db.revcx"
        )
    }

    /// Reads a record; `None` for a row that does not matter or has no sound key.
    pub(super) fn read(record: &Record<'_>) -> Option<Self> {
        let table = record.table().filter(|table| Self::matters(table))?;
        let cells = Cells::of(record);
        Some(match table {
            "db.user" => Self::User(User {
                name: cells.name("user")?,
                email: cells.text("email", TEXT_BYTES_MAX),
                full_name: cells.text("fullName", TEXT_BYTES_MAX),
                level: cells.number("type").unwrap_or(0),
            }),
            "db.group" => Self::Member(Member {
                user: cells.name("user")?,
                group: cells.name("group")?,
                role: cells.role(),
            }),
            "db.review" => Self::Line(Line {
                user: cells.name("user")?,
                seq: cells.number("seq")?,
                flag: MapFlag::of(cells.number("mapFlag").unwrap_or(0)),
                pattern: cells.text("depotFile", usize::MAX),
            }),
            "db.change" => Self::Change(Change {
                number: cells.number("change")?,
                desc_key: cells.number("descKey")?,
                client: cells.name("client").unwrap_or_default(),
                user: cells.name("user").unwrap_or_default(),
                date: cells.number("date").unwrap_or(0),
                status: cells.number("status").unwrap_or(0),
                short: cells.text("description", TEXT_BYTES_MAX),
            }),
            "db.desc" => Self::Description(Description {
                key: cells.number("descKey")?,
                text: cells.text("description", DESCRIPTION_BYTES_MAX),
            }),
            "db.fix" => Self::Fix(Fix {
                job: cells.name("job")?,
                change: cells.number("change")?,
            }),
            "db.job" => Self::Job(Job {
                name: cells.name("job")?,
                short: cells.text("description", TEXT_BYTES_MAX),
            }),
            _ => Self::File(File {
                change: cells.number("change")?,
                path: cells.text("depotFile", usize::MAX),
                revision: cells.number("depotRev").unwrap_or(0),
                action: cells.number("action").unwrap_or(-1),
            }),
        })
    }

    /// The row as a record, with the columns that matter and no others, and a
    /// line feed.
    pub(super) fn to_record(&self, is_put: bool) -> Vec<u8> {
        let row = |version, table| {
            Compose::row(if is_put { Op::Pv } else { Op::Dv }, version, table)
        };
        match self {
            Self::User(user) => row(7, "db.user")
                .text(&user.name)
                .text(&user.email)
                .text(b"")
                .numbers(&[0, 0])
                .text(&user.full_name)
                .text(b"")
                .number(0)
                .text(b"")
                .numbers(&[0, user.level, 0, 0, 0, 0]),
            Self::Member(member) => row(8, "db.group")
                .text(&member.user)
                .text(&member.group)
                .numbers(&[member.role, 0, 0, 0, 0, 0]),
            Self::Line(line) => row(1, "db.review")
                .text(&line.user)
                .numbers(&[line.seq, line.flag.number()])
                .text(&line.pattern)
                .number(0),
            Self::Change(change) => row(2, "db.change")
                .numbers(&[change.number, change.desc_key])
                .text(&change.client)
                .text(&change.user)
                .numbers(&[change.date, change.status])
                .text(&change.short)
                .text(b""),
            Self::Description(description) => {
                row(0, "db.desc").number(description.key).text(&description.text)
            }
            Self::Fix(fix) => row(1, "db.fix")
                .text(&fix.job)
                .numbers(&[fix.change, 0])
                .text(b"")
                .text(b"")
                .text(b""),
            Self::Job(job) => row(0, "db.job")
                .text(&job.name)
                .text(b"")
                .numbers(&[0, 0])
                .text(&job.short),
            Self::File(file) => row(0, "db.revcx")
                .number(file.change)
                .text(&file.path)
                .numbers(&[file.revision, file.action]),
        }
        .line()
    }

    /// About how much memory it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        let text = match self {
            Self::User(user) => user.name.len() + user.email.len() + user.full_name.len(),
            Self::Member(member) => member.user.len() + member.group.len(),
            Self::Line(line) => line.user.len() + line.pattern.len(),
            Self::Change(change) => {
                change.client.len() + change.user.len() + change.short.len()
            }
            Self::Description(description) => description.text.len(),
            Self::Fix(fix) => fix.job.len(),
            Self::Job(job) => job.name.len() + job.short.len(),
            Self::File(file) => file.path.len(),
        };
        text + ROW_BYTES
    }
}

/// What a row takes besides its text: itself, and its places in maps.
const ROW_BYTES: usize = 200;

/// The columns of a record by name.
struct Cells<'a>(Vec<(&'static str, Value<'a>)>);

impl<'a> Cells<'a> {
    fn of(record: &Record<'a>) -> Self {
        let known =
            |(name, value): (p4journal::ColumnName, _)| Some((name.known()?, value));
        Self(record.columns().filter_map(known).collect())
    }

    fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.number()
    }

    fn name(&self, name: &str) -> Option<Name> {
        let text = self.get(name)?.text();
        (text.len() <= NAME_BYTES_MAX).then(|| text.into())
    }

    fn text(&self, name: &str, bytes_max: usize) -> Box<[u8]> {
        let Some(value) = self.get(name) else { return Box::default() };
        let text = value.text();
        text[..text.len().min(bytes_max)].into()
    }

    /// The oldest layout says only whether it is a group.
    fn role(&self) -> i64 {
        match (self.number("isSubGroup"), self.number("type")) {
            (Some(is_group), _) if is_group != 0 => 2,
            (None, Some(role)) if role != 0 => role,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(record: &str) -> Option<Row> {
        Row::read(&Record::parse(record.as_bytes()).unwrap())
    }

    #[test]
    fn rows_of_all_versions_read_and_come_back() {
        let name = |text: &str| Name::from(text.as_bytes());
        let oldest =
            read("@pv@ 3 @db.user@ @ann@ @ann@@x.org@ @@ 1 2 @Ann@ @CAFE@ 0 @BABE@ 3 ")
                .unwrap();
        let Row::User(user) = &oldest else { panic!("{oldest:?}") };
        assert_eq!((&*user.email, user.level), (&b"ann@x.org"[..], 0));
        assert!(!oldest.to_record(true).windows(4).any(|bytes| bytes == b"CAFE"));
        for record in [
            "@pv@ 8 @db.user@ @r@ @r@@x.org@ @@ 1 2 @R@ @CAFE@ 0 @@ 3 1 4 5 6 7 ",
            "@rv@ 1 @db.review@ @ann@ 3 1 @//depot/...@ 0 ",
            "@pv@ 0 @db.change@ 16 13 @ann-ws@ @ann@ 100 1 @short\n@ ",
            "@rv@ 7 @db.change@ 16 13 @ws@ @ann@ 9 5 @s@ @//d/*@ @@ @@ 0 0 @@ ",
            "@pv@ 0 @db.desc@ 13 @two\nlines @@ night\n@ ",
            "@pv@ 1 @db.fix@ @job1@ 16 9 @closed@ @ws@ @ann@ ",
            "@pv@ 0 @db.job@ @job1@ @@ 0 0 @it breaks@ ",
            "@pv@ 0 @db.revcx@ 16 @//depot/a@ 3 8 ",
        ] {
            let row = read(record).unwrap();
            let again = row.to_record(true);
            assert_eq!(Row::read(&Record::parse(&again).unwrap()), Some(row), "{record}");
        }
        let deleted = read("@dv@ 1 @db.review@ @ann@ 3 0 @@ 0 ").unwrap();
        assert!(matches!(deleted, Row::Line(Line { seq: 3, .. })));
        let member = |record| match read(record) {
            Some(Row::Member(Member { user, group, role })) => (user, group, role),
            other => panic!("{other:?}"),
        };
        let of = |role| (name("a"), name("g"), role);
        assert_eq!(member("@pv@ 5 @db.group@ @a@ @g@ 1 0 0 0 0 "), of(2));
        assert_eq!(member("@pv@ 5 @db.group@ @a@ @g@ 0 0 0 0 0 "), of(1));
        assert_eq!(member("@pv@ 8 @db.group@ @a@ @g@ 5 0 0 0 43200 0 "), of(5));
        assert_eq!(member("@pv@ 9 @db.group@ @a@ @g@ 2 0 0 0 0 0 0 "), of(2));
    }

    #[test]
    fn what_is_no_row_is_passed_over() {
        assert_eq!(read("@pv@ 3 @db.have@ @//ws/a@ @//depot/a@ 1 0 1 "), None);
        assert_eq!(read("@pv@ 1 @db.review@ @ann@ x 0 @//...@ 0 "), None);
        assert_eq!(read("@pv@ 0 @db.desc@ "), None);
        assert_eq!(read(&format!("@pv@ 0 @db.job@ @{}@ ", "j".repeat(2000))), None);
        let long = read(&format!("@pv@ 0 @db.desc@ 1 @{}@ ", "x".repeat(20_000)));
        let Some(Row::Description(long)) = long else { panic!("{long:?}") };
        assert_eq!(long.text.len(), DESCRIPTION_BYTES_MAX);
    }
}
