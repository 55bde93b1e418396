//! Random tables and submits, against a model that does everything the slow
//! way, with crashes at random places.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A row, put or deleted.
#[derive(Clone, Debug)]
pub(super) enum Op {
    User { is_put: bool, name: String, email: String, level: i64 },
    Member { is_put: bool, group: String, user: String, role: i64 },
    Line { is_put: bool, user: String, seq: i64, flag: i64, pattern: String },
    Description { is_put: bool, key: i64, text: String },
    Change { number: i64, key: i64, user: String, status: i64, short: String },
    File { change: i64, path: String, reviewers: BTreeSet<String> },
}

/// What is to be told: address and subject of each mail, and how many files.
pub(super) type Told = (String, String, usize);

/// The tables as maps of text.
#[derive(Default)]
pub(super) struct Model {
    folds: bool,
    users: BTreeMap<String, (String, i64)>,
    members: BTreeMap<(String, String), i64>,
    lines: BTreeMap<(String, i64), (i64, String)>,
    descriptions: BTreeMap<i64, String>,
    submitted: BTreeSet<i64>,
    current: Vec<Op>,
    open: BTreeMap<u64, Vec<Op>>,
    pub(super) told: Vec<Told>,
    pub(super) submits: Vec<i64>,
}

impl Model {
    pub(super) fn new(folds: bool) -> Self {
        Self { folds, ..Self::default() }
    }

    fn fold(&self, text: &str) -> String {
        if self.folds { text.to_ascii_lowercase() } else { text.to_owned() }
    }

    pub(super) fn see(&mut self, mut op: Op) {
        if let Op::File { path, reviewers, .. } = &mut op {
            let users: BTreeSet<&String> =
                self.lines.keys().map(|(user, _)| user).collect();
            let path = self.fold(path);
            let reviews = |user: &&&String| {
                let of_user = self.lines.iter().filter(|((name, _), _)| name == **user);
                let mut flag = 1;
                for (_, (line_flag, pattern)) in of_user {
                    if matches(self.fold(pattern).as_bytes(), path.as_bytes()) {
                        flag = *line_flag;
                    }
                }
                flag != 1
            };
            *reviewers =
                users.iter().filter(reviews).map(|user| (*user).clone()).collect();
        }
        self.current.push(op);
    }

    pub(super) fn pause(&mut self, pid: u64) {
        let ops = std::mem::take(&mut self.current);
        self.open.entry(pid).or_default().extend(ops);
    }

    pub(super) fn restart(&mut self) {
        self.current.clear();
        self.open.clear();
    }

    pub(super) fn end(&mut self, pid: u64) {
        self.pause(pid);
        let ops = self.open.remove(&pid).unwrap();
        let mut submits = BTreeMap::new();
        for op in &ops {
            self.apply(op);
            if let Op::Change { number, key, user, status, short } = op
                && status & 1 == 1
            {
                submits.insert(*number, (*key, user, short));
            }
        }
        for (number, (key, user, short)) in submits {
            if !self.submitted.insert(number) {
                continue;
            }
            self.submitted.insert(key);
            let description = self.descriptions.remove(&key);
            let files = ops.iter().filter_map(|op| match op {
                Op::File { change, reviewers, .. } if *change == number => {
                    Some(reviewers)
                }
                _ => None,
            });
            let files: Vec<&BTreeSet<String>> = files.collect();
            if files.is_empty() {
                continue;
            }
            self.submits.push(number);
            let reviewers = files.iter().flat_map(|it| it.iter().cloned()).collect();
            let text = description.as_ref().unwrap_or(short);
            let text = text.trim_start_matches(['\r', '\n']);
            let first = text.lines().next().unwrap_or_default();
            let subject = format!("change {number} by {user}: {first}");
            let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
            for address in self.addresses(reviewers) {
                self.told.push((address, subject.clone(), files.len()));
            }
        }
    }

    fn addresses(&self, reviewers: BTreeSet<String>) -> Vec<String> {
        let is_group = |name: &String| {
            !self.users.contains_key(name)
                && self.members.keys().any(|(group, _)| group == name)
        };
        let (mut groups, mut people): (BTreeSet<String>, BTreeSet<String>) =
            reviewers.into_iter().partition(is_group);
        // As often as there can be groups in groups.
        for _ in 0..=self.members.len() {
            for ((group, user), role) in &self.members {
                if groups.contains(group) && role & 2 != 0 {
                    groups.insert(user.clone());
                }
                if groups.contains(group) && role & 1 != 0 {
                    people.insert(user.clone());
                }
            }
        }
        let mut addresses: Vec<String> = Vec::new();
        for name in people {
            if let Some((email, 0)) = self.users.get(&name)
                && email.split('@').nth(1).is_some_and(|domain| domain.contains('.'))
                && !addresses.contains(email)
            {
                addresses.push(email.clone());
            }
        }
        addresses
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op.clone() {
            Op::User { is_put, name, email, level } => {
                let name = self.fold(&name);
                put(&mut self.users, is_put, name, (email, level));
            }
            Op::Member { is_put, group, user, role } => {
                let key = (self.fold(&group), self.fold(&user));
                put(&mut self.members, is_put, key, role);
            }
            Op::Line { is_put, user, seq, flag, pattern } => {
                let key = (self.fold(&user), seq);
                put(&mut self.lines, is_put, key, (flag, pattern));
            }
            Op::Description { is_put, key, text } => {
                if !self.submitted.contains(&key) {
                    put(&mut self.descriptions, is_put, key, text);
                }
            }
            Op::Change { .. } | Op::File { .. } => {}
        }
    }

    /// A change of a checkpoint.
    pub(super) fn know_submitted(&mut self, number: i64, key: i64) {
        self.submitted.extend([number, key]);
        self.descriptions.remove(&key);
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, is_put: bool, key: K, value: V) {
    if is_put {
        map.insert(key, value);
    } else {
        map.remove(&key);
    }
}

/// Every way is tried.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let (wild, rest) = match pattern {
        [] => return path.is_empty(),
        [b'.', b'.', b'.', rest @ ..] => (true, rest),
        [b'*', rest @ ..] | [b'%', b'%', b'0'..=b'9', rest @ ..] => (false, rest),
        [byte, rest @ ..] => {
            return path.first() == Some(byte) && matches(rest, &path[1..]);
        }
    };
    let fits = |len: &usize| wild || !path[..*len].contains(&b'/');
    (0..=path.len()).filter(fits).any(|len| matches(rest, &path[len..]))
}

/// What one process writes up to its next marker.
#[derive(Clone, Debug)]
struct Step {
    pid: u64,
    ops: Vec<Op>,
    ends: bool,
    /// The server is started anew before it.
    restarts: bool,
}

fn names() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["ann", "Ann", "bob", "cy", "dev", "core", "b@b"])
        .prop_map(str::to_owned)
}

fn ops() -> impl Strategy<Value = Op> {
    let emails = ["ann@x.org", "bob@x.org", "cy@x.org", "ws@ws", ""];
    let patterns =
        ["//d/...", "//D/a/*", "//d/*/x", "...", "//d/a/x", "//d/%%1/.../y", "*"];
    let paths = ["//d/a/x", "//d/A/y", "//d/b/x", "//d/b/c/y", "//e/x", "//D/b/x"];
    let texts = ["", "why", "two\nlines\n", "\n\n at @ night \n"];
    let pick = |from: &'static [&'static str]| {
        proptest::sample::select(from.to_vec()).prop_map(str::to_owned)
    };
    let (emails, patterns) = (Box::leak(Box::new(emails)), Box::leak(Box::new(patterns)));
    let (paths, texts) = (Box::leak(Box::new(paths)), Box::leak(Box::new(texts)));
    let user = (prop::bool::weighted(0.8), names(), pick(emails), 0..3_i64).prop_map(
        |(is_put, name, email, level)| Op::User {
            is_put,
            name,
            email,
            level: (level - 1).max(0),
        },
    );
    let member = (prop::bool::weighted(0.8), names(), names(), 1..6_i64)
        .prop_map(|(is_put, group, user, role)| Op::Member { is_put, group, user, role });
    let line = (prop::bool::weighted(0.8), names(), 0..4_i64, 0..3_i64, pick(patterns))
        .prop_map(|(is_put, user, seq, flag, pattern)| Op::Line {
            is_put,
            user,
            seq,
            flag,
            pattern,
        });
    let description = (prop::bool::weighted(0.9), 1..9_i64, pick(texts))
        .prop_map(|(is_put, key, text)| Op::Description { is_put, key, text });
    let change = (1..9_i64, 1..9_i64, names(), 0..4_i64, pick(texts)).prop_map(
        |(number, key, user, status, short)| {
            // Most keep their number.
            let key = if key > 3 { number } else { key };
            Op::Change { number, key, user, status, short }
        },
    );
    let file = (1..9_i64, pick(paths)).prop_map(|(change, path)| Op::File {
        change,
        path,
        reviewers: BTreeSet::new(),
    });
    prop_oneof![
        3 => user,
        1 => member,
        3 => line,
        1 => description,
        2 => change,
        4 => file,
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (1..4_u64, vec(ops(), 0..7), prop::bool::weighted(0.8), 0..30).prop_map(
        |(pid, ops, ends, restarts)| Step { pid, ops, ends, restarts: restarts == 0 },
    );
    vec(step, 1..25)
}

/// The steps as a journal, and as the model sees them.
fn write(steps: &[Step], model: &mut Model) -> String {
    let flag = if model.folds { 2 } else { 1 };
    let mut journal = format!("@nx@ 2 1 @40@ {flag} 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n");
    for step in steps {
        if step.restarts {
            model.restart();
            journal += "@nx@ 7 1 @40@ 0 0 0 0 0 @1666@ @/p4@ @@ @@ @@ \n";
        }
        // A row of a file comes once.
        let mut files = BTreeSet::new();
        for op in &step.ops {
            if let Op::File { change, path, .. } = op
                && !files.insert((change, path))
            {
                continue;
            }
            model.see(op.clone());
            _ = writeln!(journal, "{}", record(op));
        }
        if step.ends {
            model.end(step.pid);
            _ = writeln!(journal, "@ex@ {} 1", step.pid);
        } else {
            model.pause(step.pid);
            _ = writeln!(journal, "@mx@ {} 1", step.pid);
        }
    }
    journal
}

fn record(op: &Op) -> String {
    let quoted = |text: &String| format!("@{}@", text.replace('@', "@@"));
    let verb = |is_put: bool| if is_put { "rv" } else { "dv" };
    match op {
        Op::User { is_put, name, email, level } => format!(
            "@{}@ 7 @db.user@ {} {} @@ 1 2 @@ @SECRET@ 0 @@ 0 {level} 0 0 0 0 ",
            verb(*is_put),
            quoted(name),
            quoted(email)
        ),
        Op::Member { is_put, group, user, role } => format!(
            "@{}@ 9 @db.group@ {} {} {role} 0 0 0 0 0 0 0 ",
            verb(*is_put),
            quoted(user),
            quoted(group)
        ),
        Op::Line { is_put, user, seq, flag, pattern } => format!(
            "@{}@ 1 @db.review@ {} {seq} {flag} {} 0 ",
            verb(*is_put),
            quoted(user),
            quoted(pattern)
        ),
        Op::Description { is_put, key, text } => {
            format!("@{}@ 1 @db.desc@ {key} {} ", verb(*is_put), quoted(text))
        }
        Op::Change { number, key, user, status, short } => format!(
            "@pv@ 7 @db.change@ {number} {key} @ws@ {} 5 {status} {} @@ @@ @@ 0 0 @@ ",
            quoted(user),
            quoted(short)
        ),
        Op::File { change, path, .. } => {
            format!("@pv@ 0 @db.revcx@ {change} {} 1 0 ", quoted(path))
        }
    }
}

/// What mails say, as the model does.
pub(super) fn told(mails: &[Mail]) -> Vec<Told> {
    let told = |mail: &Mail| {
        let (_, files) = mail.text.rsplit_once("Files (").unwrap();
        let count = files.split_once(')').unwrap().0.parse().unwrap();
        (mail.to.address.clone(), mail.subject.trim_end().to_owned(), count)
    };
    mails.iter().map(told).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::with_cases(150)
    })]

    #[test]
    fn mails_are_those_of_the_model(
        steps in steps(),
        folds: bool,
        bytes_max in proptest::sample::select(vec![1_usize, 100, 400, 100_000]),
        crashes in vec((0..30_usize, 1..5_usize), 0..4),
    ) {
        let mut model = Model::new(folds);
        let feed = Feed::new("p4").journal(7, write(&steps, &mut model).as_bytes());
        let directory = tempfile::tempdir().unwrap();
        let desk = Desk::default();
        let mut lane = Lane::default();
        for (batches, flush_every) in crashes.into_iter().chain([(usize::MAX, 3)]) {
            // What is dropped here has no chance to write anything.
            let post = Box::new(desk.clone());
            let mut review = Review::new(settings(directory.path()), post);
            lane.run(&mut review, &feed, bytes_max, flush_every, batches).unwrap();
        }
        prop_assert_eq!(told(&desk.taken()), model.told);
        let database = std::fs::read(directory.path().join("state/review.db")).unwrap();
        prop_assert!(!database.windows(6).any(|bytes| bytes == b"SECRET"));
    }
}
