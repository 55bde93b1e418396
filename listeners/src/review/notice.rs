//! Who is to hear of a change, and what.

use super::address::deliverable;
use super::rows::{DESCRIPTION_BYTES_MAX, Name};
use super::state::Submit;
use super::tables::Tables;
use super::text;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Whom the configuration wants to have mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Users hear of their own changes too.
    pub(super) own_changes: bool,
    /// Addresses of users, in place of those that the server knows.
    pub(super) users: BTreeMap<String, String>,
    /// Users who get nothing.
    pub(super) exclude: Vec<String>,
}

/// A change, and to whom it is to be told. Text in it is fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notice {
    /// The entry that submitted the change, `source/sequence/offset`.
    pub(super) entry: String,
    pub(super) change: i64,
    pub(super) user: String,
    /// The user's full name, where it is known.
    pub(super) full_name: String,
    pub(super) client: String,
    /// Seconds since 1970.
    pub(super) date: i64,
    pub(super) description: String,
    /// Only the first words of the description are known.
    pub(super) is_short: bool,
    pub(super) jobs: Vec<(String, String)>,
    /// The first files: path, revision, action.
    pub(super) files: Vec<(String, i64, String)>,
    pub(super) files_count: u64,
    /// Never none.
    pub(super) recipients: Vec<Recipient>,
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipient {
    pub(super) address: String,
    /// The person's name, or the user's; one line.
    pub(super) name: String,
}

const NAME_CHARS_MAX: usize = 200;
const PATH_CHARS_MAX: usize = 1000;

impl Notice {
    /// What is to be told of a change that `entry` submitted, or `None` when
    /// nobody is to hear of it.
    pub(super) fn of(
        submit: &Submit,
        entry: String,
        tables: &Tables,
        choice: &Choice,
    ) -> Option<Self> {
        let recipients = recipients(submit, tables, choice);
        if recipients.is_empty() {
            return None;
        }
        let name = |name: &[u8]| text::line(name, NAME_CHARS_MAX);
        let change = &submit.change;
        let author = tables.user(&tables.fold(&change.user));
        let description =
            submit.description.as_ref().map_or(&change.short, |it| &it.text);
        let file = |file: &super::rows::File| {
            let path = text::line(&file.path, PATH_CHARS_MAX);
            (path, file.revision, action(file.action))
        };
        let job = |job: &super::rows::Job| (name(&job.name), name(&job.short));
        Some(Self {
            entry,
            change: change.number,
            user: name(&change.user),
            full_name: author.map_or_else(String::new, |user| name(&user.full_name)),
            client: name(&change.client),
            date: change.date,
            description: text::block(description, DESCRIPTION_BYTES_MAX),
            is_short: submit.description.is_none(),
            jobs: submit.jobs.iter().map(job).collect(),
            files: submit.files.shown.iter().map(file).collect(),
            files_count: submit.files.count,
            recipients,
        })
    }
}

/// What was done with a file, as the server calls it.
fn action(number: i64) -> String {
    let name = match number {
        0 => "add",
        1 => "edit",
        2 => "delete",
        3 => "branch",
        4 => "integrate",
        5 => "import",
        6 => "purge",
        7 => "move/delete",
        8 => "move/add",
        9 => "archive",
        _ => return format!("action {number}"),
    };
    name.to_owned()
}

/// Who gets a mail, each address once, in the order of the users' names.
fn recipients(submit: &Submit, tables: &Tables, choice: &Choice) -> Vec<Recipient> {
    let fold = |name: &String| tables.fold(name.as_bytes());
    let exclude: BTreeSet<Name> = choice.exclude.iter().map(fold).collect();
    let mapped: BTreeMap<Name, &String> =
        choice.users.iter().map(|(user, address)| (fold(user), address)).collect();
    let author = tables.fold(&submit.change.user);
    let mut taken = BTreeSet::new();
    let mut recipients = Vec::new();
    for person in people(&submit.files.reviewers, tables) {
        if exclude.contains(&person) || (!choice.own_changes && person == author) {
            continue;
        }
        let user = tables.user(&person);
        // Services and operators read no mail.
        if user.is_some_and(|user| user.level != 0) {
            continue;
        }
        let address = match mapped.get(&person) {
            Some(address) => Some((*address).clone()),
            None => user.and_then(|user| deliverable(&user.email)),
        };
        let Some(address) = address else { continue };
        if taken.insert(address.to_ascii_lowercase()) {
            let full_name = user.map(|user| text::line(&user.full_name, NAME_CHARS_MAX));
            let name = full_name.filter(|name| !name.is_empty());
            let name = name.unwrap_or_else(|| text::line(&person, NAME_CHARS_MAX));
            recipients.push(Recipient { address, name });
        }
    }
    recipients
}

/// The users among the reviewers, and those in groups that review: a name that
/// is no user's may be a group's, whose groups count too.
fn people(reviewers: &BTreeSet<Name>, tables: &Tables) -> BTreeSet<Name> {
    let mut people = BTreeSet::new();
    let mut groups = BTreeSet::new();
    let mut waiting = Vec::new();
    for name in reviewers {
        if tables.user(name).is_none() && tables.members(name).is_some() {
            groups.insert(Name::clone(name));
            waiting.push(Name::clone(name));
        } else {
            people.insert(Name::clone(name));
        }
    }
    while let Some(group) = waiting.pop() {
        for (name, member) in tables.members(&group).into_iter().flatten() {
            if member.role & 2 != 0 && groups.insert(Name::clone(name)) {
                waiting.push(Name::clone(name));
            }
            if member.role & 1 != 0 {
                people.insert(Name::clone(name));
            }
        }
    }
    people
}
