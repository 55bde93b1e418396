//! The tables, as the journal left them at the last `@ex@`.
//!
//! | table        | kept                                        | bound              |
//! |--------------|---------------------------------------------|--------------------|
//! | `db.user`    | all                                         | [`ROWS_MAX`]       |
//! | `db.group`   | all                                         | together           |
//! | `db.review`  | all                                         |                    |
//! | `db.desc`    | of changes that are not submitted           | the newest 64 MiB  |
//! | `db.fix`     | of changes that are not submitted           | the newest 16 MiB  |
//! | `db.job`     | name and the first words                    | the newest 32 MiB  |
//! | `db.change`  | the numbers that were submitted, as ranges  | about 100 MB       |
//!
//! Where a description or a job has gone, a mail has the first 31 characters,
//! which the row of the change has itself, or the job's name alone.

use super::kept::{Kept, Numbers};
use super::reviewers::Reviewers;
use super::rows::{Change, Description, Fix, Job, Line, Member, Name, Row, User};
use p4journal::{Case, Compose};
use std::collections::{BTreeMap, BTreeSet};

/// The tables, and what of them is not in the database yet.
#[derive(Debug)]
pub(super) struct Tables {
    /// `None` until something says it.
    case: Option<Case>,
    users: BTreeMap<Name, User>,
    /// By group, then by user.
    groups: BTreeMap<Name, BTreeMap<Name, Member>>,
    members: usize,
    reviewers: Reviewers,
    descriptions: Kept<i64, Description>,
    fixes: Kept<(i64, Name), Fix>,
    jobs: Kept<Name, Job>,
    submitted: Numbers,
    changed: Changed,
}

/// Which rows are not in the database as they are here.
#[derive(Debug, Default)]
struct Changed {
    /// All of them, and what is in the database has to go.
    all: bool,
    keys: BTreeSet<Key>,
}

/// What differs from the database.
pub(super) struct Unsaved {
    /// All that is there has to go first.
    pub(super) all: bool,
    /// The rows that were put or deleted.
    pub(super) keys: Vec<Key>,
    /// Ranges of submitted changes: where one begins or began, and its end if it
    /// is there.
    pub(super) ranges: Vec<(i64, Option<i64>)>,
}

/// The key of a row, names with their case folded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    User(Name),
    /// Group, user.
    Member(Name, Name),
    Line(Name, i64),
    Description(i64),
    /// Change, job.
    Fix(i64, Name),
    Job(Name),
}

/// So many users, members of groups and review lines there may be: a GB or so.
pub(super) const ROWS_MAX: usize = 4_000_000;
const DESCRIPTIONS_BYTES_MAX: usize = 64 << 20;
const FIXES_BYTES_MAX: usize = 16 << 20;
const JOBS_BYTES_MAX: usize = 32 << 20;
/// What an entry takes besides its text, in bytes.
const ENTRY_BYTES: usize = 200;
/// When more rows changed, all are written anew.
const CHANGED_MAX: usize = 1 << 20;
/// How many jobs one change names.
const JOBS_OF_CHANGE_MAX: usize = 1000;

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            case: None,
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            members: 0,
            reviewers: Reviewers::new(Case::Sensitive),
            descriptions: Kept::new(DESCRIPTIONS_BYTES_MAX, |_, description| {
                description.text.len() + ENTRY_BYTES
            }),
            fixes: Kept::new(FIXES_BYTES_MAX, |_, fix| fix.job.len() + ENTRY_BYTES),
            jobs: Kept::new(JOBS_BYTES_MAX, |_, job| job.short.len() + ENTRY_BYTES),
            submitted: Numbers::default(),
            changed: Changed::default(),
        }
    }

    /// The text as names are compared.
    pub(super) fn fold(&self, text: &[u8]) -> Name {
        self.case.unwrap_or_default().fold(text).into()
    }

    pub(super) const fn case(&self) -> Option<Case> {
        self.case
    }

    pub(super) const fn reviewers(&self) -> &Reviewers {
        &self.reviewers
    }

    pub(super) fn user(&self, name: &Name) -> Option<&User> {
        self.users.get(name)
    }

    /// Who is in a group, by name; `None` when there is no such group.
    pub(super) fn members(&self, group: &Name) -> Option<&BTreeMap<Name, Member>> {
        self.groups.get(group)
    }

    pub(super) fn is_submitted(&self, change: i64) -> bool {
        self.submitted.contains(change)
    }

    /// Whether there are more rows than [`ROWS_MAX`].
    pub(super) fn is_too_large(&self) -> bool {
        self.users.len() + self.members + self.reviewers.len() > ROWS_MAX
    }

    /// Puts or deletes a row. Changes and their files are not rows here.
    pub(super) fn apply(&mut self, is_put: bool, row: &Row) {
        match row {
            Row::User(user) => self.apply_user(is_put, user),
            Row::Member(member) => self.apply_member(is_put, member),
            Row::Line(line) => self.apply_line(is_put, line),
            Row::Description(description) => {
                self.apply_description(is_put, description);
            }
            Row::Fix(fix) => self.apply_fix(is_put, fix),
            Row::Job(job) => self.apply_job(is_put, job),
            Row::Change(_) | Row::File(_) => {}
        }
    }

    /// The change is submitted now: its description and its jobs, which are
    /// needed no more.
    pub(super) fn submit(&mut self, change: &Change) -> (Option<Description>, Vec<Job>) {
        let description = self.descriptions.get(&change.desc_key).cloned();
        let from = (change.number, Name::default());
        let fixes = self.fixes.iter_from(from);
        let of_change = fixes.take_while(|((number, _), _)| *number == change.number);
        let of_change = of_change.take(JOBS_OF_CHANGE_MAX);
        let jobs: Vec<Job> = of_change
            .map(|((_, name), fix)| match self.jobs.get(name) {
                Some(job) => job.clone(),
                None => Job { name: Name::clone(&fix.job), short: Box::default() },
            })
            .collect();
        self.know_submitted(change);
        self.forget_description(change.desc_key);
        for job in &jobs {
            let key = (change.number, self.fold(&job.name));
            if self.fixes.remove(&key) {
                self.changed(Key::Fix(key.0, key.1));
            }
        }
        (description, jobs)
    }

    /// The change was submitted before; nobody hears of it.
    pub(super) fn know_submitted(&mut self, change: &Change) {
        self.submitted.insert(change.number);
        // Where the number was changed by the submit, the old one is gone too.
        self.submitted.insert(change.desc_key);
    }

    /// Lets go what belongs to submitted changes: in a checkpoint it may come
    /// before them.
    pub(super) fn drop_submitted(&mut self) {
        let is_of = |change: i64| self.submitted.contains(change);
        let descriptions: Vec<i64> = self
            .descriptions
            .iter()
            .map(|(key, _)| *key)
            .filter(|key| is_of(*key))
            .collect();
        let fixes = self.fixes.iter().map(|(key, _)| key.clone());
        let fixes: Vec<(i64, Name)> =
            fixes.filter(|(change, _)| is_of(*change)).collect();
        for key in descriptions {
            self.forget_description(key);
        }
        for key in fixes {
            self.fixes.remove(&key);
            self.changed(Key::Fix(key.0, key.1));
        }
    }

    /// The numbers of changes start over, or a person wants mails again: what is
    /// known of changes is forgotten.
    pub(super) fn forget_changes(&mut self) {
        self.descriptions.drain();
        self.fixes.drain();
        self.submitted = Numbers::default();
        self.changed.all = true;
    }

    /// Whether names that differ in case are the same: a header said so.
    pub(super) fn set_case(&mut self, case: Case) {
        let before = self.case.replace(case).unwrap_or_default();
        if before == case {
            return;
        }
        let users = std::mem::take(&mut self.users).into_values().map(Row::User);
        let groups = std::mem::take(&mut self.groups).into_values();
        let members = groups.flat_map(BTreeMap::into_values).map(Row::Member);
        let lines = self.reviewers.drain().into_iter().map(Row::Line);
        let fixes = self.fixes.drain().into_iter().map(Row::Fix);
        let jobs = self.jobs.drain().into_iter().map(Row::Job);
        let rows: Vec<Row> =
            users.chain(members).chain(lines).chain(fixes).chain(jobs).collect();
        self.members = 0;
        self.reviewers = Reviewers::new(case);
        for row in rows {
            self.apply(true, &row);
        }
        self.changed.all = true;
    }

    fn apply_user(&mut self, is_put: bool, user: &User) {
        let key = self.fold(&user.name);
        // Servers write when a user was last seen, all day long.
        if is_put && self.users.get(&key) == Some(user) {
            return;
        }
        if is_put {
            self.users.insert(Name::clone(&key), user.clone());
        } else if self.users.remove(&key).is_none() {
            return;
        }
        self.changed(Key::User(key));
    }

    fn apply_member(&mut self, is_put: bool, member: &Member) {
        let (group, user) = (self.fold(&member.group), self.fold(&member.user));
        let members = self.groups.entry(Name::clone(&group)).or_default();
        let before = members.len();
        if is_put {
            members.insert(Name::clone(&user), member.clone());
        } else {
            members.remove(&user);
        }
        self.members = self.members + members.len() - before;
        if members.is_empty() {
            self.groups.remove(&group);
        }
        self.changed(Key::Member(group, user));
    }

    fn apply_line(&mut self, is_put: bool, line: &Line) {
        let user = self.fold(&line.user);
        if is_put {
            self.reviewers.put(Name::clone(&user), line.clone());
        } else {
            self.reviewers.remove(&user, line.seq);
        }
        self.changed(Key::Line(user, line.seq));
    }

    fn apply_description(&mut self, is_put: bool, description: &Description) {
        if !is_put {
            self.forget_description(description.key);
        } else if !self.is_submitted(description.key) {
            let gone = self.descriptions.put(description.key, description.clone());
            self.changed(Key::Description(description.key));
            gone.into_iter().for_each(|key| self.changed(Key::Description(key)));
        }
    }

    fn forget_description(&mut self, key: i64) {
        if self.descriptions.remove(&key) {
            self.changed(Key::Description(key));
        }
    }

    fn apply_fix(&mut self, is_put: bool, fix: &Fix) {
        let key = (fix.change, self.fold(&fix.job));
        let mut touched = vec![key.clone()];
        if !is_put {
            self.fixes.remove(&key);
        } else if !self.is_submitted(fix.change) {
            touched.extend(self.fixes.put(key, fix.clone()));
        }
        touched.into_iter().for_each(|(change, job)| self.changed(Key::Fix(change, job)));
    }

    fn apply_job(&mut self, is_put: bool, job: &Job) {
        let key = self.fold(&job.name);
        if is_put && self.jobs.get(&key) == Some(job) {
            return;
        }
        let mut touched = vec![Name::clone(&key)];
        if is_put {
            touched.extend(self.jobs.put(key, job.clone()));
        } else {
            self.jobs.remove(&key);
        }
        touched.into_iter().for_each(|job| self.changed(Key::Job(job)));
    }
}

/// To and from the database.
impl Tables {
    /// All is in the database as it is here.
    pub(super) fn are_saved(&mut self) {
        self.changed = Changed::default();
        _ = self.submitted.take_changes();
    }

    /// Nothing is in the database yet.
    pub(super) fn are_new(&mut self) {
        self.changed.all = true;
    }

    /// A range of numbers that were submitted, from the database.
    pub(super) fn load_submitted(&mut self, first: i64, last: i64) {
        self.submitted.load(first, last);
    }

    /// What is to be written. Counts as written from now on.
    pub(super) fn take_changes(&mut self) -> Unsaved {
        let Changed { all, keys } = std::mem::take(&mut self.changed);
        if !all {
            let ranges = self.submitted.take_changes();
            return Unsaved { all, keys: keys.into_iter().collect(), ranges };
        }
        self.submitted.change_all();
        let users = self.users.keys().cloned().map(Key::User);
        let members = self.groups.iter().flat_map(|(group, members)| {
            members.keys().map(|user| Key::Member(Name::clone(group), Name::clone(user)))
        });
        let lines = self
            .reviewers
            .iter()
            .map(|((user, seq), _)| Key::Line(Name::clone(user), *seq));
        let descriptions =
            self.descriptions.iter().map(|(key, _)| Key::Description(*key));
        let fixes =
            self.fixes.iter().map(|(key, _)| Key::Fix(key.0, Name::clone(&key.1)));
        let jobs = self.jobs.iter().map(|(key, _)| Key::Job(Name::clone(key)));
        let keys = users.chain(members).chain(lines).chain(descriptions);
        let keys = keys.chain(fixes).chain(jobs).collect();
        Unsaved { all, keys, ranges: self.submitted.take_changes() }
    }

    /// The row with that key.
    pub(super) fn row(&self, key: &Key) -> Option<Row> {
        match key {
            Key::User(name) => self.users.get(name).cloned().map(Row::User),
            Key::Member(group, user) => {
                self.groups.get(group)?.get(user).cloned().map(Row::Member)
            }
            Key::Line(user, seq) => {
                self.reviewers.get(user, *seq).cloned().map(Row::Line)
            }
            Key::Description(key) => {
                self.descriptions.get(key).cloned().map(Row::Description)
            }
            Key::Fix(change, job) => {
                let key = (*change, Name::clone(job));
                self.fixes.get(&key).cloned().map(Row::Fix)
            }
            Key::Job(name) => self.jobs.get(name).cloned().map(Row::Job),
        }
    }

    fn changed(&mut self, key: Key) {
        if !self.changed.all {
            self.changed.keys.insert(key);
        }
        if self.changed.keys.len() > CHANGED_MAX {
            self.changed = Changed { all: true, keys: BTreeSet::new() };
        }
    }
}

impl Key {
    /// The table, and the key as fields of a record.
    pub(super) fn columns(&self) -> (&'static str, Vec<u8>) {
        let fields = Compose::fields();
        match self {
            Self::User(name) => ("db.user", fields.text(name).finish()),
            Self::Member(group, user) => {
                ("db.group", fields.text(group).text(user).finish())
            }
            Self::Line(user, seq) => {
                ("db.review", fields.text(user).number(*seq).finish())
            }
            Self::Description(key) => ("db.desc", fields.number(*key).finish()),
            Self::Fix(change, job) => {
                ("db.fix", fields.number(*change).text(job).finish())
            }
            Self::Job(name) => ("db.job", fields.text(name).finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p4journal::Record;

    fn apply(tables: &mut Tables, records: &[&str]) {
        for record in records {
            let record = Record::parse(record.as_bytes()).unwrap();
            tables.apply(record.op().is_put(), &Row::read(&record).unwrap());
        }
    }

    fn keys(tables: &mut Tables) -> Vec<String> {
        let Unsaved { keys, .. } = tables.take_changes();
        let key = |key: &Key| {
            let (table, fields) = key.columns();
            format!("{table} {}", String::from_utf8_lossy(&fields))
        };
        keys.iter().map(key).collect()
    }

    fn change(number: i64, desc_key: i64) -> Change {
        let (client, user) = (Name::default(), Name::default());
        Change {
            number,
            desc_key,
            client,
            user,
            date: 0,
            status: 1,
            short: Box::default(),
        }
    }

    #[test]
    fn only_what_differs_is_written() {
        let mut tables = Tables::new();
        let ann = "@rv@ 3 @db.user@ @ann@ @ann@@x.org@ @@ 1 2 @Ann@ @@ 0 @@ 0 ";
        apply(&mut tables, &[ann, "@pv@ 8 @db.group@ @ann@ @dev@ 1 0 0 0 0 0 "]);
        assert_eq!(keys(&mut tables), ["db.user @ann@ ", "db.group @dev@ @ann@ "]);
        let later = "@rv@ 3 @db.user@ @ann@ @ann@@x.org@ @@ 1 9 @Ann@ @CAFE@ 0 @@ 0 ";
        apply(&mut tables, &[later, "@dv@ 3 @db.user@ @bob@ @@ @@ 0 0 @@ @@ 0 @@ 0 "]);
        assert_eq!(keys(&mut tables), [""; 0]);
        apply(&mut tables, &["@dv@ 8 @db.group@ @ann@ @dev@ 0 0 0 0 0 0 "]);
        assert_eq!(keys(&mut tables), ["db.group @dev@ @ann@ "]);
        assert!(tables.members(&tables.fold(b"dev")).is_none());
        assert_eq!(tables.members, 0);
    }

    #[test]
    fn a_submitted_change_needs_no_description_any_more() {
        let mut tables = Tables::new();
        let fixes = [
            "@pv@ 1 @db.fix@ @j1@ 16 1 @c@ @@ @@ ",
            "@pv@ 1 @db.fix@ @j2@ 16 1 @c@ @@ @@ ",
        ];
        apply(
            &mut tables,
            &["@pv@ 0 @db.desc@ 13 @why@ ", "@pv@ 0 @db.job@ @j2@ @@ 0 0 @b@ "],
        );
        apply(&mut tables, &fixes);
        let (description, jobs) = tables.submit(&change(16, 13));
        assert_eq!(&*description.unwrap().text, b"why");
        let jobs: Vec<_> = jobs.iter().map(|job| (&*job.name, &*job.short)).collect();
        assert_eq!(jobs, [(&b"j1"[..], &b""[..]), (b"j2", b"b")]);
        assert!(tables.is_submitted(16) && tables.is_submitted(13));
        tables.are_saved();
        // It is edited: that is not kept.
        apply(&mut tables, &["@rv@ 0 @db.desc@ 13 @why not@ ", fixes[0]]);
        assert_eq!(tables.row(&Key::Description(13)), None);
        assert_eq!(tables.row(&Key::Fix(16, tables.fold(b"j1"))), None);
    }

    #[test]
    fn case_folds_what_is_there_already() {
        let mut tables = Tables::new();
        let rows = [
            "@pv@ 3 @db.user@ @Ann@ @a@@x.org@ @@ 1 2 @Ann@ @@ 0 @@ 0 ",
            "@pv@ 1 @db.review@ @ANN@ 0 0 @//Depot/...@ 0 ",
            "@pv@ 8 @db.group@ @ann@ @Dev@ 1 0 0 0 0 0 ",
            "@pv@ 8 @db.group@ @ann@ @dev@ 1 0 0 0 0 0 ",
        ];
        apply(&mut tables, &rows);
        assert_eq!(tables.members, 2);
        tables.set_case(Case::Insensitive);
        assert_eq!(tables.members, 1);
        let ann = tables.fold(b"aNN");
        assert_eq!(&*tables.user(&ann).unwrap().name, b"Ann");
        let mut found = BTreeSet::new();
        tables.reviewers().add_of(b"//depot/a", &mut found);
        assert_eq!(found, BTreeSet::from([ann]));
        assert_eq!(keys(&mut tables).len(), 3);
        tables.set_case(Case::Insensitive);
        assert_eq!(keys(&mut tables), [""; 0]);
    }
}
